//! The tables of feedback and votes.

use cutover_rollout::Vote;
use cutover_units::{Arm, Millis, UseCaseName, WeightBp};
use rusqlite::{Connection, Transaction, params};

use super::{SqlResult, Trouble, signed, unsigned};
use crate::feedback::{Feedback, GIVE_UP_AFTER, TakenVotes, WAITING_MAX};
use crate::pairs::Keep;

/// Adds what is new, and tells how much that was.
pub(super) fn write(
    transaction: &Transaction<'_>,
    batch: &[Feedback],
    comments: Keep,
) -> SqlResult<u64> {
    let mut statement = transaction.prepare(
        "INSERT INTO feedback (request_id, key_name, at_ms, score, comment)
         VALUES (?1, ?2, ?3, ?4, ?5) ON CONFLICT (request_id, key_name) DO NOTHING",
    )?;
    let mut written = 0;
    for feedback in batch {
        let comment = feedback.comment.as_deref().and_then(|comment| comments.apply(comment));
        written += statement.execute(params![
            feedback.request_id,
            feedback.key_name.as_deref().unwrap_or_default(),
            signed(feedback.at.0),
            feedback.score,
            comment,
        ])?;
    }
    Ok(written as u64)
}

/// Joins what waits with records that have come since, and gives up what waited for too long. Tells
/// how much was given up.
pub(super) fn join(transaction: &Transaction<'_>, now: Millis) -> SqlResult<u64> {
    transaction.execute(
        "INSERT INTO votes
             (feedback, use_case, at_ms, unit_hash, arm, share_bp, random, score)
         SELECT f.seq, r.use_case, r.at_ms, r.unit_hash, r.arm, r.share_bp,
                r.assignment IN ('sticky', 'request') AND r.overflow IS NULL, f.score
         FROM feedback f JOIN records r ON r.request_id = f.request_id
         WHERE f.matched = 0 AND r.share_bp IS NOT NULL AND r.use_case IS NOT NULL
         ORDER BY f.seq
         ON CONFLICT (feedback) DO NOTHING",
        [],
    )?;
    transaction.execute(
        "UPDATE feedback SET matched = 1
         WHERE matched = 0 AND seq IN (SELECT feedback FROM votes)",
        [],
    )?;
    let given_up = transaction.execute(
        "UPDATE feedback SET matched = 2 WHERE matched = 0 AND (at_ms < ?1 OR seq <= coalesce(
             (SELECT seq FROM feedback WHERE matched = 0 ORDER BY seq DESC LIMIT 1 OFFSET ?2), 0))",
        params![signed(now.0.saturating_sub(GIVE_UP_AFTER.0)), WAITING_MAX],
    )?;
    Ok(given_up as u64)
}

pub(super) fn votes(
    connection: &Connection,
    use_case: &UseCaseName,
    (after, limit): (u64, u32),
) -> SqlResult<TakenVotes> {
    let mut statement = connection.prepare(
        "SELECT seq, at_ms, unit_hash, arm, share_bp, random, score FROM votes
         WHERE use_case = ?1 AND seq > ?2 ORDER BY seq LIMIT ?3",
    )?;
    let mut rows = statement.query(params![use_case.as_str(), signed(after), limit])?;
    let mut votes = Vec::new();
    while let Some(row) = rows.next()? {
        let seq = unsigned(row.get(0)?);
        let damaged = |what: &str| Trouble::Damaged(format!("vote {seq} has no {what}"));
        let arm: String = row.get(3)?;
        let vote = Vote {
            at: Millis(unsigned(row.get(1)?)),
            unit: row.get::<_, i64>(2)?.cast_unsigned(),
            arm: Arm::ALL
                .into_iter()
                .find(|known| known.as_str() == arm)
                .ok_or_else(|| damaged("arm"))?,
            share: WeightBp::new(row.get(4)?).map_err(|_| damaged("share"))?,
            random: row.get(5)?,
            score: row.get(6)?,
        };
        votes.push((seq, vote));
    }
    let waiting =
        connection.query_row("SELECT count(*) FROM feedback WHERE matched = 0", [], |row| {
            row.get::<_, i64>(0)
        })?;
    Ok(TakenVotes { votes, waiting: unsigned(waiting) })
}

pub(super) fn delete(transaction: &Transaction<'_>, before: Millis, limit: u32) -> SqlResult<u64> {
    let deleted = transaction.execute(
        "DELETE FROM feedback WHERE seq IN
             (SELECT seq FROM feedback WHERE at_ms < ?1 ORDER BY at_ms LIMIT ?2)",
        params![signed(before.0), limit],
    )?;
    Ok(deleted as u64)
}
