//! E1 for a plain fraction, for values in [0, 1]: [`FractionClaim`]'s bets with linear stakes.
//!
//! A hit pays exp(h), a miss exp(m); a value x in between pays x exp(h) + (1 - x) exp(m), whose mean is
//! at most 1 wherever the mean of x is on the null's side. For 0 and 1 it is the same as the counts.

use cutover_stats::{Direction, FractionClaim};
use serde::{Deserialize, Serialize};

/// Bets of a fraction claim.
pub(crate) const BETS: usize = 5;

/// Evidence that a mean lies below, or above, a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Fraction {
    #[serde(with = "crate::exact::array")]
    log_wealth: [f64; BETS],
}

/// By how much each bet's log wealth changes; none where the limit is no fraction.
pub(crate) fn log_factors(direction: Direction, limit: f64, x: f64) -> Option<[f64; BETS]> {
    let claim = FractionClaim::new(direction, limit).ok()?;
    if x >= 1.0 || x <= 0.0 {
        return Some(claim.log_factors(x >= 1.0));
    }
    let (hit, miss) = (claim.log_factors(true), claim.log_factors(false));
    Some(std::array::from_fn(|j| (x * hit[j].exp() + (1.0 - x) * miss[j].exp()).ln()))
}

impl Fraction {
    pub(crate) fn add(&mut self, factors: [f64; BETS], times: u64) {
        for (sum, factor) in self.log_wealth.iter_mut().zip(factors) {
            *sum += times as f64 * factor;
        }
    }

    pub(crate) fn sums(&self) -> [f64; BETS] {
        self.log_wealth
    }

    /// The mixture over the bets.
    pub(crate) fn log_e(&self) -> f64 {
        let most = self.log_wealth.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let sum: f64 = self.log_wealth.iter().map(|sum| (sum - most).exp()).sum();
        most + (sum / BETS as f64).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_stats::Count;

    #[test]
    fn zeros_and_ones_are_the_counts() {
        let mut process = Fraction::default();
        for i in 0..400 {
            let x = f64::from(u8::from(i % 80 == 0));
            process.add(log_factors(Direction::Below, 0.05, x).unwrap(), 1);
        }
        let claim = FractionClaim::new(Direction::Below, 0.05).unwrap();
        let counts = claim.log_e(Count::new(5, 400).unwrap()).get();
        assert!((process.log_e() - counts).abs() < 1e-9, "{} {counts}", process.log_e());
    }

    #[test]
    fn a_value_between_is_worth_no_more_than_its_mean() {
        let half = log_factors(Direction::Below, 0.5, 0.5).unwrap();
        assert!(half.iter().all(|factor| factor.abs() < 1e-12), "{half:?}");
    }
}
