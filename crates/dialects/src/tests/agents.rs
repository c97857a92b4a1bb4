//! Bodies of real agents' shape (40 kB, namespaced tools, a system role inside the messages, unknown keys)
//! to every target: one JSON in, one snapshot per target. Long texts are shown as their beginning and
//! their length, so that a snapshot can be read.

use std::fmt::Write as _;

use bytes::Bytes;
use cutover_vendors::{Defaults, anthropic, gemini};
use cutover_wire::{Endpoint, Head, Loss, Provider, Target, Unsupported, VariantSettings, adapt};
use serde_json::{Value, json};

use super::support::{facts, fixture, inbound, lenient, now, path_of, read};
use crate::{Inbound, RequestFacts};

const AGENTS: [(&str, &str); 5] = [
    ("anthropic-agent", "anthropic/agent.json"),
    ("anthropic-second-turn", "anthropic/ai-sdk-second-turn.json"),
    ("responses-agent", "responses/agent.json"),
    ("responses-lite-agent", "responses/agent-lite.json"),
    ("responses-second-turn", "responses/ai-sdk-second-turn.json"),
];

/// The texts that are shown whole.
const SHOWN_CHARS: usize = 48;

fn shorten(value: &mut Value) {
    match value {
        Value::String(text) if text.chars().count() > SHOWN_CHARS => {
            let start: String = text.chars().take(SHOWN_CHARS).collect();
            *text = format!("{start}... ({} bytes)", text.len());
        }
        Value::Array(items) => items.iter_mut().for_each(shorten),
        Value::Object(members) => members.values_mut().for_each(shorten),
        _ => {}
    }
}

fn shown(path: &str, body: &[u8], losses: &[Loss]) -> String {
    let mut value: Value = serde_json::from_slice(body).unwrap();
    shorten(&mut value);
    let mut text = format!("POST {path}\n{value:#}\n");
    for loss in losses {
        let _ = writeln!(text, "{} {}: {}", loss.field, loss.action.as_str(), loss.why);
    }
    text
}

fn asked(file: &str, marks: bool) -> Inbound {
    let facts = RequestFacts {
        unsupported: Unsupported::Lenient,
        keep_reasoning: true,
        keep_marks: marks,
        ..facts()
    };
    inbound(path_of(file), &fixture(file), &facts)
}

/// What `wire` makes of a chat request for an engine of this kind.
fn adapted(body: &Bytes, provider: &str) -> String {
    let head = Head::read(Endpoint::ChatCompletions, body).unwrap();
    let target = Target {
        model: Some("their-model".into()),
        unsupported: Unsupported::Lenient,
        settings: VariantSettings::default(),
        ..Target::untouched(Provider::by_name(provider).unwrap())
    };
    let sent = adapt::adapt(&head, body, &target).unwrap();
    shown(&sent.path, &sent.body.concat(), &sent.losses)
}

#[test]
fn what_agents_send_reaches_every_target() {
    for (name, file) in AGENTS {
        let plain = asked(file, false);
        insta::assert_snapshot!(
            format!("{name}_to_chat"),
            shown(plain.endpoint.path(), &plain.body, &plain.losses)
        );
        insta::assert_snapshot!(format!("{name}_to_ollama"), adapted(&plain.body, "ollama"));
        insta::assert_snapshot!(format!("{name}_to_llamacpp"), adapted(&plain.body, "llamacpp"));
        let marked = asked(file, true);
        let sent = anthropic::request(&marked.body, Unsupported::Lenient, &Defaults::default())
            .ok()
            .unwrap();
        insta::assert_snapshot!(
            format!("{name}_to_messages"),
            shown(&sent.path, &sent.body, &sent.losses)
        );
        let sent = gemini::request(&marked.body, Unsupported::Lenient).ok().unwrap();
        insta::assert_snapshot!(
            format!("{name}_to_gemini"),
            shown(&sent.path, &sent.body, &sent.losses)
        );
    }
}

/// The bodies are what they are said to be.
#[test]
fn the_bodies_have_an_agents_shape() {
    for (file, words) in [
        ("anthropic/agent.json", ["\"role\":\"system\"", "\"defer_loading\"", "\"cache_control\""]),
        ("responses/agent.json", ["\"namespace\"", "\"web_search\"", "\"client_metadata\""]),
    ] {
        let body = fixture(file);
        assert!(body.len() > 35_000, "{file} has {} bytes", body.len());
        let text = String::from_utf8_lossy(&body).replace(": ", ":");
        for word in words {
            assert!(text.contains(word), "{file} lacks {word}");
        }
    }
}

/// Today's Codex sends its tools as an item of the conversation.
#[test]
fn tools_that_an_item_brings_along_are_offered_and_their_calls_come_back_by_its_names() {
    let custom = json!({"type": "custom", "name": "exec", "description": "runs"});
    let wait = json!({"type": "function", "name": "wait", "parameters": {"type": "object"}});
    let space = |tools: Value| json!({"type": "namespace", "name": "functions", "description": "", "tools": tools});
    let item = |tools: Value| json!({"type": "additional_tools", "id": "at_1", "role": "developer", "tools": tools});
    let older = json!({"type": "custom", "name": "exec", "description": "older"});
    let body = json!({"model": "m", "tool_choice": {"type": "custom", "name": "exec", "namespace": "functions"}, "input": [
        item(json!([space(json!([older]))])),
        {"role": "user", "content": "a"},
        {"type": "custom_tool_call", "call_id": "c", "namespace": "functions", "name": "exec", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "r"},
        item(json!([space(json!([custom, wait])), {"type": "web_search"}])),
        {"role": "user", "content": "b"}]});
    let body = Bytes::from(body.to_string());
    let asked = inbound("/v1/responses", &body, &lenient());
    let chat: Value = serde_json::from_slice(&asked.body).unwrap();
    let tools = chat["tools"].as_array().unwrap();
    let named: Vec<_> = tools
        .iter()
        .map(|t| (t["function"]["name"].as_str().unwrap(), t["function"]["description"].as_str()))
        .collect();
    assert_eq!(named, [("functions__exec", Some("runs")), ("functions__wait", None)]);
    assert_eq!(chat["tool_choice"]["function"]["name"], "functions__exec");
    let roles: Vec<_> =
        chat["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "user"]);
    assert_eq!(chat["messages"][1]["tool_calls"][0]["function"]["name"], "functions__exec");
    let lost: Vec<_> = asked.losses.iter().map(|loss| &*loss.field).collect();
    assert_eq!(lost, ["tools[].namespace.description", "tools[].type"]);
    let call = json!({"id": "d", "type": "function", "function": {"name": "functions__exec", "arguments": "{\"input\":\"y\"}"}});
    let answer = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [
        {"index": 0, "finish_reason": "tool_calls", "message": {"role": "assistant", "content": null, "tool_calls": [call]}}]});
    let reply = asked.way_back.reply(answer.to_string().as_bytes(), now()).unwrap();
    let told: Value = serde_json::from_slice(&reply.body).unwrap();
    let told = &told["output"][0];
    assert_eq!(
        [&told["type"], &told["namespace"], &told["name"], &told["input"]],
        ["custom_tool_call", "functions", "exec", "y"]
    );
    // A wrong one is named by its place.
    let bad = json!({"model": "m", "input": [{"role": "user", "content": "a"}, item(json!([{"type": "function"}]))]});
    let fault = read("/v1/responses", &bad.to_string().into(), &lenient()).err().unwrap();
    assert_eq!(fault.param.as_deref(), Some("input[1].tools[0].name"));
    let bare = json!({"model": "m", "input": [{"type": "additional_tools", "role": "developer"}]});
    let fault = read("/v1/responses", &bare.to_string().into(), &lenient()).err().unwrap();
    assert_eq!(fault.param.as_deref(), Some("input[0].tools"));
}

/// Google's SDK keeps each piece of a stream as a content of its own, and the calls' results come after them all.
#[test]
fn pieces_of_a_stream_that_a_client_keeps_are_one_turn() {
    let model = |part: Value| json!({"role": "model", "parts": [part]});
    let call = json!({"functionCall": {"name": "f", "args": {}}});
    let body = json!({"contents": [
        {"role": "user", "parts": [{"text": "a"}]},
        model(json!({"text": "he"})), model(json!({"text": "ll"})), model(json!({"text": "o"})),
        model(call), model(json!({"text": ""})),
        {"role": "user", "parts": [{"functionResponse": {"name": "f", "response": {"output": "r"}}}]}]});
    let asked = inbound("/v1beta/models/m:generateContent", &body.to_string().into(), &lenient());
    let chat: Value = serde_json::from_slice(&asked.body).unwrap();
    let roles: Vec<_> =
        chat["messages"].as_array().unwrap().iter().map(|m| m["role"].clone()).collect();
    assert_eq!(roles, ["user", "assistant", "tool"]);
    let said = &chat["messages"][1];
    assert_eq!(said["content"], "hello");
    assert_eq!(said["tool_calls"][0]["function"]["name"], "f");
}

/// An empty list of blocks went away with its turn: the conversation began with the answer.
#[test]
fn a_turn_that_says_nothing_stays_a_turn() {
    let turns = r#"[{"role":"user","content":[]},{"role":"assistant","content":"a"},{"role":"user","content":"b"}]"#;
    for (path, body) in [
        ("/v1/messages", format!(r#"{{"model":"m","max_tokens":9,"messages":{turns}}}"#)),
        ("/v1/responses", format!(r#"{{"model":"m","input":{turns}}}"#)),
    ] {
        let body = inbound(path, &body.into(), &lenient()).body;
        let sent: Value = serde_json::from_slice(&body).unwrap();
        let roles: Vec<_> =
            sent["messages"].as_array().unwrap().iter().map(|m| &m["role"]).collect();
        assert_eq!(roles, ["user", "assistant", "user"], "{path}");
        assert_eq!(sent["messages"][0]["content"], "", "{path}");
    }
}
