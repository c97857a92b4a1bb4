//! The records' table: rows, their kinds and the minutes by which they are found.

use cutover_units::{Millis, NanoUsd, UseCaseName, WeightBp};
use rusqlite::{
    CachedStatement, Connection, OptionalExtension as _, Row, ToSql, Transaction, params,
};

use super::kinds::{self, Kinds};
use super::{SqlResult, Trouble, signed, unsigned};
use crate::record::Record;
use crate::summary::{SUMMARY_RECORDS_MAX, Seen, Summary, Summing, Window};

const INSERT: &str = "INSERT INTO record_rows (
    kind, request_id, at_ms, key_name, share_bp, bucket, unit_hash, overflow, first_token_us,
    total_us, overhead_us, prompt_tokens, completion_tokens, cached_tokens, cost_nano_usd,
    queued_us, bytes_up, bytes_down, overflow_nano_usd
) VALUES (
    ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19
)";

/// Rows written before the processor is offered to others. Where requests share it, they would else
/// wait for the whole batch. On a processor of its own the thread just goes on.
const ROWS_AT_ONCE: usize = 64;

/// Most offers for one batch: the larger the batch, the more rows at once. So when records come as fast
/// as they can be written, the writing keeps up, whatever the scheduler gives to others in between.
const STEPS_MAX: usize = 8;

/// What `record_minutes` counts in.
const MINUTE: u64 = 60 * 1_000;

pub(super) fn write(
    transaction: &Transaction<'_>,
    kinds: &mut Kinds,
    records: &[Record],
) -> SqlResult<()> {
    let mut minutes = Minutes::default();
    let mut inserting =
        Inserting { statement: transaction.prepare_cached(INSERT)?, before: None, kind: 0 };
    let mut risen = risen_id(transaction)?;
    for some in records.chunks((records.len() / STEPS_MAX).max(ROWS_AT_ONCE)) {
        for record in some {
            inserting.row(record, kinds.of(transaction, record)?)?;
            let mut id = transaction.last_insert_rowid();
            if let Some(risen) = risen.take() {
                transaction
                    .execute("UPDATE record_rows SET id = ?1 WHERE id = ?2", params![risen, id])?;
                id = risen;
            }
            minutes.note(record.at, id);
        }
        std::thread::yield_now();
    }
    minutes.write(transaction)
}

/// The next row's id where the table would give one that was given before: its newest rows are deleted.
/// Whoever reads what came since an id must miss nothing. AUTOINCREMENT would cost each row its part.
fn risen_id(transaction: &Transaction<'_>) -> SqlResult<Option<i64>> {
    let sql = "SELECT last + 1 FROM
                   (SELECT CAST(value AS INTEGER) AS last FROM meta WHERE name = 'last_record')
               WHERE last > (SELECT coalesce(max(id), 0) FROM record_rows)";
    Ok(transaction.prepare_cached(sql)?.query_row([], |row| row.get(0)).optional()?)
}

/// Keeps the highest id that was given, before rows are deleted.
fn keep_last_id(transaction: &Transaction<'_>) -> SqlResult<()> {
    let sql = "INSERT INTO meta (name, value)
               SELECT 'last_record', CAST(last AS BLOB)
               FROM (SELECT max(id) AS last FROM record_rows) WHERE last IS NOT NULL
               ON CONFLICT (name) DO UPDATE SET value = excluded.value
               WHERE CAST(excluded.value AS INTEGER) > CAST(value AS INTEGER)";
    transaction.execute(sql, [])?;
    Ok(())
}

/// Values of a row that are those of the row before it are still bound: neighbours are mostly alike but
/// for an id and a few times.
struct Inserting<'a> {
    statement: CachedStatement<'a>,
    before: Option<&'a Record>,
    /// Of the row before; none has 0.
    kind: i64,
}

impl<'a> Inserting<'a> {
    fn row(&mut self, record: &'a Record, kind: i64) -> SqlResult<()> {
        if kind != self.kind {
            self.statement.raw_bind_parameter(1, kind)?;
            self.kind = kind;
        }
        self.request(record)?;
        self.counts(record)?;
        self.statement.raw_execute()?;
        self.before = Some(record);
        Ok(())
    }

    /// Binds a column's value, unless the row before had the same.
    fn bind<T: ToSql + PartialEq>(
        &mut self,
        column: usize,
        record: &'a Record,
        value: impl Fn(&'a Record) -> T,
    ) -> SqlResult<()> {
        let bound = value(record);
        if self.before.is_none_or(|before| value(before) != bound) {
            self.statement.raw_bind_parameter(column, bound)?;
        }
        Ok(())
    }

    fn request(&mut self, record: &'a Record) -> SqlResult<()> {
        self.bind(2, record, |r| r.request_id.as_str())?;
        self.bind(3, record, |r| signed(r.at.0))?;
        self.bind(4, record, |r| r.key_name.as_deref())?;
        self.bind(5, record, |r| r.share.map(WeightBp::basis_points))?;
        self.bind(6, record, |r| r.bucket)?;
        // The same 64 bits; `printf('%016x', unit_hash)` shows them.
        self.bind(7, record, |r| r.unit_hash.cast_signed())?;
        self.bind(8, record, |r| r.overflow)
    }

    fn counts(&mut self, record: &'a Record) -> SqlResult<()> {
        self.bind(9, record, |r| r.first_token.map(|us| signed(us.0)))?;
        self.bind(10, record, |r| signed(r.total.0))?;
        self.bind(11, record, |r| signed(r.overhead.0))?;
        self.bind(12, record, |r| r.prompt_tokens.map(signed))?;
        self.bind(13, record, |r| r.completion_tokens.map(signed))?;
        self.bind(14, record, |r| r.cached_tokens.map(signed))?;
        self.bind(15, record, |r| r.cost.map(|cost| signed(cost.0)))?;
        self.bind(16, record, |r| r.queued.map(|us| signed(us.0)))?;
        self.bind(17, record, |r| r.passed_bytes.map(|(up, _)| signed(up)))?;
        self.bind(18, record, |r| r.passed_bytes.map(|(_, down)| signed(down)))?;
        self.bind(19, record, |r| r.overflow_cost.map(|cost| signed(cost.0)))
    }
}

/// Between which ids the rows lie of requests that began in one minute.
#[derive(Default)]
struct Minutes(Vec<Minute>);

struct Minute {
    at: i64,
    first: i64,
    last: i64,
}

impl Minutes {
    /// Ids rise from row to row.
    fn note(&mut self, at: Millis, id: i64) {
        let minute = signed(at.0 / MINUTE);
        match self.0.iter_mut().rev().find(|known| known.at == minute) {
            Some(known) => known.last = id,
            None => self.0.push(Minute { at: minute, first: id, last: id }),
        }
    }

    fn write(&self, transaction: &Transaction<'_>) -> SqlResult<()> {
        let mut statement = transaction.prepare_cached(
            "INSERT INTO record_minutes (minute, first_id, last_id) VALUES (?1, ?2, ?3)
             ON CONFLICT (minute) DO UPDATE SET first_id = min(first_id, excluded.first_id),
                                                last_id = max(last_id, excluded.last_id)",
        )?;
        for Minute { at, first, last } in &self.0 {
            statement.execute(params![at, first, last])?;
        }
        Ok(())
    }
}

pub(super) const MINUTES: &str =
    "SELECT min(first_id), max(last_id) FROM record_minutes WHERE minute BETWEEN ?1 AND ?2";

/// Between which ids the rows lie that began in a span of time, others among them. None: there are none.
pub(super) fn ids(
    connection: &Connection,
    (from, until): (Millis, Millis),
) -> SqlResult<Option<(i64, i64)>> {
    let minutes = params![signed(from.0 / MINUTE), signed(until.0 / MINUTE)];
    connection
        .query_row(MINUTES, minutes, |row| Ok(row.get::<_, Option<i64>>(0)?.zip(row.get(1)?)))
        .map_err(Into::into)
}

/// Rows of earlier versions tell the cost alone, and may tell one that no other can be added to, for which SUM would fail.
pub(super) const OVERFLOW: &str = "SELECT use_case,
        CAST(TOTAL(COALESCE(overflow_nano_usd, cost_nano_usd)) AS INTEGER) FROM records
     WHERE at_ms >= ?1 AND overflow IS NOT NULL AND use_case IS NOT NULL
     GROUP BY use_case HAVING COUNT(COALESCE(overflow_nano_usd, cost_nano_usd)) > 0";

/// What overflowed requests count as against their use cases' money since a time; what has no price is not in it.
pub(super) fn overflow_costs(
    connection: &Connection,
    since: Millis,
) -> SqlResult<Vec<(UseCaseName, NanoUsd)>> {
    let mut statement = connection.prepare(OVERFLOW)?;
    let mut rows = statement.query(params![signed(since.0)])?;
    let mut costs = Vec::new();
    while let Some(row) = rows.next()? {
        let name: String = row.get(0)?;
        let name = UseCaseName::new(&name)
            .map_err(|e| Trouble::Damaged(format!("a record's use case: {e}")))?;
        costs.push((name, NanoUsd(unsigned(row.get(1)?))));
    }
    Ok(costs)
}

pub(super) const OLD: &str = "SELECT id FROM record_rows
     WHERE id BETWEEN ?1 AND ?2 AND at_ms < ?3 ORDER BY id LIMIT ?4";

pub(super) fn delete(
    transaction: &Transaction<'_>,
    kinds: &mut Kinds,
    (before, limit): (Millis, u32),
) -> SqlResult<u64> {
    let Some((first, last)) = ids(transaction, (Millis(0), before))? else { return Ok(0) };
    keep_last_id(transaction)?;
    let sql = format!("DELETE FROM record_rows WHERE id IN ({OLD})");
    let deleted = transaction.execute(&sql, params![first, last, signed(before.0), limit])?;
    if deleted < limit as usize {
        // All of them are gone.
        let sql = "DELETE FROM record_minutes WHERE minute < ?1";
        transaction.execute(sql, params![signed(before.0 / MINUTE)])?;
        if kinds::delete(transaction, before)? {
            kinds.forget();
        }
    }
    Ok(deleted as u64)
}

/// The newest of a window that holds too many are those that ended last.
pub(super) const SUMMARIZE: &str =
    "SELECT use_case, arm, variant, outcome, code, failed_over, first_token_us,
        total_us, prompt_tokens, completion_tokens, cost_nano_usd
     FROM records
     WHERE id BETWEEN ?4 AND ?5 AND at_ms >= ?1 AND at_ms < ?2 AND (?3 IS NULL OR use_case = ?3)
     ORDER BY id DESC";

pub(super) fn summarize(connection: &Connection, window: &Window) -> SqlResult<Summary> {
    let mut summing = Summing::default();
    let Some((first, last)) = ids(connection, (window.from, window.until))? else {
        return Ok(summing.finish(false));
    };
    let mut statement = connection.prepare(SUMMARIZE)?;
    let use_case = window.use_case.as_ref().map(UseCaseName::as_str);
    let (from, until) = (signed(window.from.0), signed(window.until.0));
    let mut rows = statement.query(params![from, until, use_case, first, last])?;
    for _ in 0..SUMMARY_RECORDS_MAX {
        let Some(row) = rows.next()? else { return Ok(summing.finish(false)) };
        summing.add(&seen(row)?);
    }
    let truncated = rows.next()?.is_some();
    Ok(summing.finish(truncated))
}

fn seen<'r>(row: &'r Row<'_>) -> SqlResult<Seen<'r>> {
    let text = |at: usize| -> SqlResult<Option<&'r str>> {
        let value = row.get_ref(at)?;
        value.as_str_or_null().map_err(|e| Trouble::Damaged(format!("a record: {e}")))
    };
    let number =
        |at: usize| -> SqlResult<Option<u64>> { Ok(row.get::<_, Option<i64>>(at)?.map(unsigned)) };
    Ok(Seen {
        use_case: text(0)?,
        arm: text(1)?.unwrap_or_default(),
        variant: text(2)?,
        outcome: text(3)?.unwrap_or_default(),
        code: text(4)?,
        failed_over: row.get(5)?,
        first_token_us: number(6)?,
        total_us: number(7)?.unwrap_or_default(),
        prompt_tokens: number(8)?,
        completion_tokens: number(9)?,
        cost_nano_usd: number(10)?,
    })
}
