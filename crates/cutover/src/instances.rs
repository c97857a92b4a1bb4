//! Instances as operators name them, and which of them are out of service.

use cutover_control::api::instances::{DrainStatus, NameStatus};
use cutover_control::api::{Failure, InstanceStatus};
use cutover_gateway::{Gateway, InstanceLane};
use cutover_route::health::State;
use cutover_store::{Drain, SetDrain};
use cutover_units::{UpstreamName, did_you_mean};

use crate::process::engine_status;

/// How an instance is shown that no request goes to, because no variant names its upstream.
const UNUSED: &str = "unused";

/// The instances that operators took out.
#[derive(Debug, Default)]
pub(crate) struct Drains {
    /// What the database says; None: it could not be read yet.
    stored: Option<Vec<Drain>>,
    /// What was ordered before it could be read.
    ordered: Vec<SetDrain>,
}

impl Drains {
    /// Whether the database is still to be read.
    pub(crate) fn are_unread(&self) -> bool {
        self.stored.is_none()
    }

    /// What the database says. What was ordered meanwhile holds.
    pub(crate) fn take(&mut self, mut stored: Vec<Drain>) {
        for set in self.ordered.drain(..) {
            apply(&mut stored, &set);
        }
        self.stored = Some(stored);
    }

    /// Notes an order.
    pub(crate) fn order(&mut self, set: &SetDrain) {
        match &mut self.stored {
            Some(stored) => apply(stored, set),
            None => self.ordered.push(set.clone()),
        }
    }

    /// Those that are out.
    pub(crate) fn all(&self) -> Vec<Drain> {
        let mut all = self.stored.clone().unwrap_or_default();
        for set in &self.ordered {
            apply(&mut all, set);
        }
        all
    }
}

fn apply(drains: &mut Vec<Drain>, set: &SetDrain) {
    let is_it =
        |known: &Drain| known.upstream == set.drain.upstream && known.address == set.drain.address;
    if !set.out {
        drains.retain(|known| !is_it(known));
    } else if !drains.iter().any(is_it) {
        drains.push(set.drain.clone());
    }
}

/// An instance with its upstream.
struct Placed {
    upstream: UpstreamName,
    lane: InstanceLane,
    /// Whether any request goes to its upstream.
    used: bool,
}

/// The instances of all upstreams of the file: an operator takes one out, or has it warm, also before a
/// variant names its upstream.
fn lanes(gateway: &Gateway) -> Vec<Placed> {
    let live = gateway.live();
    let mut lanes: Vec<Placed> = Vec::new();
    let used = live.lanes.iter().map(|lane| &lane.upstream).chain(&live.surface.upstream);
    let all = used.map(|upstream| (upstream, true));
    for (upstream, used) in all.chain(live.unused.iter().map(|upstream| (upstream, false))) {
        for lane in &upstream.instances {
            if lanes.iter().all(|known| known.lane.id != lane.id) {
                lanes.push(Placed { upstream: upstream.name.clone(), lane: lane.clone(), used });
            }
        }
    }
    lanes.sort_by_cached_key(|placed| in_order(placed.lane.id.as_str()));
    lanes
}

/// What ids are sorted by: `gpus/0.10` stands behind `gpus/0.9`.
fn in_order(id: &str) -> (String, Vec<u64>) {
    let (upstream, numbers) = id.rsplit_once('/').unwrap_or((id, ""));
    let numbers = numbers.split('.').filter_map(|number| number.parse().ok());
    (upstream.to_owned(), numbers.collect())
}

/// The upstream and the address of what an operator calls `text`: an id, an address, or both names.
pub(crate) fn find(
    gateway: &Gateway,
    drains: &[Drain],
    text: &str,
) -> Result<(UpstreamName, String), Failure> {
    let mut known: Vec<(UpstreamName, String)> = Vec::new();
    for Placed { upstream, lane, .. } in lanes(gateway) {
        let place = (upstream, lane.instance.label().to_owned());
        if lane.id.as_str() == text {
            return Ok(place);
        }
        known.push(place);
    }
    known.extend(drains.iter().map(|drain| (drain.upstream.clone(), drain.address.clone())));
    known.sort();
    known.dedup();
    let full = |(upstream, address): &(UpstreamName, String)| format!("{upstream}/{address}");
    let mut found: Vec<_> =
        known.iter().filter(|place| place.1 == text || full(place) == text).collect();
    let names: Vec<_> = known.iter().map(full).collect();
    match (found.pop(), found.is_empty()) {
        (Some(place), true) => Ok(place.clone()),
        (Some(_), false) => Err(Failure {
            code: "ambiguous_instance".to_owned(),
            message: format!("{text:?} is an instance of several upstreams"),
            hint: Some("name its upstream, too: UPSTREAM/ADDRESS".to_owned()),
        }),
        (None, _) => Err(Failure {
            code: "unknown_instance".to_owned(),
            message: format!("there is no instance {text:?}"),
            hint: did_you_mean(text, names.iter().map(String::as_str))
                .or_else(|| Some("cutover instances list shows them".to_owned())),
        }),
    }
}

/// All instances, for the status.
pub(crate) fn statuses(gateway: &Gateway, drains: &[Drain]) -> Vec<InstanceStatus> {
    let now = crate::clock::now();
    let status = |Placed { upstream, lane, used }: Placed| {
        let address = lane.instance.label().to_owned();
        // Nobody asks it and nobody probes it: how it is, nobody knows.
        let state = match lane.state(now) {
            State::Healthy if !used => UNUSED,
            state => state.as_str(),
        };
        let drain =
            drains.iter().find(|drain| drain.upstream == upstream && drain.address == address);
        InstanceStatus {
            id: lane.id.to_string(),
            in_flight: lane.instance.live().in_flight().into(),
            failures: lane.health.failures().into(),
            state: state.to_owned(),
            engine: lane.health.facts().map(|facts| engine_status(&facts)),
            drained: drain.map(drain_status),
            address,
        }
    };
    lanes(gateway).into_iter().map(status).collect()
}

fn drain_status(drain: &Drain) -> DrainStatus {
    DrainStatus {
        upstream: drain.upstream.to_string(),
        address: drain.address.clone(),
        actor: drain.actor.clone(),
        reason: drain.reason.clone(),
        at: drain.at,
    }
}

/// The names whose addresses are instances, for the status.
pub(crate) fn names(gateway: &Gateway) -> Vec<NameStatus> {
    let status = |name: cutover_gateway::NameStatus| NameStatus {
        upstream: name.upstream.to_string(),
        host: name.host,
        addresses: name.addresses,
        beyond: name.beyond,
        answered: name.answered,
        problem: name.problem,
    };
    gateway.names().into_iter().map(status).collect()
}

#[cfg(test)]
mod tests {
    use cutover_units::Millis;

    use super::*;

    fn set(address: &str, actor: &str, out: bool) -> SetDrain {
        let drain = Drain {
            upstream: UpstreamName::new("gpus").unwrap(),
            address: address.to_owned(),
            actor: actor.to_owned(),
            reason: String::new(),
            at: Millis(1),
        };
        SetDrain { drain, out }
    }

    fn shown(drains: &Drains) -> Vec<(String, String)> {
        drains.all().into_iter().map(|drain| (drain.address, drain.actor)).collect()
    }

    #[test]
    fn ids_are_sorted_by_their_numbers() {
        let mut ids = ["gpus/10", "gpus/0.10", "gpus/2", "old/0", "gpus/0.9", "cloud/1", "gpus/0"];
        ids.sort_by_key(|id| in_order(id));
        assert_eq!(
            ids,
            ["cloud/1", "gpus/0", "gpus/0.9", "gpus/0.10", "gpus/2", "gpus/10", "old/0"]
        );
    }

    #[test]
    fn what_is_ordered_before_the_database_can_be_read_holds_afterwards() {
        let mut drains = Drains::default();
        drains.order(&set("a:1", "ann", true));
        drains.order(&set("b:1", "ann", false));
        assert!(drains.are_unread() && shown(&drains) == [("a:1".into(), "ann".into())]);
        let stored = ["b:1", "c:1"].map(|address| set(address, "bob", true).drain);
        drains.take(stored.to_vec());
        let expected = [("c:1".to_owned(), "bob".to_owned()), ("a:1".to_owned(), "ann".to_owned())];
        assert_eq!(shown(&drains), expected);
        // Who was first stays.
        drains.order(&set("c:1", "ann", true));
        assert_eq!(shown(&drains), expected);
    }
}
