//! What outlives the process: weights and rollouts with their audit logs, client keys, request
//! records, shadow pairs, feedback, answers to go on from; and the overrides directory, which holds rollbacks when the
//! database cannot.
//!
//! # Contract
//! - A [`Store`] is a cheap handle to a thread of its own. Its methods are async and never hold a
//!   runtime's worker; each returns a typed error while the database is locked, full or gone, and
//!   works again when it is back, without a restart.
//! - A [`RecordSink`] takes a request's record without waiting. What does not fit is dropped and
//!   counted; nothing else of a request depends on the store.
//! - A [`ResponseSink`] takes an answer to keep without waiting; what waits can be read already, and its
//!   [`Keeping`] tells when it is on disk.
//! - A [`KeyRing`] is the keys in memory: a request is let in or refused without the store.
//!
//! # Invariants
//! - A weight changes only from the generation the caller read ([`SetWeight::expected`]).
//! - A rollout changes only from the generation the caller read: state, evidence, window, decision
//!   and weight in one transaction. Decisions are chained by hash like the audit log.
//! - Texts of prompts and answers reach the disk only as their use case's [`Keep`] says.
//! - Every change of a weight or a key adds one entry to the hash-chained audit log, in the same
//!   transaction.
//! - A client key is stored only as a salted hash.
//! - Only this crate knows SQL, and only `sqlite` in it: another database implements the crate's
//!   `Backend` trait and runs the same suite of tests.

mod audit;
mod backend;
mod chain;
mod codec;
mod deliveries;
mod drains;
mod error;
mod feedback;
mod keys;
mod observed;
pub mod overrides;
mod pairs;
mod prompts;
mod queue;
mod record;
mod redact;
mod responses;
mod rollouts;
mod sqlite;
mod state;
mod store;
#[cfg(test)]
mod suite;
mod summary;
mod usage;
mod worker;

pub use audit::{Action, Change};
pub use chain::AuditVerdict;
pub use deliveries::{Delivery, DeliveryCounts, Tried};
pub use drains::{Drain, SetDrain};
pub use error::StoreError;
pub use feedback::{COMMENT_BYTES_MAX, Feedback, FeedbackSink, FeedbackStats, TakenVotes};
pub use keys::{
    AddKeyError, FORMER_MAX, Key, KeyRing, Keys, NewKey, RevokeKey, RevokeKeyError, RotateKey,
    RotateKeyError, SECRET_BYTES_MAX, SECRET_BYTES_MIN, Secret, WeakSecret,
};
pub use observed::{Ending, Judged, OBSERVED_MAX, Observations, Observed};
pub use overrides::{Override, Overrides};
pub use pairs::{
    HUMAN, Keep, KeptAnswer, KeptText, NewPair, NewScore, PAIR_TEXT_BYTES_MAX, PAIRS_MAX,
    PairAnswer, PairQuery, PairText, RATING_ROWS_MAX, RatingLabel, RatingRow, StoredPair,
    StoredScore,
};
pub use prompts::{MoveLabel, NewPrompt, PromptAdded, PromptError};
pub use queue::{RecordSink, Stats};
pub use record::Record;
pub use responses::{
    Conversation, ConversationQuery, Document, Keeping, KeptResponse, RESPONSE_BYTES_MAX,
    ResponseSink, ResponseStats,
};
pub use rollouts::{
    CommitError, CommitTick, NewRollout, RolloutStarted, StartError, StoredDecision, StoredRollout,
    StoredWindow, TickCommitted, WeightChange, Whose,
};
pub use sqlite::{backup, has_database};
pub use state::{Cause, SetWeight, SetWeightError, UseCaseState, WeightSet, clip};
pub use store::{DropReason, Options, Store, StoreEvent};
pub use summary::{Row as SummaryRow, SUMMARY_RECORDS_MAX, Spread, Summary, Window};
pub use usage::{USAGE_ROWS_MAX, UsageRow};
