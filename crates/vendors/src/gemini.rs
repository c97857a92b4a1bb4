//! From the OpenAI dialect to an upstream that speaks Google's Gemini API, and its answers, errors and
//! streams back. Written after the published interface (v1beta); never tried against the service itself.
//!
//! Gemini signs the thinking behind a call and wants the signature back with the call. It travels where
//! Google's own OpenAI-compatible endpoint puts it: `tool_calls[].extra_content.google.thought_signature`.

mod answer;
pub mod embeddings;
mod error;
mod events;
mod fields;
mod parts;
mod request;

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::Field;

pub use answer::answer;
pub use error::{Told, error};
pub use events::EventsIn;
pub use request::request;

/// What becomes of each field of a chat completions request.
pub static FIELDS: &[Field] = fields::FIELDS;

/// The method of a stream of events.
pub const STREAM: &str = "streamGenerateContent?alt=sse";

/// The path and query of a method for a model. Whatever the name holds, it stays one segment (two for tuned models).
pub fn path(model: &str, method: &str) -> Cow<'static, str> {
    let model = model.strip_prefix("models/").unwrap_or(model);
    let (folder, name) = match model.strip_prefix("tunedModels/") {
        Some(name) => ("tunedModels", name),
        None => ("models", model),
    };
    Cow::Owned(format!("/v1beta/{folder}/{}:{method}", escaped(name)))
}

fn escaped(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            text.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _infallible = write!(text, "%{byte:02X}");
        }
    }
    // A dot segment would be resolved away.
    if text.chars().all(|c| c == '.') { text.replace('.', "%2E") } else { text }
}
