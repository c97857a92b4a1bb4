//! What reports read: records, scores of pairs and votes.

use cutover_units::{Millis, NanoUsd, Side, UseCaseName, codes};
use rusqlite::{Connection, Row, params};

use super::{SqlResult, records, signed, unsigned};
use crate::observed::{Ending, Judged, OBSERVED_MAX, Observations, Observed};
use crate::summary::Window;

/// Those of a window, with tokens of which no two make a sum that an integer cannot hold: rows of earlier versions have
/// whatever an upstream told. They lie between two ids; the newest are those that ended last.
pub(super) const REQUESTS: &str =
    "SELECT at_ms, arm, unit_hash, outcome, code, status, failed_over,
        first_token_us, total_us, cost_nano_usd,
        min(coalesce(prompt_tokens, 0), 4611686018427387903)
            + min(coalesce(completion_tokens, 0), 4611686018427387903)
     FROM records WHERE at_ms >= ?1 AND at_ms < ?2 AND (?3 IS NULL OR use_case = ?3)";

pub(super) fn read(connection: &Connection, window: &Window) -> SqlResult<Observations> {
    let (first, last) = records::ids(connection, (window.from, window.until))?.unwrap_or_default();
    let requests = rows(
        connection,
        &format!("{REQUESTS} AND id BETWEEN {first} AND {last} ORDER BY id DESC LIMIT ?4"),
        (window, request),
    )?;
    let mut judged = rows(
        connection,
        "SELECT p.at_ms, p.unit_hash, 0, s.baseline FROM scores s JOIN shadow_pairs p ON p.id = s.pair
         WHERE p.at_ms >= ?1 AND p.at_ms < ?2 AND (?3 IS NULL OR p.use_case = ?3)
           AND s.baseline IS NOT NULL AND s.candidate IS NOT NULL
         UNION ALL
         SELECT p.at_ms, p.unit_hash, 1, s.candidate FROM scores s JOIN shadow_pairs p ON p.id = s.pair
         WHERE p.at_ms >= ?1 AND p.at_ms < ?2 AND (?3 IS NULL OR p.use_case = ?3)
           AND s.baseline IS NOT NULL AND s.candidate IS NOT NULL
         LIMIT ?4",
        (window, |row| judgement(row, false)),
    )?;
    let votes = rows(
        connection,
        "SELECT at_ms, unit_hash, arm = 'candidate', score FROM votes
         WHERE at_ms >= ?1 AND at_ms < ?2 AND (?3 IS NULL OR use_case = ?3) LIMIT ?4",
        (window, |row| judgement(row, true)),
    )?;
    judged.extend(votes);
    let truncated = requests.len() > OBSERVED_MAX || judged.len() > OBSERVED_MAX;
    let mut requests = requests;
    requests.truncate(OBSERVED_MAX);
    Ok(Observations { requests, judged, truncated })
}

fn rows<T>(
    connection: &Connection,
    sql: &str,
    (window, read): (&Window, impl Fn(&Row<'_>) -> SqlResult<T>),
) -> SqlResult<Vec<T>> {
    let use_case = window.use_case.as_ref().map(UseCaseName::as_str);
    let limit = i64::try_from(OBSERVED_MAX + 1).unwrap_or(i64::MAX);
    let mut statement = connection.prepare(sql)?;
    let mut rows =
        statement.query(params![signed(window.from.0), signed(window.until.0), use_case, limit])?;
    let mut out = Vec::new();
    while let Some(row) = rows.next()? {
        out.push(read(row)?);
    }
    Ok(out)
}

fn request(row: &Row<'_>) -> SqlResult<Observed> {
    let number = |at: usize| row.get::<_, Option<i64>>(at).map(|value| value.map(unsigned));
    let outcome: String = row.get(3)?;
    let code: Option<String> = row.get(4)?;
    let status: i64 = row.get(5)?;
    Ok(Observed {
        at: Millis(number(0)?.unwrap_or_default()),
        candidate: row.get::<_, String>(1)? == "candidate",
        unit: row.get::<_, i64>(2)?.cast_unsigned(),
        ending: ending(&outcome, code.as_deref()),
        rate_limited: status == 429
            && code.as_deref() == Some(codes::Code::RateLimitExceeded.name()),
        failed_over: row.get(6)?,
        first_token_us: number(7)?,
        total_us: number(8)?.unwrap_or_default(),
        cost: number(9)?.map(NanoUsd),
        tokens: number(10)?.unwrap_or_default(),
    })
}

/// As the summary of records counts them.
fn ending(outcome: &str, code: Option<&str>) -> Ending {
    let row = code.map(|code| codes::TABLE.iter().find(|row| row.name == code).map(|row| row.side));
    match (outcome, row) {
        ("client_gone", _) | (_, Some(Some(Side::Client))) => Ending::Aside,
        ("ok", None) => Ending::Good,
        _ => Ending::Bad,
    }
}

fn judgement(row: &Row<'_>, by_user: bool) -> SqlResult<Judged> {
    Ok(Judged {
        at: Millis(unsigned(row.get(0)?)),
        unit: row.get::<_, i64>(1)?.cast_unsigned(),
        candidate: row.get(2)?,
        by_user,
        percent: row.get(3)?,
    })
}
