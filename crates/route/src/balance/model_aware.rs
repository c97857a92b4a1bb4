//! Where the model is in memory already, unless too many wait there.

use super::{Choice, Draw, Policy, below, mix};

pub(super) const POLICY: Policy = Policy {
    name: "model-aware",
    doc: "As least-outstanding, but an instance that has to load the request's model first counts as if \
          it had eight more requests in flight: loads are rare, and yet a model that is in demand spreads. \
          The default for Ollama, where a load takes seconds to minutes and may put another model out.",
    reads_prefix: false,
    choose,
};

/// So many requests may wait for a warm instance before a cold one is worth its load. With answers of a
/// few seconds and a load of some ten seconds the two waits are about equal.
const LOAD_COUNTS_AS: u32 = 8;

fn choose(choice: &Choice<'_>, draw: &Draw) -> usize {
    // Beginning at a place of chance, so that ties do not all go to the first.
    let start = below(mix(draw.seed), choice.len());
    let places = (0..choice.len()).map(|n| choice.nth(start + n));
    let weight = |at: &usize| {
        let peer = choice.peer(*at);
        peer.in_flight.saturating_add(if peer.warm { 0 } else { LOAD_COUNTS_AS })
    };
    places.min_by_key(weight).unwrap_or_else(|| choice.nth(start))
}
