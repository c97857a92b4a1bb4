//! The table of answers that are kept.

use std::sync::Arc;

use cutover_units::Millis;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

use super::{SqlResult, signed, unsigned};
use crate::responses::{Document, KeptResponse};

/// The owner of answers that were given without a key. Ids of keys begin at 1.
const NOBODY: i64 = 0;

/// Adds answers. One whose id is there already changes nothing.
pub(super) fn write(
    transaction: &Transaction<'_>,
    responses: &[Arc<KeptResponse>],
) -> SqlResult<()> {
    let mut statement = transaction.prepare(
        "INSERT INTO responses (id, owner, at_ms, previous, local_only, document)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT (id) DO NOTHING",
    )?;
    for kept in responses {
        statement.execute(params![
            kept.id,
            kept.owner.unwrap_or(NOBODY),
            signed(kept.at.0),
            kept.previous,
            kept.local_only,
            kept.document.0,
        ])?;
    }
    Ok(())
}

pub(super) fn load(
    connection: &Connection,
    (id, owner): (&str, Option<i64>),
) -> SqlResult<Option<KeptResponse>> {
    let mut statement = connection.prepare(
        "SELECT at_ms, previous, local_only, document FROM responses WHERE id = ?1 AND owner = ?2",
    )?;
    let found = statement.query_row(params![id, owner.unwrap_or(NOBODY)], |row| {
        Ok(KeptResponse {
            id: id.to_owned(),
            owner,
            at: Millis(unsigned(row.get(0)?)),
            previous: row.get(1)?,
            local_only: row.get(2)?,
            document: Document(row.get(3)?),
        })
    });
    Ok(found.optional()?)
}

pub(super) fn delete(
    transaction: &Transaction<'_>,
    (id, owner): (&str, Option<i64>),
) -> SqlResult<u64> {
    let deleted = transaction.execute(
        "DELETE FROM responses WHERE id = ?1 AND owner = ?2",
        params![id, owner.unwrap_or(NOBODY)],
    )?;
    Ok(deleted as u64)
}

pub(super) fn expire(transaction: &Transaction<'_>, before: Millis, limit: u32) -> SqlResult<u64> {
    let deleted = transaction.execute(
        "DELETE FROM responses WHERE id IN
             (SELECT id FROM responses WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)",
        params![signed(before.0), limit],
    )?;
    Ok(deleted as u64)
}
