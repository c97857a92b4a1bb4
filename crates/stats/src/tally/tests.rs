use super::*;
use crate::test_support::{count, near, share};

const ALPHA: Alpha = Alpha::FIVE_PERCENT;

fn pairs(cells: [u64; 4]) -> PairTally {
    let mut tally = PairTally::default();
    let (yes, no) = (Score::PASS, Score::FAIL);
    for ((candidate, baseline), times) in
        [(yes, yes), (yes, no), (no, yes), (no, no)].into_iter().zip(cells)
    {
        tally.add(Pair { candidate, baseline }, times);
    }
    tally
}

fn canary() -> CanaryTally {
    let mut tally = CanaryTally::default();
    tally.add(Arm::Candidate, share(500), count(40, 1_000));
    tally.add(Arm::Baseline, share(500), count(150, 19_000));
    tally.add(Arm::Candidate, share(5_000), count(90, 3_000));
    tally.add(Arm::Baseline, share(5_000), count(30, 3_000));
    tally
}

#[test]
fn a_tally_has_the_evidence_of_its_process() {
    let claim = PairClaim::Retains(0.97);
    near(pairs([870, 50, 50, 30]).log_e(claim).unwrap().get(), 2.437_712, 1e-6);
    let claim = CanaryClaim { direction: Direction::Above, margin: 0.005 };
    let mut process = Betting::default();
    for (share, counts) in canary().strata() {
        for arm in [Arm::Candidate, Arm::Baseline] {
            let seen = counts.of(arm);
            process.observe_many(claim.stake(arm, share, 1.0).unwrap(), seen.hits).unwrap();
            process.observe_many(claim.stake(arm, share, 0.0).unwrap(), seen.misses()).unwrap();
        }
    }
    near(canary().excess_log_e(claim).unwrap().get(), process.log_e().get(), 1e-9);
}

#[test]
fn intervals_hold_the_estimate_and_agree_with_the_verdict() {
    let tally = pairs([870, 50, 50, 30]);
    let ratio = tally.ratio_interval(ALPHA);
    assert!(ratio.contains(1.0) && ratio.low > 0.9 && ratio.high < 1.1, "{ratio:?}");
    let proved = |r| tally.log_e(PairClaim::Retains(r)).unwrap().proves_at(ALPHA);
    assert!(proved(ratio.low - 1e-6) && !proved(ratio.low + 1e-6));
    let difference = tally.difference_interval(ALPHA);
    assert!(difference.contains(0.0) && difference.high < 0.1, "{difference:?}");

    let excess = canary().excess_interval(ALPHA);
    assert!(excess.low > 0.0 && excess.contains(0.024), "{excess:?}");
    let ratio = canary().ratio_interval(ALPHA);
    assert!(ratio.low > 1.5 && ratio.contains(3.6), "{ratio:?}");
}

#[test]
fn nothing_seen_bounds_nothing() {
    assert_eq!(
        PairTally::default().ratio_interval(ALPHA),
        Interval { low: 0.0, high: f64::INFINITY }
    );
    near(PairTally::default().difference_interval(ALPHA).low, -1.0, 1e-9);
    assert_eq!(PairTally::default().means(), None);
    assert!(CanaryTally::default().ratio_interval(ALPHA).high.is_infinite());
}

#[test]
fn tallies_merge_and_restart() {
    let mut merged = pairs([1, 2, 3, 4]);
    merged.merge(&pairs([4, 3, 2, 1]));
    assert_eq!(merged, pairs([5, 5, 5, 5]));
    let text = serde_json::to_string(&merged).unwrap();
    assert_eq!(serde_json::from_str::<PairTally>(&text).unwrap(), merged);
    let text = serde_json::to_string(&canary()).unwrap();
    assert_eq!(serde_json::from_str::<CanaryTally>(&text).unwrap(), canary());
}

#[test]
fn when_pairs_are_put_in_order_changes_no_bit() {
    let (mut straight, mut stopped) = (PairTally::default(), PairTally::default());
    for i in 0..3_000u32 {
        let percent = |salt: u32| {
            let mixed = (i.wrapping_mul(2_654_435_761) ^ salt).wrapping_mul(0x9e37_79b9) >> 16;
            Score::from_percent(u8::try_from(mixed % 101).unwrap()).unwrap()
        };
        let pair = Pair { candidate: percent(1), baseline: percent(7) };
        straight.add(pair, 1);
        stopped.add(pair, 1);
        if i % 97 == 0 {
            let text = serde_json::to_string(&stopped).unwrap();
            stopped = serde_json::from_str(&text).unwrap();
        }
    }
    assert_eq!(straight, stopped);
    assert_eq!((straight.pairs(), straight.means()), (3_000, stopped.means()));
    let claim = PairClaim::Retains(0.9);
    let bits = |tally: &PairTally| tally.log_e(claim).unwrap().get().to_bits();
    assert_eq!(bits(&straight), bits(&stopped));
    let cells: Vec<(Pair, u64)> = straight.into();
    assert!(cells.len() < 3_000 && cells.is_sorted_by(|a, b| a.0 < b.0));
}
