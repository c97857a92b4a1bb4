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
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cutover_route::{Leg, balance};
use cutover_telemetry::events;
use cutover_units::{Arm, Code};
use cutover_upstream::{Body, Deadlines, Outbound, passed_response_headers};
use cutover_wire::adapt::{Outgoing, adapt};
use cutover_wire::reply::{Received, read_reply};
use cutover_wire::stream::{Limits as TapLimits, Tap};
use cutover_wire::{Fault, ReplyPlan};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout, timeout_at};

use crate::exchange::{Exchange, Tried, micros};
use crate::live::{InstanceLane, Lane, UpstreamLane};
use crate::rescue::Failure;

/// Requests sent for one request of a client, at most. With SDKs that retry twice themselves it
/// bounds what one call can cost.
pub(crate) const ATTEMPTS_MAX: u32 = 4;

/// Instances tried for one leg, at most: a second one helps against a dead instance; a third would
/// mostly repeat what is wrong with the upstream as a whole.
const INSTANCES_PER_LEG_MAX: usize = 2;

/// An answer that has begun.
#[derive(Debug)]
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
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) body: Body,
    pub(crate) tap: Tap,
    /// What is ready for the client.
    pub(crate) ready: Vec<Bytes>,
    pub(crate) headers: HeaderMap,
    pub(crate) sent_at: Instant,
    /// The upstream's body is at its end and the tap has agreed.
    pub(crate) ended: bool,
}

/// Asks until an answer begins.
pub(crate) async fn run(exchange: &mut Exchange) -> Result<Started, Failure> {
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
    Err(last.unwrap_or_else(|| Failure::client(unknown_model(&exchange.head.model))))
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
    let outgoing = adapt(&exchange.head, &exchange.body, &lane.target).map_err(Failure::refused)?;
    exchange.trail.losses.clone_from(&outgoing.losses);
    let mut tried = 0u64;
    let mut last = None;
    for _ in 0..INSTANCES_PER_LEG_MAX {
        if exchange.trail.attempts >= ATTEMPTS_MAX {
            break;
        }
        let now = exchange.shared.now();
        let load = |at: usize| (lane.upstream.instances[at].load(), now);
        let seed = exchange.id.seed() ^ u64::from(exchange.trail.attempts);
        let Some(at) = balance::pick(lane.upstream.instances.len(), tried, seed, &load) else {
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
        attempt_failed(exchange, lane, at, &failure);
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

async fn attempt(
    exchange: &mut Exchange,
    lane: &Lane,
    instance: &InstanceLane,
    outgoing: &Outgoing,
) -> Result<Started, Failure> {
    let sent_at = Instant::now();
    let upstream = &*lane.upstream;
    let _in_flight = instance.metrics.in_flight.enter();
    let result = if exchange.head.stream {
        let opening = open(exchange, instance, upstream, outgoing);
        let limit = upstream.timeouts.first_token.min(upstream.timeouts.total);
        let late = |_| Failure::late("first_token_timeout", "the upstream sent no content in time");
        timeout_at(sent_at + limit, opening)
            .await
            .map_err(late)
            .and_then(|r| r)
            .map(|opened| Started::Stream(Box::new(opened)))
    } else {
        let late = |_| Failure::late("total_timeout", "the upstream did not answer in time");
        let asking = ask(exchange, instance, upstream, outgoing);
        timeout_at(sent_at + upstream.timeouts.total, asking).await.map_err(late).and_then(|r| r)
    };
    exchange.trail.upstream_us += micros(sent_at.elapsed()).0;
    if result.is_ok() {
        instance.metrics.succeeded.inc();
    }
    result
}

/// Sends a request and awaits the head of the answer.
async fn send(
    exchange: &Exchange,
    instance: &InstanceLane,
    upstream: &UpstreamLane,
    outgoing: &Outgoing,
) -> Result<Response<Body>, Failure> {
    let mut headers = upstream.headers.for_client(&exchange.headers);
    if upstream.pass_bearer
        && let Some(bearer) = exchange.headers.get(header::AUTHORIZATION)
    {
        let mut bearer = bearer.clone();
        bearer.set_sensitive(true);
        headers.insert(header::AUTHORIZATION, bearer);
    }
    let outbound = Outbound {
        method: Method::POST,
        path_and_query: PathAndQuery::from_static(outgoing.path),
        headers,
        body: outgoing.body.clone(),
    };
    let deadlines =
        Deadlines { connect: upstream.timeouts.connect, first_byte: upstream.timeouts.total };
    let sent_at = Instant::now();
    let response =
        instance.instance.send(outbound, deadlines).await.map_err(|e| Failure::send(&e))?;
    instance.metrics.first_byte.observe(micros(sent_at.elapsed()));
    Ok(response)
}

/// A request whose answer comes whole.
async fn ask(
    exchange: &mut Exchange,
    instance: &InstanceLane,
    upstream: &UpstreamLane,
    outgoing: &Outgoing,
) -> Result<Started, Failure> {
    let response = send(exchange, instance, upstream, outgoing).await?;
    let headers = passed(response.headers());
    let reply = whole_reply(exchange, upstream, &outgoing.reply, response).await?;
    exchange.trail.usage = reply.usage;
    exchange.trail.finish = reply.finish;
    exchange.trail.prompt_truncated = reply.prompt_truncated;
    Ok(Started::Whole { body: reply.body, headers })
}

/// Reads an answer to its end and makes sense of it.
async fn whole_reply(
    exchange: &Exchange,
    upstream: &UpstreamLane,
    plan: &ReplyPlan,
    response: Response<Body>,
) -> Result<cutover_wire::reply::Reply, Failure> {
    let (parts, body) = response.into_parts();
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let received = Received {
        status: parts.status.as_u16(),
        content_type: text("content-type"),
        retry_after: text("retry-after"),
        retry_after_ms: text("retry-after-ms"),
        body: collect(body, upstream).await?,
    };
    let status = Some(received.status);
    read_reply(plan, &exchange.mint(), received)
        .map_err(|fault| Failure { status, ..Failure::upstream(fault) })
}

/// A request whose answer is a stream: ready when its first content is there.
async fn open(
    exchange: &mut Exchange,
    instance: &InstanceLane,
    upstream: &UpstreamLane,
    outgoing: &Outgoing,
) -> Result<Opened, Failure> {
    let sent_at = Instant::now();
    let response = send(exchange, instance, upstream, outgoing).await?;
    if !is_stream(&response) {
        // Not a stream: an error to read, or an upstream that ignored `stream`.
        whole_reply(exchange, upstream, &outgoing.reply, response).await?;
        return Err(Failure::broken(
            "not_a_stream",
            "the upstream answered a stream request whole",
        ));
    }
    let headers = passed(response.headers());
    let limits = TapLimits { event_bytes: upstream.event_bytes_max };
    let tap = Tap::new(outgoing.reply.clone(), exchange.mint(), limits);
    let body = response.into_body();
    let mut opened = Opened { body, tap, ready: Vec::new(), headers, sent_at, ended: false };
    while !opened.tap.first_content_seen() && !opened.tap.ended_well() && !opened.ended {
        read_on(&mut opened, upstream.timeouts.idle).await?;
    }
    exchange.trail.first_token = Some(exchange.elapsed());
    Ok(opened)
}

async fn read_on(opened: &mut Opened, idle: Duration) -> Result<(), Failure> {
    match timeout(idle, opened.body.frame()).await {
        Err(_) => Err(Failure::late("idle_timeout", "the upstream's stream stalled")),
        Ok(Some(Ok(frame))) => match frame.into_data() {
            Ok(data) => opened.tap.push(data, &mut opened.ready).map_err(Failure::upstream),
            Err(_) => Ok(()),
        },
        Ok(Some(Err(_))) => Err(cut_off()),
        Ok(None) => {
            opened.ended = true;
            opened.tap.finish(&mut opened.ready).map_err(Failure::upstream)
        }
    }
}

/// The connection broke in the middle of an answer.
pub(crate) fn cut_off() -> Failure {
    Failure::broken("cut_off", "the upstream's answer broke off")
}

/// A 200 whose body is events or lines.
fn is_stream(response: &Response<Body>) -> bool {
    let content_type = response.headers().get(header::CONTENT_TYPE);
    let content_type = content_type.map_or(&b""[..], header::HeaderValue::as_bytes);
    response.status().is_success()
        && (content_type.starts_with(b"text/event-stream")
            || content_type.starts_with(b"application/x-ndjson"))
}

async fn collect(mut body: Body, upstream: &UpstreamLane) -> Result<Bytes, Failure> {
    let too_large = || Failure::broken("answer_too_large", "the upstream's answer is too large");
    let bytes_max = upstream.answer_bytes_max;
    let announced = body.size_hint().exact().unwrap_or(0);
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    loop {
        let frame = match timeout(upstream.timeouts.idle, body.frame()).await {
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

fn attempt_failed(exchange: &Exchange, lane: &Lane, instance: usize, failure: &Failure) {
    let now = exchange.shared.now();
    let tried = &lane.upstream.instances[instance];
    if failure.instance_at_fault {
        tried.failed_at.store(now.0, Ordering::Relaxed);
    }
    let served = exchange.served();
    events::AttemptFailed { served, reason: failure.reason, status: failure.status, at: now }
        .emit(&exchange.shared.registry);
}

/// The next instance takes over what the last one failed at.
fn taken_over(exchange: &mut Exchange, next: &InstanceLane) {
    let Some(reason) = exchange.trail.failed.take() else { return };
    let (served, at) = (exchange.served(), exchange.shared.now());
    events::FailedOver { served, to_instance: next.id.as_str(), reason, at }
        .emit(&exchange.shared.registry);
}
