//! What goes back to the client.

use bytes::Bytes;

/// A whole answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The body's type.
    pub content_type: &'static str,
    /// Headers of the dialect's own.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

impl Answer {
    pub(crate) fn json(body: String) -> Self {
        Self { content_type: JSON, headers: Vec::new(), body: Bytes::from(body) }
    }
}

/// An error in a client's dialect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorAnswer {
    /// The status, which may differ from the code's own.
    pub status: u16,
    /// Headers of the dialect's own.
    pub headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub body: Bytes,
}

pub(crate) const JSON: &str = "application/json";
pub(crate) const EVENTS: &str = "text/event-stream";
pub(crate) const LINES: &str = "application/x-ndjson";

/// Bytes of JSON per token: the usual figure for English text, and near it for code.
const BYTES_PER_TOKEN: usize = 4;

/// What a request of this length will cost its reader in tokens: an estimate, because the model's
/// tokenizer is not ours.
pub(crate) fn estimated_tokens(bytes: usize) -> u64 {
    (bytes / BYTES_PER_TOKEN).max(1) as u64
}

/// The header by which an estimate says that it is one.
pub(crate) const ESTIMATED: &str = "x-cutover-estimated";
