//! The upstream's half of a stream: its body, what the tap has seen, its deadlines; and what goes on
//! in the background when the client's half has ended first.
//!
//! Background reading is bounded in time and tracked, so that a shutdown waits for it.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use cutover_relay::Intake;
use cutover_telemetry::InFlight;
use cutover_upstream::{Body, Timeouts};
use cutover_vendors::lost;
use cutover_wire::{Loss, LossAction};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_util::task::TaskTracker;

use crate::attempt::{Opened, cut_off};
use crate::exchange::{Exchange, micros};
use crate::rescue::Failure;

/// How long the end of a body is awaited after its last event. Servers write the two apart, often
/// within the same millisecond; whoever does not wait for it loses the connection, and the next
/// request pays for a new one and its TLS handshake.
pub(crate) const END_WITHIN: Duration = Duration::from_millis(500);

/// A stream that flows from an upstream.
pub(crate) struct Flow {
    body: Body,
    pub(crate) intake: Intake,
    began: Instant,
    read_at: Instant,
    ends_at: Instant,
    idle: Duration,
    /// How far the answer had come, and when it got there.
    progress: (u64, Instant),
    /// So long may it come no further: as long as its first content may take, as that may be as much work.
    pause: Duration,
    ended: bool,
    /// Whether it broke off once its answer was whole.
    cut: bool,
    _in_flight: InFlight,
}

impl Flow {
    /// What was opened, and the pieces that are ready for the client.
    pub(crate) fn new(opened: Opened, timeouts: &Timeouts) -> (Self, Vec<Bytes>) {
        let now = Instant::now();
        let progress = (opened.intake.progress(), now);
        let flow = Self {
            body: opened.body,
            intake: opened.intake,
            began: now,
            read_at: now,
            ends_at: opened.sent_at + timeouts.total,
            idle: timeouts.idle,
            progress,
            pause: timeouts.idle.max(timeouts.first_token),
            ended: opened.ended,
            cut: opened.cut,
            _in_flight: opened.in_flight,
        };
        (flow, opened.ready)
    }

    /// Reads one piece into `out`. True: the stream is complete.
    pub(crate) fn poll(
        &mut self,
        context: &mut Context<'_>,
        out: &mut Vec<Bytes>,
    ) -> Poll<Result<bool, Failure>> {
        if self.ended || self.intake.tap.ended_well() {
            return Poll::Ready(Ok(true));
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        self.read_at = Instant::now();
        Poll::Ready(match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    let pushed = self.intake.push(data, out);
                    let progress = self.intake.progress();
                    if progress != self.progress.0 {
                        self.progress = (progress, self.read_at);
                    }
                    pushed.map(|()| self.intake.tap.ended_well()).map_err(Failure::upstream)
                }
                Err(_) => Ok(false),
            },
            Some(Err(_)) => self.ended_early(cut_off(), out),
            None => self.intake.finish(out).map(|()| true).map_err(Failure::upstream),
        })
    }

    /// When it began, if the answer has just come further: pings and comments are none of it.
    pub(crate) fn has_come_further(&self) -> Option<Instant> {
        (self.progress.1 == self.read_at).then_some(self.began)
    }

    /// When the next of its deadlines is.
    pub(crate) fn due(&self) -> Instant {
        let (_, came_at) = self.progress;
        self.ends_at.min(self.read_at + self.idle).min(came_at + self.pause)
    }

    /// What a deadline that has passed makes of it.
    pub(crate) fn overdue(
        &mut self,
        now: Instant,
        out: &mut Vec<Bytes>,
    ) -> Option<Result<bool, Failure>> {
        let (_, came_at) = self.progress;
        let late = if now >= self.read_at + self.idle {
            Failure::late("idle_timeout", "the upstream's stream stalled")
        } else if now >= self.ends_at {
            Failure::late("total_timeout", "the upstream's stream took too long")
        } else if now >= came_at + self.pause {
            let message = "the upstream's stream stalled: it gave signs of life, and no content";
            Failure::late("idle_timeout", message)
        } else {
            return None;
        };
        Some(self.ended_early(late, out))
    }

    /// Nothing more comes of it. If its answer is whole only the terminal event is missing, and that we can write.
    pub(crate) fn ended_early(
        &mut self,
        failure: Failure,
        out: &mut Vec<Bytes>,
    ) -> Result<bool, Failure> {
        if self.intake.tap.finish_reason().is_none() {
            return Err(failure);
        }
        self.cut = true;
        self.intake.finish(out).map(|()| true).map_err(|_| failure)
    }

    /// Puts what the tap knows into the request's trail.
    pub(crate) fn note(&self, exchange: &mut Exchange) {
        let trail = &mut exchange.trail;
        let (told, chunks) = (self.intake.tap.usage(), self.intake.tap.content_chunks());
        let usage = told.or_else(|| self.intake.usage_so_far());
        // It broke off or was left, perhaps between its end and what it took.
        let is_cut = self.cut || self.intake.tap.was_cut() || !self.intake.tap.ended_well();
        let is_part = self.intake.tap.finish_reason().is_none() || usage.is_none() && is_cut;
        trail.usage = trail.before.map_or(usage, |before| Some(before.and(usage)));
        trail.finish = self.intake.tap.finish_reason();
        trail.chunks = chunks + trail.before.map_or(0, |before| before.chunks);
        trail.waited_us += micros(self.began.elapsed()).0;
        if is_part {
            exchange.mark_part_of_cost();
        }
        let trail = &mut exchange.trail;
        lost::add(&mut trail.losses, self.intake.losses());
        if self.intake.tap.numbered_calls() {
            trail.losses.push(numbered());
        }
        if self.intake.tap.prompt_truncated() {
            exchange.note_truncated_prompt();
        }
    }

    /// Lets go of a stream that is complete, so that its connection can be used again. The request's place at the
    /// upstream is free only then: who is called in sooner finds its instance taken still, and goes to another.
    pub(crate) fn let_go(self, exchange: &mut Exchange) {
        let place = exchange.admission.take_place();
        let mut body = self.body;
        let mut nobody = Context::from_waker(Waker::noop());
        let ended = body.is_end_stream()
            || matches!(Pin::new(&mut body).poll_frame(&mut nobody), Poll::Ready(None));
        if ended {
            drop(body);
            drop(place);
            return;
        }
        spawn(&exchange.shared.tasks, async move {
            let reading = async { while let Some(Ok(_)) = body.frame().await {} };
            let _ = timeout(END_WITHIN, reading).await;
            drop(body);
            drop(place);
        });
    }

    /// Reads the stream to its end for an upstream that must not be cut off, and records what it
    /// took: it is billed all the same.
    pub(crate) fn outlive(mut self, mut exchange: Box<Exchange>) {
        let (tasks, ends_at) = (exchange.shared.tasks.clone(), self.ends_at);
        spawn(&tasks, async move {
            let mut unread = Vec::new();
            let reading = async {
                while let Ok(false) = poll_fn(|context| self.poll(context, &mut unread)).await {
                    unread.clear();
                    drop(self.intake.take_own());
                }
            };
            let _ = timeout_at(ends_at, reading).await;
            self.note(&mut exchange);
            self.let_go(&mut exchange);
        });
    }
}

/// Told in the record: the head of the answer has gone by then.
fn numbered() -> Loss {
    Loss {
        field: "tool_calls[].index".to_owned(),
        action: LossAction::Approximated,
        why: "the upstream's calls came without an index of their own and were numbered",
    }
}

/// Spawns on the runtime if there is one still: a drop may come when it is shutting down.
pub(crate) fn spawn(tasks: &TaskTracker, task: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = Handle::try_current() {
        tasks.spawn_on(task, &runtime);
    }
}
