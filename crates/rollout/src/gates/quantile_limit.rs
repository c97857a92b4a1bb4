//! A quantile of the candidate's times or speeds lies on the good side of a limit.

use super::{BETTING, Data, KELLY, Row, no_pair};
use crate::process::{Process, Share};
use crate::spec::{Metric, Role, Test};

pub(super) const ROW: Row = Row {
    name: "Time and speed, limit",
    grammar: "pN <= TIME, pN first token <= TIME, pN tokens/s >= RATE",
    example: "p95 <= 4 s",
    data: Data::Live,
    needs_baseline: false,
    default_role: Role::Required,
    test: "\"p95 <= 4 s\" says that at most 5 % of units take longer than 4 s. Likelihood ratio of slow \
           against fast units at that share, mixed over five alternatives.",
    source: BETTING,
    assumes: "one observation per unit and unit window. A failed request never came: it is slower than \
              any limit. Speeds are of answers with two tokens or more that succeeded.",
    expected: KELLY,
    suits: |gate| {
        matches!(gate.metric, Metric::Duration | Metric::FirstToken | Metric::TokenRate)
            && matches!(gate.test, Test::QuantileWithin { .. })
    },
    open: |gate| Ok(Process::Share(Box::new(Share::new(gate)))),
    pair: no_pair,
};
