//! From OpenAI's Responses API to chat completions, of an upstream that was sent a request as its client wrote it
//! ([`cutover_wire::own::responses`]). The client gets the upstream's own words; what is made here is read for what
//! the answer says, took and how it ended.
//!
//! There is no way to it from chat completions: a chat request goes to the chat API of the same upstream.

mod answer;
mod events;

pub use answer::answer;
pub use events::EventsIn;
