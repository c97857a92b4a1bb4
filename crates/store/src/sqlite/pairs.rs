//! The tables of shadow pairs and scores.

use cutover_rollout::Served;
use cutover_units::{Millis, NanoUsd, UseCaseName};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use sha2::{Digest, Sha256};

use super::keys::salt;
use super::rollouts::{json, parse};
use super::{SqlResult, Trouble, signed, unsigned};
use crate::chain::hex;
use crate::pairs::{
    HUMAN, Keep, KeptAnswer, KeptText, NewPair, NewScore, PAIRS_MAX, PairAnswer, PairQuery,
    PairText, RATING_ROWS_MAX, RatingLabel, RatingRow, StoredPair, StoredScore,
};
use crate::state::clip;

const COLUMNS: &str = "request_id, use_case, run, at_ms, unit_hash, endpoint, keep,
    prompt, prompt_bytes, prompt_digest,
    baseline, baseline_bytes, baseline_digest,
    baseline_tool_calls, baseline_finish, baseline_served,
    candidate, candidate_bytes, candidate_digest,
    candidate_tool_calls, candidate_finish, candidate_served";

const PLACES: &str = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17,
    ?18, ?19, ?20, ?21, ?22";

/// Adds the pairs of requests that have none yet, and tells how many those were.
pub(super) fn write(transaction: &Transaction<'_>, pairs: &[NewPair]) -> SqlResult<u64> {
    let salt = salt(transaction)?;
    let mut statement = transaction.prepare(&format!(
        "INSERT INTO shadow_pairs ({COLUMNS}) VALUES ({PLACES}) ON CONFLICT (request_id) DO NOTHING"
    ))?;
    let mut written = 0;
    for pair in pairs {
        let keep = |text: &PairText| Kept::new(&salt, pair.keep, text);
        let prompt = keep(&pair.prompt);
        let (baseline, candidate) = (keep(&pair.baseline.text), keep(&pair.candidate.text));
        let tool_calls = |answer: &PairAnswer| {
            answer.tool_calls.as_ref().and_then(|calls| pair.keep.apply(&calls.0))
        };
        written += statement.execute(params![
            pair.request_id,
            pair.use_case.as_str(),
            pair.run,
            signed(pair.at.0),
            pair.unit.cast_signed(),
            pair.endpoint,
            pair.keep.as_str(),
            prompt.text,
            prompt.bytes,
            prompt.digest,
            baseline.text,
            baseline.bytes,
            baseline.digest,
            tool_calls(&pair.baseline),
            pair.baseline.finish,
            json(&pair.baseline.served)?,
            candidate.text,
            candidate.bytes,
            candidate.digest,
            tool_calls(&pair.candidate),
            pair.candidate.finish,
            json(&pair.candidate.served)?,
        ])?;
    }
    Ok(written as u64)
}

/// A text's three columns.
struct Kept {
    text: Option<String>,
    bytes: i64,
    digest: String,
}

impl Kept {
    fn new(salt: &[u8], keep: Keep, text: &PairText) -> Self {
        let mut digest = Sha256::new();
        digest.update(b"cutover text 1\n");
        digest.update(salt);
        digest.update(text.0.as_bytes());
        Self {
            text: keep.apply(&text.0),
            bytes: signed(text.0.len() as u64),
            digest: hex(&digest.finalize()),
        }
    }
}

/// Adds scores, or replaces those of the same scorer. Tells how many had a pair.
pub(super) fn write_scores(transaction: &Transaction<'_>, scores: &[NewScore]) -> SqlResult<u64> {
    let mut find =
        transaction.prepare("SELECT id, keep FROM shadow_pairs WHERE request_id = ?1")?;
    let mut insert = transaction.prepare(
        "INSERT OR REPLACE INTO scores
             (pair, scorer, at_ms, baseline, candidate, why, detail, cost_nano_usd)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )?;
    let mut written = 0;
    for NewScore { request_id, score } in scores {
        let pair = find
            .query_row([request_id], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, String>(1)?)))
            .optional()?;
        let Some((pair, keep)) = pair else { continue };
        let keep = Keep::parse(&keep).unwrap_or(Keep::None);
        written += insert.execute(params![
            pair,
            score.scorer,
            signed(score.at.0),
            score.baseline,
            score.candidate,
            score.why.as_deref().map(clip),
            score.detail.as_ref().and_then(|detail| keep.apply(&detail.0)),
            score.cost.map(|cost| signed(cost.0)),
        ])?;
    }
    Ok(written as u64)
}

pub(super) fn query(connection: &Connection, query: &PairQuery) -> SqlResult<Vec<StoredPair>> {
    let mut statement = connection.prepare(&format!(
        "SELECT {COLUMNS}, id FROM shadow_pairs
         WHERE use_case = ?1 AND (?2 IS NULL OR run = ?2)
           AND at_ms >= ?3 AND at_ms < ?4 AND id > ?5
         ORDER BY id LIMIT ?6"
    ))?;
    let mut rows = statement.query(params![
        query.use_case.as_str(),
        query.run,
        signed(query.from.0),
        signed(query.until.0),
        signed(query.after),
        query.limit.min(PAIRS_MAX),
    ])?;
    let mut pairs = Vec::new();
    while let Some(row) = rows.next()? {
        let mut pair = read(row)?;
        pair.scores = scores(connection, pair.id)?;
        pairs.push(pair);
    }
    Ok(pairs)
}

fn read(row: &Row<'_>) -> SqlResult<StoredPair> {
    let request_id: String = row.get(0)?;
    let damaged = |what: &str| Trouble::Damaged(format!("{what} of pair {request_id}"));
    let use_case: String = row.get(1)?;
    let keep: String = row.get(6)?;
    let text = |at: usize| -> SqlResult<KeptText> {
        Ok(KeptText {
            text: row.get::<_, Option<String>>(at)?.map(PairText),
            bytes: unsigned(row.get(at + 1)?),
            digest: row.get(at + 2)?,
        })
    };
    let answer = |at: usize| -> SqlResult<KeptAnswer> {
        let served: String = row.get(at + 5)?;
        Ok(KeptAnswer {
            text: text(at)?,
            tool_calls: row.get::<_, Option<String>>(at + 3)?.map(PairText),
            finish: row.get(at + 4)?,
            served: parse(&served).map_err(|_| damaged("timing"))?,
        })
    };
    Ok(StoredPair {
        id: unsigned(row.get(22)?),
        use_case: UseCaseName::new(&use_case).map_err(|_| damaged("use case"))?,
        run: row.get(2)?,
        at: Millis(unsigned(row.get(3)?)),
        unit: row.get::<_, i64>(4)?.cast_unsigned(),
        endpoint: row.get(5)?,
        keep: Keep::parse(&keep).ok_or_else(|| damaged("keep"))?,
        prompt: text(7)?,
        baseline: answer(10)?,
        candidate: answer(16)?,
        scores: Vec::new(),
        request_id: request_id.clone(),
    })
}

fn scores(connection: &Connection, pair: u64) -> SqlResult<Vec<StoredScore>> {
    let mut statement = connection.prepare(
        "SELECT scorer, at_ms, baseline, candidate, why, detail, cost_nano_usd
         FROM scores WHERE pair = ?1 ORDER BY scorer",
    )?;
    let scores = statement.query_map([signed(pair)], |row| {
        Ok(StoredScore {
            scorer: row.get(0)?,
            at: Millis(unsigned(row.get(1)?)),
            baseline: row.get(2)?,
            candidate: row.get(3)?,
            why: row.get(4)?,
            detail: row.get::<_, Option<String>>(5)?.map(PairText),
            cost: row.get::<_, Option<i64>>(6)?.map(|cost| NanoUsd(unsigned(cost))),
        })
    })?;
    Ok(scores.collect::<Result<_, _>>()?)
}

/// The newest pairs of a use case without their texts, newest first.
pub(super) fn rating_rows(
    connection: &Connection,
    of: &UseCaseName,
    scorer: &str,
) -> SqlResult<Vec<RatingRow>> {
    let mut statement = connection.prepare(
        "SELECT p.id, p.request_id, p.prompt IS NOT NULL AND p.keep <> 'none',
                p.baseline_served, p.candidate_served, s.baseline, s.candidate
         FROM shadow_pairs p LEFT JOIN scores s ON s.pair = p.id AND s.scorer = ?2
         WHERE p.use_case = ?1 ORDER BY p.at_ms DESC, p.id DESC LIMIT ?3",
    )?;
    let mut labels = connection.prepare(
        "SELECT scorer, baseline, candidate FROM scores
         WHERE pair = ?1 AND scorer >= ?2 AND scorer < ?3
           AND baseline IS NOT NULL AND candidate IS NOT NULL
         ORDER BY at_ms, scorer",
    )?;
    // `A` is the character after `@`.
    let people = (format!("{HUMAN}@"), format!("{HUMAN}A"));
    let mut rows = statement.query(params![of.as_str(), scorer, RATING_ROWS_MAX])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let request_id: String = row.get(1)?;
        let answered = |at: usize| -> SqlResult<bool> {
            let served: String = row.get(at)?;
            let served: Served = parse(&served)
                .map_err(|_| Trouble::Damaged(format!("timing of pair {request_id}")))?;
            Ok(!served.failed)
        };
        let (id, scores): (i64, (Option<u8>, Option<u8>)) =
            (row.get(0)?, (row.get(5)?, row.get(6)?));
        let said = labels.query_map(params![id, people.0, people.1], |row| {
            Ok(RatingLabel { rater: row.get(0)?, baseline: row.get(1)?, candidate: row.get(2)? })
        })?;
        let labels = said.collect::<Result<_, _>>()?;
        let (kept, answered) = (row.get(2)?, answered(3)? && answered(4)?);
        let scored = scores.0.zip(scores.1);
        found.push(RatingRow { pair: unsigned(id), kept, answered, scored, labels, request_id });
    }
    Ok(found)
}

pub(super) fn delete(
    transaction: &Transaction<'_>,
    use_case: Option<&UseCaseName>,
    (before, limit): (Millis, u32),
) -> SqlResult<u64> {
    let deleted = transaction.execute(
        "DELETE FROM shadow_pairs WHERE id IN
             (SELECT id FROM shadow_pairs WHERE at_ms < ?1 AND (?2 IS NULL OR use_case = ?2)
              ORDER BY at_ms LIMIT ?3)",
        params![signed(before.0), use_case.map(UseCaseName::as_str), limit],
    )?;
    Ok(deleted as u64)
}
