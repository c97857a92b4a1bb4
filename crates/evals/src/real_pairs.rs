//! The gates and the grader check on public pairs: GPT-4 as the baseline, Mixtral as the candidate, MMLU
//! questions graded right or wrong. Counts and licence: `fixtures/mmlu_gpt4_mixtral.csv`.

use crate::draws::Draws;
use crate::sanity::{Alarm, Floor, SliceTally, check};
use cutover_stats::{Alpha, Pair, PairClaim, PairTally, Score};

const DATA: &str = include_str!("../fixtures/mmlu_gpt4_mixtral.csv");

/// Subject, and how often: both right, only the baseline, only the candidate, none.
fn subjects() -> Vec<(&'static str, [u64; 4])> {
    let rows = DATA.lines().filter(|line| !line.starts_with('#')).skip(1);
    rows.map(|line| {
        let mut cells = line.split(',');
        let subject = cells.next().expect("a subject");
        let mut count = || cells.next().expect("a count").parse().expect("a number");
        (subject, [count(), count(), count(), count()])
    })
    .collect()
}

fn totals() -> [u64; 4] {
    subjects().iter().fold([0; 4], |sum, (_, cells)| std::array::from_fn(|i| sum[i] + cells[i]))
}

/// The scores of the cells, in their order: baseline, candidate.
const CELLS: [(u8, u8); 4] = [(100, 100), (100, 0), (0, 100), (0, 0)];

fn score(percent: u8) -> Score {
    Score::from_percent(percent).expect("at most 100")
}

fn pair((baseline, candidate): (u8, u8)) -> Pair {
    Pair { baseline: score(baseline), candidate: score(candidate) }
}

fn slices() -> Vec<SliceTally> {
    subjects()
        .into_iter()
        .map(|(subject, cells)| {
            let mut tally = SliceTally::new(subject);
            for ((baseline, candidate), times) in CELLS.into_iter().zip(cells) {
                tally.add_many(baseline.into(), candidate.into(), times);
            }
            tally
        })
        .collect()
}

/// All pairs in a random order.
fn shuffled(draws: &mut Draws) -> Vec<(u8, u8)> {
    let mut pairs: Vec<(u8, u8)> = CELLS
        .into_iter()
        .zip(totals())
        .flat_map(|(cell, times)| (0..times).map(move |_| cell))
        .collect();
    for at in (1..pairs.len()).rev() {
        pairs.swap(at, draws.below(at + 1));
    }
    pairs
}

/// After how many pairs a claim is proved, looking after each.
fn proved_after(claim: PairClaim, pairs: impl Iterator<Item = (u8, u8)>) -> Option<usize> {
    let mut tally = PairTally::default();
    for (at, cell) in pairs.enumerate() {
        tally.add(pair(cell), 1);
        if tally.log_e(claim).expect("a claim").proves_at(Alpha::FIVE_PERCENT) {
            return Some(at + 1);
        }
    }
    None
}

#[test]
fn the_counts_are_those_of_the_source() {
    assert_eq!(subjects().len(), 57);
    assert_eq!(totals(), [8_818, 2_497, 742, 1_985]);
}

#[test]
fn a_candidate_at_84_5_percent_is_harm_at_95_and_passes_at_80() {
    let mut tally = PairTally::default();
    for (cell, times) in CELLS.into_iter().zip(totals()) {
        tally.add(pair(cell), times);
    }
    let (candidate, baseline) = tally.means().expect("pairs");
    assert!((candidate / baseline - 0.845).abs() < 5e-4);
    let proves = |claim| tally.log_e(claim).expect("a claim").proves_at(Alpha::FIVE_PERCENT);
    assert!(proves(PairClaim::FallsShortOf(0.95)) && !proves(PairClaim::Retains(0.95)));
    assert!(proves(PairClaim::Retains(0.80)) && !proves(PairClaim::FallsShortOf(0.80)));
    assert!(tally.ratio_interval(Alpha::FIVE_PERCENT.shared_by(2)).contains(0.845));
}

#[test]
fn looking_after_every_pair_decides_within_the_expected_numbers() {
    let mut draws = Draws::new(11);
    let mut after = |claim| {
        let mut sizes: Vec<usize> = (0..9)
            .map(|_| proved_after(claim, shuffled(&mut draws).into_iter()).unwrap_or(usize::MAX))
            .collect();
        sizes.sort_unstable();
        sizes[4]
    };
    let (harm, pass) = (after(PairClaim::FallsShortOf(0.95)), after(PairClaim::Retains(0.80)));
    assert!((100..700).contains(&harm), "harm after {harm}");
    assert!((200..2_500).contains(&pass), "pass after {pass}");
}

#[test]
fn swapped_labels_are_harm_no_oftener_than_alpha() {
    const RUNS: usize = 500;
    const PAIRS: usize = 3_000;
    let mut draws = Draws::new(23);
    // Exactly at the boundary: with labels drawn by a coin both arms are equally good. Only discordant
    // pairs move the process at r = 1, so only they are observed.
    let claim = PairClaim::FallsShortOf(1.0);
    let [both, baseline, candidate, none] = totals();
    let discordant = baseline + candidate;
    let all = discordant + both + none;
    let false_harm = (0..RUNS)
        .filter(|_| {
            let swapped: Vec<(u8, u8)> = (0..PAIRS)
                .filter(|_| draws.next() % all < discordant)
                .collect::<Vec<_>>()
                .into_iter()
                .map(|_| if draws.below(2) == 0 { (100, 0) } else { (0, 100) })
                .collect();
            proved_after(claim, swapped.into_iter()).is_some()
        })
        .count();
    let rate = false_harm as f64 / RUNS as f64;
    assert!(rate <= 0.05, "false harm in {rate}");
}

#[test]
fn a_broken_grader_raises_the_alarm() {
    let slices = slices();
    let outliers: Vec<(String, f64)> = check(&slices, Floor::default())
        .into_iter()
        .filter_map(|alarm| match alarm {
            Alarm::SliceOutlier { slice, ratio, .. } => Some((slice, ratio)),
            Alarm::BaselineBelowFloor { .. } => None,
        })
        .collect();
    assert_eq!(outliers.len(), 1, "{outliers:?}");
    let (slice, ratio) = &outliers[0];
    assert_eq!(slice, "high_school_mathematics");
    assert!(*ratio > 9.0, "{ratio}");

    // Alone, that subject would be promoted.
    let cells = subjects().into_iter().find(|(name, _)| name == slice).expect("the subject").1;
    let mut tally = PairTally::default();
    CELLS.into_iter().zip(cells).for_each(|(cell, times)| tally.add(pair(cell), times));
    assert!(tally.log_e(PairClaim::Retains(0.95)).expect("a claim").proves_at(Alpha::FIVE_PERCENT));
    let alone: Vec<SliceTally> = slices.into_iter().filter(|s| s.slice == *slice).collect();
    let floor = Floor { overall: 0.7, slice: 0.0 };
    assert!(matches!(check(&alone, floor)[..], [Alarm::BaselineBelowFloor { .. }]));
}
