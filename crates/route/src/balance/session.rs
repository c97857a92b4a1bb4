//! A conversation stays where it was.

use super::{Choice, Draw, Policy, least_latency};

pub(super) const POLICY: Policy = Policy {
    name: "session",
    doc: "A unit (user, conversation) stays at its instance, by rendezvous hashing: when instances come \
          or go, only the units of those move. Requests without a unit go as with least-latency.",
    reads_prefix: false,
    choose,
};

fn choose(choice: &Choice<'_>, draw: &Draw) -> usize {
    match draw.session {
        Some(session) => choice.owner(session),
        None => least_latency::choose(choice, draw),
    }
}
