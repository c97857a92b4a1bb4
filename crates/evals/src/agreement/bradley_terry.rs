//! Bradley and Terry's model: strengths from comparisons.
//!
//! P(i beats j) = s_i / (s_i + s_j). Maximum likelihood over ln s by Newton's method; ties are half a
//! win each. The interval is a sandwich, `H^-1 (sum of g g') H^-1` with the scores g summed within
//! clusters (one rater's, one prompt's votes), as arena-rank does, so that it holds when votes are not
//! independent (Huber 1967, White 1982). Strengths are scaled to a geometric mean of 1.
//!
//! Bounded strengths exist only if every variant can be reached from every other over wins (Ford 1957);
//! otherwise this refuses instead of drifting to infinity. Ranking is for reports: what moves traffic is
//! the candidate against the baseline.

use std::collections::BTreeMap;

use cutover_stats::{Alpha, Interval};

use crate::normal::critical_value;

/// More than this is no bake-off; solving is cubic.
const PLAYERS_MAX: usize = 200;
/// Newton's method needs about ten steps.
const STEPS_MAX: usize = 200;

/// Who won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Won {
    /// The left one.
    Left,
    /// The right one.
    Right,
    /// Nobody.
    Tie,
}

/// One comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// Index of the left variant.
    pub left: usize,
    /// Index of the right variant.
    pub right: usize,
    /// Who won.
    pub won: Won,
    /// Whose votes belong together.
    pub cluster: u64,
}

/// A variant's strength.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rating {
    /// Relative to a geometric mean of 1.
    pub strength: f64,
    /// Its two-sided interval.
    pub interval: Interval,
}

/// Why there is no ranking.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RankError {
    /// A comparison of something unknown, or with itself, or too many variants.
    #[error("a comparison names a variant that does not exist, or one with itself")]
    BadComparison,
    /// Some variants never lost to, or never won against, the others.
    #[error("the comparisons do not connect all variants by wins in both directions")]
    NotConnected,
    /// The arithmetic did not settle.
    #[error("the strengths did not settle")]
    NotSettled,
}

/// Strengths of so many variants.
pub fn bradley_terry(
    variants: usize,
    comparisons: &[Comparison],
    alpha: Alpha,
) -> Result<Vec<Rating>, RankError> {
    let bad = |c: &Comparison| c.left >= variants || c.right >= variants || c.left == c.right;
    if !(2..=PLAYERS_MAX).contains(&variants) || comparisons.iter().any(bad) {
        return Err(RankError::BadComparison);
    }
    if !connected(variants, comparisons) {
        return Err(RankError::NotConnected);
    }
    let model = Model { variants, comparisons };
    let logs = model.fit()?;
    let inverse = inverse(model.information(&logs)).ok_or(RankError::NotSettled)?;
    let meat = model.meat(&logs);
    let z = critical_value(alpha);
    Ok((0..variants)
        .map(|i| {
            let row = &inverse[i];
            let variance: f64 = meat.iter().map(|score| dot(row, score).powi(2)).sum();
            let half = z * (variance * small_sample(meat.len())).sqrt();
            let interval = Interval { low: (logs[i] - half).exp(), high: (logs[i] + half).exp() };
            Rating { strength: logs[i].exp(), interval }
        })
        .collect())
}

/// Few clusters make the sandwich too thin.
fn small_sample(clusters: usize) -> f64 {
    let m = clusters as f64;
    if m > 1.0 { m / (m - 1.0) } else { 1.0 }
}

/// Whether everyone is reached from the first over wins, and the first from everyone.
fn connected(variants: usize, comparisons: &[Comparison]) -> bool {
    let reaches_all = |forward: bool| {
        let mut seen = vec![false; variants];
        let mut next = vec![0];
        seen[0] = true;
        while let Some(at) = next.pop() {
            for c in comparisons {
                let (winner, loser) = match c.won {
                    Won::Right => (c.right, c.left),
                    Won::Left | Won::Tie => (c.left, c.right),
                };
                let edges = [(winner, loser), (loser, winner)];
                let both = c.won == Won::Tie;
                let used = if forward { &edges[..1] } else { &edges[1..] };
                for (from, to) in if both { &edges[..] } else { used } {
                    if *from == at && !std::mem::replace(&mut seen[*to], true) {
                        next.push(*to);
                    }
                }
            }
        }
        seen.into_iter().all(|seen| seen)
    };
    reaches_all(true) && reaches_all(false)
}

struct Model<'a> {
    variants: usize,
    comparisons: &'a [Comparison],
}

/// The left one's part of the win, and the chance the model gives it.
fn residual(c: &Comparison, logs: &[f64]) -> (f64, f64) {
    let won = match c.won {
        Won::Left => 1.0,
        Won::Right => 0.0,
        Won::Tie => 0.5,
    };
    (won, 1.0 / (1.0 + (logs[c.right] - logs[c.left]).exp()))
}

impl Model<'_> {
    fn fit(&self) -> Result<Vec<f64>, RankError> {
        let mut logs = vec![0.0; self.variants];
        for _ in 0..STEPS_MAX {
            let mut gradient = vec![0.0; self.variants];
            for c in self.comparisons {
                let (won, chance) = residual(c, &logs);
                gradient[c.left] += won - chance;
                gradient[c.right] -= won - chance;
            }
            let inverse = inverse(self.information(&logs)).ok_or(RankError::NotSettled)?;
            let step: Vec<f64> = inverse.iter().map(|row| dot(row, &gradient)).collect();
            // Far from the top Newton overshoots; a step is at most one in any logarithm.
            let largest = step.iter().fold(0.0f64, |most, s| most.max(s.abs()));
            let scale = 1.0 / largest.max(1.0);
            logs.iter_mut().zip(&step).for_each(|(log, s)| *log += s * scale);
            let mean = logs.iter().sum::<f64>() / self.variants as f64;
            for log in &mut logs {
                *log -= mean;
            }
            if largest < 1e-12 {
                return Ok(logs);
            }
        }
        Err(RankError::NotSettled)
    }

    /// The negative Hessian, made invertible along the direction that the scale leaves free.
    fn information(&self, logs: &[f64]) -> Vec<Vec<f64>> {
        let k = self.variants;
        let mut h = vec![vec![1.0 / k as f64; k]; k];
        for c in self.comparisons {
            let (_, p) = residual(c, logs);
            let weight = p * (1.0 - p);
            h[c.left][c.left] += weight;
            h[c.right][c.right] += weight;
            h[c.left][c.right] -= weight;
            h[c.right][c.left] -= weight;
        }
        h
    }

    /// The score of each cluster.
    fn meat(&self, logs: &[f64]) -> Vec<Vec<f64>> {
        let mut scores: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for c in self.comparisons {
            let (won, chance) = residual(c, logs);
            let score = scores.entry(c.cluster).or_insert_with(|| vec![0.0; self.variants]);
            score[c.left] += won - chance;
            score[c.right] -= won - chance;
        }
        scores.into_values().collect()
    }
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The inverse by Gauss and Jordan with row pivots, or `None` for a singular matrix.
fn inverse(mut matrix: Vec<Vec<f64>>) -> Option<Vec<Vec<f64>>> {
    let k = matrix.len();
    for (i, row) in matrix.iter_mut().enumerate() {
        row.extend((0..k).map(|j| f64::from(u8::from(i == j))));
    }
    for column in 0..k {
        let pivot = (column..k)
            .max_by(|a, b| matrix[*a][column].abs().total_cmp(&matrix[*b][column].abs()))?;
        matrix.swap(column, pivot);
        let lead = matrix[column][column];
        if lead.is_nan() || lead.abs() <= 1e-12 {
            return None;
        }
        matrix[column].iter_mut().for_each(|value| *value /= lead);
        let pivot_row = matrix[column].clone();
        for (_, row) in matrix.iter_mut().enumerate().filter(|(i, _)| *i != column) {
            let factor = row[column];
            row.iter_mut().zip(&pivot_row).for_each(|(value, p)| *value -= factor * p);
        }
    }
    for row in &mut matrix {
        row.drain(..k);
    }
    Some(matrix)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn games(wins: &[(usize, usize, usize)]) -> Vec<Comparison> {
        let each = |&(left, right, times): &(usize, usize, usize)| {
            (0..times).map(move |_| Comparison { left, right, won: Won::Left, cluster: 0 })
        };
        let mut games: Vec<Comparison> = wins.iter().flat_map(each).collect();
        games.iter_mut().enumerate().for_each(|(at, game)| game.cluster = at as u64);
        games
    }

    fn ranked(games: &[Comparison]) -> Vec<Rating> {
        bradley_terry(4, games, Alpha::FIVE_PERCENT).expect("a ranking")
    }

    /// The worked example of four teams: wins of row against column.
    fn example() -> Vec<Comparison> {
        let (a, b, c, d) = (0, 1, 2, 3);
        games(&[
            (a, b, 2),
            (a, d, 1),
            (b, a, 3),
            (b, c, 5),
            (c, b, 3),
            (c, d, 1),
            (d, a, 4),
            (d, c, 3),
        ])
    }

    #[test]
    fn the_worked_example_is_met() {
        let strengths: Vec<f64> = ranked(&example()).iter().map(|r| r.strength).collect();
        for (got, expected) in strengths.iter().zip([0.640, 1.043, 0.660, 2.270]) {
            assert!((got - expected).abs() < 5e-4, "{strengths:?}");
        }
        let product: f64 = strengths.iter().product();
        assert!((product - 1.0).abs() < 1e-9);
    }

    #[test]
    fn a_tie_is_half_a_win_each() {
        let mut ties = example();
        ties.push(Comparison { left: 0, right: 3, won: Won::Tie, cluster: 90 });
        ties.push(Comparison { left: 0, right: 3, won: Won::Tie, cluster: 91 });
        let mut halves = example();
        halves.push(Comparison { left: 0, right: 3, won: Won::Left, cluster: 90 });
        halves.push(Comparison { left: 0, right: 3, won: Won::Right, cluster: 91 });
        for (a, b) in ranked(&ties).iter().zip(ranked(&halves)) {
            assert!((a.strength - b.strength).abs() < 1e-9);
        }
    }

    #[test]
    fn for_two_the_interval_is_that_of_log_odds() {
        let votes = games(&[(0, 1, 60), (1, 0, 40)]);
        let got = bradley_terry(2, &votes, Alpha::FIVE_PERCENT).unwrap();
        assert!((got[0].strength / got[1].strength - 1.5).abs() < 1e-9);
        // The logarithm of the ratio has variance 1/60 + 1/40; each side carries half of it.
        let half = 1.959_964 * (1.0f64 / 60.0 + 1.0 / 40.0).sqrt() / 2.0;
        let got_half = (got[0].interval.high / got[0].interval.low).ln() / 2.0;
        assert!((got_half / half - 1.0).abs() < 0.01, "{got_half} {half}");
        // Ten raters who always vote alike are ten votes, not a hundred.
        let mut raters = votes;
        raters.iter_mut().enumerate().for_each(|(at, vote)| vote.cluster = (at / 10) as u64);
        let wide = bradley_terry(2, &raters, Alpha::FIVE_PERCENT).unwrap();
        assert!(wide[0].interval.high > got[0].interval.high);
    }

    #[test]
    fn what_cannot_be_ranked_is_refused() {
        let rank = |n, games: &[Comparison]| bradley_terry(n, games, Alpha::FIVE_PERCENT);
        assert_eq!(rank(2, &games(&[(0, 1, 9)])), Err(RankError::NotConnected));
        assert_eq!(rank(3, &games(&[(0, 1, 1), (1, 0, 1)])), Err(RankError::NotConnected));
        assert_eq!(rank(2, &games(&[(0, 0, 1)])), Err(RankError::BadComparison));
        assert_eq!(rank(2, &games(&[(0, 5, 1)])), Err(RankError::BadComparison));
        assert_eq!(rank(1, &[]), Err(RankError::BadComparison));
    }
}
