//! Krippendorff's alpha: agreement of any number of raters, on any level of measurement, with gaps.
//!
//! `alpha = 1 - Do / De` with the observed and the expected disagreement over pairable values
//! (Krippendorff 2011, "Computing Krippendorff's alpha-reliability"):
//!
//! ```text
//! Do = (1/n) sum over units of sum over its pairs of delta^2 / (ratings of the unit - 1)
//! De = 1 / (n (n - 1)) sum over values c, k of n_c n_k delta^2(c, k)
//! nominal: c != k    ordinal: (ranks between)^2    interval: (c - k)^2    ratio: ((c - k)/(c + k))^2
//! ```
//!
//! The interval resamples whole clusters of units (one user's, one document's) with a seed and takes
//! percentiles; with few clusters it is too narrow.

use std::collections::BTreeMap;

use cutover_stats::fixed::Resampling;
use cutover_stats::{Alpha, Interval};

use crate::draws::Draws;

/// What differences between ratings mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Level {
    /// Different is different.
    Nominal,
    /// Only the order counts.
    Ordinal,
    /// Differences count.
    Interval,
    /// Proportions count; ratings are not negative.
    Ratio,
}

/// One thing that was rated.
#[derive(Clone, Debug, PartialEq)]
pub struct Unit {
    /// What it belongs to; units of one cluster are not independent.
    pub cluster: u64,
    /// The ratings, in any order; `None` = this rater did not rate it.
    pub ratings: Vec<Option<f64>>,
}

/// Why there is no alpha.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AgreementError {
    /// A rating is NaN or infinite, or negative on the ratio level.
    #[error("a rating is not a number of this level")]
    BadRating,
    /// No unit has two ratings.
    #[error("no unit was rated twice")]
    NothingPaired,
    /// All ratings are the same, so that there is nothing to agree on.
    #[error("all ratings are the same")]
    NoVariation,
}

/// Alpha of these units.
pub fn krippendorff(units: &[Unit], level: Level) -> Result<f64, AgreementError> {
    let table = Table::read(units, level)?;
    table.alpha(0..table.units.len())
}

/// Alpha with a two-sided percentile interval from resampled clusters.
pub fn krippendorff_interval(
    units: &[Unit],
    level: Level,
    alpha: Alpha,
    resampling: Resampling,
) -> Result<(f64, Interval), AgreementError> {
    let table = Table::read(units, level)?;
    let estimate = table.alpha(0..table.units.len())?;
    let mut clusters: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (at, (cluster, _)) in table.units.iter().enumerate() {
        clusters.entry(*cluster).or_default().push(at);
    }
    let clusters: Vec<Vec<usize>> = clusters.into_values().collect();
    let mut draws = Draws::new(resampling.seed);
    let mut sample: Vec<f64> = (0..resampling.resamples.max(1))
        .filter_map(|_| {
            let drawn: Vec<usize> = (0..clusters.len())
                .flat_map(|_| clusters[draws.below(clusters.len())].iter().copied())
                .collect();
            // A resample in which all say the same has no alpha and is left out.
            table.alpha(drawn.into_iter()).ok()
        })
        .collect();
    if sample.is_empty() {
        return Err(AgreementError::NoVariation);
    }
    sample.sort_by(f64::total_cmp);
    let tail = alpha.get() / 2.0;
    let interval =
        Interval { low: percentile(&sample, tail), high: percentile(&sample, 1.0 - tail) };
    Ok((estimate, interval))
}

fn percentile(sorted: &[f64], level: f64) -> f64 {
    let last = sorted.len() - 1;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a level between 0 and 1 times a length"
    )]
    let at = (level * last as f64).round() as usize;
    sorted[at.min(last)]
}

/// Pairable units, with ratings as indices into the sorted values.
struct Table {
    level: Level,
    values: Vec<f64>,
    units: Vec<(u64, Vec<usize>)>,
}

impl Table {
    fn read(units: &[Unit], level: Level) -> Result<Self, AgreementError> {
        let rated = |unit: &Unit| unit.ratings.iter().flatten().count() > 1;
        let units: Vec<&Unit> = units.iter().filter(|unit| rated(unit)).collect();
        let mut values: Vec<f64> =
            units.iter().flat_map(|unit| unit.ratings.iter().flatten().copied()).collect();
        if values.iter().any(|v| !v.is_finite() || (level == Level::Ratio && *v < 0.0)) {
            return Err(AgreementError::BadRating);
        }
        // A negative zero is a zero.
        for value in &mut values {
            *value += 0.0;
        }
        values.sort_by(f64::total_cmp);
        values.dedup_by(|a, b| a.total_cmp(b).is_eq());
        if values.is_empty() {
            return Err(AgreementError::NothingPaired);
        }
        let index = |v: &f64| values.partition_point(|known| known.total_cmp(&(v + 0.0)).is_lt());
        let units = units
            .iter()
            .map(|unit| (unit.cluster, unit.ratings.iter().flatten().map(index).collect()))
            .collect();
        Ok(Self { level, values, units })
    }

    /// Alpha of some of the units, each as often as it is named.
    fn alpha(&self, chosen: impl Iterator<Item = usize> + Clone) -> Result<f64, AgreementError> {
        let mut counts = vec![0.0; self.values.len()];
        for at in chosen.clone() {
            for value in &self.units[at].1 {
                counts[*value] += 1.0;
            }
        }
        let n: f64 = counts.iter().sum();
        if n < 2.0 {
            return Err(AgreementError::NothingPaired);
        }
        let distance = self.distances(&counts);
        let observed: f64 = chosen
            .map(|at| {
                let ratings = &self.units[at].1;
                let pairs: f64 = ratings
                    .iter()
                    .map(|c| ratings.iter().map(|k| distance[*c][*k]).sum::<f64>())
                    .sum();
                pairs / (ratings.len() as f64 - 1.0)
            })
            .sum::<f64>()
            / n;
        let expected: f64 = (0..counts.len())
            .map(|c| (0..counts.len()).map(|k| counts[c] * counts[k] * distance[c][k]).sum::<f64>())
            .sum::<f64>()
            / (n * (n - 1.0));
        if expected > 0.0 {
            Ok(1.0 - observed / expected)
        } else {
            Err(AgreementError::NoVariation)
        }
    }

    /// Squared differences between values; on the ordinal level they depend on how often each occurs.
    fn distances(&self, counts: &[f64]) -> Vec<Vec<f64>> {
        let one = |c: usize, k: usize| {
            let (a, b) = (self.values[c], self.values[k]);
            match self.level {
                Level::Nominal => f64::from(u8::from(c != k)),
                Level::Ordinal => {
                    let between: f64 = counts[c.min(k)..=c.max(k)].iter().sum();
                    (between - f64::midpoint(counts[c], counts[k])).powi(2)
                }
                Level::Interval => (a - b).powi(2),
                Level::Ratio if a + b > 0.0 => ((a - b) / (a + b)).powi(2),
                Level::Ratio => 0.0,
            }
        };
        (0..counts.len()).map(|c| (0..counts.len()).map(|k| one(c, k)).collect()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Krippendorff's canonical table: four raters, twelve units, gaps.
    const CANONICAL: [&str; 4] =
        ["1233214 12...", "12332241 25.3", ".33323422 51.", "12332441 251."];

    fn canonical() -> Vec<Unit> {
        let rows = CANONICAL.map(|row| row.replace(' ', "").chars().collect::<Vec<_>>());
        let rating = |c: char| c.to_digit(10).map(f64::from);
        (0..12)
            .map(|u| Unit {
                cluster: u as u64,
                ratings: rows.iter().map(|row| rating(row[u])).collect(),
            })
            .collect()
    }

    #[test]
    fn the_canonical_table_has_its_published_alphas() {
        for (level, alpha) in [
            (Level::Nominal, 0.743_421),
            (Level::Ordinal, 0.815_388),
            (Level::Interval, 0.849_107),
            (Level::Ratio, 0.797_403),
        ] {
            let got = krippendorff(&canonical(), level).unwrap();
            assert!((got - alpha).abs() < 1e-6, "{level:?}: {got}");
        }
    }

    #[test]
    fn the_interval_contains_the_estimate_and_repeats() {
        let resampling = Resampling { resamples: 1_000, seed: 5 };
        let run =
            || krippendorff_interval(&canonical(), Level::Nominal, Alpha::FIVE_PERCENT, resampling);
        let (estimate, interval) = run().unwrap();
        assert!(interval.contains(estimate) && interval.low < 0.6 && interval.high > 0.9);
        assert_eq!(run(), Ok((estimate, interval)));
        // Clusters that move together leave less to be sure of.
        let mut clustered = canonical();
        for unit in &mut clustered {
            unit.cluster /= 4;
        }
        let wide =
            krippendorff_interval(&clustered, Level::Nominal, Alpha::FIVE_PERCENT, resampling);
        assert!(wide.is_ok());
    }

    #[test]
    fn what_has_no_alpha_says_why() {
        let unit = |ratings: &[Option<f64>]| Unit { cluster: 0, ratings: ratings.to_vec() };
        let alone = [unit(&[Some(1.0), None])];
        assert_eq!(krippendorff(&alone, Level::Nominal), Err(AgreementError::NothingPaired));
        let same = [unit(&[Some(1.0), Some(1.0)])];
        assert_eq!(krippendorff(&same, Level::Nominal), Err(AgreementError::NoVariation));
        let nan = [unit(&[Some(f64::NAN), Some(1.0)])];
        assert_eq!(krippendorff(&nan, Level::Nominal), Err(AgreementError::BadRating));
        let negative = [unit(&[Some(-1.0), Some(1.0)])];
        assert_eq!(krippendorff(&negative, Level::Ratio), Err(AgreementError::BadRating));
    }

    proptest! {
        #[test]
        fn alpha_is_at_most_one_and_perfect_agreement_is_one(
            rows in prop::collection::vec(prop::collection::vec(prop::option::of(0u8..5), 3), 1..12),
        ) {
            let units: Vec<Unit> = rows.iter().enumerate().map(|(at, row)| Unit {
                cluster: at as u64,
                ratings: row.iter().map(|r| r.map(f64::from)).collect(),
            }).collect();
            for level in [Level::Nominal, Level::Ordinal, Level::Interval, Level::Ratio] {
                if let Ok(alpha) = krippendorff(&units, level) {
                    prop_assert!(alpha.is_finite() && alpha <= 1.0 + 1e-12);
                }
            }
            let agreed: Vec<Unit> = units.iter().map(|unit| Unit {
                ratings: vec![unit.ratings[0]; 3],
                ..unit.clone()
            }).collect();
            if let Ok(alpha) = krippendorff(&agreed, Level::Ordinal) {
                prop_assert!((alpha - 1.0).abs() < 1e-12);
            }
        }
    }
}
