//! An upstream's instances: new ones, and those that a reload carries over.
//!
//! What makes one the same is its upstream and its address. Whatever else the file says of it, what is counted and known
//! of it stays: requests that are under way there are so after a reload, too. Where other certificates are
//! trusted it has other connections, and these alone are new.

use std::collections::HashMap;
use std::sync::Arc;

use cutover_config::Checked;
use cutover_route::balance::{Board, Lineup};
use cutover_route::retry::{Allowance, Retry};
use cutover_units::InstanceId;
use cutover_upstream::health::Health;
use cutover_upstream::{Instance, InstanceLive, models};
use cutover_wire::probe::with_tag;

use super::mold::{self, Mold};
use super::{BuildError, Materials, doors, wrong};
use crate::live::{InstanceLane, Live, UpstreamLane};
use crate::resolving::Resolved;

/// What stands for the address of the engine in this process.
const EMBEDDED: &str = "embedded";

/// What of an instance outlives a reload.
#[derive(Clone)]
pub(super) struct Parts {
    /// How it is connected to: where that changes, by new pools.
    pub(super) way: String,
    pub(super) instance: Arc<Instance>,
    pub(super) prober: Arc<Instance>,
    pub(super) health: Arc<Health>,
}

/// Instances of the picture before, by what identifies them.
pub(crate) struct Carried(HashMap<String, Parts>);

pub(super) fn carried(previous: Option<&Live>) -> Carried {
    let upstreams = previous.map(Live::all_upstreams).unwrap_or_default();
    of(upstreams.iter().flat_map(|upstream| &upstream.instances))
}

/// The instances of one upstream.
pub(crate) fn carried_of(lanes: &[InstanceLane]) -> Carried {
    of(lanes.iter())
}

fn of<'a>(lanes: impl Iterator<Item = &'a InstanceLane>) -> Carried {
    let parts = |lane: &InstanceLane| Parts {
        way: lane.way.clone(),
        instance: Arc::clone(&lane.instance),
        prober: Arc::clone(&lane.prober),
        health: Arc::clone(&lane.health),
    };
    Carried(lanes.map(|lane| (lane.fingerprint.clone(), parts(lane))).collect())
}

/// An upstream's instances, as they are picked from.
pub(crate) fn lineup(lanes: &[InstanceLane]) -> Lineup {
    let post = |lane: &InstanceLane| (Arc::clone(lane.instance.live().post()), lane.key);
    // Those that leave are behind the others, and on whichever board they were.
    let asked = lanes.iter().take_while(|lane| !lane.leaving);
    Lineup::new(asked.map(post), lanes.first().map_or(u32::MAX.into(), |lane| lane.room))
}

/// An upstream's instances, and how more of them are made; the engine in this process is one for ever.
pub(super) fn instances(
    materials: &Materials<'_>,
    upstream: &cutover_config::Upstream,
    (carried, resolved): (&Carried, &Resolved),
) -> Result<(Vec<InstanceLane>, Option<Arc<Mold>>), BuildError> {
    let name = &upstream.name;
    let Some(embedded) = &upstream.embedded else {
        let mold = Mold::new(materials, upstream, resolved)?;
        let lanes = mold.lanes(resolved, (carried, materials.registry))?;
        return Ok((lanes, Some(Arc::new(mold))));
    };
    let (fingerprint, way) = (format!("{name} {EMBEDDED}"), format!("{embedded:?}"));
    let make = |live: &Arc<InstanceLive>| {
        let service = materials
            .surroundings
            .embedded(embedded)
            .map_err(|why| wrong(format!("upstreams.{name}"), why))?;
        let instance = Instance::in_process(name.as_str(), service, Arc::clone(live));
        let instance = Arc::new(instance);
        Ok((Arc::clone(&instance), instance))
    };
    let parts = carried.or_made((&fingerprint, &way, &Arc::default()), make)?;
    let id = InstanceId::new(name, resolved.number(name, EMBEDDED));
    let room = doors::room(materials, upstream);
    let known = (name.as_str(), id, materials.registry);
    let lane = mold::lane(known, (fingerprint, parts), (room, None, false))?;
    Ok((vec![lane], None))
}

/// The models that an upstream's variants ask for, as engines' lists name them, in the places that they had before.
pub(super) fn asked_models(
    checked: &Checked,
    upstream: &cutover_config::Upstream,
    before: Option<&UpstreamLane>,
) -> Box<[String]> {
    let of_it = |variant: &&cutover_config::Variant| {
        checked.upstreams[variant.upstream].name == upstream.name
    };
    let names = checked.variants.iter().filter(of_it).map(|v| with_tag(&v.model).into_owned());
    models::placed(before.map_or(&[], |known| &known.asked_models), names)
}

/// How it is asked again. What its budget has seen is kept: a reload ends no storm.
pub(super) fn retry(upstream: &cutover_config::Upstream, before: Option<&UpstreamLane>) -> Retry {
    let cutover_config::Retries { budget, per_second_min, again } = upstream.retries;
    Retry {
        budget: before.map(|known| Arc::clone(&known.retry.budget)).unwrap_or_default(),
        allowance: Allowance { share: budget, per_second_min },
        again,
    }
}

impl Carried {
    /// The board that one of these is on. A new one stands beside it, as long as there is room.
    pub(super) fn board<'f>(&self, mut known: impl Iterator<Item = &'f str>) -> Option<Arc<Board>> {
        let parts = known.find_map(|fingerprint| self.0.get(fingerprint))?;
        Some(Arc::clone(parts.instance.live().post().board()))
    }

    pub(super) fn or_made(
        &self,
        (fingerprint, way, board): (&str, &str, &Arc<Board>),
        make: impl FnOnce(&Arc<InstanceLive>) -> Result<(Arc<Instance>, Arc<Instance>), BuildError>,
    ) -> Result<Parts, BuildError> {
        let known = self.0.get(fingerprint);
        if let Some(parts) = known.filter(|parts| parts.way == way) {
            return Ok(parts.clone());
        }
        let (live, health) = known.map_or_else(
            || {
                let post = Arc::new(board.post().unwrap_or_default());
                (Arc::new(InstanceLive::at(Arc::clone(&post))), Arc::new(Health::at(post)))
            },
            |parts| (Arc::clone(parts.instance.live()), Arc::clone(&parts.health)),
        );
        let (instance, prober) = make(&live)?;
        Ok(Parts { way: way.to_owned(), instance, prober, health })
    }
}
