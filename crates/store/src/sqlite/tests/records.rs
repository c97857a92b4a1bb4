//! Rows, their kinds and the minutes by which they are found.

use cutover_units::UpstreamName;
use rusqlite::types::Value;

use super::super::{kinds, observed, records, schema, usage};
use super::*;

fn count(dir: &TempDir, table: &str) -> i64 {
    let sql = format!("SELECT count(*) FROM {table}");
    other(dir).query_row(&sql, [], |row| row.get(0)).unwrap()
}

/// All rows of the table as users see it.
fn shown(connection: &Connection) -> Vec<Vec<Value>> {
    let mut statement = connection.prepare("SELECT * FROM records ORDER BY id").unwrap();
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| (0..columns).map(|at| row.get(at)).collect()).unwrap();
    rows.collect::<Result<_, _>>().unwrap()
}

#[test]
fn a_kind_is_told_once_however_many_requests_are_of_it() {
    let (dir, mut sqlite) = fresh();
    let candidate = |at: u64| record(at);
    let failed = |at: u64| Record { outcome: "failed", status: 502, ..record(at) };
    let mixed: Vec<Record> =
        (0..40).map(|at| if at % 3 == 0 { failed(at) } else { candidate(at) }).collect();
    sqlite.write_records(&mixed).unwrap();
    sqlite.write_records(&mixed).unwrap();
    assert_eq!((count(&dir, "record_rows"), count(&dir, "record_kinds")), (80, 2));
    let failures = "records WHERE outcome = 'failed' AND status = 502";
    assert_eq!(count(&dir, failures), 28);
    // Another process does not know them: it may say again what is there.
    at(dir.path()).write_records(&mixed[..1]).unwrap();
    assert_eq!(count(&dir, "record_kinds"), 3);
    assert_eq!(count(&dir, failures), 29);
}

/// Once retention had emptied the table ids began at 1: who read `WHERE id > 5000` missed 5,000 requests.
#[test]
fn an_id_is_never_given_again() {
    let (dir, mut sqlite) = fresh();
    let ids = || {
        let other = other(&dir);
        let mut statement = other.prepare("SELECT id FROM records ORDER BY at_ms").unwrap();
        let ids = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
        ids.collect::<Result<Vec<_>, _>>().unwrap()
    };
    sqlite.write_records(&[record(1), record(2), record(3)]).unwrap();
    assert_eq!(at(dir.path()).delete_records(Millis(3), 100).unwrap(), 2);
    sqlite.write_records(&[record(4)]).unwrap();
    assert_eq!(ids(), [3, 4]);
    assert_eq!(sqlite.delete_records(Millis(9), 100).unwrap(), 2);
    assert_eq!(sqlite.delete_records(Millis(9), 100).unwrap(), 0);
    at(dir.path()).write_records(&[record(10), record(11)]).unwrap();
    assert_eq!(ids(), [5, 6], "by another process, too");
    sqlite.write_records(&[record(12)]).unwrap();
    assert_eq!(ids(), [5, 6, 7]);
    let window = Window { from: Millis(0), until: Millis(20), use_case: None };
    assert_eq!(sqlite.observed(&window).unwrap().requests.len(), 3, "and they are found");
}

#[test]
fn a_kind_of_a_batch_that_failed_is_told_with_the_next() {
    let (dir, mut sqlite) = fresh();
    sqlite.write_records(&[record(1)]).unwrap();
    let other = other(&dir);
    // The second row fails, and with it the kind that the first has brought.
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON record_rows WHEN new.at_ms = 3
                   BEGIN SELECT RAISE(ABORT, 'no'); END";
    other.execute_batch(trigger).unwrap();
    let failed = |at: u64| Record { outcome: "failed", ..record(at) };
    assert!(sqlite.write_records(&[failed(2), failed(3)]).is_err());
    other.execute_batch("DROP TRIGGER refuse").unwrap();
    sqlite.write_records(&[failed(2), failed(3)]).unwrap();
    assert_eq!(count(&dir, "records"), 3);
    assert_eq!(count(&dir, "records WHERE outcome = 'failed'"), 2);
}

#[test]
fn a_kind_lives_as_long_as_its_records_whoever_deletes_them() {
    const DAY: u64 = 24 * 60 * 60 * 1_000;
    let (dir, mut sqlite) = fresh();
    let failed = |at: u64| Record { outcome: "failed", ..record(at) };
    sqlite.write_records(&[failed(0), record(0)]).unwrap();
    // Used again within the day, which is not noted, and after it, which is.
    sqlite.write_records(&[record(DAY - 1)]).unwrap();
    let mut sweeper = at(dir.path());
    assert_eq!(sweeper.delete_records(Millis(1), 100).unwrap(), 2);
    assert_eq!(count(&dir, "record_kinds"), 2, "not noted: it may be in use");
    assert_eq!(count(&dir, "records"), 1);
    sqlite.write_records(&[record(2 * DAY)]).unwrap();
    assert_eq!(sweeper.delete_records(Millis(DAY + 1), 100).unwrap(), 1);
    assert_eq!(count(&dir, "record_kinds"), 1, "that of the failures has no record left");
    // Whoever still knows it tells it again.
    sqlite.write_records(&[failed(2 * DAY)]).unwrap();
    assert_eq!(count(&dir, "records"), 2);
    assert_eq!(count(&dir, "records WHERE outcome = 'failed'"), 1);
    // Who deletes it himself knows it no longer.
    assert_eq!(sqlite.delete_records(Millis(9 * DAY), 100).unwrap(), 2);
    assert_eq!((count(&dir, "record_kinds"), count(&dir, "record_minutes")), (0, 0));
    sqlite.write_records(&[record(9 * DAY), failed(9 * DAY)]).unwrap();
    assert_eq!(count(&dir, "records"), 2);
}

#[test]
fn more_kinds_than_are_kept_in_memory_are_all_told() {
    let (dir, mut sqlite) = fresh();
    let of = |nth: usize| Record { sdk_retry: u32::try_from(nth).unwrap(), ..record(1) };
    let records: Vec<Record> = (0..kinds::KNOWN_MAX + 10).map(of).collect();
    sqlite.write_records(&records).unwrap();
    sqlite.write_records(&records).unwrap();
    let distinct = "(SELECT DISTINCT sdk_retry FROM records)";
    assert_eq!(count(&dir, distinct), i64::try_from(records.len()).unwrap());
    assert_eq!(count(&dir, "records"), 2 * i64::try_from(records.len()).unwrap());
}

#[test]
fn records_of_the_former_table_are_all_there_with_every_value() {
    let dir = tempfile::tempdir().unwrap();
    let before = {
        let mut old = Connection::open(dir.path().join(FILE)).unwrap();
        schema::migrate_to(&mut old, 10).unwrap();
        for (id, fill) in [(3, "'x'"), (4, "'x'"), (7, "'y'"), (9, "NULL")] {
            let number = if fill == "NULL" { "NULL".to_owned() } else { id.to_string() };
            old.execute_batch(&format!(
                "INSERT INTO records VALUES ({id}, 'r{id}', {id} * 50000, {fill}, 'baseline', {fill},
                     {fill}, {fill}, {fill}, 'chat', {id} % 2, 'sticky', {number}, -{id}, 'ok', 200,
                     {fill}, {number}, 11, 12, {number}, {number}, {number}, 1, {number}, {fill},
                     {fill}, 1, 0, {fill}, {fill}, 0, {number}, {fill}, {fill}, {fill}, {fill},
                     {number}, {number}, {number})"
            ))
            .unwrap();
        }
        shown(&old)
    };
    assert_eq!(before.len(), 4);
    let mut sqlite = at(dir.path());
    sqlite.check().unwrap();
    let mut after = shown(&other(&dir));
    for row in &mut after {
        assert_eq!(row.pop(), Some(Value::Null), "what came later");
    }
    assert_eq!(after, before);
    let window = Window { from: Millis(200_000), until: Millis(400_000), use_case: None };
    let found: u64 = sqlite.summarize(&window).unwrap().rows.iter().map(|row| row.requests).sum();
    assert_eq!(found, 2, "found by their minutes");
    sqlite.write_records(&[record(1)]).unwrap();
    assert_eq!(shown(&other(&dir)).last().unwrap()[0], Value::Integer(10), "ids go on");
}

/// A step that reads all rows, or sorts them, grows with the table.
#[test]
fn what_is_asked_of_records_reads_the_rows_of_its_window_and_no_more() {
    let (dir, mut sqlite) = fresh();
    sqlite.check().unwrap();
    let other = other(&dir);
    let plan = |sql: &str| {
        let mut statement = other.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let nothing = vec![Value::Null; statement.parameter_count()];
        let steps = statement.query_map(rusqlite::params_from_iter(nothing), |row| row.get(3));
        steps.unwrap().collect::<Result<Vec<String>, _>>().unwrap()
    };
    let rows = "SEARCH r USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    let kind = "SEARCH k USING INTEGER PRIMARY KEY (rowid=?)";
    let observed =
        format!("{} AND id BETWEEN 1 AND 2 ORDER BY id DESC LIMIT ?4", observed::REQUESTS);
    assert_eq!(plan(&observed), [rows, kind]);
    assert_eq!(plan(records::SUMMARIZE), [rows, kind]);
    let after = "SEARCH r USING INTEGER PRIMARY KEY (rowid>?)";
    assert_eq!(plan(usage::PAGE), [after, kind]);
    let overflow = "SEARCH r USING INDEX records_overflow (at_ms>?)";
    assert_eq!(plan(records::OVERFLOW)[..2], [overflow, kind]);
    let minutes = "SEARCH record_minutes USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)";
    assert_eq!(plan(records::MINUTES), [minutes]);
    let old = plan(records::OLD);
    assert_eq!(old, ["SEARCH record_rows USING INTEGER PRIMARY KEY (rowid>? AND rowid<?)"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// In whatever order requests end, and however they are batched: a window has those that began
    /// in it, and old ones go.
    #[test]
    fn a_window_has_exactly_the_requests_that_began_in_it(
        begun in prop::collection::vec(prop::collection::vec(0u64..400_000, 0..12), 1..5),
        (from, until) in (0u64..400_000, 0u64..400_000),
        before in 0u64..400_000,
    ) {
        let (dir, mut sqlite) = fresh();
        for batch in &begun {
            let batch: Vec<Record> = batch.iter().map(|at| record(*at)).collect();
            sqlite.write_records(&batch).unwrap();
        }
        let all: Vec<u64> = begun.concat();
        let window = Window { from: Millis(from), until: Millis(until), use_case: None };
        let inside = |left: u64| {
            all.iter().filter(|at| **at >= left && (from..until).contains(*at)).count() as u64
        };
        let found = |sqlite: &mut Sqlite| {
            let summary = sqlite.summarize(&window).unwrap();
            let observed = sqlite.observed(&window).unwrap().requests.len() as u64;
            (summary.rows.iter().map(|row| row.requests).sum::<u64>(), observed)
        };
        prop_assert_eq!(found(&mut sqlite), (inside(0), inside(0)));
        while sqlite.delete_records(Millis(before), 3).unwrap() == 3 {}
        let kept = all.iter().filter(|at| **at >= before).count();
        prop_assert_eq!(count(&dir, "record_rows"), i64::try_from(kept).unwrap());
        prop_assert_eq!(found(&mut sqlite), (inside(before), inside(before)));
    }
}

#[test]
fn who_was_sent_a_body_is_told_with_the_kind() {
    let (dir, mut sqlite) = fresh();
    let name = |name: &str| UpstreamName::new(name).unwrap();
    let sent = |to: &str| Record { seen_by: vec![name(to)], ..record(1) };
    sqlite.write_records(&[sent("a"), sent("b"), sent("a"), sent("b")]).unwrap();
    assert_eq!(count(&dir, "record_kinds"), 2);
    assert_eq!(count(&dir, r#"records WHERE seen_by = '["b"]'"#), 2);
}

/// An upstream told 9223372036854775807 tokens once: the use case had no report for as long as the record was kept.
#[test]
fn figures_that_no_integer_can_add_up_fail_no_sum() {
    let (_dir, mut sqlite) = fresh();
    let most = i64::MAX.unsigned_abs();
    let absurd = Record {
        prompt_tokens: Some(most),
        completion_tokens: Some(most),
        cost: Some(NanoUsd(most)),
        overflow: Some("waited"),
        ..record(1)
    };
    let more = Record { at: Millis(2), request_id: "req-2".into(), ..absurd.clone() };
    sqlite.write_records(&[absurd, more, record(3)]).unwrap();
    let window = Window { from: Millis(0), until: Millis(9), use_case: None };
    let observed = sqlite.observed(&window).unwrap();
    let tokens: Vec<u64> = observed.requests.iter().map(|request| request.tokens).collect();
    assert_eq!(tokens, [15, most - 1, most - 1]);
    let summed = &sqlite.summarize(&window).unwrap().rows[0];
    assert_eq!((summed.prompt_tokens, summed.completion_tokens), (u64::MAX, u64::MAX));
    let spent = sqlite.overflow_costs(Millis(0)).unwrap();
    assert_eq!(spent, [(crate::suite::use_case("statements"), NanoUsd(most))]);
}
