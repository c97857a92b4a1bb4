//! From the OpenAI dialect to an upstream that speaks Anthropic's Messages API, and its answers, errors and
//! streams back.

mod answer;
mod events;
mod fields;
mod ids;
mod refused;
mod request;
mod settings;

use crate::Field;

pub use answer::{answer, error};
pub use events::EventsIn;
pub use refused::must_be_mended;
pub use request::request;

/// The path of the Messages API.
pub const PATH: &str = "/v1/messages";

/// The version header that the API requires, with the version that is spoken here.
pub const VERSION: (&str, &str) = ("anthropic-version", "2023-06-01");

/// What becomes of each field of a chat completions request.
pub static FIELDS: &[Field] = fields::FIELDS;
