//! The candidate's answers break their format at most so many percentage points more often.

use super::{BETTING, Data, KELLY, Row};
use crate::observe::ScoredPair;
use crate::process::{Margin, Process};
use crate::spec::{Metric, Role, Test};

fn breaches(pair: &ScoredPair) -> Option<(f64, f64)> {
    let invalid = |invalid: bool| f64::from(u8::from(invalid));
    Some((invalid(pair.candidate.served.invalid?), invalid(pair.baseline.served.invalid?)))
}

pub(super) const ROW: Row = Row {
    name: "Invalid answers",
    grammar: "invalid <= baseline + N pp",
    example: "invalid <= baseline + 1 pp",
    data: Data::LiveAndPairs,
    needs_baseline: true,
    default_role: Role::Required,
    test: "Like errors with a margin, on answers that break their schema or tool call. An answer that was \
           not checked is missing, not valid.",
    source: BETTING,
    assumes: "one observation per unit and window; both arms' answers are checked by the same rule. The \
              gateway checks no live answers: only pairs count, by a scorer that looks at the form.",
    expected: KELLY,
    suits: |gate| {
        gate.metric == Metric::Invalid && matches!(gate.test, Test::WorseByLessThan { .. })
    },
    open: |_| Ok(Process::Margin(Box::new(Margin::new()))),
    pair: breaches,
};
