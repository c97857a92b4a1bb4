//! A trial says of a stream what its client would see of it.

use super::support::{facts, inbound, now};
use crate::{Trial, WayBack};

/// A client's request, and what its dialect writes where a part of the answer begins; `None`: it writes nothing before.
type Client = (&'static str, &'static str, Option<&'static str>);

const CLIENTS: [Client; 6] = [
    (
        "/v1/messages",
        r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#,
        Some("content_block_start"),
    ),
    ("/v1/responses", r#"{"model":"m","input":"hi"}"#, Some("response.output_item.added")),
    ("/api/chat", r#"{"model":"m","messages":[{"role":"user","content":"hi"}]}"#, None),
    ("/api/generate", r#"{"model":"m","prompt":"hi"}"#, None),
    (
        "/v1beta/models/asked:streamGenerateContent",
        r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
        None,
    ),
    (
        "/v1beta/models/asked:streamGenerateContent",
        r#"{"contents":[{"parts":[{"text":"hi"}]}],"generationConfig":{"thinkingConfig":{"includeThoughts":true}}}"#,
        None,
    ),
];

const DELTAS: [&str; 9] = [
    r#""delta":{"role":"assistant","content":""}"#,
    r#""delta":{"reasoning_content":"why"}"#,
    r#""delta":{"reasoning_details":[{"index":0,"type":"reasoning.encrypted","data":"e"}]}"#,
    r#""delta":{"content":"because"}"#,
    r#""delta":{"refusal":"no"}"#,
    r#""delta":{"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"{\"a\":"}}]}"#,
    r#""delta":{"tool_calls":[{"index":0,"function":{"arguments":"1}"}}]}"#,
    r#""delta":{"tool_calls":[{"index":0,"function":{"arguments":"["}}]}"#,
    r#""delta":{"content":"\ud83d"}"#,
];

fn back((path, body, _): Client) -> WayBack {
    inbound(path, &bytes::Bytes::from(body), &facts()).way_back
}

/// After which frame the client sees anything of the answer, and whether the stream failed.
fn seen(client: Client, frames: &[String]) -> (Option<usize>, bool) {
    let (mut stream, mut out, mut first) = (back(client).stream(), Vec::new(), None);
    for (at, frame) in frames.iter().enumerate() {
        let before = out.len();
        stream.push(frame.clone().into(), now(), &mut out);
        if stream.failure().is_some() {
            return (first, true);
        }
        let written = String::from_utf8(out[before..].concat()).unwrap();
        // The end is no content, but what was held back until then is.
        let ends = usize::from(frame.contains("[DONE]"));
        let shows = match client.2 {
            Some(mark) => written.contains(mark),
            None => written.lines().filter(|line| !line.is_empty()).count() > ends,
        };
        if shows && first.is_none() {
            first = Some(at);
        }
    }
    (first, false)
}

fn tried(client: Client, frames: &[String]) -> (Option<usize>, bool) {
    let (mut trial, mut first) = (Trial::new(back(client).shown()), None);
    for (at, frame) in frames.iter().enumerate() {
        match trial.push(frame.clone().into()) {
            Err(_) => return (first, true),
            Ok(true) if first.is_none() => first = Some(at),
            Ok(_) => {}
        }
    }
    (first, false)
}

#[test]
fn a_trial_sees_what_the_client_would_and_fails_where_the_stream_does() {
    let chunk = |rest: &str| {
        format!("data: {{\"id\":\"i\",\"model\":\"m\",\"choices\":[{{\"index\":0,{rest}}}]}}\n\n")
    };
    let (mut failed, mut unseen) = (0, 0);
    for client in CLIENTS {
        for reason in ["stop", "length"] {
            for number in 0..DELTAS.len().pow(3) {
                let base = DELTAS.len();
                let digits = [number / base / base, number / base % base, number % base];
                let mut frames: Vec<_> = digits.iter().map(|at| chunk(DELTAS[*at])).collect();
                frames.push(chunk(&format!("\"delta\":{{}},\"finish_reason\":\"{reason}\"")));
                frames.push("data: [DONE]\n\n".to_owned());
                let (wanted, got) = (seen(client, &frames), tried(client, &frames));
                assert_eq!(got, wanted, "{} {frames:?}", client.0);
                failed += usize::from(got.1);
                unseen += usize::from(got.0.is_none());
            }
        }
    }
    assert!(failed > 500 && unseen > 500, "{failed} {unseen}");
}

#[test]
fn what_was_never_shown_is_told_from_what_was() {
    let thought =
        "data: {\"choices\":[{\"index\":0,\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\n";
    let shows = |client| Trial::new(back(client).shown()).push(thought.into()).unwrap();
    let wanted = [true, true, true, true, false, true];
    assert_eq!(CLIENTS.map(shows), wanted);
}
