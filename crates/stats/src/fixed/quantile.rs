//! Quantiles at one look: of independent and of clustered observations.
//!
//! * Dvoretzky-Kiefer-Wolfowitz with Massart's constant: the whole distribution function is within
//!   eps = sqrt(ln(2/alpha) / 2n) of the truth, so every quantile lies between the observations at
//!   p - eps and p + eps. Holds for all quantiles together, hence wide for one.
//! * Clustered: with many requests per user the share of requests below a value has a larger error than
//!   sqrt(p(1-p)/n). The ranks p +- z se take that error from the users (delete-one jackknife over
//!   buckets of them). Source: Deng, Knoblich & Lu, "Applying the delta method in metric analytics"
//!   (KDD 2018, arXiv 1803.06336), section on percentiles.

use crate::clusters::ClusterSums;
use crate::level::{Alpha, Interval, Invalid, check};
use crate::special::normal_quantile;

/// How far the empirical distribution function may be off.
pub fn dkw_radius(n: u64, alpha: Alpha) -> Result<f64, Invalid> {
    check("observations", n as f64, n > 0)?;
    Ok(((2.0 / alpha.get()).ln() / (2.0 * n as f64)).sqrt())
}

/// Interval for the p-quantile from sorted observations; an end beyond them is infinite.
pub fn dkw_quantile(sorted: &[f64], p: f64, alpha: Alpha) -> Result<Interval, Invalid> {
    check("quantile", p, p > 0.0 && p < 1.0)?;
    let radius = dkw_radius(sorted.len() as u64, alpha)?;
    Ok(ends(sorted, (p - radius, p + radius)))
}

/// One observation and a hash of the unit that it belongs to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Clustered {
    /// Hash of the unit.
    pub unit: u64,
    /// The observation.
    pub value: f64,
}

/// The p-quantile of clustered observations with its two-sided interval.
pub fn clustered_quantile(
    observations: &[Clustered],
    p: f64,
    alpha: Alpha,
) -> Result<(f64, Interval), Invalid> {
    check("quantile", p, p > 0.0 && p < 1.0)?;
    let mut sorted = Vec::with_capacity(observations.len());
    for observation in observations {
        sorted.push(check("observation", observation.value, true)?);
    }
    sorted.sort_by(f64::total_cmp);
    let quantile = at(&sorted, p).ok_or(Invalid { what: "observations", value: 0.0 })?;
    let mut below = ClusterSums::default();
    for Clustered { unit, value } in observations {
        below.observe(*unit, f64::from(u8::from(*value <= quantile)), 1.0)?;
    }
    let rate = below.rate().ok_or(Invalid { what: "units", value: 1.0 })?;
    let half = -normal_quantile(alpha.get() / 2.0) * rate.variance.sqrt();
    Ok((quantile, ends(&sorted, (p - half, p + half))))
}

/// The observation below which a share of them lies.
fn at(sorted: &[f64], p: f64) -> Option<f64> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share between 0 and 1 times a length"
    )]
    let rank = (p * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

fn ends(sorted: &[f64], (low, high): (f64, f64)) -> Interval {
    let low = (low > 0.0).then(|| at(sorted, low)).flatten();
    let high = (high <= 1.0).then(|| at(sorted, high)).flatten();
    Interval { low: low.unwrap_or(f64::NEG_INFINITY), high: high.unwrap_or(f64::INFINITY) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::draws::Draws;
    use crate::test_support::near;

    const ALPHA: Alpha = Alpha::FIVE_PERCENT;

    #[test]
    fn the_band_is_as_wide_as_the_formula_says() {
        near(dkw_radius(1_000, ALPHA).unwrap(), 0.042_947, 1e-6);
        let sorted: Vec<f64> = (1..=1_000).map(f64::from).collect();
        let got = dkw_quantile(&sorted, 0.5, ALPHA).unwrap();
        assert_eq!((got.low, got.high), (458.0, 543.0));
        assert!(dkw_quantile(&sorted, 0.98, ALPHA).unwrap().high.is_infinite());
        assert!(dkw_quantile(&[], 0.5, ALPHA).is_err());
    }

    /// Runs in which the interval misses the true median of 0, and the mean width.
    fn misses(per_unit: u64, blind: bool) -> f64 {
        let mut draws = Draws::new(17);
        let missed = (0..500)
            .filter(|_| {
                let observations: Vec<Clustered> = (0..200)
                    .flat_map(|unit| {
                        let own = draws.normal();
                        (0..per_unit)
                            .map(|k| Clustered {
                                unit: if blind { unit * per_unit + k } else { unit },
                                value: own + 0.3 * draws.normal(),
                            })
                            .collect::<Vec<_>>()
                    })
                    .collect();
                let (_, got) = clustered_quantile(&observations, 0.5, ALPHA).unwrap();
                !got.contains(0.0)
            })
            .count();
        missed as f64 / 500.0
    }

    #[test]
    fn one_observation_per_unit_misses_as_often_as_it_says() {
        assert!((0.02..0.09).contains(&misses(1, false)), "{}", misses(1, false));
    }

    #[test]
    fn twenty_per_unit_are_covered_too_and_not_if_taken_for_independent() {
        assert!((0.02..0.09).contains(&misses(20, false)), "{}", misses(20, false));
        // The same observations dealt to units at random: the error is believed far too small.
        assert!(misses(20, true) > 0.3, "{}", misses(20, true));
    }

    #[test]
    fn one_unit_or_no_number_is_refused() {
        let same = [Clustered { unit: 1, value: 1.0 }; 5];
        assert!(clustered_quantile(&same, 0.5, ALPHA).is_err());
        let bad = [Clustered { unit: 1, value: f64::NAN }, Clustered { unit: 2, value: 1.0 }];
        assert!(clustered_quantile(&bad, 0.5, ALPHA).is_err());
        assert!(clustered_quantile(&[], 0.5, ALPHA).is_err());
    }
}
