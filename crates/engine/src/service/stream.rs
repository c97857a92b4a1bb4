//! Answers as server-sent events.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::openai::chat::{Chunk, ChunkChoice, Delta, Logprobs};
use cutover_wire::openai::{DONE, completions, event};
use cutover_wire::stream::error_event;
use cutover_wire::{Endpoint, Fault};

use super::chat::entries;
use super::job::{self, Running};
use crate::{Done, Event};

/// The events of one answer. Dropping it cancels the work at the next token.
///
/// The choices of a request come one after the other, each under its index. After a failure an error
/// event ends the stream, and there is no `[DONE]`.
pub struct EventStream {
    running: Running,
    ready: VecDeque<Bytes>,
    choice: u32,
    /// Characters of the current choice so far, for the offsets of plain completions.
    offset: u64,
    begun: bool,
    ended: bool,
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventStream").field("choice", &self.choice).finish_non_exhaustive()
    }
}

impl EventStream {
    pub(super) fn new(running: Running) -> Self {
        let ready = VecDeque::new();
        Self { running, ready, choice: 0, offset: 0, begun: false, ended: false }
    }

    /// The next event, whole; none after the last.
    pub async fn next(&mut self) -> Option<Bytes> {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Like [`EventStream::next`], for callers that poll.
    pub fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        loop {
            if let Some(bytes) = self.ready.pop_front() {
                return Poll::Ready(Some(bytes));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            let index = self.choice as usize;
            let Some(generation) = self.running.generations.get_mut(index) else {
                self.end();
                continue;
            };
            match ready!(generation.events.poll_recv(context)) {
                Some(Event::Delta(delta)) => self.delta(&delta),
                Some(Event::Done(done)) => self.finish(done),
                Some(Event::Failed(reason)) => self.fail(Code::Internal, &reason),
                None => self.fail(Code::ShuttingDown, "the engine has stopped"),
            }
        }
    }

    fn begin(&mut self) {
        if !self.begun && self.running.endpoint == Endpoint::ChatCompletions {
            let choice = ChunkChoice { index: self.choice, ..ChunkChoice::delta(Delta::role()) };
            self.ready.push_back(event(&Chunk::of(&self.running.mint, choice)));
        }
        self.begun = true;
    }

    fn delta(&mut self, delta: &crate::Delta) {
        self.begin();
        let entries = entries(&delta.tokens);
        let mint = &self.running.mint;
        let bytes = if self.running.endpoint == Endpoint::ChatCompletions {
            let logprobs = self.running.logprobs.then(|| Logprobs::new(entries));
            let delta = Delta::text(delta.text.as_str());
            let choice = ChunkChoice { index: self.choice, logprobs, ..ChunkChoice::delta(delta) };
            event(&Chunk::of(mint, choice))
        } else {
            let (logprobs, next) = completions::Logprobs::from_chat(&entries, self.offset);
            self.offset = next;
            event(&completions::Completion::new(
                mint,
                vec![completions::Choice {
                    text: delta.text.clone(),
                    index: self.choice,
                    logprobs: self.running.logprobs.then_some(logprobs),
                    finish_reason: None,
                }],
                None,
            ))
        };
        self.ready.push_back(bytes);
    }

    fn finish(&mut self, done: Done) {
        self.begin();
        job::count(&mut self.running.usage, done.usage);
        let reason = job::finish(done.finish);
        let mint = &self.running.mint;
        let bytes = if self.running.endpoint == Endpoint::ChatCompletions {
            let choice = ChunkChoice { index: self.choice, ..ChunkChoice::finish(reason) };
            event(&Chunk::of(mint, choice))
        } else {
            let choice = completions::Choice {
                text: String::new(),
                index: self.choice,
                logprobs: None,
                finish_reason: Some(reason),
            };
            event(&completions::Completion::new(mint, vec![choice], None))
        };
        self.ready.push_back(bytes);
        self.choice += 1;
        self.offset = 0;
        self.begun = false;
    }

    fn end(&mut self) {
        if self.running.include_usage {
            let (mint, usage) = (&self.running.mint, Some(self.running.usage));
            let bytes = if self.running.endpoint == Endpoint::ChatCompletions {
                event(&Chunk::usage(mint, usage))
            } else {
                event(&completions::Completion::new(mint, Vec::new(), usage))
            };
            self.ready.push_back(bytes);
        }
        self.ready.push_back(DONE);
        self.ended = true;
    }

    fn fail(&mut self, code: Code, reason: &str) {
        self.ready.push_back(error_event(&Fault::new(code, reason)));
        self.ended = true;
    }
}
