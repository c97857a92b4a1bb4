//! Names whose addresses are instances, resolved anew in the background.
//!
//! ```text
//! each half second > names whose look-up is due > resolver > Resolved
//!                  > instances that left and are idle      > forgotten (those of the file, too)
//!                  > picture that differs from Resolved    > the same with other instances, published
//! ```
//!
//! Nothing of it is on a request's path: a request reads the picture that was in force when it came. What
//! was answered last stays until there is another answer: a resolver that fails, or finds nothing, takes
//! no instance away. A name whose first answer is still out is one instance, as if it were not resolved
//! here at all; but a name that only a name server knows is none, for what the system's resolver would say
//! of it may be another machine. So that no request comes before the first answer, a picture's names are
//! asked for before it is put into force, for a moment ([`Gateway::find_names`]).
//!
//! [`Resolved`] outlives pictures. The picture in force is compared with it at each look, so that a reload
//! that was built beside an answer loses nothing.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cutover_route::membership::{Member, Members};
use cutover_telemetry::{events, families};
use cutover_units::{Millis, UpstreamName};
use cutover_upstream::{ResolveError, Resolver};
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::build::{Mold, carried_of};
use crate::gateway::{Gateway, Shared};
use crate::live::{Live, UpstreamLane};

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_millis(500);

/// How long the first answers are waited for: a name server that is asked twice over UDP takes 4 s to be
/// given up.
const FIRST_ANSWERS: Duration = Duration::from_secs(5);

/// How long an answer is kept for a picture that is not in force yet.
const AWAITED: Duration = Duration::from_mins(1);

/// A name: its upstream, and its address as it is written in the file.
type Key = (UpstreamName, String);

/// What names were resolved to.
#[derive(Debug, Default)]
pub struct Resolved {
    names: Mutex<BTreeMap<Key, Name>>,
    /// All addresses that an upstream ever had in the file. Their places are their numbers.
    written: Mutex<BTreeMap<UpstreamName, Vec<String>>>,
}

#[derive(Debug, Default)]
struct Name {
    host: String,
    members: Members,
    beyond: usize,
    answered: Option<Millis>,
    problem: Option<String>,
    /// Until then it is kept though no picture in force has it: one that has is on its way.
    awaited: Option<Instant>,
}

/// How a name is resolved, for those who look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameStatus {
    /// The upstream.
    pub upstream: UpstreamName,
    /// The name.
    pub host: String,
    /// Addresses that are asked.
    pub addresses: usize,
    /// So many more there was no room for.
    pub beyond: usize,
    /// When it was answered last.
    pub answered: Option<Millis>,
    /// Why it was not answered since.
    pub problem: Option<String>,
}

impl Resolved {
    fn names(&self) -> MutexGuard<'_, BTreeMap<Key, Name>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn written(&self) -> MutexGuard<'_, BTreeMap<UpstreamName, Vec<String>>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of an address of the file, which is never another's of this upstream, so that metrics and records
    /// do not mix two machines: the lowest that none has had.
    pub(crate) fn number(&self, upstream: &UpstreamName, text: &str) -> usize {
        let mut written = self.written();
        let known = written.entry(upstream.clone()).or_default();
        known.iter().position(|known| known == text).unwrap_or_else(|| {
            known.push(text.to_owned());
            known.len() - 1
        })
    }

    /// The addresses of a name; None: it was never answered.
    pub(crate) fn members(&self, upstream: &UpstreamName, text: &str) -> Option<Members> {
        let names = self.names();
        let name = names.get(&(upstream.clone(), text.to_owned()))?;
        (name.members.present() > 0).then(|| name.members.clone())
    }

    /// How many addresses of a name are asked.
    pub(crate) fn present(&self, upstream: &UpstreamName, text: &str) -> usize {
        self.members(upstream, text).map_or(0, |members| members.present())
    }

    /// How all names are resolved.
    fn statuses(&self) -> Vec<NameStatus> {
        let status = |((upstream, _), name): (&Key, &Name)| NameStatus {
            upstream: upstream.clone(),
            host: name.host.clone(),
            addresses: name.members.present(),
            beyond: name.beyond,
            answered: name.answered,
            problem: name.problem.clone(),
        };
        self.names().iter().map(status).collect()
    }

    /// Takes what came of a look-up.
    fn take(&self, shared: &Shared, mold: &Mold, answer: Answer) {
        let Answer { key, host, result } = answer;
        let upstream = key.0.clone();
        let word = result.as_ref().map_or_else(ResolveError::as_str, |_| "ok");
        shared.registry.counter(families::RESOLUTIONS, [upstream.as_str(), word]).inc();
        let room = mold.room(&key.1, self);
        let mut names = self.names();
        let name = names.entry(key).or_insert_with(|| Name { host, ..Name::default() });
        let found = match result {
            Ok(found) => found,
            Err(error) => {
                let why = error.to_string();
                if name.problem.is_none() {
                    let (upstream, host) = (upstream.as_str(), name.host.as_str());
                    events::NameUnresolved { upstream, host, why: Some(&why) }.emit();
                }
                name.problem = Some(why);
                return;
            }
        };
        if name.problem.take().is_some() {
            let (upstream, host) = (upstream.as_str(), name.host.as_str());
            events::NameUnresolved { upstream, host, why: None }.emit();
        }
        name.answered = Some(shared.now());
        let changes = name.members.answered(&found, room);
        if !changes.is_empty() || changes.beyond != name.beyond {
            events::AddressesChanged {
                upstream: upstream.as_str(),
                host: &name.host,
                joined: &texts(&changes.joined),
                left: &texts(&changes.left),
                beyond: changes.beyond,
            }
            .emit();
        }
        name.beyond = changes.beyond;
    }

    /// Forgets names that are in no file any more.
    fn retain(&self, wanted: &HashSet<Key>) {
        let is_awaited = |name: &Name| name.awaited.is_some_and(|until| Instant::now() < until);
        let mut written = self.written();
        self.names().retain(|key, name| {
            let stays = wanted.contains(key) || is_awaited(name);
            // Its addresses are counted from one again if it comes back: then its own number is to be another.
            let number = written.get_mut(&key.0).filter(|_| !stays);
            if let Some(text) = number.and_then(|all| all.iter_mut().find(|text| **text == key.1)) {
                text.clear();
            }
            stays
        });
    }

    /// Keeps a name for a picture that is not in force yet.
    fn await_picture(&self, key: &Key) {
        if let Some(name) = self.names().get_mut(key) {
            name.awaited = Some(Instant::now() + AWAITED);
        }
    }

    /// Forgets addresses that have left and whose instance is idle.
    fn forget(&self, upstream: &UpstreamLane, mold: &Mold) {
        for ((of, text), name) in
            self.names().iter_mut().filter(|((of, _), _)| *of == mold.upstream)
        {
            debug_assert_eq!(of, &mold.upstream);
            let is_idle = |member: &Member| {
                let id = mold.id(text, member.number);
                let lane = upstream.instances.iter().find(|lane| Some(&lane.id) == id.as_ref());
                lane.is_none_or(|lane| !lane.is_busy())
            };
            name.members.forget(is_idle);
        }
    }
}

fn texts(members: &[Member]) -> String {
    let texts: Vec<_> = members.iter().map(|member| member.address.to_string()).collect();
    texts.join(" ")
}

/// What came of a look-up.
struct Answer {
    key: Key,
    host: String,
    result: Result<Vec<IpAddr>, ResolveError>,
}

/// Resolves the names of whatever picture is in force, for ever.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut due: HashMap<Key, Instant> = HashMap::new();
    let mut asked: HashSet<Key> = HashSet::new();
    let mut answers = JoinSet::new();
    let mut looks = interval(LOOK);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = looks.tick() => {}
            Some(answer) = answers.join_next() => {
                let Ok(answer): Result<Answer, _> = answer else {
                    // Nobody knows whose it was; the others are asked again, too.
                    asked.clear();
                    continue;
                };
                asked.remove(&answer.key);
                let live = shared.live().clone();
                let upstreams = live.upstreams();
                let mut molds = upstreams.iter().filter_map(|upstream| upstream.mold.as_ref());
                if let Some(mold) = molds.find(|mold| mold.upstream == answer.key.0) {
                    live.resolved.take(&shared, mold, answer);
                }
            }
        }
        let live = shared.live().clone();
        let upstreams = live.upstreams();
        let mut wanted = HashSet::new();
        for upstream in &upstreams {
            let Some(mold) = &upstream.mold else { continue };
            for ((text, host), resolve) in mold.names().zip(mold.resolve.iter().cycle()) {
                let key = (mold.upstream.clone(), text.to_owned());
                wanted.insert(key.clone());
                let is_due = due.get(&key).is_none_or(|due| *due <= Instant::now());
                if !is_due || !asked.insert(key.clone()) {
                    continue;
                }
                due.insert(key.clone(), Instant::now() + resolve.every);
                let resolver = resolve.server.map_or(Resolver::System, Resolver::Server);
                let host = host.to_owned();
                answers.spawn(async move {
                    Answer { result: resolver.addresses(&host).await, key, host }
                });
            }
            settle(&shared, upstream, mold);
        }
        due.retain(|key, _| wanted.contains(key));
        live.resolved.retain(&wanted);
    }
}

/// Puts the instances of an upstream into force that there should be.
fn settle(shared: &Shared, upstream: &UpstreamLane, mold: &Arc<Mold>) {
    let resolved = Arc::clone(&shared.live().resolved);
    resolved.forget(upstream, mold);
    if mold.fits(&upstream.instances, &resolved) {
        return;
    }
    match mold.lanes(&resolved, (&carried_of(&upstream.instances), &shared.registry)) {
        Ok(lanes) => {
            let before = shared.swap(|live| live.with_instances(mold, &lanes));
            shared.live().tell_leaving(&before);
        }
        Err(error) => tracing::error!(%error, "the new instances cannot be used"),
    }
    if mold.resolve.is_some() {
        let present: usize =
            mold.names().map(|(text, _)| resolved.present(&mold.upstream, text)).sum();
        let gauge = shared.registry.gauge(families::RESOLVED_ADDRESSES, [mold.upstream.as_str()]);
        gauge.set(i64::try_from(present).unwrap_or(i64::MAX));
    }
    // What it has counted is history in a while; its number is nobody's again.
    let live = shared.live();
    let ids = upstream.instances.iter().map(|lane| lane.id.as_str());
    for id in ids.filter(|id| !live.has_instance(id)) {
        shared.registry.leave("upstream_instance", id);
    }
}

impl Gateway {
    /// Asks for the names of the picture in force that were never answered, and waits for that for a moment
    /// at most. Tells behind which of them nobody is asked then.
    pub async fn find_names(&self) -> Vec<String> {
        let shared = self.shared();
        let live = self.live();
        let unfound = self.find_names_of(&live).await;
        for upstream in live.upstreams() {
            if let Some((mold, _)) = upstream.resolving() {
                settle(shared, &upstream, mold);
            }
        }
        unfound
    }

    /// The same for a picture that is to be put into force.
    pub async fn find_names_of(&self, live: &Live) -> Vec<String> {
        let (shared, by) = (self.shared(), Instant::now() + FIRST_ANSWERS);
        let mut answers = JoinSet::new();
        for upstream in live.upstreams() {
            let Some((mold, resolve)) = upstream.resolving() else { continue };
            let resolver = resolve.server.map_or(Resolver::System, Resolver::Server);
            for (text, host) in mold.unanswered(&live.resolved) {
                let (key, host) = ((mold.upstream.clone(), text.to_owned()), host.to_owned());
                let mold = Arc::clone(mold);
                answers.spawn(async move {
                    (mold, Answer { result: resolver.addresses(&host).await, key, host })
                });
            }
        }
        while let Ok(Some(Ok((mold, answer)))) = timeout_at(by, answers.join_next()).await {
            let key = answer.key.clone();
            live.resolved.take(shared, &mold, answer);
            live.resolved.await_picture(&key);
        }
        let upstreams = live.upstreams();
        let molds = upstreams.iter().filter_map(|upstream| upstream.mold.as_ref());
        let unfound = molds.flat_map(|mold| {
            let of = |host: &str| {
                format!("upstreams.{}: no address of {host} is known yet", mold.upstream)
            };
            mold.unfound(&live.resolved).map(of).collect::<Vec<_>>()
        });
        unfound.collect()
    }

    /// How the names are resolved whose addresses are instances.
    pub fn names(&self) -> Vec<NameStatus> {
        self.shared().live().resolved.statuses()
    }
}
