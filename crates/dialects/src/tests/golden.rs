//! Golden tests: what each request becomes, and what each answer and stream becomes in each dialect.

use std::fmt::Write as _;

use super::support::{facts, fixture, found, inbound, lenient, names, now, path_of, read, stream};
use crate::{Asked, Dialect};
use cutover_wire::openai::{chat, completions, embeddings, parse};
use cutover_wire::{Endpoint, Fault, Head};

fn pretty(body: &[u8]) -> String {
    let value: serde_json::Value = serde_json::from_slice(body).expect("JSON");
    serde_json::to_string_pretty(&value).expect("JSON")
}

fn show_error(dialect: &Dialect, fault: &Fault) -> String {
    let answer = (dialect.error)(fault, "req_1");
    let mut text = format!("{}\n", answer.status);
    for (name, value) in &answer.headers {
        let _ = writeln!(text, "{name}: {value}");
    }
    text + &pretty(&answer.body)
}

/// The pivot must be a request that the rest of cutover takes.
fn check_pivot(endpoint: Endpoint, body: &bytes::Bytes) {
    let head = Head::read(endpoint, body).expect("a head");
    assert!(!head.stream || head.include_usage);
    match endpoint {
        Endpoint::ChatCompletions => drop(parse::<chat::Request>(body).expect("a chat request")),
        Endpoint::Completions => drop(parse::<completions::Request>(body).expect("a completion")),
        Endpoint::Embeddings => drop(parse::<embeddings::Request>(body).expect("an embedding")),
    }
}

#[test]
fn what_each_request_becomes() {
    for folder in ["anthropic", "responses", "ollama", "gemini"] {
        for name in names(folder, ".json") {
            let file = format!("{folder}/{name}");
            let path = path_of(&file);
            let facts = if name.ends_with(".bad.json") { facts() } else { lenient() };
            let mut text = format!("POST {path}\n");
            match read(path, &fixture(&file), &facts) {
                Ok(Asked::Infer(inbound)) => {
                    assert!(!name.ends_with(".bad.json"), "{file}");
                    check_pivot(inbound.endpoint, &inbound.body);
                    let _ = writeln!(text, "{} stream {}", inbound.endpoint.path(), inbound.stream);
                    if !name.starts_with("agent") {
                        text += &pretty(&inbound.body);
                    }
                    for loss in &inbound.losses {
                        let (action, why) = (loss.action.as_str(), loss.why);
                        let _ = write!(text, "\n{} {action}: {why}", loss.field);
                    }
                }
                Ok(Asked::Now(answer)) => text += &pretty(&answer.body),
                Err(fault) => {
                    assert!(name.ends_with(".bad.json"), "{file} {fault} {:?}", fault.param);
                    text += &show_error(found(path).dialect, &fault);
                }
            }
            let name = name.trim_end_matches(".json");
            insta::assert_snapshot!(format!("request_{folder}_{name}"), text);
        }
    }
}

/// The request that answers go back to.
const ASKED: [(&str, &str); 5] = [
    ("anthropic", "anthropic/full.json"),
    ("responses", "responses/full.json"),
    ("ollama_chat", "ollama/chat-full.json"),
    ("ollama_generate", "ollama/generate.json"),
    ("gemini", "gemini/full.json"),
];

/// A response's echo is the request's own text: shown once, in the snapshot of `text`.
fn without_echo(text: &str, dialect: &str) -> String {
    if dialect != "responses" {
        return text.to_owned();
    }
    let mut value: serde_json::Value =
        serde_json::from_str(text).unwrap_or_else(|e| panic!("{e}: {text}"));
    for at in ["", "/response"] {
        let found = value.pointer_mut(at).filter(|found| found["object"] == "response");
        if let Some(object) = found.and_then(serde_json::Value::as_object_mut) {
            for key in ["tools", "tool_choice", "text", "reasoning", "metadata", "instructions"] {
                object.remove(key);
            }
        }
    }
    serde_json::to_string_pretty(&value).expect("JSON")
}

#[test]
fn what_each_whole_answer_becomes() {
    for (dialect, request) in ASKED {
        for name in names("chat", ".json") {
            let inbound = inbound(path_of(request), &fixture(request), &lenient());
            let text = match inbound.way_back.reply(&fixture(&format!("chat/{name}")), now()) {
                Ok(answer) if name == "text.json" => pretty(&answer.body),
                Ok(answer) => without_echo(&pretty(&answer.body), dialect),
                Err(fault) => show_error(found(path_of(request)).dialect, &fault),
            };
            let name = name.trim_end_matches(".json");
            insta::assert_snapshot!(format!("answer_{name}_{dialect}"), text);
        }
    }
}

#[test]
fn what_each_stream_becomes() {
    for (dialect, request) in ASKED {
        for name in names("chat", ".sse") {
            let inbound = inbound(path_of(request), &fixture(request), &lenient());
            let text = stream(inbound.way_back, &[&fixture(&format!("chat/{name}"))]);
            let mut shown = String::new();
            for line in text.lines() {
                match line.strip_prefix("data: ").filter(|_| dialect == "responses") {
                    Some(data) => {
                        let short: serde_json::Value =
                            serde_json::from_str(&without_echo(data, dialect)).expect("JSON");
                        let _ = writeln!(shown, "data: {short}");
                    }
                    None => {
                        let _ = writeln!(shown, "{line}");
                    }
                }
            }
            let name = name.trim_end_matches(".sse");
            insta::assert_snapshot!(format!("stream_{name}_{dialect}"), shown);
        }
    }
}

#[test]
fn what_each_embedding_becomes() {
    let body = br#"{"object":"list","model":"e","data":[{"object":"embedding","index":0,"embedding":[0.10,-1e-3]}],"usage":{"prompt_tokens":2,"total_tokens":2}}"#;
    for (name, request) in [
        ("embed", "ollama/embed.json"),
        ("embeddings", "ollama/embeddings.json"),
        ("gemini_embed", "gemini/embed.json"),
        ("gemini_batch", "gemini/batch.json"),
    ] {
        let inbound = inbound(path_of(request), &fixture(request), &lenient());
        let answer = inbound.way_back.reply(body, now()).expect("an answer");
        insta::assert_snapshot!(
            format!("answer_{name}"),
            String::from_utf8(answer.body.to_vec()).expect("UTF-8")
        );
    }
}

#[test]
fn the_reference_is_printed_from_the_tables() {
    let page = format!(
        "# Dialects\n\n\
         <!-- Generated from crates/dialects by `cargo xtask docs`. Do not edit. -->\n\n\
         What clients may speak to cutover besides OpenAI's chat completions, completions and \
         embeddings, which need no conversion. A request of another dialect becomes a chat completions \
         request and its answer goes back the same way. What is lost on the way stands in the loss \
         report of the request (`x-cutover-loss`, metrics, records).\n\n{}",
        crate::matrix()
    );
    let path = format!("{}/../../docs/reference/dialects.md", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("the reference can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/reference/dialects.md differs: run `cargo xtask docs`");
}
