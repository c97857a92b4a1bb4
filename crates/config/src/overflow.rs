//! What becomes of requests that an upstream has no room for: the values, and how they are read.

use std::time::Duration;

use cutover_units::NanoUsd;

use crate::checked::{Upstream, UseCase, Variant};
use crate::reader::{NamedTable, Table};
use crate::values;

/// The line before an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Queue {
    /// Requests that wait, at most.
    pub length: u32,
    /// The longest wait.
    pub wait: Duration,
    /// A longer predicted wait for the first token counts as full; None: it is not predicted.
    pub first_token: Option<Duration>,
}

/// What of a use case's excess goes to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overflow {
    /// How long a request waits before it goes there.
    pub wait: Duration,
    /// What it may cost in a UTC day; None: no limit.
    pub budget_per_day: Option<NanoUsd>,
    /// Whether a baseline at a service of others is asked although nobody knows its price.
    pub unpriced: bool,
    /// Whether requests that nobody waits for go there, too.
    pub batch: bool,
}

pub(crate) fn queue(table: &Table<'_>) -> Option<Queue> {
    let length = table.read("length", values::count);
    let wait = table.read("wait", values::duration);
    let first_token_given = table.given("first_token").is_some();
    let first_token = table.read("first_token", values::duration);
    Some(Queue {
        length: length?,
        wait: wait?,
        first_token: if first_token_given { Some(first_token?) } else { None },
    })
}

pub(crate) fn overflow(table: &Table<'_>) -> Option<Overflow> {
    let wait = table.read("wait", values::duration);
    let budget_per_day = table.read("budget_per_day", values::budget);
    let unpriced = table.read("unpriced", values::boolean);
    let batch = table.read("batch", values::boolean);
    Some(Overflow {
        wait: wait?,
        budget_per_day: budget_per_day?,
        unpriced: unpriced?,
        batch: batch?,
    })
}

/// Whether nobody waits for a use case's answers.
pub(crate) fn batch(table: &Table<'_>) -> Option<bool> {
    Some(table.read("priority_class", values::choice)? == "batch")
}

/// Notes overflow that can never happen.
pub(crate) fn check(table: &Table<'_>, use_case: &UseCase) {
    if use_case.overflow.is_none() {
        return;
    }
    if use_case.candidate.is_none() {
        let message = "there is no candidate whose excess could go elsewhere";
        table.conflict("overflow", message, None);
    }
    if use_case.local_only {
        let message = "its residency is \"local-only\", and what is local-only never overflows";
        let hint = "remove the table: requests wait (upstreams.NAME.queue), then get a 503";
        table.conflict("overflow", message, Some(hint.to_owned()));
    }
}

/// Warns of overflow from upstreams that nothing tells to be full, and to the very one that is full.
pub(crate) fn note_blind(
    tables: &[NamedTable<'_>],
    use_cases: &[Option<UseCase>],
    (variants, upstreams): (&[Option<Variant>], &[Option<Upstream>]),
) {
    for (entry, use_case) in tables.iter().zip(use_cases) {
        let Some(use_case) = use_case.as_ref().filter(|use_case| use_case.overflow.is_some())
        else {
            continue;
        };
        let upstream_of = |at: usize| Some(variants.get(at)?.as_ref()?.upstream);
        let at = use_case.candidate.and_then(upstream_of);
        let Some(upstream) = at.and_then(|at| upstreams.get(at)?.as_ref()) else { continue };
        if at == upstream_of(use_case.baseline) {
            let message = format!(
                "nothing ever overflows: the baseline is served by {} as well, which is full then",
                upstream.name
            );
            let hint = "give the baseline an upstream of its own, or leave `overflow` out";
            entry.table.warn("overflow", message, Some(hint.to_owned()));
            continue;
        }
        note_waits(&entry.table.child("overflow"), use_case, upstream);
        if tells(upstream) {
            continue;
        }
        let message = format!("nothing tells when upstream {} is full", upstream.name);
        let hint = format!(
            "set upstreams.{0}.in_flight_limit, or upstreams.{0}.queue.first_token",
            upstream.name
        );
        entry.table.warn("overflow", message, Some(hint));
    }
}

/// Warns of a wait that is not waited, or not to its end.
fn note_waits(table: &Table<'_>, use_case: &UseCase, upstream: &Upstream) {
    let Some(overflow) = use_case.overflow.filter(|_| table.given("wait").is_some()) else {
        return;
    };
    let name = &upstream.name;
    match upstream.queue {
        None => {
            let message = format!("without effect: upstream {name} has no queue to wait in");
            let hint = format!("set upstreams.{name}.queue, or leave `wait` out");
            table.warn("wait", message, Some(hint));
        }
        Some(queue) if queue.wait < overflow.wait => {
            let message = format!(
                "longer than upstreams.{name}.queue.wait, after which the request goes to the baseline"
            );
            table.warn("wait", message, None);
        }
        Some(_) => {}
    }
}

fn tells(upstream: &Upstream) -> bool {
    upstream.embedded.is_some()
        || upstream.probing.is_some()
        || upstream.loading.in_flight_limit.is_some()
        || upstream.queue.is_some_and(|queue| queue.first_token.is_some())
}
