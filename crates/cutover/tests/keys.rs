//! Keys and the state they are in: what a verb does where no cutover is reached, what a start does that
//! cannot read them, how secrets are replaced, and what a backup holds.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use cutover_testkit::fake::{Fake, Persona, Refusing};
use cutover_testkit::program::Program;
use cutover_testkit::raw::{Response, exchange};
use cutover_testkit::wait;
use serde_json::json;
use tokio::time::Instant;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// One upstream, keys required, and a use case of the key `team`.
fn config(fake: &Fake, key: &str) -> String {
    format!(
        "[server]\nkeys = \"required\"\n\
         [upstreams.one]\nprovider = \"openai-compatible\"\ninstances = [\"{}/v1\"]\n{key}\n\
         [variants.old]\nupstream = \"one\"\nmodel = \"fake-model\"\n\
         [use_cases.app]\nmatch = {{ key = \"team\" }}\nbaseline = \"old\"\n",
        fake.base_url()
    )
}

fn ask(program: &Program, key: &str) -> Response {
    let body = json!({"model": "fake-model", "messages": [{"role": "user", "content": "hi"}]});
    let header = format!("authorization: Bearer {key}");
    exchange(program.url(), "POST /v1/chat/completions", &[&header], body.to_string()).unwrap()
}

/// Runs a verb in a home of its own, in which no cutover ever ran.
fn at_home(home: &Path, arguments: &[&str], environment: &[(&str, &str)]) -> (i32, String) {
    let mut command = Command::new(BINARY);
    command.args(arguments).env_clear().env("HOME", home).current_dir(home);
    command.envs(environment.iter().copied());
    told(&command.output().unwrap())
}

fn told(output: &Output) -> (i32, String) {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    (output.status.code().unwrap(), String::from_utf8_lossy(&both).into_owned())
}

fn state_at_home(home: &Path) -> PathBuf {
    home.join(".local/state/cutover")
}

/// `key revoke --admin NOBODY` said "revoked" of a database that it had just made, while the running gateway
/// went on serving the key.
#[test]
fn where_the_running_cutover_is_named_and_not_reached_nothing_is_done_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    let (home, nobody) = (home.path(), Refusing::start());
    let address = nobody.base_url().replace("http://", "");
    let token = home.join("token");
    fs::write(&token, "a-token-for-tests-only").unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        fs::set_permissions(&token, fs::Permissions::from_mode(0o600)).unwrap();
    }
    let prompt = home.join("prompt.txt");
    fs::write(&prompt, "be brief").unwrap();
    let (token, prompt) = (token.to_str().unwrap(), prompt.to_str().unwrap());
    let verbs: [&[&str]; 8] = [
        &["key", "add", "app"],
        &["key", "list"],
        &["key", "revoke", "app"],
        &["key", "rotate", "app"],
        &["prompt", "add", "greeting", prompt, "--label", "production"],
        &["prompt", "label", "greeting", "1", "production"],
        &["prompt", "list"],
        &["rollout", "replay", "app"],
    ];
    for verb in verbs {
        let named: &[&str] = &["--admin", &address];
        let shown: &[&str] = &["--admin", &address, "--token-file", token];
        let token_set = [("CUTOVER_ADMIN_TOKEN", "a-token-for-tests-only")];
        for (options, environment) in [(named, &[][..]), (shown, &[][..]), (named, &token_set[..])]
        {
            let (code, said) = at_home(home, &[verb, options].concat(), environment);
            assert_eq!(code, 4, "{verb:?} {options:?}: {said}");
        }
        // A token alone names one, too: the one at the default address.
        let elsewhere = home.join("elsewhere.toml");
        fs::write(&elsewhere, format!("[admin]\nlisten = \"{address}\"\n")).unwrap();
        let options = ["--token-file", token, "--config", elsewhere.to_str().unwrap()];
        let (code, said) = at_home(home, &[verb, &options].concat(), &[]);
        assert_eq!(code, 4, "{verb:?}: {said}");
    }
    assert!(!state_at_home(home).join("cutover.db").exists());
}

#[test]
fn without_a_running_cutover_a_database_is_made_by_what_adds_alone_and_the_directory_is_said() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let state = state_at_home(home);
    for verb in [&["key", "list"][..], &["key", "revoke", "app"], &["prompt", "list"]] {
        let (code, said) = at_home(home, verb, &[]);
        assert_eq!(code, 4, "{verb:?}: {said}");
        assert!(said.contains("there is no database in") && said.contains("--state-dir"), "{said}");
    }
    assert!(!state.exists(), "nothing is made");
    let (code, said) = at_home(home, &["key", "add", "app"], &[]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("warning: no running cutover was reached"), "{said}");
    assert!(said.contains(state.to_str().unwrap()) && said.contains("no cutover serves"), "{said}");
    let (code, said) = at_home(home, &["key", "list"], &[]);
    assert!(code == 0 && said.contains("app") && said.contains("warning:"), "{said}");
    // Whoever revokes must know that it may not be in force.
    let (code, said) = at_home(home, &["key", "revoke", "app"], &[]);
    assert!(code == 6 && said.contains("no cutover serves"), "{code} {said}");
}

/// A machine with an old key asks on for days: a line per request would fill the disk, and whoever has no key could.
#[test]
fn keys_that_are_refused_are_a_line_now_and_then_and_not_one_each() {
    let fake = Fake::start(Persona::OpenAi);
    let program = Program::start(BINARY, &config(&fake, ""));
    let key = program.ok(&["key", "add", "team"]).trim().to_owned();
    assert_eq!(ask(&program, &key).status, 200);
    let revoked = program.ok(&["key", "add", "gone"]).trim().to_owned();
    program.ok(&["key", "revoke", "gone"]);
    let (before, began) = (program.log().lines().count(), Instant::now());
    for nth in 0..60 {
        for shown in ["ck-unknown", &format!("ck-{nth}"), "", &revoked] {
            assert_eq!(ask(&program, shown).status, 401);
            let header = format!("authorization: Bearer {shown}");
            let lines = ["GET /v1/models", "POST /v1/embeddings", "GET /v1/nope", "PUT /v1/files"];
            let line = lines[nth % lines.len()];
            assert_eq!(exchange(program.url(), line, &[&header], "{}").unwrap().status, 401);
        }
    }
    // One in ten seconds, and one that says how many were left out.
    let most = 2 * (1 + began.elapsed().as_secs().div_ceil(10));
    let log = program.log();
    let lines: Vec<&str> = log.lines().skip(before).collect();
    assert!(!lines.is_empty() && lines.len() as u64 <= most, "{}: {lines:#?}", lines.len());
    let counted = program.metrics();
    let refused = counted.lines().filter(|line| line.contains("invalid_api_key"));
    let refused: u64 =
        refused.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok()).sum();
    assert!(refused >= 480, "each is counted: {refused}");
}

/// Such a start ended at once, and its health checks with it; a supervisor tried again for ever.
#[test]
fn a_start_that_cannot_read_the_keys_lets_nobody_in_refuses_nobody_and_takes_them_when_it_can() {
    let fake = Fake::start(Persona::OpenAi);
    let mut program = Program::start(BINARY, &config(&fake, ""));
    let key = program.ok(&["key", "add", "team"]).trim().to_owned();
    assert_eq!(ask(&program, &key).status, 200);
    let (there, away) = (program.state().join("cutover.db"), program.state().join("away.db"));
    for damaged in [false, true] {
        program.terminate();
        fs::rename(&there, &away).unwrap();
        if damaged {
            fs::write(&there, "no database at all, for many bytes ".repeat(200)).unwrap();
        }
        program.start_again_until("GET /health");
        let served = fake.inferences().len();
        for shown in [key.as_str(), "ck-unknown"] {
            let answer = ask(&program, shown);
            assert_eq!(answer.status, 503, "{}", answer.text());
            assert_eq!(answer.json()["error"]["code"], "client_keys_unavailable");
        }
        assert_eq!(fake.inferences().len(), served, "nobody is let in");
        let ready = exchange(program.admin_url(), "GET /ready", &[], "").unwrap();
        assert_eq!(ready.status, 503);
        assert!(ready.text().contains("client keys"), "{}", ready.text());
        // A reload of the file goes on working.
        assert_eq!(program.admin("POST /admin/reload", "{}").status, 200);
        fs::rename(&away, &there).unwrap();
        wait::until("the keys to be taken over", || ask(&program, &key).status == 200);
        assert_eq!(ask(&program, "ck-unknown").status, 401);
        assert!(program.log().contains("the client keys cannot be read"), "{}", program.log());
        assert_eq!(exchange(program.admin_url(), "GET /ready", &[], "").unwrap().status, 200);
    }
}

/// An empty state is no error, but nobody can be served: `/ready` said that all is well.
#[test]
fn a_gateway_without_keys_says_so_where_it_is_looked_at() {
    let fake = Fake::start(Persona::OpenAi);
    let program = Program::start(BINARY, &config(&fake, ""));
    let degraded = || program.status()["ready"]["degraded"].to_string();
    assert!(degraded().contains("no client key exists"), "{}", degraded());
    program.ok(&["key", "add", "team"]);
    wait::until("the key to be counted", || !degraded().contains("no client key"));
}

/// After the old key was revoked every request failed, until somebody thought of a reload.
#[test]
fn an_upstreams_key_in_a_file_is_taken_when_the_file_changes() {
    let fake = Fake::start(Persona::OpenAi);
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("key");
    fs::write(&file, "sk-first").unwrap();
    let key = format!("key = {{ file = {:?} }}", file.to_str().unwrap());
    let program = Program::start(BINARY, &config(&fake, &key));
    let client = program.ok(&["key", "add", "team"]).trim().to_owned();
    let shown = || {
        assert_eq!(ask(&program, &client).status, 200);
        let seen = fake.inferences();
        seen.last().unwrap().header("authorization").unwrap().to_owned()
    };
    assert_eq!(shown(), "Bearer sk-first");
    // As container platforms do it: another file behind the same name.
    let next = folder.path().join("next");
    fs::write(&next, "sk-other").unwrap();
    fs::rename(&next, &file).unwrap();
    wait::until("the new key", || shown() == "Bearer sk-other");
    // One that is away is told, and what was read last stays.
    fs::remove_file(&file).unwrap();
    wait::until("the refusal", || !program.status()["config"]["refused"].is_null());
    assert_eq!(shown(), "Bearer sk-other");
    assert!(!program.log().contains("sk-"), "no secret is in the log");
}

/// A key could be replaced only under another name, and its traffic left its use case without a word.
#[test]
fn a_rotated_key_stays_in_its_use_case_with_both_secrets_for_a_while() {
    let fake = Fake::start(Persona::OpenAi);
    let program = Program::start(BINARY, &config(&fake, ""));
    let first = program.ok(&["key", "add", "team"]).trim().to_owned();
    let served = |key: &str| {
        let answer = ask(&program, key);
        (answer.status, answer.header("x-cutover-use-case").map(str::to_owned))
    };
    let in_its_use_case = (200, Some("app".to_owned()));
    assert_eq!(served(&first), in_its_use_case);
    let output = program.cli(&["key", "rotate", "team", "--overlap", "2 h"]);
    assert!(told(&output).1.contains("is valid until"), "{output:?}");
    let second = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert_ne!(first, second);
    assert_eq!(
        [served(&first), served(&second)],
        [in_its_use_case.clone(), in_its_use_case.clone()]
    );
    assert!(program.ok(&["key", "list"]).contains("secret before until"));
    assert!(program.ok(&["key", "revoke", "team", "--former"]).contains("former secrets"));
    wait::until("the secret before to end", || served(&first).0 == 401);
    assert_eq!(served(&second), in_its_use_case);
    // After a leak nothing of before is valid.
    let third = program.ok(&["key", "rotate", "team", "--overlap", "0 s"]).trim().to_owned();
    wait::until("the leaked one to end", || served(&second).0 == 401);
    assert_eq!(served(&third), in_its_use_case);
    let (code, said) = told(&program.cli(&["key", "rotate", "nobody"]));
    assert!(code == 5 && said.contains("there is no key"), "{code} {said}");
    for bad in ["5m", "400 d", "soon"] {
        let (code, said) = told(&program.cli(&["key", "rotate", "team", "--overlap", bad]));
        assert_eq!(code, 2, "{said}");
    }
    // A use case that nobody can reach any more is told, not found out.
    let (code, said) = told(&program.cli(&["key", "revoke", "team"]));
    assert!(code == 0 && said.contains("use case app matches by key team"), "{said}");
    let reloaded = program.admin("POST /admin/reload", "{}").text();
    assert!(
        reloaded.contains("use_cases.app.match.key: by key team, which is revoked"),
        "{reloaded}"
    );
    let (code, said) = told(&program.cli(&["key", "add", "team-2"]));
    assert!(code == 0 && said.contains("which is revoked"), "{said}");
    let (code, said) = told(&program.cli(&["key", "add", "team"]));
    assert!(code == 5 && said.contains("cutover key rotate"), "{said}");
}

/// A copy of the files that the guide listed had neither the keys nor the shares of the last hours.
#[test]
fn a_backup_made_while_serving_is_a_state_directory_with_all_that_was_done() {
    let fake = Fake::start(Persona::OpenAi);
    let mut program = Program::start(BINARY, &config(&fake, ""));
    let key = program.ok(&["key", "add", "team"]).trim().to_owned();
    let gone = program.ok(&["key", "add", "gone"]).trim().to_owned();
    program.ok(&["key", "revoke", "gone"]);
    assert_eq!(ask(&program, &key).status, 200);
    let overrides = program.state().join("overrides");
    fs::create_dir_all(&overrides).unwrap();
    fs::write(overrides.join("app.json"), "").unwrap();
    let to = program.state().with_file_name("backup");
    let folder = to.to_str().unwrap();
    program.ok(&["backup", folder]);
    let (code, said) = told(&program.cli(&["backup", folder]));
    assert!(code == 1 && said.contains("overwrites nothing"), "{said}");
    assert!(to.join("overrides/app.json").exists());
    // What was done later is not in it, what was done before is in force once it is put back.
    program.ok(&["key", "add", "later"]);
    program.terminate();
    fs::rename(program.state(), program.state().with_file_name("lost")).unwrap();
    fs::rename(&to, program.state()).unwrap();
    program.start_again();
    assert_eq!(ask(&program, &key).status, 200);
    assert_eq!(ask(&program, &gone).status, 401);
    assert!(!program.ok(&["key", "list"]).contains("later"));
}

/// `report --admin ADDR` read the local directory, and said of the use case there that it had no requests.
#[test]
fn a_report_offers_no_address_and_says_where_it_has_read() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let (code, said) = at_home(home, &["report", "app", "--admin", "127.0.0.1:9"], &[]);
    assert!(code == 2 && said.contains("--admin"), "{said}");
    let (code, said) = at_home(home, &["report", "app"], &[]);
    assert!(code == 1 && said.contains("there is no database in"), "{said}");
    assert!(said.contains(state_at_home(home).to_str().unwrap()), "{said}");
    assert!(!state_at_home(home).exists(), "none is made");
    at_home(home, &["key", "add", "app"], &[]);
    let (code, said) = at_home(home, &["report", "app"], &[]);
    assert!(code == 1 && said.contains("in the records of"), "{said}");
}
