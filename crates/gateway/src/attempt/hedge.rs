//! A second attempt while the first is still silent: for answers that come whole, and where the use
//! case wants it.
//!
//! ```text
//!  first  ├──────────── silent ───────────┬───────────────── ✗ cancelled
//!  second                     hedge_after ├──────── answer ─▶ client
//! ```
//!
//! Both are attempts, each has a place of its own where the upstream's places are counted (so that none is begun while it is
//! full, or others wait), the second is taken out of the retry budget, and each is counted once by what it came to; the
//! one that was cancelled as `hedge_lost`. What that one had cost by then nobody says, so that the request's cost is
//! marked as a part.

use std::pin::pin;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cutover_route::health::State;
use cutover_telemetry::families;
use cutover_units::Millis;
use cutover_upstream::first_good;
use tokio::time::{Instant, timeout};

use super::course::{has_room_for_two, land};
use super::{Asking, Course, Landed, Started, count};
use crate::admission::{Permit, place_at};
use crate::exchange::{Exchange, micros};
use crate::live::{InstanceLane, Lane};
use crate::rescue::Failure;
use cutover_telemetry::marks::Mark;

type Answer = Result<Landed, Failure>;
type Ended = cutover_upstream::Ended<Landed, Failure, Permit>;

/// After which silence a second instance is asked, if it may be.
///
/// Not for streams (they show early that they are well), not where a request has an effect of its own
/// at the upstream, and not where an answer that is cancelled is lost and billed.
pub(crate) fn wanted(exchange: &Exchange, lane: &Lane) -> Option<Duration> {
    let after = exchange.endurance()?.hedge_after?;
    let may = !exchange.head.stream
        && lane.upstream.instances.len() > 1
        && lane.upstream.cancel_on_disconnect
        && has_room_for_two(exchange)
        && !exchange.head.has_effects(&exchange.body);
    may.then_some(after)
}

/// What came of it.
#[expect(clippy::large_enum_variant, reason = "made once for a request, and moved once")]
enum Heat {
    /// The second was not begun: the first was quick enough, or there was nobody, or no budget.
    Alone { ended: Ended, held_back: bool },
    /// Both ran. None: cancelled. With the place of the one that was good, or else of the last.
    Both {
        second: usize,
        answers: [Option<Answer>; 2],
        place: Option<Permit>,
        sent_at: [Instant; 2],
    },
}

/// One attempt, and a second one if the first stays silent.
pub(super) async fn race(
    exchange: &mut Exchange,
    course: &mut Course<'_>,
    (first, after): (usize, Duration),
) -> Result<Started, Failure> {
    let asking = course.begin(exchange, first)?;
    let sent_at = asking.sent_at();
    let place = exchange.admission.take_place();
    let heat = run(exchange, course, (asking, place, after)).await;
    exchange.trail.asking_since = None;
    exchange.trail.waited_us += micros(sent_at.elapsed()).0;
    match heat {
        Heat::Alone { ended: (answer, place), held_back } => {
            exchange.admission.permit = place;
            if held_back {
                exchange.trail.marks.add(Mark::HeldBack);
            }
            let result = answer.map(|answer| land(exchange, answer));
            course.settle(exchange, &result);
            result
        }
        Heat::Both { second, answers, place, sent_at } => {
            exchange.admission.permit = place;
            exchange.trail.attempts += u32::from(exchange.trail.hedge.swap(0, Relaxed) > 0);
            exchange.trail.marks.add(Mark::Hedged);
            judge_silent(exchange, course, ([first, second], sent_at, &answers));
            both(exchange, course, ([first, second], answers))
        }
    }
}

/// The client has left while both were under way: nobody is told of either.
pub(crate) fn abandoned(exchange: &mut Exchange) {
    let Some(second) = exchange.trail.hedge.load(Relaxed).checked_sub(1) else { return };
    exchange.trail.marks.add(Mark::Hedged);
    let Some((lane, ..)) = exchange.lane() else { return };
    exchange.count_beside(usize::try_from(second).unwrap_or(usize::MAX));
    let labels = [lane.upstream.name.as_str(), "neither"];
    exchange.shared.registry.counter(families::HEDGES, labels).inc();
}

async fn run(
    exchange: &Exchange,
    course: &mut Course<'_>,
    (asking, place, after): (Asking<'_>, Option<Permit>, Duration),
) -> Heat {
    let first_at = asking.sent_at();
    let mut one = pin!(at_its_place(exchange, asking, place));
    if let Ok(ended) = timeout(after, one.as_mut()).await {
        return Heat::Alone { ended, held_back: false };
    }
    let Some((second, instance)) = partner(exchange, course) else {
        return Heat::Alone { ended: one.await, held_back: false };
    };
    let upstream = &course.lane.upstream;
    let Ok(mut place) = place_at(exchange, upstream) else {
        course.give_back(second);
        return Heat::Alone { ended: one.await, held_back: false };
    };
    if !upstream.retry.withdraw(exchange.shared.now()) {
        let labels = [upstream.name.as_str(), "hedge"];
        exchange.shared.registry.counter(families::RETRIES_HELD_BACK, labels).inc();
        course.give_back(second);
        if let Some(place) = place {
            place.goes_unused();
        }
        return Heat::Alone { ended: one.await, held_back: true };
    }
    let seat = course.seat_at(instance);
    let asking = Asking::new((course.lane, instance, seat), course.outgoing, exchange);
    // Before it is sent: the client may go while both are under way.
    let noted = u32::try_from(second).unwrap_or(u32::MAX).saturating_add(1);
    exchange.trail.hedge.store(noted, Relaxed);
    if let Some(place) = &mut place {
        place.moves_to(instance);
    }
    let sent_at = [first_at, asking.sent_at()];
    let two = pin!(at_its_place(exchange, asking, place));
    let (answers, place) = first_good(one, two).await;
    Heat::Both { second, answers, place, sent_at }
}

/// One attempt; its place is given up with it where it is cancelled, once nobody is at the instance any more.
async fn at_its_place(exchange: &Exchange, asking: Asking<'_>, place: Option<Permit>) -> Ended {
    let answer = asking.whole(exchange).await;
    (answer, place)
}

/// Another instance that is well.
fn partner<'a>(exchange: &Exchange, course: &mut Course<'a>) -> Option<(usize, &'a InstanceLane)> {
    let at = course.pick(exchange)?;
    let instance = course.lane.upstream.instances.get(at)?;
    // One that has to read the model in would hardly be first, and may put another model out.
    let is_cold = !instance.health.has(course.lane.wanted(&exchange.head.model));
    let is_full = instance.health.state(exchange.shared.now()) >= State::Saturated;
    if !course.had_room || is_full || is_cold {
        course.give_back(at);
        return None;
    }
    Some((at, instance))
}

/// One that is cancelled because the other was good is a failure of its instance, if it was silent for far
/// longer than it should have been: else one that hangs would delay every request, and never rest.
fn judge_silent(
    exchange: &Exchange,
    course: &Course<'_>,
    (places, sent_at, answers): ([usize; 2], [Instant; 2], &[Option<Answer>; 2]),
) {
    let lost = match answers {
        [None, Some(Ok(_))] => 0,
        [Some(Ok(_)), None] => 1,
        _ => return,
    };
    let Some(instance) = course.lane.upstream.instances.get(places[lost]) else { return };
    if Asking::has_stalled(instance, sent_at[lost], sent_at[1 - lost].elapsed()) {
        let now = exchange.shared.now();
        let asked_at = now.0.saturating_sub(micros(sent_at[lost].elapsed()).0 / 1_000);
        instance.health.failed(Millis(asked_at), now);
    }
}

/// Counts each once, and lets the good one be the answer.
fn both(
    exchange: &mut Exchange,
    course: &mut Course<'_>,
    (places, answers): ([usize; 2], [Option<Answer>; 2]),
) -> Result<Started, Failure> {
    let upstream = &*course.lane.upstream;
    let (mut good, mut failure, mut winner) = (None, None, "neither");
    for ((at, name), answer) in places.into_iter().zip(["first", "second"]).zip(answers) {
        let lost = || {
            let instance = upstream.instances.get(at).map_or("", |lane| lane.id.as_str());
            count(&exchange.shared, [upstream.name.as_str(), instance, "hedge_lost"]);
        };
        match answer {
            Some(Ok(answer)) => (good, winner) = (Some((at, answer)), name),
            Some(Err(failed)) => {
                exchange.trail.tried = Some(course.tried_at(at));
                let failed: Result<(), Failure> = Err(failed);
                course.settle(exchange, &failed);
                failure = failed.err();
            }
            None => {
                lost();
                exchange.may_be_billed((course.lane, course.tried_at(at).leg.arm));
            }
        }
    }
    let labels = [upstream.name.as_str(), winner];
    exchange.shared.registry.counter(families::HEDGES, labels).inc();
    if let Some((at, answer)) = good {
        exchange.trail.tried = Some(course.tried_at(at));
        exchange.trail.failed = None;
        let started = Ok(land(exchange, answer));
        course.settle(exchange, &started);
        return started;
    }
    Err(failure.unwrap_or_else(|| Failure::broken("hedge", "neither attempt was answered")))
}
