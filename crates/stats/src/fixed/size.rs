//! How large a sample must be before it can show what is asked.
//!
//! ```text
//! paired:   n = ( (z_a sqrt(psi) + z_b sqrt(psi - d^2)) / (m + d) )^2      psi = discordance, d = true difference
//! two arms: n per arm = (z_a + z_b)^2 (p1 q1 + p2 q2) / (m - (p1 - p2))^2
//! detect:   n per arm = ( z_a sqrt(2 p q) + z_b sqrt(p1 q1 + p2 q2) )^2 / (p1 - p2)^2
//! ```
//!
//! Normal approximations for one look. A sequential test needs more at its worst and often less; these
//! are the figures to print before starting, and beside every "no difference was found" the
//! [`minimum_margin_paired`] that the sample could have shown.

use crate::level::{Alpha, Invalid, check};
use crate::special::normal_quantile;

/// What a test shall deliver.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Power {
    /// Accepted probability of a false proof, one-sided.
    pub alpha: Alpha,
    /// Accepted probability of missing the truth.
    pub miss: Alpha,
}

impl Power {
    /// A power such as 0.8 at a one-sided level.
    pub fn new(alpha: Alpha, power: f64) -> Result<Self, Invalid> {
        Ok(Self { alpha, miss: Alpha::new(1.0 - power)? })
    }

    fn quantiles(self) -> (f64, f64) {
        (-normal_quantile(self.alpha.get()), -normal_quantile(self.miss.get()))
    }
}

/// Pairs to prove that the candidate is at most `margin` worse, when a share `discordance` of the pairs
/// differs and the true difference is `difference` (negative: the candidate is worse).
pub fn pairs_needed(
    power: Power,
    margin: f64,
    discordance: f64,
    difference: f64,
) -> Result<u64, Invalid> {
    check("margin beyond the true difference", margin + difference, margin + difference > 0.0)?;
    let holds = discordance >= difference.abs() && discordance <= 1.0 && discordance > 0.0;
    check("discordance", discordance, holds)?;
    let (a, b) = power.quantiles();
    let spread = (discordance - difference * difference).sqrt();
    Ok(whole(((a * discordance.sqrt() + b * spread) / (margin + difference)).powi(2)))
}

/// The smallest margin that so many pairs could show at a true difference of 0.
pub fn minimum_margin_paired(power: Power, pairs: u64, discordance: f64) -> Result<f64, Invalid> {
    check("pairs", pairs as f64, pairs > 0)?;
    pairs_needed(power, 1.0, discordance, 0.0)?;
    let (a, b) = power.quantiles();
    Ok((a + b) * (discordance / pairs as f64).sqrt())
}

/// Units per arm to prove that the candidate's share is at most `margin` below the baseline's.
pub fn units_per_arm(
    power: Power,
    baseline: f64,
    candidate: f64,
    margin: f64,
) -> Result<u64, Invalid> {
    let spread = spread(baseline, candidate)?;
    let room = margin - (baseline - candidate);
    check("margin beyond the true difference", room, room > 0.0)?;
    let (a, b) = power.quantiles();
    Ok(whole((a + b).powi(2) * spread / room.powi(2)))
}

/// Units per arm to detect that two shares differ; for a two-sided test halve the level.
pub fn units_to_detect(power: Power, baseline: f64, candidate: f64) -> Result<u64, Invalid> {
    let spread = spread(baseline, candidate)?;
    let difference = (baseline - candidate).abs();
    check("difference", difference, difference > 0.0)?;
    let pooled = f64::midpoint(baseline, candidate);
    let (a, b) = power.quantiles();
    let null = (2.0 * pooled * (1.0 - pooled)).sqrt();
    Ok(whole(((a * null + b * spread.sqrt()) / difference).powi(2)))
}

fn spread(p: f64, q: f64) -> Result<f64, Invalid> {
    check("baseline's share", p, (0.0..=1.0).contains(&p))?;
    check("candidate's share", q, (0.0..=1.0).contains(&q))?;
    Ok(p * (1.0 - p) + q * (1.0 - q))
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive, and a size beyond u64 saturates"
)]
fn whole(n: f64) -> u64 {
    n.ceil().max(1.0) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::near;

    fn power(alpha: f64, power: f64) -> Power {
        Power::new(Alpha::new(alpha).unwrap(), power).unwrap()
    }

    #[test]
    fn the_reference_sizes_come_out() {
        let usual = power(0.05, 0.8);
        let pairs = |margin, psi, d| pairs_needed(usual, margin, psi, d).unwrap();
        assert_eq!(pairs(0.05, 0.12, 0.0), 297);
        assert_eq!(pairs(0.03, 0.12, 0.0), 825);
        assert_eq!(pairs(0.05, 0.12, -0.01), 464);
        assert_eq!(pairs(0.03, 0.2, -0.01), 3_091);
        assert_eq!(units_per_arm(usual, 0.92, 0.92, 0.05).unwrap(), 365);
        assert_eq!(units_per_arm(usual, 0.92, 0.92, 0.03).unwrap(), 1_012);
    }

    #[test]
    fn the_published_detection_size_comes_out() {
        let n = units_to_detect(power(0.025, 0.85), 0.34, 0.343).unwrap();
        near((2 * n) as f64, 897_348.0, 4.0);
    }

    #[test]
    fn the_smallest_margin_needs_the_sample_that_it_was_asked_for() {
        let margin = minimum_margin_paired(power(0.05, 0.8), 500, 0.12).unwrap();
        assert_eq!(pairs_needed(power(0.05, 0.8), margin * (1.0 + 1e-9), 0.12, 0.0).unwrap(), 500);
    }

    #[test]
    fn what_no_sample_can_show_is_refused() {
        let usual = power(0.05, 0.8);
        assert!(pairs_needed(usual, 0.03, 0.12, -0.03).is_err());
        assert!(pairs_needed(usual, 0.05, 0.01, 0.02).is_err());
        assert!(units_per_arm(usual, 0.92, 0.89, 0.03).is_err());
        assert!(units_to_detect(usual, 0.3, 0.3).is_err());
        assert!(Power::new(Alpha::FIVE_PERCENT, 1.0).is_err());
    }
}
