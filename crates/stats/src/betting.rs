//! E1: a betting e-process for the mean of a bounded variable.
//!
//! Observations y >= -B with the null hypothesis E[y | past] <= 0. A bet l in (0, 1/B) turns wealth 1
//! into the product of (1 + l y_i), a supermartingale under the null. The process is the mean of that
//! wealth over a fixed grid of bets l_j = g_j / B, g geometric from 0.02 to 0.95 in 20 steps:
//!
//! ```text
//! log E = ln( (1/G) * sum_j exp( sum_i ln(1 + l_j y_i) ) )
//! ```
//!
//! Reject when E >= 1/alpha; by Ville's inequality that is false with probability at most alpha over
//! all looks together. Source: Waudby-Smith & Ramdas, "Estimating means of bounded random variables
//! by betting" (arXiv 2010.09686), with a fixed grid in place of adaptive bets, so that the state is
//! G sums: restartable, and two halves of the data merge by adding.
//!
//! Assumes: the bound B is fixed beforehand, and each observation has mean at most 0 given those
//! before it. Fails when one unit contributes many times (a returning user's errors come in bursts:
//! nominal 5 % becomes 50 %); count one value per unit and window. It is slow when B is large next to
//! the spread.
//!
//! Nothing asks that B and the bets stay the same: each may follow from what was known before the
//! observation, and the product stays a supermartingale. [`CanaryBetting`] is that: its bets follow the
//! share of traffic in force.

mod canary;

use serde::{Deserialize, Serialize};

pub use canary::CanaryBetting;

use crate::claims::PairClaim;
use crate::exact;
use crate::level::{Invalid, LogE, Mismatch, check};
use crate::special::ln_sum_exp;

/// How many bets run side by side. Twenty cover factors of 1.22, within which growth hardly differs.
pub const BETS: usize = 20;

/// The smallest and the largest bet as shares of the largest that cannot go broke.
const BET_SHARES: (f64, f64) = (0.02, 0.95);

/// Rounding may push a value at the bound this much beyond it, relative to the bound.
const SLACK: f64 = 1e-9;

/// Evidence for "the mean is above zero", from observations that are never below `-floor`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored", into = "Stored")]
pub struct Betting {
    floor: f64,
    observations: u64,
    log_wealth: [f64; BETS],
    bets: [f64; BETS],
}

/// What is kept across a restart; the bets follow from the floor.
#[derive(Clone, Serialize, Deserialize)]
struct Stored {
    #[serde(with = "exact::one")]
    floor: f64,
    observations: u64,
    #[serde(with = "exact::array")]
    log_wealth: [f64; BETS],
}

/// The grid of bets for a floor.
pub(crate) fn bets(floor: f64) -> [f64; BETS] {
    grid(BET_SHARES).map(|share| share / floor)
}

/// A geometric grid from the first number to the second.
fn grid((least, most): (f64, f64)) -> [f64; BETS] {
    let ratio: f64 = most / least;
    let last = (BETS - 1) as f64;
    std::array::from_fn(|j| least * ratio.powf(j as f64 / last))
}

/// The mixture's logarithm from the logarithms of each bet's wealth.
pub(crate) fn mixture(log_wealth: &[f64]) -> LogE {
    LogE(ln_sum_exp(log_wealth.iter().copied()) - (log_wealth.len() as f64).ln())
}

impl Betting {
    /// A process without evidence, for observations of at least `-floor`.
    pub fn new(floor: f64) -> Result<Self, Invalid> {
        check("floor", floor, floor > 0.0)?;
        Ok(Self { floor, observations: 0, log_wealth: [0.0; BETS], bets: bets(floor) })
    }

    /// A process for a claim about pairs.
    pub fn for_pairs(claim: PairClaim) -> Result<Self, Invalid> {
        Self::new(claim.checked()?.floor())
    }

    /// Takes one observation. One that is not a number or below the floor is refused and changes
    /// nothing.
    pub fn observe(&mut self, y: f64) -> Result<(), Invalid> {
        self.observe_many(y, 1)
    }

    /// Takes the same observation so many times, at the price of one.
    pub fn observe_many(&mut self, y: f64, times: u64) -> Result<(), Invalid> {
        let factors = self.log_factors(y)?;
        for (sum, factor) in self.log_wealth.iter_mut().zip(factors) {
            *sum += times as f64 * factor;
        }
        self.observations += times;
        Ok(())
    }

    /// By how much each bet's log wealth would change: what a [`Detector`](crate::Detector) takes.
    pub fn log_factors(&self, y: f64) -> Result<[f64; BETS], Invalid> {
        check("observation", y, y >= -self.floor * (1.0 + SLACK))?;
        Ok(self.bets.map(|bet| (bet * y).ln_1p()))
    }

    /// Adds the evidence of another process for the same claim over other observations.
    pub fn merge(&mut self, other: &Self) -> Result<(), Mismatch> {
        if self.floor.to_bits() != other.floor.to_bits() {
            return Err(Mismatch);
        }
        for (sum, more) in self.log_wealth.iter_mut().zip(other.log_wealth) {
            *sum += more;
        }
        self.observations += other.observations;
        Ok(())
    }

    /// The evidence so far.
    pub fn log_e(&self) -> LogE {
        mixture(&self.log_wealth)
    }

    /// How many observations were taken.
    pub fn observations(&self) -> u64 {
        self.observations
    }
}

impl TryFrom<Stored> for Betting {
    type Error = Invalid;

    fn try_from(stored: Stored) -> Result<Self, Invalid> {
        for sum in stored.log_wealth {
            check("log wealth", sum, true)?;
        }
        let fresh = Self::new(stored.floor)?;
        Ok(Self { observations: stored.observations, log_wealth: stored.log_wealth, ..fresh })
    }
}

impl From<Betting> for Stored {
    fn from(process: Betting) -> Self {
        let Betting { floor, observations, log_wealth, .. } = process;
        Self { floor, observations, log_wealth }
    }
}

#[cfg(test)]
mod tests;
