//! The vendors' own test suites and specifications against the real program.
//!
//! Each suite runs straight at a mock of its vendor and through cutover; what differs must stand in the
//! table of that run (`tests/conformance/*.txt`), with its reason. Crossed, the one vendor's suite runs
//! through cutover in front of the other vendor's mock: every request that cutover makes of it must be
//! valid by the other vendor's specification. The same is asked of requests of real agents' shape.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use cutover_testkit::conformance::{Compared, Mock, Results, Run, Table, Vendor, generated, run};
use cutover_testkit::fake::{Fake, Persona, Setup as Fakes};
use cutover_testkit::program::{Program, Setup};
use cutover_testkit::raw;
use cutover_testkit::rig::{self, Unavailable};
use serde_json::json;

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// Names of models in the vendors' tests.
const MODELS: &str = r#"["gpt-4o-mini", "model_id", "gpt-3.5-turbo-instruct", "string", "text-embedding-3-small", "gpt-5.1", "gpt-5.4", "claude-opus-4-6"]"#;

/// The program in front of a vendor, for whatever model: what cannot be carried is left out and reported.
fn in_front_of(mock: &Mock, provider: &str) -> Program {
    in_front_of_with(mock, provider, "")
}

/// The same with more said of the upstream.
fn in_front_of_with(mock: &Mock, provider: &str, more: &str) -> Program {
    let config = format!(
        r#"
default_upstream = "vendor"

[state]
responses = true

[upstreams.vendor]
provider = "{provider}"
instances = ["{}"]
key = {{ env = "UPSTREAM_KEY" }}
image_urls = "pass"
models = {MODELS}
{more}

[variants.vendor]
upstream = "vendor"
model = "the-model"
unsupported = "lenient"

[use_cases.all]
match = {{ header = {{ x-stainless-lang = "python" }} }}
baseline = "vendor"
"#,
        mock.base_url()
    );
    Setup::new(BINARY, &config).env("UPSTREAM_KEY", "sk-upstream").start()
}

/// Where this vendor's client finds the program.
fn url(vendor: Vendor, program: &Program) -> String {
    match vendor {
        Vendor::OpenAi => format!("{}/v1", program.url()),
        Vendor::Anthropic => program.url().to_owned(),
    }
}

fn table(name: &str) -> Table {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/conformance").join(name);
    Table::read(&fs::read_to_string(&path).unwrap())
}

/// What members of Responses cutover refuses on purpose; without them the rest of the request counts.
fn responses(url: &str) -> Run {
    let files = ["test_responses.py", "responses/test_input_tokens.py"];
    Run::new(Vendor::OpenAi, url).only(&files).narrowed(
        &["background", "conversation", "prompt", "previous_response_id"],
        json!({"model": "gpt-5.1", "input": "string"}),
    )
}

/// What the vendor's suite gives at the vendor's own mock: asked once for all tests.
fn direct(vendor: Vendor) -> Result<Results, Unavailable> {
    static KNOWN: Mutex<BTreeMap<&str, Results>> = Mutex::new(BTreeMap::new());
    let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if !known.contains_key(vendor.name()) {
        let mock = Mock::start(vendor)?;
        known.insert(vendor.name(), run(&Run::new(vendor, &mock.base_url()))?);
    }
    Ok(known[vendor.name()].clone())
}

/// A mock, and what the suite gives without cutover.
fn parts(suite: Vendor, mock: Vendor) -> Option<(Results, Mock)> {
    let parts = direct(suite).and_then(|results| Ok((results, Mock::start(mock)?)));
    rig::require(parts)
}

/// Runs a vendor's suite in front of its own or another's mock.
fn compare(suite: Vendor, (mock, provider): (&Mock, &str), name: &str) -> Compared {
    let direct = direct(suite).unwrap();
    let program = in_front_of(mock, provider);
    let url = url(suite, &program);
    let through = run(&Run::new(suite, &url)).unwrap();
    let compared = table(&format!("{name}.txt")).assert_same(&direct, &through);
    if suite == Vendor::OpenAi {
        // Straight at the mock they are what they are there with all members: they pass.
        let narrow = run(&responses(&url)).unwrap();
        let direct = direct.into_iter().filter(|(test, _)| narrow.contains_key(test)).collect();
        let compared = table(&format!("{name}-responses.txt")).assert_same(&direct, &narrow);
        assert_eq!(compared.passed, 82, "{compared:?}");
    }
    compared
}

#[test]
fn openais_suite_passes_as_it_does_at_the_vendor() {
    let Some((_, mock)) = parts(Vendor::OpenAi, Vendor::OpenAi) else { return };
    let compared = compare(Vendor::OpenAi, (&mock, "openai"), "openai");
    assert_eq!((compared.passed, compared.no_judge), (192, 20), "{compared:?}");
    // 40 chats, 40 responses as chats, 40 completions, 20 embeddings. What cutover answers itself does
    // not come here: models, stored responses, and the 20 counts of input tokens, which were passed on
    // until it estimated them.
    mock.assert_all_valid(140);
}

#[test]
fn anthropics_suite_passes_as_it_does_at_the_vendor() {
    let Some((_, mock)) = parts(Vendor::Anthropic, Vendor::Anthropic) else { return };
    let compared = compare(Vendor::Anthropic, (&mock, "anthropic"), "anthropic");
    assert_eq!((compared.passed, compared.meant.len(), compared.no_judge), (220, 0, 0));
    // 80 tests of messages ask once, 5 of models that are deprecated 17 times. Counts of tokens and the
    // lists of models are cutover's own.
    mock.assert_all_valid(165);
}

#[test]
fn anthropics_suite_makes_valid_requests_of_openai() {
    let Some((_, mock)) = parts(Vendor::Anthropic, Vendor::OpenAi) else { return };
    let compared = compare(Vendor::Anthropic, (&mock, "openai"), "anthropic-crossed");
    assert_eq!((compared.passed, compared.meant.len(), compared.no_judge), (220, 0, 0));
    mock.assert_all_valid(165);
}

#[test]
fn openais_suite_makes_valid_requests_of_anthropic() {
    let Some((_, mock)) = parts(Vendor::OpenAi, Vendor::Anthropic) else { return };
    let compared = compare(Vendor::OpenAi, (&mock, "anthropic"), "openai-crossed");
    // Chats and responses: completions and embeddings are not there.
    mock.assert_all_valid(80);
    assert_eq!((compared.passed, compared.no_judge), (132, 20), "{compared:?}");
}

/// The bodies that the conversions' own tests know: plain ones, ones with every field, second turns with
/// tools, agents' of 40 kB.
fn bodies() -> Vec<(String, String, Vec<u8>)> {
    let mut all = Vec::new();
    for folder in ["anthropic", "responses", "ollama"] {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dialects/fixtures").join(folder);
        for entry in fs::read_dir(path).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let route = match (folder, name.split(['.', '-']).next().unwrap()) {
                _ if name.ends_with(".bad.json") => continue,
                // As the agents whose requests these are: they use what is in Anthropic's beta alone.
                ("anthropic", _) => "/v1/messages?beta=true".to_owned(),
                ("responses", _) => "/v1/responses".to_owned(),
                (_, first) => format!("/api/{first}"),
            };
            // Anthropic is sent what its own clients write, known to it or not.
            let text = fs::read_to_string(&path).unwrap().replace("\"an_unknown_field\": 1,", "");
            all.push((format!("{folder}/{name}"), route, text.into_bytes()));
        }
    }
    all.sort();
    all
}

/// The requests of Ollama's without a prompt, which only load or unload a model.
const LOADS: usize = 2;

/// Sends them all; what is not answered must be refused on purpose, by name.
fn send_all(vendor: Vendor, provider: &str, refused: &[(&str, u16)]) {
    let Some(mock) = rig::require(Mock::start(vendor)) else { return };
    // The conversions are judged: what OpenAI gets in an agent's own words is the agent's to answer for.
    let converted = if provider == "openai" { "responses = false" } else { "" };
    let program = in_front_of_with(&mock, provider, converted);
    let mut found = Vec::new();
    for (name, route, body) in bodies() {
        let line = format!("POST {route}");
        let header = "x-stainless-lang: python";
        let answer = raw::exchange(program.url(), &line, &[header], &body).unwrap();
        let text = answer.text();
        let broken = ["event: error", "response.failed"].iter().any(|word| text.contains(word));
        assert!(!broken && answer.complete, "{name} for {provider}: {text}");
        if answer.status != 200 {
            found.push((name, answer.status, text));
        }
    }
    // Each of them is asked for once, but those that are refused, and the empty ones of Ollama's, which
    // would load a model.
    mock.assert_all_valid(bodies().len() - refused.len() - LOADS);
    let names: Vec<(&str, u16)> =
        found.iter().map(|(n, status, _)| (n.as_str(), *status)).collect();
    assert_eq!(names, refused, "{provider}: {found:#?}");
}

#[test]
fn what_agents_send_is_valid_for_openai() {
    send_all(Vendor::OpenAi, "openai", &[]);
}

#[test]
fn what_agents_send_is_valid_for_anthropic() {
    let not_there = [
        ("ollama/embed.json", 501),
        ("ollama/embeddings.json", 501),
        ("ollama/generate-raw.json", 501),
    ];
    send_all(Vendor::Anthropic, "anthropic", &not_there);
}

/// The part of OpenAI's API that cutover answers itself.
const SERVED: &str = r"^/(chat/completions|completions|embeddings|models|models/\{model\}|responses|responses/\{response_id\}|responses/\{response_id\}/input_items|responses/input_tokens)$";

/// Schemathesis makes right and wrong requests of OpenAI's specification: cutover never fails on one, and
/// says what is wrong as OpenAI does.
#[test]
fn no_request_of_the_specification_makes_it_fail() {
    let fake = Fake::start_with(Fakes::new(Persona::OpenAi));
    let config = format!(
        r#"
default_upstream = "fake"

[state]
responses = true

[upstreams.fake]
provider = "openai"
instances = ["{}/v1"]
key = {{ env = "UPSTREAM_KEY" }}
models = ["fake-model"]
"#,
        fake.base_url()
    );
    let program = Setup::new(BINARY, &config).env("UPSTREAM_KEY", "sk-upstream").start();
    let url = format!("{}/v1", program.url());
    let run = generated(Vendor::OpenAi, &url, (SERVED, "fake-model"));
    let Some(run) = rig::require(run) else { return };
    assert!(run.ok, "{:?}\n{}", run.answers, run.said);
    // It is worth something only if many were taken, and many refused.
    let count = |from: u16| run.answers.range(from..from + 100).map(|(_, n)| n).sum::<usize>();
    assert!(count(200) > 50 && count(400) > 200, "{:?}", run.answers);
}
