//! False proofs stay below alpha although every single observation is a look, and the harness notices
//! a test for which that is not so.

use crate::claims::{CanaryClaim, Direction, PairClaim, ShareRange};
use crate::fixed::Draws;
use crate::level::{Alpha, Arm, Count};
use crate::special::normal_quantile;
use crate::test_support::share;
use crate::{Betting, FractionClaim, RateRatio, RatioClaim};

const RUNS: u32 = 400;

/// The share of runs in which `run` stops at some look.
fn false_alarms(mut run: impl FnMut(&mut dyn FnMut() -> f64) -> bool) -> f64 {
    let mut source = Draws(11);
    let mut uniform = || (source.next() >> 11) as f64 / 2f64.powi(53);
    let stopped = (0..RUNS).filter(|_| run(&mut uniform)).count();
    stopped as f64 / f64::from(RUNS)
}

/// Alpha and three standard errors of a rate of alpha over the runs.
fn limit() -> f64 {
    0.05 + 3.0 * (0.05 * 0.95 / f64::from(RUNS)).sqrt()
}

#[test]
fn optional_stopping_does_not_break_the_processes() {
    let alpha = Alpha::FIVE_PERCENT;
    let quality = false_alarms(|uniform| {
        // Exactly on the boundary: the baseline is right in 80 %, the candidate in 76 %.
        let claim = PairClaim::Retains(0.95);
        let mut process = Betting::for_pairs(claim).unwrap();
        (0..400).any(|_| {
            let candidate = f64::from(u8::from(uniform() < 0.76));
            let baseline = f64::from(u8::from(uniform() < 0.80));
            process.observe(claim.value(candidate, baseline).unwrap()).unwrap();
            process.log_e().proves_at(alpha)
        })
    });
    assert!(quality <= limit(), "{quality}");
    let ratio = false_alarms(|uniform| {
        let claim = RatioClaim::new(Direction::Above, 1.0).unwrap();
        let mut process = RateRatio::new(claim);
        (0..200).any(|_| {
            let arm = if uniform() < 0.1 { Arm::Candidate } else { Arm::Baseline };
            process.observe(arm, share(1_000));
            process.log_e().proves_at(alpha)
        })
    });
    assert!(ratio <= limit(), "{ratio}");
    let claim = FractionClaim::new(Direction::Above, 0.1).unwrap();
    let fraction = false_alarms(|uniform| {
        let mut count = Count::default();
        (0..400).any(|_| {
            count.trials += 1;
            count.hits += u64::from(uniform() < 0.1);
            claim.log_e(count).proves_at(alpha)
        })
    });
    assert!(fraction <= limit(), "{fraction}");
}

#[test]
fn a_fixed_sample_test_looked_at_all_the_time_is_caught() {
    let z = -normal_quantile(0.05);
    let naive = false_alarms(|uniform| {
        let mut hits = 0.0;
        (1..400u32).any(|n| {
            hits += f64::from(u8::from(uniform() < 0.5));
            let n = f64::from(n);
            n > 20.0 && (hits - n / 2.0) / (n / 4.0).sqrt() > z
        })
    });
    assert!(naive > 2.0 * limit(), "{naive}");
}

#[test]
fn a_candidate_that_is_as_good_is_proved_in_time() {
    let claim = PairClaim::Retains(0.95);
    let proved = false_alarms(|uniform| {
        let mut process = Betting::for_pairs(claim).unwrap();
        (0..900).any(|_| {
            // Right together in 86 %, one alone in 6 % each: a discordance of 12 %.
            let u = uniform();
            let candidate = f64::from(u8::from(u < 0.92));
            let baseline = f64::from(u8::from(!(0.86..0.92).contains(&u) && u < 0.98));
            process.observe(claim.value(candidate, baseline).unwrap()).unwrap();
            process.log_e().proves_at(Alpha::FIVE_PERCENT)
        })
    });
    assert!(proved > 0.85, "{proved}");
}

#[test]
fn a_ramp_under_drift_breaks_no_canary_process_and_bursts_do() {
    let shares = ShareRange::new(share(1_000), share(5_000)).unwrap();
    let claim = CanaryClaim { direction: Direction::Above, margin: 0.0, shares };
    let ramp = false_alarms(|uniform| {
        let mut process = Betting::for_canary(claim).unwrap();
        (0..600).any(|i| {
            // The weight goes up while errors go from 5 % to 25 % in both arms alike.
            let (share, rate) = if i < 300 { (share(1_000), 0.05) } else { (share(5_000), 0.25) };
            let arm = if uniform() < share.fraction() { Arm::Candidate } else { Arm::Baseline };
            let error = f64::from(u8::from(uniform() < rate));
            process.observe(claim.value(arm, share, error).unwrap()).unwrap();
            process.log_e().proves_at(Alpha::FIVE_PERCENT)
        })
    });
    assert!(ramp <= limit(), "{ramp}");
    // The documented failure: ten errors of one sticky user counted as ten events.
    let bursts = false_alarms(|uniform| {
        let mut process = RateRatio::new(RatioClaim::new(Direction::Above, 1.0).unwrap());
        (0..40).any(|_| {
            let arm = if uniform() < 0.1 { Arm::Candidate } else { Arm::Baseline };
            process.observe_many(arm, share(1_000), 10);
            process.log_e().proves_at(Alpha::FIVE_PERCENT)
        })
    });
    assert!(bursts > 2.0 * limit(), "{bursts}");
}
