//! How the instances of one upstream are made: from its addresses as they are written, and from those that
//! its names lead to. Kept with the upstream, so that addresses that appear later are made alike.

use std::net::IpAddr;
use std::sync::Arc;

use cutover_config::Resolve;
use cutover_route::balance::{Board, INSTANCES_MAX, Room, key_of};
use cutover_telemetry::{InstanceMetrics, Registry, families};
use cutover_units::{InstanceId, UpstreamName};
use cutover_upstream::{Instance, InstanceAddress, InstanceLive, InstanceSettings};

use super::instances::{Carried, Parts};
use super::trust::Trust;
use super::{BuildError, Materials, doors, header_value, wrong};
use crate::live::InstanceLane;
use crate::resolving::Resolved;

/// How an upstream's instances are made.
pub(crate) struct Mold {
    pub(crate) upstream: UpstreamName,
    /// How names are resolved anew; None: each connection does it.
    pub(crate) resolve: Option<Resolve>,
    places: Vec<Place>,
    trust: Trust,
    connections_max: usize,
    room: Room,
}

/// One of the addresses in the file.
struct Place {
    text: String,
    /// What tells it from the upstream's other addresses, those of earlier files among them.
    number: usize,
    address: InstanceAddress,
    is_named: bool,
}

impl std::fmt::Debug for Mold {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mold").field("upstream", &self.upstream).finish_non_exhaustive()
    }
}

/// One instance that is to be: its address in the file, and at which of its name's addresses.
struct Cast<'a> {
    id: InstanceId,
    place: &'a Place,
    /// With the number that tells it from those before and after it.
    address: Option<(IpAddr, u32)>,
    leaving: bool,
}

impl Mold {
    /// Of an upstream with addresses.
    pub(super) fn new(
        materials: &Materials<'_>,
        upstream: &cutover_config::Upstream,
        resolved: &Resolved,
    ) -> Result<Self, BuildError> {
        let name = &upstream.name;
        let place = |url: &cutover_config::BaseUrl| {
            let text = url.to_string();
            let address = InstanceAddress::parse(&text)
                .map_err(|why| wrong(format!("upstreams.{name}.instances"), why.to_string()))?;
            let number = resolved.number(name, &text);
            Ok(Place { text, number, address, is_named: url.is_named() })
        };
        let trust = Trust::of(materials, upstream)?;
        Ok(Self {
            upstream: name.clone(),
            resolve: upstream.resolve,
            places: upstream.instances.iter().map(place).collect::<Result<_, BuildError>>()?,
            trust,
            connections_max: usize::try_from(upstream.connections_max).unwrap_or(usize::MAX),
            room: doors::room(materials, upstream),
        })
    }

    /// The names that are resolved anew: the address as it is written, and its host.
    pub(crate) fn names(&self) -> impl Iterator<Item = (&str, &str)> {
        let places = self.places.iter().filter(|place| place.is_named && self.resolve.is_some());
        places.map(|place| (place.text.as_str(), place.address.host()))
    }

    /// How many addresses one of its names may lead to, the other places having theirs.
    pub(crate) fn room(&self, name: &str, resolved: &Resolved) -> usize {
        let others = self.places.iter().filter(|place| place.text != name);
        let taken = |place: &Place| resolved.present(&self.upstream, &place.text).max(1);
        INSTANCES_MAX.saturating_sub(others.map(taken).sum::<usize>()).max(1)
    }

    /// Whether these are the instances that there should be, and behind them those alone that are not done yet.
    pub(crate) fn fits(&self, lanes: &[InstanceLane], resolved: &Resolved) -> bool {
        let casts = self.casts(resolved);
        let same = |(lane, cast): (&InstanceLane, &Cast<'_>)| {
            lane.id == cast.id && lane.leaving == cast.leaving
        };
        let departing = lanes.get(casts.len()..);
        departing.is_some_and(|lanes| lanes.iter().all(|lane| lane.leaving && lane.is_busy()))
            && lanes.iter().zip(&casts).all(same)
    }

    /// The instances that there should be: those that are asked first.
    pub(crate) fn lanes(
        &self,
        resolved: &Resolved,
        (carried, registry): (&Carried, &Registry),
    ) -> Result<Vec<InstanceLane>, BuildError> {
        let casts = self.casts(resolved);
        let fingerprints: Vec<_> = casts.iter().map(|cast| self.fingerprint(cast)).collect();
        let board = carried.board(fingerprints.iter().map(String::as_str)).unwrap_or_default();
        let known = (carried, &board);
        let casts = casts.into_iter().zip(fingerprints);
        casts.map(|cast| self.lane(cast, known, registry)).collect()
    }

    /// The id of an address that one of its names leads to.
    pub(crate) fn id(&self, name: &str, number: u32) -> Option<InstanceId> {
        let place = self.places.iter().find(|place| place.text == name)?;
        Some(InstanceId::of_address(&self.upstream, place.number, number))
    }

    /// Whether its names are a name server's alone: then the system's resolver is never asked for them.
    fn is_told(&self) -> bool {
        self.resolve.is_some_and(|resolve| resolve.server.is_some())
    }

    /// The names that were not answered yet: the address as it is written, and its host.
    pub(crate) fn unanswered<'a>(
        &'a self,
        resolved: &'a Resolved,
    ) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.names().filter(|(text, _)| resolved.present(&self.upstream, text) == 0)
    }

    /// The hosts that nobody is asked behind, as only a name server knows them and has told no address yet.
    pub(crate) fn unfound<'a>(&'a self, resolved: &'a Resolved) -> impl Iterator<Item = &'a str> {
        self.unanswered(resolved).filter(|_| self.is_told()).map(|(_, host)| host)
    }

    fn casts(&self, resolved: &Resolved) -> Vec<Cast<'_>> {
        let mut casts = Vec::with_capacity(self.places.len());
        for place in &self.places {
            let members = resolved.members(&self.upstream, &place.text);
            let members = members.filter(|_| place.is_named && self.resolve.is_some());
            let Some(members) = members else {
                // What the system's resolver would say of it may be another machine altogether.
                if place.is_named && self.is_told() {
                    continue;
                }
                // A name that was not answered yet is one instance, whatever it leads to.
                let id = InstanceId::new(&self.upstream, place.number);
                casts.push(Cast { id, place, address: None, leaving: false });
                continue;
            };
            casts.extend(members.all().map(|member| Cast {
                id: InstanceId::of_address(&self.upstream, place.number, member.number),
                place,
                address: Some((member.address, member.number)),
                leaving: member.leaving,
            }));
        }
        // The balancer sees as many as a word has bits: those that leave need not be among them.
        casts.sort_by_key(|cast| cast.leaving);
        casts
    }

    fn fingerprint(&self, cast: &Cast<'_>) -> String {
        let written = format!("{} {}", self.upstream, cast.place.text);
        // Not by its id: a name that gets another place in the file keeps its connections.
        match cast.address {
            Some((address, number)) => format!("{written} {number} {address}"),
            None => written,
        }
    }

    fn lane(
        &self,
        (cast, fingerprint): (Cast<'_>, String),
        (carried, board): (&Carried, &Arc<Board>),
        registry: &Registry,
    ) -> Result<InstanceLane, BuildError> {
        let Cast { id, place, address, leaving } = cast;
        let upstream = self.upstream.as_str();
        let parts = carried.or_made((&fingerprint, &self.trust.digest, board), |live| {
            let at = address.map(|(address, _)| address);
            let over = |connections, live| self.instance((place, at), connections, live);
            Ok((over(self.connections_max, Arc::clone(live)), over(1, Arc::default())))
        })?;
        let room = (self.room, Some(self.connections_max), leaving);
        lane((upstream, id, registry), (fingerprint, parts), room)
    }

    fn instance(
        &self,
        (place, at): (&Place, Option<IpAddr>),
        max_connections: usize,
        live: Arc<InstanceLive>,
    ) -> Arc<Instance> {
        let address = at.map_or_else(|| place.address.clone(), |at| place.address.at(at));
        let tls = self.trust.tls.clone().filter(|_| address.is_https());
        let settings = InstanceSettings { max_connections, ..InstanceSettings::default() };
        Arc::new(Instance::http(address, settings, tls, live))
    }
}

/// An instance's lane.
pub(super) fn lane(
    (upstream, id, registry): (&str, InstanceId, &Registry),
    (fingerprint, parts): (String, Parts),
    (room, connections_max, leaving): (Room, Option<usize>, bool),
) -> Result<InstanceLane, BuildError> {
    let Parts { way, instance, prober, health } = parts;
    let resends = registry.counter(families::RESENDS, [upstream, id.as_str()]);
    instance.live().on_resend(move || resends.inc());
    Ok(InstanceLane {
        header: header_value(id.as_str())?,
        metrics: InstanceMetrics::new(registry, upstream, id.as_str()),
        id,
        key: key_of(instance.label().as_bytes()),
        fingerprint,
        way,
        instance,
        prober,
        health,
        leaving,
        room,
        connections_max,
    })
}
