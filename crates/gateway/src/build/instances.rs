//! An upstream's instances: new ones, and those that a reload carries over.

use std::collections::HashMap;
use std::sync::Arc;

use cutover_config::Checked;
use cutover_route::balance::key_of;
use cutover_route::retry::Allowance;
use cutover_telemetry::InstanceMetrics;
use cutover_units::InstanceId;
use cutover_upstream::{Instance, InstanceAddress, InstanceLive, InstanceSettings};
use cutover_wire::probe::with_tag;

use super::trust::Trust;
use super::{BuildError, Materials, header_value, wrong};
use crate::context_guard::Gauge;
use crate::health::Health;
use crate::live::{InstanceLane, Live, Retry};

/// What of an instance outlives a reload.
#[derive(Clone)]
struct Parts {
    instance: Arc<Instance>,
    prober: Arc<Instance>,
    health: Arc<Health>,
}

/// Instances of the picture before, by what identifies them.
pub(super) struct Carried(HashMap<String, Parts>);

pub(super) fn carried(previous: Option<&Live>) -> Carried {
    let upstreams = previous.map(Live::upstreams).unwrap_or_default();
    let lanes = upstreams.iter().flat_map(|upstream| &upstream.instances);
    let parts = |lane: &InstanceLane| Parts {
        instance: Arc::clone(&lane.instance),
        prober: Arc::clone(&lane.prober),
        health: Arc::clone(&lane.health),
    };
    Carried(lanes.map(|lane| (lane.fingerprint.clone(), parts(lane))).collect())
}

pub(super) fn instances(
    materials: &Materials<'_>,
    upstream: &cutover_config::Upstream,
    carried: &Carried,
) -> Result<Vec<InstanceLane>, BuildError> {
    let name = &upstream.name;
    if let Some(embedded) = &upstream.embedded {
        let fingerprint = format!("{name} embedded {embedded:?}");
        let make = || {
            let service = materials
                .surroundings
                .embedded(embedded)
                .map_err(|why| wrong(format!("upstreams.{name}"), why))?;
            let live = Arc::new(InstanceLive::default());
            let instance = Arc::new(Instance::in_process(name.as_str(), service, live));
            Ok((Arc::clone(&instance), instance))
        };
        let parts = carried.or_made(&fingerprint, make)?;
        return Ok(vec![instance_lane(materials, (upstream, 0), fingerprint, parts)?]);
    }
    let trust = Trust::of(materials, upstream)?;
    let lanes = upstream.instances.iter().enumerate().map(|(position, url)| {
        let text = url.to_string();
        // Places of models in `Health` are the upstream's own: two upstreams never share one.
        let max = upstream.connections_max;
        let fingerprint =
            format!("{name} {text} {max} {} {}", trust.digest, models(materials, upstream));
        let make = || {
            let connections_max = usize::try_from(max).unwrap_or(usize::MAX);
            let over = |connections| http_instance((upstream, &text), &trust, connections);
            Ok((over(connections_max)?, over(1)?))
        };
        let parts = carried.or_made(&fingerprint, make)?;
        instance_lane(materials, (upstream, position), fingerprint, parts)
    });
    lanes.collect()
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
    fn or_made(
        &self,
        fingerprint: &str,
        make: impl FnOnce() -> Result<(Arc<Instance>, Arc<Instance>), BuildError>,
    ) -> Result<Parts, BuildError> {
        if let Some(parts) = self.0.get(fingerprint) {
            return Ok(parts.clone());
        }
        let (instance, prober) = make()?;
        Ok(Parts { instance, prober, health: Arc::default() })
    }
}

fn http_instance(
    (upstream, url): (&cutover_config::Upstream, &str),
    trust: &Trust,
    max_connections: usize,
) -> Result<Arc<Instance>, BuildError> {
    let name = &upstream.name;
    let address = InstanceAddress::parse(url)
        .map_err(|why| wrong(format!("upstreams.{name}.instances"), why.to_string()))?;
    let tls = trust.tls.clone().filter(|_| address.is_https());
    let settings = InstanceSettings { max_connections, ..InstanceSettings::default() };
    let live = Arc::new(InstanceLive::default());
    Ok(Arc::new(Instance::http(address, settings, tls, live)))
}

fn instance_lane(
    materials: &Materials<'_>,
    (upstream, position): (&cutover_config::Upstream, usize),
    fingerprint: String,
    parts: Parts,
) -> Result<InstanceLane, BuildError> {
    let id = InstanceId::new(&upstream.name, position);
    let Parts { instance, prober, health } = parts;
    Ok(InstanceLane {
        header: header_value(id.as_str())?,
        metrics: InstanceMetrics::new(materials.registry, upstream.name.as_str(), id.as_str()),
        id,
        key: key_of(instance.label().as_bytes()),
        fingerprint,
        instance,
        prober,
        health,
        in_flight_limit: upstream.loading.in_flight_limit,
    })
}
