//! What live requests tell the controller: one bounded queue of observations per use case.
//!
//! A request pushes when it has ended, and never waits, locks or allocates for it. The controller
//! drains. A full queue drops the newest observation and counts it: to the controller it is missing,
//! never good. A queue that was more than half full when it was drained has room for twice as many from
//! then on, up to [`FEED_MAX`]: a hundred quiet rollouts shall not hold the memory of a hundred busy
//! ones, and the request path shall not allocate.
//!
//! A feed belongs to its use case by name and is carried over when the configuration is read again.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam_queue::ArrayQueue;

use crate::handles::Counter;

/// Observations that wait at first: half a minute, a tick of the controller, at 500 requests a second,
/// in 1.5 MB that are taken when the use case is first watched.
pub const FEED_FIRST: usize = 16_384;

/// Observations that wait at most: a tick at 4,000 requests a second.
pub const FEED_MAX: usize = 131_072;

/// Each but the first doubles the room.
const RINGS: [usize; 4] = [FEED_FIRST, FEED_FIRST, FEED_FIRST * 2, FEED_FIRST * 4];

const _: () = assert!(RINGS[0] + RINGS[1] + RINGS[2] + RINGS[3] == FEED_MAX);

/// The observations of one use case.
pub struct Feed<T> {
    watched: AtomicBool,
    /// Filled in this order; each is there before the next.
    rings: [OnceLock<ArrayQueue<T>>; RINGS.len()],
    lost: AtomicU64,
    lost_total: Counter,
}

impl<T> Default for Feed<T> {
    fn default() -> Self {
        Self {
            watched: AtomicBool::default(),
            rings: Default::default(),
            lost: AtomicU64::default(),
            lost_total: Counter::default(),
        }
    }
}

impl<T> std::fmt::Debug for Feed<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Feed")
            .field("watched", &self.watched)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl<T: Copy> Feed<T> {
    /// A feed that nobody watches yet; `lost_total` counts what it drops.
    pub fn new(lost_total: Counter) -> Self {
        Self { lost_total, ..Self::default() }
    }

    /// Begins to keep observations. Those of an earlier rollout are forgotten.
    pub fn watch(&self) {
        if !self.is_watched() {
            if self.rings().next().is_none() {
                self.grow();
            }
            for ring in self.rings() {
                while ring.pop().is_some() {}
            }
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
    pub fn push(&self, observation: T) {
        if !self.is_watched() {
            return;
        }
        if self.rings().all(|ring| ring.push(observation).is_err()) {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.lost_total.inc();
        }
    }

    /// Moves what waits to the end of `into`, and tells how many observations were dropped since the
    /// last time. Ends even while requests keep pushing.
    pub fn drain(&self, into: &mut Vec<T>) -> u64 {
        let (before, mut room) = (into.len(), 0);
        for ring in self.rings() {
            room += ring.capacity();
            into.extend((0..ring.len()).map_while(|_| ring.pop()));
        }
        if into.len() - before > room / 2 {
            self.grow();
        }
        self.lost.swap(0, Ordering::Relaxed)
    }

    fn rings(&self) -> impl Iterator<Item = &ArrayQueue<T>> {
        self.rings.iter().map_while(OnceLock::get)
    }

    fn grow(&self) {
        let next = self.rings.iter().zip(RINGS).find(|(ring, _)| ring.get().is_none());
        if let Some((ring, size)) = next {
            ring.get_or_init(|| ArrayQueue::new(size));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drained(feed: &Feed<u64>) -> (Vec<u64>, u64) {
        let mut all = Vec::new();
        let lost = feed.drain(&mut all);
        (all, lost)
    }

    #[test]
    fn what_is_pushed_while_nobody_watches_is_not_kept() {
        let feed = Feed::default();
        feed.push(1);
        feed.watch();
        feed.push(2);
        feed.unwatch();
        feed.push(3);
        assert_eq!(drained(&feed), (vec![2], 0));
        feed.watch();
        feed.push(4);
        feed.watch();
        assert_eq!(drained(&feed), (vec![4], 0), "watching twice forgets nothing");
    }

    #[test]
    fn a_full_queue_drops_and_counts_and_has_more_room_from_then_on() {
        let feed = Feed::default();
        feed.watch();
        let mut lost_total = 0;
        for room in [FEED_FIRST, FEED_FIRST * 2, FEED_FIRST * 4, FEED_MAX, FEED_MAX] {
            for unit in 0..room as u64 + 3 {
                feed.push(unit);
            }
            let (kept, lost) = drained(&feed);
            assert_eq!((kept.len(), lost), (room, 3));
            assert!(kept.is_sorted(), "in the order in which requests ended");
            lost_total += 3;
            assert_eq!(feed.lost_total.get(), lost_total);
            assert_eq!(drained(&feed), (vec![], 0));
        }
    }
}
