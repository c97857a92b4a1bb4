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

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cutover_config::Overflow;
use cutover_ledger::{Cost, Tokens};
use cutover_route::Leg;
use cutover_route::overflow::{Excess, spill};
use cutover_telemetry::{Counter, Registry, families};
use cutover_units::{Arm, Millis, NanoUsd, UseCaseName};

use crate::admission::class;
use crate::exchange::Exchange;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What an answer is taken to have when the request sets no limit: enough for most, so that a budget is
/// kept rather than overdrawn.
const COMPLETION_TOKENS: u64 = 1_000;

/// A use case's overflow.
#[derive(Debug, Clone)]
pub struct OverflowLane {
    /// What of its excess goes to the baseline.
    pub rules: Overflow,
    /// What it may cost.
    pub purse: Arc<Purse>,
}

/// Why a request went to the baseline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// The upstream was full, and requests go elsewhere at once.
    Full,
    /// So many waited already that it could not.
    QueueFull,
    /// It waited, and no place came.
    Waited,
}

impl Why {
    /// The word in records, headers and metrics.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::QueueFull => "queue_full",
            Self::Waited => "waited",
        }
    }
}

/// What overflow may cost in a day, and has cost.
#[derive(Debug)]
pub struct Purse {
    cost: Counter,
    day: Mutex<Day>,
}

#[derive(Debug, Default)]
struct Day {
    /// Days since 1970, UTC.
    number: u64,
    /// Spent, what is under way at its estimate.
    spent: NanoUsd,
}

impl Purse {
    /// Of a use case that has spent nothing yet.
    pub fn new(registry: &Registry, use_case: &UseCaseName) -> Self {
        let cost = registry.counter(families::OVERFLOW_COST, [use_case.as_str()]);
        Self { cost, day: Mutex::default() }
    }

    /// What was spent in this UTC day, what is under way at its estimate.
    pub fn spent_today(&self, now: Millis) -> NanoUsd {
        self.day(now).spent
    }

    /// Takes over what was spent this UTC day before a restart.
    pub fn restore(&self, now: Millis, spent: NanoUsd) {
        let mut day = self.day(now);
        day.spent = day.spent.max(spent);
    }

    /// Whether there is that much left.
    fn has(&self, now: Millis, money: NanoUsd, budget: Option<NanoUsd>) -> bool {
        let spent = self.day(now).spent;
        budget.is_none_or(|budget| spent.0.saturating_add(money.0) <= budget.0)
    }

    /// Sets money aside. False: there is not enough.
    fn reserve(&self, now: Millis, money: NanoUsd, budget: Option<NanoUsd>) -> bool {
        let mut day = self.day(now);
        let after = NanoUsd(day.spent.0.saturating_add(money.0));
        if budget.is_some_and(|budget| after > budget) {
            return false;
        }
        day.spent = after;
        true
    }

    /// Replaces what was set aside on a day by what was spent. Over midnight all of it is the new day's.
    fn settle(&self, now: Millis, (number, reserved): (u64, NanoUsd), spent: NanoUsd) {
        let mut day = self.day(now);
        if day.number == number {
            day.spent.0 = day.spent.0.saturating_sub(reserved.0);
        }
        day.spent.0 = day.spent.0.saturating_add(spent.0);
        drop(day);
        self.cost.add(spent.0);
    }

    /// The day, begun anew if it is another. A clock that steps back does not give a past day's money again.
    fn day(&self, now: Millis) -> MutexGuard<'_, Day> {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.0 / DAY_MS;
        if number > day.number {
            *day = Day { number, spent: NanoUsd(0) };
        }
        day
    }
}

/// Money set aside for a request under way; booked as it was estimated if nobody settles it.
pub(crate) struct Bill {
    purse: Arc<Purse>,
    /// None: nobody knows the price.
    reserved: Option<(u64, NanoUsd)>,
    now: Millis,
    /// Attempts that may be billed, and that nobody told the cost of.
    untold: u64,
}

impl Bill {
    /// An attempt at the baseline may be billed, which nobody tells.
    pub(crate) fn doubt(&mut self) {
        self.untold += 1;
    }

    /// The request has ended, and cost so much for certain. Gives what is booked.
    fn settle(mut self, now: Millis, told: NanoUsd) -> Option<NanoUsd> {
        let reserved = self.reserved.take()?;
        let untold = reserved.1.0.saturating_mul(self.untold);
        let spent = NanoUsd(told.0.saturating_add(untold));
        self.purse.settle(now, reserved, spent);
        Some(spent)
    }
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

impl Drop for Bill {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.purse.settle(self.now, reserved, reserved.1);
        }
    }
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
    let tokens = Tokens {
        prompt: exchange.head.est_prompt_tokens,
        cached: 0,
        completion: exchange.head.max_tokens.unwrap_or(COMPLETION_TOKENS),
    };
    let price = baseline.price.cost(&exchange.head.model, tokens, exchange.started_at);
    if price.is_none() && !baseline.upstream.own && !lane.rules.unpriced {
        return None;
    }
    Some(Way { leg, lane, price: price.map(|cost| cost.amount) })
}

/// Whether the baseline may be asked and would answer in time, as far as is known.
pub(crate) fn is_in_time(exchange: &Exchange) -> bool {
    let lane = way(exchange).and_then(|way| exchange.live.lane(way.leg.variant));
    lane.is_some_and(|lane| exchange.has_time_for(&lane.upstream))
}

/// How long a request waits before it may go to the baseline. None: it may not.
pub(crate) fn offered(exchange: &Exchange) -> Option<Duration> {
    let Way { lane, price, .. } = way(exchange)?;
    let (now, budget) = (exchange.shared.now(), lane.rules.budget_per_day);
    lane.purse.has(now, price.unwrap_or_default(), budget).then_some(lane.rules.wait)
}

/// Sends a request to the baseline instead. False: the money is spent meanwhile.
pub(crate) fn go(exchange: &mut Exchange, why: Why) -> bool {
    let Some(Way { leg, lane, price }) = way(exchange) else { return false };
    let now = exchange.shared.now();
    if price.is_some_and(|price| !lane.purse.reserve(now, price, lane.rules.budget_per_day)) {
        return false;
    }
    let reserved = price.map(|price| (now.0 / DAY_MS, price));
    let bill = Bill { purse: Arc::clone(&lane.purse), reserved, now, untold: 0 };
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

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60 * 1_000;
    const BUDGET: Option<NanoUsd> = Some(NanoUsd(100));

    fn purse() -> Arc<Purse> {
        Arc::new(Purse::new(&Registry::new(), &UseCaseName::new("docs").unwrap()))
    }

    fn bill(purse: &Arc<Purse>, hour: u64, money: u64) -> Option<Bill> {
        let (now, money) = (Millis(hour * HOUR), NanoUsd(money));
        let reserved = Some((now.0 / DAY_MS, money));
        let purse = Arc::clone(purse);
        purse.reserve(now, money, BUDGET).then(|| Bill { purse, reserved, now, untold: 0 })
    }

    #[test]
    fn a_day_has_its_money_once() {
        let purse = purse();
        let first = bill(&purse, 1, 60).unwrap();
        assert!(bill(&purse, 2, 60).is_none(), "what is under way counts");
        assert!(!purse.has(Millis(2 * HOUR), NanoUsd(41), BUDGET));
        assert_eq!(first.settle(Millis(2 * HOUR), NanoUsd(30)), Some(NanoUsd(30)));
        assert_eq!(purse.spent_today(Millis(3 * HOUR)), NanoUsd(30));
        assert!(bill(&purse, 3, 70).is_some());
        let tomorrow = bill(&purse, 24, 100).expect("a new day has money of its own");
        assert!(bill(&purse, 23, 1).is_none(), "the clock stepped back");
        drop(tomorrow);
        assert_eq!(purse.spent_today(Millis(25 * HOUR)), NanoUsd(100), "cut off, and billed");
    }

    #[test]
    fn what_was_never_sent_costs_nothing_and_what_nobody_counted_its_estimate() {
        let purse = purse();
        bill(&purse, 1, 40).unwrap().settle(Millis(HOUR), NanoUsd(0));
        assert_eq!(purse.spent_today(Millis(HOUR)), NanoUsd(0));
        let mut given_up = bill(&purse, 1, 40).unwrap();
        given_up.doubt();
        given_up.settle(Millis(HOUR), NanoUsd(3));
        assert_eq!(purse.spent_today(Millis(HOUR)), NanoUsd(43));
    }

    #[test]
    fn a_request_over_midnight_is_the_new_days() {
        let purse = purse();
        let before = bill(&purse, 23, 40).unwrap();
        before.settle(Millis(24 * HOUR), NanoUsd(45));
        assert_eq!(purse.spent_today(Millis(24 * HOUR)), NanoUsd(45));
    }

    #[test]
    fn the_days_cap_ends_with_the_last_millisecond_before_midnight_utc() {
        let (last, midnight) = (Millis(19 * DAY_MS - 1), Millis(19 * DAY_MS));
        let purse = purse();
        assert!(purse.reserve(last, NanoUsd(100), BUDGET));
        assert!(!purse.has(last, NanoUsd(1), BUDGET) && !purse.reserve(last, NanoUsd(1), BUDGET));
        assert!(purse.has(midnight, NanoUsd(100), BUDGET));
        assert!(!purse.has(midnight, NanoUsd(101), BUDGET), "the new day has a cap, too");
        assert!(purse.reserve(midnight, NanoUsd(100), BUDGET));
        assert!(!purse.reserve(midnight, NanoUsd(1), BUDGET));
        // Asked with the time of just before, by a thread that looked at the clock earlier.
        assert!(!purse.reserve(last, NanoUsd(1), BUDGET));
        assert_eq!(purse.spent_today(Millis(20 * DAY_MS - 1)), NanoUsd(100));
        assert_eq!(purse.spent_today(Millis(20 * DAY_MS)), NanoUsd(0));
    }

    #[test]
    fn a_request_that_is_cut_off_after_midnight_is_the_new_days_at_its_estimate() {
        let purse = purse();
        let before = bill(&purse, 23, 40).unwrap();
        assert_eq!(purse.spent_today(Millis(24 * HOUR)), NanoUsd(0));
        drop(before);
        assert_eq!(purse.spent_today(Millis(24 * HOUR)), NanoUsd(40));
    }

    #[test]
    fn what_was_spent_before_a_restart_still_counts() {
        let purse = purse();
        purse.restore(Millis(HOUR), NanoUsd(99));
        assert!(bill(&purse, 1, 2).is_none());
        assert!(bill(&purse, 1, 1).is_some());
        purse.restore(Millis(HOUR), NanoUsd(5));
        assert_eq!(purse.spent_today(Millis(HOUR)), NanoUsd(100), "never less than is known");
    }
}
