//! E4: confidence sequence for a quantile, from ranks.
//!
//! The number of observations at or below the true p-quantile walks around n p. With u the two-sided
//! beta-binomial boundary at variance v = p(1-p)n (tuned to v_opt = p(1-p)n_opt), the quantile lies
//! between the observations of rank
//!
//! ```text
//! lower: floor(n (p - u_low/n) + 1)     u_low  for increments (g, h) = (1-p, p)
//! upper: ceil (n (p + u_high/n))        u_high for increments (g, h) = (p, 1-p)
//! ```
//!
//! at every n at once, with probability at least 1 - alpha. Source: Howard & Ramdas, "Sequential
//! estimation of quantiles" (arXiv 1906.09712). Only ranks are computed here; the values at them come
//! from whatever keeps the data (a sorted list, a histogram's quantile), so the state is that histogram
//! and merges with it. A histogram rounds values; a rank's value is then right to its resolution.
//!
//! Assumes independent units; clustered latencies (one user, one slow machine) need one value per unit.
//! Conservative. While even the most extreme count is
//! no surprise there is no rank (reference implementations return the extreme observation there, which
//! bounds nothing). A relative gate on a high quantile needs hundreds of observations per arm; before that
//! an end has no rank and the verdict is open.

use crate::level::{Alpha, Interval, Invalid, check};
use crate::mixture::{BetaBinomial, Sides, Walk};

/// Which quantile, and the number of observations where the sequence is to be tightest.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantile {
    p: f64,
    n_opt: f64,
}

/// Ranks counted from 1; `None` where no observation bounds the quantile yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ranks {
    /// The quantile is at least the observation of this rank.
    pub low: Option<u64>,
    /// The quantile is at most the observation of this rank.
    pub high: Option<u64>,
}

impl Quantile {
    /// The p-quantile, 0 < p < 1.
    pub fn new(p: f64, n_opt: u64) -> Result<Self, Invalid> {
        check("quantile", p, p > 0.0 && p < 1.0)?;
        check("expected observations", n_opt as f64, n_opt > 0)?;
        Ok(Self { p, n_opt: n_opt as f64 })
    }

    /// The ranks that hold the quantile among `n` observations, two-sided at `alpha`.
    pub fn ranks(self, n: u64, alpha: Alpha) -> Result<Ranks, Invalid> {
        if n == 0 {
            return Ok(Ranks { low: None, high: None });
        }
        let (p, q, n) = (self.p, 1.0 - self.p, n as f64);
        let radius = |down, up| {
            let walk = Walk { down, up, v_opt: p * q * self.n_opt };
            Ok(BetaBinomial::new(walk, alpha, Sides::Two)?.bound(p * q * n, alpha))
        };
        let low = radius(q, p)?.map(|down| (n * p - down + 1.0).floor());
        let high = radius(p, q)?.map(|up| (n * p + up).ceil());
        let rank = |value: Option<f64>| value.and_then(|value| rank(value, n));
        Ok(Ranks { low: rank(low), high: rank(high) })
    }

    /// The interval from sorted observations.
    pub fn interval(self, sorted: &[f64], alpha: Alpha) -> Result<Interval, Invalid> {
        let ranks = self.ranks(sorted.len() as u64, alpha)?;
        let at = |rank: Option<u64>| {
            let index = usize::try_from(rank?).ok()?.checked_sub(1)?;
            sorted.get(index).copied()
        };
        Ok(Interval {
            low: at(ranks.low).unwrap_or(f64::NEG_INFINITY),
            high: at(ranks.high).unwrap_or(f64::INFINITY),
        })
    }
}

fn rank(value: f64, n: f64) -> Option<u64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a whole number between 1 and a count"
    )]
    (value >= 1.0 && value <= n).then_some(value as u64)
}

/// What two confidence sequences of the same quantile say about "the candidate's is at most `factor`
/// times the baseline's".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Proved to hold.
    Within,
    /// Proved not to hold.
    Beyond,
    /// Neither yet.
    Open,
}

/// Compares the candidate's interval with the baseline's. With each interval at alpha/2 the verdict is
/// false with probability at most alpha over all looks.
pub fn relate(candidate: Interval, baseline: Interval, factor: f64) -> Relation {
    // Without a bound on one end nothing is proved: infinity times a factor is no limit.
    if candidate.high.is_finite() && candidate.high <= factor * baseline.low {
        Relation::Within
    } else if baseline.high.is_finite() && candidate.low > factor * baseline.high {
        Relation::Beyond
    } else {
        Relation::Open
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::near;

    const ALPHA: Alpha = Alpha::FIVE_PERCENT;

    fn ladder(n: u32, scale: f64) -> Vec<f64> {
        (1..=n).map(|i| f64::from(i) * scale).collect()
    }

    #[test]
    fn ranks_close_in_on_the_quantile() {
        let p95 = Quantile::new(0.95, 500).unwrap();
        assert_eq!(p95.ranks(0, ALPHA).unwrap(), Ranks { low: None, high: None });
        assert_eq!(p95.ranks(20, ALPHA).unwrap().high, None);
        let mut width = f64::INFINITY;
        for n in [500, 5_000, 50_000] {
            let Ranks { low: Some(low), high: Some(high) } = p95.ranks(n, ALPHA).unwrap() else {
                panic!("no ranks at {n}")
            };
            let now = (high - low) as f64 / n as f64;
            assert!(low as f64 <= 0.95 * n as f64 && 0.95 * n as f64 <= high as f64);
            assert!(now < width);
            width = now;
        }
    }

    #[test]
    fn the_median_is_bounded_alike_on_both_sides() {
        let ranks = Quantile::new(0.5, 100).unwrap().ranks(1_000, ALPHA).unwrap();
        let (low, high) = (ranks.low.unwrap(), ranks.high.unwrap());
        near((low + high) as f64, 1_001.0, 0.0);
    }

    #[test]
    fn a_relation_is_open_until_both_ends_are_known() {
        let p95 = Quantile::new(0.95, 500).unwrap();
        let interval = |n, scale| p95.interval(&ladder(n, scale), ALPHA).unwrap();
        let same = |n| relate(interval(n, 10_000.0 / f64::from(n)), interval(2_000, 5.0), 1.25);
        assert_eq!(same(10), Relation::Open);
        assert_eq!(same(2_000), Relation::Within);
        assert_eq!(relate(interval(2_000, 8.0), interval(2_000, 5.0), 1.25), Relation::Beyond);
        assert_eq!(relate(interval(2_000, 5.0), interval(0, 5.0), 1.25), Relation::Open);
        assert_eq!(relate(interval(0, 5.0), interval(2_000, 5.0), 1.25), Relation::Open);
    }

    #[test]
    fn the_quantile_of_nothing_or_everything_is_refused() {
        assert!(Quantile::new(0.0, 1).is_err() && Quantile::new(1.0, 1).is_err());
        assert!(Quantile::new(0.5, 0).is_err());
    }
}
