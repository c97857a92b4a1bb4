//! What operators rely on around a rollout: webhooks that lose nothing, names that are proof, a history
//! with names, output that may be cut.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fmt::Write as _;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use cutover_testkit::arms::two_arms;
use cutover_testkit::fake::Refusing;
use cutover_testkit::program::{Program, Setup};
use cutover_testkit::raw;
use cutover_testkit::receiver::{Posted, Receiver};
use cutover_testkit::wait;
use serde_json::Value;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");
const OLGAS: &str = "a-token-of-olgas-own";

/// A rollout that waits for hours, and more lines.
fn config(more: &str) -> String {
    let ground = two_arms("http://127.0.0.1:1", "http://127.0.0.1:1");
    format!(
        r#"{ground}
[use_cases.app.rollout]
gates = ["errors <= baseline + 20 pp"]
steps = ["canary 20% for 1 h", "ramp 40% for 1 h after approval by olga", "100% for 1 h"]
interval = "1 s"
{more}
"#
    )
}

fn hook(name: &str, url: &str, more: &str) -> String {
    format!("[webhooks.{name}]\nurl = \"{url}/hook\"\n{more}\n")
}

fn taken(_: &Posted) -> (u16, String) {
    (204, String::new())
}

/// Delivery ids and actions, in the order in which they came.
fn told(receiver: &Receiver) -> Vec<(String, String)> {
    let read = |posted: &Posted| {
        let body: Value = serde_json::from_str(&posted.body).unwrap();
        let action = body["decision"]["action"].as_str().unwrap().to_owned();
        (posted.header("x-cutover-delivery").to_owned(), action)
    };
    receiver.posted().iter().map(read).collect()
}

/// The receiver is away, the program is killed, the receiver comes back: each decision is told, under
/// the id that it had.
#[tokio::test(flavor = "multi_thread")]
async fn no_decision_is_lost_to_a_receiver_that_is_away_and_a_program_that_is_killed() {
    let away = Refusing::start();
    let address = away.base_url().trim_start_matches("http://").parse().unwrap();
    let near = Receiver::start(taken);
    let hooks = hook("ops", &away.base_url(), "secret = { env = \"HOOK_SECRET\" }")
        + &hook("near", &near.base_url(), "events = [\"pause\"]");
    let setup = Setup::new(BINARY, &config(&hooks)).env("HOOK_SECRET", "s3cret");
    let mut program = setup.start();
    program.ok(&["rollout", "start", "app"]);
    program.ok(&["rollout", "pause", "app", "--actor", "ann"]);
    // One receiver that is away holds up no other.
    wait::until("the webhook that is there", || !near.posted().is_empty());
    let waits = || program.ok(&["rollout", "status", "app"]).contains("ops: 2 waiting");
    wait::until("the status to tell", waits);
    let overview = program.ok(&["status"]);
    assert!(overview.contains("WEBHOOK ops: 2 waiting, the oldest for"), "{overview}");
    let metrics = program.admin("GET /metrics", "").text();
    assert!(metrics.contains("cutover_webhook_waiting{webhook=\"ops\"} 2"), "{metrics}");
    program.kill();
    drop(away);
    let back = Receiver::start_at(address, taken);
    program.start_again();
    wait::until("both decisions", || back.posted().len() >= 2);
    let mut told_then = told(&back);
    told_then.sort();
    let run = told_then[0].0.split('/').next().unwrap().to_owned();
    let expected = [(format!("{run}/1"), "start"), (format!("{run}/2"), "pause")];
    assert_eq!(told_then, expected.map(|(id, action)| (id, action.to_owned())));
    assert!(back.posted()[0].header("x-cutover-signature").starts_with("sha256="));
    let settled = || !program.ok(&["rollout", "status", "app"]).contains("WEBHOOK");
    wait::until("nothing to wait", settled);
    // What was taken is not told again by the next process.
    program.kill();
    program.start_again();
    program.ok(&["rollout", "resume", "app", "--actor", "ann"]);
    wait::until("the next decision", || back.posted().len() >= 3);
    assert_eq!(told(&back)[2], (format!("{run}/3"), "resume".to_owned()));
    assert_eq!(told(&near), [(format!("{run}/2"), "pause".to_owned())]);
}

#[test]
fn what_is_given_up_is_shown_as_undelivered() {
    let refuses = Receiver::start(|_| (500, String::new()));
    let program =
        Program::start(BINARY, &config(&hook("ops", &refuses.base_url(), "give_up = \"1 s\"")));
    program.ok(&["rollout", "start", "app"]);
    let status = || program.ok(&["rollout", "status", "app"]);
    wait::until("the end of the tries", || status().contains("ops: 1 undelivered; status 500"));
    let overview = program.ok(&["status"]);
    assert!(overview.contains("WEBHOOK ops: 1 undelivered; status 500"), "{overview}");
    let counted = r#"cutover_webhook_deliveries_total{webhook="ops",result="undelivered"} 1"#;
    let metrics = program.admin("GET /metrics", "").text();
    assert!(metrics.contains(counted), "{metrics}");
}

/// A name in the history used to be what somebody typed.
#[test]
fn an_approval_needs_the_token_of_the_name_that_it_lists() {
    let operators = "[admin.operators.olga]\ntoken = { env = \"OLGAS_TOKEN\" }\n";
    let program = Setup::new(BINARY, &config(operators)).env("OLGAS_TOKEN", OLGAS).start();
    program.ok(&["rollout", "start", "app", "--actor", "ann"]);
    let forged = program.cli(&["rollout", "approve", "app", "ramp 40%", "--actor", "olga"]);
    let said = String::from_utf8_lossy(&forged.stderr).into_owned();
    assert_eq!(forged.status.code(), Some(5), "{said}");
    assert!(said.contains("has a token of their own") && said.contains("hint:"), "{said}");
    let unlisted = program.cli(&["rollout", "approve", "app", "ramp 40%", "--actor", "ann"]);
    assert_eq!(unlisted.status.code(), Some(5), "{unlisted:?}");
    let file = program.state().join("olgas-token");
    std::fs::write(&file, OLGAS).unwrap();
    private(&file);
    let own = file.to_str().unwrap();
    let approve = ["rollout", "approve", "app", "ramp 40%", "--token-file", own];
    program.ok(&[&approve[..], &["--actor", "somebody else"]].concat());
    let history = program.ok(&["rollout", "history", "app"]);
    let last = history.lines().find(|line| line.contains("approve")).unwrap();
    assert!(last.contains("olga") && !last.contains("somebody"), "{history}");
}

/// After a leak the new token was in the file, the log said "config reloaded", and the old one went on to
/// move traffic; the command line, which had read the new one, was told that it was wrong.
#[cfg(unix)]
#[test]
fn a_token_that_was_changed_is_taken_over_with_the_config() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("olgas-token");
    let write = |token: &str| {
        std::fs::write(&file, token).unwrap();
        private(&file);
    };
    write(OLGAS);
    let operators = format!("[admin.operators.olga]\ntoken = {{ file = {file:?} }}\n");
    let program = Program::start(BINARY, &config(&operators));
    let shared = program.state().join("admin-token");
    let old = std::fs::read_to_string(&shared).unwrap();
    let status = |token: &str| {
        let header = format!("authorization: Bearer {}", token.trim());
        raw::exchange(program.admin_url(), "GET /admin/status", &[&header], "").unwrap().status
    };
    assert_eq!((status(OLGAS), status(&old)), (200, 200));
    let new = "another-token-of-olgas";
    write(new);
    // The shared one is made anew.
    std::fs::remove_file(&shared).unwrap();
    let hang_up = || {
        let sent = Command::new("kill").args(["-HUP", &program.pid().to_string()]).status();
        assert!(sent.unwrap().success());
    };
    hang_up();
    wait::until("the new tokens in force", || status(new) == 200);
    assert_eq!((status(OLGAS), status(&old)), (401, 401));
    program.ok(&["status"]);
    let log = program.log();
    for key in ["admin.token", "admin.operators.olga.token"] {
        assert!(
            log.lines().any(|line| line.contains("another token") && line.contains(key)),
            "{log}"
        );
    }
    assert!(!log.contains(new) && !log.contains("next start"), "{log}");
    // One that is no token refuses the file, and those in force stay.
    write("short");
    hang_up();
    wait::until("the refusal", || program.log().contains("has fewer than 16 characters"));
    assert_eq!((status(new), status("short")), (200, 401));
    write("what-nobody-has-read-yet");
    let wrong = program.cli(&["status", "--token-file", file.to_str().unwrap()]);
    let said = String::from_utf8_lossy(&wrong.stderr).into_owned();
    assert!(wrong.status.code() == Some(5) && said.contains("SIGHUP"), "{said}");
}

#[cfg(unix)]
fn private(file: &std::path::Path) {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

/// The history of a use case's earlier runs showed "1" for a step that had a name.
#[test]
fn the_history_names_the_steps_of_earlier_runs_too() {
    let program = Program::start(BINARY, &config(""));
    program.ok(&["rollout", "start", "app"]);
    program.ok(&["rollout", "pause", "app", "--actor", "ann"]);
    program.ok(&["rollout", "rollback", "app", "--actor", "ann"]);
    program.ok(&["rollout", "start", "app", "--after-rollback"]);
    let history = program.ok(&["rollout", "history", "app"]);
    let rows: Vec<_> = history.lines().filter(|line| line.contains(" app ")).collect();
    assert_eq!(rows.len(), 4, "{history}");
    assert!(rows.iter().all(|row| row.contains("canary 20%")), "{history}");
}

/// `cutover ... | head` used to end with "Broken pipe" and exit code 1.
#[test]
fn output_that_nobody_reads_to_its_end_is_no_failure() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("cutover.toml");
    // More than any pipe holds.
    let mut text = config("");
    for n in 0..2_000 {
        let _ = write!(
            text,
            "[use_cases.more-{n}]\nmatch = {{ model = \"more-{n}\" }}\nbaseline = \"old\"\n\n"
        );
    }
    std::fs::write(&file, text).unwrap();
    for verb in [&["check"][..], &["rollout", "simulate", "app", "--runs", "5", "--only-asked"]] {
        let mut child = Command::new(BINARY)
            .args(verb)
            .env_clear()
            .env("HOME", folder.path())
            .env("CUTOVER_CONFIG", &file)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap());
        if verb == ["check"] {
            out.read_line(&mut String::new()).unwrap();
        }
        drop(out);
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(0), "{verb:?}: {said}");
        assert!(!said.contains("error:") && !said.contains("ipe"), "{verb:?}: {said}");
    }
}

/// Shipped with the files that they name, but for a certificate of the reader's own.
#[test]
fn the_examples_are_taken_as_they_are_shipped() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/examples");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let examples: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    assert!(examples.len() >= 8, "{examples:?}");
    for path in examples {
        let out = Command::new(BINARY).arg("check").arg(&path).output().unwrap();
        let (code, said) = (out.status.code(), String::from_utf8_lossy(&out.stderr));
        if path.ends_with("shared-gateway.toml") {
            assert!(code == Some(3) && said.contains("certs/house-ca.pem"), "{said}");
        } else {
            assert_eq!(code, Some(0), "{}: {said}", path.display());
        }
    }
}
