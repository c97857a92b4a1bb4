//! What a request brings to the choice of an instance.

use std::sync::atomic::Ordering;

use cutover_route::balance::{Draw, key_of};

use crate::exchange::Exchange;
use crate::live::UpstreamLane;

/// A fresh draw for the next attempt. A session is the conversation the client names
/// (`prompt_cache_key`), else the use case's unit, else the user.
pub(crate) fn draw(exchange: &Exchange, upstream: &UpstreamLane) -> Draw {
    let seed = exchange.id.seed() ^ u64::from(exchange.attempts());
    // What only some policies read is made only for several instances.
    if upstream.instances.len() < 2 {
        return Draw { seed, ..Draw::default() };
    }
    let head = &exchange.head;
    let unit = exchange.chosen.unit_is_known.then_some(exchange.chosen.unit_hash);
    let named = |name: &Option<Box<str>>| name.as_deref().map(|name| key_of(name.as_bytes()));
    let session = named(&head.prompt_cache_key)
        .or(unit)
        .or_else(|| named(&head.safety_identifier))
        .or_else(|| named(&head.user));
    Draw {
        tried: 0,
        seed,
        turn: upstream.turn.fetch_add(1, Ordering::Relaxed),
        session,
        prefix: upstream
            .balance
            .reads_prefix
            .then(|| exchange.chat().ok().and_then(|(head, body)| head.prefix(body).map(key_of)))
            .flatten(),
    }
}
