//! Answers that are not streams, and errors of upstreams, brought into the client's form.
//!
//! A good answer of the same dialect is passed on as the same `Bytes`; with a mint, `id` and `model`
//! are replaced by range and nothing else changes, except where an engine is known to be wrong
//! ([`crate::providers::Quirks`]).

use std::fmt;

use bytes::Bytes;

use crate::adapt::{Loss, ReplyPlan};
use crate::endpoint::Endpoint;
use crate::mint::Mint;
use crate::ollama;
use crate::providers::{Dialect, Provider};
use crate::usage::{Finish, Usage};

mod fault;
pub(crate) mod openai;
mod said;

pub use cutover_json::Secrets;
pub use fault::{FaultClass, UpstreamFault};
pub(crate) use fault::{of_answer, of_value};
pub use said::Said;

/// An answer as it came. Its `Debug` shows no body.
#[derive(Clone)]
pub struct Received<'a> {
    /// Its status.
    pub status: u16,
    /// Its `content-type`.
    pub content_type: Option<&'a str>,
    /// Its `retry-after`.
    pub retry_after: Option<&'a str>,
    /// Its `retry-after-ms`.
    pub retry_after_ms: Option<&'a str>,
    /// Its `date`: what a `retry-after` that is a date is compared with.
    pub date: Option<&'a str>,
    /// Its whole body.
    pub body: Bytes,
}

impl Received<'_> {
    /// An answer with a status and a body only.
    pub fn new(status: u16, body: Bytes) -> Self {
        Self {
            status,
            content_type: None,
            retry_after: None,
            retry_after_ms: None,
            date: None,
            body,
        }
    }
}

/// A good answer, ready for the client. Its `Debug` shows no body.
#[derive(Clone)]
pub struct Reply {
    /// The body in the client's dialect.
    pub body: Bytes,
    /// The tokens used, if the upstream told.
    pub usage: Option<Usage>,
    /// Why the first choice ended.
    pub finish: Option<Finish>,
    /// The prompt seems to have been cut by the upstream: it counted far fewer tokens than the text
    /// has. To be logged and counted.
    pub prompt_truncated: bool,
    /// The same answer in the upstream's own words, where the client speaks its dialect
    /// ([`ReplyPlan::own`]). [`read_reply`] leaves it out.
    pub own: Option<Bytes>,
    /// What of the upstream's answer could not be carried into this form. [`read_reply`] loses nothing.
    pub losses: Vec<Loss>,
}

impl fmt::Debug for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Received")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reply")
            .field("usage", &self.usage)
            .field("finish", &self.finish)
            .field("body_bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

/// Reads a whole answer.
pub fn read_reply(
    plan: &ReplyPlan,
    mint: &Mint,
    received: Received<'_>,
) -> Result<Reply, UpstreamFault> {
    let retry_after_ms = fault::retry_after(&received);
    let html = received.content_type.is_some_and(|t| t.trim_start().starts_with("text/html"));
    let result = match received.status {
        200..=299 if html => Err(UpstreamFault::unreadable("it is a web page, not JSON")),
        200..=299 => match plan.provider.dialect {
            Dialect::OpenAi | Dialect::Anthropic | Dialect::Gemini => {
                openai::read(plan, mint, received.body)
            }
            Dialect::Ollama => ollama::answer::read(plan, mint, &received.body),
        },
        status => Err(of_answer(plan, status, &received.body)),
    };
    result.map_err(|fault| UpstreamFault { retry_after_ms, ..fault })
}

/// What an answer that is none, by its status, says: for who passed a request on without reading it.
pub fn read_refusal(
    provider: &'static Provider,
    clients_key: bool,
    received: &Received<'_>,
) -> UpstreamFault {
    let plan = ReplyPlan::bare(Endpoint::ChatCompletions, provider);
    let fault = of_answer(&ReplyPlan { clients_key, ..plan }, received.status, &received.body);
    UpstreamFault { retry_after_ms: fault::retry_after(received), ..fault }
}

#[cfg(test)]
mod tests;
