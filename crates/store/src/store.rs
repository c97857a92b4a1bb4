//! The handle that the rest of cutover holds.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

use cutover_units::{Millis, NanoUsd, UseCaseName};
use tokio::sync::oneshot;

use crate::audit::Change;
use crate::backend::Backend;
use crate::chain::AuditVerdict;
use crate::drains::{Drain, SetDrain};
use crate::error::StoreError;
use crate::feedback::{self, FeedbackSink};
use crate::keys::{
    AddKeyError, Key, Keys, NewKey, RevokeKey, RevokeKeyError, RotateKey, RotateKeyError,
};
use crate::observed::Observations;
use crate::pairs::Keep;
use crate::queue::{RecordSink, Shared, Stats};
use crate::responses::{self, Conversation, ConversationQuery, KeptResponse, ResponseSink};
use crate::sqlite::Sqlite;
use crate::state::{SetWeight, SetWeightError, UseCaseState, WeightSet};
use crate::summary::{Summary, Window};
use crate::usage::UsageRow;
use crate::worker::{Job, Worker};

/// Records that wait at most. At 1,000 requests a second this bridges eight seconds of a locked
/// database, and holds about 3 MB then.
const QUEUE: usize = 8_192;

/// Calls that wait at most: they come from operators, not from traffic.
const JOBS: usize = 256;

/// Time to wait for another process's lock before a call fails.
const BUSY_TIMEOUT: Duration = Duration::from_millis(250);

type Clock = Arc<dyn Fn() -> Millis + Send + Sync>;
type Observer = Arc<dyn Fn(StoreEvent) + Send + Sync>;

/// Why records were dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// The queue was full.
    QueueFull,
    /// The database did not take them before the store was closed.
    WriteFailed,
    /// They came after the store was closed.
    Closed,
}

impl DropReason {
    /// The reason's word in labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::QueueFull => "queue_full",
            Self::WriteFailed => "write_failed",
            Self::Closed => "closed",
        }
    }
}

/// What the store's thread has to tell without being asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreEvent {
    /// Records cannot be written. They wait; told once until they can be again.
    RecordsWait(StoreError),
    /// Records can be written again.
    RecordsFlow,
    /// Records are lost.
    RecordsDropped {
        /// How many since this was last told.
        count: u64,
        /// Why.
        reason: DropReason,
    },
    /// Answers to keep cannot be written. They wait; told once until they can be again.
    ResponsesWait(StoreError),
    /// Answers to keep can be written again.
    ResponsesFlow,
    /// Old records cannot be deleted.
    SweepFailed(StoreError),
}

/// How to open a store.
#[derive(Clone)]
pub struct Options {
    /// The data directory. It is made if it does not exist, readable for its owner only.
    pub dir: PathBuf,
    /// Records that wait at most.
    pub queue: usize,
    /// Time to wait for another process's lock before a call fails.
    pub busy_timeout: Duration,
    /// How long records are kept; none keeps them for ever.
    pub retain: Option<Millis>,
    /// How long answers are kept that clients want to go on from; none keeps them for ever.
    pub retain_responses: Option<Millis>,
    /// What is kept of the comments in feedback.
    pub comments: Keep,
    /// Largest size of the database, in bytes; none leaves it to the disk.
    pub max_bytes: Option<u64>,
    /// Whether a database that an older cutover wrote is brought to this one's schema. Not by who only looks into it
    /// while that older one may serve from it.
    pub migrates: bool,
    /// The time. Called on the store's thread.
    pub clock: Clock,
    /// Told of events. Called on the store's thread.
    pub observer: Observer,
}

impl Options {
    /// The usual settings for a directory.
    pub fn new(
        dir: impl Into<PathBuf>,
        clock: impl Fn() -> Millis + Send + Sync + 'static,
    ) -> Self {
        Self {
            dir: dir.into(),
            queue: QUEUE,
            busy_timeout: BUSY_TIMEOUT,
            retain: None,
            retain_responses: None,
            comments: Keep::default(),
            max_bytes: None,
            migrates: true,
            clock: Arc::new(clock),
            observer: Arc::new(|_| {}),
        }
    }

    /// Tells `observer` of events.
    pub fn with_observer(mut self, observer: impl Fn(StoreEvent) + Send + Sync + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("dir", &self.dir).finish_non_exhaustive()
    }
}

/// A handle to the store's thread. A clone is the same store.
///
/// A call that is dropped before its answer came may still take effect.
#[derive(Debug, Clone)]
pub struct Store {
    jobs: mpsc::SyncSender<Job>,
    records: RecordSink,
    feedback: FeedbackSink,
    responses: ResponseSink,
}

impl Store {
    /// Starts the store's thread. The database is opened by it, then and after every loss; call
    /// [`check`](Self::check) to know whether it could be.
    pub fn open(options: Options) -> std::io::Result<Self> {
        let backend = Box::new(Sqlite::new(&options));
        let (jobs, job_receiver) = mpsc::sync_channel(JOBS);
        let (queue, queue_receiver) = tokio::sync::mpsc::channel(options.queue.max(1));
        let shared = Arc::new(Shared::default());
        let (feedback, votes) = feedback::channel();
        let (kept, sink) = responses::channel();
        let receivers = (job_receiver, queue_receiver);
        let worker = Worker::new(backend, receivers, (&shared, votes, kept), options);
        let thread = std::thread::Builder::new()
            .name("cutover-store".to_owned())
            .spawn(move || worker.run())?
            .thread()
            .clone();
        let responses = sink(thread.clone());
        Ok(Self { jobs, records: RecordSink { queue, shared, thread }, feedback, responses })
    }

    /// Where requests leave their records.
    pub fn records(&self) -> RecordSink {
        self.records.clone()
    }

    /// Where clients' feedback goes.
    pub fn feedback(&self) -> FeedbackSink {
        self.feedback.clone()
    }

    /// Where answers go that clients want kept.
    pub fn responses(&self) -> ResponseSink {
        self.responses.clone()
    }

    /// A kept conversation, with what of it still waits to be written.
    pub async fn conversation(&self, query: ConversationQuery) -> Result<Conversation, StoreError> {
        let responses = self.responses.clone();
        self.call(move |backend| responses.conversation(backend, &query)).await?
    }

    /// One kept answer, if it is this key's.
    pub async fn response(
        &self,
        id: String,
        owner: Option<i64>,
    ) -> Result<Option<KeptResponse>, StoreError> {
        let responses = self.responses.clone();
        self.call(move |backend| responses.load(backend, (&id, owner))).await?
    }

    /// Deletes a kept answer, if it is this key's. Tells whether it was there. A failure has deleted nothing.
    pub async fn delete_response(
        &self,
        id: String,
        owner: Option<i64>,
    ) -> Result<bool, StoreError> {
        let responses = self.responses.clone();
        self.call(move |backend| responses.delete(backend, (&id, owner))).await?
    }

    /// What has become of the records so far.
    pub fn stats(&self) -> Stats {
        self.records.stats()
    }

    /// Whether the database can be used, and if not, why.
    pub async fn check(&self) -> Result<(), StoreError> {
        self.call(|backend| backend.check()).await?
    }

    /// All use cases that ever had a weight set, by name.
    pub async fn load_states(&self) -> Result<Vec<UseCaseState>, StoreError> {
        self.call(|backend| backend.load_states()).await?
    }

    /// Sets a weight if nobody else did since the caller read it.
    pub async fn set_weight(&self, change: SetWeight) -> Result<WeightSet, SetWeightError> {
        self.call(move |backend| backend.set_weight(&change)).await?
    }

    /// The newest entries of the audit log, newest first.
    pub async fn changes(&self, limit: u32) -> Result<Vec<Change>, StoreError> {
        self.call(move |backend| backend.changes(limit)).await?
    }

    /// Follows the whole audit log.
    pub async fn verify_changes(&self) -> Result<AuditVerdict, StoreError> {
        self.call(|backend| backend.verify_changes()).await?
    }

    /// Adds a client key.
    pub async fn add_key(&self, key: NewKey) -> Result<Key, AddKeyError> {
        self.call(move |backend| backend.add_key(&key)).await?
    }

    /// Revokes a client key.
    pub async fn revoke_key(&self, revoke: RevokeKey) -> Result<Key, RevokeKeyError> {
        self.call(move |backend| backend.revoke_key(&revoke)).await?
    }

    /// Gives a client key another secret; the one before opens the door for a while.
    pub async fn rotate_key(&self, rotate: RotateKey) -> Result<Key, RotateKeyError> {
        self.call(move |backend| backend.rotate_key(&rotate)).await?
    }

    /// All client keys, to list them or to make a [`KeyRing`](crate::KeyRing).
    pub async fn load_keys(&self) -> Result<Keys, StoreError> {
        self.call(|backend| backend.load_keys()).await?
    }

    /// Takes an instance out of service or puts it back, with its audit entry; tells which are out then.
    pub async fn set_drain(&self, set: SetDrain) -> Result<Vec<Drain>, StoreError> {
        self.call(move |backend| backend.set_drain(&set)).await?
    }

    /// The instances that operators took out of service.
    pub async fn drains(&self) -> Result<Vec<Drain>, StoreError> {
        self.call(|backend| backend.drains()).await?
    }

    /// A page of records after a place in the table, oldest first; a short page is the last one.
    pub async fn usage(&self, after: i64, limit: u32) -> Result<Vec<UsageRow>, StoreError> {
        self.call(move |backend| backend.usage(after, limit)).await?
    }

    /// What a report reads of a window, records that still wait included.
    pub async fn observed(&self, window: Window) -> Result<Observations, StoreError> {
        self.flush().await?;
        self.call(move |backend| backend.observed(&window)).await?
    }

    /// Sums up the records of a window, those still waiting included.
    pub async fn summarize(&self, window: Window) -> Result<Summary, StoreError> {
        self.flush().await?;
        self.call(move |backend| backend.summarize(&window)).await?
    }

    /// What requests that overflowed have cost since a time, by use case, those still waiting to be
    /// written included. What has no price is not in it.
    pub async fn overflow_costs(
        &self,
        since: Millis,
    ) -> Result<Vec<(UseCaseName, NanoUsd)>, StoreError> {
        self.flush().await?;
        self.call(move |backend| backend.overflow_costs(since)).await?
    }

    /// Writes the records, the feedback and the answers that wait.
    pub async fn flush(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Flush(reply))?;
        answer.await.map_err(|_| StoreError::Closed)?
    }

    /// Writes the records that wait and ends the thread. Later calls fail with
    /// [`StoreError::Closed`]. A database that does not take the records holds this up for a few
    /// busy timeouts; then they are dropped and counted.
    pub async fn close(&self) -> Stats {
        let (reply, answer) = oneshot::channel();
        if self.send(Job::Stop(reply)).is_ok() {
            // An error is a thread that has ended already, which is what was asked for.
            let _ = answer.await;
        }
        self.stats()
    }

    async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut dyn Backend) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.send(Job::Call(Box::new(move |backend| {
            // The caller may have gone.
            let _ = reply.send(call(backend));
        })))?;
        answer.await.map_err(|_| StoreError::Closed)
    }

    fn send(&self, job: Job) -> Result<(), StoreError> {
        self.jobs.try_send(job).map_err(|error| match error {
            mpsc::TrySendError::Full(_) => StoreError::Overloaded,
            mpsc::TrySendError::Disconnected(_) => StoreError::Closed,
        })?;
        self.records.thread.unpark();
        Ok(())
    }
}

mod deliveries;
mod prompts;
mod rollouts;
#[cfg(test)]
mod tests;
