//! Mann-Whitney's rank test with the Hodges-Lehmann shift, for small samples without a model.
//!
//! U counts the pairs (x, y) with x > y. Under equal distributions its exact distribution follows from
//! counting arrangements; the interval for the shift is a range of the ordered differences x - y
//! (Hodges & Lehmann 1963). Assumes independent observations, no ties and distributions that differ by a
//! shift only; exact counting limits both samples to [`SAMPLE_MAX`].

use crate::level::{Alpha, Interval, Invalid, check};

/// Beyond this the normal approximation would do and the counts would leave a float's integers.
pub(crate) const SAMPLE_MAX: usize = 25;

/// What the ranks of two samples say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankComparison {
    /// Pairs (x, y) with x > y.
    pub u: u64,
    /// Two-sided exact p-value.
    pub p_value: f64,
    /// Median of all differences x - y.
    pub shift: f64,
    /// Interval for the shift, at least at its nominal level.
    pub interval: Interval,
}

/// Compares two samples of 1 to 25 different numbers each.
pub fn mann_whitney_exact(xs: &[f64], ys: &[f64], alpha: Alpha) -> Result<RankComparison, Invalid> {
    for sample in [xs, ys] {
        let n = sample.len();
        check("sample size", n as f64, (1..=SAMPLE_MAX).contains(&n))?;
    }
    for value in xs.iter().chain(ys) {
        check("observation", *value, true)?;
    }
    let mut differences: Vec<f64> = xs.iter().flat_map(|x| ys.iter().map(move |y| x - y)).collect();
    differences.sort_by(f64::total_cmp);
    let tie = differences.contains(&0.0);
    check("difference of tied observations", 0.0, !tie)?;
    let pairs = differences.len();
    let u = differences.iter().filter(|d| **d > 0.0).count();
    let cumulative = cumulative(xs.len(), ys.len());
    let p_value = (2.0 * cumulative[u.min(pairs - u)]).min(1.0);
    // The largest k with P(U < k) <= alpha/2: the k-th difference from either end bounds the shift.
    let k = cumulative.iter().take_while(|p| **p <= alpha.get() / 2.0).count();
    let interval = match k {
        0 => Interval { low: f64::NEG_INFINITY, high: f64::INFINITY },
        k => Interval { low: differences[k - 1], high: differences[pairs - k] },
    };
    let shift = f64::midpoint(differences[(pairs - 1) / 2], differences[pairs / 2]);
    Ok(RankComparison { u: u as u64, p_value, shift, interval })
}

/// P(U <= u) for u = 0 to n m, by counting the ways to choose ranks.
fn cumulative(n: usize, m: usize) -> Vec<f64> {
    // ways[k][u]: choices of k among the ranks seen so far with statistic u.
    let mut ways = vec![vec![0.0; n * m + 1]; n + 1];
    ways[0][0] = 1.0;
    for rank in 0..n + m {
        for k in (1..=n.min(rank + 1)).rev() {
            // The k-th chosen at this rank beats the (rank - k + 1) not chosen below it.
            let beaten = rank + 1 - k;
            for u in (beaten..=n * m).rev() {
                let more = ways[k - 1][u - beaten];
                ways[k][u] += more;
            }
        }
    }
    let total: f64 = ways[n].iter().sum();
    ways[n]
        .iter()
        .scan(0.0, |sum, count| {
            *sum += count;
            Some(*sum / total)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::near;

    #[test]
    fn the_reference_samples_compare_as_they_should() {
        let got = mann_whitney_exact(
            &[20.0, 22.0, 21.0, 25.0, 30.0],
            &[1.0, 2.2, 1.1, 2.5, 3.0],
            Alpha::FIVE_PERCENT,
        )
        .unwrap();
        assert_eq!(got.u, 25);
        near(got.p_value, 0.007_936_51, 5e-9);
        near(got.shift, 20.0, 1e-9);
        near(got.interval.low, 17.8, 1e-9);
        near(got.interval.high, 27.8, 1e-9);
    }

    #[test]
    fn too_little_data_bounds_nothing_and_ties_are_refused() {
        let got = mann_whitney_exact(&[1.0], &[2.0], Alpha::FIVE_PERCENT).unwrap();
        near(got.p_value, 1.0, 1e-12);
        assert!(got.interval.high.is_infinite());
        assert!(mann_whitney_exact(&[1.0], &[1.0], Alpha::FIVE_PERCENT).is_err());
        assert!(mann_whitney_exact(&[], &[1.0], Alpha::FIVE_PERCENT).is_err());
    }
}
