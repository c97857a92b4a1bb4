//! Requests of the candidate's that the baseline takes because the candidate's upstream is full, and what
//! that costs.
//!
//! Which requests may go is [`cutover_route::overflow::spill`]'s to say; here it is done: the legs are
//! replaced by the baseline's, money is set aside before and corrected after, and the request is marked in
//! its record, its answer's head and the metrics. It keeps the arm it was assigned to: what chance said
//! is not undone by a queue. Its outcome counts in no comparison.
//!
//! A use case's [`Purse`] belongs to it by name and is carried over when the configuration is read again;
//! after a restart it is filled from the day's records. Its lock is taken by requests that overflow only.

use std::sync::Arc;
use std::time::Duration;

use cutover_config::Overflow;
use cutover_ledger::{Cost, Tokens};
use cutover_route::Leg;
use cutover_route::overflow::{Excess, Purse, Why, spill};
use cutover_telemetry::families;
use cutover_units::{Arm, NanoUsd};

use crate::admission::{Full, class, place_at};
use crate::attempt::hedge;
use crate::exchange::Exchange;
use crate::live::UpstreamLane;

/// A use case's overflow.
#[derive(Debug, Clone)]
pub struct OverflowLane {
    /// What of its excess goes to the baseline.
    pub rules: Overflow,
    /// What it may cost.
    pub purse: Arc<Purse>,
}

/// Books what a request that overflowed cost at the baseline, which others may have helped out: what was told, its
/// estimate where it may be billed and nobody told, and nothing for what surely is not. `last`: the cost of the
/// part that ended.
pub(crate) fn settle(exchange: &mut Exchange, last: Option<Cost>) -> Option<NanoUsd> {
    let mut bill = exchange.admission.bill.take()?;
    let trail = &exchange.trail;
    // One that failed before its first content and may be billed was told of then.
    let began = trail.failed.is_none() || trail.chunks > 0;
    let by_baseline = trail.tried.is_some_and(|tried| tried.leg.arm == Arm::Baseline) && began;
    let last = last.filter(|_| by_baseline);
    if by_baseline && last.is_none() {
        bill.doubt();
    }
    let first = trail.before.filter(|before| before.arm == Arm::Baseline);
    let told = first.and_then(|before| before.cost).into_iter().chain(last);
    let told = told.fold(0_u64, |sum, cost| sum.saturating_add(cost.amount.0));
    bill.settle(exchange.shared.now(), NanoUsd(told))
}

/// What going to the baseline would take.
struct Way<'a> {
    leg: Leg,
    lane: &'a OverflowLane,
    /// None: nobody knows, and nobody needs to.
    price: Option<NanoUsd>,
}

fn way(exchange: &Exchange) -> Option<Way<'_>> {
    let at = exchange.chosen.use_case?;
    let lane = exchange.live.use_case(at)?.overflow.as_ref()?;
    let excess = Excess {
        use_case: Some(at),
        arm: exchange.chosen.arm,
        local_only: exchange.chosen.local_only,
        class: class(exchange),
    };
    let leg = spill(&exchange.live.snapshot, excess, lane.rules.batch).ok()?;
    let baseline = exchange.live.lane(leg.variant)?;
    let full = exchange.live.lane(exchange.chosen.legs.first()?.variant)?;
    // One that cannot answer is no way out: waiting is better than an error. Nor is the one that is full.
    let is_full = baseline.upstream.name == full.upstream.name;
    if is_full || !baseline.upstream.can_serve(exchange.shared.now()) {
        return None;
    }
    let own = exchange.foreign.as_ref().and_then(|foreign| foreign.own.as_ref());
    let sent = exchange.body.len().max(own.map_or(0, |own| own.body.len()));
    let (prompt, completion) = baseline.target.most_tokens(&exchange.head, sent);
    let tokens = Tokens { prompt, cached: 0, completion };
    let price = baseline.price.cost(&exchange.head.model, tokens, exchange.started_at);
    if price.is_none() && !baseline.upstream.own && !lane.rules.unpriced {
        return None;
    }
    // Both may be billed.
    let times = if hedge::wanted(exchange, baseline).is_some() { 2 } else { 1 };
    let price = price.map(|cost| NanoUsd(cost.amount.0.saturating_mul(times)));
    Some(Way { leg, lane, price })
}

/// Whether the baseline may be asked and would answer in time, as far as is known.
pub(crate) fn is_in_time(exchange: &Exchange) -> bool {
    let lane = way(exchange).and_then(|way| exchange.live.lane(way.leg.variant));
    lane.is_some_and(|lane| exchange.has_time_for(&lane.upstream))
}

/// How much of its deadline a request may wait and still be answered by the baseline: what that usually takes is left,
/// and half of all that there is.
pub(crate) fn spare(exchange: &Exchange) -> Duration {
    let Some(left) = exchange.left() else { return Duration::MAX };
    let lane = way(exchange).and_then(|way| exchange.live.lane(way.leg.variant));
    let (stream, now) = (exchange.head.stream, exchange.shared.now());
    let usual_us = lane.map_or(0, |lane| lane.upstream.usual_us(stream, now));
    left.saturating_sub(Duration::from_micros(usual_us)).min(left / 2)
}

/// How long a request waits at an upstream before it may go to the baseline. None: it may not.
pub(crate) fn offered(exchange: &Exchange, upstream: &UpstreamLane) -> Option<Duration> {
    let Way { leg, lane, price } = way(exchange)?;
    let (now, budget) = (exchange.shared.now(), lane.rules.budget_per_day);
    let is_there = exchange.live.lane(leg.variant)?.upstream.name == upstream.name;
    let may = !is_there && lane.purse.has(now, price.unwrap_or_default(), budget);
    may.then_some(lane.rules.wait)
}

/// Sends a request to the baseline instead. False: the money is spent meanwhile, or there is a line before the
/// baseline, too.
pub(crate) fn go(exchange: &mut Exchange, why: Why) -> bool {
    let Some(Way { leg, lane, price }) = way(exchange) else { return false };
    let (now, budget) = (exchange.shared.now(), lane.rules.budget_per_day);
    let Some(there) = exchange.live.lane(leg.variant).map(|lane| &lane.upstream) else {
        return false;
    };
    let permit = match place_at(exchange, there) {
        Ok(permit) => permit,
        Err(Full) if there.door.as_ref().is_some_and(|door| door.rules.is_some()) => return false,
        Err(Full) => None,
    };
    let Some(bill) = lane.purse.open(now, price, budget) else { return false };
    exchange.admission.permit = permit;
    exchange.admission.bill = Some(bill);
    exchange.admission.overflow = Some(why);
    // Behind it those that it had: if the baseline fails, its own engine serves it late, and not nobody.
    exchange.chosen.legs.retain(|known| known.variant != leg.variant);
    exchange.chosen.legs.insert(0, leg);
    if let Some(use_case) =
        exchange.chosen.use_case.and_then(|at| exchange.live.snapshot.use_case(at))
    {
        let labels = [use_case.name.as_str(), why.as_str()];
        exchange.shared.registry.counter(families::OVERFLOW, labels).inc();
    }
    true
}
