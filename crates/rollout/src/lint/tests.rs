use super::*;
use crate::testing::{spec, usual};
use crate::text::parse_gate;

/// Fails unless linting finds this at this path.
fn finds(spec: &Spec, path: &str, why: &str) {
    let found = lint(spec);
    let hit = found.iter().any(|problem| problem.path == path && problem.why.contains(why));
    assert!(hit, "{path}: {why} is not in {found:#?}");
}

#[test]
fn a_usual_spec_is_clean() {
    assert_eq!(lint(&usual()), []);
}

#[test]
fn steps_that_go_down_are_refused() {
    finds(&spec(&["ramp 25%", "ramp 5%", "100%"], &["errors <= 2%"]), "steps[1].weight", "down");
    finds(&spec(&["ramp 25%"], &["errors <= 2%"]), "steps", "ends at 25%");
    finds(&spec(&[], &["errors <= 2%"]), "steps", "without steps");
    finds(&spec(&["ramp 5%", "ramp 5%", "100%"], &["errors <= 2%"]), "steps[1].name", "two steps");
    let short = spec(&["ramp 5% for 2 h until 1 h", "100%"], &["errors <= 2%"]);
    finds(&short, "steps[0].max_duration", "shorter");
    let early = spec(&["ramp 5%", "ramp 100%", "100%"], &["errors <= 2%"]);
    finds(&early, "steps[2].weight", "before the last");
}

#[test]
fn gates_without_a_source_are_refused() {
    let mut without = usual();
    without.scorer = None;
    finds(&without, "gates[0]", "without a scorer");
    let unshadowed = spec(&["canary 5%", "100%"], &["quality >= 0.95 x baseline"]);
    finds(&unshadowed, "gates[0]", "no step shadows");
    let streams = spec(&["canary 5%", "100%"], &["p95 first token <= 1 s"]);
    finds(&streams, "gates[0]", "streams only");
}

#[test]
fn gates_that_cannot_pass_are_refused() {
    let gate = |text: &str| spec(&["shadow 50%", "canary 5%", "100%"], &[text]);
    finds(&gate("quality >= 1.02 x baseline"), "gates[0].test", "cannot pass");
    finds(&gate("quality >= 1 x baseline"), "gates[0].test", "cannot pass");
    finds(&gate("errors <= baseline + 0 pp"), "gates[0].test", "cannot pass");
    finds(&gate("errors <= 1.0 x baseline (required)"), "gates[0].test", "cannot pass");
    finds(&gate("errors <= 0%"), "gates[0].test", "cannot pass");
    finds(&gate("p95 <= 1 x baseline"), "gates[0].test", "cannot pass");
    finds(&gate("fallback <= 100%"), "gates[0].test", "cannot fail");
    finds(&gate("cost <= 0 USD per 1000"), "gates[0].test", "cannot pass");
    finds(&gate("quality >= 0.3 x baseline"), "gates[0].test", "hardly fails");
    finds(&gate("errors <= baseline + 40 pp"), "gates[0].test", "hardly fails");
    finds(&gate("p5 <= 4 s"), "gates[0].test", "fast end");
    // What only watches may be as strict as it likes.
    assert!(
        lint(&gate("errors <= baseline + 0 pp (rollback)"))
            .iter()
            .all(|found| { !found.why.contains("cannot pass") })
    );
}

#[test]
fn names_must_exist_and_be_unique() {
    let mut spec = usual();
    spec.steps[2].requires = vec!["qualty".to_owned()];
    finds(&spec, "steps[2].requires", "no gate is called");
    let mut spec = usual();
    spec.gates.push(parse_gate("quality >= 0.9 x baseline").unwrap());
    finds(&spec, "gates[3].id", "two gates");
    let mut spec = usual();
    spec.gates[2].role = Role::Signal;
    finds(&spec, "steps[3].requires", "not required by its role");
    let mut spec = usual();
    spec.steps[0].requires.push("p95".to_owned());
    finds(&spec, "steps[0].requires", "has come by then");
}

#[test]
fn nothing_watched_and_nothing_proved_is_said() {
    finds(&spec(&["canary 5%", "100%"], &[]), "gates", "nothing is watched");
    let watched = spec(&["canary 5%", "100%"], &["errors <= 1.0 x baseline"]);
    finds(&watched, "gates", "without any proof");
    let mut unsuited = usual();
    unsuited.gates[0].test = Test::Never;
    finds(&unsuited, "gates[0].test", "does not suit");
    let mut levels = usual();
    levels.levels.promote = 0.0;
    levels.levels.srm = f64::NAN;
    levels.levels.rollback = 0.5;
    finds(&levels, "levels.promote", "no probability");
    finds(&levels, "levels.srm", "no probability");
    finds(&levels, "levels.rollback", "one decision in 2");
}
