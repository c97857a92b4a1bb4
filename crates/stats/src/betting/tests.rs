use proptest::prelude::*;

use super::*;
use crate::test_support::near;

/// Cells: both right, candidate only, baseline only, neither.
fn quality(retained: f64, cells: [u64; 4]) -> Betting {
    let claim = PairClaim::Retains(retained);
    let mut process = Betting::for_pairs(claim).unwrap();
    let scores = [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)];
    for ((candidate, baseline), times) in scores.into_iter().zip(cells) {
        process.observe_many(claim.value(candidate, baseline).unwrap(), times).unwrap();
    }
    process
}

#[test]
fn pairs_prove_as_the_reference_says() {
    near(quality(0.97, [870, 50, 50, 30]).log_e().get(), 2.437_712, 1e-6);
    near(quality(0.95, [870, 50, 50, 30]).log_e().get(), 8.127_027, 1e-6);
    near(quality(0.90, [260, 12, 20, 8]).log_e().get(), 3.892_167, 1e-6);
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut process = Betting::new(0.5).unwrap();
    let before = process.clone();
    assert!(process.observe(-0.51).is_err());
    assert!(process.observe(f64::NAN).is_err());
    assert!(process.observe(f64::INFINITY).is_err());
    assert_eq!(process, before);
    assert!(process.merge(&Betting::new(0.6).unwrap()).is_err());
    assert!(Betting::new(0.0).is_err());
}

#[test]
fn a_stored_state_that_makes_no_sense_is_refused() {
    let text = serde_json::to_string(&Betting::new(0.5).unwrap()).unwrap();
    assert!(serde_json::from_str::<Betting>(&text).is_ok());
    for (from, to) in [("0.5", "0"), ("0.5", "x"), ("\"0\",", ""), ("[\"0\"", "[\"inf\"")] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text);
        assert!(serde_json::from_str::<Betting>(&broken).is_err(), "{broken}");
    }
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-0.97f64..1.0, 0..80)
}

fn fed(ys: &[f64]) -> Betting {
    let mut process = Betting::new(0.97).unwrap();
    for y in ys {
        process.observe(*y).unwrap();
    }
    process
}

proptest! {
    #[test]
    fn merging_halves_is_taking_all(ys in values(), cut in 0usize..80) {
        let (left, right) = ys.split_at(cut.min(ys.len()));
        let mut merged = fed(left);
        merged.merge(&fed(right)).unwrap();
        prop_assert_eq!(merged.observations(), ys.len() as u64);
        prop_assert!((merged.log_e().get() - fed(&ys).log_e().get()).abs() < 1e-9);
    }

    #[test]
    fn a_restart_continues_to_the_last_bit(ys in values(), cut in 0usize..80) {
        let (left, right) = ys.split_at(cut.min(ys.len()));
        let text = serde_json::to_string(&fed(left)).unwrap();
        let mut restarted: Betting = serde_json::from_str(&text).unwrap();
        for y in right { restarted.observe(*y).unwrap(); }
        prop_assert_eq!(restarted, fed(&ys));
    }

    #[test]
    fn more_in_favour_never_proves_less(ys in values(), at in 0usize..80, by in 0.0f64..0.5) {
        prop_assume!(at < ys.len());
        let mut better = ys.clone();
        better[at] += by;
        prop_assert!(fed(&better).log_e() >= fed(&ys).log_e());
    }
}
