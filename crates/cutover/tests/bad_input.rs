//! Clients that misbehave: each kind of bad input has a defined outcome, and none stops the program.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a failed unwrap is a failed test")]

use cutover_testkit::fake::{Fake, Persona};
use cutover_testkit::program::Program;
use cutover_testkit::raw::{Raw, Response, exchange};
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");

struct Rig {
    upstream: Fake,
    program: Program,
    key: String,
}

impl Rig {
    fn start() -> Self {
        let upstream = Fake::start(Persona::OpenAi);
        let program = Program::start(
            BINARY,
            &format!(
                r#"
[server]
keys = "required"
body_limit = "64 KiB"
header_limit = "16 KiB"
header_count = 32
header_timeout = "400 ms"
body_timeout = "400 ms"

[upstreams.fake]
provider = "openai-compatible"
instances = ["{}/v1"]
models = ["fake-model"]
"#,
                upstream.base_url()
            ),
        );
        let key = program.ok(&["key", "add", "tests"]);
        let key = key.split_whitespace().find(|word| word.starts_with("ck-")).unwrap_or(key.trim());
        let key = format!("authorization: Bearer {key}");
        Self { upstream, program, key }
    }

    fn post(&self, body: impl AsRef<[u8]>) -> Response {
        let line = "POST /v1/chat/completions";
        exchange(self.program.url(), line, &[&self.key], body).unwrap()
    }

    /// Sends these bytes and reads whatever comes until the connection ends.
    fn raw(&self, bytes: impl AsRef<[u8]>) -> (Option<Response>, bool) {
        let mut raw = Raw::open(self.program.url()).unwrap();
        // A server that has refused already may have closed: its answer is what counts.
        let _ = raw.send(bytes);
        let response = raw.response().unwrap();
        let closed = raw.read_to_close().is_empty();
        (response, closed)
    }

    fn alive(&self) {
        let body = json!({"model": "fake-model", "messages": [{"role": "user", "content": "hi"}]});
        assert_eq!(self.post(body.to_string()).status, 200);
    }
}

fn error(response: &Response) -> (u16, String, Option<String>) {
    let body = response.json();
    let error = body["error"].as_object().expect("an error object");
    for member in ["message", "type", "param", "code"] {
        assert!(error.contains_key(member), "no {member}: {}", response.text());
    }
    let text = |name: &str| error[name].as_str().map(str::to_owned);
    (response.status, text("code").unwrap_or_default(), text("param"))
}

fn chat(more: &Value) -> Value {
    let mut body = json!({"model": "fake-model", "messages": [{"role": "user", "content": "hi"}]});
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    body
}

#[test]
fn wrong_bodies_are_refused_with_code_and_param() {
    let rig = Rig::start();
    let before = rig.upstream.inferences().len();
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    let cases: Vec<(String, u16, &str, Option<&str>)> = vec![
        (String::new(), 400, "invalid_json", None),
        ("{".to_owned(), 400, "invalid_json", None),
        ("null".to_owned(), 400, "invalid_type", None),
        ("{\"model\": \"fake-model\",}".to_owned(), 400, "invalid_json", None),
        ("{\"model\": \"\\ud800\"}".to_owned(), 400, "invalid_type", Some("model")),
        (format!("{{\"model\":\"fake-model\",\"messages\":{deep}}}"), 400, "invalid_json", None),
        ("{\"messages\": []}".to_owned(), 400, "missing_required_parameter", Some("model")),
        (
            "{\"model\": \"fake-model\"}".to_owned(),
            400,
            "missing_required_parameter",
            Some("messages"),
        ),
        (chat(&json!({"model": 7})).to_string(), 400, "invalid_type", Some("model")),
        (chat(&json!({"messages": "hi"})).to_string(), 400, "invalid_type", Some("messages")),
        (chat(&json!({"stream": "yes"})).to_string(), 400, "invalid_type", Some("stream")),
        (chat(&json!({"max_tokens": "many"})).to_string(), 400, "invalid_type", Some("max_tokens")),
        (chat(&json!({"n": "two"})).to_string(), 400, "invalid_type", Some("n")),
        (chat(&json!({"tools": {}})).to_string(), 400, "invalid_type", Some("tools")),
        (
            chat(&json!({"stream_options": 1})).to_string(),
            400,
            "invalid_type",
            Some("stream_options"),
        ),
    ];
    for (body, status, code, param) in cases {
        let found = error(&rig.post(&body));
        let expected = (status, code.to_owned(), param.map(str::to_owned));
        let shown: String = body.chars().take(80).collect();
        assert_eq!(found, expected, "{shown}");
    }
    let twice = "{\"model\":\"fake-model\",\"messages\":[],\"model\":\"other\"}";
    assert_eq!(error(&rig.post(twice)).0, 400, "a routed member that stands twice");
    let mut broken = b"{\"model\":\"fake-model\",\"messages\":[\"".to_vec();
    broken.extend_from_slice(b"\xff\xfe\"]}");
    assert_eq!(error(&rig.post(&broken)).0, 400, "no UTF-8");
    for schema in [json!("string"), json!([]), json!(7)] {
        let tool = json!({"type": "function", "function": {"name": "f", "parameters": schema}});
        let (status, _, param) = error(&rig.post(chat(&json!({"tools": [tool]})).to_string()));
        assert_eq!(status, 400);
        assert!(param.is_some_and(|param| param.starts_with("tools")));
    }
    assert_eq!(rig.upstream.inferences().len(), before, "bad input reached the upstream");
    rig.alive();
}

#[test]
fn unknown_models_paths_and_methods_are_named() {
    let rig = Rig::start();
    let ask = |line: &str| error(&exchange(rig.program.url(), line, &[&rig.key], "").unwrap());
    assert_eq!(ask("GET /v1/models/no-such-model").1, "model_not_found");
    assert_eq!(ask("GET /v1/nothing"), (404, "not_found".to_owned(), None));
    assert_eq!(ask("GET /v1/chat/completions"), (405, "method_not_allowed".to_owned(), None));
    let (status, code, param) =
        error(&rig.post(chat(&json!({"model": "no-such-model"})).to_string()));
    assert_eq!((status, code.as_str()), (404, "model_not_found"));
    assert_eq!(param.as_deref(), Some("model"));
    rig.alive();
}

#[test]
fn keys_are_asked_for_before_anything_is_read() {
    let rig = Rig::start();
    let line = "POST /v1/chat/completions";
    for header in [
        "x-nothing: 1",
        "authorization: Bearer sk-wrong",
        "authorization: Basic c2s6",
        "authorization: Bearer",
        "authorization: Bearer ' OR 1=1 --",
        "x-api-key: sk-wrong",
    ] {
        let response = exchange(rig.program.url(), line, &[header], "{}").unwrap();
        assert_eq!(error(&response).1, "invalid_api_key", "{header}");
        assert_eq!(response.status, 401);
        assert!(!response.text().contains("sk-wrong"), "the key is echoed");
    }
    for line in ["GET /v1/models", "GET /v1/models/fake-model", "POST /v1/embeddings"] {
        let response = exchange(rig.program.url(), line, &[], "").unwrap();
        assert_eq!(response.status, 401, "{line}");
    }
    // The body never comes, and is not waited for.
    let mut raw = Raw::open(rig.program.url()).unwrap();
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 50000\r\n\r\n")
        .unwrap();
    assert_eq!(raw.response().unwrap().unwrap().status, 401);
    assert!(rig.upstream.inferences().is_empty());
    rig.alive();
}

#[test]
fn large_and_slow_requests_are_refused_in_time() {
    let rig = Rig::start();
    let large = chat(&json!({"messages": [{"role": "user", "content": "x".repeat(70_000)}]}));
    let response = rig.post(large.to_string());
    assert_eq!(error(&response), (413, "request_too_large".to_owned(), None));
    // The same without an announced length.
    let key = &rig.key;
    let mut chunked = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{key}\r\ntransfer-encoding: chunked\r\n\r\n"
    );
    for _ in 0..20 {
        chunked.push_str("1000\r\n");
        chunked.push_str(&"x".repeat(4096));
        chunked.push_str("\r\n");
    }
    let (response, _) = rig.raw(chunked);
    assert_eq!(response.unwrap().status, 413);
    // A head, then silence where the body should be.
    let head = format!(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{key}\r\ncontent-length: 500\r\n\r\n{{"
    );
    let (response, closed) = rig.raw(head);
    assert_eq!(error(&response.unwrap()).1, "request_timeout");
    assert!(closed);
    // Half a head, then silence: an answer or a closed connection, but no waiting.
    let (response, _) = rig.raw("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nx-half: ");
    assert!(response.is_none_or(|response| response.status == 408));
    rig.alive();
}

#[test]
fn heads_beyond_the_limits_are_refused() {
    let rig = Rig::start();
    let many = "x-header: 1\r\n".repeat(64);
    let (response, _) = rig.raw(format!("GET /v1/models HTTP/1.1\r\nhost: x\r\n{many}\r\n"));
    let refused = (431, "request_headers_too_large".to_owned(), None);
    assert_eq!(error(&response.unwrap()), refused);
    let long = "x".repeat(40_000);
    let (response, _) =
        rig.raw(format!("GET /v1/models HTTP/1.1\r\nhost: x\r\nx-long: {long}\r\n\r\n"));
    assert_eq!(error(&response.unwrap()), refused);
    rig.alive();
}

#[test]
fn what_could_be_read_in_two_ways_is_read_in_none() {
    let rig = Rig::start();
    let key = &rig.key;
    let body = chat(&json!({})).to_string();
    let length = body.len();
    let smuggled = "GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n";
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n{key}\r\n");
    for (name, lines) in [
        ("CL+TE", format!("content-length: {length}\r\ntransfer-encoding: chunked\r\n")),
        ("TE+CL", format!("transfer-encoding: chunked\r\ncontent-length: {length}\r\n")),
        ("two lengths", format!("content-length: {length}\r\ncontent-length: 3\r\n")),
        ("a list of lengths", format!("content-length: {length}, 3\r\n")),
        ("a signed length", format!("content-length: +{length}\r\n")),
        ("a negative length", "content-length: -1\r\n".to_owned()),
        ("TE identity", "transfer-encoding: identity\r\n".to_owned()),
        ("TE chunked twice", "transfer-encoding: chunked, chunked\r\n".to_owned()),
        ("TE chunked not last", "transfer-encoding: chunked, identity\r\n".to_owned()),
        ("TE with a blank", "transfer-encoding : chunked\r\n".to_owned()),
        ("a folded line", format!("content-length: {length}\r\nx-a: 1\r\n  chunked\r\n")),
        ("a NUL", "x-a: 1\0\r\n".to_owned()),
    ] {
        let (response, closed) = rig.raw(format!("{head}{lines}\r\n{body}{smuggled}"));
        let (status, code, _) = error(&response.expect(name));
        assert_eq!((status, &*code), (400, "malformed_http"), "{name}");
        assert!(closed, "{name}: the connection was used on");
    }
    assert!(rig.upstream.inferences().is_empty(), "{:#?}", rig.upstream.inferences());
    rig.alive();
}

#[test]
fn no_bytes_stop_the_program() {
    let rig = Rig::start();
    let seed = chat(&json!({
        "stream": true, "stream_options": {"include_usage": true}, "max_tokens": 5, "n": 1,
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "response_format": {"type": "json_object"}, "metadata": {"a": "b"}, "user": "é\u{1f980}"
    }))
    .to_string()
    .into_bytes();
    let mut state = 1_u64;
    let mut draw = |below: usize| {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap() % below
    };
    for _ in 0..400 {
        let mut body = seed.clone();
        for _ in 0..=draw(4) {
            let at = draw(body.len());
            match draw(4) {
                0 => body[at] = u8::try_from(draw(256)).unwrap(),
                1 => body.truncate(at.max(1)),
                2 => {
                    body.remove(at);
                    body.push(b' ');
                }
                _ => {
                    let piece = body[at..(at + 20).min(body.len())].to_vec();
                    body.splice(at..at, piece);
                }
            }
        }
        let response = rig.post(&body);
        assert!(matches!(response.status, 200 | 400 | 404), "{}", response.status);
        if response.status != 200 {
            error(&response);
        }
    }
    // No HTTP at all.
    for bytes in
        [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"\0\0\0\0\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\n"]
    {
        let (response, closed) = rig.raw(bytes);
        assert!(response.is_none_or(|response| response.status >= 400));
        assert!(closed);
    }
    rig.alive();
    assert!(!rig.program.log().contains("panicked"), "{}", rig.program.log());
}
