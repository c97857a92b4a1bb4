//! Ingress dialects: Anthropic Messages, OpenAI Responses, Ollama's and Google's native APIs. Each request becomes
//! one of the OpenAI dialect (the pivot), runs like any other, and its answer goes back the same way.
//!
//! Pure: no I/O, no clock, no randomness. Ids, times and what is stored come in as arguments.
//!
//! ```text
//! path ─ find ─▶ Found ─ Ask::Read ─▶ Asked::Infer(Inbound) ─ body ─▶ the gateway's pipeline
//!                  │                      │ way_back                        │ OpenAI dialect
//!                  │                      └──▶ WayBack::reply / stream ◀────┘
//!                  └─ any fault ─▶ Dialect::error                 └─▶ the client's dialect
//! ```
//!
//! The rules this crate keeps:
//! - What becomes of a field stands in its dialect's table ([`Dialect::fields`]): the conversions look
//!   there, and the reference is printed from it ([`matrix`]).
//! - Nothing is dropped silently: what cannot be carried is refused by name or reported as a
//!   [`cutover_wire::Loss`]. That holds for fields that nobody here knows, too.
//! - A stream that broke off never ends like one that did not.
//! - Schemas, arguments and numbers are copied as the client wrote them.
//! - No bytes, however wrong, make anything here panic.
//! - No `Debug` output and no error holds prompt or completion text.

mod answer;
pub mod anthropic;
mod base64;
pub mod gemini;
pub mod images;
mod inbound;
pub mod ollama;
mod origins;
mod outline;
mod pivot;
pub mod responses;
mod sampled;
mod sequence;
mod shape;
mod sound;
mod stream;
mod table;
#[cfg(test)]
mod tests;
mod trial;
mod vectors;

use cutover_vendors::{calls, chat, losses, lost, read, signature, split, write};

pub use answer::{Answer, ErrorAnswer};
pub use chat::read_error;
pub use cutover_vendors::losses::Refused;
pub use inbound::{Asked, Inbound, ModelFacts, Moment, RequestFacts, StoreNeeds, WayBack};
pub use origins::Origins;
pub use outline::{Outline, Outliner};
pub use sampled::Sent;
pub use shape::path_of;
pub use signature::SEPARATOR as SIGNED_ID;
pub use stream::StreamOut;
pub use table::{Ask, DIALECTS, Dialect, Fate, Field, Found, Route, find, matrix};
pub use trial::{Shown, Trial};
