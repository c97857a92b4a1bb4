use proptest::prelude::*;

use super::*;
use crate::claims::{CanaryClaim, Direction, PairClaim};
use crate::draws::Draws;
use crate::level::{Alpha, Arm, Share};
use crate::test_support::{near, share};

/// Cells: both right, candidate only, baseline only, neither.
fn quality(retained: f64, cells: [u64; 4]) -> Betting {
    let claim = PairClaim::Retains(retained);
    let mut process = Betting::default();
    let scores = [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0), (0.0, 0.0)];
    for ((candidate, baseline), times) in scores.into_iter().zip(cells) {
        process.observe_many(claim.stake(candidate, baseline).unwrap(), times).unwrap();
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
    let mut process = Betting::default();
    process.observe(0.5).unwrap();
    let before = process.clone();
    assert!(process.observe(-1.01).is_err());
    assert!(process.observe(f64::NAN).is_err());
    assert!(process.observe(f64::INFINITY).is_err());
    assert_eq!(process, before);
}

proptest! {
    #[test]
    fn many_at_once_are_the_same_evidence(
        stakes in prop::collection::vec((-1.0f64..20.0, prop_oneof![0u64..4, 0u64..3_000_000]), 0..200),
    ) {
        let (mut one_by_one, mut at_once) = (Betting::default(), Betting::default());
        for (stake, times) in &stakes {
            one_by_one.observe_many(*stake, *times).unwrap();
        }
        at_once.observe_all(&stakes).unwrap();
        prop_assert_eq!(one_by_one.observations(), at_once.observations());
        let (slow, fast) = (one_by_one.log_e().get(), at_once.log_e().get());
        prop_assert!((slow - fast).abs() <= 1e-9 * slow.abs().max(1.0), "{} {}", slow, fast);
        let before = at_once.clone();
        prop_assert!(at_once.observe_all(&[(0.5, 1), (-1.5, 1)]).is_err());
        prop_assert_eq!(at_once, before);
    }
}

#[test]
fn no_factor_is_further_from_one_than_thought() {
    for i in 0..=10_000u32 {
        let x = f64::from(i) / 10_000.0 * 6.0 - 0.95 * (1.0 + SLACK);
        assert!(furthest(x) >= x.ln_1p().abs(), "{x}");
    }
}

#[test]
fn products_of_extreme_stakes_stay_in_range() {
    for stake in [-1.0, 9_999.0] {
        let mut process = Betting::default();
        process.observe_all(&vec![(stake, 1); 1_000]).unwrap();
        near(
            process.log_e().get(),
            {
                let mut slow = Betting::default();
                slow.observe_many(stake, 1_000).unwrap();
                slow.log_e().get()
            },
            1e-8,
        );
    }
}

#[test]
fn a_stored_state_that_makes_no_sense_is_refused() {
    let text = serde_json::to_string(&Betting::default()).unwrap();
    assert!(serde_json::from_str::<Betting>(&text).is_ok());
    for (from, to) in [("[\"0\"", "[\"x\""), ("\"0\",", ""), ("[\"0\"", "[\"inf\"")] {
        let broken = text.replacen(from, to, 1);
        assert_ne!(broken, text);
        assert!(serde_json::from_str::<Betting>(&broken).is_err(), "{broken}");
    }
}

/// Under any share the expected factor of any bet is 1 on the boundary.
#[test]
fn no_bet_gains_on_the_boundary() {
    for direction in [Direction::Above, Direction::Below] {
        for bp in [1, 100, 500, 5_000, 9_900, 9_999] {
            for (margin, base) in [(0.005, 0.01), (-0.02, 0.3), (0.3, 0.2)] {
                let (share, claim) = (share(bp), CanaryClaim { direction, margin });
                let w = share.fraction();
                let factor = |arm, x| {
                    let stake = claim.stake(arm, share, x).unwrap();
                    Betting::log_factors(stake).unwrap().map(f64::exp)
                };
                let cells = [
                    (factor(Arm::Candidate, 1.0), w * (base + margin)),
                    (factor(Arm::Candidate, 0.0), w * (1.0 - base - margin)),
                    (factor(Arm::Baseline, 1.0), (1.0 - w) * base),
                    (factor(Arm::Baseline, 0.0), (1.0 - w) * (1.0 - base)),
                ];
                for j in 0..BETS {
                    near(cells.iter().map(|(factors, p)| factors[j] * p).sum(), 1.0, 1e-9);
                }
            }
        }
    }
}

/// Runs of a ramp that end in proof, and the median number of units until then. `observe` returns the
/// evidence after one more unit.
fn ramp(
    rates: (f64, f64),
    start: impl Fn() -> Box<dyn FnMut(Arm, Share, f64) -> LogE>,
) -> (f64, u64) {
    let (runs, stretch) = (400, 4_000);
    let mut draws = Draws::new(5);
    let mut ends: Vec<u64> = (0..runs)
        .filter_map(|_| {
            let mut observe = start();
            [100u16, 500, 2_500, 7_500]
                .into_iter()
                .flat_map(|bp| std::iter::repeat_n(share(bp), stretch))
                .zip(1..)
                .find_map(|(share, n)| {
                    let arm =
                        if draws.chance(share.fraction()) { Arm::Candidate } else { Arm::Baseline };
                    let rate = if arm == Arm::Candidate { rates.0 } else { rates.1 };
                    let log_e = observe(arm, share, f64::from(u8::from(draws.chance(rate))));
                    log_e.proves_at(Alpha::FIVE_PERCENT).then_some(n)
                })
        })
        .collect();
    ends.sort_unstable();
    let proved = ends.len() as f64 / f64::from(runs);
    (proved, ends.get(ends.len() / 2).copied().unwrap_or(u64::MAX))
}

#[test]
fn a_ramp_is_not_limited_by_its_smallest_share() {
    let following = |claim: CanaryClaim| {
        move || -> Box<dyn FnMut(Arm, Share, f64) -> LogE> {
            let mut process = Betting::default();
            Box::new(move |arm, share, x| {
                process.observe(claim.stake(arm, share, x).unwrap()).unwrap();
                process.log_e()
            })
        }
    };
    let fixed = |claim: CanaryClaim, extreme: u16| {
        move || -> Box<dyn FnMut(Arm, Share, f64) -> LogE> {
            let (mut process, floor) = (Betting::default(), claim.floor(share(extreme)));
            Box::new(move |arm, share, x| {
                process.observe(claim.value(arm, share, x).unwrap() / floor).unwrap();
                process.log_e()
            })
        }
    };
    let pass = CanaryClaim { direction: Direction::Below, margin: 0.005 };
    let (now, then) =
        (ramp((0.003, 0.003), following(pass)), ramp((0.003, 0.003), fixed(pass, 100)));
    println!("not 0.5 pp more at 0.3 %: following {now:?}, fixed {then:?}");
    assert!(now.0 > 0.75 && then.0 < 0.05, "{now:?} {then:?}");
    let harm = CanaryClaim { direction: Direction::Above, margin: 0.005 };
    let (now, then) =
        (ramp((0.03, 0.008), following(harm)), ramp((0.03, 0.008), fixed(harm, 7_500)));
    println!("more than 0.5 pp at 3 % to 0.8 %: following {now:?}, fixed {then:?}");
    assert!(now.0 > 0.75 && now.1 < then.1, "{now:?} {then:?}");
}

fn values() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-0.97f64..1.0, 0..80)
}

fn fed(ys: &[f64]) -> Betting {
    let mut process = Betting::default();
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
        merged.merge(&fed(right));
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
