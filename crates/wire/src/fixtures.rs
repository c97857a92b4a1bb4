//! Reads the captured exchanges in `fixtures/` for tests.

use bytes::Bytes;

use crate::adapt::ReplyPlan;
use crate::{Endpoint, Mint, Provider};

/// A captured answer.
pub(crate) struct Exchange {
    pub(crate) status: u16,
    pub(crate) content_type: Option<String>,
    pub(crate) body: Bytes,
}

/// Reads `fixtures/PROVIDER/NAME.http`.
pub(crate) fn exchange(provider: &str, name: &str) -> Exchange {
    let path = format!("{}/fixtures/{provider}/{name}.http", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).expect(&path).replace("\r\n", "\n");
    let answer: String = text
        .split_inclusive('\n')
        .filter(|l| !l.starts_with("###") && !l.starts_with("> "))
        .collect();
    if !answer.starts_with("HTTP/") {
        return Exchange { status: 200, content_type: None, body: Bytes::from(answer) };
    }
    let (head, body) = answer.split_once("\n\n").expect("a blank line after the headers");
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).expect("a status");
    let content_type = head
        .lines()
        .find_map(|l| l.to_lowercase().strip_prefix("content-type: ").map(str::to_owned));
    // curl's output ends with one more line feed than the body.
    let body = body.strip_suffix('\n').unwrap_or(body);
    Exchange { status, content_type, body: Bytes::from(body.to_owned()) }
}

/// The names of all exchanges of a provider, sorted.
pub(crate) fn names(provider: &str) -> Vec<String> {
    let folder = format!("{}/fixtures/{provider}", env!("CARGO_MANIFEST_DIR"));
    let entries = std::fs::read_dir(folder).expect("fixtures");
    let mut names: Vec<String> = entries
        .filter_map(|e| e.ok()?.file_name().to_str()?.strip_suffix(".http").map(str::to_owned))
        .collect();
    names.sort();
    names
}

/// A plan for an answer of a provider, as it is for the default upstream.
pub(crate) fn plan(provider: &str, endpoint: Endpoint) -> ReplyPlan {
    let provider = Provider::by_name(provider).expect(provider);
    ReplyPlan {
        include_usage: true,
        encoding: crate::openai::embeddings::Encoding::Float,
        ..ReplyPlan::bare(endpoint, provider)
    }
}

/// Our names.
pub(crate) fn mint() -> Mint {
    Mint { id: "chatcmpl-ours".into(), model: "asked-for".into(), created: 1_800_000_000 }
}
