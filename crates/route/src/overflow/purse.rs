//! What overflow may cost in a day: money is set aside before a request goes, and corrected after it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cutover_units::{Millis, NanoUsd, UseCaseName};

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// What overflow may cost in a day, and has cost.
pub struct Purse {
    /// Is told of all that is booked.
    booked: Box<dyn Fn(NanoUsd) + Send + Sync>,
    day: Mutex<Day>,
}

impl fmt::Debug for Purse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Purse").field("day", &self.day).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct Day {
    /// Days since 1970, UTC.
    number: u64,
    /// Spent, what is under way at its estimate.
    spent: NanoUsd,
    /// What of that has ended.
    ended: NanoUsd,
    /// Spent by others on the same day: by this process before a restart, or by one beside it.
    others: NanoUsd,
}

impl Day {
    fn all(&self) -> NanoUsd {
        NanoUsd(self.spent.0.saturating_add(self.others.0))
    }
}

/// What overflow costs, by use case: one that is taken out of the configuration and put back has spent what it had.
#[derive(Debug, Default)]
pub struct Purses(Mutex<BTreeMap<UseCaseName, Arc<Purse>>>);

impl Purses {
    /// A use case's, made where it has none yet.
    pub fn of(&self, name: &UseCaseName, new: impl FnOnce() -> Purse) -> Arc<Purse> {
        let mut purses = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(purses.entry(name.clone()).or_insert_with(|| Arc::new(new())))
    }
}

impl Purse {
    /// Of a use case that has spent nothing yet. `booked` is told of each sum that was spent.
    pub fn new(booked: impl Fn(NanoUsd) + Send + Sync + 'static) -> Self {
        Self { booked: Box::new(booked), day: Mutex::default() }
    }

    /// What was spent in this UTC day, what is under way at its estimate.
    pub fn spent_today(&self, now: Millis) -> NanoUsd {
        self.day(now).all()
    }

    /// Takes over what the records say was spent on the UTC day of this time, by whomever: before a restart, or beside it.
    /// Of a day that is over by now nothing.
    pub fn restore(&self, at: Millis, recorded: NanoUsd) {
        let mut day = self.day(at);
        if day.number != at.0 / DAY_MS {
            return;
        }
        let others = NanoUsd(recorded.0.saturating_sub(day.ended.0));
        day.others = day.others.max(others);
    }

    /// Whether there is that much left.
    pub fn has(&self, now: Millis, money: NanoUsd, budget: Option<NanoUsd>) -> bool {
        let spent = self.day(now).all();
        budget.is_none_or(|budget| spent.0.saturating_add(money.0) <= budget.0)
    }

    /// Sets money aside for a request that may cost so much. None: there is not enough. One whose price nobody
    /// knows costs nothing here.
    pub fn open(
        self: &Arc<Self>,
        now: Millis,
        price: Option<NanoUsd>,
        budget: Option<NanoUsd>,
    ) -> Option<Bill> {
        if price.is_some_and(|price| !self.reserve(now, price, budget)) {
            return None;
        }
        let reserved = price.map(|price| (now.0 / DAY_MS, price));
        Some(Bill { purse: Arc::clone(self), reserved, now, attempts: 1, untold: 0 })
    }

    /// Sets money aside. False: there is not enough.
    fn reserve(&self, now: Millis, money: NanoUsd, budget: Option<NanoUsd>) -> bool {
        let mut day = self.day(now);
        let after = day.all().0.saturating_add(money.0);
        if budget.is_some_and(|budget| after > budget.0) {
            return false;
        }
        day.spent.0 = day.spent.0.saturating_add(money.0);
        true
    }

    /// Replaces what was set aside on a day by what was spent. Over midnight all of it is the new day's.
    fn settle(&self, now: Millis, (number, reserved): (u64, NanoUsd), spent: NanoUsd) {
        let mut day = self.day(now);
        if day.number == number {
            day.spent.0 = day.spent.0.saturating_sub(reserved.0);
        }
        day.spent.0 = day.spent.0.saturating_add(spent.0);
        day.ended.0 = day.ended.0.saturating_add(spent.0);
        drop(day);
        (self.booked)(spent);
    }

    /// The day, begun anew if it is another. A clock that steps back does not give a past day's money again.
    fn day(&self, now: Millis) -> MutexGuard<'_, Day> {
        let mut day = self.day.lock().unwrap_or_else(PoisonError::into_inner);
        let number = now.0 / DAY_MS;
        if number > day.number {
            *day = Day { number, ..Day::default() };
        }
        day
    }
}

/// Money set aside for a request under way; booked as it was estimated if nobody settles it.
#[derive(Debug)]
pub struct Bill {
    purse: Arc<Purse>,
    /// None: nobody knows the price.
    reserved: Option<(u64, NanoUsd)>,
    now: Millis,
    /// So many attempts it was set aside for.
    attempts: u64,
    /// Attempts that may be billed, and that nobody told the cost of.
    untold: u64,
}

impl Bill {
    /// What was set aside is for so many attempts at once, each of which may be billed.
    #[must_use]
    pub fn over(mut self, attempts: u64) -> Self {
        self.attempts = attempts.max(1);
        self
    }

    /// An attempt at the baseline may be billed, which nobody tells.
    pub fn doubt(&mut self) {
        self.untold += 1;
    }

    /// The request has ended, and cost so much for certain. Gives what is booked.
    pub fn settle(mut self, now: Millis, told: NanoUsd) -> Option<NanoUsd> {
        let reserved = self.reserved.take()?;
        let untold = (reserved.1.0 / self.attempts).saturating_mul(self.untold);
        let spent = NanoUsd(told.0.saturating_add(untold));
        self.purse.settle(now, reserved, spent);
        Some(spent)
    }
}

impl Drop for Bill {
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.purse.settle(self.now, reserved, reserved.1);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    const HOUR: u64 = 60 * 60 * 1_000;
    const BUDGET: Option<NanoUsd> = Some(NanoUsd(100));

    fn purse() -> Arc<Purse> {
        Arc::new(Purse::new(|_| ()))
    }

    fn bill(purse: &Arc<Purse>, hour: u64, money: u64) -> Option<Bill> {
        purse.open(Millis(hour * HOUR), Some(NanoUsd(money)), BUDGET)
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

    /// A hedge at the baseline was booked as three answers.
    #[test]
    fn each_of_two_attempts_is_doubted_for_its_own_part() {
        let purse = purse();
        let mut hedged = bill(&purse, 1, 80).unwrap().over(2);
        hedged.doubt();
        assert_eq!(hedged.settle(Millis(HOUR), NanoUsd(5)), Some(NanoUsd(45)));
        drop(bill(&purse, 1, 50).unwrap().over(2));
        assert_eq!(purse.spent_today(Millis(HOUR)), NanoUsd(95), "cut off: both may be billed");
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

    #[test]
    fn what_others_spend_beside_it_counts_and_its_own_records_do_not_count_twice() {
        let purse = purse();
        let under_way = bill(&purse, 1, 20).unwrap();
        bill(&purse, 1, 10).unwrap().settle(Millis(HOUR), NanoUsd(10));
        purse.restore(Millis(HOUR), NanoUsd(10));
        assert_eq!(purse.spent_today(Millis(HOUR)), NanoUsd(30), "these ten are its own");
        purse.restore(Millis(HOUR), NanoUsd(50));
        assert_eq!(purse.spent_today(Millis(HOUR)), NanoUsd(70), "forty are another's");
        under_way.settle(Millis(HOUR), NanoUsd(25));
        purse.restore(Millis(HOUR), NanoUsd(75));
        assert_eq!(purse.spent_today(Millis(HOUR)), NanoUsd(75));
        assert!(bill(&purse, 1, 26).is_none() && bill(&purse, 1, 25).is_some());
        purse.restore(Millis(24 * HOUR), NanoUsd(0));
        assert_eq!(purse.spent_today(Millis(24 * HOUR)), NanoUsd(0), "another day");
        purse.restore(Millis(HOUR), NanoUsd(75));
        assert_eq!(purse.spent_today(Millis(24 * HOUR)), NanoUsd(0), "it was midnight meanwhile");
    }

    #[test]
    fn a_use_case_that_comes_back_has_its_purse() {
        let (purses, name) = (Purses::default(), UseCaseName::new("docs").unwrap());
        let of = |name: &UseCaseName| purses.of(name, || Purse::new(|_| ()));
        bill(&of(&name), 1, 40).unwrap().settle(Millis(HOUR), NanoUsd(40));
        assert_eq!(of(&name).spent_today(Millis(HOUR)), NanoUsd(40));
        let other = UseCaseName::new("other").unwrap();
        assert_eq!(of(&other).spent_today(Millis(HOUR)), NanoUsd(0));
    }

    #[test]
    fn all_that_is_booked_is_told_once() {
        let told = Arc::new(AtomicU64::new(0));
        let counts = Arc::clone(&told);
        let booked = move |spent: NanoUsd| _ = counts.fetch_add(spent.0, Ordering::Relaxed);
        let purse = Arc::new(Purse::new(booked));
        bill(&purse, 1, 40).unwrap().settle(Millis(HOUR), NanoUsd(45));
        drop(bill(&purse, 1, 7));
        assert_eq!(told.load(Ordering::Relaxed), 52);
    }
}
