use proptest::prelude::*;

use super::*;
use crate::betting::Betting;
use crate::draws::Draws;
use crate::level::Alpha;
use crate::ratio::{RateRatio, RatioClaim};
use crate::test_support::{count, near, share};

fn claim(direction: Direction, margin: f64) -> CanaryClaim {
    CanaryClaim { direction, margin }
}

type Unit = (bool, u16, bool);

fn fed(direction: Direction, units: &[Unit]) -> CanaryBetting {
    let mut process = CanaryBetting::new(claim(direction, 0.005)).unwrap();
    for (candidate, bp, hit) in units {
        let arm = if *candidate { Arm::Candidate } else { Arm::Baseline };
        process.observe(arm, share(*bp), f64::from(u8::from(*hit))).unwrap();
    }
    process
}

/// Under any share the expected factor of any bet is 1 on the boundary, and it never goes broke.
#[test]
fn no_bet_gains_on_the_boundary() {
    for direction in [Direction::Above, Direction::Below] {
        for bp in [1, 100, 500, 5_000, 9_900, 9_999] {
            for (margin, base) in [(0.005, 0.01), (-0.02, 0.3), (0.3, 0.2)] {
                let (share, claim) = (share(bp), claim(direction, margin));
                let w = share.fraction();
                let factor = |arm, x| claim.log_factors(arm, share, x).unwrap().map(f64::exp);
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

#[test]
fn without_a_margin_harm_is_the_likelihood_ratio_of_event_counts() {
    let share = share(1_000);
    let mut process = CanaryBetting::new(claim(Direction::Above, 0.0)).unwrap();
    let mut ratio = RateRatio::new(RatioClaim::new(Direction::Above, 1.0).unwrap());
    for (arm, errors) in [(Arm::Candidate, 12), (Arm::Baseline, 30)] {
        process.observe_count(arm, share, count(errors, errors + 1_000)).unwrap();
        ratio.observe_many(arm, share, errors);
    }
    // Different grids of the same likelihood ratio.
    near(process.log_e().get(), ratio.log_e().get(), 0.7);
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
            let mut process = CanaryBetting::new(claim).unwrap();
            Box::new(move |arm, share, x| {
                process.observe(arm, share, x).unwrap();
                process.log_e()
            })
        }
    };
    let fixed = |claim: CanaryClaim, extreme: u16| {
        move || -> Box<dyn FnMut(Arm, Share, f64) -> LogE> {
            let mut process = Betting::new(claim.floor(share(extreme))).unwrap();
            Box::new(move |arm, share, x| {
                process.observe(claim.value(arm, share, x).unwrap()).unwrap();
                process.log_e()
            })
        }
    };
    let pass = claim(Direction::Below, 0.005);
    let (now, then) =
        (ramp((0.003, 0.003), following(pass)), ramp((0.003, 0.003), fixed(pass, 100)));
    println!("not 0.5 pp more at 0.3 %: following {now:?}, fixed {then:?}");
    assert!(now.0 > 0.75 && then.0 < 0.05, "{now:?} {then:?}");
    let harm = claim(Direction::Above, 0.005);
    let (now, then) =
        (ramp((0.03, 0.008), following(harm)), ramp((0.03, 0.008), fixed(harm, 7_500)));
    println!("more than 0.5 pp at 3 % to 0.8 %: following {now:?}, fixed {then:?}");
    assert!(now.0 > 0.95 && now.1 < then.1, "{now:?} {then:?}");
}

#[test]
fn what_is_refused_changes_nothing() {
    let mut process = fed(Direction::Above, &[(true, 500, true)]);
    let before = process.clone();
    assert!(process.observe(Arm::Candidate, share(500), 1.5).is_err());
    assert!(process.observe(Arm::Candidate, share(500), f64::NAN).is_err());
    assert!(process.merge(&fed(Direction::Below, &[])).is_err());
    assert_eq!(process, before);
    assert!(CanaryBetting::new(claim(Direction::Above, 1.0)).is_err());
    let text = serde_json::to_string(&process).unwrap();
    let broken = text.replacen("0.005", "2.0", 1);
    assert!(serde_json::from_str::<CanaryBetting>(&broken).is_err());
}

proptest! {
    #[test]
    fn merge_and_restart_lose_nothing(
        units in prop::collection::vec((any::<bool>(), 1u16..10_000, any::<bool>()), 0..60),
        cut in 0usize..60,
        above in any::<bool>(),
    ) {
        let direction = if above { Direction::Above } else { Direction::Below };
        let (left, right) = units.split_at(cut.min(units.len()));
        let all = fed(direction, &units);
        let text = serde_json::to_string(&fed(direction, left)).unwrap();
        let mut restarted: CanaryBetting = serde_json::from_str(&text).unwrap();
        restarted.merge(&fed(direction, right)).unwrap();
        prop_assert_eq!(restarted.units(Arm::Candidate), all.units(Arm::Candidate));
        prop_assert!((restarted.log_e().get() - all.log_e().get()).abs() < 1e-9);
    }
}
