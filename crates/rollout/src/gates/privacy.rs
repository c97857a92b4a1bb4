//! No request reaches an upstream that may not see it.

use super::{Data, Row, no_pair};
use crate::process::{Never, Process};
use crate::spec::{Metric, Role, Test};

pub(super) const ROW: Row = Row {
    name: "Privacy",
    grammar: "privacy",
    example: "privacy",
    data: Data::Requests,
    needs_baseline: false,
    default_role: Role::Required,
    test: "One request that an upstream saw which may not: the candidate loses its traffic at once. No \
           statistics.",
    source: "invariant",
    assumes: "that the gateway knows which upstreams may see what. It refuses such requests in the first \
              place; this gate watches the refusal.",
    expected: "the first request, by definition",
    suits: |gate| gate.metric == Metric::Privacy && matches!(gate.test, Test::Never),
    open: |_| Ok(Process::Never(Never::default())),
    pair: no_pair,
};
