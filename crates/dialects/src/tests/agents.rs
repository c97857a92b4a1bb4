//! Bodies of real agents' shape (40 kB, namespaced tools, a system role inside the messages, unknown keys)
//! to every target: one JSON in, one snapshot per target. Long texts are shown as their beginning and
//! their length, so that a snapshot can be read.

use std::fmt::Write as _;

use bytes::Bytes;
use cutover_vendors::{Defaults, anthropic, gemini};
use cutover_wire::{Endpoint, Head, Loss, Provider, Target, Unsupported, VariantSettings, adapt};
use serde_json::Value;

use super::support::{facts, fixture, inbound, lenient, path_of};
use crate::{Inbound, RequestFacts};

const AGENTS: [(&str, &str); 4] = [
    ("anthropic-agent", "anthropic/agent.json"),
    ("anthropic-second-turn", "anthropic/ai-sdk-second-turn.json"),
    ("responses-agent", "responses/agent.json"),
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
