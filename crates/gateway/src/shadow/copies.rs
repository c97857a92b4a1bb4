//! A use case's copies: those that wait, those that became pairs, and what they cost.
//!
//! Belongs to its use case by name and is carried over when the configuration is read again. The lock
//! is held for a few moves of pointers, never across an await; only sampled requests take it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cutover_route::overflow::Purse;
use cutover_telemetry::{Counter, Dropped, Registry, families};
use cutover_units::{NanoUsd, UseCaseName};
use tokio_util::sync::CancellationToken;

use super::ShadowPair;
use super::sample::Job;

/// Pairs that wait for the controller, at most: a tick's worth of them.
const PAIRS_MAX: usize = 1_024;

/// Bytes that the waiting pairs' texts may take.
const PAIR_BYTES_MAX: usize = 32 * 1024 * 1024;

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
    /// What they may cost in a day, and have cost.
    purse: Arc<Purse>,
    /// Spent since the controller last asked.
    untold: Arc<AtomicU64>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    workers: usize,
    pairs: VecDeque<ShadowPair>,
    pair_bytes: usize,
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
        let untold = Arc::<AtomicU64>::default();
        let cost = registry.counter(families::SHADOW_COST, [use_case.as_str()]);
        let sum = Arc::clone(&untold);
        let booked = move |spent: NanoUsd| {
            cost.add(spent.0);
            sum.fetch_add(spent.0, Ordering::Relaxed);
        };
        Self {
            use_case: use_case.clone(),
            ok: requests("ok"),
            failed: requests("failed"),
            purse: Arc::new(Purse::new(booked)),
            untold,
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
        NanoUsd(self.untold.swap(0, Ordering::Relaxed))
    }

    /// What copies may cost in a UTC day, and have cost.
    pub fn purse(&self) -> &Arc<Purse> {
        &self.purse
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
    use cutover_units::Millis;

    use super::*;

    #[test]
    fn what_copies_cost_is_told_once() {
        let copies = Copies::new(&Registry::new(), &UseCaseName::new("docs").unwrap());
        let set_aside = || copies.purse().open(Millis(1), Some(NanoUsd(60)), None).unwrap();
        set_aside().settle(Millis(2), NanoUsd(30));
        drop(set_aside());
        assert_eq!(copies.purse().spent_today(Millis(3)), NanoUsd(90), "cut off, and billed");
        assert_eq!((copies.take_cost(), copies.take_cost()), (NanoUsd(90), NanoUsd(0)));
    }
}
