//! The store on SQLite: one file in the data directory, in WAL mode.
//!
//! Invariants:
//! - the file is made once in a directory's life, of which a mark beside it is kept; a file that
//!   vanishes later, even between two processes, is an error until it is back, because a new one would
//!   forget weights and keys;
//! - before each use the file at the path is compared with the one that is open: SQLite would go on
//!   writing into a deleted file without a word;
//! - records are committed without waiting for the disk (at most the last moments are lost when the
//!   machine loses power, nothing when the process is killed); weights and keys wait for it, and are then
//!   in the file itself, not in the log beside it alone.

mod audit;
mod backup;
mod decisions;
mod deliveries;
mod drains;
mod feedback;
mod files;
mod keys;
mod kinds;
mod observed;
mod pairs;
mod prompts;
mod records;
mod responses;
mod rollouts;
mod schema;
mod states;
mod trouble;
mod usage;
mod writing;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cutover_prompts::{Book, Label};
use cutover_rollout::Spec;
use cutover_units::{Generation, Millis, NanoUsd, UseCaseName};
use rusqlite::{Connection, OpenFlags};

use crate::audit::Change;
use crate::backend::Backend;
use crate::chain::AuditVerdict;
use crate::deliveries::{Delivery, DeliveryCounts, Tried};
use crate::drains::{Drain, SetDrain};
use crate::error::StoreError;
use crate::feedback::{Feedback, TakenVotes};
use crate::keys::{
    AddKeyError, Key, Keys, NewKey, RevokeKey, RevokeKeyError, RotateKey, RotateKeyError,
};
use crate::observed::Observations;
use crate::pairs::{Keep, NewPair, NewScore, PairQuery, RatingRow, StoredPair};
use crate::prompts::{MoveLabel, NewPrompt, PromptAdded, PromptError};
use crate::record::Record;
use crate::responses::KeptResponse;
use crate::rollouts::{
    CommitError, CommitTick, NewRollout, RolloutStarted, StartError, StoredDecision, StoredRollout,
    StoredWindow, TickCommitted, Whose,
};
use crate::state::{SetWeight, SetWeightError, UseCaseState, WeightSet};
use crate::store::Options;
use crate::summary::{Summary, Window};
use crate::usage::UsageRow;

pub use backup::{backup, has_database};
use files::{Identity, identity, make_private};
use kinds::Kinds;
pub(crate) use trouble::{SqlResult, Trouble};

/// The database's file in the data directory.
pub(crate) const FILE: &str = "cutover.db";

/// Page cache in KiB: writes are appends and reads are rare, so the default of 2,000 would be spent
/// for nothing.
const CACHE_KIB: i64 = 512;

/// The size of a page, which SQLite has had as its default since 2016.
const PAGE_BYTES: u64 = 4_096;

/// The size the WAL is cut back to after a checkpoint, so that one burst does not keep disk for ever.
const WAL_BYTES: i64 = 8 << 20;

pub(crate) struct Sqlite {
    dir: PathBuf,
    busy_timeout: Duration,
    max_bytes: Option<u64>,
    migrates: bool,
    clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    comments: Keep,
    open: Option<Open>,
    /// Whether the database was made here before: from then on it is never made anew.
    known: bool,
}

struct Open {
    connection: Connection,
    identity: Identity,
    kinds: Kinds,
}

impl Sqlite {
    pub(crate) fn new(options: &Options) -> Self {
        Self {
            dir: options.dir.clone(),
            busy_timeout: options.busy_timeout,
            max_bytes: options.max_bytes,
            migrates: options.migrates,
            clock: Arc::clone(&options.clock),
            comments: options.comments,
            open: None,
            known: files::is_marked(&options.dir),
        }
    }

    fn path(&self) -> PathBuf {
        self.dir.join(FILE)
    }

    fn with<T>(
        &mut self,
        operation: &'static str,
        run: impl FnOnce(&mut Connection) -> SqlResult<T>,
    ) -> Result<T, StoreError> {
        self.with_open(operation, |open| run(&mut open.connection))
    }

    /// Runs an operation on the open database, which is opened first if need be.
    fn with_open<T>(
        &mut self,
        operation: &'static str,
        run: impl FnOnce(&mut Open) -> SqlResult<T>,
    ) -> Result<T, StoreError> {
        self.drop_if_replaced(operation)?;
        if self.open.is_none() {
            let opened = self.connect().map_err(|trouble| self.name(operation, trouble))?;
            self.open = Some(opened);
            if !self.known {
                files::mark(&self.dir);
            }
            self.known = true;
        }
        let Some(open) = self.open.as_mut() else {
            return Err(StoreError::Closed);
        };
        let result = run(open);
        result.map_err(|trouble| self.name(operation, trouble))
    }

    fn drop_if_replaced(&mut self, operation: &'static str) -> Result<(), StoreError> {
        let path = self.path();
        if self.known && identity(&path).ok() != self.open.as_ref().map(|open| open.identity) {
            self.open = None;
            if !path.exists() {
                return Err(StoreError::Gone { operation, path });
            }
        }
        Ok(())
    }

    fn connect(&self) -> SqlResult<Open> {
        let path = self.path();
        if !self.known {
            make_private(&self.dir, &path)?;
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut connection = Connection::open_with_flags(&path, flags)?;
        connection.busy_timeout(self.busy_timeout)?;
        connection.pragma_update(None, "synchronous", "NORMAL")?;
        connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        connection.pragma_update(None, "journal_size_limit", WAL_BYTES)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        if let Some(bytes) = self.max_bytes {
            let pages = i64::try_from(bytes / PAGE_BYTES).unwrap_or(i64::MAX);
            // This pragma answers with a row, which `pragma_update` would take for an error.
            connection.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?;
        }
        schema::check_version(&connection)?;
        if self.migrates {
            set_wal(&connection)?;
            schema::migrate(&mut connection, self.known, (self.clock)())?;
        }
        Ok(Open { connection, identity: identity(&path)?, kinds: Kinds::default() })
    }
}

/// Switching to WAL needs the file to itself, so it is done only where it is not done yet: a lock
/// held elsewhere must not keep a database that is in WAL mode from being read.
fn set_wal(connection: &Connection) -> SqlResult<()> {
    let mode: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0))?;
    if mode != "wal" {
        connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    }
    Ok(())
}

impl Backend for Sqlite {
    fn check(&mut self) -> Result<(), StoreError> {
        // Room to write is asked for, too: else a lock shows only when there is something to write.
        self.write("open the database", |transaction| schema::check_version(transaction))
    }

    fn load_states(&mut self) -> Result<Vec<UseCaseState>, StoreError> {
        self.with("load weights", |connection| states::load(connection))
    }

    fn set_weight(&mut self, change: &SetWeight) -> Result<WeightSet, SetWeightError> {
        self.write_durably("set weight", |transaction| states::set(transaction, change))?
    }

    fn note_candidate(
        &mut self,
        of: (&UseCaseName, Generation),
        candidate: &str,
    ) -> Result<bool, StoreError> {
        self.write_durably("note whose share it is", |transaction| {
            states::note_candidate(transaction, of, candidate)
        })
    }

    fn changes(&mut self, limit: u32) -> Result<Vec<Change>, StoreError> {
        self.with("read the audit log", |connection| audit::newest(connection, limit))
    }

    fn verify_changes(&mut self) -> Result<AuditVerdict, StoreError> {
        self.with("verify the audit log", |connection| audit::verify(connection))
    }

    fn add_key(&mut self, key: &NewKey) -> Result<Key, AddKeyError> {
        crate::keys::check_name(&key.name)?;
        self.write_durably("add key", |transaction| keys::add(transaction, key))?
    }

    fn revoke_key(&mut self, revoke: &RevokeKey) -> Result<Key, RevokeKeyError> {
        self.write_durably("revoke key", |transaction| keys::revoke(transaction, revoke))?
    }

    fn rotate_key(&mut self, rotate: &RotateKey) -> Result<Key, RotateKeyError> {
        self.write_durably("rotate key", |transaction| keys::rotate(transaction, rotate))?
    }

    fn load_keys(&mut self) -> Result<Keys, StoreError> {
        self.with("load keys", |connection| keys::load(connection))
    }

    fn set_drain(&mut self, set: &SetDrain) -> Result<Vec<Drain>, StoreError> {
        self.write_durably("take an instance out", |transaction| drains::set(transaction, set))
    }

    fn drains(&mut self) -> Result<Vec<Drain>, StoreError> {
        self.with("load drained instances", |connection| drains::load(connection))
    }

    fn add_prompt(&mut self, new: &NewPrompt) -> Result<PromptAdded, PromptError> {
        self.write_durably("add a prompt", |transaction| prompts::add(transaction, new))?
    }

    fn move_label(&mut self, to: &MoveLabel) -> Result<Label, PromptError> {
        self.write_durably("move a prompt's label", |transaction| prompts::put(transaction, to))?
    }

    fn prompts(&mut self) -> Result<Book, StoreError> {
        self.with("load prompts", prompts::load)
    }

    fn write_records(&mut self, records: &[Record]) -> Result<(), StoreError> {
        self.write_with_kinds("write records", |transaction, kinds| {
            records::write(transaction, kinds, records)
        })
    }

    fn delete_records(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError> {
        self.write_with_kinds("delete old records", |transaction, kinds| {
            records::delete(transaction, kinds, (before, limit))
        })
    }

    fn overflow_costs(&mut self, since: Millis) -> Result<Vec<(UseCaseName, NanoUsd)>, StoreError> {
        self.with("sum up overflow", |connection| records::overflow_costs(connection, since))
    }

    fn usage(&mut self, after: i64, limit: u32) -> Result<Vec<UsageRow>, StoreError> {
        self.with("read usage", |connection| usage::read(connection, after, limit))
    }

    fn observed(&mut self, window: &Window) -> Result<Observations, StoreError> {
        self.with("read observations", |connection| observed::read(connection, window))
    }

    fn summarize(&mut self, window: &Window) -> Result<Summary, StoreError> {
        self.with("sum up records", |connection| records::summarize(connection, window))
    }

    fn start_rollout(&mut self, new: &NewRollout) -> Result<RolloutStarted, StartError> {
        self.write_durably("start a rollout", |transaction| rollouts::start(transaction, new))?
    }

    fn commit_tick(&mut self, tick: &CommitTick) -> Result<TickCommitted, CommitError> {
        let operation = "commit a rollout's tick";
        // A tick that decides nothing need not wait for the disk: should it be lost with the power,
        // state, evidence and window are lost together.
        let decides = tick.decision.is_some() || tick.weight.is_some() || tick.spec.is_some();
        if decides {
            self.write_durably(operation, |transaction| rollouts::commit(transaction, tick))?
        } else {
            self.write(operation, |transaction| rollouts::commit(transaction, tick))?
        }
    }

    fn rollouts(&mut self) -> Result<Vec<StoredRollout>, StoreError> {
        self.with("load rollouts", |connection| rollouts::newest(connection))
    }

    fn rollout(&mut self, run: &str) -> Result<Option<StoredRollout>, StoreError> {
        self.with("load a rollout", |connection| rollouts::of_run(connection, run))
    }

    fn specs(&mut self, run: &str) -> Result<Vec<(Generation, Spec)>, StoreError> {
        self.with("load a rollout's specs", |connection| rollouts::specs(connection, run))
    }

    fn windows(&mut self, run: &str, page: (u64, u32)) -> Result<Vec<StoredWindow>, StoreError> {
        self.with("load windows", |connection| rollouts::windows(connection, run, page))
    }

    fn delete_windows(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError> {
        self.write("delete old windows", |transaction| {
            rollouts::delete_windows(transaction, before, limit)
        })
    }

    fn decisions(&mut self, whose: &Whose, limit: u32) -> Result<Vec<StoredDecision>, StoreError> {
        self.with("read decisions", |connection| decisions::newest(connection, whose, limit))
    }

    fn verify_decisions(&mut self) -> Result<AuditVerdict, StoreError> {
        self.with("verify decisions", |connection| decisions::verify(connection))
    }

    fn deliveries(&mut self, webhook: &str, limit: u32) -> Result<Vec<Delivery>, StoreError> {
        self.with("read the outbox", |connection| deliveries::waiting(connection, webhook, limit))
    }

    fn note_delivery(&mut self, at: (u64, Millis), tried: &Tried) -> Result<(), StoreError> {
        self.write("note a delivery", |transaction| deliveries::tried(transaction, at, tried))
    }

    fn delivery_counts(&mut self) -> Result<Vec<DeliveryCounts>, StoreError> {
        self.with("count deliveries", |connection| deliveries::counts(connection))
    }

    fn sweep_deliveries(
        &mut self,
        before: (Millis, Millis),
        known: (&[String], Millis),
    ) -> Result<u64, StoreError> {
        self.write("sweep the outbox", |transaction| deliveries::sweep(transaction, before, known))
    }

    fn write_pairs(&mut self, new: &[NewPair]) -> Result<u64, StoreError> {
        self.write("write pairs", |transaction| pairs::write(transaction, new))
    }

    fn write_scores(&mut self, scores: &[NewScore]) -> Result<u64, StoreError> {
        self.write("write scores", |transaction| pairs::write_scores(transaction, scores))
    }

    fn pairs(&mut self, query: &PairQuery) -> Result<Vec<StoredPair>, StoreError> {
        self.with("load pairs", |connection| pairs::query(connection, query))
    }

    fn rating_rows(
        &mut self,
        of: &UseCaseName,
        scorer: &str,
    ) -> Result<Vec<RatingRow>, StoreError> {
        self.with("load labels", |connection| pairs::rating_rows(connection, of, scorer))
    }

    fn delete_pairs(
        &mut self,
        use_case: Option<&UseCaseName>,
        old: (Millis, u32),
    ) -> Result<u64, StoreError> {
        self.delete_securely("delete old pairs", |transaction| {
            pairs::delete(transaction, use_case, old)
        })
    }

    fn write_feedback(&mut self, batch: &[Feedback]) -> Result<u64, StoreError> {
        let comments = self.comments;
        self.write("write feedback", |transaction| feedback::write(transaction, batch, comments))
    }

    fn join_feedback(&mut self) -> Result<u64, StoreError> {
        let now = (self.clock)();
        self.write("join feedback", |transaction| feedback::join(transaction, now))
    }

    fn votes(&mut self, of: &UseCaseName, page: (u64, u32)) -> Result<TakenVotes, StoreError> {
        self.with("load votes", |connection| feedback::votes(connection, of, page))
    }

    fn write_responses(&mut self, new: &[Arc<KeptResponse>]) -> Result<(), StoreError> {
        self.write("write answers", |transaction| responses::write(transaction, new))
    }

    fn response(
        &mut self,
        id: &str,
        owner: Option<i64>,
    ) -> Result<Option<KeptResponse>, StoreError> {
        self.with("load an answer", |connection| responses::load(connection, (id, owner)))
    }

    fn delete_response(&mut self, id: &str, owner: Option<i64>) -> Result<bool, StoreError> {
        self.delete_securely("delete an answer", |transaction| {
            responses::delete(transaction, (id, owner))
        })
        .map(|deleted| deleted > 0)
    }

    fn expire_responses(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError> {
        self.delete_securely("delete old answers", |transaction| {
            responses::expire(transaction, before, limit)
        })
    }

    fn delete_feedback(&mut self, before: Millis, limit: u32) -> Result<u64, StoreError> {
        self.write("delete old feedback", |transaction| {
            feedback::delete(transaction, before, limit)
        })
    }
}

/// A stored number as what it was before [`signed`].
fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

/// A number for a column. What does not fit is as good as infinite.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
