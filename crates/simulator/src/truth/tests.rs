use super::*;
use crate::testing::spec;

fn standing(gate: &str, truth: &str) -> Standing {
    let spec = spec(&[gate], &["shadow 50%", "ramp 50%", "100%"]);
    let truth = Truth::parse(truth).unwrap();
    truth.standings(&spec, Millis(u64::MAX)).remove(0)
}

#[test]
fn claims_are_true_or_false_as_arithmetic_says() {
    for (gate, truth, room) in [
        ("quality >= 0.97 x baseline", "baseline_quality=0.92,quality=0.89", 0.89 / 0.92 - 0.97),
        ("errors <= baseline + 0.5 pp", "errors=+0.4pp", 0.001),
        ("errors <= 1.0 x baseline", "errors=3x", -2.0),
        ("errors <= 2%", "errors=1%", 0.01),
        ("errors <= 2%", "errors=0%,fallback=3%", -0.01),
        ("invalid <= baseline + 1 pp", "invalid=+2pp", -0.01),
        ("feedback >= baseline - 3 pp", "feedback=-1pp", 0.02),
        ("fallback <= 15%", "fallback=13%", 0.02),
        ("cost <= 2.50 USD per 1000", "cost=1,errors=0%", 1.5),
        ("p95 <= 2500 ms", "baseline_errors=0%", 0.0),
        ("p95 <= 1.25 x baseline", "p95=1.5x", -0.25),
    ] {
        let got = standing(gate, truth);
        let near = got.room.is_some_and(|got| (got - room).abs() < 1e-6);
        assert!(near, "{gate} under {truth}: {got:?}, not {room}");
    }
}

#[test]
fn a_candidate_is_the_baseline_until_its_onset() {
    let spec = spec(&["errors <= baseline + 0.5 pp"], &["ramp 50%", "100%"]);
    let truth = Truth::parse("errors=+5pp,onset=6h").unwrap();
    let harms = |at: u64| truth.standings(&spec, Millis(at)).iter().any(Standing::harms);
    assert!(!harms(5 * 3_600_000) && harms(6 * 3_600_000));
}

#[test]
fn what_is_not_understood_is_explained() {
    for (text, want) in [
        ("qualty=0.9", "did you mean \"quality\""),
        ("errors=0.5", "+0.5pp"),
        ("errors=200%", "share"),
        ("errors=400x", "between 0 and 1"),
        ("outage=5h..2h", "2h..5h"),
        ("onset=6", "duration"),
        ("spread=0", "above 0"),
    ] {
        let error = Truth::parse(text).unwrap_err().to_string();
        assert!(error.contains(want), "{text}: {error}");
    }
    assert_eq!(Truth::parse("").unwrap(), Truth::default());
}
