//! Counts of values in buckets that grow with the value: 64 to each doubling, so that a bucket is at
//! most 1.6 % wide. Mergeable, and as large as the number of different buckets seen (at most about
//! 2,200 for the whole range).
//!
//! A rank's value is only known to its bucket. Bounds are therefore read from the bucket's far end: the
//! upper end for an upper bound, the lower end for a lower bound. That costs width, never validity.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Buckets per doubling.
const PER_DOUBLING: f64 = 64.0;
/// Values below this share one bucket.
const LEAST: f64 = 1.0 / 16.0;
/// The bucket of what never came.
const NEVER: u16 = u16::MAX;

/// A histogram of positive values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u16, u64)>", into = "Vec<(u16, u64)>")]
pub(crate) struct Histogram {
    buckets: BTreeMap<u16, u64>,
    n: u64,
}

fn bucket(value: f64) -> u16 {
    if value.is_infinite() {
        return NEVER;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 0, and clamped far below the end of u16"
    )]
    if value <= LEAST { 0 } else { ((value / LEAST).log2() * PER_DOUBLING).min(60_000.0) as u16 }
}

/// The ends of a bucket.
fn ends(bucket: u16) -> (f64, f64) {
    if bucket == NEVER {
        return (f64::INFINITY, f64::INFINITY);
    }
    let at = |b: f64| LEAST * (b / PER_DOUBLING).exp2();
    let low = if bucket == 0 { 0.0 } else { at(f64::from(bucket)) };
    (low, at(f64::from(bucket) + 1.0))
}

impl Histogram {
    pub(crate) fn add(&mut self, value: f64) {
        *self.buckets.entry(bucket(value)).or_default() += 1;
        self.n += 1;
    }

    pub(crate) fn n(&self) -> u64 {
        self.n
    }

    /// The ends of the bucket that holds the observation of this rank, counted from 1.
    pub(crate) fn at_rank(&self, rank: u64) -> Option<(f64, f64)> {
        let mut passed = 0;
        for (bucket, count) in &self.buckets {
            passed += count;
            if passed >= rank {
                return Some(ends(*bucket));
            }
        }
        None
    }

    /// The middle of the bucket of a quantile.
    pub(crate) fn quantile(&self, p: f64) -> Option<f64> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a rank between 1 and n"
        )]
        let rank = ((p * self.n as f64).ceil() as u64).clamp(1, self.n.max(1));
        let (low, high) = self.at_rank(rank)?;
        let middle = f64::midpoint(low, high);
        middle.is_finite().then_some(middle)
    }
}

impl From<Vec<(u16, u64)>> for Histogram {
    fn from(buckets: Vec<(u16, u64)>) -> Self {
        let n = buckets.iter().map(|(_, count)| count).sum();
        Self { buckets: buckets.into_iter().collect(), n }
    }
}

impl From<Histogram> for Vec<(u16, u64)> {
    fn from(histogram: Histogram) -> Self {
        histogram.buckets.into_iter().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_value_lies_in_its_bucket_and_buckets_are_narrow(value in 0.1f64..1e9) {
            let (low, high) = ends(bucket(value));
            prop_assert!(low <= value * (1.0 + 1e-9) && value <= high * (1.0 + 1e-9));
            prop_assert!(high / low < 1.0 + 1.0 / 60.0);
        }
    }

    #[test]
    fn what_never_came_is_the_last() {
        let mut histogram = Histogram::default();
        histogram.add(f64::INFINITY);
        histogram.add(100.0);
        assert!(histogram.at_rank(1).unwrap().1 < 102.0);
        assert!(histogram.at_rank(2).unwrap().0.is_infinite());
        assert_eq!(histogram.quantile(1.0), None);
        assert_eq!(histogram.at_rank(3), None);
    }
}
