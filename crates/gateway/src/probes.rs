//! The task that looks after instances, off every request's path.
//!
//! ```text
//! each second > instances whose probe is due > pages of their engine > judge > Health
//! each 10 s   > what became of their requests > outliers among peers  > Health
//! each second > state > metric, and a log line when it changed
//! ```
//!
//! A probe has a connection of its own, so that a full pool does not make it late. It reads pages that
//! load no model and cost no token; upstreams without such pages are judged by their requests alone.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cutover_route::health::{Limits, Probed, STATES, State, judge};
use cutover_telemetry::{Registry, events, families};
use cutover_upstream::health::Health;
use cutover_upstream::pages;
use cutover_upstream::peers::compare;
use cutover_wire::probe::{Facts, Page};
use http::HeaderMap;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::gateway::Shared;
use crate::live::{InstanceLane, UpstreamLane};
use crate::ollama;

/// How often the task looks whether a probe is due.
const LOOK: Duration = Duration::from_secs(1);
/// How often peers are compared.
const COMPARE: Duration = Duration::from_secs(10);

/// How an upstream's instances are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// What is asked.
    pub pages: &'static [Page],
    /// How often.
    pub every: Duration,
    /// From where on an instance counts as full.
    pub limits: Limits,
}

/// What is remembered of an instance between looks. It holds the `Health` whose address is its key, so
/// that no other comes to lie there.
struct Watched {
    health: Arc<Health>,
    due: Instant,
    state: State,
}

/// So long after a probe another one is due, if requests are refused.
const REFUSAL: Duration = Duration::from_secs(1);

/// Looks after the instances of whatever picture is in force, for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut watched: HashMap<usize, Watched> = HashMap::new();
    let mut probes = JoinSet::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut compared = Instant::now();
    loop {
        looks.tick().await;
        while probes.try_join_next().is_some() {}
        let live = shared.live().clone();
        let upstreams = live.upstreams();
        let compares = compared.elapsed() >= COMPARE;
        for upstream in &upstreams {
            if compares {
                let peers = upstream.instances.iter().map(|lane| &*lane.health);
                compare(peers, shared.now());
            }
            for at in 0..upstream.instances.len() {
                let lane = &upstream.instances[at];
                let known = watched.entry(Arc::as_ptr(&lane.health).addr()).or_insert_with(|| {
                    show_state(&shared.registry, lane, State::Healthy);
                    let (health, due) = (Arc::clone(&lane.health), Instant::now());
                    Watched { health, due, state: State::Healthy }
                });
                changed(&shared, lane, known);
                if lane.health.is_leaving() {
                    // It is not probed, so that nobody knows.
                    let labels = [upstream.name.as_str(), lane.id.as_str()];
                    show_load(&shared.registry, labels, &Facts::default());
                }
                let Some(probing) = upstream.probing.filter(|_| !lane.health.is_leaving()) else {
                    continue;
                };
                // Why it refuses requests is asked soon.
                let sooner = if lane.health.refuses() { probing.every } else { Duration::ZERO };
                if known.due > Instant::now() + sooner.saturating_sub(REFUSAL) {
                    continue;
                }
                known.due = Instant::now() + probing.every;
                let (upstream, shared) = (Arc::clone(upstream), Arc::clone(&shared));
                probes.spawn(async move {
                    look(&shared, &upstream, at, probing).await;
                    ollama::keep_warm(&shared, &upstream, at);
                });
            }
        }
        if compares {
            compared = Instant::now();
        }
        // An instance that left the configuration lives on in its requests only.
        let is_used = |known: &Watched| {
            let lanes = upstreams.iter().flat_map(|upstream| &upstream.instances);
            lanes.into_iter().any(|lane| Arc::ptr_eq(&lane.health, &known.health))
        };
        watched.retain(|_, known| is_used(known));
    }
}

/// Tells of a new state, once.
fn changed(shared: &Shared, lane: &InstanceLane, known: &mut Watched) {
    let state = lane.state(shared.now());
    if state == known.state {
        return;
    }
    let instance = lane.id.as_str();
    let (from, to) = (known.state.as_str(), state.as_str());
    events::InstanceChanged { instance, from, to, serves: state.can_serve() }
        .emit(&shared.registry);
    known.state = state;
    show_state(&shared.registry, lane, state);
}

fn show_state(registry: &Registry, lane: &InstanceLane, state: State) {
    let id = lane.id.as_str();
    let upstream = id.rsplit_once('/').map_or(id, |(upstream, _)| upstream);
    let gauge =
        |state: State| registry.gauge(families::INSTANCE_STATE, [upstream, id, state.as_str()]);
    // Whoever looks in between finds it in none, and never in two.
    STATES.into_iter().filter(|other| *other != state).for_each(|other| gauge(other).set(0));
    gauge(state).set(1);
}

async fn look(shared: &Shared, upstream: &UpstreamLane, at: usize, probing: Probing) {
    let lane = &upstream.instances[at];
    let seen = lane.health.take_seen();
    lane.health.begin_probe();
    // A page of slots that does not come in time leaves the figure as it was: places depend on it.
    let slots = lane.health.facts().and_then(|known| known.slots);
    let mut facts = Facts { slots, ..Facts::default() };
    let headers = upstream.request_headers(&HeaderMap::new());
    let probed = pages::ask((&lane.prober, headers), probing.pages, &mut facts).await;
    lane.health.compare_contexts(&mut facts, &upstream.pins);
    let facts = matches!(probed, Probed::Fit(_)).then_some(facts);
    let probed = match (probed, &facts) {
        (Probed::Fit(_), Some(facts)) => Probed::Fit(pages::load(facts, &upstream.asked_models)),
        (other, _) => other,
    };
    let judged = judge(lane.health.judged(), probed, probing.limits, seen);
    // Of one that is late the last word stands; one that is gone has none.
    let gone = (judged.state == State::Down).then(Facts::default);
    if let Some(facts) = facts.as_ref().or(gone.as_ref()) {
        // One that a reload took out meanwhile is shown no more.
        if shared.live().has_instance(lane.id.as_str()) {
            let labels = [upstream.name.as_str(), lane.id.as_str()];
            show_load(&shared.registry, labels, facts);
        }
    }
    lane.health.probed((judged, shared.now()), facts, &upstream.asked_models);
}

/// Shows what an engine has told. A figure that it does not tell any more goes.
fn show_load(registry: &Registry, labels: [&str; 2], facts: &Facts) {
    let loaded =
        facts.loaded.as_ref().map(|loaded| i64::try_from(loaded.len()).unwrap_or(i64::MAX));
    let shown = [
        (families::INSTANCE_WAITING, facts.waiting.map(i64::from)),
        (families::INSTANCE_RUNNING, facts.running.map(i64::from)),
        (families::INSTANCE_CACHE, facts.cache_permille.map(|permille| i64::from(permille) * 10)),
        (families::INSTANCE_MODELS, loaded),
    ];
    for (family, value) in shown {
        match value {
            Some(value) => registry.gauge(family, labels).set(value),
            None => registry.forget(family, labels),
        }
    }
}
