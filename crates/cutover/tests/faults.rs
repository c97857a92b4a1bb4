//! Upstreams that misbehave: what the client gets, for each kind of trouble.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Refusing, Reply, Setup};
use cutover_testkit::program::Program;
use cutover_testkit::raw::{Raw, Response, exchange};
use cutover_testkit::wait;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// A cloud and an own upstream; all of use case `app` goes to the own one.
struct Rig {
    cloud: Fake,
    own: Fake,
    program: Program,
}

impl Rig {
    fn start() -> Self {
        let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
        let own = Fake::start_with(Setup::new(Persona::Vllm).name("own"));
        let program = Program::start(BINARY, &config(&cloud.base_url(), &own.base_url()));
        Self { cloud, own, program }
    }

    fn ask(&self, model: &str, stream: bool) -> Response {
        let body = json!({"model": model, "stream": stream,
            "messages": [{"role": "user", "content": "hi"}]});
        post(&self.program, &body)
    }
}

fn config(cloud: &str, own: &str) -> String {
    format!(
        r#"
default_upstream = "own"

[upstreams.cloud]
provider = "openai-compatible"
instances = ["{cloud}/v1"]
models = ["fake-model"]

[upstreams.own]
provider = "vllm"
instances = ["{own}/v1"]
models = ["fake-model"]
first_token_timeout = "400 ms"
idle_timeout = "400 ms"
event_limit = "64 KiB"

[variants.old]
upstream = "cloud"
model = "fake-model"

[variants.new]
upstream = "own"
model = "fake-model"

[use_cases.app]
match = {{ model = "app" }}
baseline = "old"
candidate = "new"
weight = "100%"
"#
    )
}

fn post(program: &Program, body: &Value) -> Response {
    exchange(program.url(), "POST /v1/chat/completions", &[], body.to_string()).unwrap()
}

fn text(response: &Response) -> String {
    if response.header("content-type") == Some("application/json") {
        return response.json()["choices"][0]["message"]["content"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
    }
    response
        .events()
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}

/// The error that ends a stream; panics if the stream looks like a success.
fn error_at_the_end(response: &Response) -> Value {
    let events = response.events();
    let last: Value = serde_json::from_str(events.last().unwrap()).unwrap_or_default();
    let error = &last["error"];
    assert!(!response.text().contains("[DONE]"), "a broken stream says [DONE]: {events:?}");
    for member in ["message", "type", "param", "code"] {
        assert!(error.get(member).is_some(), "no {member} in {events:?}");
    }
    let finished = events.iter().any(|event| event.contains("\"finish_reason\":\"stop\""));
    assert!(!finished, "a broken stream has a finish reason: {events:?}");
    error.clone()
}

fn limited() -> Fault {
    Fault::Status { status: 429, retry_after: None, retry_after_ms: Some(1500) }
}

/// A good answer of the candidate's upstream: after five failures in a row it would not be asked.
fn recovers(rig: &Rig) {
    let response = rig.ask("fake-model", false);
    assert_eq!(response.status, 200, "{}", response.text());
}

#[test]
fn trouble_before_any_content_is_answered_by_the_baseline() {
    let rig = Rig::start();
    let faults: Vec<(&str, Fault)> = vec![
        ("reset", Fault::Reset),
        ("close", Fault::Close),
        ("500", Fault::status(500)),
        ("503", Fault::status(503)),
        ("429", limited()),
        ("html", Fault::Html(200)),
        ("html 502", Fault::Html(502)),
        ("not json", Fault::NotJson),
        ("half", Fault::Half),
        ("length and chunked", Fault::LengthAndChunked),
        ("two lengths", Fault::TwoLengths),
        ("no http", Fault::Raw(b"SSH-2.0-OpenSSH_9.9\r\n".to_vec())),
        ("huge headers", Fault::HugeHeaders(4 << 20)),
        ("redirect", Fault::Redirect("http://127.0.0.1:9/".to_owned())),
    ];
    for (name, fault) in faults {
        for stream in [false, true] {
            // On a kept connection these two are sent once more, to the same instance.
            if !matches!(fault, Fault::Reset | Fault::Close) {
                recovers(&rig);
            }
            rig.own.once(Reply::fault(fault.clone()));
            let response = rig.ask("app", stream);
            assert_eq!(response.status, 200, "{name} {stream}: {}", response.text());
            assert_eq!(text(&response), "Hello from cloud, how can I help?", "{name} {stream}");
            assert_eq!(response.header("x-cutover-arm"), Some("baseline"), "{name}");
            assert_eq!(response.header("x-cutover-assigned-arm"), Some("candidate"), "{name}");
            assert_eq!(response.header("x-cutover-attempts"), Some("2"), "{name}");
        }
    }
}

#[test]
fn a_stream_that_breaks_before_content_is_answered_by_the_baseline() {
    let rig = Rig::start();
    let late = Gate::new();
    let replies: Vec<(&str, Reply)> = vec![
        ("cut", Reply::default().and_then(0, Fault::Cut)),
        ("half event", Reply::default().and_then(0, Fault::HalfEvent)),
        ("malformed", Reply::default().and_then(0, Fault::Malformed)),
        ("early end", Reply::default().and_then(0, Fault::EarlyEnd)),
        ("early done", Reply::default().and_then(0, Fault::EarlyDone)),
        ("error event", Reply::default().and_then(0, Fault::ErrorEvent)),
        ("endless line", Reply::default().and_then(0, Fault::EndlessLine)),
        ("huge event", Reply::default().and_then(0, Fault::HugeEvent(1 << 20))),
        ("stall", Reply::default().and_then(0, Fault::Stall(Gate::new()))),
        ("no headers", Reply::default().hold_headers(&late)),
        ("no first token", Reply::default().hold_first_token(&late)),
    ];
    for (name, reply) in replies {
        recovers(&rig);
        rig.own.once(reply);
        let response = rig.ask("app", true);
        assert_eq!(response.status, 200, "{name}: {}", response.text());
        assert_eq!(text(&response), "Hello from cloud, how can I help?", "{name}");
        assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"), "{name}");
        assert_eq!(response.header("x-cutover-arm"), Some("baseline"), "{name}");
    }
}

#[test]
fn a_stream_that_breaks_after_content_ends_with_an_error_and_is_never_repeated() {
    let rig = Rig::start();
    let faults: Vec<(&str, Fault)> = vec![
        ("cut", Fault::Cut),
        ("half event", Fault::HalfEvent),
        ("malformed", Fault::Malformed),
        ("early end", Fault::EarlyEnd),
        ("early done", Fault::EarlyDone),
        ("error event", Fault::ErrorEvent),
        ("endless line", Fault::EndlessLine),
        ("huge event", Fault::HugeEvent(1 << 20)),
        ("stall", Fault::Stall(Gate::new())),
    ];
    for (name, fault) in faults {
        for model in ["app", "fake-model"] {
            recovers(&rig);
            rig.own.once(Reply::words(6).and_then(2, fault.clone()));
            let response = rig.ask(model, true);
            assert_eq!(response.status, 200, "{name}");
            assert!(text(&response).starts_with("w0 w1 "), "{name}: {}", response.text());
            assert_eq!(error_at_the_end(&response)["code"], "stream_interrupted", "{name}");
        }
    }
    assert!(rig.cloud.inferences().is_empty(), "an answer was begun twice");
}

#[test]
fn without_another_arm_each_trouble_has_its_status_and_code() {
    let rig = Rig::start();
    let cases: Vec<(Fault, u16, &str)> = vec![
        (Fault::Reset, 503, "upstream_unavailable"),
        (Fault::Close, 503, "upstream_unavailable"),
        (Fault::status(500), 502, "bad_gateway"),
        (Fault::status(503), 503, "server_is_overloaded"),
        (Fault::status(401), 502, "upstream_authentication"),
        (limited(), 429, "rate_limit_exceeded"),
        (Fault::Html(200), 502, "bad_gateway"),
        (Fault::Html(502), 502, "bad_gateway"),
        (Fault::NotJson, 502, "bad_gateway"),
        (Fault::Half, 502, "bad_gateway"),
        (Fault::Raw(b"\0\0\0".to_vec()), 502, "bad_gateway"),
        (Fault::Redirect("http://127.0.0.1:9/".to_owned()), 502, "bad_gateway"),
    ];
    for (fault, status, code) in cases {
        rig.own.always(Reply::fault(fault.clone()));
        let response = rig.ask("fake-model", false);
        let error = &response.json()["error"];
        assert_eq!((response.status, error["code"].as_str()), (status, Some(code)), "{fault:?}");
        for member in ["message", "type", "param"] {
            assert!(error.get(member).is_some(), "{fault:?}: no {member}");
        }
        // What an upstream says of itself stays inside, pages of other software above all.
        assert!(!response.text().contains("<html>"), "{fault:?}");
        if status == 429 {
            assert_eq!(response.header("retry-after-ms"), Some("1500"));
            assert_eq!(response.header("retry-after"), Some("2"));
        }
    }
}

#[test]
fn odd_but_correct_streams_arrive_whole() {
    let rig = Rig::start();
    let said = "naïve 日本 🦀 ünd \"so\" on";
    for (name, reply) in [
        ("plain", Reply::text(said)),
        ("one byte at a time", Reply::text(said).dribble(1)),
        ("three bytes at a time", Reply::text(said).dribble(3)),
        ("comments", Reply::text(said).with_comments()),
        ("CRLF", Reply::text(said).with_carriage_returns()),
        ("CRLF in pieces", Reply::text(said).with_carriage_returns().dribble(2)),
        ("no usage", Reply::text(said).without_usage()),
        ("no [DONE]", Reply::text(said).and_then(99, Fault::NoDone)),
    ] {
        for model in ["app", "fake-model"] {
            rig.own.once(reply.clone());
            let response = rig.ask(model, true);
            assert_eq!(text(&response), said, "{name}: {}", response.text());
            let events = response.events();
            assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{name}");
            let usage = events.iter().any(|event| event.contains("\"usage\":{"));
            assert!(!usage, "{name}: usage that nobody asked for: {events:?}");
        }
    }
}

#[tokio::test]
async fn a_client_that_leaves_cancels_the_upstream_within_a_second() {
    let gate = Gate::new();
    for (stream, reply) in [
        (true, Reply::words(50).hold_each_chunk(&gate)),
        (true, Reply::words(50).hold_first_token(&Gate::new())),
        (false, Reply::words(50).hold_headers(&Gate::new())),
    ] {
        let rig = Rig::start();
        rig.own.once(reply);
        gate.release(1);
        let mut raw = Raw::open(rig.program.url()).unwrap();
        let body = json!({"model": "fake-model", "stream": stream,
            "messages": [{"role": "user", "content": "hi"}]});
        raw.request("POST /v1/chat/completions", &[], body.to_string()).unwrap();
        rig.own.wait_for_inferences(1).await;
        assert_eq!(rig.own.in_flight(), 1);
        drop(raw);
        let left = tokio::time::Instant::now().into_std();
        let disconnect = rig.own.wait_for_disconnect().await;
        let took = disconnect.at.saturating_duration_since(left);
        assert!(took < Duration::from_millis(390), "cancelled only after {took:?}");
    }
}

#[test]
fn a_refused_connection_is_answered_by_the_baseline_or_named() {
    let cloud = Fake::start(Persona::OpenAi);
    let nobody = Refusing::start();
    let program = Program::start(BINARY, &config(&cloud.base_url(), &nobody.base_url()));
    let rig = Rig { own: Fake::start(Persona::Vllm), cloud, program };
    let response = rig.ask("app", false);
    assert_eq!(text(&response), "Hello from openai, how can I help?");
    assert_eq!(response.header("x-cutover-assigned-arm"), Some("candidate"));
    let response = rig.ask("fake-model", false);
    assert_eq!(response.status, 503);
    assert_eq!(response.json()["error"]["code"], "upstream_unavailable");
}

#[test]
fn an_instance_that_is_down_costs_no_request() {
    let cloud = Fake::start(Persona::OpenAi);
    let own = Fake::start(Persona::Vllm);
    let nobody = Refusing::start();
    let both = format!("{}/v1\", \"{}", nobody.base_url(), own.base_url());
    let program = Program::start(BINARY, &config(&cloud.base_url(), &both));
    let rig = Rig { cloud, own, program };
    for _ in 0..20 {
        let response = rig.ask("fake-model", true);
        assert_eq!(text(&response), "Hello from vllm, how can I help?");
    }
    assert_eq!(rig.own.answered(), 20);
}

#[test]
fn an_event_of_100_mb_is_refused_in_bounded_memory() {
    let rig = Rig::start();
    rig.own.once(Reply::words(3).and_then(1, Fault::HugeEvent(100_000_000)));
    error_at_the_end(&rig.ask("fake-model", true));
    let status = std::fs::read_to_string(format!("/proc/{}/status", rig.program.pid())).unwrap();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let peak: u64 = peak.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(peak < 150_000, "{peak} kB at the peak");
}

#[test]
fn what_a_request_carries_for_others_stays_here() {
    let rig = Rig::start();
    let sent = json!({"model": "fake-model", "messages": [{"role": "user", "content": "hi"}]});
    for name in ["api_base", "base_url", "api_key", "extra_headers", "custom_llm_provider"] {
        let mut body = sent.clone();
        body[name] = json!(rig.cloud.base_url());
        let response = post(&rig.program, &body);
        assert_eq!(response.status, 400, "{name}");
        assert_eq!(response.json()["error"]["param"], name);
    }
    let sent = sent.to_string();
    rig.own.once(Reply::text("hello").header("set-cookie", "session=upstream"));
    let headers = [
        "authorization: Bearer sk-client",
        "x-api-key: sk-client",
        "cookie: session=client",
        "x-forwarded-for: 10.1.2.3",
        "x-forwarded-host: evil.example",
        "forwarded: for=10.1.2.3",
        "connection: x-secret",
        "x-secret: sk-client",
        "x-upstream: cloud",
        "proxy-authorization: Basic c2s=",
    ];
    let line = "POST /v1/chat/completions";
    let response = exchange(rig.program.url(), line, &headers, &sent).unwrap();
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("set-cookie"), None);
    let seen = rig.own.inferences();
    assert_eq!(seen.len(), 1);
    // An untouched hop: the client's bytes.
    assert_eq!(String::from_utf8_lossy(&seen[0].body), sent);
    for (name, value) in &seen[0].headers {
        let leaks = ["sk-client", "session=", "10.1.2.3", "evil.example", "c2s="];
        assert!(!leaks.iter().any(|leak| value.contains(leak)), "{name}: {value}");
    }
    assert_eq!(seen[0].header("host"), Some(rig.own.base_url().trim_start_matches("http://")));
    assert_eq!((rig.cloud.connections(), rig.cloud.bytes()), (0, 0), "the cloud saw something");
}

#[test]
fn prompts_answers_and_keys_are_in_no_log_and_no_metric() {
    let rig = Rig::start();
    for fault in [None, Some(Fault::status(500)), Some(Fault::Malformed), Some(Fault::Html(200))] {
        let mut reply = Reply::text("the secret answer");
        if let Some(fault) = fault {
            reply = reply.and_then(1, fault);
        }
        rig.own.once(reply);
        let body = json!({"model": "fake-model", "stream": true,
            "messages": [{"role": "user", "content": "the secret prompt"}]});
        let headers = ["authorization: Bearer sk-the-secret-key"];
        let line = "POST /v1/chat/completions";
        exchange(rig.program.url(), line, &headers, body.to_string()).unwrap();
    }
    let said = rig.program.log() + &rig.program.metrics() + &rig.program.status().to_string();
    for secret in ["secret answer", "secret prompt", "the-secret-key", "the secret"] {
        assert!(!said.contains(secret), "{secret:?} is in log, metrics or status");
    }
}

#[test]
fn what_an_upstream_said_is_in_the_log_in_words_that_hold_no_prompt() {
    let rig = Rig::start();
    let body = json!({"error": {"message": "Rate limit reached for tokens per min, prompt was: my pin is 4711",
        "type": "tokens", "code": "rate_limit_exceeded", "param": null}})
    .to_string();
    let refused = Fault::answer("429 Too Many Requests", "application/json", &body);
    rig.own.always(Reply::fault(refused));
    let response = rig.ask("fake-model", false);
    assert_eq!(response.status, 429, "{}", response.text());
    let id = response.header("x-request-id").unwrap().to_owned();
    wait::until("the line is written", || rig.program.log().contains("attempt failed"));
    let log = rig.program.log();
    let line = log.lines().find(|line| line.contains("attempt failed")).unwrap();
    for part in [&*id, "429", "rate_limit_exceeded", "rate limit reached for tokens per"] {
        assert!(line.contains(part), "{part}: {line}");
    }
    assert!(!log.contains("4711") && !log.contains("my pin"), "{log}");
}
