use std::fs;

use cutover_units::Generation;
use proptest::prelude::*;
use tempfile::TempDir;

use super::*;
use crate::suite::{new_key, record, set, suite};

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
fn a_locked_database_is_busy_for_writers_and_works_when_the_lock_is_gone() {
    let (dir, mut sqlite) = fresh();
    sqlite.set_weight(&set("a", Some(0), 500)).unwrap();
    let other = other(&dir);
    other.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let busy = sqlite.set_weight(&set("a", Some(1), 900)).unwrap_err();
    assert!(matches!(busy, SetWeightError::Store(StoreError::Busy { .. })), "{busy:?}");
    let busy = sqlite.write_records(&[record(1)]).unwrap_err();
    assert!(matches!(busy, StoreError::Busy { .. }), "{busy:?}");
    assert_eq!(sqlite.load_states().unwrap().len(), 1, "readers are not held up");
    assert_eq!(at(dir.path()).load_states().unwrap().len(), 1, "not even new ones");
    other.execute_batch("COMMIT").unwrap();
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
    options.max_bytes = Some(256 * 1024);
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
    assert_eq!(error, StoreError::TooNew { found: 99, known: 2 });
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
