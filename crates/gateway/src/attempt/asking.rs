//! One attempt at one instance: sent, awaited under deadlines, read until its answer has begun.
//!
//! It changes nothing of the request's own: two may run at once, and whoever made them says what
//! became of each.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cutover_relay::Intake;
use cutover_route::balance::Seat;
use cutover_server::before;
use cutover_telemetry::{InFlight, families};
use cutover_upstream::health::Reading;
use cutover_upstream::{
    Answered, Body, Deadlines, Outbound, Sending, Timeouts, Turn, is_stream,
    passed_response_headers, path_and_query,
};
use cutover_wire::adapt::Outgoing;
use cutover_wire::reply::{Received, Reply};
use cutover_wire::stream::Limits as TapLimits;
use http::{HeaderMap, HeaderName, Method, Response, header};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, timeout_at};

use crate::exchange::{Exchange, micros};
use crate::foreign::Turned;
use crate::gateway::Shared;
use crate::live::{InstanceLane, Lane, UpstreamLane};
use crate::rescue::Failure;
use crate::structured;

use super::unseen::{self, Unseen};

const RETRY_AFTER_MS: HeaderName = HeaderName::from_static("retry-after-ms");

/// An answer that came whole.
pub(crate) struct Landed {
    pub(crate) reply: Reply,
    /// The same in the client's dialect, if that is another.
    pub(crate) turned: Option<Box<Turned>>,
    pub(crate) headers: HeaderMap,
}

/// A stream of which the client is about to see something, or which has ended.
pub(crate) struct Opened {
    pub(crate) body: Body,
    pub(crate) intake: Intake,
    /// What is ready for the client.
    pub(crate) ready: Vec<Bytes>,
    /// Bytes read before: comments and empty events without end are not held.
    pub(crate) held_bytes: usize,
    unseen: Unseen,
    pub(crate) headers: HeaderMap,
    pub(crate) sent_at: Instant,
    /// The upstream's body is at its end and the tap has agreed.
    pub(crate) ended: bool,
    /// It broke off once its answer was whole.
    pub(crate) cut: bool,
    /// Counts the attempt while the stream flows.
    pub(crate) in_flight: InFlight,
}

/// One attempt at one instance, about to be sent.
pub(crate) struct Asking<'a> {
    /// Its seat there.
    seat: Seat,
    terms: Terms<'a>,
}

/// Who is asked what, and for how long. Each wait has one timer: the nearest of the deadlines that bind it.
struct Terms<'a> {
    instance: &'a InstanceLane,
    upstream: &'a UpstreamLane,
    outgoing: &'a Outgoing,
    sent_at: Instant,
    /// The upstream's deadlines, cut where the request's own is nearer.
    timeouts: Timeouts,
    /// The request's own.
    deadline: Option<Instant>,
    /// An instance from which nothing comes until then has stalled, if it has given no sign of life to anybody since
    /// these.
    may_stall: Option<u32>,
    in_flight: InFlight,
    /// If the instance has to read the model in first.
    reading: Option<Reading>,
}

impl<'a> Asking<'a> {
    /// From a seat at an instance, with what is left until the request's deadline.
    pub(crate) fn new(
        (lane, instance, seat): (&'a Lane, &'a InstanceLane, Seat),
        outgoing: &'a Outgoing,
        exchange: &Exchange,
    ) -> Self {
        let (upstream, sent_at, left) = (&*lane.upstream, Instant::now(), exchange.left());
        // In so long it would have answered, as far as is known: no deadline is so short that it tells nothing.
        let usual = Duration::from_micros(instance.instance.live().latency_us());
        let may_stall = exchange.has_most_left() && left.is_some_and(|left| left >= 2 * usual);
        let may_stall = may_stall.then(|| instance.health.signs());
        let terms = Terms {
            instance,
            upstream,
            outgoing,
            sent_at,
            deadline: left.map(|left| sent_at + left),
            may_stall,
            timeouts: left.map_or(upstream.timeouts, |left| upstream.timeouts.within(left)),
            in_flight: instance.metrics.in_flight.enter(),
            reading: lane.reads_in(instance, &exchange.head.model),
        };
        Self { seat, terms }
    }

    pub(crate) fn sent_at(&self) -> Instant {
        self.terms.sent_at
    }

    /// Whether an instance that is given up now, because another has answered, has stalled: it had twice what it
    /// usually takes, or what the other took, if that is not known.
    pub(crate) fn has_stalled(instance: &InstanceLane, since: Instant, other: Duration) -> bool {
        let usual = Duration::from_micros(instance.instance.live().whole_us());
        since.elapsed() >= 2 * if usual.is_zero() { other } else { usual }
    }

    /// A request whose answer comes whole. Its head mostly comes with all the rest, so that a deadline
    /// for the first content would end long generations that are well: there is none unless configured.
    pub(crate) async fn whole(self, exchange: &Exchange) -> Result<Landed, Failure> {
        let (_under_way, headers, reply) = self.collected(exchange).await?;
        let turned = unseen::turned(exchange, &reply)?;
        Ok(Landed { reply, turned, headers })
    }

    /// A request whose answer is a stream: ready when its first content is there.
    pub(crate) async fn open(self, exchange: &Exchange) -> Result<Opened, Failure> {
        if !self.terms.outgoing.reply.stream {
            return self.gather(exchange).await;
        }
        let Self { seat, mut terms } = self;
        let limit = terms.timeouts.first_token.min(terms.timeouts.total);
        let response = terms.send(exchange, seat, (limit, Turn::Now)).await?;
        if !is_stream(&response) {
            // Not a stream: an error to read, or an upstream that ignored `stream`.
            terms.reply(exchange, response).await?;
            let message = "the upstream answered a stream request whole";
            return Err(Failure::broken("not_a_stream", message));
        }
        let headers = passed(response.headers());
        let limits = TapLimits { event_bytes: terms.upstream.event_bytes_max };
        let mut opened = Opened {
            body: response.into_body(),
            intake: Intake::new(terms.outgoing.reply.clone(), exchange.mint(), limits),
            ready: Vec::new(),
            held_bytes: 0,
            unseen: Unseen::of(exchange, &terms.outgoing.reply),
            headers,
            sent_at: terms.sent_at,
            ended: false,
            cut: false,
            in_flight: terms.in_flight,
        };
        let by = [terms.sent_at + limit, terms.sent_at + terms.timeouts.total];
        while !opened.is_begun(terms.upstream) {
            let read = opened.read_on(terms.upstream, by).await;
            let read = read.and_then(|()| opened.unseen.look(&opened.ready));
            read.map_err(|failure| failure.unless_cut(terms.deadline, false))?;
        }
        took(exchange, (terms.instance, terms.reading), (true, terms.sent_at));
        Ok(opened)
    }

    /// Sends the request, and awaits all of the answer.
    async fn collected(self, to: &Exchange) -> Result<(Terms<'a>, HeaderMap, Reply), Failure> {
        let Self { seat, mut terms } = self;
        let first_byte = terms.timeouts.first_byte.min(terms.timeouts.total);
        let response = terms.send(to, seat, (first_byte, Turn::InARow)).await?;
        let headers = passed(response.headers());
        let reply = terms.reply(to, response).await?;
        took(to, (terms.instance, terms.reading.take()), (false, terms.sent_at));
        Ok((terms, headers, reply))
    }

    /// A stream that must be repaired: the answer is awaited as a whole, and then streamed.
    async fn gather(self, exchange: &Exchange) -> Result<Opened, Failure> {
        let (terms, headers, reply) = self.collected(exchange).await?;
        let (events, plan) = structured::as_stream(exchange, &terms.outgoing.reply, &reply)?;
        let limits = TapLimits { event_bytes: events.len() };
        let mut intake = Intake::new(plan, exchange.mint(), limits);
        let mut ready = Vec::new();
        intake.push(events, &mut ready).map_err(Failure::upstream)?;
        let mut unseen = Unseen::of(exchange, &terms.outgoing.reply);
        unseen.look(&ready)?;
        Ok(Opened {
            body: Body::whole(Bytes::new()),
            intake,
            ready,
            held_bytes: 0,
            unseen,
            headers,
            sent_at: terms.sent_at,
            ended: true,
            cut: false,
            in_flight: terms.in_flight,
        })
    }
}

impl Terms<'_> {
    /// Sends the request and awaits the head of the answer. What it waited for one of the instance's connections is no
    /// time of the instance's: all deadlines count from when there was one.
    async fn send(
        &mut self,
        exchange: &Exchange,
        seat: Seat,
        (first_byte, turn): (Duration, Turn),
    ) -> Result<Response<Body>, Failure> {
        let (upstream, outgoing) = (self.upstream, self.outgoing);
        let outbound = || Outbound {
            method: Method::POST,
            path_and_query: path_and_query(&outgoing.path),
            headers: upstream.request_headers(&exchange.headers),
            body: outgoing.body.clone(),
        };
        let deadlines = Deadlines { connect: self.timeouts.connect, first_byte };
        let sending = Sending { deadlines, started: self.sent_at, turn };
        let answered = self.instance.instance.send_made(seat, &outbound, sending).await;
        let has_stalled = || self.may_stall == Some(self.instance.health.signs());
        let answered =
            answered.map_err(|e| Failure::send(&e).unless_cut(self.deadline, has_stalled()))?;
        self.sent_at += answered.waited;
        let waited_us = micros(answered.waited).0;
        exchange.admission.connection_us.fetch_add(waited_us, Relaxed);
        Ok(booked(&exchange.shared, upstream, self.instance, answered))
    }

    /// Reads an answer to its end and makes sense of it.
    async fn reply(&self, exchange: &Exchange, response: Response<Body>) -> Result<Reply, Failure> {
        let (parts, body) = response.into_parts();
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let ends_at = self.sent_at + self.timeouts.total;
        let body = collect(body, self.upstream, ends_at).await;
        let received = Received {
            status: parts.status.as_u16(),
            content_type: text(header::CONTENT_TYPE),
            retry_after: text(header::RETRY_AFTER),
            retry_after_ms: text(RETRY_AFTER_MS),
            date: if parts.status.is_success() { None } else { text(header::DATE) },
            body: body.map_err(|failure| failure.unless_cut(self.deadline, false))?,
        };
        let mint = exchange.mint();
        let (status, reply) = cutover_relay::read(&self.outgoing.reply, &mint, received);
        reply.map_err(|fault| Failure { status: Some(status), ..Failure::upstream(fault) })
    }
}

/// A stream's first content is there, or all of a whole answer. To read the model in is not what that usually takes.
fn took(
    exchange: &Exchange,
    (instance, reading): (&InstanceLane, Option<Reading>),
    (stream, since): (bool, Instant),
) {
    instance.health.goes_on(Instant::now());
    if let Some(reading) = reading {
        return reading.done();
    }
    let us = micros(since.elapsed()).0;
    instance.instance.live().took(stream, us, exchange.shared.now());
    let use_case = exchange.chosen.use_case.and_then(|at| exchange.live.use_case(at));
    if let (Some(use_case), Some(tried)) = (use_case, exchange.trail.tried) {
        use_case.usual.took(tried.leg.arm, stream, us);
    }
}

/// An answer whose head is there; the wait for a connection is booked apart from the instance's own time.
pub(crate) fn booked(
    shared: &Shared,
    upstream: &UpstreamLane,
    instance: &InstanceLane,
    Answered { response, took, waited }: Answered,
) -> Response<Body> {
    instance.metrics.first_byte.observe(micros(took));
    if !waited.is_zero() {
        let wait = shared.registry.histogram(families::QUEUE_WAIT, [upstream.name.as_str()]);
        wait.observe(micros(waited));
    }
    response
}

impl Opened {
    /// Whether nobody else may answer any more, or need not.
    fn is_begun(&self, upstream: &UpstreamLane) -> bool {
        let tap = &self.intake.tap;
        // What is never shown is not held without end.
        let is_full = self.held_bytes > upstream.answer_bytes_max;
        self.ended
            || tap.ended_well()
            || self.intake.works()
            || tap.first_content_seen() && (self.unseen.is_shown() || is_full)
    }

    /// Reads one piece of which the client will see nothing yet, until the first content is due and until the answer is.
    async fn read_on(
        &mut self,
        upstream: &UpstreamLane,
        [first_by, ends_at]: [Instant; 2],
    ) -> Result<(), Failure> {
        let thinks = self.intake.first_content_seen();
        let due = if thinks { ends_at } else { first_by };
        let by = due.min(Instant::now() + upstream.timeouts.idle);
        match timeout_at(by, self.body.frame()).await {
            Err(_) if by == due && thinks => {
                let message = "the upstream's stream took too long";
                self.ended_early(Failure::late("total_timeout", message))
            }
            Err(_) if by == due => {
                let message = "the upstream sent no content in time";
                Err(Failure::late("first_token_timeout", message))
            }
            Err(_) => {
                self.ended_early(Failure::late("idle_timeout", "the upstream's stream stalled"))
            }
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => {
                    self.held_bytes += data.len();
                    if self.held_bytes > upstream.answer_bytes_max && !thinks {
                        return Err(too_large());
                    }
                    let pushed = self.intake.push(data, &mut self.ready);
                    pushed.map_err(if thinks { Failure::upstream } else { Failure::in_stream })
                }
                Err(_) => Ok(()),
            },
            Ok(Some(Err(_))) => self.ended_early(cut_off()),
            Ok(None) => {
                self.ended = true;
                self.intake.finish(&mut self.ready).map_err(Failure::upstream)
            }
        }
    }

    /// Nothing more comes of it. An answer that is whole needs nothing more.
    fn ended_early(&mut self, failure: Failure) -> Result<(), Failure> {
        let tap = &self.intake.tap;
        if !tap.first_content_seen() || tap.finish_reason().is_none() {
            return Err(failure);
        }
        (self.ended, self.cut) = (true, true);
        self.intake.finish(&mut self.ready).map_err(|_| failure)
    }
}

/// The connection broke in the middle of an answer.
pub(crate) fn cut_off() -> Failure {
    Failure::broken("cut_off", "the upstream's answer broke off")
}

fn too_large() -> Failure {
    Failure::broken("answer_too_large", "the upstream's answer is too large")
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
