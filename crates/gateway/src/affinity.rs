//! What a request brings to the choice of an instance, and the instances that there are.

use std::sync::atomic::Ordering;

use cutover_route::balance::{Draw, Peer, Peers, key_of};
use cutover_units::Millis;
use cutover_upstream::health::Wanted;

use crate::exchange::Exchange;
use crate::live::{InstanceLane, UpstreamLane};

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

/// An upstream's instances, as the balancer sees them for one request.
pub(crate) struct Fleet<'a> {
    pub(crate) instances: &'a [InstanceLane],
    pub(crate) wanted: Wanted<'a>,
    pub(crate) now: Millis,
}

impl Peers for Fleet<'_> {
    fn peer(&self, at: usize) -> Peer {
        self.instances[at].peer(self.wanted, self.now)
    }

    fn id(&self, at: usize) -> u64 {
        self.instances[at].key
    }
}
