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
}

/// What plain harm and equal arms say of these gates.
fn blind(gates: &[&str], truth: &str) -> String {
    let spec = spec(gates, &["shadow 50%", "ramp 50%", "100%"]);
    let (traffic, truth) = (Traffic::parse("60/min").unwrap(), crate::Truth::parse(truth).unwrap());
    let trial = crate::Trial::new(traffic, truth, 4);
    let equal = crate::simulate(&spec, &crate::Trial { truth: truth.equal(), ..trial.clone() });
    let said = warn_of_blindness(&spec, &equal, &crate::harms(&spec, &trial));
    said.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn a_limit_that_harm_never_reaches_cannot_fail() {
    for (gate, harm) in [
        ("errors <= 99%", "ten times the baseline's errors (3.0 %)"),
        ("p95 <= 1 h", "ten times the baseline's times (p95 25.0 s)"),
        ("quality >= 0.45 x baseline", "half the baseline's quality (0.46)"),
        ("errors <= baseline + 60 pp", "ten times the baseline's errors"),
        ("p95 <= 30 x baseline", "ten times the baseline's times"),
    ] {
        let said = blind(&[gate], "");
        let wanted = format!("`{gate}` cannot fail: it accepts {harm}");
        assert!(said.contains(&wanted), "{said} for {wanted}");
        assert!(said.contains("4 of 4 such candidates were promoted"), "{said}");
    }
    // Another gate stops what this one accepts.
    let said = blind(&["errors <= 99%", "errors <= baseline + 0.5 pp"], "");
    assert!(said.contains("other gates stop it") && said.matches("hint").count() == 1, "{said}");
    // The same limit is one where the baseline is worse.
    assert_eq!(blind(&["errors <= 20%"], "baseline_errors=5%"), "");
    assert_eq!(blind(&["quality >= 0.95 x baseline", "errors <= baseline + 0.5 pp"], ""), "");
}

#[test]
fn a_limit_that_the_baseline_does_not_keep_cannot_pass() {
    let said = blind(&["p95 <= 2 s"], "");
    assert!(said.contains("cannot pass even with a candidate like the baseline"), "{said}");
}

#[test]
fn what_nobody_watches_at_all_the_traffic_is_said() {
    let steps = ["shadow 50%", "ramp 50%", "100%"];
    let quality = "quality >= 0.95 x baseline";
    let said = warn_of_the_end(&spec(&[quality], &steps)).unwrap().to_string();
    assert!(said.contains("is not watched once the candidate has all the traffic"), "{said}");
    for gates in [
        vec![quality, "feedback >= baseline - 3 pp (signal)"],
        // Speed and errors are held against what the baseline was last seen to do.
        vec!["p5 tokens/s >= 0.8 x baseline", "errors <= baseline + 1 pp"],
    ] {
        assert_eq!(warn_of_the_end(&spec(&gates, &steps)), None, "{gates:?}");
    }
}

#[test]
fn gates_on_streams_without_streams_are_told() {
    let said = warned(&["p95 first token <= 2 s"], "60/min,streams=0%", "");
    assert!(said.contains("clients do not stream"), "{said}");
}
