//! The one with the fewest requests in flight.

use super::{Choice, Draw, Policy, below, mix};

pub(super) const POLICY: Policy = Policy {
    name: "least-outstanding",
    doc: "The instance with the fewest requests in flight; among equals, chance. Best for few equal \
          instances and requests of very unequal length.",
    reads_prefix: false,
    choose,
};

pub(super) fn choose(choice: &Choice<'_>, draw: &Draw) -> usize {
    // Beginning at a place of chance, so that ties do not all go to the first.
    let start = below(mix(draw.seed), choice.len());
    let places = (0..choice.len()).map(|n| choice.nth(start + n));
    places.min_by_key(|at| choice.peer(*at).in_flight).unwrap_or_else(|| choice.nth(start))
}
