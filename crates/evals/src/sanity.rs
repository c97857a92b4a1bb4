//! Is the grader sane? Looked at before a score may move anything.
//!
//! A broken grader passes every test on its own numbers: in a public set of graded answers one subject
//! counts a strong model right on 8 of 270 and a weak one on 86, and a gate that reads the ratio alone
//! promotes at 10.75. Two signs give such a grader away:
//!
//! * the baseline, which serves today and is known, scores below its floor, or
//! * one slice (a use case's kind of request, a language, a customer group) has a ratio of candidate to
//!   baseline unlike the others'.
//!
//! The second compares logarithms. With a slice's means b and c, `x = ln(c / b)` has, by the delta
//! method over pairs, the squared standard error `v = (var_b/b^2 + var_c/c^2 - 2 cov/(b c)) / n`. A slice
//! is an outlier when
//!
//! ```text
//! |x - median(x)| > max( 4 sqrt(v + (1.4826 MAD)^2), ln 2 )
//! ```
//!
//! so that neither chance (4 standard errors) nor the usual spread between slices (median absolute
//! deviation, Hampel 1974) raises it, and nothing below a factor of two does. Half a right answer is
//! added to each sum, so that a slice without any is finite.
//!
//! Scores that mean agreement with the baseline give the baseline 100 by definition: a floor then says
//! nothing, and the slices remain.
//!
//! An alarm holds a rollout; it is no verdict on the candidate. Fails when most slices are broken alike:
//! the median is then broken too, and only the floor is left.

use cutover_stats::fixed::wilson;
use cutover_stats::{Alpha, Count};
use serde::{Deserialize, Serialize};

use crate::subject::PairScore;

/// A slice with fewer pairs is not looked at alone.
const PAIRS_MIN: u64 = 20;
/// With fewer slices there is no "the others".
const SLICES_MIN: usize = 3;
/// How many standard errors are beyond chance for some hundred slices.
const DEVIATIONS: f64 = 4.0;
/// Makes a median absolute deviation the standard deviation of a normal sample.
const MAD_SCALE: f64 = 1.4826;

/// The pairs of one slice, in sums.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SliceTally {
    /// Which slice.
    pub slice: String,
    /// How many pairs.
    pub pairs: u64,
    /// Sum of the baseline's scores in percent.
    pub baseline: u64,
    /// Sum of the candidate's scores in percent.
    pub candidate: u64,
    /// Sums of squares and of products.
    pub baseline_squares: u64,
    /// The same of the candidate.
    pub candidate_squares: u64,
    /// Baseline times candidate.
    pub products: u64,
}

impl SliceTally {
    /// An empty slice.
    pub fn new(slice: impl Into<String>) -> Self {
        Self { slice: slice.into(), ..Self::default() }
    }

    /// Counts a pair.
    pub fn add(&mut self, score: &PairScore) {
        let percent = |score: cutover_stats::Score| u64::from(u8::from(score));
        self.add_many(percent(score.baseline.score), percent(score.candidate.score), 1);
    }

    /// Counts so many pairs of equal scores in percent.
    pub fn add_many(&mut self, baseline: u64, candidate: u64, times: u64) {
        self.pairs += times;
        self.baseline += baseline * times;
        self.candidate += candidate * times;
        self.baseline_squares += baseline * baseline * times;
        self.candidate_squares += candidate * candidate * times;
        self.products += baseline * candidate * times;
    }

    /// Adds another tally of the same slice.
    pub fn merge(&mut self, other: &Self) {
        self.pairs += other.pairs;
        self.baseline += other.baseline;
        self.candidate += other.candidate;
        self.baseline_squares += other.baseline_squares;
        self.candidate_squares += other.candidate_squares;
        self.products += other.products;
    }

    /// The baseline's mean score, 0 to 1.
    pub fn baseline_mean(&self) -> Option<f64> {
        (self.pairs > 0).then(|| self.baseline as f64 / self.pairs as f64 / 100.0)
    }

    /// The logarithm of the ratio of the means, and its squared standard error.
    fn log_ratio(&self) -> (f64, f64) {
        let n = self.pairs as f64;
        let mean = |sum: u64| (sum as f64 + 50.0) / n;
        let (b, c) = (mean(self.baseline), mean(self.candidate));
        let moment = |sum: u64, x: f64, y: f64| (sum as f64 / n - x * y) / (x * y);
        let spread = moment(self.baseline_squares, b, b) + moment(self.candidate_squares, c, c)
            - 2.0 * moment(self.products, b, c);
        // A slice whose scores do not vary at all still has the resolution of one pair.
        ((c / b).ln(), (spread.max(0.0) / n).max(1.0 / (n * n)))
    }
}

/// The least that the baseline scores while the grader works.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Floor {
    /// Over all pairs, 0 to 1; 0 = none.
    pub overall: f64,
    /// In each slice, 0 to 1; 0 = none. Slices differ in difficulty, so this is far below the other.
    pub slice: f64,
}

impl Floor {
    /// The floor from a sample whose grades people checked: the lower end of Wilson's interval for the
    /// baseline's mean, at this level on both sides. Wilson's variance is the largest that scores
    /// between 0 and 1 can have, so the floor is rather too low than too high.
    pub fn calibrated(sample: &SliceTally, alpha: Alpha) -> Self {
        let count = Count { hits: sample.baseline / 100, trials: sample.pairs };
        Self { overall: wilson(count, alpha).low, slice: 0.0 }
    }
}

/// What is not right with the grader.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Alarm {
    /// The baseline scores less than it is known to.
    #[error("the baseline scores {:.1} %{}, its floor is {:.1} %: is the grader right?", mean * 100.0, slice.as_ref().map(|s| format!(" in {s}")).unwrap_or_default(), floor * 100.0)]
    BaselineBelowFloor {
        /// Where; `None` = over all pairs.
        slice: Option<String>,
        /// Its mean score.
        mean: f64,
        /// The floor.
        floor: f64,
    },
    /// A slice's ratio of candidate to baseline is unlike the others'.
    #[error(
        "in {slice} the candidate scores {ratio:.2} times the baseline, elsewhere {median:.2} times: is the grader right there?"
    )]
    SliceOutlier {
        /// Which slice.
        slice: String,
        /// Candidate's sum of scores over the baseline's, there.
        ratio: f64,
        /// The median of the slices' ratios.
        median: f64,
        /// How many standard deviations lie between.
        deviations: f64,
    },
}

/// All alarms over these slices; none = the scores may be used.
pub fn check(slices: &[SliceTally], floor: Floor) -> Vec<Alarm> {
    let mut alarms = below_floor(slices, floor);
    alarms.extend(outliers(slices));
    alarms
}

fn below_floor(slices: &[SliceTally], floor: Floor) -> Vec<Alarm> {
    let mut all = SliceTally::default();
    for slice in slices {
        all.merge(slice);
    }
    let low = |tally: &SliceTally, floor: f64, slice: Option<String>| {
        let mean =
            tally.baseline_mean().filter(|mean| tally.pairs >= PAIRS_MIN && *mean < floor)?;
        Some(Alarm::BaselineBelowFloor { slice, mean, floor })
    };
    let of_slice = |tally: &SliceTally| low(tally, floor.slice, Some(tally.slice.clone()));
    low(&all, floor.overall, None).into_iter().chain(slices.iter().filter_map(of_slice)).collect()
}

fn outliers(slices: &[SliceTally]) -> Vec<Alarm> {
    let known: Vec<(&SliceTally, f64, f64)> = slices
        .iter()
        .filter(|slice| slice.pairs >= PAIRS_MIN)
        .map(|slice| (slice, slice.log_ratio()))
        .map(|(slice, (x, variance))| (slice, x, variance))
        .collect();
    if known.len() < SLICES_MIN {
        return Vec::new();
    }
    let centre = median(known.iter().map(|(_, x, _)| *x).collect());
    let spread = MAD_SCALE * median(known.iter().map(|(_, x, _)| (x - centre).abs()).collect());
    known
        .into_iter()
        .filter_map(|(slice, x, variance)| {
            let deviation = (variance + spread * spread).sqrt();
            let far = (x - centre).abs();
            (far > (DEVIATIONS * deviation).max(std::f64::consts::LN_2)).then(|| {
                Alarm::SliceOutlier {
                    slice: slice.slice.clone(),
                    ratio: x.exp(),
                    median: centre.exp(),
                    deviations: far / deviation,
                }
            })
        })
        .collect()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let (low, high) = (values.len().saturating_sub(1) / 2, values.len() / 2);
    match (values.get(low), values.get(high)) {
        (Some(low), Some(high)) => f64::midpoint(*low, *high),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slice(name: &str, right: [u64; 4]) -> SliceTally {
        let mut tally = SliceTally::new(name);
        let [both, baseline, candidate, none] = right;
        tally.add_many(100, 100, both);
        tally.add_many(100, 0, baseline);
        tally.add_many(0, 100, candidate);
        tally.add_many(0, 0, none);
        tally
    }

    #[test]
    fn like_slices_raise_no_alarm() {
        let slices: Vec<SliceTally> =
            (0..12).map(|i| slice(&format!("s{i}"), [60 + i, 15, 8, 20])).collect();
        assert_eq!(check(&slices, Floor { overall: 0.6, slice: 0.3 }), []);
        assert_eq!(check(&[], Floor { overall: 0.9, slice: 0.9 }), []);
    }

    #[test]
    fn a_baseline_below_its_floor_is_told() {
        let slices = [slice("a", [50, 10, 10, 30]), slice("b", [5, 2, 20, 73])];
        let told: Vec<String> = check(&slices, Floor { overall: 0.8, slice: 0.2 })
            .iter()
            .map(ToString::to_string)
            .collect();
        insta::assert_snapshot!(told.join("\n"), @"
        the baseline scores 33.5 %, its floor is 80.0 %: is the grader right?
        the baseline scores 7.0 % in b, its floor is 20.0 %: is the grader right?
        ");
    }

    #[test]
    fn a_slice_unlike_the_others_is_told_in_both_directions() {
        let mut slices: Vec<SliceTally> =
            (0..9).map(|i| slice(&format!("s{i}"), [60, 12 + i, 8, 20])).collect();
        slices.push(slice("high", [5, 3, 80, 182]));
        slices.push(slice("low", [1, 95, 0, 4]));
        slices.push(slice("small", [0, 0, 10, 0]));
        let names: Vec<String> = check(&slices, Floor::default())
            .into_iter()
            .filter_map(|alarm| match alarm {
                Alarm::SliceOutlier { slice, .. } => Some(slice),
                Alarm::BaselineBelowFloor { .. } => None,
            })
            .collect();
        assert_eq!(names, ["high", "low"]);
    }

    #[test]
    fn a_calibrated_floor_leaves_room_for_chance() {
        let floor = Floor::calibrated(&slice("checked", [150, 30, 5, 15]), Alpha::FIVE_PERCENT);
        assert!((0.84..0.90).contains(&floor.overall), "{floor:?}");
        assert_eq!(check(&[slice("a", [80, 8, 2, 10])], floor), []);
        assert_eq!(check(&[slice("a", [60, 8, 2, 30])], floor).len(), 1);
    }

    #[test]
    fn tallies_add_up() {
        let mut left = slice("a", [1, 2, 3, 4]);
        left.merge(&slice("a", [4, 3, 2, 1]));
        assert_eq!(left, slice("a", [5, 5, 5, 5]));
    }
}
