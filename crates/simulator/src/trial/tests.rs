use super::*;
use crate::testing::{example, run, spec};

fn all(spec: &Spec, trial: &Trial, pace: Pace) -> Vec<Run> {
    let runs = trial.runs.clone();
    runs.map(|run| Rollout::new(spec, trial, run).run(pace)).collect()
}

#[test]
fn ticks_that_are_left_out_change_nothing() {
    let example = example();
    let watched = spec(
        &["errors <= 1.0 x baseline (rollback)", "p95 <= 4 s"],
        &["shadow 20% until 1 d", "ramp 50% for 2 h until 2 d", "100% for 3 h"],
    );
    for (spec, traffic, truth) in [
        (&example, "2/min", ""),
        (&example, "1/min,units=40,session=3", "quality=0.9x,onset=5h"),
        (&watched, "0.5/min,daily=90%", "errors=3x"),
        (&watched, "3/min", "outage=90min..150min"),
        (&watched, "0.05/min", ""),
    ] {
        let traffic = Traffic::parse(traffic).unwrap();
        let truth = Truth::parse(truth).unwrap();
        let horizon = Millis(86_400_000);
        let trial = Trial { horizon, ..Trial::new(traffic, truth, 2) };
        assert_eq!(
            all(spec, &trial, Pace::Skipping),
            all(spec, &trial, Pace::Every),
            "{traffic:?} {truth:?}"
        );
    }
}

#[test]
fn runs_repeat_and_parts_make_the_whole() {
    let spec = example();
    let whole = run(&spec, "60/min", "quality=0.9x", 6);
    let trial =
        Trial::new(Traffic::parse("60/min").unwrap(), Truth::parse("quality=0.9x").unwrap(), 6);
    let mut parts = simulate(&spec, &Trial { runs: 0..2, ..trial.clone() });
    parts.merge(simulate(&spec, &Trial { runs: 2..6, ..trial }));
    assert_eq!(parts, whole);
}

#[test]
fn an_outcome_reads_well() {
    let outcome = run(&example(), "20/min", "quality=0.97x,errors=+0.3pp,p95=1.3x", 16);
    insta::assert_snapshot!(outcome.render());
}
