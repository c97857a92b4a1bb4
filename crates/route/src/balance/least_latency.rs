//! Two are drawn, the one that would answer sooner wins.

use super::{Choice, Draw, Peer, Policy, mix};

pub(super) const POLICY: Policy = Policy {
    name: "least-latency",
    doc: "Of two instances drawn by chance, the one with the smaller product of its average time to \
          the first byte and its requests in flight. Copes with instances of unequal speed; needs no \
          shared cursor and makes no herd.",
    reads_prefix: false,
    choose,
};

/// One pick in so many is left to chance: an instance that was slow once would never be measured again,
/// were it only taken when it is the faster of two.
const CHANCE_ONE_IN: u64 = 32;

/// Power of two choices (Mitzenmacher, 2001), compared by expected wait as Finagle's "Peak EWMA" does.
/// The second must be a fifth better to displace the first: between instances that are about equal,
/// noise in their averages would else send everything to one.
pub(super) fn choose(choice: &Choice<'_>, draw: &Draw) -> usize {
    let (first, second) = choice.two(draw);
    if mix(draw.seed ^ u64::MAX).is_multiple_of(CHANCE_ONE_IN) {
        return first;
    }
    let (of_first, of_second) = (wait(choice.peer(first)), wait(choice.peer(second)));
    if of_second < of_first - of_first / 5 { second } else { first }
}

/// What the next request would wait, in microseconds. An instance that has not been measured is taken
/// for very fast, so that it is tried; its requests in flight keep a burst from all going there.
fn wait(peer: Peer) -> u64 {
    peer.latency_us.max(1).saturating_mul(u64::from(peer.in_flight) + 1)
}
