//! The gateway itself: what all requests share, and the phases in order.

use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;

use arc_swap::{ArcSwap, Guard};
use cutover_route::{Traffic, UseCase};
use cutover_server::{Doors, Whole, read_body};
use cutover_store::{FeedbackSink, Record, RecordSink};
use cutover_telemetry::{Finished, Gauge, Histogram, NONE, Outcome, Registry, events, families};
use cutover_units::{Code, Millis, NanoUsd, Side, UseCaseName, WeightBp};
use cutover_upstream::jobs::Jobs;
use cutover_wire::{Endpoint, Head};
use http::{HeaderMap, Response, request};
use hyper::body::Incoming;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::Feed;
use crate::answer::sdk_retry;
use crate::answering::Answering;
use crate::body::{Out, json};
use crate::exchange::micros;
use crate::live::{Live, UpstreamLane};
use crate::rescue::{self, Failure};
use crate::responses::KeptAnswers;
use crate::shadow::{Copies, Ending};
pub(crate) use crate::visit::{Asked, Refusal, Visit};
use crate::{caller, dialects, feedback, infer, passthrough, probes, resolving};
use cutover_ingress::{Lost, Route};
use cutover_route::ids::Ids;

/// Tells the wall clock's time. The binary owns the only one.
pub type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;

/// What a gateway is made of.
pub struct Parts {
    /// The first picture.
    pub live: Live,
    /// The wall clock.
    pub clock: Clock,
    /// Where records go; None: nowhere.
    pub records: Option<RecordSink>,
    /// Where users' feedback goes; None: it is refused.
    pub feedback: Option<FeedbackSink>,
    /// Where answers are kept that clients want to go on from; None: nowhere.
    pub answers: Option<Arc<dyn KeptAnswers>>,
    /// Where metrics are kept.
    pub registry: Registry,
    /// A random number of this process, for ids.
    pub id_prefix: u64,
    /// The installation's key for unit hashes.
    pub unit_key: [u8; 16],
}

/// What all requests share.
pub(crate) struct Shared {
    live: ArcSwap<Live>,
    clock: Clock,
    ids: Ids,
    pub(crate) unit_key: [u8; 16],
    pub(crate) records: Option<RecordSink>,
    pub(crate) feedback: Option<FeedbackSink>,
    pub(crate) answers: Option<Arc<dyn KeptAnswers>>,
    pub(crate) registry: Registry,
    pub(crate) tasks: TaskTracker,
    pub(crate) jobs: Jobs,
    overhead: [Histogram; Endpoint::ALL.len()],
    pub(crate) connections: Gauge,
    /// How copies learn of the process's end.
    pub(crate) ending: Ending,
    /// Whether the time that requests under way had to end at shutdown is over.
    pub(crate) cut: AtomicBool,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shared")
    }
}

impl Shared {
    pub(crate) fn now(&self) -> Millis {
        (self.clock)()
    }

    /// The picture that the next request reads.
    pub(crate) fn live(&self) -> Guard<Arc<Live>> {
        self.live.load()
    }

    /// An upstream as it is by now, if it is not this very one.
    pub(crate) fn newer(&self, upstream: &Arc<UpstreamLane>) -> Option<Arc<UpstreamLane>> {
        let live = self.live();
        live.present(upstream).filter(|now| !Arc::ptr_eq(now, upstream)).cloned()
    }

    /// Swaps a part of the picture. Gives the one before.
    pub(crate) fn swap(&self, next: impl Fn(&Live) -> Live) -> Arc<Live> {
        self.live.rcu(|live| Arc::new(next(live)))
    }

    /// Whether what is under way must end now.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    pub(crate) fn overhead(&self, endpoint: Endpoint) -> &Histogram {
        &self.overhead[endpoint as usize]
    }
}

/// The gateway: a cheap handle.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Shared>);

impl Gateway {
    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// A gateway that reads this picture until it is given another.
    pub fn new(parts: Parts) -> Self {
        let registry = parts.registry;
        let overhead = |e: Endpoint| registry.histogram(families::GATEWAY_OVERHEAD, [e.as_str()]);
        let shared = Shared {
            live: ArcSwap::from_pointee(parts.live),
            clock: parts.clock,
            ids: Ids::new(parts.id_prefix),
            unit_key: parts.unit_key,
            records: parts.records,
            feedback: parts.feedback,
            answers: parts.answers,
            overhead: Endpoint::ALL.map(overhead),
            connections: registry.gauge(families::OPEN_CONNECTIONS, ["client"]),
            tasks: TaskTracker::new(),
            jobs: Jobs::default(),
            ending: Ending::default(),
            cut: AtomicBool::new(false),
            registry,
        };
        Self(Arc::new(shared))
    }

    /// Where answers are kept.
    pub(crate) fn answers(&self) -> Option<&dyn KeptAnswers> {
        self.0.answers.as_deref()
    }

    /// Swaps the picture. Requests in flight keep the one they began with.
    pub fn publish(&self, live: Live) {
        let live = Arc::new(live);
        let before = self.0.live.rcu(|before| live.after(before));
        self.live().tell_leaving(&before);
        // An instance that is nowhere in it has ended all, but for what may begin in this very moment.
        let registry = &self.0.registry;
        registry.retain("upstream_instance", |id| self.0.live().has_instance(id));
        // An instance may have been taken out while this picture was built.
        self.tell_drained();
    }

    /// The picture that the next request reads.
    pub fn live(&self) -> Arc<Live> {
        self.0.live.load_full()
    }

    /// Swaps the weights and nothing else.
    pub fn set_weights(&self, weight_of: &dyn Fn(&UseCase) -> WeightBp) {
        self.set_traffic(&|use_case| Traffic {
            weight: weight_of(use_case),
            shadow: use_case.shadow,
        });
    }

    /// Where a use case's requests are told of. It stays the same across reloads.
    pub fn feed(&self, use_case: &UseCaseName) -> Option<Arc<Feed>> {
        Some(Arc::clone(&self.0.live().use_case_by_name(use_case)?.feed))
    }

    /// The copies of a use case's requests. They stay the same across reloads.
    pub fn copies(&self, use_case: &UseCaseName) -> Option<Arc<Copies>> {
        Some(Arc::clone(&self.0.live().use_case_by_name(use_case)?.copies))
    }

    /// Whether requests of a use case may overflow.
    pub fn overflows(&self) -> bool {
        self.0.live().use_cases.iter().any(|lane| lane.overflow.is_some())
    }

    /// Takes over what a use case's overflow has cost this UTC day by the records: before a restart, or elsewhere.
    /// `day`: a time of the day that was asked about.
    pub fn restore_overflow_spent(&self, use_case: &UseCaseName, day: Millis, spent: NanoUsd) {
        let live = self.0.live();
        if let Some(lane) = live.use_case_by_name(use_case).and_then(|lane| lane.overflow.as_ref())
        {
            lane.purse.restore(day, spent);
        }
    }

    /// Swaps weights and shares of copies, and nothing else.
    pub fn set_traffic(&self, traffic_of: &dyn Fn(&UseCase) -> Traffic) {
        self.0.live.rcu(|live| Arc::new(live.with_traffic(traffic_of)));
    }

    /// How many requests have come so far.
    pub fn requests(&self) -> u64 {
        self.0.ids.made()
    }

    /// Looks after the instances, for ever: probes them, compares them, resolves their names, tells of
    /// changes. Without it they are judged by consecutive failures of requests alone, a name is one, and one that left
    /// with requests under way stays in the picture.
    pub async fn watch_instances(&self) {
        // In one task: what one of them forgets the other does not look at in the same moment.
        tokio::join!(probes::run(Arc::clone(&self.0)), resolving::run(Arc::clone(&self.0)));
    }

    /// Accepts until `shutdown` resolves, then lets requests in flight end.
    pub async fn serve(
        &self,
        listener: TcpListener,
        doors: Doors,
        shutdown: impl Future<Output = ()>,
    ) {
        cutover_server::serve(Answering(self.clone()), listener, doors, shutdown).await;
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0
    }

    /// Counts and logs that a limit refused or cut something.
    pub(crate) fn limit_hit(&self, limit: &'static str) {
        events::LimitHit { limit, at: self.0.now() }.emit(&self.0.registry);
    }

    pub(crate) fn visit(&self, peer: IpAddr) -> Visit {
        Visit {
            started: Instant::now(),
            started_at: self.0.now(),
            id: self.0.ids.next(),
            live: self.0.live.load_full(),
            peer,
            let_in: AtomicBool::new(false),
            decided: AtomicBool::new(false),
            pulse: None,
        }
    }

    /// Drops what is under way once the time to end is over. Looked at when the connection is: the
    /// listener sees to it.
    pub(crate) async fn unless_cut<F: Future>(&self, mut work: Pin<&mut F>) -> Option<F::Output> {
        poll_fn(|context| match work.as_mut().poll(context) {
            Poll::Pending if self.0.is_cut() => Poll::Ready(None),
            polled => polled.map(Some),
        })
        .await
    }

    pub(crate) async fn phases(
        &self,
        visit: &Visit,
        parts: &mut request::Parts,
        body: &mut Option<Incoming>,
    ) -> Result<Response<Out>, Refusal> {
        let route = cutover_ingress::route(parts.method.as_str(), parts.uri.path());
        if let Ok(Route::Health) = route {
            return Ok(health());
        }
        let words = dialects::dialect_of(&route, &parts.headers);
        let lost = |lost: Lost| Refusal::nowhere(lost.fault).in_words(words);
        // Where keys are asked for, nobody without one is told of paths and methods.
        let route = if visit.live.keys.is_some() { route } else { Ok(route.map_err(lost)?) };
        dialects::take_key(&route, (&parts.uri, &mut parts.headers));
        let keys = (visit.live.keys.as_deref(), visit.started_at);
        let caller = caller::authenticate(&parts.headers, keys)
            .map_err(|refused| self.unknown_caller(visit, refused).in_words(words))?;
        visit.let_in.store(true, Ordering::Relaxed);
        let route = route.map_err(lost)?;
        if let Route::Infer(_) | Route::Foreign(_) = route {
            let checked = visit.live.check_hints(&parts.headers, caller.as_deref());
            checked.map_err(|fault| Refusal::nowhere(fault).in_words(words))?;
        }
        if let Route::Passed(family) = route {
            return passthrough::pass(self, visit, (parts, body.take()), (family, caller)).await;
        }
        let body = body.as_mut().ok_or_else(passthrough::gone)?;
        match route {
            Route::Infer(endpoint) => {
                let key_name = caller.as_ref().map(|key| Arc::clone(&key.name));
                let refusal = |fault| Refusal {
                    endpoint: Some(endpoint),
                    key_name: key_name.clone(),
                    ..Refusal::nowhere(fault)
                };
                let Whole { body, waited } =
                    read_body(&parts.headers, body, &visit.live.limits.body)
                        .await
                        .map_err(refusal)?;
                let read_us = micros(waited).0;
                let head = Head::read(endpoint, &body).map_err(refusal)?;
                let headers = std::mem::take(&mut parts.headers);
                let asked = Asked { headers, head, body, foreign: None, read_us, caller };
                let exchange = self.exchange(visit, asked);
                // Boxed, so that the future hyper moves around for every request stays small.
                Ok(Box::pin(infer::infer(exchange)).await)
            }
            Route::Foreign(found) => {
                let query = parts.uri.query().unwrap_or_default().to_owned();
                let knock = dialects::Knock { found, caller, query };
                let headers = &mut parts.headers;
                Box::pin(dialects::open(self, visit, (headers, body), knock)).await
            }
            Route::Models | Route::Model(_) => {
                let asked = (route, &parts.headers);
                Box::pin(dialects::known_models(self, visit, asked, caller.as_deref())).await
            }
            Route::Feedback => {
                let limits = feedback::limits(&visit.live.limits.body);
                let body = read_body(&parts.headers, body, &limits).await;
                let key_name = caller.map(|key| Arc::clone(&key.name));
                body.and_then(|read| {
                    feedback::take(&self.0, (visit.started_at, key_name), &read.body)
                })
                .map(|answer| visit.sign(answer))
                .map_err(Refusal::nowhere)
            }
            Route::Health | Route::Passed(_) => Ok(health()),
        }
    }

    fn unknown_caller(&self, visit: &Visit, refused: caller::Refused) -> Refusal {
        events::AuthFailed {
            listener: "client",
            reason: refused.reason,
            peer: visit.peer,
            at: visit.started_at,
        }
        .emit(&self.0.registry);
        Refusal::nowhere(refused.fault)
    }

    /// A request that was refused before it was decided.
    pub(crate) fn refuse(
        &self,
        visit: &Visit,
        headers: &HeaderMap,
        refusal: Refusal,
    ) -> Response<Out> {
        let endpoint = refusal.endpoint_name();
        let failure = Failure::client(refusal.fault);
        let of_stranger = visit.is_of_stranger();
        match failure.fault.code {
            Code::HeadTooLarge if of_stranger => {
                let limit = cutover_server::limit_of(&failure.fault);
                self.0.registry.counter(families::LIMITS_HIT, [limit]).inc();
            }
            Code::RequestTooLarge => self.limit_hit("server.body_limit"),
            Code::BodiesFull => self.limit_hit("server.body_memory"),
            Code::RequestTimeout => self.limit_hit("server.body_timeout"),
            Code::HeadTooLarge => self.limit_hit(cutover_server::limit_of(&failure.fault)),
            _ => {}
        }
        let total = micros(visit.started.elapsed());
        let id_text = visit.id.with_prefix("req_");
        let served = events::Served {
            request_id: &id_text,
            use_case: NONE,
            arm: cutover_units::Arm::Default,
            variant: NONE,
            upstream: NONE,
            instance: NONE,
        };
        let code = failure.fault.code;
        let at = visit.started_at;
        let failed = events::RequestFailed { served, code, status: None, attempts: 0, total, at };
        let turned_away = visit.is_turned_away(code);
        match (turned_away, of_stranger) {
            (true, _) => failed.count(&self.0.registry),
            (_, true) => failed.emit_of_stranger(&self.0.registry),
            _ => failed.emit(&self.0.registry),
        }
        if endpoint.is_some() {
            visit.live.default_metrics.finish(&Finished {
                outcome: ended(code),
                total,
                first_token: None,
                tokens: None,
                cost: None,
                stream_chunks: 0,
            });
        }
        let words = refusal.dialect.map(|dialect| (dialect, &*id_text));
        let response = rescue::response(&failure, 0, words);
        // Who knocked at a door that is none is to be seen where all requests are; but whoever is not let in may
        // fill no disk.
        let leaves_record = !of_stranger && !turned_away;
        if let Some(records) = self.0.records.as_ref().filter(|_| leaves_record) {
            let words = (endpoint.unwrap_or("none"), ended(code).as_str());
            records.try_push_spare(Record {
                status: response.status().as_u16(),
                code: Some(code.name()),
                total,
                overhead: total,
                key_name: refusal.key_name,
                sdk_retry: sdk_retry(headers),
                ..Record::of_no_arm(id_text, visit.started_at, words)
            });
        }
        visit.sign(response)
    }
}

/// How a request ended that was not decided: a list of models can fail for an upstream's sake, too.
fn ended(code: Code) -> Outcome {
    match (code, code.row().side) {
        (Code::ShuttingDown, _) => Outcome::Drained,
        (Code::BodiesFull, _) => Outcome::InternalError,
        (_, Side::Upstream) => Outcome::UpstreamError,
        (_, Side::Client | Side::Us) => Outcome::ClientError,
    }
}

fn health() -> Response<Out> {
    json(&b"{\"status\":\"ok\"}"[..])
}
