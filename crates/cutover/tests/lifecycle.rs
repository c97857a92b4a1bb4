//! Start, reload, stop: what a running program does when its file, its process or its world changes.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cutover_testkit::fake::{Fake, Gate, Persona, Reply, Setup};
use cutover_testkit::program::Program;
use cutover_testkit::raw::{Raw, Response, exchange};
use cutover_testkit::wait;
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

fn fake(name: &str) -> Fake {
    Fake::start_with(Setup::new(Persona::OpenAi).name(name))
}

fn config(fake: &Fake) -> String {
    format!(
        "[upstreams.one]\nprovider = \"openai-compatible\"\ninstances = [\"{}/v1\"]\n\
         models = [\"fake-model\"]\n",
        fake.base_url()
    )
}

fn ask(program: &Program) -> Response {
    let body = json!({"model": "fake-model", "messages": [{"role": "user", "content": "hi"}]});
    exchange(program.url(), "POST /v1/chat/completions", &[], body.to_string()).unwrap()
}

#[test]
fn a_changed_file_is_taken_and_a_wrong_one_is_refused_while_the_old_one_serves() {
    let (first, second) = (fake("first"), fake("second"));
    let mut program = Program::start(BINARY, &config(&first));
    assert!(ask(&program).text().contains("Hello from first"));
    program.write_config(&config(&second));
    wait::until("the new file in force", || ask(&program).text().contains("Hello from second"));
    program.write_config(&config(&first).replace("provider", "provoder"));
    wait::until("the refusal in the status", || !program.status()["config"]["refused"].is_null());
    let refused = program.status()["config"]["refused"].to_string();
    assert!(refused.contains("provoder"), "{refused}");
    assert!(ask(&program).text().contains("Hello from second"));
    program.write_config(&config(&first));
    wait::until("the mended file in force", || ask(&program).text().contains("Hello from first"));
    assert!(program.status()["config"]["refused"].is_null());
}

fn with_use_case(fake: &Fake) -> String {
    format!(
        "{}[variants.old]\nupstream = \"one\"\nmodel = \"fake-model\"\n\
         [use_cases.app]\nmatch = {{ model = \"app\" }}\nbaseline = \"old\"\n",
        config(fake)
    )
}

/// A file is empty for a moment while some editors write it, and on a full disk for longer: all
/// upstreams were gone within a second.
#[test]
fn a_file_that_is_emptied_is_refused_and_a_use_case_that_vanishes_is_told() {
    let upstream = fake("upstream");
    let mut program = Program::start(BINARY, &with_use_case(&upstream));
    for empty in ["", "# nothing but words\n\n"] {
        program.write_bare_config(empty);
        wait::until("the refusal", || {
            program.status()["config"]["refused"].to_string().contains("says nothing")
        });
        // Asked for by name it is refused as well.
        let asked = program.admin("POST /admin/reload", "");
        assert_eq!(asked.status, 422, "{}", asked.text());
        assert!(ask(&program).text().contains("Hello from upstream"));
        program.write_config(&with_use_case(&upstream));
        wait::until("the file back", || program.status()["config"]["refused"].is_null());
    }
    program.write_config(&config(&upstream));
    wait::until("the warning", || program.log().contains("use_cases.app is gone from the file"));
}

/// Nothing was said until the next start, and `status` asked the default address without a word.
#[test]
fn a_config_file_that_is_gone_is_told_once_and_by_status_too() {
    let upstream = fake("upstream");
    let program = Program::start(BINARY, &config(&upstream));
    let aside = program.config_file().with_extension("aside");
    let refusals = || program.log().matches("config refused, the old one stays in force").count();
    std::fs::rename(program.config_file(), &aside).unwrap();
    wait::until("the error in the log", || refusals() == 1);
    assert!(program.log().contains("cannot read the config file"), "{}", program.log());
    assert!(ask(&program).text().contains("Hello from upstream"));
    let refused = program.status()["config"]["refused"].to_string();
    assert!(refused.contains("cannot read the config file"), "{refused}");
    // The state directory tells where it is. Without that, it is said who is asked.
    let status = program.cli(&["status"]);
    let told = String::from_utf8_lossy(&status.stderr).into_owned();
    let address = program.admin_url().trim_start_matches("http://");
    assert_eq!(status.status.code(), Some(0), "{told}");
    assert!(told.contains(&format!("the cutover at {address} is asked")), "{told}");
    let elsewhere = aside.with_extension("state");
    let status = program.cli(&["status", "--state-dir", elsewhere.to_str().unwrap()]);
    let told = String::from_utf8_lossy(&status.stderr).into_owned();
    assert!(told.contains("the cutover at 127.0.0.1:4001 is asked"), "{told}");
    assert!(told.contains(elsewhere.to_str().unwrap()) && told.contains("--admin"), "{told}");
    std::fs::rename(&aside, program.config_file()).unwrap();
    wait::until("the file back", || program.status()["config"]["refused"].is_null());
    assert_eq!(refusals(), 1, "told once");
}

/// It was waited for, answered and billed, and stood in no record: they were closed before it was let go.
#[test]
fn a_request_that_outlives_its_client_is_recorded_where_it_ends_in_the_drain() {
    let upstream = fake("upstream");
    let config = config(&upstream).replace("models =", "cancel_on_disconnect = false\nmodels =");
    let body = json!({"model": "fake-model", "messages": [{"role": "user", "content": "hi"}]});
    for _ in 0..3 {
        let gate = Gate::new();
        upstream.once(Reply::words(2).hold_headers(&gate));
        let mut program = Program::start(BINARY, &config);
        let mut raw = Raw::open(program.url()).unwrap();
        raw.request("POST /v1/chat/completions", &[], body.to_string()).unwrap();
        wait::until("it is asked", || gate.arrivals() == 1);
        drop(raw);
        let open = || program.metrics().contains("cutover_open_connections{listener=\"client\"} 0");
        wait::until("its client has left", open);
        let url = program.url().to_owned();
        let ends = std::thread::spawn(move || {
            let code = program.terminate();
            (program, code)
        });
        wait::until("nobody is let in any more", || Raw::open(&url).is_err());
        gate.open();
        let (program, code) = ends.join().unwrap();
        assert_eq!(code, Some(0));
        let database = rusqlite::Connection::open(program.state().join("cutover.db")).unwrap();
        let count = "SELECT count(*) FROM records WHERE outcome = 'client_gone'";
        let count: i64 = database.query_row(count, [], |row| row.get(0)).unwrap();
        assert_eq!(count, 1);
    }
}

/// Puts a pipe that nobody writes to in the place of the config file.
fn place_pipe(program: &Program) {
    let file = program.config_file();
    std::fs::remove_file(&file).unwrap();
    let made = std::process::Command::new("mkfifo").arg(&file).status().unwrap();
    assert!(made.success());
}

fn with_candidate(fake: &Fake) -> String {
    let arms = "[use_cases.app]\ncandidate = \"new\"";
    let text = with_use_case(fake).replace("[use_cases.app]", arms);
    format!("{text}[variants.new]\nupstream = \"one\"\nmodel = \"fake-model\"\n")
}

/// The open of a pipe that nobody writes to has no end: no change was taken any more, no override was noticed, a rollback
/// waited for it, and the process had to be killed.
#[test]
fn a_pipe_in_the_place_of_the_config_file_stops_nothing() {
    let upstream = fake("upstream");
    let config = with_candidate(&upstream);
    let mut program = Program::start(BINARY, &config);
    program.ok(&["weight", "app", "50%"]);
    let weight = |program: &Program| program.status()["use_cases"][0]["weight"].to_string();
    let before = weight(&program);
    place_pipe(&program);
    wait::until("the refusal", || {
        program.status()["config"]["refused"].to_string().contains("is not a regular file")
    });
    let overrides = program.state().join("overrides");
    std::fs::create_dir_all(&overrides).unwrap();
    std::fs::write(overrides.join("app.json"), "").unwrap();
    wait::until("the override", || weight(&program) != before);
    program.write_config(&config);
    wait::until("the file back", || program.status()["config"]["refused"].is_null());
    program.ok(&["weight", "app", "50%", "--after-rollback"]);
    wait::until("the weight back", || weight(&program) == before);
    place_pipe(&program);
    let said = program.cli(&["rollback", "app"]);
    let said = cutover_testkit::program::said(&said);
    assert!(said.contains("app: old serves all units"), "{said}");
    assert_eq!(program.terminate(), Some(0), "{}", program.log());
}

/// Commands looked for the running cutover's token and address in a directory that it does not use yet.
#[test]
fn commands_reach_a_cutover_whose_file_names_another_state_directory() {
    let upstream = fake("upstream");
    let config = with_candidate(&upstream);
    let program = Program::start(BINARY, &config);
    program.ok(&["weight", "app", "50%"]);
    let text = std::fs::read_to_string(program.config_file()).unwrap();
    let moved = text.replace(&program.state().display().to_string(), "elsewhere");
    program.write_bare_config(&moved);
    wait::until("the warning", || {
        program.log().contains("find the running cutover by the new one")
    });
    let said = program.ok(&["rollback", "app"]);
    assert!(said.contains("app: old serves all units"), "{said}");
    program.ok(&["status"]);
    program.ok(&["weight", "app", "10%", "--after-rollback"]);
}

/// Nothing happened until the next start, which then took the candidate's share; and a reload that was refused for such a
/// file stayed refused.
#[test]
fn a_prompts_file_is_watched_as_the_config_is_and_after_a_refusal_for_it_too() {
    let upstream = fake("upstream");
    let prompted = "system_prompt = { file = \"one.txt\" }\n[use_cases.app]";
    let config = with_use_case(&upstream).replace("[use_cases.app]", prompted);
    let mut program = Program::start(BINARY, &with_use_case(&upstream));
    program.write_config(&config);
    let refused = || program.status()["config"]["refused"].to_string();
    wait::until("the refusal", || refused().contains("one.txt does not exist"));
    let file = program.config_file().with_file_name("one.txt");
    std::fs::write(&file, "Answer in French.").unwrap();
    wait::until("the mended file in force", || refused() == "null");
    let body = json!({"model": "app", "messages": [{"role": "user", "content": "hi"}]});
    let sent = || {
        let (line, body) = ("POST /v1/chat/completions", body.to_string());
        exchange(program.url(), line, &[], body).unwrap();
        upstream.inferences().pop().unwrap().json().to_string()
    };
    assert!(sent().contains("Answer in French."));
    std::fs::write(&file, "Answer in Italian.").unwrap();
    wait::until("the other prompt", || sent().contains("Answer in Italian."));
}

/// The end of a stream, or the whole answer, reached its client up to 200 ms before the disk did.
#[test]
fn an_answer_that_a_client_has_been_told_is_stored_survives_a_kill() {
    let upstream = fake("upstream");
    let config = format!("{}[state]\nresponses = true\n", config(&upstream));
    let mut program = Program::start(BINARY, &config);
    for stream in [false, true, false, true] {
        let body = json!({"model": "fake-model", "input": "hi", "stream": stream});
        let answer = exchange(program.url(), "POST /v1/responses", &[], body.to_string()).unwrap();
        program.kill();
        assert_eq!(answer.status, 200, "{}", answer.text());
        let last = answer.events().pop();
        let last = last.map(|event| serde_json::from_str::<serde_json::Value>(&event).unwrap());
        let told = last.map_or_else(|| answer.json(), |event| event["response"].clone());
        assert_eq!(told["store"], true);
        let id = told["id"].as_str().unwrap();
        program.start_again();
        let shown = exchange(program.url(), &format!("GET /v1/responses/{id}"), &[], "").unwrap();
        assert_eq!(shown.status, 200, "{}", shown.text());
    }
}

#[test]
fn a_state_directory_is_served_from_by_one_process() {
    let upstream = fake("upstream");
    let mut program = Program::start(BINARY, &config(&upstream));
    // The address is taken, too: without the claim that would be the complaint, and no wait for ever.
    let taken = program.url().trim_start_matches("http://").to_owned();
    let second = program.cli(&["serve", "--listen", &taken]);
    let error = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{error}");
    assert!(error.contains("another cutover serves from"), "{error}");
    assert!(program.ok(&["status"]).contains("cutover"), "commands still reach the first");
    // A process that is killed leaves no claim behind.
    program.kill();
    program.start_again();
    assert!(ask(&program).text().contains("Hello from upstream"));
}

#[test]
fn sigterm_lets_a_stream_end_and_takes_no_new_connection() {
    let upstream = fake("upstream");
    let gate = Gate::new();
    upstream.once(Reply::words(4).hold_each_chunk(&gate));
    let mut program = Program::start(BINARY, &config(&upstream));
    let mut raw = Raw::open(program.url()).unwrap();
    let body = json!({"model": "fake-model", "stream": true,
        "messages": [{"role": "user", "content": "hi"}]});
    raw.request("POST /v1/chat/completions", &[], body.to_string()).unwrap();
    gate.release(1);
    let begun = raw.read_until("w0 ").unwrap();
    assert!(begun.contains("w0 "));
    let url = program.url().to_owned();
    let ended = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| program.terminate());
        wait::until("the listener to close", || Raw::open(&url).is_err());
        gate.open();
        let rest = String::from_utf8_lossy(&raw.read_to_close()).into_owned();
        assert!(rest.contains("w3 ") && rest.contains("[DONE]"), "{rest}");
        stopping.join().unwrap()
    });
    assert_eq!(ended, Some(0));
}

#[test]
fn a_public_address_without_keys_is_refused() {
    let upstream = fake("upstream");
    let program = Program::start(BINARY, &config(&upstream));
    let file = program.config_file().with_file_name("public.toml");
    let text = format!("[server]\nlisten = \"0.0.0.0:0\"\nkeys = \"off\"\n{}", config(&upstream));
    std::fs::write(&file, text).unwrap();
    let output = program.cli(&["serve", "--config", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("keys"));
}

#[test]
fn a_revoked_key_stops_working_at_once() {
    let upstream = fake("upstream");
    let text = format!("[server]\nkeys = \"required\"\n{}", config(&upstream));
    let program = Program::start(BINARY, &text);
    assert!(program.log().contains("no client key exists"), "{}", program.log());
    let said = program.ok(&["key", "add", "team"]);
    let key = said.split_whitespace().find(|word| word.starts_with("ck-")).unwrap().to_owned();
    let header = format!("authorization: Bearer {key}");
    let status = || exchange(program.url(), "GET /v1/models", &[&header], "").unwrap().status;
    assert_eq!(status(), 200);
    assert!(program.ok(&["key", "revoke", "team"]).starts_with("team: revoked"));
    wait::until("the key to stop working", || status() == 401);
    let again = program.ok(&["key", "revoke", "team"]);
    assert!(again.starts_with("team: was revoked already, at "), "{again}");
    assert!(!program.log().contains(&key));
    for entry in std::fs::read_dir(program.state()).unwrap() {
        let bytes = std::fs::read(entry.unwrap().path()).unwrap_or_default();
        let found = bytes.windows(key.len()).any(|window| window == key.as_bytes());
        assert!(!found, "the key stands in a file");
    }
}

#[test]
fn a_database_that_is_gone_is_told_while_requests_are_served_and_so_is_its_return() {
    let upstream = fake("upstream");
    let program = Program::start(BINARY, &config(&upstream));
    let degraded = || program.status()["ready"]["degraded"].to_string();
    wait::until("the start to be over", || program.state().join("cutover.db").exists());
    assert!(ask(&program).text().contains("Hello from upstream"));
    let (there, away) = (program.state().join("cutover.db"), program.state().join("away.db"));
    std::fs::rename(&there, &away).unwrap();
    wait::until("the status to say so", || degraded().contains("gone"));
    assert!(program.ok(&["status"]).contains("BROKEN"));
    assert_eq!(program.status()["ready"]["ready"], true, "it serves");
    assert!(ask(&program).text().contains("Hello from upstream"));
    std::fs::rename(&away, &there).unwrap();
    wait::until("the status to be well again", || degraded() == "null");
    assert!(!program.ok(&["status"]).contains("BROKEN"));
}

/// Nothing is asked of it meanwhile: a change of a weight would be the first to notice.
#[test]
fn a_database_that_another_process_locks_is_told_while_nothing_is_written() {
    let upstream = fake("upstream");
    let program = Program::start(BINARY, &config(&upstream));
    let ready = || program.status()["ready"].clone();
    wait::until("the start to be over", || program.state().join("cutover.db").exists());
    wait::until("it to be well", || ready()["degraded"].is_null());
    let other = rusqlite::Connection::open(program.state().join("cutover.db")).unwrap();
    other.busy_timeout(std::time::Duration::from_mins(1)).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    wait::until("the lock to be told", || ready()["degraded"].to_string().contains("locked"));
    assert_eq!(ready()["ready"], true, "it serves");
    assert!(ask(&program).text().contains("Hello from upstream"));
    other.execute_batch("ROLLBACK").unwrap();
    wait::until("it to be well again", || ready()["degraded"].is_null());
}
