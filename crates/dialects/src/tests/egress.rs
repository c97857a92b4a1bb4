//! To Anthropic's API and back: alone, in front of `wire`, and behind each ingress dialect.

use bytes::Bytes;
use cutover_units::{Code, Millis};
use cutover_vendors::{Defaults, anthropic, gemini};
use cutover_wire::stream::Limits;
use cutover_wire::{
    Endpoint, Finish, Head, Mint, Provider, ReplyPlan, Tap, Target, Unsupported, adapt, read_reply,
};
use proptest::prelude::*;
use serde_json::Value;

use super::support::{
    facts, fixture, inbound, lenient, names, now, path_of, payloads, read, stream,
};
use crate::Asked;

fn sent(body: &[u8], unsupported: Unsupported) -> (Value, Vec<String>) {
    let sent = match anthropic::request(body, unsupported, &Defaults::default()) {
        Ok(sent) => sent,
        Err(fault) => panic!("{fault} {:?}", fault.param),
    };
    let losses = sent.losses.into_iter().map(|loss| loss.field).collect();
    (serde_json::from_slice(&sent.body).unwrap(), losses)
}

#[test]
fn each_ingress_dialect_reaches_anthropic() {
    for folder in ["anthropic", "responses", "ollama", "gemini"] {
        let wanted = |name: &String| !name.ends_with(".bad.json") && !name.starts_with("agent");
        for name in names(folder, ".json").into_iter().filter(wanted) {
            let file = format!("{folder}/{name}");
            let Ok(Asked::Infer(inbound)) = read(path_of(&file), &fixture(&file), &lenient())
            else {
                continue;
            };
            if inbound.endpoint != Endpoint::ChatCompletions
                || name == "full.json" && matches!(folder, "responses" | "gemini")
            {
                continue;
            }
            let (body, losses) = sent(&inbound.body, Unsupported::Lenient);
            let text = serde_json::to_string_pretty(&body).unwrap();
            let name = name.trim_end_matches(".json");
            insta::assert_snapshot!(
                format!("egress_{folder}_{name}"),
                format!("{text}\n{}", losses.join("\n"))
            );
        }
    }
}

#[test]
fn anthropics_own_turn_is_the_same_after_both_conversions() {
    let body = fixture("messages/answer.json");
    let answer = anthropic::answer(&body, Millis(0)).unwrap().body;
    let there: Value = serde_json::from_slice(&body).unwrap();
    let asked = inbound("/v1/messages", &fixture("anthropic/minimal.json"), &lenient());
    let back = asked.way_back.reply(&answer, now()).ok().unwrap();
    let back: Value = serde_json::from_slice(&back.body).unwrap();
    let kinds = |value: &Value| -> Vec<Value> {
        value["content"].as_array().unwrap().iter().map(|b| b["type"].clone()).collect()
    };
    // Two texts in a row become one.
    assert_eq!(kinds(&back), ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]);
    for (was, is) in [(0, 0), (1, 1), (4, 3), (5, 4)] {
        assert_eq!(there["content"][was], back["content"][is]);
    }
    for key in ["input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens"] {
        assert_eq!(there["usage"][key], back["usage"][key]);
    }
    assert_eq!(back["stop_reason"], "tool_use");
    // And the next request takes the signed thinking back, verbatim.
    let next = serde_json::json!({
        "model": "m", "max_tokens": 9,
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": back["content"]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "x"}]},
        ],
    });
    let next = inbound("/v1/messages", &Bytes::from(next.to_string()), &lenient());
    assert!(next.losses.is_empty());
    let (again, losses) = sent(&next.body, Unsupported::Strict);
    assert!(losses.is_empty(), "{losses:?}");
    assert_eq!(again["messages"][1]["content"][0], there["content"][0]);
    assert_eq!(again["messages"][1]["content"][1], there["content"][1]);
    assert_eq!(again["messages"][1]["content"][3], there["content"][4]);
}

/// Anthropic's specification wants a type in the schema of each tool, OpenAI's does not.
#[test]
fn a_tools_schema_says_that_it_is_an_objects() {
    for (ours, theirs) in [
        (r#"{"foo":"bar"}"#, r#"{"type":"object","foo":"bar"}"#),
        (r#"{ "a" : 1 }"#, r#"{"type":"object","a" : 1}"#),
        ("{ }", r#"{"type":"object"}"#),
        (r#"{"properties":{},"type":"object"}"#, r#"{"properties":{},"type":"object"}"#),
    ] {
        let body = format!(
            r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}],"tools":[{{"type":"function","function":{{"name":"f","parameters":{ours}}}}}]}}"#
        );
        let sent = anthropic::request(body.as_bytes(), Unsupported::Strict, &Defaults::default())
            .ok()
            .unwrap();
        let wanted = format!(r#""input_schema":{theirs}"#);
        assert!(String::from_utf8_lossy(&sent.body).contains(&wanted), "{ours}");
    }
}

/// The vendors' own tests send a developer message alone; a conversation without a turn is refused by
/// Anthropic and by Gemini.
#[test]
fn instructions_alone_become_the_users_turn() {
    let body = br#"{"model":"m","messages":[{"role":"system","content":"a"},{"role":"developer","content":"b"}]}"#;
    let (there, losses) = sent(body, Unsupported::Strict);
    assert_eq!(there.get("system"), None);
    let text = |word: &str| serde_json::json!({"type": "text", "text": word});
    assert_eq!(
        there["messages"],
        serde_json::json!([{"role": "user", "content": [text("a"), text("b")]}])
    );
    assert!(losses.contains(&"messages[].system.alone".to_owned()), "{losses:?}");
    let gemini = gemini::request(body, Unsupported::Strict).ok().unwrap();
    let there: Value = serde_json::from_slice(&gemini.body).unwrap();
    assert_eq!(
        there["contents"],
        serde_json::json!([{"role": "user", "parts": [{"text": "a"}, {"text": "b"}]}])
    );
    assert_eq!(gemini.losses[0].field, "messages[].system.alone");
}

/// Anthropic's events as the relay path sees them.
fn chunks(frames: &[&[u8]]) -> String {
    let (mut events, mut out) = (anthropic::EventsIn::new(Millis(7_000)), Vec::new());
    for frame in frames {
        events.push(Bytes::copy_from_slice(frame), &mut out);
    }
    events.finish(&mut out);
    String::from_utf8(out.concat()).unwrap()
}

fn plan(stream: bool) -> ReplyPlan {
    let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    let target = Target::untouched(Provider::by_name("openai-compatible").unwrap());
    let plan = adapt::adapt(&head, &body, &target).unwrap().reply;
    ReplyPlan { stream, include_usage: true, ..plan }
}

fn mint() -> Mint {
    Mint { id: "chatcmpl-1".into(), model: "m".into(), created: 1 }
}

#[test]
fn wire_reads_what_comes_back() {
    let answer = anthropic::answer(&fixture("messages/answer.json"), Millis(0)).unwrap().body;
    let reply = read_reply(
        &plan(false),
        &mint(),
        cutover_wire::Received {
            status: 200,
            content_type: Some("application/json"),
            retry_after: None,
            retry_after_ms: None,
            date: None,
            body: answer,
        },
    );
    let reply = reply.ok().unwrap();
    let usage = reply.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.cached_tokens), (115, Some(100)));
    assert_eq!((usage.completion_tokens, usage.reasoning_tokens), (40, Some(7)));
    assert_eq!(reply.finish, Some(Finish::ToolCalls));
    for (name, well) in [("stream", true), ("error", false)] {
        let mut tap = Tap::new(plan(true), mint(), Limits::default());
        let (mut out, text) = (Vec::new(), chunks(&[&fixture(&format!("messages/{name}.sse"))]));
        let end = tap.push(Bytes::from(text), &mut out).and_then(|()| tap.finish(&mut out));
        assert_eq!(end.is_ok(), well, "{name}");
        if well {
            assert_eq!(tap.usage().unwrap().prompt_tokens, 115);
            assert_eq!(tap.usage().unwrap().completion_tokens, 40);
        }
    }
}

#[test]
fn streams_come_back_the_same_wherever_they_are_cut() {
    let text = fixture("messages/stream.sse");
    let whole = chunks(&[&text]);
    insta::assert_snapshot!("egress_stream", whole);
    assert_eq!(chunks(&text.chunks(1).collect::<Vec<_>>()), whole);
    for at in (0..text.len()).step_by(3) {
        let (start, end) = text.split_at(at);
        assert_eq!(chunks(&[start, end]), whole);
        // Broken off: never an end that looks like success.
        if !chunks(&[start]).contains("[DONE]") {
            continue;
        }
        assert!(at + 4 > text.len());
    }
    insta::assert_snapshot!("egress_stream_error", chunks(&[&fixture("messages/error.sse")]));
}

#[test]
fn signed_thinking_streams_through_both_conversions() {
    let asked = inbound("/v1/messages", &fixture("anthropic/minimal.json"), &lenient());
    let text = stream(asked.way_back, &[chunks(&[&fixture("messages/stream.sse")]).as_bytes()]);
    let events = payloads(&text);
    let signatures: Vec<&Value> =
        events.iter().filter_map(|event| event["delta"].get("signature")).collect();
    assert_eq!(signatures, ["EqQB1", "EqQB2"]);
    let opened: Vec<&Value> = events
        .iter()
        .filter_map(|event| event.get("content_block").map(|block| &block["type"]))
        .collect();
    assert_eq!(opened, ["thinking", "thinking", "text", "tool_use"]);
}

#[test]
fn thinking_that_is_not_shown_keeps_its_signature() {
    let asked = inbound("/v1/messages", &fixture("anthropic/minimal.json"), &lenient());
    let text = "data: {\"choices\":[{\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.text\",\"signature\":\"S\"}]}}]}\n\n\
                data: {\"choices\":[{\"delta\":{\"reasoning_details\":[{\"type\":\"reasoning.encrypted\",\"data\":\"D\"}]}}]}\n\n";
    let out = stream(asked.way_back, &[text.as_bytes()]);
    let events = payloads(&out);
    assert_eq!(events[2]["content_block"]["type"], "thinking");
    assert_eq!(events[3]["delta"]["signature"], "S");
    assert_eq!(events[4]["type"], "content_block_stop");
    assert_eq!(events[5]["content_block"]["data"], "D");
    assert_eq!(
        (&events[5]["index"], &events[6]["type"]),
        (&1.into(), &"content_block_stop".into())
    );
    for request in ["responses/minimal.json", "ollama/chat-plain.json"] {
        let asked = inbound(path_of(request), &fixture(request), &lenient());
        assert!(!stream(asked.way_back, &[text.as_bytes()]).contains("\"D\""));
    }
}

/// What OpenAI's SDKs make of the deltas: entries of lists are put together by their index.
#[test]
fn streamed_thinking_goes_back_with_its_text() {
    let block = |index: u64, text: &str| {
        format!(
            "data: {{\"type\":\"content_block_start\",\"index\":{index},\"content_block\":{{\"type\":\"thinking\"}}}}\n\n\
             data: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"thinking_delta\",\"thinking\":\"{text}\"}}}}\n\n\
             data: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"thinking_delta\",\"thinking\":\"!\"}}}}\n\n\
             data: {{\"type\":\"content_block_delta\",\"index\":{index},\"delta\":{{\"type\":\"signature_delta\",\"signature\":\"S{index}\"}}}}\n\n\
             data: {{\"type\":\"content_block_stop\",\"index\":{index}}}\n\n"
        )
    };
    let events = payloads(&chunks(&[block(0, "one").as_bytes(), block(1, "two").as_bytes()]));
    let details: Vec<&Value> = events
        .iter()
        .filter_map(|event| event.pointer("/choices/0/delta/reasoning_details/0"))
        .collect();
    let detail = |index: u64, text: &str| serde_json::json!({"index": index, "type": "reasoning.text", "text": text, "signature": format!("S{index}")});
    assert_eq!(details, [&detail(0, "one!"), &detail(1, "two!")]);
    let thinking = |message: Value| {
        let body = serde_json::json!({"model": "m", "messages": [
            {"role": "user", "content": "a"}, message, {"role": "user", "content": "b"}]});
        let (sent, losses) = sent(body.to_string().as_bytes(), Unsupported::Strict);
        assert!(!losses.iter().any(|field| field.contains("reasoning")), "{losses:?}");
        sent["messages"][1]["content"][0].clone()
    };
    let back = serde_json::json!({"type": "thinking", "thinking": "one!", "signature": "S0"});
    let message = serde_json::json!({"role": "assistant", "content": "x", "reasoning_content": "one!",
        "reasoning_details": [detail(0, "one!")]});
    assert_eq!(thinking(message), back);
    // Who kept the signature alone says the text beside it.
    let message = serde_json::json!({"role": "assistant", "content": "x", "reasoning_content": "one!",
        "reasoning_details": [{"type": "reasoning.text", "signature": "S0"}]});
    assert_eq!(thinking(message), back);
}

#[test]
fn a_streamed_call_without_arguments_has_an_empty_object() {
    let start = "data: {\"type\":\"content_block_start\",\"index\":1,\"content_block\":{\"type\":\"tool_use\",\"id\":\"t\",\"name\":\"f\",\"input\":{}}}\n\n";
    let piece = |text: &str| {
        format!(
            "data: {{\"type\":\"content_block_delta\",\"index\":1,\"delta\":{{\"type\":\"input_json_delta\",\"partial_json\":\"{text}\"}}}}\n\n"
        )
    };
    let stop = "data: {\"type\":\"content_block_stop\",\"index\":1}\n\n";
    let arguments = |pieces: &[String]| -> String {
        let text = chunks(&[start.as_bytes(), pieces.concat().as_bytes(), stop.as_bytes()]);
        let at = "/choices/0/delta/tool_calls/0/function/arguments";
        payloads(&text).iter().filter_map(|event| event.pointer(at)?.as_str()).collect()
    };
    assert_eq!(arguments(&[]), "{}");
    assert_eq!(arguments(&[piece("")]), "{}");
    assert_eq!(arguments(&[piece(""), piece("{}")]), "{}");
}

/// A stream has no status to tell them by, nor has an answer whose status is 200.
#[test]
fn errors_inside_a_200_are_told_by_their_type() {
    for (kind, code) in [
        ("overloaded_error", Code::Overloaded),
        ("rate_limit_error", Code::RateLimitExceeded),
        ("invalid_request_error", Code::InvalidRequest),
        ("authentication_error", Code::UpstreamAuth),
        ("api_error", Code::BadGateway),
    ] {
        let error = format!(
            r#"{{"type":"error","error":{{"type":"{kind}","message":"m"}},"request_id":"r"}}"#
        );
        let mut tap = Tap::new(plan(true), mint(), Limits::default());
        let text = chunks(&[format!("event: error\ndata: {error}\n\n").as_bytes()]);
        let fault = tap.push(Bytes::from(text), &mut Vec::new()).unwrap_err();
        assert_eq!(fault.fault.code, code, "{kind}");
        let answer = anthropic::answer(error.as_bytes(), Millis(0)).unwrap().body;
        let received = cutover_wire::Received::new(200, answer);
        let fault = read_reply(&plan(false), &mint(), received).unwrap_err();
        assert_eq!(fault.fault.code, code, "{kind}");
    }
    for (status, code) in [
        ("RESOURCE_EXHAUSTED", Code::RateLimitExceeded),
        ("INVALID_ARGUMENT", Code::InvalidRequest),
        ("UNAVAILABLE", Code::Overloaded),
    ] {
        let error = format!(r#"{{"error":{{"code":0,"message":"m","status":"{status}"}}}}"#);
        let (mut events, mut out) = (gemini::EventsIn::new(Millis(0)), Vec::new());
        events.push(Bytes::from(format!("data: {error}\n\n")), &mut out);
        let mut tap = Tap::new(plan(true), mint(), Limits::default());
        let fault = tap.push(out.concat().into(), &mut Vec::new()).unwrap_err();
        assert_eq!(fault.fault.code, code, "{status}");
    }
}

#[test]
fn errors_are_told_by_their_type() {
    for (status, kind, message, expected, code) in [
        (429, "rate_limit_error", "slow", 429, "rate_limit_exceeded"),
        (529, "overloaded_error", "busy", 503, "server_is_overloaded"),
        (401, "authentication_error", "key", 401, "invalid_api_key"),
        (404, "not_found_error", "model", 404, "model_not_found"),
        (400, "invalid_request_error", "prompt is too long: 9 > 8", 400, "context_length_exceeded"),
        (400, "invalid_request_error", "messages: roles", 400, "invalid_request"),
        (500, "api_error", "oops", 500, "bad_gateway"),
    ] {
        let body =
            format!(r#"{{"type":"error","error":{{"type":"{kind}","message":"{message}"}}}}"#);
        let (status, body) = anthropic::error(status, body.as_bytes());
        let body: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((status, &body["error"]["code"]), (expected, &Value::from(code)));
        assert_eq!(body["error"]["message"], message);
    }
    assert_eq!(anthropic::error(502, b"<html>").0, 502);
    assert_eq!(anthropic::answer(b"{}", Millis(0)).unwrap_err().code, Code::BadGateway);
}

#[test]
fn what_anthropic_cannot_do_is_refused_or_reported() {
    let body = br#"{"model":"m","messages":[{"role":"user","content":"a"}],"n":1,"seed":7,"logprobs":false}"#;
    let fault = anthropic::request(body, Unsupported::Strict, &Defaults::default()).err().unwrap();
    assert_eq!(fault.param.as_deref(), Some("seed"));
    let (_, losses) = sent(body, Unsupported::Lenient);
    assert_eq!(losses, ["max_tokens.default", "seed"]);
    for (param, body) in [
        (
            "messages[0].content[0].type",
            r#"{"model":"m","messages":[{"role":"user","content":[{"type":"input_audio"}]}]}"#,
        ),
        ("messages[0].role", r#"{"model":"m","messages":[{"role":"function","content":"a"}]}"#),
        (
            "response_format.type",
            r#"{"model":"m","messages":[],"response_format":{"type":"json_object"}}"#,
        ),
    ] {
        let fault = anthropic::request(body.as_bytes(), Unsupported::Strict, &Defaults::default())
            .err()
            .unwrap();
        assert_eq!(fault.param.as_deref(), Some(param));
    }
}

#[test]
fn marks_for_caching_reach_anthropic_where_they_stood() {
    let mark = serde_json::json!({"type": "ephemeral", "ttl": "1h"});
    let text =
        |text: &str| serde_json::json!({"type": "text", "text": text, "cache_control": mark});
    let image = serde_json::json!({"type": "image", "cache_control": mark,
        "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}});
    let call = serde_json::json!({"type": "tool_use", "id": "a", "name": "f", "input": {},
        "cache_control": mark});
    let result = serde_json::json!({"type": "tool_result", "tool_use_id": "a", "cache_control": mark,
        "content": [{"type": "text", "text": "18"}]});
    let body = serde_json::json!({
        "model": "m", "max_tokens": 9, "cache_control": mark, "system": [text("be"), text("brief")],
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "cache_control": mark}],
        "messages": [
            {"role": "user", "content": [text("a"), image]},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "t", "signature": "S"}, call]},
            {"role": "user", "content": [result]},
        ],
    });
    let body = Bytes::from(body.to_string());
    let facts = crate::RequestFacts { keep_reasoning: true, keep_marks: true, ..facts() };
    let marked = inbound("/v1/messages", &body, &facts);
    assert!(marked.losses.is_empty());
    let (there, losses) = sent(&marked.body, Unsupported::Strict);
    assert!(losses.is_empty(), "{losses:?}");
    for at in [
        "",
        "/system/0",
        "/system/1",
        "/tools/0",
        "/messages/0/content/0",
        "/messages/0/content/1",
        "/messages/1/content/1",
        "/messages/2/content/0",
    ] {
        assert_eq!(there.pointer(at).unwrap()["cache_control"], mark, "{at}");
    }
    assert_eq!(there["messages"][1]["content"][0].get("cache_control"), None);
    // Anyone else gets none of them, and that is said.
    let plain = inbound("/v1/messages", &body, &self::facts());
    assert!(!String::from_utf8_lossy(&plain.body).contains("cache_control"));
    let lost: Vec<&str> = plain.losses.iter().map(|loss| loss.field.as_str()).collect();
    for field in ["tools[].", "", "system[].", "messages[].content[]."] {
        assert!(lost.contains(&&*format!("{field}cache_control")), "{lost:?}");
    }
    let wrong = Bytes::from(
        body.as_ref()
            .to_vec()
            .into_iter()
            .map(char::from)
            .collect::<String>()
            .replace(&mark.to_string(), "true"),
    );
    let fault = read("/v1/messages", &wrong, &facts).err().unwrap();
    assert_eq!(fault.code, Code::InvalidType);
}

proptest! {
    #[test]
    fn no_bytes_make_the_egress_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let _ = anthropic::request(&bytes, Unsupported::Lenient, &Defaults::default());
        let _ = anthropic::answer(&bytes, Millis(0));
        let _ = anthropic::error(500, &bytes);
        payloads(&chunks(&[&bytes]).replace("data: [DONE]", ""));
        let mut text = fixture("messages/stream.sse").to_vec();
        let place = at.index(text.len());
        text[place] = byte;
        payloads(&chunks(&[&text]).replace("data: [DONE]", ""));
        let mut body = inbound("/v1/messages", &fixture("anthropic/full.json"), &facts_of()).body.to_vec();
        let place = at.index(body.len());
        body[place] = byte;
        if let Ok(sent) = anthropic::request(&body, Unsupported::Lenient, &Defaults::default()) {
            // JSON by its grammar: a number may be one that no type holds, such as 1E345, as the client wrote it.
            prop_assert!(serde_json::from_slice::<serde::de::IgnoredAny>(&sent.body).is_ok());
        }
    }
}

fn facts_of() -> crate::RequestFacts<'static> {
    crate::RequestFacts { keep_reasoning: true, unsupported: Unsupported::Lenient, ..facts() }
}

/// The first kind is billed apart from tokens, the second is not.
#[test]
fn tools_of_anthropics_are_told_by_who_runs_them() {
    let lost = |kind: &str| {
        let body = serde_json::json!({"model": "m", "max_tokens": 9,
            "messages": [{"role": "user", "content": "a"}], "tools": [{"type": kind, "name": "t"}]});
        let asked = inbound("/v1/messages", &Bytes::from(body.to_string()), &lenient());
        asked.losses.iter().map(|loss| loss.field.clone()).collect::<Vec<_>>()
    };
    for kind in ["web_search_20250305", "code_execution_20250825", "new_20270101"] {
        assert_eq!(lost(kind), ["tools[].type"], "{kind}");
    }
    for kind in ["bash_20250124", "text_editor_20250728", "computer_20250124", "memory_20250818"] {
        assert_eq!(lost(kind), ["tools[].type.client"], "{kind}");
    }
}
