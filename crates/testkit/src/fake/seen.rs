//! What a scripted upstream saw: every request byte for byte, every client that left early.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Method, as sent.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
    /// Which connection it came on, counted from 0.
    pub connection: u64,
    /// When its last byte had been read.
    pub at: Instant,
}

impl Seen {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The path without the query.
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or("")
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// True for a request that asks a model for something (not a probe or a list).
    pub fn is_inference(&self) -> bool {
        let path = self.path();
        [
            "/chat/completions",
            "/completions",
            "/responses",
            "/embeddings",
            "/api/chat",
            "/api/generate",
        ]
        .iter()
        .any(|end| path.ends_with(end))
            || path.ends_with("/api/embed")
            || [
                ":generateContent",
                ":streamGenerateContent",
                ":embedContent",
                ":batchEmbedContents",
            ]
            .iter()
            .any(|verb| path.ends_with(verb))
    }
}

/// A client that closed its connection before the answer was complete.
#[derive(Clone, Copy, Debug)]
pub struct Disconnect {
    /// Index of the request in [`super::Fake::seen`].
    pub request: usize,
    /// When it was noticed (within about 5 ms).
    pub at: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) seen: Vec<Seen>,
    pub(super) disconnects: Vec<Disconnect>,
    pub(super) connections: u64,
    pub(super) bytes: u64,
    pub(super) answered: usize,
    pub(super) in_flight: usize,
    pub(super) in_flight_max: usize,
}

#[derive(Debug, Default)]
pub(super) struct Recorder(Mutex<Counts>);

impl Recorder {
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a request and returns its index.
    pub(super) fn begin(&self, seen: Seen) -> usize {
        let mut counts = self.counts();
        // As engines count: who looks how they are is no load.
        if seen.is_inference() {
            counts.in_flight += 1;
            counts.in_flight_max = counts.in_flight_max.max(counts.in_flight);
        }
        counts.seen.push(seen);
        counts.seen.len() - 1
    }

    pub(super) fn end(&self, request: usize, complete: bool) {
        let mut counts = self.counts();
        let is_inference = counts.seen[request].is_inference();
        counts.in_flight -= usize::from(is_inference);
        if complete {
            counts.answered += usize::from(is_inference);
        } else {
            counts.disconnects.push(Disconnect { request, at: Instant::now() });
        }
    }
}
