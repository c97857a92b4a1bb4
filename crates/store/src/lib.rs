//! What outlives the process: rollout state, audit log, client keys, request records; and the
//! overrides directory, which holds rollbacks when the database cannot.
//!
//! # Contract
//! - A [`Store`] is a cheap handle to a thread of its own. Its methods are async and never hold a
//!   runtime's worker; each returns a typed error while the database is locked, full or gone, and
//!   works again when it is back, without a restart.
//! - A [`RecordSink`] takes a request's record without waiting. What does not fit is dropped and
//!   counted; nothing else of a request depends on the store.
//! - A [`KeyRing`] is the keys in memory: a request is let in or refused without the store.
//!
//! # Invariants
//! - A weight changes only from the generation the caller read ([`SetWeight::expected`]).
//! - Every change of a weight or a key adds one entry to the hash-chained audit log, in the same
//!   transaction.
//! - A client key is stored only as a salted hash.
//! - Only this crate knows SQL, and only `sqlite` in it: another database implements the crate's
//!   `Backend` trait and runs the same suite of tests.

mod audit;
mod backend;
mod error;
mod keys;
pub mod overrides;
mod queue;
mod record;
mod sqlite;
mod state;
mod store;
#[cfg(test)]
mod suite;
mod summary;
mod worker;

pub use audit::{Action, AuditVerdict, Change};
pub use error::StoreError;
pub use keys::{
    AddKeyError, Key, KeyRing, Keys, NewKey, RevokeKey, RevokeKeyError, SECRET_BYTES_MAX,
    SECRET_BYTES_MIN, Secret, WeakSecret,
};
pub use overrides::{Override, Overrides};
pub use queue::{RecordSink, Stats};
pub use record::Record;
pub use state::{Cause, SetWeight, SetWeightError, UseCaseState, WeightSet};
pub use store::{DropReason, Options, Store, StoreEvent};
pub use summary::{Row as SummaryRow, SUMMARY_RECORDS_MAX, Spread, Summary, Window};
