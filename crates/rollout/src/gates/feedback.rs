//! Users are not less content by more than so many percentage points.

use super::{BETTING, Data, KELLY, Row, no_pair};
use crate::process::{Margin, Process};
use crate::spec::{Metric, Role, Test};

pub(super) const ROW: Row = Row {
    name: "Feedback",
    grammar: "feedback >= baseline - N pp",
    example: "feedback >= baseline - 3 pp",
    data: Data::Votes,
    needs_baseline: true,
    default_role: Role::Signal,
    test: "One vote per user and pair window, by inverse propensity like errors with a margin: what is \
           counted is discontent, 1 - score.",
    source: BETTING,
    assumes: "that rating does not depend on the arm. Users who are content with one arm may rate less \
              often than those who are not; therefore a signal by default. Slow. Where the candidate has \
              everything it is held against one and a quarter times the baseline's discontent.",
    expected: KELLY,
    suits: |gate| {
        gate.metric == Metric::Feedback && matches!(gate.test, Test::WorseByLessThan { .. })
    },
    open: |_| Ok(Process::Margin(Box::new(Margin::new()))),
    pair: no_pair,
};
