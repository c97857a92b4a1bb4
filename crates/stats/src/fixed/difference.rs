//! Intervals for the difference of two independent proportions, first - second.
//!
//! Newcombe (1998, method 10): Wilson's limits of each arm, combined by squares. Miettinen & Nurminen
//! (1985): inversion of the score test whose variance is taken at the constrained maximum likelihood
//! (closed form of its cubic), with the factor N/(N-1). Both assume independent arms and trials; pairs
//! belong to Tango's interval.

use std::f64::consts::PI;

use super::proportion::wilson;
use crate::level::{Alpha, Count, Interval};
use crate::special::{bisect, normal_quantile};

const WHOLE: Interval = Interval { low: -1.0, high: 1.0 };

/// Newcombe's hybrid score interval, two-sided at `alpha`.
pub fn newcombe(first: Count, second: Count, alpha: Alpha) -> Interval {
    let (Some(p), Some(q)) = (first.share(), second.share()) else { return WHOLE };
    let (a, b) = (wilson(first, alpha), wilson(second, alpha));
    Interval {
        low: p - q - (p - a.low).hypot(b.high - q),
        high: p - q + (a.high - p).hypot(q - b.low),
    }
}

/// Miettinen and Nurminen's score interval, two-sided at `alpha`.
pub fn miettinen_nurminen(first: Count, second: Count, alpha: Alpha) -> Interval {
    let (Some(p), Some(q)) = (first.share(), second.share()) else { return WHOLE };
    let z = -normal_quantile(alpha.get() / 2.0);
    let seen = p - q;
    Interval {
        low: bisect(-1.0, seen, |d| score(first, second, d) > z),
        high: bisect(seen, 1.0, |d| score(first, second, d) > -z),
    }
}

/// The score statistic for "the difference is d"; decreasing in d.
fn score(first: Count, second: Count, d: f64) -> f64 {
    let (n1, n2) = (first.trials as f64, second.trials as f64);
    let (x1, x2) = (first.hits as f64, second.hits as f64);
    let q = constrained(first, second, d);
    let p = (q + d).clamp(0.0, 1.0);
    let all = n1 + n2;
    let variance = (p * (1.0 - p) / n1 + q * (1.0 - q) / n2) * all / (all - 1.0);
    (x1 / n1 - x2 / n2 - d) / variance.sqrt().max(f64::MIN_POSITIVE)
}

/// The second proportion's likeliest value given that the first is larger by d.
fn constrained(first: Count, second: Count, d: f64) -> f64 {
    let (n1, n2) = (first.trials as f64, second.trials as f64);
    let (x1, x2) = (first.hits as f64, second.hits as f64);
    let l3 = n1 + n2;
    let l2 = (n1 + 2.0 * n2) * d - l3 - x1 - x2;
    let l1 = (n2 * d - l3 - 2.0 * x2) * d + x1 + x2;
    let l0 = x2 * d * (1.0 - d);
    let third = l2 / (3.0 * l3);
    let q = third.powi(3) - l1 * l2 / (6.0 * l3 * l3) + l0 / (2.0 * l3);
    let p = (third * third - l1 / (3.0 * l3)).max(0.0).sqrt().copysign(q);
    // Rounding may push the cosine a little out of its range; with p = 0 the three roots coincide.
    let cosine = if p == 0.0 { 0.0 } else { (q / p.powi(3)).clamp(-1.0, 1.0) };
    let angle = (PI + cosine.acos()) / 3.0;
    (2.0 * p * angle.cos() - third).clamp((-d).max(0.0), (1.0 - d).min(1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{count, near};

    const ALPHA: Alpha = Alpha::FIVE_PERCENT;

    #[test]
    fn two_arms_have_the_reference_intervals() {
        let got = newcombe(count(56, 70), count(48, 80), ALPHA);
        near(got.low, 0.052_431_5, 5e-8);
        near(got.high, 0.333_872_7, 5e-8);
        let got = miettinen_nurminen(count(56, 70), count(48, 80), ALPHA);
        // Newcombe's table gives 0.0528 and 0.3382; the digits are from solving the likelihood
        // equation by bisection instead of by its cubic.
        near(got.low, 0.052_829_713_2, 5e-10);
        near(got.high, 0.338_172_940_0, 5e-10);
    }

    #[test]
    fn the_arms_swapped_mirror_the_interval() {
        for interval in [newcombe, miettinen_nurminen] {
            let (one, two) = (count(3, 40), count(9, 33));
            let (there, back) = (interval(one, two, ALPHA), interval(two, one, ALPHA));
            near(there.low, -back.high, 1e-9);
            near(there.high, -back.low, 1e-9);
            assert_eq!(interval(Count::default(), one, ALPHA), WHOLE);
        }
    }

    #[test]
    fn empty_and_full_arms_stay_in_range() {
        for (a, b) in [(0, 0), (10, 0), (0, 10), (10, 10)] {
            let got = miettinen_nurminen(count(a, 10), count(b, 10), ALPHA);
            assert!(-1.0 <= got.low && got.low <= got.high && got.high <= 1.0, "{got:?}");
        }
    }
}
