//! The ways into upstreams: where requests wait, and where their excess goes.

use std::sync::Arc;

use cutover_route::health::Limits;
use cutover_route::overflow::{Bounds, Purse, Purses, Rules};
use cutover_telemetry::families;

use super::Materials;
use crate::admission::Door;
use crate::exchange::micros;
use crate::live::UpstreamLane;
use crate::overflow::OverflowLane;

/// An upstream has one if requests shall wait for it, or go elsewhere while it is full.
pub(super) fn door(
    materials: &Materials<'_>,
    upstream: &cutover_config::Upstream,
    before: Option<&UpstreamLane>,
) -> Option<Door> {
    let checked = materials.checked;
    let is_here =
        |at: usize| checked.upstreams[checked.variants[at].upstream].name == upstream.name;
    let overflows = |use_case: &cutover_config::UseCase| {
        use_case.overflow.is_some() && use_case.candidate.is_some_and(is_here)
    };
    if upstream.queue.is_none() && !checked.use_cases.iter().any(overflows) {
        return None;
    }
    let engine = upstream.probing.map_or_else(Limits::default, |probing| Limits {
        waiting: probing.waiting_limit,
        ..Limits::default()
    });
    let first_token = upstream.queue.and_then(|queue| queue.first_token);
    let held = before.and_then(|known| Some(Arc::clone(&known.door.as_ref()?.held)));
    Some(Door {
        bounds: Bounds {
            in_flight: upstream
                .loading
                .in_flight_limit
                .or(upstream.embedded.as_ref().map(|embedded| embedded.slots)),
            engine,
            first_token_us: first_token.map(|limit| micros(limit).0),
            line: upstream.queue.is_some(),
        },
        rules: upstream.queue.map(|queue| Rules {
            length: usize::try_from(queue.length).unwrap_or(usize::MAX),
            wait: queue.wait,
        }),
        held: held.unwrap_or_default(),
    })
}

/// A use case's overflow; its purse is what it had, even if it was away meanwhile.
pub(super) fn overflow(
    materials: &Materials<'_>,
    configured: &cutover_config::UseCase,
    purses: &Purses,
) -> Option<OverflowLane> {
    let rules = configured.overflow?;
    let new = || {
        let cost = families::OVERFLOW_COST;
        let cost = materials.registry.counter(cost, [configured.name.as_str()]);
        Purse::new(move |spent| cost.add(spent.0))
    };
    Some(OverflowLane { rules, purse: purses.of(&configured.name, new) })
}
