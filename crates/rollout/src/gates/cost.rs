//! A thousand successful requests cost at most so many dollars.

use super::{Data, Row, no_pair};
use crate::process::Process;
use crate::spec::{Metric, Role, Test};

pub(super) const ROW: Row = Row {
    name: "Cost",
    grammar: "cost <= N USD per 1000",
    example: "cost <= 2.50 USD per 1000",
    data: Data::Bills,
    needs_baseline: false,
    default_role: Role::Required,
    test: "What the candidate's counted requests have cost, with retries and fallbacks, over those that \
           succeeded, times 1,000. Arithmetic, judged from 100 successful requests on. A request without \
           a price keeps it from passing. Shadow copies and scorers are booked apart and shown.",
    source: "arithmetic; the interval shown is E5, an asymptotic confidence sequence: Waudby-Smith and \
             others, arXiv 2103.06476",
    assumes: "prices that are right. Costs on the way to 100 requests are not judged.",
    expected: "100 successful requests, by definition",
    suits: |gate| gate.metric == Metric::Cost && matches!(gate.test, Test::BudgetAtMost { .. }),
    open: |_| Ok(Process::Budget(Box::default())),
    pair: no_pair,
};
