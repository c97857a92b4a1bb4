//! The small types every test here speaks: error levels, evidence, intervals, counts, traffic shares.
//!
//! Each is checked when it is made, so that the arithmetic behind it needs no further guards.

use std::fmt;

use serde::{Deserialize, Serialize};

/// An argument outside its range. Nothing was recorded.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Invalid {
    /// Which argument.
    pub what: &'static str,
    /// What it was.
    pub value: f64,
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is out of range: {}", self.what, self.value)
    }
}

impl std::error::Error for Invalid {}

/// The value where `holds`, else an error that names it. NaN never holds.
pub(crate) fn check(what: &'static str, value: f64, holds: bool) -> Result<f64, Invalid> {
    if holds && value.is_finite() { Ok(value) } else { Err(Invalid { what, value }) }
}

/// Two processes that test different claims, so that their sums do not add up to anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mismatch;

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("processes of different claims do not merge")
    }
}

impl std::error::Error for Mismatch {}

/// The probability of a false rejection that is accepted, between 0 and 1.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct Alpha(f64);

impl Alpha {
    /// One test in twenty: the usual level of a gate.
    pub const FIVE_PERCENT: Self = Self(0.05);
    /// The level of a sample-ratio alarm, which should almost never be false.
    pub const ONE_IN_A_THOUSAND: Self = Self(0.001);

    /// An error level strictly between 0 and 1.
    pub fn new(alpha: f64) -> Result<Self, Invalid> {
        check("alpha", alpha, alpha > 0.0 && alpha < 1.0).map(Self)
    }

    /// The level as a number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// This level shared evenly by so many tests of which none may falsely reject (Bonferroni).
    /// Sharing among none is sharing among one.
    pub fn shared_by(self, tests: u32) -> Self {
        Self(self.0 / f64::from(tests.max(1)))
    }
}

/// The natural logarithm of an e-value: the wealth of someone who bet one coin against the claim's
/// opposite. By Ville's inequality it reaches `ln(1/alpha)` with probability at most `alpha` while
/// the opposite holds, however often one looks.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub struct LogE(pub(crate) f64);

impl LogE {
    /// The logarithm as a number.
    pub fn get(self) -> f64 {
        self.0
    }

    /// True when the claim is proved at this level.
    pub fn proves_at(self, alpha: Alpha) -> bool {
        self.0 >= Self::threshold(alpha)
    }

    /// What the logarithm must reach: ln(1/alpha).
    pub fn threshold(alpha: Alpha) -> f64 {
        -alpha.get().ln()
    }

    /// An anytime p-value, at most 1. Valid for the look at which it is taken; the smallest of
    /// several looks is valid too.
    pub fn p_value(self) -> f64 {
        (-self.0).exp().min(1.0)
    }
}

/// An interval; an end without a bound is infinite or the end of the quantity's range.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// True when the value lies inside, ends included.
    pub fn contains(self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// So many hits among so many trials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Count {
    /// Trials with the property.
    pub hits: u64,
    /// All trials.
    pub trials: u64,
}

impl Count {
    /// Hits among trials; hits beyond the trials are an error.
    pub fn new(hits: u64, trials: u64) -> Result<Self, Invalid> {
        check("hits", hits as f64, hits <= trials)?;
        Ok(Self { hits, trials })
    }

    /// The share of hits, or `None` before the first trial.
    pub fn share(self) -> Option<f64> {
        (self.trials > 0).then(|| self.hits as f64 / self.trials as f64)
    }

    /// Trials without the property.
    pub fn misses(self) -> u64 {
        self.trials.saturating_sub(self.hits)
    }
}

/// Which side of a randomised comparison served a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Arm {
    /// What the use case served before.
    Baseline,
    /// What it may serve next.
    Candidate,
}

/// The candidate's share of randomised traffic in basis points, 1 to 9,999: with a share of nothing
/// or of everything there is no comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Share(u16);

impl Share {
    /// A share in basis points.
    pub fn from_bp(bp: u16) -> Result<Self, Invalid> {
        check("share of traffic in basis points", f64::from(bp), (1..10_000).contains(&bp))?;
        Ok(Self(bp))
    }

    /// The share in basis points.
    pub fn bp(self) -> u16 {
        self.0
    }

    /// The share between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }
}

impl TryFrom<u16> for Share {
    type Error = Invalid;

    fn try_from(bp: u16) -> Result<Self, Invalid> {
        Self::from_bp(bp)
    }
}

impl From<Share> for u16 {
    fn from(share: Share) -> Self {
        share.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_out_of_range_cannot_be_made() {
        assert!(
            Alpha::new(0.0).is_err() && Alpha::new(1.0).is_err() && Alpha::new(f64::NAN).is_err()
        );
        assert!(Count::new(2, 1).is_err());
        assert!(Share::from_bp(0).is_err() && Share::from_bp(10_000).is_err());
        assert!(serde_json::from_str::<Share>("0").is_err());
    }

    #[test]
    fn twenty_to_one_is_proof_at_five_percent() {
        assert!(LogE(20f64.ln()).proves_at(Alpha::FIVE_PERCENT));
        assert!(!LogE(19.9f64.ln()).proves_at(Alpha::FIVE_PERCENT));
        assert!(!LogE(f64::NAN).proves_at(Alpha::FIVE_PERCENT));
    }
}
