//! Whole rollouts with a budget for each kind of trouble. A rate is over its budget when chance does not
//! explain it: more than the budget and three standard errors.

use super::testing::{example, run, spec};
use super::{Outcome, Traffic, Trial, Truth, simulate};
use cutover_rollout::Spec;
use cutover_units::Millis;

/// Fails if so many of the runs are more than a budget explains.
fn at_most(name: &str, count: u32, runs: u32, budget: f64) {
    let n = f64::from(runs);
    let most = budget * n + 3.0 * (budget * (1.0 - budget) * n).sqrt();
    assert!(f64::from(count) <= most, "{name}: {count} of {runs}, at most {most:.1}");
}

/// False decisions within the nominal levels of the spec, in every scenario.
fn keeps_its_promises(name: &str, spec: &Spec, outcome: &Outcome) {
    let promoted = format!("{name}: false promotions");
    at_most(&promoted, outcome.false_promoted, outcome.runs, spec.levels.promote);
    let rolled_back = format!("{name}: false rollbacks");
    at_most(&rolled_back, outcome.false_rolled_back, outcome.runs, spec.levels.rollback);
}

fn at_least(name: &str, count: u32, runs: u32, share: f64) {
    assert!(f64::from(count) >= share * f64::from(runs), "{name}: {count} of {runs}");
}

/// A day and a half is ten times what this spec usually takes before its last step.
fn short(spec: &Spec, traffic: &str, truth: &str, runs: u32) -> Outcome {
    let (traffic, truth) = (Traffic::parse(traffic).unwrap(), Truth::parse(truth).unwrap());
    let trial = Trial { horizon: Millis(36 * 3_600_000), ..Trial::new(traffic, truth, runs) };
    simulate(spec, &trial)
}

/// The example without its last day.
fn quick() -> Spec {
    spec(&super::example::GATES, &["shadow 50%", "canary 5% for 1 h", "ramp 50%", "100% for 1 h"])
}

fn middle(sorted: &[f64]) -> f64 {
    super::outcome::quantile(sorted, 0.5).unwrap()
}

#[test]
fn an_equal_candidate_is_promoted() {
    let spec = example();
    let outcome = run(&spec, "20/min", "", 60);
    keeps_its_promises("equal arms", &spec, &outcome);
    at_least("promoted", outcome.promoted, outcome.runs, 0.9);
}

#[test]
fn a_worse_candidate_is_refused_before_a_user_sees_it() {
    let spec = quick();
    for (truth, refused) in [("quality=-5pp", 0.0), ("quality=-10pp", 0.95), ("quality=-20pp", 1.0)]
    {
        let outcome = short(&spec, "20/min", truth, 40);
        keeps_its_promises(truth, &spec, &outcome);
        at_least(truth, outcome.rolled_back, outcome.runs, refused);
        assert!(middle(&outcome.excess_bad) < 1.0, "{truth}: {}", middle(&outcome.excess_bad));
    }
    // Two points are within the margin: it deserves to be promoted, sooner or later.
    let outcome = short(&spec, "60/min", "quality=-2pp", 12);
    keeps_its_promises("quality 2 pp lower", &spec, &outcome);
    at_least("quality 2 pp lower", outcome.promoted, outcome.runs, 0.5);
}

#[test]
fn three_times_the_errors_are_rolled_back() {
    let spec = quick();
    let outcome = short(&spec, "20/min", "baseline_errors=0.8%,errors=3x", 40);
    keeps_its_promises("errors x3", &spec, &outcome);
    at_least("errors x3", outcome.rolled_back, outcome.runs, 0.95);
    assert!(middle(&outcome.excess_bad) < 5.0, "{}", middle(&outcome.excess_bad));
}

#[test]
fn a_slow_candidate_is_rolled_back() {
    let spec = quick();
    let outcome = short(&spec, "20/min", "baseline_p95=3200ms,p95=1.5x", 40);
    keeps_its_promises("p95 x1.5", &spec, &outcome);
    at_least("p95 x1.5", outcome.rolled_back, outcome.runs, 0.95);
}

#[test]
fn harm_that_begins_late_is_rolled_back() {
    let spec = quick();
    let outcome = short(&spec, "20/min", "errors=10%,onset=3h", 40);
    keeps_its_promises("late onset", &spec, &outcome);
    at_least("late onset", outcome.rolled_back + outcome.false_promoted, outcome.runs, 0.9);
    assert!(middle(&outcome.excess_bad) < 40.0, "{}", middle(&outcome.excess_bad));
}

/// A remembered baseline knows no time of day: held against the last one that was seen, half of all
/// equal candidates were rolled back in the last step.
#[test]
fn a_swing_of_both_arms_is_nobodys_fault() {
    let spec = example();
    let outcome = run(&spec, "20/min", "baseline_errors=0.8%,drift=90%", 40);
    keeps_its_promises("drift", &spec, &outcome);
    at_least("drift", outcome.promoted, outcome.runs, 0.8);
    let outcome = run(&spec, "20/min", "baseline_errors=3%", 20);
    keeps_its_promises("many errors in both arms", &spec, &outcome);
}

#[test]
fn a_silent_source_never_advances() {
    let spec = quick();
    // Nothing is ever measured.
    let outcome = short(&spec, "60/min", "outage=0s..30d", 10);
    assert_eq!((outcome.promoted, outcome.steps[0].1.len()), (0, 0));
    assert!(outcome.causes.keys().all(|why| why == "nothing is known of its traffic"));
    // Out for five hours: whatever step it is in lasts longer than they do, or had ended before.
    let outcome = short(&spec, "60/min", "outage=90min..390min", 20);
    keeps_its_promises("outage", &spec, &outcome);
    at_least("outage", outcome.promoted, outcome.runs, 0.9);
    let hour = 3_600_000;
    assert!(outcome.decided_ms.iter().all(|took| *took < 90 * 60_000 || *took > 6 * hour));
}

#[test]
fn units_that_are_counted_twice_hold_it() {
    let spec = quick();
    let outcome = short(&spec, "60/min", "double_count=30%", 10);
    assert_eq!(outcome.promoted, 0);
    at_least("held", outcome.held, outcome.runs, 0.9);
    assert!(
        outcome.causes.contains_key("units are not split as they should be"),
        "{:?}",
        outcome.causes
    );
}

#[test]
fn a_heavy_user_decides_nothing() {
    let spec = quick();
    let outcome = short(&spec, "20/min,units=2000", "heavy=20%,heavy_errors=50%", 40);
    keeps_its_promises("a heavy user", &spec, &outcome);
    let outcome = short(&spec, "20/min,units=2000,session=8", "baseline_errors=2%", 40);
    keeps_its_promises("sessions that fail as one", &spec, &outcome);
}

#[test]
fn any_amount_of_traffic_keeps_the_promises() {
    let spec = quick();
    for (traffic, runs) in [("1/min", 40), ("10/min", 20), ("200/min", 4), ("1000/min", 1)] {
        for truth in ["", "quality=-10pp", "baseline_errors=0.8%,errors=3x"] {
            let outcome = short(&spec, traffic, truth, runs);
            keeps_its_promises(&format!("{traffic} {truth}"), &spec, &outcome);
        }
    }
}
