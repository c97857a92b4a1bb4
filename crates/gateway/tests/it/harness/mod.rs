//! A gateway on a free port of the loopback interface, from a configuration text.

mod clients;
mod configs;
mod stage;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use cutover_config::{Checked, Embedded, SecretRef};
use cutover_gateway::build::{BuildError, Materials, Surroundings, live};
use cutover_gateway::shadow::{Copies, Settings, ShadowPair};
use cutover_gateway::{
    Doors, Feed, Gateway, KeptAnswers, Live, Looking, Parts, Unavailable, Writing,
};
use cutover_route::Traffic;
use cutover_store::{Conversation, ConversationQuery, KeptResponse, KeyRing, Store};
use cutover_telemetry::{Format, Registry};
use cutover_testkit::fake::Fault;
use cutover_testkit::raw::{Raw, Response};
use cutover_units::{Millis, UseCaseName, WeightBp};
use cutover_upstream::InProcess;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::oneshot;

pub(crate) use clients::clients;
pub(crate) use configs::{Arm, BY_UNIT, KEY, PRICE, docs_on, engines, one_arm, service, two_arms};
pub(crate) use stage::{Parrot, Stage};

struct Here;

impl Surroundings for Here {
    fn secret(&self, _: &SecretRef) -> Result<Option<String>, String> {
        Ok(Some("upstream-secret".to_owned()))
    }
    fn file(&self, path: &Path) -> Result<Vec<u8>, String> {
        std::fs::read(path).map_err(|e| e.to_string())
    }
    fn embedded(&self, _: &Embedded) -> Result<Arc<dyn InProcess>, String> {
        Err("not in these tests".to_owned())
    }
    fn weight(&self, _: &UseCaseName, initial: WeightBp) -> WeightBp {
        initial
    }
}

pub(crate) fn now() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    Millis(u64::try_from(since.as_millis()).unwrap())
}

/// Where answers are kept.
struct Shelf(Store);

impl KeptAnswers for Shelf {
    fn has_room(&self) -> bool {
        self.0.responses().has_room()
    }
    fn keep(&self, answer: KeptResponse) -> Writing {
        Box::pin(self.0.responses().keep(answer).written())
    }
    fn answer(&self, id: String, owner: Option<i64>) -> Looking<Option<KeptResponse>> {
        let store = self.0.clone();
        Box::pin(async move { store.response(id, owner).await.map_err(|_| Unavailable) })
    }
    fn conversation(&self, query: ConversationQuery) -> Looking<Conversation> {
        let store = self.0.clone();
        Box::pin(async move { store.conversation(query).await.map_err(|_| Unavailable) })
    }
    fn delete(&self, id: String, owner: Option<i64>) -> Looking<bool> {
        let store = self.0.clone();
        Box::pin(async move { store.delete_response(id, owner).await.map_err(|_| Unavailable) })
    }
}

pub(crate) struct Rig {
    pub(crate) gateway: Gateway,
    pub(crate) address: SocketAddr,
    pub(crate) registry: Registry,
    stop: Option<oneshot::Sender<()>>,
    runtime: Option<Runtime>,
}

pub(crate) fn checked(config: &str) -> Checked {
    match cutover_config::check(config, "test.toml", &|_| None) {
        Ok(checked) => checked,
        Err(problems) => panic!("{problems:#?}"),
    }
}

pub(crate) fn build(
    checked: &Checked,
    keys: Option<Arc<KeyRing>>,
    (registry, previous): (&Registry, Option<&Live>),
) -> Live {
    let surroundings = &Here;
    live(&Materials { checked, surroundings, keys, registry, previous, now: now() }).unwrap()
}

pub(crate) fn docs() -> UseCaseName {
    UseCaseName::new("docs").unwrap()
}

impl Rig {
    pub(crate) fn start(config: &str) -> Self {
        Self::start_with(config, None)
    }

    pub(crate) fn start_with(config: &str, keys: Option<Arc<KeyRing>>) -> Self {
        Self::start_storing(config, keys, None)
    }

    pub(crate) fn start_storing(
        config: &str,
        keys: Option<Arc<KeyRing>>,
        store: Option<&Store>,
    ) -> Self {
        let shelf = store.map(|store| Arc::new(Shelf(store.clone())) as Arc<dyn KeptAnswers>);
        Self::start_all(config, keys, (store, shelf))
    }

    /// A gateway that keeps answers here.
    pub(crate) fn keeping(config: &str, answers: Arc<dyn KeptAnswers>) -> Self {
        Self::start_all(config, None, (None, Some(answers)))
    }

    fn start_all(
        config: &str,
        keys: Option<Arc<KeyRing>>,
        (store, answers): (Option<&Store>, Option<Arc<dyn KeptAnswers>>),
    ) -> Self {
        let checked = checked(config);
        let registry = Registry::new();
        let live = build(&checked, keys, (&registry, None));
        let gateway = Gateway::new(Parts {
            live,
            clock: Arc::new(now),
            records: store.map(Store::records),
            feedback: store.map(Store::feedback),
            answers,
            registry: registry.clone(),
            id_prefix: 1,
            unit_key: [0; 16],
        });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let server = &checked.server;
        let doors = Doors {
            header_bytes_max: usize::try_from(server.header_limit_bytes).unwrap(),
            header_count_max: usize::try_from(server.header_count_max).unwrap(),
            header_timeout: server.header_timeout,
            idle_timeout: server.idle_timeout,
            connections_max: usize::try_from(server.connections_max).unwrap(),
            drain_timeout: Duration::from_secs(5),
        };
        let serving = gateway.clone();
        runtime.spawn(async move {
            serving.serve(listener, doors, async { drop(stopped.await) }).await;
        });
        Self { gateway, address, registry, stop: Some(stop), runtime: Some(runtime) }
    }

    /// A gateway that copies all of the baseline's requests, within these limits.
    pub(crate) fn shadowing(config: &str, limit: impl FnOnce(&mut Settings)) -> Self {
        let rig = Self::start(config);
        let mut live = Live::clone(&rig.gateway.live());
        // As after a reload whose configuration holds other limits.
        live.use_cases = build(&checked(config), None, (&rig.registry, Some(&live))).use_cases;
        let lanes = Arc::get_mut(&mut live.use_cases).unwrap();
        limit(&mut lanes[0].shadow);
        rig.gateway.publish(live);
        rig.copy(WeightBp::ALL);
        rig
    }

    /// Looks after the instances, as the program does.
    pub(crate) fn watch_instances(&self) {
        let gateway = self.gateway.clone();
        let runtime = self.runtime.as_ref().expect("it runs");
        runtime.spawn(async move { gateway.watch_instances().await });
    }

    /// Begins something with an upstream's models.
    pub(crate) fn manage(
        &self,
        upstream: &str,
        deed: cutover_vendors::manage::Deed,
        model: &str,
    ) -> Result<Arc<cutover_gateway::Job>, cutover_gateway::NotBegun> {
        let _within = self.runtime.as_ref().expect("it runs").enter();
        self.gateway.manage(upstream, deed, model)
    }

    /// Ends what fetches or loads a model at an upstream.
    pub(crate) fn cancel(&self, upstream: &str, model: &str) -> Option<Arc<cutover_gateway::Job>> {
        self.gateway.cancel(upstream, model)
    }

    /// Changes the share of copies.
    pub(crate) fn copy(&self, shadow: WeightBp) {
        self.gateway.set_traffic(&|use_case| Traffic { weight: use_case.weight, shadow });
    }

    /// Reads another configuration.
    pub(crate) fn reload(&self, config: &str) {
        let before = self.gateway.live();
        self.gateway.publish(build(&checked(config), None, (&self.registry, Some(&before))));
    }

    /// Reads a configuration, and forgets what failed before: a candidate that failed often is asked again at once.
    pub(crate) fn forgive(&self, config: &str) {
        self.reload(config);
        let live = self.gateway.live();
        for instance in live.lanes.iter().flat_map(|lane| &lane.upstream.instances) {
            instance.health.succeeded();
            instance.health.was_full((Millis(0), 0), Some(2_000));
            instance.health.was_limited(Millis(0), 1);
            instance.health.take_doubt(u32::MAX);
        }
    }

    /// Reads another configuration if it is good; else what is wrong with it.
    pub(crate) fn try_reload(&self, config: &str) -> Result<(), BuildError> {
        let before = self.gateway.live();
        self.gateway.publish(live(&Materials {
            checked: &checked(config),
            surroundings: &Here,
            keys: None,
            registry: &self.registry,
            previous: Some(&before),
            now: now(),
        })?);
        Ok(())
    }

    pub(crate) fn copies(&self) -> Arc<Copies> {
        self.gateway.copies(&docs()).unwrap()
    }

    pub(crate) fn feed(&self) -> Arc<Feed> {
        self.gateway.feed(&docs()).unwrap()
    }

    /// Waits for so many pairs.
    pub(crate) fn pairs(&self, count: usize) -> Vec<ShadowPair> {
        let (copies, mut pairs) = (self.copies(), Vec::new());
        until("the pairs are there", || {
            copies.drain_pairs(&mut pairs);
            pairs.len() >= count
        });
        assert_eq!(pairs.len(), count);
        pairs
    }

    /// How many copies were dropped for a reason.
    pub(crate) fn dropped(&self, reason: &str) -> u64 {
        let of = format!("cutover_shadow_dropped_total{{use_case=\"docs\",reason=\"{reason}\"}}");
        self.figure(&of).unwrap_or(0)
    }

    pub(crate) fn raw(&self) -> Raw {
        Raw::connect(self.address).unwrap()
    }

    pub(crate) fn post(&self, path: &str, headers: &[&str], body: &str) -> Response {
        let mut raw = self.raw();
        raw.request(&format!("POST {path}"), headers, body).unwrap();
        raw.response().unwrap().expect("an answer")
    }

    pub(crate) fn chat(&self, headers: &[&str], body: &str) -> Response {
        self.post("/v1/chat/completions", headers, body)
    }

    /// Tells the gateway to end.
    pub(crate) fn stop(&mut self) {
        drop(self.stop.take());
    }

    /// Client connections open now.
    pub(crate) fn connections(&self) -> u64 {
        self.figure("cutover_open_connections{listener=\"client\"}").unwrap()
    }

    pub(crate) fn metrics(&self) -> String {
        self.registry.render(Format::Text)
    }

    /// Whether a series that begins so has this value.
    pub(crate) fn counts(&self, series: &str, value: u64) -> bool {
        let value = format!(" {value}");
        self.metrics().lines().any(|line| line.starts_with(series) && line.ends_with(&value))
    }

    /// The value of a series, named with all its labels; none if it is not there.
    pub(crate) fn figure(&self, series: &str) -> Option<u64> {
        let metrics = self.metrics();
        let figure = |line: &str| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok();
        metrics.lines().find_map(figure)
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// A chat request for a model.
pub(crate) fn ask(model: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],"model":"{model}"}}"#)
}

/// The same as a stream.
pub(crate) fn ask_stream(model: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],"model":"{model}","stream":true}}"#)
}

/// The ways in which a stream ends that is not whole.
pub(crate) const BROKEN_STREAMS: [Fault; 6] = [
    Fault::Cut,
    Fault::HalfEvent,
    Fault::Malformed,
    Fault::EarlyEnd,
    Fault::EarlyDone,
    Fault::ErrorEvent,
];

/// Waits for a condition that another thread makes true.
pub(crate) use cutover_testkit::wait::until;
