//! Prompts that begin alike go to the same instance, unless it has more than its share.

use super::field::{Best, Field, Peers, is_fittest, len, places};
use super::{Draw, INSTANCES_MAX, Kind, Policy, least_latency};

pub(super) const POLICY: Policy = Policy {
    name: "prefix-affine",
    doc: "Prompts that begin alike go to the same instance, whose key-value cache then holds their \
          beginning, unless it already has 1.25 times its even share of the requests in flight: then the \
          next in that prompt's own order. Requests without a long beginning go as with least-latency.",
    reads_prefix: true,
    kind: Kind::PrefixAffine,
};

/// How far above the even share an instance may go: consistent hashing with bounded loads
/// (Mirrokni, Thorup and Zadimoghaddam, 2018), with the factor that Google and Vimeo report using.
const BOUND_PERCENT: u64 = 125;

pub(super) fn choose<P: Peers + ?Sized>(mut field: Field<'_, P>, draw: &Draw) -> Option<usize> {
    let Some(prefix) = draw.prefix else { return least_latency::choose(field, draw) };
    // Its own, if that is well. Whether it has room is known when enough of the others' load has been seen.
    let (all, owner) = (field.rest(), field.owner(field.rest(), prefix)?);
    let peer = field.look(owner);
    let enough = if is_fittest(&peer) { needed(peer.in_flight, all) } else { u64::MAX };
    let (mut in_flight, mut total) = ([0; INSTANCES_MAX], u64::from(peer.in_flight));
    in_flight[owner] = peer.in_flight;
    for at in places(field.rest()) {
        if total >= enough {
            return Some(owner);
        }
        let peer = field.look(at);
        in_flight[at] = peer.in_flight;
        total += if is_fittest(&peer) { u64::from(peer.in_flight) } else { 0 };
    }
    let set = match field.best()? {
        Best::Fit(set) => set,
        Best::Rested(at) => return Some(at),
    };
    let total = places(set).map(|at| u64::from(in_flight[at])).sum();
    let is_open = |at: &usize| needed(in_flight[*at], set) <= total;
    // The first with room in the prefix's own order is the owner among those with room. The bound is above the
    // mean, so that there is one.
    let open = places(set).filter(is_open).fold(0, |open, at| open | 1 << at);
    field.owner(open, prefix)
}

/// How much all of a set must have in flight together before one that has so many may have one more.
fn needed(in_flight: u32, set: u64) -> u64 {
    u64::from(in_flight) * 100 * len(set) as u64 / BOUND_PERCENT
}
