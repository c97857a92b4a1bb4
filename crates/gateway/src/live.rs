//! What requests read: the router's snapshot with everything that hangs on it, built once per
//! configuration and swapped as a whole.
//!
//! A request loads one `Arc<Live>` and keeps it to its end, so that a reload in the middle changes
//! nothing for it. Connections, health and counters live in `Arc`s that a rebuild carries over.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use cutover_config::{Endurance, ImageUrls, Resolve, UpstreamMessages};
use cutover_images::ImageLane;
use cutover_ledger::Tokens;
use cutover_ledger::prices::Pricing;
use cutover_route::balance::{Draw, Lineup, Peer, Policy, Room, Taken};
use cutover_route::health::State;
use cutover_route::overflow::{Class, Purses};
use cutover_route::retry::Retry;
use cutover_route::{Snapshot, Traffic, UseCase, UseCaseIx, VariantIx};
use cutover_server::BodyLimits;
use cutover_store::{Key, KeyRing};
use cutover_telemetry::{ArmMetrics, InstanceMetrics};
use cutover_units::{Arm, Code, InstanceId, Millis, NanoUsd, UpstreamName, UseCaseName};
use cutover_upstream::clients_key::ClientsKey;
use cutover_upstream::health::{Health, Reading, Wanted};
use cutover_upstream::{Gauge, Instance, Lacking, RequestHeaders, Timeouts, Usual, models};
use cutover_wire::stream::pacing::Pace;
use cutover_wire::{Fault, Prefill, Provider, Target};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::Feed;
use crate::admission::Door;
use crate::build::{Mold, lineup};
use crate::drains::Drained;
use crate::overflow::OverflowLane;
use crate::passthrough::SurfaceLane;
use crate::probes::Probing;
use crate::prompts::LanePrompt;
use crate::resolving::Resolved;
use crate::shadow::{self, Copies};

mod departing;
mod unserved;

/// What requests read. Cloning shares all but the snapshot.
#[derive(Debug, Clone)]
pub struct Live {
    /// The router's part; the indices of everything else are its.
    pub snapshot: Snapshot,
    /// One per variant, in the snapshot's order.
    pub lanes: Arc<[Lane]>,
    /// Upstreams of the file that no request goes to: no variant names them.
    pub unused: Arc<[Arc<UpstreamLane>]>,
    /// The headers that decide where a request goes.
    pub routing_headers: Arc<[HeaderName]>,
    /// One per use case, in the snapshot's order.
    pub use_cases: Arc<[UseCaseLane]>,
    /// The handles of requests that no use case matches.
    pub default_metrics: ArmMetrics,
    /// Endpoints that are passed on untouched.
    pub surface: SurfaceLane,
    /// How images are fetched.
    pub images: Arc<ImageLane>,
    /// The listener's limits.
    pub limits: Limits,
    /// The client keys; None: no key is asked for.
    pub keys: Option<Arc<KeyRing>>,
    /// What `GET /v1/models` answers from configuration alone.
    pub models: Arc<[ModelEntry]>,
    /// Whether `models` holds the default upstream's models, so that it need not be asked.
    pub default_is_listed: bool,
    /// The names that may go to the default upstream; None: any, it knows itself which exist.
    pub default_models: Option<Arc<[String]>>,
    /// The instances that operators took out; the same in all pictures.
    pub drained: Arc<Drained>,
    /// What overflow has cost; the same in all pictures.
    pub purses: Arc<Purses>,
    /// What names were resolved to; the same in all pictures.
    pub resolved: Arc<Resolved>,
    /// The digest of the configuration, for status and logs.
    pub config_digest: String,
    /// When the configuration was read.
    pub loaded_at: Millis,
}

/// A model the gateway answers for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelEntry {
    /// The name to ask for.
    pub id: String,
    /// `use case NAME`, or the upstream's name.
    pub owned_by: String,
}

/// A variant, ready to send to. Cloning shares what it learns.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Its name, as a header.
    pub variant: HeaderValue,
    /// What requests become on their way.
    pub target: Target,
    /// The place of its model in [`UpstreamLane::asked_models`].
    pub model_place: Option<u8>,
    /// Whether its model is kept in memory.
    pub warm: bool,
    /// How its model is given the beginning of an answer.
    pub prefill: Prefill,
    /// Its prompt, if that is one of the store's.
    pub prompt: Option<LanePrompt>,
    /// The price of its tokens.
    pub price: Arc<Pricing>,
    /// Where it is served.
    pub upstream: Arc<UpstreamLane>,
}

/// An upstream, ready to send to. Cloning shares its counters.
#[derive(Debug, Clone)]
pub struct UpstreamLane {
    /// Its name.
    pub name: UpstreamName,
    /// Its name, as a header.
    pub header: HeaderValue,
    /// Its provider's row.
    pub provider: &'static Provider,
    /// Whether it may see data that must stay local.
    pub local: bool,
    /// Whether it is one's own, so that what nobody has a price for costs nothing there: local,
    /// embedded, or at private addresses only.
    pub own: bool,
    /// Its addresses.
    pub instances: Vec<InstanceLane>,
    /// The same, side by side.
    pub(crate) lineup: Lineup,
    /// How more of them are made; None: it is in this process.
    pub(crate) mold: Option<Arc<Mold>>,
    /// How one of them is chosen.
    pub balance: &'static Policy,
    /// Counts the choices.
    pub turn: Arc<AtomicU32>,
    /// Which of its instances do not have a model; carried over.
    pub lacking: Arc<Lacking>,
    /// How its instances are probed; None: not at all.
    pub probing: Option<Probing>,
    /// The way in, where requests wait or go elsewhere while it is full; None: they go in all the same.
    pub door: Option<Door>,
    /// The models that its variants ask for, as the engine's own list names them, in the [places](models) that they keep.
    pub asked_models: Box<[String]>,
    /// The tokens of context that requests of these models ask for, by the model's name.
    pub pins: Arc<[(String, u32)]>,
    /// What their answers have told of the tokens in their prompts, in the same places; carried over.
    pub gauges: Box<[Arc<Gauge>]>,
    /// Prebuilt headers (our key among them), and which of the client's may join them.
    pub headers: RequestHeaders,
    /// Whether the client's own key is passed on.
    pub pass_bearer: bool,
    /// In which form, and whose keys.
    pub(crate) clients_key: ClientsKey,
    /// How it is asked again; its budget is carried over by name.
    pub retry: Retry,
    /// Deadlines of an attempt.
    pub timeouts: Timeouts,
    /// Whether a client that goes away ends the request here, too.
    pub cancel_on_disconnect: bool,
    /// What happens to images that a chat names by address.
    pub image_urls: ImageUrls,
    /// Largest whole answer, in bytes.
    pub answer_bytes_max: usize,
    /// Largest stream event, in bytes.
    pub event_bytes_max: usize,
}

/// One address of an upstream.
#[derive(Debug, Clone)]
pub struct InstanceLane {
    /// Its id.
    pub id: InstanceId,
    /// Its id, as a header.
    pub header: HeaderValue,
    /// A hash of its address, by which sessions and prompts find back to it.
    pub key: u64,
    /// What identifies it: equal across a reload, what is counted and known of it is carried over.
    pub fingerprint: String,
    /// How it is connected to: equal across a reload, its connections are carried over, too.
    pub way: String,
    /// Its pool.
    pub instance: Arc<Instance>,
    /// The connection that its probes go over; the pool's own for an engine in this process.
    pub prober: Arc<Instance>,
    /// Its handles.
    pub metrics: InstanceMetrics,
    /// How it has fared lately.
    pub health: Arc<Health>,
    /// Whether it is asked no more, and stands behind those that are until it has ended what it began.
    pub leaving: bool,
    /// So many requests of ours at once make it full: as many as it shall have, its engine tells, or has connections.
    pub room: Room,
    /// So many connections it may have in use; None: it needs none.
    pub connections_max: Option<usize>,
}

impl InstanceLane {
    /// What it is fit for: as its [`Health`] says, and full where as many requests are under way as it has
    /// room for.
    pub fn state(&self, now: Millis) -> State {
        let state = self.health.state(now);
        let live = self.instance.live();
        let full = live.in_flight() >= self.room.at(live.post());
        if full { state.max(State::Saturated) } else { state }
    }

    /// What the balancer compares, for a request of this model.
    pub(crate) fn peer(&self, wanted: Wanted<'_>, now: Millis) -> Peer {
        let live = self.instance.live();
        Peer {
            state: self.state(now),
            warm: self.health.draws(wanted),
            in_flight: live.in_flight(),
            latency_us: live.latency_us(),
            failed_at: self.health.failed_at(),
            id: self.key,
        }
    }
}

/// A use case's part of the data path.
#[derive(Debug)]
pub struct UseCaseLane {
    /// Its name, as a header.
    pub header: HeaderValue,
    /// Whether the baseline answers while no instance has the candidate's model in memory.
    pub baseline_while_cold: bool,
    /// Where its requests are told of; carried over by name.
    pub feed: Arc<Feed>,
    /// Copies of its requests for the candidate; carried over by name.
    pub copies: Arc<Copies>,
    /// Their limits.
    pub shadow: shadow::Settings,
    /// How long its answers usually take; carried over by name.
    pub usual: Arc<Usual>,
    /// How its requests are kept alive.
    pub endurance: Endurance,
    /// What of its excess goes to the baseline; None: nothing.
    pub overflow: Option<OverflowLane>,
    /// How urgent its requests are.
    pub class: Class,
    /// Even pace of its streams, if wanted.
    pub pace: Option<Pace>,
    /// Handles of the baseline arm.
    pub baseline: ArmMetrics,
    /// Handles of the candidate arm, if there is one.
    pub candidate: Option<ArmMetrics>,
}

/// Limits on what a client may send.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Size and time of a request's body.
    pub body: BodyLimits,
    /// Silence after which a comment is sent on a stream.
    pub ping_interval: Duration,
    /// A request slower than this gets a log line.
    pub slow: Duration,
    /// Whether every request gets a log line.
    pub access_log: bool,
    /// How much of what upstreams say of their failures is logged.
    pub upstream_messages: UpstreamMessages,
}

impl Lane {
    /// Whether its tokens cost money, as far as is known.
    pub(crate) fn bills(&self, model: &Arc<str>, at: Millis) -> bool {
        let many = Tokens { prompt: 1_000_000, cached: 0, completion: 1_000_000 };
        let cost = self.price.cost(model, many, at);
        cost.map_or(!self.upstream.own, |cost| cost.amount > NanoUsd(0))
    }

    /// The instance that a request for this model goes to, and its seat there.
    pub(crate) fn take(&self, asked: &str, draw: &Draw, now: Millis) -> Option<Taken> {
        let UpstreamLane { instances, lineup, balance, .. } = &*self.upstream;
        let wanted = self.wanted(asked);
        let known = if let Wanted::Known(place) = wanted { Some(place) } else { None };
        lineup.with(known, |at| instances[at].peer(wanted, now)).take(balance, draw)
    }

    /// What an instance should have in memory for a request of this model.
    pub(crate) fn wanted<'a>(&self, asked: &'a str) -> Wanted<'a> {
        self.model_place.map_or(Wanted::Named(asked), Wanted::Known)
    }

    /// A request of this model is sent to an instance. Held until it is answered, if that has to read the model in.
    pub(crate) fn reads_in(&self, instance: &InstanceLane, asked: &str) -> Option<Reading> {
        let wanted = self.wanted(asked);
        if instance.health.has(wanted) {
            return None;
        }
        let asked_models = &self.upstream.asked_models;
        let (place, name) = match wanted {
            Wanted::Known(place) => (Some(place), &**asked_models.get(usize::from(place))?),
            Wanted::Named(name) => (models::place_of(asked_models, name), name),
        };
        Some(instance.health.reads_in(name, place))
    }
}

impl UpstreamLane {
    /// The instances that new requests may go to, with their places.
    pub(crate) fn taking(&self) -> impl Iterator<Item = (usize, &InstanceLane)> {
        self.instances.iter().enumerate().filter(|(_, lane)| !lane.health.is_out())
    }

    /// Whether one of its instances is expected to answer a request sent now, if perhaps late.
    pub(crate) fn can_serve(&self, now: Millis) -> bool {
        self.instances.iter().any(|lane| lane.state(now).can_serve())
    }

    /// When the first of its instances has rested, where all rest and nothing that is known can end that sooner: no
    /// request under way there, and no probe. So does one that said for how long it takes nobody. None: one can serve, or
    /// may any moment.
    pub(crate) fn rests_until(&self, now: Millis) -> Option<Millis> {
        let until = |lane: &InstanceLane| {
            let may_recover = self.probing.is_some() || lane.instance.live().in_flight() > 0;
            lane.health.rests_until(may_recover, now).max(lane.health.refuses_until(now))
        };
        // None is less than any time.
        self.taking().map(|(_, lane)| until(lane)).min().flatten()
    }

    /// The instance that fails and has to do least, of those that take requests.
    pub fn calmest(&self) -> Option<&InstanceLane> {
        let key = |lane: &&InstanceLane| (lane.health.failures(), lane.instance.live().in_flight());
        self.taking().map(|(_, lane)| lane).min_by_key(key)
    }

    /// Whether what was decided for this one holds for that, which came after it.
    pub(crate) fn goes_on_as(&self, later: &Self) -> bool {
        std::ptr::eq(self.provider, later.provider)
            && self.local == later.local
            && models::hold(&self.asked_models, &later.asked_models)
    }

    fn is_made_by(&self, mold: &Arc<Mold>) -> bool {
        self.mold.as_ref().is_some_and(|known| Arc::ptr_eq(known, mold))
    }

    /// How its names are resolved anew, if they are.
    pub(crate) fn resolving(&self) -> Option<(&Arc<Mold>, Resolve)> {
        let mold = self.mold.as_ref()?;
        Some((mold, mold.resolve?))
    }

    /// The headers of a request for this client: ours, what may pass of the client's, and the
    /// client's own key where that is configured.
    pub(crate) fn request_headers(&self, client: &HeaderMap) -> HeaderMap {
        let mut headers = self.headers.for_client(client);
        if self.pass_bearer {
            headers.extend(self.clients_key.of(client));
        }
        headers
    }

    /// Refuses a request with a key that this upstream cannot be shown, where it is asked with the client's.
    pub(crate) fn check_key(&self, client: &HeaderMap) -> Result<(), Fault> {
        let checked = if self.pass_bearer { self.clients_key.check(client) } else { Ok(()) };
        let Err(wanted) = checked else { return Ok(()) };
        let message = format!(
            "what serves this request is asked with the client's own key, and the one that was sent looks \
             like another vendor's, so it was not passed on; send the key as '{wanted}'"
        );
        Err(Fault::new(Code::InvalidApiKey, message))
    }
}

impl Live {
    /// Refuses what a request asks of the router in words that mean nothing here or differ, or with a key
    /// that belongs to what is not here.
    pub fn check_hints(&self, headers: &HeaderMap, caller: Option<&Key>) -> Result<(), Fault> {
        cutover_ingress::agree(headers, &self.routing_headers)?;
        let bound = caller.and_then(|key| key.use_case.as_ref());
        cutover_ingress::check_hints(headers, bound, &self.snapshot)
    }

    /// The same with other shares.
    pub(crate) fn with_traffic(&self, traffic_of: &dyn Fn(&UseCase) -> Traffic) -> Self {
        Self { snapshot: self.snapshot.with_traffic(traffic_of), ..self.clone() }
    }

    /// An upstream as it is in this picture: its names may lead elsewhere by now, and a file may give it other
    /// instances or more room. Only where what was decided for the one holds for the other: who may see the data,
    /// what is spoken there, and the places of models.
    pub(crate) fn present(&self, upstream: &UpstreamLane) -> Option<&Arc<UpstreamLane>> {
        self.named(&upstream.name).filter(|known| upstream.goes_on_as(known))
    }

    /// The upstream of this name, if anything is asked of it.
    pub(crate) fn named(&self, name: &UpstreamName) -> Option<&Arc<UpstreamLane>> {
        let mut all = self.lanes.iter().map(|lane| &lane.upstream).chain(&self.surface.upstream);
        all.find(|known| known.name == *name)
    }

    /// The same with this one in the place of the upstream of its name.
    pub(crate) fn with_upstream(&self, new: &Arc<UpstreamLane>) -> Self {
        let swapped = |known: &Arc<UpstreamLane>| {
            Arc::clone(if known.name == new.name { new } else { known })
        };
        let lane = |lane: &Lane| Lane { upstream: swapped(&lane.upstream), ..lane.clone() };
        let surface = SurfaceLane {
            upstream: self.surface.upstream.as_ref().map(swapped),
            ..self.surface.clone()
        };
        Self { lanes: self.lanes.iter().map(lane).collect(), surface, ..self.clone() }
    }

    /// The same with other instances of the upstream that this mold belongs to; the same as it is, if it
    /// has left.
    pub(crate) fn with_instances(&self, mold: &Arc<Mold>, instances: &[InstanceLane]) -> Self {
        let is_it = |known: &UpstreamLane| known.is_made_by(mold);
        let upstreams = self.upstreams();
        let Some(upstream) = upstreams.iter().find(|upstream| is_it(upstream)) else {
            return self.clone();
        };
        let lineup = lineup(instances);
        let instances = departing::with_departing(instances, &upstream.instances);
        let new = Arc::new(UpstreamLane { instances, lineup, ..UpstreamLane::clone(upstream) });
        self.drained.tell(&new);
        self.with_upstream(&new)
    }

    /// All upstreams that are asked for anything, each once.
    pub(crate) fn upstreams(&self) -> Vec<Arc<UpstreamLane>> {
        let mut upstreams: Vec<Arc<UpstreamLane>> = Vec::new();
        for upstream in self.lanes.iter().map(|lane| &lane.upstream).chain(&self.surface.upstream) {
            if !upstreams.iter().any(|known| Arc::ptr_eq(known, upstream)) {
                upstreams.push(Arc::clone(upstream));
            }
        }
        upstreams
    }

    /// A variant's lane. The snapshot's indices always lie inside `lanes`.
    pub fn lane(&self, at: VariantIx) -> Option<&Lane> {
        self.lanes.get(usize::from(at.0))
    }

    /// A use case's lane.
    pub fn use_case(&self, at: UseCaseIx) -> Option<&UseCaseLane> {
        self.use_cases.get(usize::from(at.0))
    }

    /// A use case's lane, by its name.
    pub fn use_case_by_name(&self, name: &UseCaseName) -> Option<&UseCaseLane> {
        let at = self.snapshot.use_cases().iter().position(|use_case| use_case.name == *name)?;
        self.use_cases.get(at)
    }

    /// Whether a model that no use case names may go to the default upstream.
    pub(crate) fn default_takes(&self, model: &str) -> bool {
        self.default_models.as_ref().is_none_or(|known| known.iter().any(|name| name == model))
    }

    /// The handles of an arm.
    pub fn metrics(&self, use_case: Option<UseCaseIx>, arm: Arm) -> &ArmMetrics {
        let lane = use_case.and_then(|at| self.use_case(at));
        match (lane, arm) {
            (Some(lane), Arm::Candidate) => lane.candidate.as_ref().unwrap_or(&lane.baseline),
            (Some(lane), _) => &lane.baseline,
            (None, _) => &self.default_metrics,
        }
    }
}
