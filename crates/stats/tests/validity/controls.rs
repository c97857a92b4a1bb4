//! Known mistakes, each with the level it claims to have. The harness must refuse them.

use cutover_stats::{Arm, Direction, RateRatio, RatioClaim};

use crate::harness::{ALPHA, RUNS, Stops, is_caught, score, share, walk_ramp};

#[test]
fn a_naive_z_that_is_looked_at_all_the_time() {
    let stops = Stops::of(RUNS, |draws| {
        let mut hits = 0.0;
        (1..=400u32).find_map(|n| {
            hits += score(draws.chance(0.5));
            let n = f64::from(n);
            (n > 20.0 && (hits - n / 2.0) / (n / 4.0).sqrt() > 1.645).then_some(1)
        })
    });
    is_caught("naive z with peeking", &stops);
}

#[test]
fn requests_of_sticky_users_counted_one_by_one() {
    let stops = Stops::of(RUNS, |draws| {
        let mut process = RateRatio::new(RatioClaim::new(Direction::Above, 1.0).unwrap());
        (1..=80).find(|_| {
            // A user whose session fails brings ten errors, all in the arm that the user sticks to.
            let arm = if draws.chance(0.1) { Arm::Candidate } else { Arm::Baseline };
            process.observe_many(arm, share(1_000), 10);
            process.log_e().proves_at(ALPHA)
        })
    });
    is_caught("request-level counts of sessions", &stops);
}

#[test]
fn a_ramp_pooled_into_one_comparison() {
    // Equal arms; errors rise over time while the share rises. Pooled, the candidate, which got most of
    // its units late, has more of them.
    let ramp = [(500, 20_000, (0.008, 0.008)), (5_000, 20_000, (0.032, 0.032))];
    let pooled = share(2_750);
    let stops = Stops::of(RUNS, |draws| {
        let mut process = RateRatio::new(RatioClaim::new(Direction::Above, 1.0).unwrap());
        walk_ramp(draws, &ramp, 100, |seen| {
            for (arm, _, _, events) in *seen {
                process.observe_many(arm, pooled, events);
            }
            process.log_e().proves_at(ALPHA)
        })
    });
    is_caught("a ramp pooled", &stops);
}
