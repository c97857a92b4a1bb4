//! The candidate fails no more than so many times as often. Made to see harm early.

use super::{Data, Row, no_pair};
use crate::process::{Process, Ratio};
use crate::spec::{Metric, Role, Test};

pub(super) const ROW: Row = Row {
    name: "Errors, ratio",
    grammar: "errors <= RATIO x baseline",
    example: "errors <= 1.0 x baseline",
    data: Data::Live,
    needs_baseline: true,
    default_role: Role::Rollback,
    test: "Given that a unit failed, it is the candidate's with a probability that the share in force \
           and the ratio of the two rates determine. Fails on proof that the ratio is above RATIO while \
           the rates differ by at least 0.1 percentage points. At RATIO 1.0 it cannot pass: equal \
           rates are not below each other.",
    source: "E2 rate-ratio e-process: Lindon & Malek, NeurIPS 2022",
    assumes: "units assigned by chance; a unit fails once per unit window or not at all. Blind to the \
              absolute size of the harm.",
    expected: "threshold over the growth of the best alternative at the measured rates",
    suits: |gate| {
        gate.metric == Metric::Errors && matches!(gate.test, Test::RateRatioAtMost { .. })
    },
    open: |gate| Ok(Process::Ratio(Box::new(Ratio::new(gate)?))),
    pair: no_pair,
};
