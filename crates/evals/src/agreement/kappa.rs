//! Kappa: agreement beyond what chance gives, for nominal outcomes.
//!
//! `kappa = (po - pe) / (1 - pe)`. Cohen (1960): two raters, pe from each rater's own margins r and c.
//! Fleiss (1971): the same number of raters per subject, pe from the pooled margins. Undefined where
//! pe = 1: everybody always says the same. Cohen's kappa has the large-sample variance of Fleiss, Cohen
//! & Everitt (1969), with k for kappa:
//!
//! ```text
//! n (1 - pe)^2 var = sum_i p_ii (1 - (r_i + c_i)(1 - k))^2
//!                  + (1 - k)^2 sum_(i != j) p_ij (c_i + r_j)^2 - (k - pe (1 - k))^2
//! ```

use cutover_stats::{Alpha, Interval};

use crate::normal::critical_value;

/// A kappa and what it came from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Kappa {
    /// Agreement beyond chance: 1 perfect, 0 chance.
    pub value: f64,
    /// Its large-sample standard error.
    pub standard_error: f64,
    /// Observed agreement.
    pub observed: f64,
    /// Agreement expected by chance.
    pub expected: f64,
}

impl Kappa {
    /// The two-sided large-sample interval. `None` where the formula's variance is 0, as when one rater
    /// always says the same or both always agree: then it says nothing of how far the truth may be.
    pub fn interval(&self, alpha: Alpha) -> Option<Interval> {
        let half = critical_value(alpha) * self.standard_error;
        let (low, high) = ((self.value - half).max(-1.0), (self.value + half).min(1.0));
        (half > 1e-9).then_some(Interval { low, high })
    }
}

/// Agreement beyond chance, where chance leaves room for it.
fn beyond_chance(observed: f64, expected: f64) -> Option<f64> {
    let room = 1.0 - expected;
    (room > 1e-12).then(|| (observed - expected) / room)
}

/// Cohen's kappa from counts: row = the first rater's outcome, column = the second's. `None` for a
/// matrix that is not square, is empty, or leaves no room beyond chance.
pub fn cohen<R: AsRef<[u64]>>(matrix: &[R]) -> Option<Kappa> {
    let size = matrix.len();
    if matrix.iter().any(|row| row.as_ref().len() != size) {
        return None;
    }
    let sum = |f: &dyn Fn(usize) -> f64| (0..size).map(f).sum::<f64>();
    let n = sum(&|i| matrix[i].as_ref().iter().map(|count| *count as f64).sum());
    if n < 1.0 {
        return None;
    }
    let cell = |i: usize, j: usize| matrix[i].as_ref()[j] as f64 / n;
    let rows: Vec<f64> = (0..size).map(|i| sum(&|j| cell(i, j))).collect();
    let columns: Vec<f64> = (0..size).map(|j| sum(&|i| cell(i, j))).collect();
    let observed = sum(&|i| cell(i, i));
    let expected = sum(&|i| rows[i] * columns[i]);
    let value = beyond_chance(observed, expected)?;
    let rest = 1.0 - value;
    let diagonal = sum(&|i| cell(i, i) * (1.0 - (rows[i] + columns[i]) * rest).powi(2));
    let beside =
        sum(&|i| sum(&|j| if i == j { 0.0 } else { cell(i, j) * (columns[i] + rows[j]).powi(2) }));
    let variance = diagonal + rest * rest * beside - (value - expected * rest).powi(2);
    let standard_error = (variance.max(0.0) / n).sqrt() / (1.0 - expected);
    Some(Kappa { value, standard_error, observed, expected })
}

/// Fleiss' kappa from counts: row = subject, column = how many raters chose this category. `None` when
/// the rows differ in their number of raters, or there are fewer than two, or no room beyond chance.
pub fn fleiss<R: AsRef<[u64]>>(subjects: &[R]) -> Option<f64> {
    let raters: u64 = subjects.first()?.as_ref().iter().sum();
    let categories = subjects.first()?.as_ref().len();
    let uneven =
        |row: &R| row.as_ref().len() != categories || row.as_ref().iter().sum::<u64>() != raters;
    if raters < 2 || subjects.iter().any(uneven) {
        return None;
    }
    let (n, k) = (subjects.len() as f64, raters as f64);
    let squares = |row: &R| row.as_ref().iter().map(|c| (*c as f64).powi(2)).sum::<f64>();
    let observed = subjects.iter().map(|row| (squares(row) - k) / (k * (k - 1.0))).sum::<f64>() / n;
    let share = |j: usize| subjects.iter().map(|row| row.as_ref()[j] as f64).sum::<f64>() / (n * k);
    let expected = (0..categories).map(|j| share(j).powi(2)).sum::<f64>();
    beyond_chance(observed, expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_examples_are_met() {
        let kappa = cohen(&[[20, 5], [10, 15]]).unwrap();
        assert!((kappa.value - 0.4).abs() < 1e-12 && (kappa.observed - 0.7).abs() < 1e-12);
        assert!((kappa.standard_error - 0.126_996_1).abs() < 1e-6);
        // 4,000 bootstrap resamples of this table give a standard error of 0.0406.
        let kappa = cohen(&[[80, 10, 6], [12, 60, 9], [5, 8, 40]]).unwrap();
        assert!((kappa.value - 0.665_259_8).abs() < 1e-6);
        assert!((kappa.standard_error - 0.041_695_5).abs() < 1e-6);
        assert!(kappa.interval(Alpha::FIVE_PERCENT).is_some_and(|ends| ends.contains(0.6)));
        // Fleiss' worked example: 14 raters, 10 subjects, 5 categories.
        let subjects = [
            [0, 0, 0, 0, 14],
            [0, 2, 6, 4, 2],
            [0, 0, 3, 5, 6],
            [0, 3, 9, 2, 0],
            [2, 2, 8, 1, 1],
            [7, 7, 0, 0, 0],
            [3, 2, 6, 3, 0],
            [2, 5, 3, 2, 2],
            [6, 5, 2, 1, 0],
            [0, 2, 2, 3, 7],
        ];
        assert!((fleiss(&subjects).unwrap() - 0.209_931).abs() < 1e-6);
    }

    #[test]
    fn where_one_side_never_varies_there_is_no_interval() {
        // Four labels of pairs that the judge called ties; four that all agree.
        let kappa = cohen(&[[0, 0, 1], [0, 0, 2], [0, 0, 1]]).unwrap();
        assert_eq!((kappa.value, kappa.interval(Alpha::FIVE_PERCENT)), (0.0, None));
        let kappa = cohen(&[[2, 0], [0, 2]]).unwrap();
        assert_eq!((kappa.value, kappa.interval(Alpha::FIVE_PERCENT)), (1.0, None));
    }

    #[test]
    fn what_has_no_kappa_has_none() {
        assert_eq!(cohen::<[u64; 0]>(&[]), None);
        assert_eq!(cohen(&[[5, 0], [0, 0]]), None);
        assert_eq!(cohen(&[vec![1, 2], vec![3]]), None);
        assert_eq!(fleiss(&[[1, 0]]), None);
        assert_eq!(fleiss(&[[2, 0], [1, 2]]), None);
        assert_eq!(fleiss(&[[2, 0], [2, 0]]), None);
    }
}
