//! E3: sequential test that units are split as they were meant to be (sample ratio mismatch).
//!
//! Bayes factor of "any split" (a Dirichlet prior centred on the intended shares p with concentration
//! C) against "exactly p", for counts n with sum N:
//!
//! ```text
//! log E = ln G(C) - sum ln G(C p_i) + sum ln G(C p_i + n_i) - ln G(C + N) - sum n_i ln p_i
//! ```
//!
//! Source: Lindon & Malek, "Anytime-valid inference for multinomial count data" (NeurIPS 2022); C = 100.
//! When the shares change, the finished stretch is kept as a factor and a new one begins: a product of
//! e-processes over disjoint stretches is one again.
//!
//! An alarm means that the routing or the counting is wrong and no other number can be trusted; it
//! holds a rollout rather than rolling it back. Assumes that counted units are the randomised ones, each
//! once. Fails (false alarms) when overrides, failover-served requests or retries are counted, and is
//! slow for mismatches far smaller than 1/sqrt(C).

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::level::{Arm, Invalid, LogE, Share, check};
use crate::special::{chi_square_tail, ln_gamma};

/// Prior observations that "any split" is worth: alternatives of a few percentage points.
const CONCENTRATION: f64 = 100.0;

/// log Bayes factor of the counts against the intended shares, which must be positive and sum to 1.
pub fn split_log_e(shares: &[f64], counts: &[u64]) -> Result<LogE, Invalid> {
    check("number of counts", counts.len() as f64, counts.len() == shares.len())?;
    for share in shares {
        check("intended share", *share, *share > 0.0)?;
    }
    let sum: f64 = shares.iter().sum();
    check("sum of intended shares", sum, (sum - 1.0).abs() < 1e-9)?;
    let total: u64 = counts.iter().sum();
    let parts = shares.iter().zip(counts).map(|(share, count)| {
        let (prior, n) = (CONCENTRATION * share, *count as f64);
        ln_gamma(prior + n) - ln_gamma(prior) - n * share.ln()
    });
    let whole = ln_gamma(CONCENTRATION) - ln_gamma(CONCENTRATION + total as f64);
    Ok(LogE(parts.sum::<f64>() + whole))
}

/// Pearson's chi-square test of the same: its statistic and p-value. For a report at the end only;
/// checked again and again it alarms falsely many times as often as it says.
pub fn split_chi_square(shares: &[f64], counts: &[u64]) -> Result<(f64, f64), Invalid> {
    split_log_e(shares, counts)?;
    let total: u64 = counts.iter().sum();
    check("units", total as f64, total > 0)?;
    let statistic: f64 = shares
        .iter()
        .zip(counts)
        .map(|(share, count)| {
            let expected = share * total as f64;
            (*count as f64 - expected).powi(2) / expected
        })
        .sum();
    Ok((statistic, chi_square_tail(statistic, counts.len() as f64 - 1.0)))
}

/// Evidence that two arms do not get the share of traffic that they should.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SampleRatio {
    share: Share,
    candidate: u64,
    baseline: u64,
    #[serde(with = "exact::one")]
    finished: f64,
}

impl SampleRatio {
    /// No units yet; the candidate should get this share.
    pub fn new(share: Share) -> Self {
        Self { share, candidate: 0, baseline: 0, finished: 0.0 }
    }

    /// Counts units of an arm.
    pub fn observe(&mut self, arm: Arm, units: u64) {
        match arm {
            Arm::Candidate => self.candidate += units,
            Arm::Baseline => self.baseline += units,
        }
    }

    /// From now on the candidate should get another share. The same share again changes nothing.
    pub fn reweight(&mut self, share: Share) {
        if share != self.share {
            let finished = self.log_e().get();
            *self = Self { finished, ..Self::new(share) };
        }
    }

    /// Adds the units of another counter of the same stretch, started together with this one after
    /// the same finished stretches. Counters of different shares are an error.
    pub fn merge(&mut self, other: &Self) -> Result<(), crate::Mismatch> {
        if self.share != other.share {
            return Err(crate::Mismatch);
        }
        self.candidate += other.candidate;
        self.baseline += other.baseline;
        // Finished stretches of either side are evidence of its own units.
        self.finished += other.finished;
        Ok(())
    }

    /// The evidence so far.
    pub fn log_e(&self) -> LogE {
        let w = self.share.fraction();
        let counts = [self.candidate, self.baseline];
        // A checked share always makes valid shares.
        let now = split_log_e(&[w, 1.0 - w], &counts).map_or(0.0, LogE::get);
        LogE(self.finished + now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{near, share};

    #[test]
    fn a_split_of_52_to_48_is_as_suspicious_as_the_reference_says() {
        near(split_log_e(&[0.5, 0.5], &[5_200, 4_800]).unwrap().get(), 5.613_613, 1e-6);
    }

    #[test]
    fn the_published_mismatch_is_found_by_chi_square() {
        let (statistic, p) = split_chi_square(&[0.5, 0.5], &[821_588, 815_482]).unwrap();
        near(statistic, 22.774, 1e-3);
        near(p, 1.82e-6, 1e-8);
    }

    #[test]
    fn an_even_split_speaks_against_a_mismatch() {
        assert!(split_log_e(&[0.5, 0.5], &[5_000, 5_000]).unwrap().get() < 0.0);
        near(split_log_e(&[0.5, 0.5], &[0, 0]).unwrap().get(), 0.0, 1e-12);
    }

    #[test]
    fn bad_shares_are_refused() {
        assert!(split_log_e(&[0.5, 0.6], &[1, 1]).is_err());
        assert!(split_log_e(&[1.0, 0.0], &[1, 1]).is_err());
        assert!(split_log_e(&[0.5, 0.5], &[1]).is_err());
        assert!(split_chi_square(&[0.5, 0.5], &[0, 0]).is_err());
    }

    #[test]
    fn a_ramp_keeps_the_evidence_of_its_steps() {
        let mut split = SampleRatio::new(share(500));
        split.observe(Arm::Candidate, 900);
        split.observe(Arm::Baseline, 9_100);
        let first = split.log_e().get();
        assert!(first > 10.0);
        split.reweight(share(500));
        assert_eq!(split.candidate, 900);
        split.reweight(share(5_000));
        near(split.log_e().get(), first, 1e-9);
        split.observe(Arm::Candidate, 5_000);
        split.observe(Arm::Baseline, 5_000);
        assert!(split.log_e().get() < first);
        let text = serde_json::to_string(&split).unwrap();
        assert_eq!(serde_json::from_str::<SampleRatio>(&text).unwrap(), split);
    }
}
