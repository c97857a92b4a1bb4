//! One request that is passed on, from its head to its record: a guard whose drop counts, logs and
//! records, whatever the end was.

use std::sync::Arc;
use std::time::Duration;

use cutover_route::surface::Family;
use cutover_server::{Held, Progress};
use cutover_store::Record;
use cutover_telemetry::{Counter, InFlight, NONE, Outcome, events, families};
use cutover_units::{Arm, Code, InstanceId, Micros, Millis, Side, UpstreamName, UseCaseName};
use cutover_upstream::health::Health;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use tokio::time::Instant;

use super::Knock;
use super::choose::Choice;
use crate::answer::{X_CUTOVER_INSTANCE, X_CUTOVER_UPSTREAM, X_CUTOVER_USE_CASE, sdk_retry};
use crate::attempt::{count, given_up};
use crate::body::Out;
use crate::exchange::micros;
use crate::gateway::{Shared, Visit};
use crate::live::{InstanceLane, Live, UpstreamLane};
use crate::rescue::{self, Failure, outcome};

/// What is known of such a request. Nothing of what it says.
pub(super) struct Passage {
    shared: Arc<Shared>,
    live: Arc<Live>,
    family: &'static Family,
    id_text: String,
    started: Instant,
    started_at: Millis,
    key_name: Option<Arc<str>>,
    sdk_retry: u32,
    use_case: Option<UseCaseName>,
    use_case_header: Option<HeaderValue>,
    upstream: Option<Arc<UpstreamLane>>,
    instance: Option<(InstanceId, HeaderValue)>,
    /// The instance's, as long as its good answer may break off: only its end says what it came to.
    watched: Option<(Arc<Health>, Counter)>,
    /// Whether it is asked, and nobody has counted what that came to.
    uncounted: bool,
    progress: Option<Arc<Progress>>,
    bytes_down: u64,
    status: u16,
    code: Option<Code>,
    /// Whether all of the answer was handed over.
    ended: bool,
    /// Whether it broke off after its head.
    interrupted: bool,
    in_flight: Option<InFlight>,
    /// What passed before an upstream was asked.
    asked_after: Option<Micros>,
}

impl Passage {
    pub(super) fn begin(
        shared: &Arc<Shared>,
        visit: &Visit,
        headers: &HeaderMap,
        knock: &Knock,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            live: Arc::clone(&visit.live),
            family: knock.family,
            id_text: visit.id.with_prefix("req_"),
            started: visit.started(),
            started_at: visit.started_at,
            key_name: knock.caller.as_ref().map(|key| Arc::clone(&key.name)),
            sdk_retry: sdk_retry(headers),
            use_case: None,
            use_case_header: None,
            upstream: None,
            instance: None,
            watched: None,
            uncounted: false,
            progress: None,
            bytes_down: 0,
            status: 0,
            code: None,
            ended: false,
            interrupted: false,
            in_flight: None,
            asked_after: None,
        }
    }

    /// It was decided where it goes.
    pub(super) fn goes_to(&mut self, choice: &Choice, progress: &Arc<Progress>) {
        let at = choice.use_case;
        self.use_case = at.and_then(|at| Some(self.live.snapshot.use_case(at)?.name.clone()));
        self.use_case_header = at.and_then(|at| Some(self.live.use_case(at)?.header.clone()));
        self.upstream = Some(Arc::clone(&choice.upstream));
        self.progress = Some(Arc::clone(progress));
    }

    /// An instance is asked, after so long a wait for the client's body.
    pub(super) fn asks(&mut self, instance: &InstanceLane, waited: Duration) {
        self.instance = Some((instance.id.clone(), instance.header.clone()));
        self.uncounted = true;
        self.in_flight = Some(instance.metrics.in_flight.enter());
        self.asked_after = Some(micros(self.started.elapsed().saturating_sub(waited)));
    }

    /// Its answer is good, so far.
    pub(super) fn watches(&mut self, instance: &InstanceLane) {
        self.uncounted = false;
        self.watched = Some((Arc::clone(&instance.health), instance.metrics.succeeded.clone()));
    }

    /// The upstream's head is there.
    pub(super) fn answers(&mut self, status: StatusCode, headers: &mut HeaderMap) {
        self.status = status.as_u16();
        self.sign(headers);
    }

    /// An error instead.
    pub(super) fn refuse(mut self, failure: &Failure) -> Response<Out> {
        let mut response = rescue::response(failure, 1, None);
        self.status = response.status().as_u16();
        self.code = Some(failure.fault.code);
        self.ended = true;
        if self.instance.is_some() {
            self.attempt_failed(failure);
        }
        self.sign(response.headers_mut());
        response
    }

    /// The upstream answered with an error, or not at all.
    pub(super) fn attempt_failed(&mut self, failure: &Failure) {
        self.uncounted = false;
        let (served, at) = (self.served(), self.shared.now());
        events::AttemptFailed {
            served,
            reason: failure.reason,
            by_client: failure.fault.code.row().side == Side::Client,
            status: failure.status,
            why: failure.why.as_deref(),
            said: None,
            at,
        }
        .emit(&self.shared.registry);
    }

    fn sign(&self, headers: &mut HeaderMap) {
        if let Some(use_case) = &self.use_case_header {
            headers.insert(X_CUTOVER_USE_CASE, use_case.clone());
        }
        if let Some(upstream) = &self.upstream {
            headers.insert(X_CUTOVER_UPSTREAM, upstream.header.clone());
        }
        if let Some((_, instance)) = &self.instance {
            headers.insert(X_CUTOVER_INSTANCE, instance.clone());
        }
    }

    /// A piece of the answer passes.
    pub(super) fn passed(&mut self, bytes: usize) {
        self.bytes_down += bytes as u64;
    }

    /// The answer was handed over whole.
    pub(super) fn ended(&mut self) {
        if let Some((health, succeeded)) = self.watched.take() {
            health.succeeded();
            succeeded.inc();
        }
        self.ended = true;
        self.in_flight = None;
    }

    /// The answer broke off.
    pub(super) fn broke_off(&mut self, failure: &Failure) {
        if let Some((health, _)) = self.watched.take() {
            health.failed(self.started_at, self.shared.now());
            self.attempt_failed(failure);
        }
        self.code = Some(failure.fault.code);
        self.interrupted = true;
        self.ended = true;
        self.in_flight = None;
    }

    fn outcome(&self) -> Outcome {
        let client_left =
            self.progress.as_ref().is_some_and(|progress| progress.held() == Held::Broken);
        match (self.code, self.status) {
            _ if !self.ended && !client_left && self.shared.is_cut() => Outcome::Drained,
            _ if !self.ended || client_left => Outcome::ClientGone,
            _ if self.interrupted => Outcome::Interrupted,
            (Some(code), _) => outcome(code),
            (None, 400..=499) => Outcome::ClientError,
            (None, 500..) => Outcome::UpstreamError,
            (None, _) => Outcome::Ok,
        }
    }

    fn upstream_name(&self) -> &str {
        self.upstream.as_ref().map_or(NONE, |upstream| upstream.name.as_str())
    }

    fn served(&self) -> events::Served<'_> {
        events::Served {
            request_id: &self.id_text,
            use_case: self.use_case.as_ref().map_or(NONE, UseCaseName::as_str),
            arm: Arm::Default,
            variant: NONE,
            upstream: self.upstream_name(),
            instance: self.instance.as_ref().map_or(NONE, |(id, _)| id.as_str()),
        }
    }

    fn finish(&mut self) {
        // It was good for as long as its client wanted it.
        if let Some((_, succeeded)) = self.watched.take() {
            succeeded.inc();
        }
        if let Some((instance, _)) = self.instance.as_ref().filter(|_| self.uncounted) {
            let names = [self.upstream_name(), instance.as_str(), given_up(&self.shared)];
            count(&self.shared, names);
        }
        let total = micros(self.started.elapsed());
        let outcome = self.outcome();
        let bytes_up = self.bytes_up();
        let (family, upstream) = (self.family.name, self.upstream_name());
        let registry = &self.shared.registry;
        let ended = [family, upstream, outcome.as_str()];
        registry.counter(families::SURFACE_REQUESTS, ended).inc();
        registry.histogram(families::SURFACE_DURATION, [family, upstream]).observe(total);
        for (direction, bytes) in [("up", bytes_up), ("down", self.bytes_down)] {
            registry.counter(families::SURFACE_BYTES, [family, upstream, direction]).add(bytes);
        }
        let at = self.shared.now();
        if let Some(code) = self.code {
            let attempts = u32::from(self.instance.is_some());
            events::RequestFailed {
                served: self.served(),
                code,
                status: None,
                attempts,
                total,
                at,
            }
            .emit(registry);
        }
        if outcome == Outcome::ClientGone {
            events::ClientGone { served: self.served(), total }.emit();
        }
        if self.live.limits.access_log {
            tracing::info!(
                request_id = self.id_text,
                endpoint = family,
                use_case = self.served().use_case,
                upstream,
                status = self.status,
                outcome = outcome.as_str(),
                bytes_up,
                bytes_down = self.bytes_down,
                total_us = total.0,
                "request"
            );
        }
        if let Some(records) = &self.shared.records {
            records.try_push(self.record(outcome));
        }
    }

    /// It is of no arm, and nobody knows what it cost: files and images have no price per token.
    fn record(&self, outcome: Outcome) -> Record {
        let total = micros(self.started.elapsed());
        Record {
            use_case: self.use_case.clone(),
            upstream: self.upstream.as_ref().map(|upstream| upstream.name.clone()),
            instance: self.instance.as_ref().map(|(id, _)| id.clone()),
            status: self.status,
            code: self.code.map(Code::name),
            total,
            overhead: self.asked_after.unwrap_or(total),
            attempts: u32::from(self.instance.is_some()),
            seen_by: self.seen_by(),
            passed_bytes: Some((self.bytes_up(), self.bytes_down)),
            key_name: self.key_name.clone(),
            sdk_retry: self.sdk_retry,
            ..Record::of_no_arm(
                self.id_text.clone(),
                self.started_at,
                (self.family.name, outcome.as_str()),
            )
        }
    }
}

impl Passage {
    /// Bytes of the client's body that were sent on.
    fn bytes_up(&self) -> u64 {
        self.progress.as_ref().map_or(0, |progress| progress.bytes())
    }

    /// The upstream, once it has been asked: from then on the body is on its way.
    fn seen_by(&self) -> Vec<UpstreamName> {
        let asked = self.upstream.as_ref().filter(|_| self.instance.is_some());
        asked.map(|upstream| upstream.name.clone()).into_iter().collect()
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        self.finish();
    }
}
