//! `cutover check` as an operator runs it: what it warns of outside of the file, and what it says of requests.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use cutover_testkit::fake::{Fake, Persona};
use cutover_testkit::program::{Program, said};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// A running program whose file has a secret in a file, a use case by key, and keys.
fn start() -> Program {
    let fake = Fake::start(Persona::OpenAi);
    let config = format!(
        r#"
default_upstream = "cloud"
[server]
keys = "required"
[upstreams.cloud]
provider = "openai-compatible"
base_url = "{}/v1"
headers = {{ x-tenant = {{ file = "tenant", optional = true }} }}
[variants.now]
upstream = "cloud"
model = "fake-model"
[use_cases.app]
match = {{ key = "team" }}
baseline = "now"
"#,
        fake.base_url()
    );
    Program::start(BINARY, &config)
}

#[test]
fn keys_and_secrets_that_would_fail_at_run_time_are_told_with_file_line_and_key() {
    let mut program = start();
    let file = program.config_file().display().to_string();
    let check = |program: &Program, more: &[&str]| {
        let output = program.cli(&[&["check", &*file], more].concat());
        (output.status.code(), said(&output))
    };
    let (code, text) = check(&program, &[]);
    assert_eq!(code, Some(0), "{text}");
    let line_of = |part: &str| {
        let text = fs::read_to_string(program.config_file()).unwrap();
        text.lines().position(|line| line.contains(part)).unwrap() + 1
    };
    let (match_line, header_line, keys_line) =
        (line_of("match ="), line_of("x-tenant"), line_of("keys ="));
    for part in [
        format!("{file}:{match_line}: use_cases.app.match.key: by key team, which does not exist"),
        format!("{file}:{keys_line}: server.keys: no client key exists"),
        format!(
            "{file}:{header_line}: upstreams.cloud.headers.x-tenant: the file tenant does not exist"
        ),
    ] {
        assert!(text.contains(&part), "{part:?} is not in {text}");
    }
    program.ok(&["key", "add", "team"]);
    program.ok(&["key", "add", "lost", "--use-case", "gone"]);
    program.ok(&["key", "revoke", "team"]);
    let tenant = program.config_file().with_file_name("tenant");
    fs::write(&tenant, "t-1").unwrap();
    fs::set_permissions(&tenant, fs::Permissions::from_mode(0o644)).unwrap();
    let (code, text) = check(&program, &["--secrets"]);
    assert_eq!(code, Some(0), "{text}");
    for part in [
        "use_cases.app.match.key: by key team, which is revoked",
        "client key lost belongs to the use case gone, which is not here",
        "the file tenant can be read by everybody on this machine (mode 644)",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!text.contains("t-1"), "{text}");

    // What a start would fail at is a warning, or with --secrets a failure; the start does fail.
    let strict =
        fs::read_to_string(program.config_file()).unwrap().replace(", optional = true", "");
    program.terminate();
    program.write_bare_config(&strict);
    fs::write(&tenant, " ").unwrap();
    let (code, text) = check(&program, &[]);
    let part = "the file tenant is empty; cutover serve does not start without it";
    assert!(code == Some(0) && text.contains(part), "{text}");
    let (code, text) = check(&program, &["--secrets"]);
    assert!(code == Some(3) && text.contains("cutover serve would not start here"), "{text}");
    let started = program.cli(&["serve"]);
    assert_eq!(started.status.code(), Some(3), "{}", said(&started));
}

#[test]
fn a_request_of_any_client_is_explained_from_the_command_line_and_by_the_running_program() {
    let program = start();
    program.ok(&["key", "add", "team"]);
    let file = program.config_file().with_file_name("request.json");
    let path = file.display().to_string();
    let explain = |body: &str, more: &[&str]| {
        fs::write(&file, body).unwrap();
        let output =
            program.cli(&[&["check", "--explain", &*path, "--key", "team"], more].concat());
        said(&output)
    };
    let text = explain(
        r#"{"model":"m","max_tokens":9,"system":"s","messages":[{"role":"user","content":"x"}]}"#,
        &[],
    );
    for part in [
        "request     POST /v1/messages (anthropic",
        "use case    app",
        "asks      /v1/chat/completions for fake-model",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    let text = explain(r#"{"model":"m","input":"x"}"#, &[]);
    assert!(text.contains("fit several requests") && text.contains("--path"), "{text}");
    let text = explain(r#"{"model":"m","input":"x"}"#, &["--path", "/v1/responses"]);
    assert!(text.contains("request     POST /v1/responses (responses"), "{text}");
    let text = explain("--form", &["--path", "/v1/files", "--method", "GET"]);
    assert!(
        text.contains("passed on untouched to cloud (openai-compatible) as /v1/files"),
        "{text}"
    );

    // The running program counts nothing of what it explains.
    let asked = r#"{"key":"team","body":{"model":"m","messages":[{"role":"user","content":"x"}]}}"#;
    let requests = |metrics: &str| {
        let lines = metrics.lines().filter(|line| line.starts_with("cutover_requests_total{"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    let before = requests(&program.metrics());
    let answer = program.admin("POST /admin/explain", asked);
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.json()["legs"][0]["path"], "/v1/chat/completions");
    assert_eq!(requests(&program.metrics()), before);
}
