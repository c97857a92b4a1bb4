//! Provider JSON, and only here: what a client asked, what a target must be sent, and what came back.
//!
//! Pure: no I/O, no clock, no randomness. Ids and times that a client sees come in as a [`Mint`].
//!
//! The rules this crate keeps:
//! - A request is typed only where it is acted on ([`head::Head`]); every other byte reaches a target of
//!   the same dialect untouched, because [`adapt::adapt`] edits by byte range instead of re-writing.
//! - What a target cannot do is refused by name or reported as a [`Loss`], never dropped silently.
//! - A stream succeeded only if a non-null `finish_reason` was seen ([`stream::Tap`]).
//! - No bytes, however wrong, make anything here panic.
//! - No `Debug` output and no error holds prompt or completion text.

pub mod adapt;
pub mod context;
mod endpoint;
pub mod errors;
pub mod extract;
#[cfg(test)]
mod fixtures;
mod framing;
#[cfg(test)]
mod golden;
pub mod head;
pub mod json;
mod mint;
mod ollama;
pub mod openai;
pub mod own;
pub mod probe;
pub mod providers;
pub mod reply;
pub mod stream;
pub mod structured;
mod target;
mod usage;

pub use adapt::{Loss, LossAction, Outgoing, ReplyPlan};
pub use endpoint::Endpoint;
pub use errors::Fault;
pub use framing::{ATTACHED, Example, Framing};
pub use head::{Head, Words};
pub use mint::Mint;
pub use providers::{PROVIDERS, Prefill, Provider};
pub use reply::{FaultClass, Received, Reply, UpstreamFault, read_refusal, read_reply};
pub use stream::{Limits, Tap};
pub use structured::{Repair, StructuredOutput};
pub use target::{
    Capabilities, OllamaSettings, StreamUsage, Target, Think, Unsupported, VariantSettings,
};
pub use usage::{Finish, Usage};
