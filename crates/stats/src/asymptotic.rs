//! E5: asymptotic confidence sequence for an unbounded mean. For reports; never for promotion.
//!
//! With n observations, standard deviation s and rho tuned to be tightest at n_opt,
//!
//! ```text
//! two-sided: s sqrt( 2 (n rho^2 + 1) / (n rho)^2 * ln( sqrt(n rho^2 + 1) / alpha ) )
//! one-sided: s sqrt( 2 (n rho^2 + 1) / (n rho)^2 * ln( 1 + sqrt(n rho^2 + 1) / (2 alpha) ) )
//! rho = sqrt( (-2 ln alpha + ln(-2 ln alpha + 1)) / n_opt )
//! ```
//!
//! Source: Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas, "Time-uniform central limit theory and
//! asymptotic confidence sequences" (arXiv 2103.06476).
//!
//! For cost and latency means, which have no bound. Valid only as n grows: with 30 observations it
//! passed a candidate on the boundary in 8.5 % of runs at nominal 5 %; ask for 200. Fails on heavy tails
//! whose variance is not yet seen, and on clustered units unless the standard error is the clusters'.

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::level::{Alpha, Interval, Invalid, check};
use crate::mixture::Sides;

/// Below so many observations no interval is given.
pub const OBSERVATIONS_MIN: u64 = 30;

/// Mean and spread of a stream of numbers (Welford), mergeable (Chan).
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Moments {
    n: u64,
    #[serde(with = "exact::one")]
    mean: f64,
    #[serde(with = "exact::one")]
    squares: f64,
}

impl Moments {
    /// Takes one number. One that is not finite is refused and changes nothing.
    pub fn observe(&mut self, x: f64) -> Result<(), Invalid> {
        check("observation", x, true)?;
        self.n += 1;
        let delta = x - self.mean;
        self.mean += delta / self.n as f64;
        self.squares += delta * (x - self.mean);
        Ok(())
    }

    /// From a count, a sum and a sum of squares.
    pub fn from_sums(n: u64, sum: f64, sum_of_squares: f64) -> Result<Self, Invalid> {
        check("count", n as f64, n > 0)?;
        let mean = check("sum", sum, true)? / n as f64;
        let squares = sum_of_squares - sum * mean;
        check("sum of squares", sum_of_squares, squares >= 0.0)?;
        Ok(Self { n, mean, squares })
    }

    /// Adds other numbers.
    pub fn merge(&mut self, other: &Self) {
        let (own, more) = (self.n as f64, other.n as f64);
        if other.n == 0 {
            return;
        }
        let (all, delta) = (own + more, other.mean - self.mean);
        self.squares += other.squares + delta * delta * own * more / all;
        self.mean += delta * more / all;
        self.n += other.n;
    }

    /// How many numbers.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// Their mean; 0 before the first.
    pub fn mean(&self) -> f64 {
        self.mean
    }

    /// Their variance (divisor n - 1), or `None` before the second.
    pub fn variance(&self) -> Option<f64> {
        (self.n > 1).then(|| self.squares / (self.n - 1) as f64)
    }

    /// The squared standard error of the mean, or `None` before the second number.
    pub fn mean_variance(&self) -> Option<f64> {
        Some(self.variance()? / self.n as f64)
    }
}

/// Where the sequence is tightest, its level and its sides.
#[derive(Clone, Copy, Debug)]
pub struct Asymptotic {
    rho: f64,
    alpha: f64,
    sides: Sides,
}

impl Asymptotic {
    /// A sequence tightest near `n_opt` observations.
    pub fn new(n_opt: f64, alpha: Alpha, sides: Sides) -> Result<Self, Invalid> {
        check("expected observations", n_opt, n_opt >= 1.0)?;
        let twice = -2.0 * alpha.get().ln();
        let rho = ((twice + twice.ln_1p()) / n_opt).sqrt();
        Ok(Self { rho, alpha: alpha.get(), sides })
    }

    /// Half the width of the interval around an estimate from `n` observations whose squared standard
    /// error is `variance`: the difference of two arms as well as one mean.
    pub fn half_width(&self, n: u64, variance: f64) -> f64 {
        let n = n as f64;
        let scaled = n * self.rho * self.rho + 1.0;
        let root = scaled.sqrt() / self.alpha;
        let ln = match self.sides {
            Sides::Two => root.ln(),
            Sides::One => (root / 2.0).ln_1p(),
        };
        // A standard error of an estimate is a standard deviation of one observation over sqrt(n).
        (variance * n).sqrt() * (2.0 * scaled / (n * self.rho).powi(2) * ln).sqrt()
    }

    /// The interval for a mean, or `None` below [`OBSERVATIONS_MIN`]. One-sided ends are each valid
    /// alone.
    pub fn interval(&self, moments: &Moments) -> Option<Interval> {
        if moments.n() < OBSERVATIONS_MIN {
            return None;
        }
        let half = self.half_width(moments.n(), moments.mean_variance()?);
        Some(Interval { low: moments.mean() - half, high: moments.mean() + half })
    }

    /// The interval for candidate's mean / baseline's mean - 1 (delta method), or `None` with too few
    /// observations in an arm or a baseline of zero.
    pub fn lift_interval(&self, candidate: &Moments, baseline: &Moments) -> Option<Interval> {
        let enough = candidate.n().min(baseline.n()) >= OBSERVATIONS_MIN;
        let base = baseline.mean();
        if !enough || base.abs() < f64::MIN_POSITIVE {
            return None;
        }
        let ratio = candidate.mean() / base;
        let variance = (candidate.mean_variance()? + ratio * ratio * baseline.mean_variance()?)
            / (base * base);
        let half = self.half_width(candidate.n() + baseline.n(), variance);
        Some(Interval { low: ratio - 1.0 - half, high: ratio - 1.0 + half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::near;
    use proptest::prelude::*;

    #[test]
    fn the_published_sequential_lift_comes_out() {
        let baseline = Moments::from_sums(3_000, 1_396.87, 52_377.976_7).unwrap();
        let candidate = Moments::from_sums(3_461, 2_422.7, 134_698.29).unwrap();
        let sequence = Asymptotic::new(1_000.0, Alpha::FIVE_PERCENT, Sides::Two).unwrap();
        let got = sequence.lift_interval(&candidate, &baseline).unwrap();
        near(got.low, -0.558_44, 1e-5);
        near(got.high, 1.565_16, 1e-5);
    }

    #[test]
    fn few_observations_give_no_interval() {
        let sequence = Asymptotic::new(500.0, Alpha::FIVE_PERCENT, Sides::Two).unwrap();
        let mut moments = Moments::default();
        for i in 0..29 {
            moments.observe(f64::from(i)).unwrap();
        }
        assert_eq!(sequence.interval(&moments), None);
        moments.observe(29.0).unwrap();
        assert!(sequence.interval(&moments).unwrap().contains(14.5));
        assert!(moments.observe(f64::NAN).is_err());
    }

    #[test]
    fn one_side_is_tighter_than_two() {
        let half = |sides| {
            Asymptotic::new(500.0, Alpha::FIVE_PERCENT, sides).unwrap().half_width(500, 0.01)
        };
        assert!(half(Sides::One) < half(Sides::Two));
    }

    proptest! {
        #[test]
        fn merged_moments_are_those_of_all_numbers(
            xs in prop::collection::vec(-1e3f64..1e3, 2..60), cut in 0usize..60,
        ) {
            let of = |xs: &[f64]| {
                let mut moments = Moments::default();
                for x in xs { moments.observe(*x).unwrap(); }
                moments
            };
            let (left, right) = xs.split_at(cut.min(xs.len()));
            let mut merged = of(left);
            merged.merge(&of(right));
            let all = of(&xs);
            prop_assert_eq!(merged.n(), all.n());
            prop_assert!((merged.mean() - all.mean()).abs() < 1e-9);
            prop_assert!((merged.variance().unwrap() - all.variance().unwrap()).abs() < 1e-6);
        }
    }
}
