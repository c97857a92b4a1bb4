//! Intervals for one proportion.
//!
//! Wilson (1927): inversion of the score test, `(p + z^2/2n +- z sqrt(p q/n + z^2/4n^2)) / (1 + z^2/n)`;
//! close to its nominal level on average. Clopper & Pearson (1934): inversion of the binomial test by
//! beta quantiles; never below its nominal level, hence wide. Both assume independent trials.

use crate::level::{Alpha, Count, Interval};
use crate::special::{beta_quantile, normal_quantile};

const WHOLE: Interval = Interval { low: 0.0, high: 1.0 };

/// Wilson's score interval, two-sided at `alpha`.
pub fn wilson(count: Count, alpha: Alpha) -> Interval {
    let Some(p) = count.share() else { return WHOLE };
    let (n, z) = (count.trials as f64, normal_quantile(alpha.get() / 2.0));
    let square = z * z / n;
    let centre = p + square / 2.0;
    let half = (square * (p * (1.0 - p) + square / 4.0)).sqrt();
    let end = |value: f64| (value / (1.0 + square)).clamp(0.0, 1.0);
    Interval { low: end(centre - half), high: end(centre + half) }
}

/// Clopper and Pearson's exact interval, two-sided at `alpha`.
pub fn clopper_pearson(count: Count, alpha: Alpha) -> Interval {
    let (hits, misses) = (count.hits as f64, count.misses() as f64);
    let tail = alpha.get() / 2.0;
    Interval {
        low: if count.hits == 0 { 0.0 } else { beta_quantile(hits, misses + 1.0, tail) },
        high: if count.misses() == 0 {
            1.0
        } else {
            // The mirrored quantile keeps the digits of a small tail.
            1.0 - beta_quantile(misses, hits + 1.0, tail)
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{count, near};

    const ALPHA: Alpha = Alpha::FIVE_PERCENT;

    #[test]
    fn eight_in_a_thousand_have_the_reference_intervals() {
        let got = wilson(count(8, 1_000), ALPHA);
        near(got.low, 0.004_059_20, 5e-9);
        near(got.high, 0.015_706_3, 5e-8);
        let got = clopper_pearson(count(8, 1_000), ALPHA);
        near(got.low, 0.003_459_98, 5e-9);
        near(got.high, 0.015_702_0, 5e-8);
    }

    #[test]
    fn nothing_and_everything_touch_the_ends() {
        for interval in [wilson, clopper_pearson] {
            assert_eq!(interval(Count::default(), ALPHA), WHOLE);
            near(interval(count(0, 20), ALPHA).low, 0.0, 1e-12);
            near(interval(count(20, 20), ALPHA).high, 1.0, 1e-12);
            assert!(interval(count(0, 20), ALPHA).high > 0.1);
        }
    }
}
