//! `cutover init` as somebody runs it on a first day: what is found is in the file, the file is good, and it serves.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use cutover_testkit::fake::{Fake, Persona, Refusing, Setup as FakeSetup};
use cutover_testkit::program::{Setup, said};
use cutover_testkit::raw;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// No other's file may hold them.
const KEYS: [(&str, &str); 3] = [
    ("OPENAI_API_KEY", "sk-never-to-be-shown-1"),
    ("GEMINI_API_KEY", "never-to-be-shown-2"),
    ("GROQ_API_KEY", "gsk-never-to-be-shown-3"),
];

/// The program in a folder, with nothing in its environment but these keys.
fn cutover(folder: &Path, keys: &[(&str, &str)], words: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.env_clear().env("HOME", folder).envs(keys.iter().copied()).current_dir(folder);
    command.args(words).output().unwrap()
}

fn engine(persona: Persona, models: &[&str]) -> Fake {
    let models = models.iter().map(ToString::to_string).collect();
    Fake::start_with(FakeSetup { models, ..FakeSetup::new(persona) })
}

fn named(provider: &str, fake: &Fake) -> String {
    format!("--server={provider}=http://{}", fake.address())
}

#[test]
fn what_is_found_is_in_a_file_that_is_good_and_serves_and_shows_no_key() {
    let folder = tempfile::tempdir().unwrap();
    let ollama = engine(Persona::Ollama, &["nomic-embed-text:latest", "qwen2.5:7b"]);
    let vllm = engine(Persona::Vllm, &["Qwen/Qwen2.5-32B-Instruct"]);
    let llama = engine(Persona::LlamaCpp, &["qwen2.5-0.5b"]);
    let servers = [named("ollama", &ollama), named("vllm", &vllm), named("llamacpp", &llama)];
    let words = [&["init"][..], &servers.each_ref().map(String::as_str)].concat();
    let made = cutover(folder.path(), &KEYS, &words);
    let told = said(&made);
    assert!(made.status.success(), "{told}");
    for part in [
        "found  key in $OPENAI_API_KEY",
        "found  key in $GROQ_API_KEY",
        "found  ollama at http://127.0.0.1:",
        "with 2 models",
        "wrote cutover.toml",
    ] {
        assert!(told.contains(part), "{part:?} is not in {told}");
    }
    let file = folder.path().join("cutover.toml");
    let text = fs::read_to_string(&file).unwrap();
    for part in [
        "default_upstream = \"openai\"",
        "key = { env = \"OPENAI_API_KEY\" }",
        "key = { env = \"GEMINI_API_KEY\" }",
        "[upstreams.local-ollama]",
        "# serves Qwen/Qwen2.5-32B-Instruct",
        "# serves qwen2.5-0.5b",
        "model = \"qwen2.5:7b\"",
    ] {
        assert!(text.contains(part), "{part:?} is not in {text}");
    }
    assert!(!format!("{told}{text}").contains("never-to-be-shown"), "{told}{text}");
    let checked = cutover(folder.path(), &KEYS, &["check"]);
    let told = said(&checked);
    assert!(checked.status.success() && told.contains("good; 6 upstreams"), "{told}");
    assert!(!told.contains("is not set") && !told.contains("never-to-be-shown"), "{told}");

    // It serves: the example moves to the engine, and the cloud is not asked any more.
    let listen = "listen = \"127.0.0.1:4000\"";
    assert_eq!(text.matches(listen).count(), 1, "{text}");
    let setup = Setup::new(BINARY, &text.replace(listen, ""));
    let program = KEYS.iter().fold(setup, |setup, (name, key)| setup.env(name, key)).start();
    program.ok(&["weight", "example", "100%"]);
    let body = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"hi"}],"user":"u1"}"#;
    let post = "POST /v1/chat/completions";
    let answer = raw::exchange(program.url(), post, &["x-use-case: example"], body).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-cutover-arm"), Some("candidate"), "{}", answer.text());
    assert!(answer.text().contains("Hello from ollama"), "{}", answer.text());
    assert_eq!(ollama.inferences()[0].json()["model"], "qwen2.5:7b");
    assert!(!program.log().contains("never-to-be-shown"), "{}", program.log());
}

#[test]
fn a_file_that_exists_stays_unless_it_is_to_be_replaced() {
    let folder = tempfile::tempdir().unwrap();
    let ollama = engine(Persona::Ollama, &["qwen2.5:7b"]);
    let server = named("ollama", &ollama);
    let file = folder.path().join("cutover.toml");
    fs::write(&file, "# mine\n").unwrap();
    let refused = cutover(folder.path(), &[], &["init", &server]);
    let told = said(&refused);
    assert_eq!(refused.status.code(), Some(1), "{told}");
    assert!(told.contains("cutover.toml exists") && told.contains("--force"), "{told}");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    let elsewhere = cutover(folder.path(), &[], &["init", &server, "--output", "other.toml"]);
    assert!(said(&elsewhere).contains("cutover check --config other.toml"), "{}", said(&elsewhere));
    let shown = cutover(folder.path(), &[], &["init", &server, "--output", "-"]);
    let other = fs::read(folder.path().join("other.toml")).unwrap();
    assert_eq!(String::from_utf8_lossy(&shown.stdout), String::from_utf8_lossy(&other));
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    let replaced = cutover(folder.path(), &[], &["init", &server, "--force"]);
    assert!(replaced.status.success(), "{}", said(&replaced));
    assert_eq!(fs::read(&file).unwrap(), other);
}

#[test]
fn a_named_server_that_does_not_answer_is_told_and_left_out() {
    let folder = tempfile::tempdir().unwrap();
    let gone = Refusing::start();
    let server = format!("--server=vllm={}", gone.base_url().trim_end_matches("/v1"));
    let made = cutover(folder.path(), &[], &["init", &server]);
    let told = said(&made);
    assert!(made.status.success(), "{told}");
    assert!(told.contains("warning: no vllm that lists its models answers at http://"), "{told}");
    assert!(told.contains("the embedded engine answers"), "{told}");
    let text = fs::read_to_string(folder.path().join("cutover.toml")).unwrap();
    assert!(!text.lines().any(|line| line.starts_with("[upstreams")), "{text}");
    let checked = cutover(folder.path(), &[], &["check"]);
    assert!(checked.status.success(), "{}", said(&checked));
    let wrong = cutover(folder.path(), &[], &["init", "--server=openai=http://127.0.0.1:1"]);
    assert_eq!(wrong.status.code(), Some(2), "{}", said(&wrong));
    assert!(said(&wrong).contains("is none of"), "{}", said(&wrong));
}
