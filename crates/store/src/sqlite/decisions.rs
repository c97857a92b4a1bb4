//! The decisions' table.

use cutover_rollout::Decision;
use cutover_units::{Generation, UseCaseName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::rollouts::{json, parse};
use super::{SqlResult, Trouble, audit, signed, unsigned};
use crate::chain::{AuditVerdict, Follower, GENESIS, Hash, hex};
use crate::rollouts::{CHAIN, Entry, StoredDecision, Whose, finite};

/// Adds a decision. The caller's transaction holds the write lock, so the chain cannot fork.
pub(super) fn append(
    transaction: &Transaction<'_>,
    (use_case, generation): (&UseCaseName, Generation),
    decision: &Decision,
) -> SqlResult<u64> {
    let newest = transaction
        .query_row("SELECT seq, hash FROM decisions ORDER BY seq DESC LIMIT 1", [], |row| {
            Ok((row.get::<_, i64>(0)?, row.get::<_, Hash>(1)?))
        })
        .optional()?;
    let (seq, previous) = newest.map_or((1, GENESIS), |(seq, hash)| (unsigned(seq) + 1, hash));
    let entry =
        Entry { seq, use_case: use_case.clone(), generation, decision: finite(decision.clone()) };
    let entry = json(&entry)?;
    transaction.execute(
        "INSERT INTO decisions (seq, run, use_case, entry, previous, hash)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
        params![
            signed(seq),
            decision.run,
            use_case.as_str(),
            entry,
            previous,
            CHAIN.hash(&previous, &entry),
        ],
    )?;
    Ok(seq)
}

/// The newest decisions, newest first.
pub(super) fn newest(
    connection: &Connection,
    whose: &Whose,
    limit: u32,
) -> SqlResult<Vec<StoredDecision>> {
    let (run, use_case) = match whose {
        Whose::All => (None, None),
        Whose::UseCase(use_case) => (None, Some(use_case.as_str())),
        Whose::Run(run) => (Some(run.as_str()), None),
    };
    let mut statement = connection.prepare(
        "SELECT entry, hash, previous FROM decisions
         WHERE (?1 IS NULL OR run = ?1) AND (?2 IS NULL OR use_case = ?2)
         ORDER BY seq DESC LIMIT ?3",
    )?;
    let mut rows = statement.query(params![run, use_case, limit])?;
    let mut decisions = Vec::new();
    while let Some(row) = rows.next()? {
        decisions.push(read(row, 0)?);
    }
    Ok(decisions)
}

/// A decision from its text, its hash and the hash before, which stand in three columns from `at` on.
pub(super) fn read(row: &Row<'_>, at: usize) -> SqlResult<StoredDecision> {
    let entry: Entry = parse(&row.get::<_, String>(at)?)
        .map_err(|why| Trouble::Damaged(format!("a decision cannot be read: {why}")))?;
    Ok(StoredDecision {
        seq: entry.seq,
        use_case: entry.use_case,
        generation: entry.generation,
        decision: entry.decision,
        hash: hex(&row.get::<_, Hash>(at + 1)?),
        previous: hex(&row.get::<_, Hash>(at + 2)?),
    })
}

/// Follows the chain, then compares the columns that decisions are found by with the texts.
pub(super) fn verify(connection: &Connection) -> SqlResult<AuditVerdict> {
    let sql = "SELECT seq, entry, previous, hash FROM decisions ORDER BY seq";
    let verdict = audit::follow(connection, sql, Follower::new(&CHAIN))?;
    if matches!(verdict, AuditVerdict::Broken { .. }) {
        return Ok(verdict);
    }
    let mut statement =
        connection.prepare("SELECT seq, entry, run, use_case FROM decisions ORDER BY seq")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let entry: Option<Entry> = parse(&row.get::<_, String>(1)?).ok();
        let (run, use_case): (String, String) = (row.get(2)?, row.get(3)?);
        let same = |e: &Entry| e.decision.run == run && e.use_case.as_str() == use_case;
        if !entry.as_ref().is_some_and(same) {
            let why = "it stands under another run or use case than its text says".to_owned();
            return Ok(AuditVerdict::Broken { seq: unsigned(row.get(0)?), why });
        }
    }
    Ok(verdict)
}
