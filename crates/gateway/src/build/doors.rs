//! The ways into upstreams: where requests wait, and where their excess goes.

use std::sync::Arc;

use cutover_route::balance::Room;
use cutover_route::health::Limits;
use cutover_route::overflow::{Bounds, Purse, Purses, Rules};
use cutover_telemetry::families;

use super::Materials;
use crate::admission::Door;
use crate::exchange::micros;
use crate::live::UpstreamLane;
use crate::overflow::OverflowLane;

/// Whether an upstream has one: requests shall wait for it, or go elsewhere while it is full.
fn has_one(materials: &Materials<'_>, upstream: &cutover_config::Upstream) -> bool {
    let checked = materials.checked;
    let is_here =
        |at: usize| checked.upstreams[checked.variants[at].upstream].name == upstream.name;
    let overflows = |use_case: &cutover_config::UseCase| {
        use_case.overflow.is_some() && use_case.candidate.is_some_and(is_here)
    };
    upstream.queue.is_some() || checked.use_cases.iter().any(overflows)
}

/// How many requests make an instance full: as many as it shall have, else, where there is a way in, as its engine tells;
/// and never more than it has connections. Where nobody is kept from going in, what waits inside an engine is the
/// policy's to say: a conversation stays where its cache is.
pub(super) fn room(materials: &Materials<'_>, upstream: &cutover_config::Upstream) -> Room {
    let most = match upstream.embedded {
        Some(_) => u32::MAX,
        None => upstream.connections_max.max(1),
    };
    match upstream.loading.in_flight_limit {
        Some(limit) => Room::from(limit.min(most)),
        None => Room { most, told: has_one(materials, upstream) },
    }
}

/// An upstream's way in, if it has one.
pub(super) fn door(
    materials: &Materials<'_>,
    upstream: &cutover_config::Upstream,
    before: Option<&UpstreamLane>,
) -> Option<Door> {
    if !has_one(materials, upstream) {
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
