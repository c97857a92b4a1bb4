//! The bounded way from requests to the store's thread.
//!
//! A push is a try: a request never waits. The thread looks every 200 ms by itself, so a push wakes
//! it only when a whole batch has gathered, and most pushes cost no system call.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Thread;

use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::record::Record;

/// So many records wake the thread: enough that a transaction's own cost does not count.
pub(crate) const BATCH: usize = 500;

/// Most rows of one transaction: more than a batch only where records came faster than they were
/// written. A call waits for it, some milliseconds.
pub(crate) const BATCH_MAX: usize = 2_000;

/// What has become of the records.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stats {
    /// Written to the database.
    pub written: u64,
    /// Dropped because the queue was full.
    pub dropped_full: u64,
    /// Dropped because the database did not take them before the store was closed.
    pub dropped_failed: u64,
    /// Dropped because they came after the store was closed.
    pub dropped_closed: u64,
    /// Waiting.
    pub queued: u64,
}

/// What both ends share.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    pub(crate) written: AtomicU64,
    pub(crate) dropped_full: AtomicU64,
    pub(crate) dropped_failed: AtomicU64,
    pub(crate) dropped_closed: AtomicU64,
    /// Records taken from the queue and not written yet.
    pub(crate) in_hand: AtomicU64,
    /// Set when the thread has been woken and not looked yet.
    pub(crate) woken: AtomicBool,
}

/// Takes records. A clone is the same queue.
#[derive(Debug, Clone)]
pub struct RecordSink {
    pub(crate) queue: mpsc::Sender<Record>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) thread: Thread,
}

impl RecordSink {
    /// Hands a record over without waiting. False: it was dropped and counted.
    pub fn try_push(&self, record: Record) -> bool {
        let lost = match self.queue.try_send(record) {
            Ok(()) => {
                self.wake_for_a_batch();
                return true;
            }
            Err(TrySendError::Full(_)) => &self.shared.dropped_full,
            Err(TrySendError::Closed(_)) => &self.shared.dropped_closed,
        };
        lost.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// [`RecordSink::try_push`] for a request that was refused at the door: only while half of the queue
    /// is free. Whoever knocks without end must not crowd out the records of those who were let in.
    pub fn try_push_spare(&self, record: Record) -> bool {
        if self.queue.capacity() > self.queue.max_capacity() / 2 {
            return self.try_push(record);
        }
        self.shared.dropped_full.fetch_add(1, Ordering::Relaxed);
        false
    }

    fn wake_for_a_batch(&self) {
        let queued = self.queue.max_capacity() - self.queue.capacity();
        if queued >= BATCH && !self.shared.woken.swap(true, Ordering::Relaxed) {
            self.thread.unpark();
        }
    }

    /// What has become of the records so far.
    pub fn stats(&self) -> Stats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let queued = (self.queue.max_capacity() - self.queue.capacity()) as u64;
        Stats {
            written: read(&self.shared.written),
            dropped_full: read(&self.shared.dropped_full),
            dropped_failed: read(&self.shared.dropped_failed),
            dropped_closed: read(&self.shared.dropped_closed),
            queued: queued + read(&self.shared.in_hand),
        }
    }
}
