use super::*;
use crate::testing::{run, spec};

fn warned(gates: &[&str], traffic: &str, truth: &str) -> String {
    let spec = spec(gates, &["shadow 50% until 2 d", "ramp 50% until 2 d", "100%"]);
    let outcome = run(&spec, traffic, truth, 4);
    let traffic = Traffic::parse(traffic).unwrap();
    warn(&spec, &traffic, &outcome).iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn ninety_seven_percent_cannot_pass_at_a_true_96_7() {
    let truth = "baseline_quality=0.92,quality=0.89";
    let said = warned(&["quality >= 0.97 x baseline"], "20/min", truth);
    assert!(said.contains("cannot pass: the candidate truly keeps 96.7 %"), "{said}");
    let said = warned(&["quality >= 0.90 x baseline"], "60/min", truth);
    assert_eq!(said, "");
}

#[test]
fn too_little_traffic_is_said() {
    let said = warned(&["quality >= 0.95 x baseline"], "2/min,units=50", "");
    assert!(said.contains("too little traffic"), "{said}");
    assert!(said.contains("50 units give at most 50 scored pairs a day"), "{said}");
}

#[test]
fn a_spec_that_cannot_fail_is_told_so() {
    let said = warned(&["errors <= baseline + 0.5 pp (rollback)"], "60/min", "");
    assert!(said.contains("no gate is required"), "{said}");
    let said = warned(&["quality >= 0.5 x baseline"], "60/min", "");
    assert!(said.contains("half as good"), "{said}");
}
