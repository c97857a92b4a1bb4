//! A real nginx in front of one engine, as users have it: its pages instead of answers, its buffering,
//! its closing of connections.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cutover_testkit::crowd::{End, judge, saying, text_of};
use cutover_testkit::fake::{Fake, Gate, Persona, Reply, Setup};
use cutover_testkit::program::Program;
use cutover_testkit::raw::{Raw, Response, exchange};
use cutover_testkit::rig::{LlamaOptions, LlamaServer, Nginx, require, tiny_model};
use cutover_testkit::wait;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

/// An engine behind nginx: alone for `fake-model`, and with a baseline beside it for `app`.
struct Rig {
    own: Fake,
    cloud: Fake,
    nginx: Nginx,
    program: Program,
}

impl Rig {
    fn start(directives: &str) -> Option<Self> {
        let own = Fake::start_with(Setup::new(Persona::Vllm).name("own"));
        let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
        let nginx = require(Nginx::start(own.address(), directives))?;
        let program = Program::start(BINARY, &config(&nginx.base_url(), &cloud.base_url()));
        Some(Self { own, cloud, nginx, program })
    }

    fn ask(&self, model: &str, stream: bool) -> Response {
        let body = chat(model, stream);
        exchange(self.program.url(), "POST /v1/chat/completions", &[], body).unwrap()
    }

    /// What `fake-model` gets: whole answers, streamed or not.
    fn answers(&self, why: &str) {
        for stream in [false, true] {
            let response = self.ask("fake-model", stream);
            assert_eq!(response.status, 200, "{why}: {}", response.text());
            assert_eq!(said(&response), "Hello from own, how can I help?", "{why}");
        }
    }
}

fn config(own: &str, cloud: &str) -> String {
    format!(
        r#"
default_upstream = "own"

[upstreams.cloud]
provider = "openai-compatible"
base_url = "{cloud}/v1"

[upstreams.own]
provider = "openai-compatible"
base_url = "{own}/v1"
models = ["fake-model"]

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

fn chat(model: &str, stream: bool) -> String {
    json!({"model": model, "stream": stream, "messages": [{"role": "user", "content": "hi"}]})
        .to_string()
}

fn said(response: &Response) -> String {
    if response.header("content-type") == Some("application/json") {
        let text = response.json()["choices"][0]["message"]["content"].take();
        return text.as_str().unwrap_or_default().to_owned();
    }
    let events = response.events();
    assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{events:?}");
    let chunks = events.iter().filter_map(|event| serde_json::from_str::<Value>(event).ok());
    let texts = chunks
        .filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str().map(str::to_owned));
    texts.collect()
}

/// What people write: nothing; what the engines' manuals tell; HTTP/1.1 with kept connections.
const SETTINGS: [&str; 3] = [
    "",
    "proxy_buffering off;",
    "proxy_buffering off; proxy_http_version 1.1; proxy_set_header Connection \"\";",
];

#[test]
fn answers_and_streams_pass_whichever_way_nginx_is_set() {
    for directives in SETTINGS {
        let Some(rig) = Rig::start(directives) else { return };
        for _ in 0..5 {
            rig.answers(directives);
        }
        rig.own.always(Reply::words(2000));
        let long = said(&rig.ask("fake-model", true));
        assert!(long.ends_with("w1999 "), "{directives}: {} bytes", long.len());
        if directives.is_empty() {
            continue;
        }
        // Unbuffered, each chunk passes when it comes.
        let gate = Gate::new();
        rig.own.always(Reply::words(3).hold_each_chunk(&gate));
        let mut raw = Raw::open(rig.program.url()).unwrap();
        raw.request("POST /v1/chat/completions", &[], chat("fake-model", true)).unwrap();
        gate.release(1);
        assert!(raw.read_until("w0 ").unwrap().contains("w0 "), "{directives}");
        gate.open();
        assert!(raw.read_until("[DONE]").unwrap().contains("w2 "), "{directives}");
    }
}

#[test]
fn pages_of_nginx_are_answered_by_the_baseline_or_named_and_never_shown() {
    let at = "location = /v1/chat/completions";
    let never = Gate::new();
    for (directives, status, code) in [
        ("client_max_body_size 10;".to_owned(), 413, "request_too_large"),
        (
            "auth_basic x; auth_basic_user_file /dev/null;".to_owned(),
            502,
            "upstream_authentication",
        ),
        ("deny all;".to_owned(), 502, "upstream_authentication"),
        (format!("{at} {{ return 404; }}"), 502, "bad_gateway"),
        (format!("{at} {{ return 429; }}"), 429, "rate_limit_exceeded"),
        (format!("{at} {{ return 500; }}"), 502, "bad_gateway"),
        (format!("{at} {{ return 503; }}"), 503, "server_is_overloaded"),
        (format!("{at} {{ return 301 /elsewhere; }}"), 502, "bad_gateway"),
        ("proxy_read_timeout 300ms;".to_owned(), 504, "upstream_timeout"),
        ("proxy_connect_timeout 1s; # gone".to_owned(), 502, "bad_gateway"),
    ] {
        let Some(mut rig) = Rig::start(&directives) else { return };
        if directives.contains("gone") {
            rig.own.go_down();
        }
        rig.own.always(Reply::default().hold_headers(&never));
        for stream in [false, true] {
            let response = rig.ask("app", stream);
            assert_eq!(response.status, 200, "{directives} {stream}: {}", response.text());
            assert_eq!(said(&response), "Hello from cloud, how can I help?", "{directives}");
            let response = rig.ask("fake-model", stream);
            let error = &response.json()["error"];
            let found = (response.status, error["code"].as_str());
            assert_eq!(found, (status, Some(code)), "{directives} {stream}: {}", response.text());
            assert!(!response.text().contains('<'), "{directives}: {}", response.text());
        }
        assert_eq!(rig.cloud.answered(), 2, "{directives}");
    }
}

#[test]
fn connections_that_nginx_closes_cost_no_request_and_repeat_none() {
    for directives in ["keepalive_requests 3;", "keepalive_timeout 0;", ""] {
        let Some(mut rig) = Rig::start(&["proxy_buffering off;", directives].concat()) else {
            return;
        };
        for _ in 0..10 {
            rig.answers(directives);
        }
        // A reload closes what is idle at once, and lets a stream under way end.
        let gate = Gate::new();
        rig.own.once(Reply::words(4).hold_each_chunk(&gate));
        let mut raw = Raw::open(rig.program.url()).unwrap();
        raw.request("POST /v1/chat/completions", &[], chat("fake-model", true)).unwrap();
        gate.release(1);
        raw.read_until("w0 ").unwrap();
        let before = rig.nginx.workers();
        rig.nginx.reload();
        let renewed = || rig.nginx.workers().iter().any(|worker| !before.contains(worker));
        wait::until("a new worker", renewed);
        rig.answers("after a reload");
        gate.open();
        assert!(raw.read_until("[DONE]").unwrap().contains("w3 "));
        // A restart closes everything.
        rig.nginx.start_again();
        rig.answers("after a restart");
        assert_eq!(rig.own.inferences().len(), 25, "{directives}: a request was sent twice");
    }
}

#[test]
fn an_engine_that_dies_behind_nginx_is_told_though_nginx_ends_its_answer_well() {
    let options = LlamaOptions { context: 8192, parallel: 1, ..LlamaOptions::default() };
    let engine = || tiny_model().and_then(|model| LlamaServer::start(&model, &options));
    for directives in SETTINGS {
        let Some(mut engine) = require(engine()) else { return };
        let Some(nginx) = require(Nginx::start(engine.address(), directives)) else { return };
        let cloud = Fake::start(Persona::OpenAi);
        let program = Program::start(BINARY, &config(&nginx.base_url(), &cloud.base_url()));
        let ask = |words: usize| {
            let mut raw = Raw::open(program.url()).unwrap();
            let body = saying("fake-model", 7, words).to_string();
            raw.request("POST /v1/chat/completions", &[], body).unwrap();
            raw
        };
        let mut raw = ask(20);
        let response = raw.response().unwrap().unwrap();
        assert_eq!(judge(&response, &text_of(7, 20)), End::Whole, "{directives}");
        // Seven thousand bytes, one token each: long enough to die in.
        let mut raw = ask(1000);
        let mut response = raw.response_head().unwrap().unwrap();
        engine.kill();
        raw.response_body(&mut response).unwrap();
        assert_eq!(judge(&response, &text_of(7, 1000)), End::Interrupted, "{directives}");
    }
}
