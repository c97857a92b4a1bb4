//! One after the other.

use super::field::{Best, Field, Peers, nth};
use super::{Draw, Kind, Policy};

pub(super) const POLICY: Policy = Policy {
    name: "round-robin",
    doc: "One after the other. Even in number, blind to load: for equal instances and equal requests.",
    reads_prefix: false,
    kind: Kind::RoundRobin,
};

pub(super) fn choose<P: Peers + ?Sized>(field: &Field<'_, P>, draw: &Draw) -> Option<usize> {
    Some(match field.best()? {
        Best::Fit(set) => nth(set, draw.turn as usize),
        Best::Rested(at) => at,
    })
}
