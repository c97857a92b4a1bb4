//! Streams: from an upstream's bytes to the client's, and what was seen on the way.
//!
//! ```text
//!            first content    finish_reason        [DONE] or end of body
//!   open ───────────────────▶ content ───────────▶ finished ───────────▶ ended (data: [DONE])
//!     └───────────────┬──────────┴──────────────────────┘
//!                     ▼ error event, malformed or too long event, end without a finish_reason
//!                  failed (an `UpstreamFault`; never a [DONE])
//! ```
//!
//! Once every choice has its finish reason the answer is whole: trouble that is told, or made, after that is no part
//! of it ([`Tap::was_cut`]).
//!
//! Not mended: chunks of `/v1/completions` carry `finish_reason: null` until the end, as the vendor's own
//! service sends them, although the vendor's schema (and so its SDK in strict mode) forbids null there.
//! Any other value would tell clients that the answer has ended.
//!
//! Success is a `finish_reason` with a word in it, for each choice that has begun. Null is none, and neither is
//! `""`, which some services write until they have a reason: the client gets null in its place. `[DONE]` alone
//! is no success (vLLM sends it after an error, others always), nor is a clean end of the body: Ollama's
//! OpenAI-style API ends so when its runner died, after a chunk with `"model":""` and no words. That chunk is
//! no sign by itself: Azure OpenAI begins its streams with one like it.

use std::ops::Range;

use bytes::Bytes;
use cutover_units::Code;

use crate::adapt::ReplyPlan;
use crate::endpoint::Endpoint;
use crate::errors::{self, Fault};
use crate::json;
use crate::mint::Mint;
use crate::ollama::lines::Lines;
use crate::openai::chat::Chunk;
use crate::openai::{DONE, completions};
use crate::providers::Dialect;
use crate::reply::{FaultClass, UpstreamFault};
use crate::usage::{Finish, Usage};

mod calls;
mod events;
pub mod halves;
pub mod pacing;
mod shape;
mod sink;
pub mod split;

use events::Events;
pub(crate) use sink::Sink;
use split::{Framing, Splitter};

/// Bounds on what an upstream may make us hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest event or line, in bytes.
    pub event_bytes: usize,
}

impl Default for Limits {
    /// 8 MiB: larger than any real event (an image as base64), small beside a server's memory.
    fn default() -> Self {
        Self { event_bytes: 8 * 1024 * 1024 }
    }
}

/// What a reader of events works with: the plan, the names the client shall see, and what was seen.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) plan: ReplyPlan,
    pub(crate) mint: Mint,
    pub(crate) seen: Seen,
}

impl Context {
    /// The usage; where it was not asked for and not told, an estimate once the answer has ended. A
    /// chunk is a token, more or less.
    fn usage(&self) -> Option<Usage> {
        let estimate = || {
            let prompt = self.plan.unasked_prompt_tokens.filter(|_| self.seen.finish.is_some())?;
            Some(Usage { estimated: true, ..Usage::new(prompt, self.seen.content_chunks) })
        };
        self.seen.usage.or_else(estimate)
    }

    /// The event that tells the estimate, if the client is to have one.
    fn estimate_event(&self) -> Option<Bytes> {
        let untold = self.plan.tells_estimate && self.seen.usage.is_none();
        let usage = self.usage().filter(|_| untold)?;
        let text = match self.plan.endpoint {
            Endpoint::Completions => {
                json::to_vec(&completions::Completion::new(&self.mint, Vec::new(), Some(usage)))
            }
            _ => json::to_vec(&Chunk::usage(&self.mint, Some(usage))),
        };
        Some(Bytes::from([b"data: ", text.as_slice(), b"\n\n"].concat()))
    }
}

/// What a tap has seen so far.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) first_content: bool,
    pub(crate) content_chunks: u64,
    pub(crate) usage: Option<Usage>,
    pub(crate) finish: Option<Finish>,
    pub(crate) choices: Choices,
    /// A finish reason was an empty word.
    pub(crate) empty_reason: bool,
    pub(crate) prompt_truncated: bool,
    /// Calls came without an index, and were numbered.
    pub(crate) numbered_calls: bool,
}

impl Seen {
    /// Whether `[DONE]` may be taken at its word: whatever has begun has ended.
    fn may_be_done(&self, plan: &ReplyPlan) -> bool {
        // Of one choice the events between are not all read.
        self.finish.is_some() && (plan.n <= 1 || self.choices.begun & !self.choices.ended == 0)
    }
}

/// Which choices have begun and ended, a bit for each. An end of the body without `[DONE]` is success only if
/// as many have ended as were asked for; with it, those count that have begun, for servers that give one
/// choice only.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Choices {
    begun: u128,
    ended: u128,
}

impl Choices {
    pub(crate) fn note(&mut self, index: u64, ended: bool) {
        let bit = 1 << index.min(127);
        self.begun |= bit;
        if ended {
            self.ended |= bit;
        }
    }

    pub(crate) fn ended(&self) -> u32 {
        self.ended.count_ones()
    }
}

/// What became of one event.
pub(crate) enum Step {
    /// The stream goes on.
    Open,
    /// `[DONE]` was seen, after success.
    Ended,
}

/// Follows one stream.
#[derive(Debug)]
pub struct Tap {
    context: Context,
    splitter: Splitter,
    records: Vec<Range<usize>>,
    reader: Reader,
    ended: bool,
    cut: bool,
}

#[derive(Debug)]
enum Reader {
    OpenAi(Events),
    Ollama(Lines),
}

impl Tap {
    /// A tap for one answer.
    pub fn new(plan: ReplyPlan, mint: Mint, limits: Limits) -> Self {
        let (framing, reader) = match plan.provider.dialect {
            Dialect::OpenAi | Dialect::Anthropic | Dialect::Gemini => {
                (Framing::Events, Reader::OpenAi(Events::default()))
            }
            Dialect::Ollama => (Framing::Lines, Reader::Ollama(Lines::of(&plan, &mint))),
        };
        Self {
            context: Context { plan, mint, seen: Seen::default() },
            splitter: Splitter::new(framing, limits.event_bytes),
            records: Vec::new(),
            reader,
            ended: false,
            cut: false,
        }
    }

    /// Takes a frame from the upstream and appends what the client shall get to `out`.
    ///
    /// On an error, what `out` got still belongs to the client (if anything was sent to it at all);
    /// an error event ([`error_event`]) may follow it. Frames after `[DONE]` or an error are ignored.
    pub fn push(&mut self, frame: Bytes, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        if self.ended {
            return Ok(());
        }
        let mut records = std::mem::take(&mut self.records);
        let (whole, fits) = self.splitter.feed(frame, &mut records);
        let result = self.records_of(&whole, &records, out).and_then(|()| match fits {
            Err(split::TooLong) if !self.ended => {
                Err(UpstreamFault::unreadable("an event is too long"))
            }
            _ => Ok(()),
        });
        self.records = records;
        if result.is_err() && self.close(out) {
            self.cut = true;
            return Ok(());
        }
        self.settle(result)
    }

    /// The body has ended. Appends what is missing (`[DONE]`), or tells that the stream broke off.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) -> Result<(), UpstreamFault> {
        if self.ended {
            return Ok(());
        }
        let rest = self.splitter.rest();
        if !rest.trim_ascii().is_empty() {
            // The last event lacks its end mark: the client shall get it with one.
            let whole = Bytes::from([&rest[..], b"\n\n"].concat());
            let all = 0..whole.len();
            match self.records_of(&whole, &[all], out) {
                Err(fault) if self.is_whole() || fault.class == FaultClass::Unreadable => {
                    self.cut = true;
                }
                result => self.settle(result)?,
            }
        }
        if self.ended {
            return Ok(());
        }
        let result = if self.close(out) { Ok(()) } else { Err(broken_off(&self.context.seen)) };
        self.settle(result)
    }

    fn is_whole(&self) -> bool {
        let seen = &self.context.seen;
        seen.finish.is_some() && seen.choices.ended() >= self.context.plan.n
    }

    /// Appends the end of an answer that is whole. False: it is not.
    fn close(&mut self, out: &mut Vec<Bytes>) -> bool {
        let is_whole = self.is_whole() && !self.ended;
        if is_whole {
            self.ended = true;
            out.extend(self.context.estimate_event());
            out.push(DONE);
        }
        is_whole
    }

    /// Whether any content (text, reasoning, tool call) has come. Until then another upstream may be
    /// asked instead, if nothing was sent to the client.
    pub fn first_content_seen(&self) -> bool {
        self.context.seen.first_content
    }

    /// The tokens used, once the upstream has told; see [`ReplyPlan::unasked_prompt_tokens`] for those
    /// that are not asked.
    pub fn usage(&self) -> Option<Usage> {
        self.context.usage()
    }

    /// Why the answer ended, once it has.
    pub fn finish_reason(&self) -> Option<Finish> {
        self.context.seen.finish
    }

    /// How many chunks carried content; engines send one per token, more or less.
    pub fn content_chunks(&self) -> u64 {
        self.context.seen.content_chunks
    }

    /// Whether the stream has ended well: the client has its `[DONE]`.
    pub fn ended_well(&self) -> bool {
        self.ended && self.context.seen.finish.is_some()
    }

    /// Whether trouble came after the answer's end, and was left out.
    pub fn was_cut(&self) -> bool {
        self.cut
    }

    /// Whether calls came without an index, and were numbered here.
    pub fn numbered_calls(&self) -> bool {
        self.context.seen.numbered_calls
    }

    /// What has come of Ollama's own lines for a client that speaks its API ([`ReplyPlan::own`]). `None`: the client
    /// gets what was put out.
    pub fn take_own(&mut self) -> Option<Vec<Bytes>> {
        match &mut self.reader {
            Reader::Ollama(lines) => lines.take_own(),
            Reader::OpenAi(_) => None,
        }
    }

    /// Whether the upstream seems to have cut the prompt (see [`crate::reply::Reply`]).
    pub fn prompt_truncated(&self) -> bool {
        self.context.seen.prompt_truncated
    }

    fn records_of(
        &mut self,
        whole: &Bytes,
        records: &[Range<usize>],
        out: &mut Vec<Bytes>,
    ) -> Result<(), UpstreamFault> {
        let mut sink = Sink::new(whole);
        let mut result = Ok(());
        for range in records {
            let step = match &mut self.reader {
                Reader::OpenAi(events) => events.event(&mut self.context, range.clone(), &mut sink),
                Reader::Ollama(lines) => lines.line(&mut self.context, range.clone(), &mut sink),
            };
            match step {
                Ok(Step::Open) => {}
                Ok(Step::Ended) => {
                    self.ended = true;
                    break;
                }
                Err(fault) => {
                    result = Err(fault);
                    break;
                }
            }
        }
        sink.finish(out);
        result
    }

    /// After an error nothing more is read. Whether it broke a stream off, and whether another upstream may still be
    /// asked, is for those to say who know what was sent.
    fn settle(&mut self, result: Result<(), UpstreamFault>) -> Result<(), UpstreamFault> {
        result.inspect_err(|_| {
            self.ended = true;
            self.context.seen.finish = None;
        })
    }
}

/// The code is that of an answer that is none.
fn broken_off(seen: &Seen) -> UpstreamFault {
    let mut message = "the upstream ended the stream before the answer was complete".to_owned();
    if seen.empty_reason && seen.finish.is_none() {
        message.push_str(": its finish_reason was empty to the end");
    }
    UpstreamFault {
        fault: Fault::new(Code::BadGateway, message),
        class: FaultClass::Failed,
        failover_ok: true,
        retry_after_ms: None,
        said: None,
    }
}

/// An error inside a stream, in the form that the official SDKs raise as an API error.
pub fn error_event(fault: &Fault) -> Bytes {
    let body = errors::body(fault);
    Bytes::from([b"data: ", &body[..], b"\n\n"].concat())
}

#[cfg(test)]
mod tests;
