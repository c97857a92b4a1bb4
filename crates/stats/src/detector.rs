//! Shiryaev-Roberts e-detector: finds a harm that begins late, and may run forever.
//!
//! A cumulative e-process dilutes: after months of good traffic a new fault needs long to outweigh
//! them. The detector asks at every moment "did it begin now?" and sums the answers, per bet j:
//!
//! ```text
//! R_t = (R_{t-1} + 1) * LR_t,   M_t = mean over j of R_t
//! ```
//!
//! where LR_t is the factor by which one observation changes that bet's wealth. While the null holds,
//! M_t - t is a supermartingale, so the expected number of observations until M_t first reaches c is at
//! least c: the threshold is the average run length to a false alarm, chosen in observations. Source:
//! Shin, Ramdas & Rinaldo, "E-detectors" (arXiv 2203.03532).
//!
//! There is no alpha: run forever, it alarms falsely sooner or later. Feed it with `log_factors` of a
//! process or claim that proves harm. The order matters, so detectors do not merge; one place feeds
//! each. Assumes what the fed process assumes.

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::level::{Invalid, check};

/// A detector over `N` bets, restartable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Detector<const N: usize> {
    observations: u64,
    #[serde(with = "exact::array")]
    log_r: [f64; N],
}

impl<const N: usize> Default for Detector<N> {
    fn default() -> Self {
        Self { observations: 0, log_r: [f64::NEG_INFINITY; N] }
    }
}

impl<const N: usize> Detector<N> {
    /// Takes the log factors of one observation. One that is not a number is refused and changes
    /// nothing.
    pub fn observe(&mut self, log_factors: [f64; N]) -> Result<(), Invalid> {
        for factor in log_factors {
            check("log factor", factor, true)?;
        }
        for (log_r, factor) in self.log_r.iter_mut().zip(log_factors) {
            // ln(R + 1) without leaving the logarithm.
            let (less, more) = (log_r.min(0.0), log_r.max(0.0));
            *log_r = more + (less - more).exp().ln_1p() + factor;
        }
        self.observations += 1;
        Ok(())
    }

    /// ln M: compare with the logarithm of the run length wanted between false alarms.
    pub fn log_statistic(&self) -> f64 {
        crate::betting::mixture(&self.log_r).get()
    }

    /// True when a change is reported, for a mean run length of so many observations to a false alarm.
    pub fn alarms(&self, run_length: u64) -> bool {
        self.log_statistic() >= (run_length.max(1) as f64).ln()
    }

    /// How many observations were taken.
    pub fn observations(&self) -> u64 {
        self.observations
    }
}

#[cfg(test)]
mod tests;
