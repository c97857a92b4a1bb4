//! What an upstream is sent and what comes back, whatever its dialect: behind this everybody sees OpenAI's chat.
//!
//! ```text
//! adapt ─▶ OpenAI dialect ─ adapted ─▶ upstream ─ read, Intake ─▶ OpenAI dialect ─▶ read_reply, Tap
//! ```
//!
//! Upstreams with an API that `wire` does not know are turned behind its back, on the way out and in. A client
//! that speaks its upstream's own dialect is passed on in its own words ([`Own`]). Requests, copies for
//! candidates and questions to judges all go this way. Pure: no I/O, no clock.

mod forms;
mod intake;
mod names;
mod own;
mod received;
mod sent;

pub use forms::{Conversion, Form, Read, ReadBody, Reading, outlined, read_foreign};
pub use intake::Intake;
pub use own::{Own, without_keys};
pub use received::{TOO_LONG, read};
pub use sent::{adapted, in_senders_places, takes_marks};
