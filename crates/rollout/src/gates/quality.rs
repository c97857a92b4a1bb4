//! The candidate keeps a share of the baseline's quality, on shadow pairs.

use super::{BETTING, Data, KELLY, Row};
use crate::observe::ScoredPair;
use crate::process::{Margin, Process};
use crate::spec::{Metric, Role, Test};

fn scores(pair: &ScoredPair) -> Option<(f64, f64)> {
    let fraction = |score: u8| f64::from(score.min(100)) / 100.0;
    Some((fraction(pair.candidate.score?), fraction(pair.baseline.score?)))
}

pub(super) const ROW: Row = Row {
    name: "Quality",
    grammar: "quality >= RATIO x baseline",
    example: "quality >= 0.95 x baseline",
    data: Data::Pairs,
    needs_baseline: true,
    default_role: Role::Required,
    test: "Each pair bets y = score(candidate) - RATIO x score(baseline), scores from 0 to 1. Passes on \
           proof that the mean of y is above 0, fails on proof that it is below.",
    source: BETTING,
    assumes: "one pair per unit and pair window. The scorer's errors are taken for quality: a scorer \
              that grades the baseline wrongly passes bad candidates. Not watched while the candidate \
              has everything: there is no answer of the baseline to compare with.",
    expected: KELLY,
    suits: |gate| gate.metric == Metric::Quality && matches!(gate.test, Test::RatioAtLeast { .. }),
    open: |_| Ok(Process::Margin(Box::new(Margin::new()))),
    pair: scores,
};
