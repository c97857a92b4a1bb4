//! Kappa: agreement beyond what chance gives, for nominal outcomes.
//!
//! `kappa = (po - pe) / (1 - pe)`. Cohen (1960): two raters, pe from each rater's own margins, standard
//! error `sqrt(po (1 - po) / (n (1 - pe)^2))`. Fleiss (1971): the same number of raters per subject, pe
//! from the pooled margins. Undefined where pe = 1: everybody always says the same.

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
    fn of(observed: f64, expected: f64, n: f64) -> Option<Self> {
        let room = 1.0 - expected;
        if room.is_nan() || room <= 1e-12 {
            return None;
        }
        let standard_error = (observed * (1.0 - observed) / n).max(0.0).sqrt() / room;
        Some(Self { value: (observed - expected) / room, standard_error, observed, expected })
    }
}

/// Cohen's kappa from counts: row = the first rater's outcome, column = the second's. `None` for a
/// matrix that is not square, is empty, or leaves no room beyond chance.
pub fn cohen<R: AsRef<[u64]>>(matrix: &[R]) -> Option<Kappa> {
    let size = matrix.len();
    if matrix.iter().any(|row| row.as_ref().len() != size) {
        return None;
    }
    let cell = |i: usize, j: usize| matrix[i].as_ref()[j] as f64;
    let sum = |f: &dyn Fn(usize) -> f64| (0..size).map(f).sum::<f64>();
    let row = |i: usize| sum(&|j| cell(i, j));
    let column = |j: usize| sum(&|i| cell(i, j));
    let n = sum(&row);
    if n < 1.0 {
        return None;
    }
    Kappa::of(sum(&|i| cell(i, i)) / n, sum(&|i| row(i) * column(i)) / (n * n), n)
}

/// Fleiss' kappa from counts: row = subject, column = how many raters chose this category. `None` when
/// the rows differ in their number of raters, or there are fewer than two, or no room beyond chance.
pub fn fleiss<R: AsRef<[u64]>>(subjects: &[R]) -> Option<Kappa> {
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
    Kappa::of(observed, expected, n)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_examples_are_met() {
        let kappa = cohen(&[[20, 5], [10, 15]]).unwrap();
        assert!((kappa.value - 0.4).abs() < 1e-12 && (kappa.observed - 0.7).abs() < 1e-12);
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
        assert!((fleiss(&subjects).unwrap().value - 0.209_931).abs() < 1e-6);
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
