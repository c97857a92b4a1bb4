//! Asking upstreams: over the legs of the decision and the instances of each leg, until one answers.
//!
//! ```text
//!  leg: candidate ─ adapt ─ instance A ─ instance B ─┐ each failure: may another do better?
//!  leg: baseline  ─ adapt ─ instance C ──────────────┘ no content has reached the client yet
//! ```
//!
//! A failed candidate is always repeated on the baseline where the plan has one, even when the
//! candidate blamed the client: whether a request is at fault is the baseline's to say, since it is
//! what served the use case before. A failed baseline is repeated only on another of its instances.
//!
//! An answer counts as begun when its first content is there; until then a failure is invisible.

use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cutover_config::UpstreamMessages;
use cutover_route::Leg;
use cutover_route::balance::Draw;
use cutover_telemetry::{InFlight, events};
use cutover_units::{Arm, Code};
use cutover_upstream::{Answered, Body, Deadlines, Outbound, passed_response_headers};
use cutover_wire::Fault;
use cutover_wire::adapt::Outgoing;
use cutover_wire::reply::{Received, Reply};
use cutover_wire::stream::Limits as TapLimits;
use http::{HeaderMap, HeaderName, Method, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use crate::affinity;
use crate::exchange::{Exchange, Tried, micros};
use crate::images::Bound;
use crate::live::{InstanceLane, Lane, UpstreamLane};
use crate::rescue::Failure;
use crate::stream::Beginning;
use crate::vendor::{self, Intake};
use crate::wait::before;

/// Requests sent for one request of a client, at most. With SDKs that retry twice themselves it
/// bounds what one call can cost.
pub(crate) const ATTEMPTS_MAX: u32 = 4;

/// Instances tried for one leg, at most: a second one helps against a dead instance; a third would
/// mostly repeat what is wrong with the upstream as a whole.
const INSTANCES_PER_LEG_MAX: usize = 2;

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// An answer that has begun.
pub(crate) enum Started {
    /// It is there as a whole.
    Whole {
        /// The body for the client.
        body: Bytes,
        /// Headers of the upstream's that pass.
        headers: HeaderMap,
    },
    /// Its first content is there.
    Stream(Box<Opened>),
}

/// A stream whose first content is there, or which has ended.
pub(crate) struct Opened {
    pub(crate) body: Body,
    pub(crate) intake: Intake,
    /// What is ready for the client.
    pub(crate) ready: Vec<Bytes>,
    /// Bytes read before the first content: comments and empty events without end are not held.
    pub(crate) held_bytes: usize,
    pub(crate) headers: HeaderMap,
    pub(crate) sent_at: Instant,
    /// The upstream's body is at its end and the tap has agreed.
    pub(crate) ended: bool,
    /// Counts the attempt while the stream flows.
    pub(crate) in_flight: InFlight,
}

/// Asks until an answer begins, and gives the exchange back with it.
pub(crate) async fn ask(mut exchange: Box<Exchange>) -> Beginning {
    let result = run(&mut exchange).await;
    (exchange, result)
}

async fn run(exchange: &mut Exchange) -> Result<Started, Failure> {
    let legs = exchange.chosen.legs.clone();
    let mut last = None;
    for (at, leg) in legs.iter().enumerate() {
        let failure = match run_leg(exchange, *leg).await {
            Ok(started) => return Ok(started),
            Err(failure) => failure,
        };
        let more = at + 1 < legs.len() && exchange.trail.attempts < ATTEMPTS_MAX;
        let goes_on = more && (failure.elsewhere || leg.arm == Arm::Candidate);
        last = Some(failure);
        if !goes_on {
            break;
        }
    }
    Err(last.unwrap_or_else(|| {
        Failure::client(if exchange.chosen.local_only {
            Fault::new(Code::NoLocalUpstream, "no local upstream may serve this request")
        } else {
            unknown_model(&exchange.head.model)
        })
    }))
}

/// No use case matches and there is no default upstream.
pub(crate) fn unknown_model(model: &str) -> Fault {
    let shown: String = model.chars().take(100).collect();
    Fault::of(Code::ModelNotFound, "model", format!("the model '{shown}' does not exist"))
}

async fn run_leg(exchange: &mut Exchange, leg: Leg) -> Result<Started, Failure> {
    let live = Arc::clone(&exchange.live);
    let Some(lane) = live.lane(leg.variant) else {
        return Err(Failure::client(unknown_model(&exchange.head.model)));
    };
    let outgoing = match adapted(exchange, lane).await {
        Ok(mut outgoing) => {
            outgoing.reply.clients_key = lane.upstream.pass_bearer;
            outgoing
        }
        Err(fault) => {
            let failure = Failure::refused(fault);
            exchange.trail.failed = Some(failure.reason);
            return Err(failure);
        }
    };
    let lost = outgoing.losses.iter();
    match exchange.lost_before(lane) {
        None => exchange.trail.losses.clone_from(&outgoing.losses),
        Some(before) => exchange.trail.losses = before.iter().chain(lost).cloned().collect(),
    }
    let mut tried = 0u64;
    let mut last = None;
    for _ in 0..INSTANCES_PER_LEG_MAX {
        if exchange.trail.attempts >= ATTEMPTS_MAX {
            break;
        }
        let now = exchange.shared.now();
        let wanted = lane.wanted(&exchange.head.model);
        let peer = |at: usize| lane.upstream.instances[at].peer(wanted, now);
        let draw = Draw { tried, ..affinity::draw(exchange, &lane.upstream) };
        let (policy, count) = (lane.upstream.balance, lane.upstream.instances.len());
        let Some(at) = policy.pick(count, &draw, &peer) else {
            break;
        };
        tried |= 1 << at.min(63);
        taken_over(exchange, &lane.upstream.instances[at]);
        exchange.trail.attempts += 1;
        exchange.trail.tried = Some(Tried { leg, instance: at });
        let failure = match attempt(exchange, lane, &lane.upstream.instances[at], &outgoing).await {
            Ok(started) => return Ok(started),
            Err(failure) => failure,
        };
        attempt_failed(exchange, &failure);
        exchange.trail.failed = Some(failure.reason);
        let another = failure.elsewhere && lane.upstream.instances.len() > 1;
        last = Some(failure);
        if !another {
            break;
        }
    }
    Err(last.unwrap_or_else(|| {
        Failure::client(Fault::new(Code::Internal, "no instance could be tried"))
    }))
}

/// The request as a lane's upstream is sent it.
async fn adapted(exchange: &Exchange, lane: &Lane) -> Result<Outgoing, Fault> {
    let target = lane.target_for(&exchange.head, &exchange.body)?;
    let form = match &exchange.foreign {
        None => None,
        Some(foreign) => match foreign.refused_by(&target) {
            Some(fault) => return Err(fault.clone()),
            None => foreign.form_for(&target),
        },
    };
    let (head, body) =
        form.map_or((&exchange.head, &exchange.body), |form| (&form.head, &form.body));
    let bound = Bound {
        images: &exchange.live.images,
        registry: &exchange.shared.registry,
        upstream: &lane.upstream,
        local_only: exchange.chosen.local_only,
    };
    if bound.concerns(body)
        && let Some(form) = Box::pin(bound.inside(head, body)).await?
    {
        return vendor::adapted(&form.head, &form.body, &target);
    }
    vendor::adapted(head, body, &target)
}

async fn attempt(
    exchange: &mut Exchange,
    lane: &Lane,
    instance: &InstanceLane,
    outgoing: &Outgoing,
) -> Result<Started, Failure> {
    let asking = Asking {
        instance,
        upstream: &lane.upstream,
        outgoing,
        sent_at: Instant::now(),
        in_flight: instance.metrics.in_flight.enter(),
    };
    let sent_at = asking.sent_at;
    exchange.trail.asking_since = Some(sent_at);
    exchange.trail.leaked |= exchange.chosen.local_only && !lane.upstream.local;
    let result = if exchange.head.stream {
        asking.open(exchange).await.map(|opened| Started::Stream(Box::new(opened)))
    } else {
        asking.whole(exchange).await
    };
    exchange.trail.asking_since = None;
    exchange.trail.waited_us += micros(sent_at.elapsed()).0;
    match &result {
        Ok(started) => {
            instance.metrics.succeeded.inc();
            // Whether a stream succeeds is known at its end.
            if matches!(started, Started::Whole { .. }) {
                instance.health.succeeded();
            }
        }
        Err(failure) if failure.instance_at_fault => {
            instance.health.failed(exchange.shared.now());
        }
        // It has answered, if only to say no.
        Err(failure) if failure.status.is_some() => instance.health.succeeded(),
        Err(_) => {}
    }
    result
}

/// One attempt at one instance. Each wait has one timer: the nearest of the deadlines that bind it.
struct Asking<'a> {
    instance: &'a InstanceLane,
    upstream: &'a UpstreamLane,
    outgoing: &'a Outgoing,
    sent_at: Instant,
    in_flight: InFlight,
}

impl Asking<'_> {
    /// A request whose answer comes whole. Its head mostly comes with all the rest, so that a deadline
    /// for the first content would end long generations that are well: there is none unless configured.
    async fn whole(self, exchange: &mut Exchange) -> Result<Started, Failure> {
        let timeouts = &self.upstream.timeouts;
        let response = self.send(exchange, timeouts.first_byte.min(timeouts.total)).await?;
        let headers = passed(response.headers());
        let reply = self.reply(exchange, response).await?;
        exchange.trail.usage = reply.usage;
        exchange.trail.finish = reply.finish;
        if reply.prompt_truncated {
            exchange.note_truncated_prompt();
        }
        Ok(Started::Whole { body: reply.body, headers })
    }

    /// A request whose answer is a stream: ready when its first content is there.
    async fn open(self, exchange: &mut Exchange) -> Result<Opened, Failure> {
        let timeouts = &self.upstream.timeouts;
        let limit = timeouts.first_token.min(timeouts.total);
        let response = self.send(exchange, limit).await?;
        if !is_stream(&response) {
            // Not a stream: an error to read, or an upstream that ignored `stream`.
            self.reply(exchange, response).await?;
            let message = "the upstream answered a stream request whole";
            return Err(Failure::broken("not_a_stream", message));
        }
        let headers = passed(response.headers());
        let limits = TapLimits { event_bytes: self.upstream.event_bytes_max };
        let mut opened = Opened {
            body: response.into_body(),
            intake: Intake::new(self.outgoing.reply.clone(), exchange.mint(), limits),
            ready: Vec::new(),
            held_bytes: 0,
            headers,
            sent_at: self.sent_at,
            ended: false,
            in_flight: self.in_flight,
        };
        let first_by = self.sent_at + limit;
        while !opened.is_begun() {
            opened.read_on(self.upstream, first_by).await?;
        }
        if opened.intake.tap.first_content_seen() {
            exchange.trail.first_token = Some(exchange.elapsed());
        }
        Ok(opened)
    }

    /// Sends the request and awaits the head of the answer.
    async fn send(
        &self,
        exchange: &Exchange,
        first_byte: Duration,
    ) -> Result<Response<Body>, Failure> {
        let upstream = self.upstream;
        let outbound = || Outbound {
            method: Method::POST,
            path_and_query: vendor::path_and_query(&self.outgoing.path),
            headers: upstream.request_headers(&exchange.headers),
            body: self.outgoing.body.clone(),
        };
        let deadlines = Deadlines { connect: upstream.timeouts.connect, first_byte };
        let sending = self.instance.instance.send_made(&outbound, deadlines, self.sent_at);
        let Answered { response, took } = sending.await.map_err(|e| Failure::send(&e))?;
        self.instance.metrics.first_byte.observe(micros(took));
        Ok(response)
    }

    /// Reads an answer to its end and makes sense of it.
    async fn reply(&self, exchange: &Exchange, response: Response<Body>) -> Result<Reply, Failure> {
        let (parts, body) = response.into_parts();
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let ends_at = self.sent_at + self.upstream.timeouts.total;
        let received = Received {
            status: parts.status.as_u16(),
            content_type: text(header::CONTENT_TYPE),
            retry_after: text(header::RETRY_AFTER),
            retry_after_ms: text(RETRY_AFTER_MS),
            body: collect(body, self.upstream, ends_at).await?,
        };
        let mint = exchange.mint();
        let (status, reply) = vendor::read(&self.outgoing.reply, &mint, received);
        reply.map_err(|fault| Failure { status: Some(status), ..Failure::upstream(fault) })
    }
}

impl Opened {
    fn is_begun(&self) -> bool {
        self.ended || self.intake.tap.first_content_seen() || self.intake.tap.ended_well()
    }

    /// Reads one piece, before the first content.
    async fn read_on(&mut self, upstream: &UpstreamLane, first_by: Instant) -> Result<(), Failure> {
        let by = first_by.min(Instant::now() + upstream.timeouts.idle);
        match timeout_at(by, self.body.frame()).await {
            Err(_) if by == first_by => {
                let message = "the upstream sent no content in time";
                Err(Failure::late("first_token_timeout", message))
            }
            Err(_) => Err(Failure::late("idle_timeout", "the upstream's stream stalled")),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    self.held_bytes += data.len();
                    if self.held_bytes > upstream.answer_bytes_max {
                        return Err(too_large());
                    }
                    self.intake.push(data, &mut self.ready).map_err(Failure::upstream)
                }
                Err(_) => Ok(()),
            },
            Ok(Some(Err(_))) => Err(cut_off()),
            Ok(None) => {
                self.ended = true;
                self.intake.finish(&mut self.ready).map_err(Failure::upstream)
            }
        }
    }
}

/// The connection broke in the middle of an answer.
pub(crate) fn cut_off() -> Failure {
    Failure::broken("cut_off", "the upstream's answer broke off")
}

fn too_large() -> Failure {
    Failure::broken("answer_too_large", "the upstream's answer is too large")
}

/// A 200 whose body is events or lines.
pub(crate) fn is_stream(response: &Response<Body>) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.map_or(&b""[..], header::HeaderValue::as_bytes);
    let is = |kind: &[u8]| {
        content_type.get(..kind.len()).is_some_and(|start| start.eq_ignore_ascii_case(kind))
    };
    response.status().is_success() && (is(b"text/event-stream") || is(b"application/x-ndjson"))
}

pub(crate) async fn collect(
    mut body: Body,
    upstream: &UpstreamLane,
    ends_at: Instant,
) -> Result<Bytes, Failure> {
    let bytes_max = upstream.answer_bytes_max;
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    loop {
        let mut by = ends_at;
        let until = || {
            by = ends_at.min(Instant::now() + upstream.timeouts.idle);
            by
        };
        let frame = match before(until, body.frame()).await {
            Err(_) if by == ends_at => {
                return Err(Failure::late("total_timeout", "the upstream did not answer in time"));
            }
            Err(_) => return Err(Failure::late("idle_timeout", "the upstream's answer stalled")),
            Ok(None) => break,
            Ok(Some(Err(_))) => return Err(cut_off()),
            Ok(Some(Ok(frame))) => frame,
        };
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + first.as_ref().map_or(0, Bytes::len) + data.len() > bytes_max {
            return Err(too_large());
        }
        match (first.take(), whole.is_empty()) {
            // The usual case: one frame is the whole answer, and nothing is copied.
            (None, true) if body.is_end_stream() => return Ok(data),
            (None, true) => first = Some(data),
            (earlier, _) => {
                if let Some(earlier) = earlier {
                    whole.reserve(usize::try_from(announced).unwrap_or(0));
                    whole.extend_from_slice(&earlier);
                }
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

fn passed(upstream: &HeaderMap) -> HeaderMap {
    passed_response_headers(upstream)
        .filter(|(name, _)| *name != header::CONTENT_TYPE)
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect()
}

fn attempt_failed(exchange: &Exchange, failure: &Failure) {
    let (served, at) = (exchange.served(), exchange.shared.now());
    let said = failure.said.as_deref();
    let message = said.and_then(|said| match exchange.live.limits.upstream_messages {
        UpstreamMessages::Words => said.known_words(),
        UpstreamMessages::Full => said.message(),
    });
    let said = said.map(|said| events::UpstreamSaid {
        kind: said.kind(),
        code: said.code(),
        message: message.as_deref(),
    });
    events::AttemptFailed { served, reason: failure.reason, status: failure.status, said, at }
        .emit(&exchange.shared.registry);
}

/// The next instance takes over what the last one failed at.
fn taken_over(exchange: &mut Exchange, next: &InstanceLane) {
    let Some(reason) = exchange.trail.failed.take() else { return };
    let (served, at) = (exchange.served(), exchange.shared.now());
    events::FailedOver { served, to_instance: next.id.as_str(), reason, at }
        .emit(&exchange.shared.registry);
}
