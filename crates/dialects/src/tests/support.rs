//! What the tests of this crate share: fixtures, and the way through a dialect and back.

use bytes::Bytes;
use cutover_units::{Micros, Millis};
use cutover_wire::{Fault, Unsupported};

use crate::{Ask, Asked, Found, Inbound, Moment, RequestFacts, WayBack, find};

/// A request for a stream of each dialect but OpenAI's own: where it is sent, and its body.
pub(super) const CLIENTS: [(&str, &str); 4] = [
    (
        "/v1/messages",
        r#"{"model":"asked","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"x"}]}"#,
    ),
    ("/v1/responses", r#"{"model":"asked","stream":true,"input":"x"}"#),
    ("/api/chat", r#"{"model":"asked","messages":[{"role":"user","content":"x"}]}"#),
    ("/v1beta/models/asked:streamGenerateContent", r#"{"contents":[{"parts":[{"text":"x"}]}]}"#),
];

/// Every fixture's name below a folder, sorted.
pub(crate) fn names(folder: &str, end: &str) -> Vec<String> {
    let path = format!("{}/fixtures/{folder}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(path).expect("fixtures");
    let mut names: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().into_string().ok())
        .filter(|name| name.ends_with(end))
        .collect();
    names.sort();
    names
}

pub(crate) fn fixture(name: &str) -> Bytes {
    let path = format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    Bytes::from(std::fs::read(&path).expect(&path))
}

/// The path that a fixture's request is for.
pub(crate) fn path_of(fixture: &str) -> &'static str {
    let (folder, name) = fixture.split_once('/').expect("a folder");
    match (folder, name) {
        ("anthropic", _) => "/v1/messages",
        ("responses", _) => "/v1/responses",
        ("gemini", n) if n.starts_with("count") => "/v1beta/models/asked:countTokens",
        ("gemini", n) if n.starts_with("embed") => "/v1beta/models/asked:embedContent",
        ("gemini", n) if n.starts_with("batch") => "/v1beta/models/asked:batchEmbedContents",
        ("gemini", n) if n.starts_with("stream") => "/v1beta/models/asked:streamGenerateContent",
        ("gemini", _) => "/v1beta/models/asked:generateContent",
        (_, n) if n.starts_with("chat") => "/api/chat",
        (_, n) if n.starts_with("generate") => "/api/generate",
        (_, n) if n.starts_with("embeddings") => "/api/embeddings",
        _ => "/api/embed",
    }
}

pub(crate) fn facts() -> RequestFacts<'static> {
    let (named, events) = (Some("asked"), true);
    RequestFacts { named, events, ..RequestFacts::new("0a1b", Millis(1_795_250_530_040)) }
}

pub(crate) fn lenient() -> RequestFacts<'static> {
    RequestFacts { unsupported: Unsupported::Lenient, keep_reasoning: true, ..facts() }
}

pub(crate) fn found(path: &str) -> Found<'_> {
    match find("POST", path) {
        Some(Ok(found)) => found,
        _ => panic!("{path} is no route"),
    }
}

pub(crate) fn read(path: &str, body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    match found(path).ask {
        Ask::Read(read) => read(body, facts),
        _ => panic!("{path} reads no body"),
    }
}

pub(crate) fn inbound(path: &str, body: &Bytes, facts: &RequestFacts<'_>) -> Inbound {
    match read(path, body, facts) {
        Ok(Asked::Infer(inbound)) => *inbound,
        Ok(Asked::Now(_)) => panic!("answered at once"),
        Err(fault) => panic!("{fault} {:?}", fault.param),
    }
}

pub(crate) fn now() -> Moment {
    Moment { at: Millis(1_795_250_531_500), elapsed: Micros(1_460_000) }
}

/// A stream in one frame per part.
pub(crate) fn stream(back: WayBack, frames: &[&[u8]]) -> String {
    let (mut stream, mut out) = (back.stream(), Vec::new());
    for frame in frames {
        stream.push(Bytes::copy_from_slice(frame), now(), &mut out);
    }
    stream.finish(now(), &mut out);
    assert!(stream.is_over());
    String::from_utf8(out.concat()).expect("UTF-8")
}

/// The payloads of server-sent events, or lines.
pub(crate) fn payloads(text: &str) -> Vec<serde_json::Value> {
    text.lines()
        .filter_map(|line| {
            line.strip_prefix("data: ").or_else(|| line.starts_with('{').then_some(line))
        })
        .map(|data| serde_json::from_str(data).expect(data))
        .collect()
}
