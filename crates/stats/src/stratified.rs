//! E6: difference of two rates over strata (Mantel-Haenszel). For reports.
//!
//! While a weight ramps, most of the candidate's units come late and most of the baseline's early. If
//! the error level drifts meanwhile, pooling the units of all steps compares times, not arms (Simpson's
//! paradox). Within one step the arms are comparable, so the difference is taken per step and averaged
//! with weights w_k = n_c n_b / (n_c + n_b):
//!
//! ```text
//! RD = sum w_k (p_c - p_b) / sum w_k
//! ```
//!
//! Source: Mantel & Haenszel 1959; variance by Sato 1989, consistent for few large and for many small
//! strata. Fixed-n: the interval is for one look. Fails when a step itself is long and its traffic
//! drifts together with the share; a step with units in one arm only says nothing and has weight 0.

use crate::level::{Alpha, Count, Interval};
use crate::special::normal_quantile;
use crate::tally::ArmCounts;

/// A difference in rates, candidate - baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct StratifiedDifference {
    /// The estimate.
    pub difference: f64,
    /// Its two-sided interval.
    pub interval: Interval,
}

/// The Mantel-Haenszel risk difference, or `None` when no stratum has units in both arms.
#[expect(clippy::many_single_char_names, reason = "the names of the published formula")]
pub fn stratified_difference(
    strata: impl IntoIterator<Item = ArmCounts>,
    alpha: Alpha,
) -> Option<StratifiedDifference> {
    let (mut total, mut weighted, mut p, mut q) = (0.0, 0.0, 0.0, 0.0);
    for ArmCounts { candidate, baseline } in strata {
        let (Some(a), Some(b)) = (candidate.share(), baseline.share()) else { continue };
        let (n, m) = (candidate.trials as f64, baseline.trials as f64);
        let weight = n * m / (n + m);
        let (x, y) = (candidate.hits as f64, baseline.hits as f64);
        total += weight;
        weighted += weight * (a - b);
        // Sato's two sums; the variance is linear in the difference.
        p += (n * n * y - m * m * x + n * m * (m - n) / 2.0) / (n + m).powi(2);
        q += (x * (m - y) + y * (n - x)) / (2.0 * (n + m));
    }
    if total <= 0.0 {
        return None;
    }
    let difference = weighted / total;
    let error = ((difference * p + q) / (total * total)).max(0.0).sqrt();
    let half = -normal_quantile(alpha.get() / 2.0) * error;
    let interval = Interval { low: difference - half, high: difference + half };
    Some(StratifiedDifference { difference, interval })
}

/// The same difference over all units at once, blind to strata: what not to report under a ramp.
pub fn pooled_difference(strata: impl IntoIterator<Item = ArmCounts>) -> Option<f64> {
    let mut sum = ArmCounts::default();
    for stratum in strata {
        for (into, from) in
            [(&mut sum.candidate, stratum.candidate), (&mut sum.baseline, stratum.baseline)]
        {
            *into = Count { hits: into.hits + from.hits, trials: into.trials + from.trials };
        }
    }
    Some(sum.candidate.share()? - sum.baseline.share()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{count, near};

    fn ramp() -> [ArmCounts; 2] {
        [
            ArmCounts { baseline: count(20_000, 990_000), candidate: count(230, 10_000) },
            ArmCounts { baseline: count(5_000, 500_000), candidate: count(6_000, 500_000) },
        ]
    }

    #[test]
    fn a_ramp_turns_the_pooled_sign_and_not_the_stratified_one() {
        near(pooled_difference(ramp()).unwrap(), -0.004_56, 1e-5);
        let stratified = stratified_difference(ramp(), Alpha::FIVE_PERCENT).unwrap();
        near(stratified.difference, 0.002_030_4, 1e-7);
        assert!(stratified.interval.low > 0.0);
    }

    #[test]
    fn one_stratum_is_the_plain_difference_with_its_plain_error() {
        let one = ArmCounts { candidate: count(56, 70), baseline: count(48, 80) };
        let got = stratified_difference([one], Alpha::FIVE_PERCENT).unwrap();
        near(got.difference, 0.2, 1e-12);
        let error = (0.8f64 * 0.2 / 70.0 + 0.6 * 0.4 / 80.0).sqrt();
        near(got.interval.high - got.difference, 1.96 * error, 2e-3);
    }

    #[test]
    fn strata_with_one_arm_say_nothing() {
        let lonely = ArmCounts { candidate: count(5, 10), baseline: Count::default() };
        assert_eq!(stratified_difference([lonely], Alpha::FIVE_PERCENT), None);
        assert_eq!(stratified_difference([], Alpha::FIVE_PERCENT), None);
    }
}
