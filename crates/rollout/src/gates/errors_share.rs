//! At most so many of the candidate's units fail.

use super::{BETTING, Data, KELLY, Row, no_pair};
use crate::process::{Process, Share};
use crate::spec::{Metric, Role, Test};

pub(super) const ROW: Row = Row {
    name: "Errors, share",
    grammar: "errors <= N%",
    example: "errors <= 2%",
    data: Data::Live,
    needs_baseline: false,
    default_role: Role::Required,
    test: "Likelihood ratio of failed against served units at the limit, mixed over five alternatives. \
           Passes on proof that the share is below the limit, fails on proof that it is above.",
    source: BETTING,
    assumes: "one observation per unit and unit window. Does not know whether the baseline fails too: \
              an outage of both counts against the candidate.",
    expected: KELLY,
    suits: |gate| gate.metric == Metric::Errors && matches!(gate.test, Test::FractionAtMost { .. }),
    open: |gate| Ok(Process::Share(Box::new(Share::new(gate)))),
    pair: no_pair,
};
