//! Upstreams with an API of their own: from the OpenAI dialect's chat to Anthropic's Messages API or Google's
//! `generateContent`, and their answers, errors and streams back; of OpenAI's own Responses the way back alone.
//!
//! It stands between the relay path and the upstream: what goes in is a chat completions request as
//! `wire::adapt` made it for a target, what comes out is read by `wire` like any answer of the OpenAI
//! dialect. What `dialects` turns at the other edge is read and written with the same tools: [`read`] and
//! [`mod@write`], [`chat`], [`losses`].
//!
//! Pure: no I/O, no clock, no randomness.
//!
//! The rules this crate keeps:
//! - What becomes of a field stands in a table: the conversions look there, and the reference is printed from it.
//! - Nothing is dropped silently: what cannot be carried is refused by name or reported as a [`Loss`].
//! - A stream that broke off never ends like one that did not.
//! - No bytes, however wrong, make anything here panic.
//! - No `Debug` output and no error holds prompt or completion text.

pub mod anthropic;
pub mod calls;
pub mod chat;
mod choice;
pub mod continuation;
mod defaults;
mod elsewhere;
mod feed;
mod field;
pub mod fields;
pub mod gemini;
pub mod losses;
pub mod lost;
pub mod manage;
pub mod names;
mod places;
pub mod read;
pub mod responses;
mod schema;
pub mod signature;
pub mod split;
mod turns;
pub mod write;

use std::borrow::Cow;

use bytes::Bytes;
use cutover_wire::Loss;

pub use defaults::Defaults;
pub use elsewhere::without_others;
pub use field::{Fate, Field};
pub use places::in_senders_places;

/// Where a mark for caching stands: beside what it marks.
pub const MARK: &str = "cache_control";

/// Where settings stand that only one vendor's models have, by its name, as Google's compatible endpoint takes them.
pub const EXTRA: &str = "extra_body";

/// The mark of a tool's result that is an error, as Anthropic's API has it.
pub const FAILED: &str = "is_error";

/// A vendor's whole answer in the OpenAI dialect. Its `Debug` shows no body.
pub struct Turned {
    /// The chat completion.
    pub body: Bytes,
    /// What of the answer it has no room for.
    pub losses: Vec<Loss>,
}

impl std::fmt::Debug for Turned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Turned").field("losses", &self.losses).finish_non_exhaustive()
    }
}

/// A request for an upstream's own API. No `Debug`: it holds the prompt.
pub struct Sent {
    /// The path, with its query.
    pub path: Cow<'static, str>,
    /// The body.
    pub body: Bytes,
    /// What could not be sent as it was.
    pub losses: Vec<Loss>,
}
