//! E1 for a plain fraction, for values in [0, 1]: [`FractionClaim`]'s bets with linear stakes.
//!
//! A hit pays exp(h), a miss exp(m); a value x in between pays x exp(h) + (1 - x) exp(m), whose mean is
//! at most 1 wherever the mean of x is on the null's side. For 0 and 1 it is the same as the counts.

use std::sync::OnceLock;

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

/// By how much each bet's log wealth changes with a hit and with a miss.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Odds {
    pub hit: [f64; BETS],
    pub miss: [f64; BETS],
}

impl Odds {
    /// None where the limit is no fraction.
    pub(crate) fn new(direction: Direction, limit: f64) -> Option<Self> {
        let claim = FractionClaim::new(direction, limit).ok()?;
        Some(Self { hit: claim.log_factors(true), miss: claim.log_factors(false) })
    }

    pub(crate) fn log_factors(&self, x: f64) -> [f64; BETS] {
        match x {
            1.0.. => self.hit,
            ..=0.0 => self.miss,
            _ => std::array::from_fn(|j| {
                (x * self.hit[j].exp() + (1.0 - x) * self.miss[j].exp()).ln()
            }),
        }
    }

    /// What each bet gains on average from one observation of which a share p are hits.
    pub(crate) fn growth(&self, p: f64) -> [f64; BETS] {
        std::array::from_fn(|j| p * self.hit[j] + (1.0 - p) * self.miss[j])
    }
}

/// Odds that are computed when they are first asked for; what they follow from never changes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Lazy(OnceLock<Option<Odds>>);

impl Lazy {
    pub(crate) fn get(&self, compute: impl FnOnce() -> Option<Odds>) -> Option<&Odds> {
        self.0.get_or_init(compute).as_ref()
    }
}

/// Whether they are computed yet says nothing.
impl PartialEq for Lazy {
    fn eq(&self, _: &Self) -> bool {
        true
    }
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
            process.add(Odds::new(Direction::Below, 0.05).unwrap().log_factors(x), 1);
        }
        let claim = FractionClaim::new(Direction::Below, 0.05).unwrap();
        let counts = claim.log_e(Count::new(5, 400).unwrap()).get();
        assert!((process.log_e() - counts).abs() < 1e-9, "{} {counts}", process.log_e());
    }

    #[test]
    fn a_value_between_is_worth_no_more_than_its_mean() {
        let half = Odds::new(Direction::Below, 0.5).unwrap().log_factors(0.5);
        assert!(half.iter().all(|factor| factor.abs() < 1e-12), "{half:?}");
    }
}
