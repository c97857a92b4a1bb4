//! Bootstrap interval for a ratio of sums, by resampling whole clusters (bias-corrected, accelerated).
//!
//! The estimate is sum of numerators / sum of denominators over clusters (a user, a document): with
//! counts as denominators a mean, with the baseline's scores a relative quality. BCa interval (Efron
//! 1987): percentiles of the resampled estimates, shifted by the bias z0 and the acceleration a from the
//! delete-one jackknife:
//!
//! ```text
//! q(z) = Phi( z0 + (z0 + z) / (1 - a (z0 + z)) )
//! ```
//!
//! The seed is an argument, so that a report can be repeated. Assumes independent clusters; below about
//! 30 of them, and for quantities with rare huge values, it is too narrow. One look only.

use crate::draws::Draws;
use crate::level::{Alpha, Interval, Invalid, check};
use crate::special::{normal_cdf, normal_quantile};

/// What one independent unit adds to both sums.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Cluster {
    /// To the numerator.
    pub numerator: f64,
    /// To the denominator.
    pub denominator: f64,
}

/// How the resampling is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resampling {
    /// How many resamples; 10,000 is usual.
    pub resamples: u32,
    /// Where the generator starts.
    pub seed: u64,
}

/// Fewer resamples leave the tails of the interval to single draws.
const RESAMPLES_MIN: u32 = 200;
/// More only cost time.
const RESAMPLES_MAX: u32 = 1_000_000;

/// Estimate and two-sided BCa interval for the ratio of the sums.
pub fn ratio_bootstrap(
    clusters: &[Cluster],
    alpha: Alpha,
    resampling: Resampling,
) -> Result<(f64, Interval), Invalid> {
    check("clusters", clusters.len() as f64, clusters.len() > 1)?;
    let Resampling { resamples, seed } = resampling;
    let known = (RESAMPLES_MIN..=RESAMPLES_MAX).contains(&resamples);
    check("resamples", f64::from(resamples), known)?;
    let mut total = Cluster::default();
    for cluster in clusters {
        check("numerator", cluster.numerator, true)?;
        check("denominator", cluster.denominator, cluster.denominator >= 0.0)?;
        total = plus(total, *cluster, 1.0);
    }
    check("sum of denominators", total.denominator, total.denominator > 0.0)?;
    let estimate = total.numerator / total.denominator;
    let mut draws = Draws::new(seed);
    let n = clusters.len() as u64;
    let mut sample: Vec<f64> = (0..resamples)
        .map(|_| {
            let sum = (0..clusters.len()).fold(Cluster::default(), |sum, _| {
                let drawn = usize::try_from(draws.below(n)).unwrap_or(0);
                plus(sum, clusters[drawn], 1.0)
            });
            ratio(sum, estimate)
        })
        .collect();
    sample.sort_by(f64::total_cmp);
    let shift = Shift { bias: bias(&sample, estimate), acceleration: skew(clusters, total) };
    let z = normal_quantile(alpha.get() / 2.0);
    let interval = Interval {
        low: percentile(&sample, shift.level(z)),
        high: percentile(&sample, shift.level(-z)),
    };
    Ok((estimate, interval))
}

fn plus(sum: Cluster, cluster: Cluster, times: f64) -> Cluster {
    Cluster {
        numerator: sum.numerator + times * cluster.numerator,
        denominator: sum.denominator + times * cluster.denominator,
    }
}

/// The ratio, or the estimate where a resample happens to have nothing to divide by.
fn ratio(sum: Cluster, estimate: f64) -> f64 {
    if sum.denominator > 0.0 { sum.numerator / sum.denominator } else { estimate }
}

struct Shift {
    bias: f64,
    acceleration: f64,
}

impl Shift {
    fn level(&self, z: f64) -> f64 {
        let moved = self.bias + z;
        normal_cdf(self.bias + moved / (1.0 - self.acceleration * moved))
    }
}

/// The normal quantile of the share of resamples below the estimate; ties count half.
fn bias(sorted: &[f64], estimate: f64) -> f64 {
    let below = sorted.partition_point(|value| *value < estimate);
    let equal = sorted.partition_point(|value| *value <= estimate) - below;
    let n = sorted.len() as f64;
    let share = (below as f64 + equal as f64 / 2.0) / n;
    normal_quantile(share.clamp(0.5 / n, 1.0 - 0.5 / n))
}

/// A sixth of the skewness of the delete-one estimates.
fn skew(clusters: &[Cluster], total: Cluster) -> f64 {
    let whole = total.numerator / total.denominator;
    let left: Vec<f64> =
        clusters.iter().map(|cluster| ratio(plus(total, *cluster, -1.0), whole)).collect();
    let mean = left.iter().sum::<f64>() / left.len() as f64;
    let moment = |power| left.iter().map(|value| (mean - value).powi(power)).sum::<f64>();
    let spread = moment(2);
    if spread > 0.0 { moment(3) / (6.0 * spread.powf(1.5)) } else { 0.0 }
}

fn percentile(sorted: &[f64], level: f64) -> f64 {
    let last = sorted.len() - 1;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a level between 0 and 1 times a length"
    )]
    let at = (level * last as f64).round().max(0.0) as usize;
    sorted[at.min(last)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::near;

    const RESAMPLING: Resampling = Resampling { resamples: 2_000, seed: 7 };

    fn coin(n: u64, share: f64) -> Vec<Cluster> {
        let mut draws = Draws::new(3);
        let mut hit = || f64::from(u8::from(draws.chance(share)));
        (0..n).map(|_| Cluster { numerator: hit(), denominator: 1.0 }).collect()
    }

    #[test]
    fn a_mean_has_about_the_normal_interval() {
        let clusters = coin(400, 0.4);
        let (p, got) = ratio_bootstrap(&clusters, Alpha::FIVE_PERCENT, RESAMPLING).unwrap();
        let half = 1.96 * (p * (1.0 - p) / 400.0).sqrt();
        near(got.low, p - half, 0.006);
        near(got.high, p + half, 0.006);
    }

    #[test]
    fn the_seed_decides_everything() {
        let clusters = coin(60, 0.3);
        let run = |seed| {
            let resampling = Resampling { resamples: 500, seed };
            ratio_bootstrap(&clusters, Alpha::FIVE_PERCENT, resampling).unwrap()
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn clusters_that_move_together_widen_the_interval() {
        let width = |clusters: &[Cluster]| {
            let (_, i) = ratio_bootstrap(clusters, Alpha::FIVE_PERCENT, RESAMPLING).unwrap();
            i.high - i.low
        };
        let alone = coin(200, 0.5);
        let together: Vec<Cluster> = coin(20, 0.5)
            .iter()
            .map(|c| Cluster { numerator: 10.0 * c.numerator, denominator: 10.0 })
            .collect();
        assert!(width(&together) > 2.0 * width(&alone));
    }

    #[test]
    fn equal_clusters_give_a_point_and_bad_ones_an_error() {
        let same = [Cluster { numerator: 1.0, denominator: 2.0 }; 5];
        let (estimate, got) = ratio_bootstrap(&same, Alpha::FIVE_PERCENT, RESAMPLING).unwrap();
        assert_eq!((estimate, got.low, got.high), (0.5, 0.5, 0.5));
        let refused = |clusters: &[Cluster]| {
            ratio_bootstrap(clusters, Alpha::FIVE_PERCENT, RESAMPLING).is_err()
        };
        assert!(refused(&same[..1]));
        assert!(refused(&[Cluster::default(); 3]));
        assert!(refused(&[Cluster { numerator: f64::NAN, denominator: 1.0 }; 3]));
    }
}
