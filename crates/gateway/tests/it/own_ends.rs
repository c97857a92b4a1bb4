//! How answers end that a vendor gives to clients of its own dialect: errors told in a 200, and answers that the
//! vendor itself calls unusable.

use cutover_testkit::raw::Response;

use crate::harness::{Parrot, Rig, Stage};
use crate::own::config;

fn stage(provider: &str) -> (Parrot, Rig) {
    let Stage { vendor, rig } = Stage::start(|url| config(provider, url, ""));
    (vendor, rig)
}

fn chat(rig: &Rig, stream: bool) -> Response {
    let body = format!(
        r#"{{"model":"app","stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
    );
    rig.post("/v1/chat/completions", &["x-unit: u1"], &body)
}

#[test]
fn an_error_told_in_a_200_keeps_its_kind() {
    let (claude, rig) = stage("anthropic");
    for (kind, theirs, chats) in [
        ("overloaded_error", 529, 503),
        ("rate_limit_error", 429, 429),
        ("invalid_request_error", 400, 400),
        ("api_error", 502, 502),
    ] {
        let error = format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}}}}"#);
        for stream in [true, false] {
            if stream {
                claude.says("text/event-stream", &format!("event: error\ndata: {error}\n\n"));
            } else {
                claude.says("application/json", &error);
            }
            let body = format!(
                r#"{{"model":"app","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
            );
            let response = rig.post("/v1/messages", &["x-unit: u1"], &body);
            let text = response.text();
            assert_eq!(response.status, theirs, "{kind} {stream} {text}");
            assert_eq!(response.json()["error"]["type"], kind, "{text}");
            let response = chat(&rig, stream);
            assert_eq!(response.status, chats, "{kind} {stream} {}", response.text());
        }
    }
}

#[test]
fn an_answer_that_gemini_calls_unusable_is_its_clients_to_judge() {
    let (google, rig) = stage("gemini");
    let answer = r#"{"candidates":[{"content":{"parts":[{"text":"half"}],"role":"model"},"finishReason":"MALFORMED_FUNCTION_CALL","finishMessage":"no brace"}],"usageMetadata":{"promptTokenCount":3},"modelVersion":"m"}"#;
    let wanted = answer.replace("\"m\"", "\"app\"");
    let asked = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#;
    google.says("application/json", answer);
    let response = rig.post("/v1beta/models/app:generateContent", &["x-unit: u1"], asked);
    assert_eq!((response.status, &*response.text()), (200, &*wanted));
    let response = chat(&rig, false);
    assert_eq!(response.status, 502);
    assert!(response.text().contains("cannot be used: MALFORMED_FUNCTION_CALL"));
    google.says("text/event-stream", &format!("data: {answer}\r\n\r\n"));
    let path = "/v1beta/models/app:streamGenerateContent?alt=sse";
    let response = rig.post(path, &["x-unit: u1"], asked);
    assert_eq!((response.status, response.text()), (200, format!("data: {wanted}\r\n\r\n")));
    let text = chat(&rig, true).text();
    assert!(text.contains("\"error\":{") && !text.contains("[DONE]"), "{text}");
}

#[test]
fn sampling_that_anthropic_would_refuse_is_left_out_and_reported() {
    let claude = Parrot::start();
    let more = "temperature = 0.5\ntop_p = 0.9\nunsupported = \"lenient\"";
    let rig = Rig::start(&config("anthropic", &claude.base_url, more));
    let answer = r#"{"id":"msg_1","type":"message","role":"assistant","model":"x","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}"#;
    claude.says("application/json", answer);
    let body = r#"{"model":"app","max_tokens":2000,"thinking":{"type":"enabled","budget_tokens":1024},"messages":[{"role":"user","content":"hi"}]}"#;
    let response = rig.post("/v1/messages", &["x-unit: u1"], body);
    let loss = response.header("x-cutover-loss").unwrap_or_default();
    assert!(loss.contains("variant.temperature") && loss.contains("variant.top_p"), "{loss}");
    let (_, sent) = claude.last();
    assert_eq!(sent, body.replace("\"app\"", "\"gemini-3-pro\""));
}
