//! Streams on their way to the client.
//!
//! ```text
//!            answer begins             terminal event sent
//!  Waiting ───────────────▶ Flowing ───────────────────────▶ Done
//!     │ every attempt failed    │ broke off, stalled, garbled   ▲
//!     └─────────────────────────┴──── error event ──────────────┘
//! ```
//!
//! `Waiting` is entered only when a prefill is so long that the head had to be sent first: the client
//! then gets comments (`: keep-alive`), which every SSE parser skips, and a failed attempt can still be
//! repeated elsewhere unseen. Events are passed on as the slices they came in; only whole events, so a
//! comment never lands inside one.
//!
//! Invariants: after an error event nothing follows, least of all `[DONE]`; dropping a [`Relay`] drops
//! the upstream's body, which cancels the upstream, unless its configuration says otherwise.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use cutover_telemetry::{InFlight, events};
use cutover_upstream::Body;
use cutover_wire::stream::Tap;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::time::{Instant, Sleep};

use crate::attempt::{Opened, Started, cut_off};
use crate::body::Aborted;
use crate::exchange::{Exchange, micros};
use crate::pacing::{self, Pacer};
use crate::rescue::{self, Failure};

/// What keeps proxies and clients from giving up on a silent stream.
const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// An answer that is still awaited, with the exchange it belongs to.
pub(crate) type Awaited =
    Pin<Box<dyn Future<Output = (Box<Exchange>, Result<Started, Failure>)> + Send>>;

/// A stream's body.
pub(crate) struct Relay {
    phase: Phase,
    /// None while [`Phase::Waiting`] holds it.
    exchange: Option<Box<Exchange>>,
    ready: VecDeque<Bytes>,
    scratch: Vec<Bytes>,
    pacer: Option<Pacer>,
    began: Instant,
    sent_at: Instant,
    ping_interval: Duration,
    timer: Pin<Box<Sleep>>,
}

#[expect(clippy::large_enum_variant, reason = "a relay is boxed, and most are flowing")]
enum Phase {
    Waiting(Awaited),
    Flowing(Flow),
    Done,
}

struct Flow {
    body: Body,
    tap: Tap,
    began: Instant,
    read_at: Instant,
    ends_at: Instant,
    idle: Duration,
    ended: bool,
    _in_flight: InFlight,
}

impl std::fmt::Debug for Relay {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self.phase {
            Phase::Waiting(_) => "Relay(waiting)",
            Phase::Flowing(_) => "Relay(flowing)",
            Phase::Done => "Relay(done)",
        })
    }
}

impl Relay {
    /// A stream that has begun.
    pub(crate) fn flowing(exchange: Box<Exchange>, opened: Box<Opened>) -> Self {
        let mut relay = Self::new(exchange.live.limits.ping_interval);
        relay.begin(exchange, opened);
        relay
    }

    /// A stream that is still awaited.
    pub(crate) fn waiting(awaited: Awaited, ping_interval: Duration) -> Self {
        let mut relay = Self::new(ping_interval);
        relay.phase = Phase::Waiting(awaited);
        // The client has just waited one interval for the head.
        relay.ready.push_back(KEEP_ALIVE);
        relay
    }

    fn new(ping_interval: Duration) -> Self {
        let now = Instant::now();
        Self {
            phase: Phase::Done,
            exchange: None,
            ready: VecDeque::new(),
            scratch: Vec::new(),
            pacer: None,
            began: now,
            sent_at: now,
            ping_interval,
            timer: Box::pin(tokio::time::sleep(ping_interval)),
        }
    }

    fn begin(&mut self, mut exchange: Box<Exchange>, opened: Box<Opened>) {
        let Some((lane, _, _)) = exchange.lane() else { return };
        let timeouts = lane.upstream.timeouts;
        let pace = exchange.chosen.use_case.and_then(|at| exchange.live.use_case(at)?.pace);
        self.pacer = pace.map(Pacer::new);
        let now = Instant::now();
        let flow = Flow {
            body: opened.body,
            tap: opened.tap,
            began: now,
            read_at: now,
            ends_at: opened.sent_at + timeouts.total,
            idle: timeouts.idle,
            ended: opened.ended,
            _in_flight: opened.in_flight,
        };
        self.scratch = opened.ready;
        exchange.trail.status = 200;
        self.exchange = Some(exchange);
        self.phase = Phase::Flowing(flow);
        self.take_scratch();
    }

    /// Hands out the next piece; None at the end.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Aborted>>> {
        loop {
            if let Some(piece) = self.next_ready() {
                self.sent_at = Instant::now();
                self.note_if_last();
                return Poll::Ready(Some(Ok(piece)));
            }
            let held = self.pacer.as_ref().is_some_and(|pacer| !pacer.is_empty());
            match &mut self.phase {
                Phase::Done if held => {}
                Phase::Done => return Poll::Ready(None),
                Phase::Waiting(awaited) => {
                    if let Poll::Ready((exchange, result)) = awaited.as_mut().poll(context) {
                        self.awaited(exchange, result);
                        continue;
                    }
                }
                Phase::Flowing(flow) if self.pacer.as_ref().is_some_and(Pacer::is_full) => {
                    flow.read_at = Instant::now();
                }
                Phase::Flowing(flow) => {
                    if let Poll::Ready(step) = flow.poll(context, &mut self.scratch) {
                        self.stepped(step);
                        continue;
                    }
                }
            }
            if !self.timer_fired(context) {
                return Poll::Pending;
            }
        }
    }

    fn next_ready(&mut self) -> Option<Bytes> {
        if let Some(piece) = self.ready.pop_front() {
            return Some(piece);
        }
        let now = self.began.elapsed();
        self.pacer.as_mut()?.release(now)
    }

    /// What the tap let through goes to the client, paced if the use case wants it.
    fn take_scratch(&mut self) {
        match &mut self.pacer {
            None => self.ready.extend(self.scratch.drain(..)),
            Some(pacer) => {
                let now = self.began.elapsed();
                for piece in self.scratch.drain(..) {
                    pacing::events(piece).for_each(|event| pacer.hold(now, event));
                }
            }
        }
    }

    fn awaited(&mut self, mut exchange: Box<Exchange>, result: Result<Started, Failure>) {
        match result {
            Ok(Started::Stream(opened)) => self.begin(exchange, opened),
            // A stream request is answered by a stream: `attempt` sees to it.
            Ok(Started::Whole { .. }) => self.exchange = Some(exchange),
            Err(failure) => {
                exchange.trail.status = 200;
                self.exchange = Some(exchange);
                self.phase = Phase::Done;
                self.fail(&failure, false);
            }
        }
    }

    fn stepped(&mut self, step: Result<bool, Failure>) {
        self.take_scratch();
        match step {
            Ok(false) => {}
            Ok(true) => {
                self.settle();
            }
            Err(failure) => {
                let began = self.settle();
                if let Some(pacer) = &mut self.pacer {
                    let rest: Vec<_> = pacer.drain().collect();
                    self.ready.extend(rest);
                }
                self.fail(&failure, began);
            }
        }
        self.note_if_last();
    }

    /// Takes what the tap knows and lets the upstream go. Says whether content had been seen.
    fn settle(&mut self) -> bool {
        let Phase::Flowing(flow) = std::mem::replace(&mut self.phase, Phase::Done) else {
            return false;
        };
        let seen = flow.tap.first_content_seen();
        if let Some(exchange) = &mut self.exchange {
            flow.note(exchange);
        }
        seen
    }

    fn fail(&mut self, failure: &Failure, interrupted: bool) {
        self.ready.push_back(rescue::event(failure));
        let Some(exchange) = &mut self.exchange else { return };
        exchange.trail.code = Some(failure.fault.code);
        exchange.trail.interrupted = interrupted;
        if !interrupted {
            return;
        }
        if failure.instance_at_fault
            && let Some((_, instance, _)) = exchange.lane()
        {
            instance.instance.live().failed();
        }
        let at = exchange.shared.now();
        events::StreamInterrupted {
            served: exchange.served(),
            reason: failure.reason,
            chunks_sent: exchange.trail.chunks,
            total: exchange.elapsed(),
            at,
        }
        .emit(&exchange.shared.registry);
    }

    /// Once the last piece has been handed out the request is answered, even if the client closes
    /// the connection before it reads the end of the body, as SDKs do after `[DONE]`.
    fn note_if_last(&mut self) {
        let held = self.pacer.as_ref().is_some_and(|pacer| !pacer.is_empty());
        let last = matches!(self.phase, Phase::Done) && self.ready.is_empty() && !held;
        if last && let Some(exchange) = &mut self.exchange {
            exchange.trail.answered = true;
        }
    }

    /// Whether the timer brought something to do; arms it anew.
    fn timer_fired(&mut self, context: &mut Context<'_>) -> bool {
        loop {
            let due = self.next_due();
            // A deadline that moved further away is looked at when the timer fires anyway.
            if due < self.timer.deadline() {
                self.timer.as_mut().reset(due);
            }
            if self.timer.as_mut().poll(context).is_pending() {
                return false;
            }
            let now = Instant::now();
            if due > now {
                self.timer.as_mut().reset(due);
                continue;
            }
            let paced = self.pacer.as_ref().and_then(Pacer::due);
            if paced.is_some_and(|at| self.began + at <= now) {
                return true;
            }
            if let Some(step) = self.overdue(now) {
                self.stepped(step);
                return true;
            }
            if now >= self.sent_at + self.ping_interval {
                self.ready.push_back(KEEP_ALIVE);
                return true;
            }
        }
    }

    fn next_due(&self) -> Instant {
        let mut due = self.sent_at + self.ping_interval;
        if let Some(paced) = self.pacer.as_ref().and_then(Pacer::due) {
            due = due.min(self.began + paced);
        }
        if let Phase::Flowing(flow) = &self.phase {
            due = due.min(flow.ends_at);
            if !self.is_full() {
                due = due.min(flow.read_at + flow.idle);
            }
        }
        due
    }

    /// Whether so much is held that the upstream is not read for now: its silence is then ours.
    fn is_full(&self) -> bool {
        self.pacer.as_ref().is_some_and(Pacer::is_full)
    }

    /// What a deadline that has passed makes of the stream.
    fn overdue(&mut self, now: Instant) -> Option<Result<bool, Failure>> {
        let full = self.is_full();
        let Phase::Flowing(flow) = &mut self.phase else { return None };
        if !full && now >= flow.read_at + flow.idle {
            if flow.tap.finish_reason().is_none() {
                let message = "the upstream's stream stalled";
                return Some(Err(Failure::late("idle_timeout", message)));
            }
            // The answer is whole; only the terminal event is missing, and that we can write.
            let finished = flow.tap.finish(&mut self.scratch);
            return Some(finished.map(|()| true).map_err(Failure::upstream));
        }
        (now >= flow.ends_at)
            .then(|| Err(Failure::late("total_timeout", "the upstream's stream took too long")))
    }
}

impl Flow {
    /// Reads one piece into `out`. True: the stream is complete.
    fn poll(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Vec<Bytes>,
    ) -> Poll<Result<bool, Failure>> {
        if self.ended || self.tap.ended_well() {
            return Poll::Ready(Ok(true));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.read_at = Instant::now();
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => self
                    .tap
                    .push(data, out)
                    .map(|()| self.tap.ended_well())
                    .map_err(Failure::upstream),
                Err(_) => Ok(false),
            },
            Some(Err(_)) => Err(cut_off()),
            None => self.tap.finish(out).map(|()| true).map_err(Failure::upstream),
        })
    }

    fn note(&self, exchange: &mut Exchange) {
        let trail = &mut exchange.trail;
        trail.usage = self.tap.usage();
        trail.finish = self.tap.finish_reason();
        trail.prompt_truncated = self.tap.prompt_truncated();
        trail.chunks = self.tap.content_chunks();
        trail.upstream_us += micros(self.began.elapsed()).0;
    }
}

impl Drop for Relay {
    /// The client has gone in the middle, or the end was reached. What the tap knows so far goes into
    /// the record; an upstream that must not be cut off is read to its end in the background.
    fn drop(&mut self) {
        let Phase::Flowing(flow) = std::mem::replace(&mut self.phase, Phase::Done) else { return };
        let Some(exchange) = &mut self.exchange else { return };
        flow.note(exchange);
        let cancel = exchange.lane().is_none_or(|(lane, _, _)| lane.upstream.cancel_on_disconnect);
        if !cancel {
            exchange.shared.tasks.spawn(drain(flow));
        }
    }
}

async fn drain(mut flow: Flow) {
    let reading = async { while let Some(Ok(_)) = flow.body.frame().await {} };
    let _ = tokio::time::timeout_at(flow.ends_at, reading).await;
}
