//! Two are drawn, the one that would answer sooner wins.

use super::field::{Best, Field, Peers, is_fittest, len, two};
use super::{Draw, Kind, Peer, Policy, mix};

pub(super) const POLICY: Policy = Policy {
    name: "least-latency",
    doc: "Of two instances drawn by chance, the one with the smaller product of its average time to \
          the first byte and its requests in flight. Copes with instances of unequal speed; needs no \
          shared cursor and makes no herd. One that has not answered yet counts as fast as the other, \
          and each request it holds as four.",
    reads_prefix: false,
    kind: Kind::LeastLatency,
};

/// One pick in so many is left to chance: an instance that was slow once would never be measured again,
/// were it only taken when it is the faster of two.
const CHANCE_ONE_IN: u64 = 32;

/// What a request in flight counts as at an instance that has not answered any. Not so much that all
/// would wait for the first of several that have just been started to answer.
const UNANSWERED_COUNTS_AS: u64 = 4;

/// So many pairs are drawn in the hope that both are well, before all are looked at.
const PAIRS: u64 = 3;

/// Power of two choices (Mitzenmacher, 2001), compared by expected wait as Finagle's "Peak EWMA" does. A pair
/// with one that is not well is not taken: so it is as if it had been drawn from those that are.
pub(super) fn choose<P: Peers + ?Sized>(mut field: Field<'_, P>, draw: &Draw) -> Option<usize> {
    let by_chance = mix(draw.seed ^ u64::MAX).is_multiple_of(CHANCE_ONE_IN);
    for nth in 0..PAIRS {
        if len(field.rest()) < 2 {
            break;
        }
        let (first, second) = two(field.rest(), draw.seed.wrapping_add(nth << 32));
        let (one, other) = (field.look(first), field.look(second));
        if is_fittest(&one) && is_fittest(&other) {
            let second_is_better = !by_chance && is_better(other, one);
            return Some(if second_is_better { second } else { first });
        }
    }
    let set = match field.best()? {
        Best::Fit(set) => set,
        Best::Rested(at) => return Some(at),
    };
    let (first, second) = two(set, draw.seed);
    let second_is_better = !by_chance && is_better(field.again(second), field.again(first));
    Some(if second_is_better { second } else { first })
}

/// The second must be a fifth better to displace the first: between instances that are about equal, noise in
/// their averages would else send everything to one.
fn is_better(second: Peer, first: Peer) -> bool {
    let (of_first, of_second) = (wait(first, second), wait(second, first));
    of_second < of_first - of_first / 5
}

/// What the next request would wait, in microseconds. An instance that has not been measured is taken
/// to be as fast as the one it is compared with; but since nobody knows yet whether it answers at all,
/// what it was sent and has not answered counts several times: one that hangs holds up a few requests,
/// and not all.
fn wait(peer: Peer, compared_with: Peer) -> u64 {
    let in_flight = u64::from(peer.in_flight);
    match peer.latency_us {
        0 => compared_with.latency_us.max(1).saturating_mul(in_flight * UNANSWERED_COUNTS_AS + 1),
        measured => measured.saturating_mul(in_flight + 1),
    }
}
