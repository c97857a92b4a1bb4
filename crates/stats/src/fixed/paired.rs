//! Tests for pairs of yes/no outcomes, from their discordant counts.
//!
//! McNemar's exact test: of the pairs that differ, is half on either side? Tango (1998): score test and
//! interval for the difference of the two marginal shares with a margin; the fixed-n non-inferiority
//! test, of which McNemar's is the case of margin 0:
//!
//! ```text
//! z(d) = (b - c - n d) / sqrt( n (2 q + d (1 - d)) )
//! q = (sqrt(B^2 - 4 A C) - B) / 2A,  A = 2n, B = -b - c + (2n - b + c) d, C = -c d (1 - d)
//! ```
//!
//! Assumes independent pairs. With two or more candidates use [`holm`] on the p-values.

use crate::level::{Alpha, Interval, Invalid, check};
use crate::special::{bisect, ln_beta_cdf, normal_quantile};

/// How pairs disagree.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discordance {
    first_only: u64,
    second_only: u64,
    pairs: u64,
}

impl Discordance {
    /// Pairs where only the first, and only the second, has the property, among all pairs.
    pub fn new(first_only: u64, second_only: u64, pairs: u64) -> Result<Self, Invalid> {
        let apart = first_only.saturating_add(second_only);
        check("discordant pairs", apart as f64, apart <= pairs && pairs > 0)?;
        Ok(Self { first_only, second_only, pairs })
    }

    /// First share - second share.
    pub fn difference(self) -> f64 {
        (self.first_only as f64 - self.second_only as f64) / self.pairs as f64
    }
}

/// Two-sided exact p-value of McNemar's test.
pub fn mcnemar_exact(pairs: Discordance) -> f64 {
    let less = pairs.first_only.min(pairs.second_only) as f64;
    let apart = (pairs.first_only + pairs.second_only) as f64;
    if apart == 0.0 {
        return 1.0;
    }
    // P(X <= k) of a binomial is an incomplete beta function.
    (2.0 * ln_beta_cdf(apart - less, less + 1.0, 0.5).exp()).min(1.0)
}

/// Tango's score statistic for "first share - second share = d", normal under it, decreasing in d. A
/// proof that the first is at most `m` worse is `tango_z(pairs, -m)` above the normal quantile.
#[expect(clippy::many_single_char_names, reason = "the names of the published formula")]
pub fn tango_z(pairs: Discordance, d: f64) -> f64 {
    let (b, c) = (pairs.first_only as f64, pairs.second_only as f64);
    let n = pairs.pairs as f64;
    let linear = -b - c + (2.0 * n - b + c) * d;
    let root = (linear * linear + 8.0 * n * c * d * (1.0 - d)).max(0.0).sqrt();
    let q = (root - linear) / (4.0 * n);
    let distance = b - c - n * d;
    if distance == 0.0 {
        return 0.0;
    }
    distance / (n * (2.0 * q + d * (1.0 - d))).max(f64::MIN_POSITIVE).sqrt()
}

/// Tango's score interval for first share - second share, two-sided at `alpha`.
pub fn tango_interval(pairs: Discordance, alpha: Alpha) -> Interval {
    let z = -normal_quantile(alpha.get() / 2.0);
    let seen = pairs.difference();
    Interval {
        low: bisect(-1.0, seen, |d| tango_z(pairs, d) > z),
        high: bisect(seen, 1.0, |d| tango_z(pairs, d) > -z),
    }
}

/// Which of several p-values stay significant together (Holm 1979): the family's chance of any false
/// rejection is at most `alpha`.
pub fn holm(p_values: &[f64], alpha: Alpha) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|a, b| p_values[*a].total_cmp(&p_values[*b]));
    let mut significant = vec![false; p_values.len()];
    for (rank, at) in order.into_iter().enumerate() {
        let left = (p_values.len() - rank) as f64;
        if p_values[at] > alpha.get() / left || p_values[at].is_nan() {
            break;
        }
        significant[at] = true;
    }
    significant
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::near;

    fn pairs(b: u64, c: u64, n: u64) -> Discordance {
        Discordance::new(b, c, n).unwrap()
    }

    #[test]
    fn mcnemar_is_the_published_one() {
        near(mcnemar_exact(pairs(5, 15, 50)), 0.041_389_5, 5e-8);
        near(mcnemar_exact(pairs(15, 5, 50)), 0.041_389_5, 5e-8);
        near(mcnemar_exact(pairs(0, 0, 9)), 1.0, 0.0);
        near(mcnemar_exact(pairs(3, 3, 9)), 1.0, 1e-12);
    }

    #[test]
    fn tango_is_the_reference_one() {
        for ((b, c, n), low, high) in [
            ((9, 1, 44), 0.050_333, 0.328_341),
            ((5, 15, 150), -0.130_556, -0.009_019),
            ((7, 12, 150), -0.095_442, 0.025_600),
        ] {
            let got = tango_interval(pairs(b, c, n), Alpha::FIVE_PERCENT);
            near(got.low, low, 5e-7);
            near(got.high, high, 5e-7);
        }
        near(tango_z(pairs(7, 12, 150), -0.05), 0.566_705, 5e-7);
    }

    #[test]
    fn tango_without_a_margin_is_mcnemar() {
        near(tango_z(pairs(15, 5, 80), 0.0), 10.0 / 20f64.sqrt(), 1e-12);
    }

    #[test]
    fn pairs_that_never_differ_still_bound_the_difference() {
        let got = tango_interval(pairs(0, 0, 100), Alpha::FIVE_PERCENT);
        assert!(got.low < -0.02 && got.low > -0.05, "{got:?}");
        near(got.low, -got.high, 1e-9);
    }

    #[test]
    fn holm_stops_at_the_first_that_fails() {
        assert_eq!(
            holm(&[0.04, 0.001, 0.03, 0.012], Alpha::FIVE_PERCENT),
            [false, true, false, true]
        );
        assert_eq!(holm(&[f64::NAN], Alpha::FIVE_PERCENT), [false]);
    }

    #[test]
    fn more_discordant_pairs_than_pairs_are_refused() {
        assert!(Discordance::new(3, 3, 5).is_err());
        assert!(Discordance::new(0, 0, 0).is_err());
    }
}
