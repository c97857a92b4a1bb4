//! Which upstream takes a request that is passed on.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use cutover_ingress::{Said, Told, local_only};
use cutover_route::surface::{Fate, SURFACE};
use cutover_route::{Ask, Caller, UseCaseIx};
use cutover_units::{Code, Millis, UseCaseName};
use cutover_wire::Fault;
use cutover_wire::providers::Dialect;
use http::HeaderMap;

use super::Knock;
use crate::answer::X_CUTOVER_USE_CASE;
use crate::gateway::Visit;
use crate::live::{InstanceLane, Lane, UpstreamLane};

/// The engine in this process has no such endpoints.
const EMBEDDED: &str = "embedded";

/// What the configuration says of endpoints that are passed on.
#[derive(Debug, Clone)]
pub struct SurfaceLane {
    /// The families that are passed on.
    pub allow: Vec<&'static str>,
    /// Where they go unless a use case says otherwise; None: nowhere.
    pub upstream: Option<Arc<UpstreamLane>>,
    /// Largest request body, in bytes.
    pub upload_bytes_max: u64,
    /// Longest time in which not a byte of a request body moves.
    pub idle: Duration,
}

/// Whether a provider has endpoints of the OpenAI surface, over a connection.
pub(crate) fn carries(provider: &cutover_wire::Provider) -> bool {
    provider.dialect == Dialect::OpenAi && provider.name != EMBEDDED
}

/// Where a request goes.
pub(super) struct Choice {
    pub(super) use_case: Option<UseCaseIx>,
    pub(super) upstream: Arc<UpstreamLane>,
    /// A bit for the kind of request, as instances' doubts have it.
    pub(super) kind: u32,
    /// Whether what stands in its body may keep it at local upstreams, of which this is none.
    pub(super) is_judged: bool,
}

impl Choice {
    /// Where the instance is that fails and has to do least: nothing is tried twice.
    pub(super) fn instance(&self, now: Millis) -> Option<usize> {
        let key = |(_, lane): &(usize, &InstanceLane)| {
            let (health, in_flight) = (&lane.health, lane.instance.live().in_flight());
            let is_doubted = health.is_doubted(self.kind);
            (!lane.state(now).can_serve(), is_doubted, health.recent_failures(now), in_flight)
        };
        self.upstream.taking().min_by_key(key).map(|(at, _)| at)
    }

    /// An instance has taken the request: those that refused such a one are to blame, and neither the
    /// configuration nor the client.
    pub(super) fn was_taken(&self, by: &InstanceLane, now: Millis) {
        by.health.take_doubt(self.kind);
        for lane in self.upstream.instances.iter().filter(|lane| lane.health.take_doubt(self.kind))
        {
            lane.health.failed(now, now);
        }
    }
}

/// Chooses, by what a request says outside of its body.
pub(super) fn choose(visit: &Visit, headers: &HeaderMap, knock: &Knock) -> Result<Choice, Fault> {
    let live = &visit.live;
    let (use_case, local_only, may_turn_local) = asked(visit, (headers, None), knock, |ask| {
        let decision = live.snapshot.decide(ask);
        (decision.use_case, decision.local_only, live.snapshot.may_turn_local(ask))
    });
    let baseline = use_case
        .and_then(|at| live.lane(live.snapshot.use_case(at)?.baseline))
        .filter(|lane| carries(lane.target.provider));
    let upstream = baseline.map(|lane: &Lane| &lane.upstream).or(live.surface.upstream.as_ref());
    if local_only && !upstream.is_some_and(|upstream| upstream.local) {
        return Err(stays(knock));
    }
    let Some(upstream) = upstream else {
        let message = format!(
            "no upstream takes {}: the default upstream does not have it, and surface.upstream names no other",
            knock.family.name
        );
        return Err(Fault::new(Code::NotSupported, message));
    };
    let place = SURFACE.iter().position(|family| std::ptr::eq(family, knock.family));
    let kind = 1 << (place.unwrap_or(0) % 32);
    let is_judged = may_turn_local && !upstream.local;
    Ok(Choice { use_case, upstream: Arc::clone(upstream), kind, is_judged })
}

/// Refuses what stays with local upstreams by what its body says.
pub(super) fn judge(
    visit: &Visit,
    (headers, told): (&HeaderMap, &Told),
    knock: &Knock,
) -> Result<(), Fault> {
    let decide = |ask: &Ask<'_>| visit.live.snapshot.decide(ask).local_only;
    let local_only = asked(visit, (headers, Some(told)), knock, decide);
    if local_only { Err(stays(knock)) } else { Ok(()) }
}

fn stays(knock: &Knock) -> Fault {
    let keeps = if knock.family.fate == Fate::Kept { "kept" } else { "seen" };
    let message = format!(
        "the request is local-only, and what {} is sent would be {keeps} by a vendor",
        knock.family.name
    );
    Fault::new(Code::NoLocalUpstream, message)
}

/// What the snapshot is asked, by what is known of a request.
fn asked<T>(
    visit: &Visit,
    (headers, told): (&HeaderMap, Option<&Told>),
    knock: &Knock,
    decide: impl FnOnce(&Ask<'_>) -> T,
) -> T {
    let said = Said::of(headers, &visit.live.routing_headers);
    let header = |name: &str| said.get(name);
    let metadata = |name: &str| told.and_then(|told| told.metadata(name)).map(Cow::Borrowed);
    let id = visit.id.with_prefix("req_");
    let caller = knock.caller.as_ref();
    decide(&Ask {
        model: told.map_or("", |told| &told.model),
        user: None,
        header: &header,
        metadata: &metadata,
        caller: Caller {
            key_name: caller.map(|key| &*key.name),
            use_case: caller.and_then(|key| key.use_case.as_ref()).map(UseCaseName::as_str),
        },
        use_case: header(X_CUTOVER_USE_CASE.as_str()),
        priority: None,
        local_only: local_only(Some(headers), caller.is_some_and(|key| key.local_only)),
        request_id: &id,
    })
}
