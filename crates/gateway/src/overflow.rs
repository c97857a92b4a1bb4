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
use cutover_route::overflow::{Bill, Excess, Purse, Stays, Why, spill};
use cutover_telemetry::families;
use cutover_units::{Arm, Millis, NanoUsd};

use crate::admission::{Full, class, has_line, place_at};
use crate::attempt::hedge;
use crate::exchange::Exchange;
use crate::live::{InstanceLane, Lane, UpstreamLane};
use crate::rescue::Failure;

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
    /// So many attempts at once that is for.
    attempts: u64,
}

impl Way<'_> {
    /// Whether there is money for it.
    fn is_payable(&self, now: Millis) -> bool {
        let budget = self.lane.rules.budget_per_day;
        self.lane.purse.has(now, self.price.unwrap_or_default(), budget)
    }

    /// Sets money aside, if there is enough.
    fn pay(&self, now: Millis) -> Option<Bill> {
        let bill = self.lane.purse.open(now, self.price, self.lane.rules.budget_per_day)?;
        Some(bill.over(self.attempts))
    }
}

/// Its use case's rules, and where they send it.
fn rules(exchange: &Exchange) -> Option<(&OverflowLane, Result<Leg, Stays>)> {
    let at = exchange.chosen.use_case?;
    let lane = exchange.live.use_case(at)?.overflow.as_ref()?;
    let excess = Excess {
        use_case: Some(at),
        arm: exchange.chosen.arm,
        local_only: exchange.chosen.local_only,
        class: class(exchange),
    };
    Some((lane, spill(&exchange.live.snapshot, excess, lane.rules.batch)))
}

fn way(exchange: &Exchange) -> Option<Way<'_>> {
    let way = any_way(exchange)?;
    let baseline = exchange.live.lane(way.leg.variant)?;
    let full = exchange.live.lane(exchange.chosen.legs.first()?.variant)?;
    // One that cannot answer is no way out: waiting is better than an error. Nor is the one that is full.
    let is_full = baseline.upstream.name == full.upstream.name;
    (!is_full && baseline.upstream.can_serve(exchange.shared.now())).then_some(way)
}

/// The same, however well the baseline is.
fn any_way(exchange: &Exchange) -> Option<Way<'_>> {
    let (lane, leg) = rules(exchange)?;
    let leg = leg.ok()?;
    let baseline = exchange.live.lane(leg.variant)?;
    let own = exchange.foreign.as_ref().and_then(|foreign| foreign.own.as_ref());
    let sent = exchange.body.len().max(own.map_or(0, |own| own.body.len()));
    let (prompt, completion) = baseline.target.most_tokens(&exchange.head, sent);
    let tokens = Tokens { prompt, cached: 0, completion };
    let price = baseline.price.cost(&exchange.head.model, tokens, exchange.started_at);
    if price.is_none() && !baseline.upstream.own && !lane.rules.unpriced {
        return None;
    }
    // Both may be billed.
    let attempts = if hedge::wanted(exchange, baseline).is_some() { 2 } else { 1 };
    let price = price.map(|cost| NanoUsd(cost.amount.0.saturating_mul(attempts)));
    Some(Way { leg, lane, price, attempts })
}

/// Whether the baseline may be asked and would answer in time, as far as is known.
pub(crate) fn is_in_time(exchange: &Exchange) -> bool {
    way(exchange).is_some_and(|way| exchange.has_time(exchange.usual(way.leg.arm) / 2))
}

/// How much of its deadline a request may wait and still be answered by the baseline: what that usually takes is left,
/// and half of all that there is.
pub(crate) fn spare(exchange: &Exchange) -> Duration {
    let Some(left) = exchange.left() else { return Duration::MAX };
    let usual = way(exchange).map_or(Duration::ZERO, |way| exchange.usual(way.leg.arm));
    left.saturating_sub(usual).min(left / 2)
}

/// How long a request waits at an upstream before it may go to the baseline. None: it may not.
pub(crate) fn offered(exchange: &Exchange, upstream: &UpstreamLane) -> Option<Duration> {
    let way = way(exchange)?;
    let is_there = exchange.live.lane(way.leg.variant)?.upstream.name == upstream.name;
    (!is_there && way.is_payable(exchange.shared.now())).then_some(way.lane.rules.wait)
}

/// Sends a request to the baseline instead. False: the money is spent meanwhile, or there is a line before the
/// baseline, too.
pub(crate) fn go(exchange: &mut Exchange, why: Why) -> bool {
    let Some(way) = way(exchange) else { return false };
    let leg = way.leg;
    let Some(there) = exchange.live.lane(leg.variant).map(|lane| &lane.upstream) else {
        return false;
    };
    let permit = match place_at(exchange, there) {
        Ok(permit) => permit,
        Err(Full) if there.door.as_ref().is_some_and(|door| door.rules.is_some()) => return false,
        Err(Full) => None,
    };
    let Some(bill) = way.pay(exchange.shared.now()) else { return false };
    exchange.admission.permit = permit;
    sent_on(exchange, bill, why);
    // Behind it those that it had: if the baseline fails, its own engine serves it late, and not nobody.
    exchange.chosen.legs.retain(|known| known.variant != leg.variant);
    exchange.chosen.legs.insert(0, leg);
    true
}

/// Whether an engine of the candidate's that is well has refused a request as one too many, which is excess like any
/// other: by its use case's rules the baseline may be paid for it, or not.
pub(crate) fn is_excess(exchange: &Exchange, leg: Leg, failure: &Failure) -> bool {
    let (Some((_, next)), Some(lane)) = (rules(exchange), exchange.live.lane(leg.variant)) else {
        return false;
    };
    let concerns = match next {
        Ok(next) => {
            let next = exchange.live.lane(next.variant);
            next.is_some_and(|next| next.upstream.name != lane.upstream.name)
        }
        Err(Stays::Batch) => true,
        Err(_) => false,
    };
    concerns
        && leg.arm == Arm::Candidate
        && exchange.admission.overflow.is_none()
        && failure.is_excess()
        && serves_others(exchange, lane)
}

/// Whether others are served there, if not this one: who refuses everybody is broken, which failover deals with. What
/// instances do that cannot serve this one in any case says nothing.
fn serves_others(exchange: &Exchange, lane: &Lane) -> bool {
    let (upstream, now) = (&lane.upstream, exchange.shared.now());
    let model = lane.target.model.as_deref().unwrap_or(&exchange.head.model);
    let keys = upstream.taking().map(|(at, one)| (at, one.key));
    let unfit = exchange.trail.too_small;
    let unfit = unfit | upstream.lacking.of(model, keys, (unfit, now));
    let serves = |one: &InstanceLane| {
        let usual_us = one.instance.live().usual_us();
        one.state(now).can_serve() && one.health.serves_others(usual_us, now)
    };
    upstream.taking().any(|(at, one)| unfit & (1 << at.min(63)) == 0 && serves(one))
}

/// Whether a request that failed so at this leg would rather wait where it is than be sent on: who takes the excess is
/// not known to be well, or has a line itself.
pub(crate) fn would_rather_wait(exchange: &Exchange, leg: Leg, failure: &Failure) -> bool {
    if !is_excess(exchange, leg, failure) {
        return false;
    }
    let there = way(exchange).and_then(|way| exchange.live.lane(way.leg.variant));
    let Some(there) = there.map(|lane| &lane.upstream) else { return true };
    let now = exchange.shared.now();
    let is_well = |one: &InstanceLane| one.state(now).can_serve() && !one.health.is_on_trial();
    has_line(there, now) || !there.taking().any(|(_, one)| is_well(one))
}

/// Whether the next leg may be asked for a request that failed so at this one. Where that is the excess of its use case
/// it is marked, and money set aside.
pub(crate) fn goes_on(exchange: &mut Exchange, leg: Leg, failure: &Failure) -> bool {
    if !is_excess(exchange, leg, failure) {
        return true;
    }
    let now = exchange.shared.now();
    let paid = any_way(exchange).and_then(|way| {
        let there = exchange.live.lane(way.leg.variant)?;
        // Nobody passes a line.
        let bill = if has_line(&there.upstream, now) { None } else { way.pay(now) };
        Some((bill?, there))
    });
    let Some((bill, there)) = paid else { return false };
    // Who comes next sees that there is one more.
    if let Ok(Some(place)) = place_at(exchange, &there.upstream) {
        exchange.admission.permit = Some(place);
    }
    sent_on(exchange, bill, if failure.status.is_some() { Why::Refused } else { Why::Full });
    true
}

/// Marks a request that the baseline takes.
fn sent_on(exchange: &mut Exchange, bill: Bill, why: Why) {
    exchange.admission.bill = Some(bill);
    exchange.admission.overflow = Some(why);
    if let Some(use_case) =
        exchange.chosen.use_case.and_then(|at| exchange.live.snapshot.use_case(at))
    {
        let labels = [use_case.name.as_str(), why.as_str()];
        exchange.shared.registry.counter(families::OVERFLOW, labels).inc();
    }
}
