//! What clients say of answers: from the request that brings it to a vote that counts.
//!
//! ```text
//!   try_push ── bounded queue ── feedback table ──(its request's record appears)── vote
//!       └ full: counted              │ said before by this key: counted, not stored
//!                                    └ no record within an hour: given up, counted
//! ```
//! A vote carries the arm, unit and share of its request's record, so only requests of a use case
//! under rollout get votes. The first feedback of a key for a request counts and stays: a later one
//! changes nothing, because evidence that was used cannot be taken back.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cutover_rollout::Vote;
use cutover_units::Millis;
use tokio::sync::mpsc;
use tokio::sync::mpsc::error::TrySendError;

use crate::backend::Backend;
use crate::error::StoreError;
use crate::pairs::cut;

/// Longest comment that is kept, in bytes; the rest is cut off.
pub const COMMENT_BYTES_MAX: usize = 2_000;

/// Longest request id that is looked for, in bytes: ours are shorter.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Feedback that waits at most. It comes from people, not from traffic.
pub(crate) const QUEUE: usize = 1_024;

/// Rows of one transaction.
const BATCH: usize = 200;

/// How long a record is waited for. It is written within a second, unless the database is locked.
pub(crate) const GIVE_UP_AFTER: Millis = Millis(60 * 60 * 1_000);

/// Feedback that waits for its record at most; beyond, the oldest is given up. Looking for so many
/// takes a few dozen milliseconds.
pub(crate) const WAITING_MAX: u32 = 10_000;

/// What a client says of an answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Feedback {
    /// The id of the rated request, as the client saw it.
    pub request_id: String,
    /// When it was said.
    pub at: Millis,
    /// The name of the client's key; none: clients need no key.
    pub key_name: Option<Arc<str>>,
    /// The score in percent, at most 100; thumbs are 0 and 100.
    pub score: u8,
    /// In the user's words. Stored as [`Options::comments`](crate::Options) says.
    pub comment: Option<String>,
}

impl fmt::Debug for Feedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feedback")
            .field("request_id", &self.request_id)
            .field("score", &self.score)
            .field("comment_bytes", &self.comment.as_ref().map(String::len))
            .finish_non_exhaustive()
    }
}

/// What has become of feedback since the process began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FeedbackStats {
    /// Written to the database.
    pub written: u64,
    /// Not written, because the same key had rated the same request before.
    pub repeated: u64,
    /// Dropped because the queue was full.
    pub dropped_full: u64,
    /// Dropped because the database did not take it before the store was closed, or because it came
    /// after that.
    pub dropped_closed: u64,
    /// Given up, because no request under rollout has its id.
    pub unmatched: u64,
}

/// Votes that came to light since the last call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenVotes {
    /// Each with its place: ask for those after the last one next time.
    pub votes: Vec<(u64, Vote)>,
    /// Feedback, of any use case, that still waits for its request's record.
    pub waiting: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counts {
    written: AtomicU64,
    repeated: AtomicU64,
    dropped_full: AtomicU64,
    dropped_closed: AtomicU64,
    pub(crate) unmatched: AtomicU64,
}

/// Takes feedback. A clone is the same queue.
#[derive(Debug, Clone)]
pub struct FeedbackSink {
    pub(crate) queue: mpsc::Sender<Feedback>,
    pub(crate) counts: Arc<Counts>,
}

impl FeedbackSink {
    /// Hands feedback over without waiting. False: it was dropped and counted.
    ///
    /// Too long a comment or request id is cut; the id then matches nothing. A score over 100 counts
    /// as 100.
    pub fn try_push(&self, mut feedback: Feedback) -> bool {
        feedback.score = feedback.score.min(100);
        let id = cut(&feedback.request_id, REQUEST_ID_BYTES_MAX).len();
        feedback.request_id.truncate(id);
        if let Some(comment) = &mut feedback.comment {
            let bytes = cut(comment, COMMENT_BYTES_MAX).len();
            comment.truncate(bytes);
        }
        let lost = match self.queue.try_send(feedback) {
            Ok(()) => return true,
            Err(TrySendError::Full(_)) => &self.counts.dropped_full,
            Err(TrySendError::Closed(_)) => &self.counts.dropped_closed,
        };
        lost.fetch_add(1, Ordering::Relaxed);
        false
    }

    /// What has become of feedback so far.
    pub fn stats(&self) -> FeedbackStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        FeedbackStats {
            written: read(&self.counts.written),
            repeated: read(&self.counts.repeated),
            dropped_full: read(&self.counts.dropped_full),
            dropped_closed: read(&self.counts.dropped_closed),
            unmatched: read(&self.counts.unmatched),
        }
    }
}

/// The store thread's end of the queue.
#[derive(Debug)]
pub(crate) struct Drain {
    queue: mpsc::Receiver<Feedback>,
    counts: Arc<Counts>,
    /// Taken from the queue, not written yet.
    batch: Vec<Feedback>,
}

pub(crate) fn channel() -> (FeedbackSink, Drain) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let counts = Arc::new(Counts::default());
    let sink = FeedbackSink { queue: sender, counts: Arc::clone(&counts) };
    (sink, Drain { queue, counts, batch: Vec::new() })
}

impl Drain {
    /// Writes all that waits, or stops at the first failure and keeps the rest.
    pub(crate) fn write(&mut self, backend: &mut dyn Backend) -> Result<(), StoreError> {
        loop {
            while self.batch.len() < BATCH {
                let Ok(feedback) = self.queue.try_recv() else { break };
                self.batch.push(feedback);
            }
            if self.batch.is_empty() {
                return Ok(());
            }
            let written = backend.write_feedback(&self.batch)?;
            let repeated = self.batch.len() as u64 - written;
            self.counts.written.fetch_add(written, Ordering::Relaxed);
            self.counts.repeated.fetch_add(repeated, Ordering::Relaxed);
            self.batch.clear();
        }
    }

    /// The last writing before the end; what cannot be written is counted.
    pub(crate) fn finish(&mut self, backend: &mut dyn Backend) {
        self.queue.close();
        if self.write(backend).is_err() {
            let mut lost = self.batch.len() as u64;
            while self.queue.try_recv().is_ok() {
                lost += 1;
            }
            self.counts.dropped_closed.fetch_add(lost, Ordering::Relaxed);
        }
    }
}
