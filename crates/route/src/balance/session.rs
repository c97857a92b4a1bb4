//! A conversation stays where it was.

use super::field::{Best, Field, Peers, is_fittest};
use super::{Draw, Kind, Policy, least_latency};

pub(super) const POLICY: Policy = Policy {
    name: "session",
    doc: "A unit (user, conversation) stays at its instance, by rendezvous hashing: when instances come \
          or go, only the units of those move. Requests without a unit go as with least-latency.",
    reads_prefix: false,
    kind: Kind::Session,
};

pub(super) fn choose<P: Peers + ?Sized>(mut field: Field<'_, P>, draw: &Draw) -> Option<usize> {
    let Some(session) = draw.session else { return least_latency::choose(field, draw) };
    // Whose it is among all is whose it is among those that are well, if that one is.
    let home = field.owner(field.rest(), session)?;
    if is_fittest(&field.look(home)) {
        return Some(home);
    }
    match field.best()? {
        Best::Fit(set) => field.owner(set, session),
        Best::Rested(at) => Some(at),
    }
}
