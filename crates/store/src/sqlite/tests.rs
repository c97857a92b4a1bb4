use std::fs;
use std::path::Path;

use cutover_units::{Generation, NanoUsd};
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::suite::{new_key, new_rollout, pair, record, set, suite, tick};

mod copies;
mod records;

fn at(dir: &Path) -> Sqlite {
    let mut options = Options::new(dir, || Millis(1));
    options.busy_timeout = Duration::from_millis(5);
    Sqlite::new(&options)
}

fn fresh() -> (TempDir, Sqlite) {
    let dir = tempfile::tempdir().unwrap();
    let sqlite = at(dir.path());
    (dir, sqlite)
}

suite!(fresh());

/// Another process's connection to the same file.
fn other(dir: &TempDir) -> Connection {
    Connection::open(dir.path().join(FILE)).unwrap()
}

#[test]
fn what_was_written_is_there_after_a_restart() {
    let (dir, mut sqlite) = fresh();
    sqlite.set_weight(&set("a", Some(0), 500)).unwrap();
    let keys = sqlite.add_key(&new_key("team", &"k".repeat(40))).unwrap();
    drop(sqlite);
    let mut sqlite = at(dir.path());
    assert_eq!(sqlite.load_states().unwrap()[0].generation, Generation(1));
    assert_eq!(sqlite.load_keys().unwrap().list().next(), Some(&keys));
}

#[test]
fn a_record_proves_who_was_sent_its_body() {
    let (dir, mut sqlite) = fresh();
    let name = |name: &str| cutover_units::UpstreamName::new(name).unwrap();
    let seen_by = vec![name("gpus"), name("cloud")];
    let sent = Record { seen_by, copy_for: Some(name("own")), ..record(1) };
    sqlite.write_records(&[sent, record(2)]).unwrap();
    let read = |at: i64| -> Option<String> {
        let sql = "SELECT seen_by FROM records WHERE at_ms = ?1";
        other(&dir).query_row(sql, [at], |row| row.get(0)).unwrap()
    };
    assert_eq!(read(1).as_deref(), Some(r#"["gpus","cloud","copy:own"]"#));
    assert_eq!(read(2), None, "it was sent to nobody");
}

#[test]
fn a_batch_is_written_as_its_records_are_one_by_one() {
    let name = |name: &str| cutover_units::UpstreamName::new(name).unwrap();
    let plain = Record { request_id: "plain".to_owned(), ..record(1) };
    // What the one says, the next does not, and the one after says again.
    let mut full = Record {
        request_id: "full".to_owned(),
        at: Millis(2),
        losses: vec!["seed".to_owned()],
        marks: vec!["continued"],
        seen_by: vec![name("mock")],
        copy_for: Some(name("own")),
        passed_bytes: Some((7, 900)),
        overflow: Some("full"),
        overflow_cost: Some(NanoUsd(6)),
        code: Some("timeout"),
        failed_over: !plain.failed_over,
        stream: !plain.stream,
        usage_estimated: !plain.usage_estimated,
        ..plain.clone()
    };
    full.prompt_tokens = plain.prompt_tokens.map_or(Some(3), |_| None);
    full.use_case = None;
    full.cost = plain.cost.map_or(Some(NanoUsd(5)), |_| None);
    full.finish_reason = plain.finish_reason.map_or(Some("stop"), |_| None);
    let batch = [plain.clone(), full.clone(), full.clone(), plain.clone(), plain, full];
    let written = |together: bool| {
        let (dir, mut sqlite) = fresh();
        if together {
            sqlite.write_records(&batch).unwrap();
        } else {
            for one in &batch {
                sqlite.write_records(std::slice::from_ref(one)).unwrap();
            }
        }
        let connection = other(&dir);
        let mut statement = connection.prepare("SELECT * FROM records ORDER BY id").unwrap();
        let columns = statement.column_count();
        let rows = statement.query_map([], |row| {
            (0..columns).map(|at| row.get::<_, rusqlite::types::Value>(at)).collect()
        });
        rows.unwrap().collect::<Result<Vec<Vec<_>>, _>>().unwrap()
    };
    let rows = written(true);
    assert_eq!(rows.len(), batch.len());
    assert_eq!(rows, written(false));
}

#[test]
fn a_record_has_the_bytes_of_a_request_that_was_passed_on() {
    let (dir, mut sqlite) = fresh();
    let passed = Record { passed_bytes: Some((7, 900)), ..record(1) };
    sqlite.write_records(&[passed, record(2)]).unwrap();
    let read = |at: i64| -> (Option<i64>, Option<i64>) {
        let sql = "SELECT bytes_up, bytes_down FROM records WHERE at_ms = ?1";
        other(&dir).query_row(sql, [at], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    };
    assert_eq!((read(1), read(2)), ((Some(7), Some(900)), (None, None)));
}

#[test]
fn a_key_is_local_only_and_batch_if_it_was_made_so() {
    let (_dir, mut sqlite) = fresh();
    for (name, local_only, batch) in [("a", true, false), ("b", false, true), ("c", false, false)] {
        let key = NewKey { local_only, batch, ..new_key(name, &name.repeat(40)) };
        sqlite.add_key(&key).unwrap();
    }
    let keys = sqlite.load_keys().unwrap();
    let read: Vec<_> = keys.list().map(|key| (key.local_only, key.batch)).collect();
    assert_eq!(read, [(true, false), (false, true), (false, false)]);
    let audit = sqlite.changes(3).unwrap();
    let after: Vec<_> = audit.iter().filter_map(|change| change.after.as_deref()).collect();
    let expected =
        ["bound to statements", "bound to statements, batch", "bound to statements, local-only"];
    assert_eq!(after, expected);
}

#[test]
fn a_locked_database_is_busy_for_writers_and_works_when_the_lock_is_gone() {
    let (dir, mut sqlite) = fresh();
    sqlite.set_weight(&set("a", Some(0), 500)).unwrap();
    let other = other(&dir);
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let busy = sqlite.set_weight(&set("a", Some(1), 900)).unwrap_err();
    assert!(matches!(busy, SetWeightError::Store(StoreError::Busy { .. })), "{busy:?}");
    let busy = sqlite.write_records(&[record(1)]).unwrap_err();
    assert!(matches!(busy, StoreError::Busy { .. }), "{busy:?}");
    let told = sqlite.check().unwrap_err();
    assert!(matches!(told, StoreError::Busy { .. }), "{told:?}");
    assert_eq!(sqlite.load_states().unwrap().len(), 1, "readers are not held up");
    assert_eq!(at(dir.path()).load_states().unwrap().len(), 1, "not even new ones");
    other.execute_batch("COMMIT").unwrap();
    sqlite.check().unwrap();
    sqlite.set_weight(&set("a", Some(1), 900)).unwrap();
}

#[test]
fn a_deleted_directory_is_gone_and_is_not_made_anew() {
    let (dir, mut sqlite) = fresh();
    sqlite.set_weight(&set("a", Some(0), 500)).unwrap();
    let saved = tempfile::tempdir().unwrap();
    let away = saved.path().join("data");
    fs::rename(dir.path(), &away).unwrap();
    for _ in 0..2 {
        let gone = sqlite.set_weight(&set("a", None, 0)).unwrap_err();
        assert!(matches!(gone, SetWeightError::Store(StoreError::Gone { .. })), "{gone:?}");
        let gone = sqlite.write_records(&[record(1)]).unwrap_err();
        assert!(matches!(gone, StoreError::Gone { .. }), "{gone:?}");
    }
    assert!(!dir.path().exists());
    fs::rename(&away, dir.path()).unwrap();
    assert_eq!(sqlite.load_states().unwrap()[0].weight.basis_points(), 500);
}

#[test]
fn a_database_that_vanished_between_two_processes_is_missed() {
    let (dir, mut sqlite) = fresh();
    sqlite.set_weight(&set("a", Some(0), 500)).unwrap();
    drop(sqlite);
    let path = dir.path().join(FILE);
    let saved = dir.path().join("saved");
    fs::rename(&path, &saved).unwrap();
    let mut next = at(dir.path());
    let gone = next.load_states().unwrap_err();
    assert!(matches!(gone, StoreError::Gone { .. }), "{gone:?}");
    assert!(gone.to_string().contains("database-made"), "{gone}");
    assert!(!path.exists(), "an empty one would forget weights and keys");
    fs::rename(&saved, &path).unwrap();
    assert_eq!(next.load_states().unwrap()[0].weight.basis_points(), 500);
    drop(next);
    // Who wants to begin anew says so.
    fs::remove_file(&path).unwrap();
    fs::remove_file(dir.path().join("database-made")).unwrap();
    assert_eq!(at(dir.path()).load_states().unwrap().len(), 0);
}

#[test]
fn an_empty_file_in_the_databases_place_is_not_filled() {
    let (dir, mut sqlite) = fresh();
    sqlite.set_weight(&set("a", Some(0), 500)).unwrap();
    let path = dir.path().join(FILE);
    fs::rename(&path, dir.path().join("saved")).unwrap();
    fs::write(&path, "").unwrap();
    let damaged = sqlite.load_states().unwrap_err();
    assert!(matches!(damaged, StoreError::Damaged { .. }), "{damaged:?}");
}

#[test]
fn a_full_disk_refuses_the_batch_whole_and_takes_it_when_there_is_room() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = Options::new(dir.path(), || Millis(1));
    options.max_bytes = Some(768 * 1024);
    let mut sqlite = Sqlite::new(&options);
    let batch: Vec<Record> = (0..500).map(record).collect();
    let mut written = 0;
    let full = loop {
        match sqlite.write_records(&batch) {
            Ok(()) => written += 500,
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Full { .. }), "{full:?}");
    let window = Window { from: Millis(0), until: Millis(u64::MAX), use_case: None };
    let rows = sqlite.summarize(&window).unwrap().rows;
    assert_eq!(rows.iter().map(|row| row.requests).sum::<u64>(), written);
    while sqlite.delete_records(Millis(u64::MAX), 500).unwrap() > 0 {}
    sqlite.write_records(&batch).unwrap();
}

#[test]
fn a_newer_schema_is_refused_and_left_as_it_is() {
    let (dir, mut sqlite) = fresh();
    sqlite.check().unwrap();
    drop(sqlite);
    other(&dir).pragma_update(None, "user_version", 99).unwrap();
    let error = at(dir.path()).check().unwrap_err();
    assert_eq!(error, StoreError::TooNew { found: 99, known: schema::known() });
    assert!(error.to_string().contains("newer cutover"));
    let version: i64 =
        other(&dir).pragma_query_value(None, "user_version", |row| row.get(0)).unwrap();
    assert_eq!(version, 99);
}

#[test]
fn a_file_that_is_no_database_is_damaged_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let text = "this is a text of some length, and certainly no database ".repeat(30);
    fs::write(dir.path().join(FILE), &text).unwrap();
    let error = at(dir.path()).check().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), text);
}

#[test]
fn a_path_that_cannot_be_a_directory_is_an_error_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let error = at(&file.join("data")).check().unwrap_err();
    assert!(matches!(error, StoreError::Failed { .. }), "{error:?}");
}

#[cfg(unix)]
#[test]
fn only_the_owner_can_read_the_database() {
    use std::os::unix::fs::PermissionsExt;
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("new/data");
    let mut sqlite = at(&dir);
    sqlite.set_weight(&set("a", None, 5)).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    for file in fs::read_dir(&dir).unwrap() {
        let path = file.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{path:?}");
    }
}

#[test]
fn no_text_of_a_key_is_in_the_files() {
    let (dir, mut sqlite) = fresh();
    let text = "ck-a-very-secret-key-0123456789abcdef";
    sqlite.add_key(&new_key("team", text)).unwrap();
    drop(sqlite);
    for file in fs::read_dir(dir.path()).unwrap() {
        let bytes = fs::read(file.unwrap().path()).unwrap();
        assert!(!bytes.windows(12).any(|part| part == &text.as_bytes()[8..20]));
    }
}

#[test]
fn a_torn_audit_log_is_noticed_wherever_it_is_torn() {
    let tears = [
        ("UPDATE changes SET entry = replace(entry, '5%', '6%') WHERE seq = 2", 2),
        ("DELETE FROM changes WHERE seq = 2", 2),
        ("UPDATE changes SET hash = zeroblob(32) WHERE seq = 3", 3),
        ("UPDATE changes SET previous = zeroblob(32) WHERE seq = 4", 4),
        ("UPDATE changes SET seq = seq + 1 WHERE seq = 4", 4),
    ];
    for (sql, at_seq) in tears {
        let (dir, mut sqlite) = fresh();
        for generation in 0..4 {
            sqlite.set_weight(&set("a", Some(generation), 500)).unwrap();
        }
        let other = other(&dir);
        other.execute_batch(sql).unwrap_err();
        other
            .execute_batch(
                "DROP TRIGGER changes_are_not_altered; DROP TRIGGER changes_are_not_removed",
            )
            .unwrap();
        other.execute_batch(sql).unwrap();
        let verdict = sqlite.verify_changes().unwrap();
        assert!(
            matches!(verdict, AuditVerdict::Broken { seq, .. } if seq == at_seq),
            "{sql}: {verdict:?}"
        );
    }
}

#[test]
fn torn_decisions_are_noticed_wherever_they_are_torn() {
    let tears = [
        ("UPDATE decisions SET entry = replace(entry, 'tick', 'tock') WHERE seq = 2", 2),
        ("DELETE FROM decisions WHERE seq = 2", 2),
        ("UPDATE decisions SET hash = zeroblob(32) WHERE seq = 3", 3),
        ("UPDATE decisions SET run = 'a-2' WHERE seq = 3", 3),
        ("UPDATE decisions SET use_case = 'b' WHERE seq = 4", 4),
    ];
    for (sql, at_seq) in tears {
        let (dir, mut sqlite) = fresh();
        sqlite.start_rollout(&new_rollout("a", "a-1")).unwrap();
        for generation in 1..4 {
            sqlite.commit_tick(&tick("a-1", generation, None)).unwrap();
        }
        let other = other(&dir);
        other.execute_batch(sql).unwrap_err();
        other
            .execute_batch(
                "DROP TRIGGER decisions_are_not_altered; DROP TRIGGER decisions_are_not_removed",
            )
            .unwrap();
        other.execute_batch(sql).unwrap();
        let verdict = sqlite.verify_decisions().unwrap();
        assert!(
            matches!(verdict, AuditVerdict::Broken { seq, .. } if seq == at_seq),
            "{sql}: {verdict:?}"
        );
    }
}

#[test]
fn texts_of_deleted_pairs_are_in_no_file() {
    let (dir, mut sqlite) = fresh();
    let pairs: Vec<NewPair> = (0..50).map(|n| pair(&format!("r{n}"), Keep::Text)).collect();
    sqlite.write_pairs(&pairs).unwrap();
    let found = || {
        fs::read_dir(dir.path()).unwrap().any(|file| {
            let bytes = fs::read(file.unwrap().path()).unwrap();
            bytes.windows(12).any(|part| part == b"jane@doe.org")
        })
    };
    assert!(found());
    assert_eq!(sqlite.delete_pairs(None, (Millis(u64::MAX), 100)).unwrap(), 50);
    assert!(!found());
}

#[test]
fn a_database_of_the_first_version_keeps_all_it_has() {
    let dir = tempfile::tempdir().unwrap();
    {
        let old = Connection::open(dir.path().join(FILE)).unwrap();
        old.execute_batch(include_str!("migrations/0001_first.sql")).unwrap();
        old.execute_batch(
            "CREATE TABLE migrations (
                 version INTEGER PRIMARY KEY, name TEXT NOT NULL, applied_ms INTEGER NOT NULL
             ) STRICT;
             INSERT INTO migrations VALUES (1, 'first', 1);
             INSERT INTO meta VALUES ('key_salt', zeroblob(32));
             INSERT INTO use_case_state VALUES ('a', 500, 7, 1, 'someone', '', 0);
             INSERT INTO records (request_id, at_ms, use_case, arm, endpoint, stream, assignment,
                 unit_hash, outcome, status, total_us, overhead_us, usage_estimated, attempts,
                 failed_over, sdk_retry)
             VALUES ('r', 5, 'a', 'baseline', 'chat', 0, 'sticky', 1, 'ok', 200, 1, 1, 0, 1, 0, 0);
             PRAGMA user_version = 1;",
        )
        .unwrap();
    }
    let mut sqlite = at(dir.path());
    assert_eq!(sqlite.load_states().unwrap()[0].generation, Generation(7));
    let window = Window { from: Millis(0), until: Millis(u64::MAX), use_case: None };
    assert_eq!(sqlite.summarize(&window).unwrap().rows[0].requests, 1);
    sqlite.start_rollout(&new_rollout("a", "a-1")).unwrap();
    let versions: i64 = other(&dir)
        .query_row("SELECT count(*) FROM migrations WHERE version IN (1, 2)", [], |row| row.get(0))
        .unwrap();
    assert_eq!(versions, 2);
}

#[test]
fn feedback_is_joined_by_index_however_many_records_there_are() {
    let (dir, mut sqlite) = fresh();
    sqlite.check().unwrap();
    let other = other(&dir);
    let mut plan = other
        .prepare(
            "EXPLAIN QUERY PLAN SELECT f.seq FROM feedback f
             JOIN records r ON r.request_id = f.request_id
             WHERE f.matched = 0 AND r.share_bp IS NOT NULL ORDER BY f.seq",
        )
        .unwrap();
    let steps: Vec<String> =
        plan.query_map([], |row| row.get(3)).unwrap().map(Result::unwrap).collect();
    let steps = steps.join("; ");
    assert!(steps.contains("feedback_waiting"), "{steps}");
    assert!(steps.contains("records_under_rollout"), "{steps}");
}

#[test]
fn a_weight_that_cutover_never_wrote_is_damage_not_a_weight() {
    let (dir, mut sqlite) = fresh();
    sqlite.set_weight(&set("a", None, 5)).unwrap();
    other(&dir).execute_batch("UPDATE use_case_state SET use_case = 'not a name'").unwrap();
    let error = sqlite.load_states().unwrap_err();
    assert!(matches!(error, StoreError::Damaged { .. }), "{error:?}");
    assert!(other(&dir).execute_batch("UPDATE use_case_state SET weight_bp = 10001").is_err());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(16))]

    /// Whatever several writers try, with whatever generation they believe in: a change happens
    /// exactly if it names the present generation or none, and the generation counts the changes.
    #[test]
    fn the_generation_counts_exactly_the_changes_that_happened(
        tries in prop::collection::vec((0usize..3, prop::option::of(0u64..8), 0u16..=10_000), 0..40)
    ) {
        let (_dir, mut sqlite) = fresh();
        let names = ["a", "b", "c"];
        let mut model = [(0_u64, 0_u16); 3];
        for (which, expected, bp) in tries {
            let (generation, weight) = &mut model[which];
            let result = sqlite.set_weight(&set(names[which], expected, bp));
            if expected.is_none_or(|expected| expected == *generation) {
                *generation += 1;
                *weight = bp;
                prop_assert_eq!(result.unwrap().generation, Generation(*generation));
            } else {
                let conflicts = matches!(result, Err(SetWeightError::Conflict { .. }));
                prop_assert!(conflicts);
            }
        }
        let stored: Vec<_> = sqlite
            .load_states()
            .unwrap()
            .iter()
            .map(|s| (s.use_case.to_string(), s.generation.0, s.weight.basis_points()))
            .collect();
        let expected: Vec<_> = names
            .iter()
            .zip(model)
            .filter(|(_, (generation, _))| *generation > 0)
            .map(|(name, (generation, weight))| ((*name).to_owned(), generation, weight))
            .collect();
        prop_assert_eq!(stored, expected);
        let changes: u64 = model.iter().map(|(generation, _)| generation).sum();
        let whole = matches!(
            sqlite.verify_changes().unwrap(),
            AuditVerdict::Whole { entries, .. } if entries == changes
        );
        prop_assert!(whole);
    }
}
