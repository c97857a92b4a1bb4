//! Streams: from lines of NDJSON to events of the client's dialect.

use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use super::answer::{Part, named, spoken_call, whole};
use super::spoken;
use crate::adapt::ReplyPlan;
use crate::endpoint::Endpoint;
use crate::mint::Mint;
use crate::openai::chat::{CallOut, Chunk, ChunkChoice, Delta, Logprobs};
use crate::openai::{DONE, completions, event};
use crate::own::ollama::Passing;
use crate::reply::UpstreamFault;
use crate::stream::{Context, Sink, Step};
use crate::usage::{Finish, Usage};

/// Reads lines and writes chunks. Its `Debug` shows none of the text.
#[derive(Default)]
pub(crate) struct Lines {
    /// Our names, once the first line has told the model's.
    mint: Option<Mint>,
    calls: u32,
    /// Characters of text so far: offsets of log-probabilities count on.
    offset: u64,
    /// Text that may yet become a tool call.
    held: String,
    /// Whether text is held back no more.
    speaks: bool,
    /// The call that the text was.
    spoken: Option<CallOut>,
    /// The lines themselves, for a client that speaks Ollama's API.
    own: Option<Passing>,
}

impl fmt::Debug for Lines {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lines").field("calls", &self.calls).finish_non_exhaustive()
    }
}

impl Lines {
    /// For one answer.
    pub(crate) fn of(plan: &ReplyPlan, mint: &Mint) -> Self {
        Self { own: Passing::of(plan, mint), ..Self::default() }
    }

    /// The lines that are ready for a client of Ollama's API; `None`: the client is none.
    pub(crate) fn take_own(&mut self) -> Option<Vec<Bytes>> {
        self.own.as_mut().map(Passing::take)
    }

    /// A line goes on as it is, or is held back like its text.
    fn pass(&mut self, line: impl FnOnce() -> Bytes) {
        let Some(own) = &mut self.own else { return };
        match self.spoken.take() {
            Some(call) => own.pass_call(line(), &call),
            None if self.held.is_empty() => own.pass(line()),
            None => own.hold(line()),
        }
    }

    /// Reads one line and puts its events.
    pub(crate) fn line(
        &mut self,
        context: &mut Context,
        range: Range<usize>,
        sink: &mut Sink<'_>,
    ) -> Result<Step, UpstreamFault> {
        let text = sink.part(range.clone()).trim_ascii();
        if text.is_empty() {
            return Ok(Step::Open);
        }
        let mut part = Part::read(&context.plan, text)?;
        let chat = context.plan.endpoint != Endpoint::Completions;
        let first = self.mint.is_none();
        // Taken out while the line is read, so that chunks borrow it; put back at the end.
        let mint = self
            .mint
            .take()
            .unwrap_or_else(|| named(&context.plan, &context.mint, part.model.as_deref()));
        if first && chat {
            sink.write(&event(&Chunk::of(&mint, ChunkChoice::delta(Delta::role()))));
        }
        let said = if chat {
            self.chat_chunk(&mut part, (&mint, &context.plan.spoken_tools), sink)
        } else {
            self.text_chunk(&mut part, &mint, sink)
        };
        if said {
            context.seen.first_content = true;
            context.seen.content_chunks += 1;
        }
        if !part.done {
            self.pass(|| sink.slice(range));
            self.mint = Some(mint);
            return Ok(Step::Open);
        }
        let Context { plan, seen, .. } = context;
        let finish = part.finish(self.calls > 0);
        let usage = part.usage(plan, seen.content_chunks);
        seen.usage = Some(usage);
        seen.prompt_truncated = whole(plan, &usage)?;
        self.pass(|| sink.slice(range));
        seen.finish = Some(finish);
        seen.choices.note(0, true);
        for last in closing(plan, &mint, finish, usage) {
            sink.write(&last);
        }
        Ok(Step::Ended)
    }

    fn chat_chunk(
        &mut self,
        part: &mut Part,
        (mint, tools): (&Mint, &[String]),
        sink: &mut Sink<'_>,
    ) -> bool {
        let mut tool_calls = part.calls(mint, self.calls);
        let mut content = Some(part.text());
        if !tools.is_empty() && !self.speaks {
            self.held.push_str(&content.take().unwrap_or_default());
            let may = tool_calls.is_empty()
                && part.logprobs.is_none()
                && spoken::may_become(&self.held, tools);
            if part.done && may && self.calls == 0 {
                let call = spoken::call(&self.held, tools);
                self.spoken = call.map(|spoken| spoken_call(spoken, mint));
                tool_calls.extend(self.spoken.clone());
            }
            self.speaks = !may;
            if !tool_calls.is_empty() && part.done && may {
                self.held.clear();
            } else if !may || part.done {
                content = Some(std::mem::take(&mut self.held));
            }
        }
        let content = content.filter(|text| !text.is_empty());
        let reasoning_content = part.thinking();
        self.calls += u32::try_from(tool_calls.len()).unwrap_or(0);
        if content.is_none() && reasoning_content.is_none() && tool_calls.is_empty() {
            return false;
        }
        let logprobs = part.logprobs.take().map(Logprobs::new);
        let delta = Delta { role: None, content, reasoning_content, tool_calls };
        let choice = ChunkChoice { logprobs, ..ChunkChoice::delta(delta) };
        sink.write(&event(&Chunk::of(mint, choice)));
        true
    }

    fn text_chunk(&mut self, part: &mut Part, mint: &Mint, sink: &mut Sink<'_>) -> bool {
        let text = part.text();
        if text.is_empty() {
            return false;
        }
        let logprobs = part.logprobs.take().map(|list| {
            let (legacy, next) = completions::Logprobs::from_chat(&list, self.offset);
            self.offset = next;
            legacy
        });
        let choice = completions::Choice { text, index: 0, logprobs, finish_reason: None };
        sink.write(&event(&completions::Completion::new(mint, vec![choice], None)));
        true
    }
}

/// The events that end a stream: the finish, the usage if it is wanted, `[DONE]`.
fn closing(plan: &ReplyPlan, mint: &Mint, finish: Finish, usage: Usage) -> Vec<Bytes> {
    let (last, counts) = if plan.endpoint == Endpoint::Completions {
        let (text, logprobs) = (String::new(), None);
        let last = completions::Choice { text, index: 0, logprobs, finish_reason: Some(finish) };
        (
            event(&completions::Completion::new(mint, vec![last], None)),
            event(&completions::Completion::new(mint, vec![], Some(usage))),
        )
    } else {
        (
            event(&Chunk::of(mint, ChunkChoice::finish(finish))),
            event(&Chunk::usage(mint, Some(usage))),
        )
    };
    if plan.include_usage { vec![last, counts, DONE] } else { vec![last, DONE] }
}
