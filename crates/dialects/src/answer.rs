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
