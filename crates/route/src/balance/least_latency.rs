//! Two are drawn, the one that would answer sooner wins.

use super::{Choice, Draw, Peer, Policy};

pub(super) const POLICY: Policy = Policy {
    name: "least-latency",
    doc: "Of two instances drawn by chance, the one with the smaller product of its average time to \
          the first byte and its requests in flight. Copes with instances of unequal speed; needs no \
          shared cursor and makes no herd.",
    reads_prefix: false,
    choose,
};

/// Power of two choices (Mitzenmacher, 2001), compared by expected wait as Finagle's "Peak EWMA" does.
pub(super) fn choose(choice: &Choice<'_>, draw: &Draw) -> usize {
    let (first, second) = choice.two(draw);
    if wait(choice.peer(second)) < wait(choice.peer(first)) { second } else { first }
}

/// What the next request would wait, in microseconds. An instance that has not been measured is taken
/// for very fast, so that it is tried; its requests in flight keep a burst from all going there.
fn wait(peer: Peer) -> u64 {
    peer.latency_us.max(1).saturating_mul(u64::from(peer.in_flight) + 1)
}
