//! The keys that upstreams are shown reach no client, also where an upstream quotes its own in an error.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Sender, channel};

use cutover_store::{Options, Store};

use crate::harness::{Arm, KEY, Rig, ask, docs_on, now, service};

/// What the harness's secrets are.
const SECRET: &str = "upstream-secret";
const HIDDEN: &str = "***************";

/// A server that answers every request with this, whatever it is; what stands behind the head's and the first
/// part's end is sent when it is told to.
fn says(head: &str, parts: Vec<String>) -> (String, Sender<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let head = format!("HTTP/1.1 {head}\r\nconnection: close\r\n\r\n");
    let (go_on, told) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut reader = BufReader::new(stream.unwrap());
            let (mut line, mut length) = (String::new(), 0);
            while reader.read_line(&mut line).unwrap() > 2 {
                let text = line.to_lowercase();
                if let Some(value) = text.strip_prefix("content-length:") {
                    length = value.trim().parse().unwrap();
                }
                line.clear();
            }
            reader.read_exact(&mut vec![0; length]).unwrap();
            let stream = reader.get_mut();
            stream.write_all(head.as_bytes()).unwrap();
            for (at, part) in parts.iter().enumerate() {
                if at > 0 && told.recv().is_err() {
                    return;
                }
                stream.write_all(part.as_bytes()).unwrap();
            }
        }
    });
    (base_url, go_on)
}

/// One arm at this service, which is shown a key, and all else there, too.
fn rig(provider: &str, base_url: &str) -> Rig {
    Rig::start(&config(provider, base_url))
}

fn config(provider: &str, base_url: &str) -> String {
    let service = format!("{}{KEY}", service(provider, base_url));
    let docs = docs_on(&[Arm::big(service)], "");
    format!("default_upstream = \"cloud\"\n{docs}")
}

fn quoted(kind: &str) -> String {
    format!(
        r#"{{"type":"error","error":{{"message":"key upstream-secret is bad","type":"{kind}","param":"p-upstream-secret","code":"upstream-secret"}}}}"#
    )
}

/// The same request, as the clients of each dialect put it.
fn requests(stream: bool) -> Vec<(&'static str, String)> {
    let chat = format!(
        r#"{{"model":"app","messages":[{{"role":"user","content":"hi"}}],"max_tokens":9,"stream":{stream}}}"#
    );
    let gemini = if stream { "streamGenerateContent?alt=sse" } else { "generateContent" };
    let gemini: &str = Box::leak(format!("/v1beta/models/app:{gemini}").into_boxed_str());
    vec![
        ("/v1/chat/completions", chat.clone()),
        ("/v1/messages", chat.clone()),
        ("/api/chat", chat),
        ("/v1/responses", format!(r#"{{"model":"app","input":"hi","stream":{stream}}}"#)),
        (gemini, r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#.to_owned()),
    ]
}

#[test]
fn an_error_that_quotes_the_upstreams_key_is_shown_without_it() {
    let said = quoted("invalid_request_error");
    for status in ["400 Bad Request", "413 Too Large", "422 Unprocessable", "501 Not Here"] {
        let head = format!("{status}\r\ncontent-type: application/json");
        let (base_url, _) = says(&head, vec![said.clone()]);
        for provider in ["openai", "openai-compatible", "vllm", "ollama", "anthropic", "gemini"] {
            let rig = rig(provider, &base_url);
            for (path, body) in requests(false) {
                let answer = rig.post(path, &[], &body);
                let text = answer.text();
                assert!(!text.contains(SECRET), "{provider} {status} {path}: {text}");
                assert!(text.contains(HIDDEN), "{provider} {status} {path}: {text}");
            }
        }
    }
}

#[test]
fn a_stream_that_ends_in_such_an_error_is_no_way_out_either() {
    let said = quoted("invalid_request_error");
    let begun = r#"data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"role":"assistant","content":"Hello"},"finish_reason":null}]}"#;
    let named = |name: &str, data: &str| format!("event: {name}\ndata: {data}\n\n");
    let message = [
        named(
            "message_start",
            r#"{"type":"message_start","message":{"id":"m","type":"message","role":"assistant","content":[],"model":"m","stop_reason":null,"usage":{"input_tokens":1,"output_tokens":1}}}"#,
        ),
        named(
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        named(
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#,
        ),
    ];
    let google =
        r#"{"candidates":[{"content":{"role":"model","parts":[{"text":"Hello"}]},"index":0}]}"#;
    let google_error =
        r#"{"error":{"code":400,"message":"key upstream-secret","status":"INVALID_ARGUMENT"}}"#;
    let line = r#"{"model":"m","created_at":"2024-01-01T00:00:00Z","message":{"role":"assistant","content":"Hello"},"done":false}"#;
    let events = "text/event-stream";
    let cases = [
        ("openai-compatible", events, format!("{begun}\n\n"), format!("data: {said}\n\n")),
        ("anthropic", events, message.concat(), named("error", &said)),
        ("gemini", events, format!("data: {google}\n\n"), format!("data: {google_error}\n\n")),
        (
            "ollama",
            "application/x-ndjson",
            format!("{line}\n"),
            "{\"error\":\"key upstream-secret, not supported\"}\n".to_owned(),
        ),
    ];
    for (provider, content_type, begun, error) in cases {
        // What is no fault of the client's is told in words of cutover's.
        let tells = provider != "ollama";
        let head = format!("200 OK\r\ncontent-type: {content_type}");
        let (early, _) = says(&head, vec![error.clone()]);
        let (late, go_on) = says(&head, vec![begun, error]);
        let (early, late) = (rig(provider, &early), rig(provider, &late));
        let is_hidden = |text: &str| !text.contains(SECRET) && (!tells || text.contains(HIDDEN));
        for (path, body) in requests(true) {
            let text = early.post(path, &[], &body).text();
            assert!(is_hidden(&text), "{provider} {path}: {text}");
            let mut raw = late.raw();
            raw.request(&format!("POST {path}"), &["connection: close"], &body).unwrap();
            let mut text = raw.read_until("Hello").unwrap();
            go_on.send(()).unwrap();
            text += &String::from_utf8_lossy(&raw.read_to_close());
            assert!(is_hidden(&text), "{provider} {path}: {text}");
        }
    }
}

/// OpenAI's own Responses API, in its own words.
#[test]
fn nor_is_an_answer_that_failed() {
    let told = r#""error":{"code":"invalid_prompt","message":"key upstream-secret is bad"}"#;
    let answer = |status: &str, error: &str| {
        format!(
            r#"{{"id":"resp_1","object":"response","created_at":1,"model":"m","status":"{status}","output":[],{error}}}"#
        )
    };
    let event = |kind: &str, rest: &str| {
        format!("event: {kind}\ndata: {{\"type\":\"{kind}\",\"sequence_number\":0,{rest}}}\n\n")
    };
    let response = |status: &str, error: &str| format!("\"response\":{}", answer(status, error));
    let created = event("response.created", &response("in_progress", "\"error\":null"));
    let failed = event("response.failed", &response("failed", told));
    let error =
        event("error", r#""code":"invalid_prompt","message":"key upstream-secret","param":null"#);
    let whole = ("application/json", answer("failed", told));
    let streams = [failed.clone(), created.clone() + &failed, error.clone(), created + &error];
    let streams = streams.map(|text| ("text/event-stream", text));
    for (content_type, text) in [whole].into_iter().chain(streams) {
        let head = format!("200 OK\r\ncontent-type: {content_type}");
        let (base_url, _) = says(&head, vec![text]);
        let rig = rig("openai", &base_url);
        let stream = content_type == "text/event-stream";
        let body = format!(r#"{{"model":"app","input":"hi","stream":{stream}}}"#);
        let text = rig.post("/v1/responses", &[], &body).text();
        assert!(!text.contains(SECRET) && text.contains("error"), "{content_type}: {text}");
    }
}

/// As writers of JSON other than Rust's write it, and as it stands in an address.
#[test]
fn however_the_upstream_spells_it() {
    for spelled in [r"upstream\u002dsecret", r"\u0075pstream\u002Dsecret", "upstream%2dsecret"] {
        let said = quoted("invalid_request_error").replace(SECRET, spelled);
        let length = said.len();
        let head = format!("400 X\r\ncontent-type: application/json\r\ncontent-length: {length}");
        let (base_url, _) = says(&head, vec![said.clone()]);
        let rig = rig("openai", &base_url);
        for (path, body) in requests(false) {
            let text = rig.post(path, &[], &body).text();
            assert!(!text.contains("upstream%2d") && !text.contains(SECRET), "{path}: {text}");
            assert!(text.contains(HIDDEN), "{path}: {text}");
        }
        let mut raw = rig.raw();
        raw.request("GET /v1/files", &[], "").unwrap();
        let answer = raw.response().unwrap().unwrap();
        assert_eq!(answer.text(), said.replace(spelled, &"*".repeat(spelled.len())));
    }
}

/// Texts that a client may choose: of the secret all but the last letter, that with a wrong one, the end of it, and
/// what clients know anyway before the first letter.
const GUESSES: [&str; 5] =
    ["upstream-secre", "upstream-secrex", "pstream-secret", "Bearer u", "Bearer upstream-se"];

/// Any client could read the key letter by letter: a beginning at the end of a text was hidden, if it was right.
#[test]
fn no_answer_tells_how_far_a_guess_is_right() {
    let (base_url, _) = says("500 X", vec![String::new()]);
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let rig = Rig::start_storing(&config("openai", &base_url), None, Some(&store));
    for guess in GUESSES.into_iter().chain([SECRET]) {
        let answer = rig.post("/v1/feedback", &[], &format!("{{\"{guess}\":1}}"));
        assert_eq!(answer.json()["error"]["param"], guess, "of cutover's own, even all of it");
        let answer = rig.chat(&[], &format!(r#"{{"model":"app","messages":[],"{guess}":1}}"#));
        assert!(!answer.text().contains('*'), "{}", answer.text());
        let answer = rig.post("/v1/models/x", &[&format!("x-cutover-use-case: {guess}")], "{}");
        assert!(!answer.text().contains('*'), "{}", answer.text());
        if guess.contains(' ') {
            continue;
        }
        for request in [format!("GET /v1/{guess}"), format!("{guess} /v1/models")] {
            let mut raw = rig.raw();
            raw.request(&request, &[], "").unwrap();
            let text = raw.response().unwrap().unwrap().text();
            assert!(text.contains(guess) && !text.contains('*'), "{request}: {text}");
        }
        let text = rig.chat(&[], &ask(guess)).text();
        assert!(!text.contains('*'), "{text}");
    }
}

/// The same by way of an upstream that quotes what it was sent.
#[test]
fn an_upstreams_quote_of_a_guess_is_passed_on_as_it_is() {
    let json = "content-type: application/json";
    for guess in GUESSES {
        let said = format!(
            r#"{{"error":{{"message":"Unknown parameter: {guess}","type":"invalid_request_error","param":"{guess}","code":"unknown_parameter"}}}}"#
        );
        let (base_url, _) = says(&format!("400 X\r\n{json}"), vec![said.clone()]);
        let (stream, _) =
            says("200 OK\r\ncontent-type: text/event-stream", vec![format!("data: {said}\n\n")]);
        for (base_url, streams) in [(base_url, false), (stream, true)] {
            let rig = rig("openai-compatible", &base_url);
            for (path, body) in requests(streams) {
                let text = rig.post(path, &[], &body).text();
                assert!(text.contains(guess) && !text.contains('*'), "{path}: {text}");
            }
            if !streams {
                let mut raw = rig.raw();
                raw.request("GET /v1/files", &[], "").unwrap();
                assert_eq!(raw.response().unwrap().unwrap().text(), said);
            }
        }
    }
}

/// What one upstream is shown is nothing to another, of which it would be a guess of its clients'.
#[test]
fn an_upstream_hides_its_own_secrets_alone() {
    let said = quoted("invalid_request_error");
    let (base_url, _) = says("400 X\r\ncontent-type: application/json", vec![said.clone()]);
    let plain = service("openai-compatible", &base_url);
    let keyed = format!("{plain}{KEY}");
    let docs = docs_on(&[Arm::big(plain), Arm::small(keyed)], "weight = \"0%\"");
    let rig = Rig::start(&format!("default_upstream = \"cloud\"\n{docs}"));
    for (path, body) in requests(false) {
        let text = rig.post(path, &[], &body).text();
        assert!(text.contains("key upstream-secret is bad"), "{path}: {text}");
    }
}

/// All of what passes is looked through, and a client decides how long an error is that quotes its request.
#[test]
fn an_error_that_is_too_long_to_be_looked_through_is_told_in_other_words() {
    let file = |length: usize| format!(r#"{{"error":"{}upstream-secret"}}"#, "x".repeat(length));
    let seen = |said: &str| {
        let length = said.len();
        let head = format!(
            "400 X\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nx-ratelimit-limit-tokens: 5\r\n\
             x-ratelimit-limit-requests: of upstream-secret"
        );
        let (base_url, _) = says(&head, vec![said.to_owned()]);
        let rig = rig("openai", &base_url);
        let mut raw = rig.raw();
        raw.request("GET /v1/files", &[], "").unwrap();
        raw.response().unwrap().unwrap()
    };
    let said = file(200 << 10);
    let passed = seen(&said);
    assert_eq!((passed.status, passed.text()), (400, said.replace(SECRET, HIDDEN)));
    assert_eq!(passed.header("x-ratelimit-limit-tokens"), Some("5"));
    assert_eq!(passed.header("x-ratelimit-limit-requests"), Some("of ***************"));
    let told = seen(&file(256 << 10));
    assert_eq!(told.status, 400);
    assert_eq!(
        told.json()["error"]["message"],
        "the upstream's error is too long to be read",
        "{}",
        told.text()
    );
}

#[test]
fn an_error_that_is_passed_on_as_it_came_keeps_its_length_and_loses_the_key() {
    let said = quoted("invalid_request_error");
    let head = format!("400 X\r\ncontent-type: application/json\r\ncontent-length: {}", said.len());
    let (base_url, _) = says(&head, vec![said.clone()]);
    let rig = rig("openai", &base_url);
    let mut raw = rig.raw();
    raw.request("GET /v1/files", &[], "").unwrap();
    let answer = raw.response().unwrap().unwrap();
    assert_eq!(answer.status, 400);
    assert_eq!(answer.text(), said.replace(SECRET, HIDDEN));
}
