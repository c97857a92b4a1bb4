//! What headers say: whose a request is and where it goes, which key goes up with it, how long to wait.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;

use cutover_testkit::fake::{Fake, Persona};
use cutover_testkit::raw::Response;

use crate::harness::{Rig, ask, two_arms};

/// A request whose headers are bytes, not text.
fn chat_with(rig: &Rig, header: &[u8]) -> Response {
    let body = ask("app");
    let mut head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n".to_vec();
    head.extend_from_slice(header);
    head.extend_from_slice(format!("\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    let mut raw = rig.raw();
    raw.send(head).unwrap();
    raw.response().unwrap().expect("an answer")
}

/// Python's `urllib.request` and Java's clients send a text header as Latin-1. The unit was lost then: no
/// stickiness, and one who was excluded got the candidate.
#[test]
fn a_unit_in_latin_1_is_the_same_unit() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let rig = Rig::start(&format!("{config}excluded = [\"André\"]\n"));
    for header in [&b"x-unit: Andr\xe9"[..], "x-unit: André".as_bytes()] {
        let answer = chat_with(&rig, header);
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-cutover-arm"), Some("baseline"));
    }
    let other = chat_with(&rig, b"x-unit: Andr\xe8");
    assert_eq!(other.header("x-cutover-arm"), Some("candidate"));
}

/// The first of two won, whichever was meant.
#[test]
fn a_routing_header_that_says_two_things_is_refused_by_its_name() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let config = config
        .replace("match = { model = \"app\" }", "match = { header = { x-use-case = \"docs\" } }");
    let rig = Rig::start(&config);
    for (headers, param) in [
        (["x-use-case: docs", "x-use-case: other", "x-unit: a"], Some("x-use-case")),
        (["x-use-case: other", "x-use-case: docs", "x-unit: a"], Some("x-use-case")),
        (["x-use-case: docs", "x-unit: a", "x-unit: b"], Some("x-unit")),
        (["x-use-case: docs", "x-use-case: docs", "x-unit: a"], None),
        (["x-use-case: docs", "x-else: a", "x-else: b"], None),
    ] {
        for path in ["/v1/chat/completions", "/v1/responses"] {
            let body = if path.ends_with("responses") {
                r#"{"model":"fake-model","input":"hi"}"#.to_owned()
            } else {
                ask("fake-model")
            };
            let answer = rig.post(path, &headers, &body);
            let error = &answer.json()["error"];
            match param {
                None => assert_eq!(answer.status, 200, "{headers:?} {}", answer.text()),
                Some(param) => {
                    assert_eq!((answer.status, error["param"].as_str()), (400, Some(param)));
                    assert_eq!(error["code"], "invalid_value");
                }
            }
        }
    }
    let mut raw = rig.raw();
    raw.request("GET /v1/files", &["x-use-case: docs", "x-use-case: a"], "").unwrap();
    assert_eq!(raw.response().unwrap().unwrap().status, 400);
    assert_eq!(cloud.seen().iter().filter(|seen| seen.path() == "/v1/files").count(), 0);
}

/// The candidate's vendor is another than the baseline's, and each is asked with the client's key.
#[test]
fn a_clients_key_is_shown_to_its_own_vendor_alone() {
    let (cloud, claude) = (Fake::start(Persona::OpenAi), Fake::start(Persona::OpenAi));
    let config = two_arms(&cloud.base_url(), &claude.base_url(), "100%")
        .replace("provider = \"openai-compatible\"", "provider = \"openai\"\nkey = \"client\"")
        .replace("provider = \"llamacpp\"", "provider = \"anthropic\"\nkey = \"client\"");
    let rig = Rig::start(&format!("{config}[server]\nkeys = \"off\"\n"));
    let ask_with = |header: &str| rig.chat(&["x-unit: a", header], &ask("app"));
    // An OpenAI client: the candidate may not see its key, the baseline answers.
    let answer = ask_with("authorization: Bearer sk-openai");
    assert_eq!((answer.status, answer.header("x-cutover-arm")), (200, Some("baseline")));
    assert_eq!(cloud.inferences()[0].header("authorization"), Some("Bearer sk-openai"));
    assert_eq!(claude.bytes(), 0, "not a byte");
    let passed_over = "reason=\"clients_key\"} 1\n";
    assert!(rig.metrics().contains(passed_over), "{}", rig.metrics());
    // Anthropic's own form reaches the candidate, in its header and no other.
    let _ = ask_with("x-api-key: ant");
    let seen = claude.seen();
    assert_eq!(seen[0].header("x-api-key"), Some("ant"));
    assert_eq!(seen[0].header("authorization"), None);
    assert!(cloud.seen().iter().all(|seen| seen.header("x-api-key").is_none()));
    // Google's is nobody's here.
    let (before, at_claude) = (cloud.bytes(), claude.bytes());
    let answer = ask_with("x-goog-api-key: AIza1");
    let error = &answer.json()["error"];
    assert_eq!((answer.status, error["code"].as_str()), (401, Some("invalid_api_key")));
    assert!(error["message"].as_str().unwrap().contains("'Authorization: Bearer KEY'"), "{error}");
    // What is passed on untouched likewise; the list of models is what is known without asking.
    for (path, status) in [("/v1/files", 401), ("/v1/models", 200)] {
        let mut raw = rig.raw();
        raw.request(&format!("GET {path}"), &["x-api-key: ant"], "").unwrap();
        assert_eq!(raw.response().unwrap().unwrap().status, status, "{path}");
    }
    assert_eq!((cloud.bytes(), claude.bytes()), (before, at_claude));
}

/// A vendor that answers one request with these bytes.
fn answers(answer: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut head = [0; 4_096];
        let _ = stream.read(&mut head).unwrap();
        stream.write_all(answer.as_bytes()).unwrap();
    });
    format!("http://{address}/v1")
}

/// Only an error with a JSON body kept its `retry-after`.
#[test]
fn how_long_to_wait_is_passed_on_from_an_error_without_a_body() {
    for (answer, status, seconds, ms) in [
        (
            "HTTP/1.1 429 X\r\nretry-after: 9\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            429,
            Some("9"),
            Some("9000"),
        ),
        (
            "HTTP/1.1 503 X\r\nretry-after: 4\r\nretry-after-ms: 3500\r\ncontent-type: text/html\r\ncontent-length: 2\r\nconnection: close\r\n\r\nhi",
            503,
            Some("4"),
            Some("3500"),
        ),
        (
            "HTTP/1.1 404 X\r\nretry-after: 4\r\ncontent-length: 0\r\nconnection: close\r\n\r\n",
            404,
            None,
            None,
        ),
    ] {
        let rig = Rig::start(&format!(
            "[upstreams.cloud]\nprovider = \"openai-compatible\"\nbase_url = \"{}\"\n",
            answers(answer)
        ));
        let mut raw = rig.raw();
        raw.request("GET /v1/files/x", &[], "").unwrap();
        let got = raw.response().unwrap().unwrap();
        assert_eq!(got.status, status);
        assert_eq!((got.header("retry-after"), got.header("retry-after-ms")), (seconds, ms));
    }
}
