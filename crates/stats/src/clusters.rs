//! The spread of a rate whose observations come in clusters (one user's requests). For reports.
//!
//! Units are hashed into B = 200 buckets per arm; each bucket keeps a numerator and a denominator. The
//! estimate is N / D over all buckets and its variance the delete-one-bucket jackknife:
//!
//! ```text
//! var = (B - 1)/B * sum_b ( N_-b / D_-b  -  mean of these )^2
//! ```
//!
//! Constant memory however many units, and right however a unit's requests hang together, as long as
//! a unit stays in its bucket. Source: Quenouille 1949, Tukey 1958; buckets as in online experiments.
//!
//! Assumes many units per bucket or many buckets. Fails when a few units make most of the traffic:
//! their buckets decide, and the interval, though wide, is not normal. One look only.

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::level::{Alpha, Interval, Invalid, Mismatch, check};
use crate::special::normal_quantile;

/// How many buckets; enough for a t-distribution to be normal, few enough to store.
pub const BUCKETS: usize = 200;

/// Sums per bucket of units, mergeable and restartable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct ClusterSums {
    numerators: Vec<f64>,
    denominators: Vec<f64>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    #[serde(with = "exact::list")]
    numerators: Vec<f64>,
    #[serde(with = "exact::list")]
    denominators: Vec<f64>,
}

/// A rate over clusters with its standard error.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClusterRate {
    /// Sum of numerators / sum of denominators.
    pub rate: f64,
    /// Squared standard error by the jackknife.
    pub variance: f64,
}

impl Default for ClusterSums {
    fn default() -> Self {
        Self { numerators: vec![0.0; BUCKETS], denominators: vec![0.0; BUCKETS] }
    }
}

impl ClusterSums {
    /// Adds to the bucket of a unit, given a hash of it: what was counted, among how much.
    pub fn observe(&mut self, unit: u64, numerator: f64, denominator: f64) -> Result<(), Invalid> {
        check("numerator", numerator, true)?;
        check("denominator", denominator, denominator >= 0.0)?;
        let bucket = usize::try_from(unit % BUCKETS as u64).unwrap_or(0);
        self.numerators[bucket] += numerator;
        self.denominators[bucket] += denominator;
        Ok(())
    }

    /// Adds other observations of the same arm.
    pub fn merge(&mut self, other: &Self) {
        let add = |into: &mut Vec<f64>, from: &[f64]| {
            into.iter_mut().zip(from).for_each(|(sum, more)| *sum += more);
        };
        add(&mut self.numerators, &other.numerators);
        add(&mut self.denominators, &other.denominators);
    }

    /// The rate and its squared standard error, or `None` with fewer than two buckets in use.
    pub fn rate(&self) -> Option<ClusterRate> {
        let buckets =
            || self.numerators.iter().zip(&self.denominators).filter(|(_, weight)| **weight > 0.0);
        let used = buckets().count();
        if used < 2 {
            return None;
        }
        let (n, d) = buckets().fold((0.0, 0.0), |(n, d), (more, weight)| (n + more, d + weight));
        let without = |(more, weight): (&f64, &f64)| (n - more) / (d - weight);
        let mean = buckets().map(without).sum::<f64>() / used as f64;
        let spread: f64 = buckets().map(|bucket| (without(bucket) - mean).powi(2)).sum();
        let variance = (used - 1) as f64 / used as f64 * spread;
        Some(ClusterRate { rate: n / d, variance })
    }
}

impl TryFrom<Stored> for ClusterSums {
    type Error = Mismatch;

    fn try_from(stored: Stored) -> Result<Self, Mismatch> {
        let Stored { numerators, denominators } = stored;
        let fits = |sums: &[f64]| sums.len() == BUCKETS && sums.iter().all(|sum| sum.is_finite());
        if !fits(&numerators) || !fits(&denominators) {
            return Err(Mismatch);
        }
        Ok(Self { numerators, denominators })
    }
}

impl From<ClusterSums> for Stored {
    fn from(sums: ClusterSums) -> Self {
        Self { numerators: sums.numerators, denominators: sums.denominators }
    }
}

impl ClusterRate {
    /// The normal interval, two-sided at `alpha`.
    pub fn interval(self, alpha: Alpha) -> Interval {
        let half = -normal_quantile(alpha.get() / 2.0) * self.variance.sqrt();
        Interval { low: self.rate - half, high: self.rate + half }
    }

    /// This rate minus another arm's, with the variance of the difference.
    pub fn minus(self, other: Self) -> Self {
        Self { rate: self.rate - other.rate, variance: self.variance + other.variance }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;
    use crate::test_support::near;

    fn requests(per_unit: u32, seed: u64) -> ClusterSums {
        let (mut draws, mut sums) = (Draws::new(seed), ClusterSums::default());
        for unit in 0..4_000 / u64::from(per_unit) {
            // All requests of a unit fail or none.
            let failed = f64::from(u8::from(draws.chance(0.1)));
            for _ in 0..per_unit {
                sums.observe(unit, failed, 1.0).unwrap();
            }
        }
        sums
    }

    #[test]
    fn independent_requests_have_the_binomial_error() {
        let got = requests(1, 1).rate().unwrap();
        near(got.rate, 0.1, 0.02);
        near((got.variance / (0.1 * 0.9 / 4_000.0)).sqrt(), 1.0, 0.15);
    }

    #[test]
    fn requests_that_fail_together_widen_the_interval_as_they_should() {
        // Ten requests that share their fate are one observation: the error is sqrt(10) times as large.
        let got = requests(10, 2).rate().unwrap();
        near((got.variance / (0.1 * 0.9 / 4_000.0)).sqrt(), 10f64.sqrt(), 0.6);
        let difference = got.minus(requests(10, 3).rate().unwrap());
        assert!(difference.interval(Alpha::FIVE_PERCENT).contains(0.0));
    }

    #[test]
    fn one_cluster_says_nothing_of_the_spread() {
        let mut sums = ClusterSums::default();
        assert_eq!(sums.rate(), None);
        sums.observe(7, 1.0, 2.0).unwrap();
        assert_eq!(sums.rate(), None);
        assert!(sums.observe(7, f64::NAN, 1.0).is_err() && sums.observe(7, 1.0, -1.0).is_err());
    }

    #[test]
    fn sums_merge_and_restart() {
        let mut merged = requests(10, 4);
        merged.merge(&requests(1, 5));
        let text = serde_json::to_string(&merged).unwrap();
        assert_eq!(serde_json::from_str::<ClusterSums>(&text).unwrap(), merged);
        near(merged.denominators.iter().sum(), 8_000.0, 0.0);
        assert!(serde_json::from_str::<ClusterSums>(&text.replacen("\"0\",", "", 1)).is_err());
    }
}
