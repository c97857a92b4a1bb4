//! A use case's copies: those that wait, those that became pairs, and what they cost.
//!
//! Belongs to its use case by name and is carried over when the configuration is read again. The lock
//! is held for a few moves of pointers, never across an await; only sampled requests take it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cutover_telemetry::{Counter, Dropped, Registry, families};
use cutover_units::{Millis, NanoUsd, UseCaseName};
use tokio_util::sync::CancellationToken;

use super::ShadowPair;
use super::sample::Job;

/// Pairs that wait for the controller, at most: a tick's worth of them.
const PAIRS_MAX: usize = 1_024;

/// Bytes that the waiting pairs' texts may take.
const PAIR_BYTES_MAX: usize = 32 * 1024 * 1024;

const DAY_MS: u64 = 24 * 60 * 60 * 1_000;

/// How the process's end is told to copies.
#[derive(Debug, Default)]
pub(crate) struct Ending {
    /// Nothing new may begin.
    draining: AtomicBool,
    /// What is under way must end.
    pub(super) cut: CancellationToken,
}

impl Ending {
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
    }

    pub(crate) fn cut(&self) {
        self.drain();
        self.cut.cancel();
    }

    pub(super) fn is_near(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }
}

/// The copies of one use case.
pub struct Copies {
    use_case: UseCaseName,
    registry: Registry,
    ok: Counter,
    failed: Counter,
    cost: Counter,
    state: Mutex<State>,
}

/// Money set aside for a copy under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reserved {
    day: u64,
    pub(super) money: NanoUsd,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    workers: usize,
    pairs: VecDeque<ShadowPair>,
    pair_bytes: usize,
    /// The UTC day that `spent` is of.
    day: u64,
    spent: NanoUsd,
    /// Spent since the controller last asked.
    untold: NanoUsd,
}

impl std::fmt::Debug for Copies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let state = self.state();
        f.debug_struct("Copies")
            .field("use_case", &self.use_case)
            .field("waiting", &state.jobs.len())
            .field("under_way", &state.workers)
            .field("pairs", &state.pairs.len())
            .finish_non_exhaustive()
    }
}

impl Copies {
    /// Of a use case that has copied nothing yet.
    pub fn new(registry: &Registry, use_case: &UseCaseName) -> Self {
        let requests =
            |outcome| registry.counter(families::SHADOW_REQUESTS, [use_case.as_str(), outcome]);
        Self {
            use_case: use_case.clone(),
            ok: requests("ok"),
            failed: requests("failed"),
            cost: registry.counter(families::SHADOW_COST, [use_case.as_str()]),
            registry: registry.clone(),
            state: Mutex::default(),
        }
    }

    /// Moves the pairs that wait to the end of `into`.
    pub fn drain_pairs(&self, into: &mut Vec<ShadowPair>) {
        let mut state = self.state();
        state.pair_bytes = 0;
        into.extend(state.pairs.drain(..));
    }

    /// What copies have cost since the last time.
    pub fn take_cost(&self) -> NanoUsd {
        std::mem::take(&mut self.state().untold)
    }

    /// What copies have cost in this UTC day, those under way at their estimate.
    pub fn spent_today(&self, now: Millis) -> NanoUsd {
        let mut state = self.state();
        state.turn(now);
        state.spent
    }

    /// Takes over what was spent this UTC day before a restart.
    pub fn restore_spent(&self, now: Millis, spent: NanoUsd) {
        let mut state = self.state();
        state.turn(now);
        state.spent = state.spent.max(spent);
    }

    /// Copies that wait, and copies under way.
    pub fn waiting(&self) -> (usize, usize) {
        let state = self.state();
        (state.jobs.len(), state.workers)
    }

    /// Counts a drop.
    pub(crate) fn dropped(&self, why: Dropped) {
        let labels = [self.use_case.as_str(), why.as_str()];
        self.registry.counter(families::SHADOW_DROPPED, labels).inc();
    }

    /// Lets a copy wait. True: the caller must start one more worker.
    pub(super) fn offer(&self, job: Job) -> bool {
        let settings = job.settings;
        let mut state = self.state();
        if state.jobs.len() >= settings.queue {
            drop(state);
            self.dropped(Dropped::QueueFull);
            return false;
        }
        state.jobs.push_back(job);
        let more = state.workers < settings.concurrency;
        state.workers += usize::from(more);
        more
    }

    /// The next copy in line. None: the line is empty and the worker has left it.
    pub(super) fn next(&self) -> Option<Job> {
        let mut state = self.state();
        let next = state.jobs.pop_front();
        if next.is_none() {
            state.workers = state.workers.saturating_sub(1);
        }
        next
    }

    /// A worker ends before its time; what waits has none to begin it until the next request.
    pub(super) fn worker_lost(&self) {
        let mut state = self.state();
        state.workers = state.workers.saturating_sub(1);
    }

    /// Sets money aside for a copy. None: there is not enough.
    pub(super) fn reserve(
        &self,
        now: Millis,
        money: NanoUsd,
        budget: Option<NanoUsd>,
    ) -> Option<Reserved> {
        let mut state = self.state();
        state.turn(now);
        let after = NanoUsd(state.spent.0.saturating_add(money.0));
        if budget.is_some_and(|budget| after > budget) {
            return None;
        }
        state.spent = after;
        Some(Reserved { day: state.day, money })
    }

    /// Replaces what was set aside by what was spent. Over midnight all of it is the new day's.
    pub(super) fn settle(&self, now: Millis, reserved: Reserved, spent: NanoUsd) {
        let mut state = self.state();
        state.turn(now);
        if reserved.day == state.day {
            state.spent.0 = state.spent.0.saturating_sub(reserved.money.0);
        }
        state.spent.0 = state.spent.0.saturating_add(spent.0);
        state.untold.0 = state.untold.0.saturating_add(spent.0);
        drop(state);
        self.cost.add(spent.0);
    }

    /// Books what was set aside for a copy that was cut off.
    pub(super) fn keep(&self, reserved: Reserved) {
        let mut state = self.state();
        state.untold.0 = state.untold.0.saturating_add(reserved.money.0);
        drop(state);
        self.cost.add(reserved.money.0);
    }

    /// Hands a pair over.
    pub(super) fn paired(&self, pair: ShadowPair) {
        let outcome = if pair.candidate.served.failed { &self.failed } else { &self.ok };
        outcome.inc();
        let bytes = pair.bytes();
        let mut state = self.state();
        if state.pairs.len() >= PAIRS_MAX || state.pair_bytes + bytes > PAIR_BYTES_MAX {
            drop(state);
            self.dropped(Dropped::PairsFull);
            return;
        }
        state.pair_bytes += bytes;
        state.pairs.push_back(pair);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Begins a new day. A clock that steps back does not give the money of a past day again.
    fn turn(&mut self, now: Millis) {
        let day = now.0 / DAY_MS;
        if day > self.day {
            self.day = day;
            self.spent = NanoUsd(0);
        }
    }
}

/// A worker's place in the line, given back also when the worker is dropped in the middle.
pub(super) struct Seat {
    copies: Arc<Copies>,
    left: bool,
}

impl Seat {
    pub(super) fn take(copies: Arc<Copies>) -> Self {
        Self { copies, left: false }
    }

    pub(super) fn next(&mut self) -> Option<Job> {
        let next = self.copies.next();
        self.left = next.is_none();
        next
    }

    pub(super) fn copies(&self) -> &Arc<Copies> {
        &self.copies
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if !self.left {
            self.copies.worker_lost();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: u64 = 60 * 60 * 1_000;

    fn copies() -> Copies {
        Copies::new(&Registry::new(), &UseCaseName::new("docs").unwrap())
    }

    #[test]
    fn a_day_has_its_money_once() {
        let copies = copies();
        let at = |hour: u64| Millis(hour * HOUR);
        let reserve = |hour, money| copies.reserve(at(hour), NanoUsd(money), Some(NanoUsd(100)));
        let first = reserve(1, 60).unwrap();
        assert!(reserve(2, 60).is_none(), "what is under way counts");
        copies.settle(at(2), first, NanoUsd(30));
        let second = reserve(3, 70).unwrap();
        assert_eq!(copies.spent_today(at(4)), NanoUsd(100));
        copies.settle(at(4), second, NanoUsd(70));
        assert_eq!(copies.take_cost(), NanoUsd(100));
        assert_eq!(copies.take_cost(), NanoUsd(0));
        assert!(reserve(23, 1).is_none());
        let third = reserve(24, 100).expect("a new day has money of its own");
        assert!(reserve(23, 1).is_none(), "the clock stepped back");
        copies.settle(at(25), third, NanoUsd(0));
    }

    #[test]
    fn a_copy_over_midnight_is_the_new_days() {
        let copies = copies();
        let budget = Some(NanoUsd(100));
        let before = copies.reserve(Millis(23 * HOUR), NanoUsd(40), budget).unwrap();
        let other = copies.reserve(Millis(24 * HOUR), NanoUsd(50), budget).unwrap();
        copies.settle(Millis(24 * HOUR), before, NanoUsd(45));
        assert_eq!(copies.spent_today(Millis(24 * HOUR)), NanoUsd(95));
        copies.settle(Millis(24 * HOUR), other, NanoUsd(1));
        assert_eq!(copies.spent_today(Millis(24 * HOUR)), NanoUsd(46));
    }

    #[test]
    fn what_was_spent_before_a_restart_still_counts() {
        let copies = copies();
        copies.restore_spent(Millis(HOUR), NanoUsd(99));
        let reserve = |money| copies.reserve(Millis(HOUR), NanoUsd(money), Some(NanoUsd(100)));
        assert!(reserve(2).is_none());
        assert!(reserve(1).is_some());
    }

    #[test]
    fn without_a_budget_there_is_no_limit() {
        let copies = copies();
        for _ in 0..2 {
            assert!(copies.reserve(Millis(0), NanoUsd(u64::MAX), None).is_some());
        }
    }
}
