//! The line before an upstream that is full.
//!
//! ```text
//! decided ─▶ enter ── room ──────────────────────────▶ attempt
//!              │ full                                     ▲
//!              └─▶ turn ─ waits its turn ─ a place ───────┤
//!                    │ a wait ran out, or no place to wait │
//!                    ├─ may it go elsewhere? overflow ─────┘ (at the baseline)
//!                    └─ 503 with an honest retry-after
//! ```
//!
//! An upstream has such a [`Door`] only where the configuration asks for it: with a `queue` of its own, or as
//! the candidate's upstream of a use case that overflows. Without one a request pays a look at an `Option`;
//! with one that is not full, a few atomics. The lock belongs to those that wait.
//!
//! - Who may enter holds a [`Permit`] until its exchange ends or another upstream takes over. Giving one
//!   back calls the next in line. Since an upstream also gets room when a probe says so, those that wait
//!   look themselves now and then.
//! - A client that leaves drops its future, and with it its seat in the line, or the permit that was on
//!   its way to it.
//! - Whose turn comes when its deadline leaves less than the time that an answer usually takes passes it on to
//!   those behind it: its answer would be thrown away, and theirs may be in time. Where nobody is, half that time
//!   will do.
//! - While all instances rest the line waits: one that has rested is tried with one request. Who may go on to the next
//!   arm instead does so, and waits there if that is full. Nobody waits for a rest that surely lasts longer than the
//!   wait: see [`UpstreamLane::rests_until`].
//! - A leg that follows a failed one enters without asking: a failover must not wait twice. One that pauses before its
//!   upstream is asked again has no place meanwhile, and may wait for one afterwards: see [`pause`].

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::{Acquire, Relaxed};
use std::time::Duration;

use cutover_route::balance::key_of;
use cutover_route::overflow::{self, Bill, Bounds, Class, FULL, Fill, Rules, Stage, Why};
use cutover_route::queue::{Place, Ticket};
use cutover_store::Key;
use cutover_telemetry::families;
use cutover_units::{Code, Micros, Millis, UpstreamName};
use cutover_upstream::figures;
use cutover_wire::Fault;
use http::HeaderMap;
use tokio::sync::oneshot::{self, error::TryRecvError};
use tokio::time::{Instant, timeout_at};

use crate::attempt;
use crate::exchange::{Exchange, micros};
use crate::gateway::Shared;
use crate::live::{InstanceLane, UpstreamLane};
use crate::overflow::{go, is_in_time, offered, spare};
use crate::rescue::{Failure, ms};

mod again;
mod permit;

pub(crate) use again::{lines_up_again, pause};
pub(crate) use permit::Permit;

/// How often a request that waits looks itself whether there is room: for what no answer's end tells, such
/// as a probe that finds an engine's own queue empty.
const LOOK: Duration = Duration::from_millis(100);

/// The way into an upstream.
#[derive(Debug, Clone)]
pub struct Door {
    /// From where on its instances are full.
    pub bounds: Bounds,
    /// How requests wait; None: they do not.
    pub rules: Option<Rules>,
    /// Who is inside and who waits; carried over by the upstream's name.
    pub held: Arc<Held>,
}

/// Who is inside an upstream, and who waits.
#[derive(Debug, Default)]
pub struct Held(overflow::Held<oneshot::Sender<Permit>>);

/// What of its way in belongs to a request.
#[derive(Default)]
pub(crate) struct Admission {
    /// How urgent it is, by its header and its key.
    pub(crate) class: Class,
    pub(crate) permit: Option<Permit>,
    /// How long it waited in line.
    pub(crate) queued: Option<Micros>,
    /// Since when it waits there, and for whom.
    waits: Option<(Instant, UpstreamName)>,
    /// How long it waited for one of its instance's connections; two attempts may run at once.
    pub(crate) connection_us: AtomicU64,
    /// Why it went to the baseline.
    pub(crate) overflow: Option<Why>,
    /// What that costs.
    pub(crate) bill: Option<Bill>,
    /// Whether what its engine refused last may not go on to the next arm.
    pub(crate) kept: bool,
}

impl Admission {
    pub(crate) fn of(headers: &HeaderMap, caller: Option<&Key>) -> Self {
        let is_batch = caller.is_some_and(|key| key.batch);
        let by_key = if is_batch { Class::Batch } else { Class::Interactive };
        Self { class: cutover_ingress::class(headers, by_key), ..Self::default() }
    }

    /// The request is sent to an upstream's instance: a place at another upstream is free again.
    pub(crate) fn sent_to(&mut self, upstream: &UpstreamLane, instance: &InstanceLane) {
        // Of the same name: who calls the next one in may read another picture.
        let here = |permit: &&mut Permit| permit.upstream.name == upstream.name;
        match self.permit.as_mut().filter(here) {
            Some(permit) => permit.moves_to(instance),
            None => self.permit = None,
        }
    }

    /// How long it waited for a place, in line or for a connection; None: it did not.
    pub(crate) fn waited(&self) -> Option<Micros> {
        let connection_us = self.connection_us.load(Relaxed);
        let queued = self.queued.or((connection_us > 0).then_some(Micros(0)))?;
        Some(Micros(queued.0.saturating_add(connection_us)))
    }

    /// The request's place at its upstream, to be given back when it is free.
    pub(crate) fn take_place(&mut self) -> Option<Permit> {
        self.permit.take()
    }
}

/// Takes a place without waiting. Else names the upstream whose turn must be awaited.
pub(crate) fn enter(exchange: &mut Exchange) -> Option<Arc<UpstreamLane>> {
    let upstream = attempt::first_asked(exchange)?;
    match place_at(exchange, &upstream) {
        Ok(permit) => exchange.admission.permit = permit,
        Err(Full) => return Some(upstream),
    }
    None
}

/// There is no room, or others wait.
pub(crate) struct Full;

/// A place at an upstream, if there is room for one more and nobody waits; nothing where nobody has to ask.
pub(crate) fn place_at(
    exchange: &Exchange,
    upstream: &Arc<UpstreamLane>,
) -> Result<Option<Permit>, Full> {
    let Some(door) = &upstream.door else { return Ok(None) };
    let admits = door.admits(upstream, exchange.shared.now());
    let permit = || Permit::counted(upstream, &exchange.shared).of(class(exchange));
    admits.then(|| Some(permit())).ok_or(Full)
}

/// Whether who comes to an upstream now has to wait in line there.
pub(crate) fn has_line(upstream: &UpstreamLane, now: Millis) -> bool {
    let Some(door) = upstream.door.as_ref().filter(|door| door.rules.is_some()) else {
        return false;
    };
    let held = &door.held.0;
    let fullness = overflow::fullness(&door.fill(upstream, now), held.admitted.load(Relaxed));
    held.waiting() > 0 || fullness.is_some_and(|fullness| fullness >= FULL)
}

/// Awaits a place at a full upstream, or another way: first where it is asked, then where it goes instead.
pub(crate) async fn turn(
    exchange: &mut Exchange,
    upstream: Arc<UpstreamLane>,
) -> Result<(), Failure> {
    let mut full = Some(upstream);
    while let Some(upstream) = full {
        full = turn_at(exchange, upstream).await?;
    }
    Ok(())
}

/// Awaits one upstream's. Names another one whose turn must be awaited instead.
async fn turn_at(
    exchange: &mut Exchange,
    upstream: Arc<UpstreamLane>,
) -> Result<Option<Arc<UpstreamLane>>, Failure> {
    let Some(door) = &upstream.door else { return Ok(None) };
    let offer = offered(exchange, &upstream);
    let at_once = |wait| door.sends_on_at_once(exchange, &upstream, wait);
    if offer.is_some_and(at_once) && go(exchange, Why::Full) {
        door.held.0.spilled();
        count(exchange, &upstream, "overflowed");
        return Ok(None);
    }
    let Some(rules) = door.rules else {
        exchange.admission.permit = Some(door.crowded(exchange, &upstream));
        return Ok(None);
    };
    let longest = exchange.left().map_or(rules.wait, |left| left.min(rules.wait));
    let limit = offer.map_or(longest, |wait| wait.min(longest).min(spare(exchange)));
    let began = Instant::now();
    exchange.admission.waits = Some((began, upstream.name.clone()));
    let (mut waited, mut went, mut too_late) = (Err(Why::QueueFull), false, false);
    let mut has_rested = false;
    if let Some(mut seat) = Seat::take(exchange, &upstream, rules.length) {
        waited = seat.called(exchange, began + limit).await;
        // The money may have been spent by others meanwhile: then it keeps its seat.
        let may_go = offer.is_some() && !exchange.is_late();
        let why = waited.as_ref().err().filter(|why| may_go && **why != Why::PassedOver);
        went = why.is_some_and(|why| go(exchange, *why));
        if limit < longest && !went && matches!(waited, Err(Why::Waited)) {
            waited = seat.called(exchange, began + longest).await;
        }
        (seat.left, has_rested) = (false, seat.rests);
        if !is_worth_a_place(exchange, &upstream)
            && let Ok(permit) = waited
        {
            permit.pass_on(place(exchange));
            (waited, too_late) = (Err(Why::Waited), true);
            went = offer.is_some() && is_in_time(exchange) && go(exchange, Why::Waited);
        }
    } else if offer.is_some() {
        went = go(exchange, Why::QueueFull);
    }
    exchange.waits_no_more();
    let is_out = waited.as_ref().is_ok_and(|permit| permit.upstream.taking().next().is_none());
    if is_out
        && attempt::first_asked(exchange).is_some_and(|first| first.name != upstream.name)
        && let Ok(permit) = std::mem::replace(&mut waited, Err(Why::PassedOver))
    {
        permit.goes_unused();
    }
    if matches!(waited, Err(Why::PassedOver)) {
        count(exchange, &upstream, "passed_over");
        return Ok(enter(exchange));
    }
    if let Ok(permit) = waited {
        exchange.look_again(&permit.upstream);
        exchange.admission.permit = Some(permit.of(class(exchange)));
        // Where all were taken out meanwhile nobody is there to serve it.
        count(exchange, &upstream, if is_out { "refused" } else { "admitted" });
        return Ok(None);
    }
    if went {
        door.held.0.spilled();
        count(exchange, &upstream, "overflowed");
        return Ok(None);
    }
    count(exchange, &upstream, "refused");
    Err(refused(exchange, (&upstream, door), (too_late, has_rested)))
}

impl Exchange {
    /// Its wait in line is over, if it waited: it has a place, goes elsewhere, or its client has left.
    pub(crate) fn waits_no_more(&mut self) {
        let Some((began, upstream)) = self.admission.waits.take() else { return };
        let queued = micros(began.elapsed());
        let before = self.admission.queued.map_or(0, |before| before.0);
        self.admission.queued = Some(Micros(before.saturating_add(queued.0)));
        self.trail.waited_us += queued.0;
        let registry = &self.shared.registry;
        registry.histogram(families::QUEUE_WAIT, [upstream.as_str()]).observe(queued);
    }
}

/// A place in the line, given up when the request's future is dropped.
struct Seat {
    upstream: Arc<UpstreamLane>,
    shared: Arc<Shared>,
    ticket: Ticket,
    called: oneshot::Receiver<Permit>,
    /// Whether its client has left, if it is dropped now.
    left: bool,
    /// Whether no instance could serve when it looked last.
    rests: bool,
    /// Whether its leg is under way, and no other is asked instead.
    here_only: bool,
}

impl Seat {
    /// None: so many wait already.
    fn take(exchange: &Exchange, upstream: &Arc<UpstreamLane>, length: usize) -> Option<Self> {
        let (sender, called) = oneshot::channel();
        let ticket = upstream.door.as_ref()?.held.0.sit(place(exchange), sender, length)?;
        let (upstream, shared) = (Arc::clone(upstream), Arc::clone(&exchange.shared));
        let seat =
            Self { upstream, shared, ticket, called, left: true, rests: false, here_only: false };
        seat.show();
        // Room may have come between the look and the seat.
        call_next(&seat.upstream, &seat.shared);
        Some(seat)
    }

    /// Waits until there is a place, so long at most, and as long as nobody else is to be asked instead.
    async fn called(&mut self, exchange: &mut Exchange, until: Instant) -> Result<Permit, Why> {
        let mut until = self.look(until);
        loop {
            let look = (Instant::now() + LOOK).min(until);
            match timeout_at(look, &mut self.called).await {
                // Or: who has more right to the place took it.
                Ok(called) => return called.map_err(|_| Why::QueueFull),
                // A place that came at the last moment counts.
                Err(_) if Instant::now() >= until => {
                    return self.called.try_recv().map_err(|why| match why {
                        TryRecvError::Empty => Why::Waited,
                        TryRecvError::Closed => Why::QueueFull,
                    });
                }
                Err(_) => {
                    call_next(&self.upstream, &self.shared);
                    until = self.look(until);
                    if self.here_only {
                        continue;
                    }
                    let live = self.shared.live();
                    exchange.look_again(live.present(&self.upstream).unwrap_or(&self.upstream));
                    drop(live);
                    let first = attempt::first_asked(exchange);
                    let others = first.is_some_and(|first| first.name != self.upstream.name);
                    if self.rests && others {
                        return Err(Why::PassedOver);
                    }
                }
            }
        }
    }

    /// Looks whether an instance can serve, and until when to wait: no longer where all surely rest beyond this.
    fn look(&mut self, until: Instant) -> Instant {
        let (at, now) = (Instant::now(), self.shared.now());
        let live = self.shared.live();
        let upstream = live.present(&self.upstream).unwrap_or(&self.upstream);
        let rests = !upstream.can_serve(now);
        let left_us = micros(until.saturating_duration_since(at)).0;
        let is_longer = |rested: Millis| rested.0.saturating_sub(now.0) > left_us.div_ceil(1_000);
        let in_vain = upstream.rests_until(now).is_some_and(is_longer);
        drop(live);
        self.rests = rests;
        if in_vain { until.min(at) } else { until }
    }

    fn show(&self) {
        let Some(door) = &self.upstream.door else { return };
        let labels = [self.upstream.name.as_str()];
        let gauge = self.shared.registry.gauge(families::QUEUE_WAITING, labels);
        gauge.follow(|| door.held.0.waiting());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(door) = &self.upstream.door else { return };
        door.held.0.leave(self.ticket);
        self.show();
        if self.left {
            let labels = [self.upstream.name.as_str(), "left"];
            self.shared.registry.counter(families::QUEUE_REQUESTS, labels).inc();
        }
    }
}

/// Whose turn it is as often as another's, and what it costs of its share.
fn place(exchange: &Exchange) -> Place {
    let chosen = &exchange.chosen;
    let key = match &exchange.key_name {
        Some(name) => key_of(name.as_bytes()),
        // Without keys the units that are known share fairly, and all others are one of them.
        None if chosen.unit_is_known => chosen.unit_hash,
        None => 0,
    };
    let cost = u32::try_from(exchange.head.est_prompt_tokens).unwrap_or(u32::MAX);
    Place { class: class(exchange), key, cost }
}

/// How urgent a request is: the least urgent of what its use case, its key and its header say.
pub(crate) fn class(exchange: &Exchange) -> Class {
    let lane = exchange.chosen.use_case.and_then(|at| exchange.live.use_case(at));
    lane.map_or(Class::Interactive, |lane| lane.class).max(exchange.admission.class)
}

/// Lets those in for whom there is room: at the upstream as it is now. Where nobody waits any more, all of them.
fn call_next(upstream: &Arc<UpstreamLane>, shared: &Arc<Shared>) {
    let Some(Door { held, .. }) = &upstream.door else { return };
    let (held, live) = (&held.0, shared.live());
    let upstream = live.present(upstream).unwrap_or(upstream);
    let door = upstream.door.as_ref().filter(|door| door.rules.is_some());
    while held.waiting() > 0 {
        let before = held.admitted.fetch_add(1, Acquire);
        let fullness =
            door.and_then(|door| overflow::fullness(&door.fill(upstream, shared.now()), before));
        let has_room = fullness.is_none_or(|fullness| fullness < FULL);
        let Some(next) = has_room.then(|| held.call()).flatten() else {
            held.admitted.fetch_sub(1, Relaxed);
            return;
        };
        if let Err(mut permit) = next.send(Permit::counted(upstream, shared)) {
            // Its client has left at this very moment.
            permit.unused = true;
        }
    }
}

/// Whether a request is likely to be answered before its deadline. In a line from which each is called just before its
/// own deadline nobody would be served: who waits behind it has more time left.
fn is_worth_a_place(exchange: &Exchange, upstream: &UpstreamLane) -> bool {
    let usual = exchange.usual(exchange.arm_at(upstream));
    let others_wait = upstream.door.as_ref().is_some_and(|door| door.held.0.waiting() > 0);
    exchange.has_time(if others_wait { usual } else { usual / 2 })
}

fn count(exchange: &Exchange, upstream: &UpstreamLane, outcome: &'static str) {
    let labels = [upstream.name.as_str(), outcome];
    exchange.shared.registry.counter(families::QUEUE_REQUESTS, labels).inc();
}

/// What who got no place at an upstream is told, and after how long to come back.
fn refused(
    exchange: &Exchange,
    (upstream, door): (&Arc<UpstreamLane>, &Door),
    (too_late, has_rested): (bool, bool),
) -> Failure {
    let (now, live) = (exchange.shared.now(), exchange.shared.live());
    let upstream = live.present(upstream).unwrap_or(upstream);
    let retry_after_ms = Some(door.come_back_ms(exchange, upstream));
    let failure = if too_late || exchange.is_late() {
        Failure::past_deadline()
    } else if upstream.can_serve(now) && !has_rested {
        full(exchange)
    } else {
        Failure::of_resting()
    };
    Failure { retry_after_ms, ..failure }
}

/// The answer to who waited in vain, or could not even wait.
fn full(exchange: &Exchange) -> Failure {
    let message = match exchange.admission.queued {
        Some(Micros(0..1_000)) | None => "no instance has room, and too many requests wait already",
        Some(_) => "no instance had room in time",
    };
    let fault = Fault::new(Code::Overloaded, message);
    Failure { reason: "queue_full", ..Failure::client(fault) }
}

impl Door {
    fn fill(&self, upstream: &UpstreamLane, now: Millis) -> Fill {
        let all = upstream.instances.iter();
        let figures = all.map(|lane| figures(lane.instance.live(), &lane.health, now));
        overflow::fill(figures, &self.bounds)
    }

    /// Whether who may go elsewhere does so at once.
    fn sends_on_at_once(&self, who: &Exchange, upstream: &UpstreamLane, wait: Duration) -> bool {
        let fill = || self.fill(upstream, who.shared.now());
        self.rules.is_none() || self.held.0.goes_at_once(class(who), &fill(), wait)
    }

    /// A place beyond those that there are: what an engine has no room for waits inside it, as without any of this.
    fn crowded(&self, exchange: &Exchange, upstream: &Arc<UpstreamLane>) -> Permit {
        self.held.0.admitted.fetch_add(1, Relaxed);
        Permit::counted(upstream, &exchange.shared).of(class(exchange))
    }

    /// After how long it is worth coming back.
    fn come_back_ms(&self, exchange: &Exchange, upstream: &UpstreamLane) -> u32 {
        let now = exchange.shared.now();
        let line_ms = self.held.0.retry_after_ms(self.fill(upstream, now).places);
        let rest_ms = upstream.rests_until(now).map_or(0, |until| until.0.saturating_sub(now.0));
        ms(line_ms.max(rest_ms))
    }

    /// Counts one more request if there is room for it and nobody waits.
    fn admits(&self, upstream: &UpstreamLane, now: Millis) -> bool {
        let held = &self.held.0;
        let before = held.admitted.fetch_add(1, Acquire);
        let fullness = overflow::fullness(&self.fill(upstream, now), before);
        let (stage, waiting) = (held.stage(), held.waiting());
        let next = stage.step(fullness, waiting);
        if next != stage {
            held.goes_to(next);
        }
        if next != Stage::Room {
            held.admitted.fetch_sub(1, Relaxed);
        }
        next == Stage::Room
    }
}
