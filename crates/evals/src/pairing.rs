//! Which shadow pairs count.
//!
//! The tests assume independent pairs, and a user's requests are not: bursts of one user's failures turn
//! a nominal 5 % into 50 %. So each unit gives at most one pair per window (24 hours unless said
//! otherwise), and *which* one is settled before anything is known about the answers: the first that is
//! offered. A pair whose scoring then fails stays the unit's pair of that window. Trying until a score
//! comes would let the easy requests in.
//!
//! **A failed baseline** leaves the pair out unless told otherwise. Such a pair could only speak for the
//! candidate: with a baseline score of 0 its contribution to "at least r times as good" is
//! `candidate - r * 0 >= 0`. Leaving it out so never helps a promotion; the claim is then about requests
//! that the baseline answers, and the baseline's outages stay the business of the error gates. A failed
//! *candidate* always counts, with 0.
//!
//! A window that has passed is forgotten, and a pair from before the current window is refused, also
//! when a clock has stepped back: nothing could tell whether its unit was counted. The state is a serde
//! value and survives a restart; its size is bounded, and a full table refuses instead of forgetting.

use std::collections::BTreeSet;

use cutover_units::Millis;
use serde::{Deserialize, Serialize};

use crate::refusal::Refusal;
use crate::step::ScoreError;
use crate::subject::PairScore;

/// A unit's pairs are counted once per day unless the spec says otherwise.
pub const WINDOW_DEFAULT: Millis = Millis(24 * 60 * 60 * 1_000);

/// Units that can be counted in one window; beyond them a rollout has its evidence anyway. Stored as
/// JSON the full table takes two megabytes.
pub const UNITS_MAX: usize = 100_000;

/// Missing scores beyond this share make those that are there a selection.
pub const ERROR_SHARE_MAX: f64 = 0.05;

/// Fewer pairs say nothing about the share of errors.
const OFFERED_MIN: u64 = 20;

/// What a failed baseline answer means for its pair.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailedBaseline {
    /// The pair is left out: the claim is about requests that the baseline answers.
    #[default]
    Exclude,
    /// The baseline's score is 0: the claim is about all requests, and the baseline's outages speak for
    /// the candidate.
    CountAsZero,
}

/// Whether a pair counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admission {
    /// It does: score it.
    Counts,
    /// Its unit has its pair of this window.
    AlreadyCounted,
    /// The baseline failed.
    BaselineFailed,
    /// It is older than the current window.
    TooOld,
    /// No further unit fits the table in this window.
    TableFull,
}

/// One value per unit and window.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pairing {
    window: Millis,
    failed_baseline: FailedBaseline,
    /// Number of the current window since the epoch.
    current: u64,
    counted: BTreeSet<u64>,
    left_out: LeftOut,
}

/// How many pairs did not count, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Their unit had its pair of the window.
    pub already_counted: u64,
    /// The baseline had failed.
    pub baseline_failed: u64,
    /// They came from before the current window. Many of these: a clock stepped forward and back.
    pub too_old: u64,
    /// The table was full.
    pub table_full: u64,
}

impl Pairing {
    /// Nothing counted yet. A window of 0 is one millisecond.
    pub fn new(window: Millis, failed_baseline: FailedBaseline) -> Self {
        let window = Millis(window.0.max(1));
        Self {
            window,
            failed_baseline,
            current: 0,
            counted: BTreeSet::new(),
            left_out: LeftOut::default(),
        }
    }

    /// Asks for a pair at the time of its request: the unit by its hash, and whether the baseline
    /// failed. Units whose hashes collide share a pair, which costs data and no validity.
    pub fn offer(&mut self, unit: u64, at: Millis, baseline_failed: bool) -> Admission {
        let admission = self.admit(unit, at, baseline_failed);
        match admission {
            Admission::Counts => {}
            Admission::AlreadyCounted => self.left_out.already_counted += 1,
            Admission::BaselineFailed => self.left_out.baseline_failed += 1,
            Admission::TooOld => self.left_out.too_old += 1,
            Admission::TableFull => self.left_out.table_full += 1,
        }
        admission
    }

    fn admit(&mut self, unit: u64, at: Millis, baseline_failed: bool) -> Admission {
        let window = at.0 / self.window.0;
        if window < self.current {
            return Admission::TooOld;
        }
        if baseline_failed && self.failed_baseline == FailedBaseline::Exclude {
            return Admission::BaselineFailed;
        }
        if window > self.current {
            self.current = window;
            self.counted.clear();
        }
        if self.counted.contains(&unit) {
            return Admission::AlreadyCounted;
        }
        if self.counted.len() >= UNITS_MAX {
            return Admission::TableFull;
        }
        self.counted.insert(unit);
        Admission::Counts
    }

    /// How many pairs did not count, since the beginning.
    pub fn left_out(&self) -> LeftOut {
        self.left_out
    }

    /// How many units have their pair of the current window.
    pub fn units(&self) -> usize {
        self.counted.len()
    }
}

/// What became of the pairs that counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Coverage {
    /// Pairs with a score.
    pub scored: u64,
    /// Pairs whose scorer failed.
    pub errors: u64,
}

impl Coverage {
    /// Counts what came of scoring a pair. A missing reference is an error like the others.
    pub fn count(&mut self, result: &Result<PairScore, ScoreError>) {
        match result {
            Ok(_) => self.scored += 1,
            Err(_) => self.errors += 1,
        }
    }

    /// Adds the counts of another window or gateway.
    pub fn merge(&mut self, other: Self) {
        self.scored += other.scored;
        self.errors += other.errors;
    }

    /// Whether so few scores are missing that those there are may decide.
    pub fn may_gate(self) -> Result<(), Refusal> {
        let offered = self.scored + self.errors;
        let share = self.errors as f64 / offered.max(1) as f64;
        if offered >= OFFERED_MIN && share > ERROR_SHARE_MAX {
            let (errors, limit) = (self.errors, ERROR_SHARE_MAX);
            return Err(Refusal::TooManyErrors { errors, offered, limit });
        }
        Ok(())
    }
}

/// How many independent values pairs in clusters are worth at least: `(sum m)^2 / sum m^2` (Kish 1965),
/// what is left when a cluster's pairs all say the same. For reports that could not count one per unit.
pub fn effective_n(cluster_sizes: &[u64]) -> f64 {
    let sum: f64 = cluster_sizes.iter().map(|m| *m as f64).sum();
    let squares: f64 = cluster_sizes.iter().map(|m| (*m as f64).powi(2)).sum();
    if squares > 0.0 { sum * sum / squares } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use cutover_stats::{Alpha, Pair, PairClaim, PairTally, Score};
    use proptest::prelude::*;

    use super::*;
    use crate::draws::Draws;

    const DAY: u64 = WINDOW_DEFAULT.0;

    #[test]
    fn a_unit_counts_once_a_day_and_late_pairs_never() {
        let mut pairing = Pairing::new(WINDOW_DEFAULT, FailedBaseline::Exclude);
        let mut offer = |unit, at, failed| pairing.offer(unit, Millis(at), failed);
        assert_eq!(offer(7, DAY, false), Admission::Counts);
        assert_eq!(offer(7, DAY + 5, false), Admission::AlreadyCounted);
        assert_eq!(offer(8, DAY + 6, true), Admission::BaselineFailed);
        assert_eq!(offer(8, DAY + 7, false), Admission::Counts);
        assert_eq!(offer(7, 2 * DAY, false), Admission::Counts);
        // The clock steps back over midnight.
        assert_eq!(offer(9, 2 * DAY - 1, false), Admission::TooOld);
        assert_eq!(pairing.units(), 1);
        let left_out =
            LeftOut { already_counted: 1, baseline_failed: 1, too_old: 1, table_full: 0 };
        assert_eq!(pairing.left_out(), left_out);
    }

    #[test]
    fn a_failed_baseline_counts_where_that_was_chosen() {
        let mut pairing = Pairing::new(Millis(0), FailedBaseline::CountAsZero);
        assert_eq!(pairing.offer(1, Millis(5), true), Admission::Counts);
    }

    #[test]
    fn a_restart_forgets_no_unit() {
        let mut pairing = Pairing::new(WINDOW_DEFAULT, FailedBaseline::Exclude);
        pairing.offer(u64::MAX, Millis(DAY), false);
        let text = serde_json::to_string(&pairing).unwrap();
        let mut again: Pairing = serde_json::from_str(&text).unwrap();
        assert_eq!(again, pairing);
        assert_eq!(again.offer(u64::MAX, Millis(DAY + 1), false), Admission::AlreadyCounted);
    }

    /// How often harm is proved though both arms are equally good. A unit's ten requests in a row all
    /// go one way.
    fn false_harm(once_per_unit: bool) -> f64 {
        const RUNS: u64 = 200;
        let claim = PairClaim::FallsShortOf(1.0);
        let mut draws = Draws::new(41);
        let harmed = (0..RUNS).filter(|_| {
            let mut pairing = Pairing::new(WINDOW_DEFAULT, FailedBaseline::Exclude);
            let mut tally = PairTally::default();
            (0..100).fold(false, |harmed, unit| {
                let (candidate, baseline) = match draws.below(2) {
                    0 => (Score::PASS, Score::FAIL),
                    _ => (Score::FAIL, Score::PASS),
                };
                for request in 0..10 {
                    let admission = pairing.offer(unit, Millis(DAY + request), false);
                    if admission == Admission::Counts || !once_per_unit {
                        tally.add(Pair { candidate, baseline }, 1);
                    }
                }
                let log_e = tally.log_e(claim).expect("a claim");
                harmed || log_e.proves_at(Alpha::FIVE_PERCENT)
            })
        });
        harmed.count() as f64 / RUNS as f64
    }

    #[test]
    fn one_pair_per_unit_keeps_the_level_that_bursts_break() {
        let (requests, units) = (false_harm(false), false_harm(true));
        assert!(units <= 0.05, "{units}");
        assert!(requests > 0.3, "{requests}");
    }

    #[test]
    fn missing_scores_stop_a_gate() {
        assert!(Coverage { scored: 95, errors: 5 }.may_gate().is_ok());
        let refused = Coverage { scored: 90, errors: 10 }.may_gate().unwrap_err();
        assert_eq!(
            refused.to_string(),
            "10 of 100 pairs have no score because the scorer failed, at most 5 % are accepted"
        );
        assert!(Coverage { scored: 0, errors: 3 }.may_gate().is_ok());
    }

    #[test]
    fn one_heavy_user_is_little_more_than_one() {
        assert!((effective_n(&[1; 50]) - 50.0).abs() < 1e-9);
        assert!(effective_n(&[1_000, 1, 1]) < 1.01);
        assert!(effective_n(&[]) < 1e-12);
    }

    proptest! {
        #[test]
        fn no_unit_counts_twice_in_a_window(
            offers in prop::collection::vec((0u64..6, 0u64..100, any::<bool>()), 0..80),
        ) {
            let mut pairing = Pairing::new(Millis(10), FailedBaseline::Exclude);
            let mut counted: HashMap<(u64, u64), u32> = HashMap::new();
            for (unit, at, failed) in offers {
                if pairing.offer(unit, Millis(at), failed) == Admission::Counts {
                    prop_assert!(!failed);
                    *counted.entry((unit, at / 10)).or_default() += 1;
                }
            }
            prop_assert!(counted.values().all(|times| *times == 1));
        }
    }
}
