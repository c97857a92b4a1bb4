//! What live requests tell the controller: one bounded queue of observations per use case.
//!
//! A request pushes when it has ended, and never waits, locks or allocates for it. The controller
//! drains. A full queue drops the newest observation and counts it: to the controller it is missing,
//! which holds a rollout, never good.
//!
//! A feed belongs to its use case by name and is carried over when the configuration is read again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;
use cutover_rollout::Exposure;
use cutover_telemetry::Counter;

/// Observations that wait at most: half a minute (a tick of the controller) at 2,000 requests a
/// second, in about 5 MB that are taken when the use case is first watched.
pub const FEED_MAX: usize = 65_536;

/// The observations of one use case.
#[derive(Default)]
pub struct Feed {
    watched: AtomicBool,
    queue: OnceLock<ArrayQueue<Exposure>>,
    lost: AtomicU64,
    lost_total: Counter,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("watched", &self.is_watched())
            .field("waiting", &self.queue.get().map_or(0, ArrayQueue::len))
            .finish_non_exhaustive()
    }
}

impl Feed {
    /// A feed that nobody watches yet; `lost_total` counts what it drops.
    pub fn new(lost_total: Counter) -> Self {
        Self { lost_total, ..Self::default() }
    }

    /// Begins to keep observations. Those of an earlier rollout are forgotten.
    pub fn watch(&self) {
        let queue = self.queue.get_or_init(|| ArrayQueue::new(FEED_MAX));
        if !self.is_watched() {
            while queue.pop().is_some() {}
            self.lost.store(0, Ordering::Relaxed);
            self.watched.store(true, Ordering::Release);
        }
    }

    /// Keeps nothing more. What waits can still be drained.
    pub fn unwatch(&self) {
        self.watched.store(false, Ordering::Release);
    }

    /// Whether observations are kept.
    pub fn is_watched(&self) -> bool {
        self.watched.load(Ordering::Acquire)
    }

    /// Hands an observation over, if the use case is watched.
    pub fn push(&self, exposure: Exposure) {
        if !self.is_watched() {
            return;
        }
        let Some(queue) = self.queue.get() else { return };
        if queue.push(exposure).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.lost_total.inc();
        }
    }

    /// Moves what waits to the end of `into`, and tells how many observations were dropped since the
    /// last time. Ends even while requests keep pushing.
    pub fn drain(&self, into: &mut Vec<Exposure>) -> u64 {
        if let Some(queue) = self.queue.get() {
            into.extend((0..queue.len()).map_while(|_| queue.pop()));
        }
        self.lost.swap(0, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_rollout::Served;
    use cutover_units::{Arm, Millis, WeightBp};

    fn exposure(unit: u64) -> Exposure {
        Exposure {
            at: Millis(1),
            unit,
            bucket: 1,
            arm: Arm::Baseline,
            share: WeightBp::NONE,
            random: true,
            client_ended: false,
            fell_back: false,
            leaked: false,
            served: Served::default(),
        }
    }

    fn drained(feed: &Feed) -> (Vec<u64>, u64) {
        let mut all = Vec::new();
        let lost = feed.drain(&mut all);
        (all.iter().map(|e| e.unit).collect(), lost)
    }

    #[test]
    fn what_is_pushed_while_nobody_watches_is_not_kept() {
        let feed = Feed::default();
        feed.push(exposure(1));
        feed.watch();
        feed.push(exposure(2));
        feed.unwatch();
        feed.push(exposure(3));
        assert_eq!(drained(&feed), (vec![2], 0));
        feed.watch();
        feed.push(exposure(4));
        feed.watch();
        assert_eq!(drained(&feed), (vec![4], 0), "watching twice forgets nothing");
    }

    #[test]
    fn a_full_queue_drops_and_counts() {
        let feed = Feed::default();
        feed.watch();
        for unit in 0..FEED_MAX as u64 + 3 {
            feed.push(exposure(unit));
        }
        let (kept, lost) = drained(&feed);
        assert_eq!((kept.len(), lost), (FEED_MAX, 3));
        assert_eq!(feed.lost_total.get(), 3);
        assert_eq!(drained(&feed), (vec![], 0));
    }
}
