//! E2: is one arm's event rate more than so many times the other's?
//!
//! Errors, timeouts and fallbacks are counted, never their absence. Given that an event happened while
//! the candidate had share w of the traffic, it came from the candidate with probability
//! p(rho) = rho w / (rho w + 1 - w), where rho is the ratio of the two rates. Against the tested ratio
//! rho0, averaged over eight alternatives rho_j:
//!
//! ```text
//! log E = ln( (1/J) sum_j exp( sum over events of ln(p_j/p0) or ln((1-p_j)/(1-p0)) ) )
//! ```
//!
//! rho_j = rho0 times {1.25, 1.5, 2, 3, 4, 6, 10, 20}, or their inverses for a claim of a smaller ratio.
//! Source: Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022).
//!
//! Immune to daily patterns of both rates, since only who had the event counts; exact when the share
//! changes, since each event carries its share. Assumes randomised units and at most one event per
//! unit and window. Fails on bursts: ten errors of one sticky user are one event, not ten. Says nothing
//! about the absolute size of the harm: 2 against 1 in a million requests is a ratio of 2.

use serde::{Deserialize, Serialize};

use crate::betting::mixture;
use crate::claims::Direction;
use crate::exact;
use crate::level::{Arm, Invalid, LogE, Mismatch, Share, check};

/// How many alternatives run side by side.
pub const ALTERNATIVES: usize = 8;

const FACTORS: [f64; ALTERNATIVES] = [1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0, 20.0];

/// The claim that candidate's rate / baseline's rate lies above or below a ratio.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "(Direction, f64)", into = "(Direction, f64)")]
pub struct RatioClaim {
    direction: Direction,
    ratio: f64,
}

impl RatioClaim {
    /// "The ratio is above (or below) `ratio`", a positive ratio.
    pub fn new(direction: Direction, ratio: f64) -> Result<Self, Invalid> {
        check("ratio of rates", ratio, ratio > 0.0)?;
        Ok(Self { direction, ratio })
    }

    /// What one event of this arm adds to each alternative's log wealth.
    pub fn log_factors(self, arm: Arm, share: Share) -> [f64; ALTERNATIVES] {
        let w = share.fraction();
        let odds = |ratio: f64| ratio * w / (1.0 - w);
        let tested = odds(self.ratio);
        FACTORS.map(|factor| {
            let alternative = match self.direction {
                Direction::Above => tested * factor,
                Direction::Below => tested / factor,
            };
            // ln((1-p_j)/(1-p0)), to which an event of the candidate adds the ratio of the odds.
            let baseline = tested.ln_1p() - alternative.ln_1p();
            match arm {
                Arm::Baseline => baseline,
                Arm::Candidate => baseline + (alternative / tested).ln(),
            }
        })
    }
}

impl TryFrom<(Direction, f64)> for RatioClaim {
    type Error = Invalid;

    fn try_from((direction, ratio): (Direction, f64)) -> Result<Self, Invalid> {
        Self::new(direction, ratio)
    }
}

impl From<RatioClaim> for (Direction, f64) {
    fn from(claim: RatioClaim) -> Self {
        (claim.direction, claim.ratio)
    }
}

/// Evidence for a claim about the ratio of two event rates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateRatio {
    claim: RatioClaim,
    candidate_events: u64,
    baseline_events: u64,
    #[serde(with = "exact::array")]
    log_wealth: [f64; ALTERNATIVES],
}

impl RateRatio {
    /// A process without evidence.
    pub fn new(claim: RatioClaim) -> Self {
        let log_wealth = [0.0; ALTERNATIVES];
        Self { claim, candidate_events: 0, baseline_events: 0, log_wealth }
    }

    /// Takes one event of an arm, with the candidate's share of traffic when its unit was assigned.
    pub fn observe(&mut self, arm: Arm, share: Share) {
        self.observe_many(arm, share, 1);
    }

    /// Takes so many such events, at the price of one.
    pub fn observe_many(&mut self, arm: Arm, share: Share, times: u64) {
        let factors = self.claim.log_factors(arm, share);
        for (sum, factor) in self.log_wealth.iter_mut().zip(factors) {
            *sum += times as f64 * factor;
        }
        match arm {
            Arm::Candidate => self.candidate_events += times,
            Arm::Baseline => self.baseline_events += times,
        }
    }

    /// Adds the evidence of another process for the same claim over other events.
    pub fn merge(&mut self, other: &Self) -> Result<(), Mismatch> {
        if self.claim != other.claim {
            return Err(Mismatch);
        }
        for (sum, more) in self.log_wealth.iter_mut().zip(other.log_wealth) {
            *sum += more;
        }
        self.candidate_events += other.candidate_events;
        self.baseline_events += other.baseline_events;
        Ok(())
    }

    /// The evidence so far.
    pub fn log_e(&self) -> LogE {
        mixture(&self.log_wealth)
    }

    /// Events of an arm so far.
    pub fn events(&self, arm: Arm) -> u64 {
        match arm {
            Arm::Candidate => self.candidate_events,
            Arm::Baseline => self.baseline_events,
        }
    }
}

#[cfg(test)]
mod tests;
