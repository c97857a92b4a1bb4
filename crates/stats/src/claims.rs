//! What a gate may claim about a mean, and the number each observation contributes to it.
//!
//! A claim turns an observation into y with two properties: y never falls below `-floor`, and unless
//! the claim holds E[y] <= 0. Divided by its floor it is the stake that [`Betting`](crate::Betting)
//! takes, which then grows only on claims that are true.
//!
//! * Paired (shadow) claims compare two scores of the same request, both in [0, 1].
//!   `y = candidate - r * baseline` is "at least r times as good"; `y = margin - (candidate -
//!   baseline)` is "an excess below the margin", for scores where more is worse.
//! * Randomised (canary) claims see one arm only. With the candidate's share w of that moment,
//!   `z = x / w` when the candidate served and `z = -x / (1 - w)` when the baseline did has
//!   E[z] = candidate's mean - baseline's mean (inverse propensity weighting; Horvitz & Thompson
//!   1952), whatever w was and however both arms drift. That is what a pooled comparison loses while
//!   a weight ramps (Simpson's paradox).
//!
//! Fails when: scores leave [0, 1] (refused); the share used is not the share that was in force; the
//! unit was not randomised (pilot users, forced headers, failover); a unit is counted twice.

use serde::{Deserialize, Serialize};

use crate::level::{Arm, Invalid, Share, check};

/// Beyond this a retained share is a typing error, and the bets would be needlessly small.
const RETAINED_MAX: f64 = 10.0;

/// Harm is staked as if the candidate's rate were at most so many times the baseline's. With fewer, a
/// candidate that fails at once takes longer to prove; with more, a mild harm at 1 % of traffic does.
const HARM_RATIO_MAX: f64 = 20.0;

/// A claim about two scores of the same request.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PairClaim {
    /// The candidate is at least this many times as good: the non-inferiority proof.
    Retains(f64),
    /// The candidate is not even this many times as good: the proof of harm.
    FallsShortOf(f64),
    /// The candidate's mean exceeds the baseline's by less than this (scores where more is worse).
    ExcessBelow(f64),
    /// The candidate's mean exceeds the baseline's by more than this.
    ExcessAbove(f64),
}

impl PairClaim {
    /// The claim itself if its number makes sense: retained shares in (0, 10], margins in (-1, 1).
    pub fn checked(self) -> Result<Self, Invalid> {
        match self {
            Self::Retains(r) | Self::FallsShortOf(r) => {
                check("retained share", r, r > 0.0 && r <= RETAINED_MAX)?;
            }
            Self::ExcessBelow(margin) | Self::ExcessAbove(margin) => {
                check("margin", margin, margin.abs() < 1.0)?;
            }
        }
        Ok(self)
    }

    /// The most that one observation can speak against the claim.
    pub fn floor(self) -> f64 {
        match self {
            Self::Retains(r) => r,
            Self::FallsShortOf(_) => 1.0,
            Self::ExcessBelow(margin) => 1.0 - margin,
            Self::ExcessAbove(margin) => 1.0 + margin,
        }
    }

    /// What one pair stakes. Scores outside [0, 1] are an error.
    pub fn stake(self, candidate: f64, baseline: f64) -> Result<f64, Invalid> {
        Ok(self.value(candidate, baseline)? / self.floor())
    }

    /// What one pair contributes. Scores outside [0, 1] are an error.
    pub fn value(self, candidate: f64, baseline: f64) -> Result<f64, Invalid> {
        check("candidate's score", candidate, (0.0..=1.0).contains(&candidate))?;
        check("baseline's score", baseline, (0.0..=1.0).contains(&baseline))?;
        Ok(match self {
            Self::Retains(r) => candidate - r * baseline,
            Self::FallsShortOf(r) => r * baseline - candidate,
            Self::ExcessBelow(margin) => margin - (candidate - baseline),
            Self::ExcessAbove(margin) => (candidate - baseline) - margin,
        })
    }
}

/// Which way a claim about a difference or a ratio goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It is smaller than the number: the proof that passes a gate on errors.
    Below,
    /// It is larger than the number: the proof of harm.
    Above,
}

/// A claim about candidate's mean minus baseline's mean under randomised traffic, for a quantity in
/// [0, 1] where more is worse (an error, a timeout). Each observation brings the share of traffic that
/// was in force for it, so that a weight may ramp anyhow.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct CanaryClaim {
    /// Whether the excess is claimed to be below or above the margin.
    pub direction: Direction,
    /// The excess that is accepted, as a fraction (0.005 = half a percentage point).
    pub margin: f64,
}

impl CanaryClaim {
    /// The claim itself if its margin lies in (-1, 1).
    pub fn checked(self) -> Result<Self, Invalid> {
        check("margin", self.margin, self.margin.abs() < 1.0)?;
        Ok(self)
    }

    /// The most that one observation can speak against the claim under this share.
    pub fn floor(self, share: Share) -> f64 {
        match self.direction {
            Direction::Above => 1.0 / (1.0 - share.fraction()) + self.margin,
            Direction::Below => 1.0 / share.fraction() - self.margin,
        }
    }

    /// What one unit stakes. For harm under a small share it is less than the value over the floor: the
    /// candidate's events then come seldom, each worth 1/w, and the bet that grows fastest is about
    /// w times (ratio of the rates - 1).
    pub fn stake(self, arm: Arm, share: Share, x: f64) -> Result<f64, Invalid> {
        let most = match self.direction {
            Direction::Above => (HARM_RATIO_MAX * share.fraction()).min(1.0),
            Direction::Below => 1.0,
        };
        Ok(most * self.value(arm, share, x)? / self.floor(share))
    }

    /// What one unit contributes: the arm that was drawn for it, the share then in force, and the
    /// quantity.
    pub fn value(self, arm: Arm, share: Share, x: f64) -> Result<f64, Invalid> {
        check("observed quantity", x, (0.0..=1.0).contains(&x))?;
        let w = share.fraction();
        let difference = match arm {
            Arm::Candidate => x / w,
            Arm::Baseline => -x / (1.0 - w),
        };
        Ok(match self.direction {
            Direction::Above => difference - self.margin,
            Direction::Below => self.margin - difference,
        })
    }
}
