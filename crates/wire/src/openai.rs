//! Typed forms of the OpenAI dialect, for those who must act on the whole: conversions to another
//! dialect, and the embedded engine's service. The relay path does not use them.
//!
//! Requests only deserialise, answers only serialise. Unknown request fields are skipped here; whoever
//! converts reports them through [`crate::Head`]'s members.

pub mod arguments;
pub mod chat;
pub mod completions;
pub mod content;
pub mod embeddings;
pub mod models;
pub mod sampling;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::errors::Fault;
use crate::json;

/// The end of a stream.
pub const DONE: Bytes = Bytes::from_static(b"data: [DONE]\n\n");

/// Reads a whole request body in its typed form; an error names the field.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Fault> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Fault::new(cutover_units::Code::InvalidJson, "the body is not valid UTF-8"))?;
    json::typed(text, "")
}

/// Writes an answer (completion, list, ...) as a JSON body.
pub fn write<T: Serialize + ?Sized>(answer: &T) -> Bytes {
    Bytes::from(json::to_vec(answer))
}

/// Writes one event of a stream: `data: {...}` and a blank line.
pub fn event<T: Serialize + ?Sized>(chunk: &T) -> Bytes {
    let mut text = Vec::with_capacity(256);
    text.extend_from_slice(b"data: ");
    if serde_json::to_writer(&mut text, chunk).is_err() {
        // Our own types cannot fail; a comment keeps the stream well-formed if one ever did.
        text.clear();
        text.push(b':');
    }
    text.extend_from_slice(b"\n\n");
    Bytes::from(text)
}
