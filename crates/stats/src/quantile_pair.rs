//! E4 for two arms at once: evidence that their p-quantiles differ.
//!
//! If both arms have their p-quantile at x, then in each arm the count of observations at or below x
//! walks around n p, and the beta-binomial mixture of that walk is an e-process. The product over both
//! arms is one too; x is unknown, so the least product over all x is evidence against every common
//! quantile:
//!
//! ```text
//! log E = min over x of  m( n_a (F_a(x) - p), n_a p(1-p) ) + m( n_b (F_b(x) - p), n_b p(1-p) )
//! ```
//!
//! where F is any value between the shares of observations below x and at or below x. Source: Howard &
//! Ramdas, "Sequential estimation of quantiles" (arXiv 1906.09712), section on A/B tests. Sharper than
//! asking whether two confidence sequences overlap, and two-sided: it says that they differ, not how.
//!
//! Multiply one arm's observations by a factor to test that ratio of the quantiles. Needs sorted
//! observations and O(n log n) per look: for reports and for gates that are looked at rarely. Assumes
//! and fails as [`Quantile`](crate::Quantile).

use crate::level::{Alpha, Invalid, LogE, check};
use crate::mixture::{BetaBinomial, Sides, Walk};

/// A test that two arms have the same quantile.
#[derive(Clone, Copy, Debug)]
pub struct QuantilePair {
    p: f64,
    mixture: BetaBinomial,
}

/// One arm: its observations in order.
struct Arm<'a> {
    sorted: &'a [f64],
    test: QuantilePair,
    /// The share below x at which this arm speaks least against x.
    least: f64,
}

impl QuantilePair {
    /// The p-quantile, 0 < p < 1; sharpest near `n_opt` observations per arm and at `alpha`.
    pub fn new(p: f64, n_opt: u64, alpha: Alpha) -> Result<Self, Invalid> {
        check("quantile", p, p > 0.0 && p < 1.0)?;
        check("expected observations", n_opt as f64, n_opt > 0)?;
        let walk = Walk { down: p, up: 1.0 - p, v_opt: p * (1.0 - p) * n_opt as f64 };
        Ok(Self { p, mixture: BetaBinomial::new(walk, alpha, Sides::Two)? })
    }

    /// Evidence that the quantiles differ, from each arm's sorted observations. Zero while an arm has
    /// none.
    pub fn log_e(self, first: &[f64], second: &[f64]) -> LogE {
        if first.is_empty() || second.is_empty() {
            return LogE(0.0);
        }
        let arms = [Arm::new(self, first), Arm::new(self, second)];
        // The sum is piecewise constant; beyond either arm's own quantile both parts grow, so only
        // observations between them matter.
        let (low, high) = (arms[0].quantile(), arms[1].quantile());
        let (low, high) = (low.min(high), low.max(high));
        let between = |x: &&f64| (low..=high).contains(*x);
        first
            .iter()
            .chain(second)
            .filter(between)
            .flat_map(|x| [*x, x.next_up()])
            .map(|x| arms.iter().map(|arm| arm.against(x)).sum::<f64>())
            .min_by(f64::total_cmp)
            .map_or(LogE(0.0), LogE)
    }

    fn log_at(self, n: usize, share: f64) -> f64 {
        let n = n as f64;
        self.mixture.log_e((share - self.p) * n, self.p * (1.0 - self.p) * n)
    }
}

impl<'a> Arm<'a> {
    fn new(test: QuantilePair, sorted: &'a [f64]) -> Self {
        // The mixture is convex in the share: golden-section search would do, thirds do as well.
        let (mut low, mut high) = (0.0, 1.0);
        for _ in 0..60 {
            let third = (high - low) / 3.0;
            let (left, right) = (low + third, high - third);
            if test.log_at(sorted.len(), left) < test.log_at(sorted.len(), right) {
                high = right;
            } else {
                low = left;
            }
        }
        Self { sorted, test, least: f64::midpoint(low, high) }
    }

    fn quantile(&self) -> f64 {
        let below = self.least * self.sorted.len() as f64;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a share between 0 and 1 times a length"
        )]
        let index = (below as usize).min(self.sorted.len() - 1);
        self.sorted[index]
    }

    /// How much this arm speaks against x being its quantile.
    fn against(&self, x: f64) -> f64 {
        let n = self.sorted.len();
        let below = self.sorted.partition_point(|value| *value < x) as f64 / n as f64;
        let up_to = self.sorted.partition_point(|value| *value <= x) as f64 / n as f64;
        self.test.log_at(n, self.least.clamp(below, up_to))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;
    use crate::test_support::near;

    fn shifted(p: f64, by: u32) -> f64 {
        let ladder = |from: u32| (from + 1..=from + 1_000).map(f64::from).collect::<Vec<_>>();
        let test = QuantilePair::new(p, 100, Alpha::FIVE_PERCENT).unwrap();
        test.log_e(&ladder(0), &ladder(by)).p_value()
    }

    #[test]
    fn two_shifted_ladders_have_the_published_p_values() {
        near(shifted(0.5, 70), 0.814_704, 1e-5);
        near(shifted(0.5, 85), 0.083_805_5, 1e-5);
        near(shifted(0.5, 100), 0.005_494_7, 1e-5);
        near(shifted(0.9, 55), 0.034_046_3, 1e-5);
    }

    #[test]
    fn equal_or_missing_arms_are_no_evidence() {
        assert!(shifted(0.9, 0) >= 1.0);
        let test = QuantilePair::new(0.9, 100, Alpha::FIVE_PERCENT).unwrap();
        near(test.log_e(&[], &[1.0]).get(), 0.0, 0.0);
        assert!(test.log_e(&[5.0; 300], &[5.0; 300]).get() <= 0.0);
        assert!(QuantilePair::new(1.0, 100, Alpha::FIVE_PERCENT).is_err());
    }

    #[test]
    fn the_order_of_the_arms_does_not_matter() {
        let mut draws = Draws::new(3);
        let mut sample = |scale: f64| {
            let mut values: Vec<f64> = (0..400).map(|_| scale * draws.exponential()).collect();
            values.sort_by(f64::total_cmp);
            values
        };
        let (a, b) = (sample(1.0), sample(1.6));
        let test = QuantilePair::new(0.9, 300, Alpha::FIVE_PERCENT).unwrap();
        near(test.log_e(&a, &b).get(), test.log_e(&b, &a).get(), 1e-9);
        assert!(test.log_e(&a, &b).proves_at(Alpha::FIVE_PERCENT));
    }
}
