//! One leg under way: which of its instances is next, whether another attempt may be made, and what
//! each came to.

use std::sync::Arc;
use std::time::Duration;

use cutover_route::Leg;
use cutover_route::balance::{Draw, Seat, Taken};
use cutover_route::health::State;
use cutover_route::retry::{backoff_ms, wait_ms};
use cutover_telemetry::{events, families};
use cutover_units::{Code, Millis};
use cutover_upstream::SendErrorKind;
use cutover_vendors::lost;
use cutover_wire::Fault;
use cutover_wire::adapt::Outgoing;

use super::{
    ATTEMPTS_MAX, Asking, Landed, Opened, Started, Uncounted, attempt_failed, hedge, taken_over,
};
use crate::admission;
use crate::exchange::{Exchange, Tried, micros};
use crate::gateway::Shared;
use crate::live::{InstanceLane, Lane, UpstreamLane};
use crate::rescue::Failure;
use crate::{affinity, context_guard, overflow};
use cutover_telemetry::marks::Mark;

/// Instances tried for one leg, at most: a second one helps against a dead instance; a third would
/// mostly repeat what is wrong with the upstream as a whole.
const INSTANCES_PER_LEG_MAX: u32 = 2;

/// What follows a failed attempt, within its leg.
pub(super) enum Next {
    /// Another instance, at once: what is wrong with the first need not be wrong with it.
    Another,
    /// The same upstream, after this wait.
    Again(Duration),
    /// Nothing.
    End,
}

/// One leg under way.
pub(crate) struct Course<'a> {
    pub(super) lane: &'a Lane,
    pub(super) outgoing: &'a Outgoing,
    leg: Leg,
    /// A bit for each instance that was tried.
    tried: u64,
    /// A bit for each that refused what another may take, and when the last of them was asked.
    doubted: (u64, Millis),
    /// Whether the leg's first attempt was made.
    begun: bool,
    /// How often it was begun again.
    again: u32,
    /// When an instance was picked last. What is asked at once is asked then.
    picked_at: Millis,
    /// The seat at that instance, until it is asked.
    seat: Option<Seat>,
    /// Whether there was room for it.
    pub(super) had_room: bool,
}

impl<'a> Course<'a> {
    pub(crate) fn new(lane: &'a Lane, leg: Leg, outgoing: &'a Outgoing) -> Self {
        let picked_at = Millis(0);
        let (seat, had_room) = (None, false);
        let (tried, doubted, begun, again) = (0, (0, picked_at), false, 0);
        Self { lane, outgoing, leg, tried, doubted, begun, again, picked_at, seat, had_room }
    }

    /// Goes on after those with these bits were asked.
    pub(super) fn after_those(mut self, tried: u64) -> Self {
        (self.tried, self.begun) = (tried, tried != 0);
        self
    }

    /// Where nobody else that it knows of its upstream can serve, the bits of those that were asked, as they lie in the
    /// picture with those that came meanwhile.
    pub(super) fn looks_beyond(&self, exchange: &mut Exchange) -> Option<u64> {
        let has_fit = self.fittest(exchange).is_some_and(State::can_serve);
        let may = self.tried.count_ones() < INSTANCES_PER_LEG_MAX && !has_fit;
        if may { exchange.looks_beyond(self.leg, self.tried) } else { None }
    }

    /// How the fittest of the instances is that take requests and were not tried.
    fn fittest(&self, exchange: &Exchange) -> Option<State> {
        let passed_over = self.tried | exchange.trail.too_small;
        let now = exchange.shared.now();
        let all = self.lane.upstream.taking();
        let others = all.filter(|(at, _)| passed_over & (1 << (*at).min(63)) == 0);
        others.map(|(_, one)| one.state(now)).min()
    }

    /// Whether there are instances that were not tried, and none of them is expected to answer.
    pub(super) fn spares(&self, exchange: &Exchange) -> bool {
        self.fittest(exchange).is_some_and(|state| !state.can_serve())
    }

    /// Passes an instance over.
    pub(crate) fn without(mut self, instance: usize) -> Self {
        self.tried |= 1 << instance.min(63);
        self
    }

    /// The fittest instance that was not tried yet, of those whose context is long enough.
    pub(crate) fn pick(&mut self, exchange: &Exchange) -> Option<usize> {
        let upstream = &self.lane.upstream;
        let now = exchange.shared.now();
        self.picked_at = now;
        let passed_over = self.tried | exchange.trail.too_small;
        let keys = upstream.taking().map(|(at, one)| (at, one.key));
        let lacking = upstream.lacking.of(self.model(exchange), keys, (passed_over, now));
        let tried = passed_over | lacking;
        let draw = Draw { tried, ..affinity::draw(exchange, upstream) };
        let Taken { at, seat, had_room } = self.lane.take(&exchange.head.model, &draw, now)?;
        (self.seat, self.had_room) = (Some(seat), had_room);
        self.tried |= 1 << at.min(63);
        Some(at)
    }

    /// The model that its upstream is asked for.
    fn model<'e>(&'e self, exchange: &'e Exchange) -> &'e str {
        self.lane.target.model.as_deref().unwrap_or(&exchange.head.model)
    }

    /// It was picked, and then not asked.
    pub(super) fn give_back(&mut self, instance: usize) {
        self.tried &= !(1 << instance.min(63));
        self.seat = None;
    }

    /// The seat that was taken with the pick of this instance.
    pub(super) fn seat_at(&mut self, instance: &InstanceLane) -> Seat {
        let post = instance.instance.live().post();
        let seat = self.seat.take().filter(|seat| Arc::ptr_eq(seat.post(), post));
        seat.unwrap_or_else(|| post.sit())
    }

    /// One attempt; two at once, if the first is silent for long and the use case wants it.
    pub(super) async fn attempt(
        &mut self,
        exchange: &mut Exchange,
        at: usize,
    ) -> Result<Started, Failure> {
        if !self.begun {
            self.begun = true;
            self.lane.upstream.retry.deposit(self.picked_at);
            if let Some(after) = hedge::wanted(exchange, self.lane) {
                // Boxed, as few requests are hedged, and all would carry the room for it.
                return Box::pin(hedge::race(exchange, self, (at, after))).await;
            }
        }
        let asking = self.begin(exchange, at)?;
        let sent_at = asking.sent_at();
        let result = if exchange.head.stream {
            asking.open(exchange).await.map(|opened| Started::Stream(Box::new(opened)))
        } else {
            asking.whole(exchange).await.map(|answer| land(exchange, answer))
        };
        exchange.trail.asking_since = None;
        exchange.trail.waited_us += micros(sent_at.elapsed()).0;
        if let Ok(Started::Stream(opened)) = &result
            && exchange.trail.first_token.is_none()
            && opened.intake.first_content_seen()
        {
            exchange.trail.first_token = Some(exchange.elapsed());
        }
        self.settle(exchange, &result);
        result
    }

    /// Notes that an instance is asked now.
    pub(crate) fn begin(
        &mut self,
        exchange: &mut Exchange,
        at: usize,
    ) -> Result<Asking<'a>, Failure> {
        if exchange.is_late() {
            return Err(Failure::past_deadline());
        }
        let (lane, outgoing) = (self.lane, self.outgoing);
        let Some(instance) = lane.upstream.instances.get(at) else {
            return Err(Failure::client(Fault::new(Code::Internal, "there is no such instance")));
        };
        let mut seat = self.seat_at(instance);
        seat.begins(self.picked_at);
        let asking = Asking::new((lane, instance, seat), outgoing, exchange);
        taken_over(exchange, instance);
        instance.health.asked(self.picked_at);
        exchange.admission.kept = false;
        exchange.trail.attempts += 1;
        exchange.trail.uncounted = Uncounted::Asked;
        exchange.trail.tried = Some(self.tried_at(at));
        exchange.trail.asking_since = Some(asking.sent_at());
        exchange.show(&lane.upstream, instance);
        Ok(asking)
    }

    pub(super) fn tried_at(&self, instance: usize) -> Tried {
        Tried { leg: self.leg, instance, asked_at: self.picked_at }
    }

    /// Notes what the last attempt came to: at its instance, in the metrics and in the log.
    pub(crate) fn settle<T: Lands>(
        &mut self,
        exchange: &mut Exchange,
        result: &Result<T, Failure>,
    ) {
        let Some(tried) = exchange.trail.tried else { return };
        let Some(instance) = self.lane.upstream.instances.get(tried.instance) else { return };
        exchange.trail.uncounted = Uncounted::Nothing;
        match result {
            Ok(started) => {
                // Whether a stream succeeds is known at its end.
                if started.is_whole() {
                    instance.metrics.succeeded.inc();
                    instance.health.succeeded();
                } else {
                    exchange.trail.uncounted = Uncounted::Begun;
                }
                if self.doubted.0 != 0 {
                    self.blame_doubted(exchange.shared.now());
                }
            }
            Err(failure) => {
                if failure.status == Some(404) {
                    let now = exchange.shared.now();
                    self.lane.upstream.lacking.note(self.model(exchange), instance.key, now);
                } else if failure.is_refusal() {
                    self.doubted.0 |= 1 << tried.instance.min(63);
                    self.doubted.1 = tried.asked_at;
                }
                let took_ms = exchange.shared.now().0.saturating_sub(tried.asked_at.0);
                if failure.is_full() || failure.is_limited() {
                    instance.health.took_to_refuse(took_ms);
                }
                judge(&exchange.shared, (instance, tried.asked_at), failure);
                if failure.given_up {
                    exchange.may_be_billed((self.lane, self.leg.arm));
                }
                attempt_failed(exchange, failure);
                exchange.trail.failed = Some(failure.reason);
            }
        }
    }

    /// What these refused another has taken, so that they are to blame, and neither the request nor the
    /// configuration. Where all refuse it nobody is, and nobody rests.
    fn blame_doubted(&mut self, now: Millis) {
        let (doubted, asked_at) = std::mem::take(&mut self.doubted);
        let instances = self.lane.upstream.instances.iter().take(64).enumerate();
        for (_, instance) in instances.filter(|(at, _)| doubted & (1 << at) != 0) {
            instance.health.failed(asked_at, now);
        }
    }

    /// Whether an instance of the leg's may take longer prompts than the one that has just refused this one.
    /// From now on such alone are picked.
    pub(super) fn has_larger(&self, exchange: &mut Exchange, failure: &Failure) -> bool {
        let is_too_long = failure.fault.code == Code::ContextLengthExceeded;
        let Some(tried) = exchange.trail.tried.filter(|_| is_too_long) else { return false };
        let model = &exchange.head.model;
        let smaller = context_guard::no_larger_than(tried.instance, self.lane, model);
        exchange.trail.too_small |= smaller.unwrap_or_default();
        smaller.is_some()
    }

    /// Whether its upstream is asked again after such a failure, if nobody else can be asked.
    pub(super) fn asks_again(&self, exchange: &Exchange, failure: &Failure) -> bool {
        admission::lines_up_again(exchange, &self.lane.upstream, failure)
            || self.again < self.lane.upstream.retry.again && failure.fault.code.row().retry
    }

    /// What follows a failed attempt that another may mend. An instance that is not expected to answer is asked where
    /// nobody else can be: neither the next arm nor, once more, one that can serve.
    pub(super) fn after(
        &mut self,
        exchange: &mut Exchange,
        failure: &Failure,
        is_last: bool,
    ) -> Next {
        let next = self.next(exchange, failure, is_last);
        exchange.admission.kept = false;
        if is_last || !matches!(next, Next::End) {
            return next;
        }
        // Where the next arm costs money that is not there nobody is behind it, nor where it is known to fail.
        let waits = admission::lines_up_again(exchange, &self.lane.upstream, failure)
            && overflow::would_rather_wait(exchange, self.leg, failure);
        exchange.admission.kept = waits || !overflow::goes_on(exchange, self.leg, failure);
        if exchange.admission.kept { self.next(exchange, failure, true) } else { next }
    }

    fn next(&mut self, exchange: &mut Exchange, failure: &Failure, is_last: bool) -> Next {
        let upstream = &self.lane.upstream;
        // One that has room is no repetition of those that have none. Who stands behind the leg is asked in the end.
        let is_free = is_last || exchange.attempts() + 1 < ATTEMPTS_MAX;
        let has_room = |state: State| is_free && failure.is_excess() && state < State::Saturated;
        let may_be =
            |state: &State| self.tried.count_ones() < INSTANCES_PER_LEG_MAX || has_room(*state);
        let other = self.fittest(exchange).filter(may_be);
        let is_fit = other.is_some_and(State::can_serve);
        // What the next arm may mend at once is not waited for here.
        let lines_up = admission::lines_up_again(exchange, upstream, failure);
        let waits = is_last && !is_fit && self.asks_again(exchange, failure);
        let can_serve = || upstream.can_serve(exchange.shared.now());
        let may_wait = waits && (lines_up || other.is_none() || can_serve());
        let wait = if may_wait { self.wait(exchange, failure, lines_up) } else { None };
        // Who was refused as one too many fares no better where nobody is expected to answer.
        let is_excess = exchange.admission.kept && failure.is_excess();
        let at_once = is_fit || is_last && other.is_some() && wait.is_none() && !is_excess;
        let is_free = lines_up && wait.is_some();
        if !(at_once || wait.is_some()) || !is_free && !may(exchange, upstream, "retry") {
            return Next::End;
        }
        let Some(wait) = wait else { return Next::Another };
        self.again += u32::from(!lines_up);
        self.tried = 0;
        Next::Again(Duration::from_millis(wait))
    }

    /// How long is waited before the same upstream is asked again; None: longer than anybody waits. Who lines up waits
    /// there for what was told.
    fn wait(&self, exchange: &Exchange, failure: &Failure, lines_up: bool) -> Option<u64> {
        let backoff = backoff_ms(self.again + 1, exchange.id.seed());
        let left = exchange.left().map(|left| micros(left).0 / 1_000);
        let told = failure.retry_after_ms.map(u64::from).filter(|_| !lines_up);
        wait_ms(backoff, told, left)
    }
}

/// Whether the upstream may be asked once more, as far as its budget goes. Told where it may not.
pub(crate) fn may(exchange: &mut Exchange, upstream: &UpstreamLane, kind: &'static str) -> bool {
    let may = upstream.retry.withdraw(exchange.shared.now());
    if !may {
        exchange.trail.marks.add(Mark::HeldBack);
        let labels = [upstream.name.as_str(), kind];
        exchange.shared.registry.counter(families::RETRIES_HELD_BACK, labels).inc();
    }
    may
}

/// Whether two may run at once, as far as attempts go.
pub(super) fn has_room_for_two(exchange: &Exchange) -> bool {
    exchange.attempts() + 2 <= ATTEMPTS_MAX
}

/// Notes at an instance what a failure says of it, whatever kind of request it was, which was asked then.
pub(crate) fn judge(
    shared: &Shared,
    (instance, asked_at): (&InstanceLane, Millis),
    failure: &Failure,
) {
    let now = shared.now();
    // Not asked while another can be: until the time that it names, or else for a moment.
    if failure.is_full() || failure.is_limited() {
        let (health, usual_us) = (&instance.health, instance.instance.live().usual_us());
        let wait_ms = failure.retry_after_ms.map(u64::from);
        if let Some(wait_ms) = wait_ms.filter(|wait_ms| *wait_ms > 1_000 && !failure.is_full()) {
            health.was_limited(now, wait_ms);
        }
        health.was_full((now, usual_us), wait_ms);
        // It tells its probes that it serves nobody (it reads its model in), or has long said nothing but no: that is no
        // full house.
        let is_lifeless = failure.is_full() && health.is_lifeless(usual_us, now);
        if is_lifeless || health.judged().state == State::Down {
            health.failed(asked_at, now);
        }
    } else if failure.is_refusal() {
        // What another says to the same tells whose fault it is. Until then it draws no others for it.
        instance.health.draws_less();
    } else if failure.reason == SendErrorKind::TooManyConnections.as_str() {
        limit_hit(shared);
    } else if failure.instance_at_fault {
        instance.health.failed(asked_at, now);
    } else if failure.status.is_some() {
        // It has answered, if only to say no.
        instance.health.refused();
    }
}

/// An upstream has no connection left for a request.
pub(super) fn limit_hit(shared: &Shared) {
    let at = shared.now();
    events::LimitHit { limit: "upstreams.max_connections", at }.emit(&shared.registry);
}

/// What an attempt brings.
pub(crate) trait Lands {
    /// Whether it is there to its end.
    fn is_whole(&self) -> bool;
}

impl Lands for Started {
    fn is_whole(&self) -> bool {
        matches!(self, Self::Whole { .. })
    }
}

impl Lands for Opened {
    fn is_whole(&self) -> bool {
        false
    }
}

impl Lands for () {
    fn is_whole(&self) -> bool {
        true
    }
}

/// A whole answer is the request's.
pub(super) fn land(exchange: &mut Exchange, landed: Landed) -> Started {
    let Landed { reply, turned, headers } = landed;
    exchange.trail.usage = reply.usage;
    exchange.trail.finish = reply.finish;
    if reply.prompt_truncated {
        exchange.note_truncated_prompt();
    }
    let lossy = turned.as_ref().map_or(&[][..], |turned| &turned.answer.losses);
    lost::add(&mut exchange.trail.losses, &[&reply.losses, lossy].concat());
    Started::Whole { body: reply.body, own: reply.own, turned, headers }
}
