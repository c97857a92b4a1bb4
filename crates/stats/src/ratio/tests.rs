use proptest::prelude::*;

use super::*;
use crate::test_support::{near, share};

fn harm() -> RatioClaim {
    RatioClaim::new(Direction::Above, 1.0).unwrap()
}

fn of(candidate: u64, baseline: u64, bp: u16) -> RateRatio {
    let mut process = RateRatio::new(harm());
    process.observe_many(Arm::Candidate, share(bp), candidate);
    process.observe_many(Arm::Baseline, share(bp), baseline);
    process
}

#[test]
fn event_counts_prove_as_the_reference_says() {
    near(of(3, 0, 500).log_e().get(), 5.293_188, 1e-6);
    near(of(5, 10, 1_000).log_e().get(), 2.223_456, 1e-6);
    near(of(10, 40, 1_000).log_e().get(), 1.145_441, 1e-6);
    near(of(0, 50, 1_000).log_e().get(), -3.029_350, 1e-6);
}

#[test]
fn a_smaller_ratio_is_proved_by_the_baselines_events() {
    let claim = RatioClaim::new(Direction::Below, 1.25).unwrap();
    let mut process = RateRatio::new(claim);
    process.observe_many(Arm::Candidate, share(5_000), 10);
    process.observe_many(Arm::Baseline, share(5_000), 60);
    assert!(process.log_e().get() > 3.0);
    assert!(RateRatio::new(harm()).merge(&process).is_err());
    assert!(RatioClaim::new(Direction::Above, 0.0).is_err());
}

proptest! {
    #[test]
    fn merge_and_restart_lose_nothing(
        events in prop::collection::vec((any::<bool>(), 1u16..10_000), 0..60), cut in 0usize..60,
    ) {
        let fed = |events: &[(bool, u16)]| {
            let mut process = RateRatio::new(harm());
            for (candidate, bp) in events {
                let arm = if *candidate { Arm::Candidate } else { Arm::Baseline };
                process.observe(arm, share(*bp));
            }
            process
        };
        let (left, right) = events.split_at(cut.min(events.len()));
        let mut merged = fed(left);
        let text = serde_json::to_string(&merged).unwrap();
        prop_assert_eq!(&serde_json::from_str::<RateRatio>(&text).unwrap(), &merged);
        merged.merge(&fed(right)).unwrap();
        let all = fed(&events);
        prop_assert!((merged.log_e().get() - all.log_e().get()).abs() < 1e-9);
        prop_assert_eq!(merged.events(Arm::Candidate), all.events(Arm::Candidate));
    }

    #[test]
    fn an_event_of_the_candidate_speaks_for_harm(c in 0u64..50, b in 0u64..50, bp in 1u16..10_000) {
        prop_assert!(of(c + 1, b, bp).log_e() > of(c, b, bp).log_e());
        prop_assert!(of(c, b + 1, bp).log_e() < of(c, b, bp).log_e());
    }
}
