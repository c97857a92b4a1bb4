//! The one with the fewest requests in flight.

use super::field::{Field, Peers};
use super::{Draw, Kind, Policy};

pub(super) const POLICY: Policy = Policy {
    name: "least-outstanding",
    doc: "The instance with the fewest requests in flight; among equals, chance. Best for few equal \
          instances and requests of very unequal length.",
    reads_prefix: false,
    kind: Kind::LeastOutstanding,
};

pub(super) fn choose<P: Peers + ?Sized>(field: &Field<'_, P>, draw: &Draw) -> Option<usize> {
    field.lightest(draw.seed, 0)
}
