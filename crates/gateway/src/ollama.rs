//! Models of engines that load them on demand: listed, fetched, removed, and read into memory before
//! their first request.
//!
//! Whatever takes time is a [`Job`]: one task per instance, whose lines whoever began it reads from time
//! to time. Nothing here runs on a request's path, and nothing of it is begun by a probe: a model is read
//! in because an operator asks for it, because its variant is to be kept warm, or because a request that
//! needed it was sent elsewhere meanwhile.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cutover_units::{Millis, UseCaseName};
use cutover_upstream::jobs::{Job, NotBegun};
use cutover_upstream::{Body, Deadlines, Outbound, loads};
use cutover_vendors::manage::{self, Deed, Order, Progress};
use cutover_wire::OllamaSettings;
use cutover_wire::providers::Dialect;
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response};
use http_body_util::{BodyExt as _, Limited};
use tokio::time::timeout;

use crate::flow;
use crate::gateway::{Gateway, Shared};
use crate::live::{InstanceLane, Lane, UpstreamLane};
pub use cutover_vendors::manage::{Line, Stage};

/// How long a list or a description may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);
/// How long reading a model in may take: the largest come from slow disks.
const LOAD_TIMEOUT: Duration = Duration::from_mins(15);
/// How long a fetch may be silent; as a whole it takes what it takes.
const PULL_SILENCE: Duration = Duration::from_mins(5);
/// The largest list.
const BODY_BYTES_MAX: usize = 8 << 20;
/// The longest line of a fetch's progress.
const LINE_BYTES_MAX: usize = 64 << 10;
/// Of an answer that is none of an engine's.
const UNREADABLE: &str = "its answer could not be read";

impl Gateway {
    /// Begins something at all instances of an upstream.
    pub fn manage(&self, upstream: &str, deed: Deed, model: &str) -> Result<Arc<Job>, NotBegun> {
        let shared = self.shared();
        let live = shared.live().clone();
        let mut upstreams = live.upstreams();
        upstreams.extend(live.unused.iter().cloned());
        let Some(lane) = upstreams.iter().find(|lane| lane.name.as_str() == upstream) else {
            let known = upstreams.iter().map(|lane| lane.name.to_string()).collect();
            return Err(NotBegun::UnknownUpstream { name: upstream.to_owned(), known });
        };
        if !deed.is_done_by(lane.provider) {
            return Err(NotBegun::NotManaged { provider: lane.provider.name, deed });
        }
        let asked = lane.instances.iter().take_while(|instance| !instance.leaving);
        let asked: Vec<_> = asked.map(|instance| instance.id.to_string()).collect();
        if asked.is_empty() {
            return Err(NotBegun::NoInstance { upstream: upstream.to_owned() });
        }
        let count = asked.len();
        let job = shared.jobs.begin((upstream, asked), deed, model)?;
        let settings = settings_of(&live.lanes, lane, model);
        for at in 0..count {
            let (job, lane, settings) = (Arc::clone(&job), Arc::clone(lane), settings.clone());
            let work = async move { run(&job, (&lane, at), &settings).await };
            flow::spawn(&shared.tasks, work);
        }
        Ok(job)
    }

    /// How many instances can answer with a use case's candidate's model at once: they take requests, are
    /// well, and have it in memory as far as they tell. None: there is no candidate. With `warm` those that
    /// are well and have not are told to read it in.
    pub fn ready_instances(&self, use_case: &UseCaseName, warm: bool) -> Option<u32> {
        let shared = self.shared();
        let live = shared.live().clone();
        let known = live.snapshot.use_cases().iter().find(|known| known.name == *use_case)?;
        let lane = live.lane(known.candidate?)?;
        let upstream = &lane.upstream;
        let tells = upstream.provider.dialect == Dialect::Ollama && upstream.probing.is_some();
        let (now, mut ready) = (shared.now(), 0);
        let well = upstream.taking().filter(|(_, instance)| instance.health.state(now).can_serve());
        for (at, instance) in well {
            // One that was not asked yet tells nothing.
            let has_told = !tells || instance.health.facts().is_some();
            if instance.health.has(lane.wanted("")) && has_told {
                ready += 1;
            } else if warm && has_told {
                self::warm(shared, lane, at);
            }
        }
        Some(ready)
    }

    /// A job, by its number.
    pub fn job(&self, id: u64) -> Option<Arc<Job>> {
        self.shared().jobs.find(|job| job.id == id)
    }

    /// Ends what fetches or loads a model at an upstream; tells of the last of them. None: nothing does.
    /// An engine stops at once: the connection of whoever asked it is closed.
    pub fn cancel(&self, upstream: &str, model: &str) -> Option<Arc<Job>> {
        let name = manage_name(model);
        self.shared().jobs.cancel(|job| job.upstream == upstream && manage_name(&job.model) == name)
    }
}

/// What requests of this model are sent along with: the first variant's settings that names it.
fn settings_of(lanes: &[Lane], upstream: &Arc<UpstreamLane>, model: &str) -> OllamaSettings {
    let name = manage_name(model);
    let of_it = lanes.iter().find(|lane| {
        lane.upstream.name == upstream.name
            && lane.target.model.as_deref().is_some_and(|known| manage_name(known) == name)
    });
    // The default upstream's lane has no model; it knows the pins of all.
    let any = || lanes.iter().find(|lane| lane.upstream.name == upstream.name);
    of_it.or_else(any).map(|lane| lane.target.settings.ollama.clone()).unwrap_or_default()
}

fn manage_name(model: &str) -> String {
    cutover_wire::probe::with_tag(model).into_owned()
}

async fn run(job: &Job, (upstream, at): (&UpstreamLane, usize), settings: &OllamaSettings) {
    let order = manage::order(job.deed, upstream.provider, (&job.model, settings));
    let working = async {
        match job.deed {
            Deed::Pull => pull(job, (upstream, at), order).await,
            _ => once(job, (upstream, at), order).await,
        }
    };
    let (stage, text) = match job.ending.run_until_cancelled(working).await {
        Some(Ok(text)) => (Stage::Done, text),
        Some(Err(why)) => (Stage::Failed, why),
        None => (Stage::Cancelled, job.why_cancelled().to_owned()),
    };
    job.at(at, |line| (line.stage, line.text) = (stage, text));
}

async fn once(
    job: &Job,
    (upstream, at): (&UpstreamLane, usize),
    order: Order,
) -> Result<String, String> {
    let within = if job.deed == Deed::Warm { LOAD_TIMEOUT } else { ANSWER_TIMEOUT };
    job.at(at, |line| job.deed.as_str().clone_into(&mut line.text));
    let (status, body) = answer(upstream, at, (order, within)).await?;
    if !(200..300).contains(&status) {
        return Err(manage::read_refusal(status, &body));
    }
    let unreadable = || UNREADABLE.to_owned();
    match job.deed {
        Deed::List => {
            let (models, nameless) =
                manage::read_models(upstream.provider, &body).ok_or_else(unreadable)?;
            let facts = upstream.instances[at].health.facts();
            let loaded = facts.and_then(|facts| {
                let names = facts.loaded.as_ref()?.iter().map(|model| model.name.clone());
                Some(names.collect())
            });
            job.at(at, |line| (line.models, line.loaded) = (models, loaded));
            let left_out = || format!("left out, as they have no name: {nameless}");
            Ok((nameless > 0).then(left_out).unwrap_or_default())
        }
        Deed::Show => {
            let model = manage::read_shown(&job.model, &body).ok_or_else(unreadable)?;
            job.at(at, |line| line.models = vec![model]);
            Ok(String::new())
        }
        deed if !manage::is_done(deed, &body) => Err(unreadable()),
        Deed::Warm => Ok("loaded".to_owned()),
        Deed::Remove | Deed::Pull => Ok("removed".to_owned()),
    }
}

async fn answer(
    upstream: &UpstreamLane,
    at: usize,
    (order, within): (Order, Duration),
) -> Result<(u16, Bytes), String> {
    let asking = async {
        let (status, body) = told(upstream, at, (order.clone(), within)).await?;
        match manage::instead(&order, (status, &body)) {
            Some(other) => told(upstream, at, (other, within)).await,
            None => Ok((status, body)),
        }
    };
    timeout(within, asking).await.unwrap_or_else(|_| Err(too_late(within)))
}

async fn told(
    upstream: &UpstreamLane,
    at: usize,
    (order, within): (Order, Duration),
) -> Result<(u16, Bytes), String> {
    let response = send(upstream, at, (order, within)).await?;
    let status = response.status().as_u16();
    let body = Limited::new(response.into_body(), BODY_BYTES_MAX).collect().await;
    let body = body.map_err(|_| "its answer broke off or is too long".to_owned())?.to_bytes();
    // Nothing that is looked for in it is a secret.
    Ok((status, upstream.headers.secrets().hidden(&body).map_or(body, Bytes::from)))
}

fn too_late(within: Duration) -> String {
    format!("it did not answer within {} s", within.as_secs())
}

async fn send(
    upstream: &UpstreamLane,
    at: usize,
    (order, within): (Order, Duration),
) -> Result<Response<Body>, String> {
    let mut headers = upstream.request_headers(&HeaderMap::new());
    if order.body.is_empty() {
        headers.remove(http::header::CONTENT_TYPE);
    }
    let outbound = Outbound {
        method: Method::from_bytes(order.method.as_bytes()).unwrap_or(Method::GET),
        path_and_query: PathAndQuery::from_static(order.path),
        headers,
        body: if order.body.is_empty() { Vec::new() } else { vec![Bytes::from(order.body)] },
    };
    let deadlines = Deadlines { connect: upstream.timeouts.connect, first_byte: within };
    let sent = upstream.instances[at].instance.send(outbound, deadlines).await;
    sent.map_err(|error| format!("it could not be asked: {}", error.kind().as_str()))
}

async fn pull(
    job: &Job,
    (upstream, at): (&UpstreamLane, usize),
    order: Order,
) -> Result<String, String> {
    let response = send(upstream, at, (order, PULL_SILENCE)).await?;
    let status = response.status().as_u16();
    let mut body = response.into_body();
    let mut held = BytesMut::new();
    let secrets = upstream.headers.secrets();
    let shown = |said: BytesMut| secrets.hidden(&said).map_or(said.freeze(), Bytes::from);
    loop {
        let frame = timeout(PULL_SILENCE, body.frame()).await;
        let frame = match frame.map_err(|_| too_late(PULL_SILENCE))? {
            Some(Ok(frame)) => frame,
            Some(Err(_)) => return Err("the fetch broke off".to_owned()),
            None if status != 200 => return Err(manage::read_refusal(status, &shown(held))),
            // Its last line may have no end.
            None => {
                return match manage::read_progress(&shown(held)) {
                    Some(Progress::Done) => Ok("fetched".to_owned()),
                    Some(Progress::Failed(why)) => Err(why),
                    _ => Err("the fetch ended without saying that it is complete".to_owned()),
                };
            }
        };
        let Ok(data) = frame.into_data() else { continue };
        held.extend_from_slice(&data);
        while let Some(end) = held.iter().position(|&byte| byte == b'\n') {
            let line = held.split_to(end + 1);
            match manage::read_progress(&shown(line)) {
                Some(Progress::Done) => return Ok("fetched".to_owned()),
                Some(Progress::Failed(why)) => return Err(why),
                Some(Progress::Step { what, bytes }) => {
                    job.at(at, |line| (line.text, line.bytes) = (what, bytes));
                }
                None => {}
            }
        }
        if held.len() > LINE_BYTES_MAX {
            return Err("its progress could not be read".to_owned());
        }
    }
}

/// Has an instance read a lane's model in, in the background, unless it was told to lately: then false.
pub(crate) fn warm(shared: &Arc<Shared>, lane: &Lane, at: usize) -> bool {
    let (Some(instance), Some(place)) = (lane.upstream.instances.get(at), lane.model_place) else {
        return false;
    };
    let Some(model) = lane.target.model.clone() else { return false };
    // First, so that whoever finds that it was told sees it read, unless that has failed.
    let reading = instance.health.reads_in(&model, Some(place));
    if !instance.health.may_warm(place, shared.now()) {
        return false;
    }
    let (upstream, settings) = (Arc::clone(&lane.upstream), lane.target.settings.ollama.clone());
    let within = Arc::clone(shared);
    flow::spawn(&shared.tasks, async move {
        let id = upstream.instances[at].id.clone();
        let job = within.jobs.begin_own(upstream.name.as_str(), id.as_str(), &model);
        let ending = job.as_ref().map_or(&within.jobs.stopped, |job| &job.ending);
        let tell = |stage, why: &str| {
            if let Some(job) = &job {
                job.at(0, |line| (line.stage, line.text) = (stage, why.to_owned()));
            }
        };
        let order = manage::order(Deed::Warm, upstream.provider, (&model, &settings));
        let loading = loads::noticed(answer(&upstream, at, (order, LOAD_TIMEOUT)), || {
            tracing::warn!(instance = id.as_str(), model = &*model, "model loads for a minute now");
        });
        // Nobody waits for a load, nor shall the process's end.
        let Some(loaded) = ending.run_until_cancelled(loading).await else {
            return tell(Stage::Cancelled, job.as_ref().map_or("", |job| job.why_cancelled()));
        };
        let why = match loaded {
            Ok((200, body)) if manage::is_done(Deed::Warm, &body) => {
                reading.done();
                tell(Stage::Done, "loaded");
                tracing::info!(instance = id.as_str(), model = &*model, "model loaded");
                return;
            }
            Ok((200, _)) => UNREADABLE.to_owned(),
            Ok((status, body)) => manage::read_refusal(status, &body),
            Err(why) => why,
        };
        tell(Stage::Failed, &why);
        tracing::warn!(instance = id.as_str(), model = &*model, why, "model not loaded");
    });
    true
}

/// A bit for each instance that would have to read a lane's model in first: see [`loads::beside_warm`].
pub(crate) fn beside_warm(lane: &Lane, asked: &str, now: Millis) -> Option<u64> {
    let wanted = lane.wanted(asked);
    let has = |one: &InstanceLane| one.health.has(wanted);
    loads::beside_warm(lane.upstream.taking().map(|(at, one)| (at, one.state(now), has(one))))
}

/// Has the fittest instance read a lane's model in, unless one does already. Where that failed lately or takes long,
/// the next.
pub(crate) fn warm_one(shared: &Arc<Shared>, lane: &Lane, now: Millis) {
    let wanted = lane.wanted("");
    let able = lane
        .upstream
        .taking()
        .filter(|(_, instance)| instance.state(now).can_serve() && !instance.health.has(wanted));
    let mut able: Vec<_> = able.collect();
    // Each is asked once: what is in flight changes meanwhile.
    able.sort_by_cached_key(|(_, one)| (one.state(now), one.instance.live().in_flight()));
    let healths = able.iter().map(|(_, instance)| &*instance.health);
    for (at, instance) in loads::to_be_told(healths, wanted).into_iter().map(|next| able[next]) {
        if warm(shared, lane, at) || instance.health.draws(wanted) {
            return;
        }
    }
}

/// Has the instances read in what shall be kept in memory and is not. `at` was just probed.
pub(crate) fn keep_warm(shared: &Arc<Shared>, upstream: &UpstreamLane, at: usize) {
    let live = shared.live().clone();
    let lanes = live.lanes.iter().filter(|lane| lane.warm && lane.upstream.name == upstream.name);
    for lane in lanes {
        let known = lane.upstream.instances.get(at).filter(|instance| {
            let told = upstream.instances.get(at);
            told.is_some_and(|told| Arc::ptr_eq(&told.health, &instance.health))
        });
        let Some(instance) = known else { continue };
        let state = instance.health.state(shared.now());
        if state.can_serve() && !instance.health.has(lane.wanted("")) {
            warm(shared, lane, at);
        }
    }
}
