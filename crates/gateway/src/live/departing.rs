//! Instances that are asked no more and have not ended what they began. They stay in the picture behind the others,
//! where no choice sees them, so that who looks at it knows when the last of their requests has ended.

use std::sync::Arc;

use super::{InstanceLane, Live, UpstreamLane};

/// These, and behind them those of before that are not among them and have requests under way.
pub(super) fn with_departing(lanes: &[InstanceLane], before: &[InstanceLane]) -> Vec<InstanceLane> {
    let departs = |old: &&InstanceLane| old.is_busy() && lanes.iter().all(|new| new.id != old.id);
    let departing = before.iter().filter(departs).cloned();
    let departing = departing.map(|old| InstanceLane { leaving: true, ..old });
    lanes.iter().cloned().chain(departing).collect()
}

impl UpstreamLane {
    /// The same, and behind its instances those of before that are not among them; where each of those is now.
    pub(crate) fn with_known(&self, before: &[InstanceLane]) -> (Self, Vec<usize>) {
        let mut new = self.clone();
        let places = before.iter().map(|old| {
            let known = new.instances.iter().position(|one| one.is_same(old));
            known.unwrap_or_else(|| {
                new.instances.push(InstanceLane { leaving: true, ..old.clone() });
                new.instances.len() - 1
            })
        });
        let places = places.collect();
        (new, places)
    }

    /// Whether it has instances for new requests that are not among these.
    pub(crate) fn has_others(&self, known: &[InstanceLane]) -> bool {
        self.taking().any(|(_, one)| !one.leaving && known.iter().all(|old| !one.is_same(old)))
    }
}

impl InstanceLane {
    fn is_same(&self, other: &Self) -> bool {
        self.id == other.id && self.fingerprint == other.fingerprint
    }

    /// Whether it has requests under way.
    pub(crate) fn is_busy(&self) -> bool {
        self.instance.live().in_flight() > 0
    }
}

impl Live {
    /// The same in the place of this one: with the instances that have left since, as long as they answer.
    pub(crate) fn after(self: &Arc<Self>, before: &Self) -> Arc<Self> {
        let (mut live, before) = (Arc::clone(self), before.upstreams());
        // The engine in this process is one for ever, and nobody sees to what was in its place.
        for upstream in self.upstreams().iter().filter(|upstream| upstream.mold.is_some()) {
            let Some(old) = before.iter().find(|old| old.name == upstream.name) else { continue };
            let instances = with_departing(&upstream.instances, &old.instances);
            if instances.len() > upstream.instances.len() {
                let new = UpstreamLane { instances, ..UpstreamLane::clone(upstream) };
                live = Arc::new(live.with_upstream(&Arc::new(new)));
            }
        }
        live
    }

    /// Tells the instances which of them get no new request, and how many connections they may have. Of the picture in
    /// force alone, and after it came into force: one that never does takes nobody out.
    /// Those that had nothing to do are in it no more: who began by the picture before it must not ask them either.
    pub(crate) fn tell_leaving(&self, before: &Self) {
        for lane in self.all_upstreams().iter().flat_map(|one| &one.instances) {
            if let Some(most) = lane.connections_max {
                lane.instance.live().bind_connections(most);
            }
            if lane.health.is_leaving() != lane.leaving {
                lane.health.leave(lane.leaving);
            }
        }
        for old in before.upstreams() {
            let Some(now) = self.present(&old).filter(|now| now.mold.is_some()) else { continue };
            let stays = |lane: &InstanceLane| {
                now.instances.iter().any(|one| Arc::ptr_eq(&one.health, &lane.health))
            };
            for gone in old.instances.iter().filter(|lane| !stays(lane)) {
                gone.health.leave(true);
            }
        }
    }

    /// All upstreams of the file, those that nobody asks among them.
    pub(crate) fn all_upstreams(&self) -> Vec<Arc<UpstreamLane>> {
        self.upstreams().into_iter().chain(self.unused.iter().cloned()).collect()
    }

    /// Whether an instance is in this picture.
    pub(crate) fn has_instance(&self, id: &str) -> bool {
        let upstreams = self.all_upstreams();
        upstreams.iter().flat_map(|one| &one.instances).any(|lane| lane.id.as_str() == id)
    }
}
