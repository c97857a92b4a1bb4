//! `GET /v1/models`: what can be asked for here.
//!
//! The list is what configuration names (the models of use cases, models listed for upstreams) and what
//! the default upstream says it serves, asked when a client asks. A name of our own is found without
//! asking. Where the default upstream must be asked and cannot be, or gives no list, a warning in the
//! log says why; the list is then what configuration names, and an error if it names nothing. A model
//! that only the upstream could know is an error then, too: a 404 would say that it is gone. An
//! upstream that says it has no such list (405, 501) adds nothing. Whose requests stay local is told what local
//! upstreams serve, and nobody else is asked for it.

use std::time::Duration;

use cutover_ingress::{local_only, unescaped};
use cutover_route::VariantIx;
use cutover_store::Key;
use cutover_telemetry::{Registry, events};
use cutover_units::{Millis, WeightBp};
use cutover_upstream::Deadlines;
use cutover_upstream::listing::{Asking, Unlisted};
use cutover_wire::Fault;
use cutover_wire::openai::models::{List, Listed, Model};
use cutover_wire::openai::write;
use cutover_wire::probe::with_tag;
use cutover_wire::providers::Dialect;
use http::{HeaderMap, Response};
use tokio::time::timeout;

use crate::attempt::unknown_model;
use crate::body::{Out, json};
use crate::dialects::USE_CASE;
use crate::gateway::{Gateway, Visit};
use crate::live::{InstanceLane, Lane, Live, ModelEntry, UpstreamLane};
use crate::rescue::Failure;

/// How long the default upstream may take to list its models, all instances that are asked together.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// So many of them are asked, at most.
const ASKED_MAX: usize = 3;

/// Who asks, and what there is to look in.
#[derive(Clone, Copy)]
pub(crate) struct Look<'a> {
    pub(crate) live: &'a Live,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) registry: &'a Registry,
    pub(crate) now: Millis,
    /// Whether local upstreams alone may be asked, and what they serve is all that there is.
    pub(crate) local_only: bool,
}

impl<'a> Look<'a> {
    /// For whoever asks with these headers and this key.
    pub(crate) fn of(
        (gateway, visit): (&'a Gateway, &'a Visit),
        headers: &'a HeaderMap,
        caller: Option<&Key>,
    ) -> Self {
        let live = &*visit.live;
        let bound = caller.and_then(|key| key.use_case.as_ref());
        let mut kept = live.snapshot.use_cases().iter().filter(|use_case| use_case.local_only);
        let local_only = local_only(Some(headers), caller.is_some_and(|key| key.local_only))
            || bound.is_some_and(|name| kept.any(|use_case| use_case.name == *name));
        Look { live, headers, registry: gateway.registry(), now: visit.started_at, local_only }
    }
}

/// All models.
pub(crate) async fn list(look: Look<'_>) -> Result<Response<Out>, Fault> {
    gather(look).await.map(|models| json(write(&List::new(models))))
}

/// One model.
pub(crate) async fn one(look: Look<'_>, id: &str) -> Result<Response<Out>, Fault> {
    find(look, &unescaped(id)).await.map(|model| json(write(&model)))
}

/// What is known of one model.
pub(crate) async fn find(look: Look<'_>, id: &str) -> Result<Model, Fault> {
    if let Some(model) = named(look).find(|model| model.id == id) {
        return Ok(model);
    }
    let theirs = default_models(look).await?;
    let default = look.live.snapshot.default_variant().and_then(|at| look.live.lane(at));
    // A name without a tag is its latest there.
    let tagged = default.is_some_and(|lane| lane.upstream.provider.dialect == Dialect::Ollama);
    let is_it = |model: &Model| model.id == id || tagged && with_tag(&model.id) == with_tag(id);
    theirs.into_iter().find(is_it).ok_or_else(|| unknown_model(id))
}

/// All models that are known.
pub(crate) async fn gather(look: Look<'_>) -> Result<Vec<Model>, Fault> {
    let mut models: Vec<_> = named(look).collect();
    match default_models(look).await {
        Err(fault) if models.is_empty() => return Err(fault),
        Err(_) => {}
        Ok(theirs) => {
            for theirs in theirs {
                if models.iter().all(|model| model.id != theirs.id) {
                    models.push(theirs);
                }
            }
        }
    }
    Ok(models)
}

/// What configuration names.
fn named(look: Look<'_>) -> impl Iterator<Item = Model> + '_ {
    let created = look.live.loaded_at.0 / 1_000;
    let known = look.live.models.iter();
    let known = known.filter(move |entry| !look.local_only || is_local(look.live, entry));
    known.map(move |entry| Model::new(&entry.id, created, &entry.owned_by))
}

/// Whether a local upstream serves a model that configuration names.
fn is_local(live: &Live, entry: &ModelEntry) -> bool {
    let variants = live.snapshot.variants();
    let local = |at: VariantIx| variants.get(usize::from(at.0)).is_some_and(|known| known.local);
    match entry.owned_by.strip_prefix(USE_CASE) {
        Some(name) => {
            let mut use_cases = live.snapshot.use_cases().iter();
            let found = use_cases.find(|use_case| use_case.name.as_str() == name);
            found.is_some_and(|found| {
                let candidate = found.candidate.filter(|_| found.weight != WeightBp::NONE);
                local(found.baseline) || candidate.is_some_and(local)
            })
        }
        None => live
            .lanes
            .iter()
            .any(|lane| lane.upstream.local && lane.upstream.name.as_str() == entry.owned_by),
    }
}

/// What the default upstream lists, where configuration does not say it.
async fn default_models(look: Look<'_>) -> Result<Vec<Model>, Fault> {
    let live = look.live;
    let default = live.snapshot.default_variant().and_then(|at| live.lane(at));
    let may_ask =
        |lane: &&Lane| !live.default_is_listed && (!look.local_only || lane.upstream.local);
    let Some(lane) = default.filter(may_ask) else { return Ok(Vec::new()) };
    let upstream = &*lane.upstream;
    let owner = upstream.name.as_str();
    let unlisted = match ask(upstream, look).await {
        Ok(listed) => {
            let created = |model: &Listed| model.created.unwrap_or(live.loaded_at.0 / 1_000);
            let model = |listed: Listed| Model::new(&listed.id, created(&listed), owner);
            return Ok(listed.into_iter().map(model).collect());
        }
        Err(unlisted) => unlisted,
    };
    events::ModelsUnlisted { upstream: owner, why: &unlisted.why, at: look.now }
        .emit(look.registry);
    Err(unlisted.fault)
}

/// The models that an upstream lists: the first of its instances that gives a list, within the time there is.
async fn ask(upstream: &UpstreamLane, look: Look<'_>) -> Result<Vec<Listed>, Unlisted> {
    let mut instances: Vec<_> = upstream.taking().map(|(_, lane)| lane).collect();
    let calm = |lane: &&InstanceLane| {
        (lane.state(look.now), lane.health.failures(), lane.instance.live().in_flight())
    };
    instances.sort_by_key(calm);
    instances.truncate(ASKED_MAX);
    let count = u32::try_from(instances.len()).unwrap_or(u32::MAX);
    let mut unlisted = None;
    for instance in instances {
        let share = ASK_TIMEOUT / count;
        let asked = async {
            upstream.check_key(look.headers).map_err(Unlisted::unfit)?;
            let connect = upstream.timeouts.connect;
            let within = Deadlines { connect, first_byte: ASK_TIMEOUT };
            let asking =
                Asking { provider: upstream.provider, clients_key: upstream.pass_bearer, within };
            asking.list(&instance.instance, upstream.request_headers(look.headers)).await
        };
        let asked = timeout(share, asked).await;
        let failed = match asked.unwrap_or_else(|_| Err(Unlisted::late())) {
            Ok(listed) => return Ok(listed),
            Err(failed) => failed,
        };
        // Asked after the others from now on; an only one is judged by what it is there for.
        if failed.nobody && count > 1 {
            instance.health.failed(look.now, look.now);
        }
        unlisted.get_or_insert(failed);
    }
    Err(unlisted.unwrap_or_else(|| {
        let fault = Failure::of_nobody(Some(upstream)).fault;
        Unlisted { why: fault.message.clone(), fault, nobody: true }
    }))
}
