//! Prompts that begin alike go to the same instance, unless it has more than its share.

use super::{Choice, Draw, Policy, least_latency, mix};

pub(super) const POLICY: Policy = Policy {
    name: "prefix-affine",
    doc: "Prompts that begin alike go to the same instance, whose key-value cache then holds their \
          beginning, unless it already has 1.25 times its even share of the requests in flight: then the \
          next in that prompt's own order. Requests without a long beginning go as with least-latency.",
    reads_prefix: true,
    choose,
};

/// How far above the even share an instance may go: consistent hashing with bounded loads
/// (Mirrokni, Thorup and Zadimoghaddam, 2018), with the factor that Google and Vimeo report using.
const BOUND_PERCENT: u64 = 125;

fn choose(choice: &Choice<'_>, draw: &Draw) -> usize {
    let Some(prefix) = draw.prefix else { return least_latency::choose(choice, draw) };
    let in_flight = |at: usize| u64::from(choice.peer(at).in_flight);
    let total: u64 = choice.places().map(in_flight).sum();
    let bound = ((total + 1) * BOUND_PERCENT).div_ceil(100 * choice.len() as u64);
    // The owner is the first with room in the prefix's own order, that is: the highest score of those
    // with room. The bound is above the mean, so that there is one, unless counters moved meanwhile.
    let open = choice.places().filter(|at| in_flight(*at) < bound);
    let score = |at: &usize| mix(prefix ^ mix(choice.peer(*at).id));
    open.max_by_key(score).unwrap_or_else(|| choice.owner(prefix))
}
