//! Each attempt is counted once, by what it came to, whoever ends it.

use cutover_telemetry::{Outcome, families};

use crate::exchange::Exchange;
use crate::gateway::Shared;

/// An attempt whose result nobody has counted yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Uncounted {
    /// There is none.
    #[default]
    Nothing,
    /// It is under way.
    Asked,
    /// It is a stream that has begun.
    Begun,
}

/// Counts one that did not succeed.
pub(crate) fn count(shared: &Shared, [upstream, instance, result]: [&str; 3]) {
    shared.registry.counter(families::ATTEMPTS, [upstream, instance, result]).inc();
}

/// What an attempt under way comes to when its request ends: the client has left, or the process does.
pub(crate) fn given_up(shared: &Shared) -> &'static str {
    if shared.is_cut() { Outcome::Drained.as_str() } else { Outcome::ClientGone.as_str() }
}

impl Exchange {
    /// Counts what the last attempt came to, unless it is counted. Without a `failure` a stream was good for as
    /// long as its client wanted it, and what had not begun was given up.
    pub(crate) fn count_last(&mut self, failure: Option<&'static str>) {
        let result = match std::mem::take(&mut self.trail.uncounted) {
            Uncounted::Nothing => return,
            Uncounted::Asked => failure.or(Some(given_up(&self.shared))),
            Uncounted::Begun => failure,
        };
        let Some((lane, instance, _)) = self.lane() else { return };
        match result {
            None => instance.metrics.succeeded.inc(),
            Some(result) => {
                let names = [lane.upstream.name.as_str(), instance.id.as_str(), result];
                count(&self.shared, names);
            }
        }
    }

    /// The same of one that ran beside the last at this place.
    pub(super) fn count_beside(&self, place: usize) {
        let Some((lane, ..)) = self.lane() else { return };
        let instance = lane.upstream.instances.get(place).map_or("", |lane| lane.id.as_str());
        let names = [lane.upstream.name.as_str(), instance, given_up(&self.shared)];
        count(&self.shared, names);
    }
}
