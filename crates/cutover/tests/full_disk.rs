//! What a command did is done, also where it cannot be printed: a job whose output goes to a full disk.

#![cfg(target_os = "linux")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs::OpenOptions;
use std::process::{Command, Stdio};

use cutover_testkit::arms::two_arms;
use cutover_testkit::program::Program;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// Its exit code, and what it says on stderr.
fn run(program: &Program, arguments: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(BINARY)
        .args(arguments)
        .env_clear()
        .env("CUTOVER_CONFIG", program.config_file())
        .stdin(Stdio::null())
        .stdout(OpenOptions::new().write(true).open("/dev/full").unwrap())
        .output()
        .unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

/// A rollback that was in force said that it had failed.
#[test]
fn what_was_done_is_told_as_done() {
    let program = Program::start(BINARY, &two_arms("http://127.0.0.1:1", "http://127.0.0.1:1"));
    for (arguments, done) in [
        (&["weight", "app", "40%"][..], "app: new serves 40% of the units"),
        (&["rollback", "app"], "app: old serves all units"),
    ] {
        let (code, said) = run(&program, arguments);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("done, but it could not be printed to stdout"), "{said}");
        assert!(said.contains(done) && !said.contains("error:"), "{said}");
    }
}

/// Nobody saw its secret, and nothing said what to do.
#[test]
fn a_key_that_nobody_saw_is_told_with_the_way_to_another() {
    let program = Program::start(BINARY, &two_arms("http://127.0.0.1:1", "http://127.0.0.1:1"));
    let (code, said) = run(&program, &["key", "add", "fleet"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nobody has seen it") && !said.contains("ck-"), "{said}");
    assert!(said.contains("cutover key rotate fleet --overlap \"0 s\""), "{said}");
    let seen = program.ok(&["key", "rotate", "fleet", "--overlap", "0 s"]);
    assert!(seen.starts_with("ck-"), "{seen}");
    let (code, said) = run(&program, &["key", "rotate", "fleet"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nobody has seen it") && said.contains("is valid until"), "{said}");
    let (code, said) = run(&program, &["key", "revoke", "fleet"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("fleet: revoked"), "{said}");
}
