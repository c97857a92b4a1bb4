//! What is in a copy of the database's file, made while it is in use.

use super::*;
use crate::keys::{KeyRing, RevokeKey};

/// A copy of the database's file alone, without the log beside it, as a careless backup makes it.
fn copied_alone(dir: &TempDir) -> (TempDir, Sqlite) {
    let copy = tempfile::tempdir().unwrap();
    fs::copy(dir.path().join(FILE), copy.path().join(FILE)).unwrap();
    let sqlite = at(copy.path());
    (copy, sqlite)
}

/// A revoked key was let in by a gateway that served from such a copy, and the share was the one before.
#[test]
fn a_copy_of_the_file_alone_has_the_keys_weights_and_labels_of_its_moment() {
    let (dir, mut sqlite) = fresh();
    sqlite.check().unwrap();
    copied_alone(&dir).1.check().expect("it is a database from its first moment on");
    let text = "k".repeat(40);
    sqlite.add_key(&new_key("team", &text)).unwrap();
    let let_in = |store: &mut Sqlite| {
        let ring = KeyRing::new(store.load_keys().unwrap());
        ring.find(text.as_bytes(), Millis(1)).is_some()
    };
    assert!(let_in(&mut copied_alone(&dir).1));
    sqlite.set_weight(&set("a", Some(0), 500)).unwrap();
    let states = copied_alone(&dir).1.load_states().unwrap();
    assert_eq!(states, sqlite.load_states().unwrap());
    let revoke = RevokeKey {
        name: "team".into(),
        former: false,
        actor: String::new(),
        reason: String::new(),
        now: Millis(9),
    };
    sqlite.revoke_key(&revoke).unwrap();
    assert!(!let_in(&mut copied_alone(&dir).1));
    let prompt = NewPrompt {
        name: cutover_units::PromptName::new("greeting").unwrap(),
        text: "hello".to_owned(),
        note: String::new(),
        label: Some((cutover_prompts::LabelName::new("production").unwrap(), None)),
        actor: String::new(),
        now: Millis(9),
    };
    sqlite.add_prompt(&prompt).unwrap();
    let labels = |store: &mut Sqlite| store.prompts().unwrap().labels().count();
    assert_eq!(labels(&mut copied_alone(&dir).1), 1);
}

#[test]
fn a_backup_has_all_that_is_in_the_log_and_overwrites_nothing() {
    let (dir, mut sqlite) = fresh();
    sqlite.set_weight(&set("a", Some(0), 500)).unwrap();
    sqlite.write_records(&[record(1), record(2)]).unwrap();
    let to = tempfile::tempdir().unwrap();
    let options = Options::new(dir.path(), || Millis(1));
    backup(&options, to.path()).unwrap();
    sqlite.write_records(&[record(3)]).unwrap();
    let mut copy = at(to.path());
    assert_eq!(copy.load_states().unwrap(), sqlite.load_states().unwrap());
    assert_eq!(copy.usage(0, 10).unwrap().len(), 2);
    assert!(has_database(to.path()) && files::is_marked(to.path()));
    backup(&options, to.path()).expect_err("there is one already");
    assert_eq!(copy.usage(0, 10).unwrap().len(), 2);
}

#[cfg(unix)]
#[test]
fn a_backup_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, mut sqlite) = fresh();
    sqlite.check().unwrap();
    let to = tempfile::tempdir().unwrap();
    backup(&Options::new(dir.path(), || Millis(1)), to.path()).unwrap();
    let mode = fs::metadata(to.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn where_no_database_is_none_is_copied_and_none_is_made() {
    let (dir, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let options = Options::new(dir.path(), || Millis(1));
    assert!(matches!(backup(&options, to.path()), Err(StoreError::Gone { .. })));
    assert!(!has_database(dir.path()) && !has_database(to.path()));
}
