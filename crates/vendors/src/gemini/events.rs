//! From Gemini's stream to chunks of the OpenAI dialect.
//!
//! Each event is an answer with the parts that are new; the last one of a candidate has its
//! `finishReason`. There is no terminal event: a stream is whole if every candidate that began has
//! ended when the body does.

use std::collections::BTreeMap;

use bytes::Bytes;
use cutover_units::Millis;
use cutover_wire::openai::DONE;
use cutover_wire::{Fault, Loss, Usage};

use super::answer::{
    Answer, Candidate, Piece, finish, refusal, write_finish, write_image, write_logprobs,
};
use super::error::error_in;
use crate::chat;
use crate::feed::{Feed, Teller, Turning, put};
use crate::lost::Lost;
use crate::write::Json;

/// How far one candidate is.
#[derive(Default)]
struct Progress {
    calls: u64,
    ended: bool,
}

/// Turns one stream. What it gives ends with `[DONE]` if every candidate ended; else it just ends, or
/// ends with an error event, and the reader knows it for broken. No `Debug`: it holds the answer.
pub struct EventsIn {
    feed: Feed,
    teller: Teller,
    candidates: BTreeMap<u64, Progress>,
    usage: Option<Usage>,
    lost: Lost,
}

impl Turning for EventsIn {
    fn feed(&mut self) -> &mut Feed {
        &mut self.feed
    }

    fn event(&mut self, data: &[u8], out: &mut String) -> Result<(), Fault> {
        let text = std::str::from_utf8(data).unwrap_or_default();
        if let Some(fault) = error_in(text) {
            return Err(fault);
        }
        let answer = Answer::read(text).map_err(|_| chat::unreadable())?;
        self.answer(answer, out)
    }
}

impl EventsIn {
    /// A stream that begins now.
    pub fn new(created: Millis) -> Self {
        Self {
            feed: Feed::new(),
            teller: Teller::new(created),
            candidates: BTreeMap::new(),
            usage: None,
            lost: Lost::default(),
        }
    }

    /// Takes bytes from the upstream and appends events of the OpenAI dialect.
    pub fn push(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        self.take(frame, out);
    }

    /// How many events have come: comments are none.
    pub fn told(&self) -> u64 {
        self.feed.events
    }

    /// The body ended: what is left is read, and a whole answer is closed.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) {
        let mut text = String::new();
        self.rest(&mut text);
        let ended = !self.candidates.is_empty() && self.candidates.values().all(|c| c.ended);
        if !self.feed.over && ended {
            self.feed.over = true;
            if let Some(usage) = &self.usage {
                self.teller.chunk(&mut text, Some(usage), |_| {});
            }
            text.push_str(&String::from_utf8_lossy(&DONE));
        }
        put(text, out);
    }

    /// What the vendor has told of the usage so far.
    pub fn usage_so_far(&self) -> Option<Usage> {
        self.usage
    }

    /// What of the answer has no place in the OpenAI dialect.
    pub fn losses(&self) -> &[Loss] {
        self.lost.list()
    }

    fn answer(&mut self, answer: Answer, out: &mut String) -> Result<(), Fault> {
        // The first piece names the answer; the others repeat it.
        if self.teller.id.is_empty() {
            self.teller.id = answer.id;
        }
        if self.teller.model.is_empty() {
            self.teller.model = answer.model;
        }
        self.usage = answer.usage.or(self.usage);
        self.lost.and(&answer.lost);
        if let Some(reason) = answer.blocked.filter(|_| answer.candidates.is_empty()) {
            self.begin(0, out);
            self.delta(0, out, |j| j.put("refusal", &refusal(&reason)));
            self.end(0, ("content_filter", ""), out);
        }
        for candidate in answer.candidates {
            self.candidate(&candidate, out)?;
        }
        Ok(())
    }

    fn candidate(&mut self, candidate: &Candidate, out: &mut String) -> Result<(), Fault> {
        let index = candidate.index;
        self.begin(index, out);
        let mut logprobs = candidate.logprobs.as_deref();
        for piece in &candidate.pieces {
            match piece {
                Piece::Text(text) => {
                    let logprobs = logprobs.take();
                    self.teller.chunk(out, None, |j| {
                        j.put_number("index", index);
                        j.put_object("delta", |j| j.put("content", text));
                        if logprobs.is_some() {
                            write_logprobs(j, logprobs);
                        }
                        j.key("finish_reason").null();
                    });
                }
                Piece::Thought(text) => {
                    self.delta(index, out, |j| j.put("reasoning_content", text));
                }
                Piece::Image(url) => {
                    self.delta(index, out, |j| j.put_array("images", |j| write_image(j, url)));
                }
                Piece::Call(call) => {
                    let progress = self.candidates.entry(index).or_default();
                    let number = progress.calls;
                    progress.calls += 1;
                    let id = self.teller.id.clone();
                    self.delta(index, out, |j| {
                        j.put_array("tool_calls", |j| {
                            j.object(|j| {
                                j.put_number("index", number);
                                call.write(j, (&id, number));
                            });
                        });
                    });
                }
            }
        }
        let Some(own) = &candidate.finish else { return Ok(()) };
        let called = self.candidates.get(&index).is_some_and(|c| c.calls > 0);
        let reason = finish(own, called)?;
        self.end(index, (reason, own), out);
        Ok(())
    }

    fn begin(&mut self, index: u64, out: &mut String) {
        if self.candidates.contains_key(&index) {
            return;
        }
        self.candidates.insert(index, Progress::default());
        self.delta(index, out, |j| {
            j.put("role", "assistant");
            j.put("content", "");
        });
    }

    fn end(&mut self, index: u64, (reason, own): (&str, &str), out: &mut String) {
        let progress = self.candidates.entry(index).or_default();
        if std::mem::replace(&mut progress.ended, true) {
            return;
        }
        self.teller.chunk(out, None, |j| {
            j.put_number("index", index);
            j.put_object("delta", |_| {});
            write_finish(j, reason, own);
        });
    }

    fn delta(&self, index: u64, out: &mut String, fill: impl FnOnce(&mut Json)) {
        self.teller.chunk(out, None, |j| {
            j.put_number("index", index);
            j.put_object("delta", fill);
            j.key("finish_reason").null();
        });
    }
}
