//! The best one-to-one pairing of two small sets.

/// The largest total weight of pairs (row, column) in which no row and no column occurs twice.
///
/// Kuhn's and Munkres' method with potentials (shortest augmenting paths), cubic in the larger side.
/// Weights are not negative, so leaving something unpaired is never better than pairing it.
pub(crate) fn best_total(weights: &[Vec<usize>]) -> usize {
    let rows = weights.len();
    let columns = weights.first().map_or(0, Vec::len);
    if columns < rows {
        let transposed: Vec<Vec<usize>> =
            (0..columns).map(|j| weights.iter().map(|row| row[j]).collect()).collect();
        return best_total(&transposed);
    }
    // Costs are negated weights. Column 0 stands for "no column yet"; `row_of` counts rows from 1.
    let cost = |i: usize, j: usize| -(i64::try_from(weights[i][j]).unwrap_or(i64::MAX / 4));
    let (mut u, mut v) = (vec![0i64; rows + 1], vec![0i64; columns + 1]);
    let mut row_of = vec![0usize; columns + 1];
    for row in 1..=rows {
        row_of[0] = row;
        let mut at = 0;
        let mut least = vec![i64::MAX; columns + 1];
        let mut from = vec![0usize; columns + 1];
        let mut used = vec![false; columns + 1];
        while row_of[at] != 0 {
            used[at] = true;
            let current = row_of[at];
            let (mut step, mut next) = (i64::MAX, 0);
            for j in 1..=columns {
                if used[j] {
                    continue;
                }
                let slack = cost(current - 1, j - 1) - u[current] - v[j];
                if slack < least[j] {
                    (least[j], from[j]) = (slack, at);
                }
                if least[j] < step {
                    (step, next) = (least[j], j);
                }
            }
            for j in 0..=columns {
                if used[j] {
                    u[row_of[j]] += step;
                    v[j] -= step;
                } else if least[j] < i64::MAX {
                    least[j] -= step;
                }
            }
            at = next;
        }
        while at != 0 {
            row_of[at] = row_of[from[at]];
            at = from[at];
        }
    }
    (1..=columns).filter(|j| row_of[*j] != 0).map(|j| weights[row_of[j] - 1][j - 1]).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// All permutations.
    fn slow(weights: &[Vec<usize>], row: usize, used: u32) -> usize {
        let Some(line) = weights.get(row) else { return 0 };
        let skip = slow(weights, row + 1, used);
        let pair = line
            .iter()
            .enumerate()
            .filter(|(j, _)| used & (1 << j) == 0)
            .map(|(j, weight)| weight + slow(weights, row + 1, used | (1 << j)));
        pair.max().unwrap_or(0).max(skip)
    }

    #[test]
    fn best_first_is_not_always_best() {
        assert_eq!(best_total(&[vec![5, 6], vec![0, 5]]), 10);
        assert_eq!(best_total(&[]), 0);
        assert_eq!(best_total(&[vec![], vec![]]), 0);
    }

    proptest! {
        #[test]
        fn it_is_the_best_of_all(
            rows in 1usize..5,
            columns in 1usize..6,
            cells in prop::collection::vec(0usize..7, 30),
        ) {
            let weights: Vec<Vec<usize>> =
                cells.chunks(columns).take(rows).map(<[usize]>::to_vec).collect();
            prop_assert_eq!(best_total(&weights), slow(&weights, 0, 0));
        }
    }
}
