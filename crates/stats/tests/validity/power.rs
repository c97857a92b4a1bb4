//! The claim is true; the proof comes in time.

use cutover_stats::{
    Alpha, CanaryClaim, Direction, FractionClaim, PairClaim, RateRatio, RatioClaim, Relation,
    SampleRatio,
};

use crate::boundary::{Looks, fraction, pairs, relation};
use crate::harness::{ALPHA, Cells, Stops, is_fast, share, walk_canary, walk_ramp};

const RUNS: u32 = 1_001;

#[test]
fn quality_on_pairs() {
    for (claim, cells, table) in [
        (PairClaim::Retains(0.95), Cells::new(0.92, 0.92, 0.12), 414),
        (PairClaim::Retains(0.95), Cells::new(0.92, 0.92, 0.06), 243),
        (PairClaim::Retains(0.90), Cells::new(0.89, 0.92, 0.12), 242),
        (PairClaim::Retains(0.85), Cells::new(0.89, 0.92, 0.12), 87),
        (PairClaim::FallsShortOf(0.95), Cells::new(0.891 * 0.92, 0.92, 0.12), 372),
    ] {
        let stops = Stops::of(RUNS, |draws| pairs(draws, claim, cells, 4 * table));
        is_fast(&format!("{claim:?}"), table, &stops);
    }
}

#[test]
fn errors_under_a_constant_share() {
    for (direction, bp, rates, table) in [
        (Direction::Below, 1_000, (0.003, 0.003), 23_000),
        (Direction::Below, 5_000, (0.003, 0.003), 4_500),
        (Direction::Above, 500, (0.03, 0.008), 8_600),
        (Direction::Above, 1_000, (0.03, 0.008), 5_200),
    ] {
        let claim = CanaryClaim { direction, margin: 0.005 };
        let ramp = [(bp, 3 * table, rates)];
        let stops = Stops::of(RUNS, |draws| walk_canary(draws, claim, &ramp, 50));
        is_fast(&format!("{claim:?} at {bp} bp"), table, &stops);
    }
}

#[test]
fn error_counts() {
    let claim = RatioClaim::new(Direction::Above, 1.0).unwrap();
    let stops = Stops::of(RUNS, |draws| {
        let mut process = RateRatio::new(claim);
        walk_ramp(draws, &[(500, 20_000, (0.03, 0.008))], 50, |seen| {
            for (arm, share, _, events) in *seen {
                process.observe_many(arm, share, events);
            }
            process.log_e().proves_at(ALPHA)
        })
    });
    is_fast("error ratio above 1, 0.8 % to 3 % at 5 %", 4_400, &stops);
}

#[test]
fn a_share_over_a_limit() {
    for (direction, truth, table) in [
        (Direction::Below, 0.01, 131),
        (Direction::Below, 0.025, 406),
        (Direction::Below, 0.04, 2_661),
        (Direction::Above, 0.10, 157),
        (Direction::Above, 0.20, 25),
    ] {
        let claim = FractionClaim::new(direction, 0.05).unwrap();
        let stops = Stops::of(RUNS, |draws| fraction(draws, claim, truth, 4 * table));
        is_fast(&format!("{direction:?} 5 % at {truth}"), table, &stops);
    }
}

#[test]
fn a_relative_quantile() {
    for (ratio, wanted, table) in [
        (1.0, Relation::Within, 750),
        (0.8, Relation::Within, 300),
        (1.5, Relation::Beyond, 1_000),
        (2.0, Relation::Beyond, 200),
    ] {
        let looks = (Looks::new(table, 3 * table), Looks::new(9 * table, 27 * table));
        let stops = Stops::of(301, |draws| relation(draws, (&looks.0, &looks.1), ratio, wanted));
        is_fast(&format!("p95 {wanted:?} 1.25x at {ratio}"), table, &stops);
    }
}

#[test]
fn a_mismatch_of_the_split() {
    let alpha = Alpha::new(0.01).unwrap();
    for (truth, table) in [(550, 23_600), (600, 6_100)] {
        let stops = Stops::of(RUNS, |draws| {
            let mut split = SampleRatio::new(share(500));
            walk_ramp(draws, &[(truth, 3 * table, (0.0, 0.0))], 100, |seen| {
                for (arm, _, units, _) in *seen {
                    split.observe(arm, units);
                }
                split.log_e().proves_at(alpha)
            })
        });
        is_fast(&format!("split of {truth} bp instead of 500"), table, &stops);
    }
}
