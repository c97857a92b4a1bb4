//! The keys that upstreams are shown reach no client, also where an upstream quotes its own in an error.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc::{Sender, channel};

use crate::harness::{Arm, KEY, Rig, docs_on, service};

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
    let service = format!("{}{KEY}", service(provider, base_url));
    let docs = docs_on(&[Arm::big(service)], "");
    Rig::start(&format!("default_upstream = \"cloud\"\n{docs}"))
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
    let cases = [
        ("openai-compatible", format!("{begun}\n\n"), format!("data: {said}\n\n")),
        ("anthropic", message.concat(), named("error", &said)),
    ];
    for (provider, begun, error) in cases {
        let head = "200 OK\r\ncontent-type: text/event-stream";
        let (early, _) = says(head, vec![error.clone()]);
        let (late, go_on) = says(head, vec![begun, error]);
        let (early, late) = (rig(provider, &early), rig(provider, &late));
        for (path, body) in requests(true) {
            let text = early.post(path, &[], &body).text();
            assert!(!text.contains(SECRET) && text.contains(HIDDEN), "{provider} {path}: {text}");
            let mut raw = late.raw();
            raw.request(&format!("POST {path}"), &["connection: close"], &body).unwrap();
            let mut text = raw.read_until("Hello").unwrap();
            go_on.send(()).unwrap();
            text += &String::from_utf8_lossy(&raw.read_to_close());
            assert!(!text.contains(SECRET) && text.contains(HIDDEN), "{provider} {path}: {text}");
        }
    }
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
