//! What goes back to the client.

use bytes::Bytes;
use cutover_wire::Loss;
use memchr::{memchr, memmem};

use crate::lost::Lost;

/// A whole answer.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    /// The body's type.
    pub content_type: &'static str,
    /// Headers of the dialect's own.
    pub headers: Vec<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
    /// What of the answer it has no room for.
    pub losses: Vec<Loss>,
}

impl Answer {
    pub(crate) fn json(body: String) -> Self {
        let (headers, losses) = (Vec::new(), Vec::new());
        Self { content_type: JSON, headers, body: Bytes::from(body), losses }
    }

    pub(crate) fn without(self, lost: Lost) -> Self {
        Self { losses: lost.into_list(), ..self }
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
pub(crate) const BYTES_PER_TOKEN: usize = 4;

/// What an image takes, by its vendor's published rule for one as large as a screen: Anthropic counts width times
/// height by 750 and makes larger ones smaller, Google 258 for each tile, OpenAI 170 for each and 85.
pub(crate) const ANTHROPICS_IMAGE: usize = 1_600;
pub(crate) const GOOGLES_IMAGE: usize = 6 * 258;
pub(crate) const OPENAIS_IMAGE: usize = 85 + 4 * 170;

/// What a request will cost its reader in tokens: an estimate, because the model's tokenizer is not ours. The data of
/// images and files is no text: each of them takes so many tokens.
pub(crate) fn estimated_tokens(body: &[u8], image: usize) -> u64 {
    const DATA: &[u8] = b";base64,";
    let (mut bytes, mut images) = (body.len(), 0);
    for at in memmem::find_iter(body, b"\"data:") {
        let value = body.get(at + 1..).unwrap_or_default();
        let value = value.get(..memchr(b'"', value).unwrap_or(value.len())).unwrap_or_default();
        let kind = value.get(..value.len().min(100)).unwrap_or_default();
        if memmem::find(kind, DATA).is_some() {
            (bytes, images) = (bytes - value.len(), images + 1);
        }
    }
    (bytes / BYTES_PER_TOKEN + images * image).max(1) as u64
}

/// The header by which an estimate says that it is one.
pub(crate) const ESTIMATED: &str = "x-cutover-estimated";
