//! Kinds of records: what many requests have in common, told once.
//!
//! Invariants:
//! - the kinds in memory are in the database: they are forgotten whenever a transaction fails, another
//!   database is opened or kinds are deleted;
//! - two rows may say the same: after a restart, or where more kinds are in use than are kept in memory;
//! - a kind lives as long as a record of it.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash};

use cutover_units::{Arm, InstanceId, Millis, UpstreamName, UseCaseName, VariantName};
use rusqlite::{Transaction, params};

use super::{SqlResult, Trouble, signed};
use crate::record::Record;

const INSERT: &str = "INSERT INTO record_kinds (
    last_ms, use_case, arm, answered_arm, variant, prompt, upstream, instance, endpoint, stream,
    assignment, outcome, status, code, usage_estimated, price_source, finish_reason, attempts,
    failed_over, losses, marks, seen_by, sdk_retry
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22, ?23
)";

/// Kinds that are kept in memory. Traffic of more writes some of them anew, over and over.
pub(super) const KNOWN_MAX: usize = 1_024;

/// Kinds that are compared before anything is hashed.
const RECENT: usize = 4;

/// The time of a kind's last use is written again after this time.
const DAY: Millis = Millis(24 * 60 * 60 * 1_000);

#[derive(Default)]
pub(super) struct Kinds {
    known: HashMap<u64, Known>,
    /// Of the records before, the newest first: an arm's record follows another's, and finding a kind by
    /// its hash costs more than the rest of its row.
    recent: [u64; RECENT],
}

struct Known {
    /// A record of the kind.
    example: Record,
    id: i64,
    /// The last use that the database knows.
    last: Millis,
}

/// All that makes a kind.
fn common(r: &Record) -> impl Hash + PartialEq {
    let made =
        (&r.use_case, r.arm, r.answered_arm, &r.variant, &r.prompt, &r.upstream, &r.instance);
    let asked = (r.endpoint, r.stream, r.assignment, &r.losses, r.sdk_retry);
    let ended = (r.outcome, r.status, r.code, r.finish_reason, r.attempts, r.failed_over);
    let told = (r.usage_estimated, r.price_source, &r.marks, &r.seen_by, &r.copy_for);
    (made, asked, ended, told)
}

impl Kinds {
    pub(super) fn forget(&mut self) {
        self.known.clear();
    }

    /// The number of a record's kind, which is written if it is new.
    pub(super) fn of(&mut self, transaction: &Transaction<'_>, record: &Record) -> SqlResult<i64> {
        for place in 0..RECENT {
            if let Some(id) = self.find(self.recent[place], record) {
                self.recent[..=place].rotate_right(1);
                return Ok(id);
            }
        }
        let key = BuildHasherDefault::<DefaultHasher>::new().hash_one(common(record));
        self.recent.rotate_right(1);
        self.recent[0] = key;
        if let Some(id) = self.find(key, record) {
            return Ok(id);
        }
        let id = match self.known.get(&key) {
            Some(old) if common(&old.example) == common(record) => {
                renewed(transaction, old.id, record.at)?
            }
            _ => None,
        };
        let id = match id {
            Some(id) => id,
            None => insert(transaction, record)?,
        };
        if self.known.len() >= KNOWN_MAX {
            self.known.clear();
        }
        self.known.insert(key, Known { example: record.clone(), id, last: record.at });
        Ok(id)
    }

    fn find(&self, key: u64, record: &Record) -> Option<i64> {
        let known = self.known.get(&key)?;
        let fresh = record.at.0 < known.last.0.saturating_add(DAY.0);
        (fresh && common(&known.example) == common(record)).then_some(known.id)
    }
}

/// Notes a kind's use; nothing if another process has deleted it.
fn renewed(transaction: &Transaction<'_>, id: i64, at: Millis) -> SqlResult<Option<i64>> {
    let sql = "UPDATE record_kinds SET last_ms = max(last_ms, ?2) WHERE id = ?1";
    Ok((transaction.prepare_cached(sql)?.execute(params![id, signed(at.0)])? == 1).then_some(id))
}

fn insert(transaction: &Transaction<'_>, r: &Record) -> SqlResult<i64> {
    transaction.prepare_cached(INSERT)?.execute(params![
        signed(r.at.0),
        r.use_case.as_ref().map(UseCaseName::as_str),
        r.arm.as_str(),
        r.answered_arm.map(Arm::as_str),
        r.variant.as_ref().map(VariantName::as_str),
        r.prompt.as_deref(),
        r.upstream.as_ref().map(UpstreamName::as_str),
        r.instance.as_ref().map(InstanceId::as_str),
        r.endpoint,
        r.stream,
        r.assignment,
        r.outcome,
        r.status,
        r.code,
        r.usage_estimated,
        r.price_source,
        r.finish_reason,
        r.attempts,
        r.failed_over,
        words(&r.losses)?,
        words(&r.marks)?,
        words(&seen_by(r))?,
        r.sdk_retry,
    ])?;
    Ok(transaction.last_insert_rowid())
}

/// Who was sent the body: names of upstreams, and `copy:NAME` for a copy that follows.
fn seen_by(record: &Record) -> Vec<String> {
    let copy = record.copy_for.iter().map(|upstream| format!("copy:{upstream}"));
    record.seen_by.iter().map(ToString::to_string).chain(copy).collect()
}

/// A list of words as JSON; none of an empty one.
fn words<T: serde::Serialize>(words: &[T]) -> SqlResult<Option<String>> {
    if words.is_empty() {
        return Ok(None);
    }
    serde_json::to_string(words).map(Some).map_err(|e| Trouble::Damaged(e.to_string()))
}

/// Deletes kinds that no record has any more, when all records before a time are gone. Whether there
/// were any.
pub(super) fn delete(transaction: &Transaction<'_>, before: Millis) -> SqlResult<bool> {
    let unused = before.0.saturating_sub(DAY.0);
    let sql = "DELETE FROM record_kinds WHERE last_ms < ?1";
    Ok(transaction.execute(sql, params![signed(unused)])? > 0)
}
