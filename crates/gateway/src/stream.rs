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
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use cutover_telemetry::events;
use cutover_vendors::lost;
use cutover_wire::stream::pacing::{self, Pacer};
use tokio::time::{Instant, Sleep};
use tokio_util::task::TaskTracker;

use crate::answer;
use crate::attempt::{self, Opened, Started};
use crate::body::Aborted;
use crate::continuation::{self, Story};
use crate::exchange::Exchange;
use crate::flow::{self, Flow};
use crate::foreign::{EVENT_STREAM, Edge};
use crate::gateway::Shared;
use crate::live::UpstreamLane;
use crate::rescue::{self, Failure, NO_FORM};
use crate::responses;
use line::InLine;

mod line;
mod rest;

/// What keeps proxies and clients from giving up on a silent stream.
const KEEP_ALIVE: Bytes = Bytes::from_static(b": keep-alive\n\n");

/// How an answer begins, with the exchange it belongs to.
pub(crate) type Beginning = (Box<Exchange>, Result<Started, Failure>);

type Awaited = Pin<Box<dyn Future<Output = Beginning> + Send>>;

/// A stream's body. No `Debug`: it holds the answer.
pub(crate) struct Relay {
    phase: Phase,
    /// None while [`Phase::Waiting`] holds it.
    exchange: Option<Box<Exchange>>,
    ready: VecDeque<Bytes>,
    scratch: Vec<Bytes>,
    /// Where the answer is turned into the client's dialect; None: it is OpenAI's.
    edge: Option<Box<Edge>>,
    pacer: Option<Pacer>,
    /// What was said so far, while the answer could be continued elsewhere.
    story: Option<Box<Story>>,
    /// How it broke off, while somebody is asked for the rest.
    broke: Option<Failure>,
    held: responses::Held,
    began: Instant,
    sent_at: Instant,
    ping_interval: Duration,
    timer: Pin<Box<Sleep>>,
    /// Where an answer that is still awaited lives on when the client goes; None: it is given up.
    refuge: Option<TaskTracker>,
    /// Of a request that waits in line: not before it has a place.
    line: Option<Arc<InLine>>,
    shared: Arc<Shared>,
}

#[expect(clippy::large_enum_variant, reason = "a relay is boxed, and most are flowing")]
enum Phase {
    Waiting(Awaited),
    Flowing(Flow),
    Done,
}

impl Relay {
    /// Begins to ask for an answer, or to wait for a place at an upstream that is full.
    pub(crate) fn new(mut exchange: Box<Exchange>, full: Option<Arc<UpstreamLane>>) -> Self {
        let (started, started_at) = (exchange.started, exchange.started_at);
        let foreign = exchange.foreign.as_mut();
        let edge = foreign.and_then(|foreign| foreign.edge(started, started_at)).map(Box::new);
        exchange.trail.shown = edge.as_ref().map(|edge| edge.shown);
        let ping_interval = exchange.live.limits.ping_interval;
        let outlives = full.is_some() || !exchange.cancels_with_client();
        let refuge = outlives.then(|| exchange.shared.tasks.clone());
        let shared = Arc::clone(&exchange.shared);
        let now = Instant::now();
        let (line, awaited) = line::awaited(exchange, full);
        Self {
            phase: Phase::Waiting(awaited),
            exchange: None,
            ready: VecDeque::new(),
            scratch: Vec::new(),
            edge,
            pacer: None,
            story: None,
            broke: None,
            held: responses::Held::default(),
            began: now,
            sent_at: now,
            ping_interval,
            timer: Box::pin(tokio::time::sleep(ping_interval)),
            refuge,
            line,
            shared,
        }
    }

    /// The stream's content type.
    pub(crate) fn content_type(&self) -> &'static str {
        self.edge.as_ref().map_or(EVENT_STREAM, |edge| edge.content_type())
    }

    /// Awaits the answer's beginning for one ping interval. None: it takes longer, so the head must be
    /// sent first.
    pub(crate) async fn beginning(&mut self) -> Option<Beginning> {
        poll_fn(|context| {
            let Phase::Waiting(awaited) = &mut self.phase else { return Poll::Ready(None) };
            if let Poll::Ready(beginning) = awaited.as_mut().poll(context) {
                self.phase = Phase::Done;
                return Poll::Ready(Some(beginning));
            }
            ready!(self.timer.as_mut().poll(context));
            self.keep_alive();
            Poll::Ready(None)
        })
        .await
    }

    /// Begins to pass an answer on.
    pub(crate) fn begin(&mut self, mut exchange: Box<Exchange>, opened: Opened) {
        self.story = Story::of(&exchange);
        // Nothing is asked again from here on, and a stream may last: a large prompt need not.
        exchange.body = Bytes::new();
        exchange.headers = answer::apart(&exchange.headers);
        if let Some(foreign) = &mut exchange.foreign {
            foreign.own.take_if(|_| exchange.sample.is_none());
            foreign.chat.let_go();
        }
        exchange.trail.status = 200;
        let pace = exchange.chosen.use_case.and_then(|at| exchange.live.use_case(at)?.pace);
        self.pacer = pace.map(Pacer::new);
        if let Some((lane, _, _)) = exchange.lane() {
            let (flow, ready) = Flow::new(opened, &lane.upstream.timeouts);
            self.phase = Phase::Flowing(flow);
            self.scratch = ready;
        }
        if let (Some(edge), Some(sent)) = (&mut self.edge, exchange.sent()) {
            edge.was_sent(sent);
        }
        self.exchange = Some(exchange);
        self.take_scratch();
        self.stop_if_unturned();
    }

    /// A sign of life. Nothing, where the client's dialect has none.
    fn keep_alive(&mut self) {
        let mut pieces = vec![KEEP_ALIVE];
        if let Some(edge) = &mut self.edge {
            edge.turn(&mut pieces);
        }
        self.sent_at = Instant::now();
        self.ready.extend(pieces);
    }

    /// Hands out the next piece; None at the end.
    pub(crate) fn poll_next(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Aborted>>> {
        if self.shared.is_cut() {
            self.cut();
        }
        loop {
            ready!(self.held.poll(context));
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
                    if let Poll::Ready(beginning) = awaited.as_mut().poll(context) {
                        self.awaited(beginning);
                        continue;
                    }
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
        let pacer = self.pacer.as_mut()?;
        pacer.release(self.began.elapsed())
    }

    /// What the tap let through goes to the client, paced if the use case wants it.
    fn take_scratch(&mut self) {
        if let Some(exchange) = &mut self.exchange {
            self.scratch.iter().for_each(|piece| exchange.keep(piece));
        }
        if let Some(story) = &mut self.story
            && !self.scratch.iter().all(|piece| story.keep(piece))
        {
            self.story = None;
        }
        if let Some(edge) = &mut self.edge {
            if let Some(exchange) = &self.exchange {
                continuation::told_whole(exchange, &mut self.scratch);
            }
            let own = match &mut self.phase {
                Phase::Flowing(flow) => flow.intake.take_own(),
                _ => None,
            };
            if !own.is_some_and(|own| edge.pass(own, &mut self.scratch)) {
                edge.turn(&mut self.scratch);
            }
        }
        self.keep_stored();
        self.pass_scratch();
    }

    /// Before the client sees the end: it may go on from it at once.
    fn keep_stored(&mut self) {
        let stored = self.edge.as_mut().and_then(|edge| edge.take_stored());
        if let Some(exchange) = &self.exchange {
            self.held.keep(exchange, stored);
        }
    }

    fn pass_scratch(&mut self) {
        let lines = self.edge.as_ref().is_some_and(|edge| edge.is_lines());
        match &mut self.pacer {
            None => self.ready.extend(self.scratch.drain(..)),
            Some(pacer) => {
                let now = self.began.elapsed();
                for piece in self.scratch.drain(..) {
                    pacing::split(piece, lines).for_each(|event| pacer.hold(now, event));
                }
            }
        }
    }

    fn awaited(&mut self, (mut exchange, result): Beginning) {
        self.phase = Phase::Done;
        match (result, self.broke.take()) {
            (Ok(Started::Stream(opened)), Some(_)) => self.resume(exchange, *opened),
            (Err(_), Some(broke)) => {
                self.exchange = Some(exchange);
                self.let_out();
                self.fail(&broke.after_content(), true);
            }
            (Ok(Started::Stream(opened)), None) => self.begin(exchange, *opened),
            // A stream request is answered by a stream: `attempt` sees to it.
            (Ok(Started::Whole { .. }), _) => self.exchange = Some(exchange),
            (Err(failure), None) => {
                exchange.trail.status = 200;
                self.exchange = Some(exchange);
                self.fail(&failure, false);
            }
        }
    }

    fn stepped(&mut self, step: Result<bool, Failure>) {
        self.take_scratch();
        match step {
            Ok(false) => {
                self.shows_life();
                self.stop_if_unturned();
            }
            Ok(true) => {
                if let Some(edge) = &mut self.edge {
                    edge.finish(&mut self.scratch);
                    self.keep_stored();
                    self.pass_scratch();
                }
                self.stop_if_unturned();
                if let Some((flow, exchange)) = self.settle() {
                    flow.let_go(exchange);
                    if let Some((_, instance, _)) = exchange.lane() {
                        instance.health.succeeded();
                    }
                }
            }
            Err(failure) => {
                let began = self.settle().is_some_and(|(flow, _)| flow.intake.first_content_seen());
                if began && self.goes_on(&failure) {
                    return;
                }
                self.let_out();
                let failure = self.in_clients_words(failure);
                self.fail(&if began { failure.after_content() } else { failure }, began);
            }
        }
        self.note_if_last();
    }

    fn shows_life(&self) {
        let Phase::Flowing(flow) = &self.phase else { return };
        let Some(since) = flow.has_come_further() else { return };
        if let Some((_, instance, _)) = self.exchange.as_ref().and_then(|exchange| exchange.lane())
        {
            instance.health.goes_on(since);
        }
    }

    /// An answer that the client's dialect has no form for ends here: the client has its error.
    fn stop_if_unturned(&mut self) {
        let Some(code) = self.edge.as_ref().and_then(|edge| edge.failure()) else { return };
        let began = self.settle().is_some_and(|(flow, _)| flow.intake.first_content_seen());
        if let Some(exchange) = &mut self.exchange {
            exchange.count_last(Some(NO_FORM));
            exchange.trail.code = Some(code);
            exchange.trail.interrupted = began;
        }
    }

    /// The time that streams under way had to end at shutdown is over. The client is told: a connection
    /// that just ends looks like a network's failure.
    fn cut(&mut self) {
        match self.phase {
            Phase::Done => return,
            // Its exchange records itself when it is dropped.
            Phase::Waiting(_) => self.phase = Phase::Done,
            Phase::Flowing(_) => {}
        }
        let began = self.settle().is_some_and(|(flow, _)| flow.intake.first_content_seen());
        self.let_out();
        self.fail(&Failure::drained(), began);
        self.note_if_last();
    }

    /// Nothing is held back any more.
    fn let_out(&mut self) {
        if let Some(pacer) = &mut self.pacer {
            self.ready.extend(pacer.drain());
        }
    }

    /// Takes what the tap knows into the record, and gives the upstream's half out.
    fn settle(&mut self) -> Option<(Flow, &mut Exchange)> {
        let Phase::Flowing(flow) = std::mem::replace(&mut self.phase, Phase::Done) else {
            return None;
        };
        let exchange = self.exchange.as_deref_mut()?;
        flow.note(exchange);
        if let Some(edge) = &self.edge {
            lost::add(&mut exchange.trail.losses, edge.losses());
        }
        Some((flow, exchange))
    }

    /// What an upstream says of the request within its stream.
    fn in_clients_words(&self, failure: Failure) -> Failure {
        let Some(exchange) = &self.exchange else { return failure };
        Failure { fault: attempt::in_clients_words(exchange, failure.fault), ..failure }
    }

    fn fail(&mut self, failure: &Failure, interrupted: bool) {
        self.ready.extend(rescue::event(failure, self.edge.as_deref_mut()));
        let Some(exchange) = &mut self.exchange else { return };
        exchange.count_last(Some(failure.reason));
        exchange.trail.code = Some(failure.fault.code);
        exchange.trail.interrupted = interrupted;
        if !interrupted {
            return;
        }
        if failure.instance_at_fault {
            exchange.blame_instance();
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
                self.keep_alive();
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
            due = due.min(flow.due());
        }
        due
    }

    /// What a deadline that has passed makes of the stream.
    fn overdue(&mut self, now: Instant) -> Option<Result<bool, Failure>> {
        let Phase::Flowing(flow) = &mut self.phase else { return None };
        flow.overdue(now, &mut self.scratch)
    }
}

impl Drop for Relay {
    /// The client has gone in the middle, or the end was reached. Dropping the upstream's half cancels
    /// it; one that must not be cut off is read to its end in the background.
    fn drop(&mut self) {
        match std::mem::replace(&mut self.phase, Phase::Done) {
            Phase::Done => {}
            Phase::Waiting(awaited) => {
                let stays = self.line.as_ref().is_none_or(|line| line.outlives());
                if let Some(tasks) = self.refuge.take().filter(|_| stays) {
                    flow::spawn(&tasks, line::outlive(awaited));
                }
            }
            Phase::Flowing(flow) => {
                let Some(mut exchange) = self.exchange.take() else { return };
                let cancels =
                    exchange.lane().is_none_or(|(lane, _, _)| lane.upstream.cancel_on_disconnect);
                if cancels {
                    flow.note(&mut exchange);
                    // Before its place is given to another.
                    drop(flow);
                } else {
                    flow.outlive(exchange);
                }
            }
        }
    }
}
