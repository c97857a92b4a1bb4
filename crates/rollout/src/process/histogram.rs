//! Counts of values in buckets that grow with the value: 64 to each doubling, so that a bucket is at
//! most 1.6 % wide. Mergeable, and as large as the range of the buckets seen (at most about 2,300 for
//! all that a time may be).
//!
//! A rank's value is only known to its bucket. Bounds are therefore read from the bucket's far end: the
//! upper end for an upper bound, the lower end for a lower bound. That costs width, never validity.

use serde::{Deserialize, Serialize};

/// Buckets per doubling.
const PER_DOUBLING: f64 = 64.0;
/// Values below this share one bucket.
const LEAST: f64 = 1.0 / 16.0;
/// The bucket of what never came.
const NEVER: Bucket = Bucket(u16::MAX);
/// The last bucket of what came.
const LAST: u16 = 60_000;

/// Where a value stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Bucket(u16);

/// A histogram of positive values.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u16, u64)>", into = "Vec<(u16, u64)>")]
pub(crate) struct Histogram {
    /// The counts of all buckets from `first` on. Small, because a look at hundreds of histograms waits
    /// for memory; one that is full takes no more.
    counts: Vec<u32>,
    first: u16,
    never: u64,
    n: u64,
}

pub(crate) fn bucket(value: f64) -> Bucket {
    if value.is_infinite() {
        return NEVER;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at least 0, and clamped far below the end of u16"
    )]
    let place = if value <= LEAST {
        0
    } else {
        ((value / LEAST).log2() * PER_DOUBLING).min(f64::from(LAST)) as u16
    };
    Bucket(place)
}

/// The ends of a bucket.
fn ends(bucket: Bucket) -> (f64, f64) {
    if bucket == NEVER {
        return (f64::INFINITY, f64::INFINITY);
    }
    let at = |b: f64| LEAST * (b / PER_DOUBLING).exp2();
    let low = if bucket.0 == 0 { 0.0 } else { at(f64::from(bucket.0)) };
    (low, at(f64::from(bucket.0) + 1.0))
}

impl Histogram {
    pub(crate) fn add(&mut self, bucket: Bucket) {
        self.add_many(bucket, 1);
    }

    fn add_many(&mut self, bucket: Bucket, times: u64) {
        self.n += times;
        if bucket == NEVER {
            self.never += times;
            return;
        }
        if self.counts.is_empty() {
            self.first = bucket.0;
        }
        if bucket.0 < self.first {
            let more = usize::from(self.first - bucket.0);
            self.counts.splice(0..0, std::iter::repeat_n(0, more));
            self.first = bucket.0;
        }
        let place = usize::from(bucket.0 - self.first);
        if place >= self.counts.len() {
            self.counts.resize(place + 1, 0);
        }
        let count = &mut self.counts[place];
        let more = u32::try_from(times).ok().and_then(|times| count.checked_add(times));
        match more {
            Some(more) => *count = more,
            None => self.n -= times,
        }
    }

    pub(crate) fn n(&self) -> u64 {
        self.n
    }

    fn bucket_at(&self, place: usize) -> Bucket {
        // Places were made from buckets.
        Bucket(u16::try_from(place).map_or(u16::MAX - 1, |place| self.first.saturating_add(place)))
    }

    /// The ends of the bucket that holds the observation of this rank, counted from 1.
    pub(crate) fn at_rank(&self, rank: u64) -> Option<(f64, f64)> {
        if rank > self.n {
            return None;
        }
        let came = self.n - self.never;
        if rank > came {
            return Some(ends(NEVER));
        }
        // From the nearer end: most ranks that are asked for are high.
        let place = if rank <= came / 2 {
            let mut passed = 0;
            self.counts.iter().position(|count| {
                passed += u64::from(*count);
                passed >= rank
            })
        } else {
            let mut below = came;
            self.counts.iter().rposition(|count| {
                below -= u64::from(*count);
                below < rank
            })
        };
        place.map(|place| ends(self.bucket_at(place)))
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
        let mut histogram = Self::default();
        for (bucket, times) in buckets {
            let came = bucket != NEVER.0;
            let known = if came { Bucket(bucket.min(LAST)) } else { NEVER };
            histogram.add_many(known, times);
        }
        histogram
    }
}

impl From<Histogram> for Vec<(u16, u64)> {
    fn from(histogram: Histogram) -> Self {
        let counts = histogram.counts.iter().enumerate().filter(|(_, times)| **times > 0);
        let mut buckets: Self =
            counts.map(|(at, times)| (histogram.bucket_at(at).0, u64::from(*times))).collect();
        if histogram.never > 0 {
            buckets.push((NEVER.0, histogram.never));
        }
        buckets
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

    proptest! {
        #[test]
        fn ranks_are_those_of_the_sorted_values(
            values in prop::collection::vec((0.01f64..1e5, 0u8..8), 1..200),
        ) {
            let came = |(value, chance): &(f64, u8)| if *chance == 0 { f64::INFINITY } else { *value };
            let mut histogram = Histogram::default();
            let mut sorted: Vec<f64> = values.iter().map(came).collect();
            for value in &sorted {
                histogram.add(bucket(*value));
            }
            sorted.sort_by(f64::total_cmp);
            for (rank, value) in (1u64..).zip(&sorted) {
                prop_assert_eq!(histogram.at_rank(rank), Some(ends(bucket(*value))));
            }
            prop_assert_eq!(histogram.at_rank(sorted.len() as u64 + 1), None);
            let stored: Vec<(u16, u64)> = histogram.clone().into();
            prop_assert!(stored.is_sorted());
            prop_assert_eq!(Histogram::from(stored), histogram);
        }
    }

    #[test]
    fn what_never_came_is_the_last() {
        let mut histogram = Histogram::default();
        histogram.add(bucket(f64::INFINITY));
        histogram.add(bucket(100.0));
        assert!(histogram.at_rank(1).unwrap().1 < 102.0);
        assert!(histogram.at_rank(2).unwrap().0.is_infinite());
        assert_eq!(histogram.quantile(1.0), None);
        assert_eq!(histogram.at_rank(3), None);
    }
}
