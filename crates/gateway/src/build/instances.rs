//! An upstream's instances: new ones, and those that a reload carries over.

use std::collections::HashMap;
use std::sync::Arc;

use cutover_config::Checked;
use cutover_route::balance::{Board, Lineup, Post};
use cutover_route::retry::Allowance;
use cutover_units::InstanceId;
use cutover_upstream::health::Health;
use cutover_upstream::{Gauge, Instance, InstanceLive};
use cutover_wire::probe::with_tag;

use super::mold::{self, Mold};
use super::{BuildError, Materials, wrong};
use crate::live::{InstanceLane, Live, Retry};
use crate::resolving::Resolved;

/// What stands for the address of the engine in this process.
const EMBEDDED: &str = "embedded";

/// What of an instance outlives a reload.
#[derive(Clone)]
pub(super) struct Parts {
    pub(super) instance: Arc<Instance>,
    pub(super) prober: Arc<Instance>,
    pub(super) health: Arc<Health>,
}

/// Instances of the picture before, by what identifies them.
pub(crate) struct Carried(HashMap<String, Parts>);

pub(super) fn carried(previous: Option<&Live>) -> Carried {
    let upstreams = previous.map(Live::upstreams).unwrap_or_default();
    of(upstreams.iter().flat_map(|upstream| &upstream.instances))
}

/// The instances of one upstream.
pub(crate) fn carried_of(lanes: &[InstanceLane]) -> Carried {
    of(lanes.iter())
}

fn of<'a>(lanes: impl Iterator<Item = &'a InstanceLane>) -> Carried {
    let parts = |lane: &InstanceLane| Parts {
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
    Lineup::new(asked.map(post), lanes.first().map_or(u32::MAX, |lane| lane.room))
}

/// An upstream's instances, and how more of them are made; the engine in this process is one for ever.
pub(super) fn instances(
    materials: &Materials<'_>,
    upstream: &cutover_config::Upstream,
    (carried, resolved): (&Carried, &Resolved),
) -> Result<(Vec<InstanceLane>, Option<Arc<Mold>>), BuildError> {
    let name = &upstream.name;
    let Some(embedded) = &upstream.embedded else {
        let mold = Mold::new(materials, upstream, (&models(materials, upstream), resolved))?;
        let lanes = mold.lanes(resolved, (carried, materials.registry))?;
        return Ok((lanes, Some(Arc::new(mold))));
    };
    let fingerprint = format!("{name} embedded {embedded:?}");
    let make = |post: &Arc<Post>| {
        let service = materials
            .surroundings
            .embedded(embedded)
            .map_err(|why| wrong(format!("upstreams.{name}"), why))?;
        let live = Arc::new(InstanceLive::at(Arc::clone(post)));
        let instance = Arc::new(Instance::in_process(name.as_str(), service, live));
        Ok((Arc::clone(&instance), instance))
    };
    let parts = carried.or_made((&fingerprint, &Arc::default()), make)?;
    let id = InstanceId::new(name, resolved.number(name, EMBEDDED));
    let room = upstream.loading.in_flight_limit.unwrap_or(u32::MAX);
    let known = (name.as_str(), id, materials.registry);
    let lane = mold::lane(known, (fingerprint, parts), (room, false))?;
    Ok((vec![lane], None))
}

fn models(materials: &Materials<'_>, upstream: &cutover_config::Upstream) -> String {
    asked_models(materials.checked, upstream).join(",")
}

/// The models that an upstream's variants ask for, as engines' lists name them: a word of bits holds
/// which of them are in memory, so that there are at most 64.
pub(super) fn asked_models(
    checked: &Checked,
    upstream: &cutover_config::Upstream,
) -> Box<[String]> {
    let of_it = |variant: &&cutover_config::Variant| {
        checked.upstreams[variant.upstream].name == upstream.name
    };
    let names = checked.variants.iter().filter(of_it).map(|v| with_tag(&v.model).into_owned());
    let mut names: Vec<_> = names.collect();
    names.sort_unstable();
    names.dedup();
    names.truncate(64);
    names.into()
}

/// What is known of the tokens in their prompts, from the picture before where there is one.
pub(super) fn gauges(
    materials: &Materials<'_>,
    upstream: &cutover_config::Upstream,
) -> Box<[Arc<Gauge>]> {
    let before = materials.previous.map(Live::upstreams).unwrap_or_default();
    let before = before.iter().find(|known| known.name == upstream.name);
    let known = |model: &String| {
        let place = before?.asked_models.iter().position(|known| known == model)?;
        before?.gauges.get(place).cloned()
    };
    let models = asked_models(materials.checked, upstream);
    models.iter().map(|model| known(model).unwrap_or_default()).collect()
}

/// How it is asked again. What its budget has seen is kept: a reload ends no storm.
pub(super) fn retry(materials: &Materials<'_>, upstream: &cutover_config::Upstream) -> Retry {
    let before = materials.previous.map(Live::upstreams).unwrap_or_default();
    let before = before.iter().find(|known| known.name == upstream.name);
    let cutover_config::Retries { budget, per_second_min, again } = upstream.retries;
    Retry {
        budget: before.map(|known| Arc::clone(&known.retry.budget)).unwrap_or_default(),
        allowance: Allowance { share: budget, per_second_min },
        again,
    }
}

/// A model's place among them.
pub(super) fn place(asked: &[String], model: &str) -> Option<u8> {
    let place = asked.binary_search_by(|name| name.as_str().cmp(&with_tag(model))).ok()?;
    u8::try_from(place).ok()
}

impl Carried {
    /// The board that one of these is on. A new one stands beside it, as long as there is room.
    pub(super) fn board<'f>(&self, mut known: impl Iterator<Item = &'f str>) -> Option<Arc<Board>> {
        let parts = known.find_map(|fingerprint| self.0.get(fingerprint))?;
        Some(Arc::clone(parts.instance.live().post().board()))
    }

    pub(super) fn or_made(
        &self,
        (fingerprint, board): (&str, &Arc<Board>),
        make: impl FnOnce(&Arc<Post>) -> Result<(Arc<Instance>, Arc<Instance>), BuildError>,
    ) -> Result<Parts, BuildError> {
        if let Some(parts) = self.0.get(fingerprint) {
            return Ok(parts.clone());
        }
        let post = Arc::new(board.post().unwrap_or_default());
        let (instance, prober) = make(&post)?;
        Ok(Parts { instance, prober, health: Arc::new(Health::at(post)) })
    }
}
