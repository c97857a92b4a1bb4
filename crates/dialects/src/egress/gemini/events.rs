//! From Gemini's stream to chunks of the OpenAI dialect.
//!
//! Each event is an answer with the parts that are new; the last one of a candidate has its
//! `finishReason`. There is no terminal event: a stream is whole if every candidate that began has
//! ended when the body does.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use cutover_units::{Code, Millis};
use cutover_wire::openai::DONE;
use cutover_wire::stream::split::{Event, Framing, Splitter};
use cutover_wire::{Fault, Usage, errors};
use serde_json::Value;

use super::answer::{Answer, Candidate, Piece, finish, refusal, write_logprobs};
use super::error::fault_of;
use crate::chat;
use crate::write::{self, Json};

/// The longest event taken from the upstream.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// How far one candidate is.
#[derive(Default)]
struct Progress {
    calls: u64,
    ended: bool,
}

/// Turns one stream. What it gives ends with `[DONE]` if every candidate ended; else it just ends, or
/// ends with an error event, and the reader knows it for broken. No `Debug`: it holds the answer.
pub struct EventsIn {
    splitter: Splitter,
    records: Vec<Range<usize>>,
    created: u64,
    id: String,
    model: String,
    candidates: BTreeMap<u64, Progress>,
    usage: Option<Usage>,
    over: bool,
}

impl EventsIn {
    /// A stream that begins now.
    pub fn new(created: Millis) -> Self {
        Self {
            splitter: Splitter::new(Framing::Events, EVENT_BYTES_MAX),
            records: Vec::new(),
            created: created.0 / 1_000,
            id: String::new(),
            model: String::new(),
            candidates: BTreeMap::new(),
            usage: None,
            over: false,
        }
    }

    /// Takes bytes from the upstream and appends events of the OpenAI dialect.
    pub fn push(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        let mut text = String::new();
        let mut records = std::mem::take(&mut self.records);
        let (whole, fits) = self.splitter.feed(frame, &mut records);
        for range in &records {
            self.record(whole.get(range.clone()).unwrap_or_default(), &mut text);
        }
        if fits.is_err() && !self.over {
            self.fail(&chat::unreadable(), &mut text);
        }
        self.records = records;
        put(text, out);
    }

    /// The body ended: what is left is read, and a whole answer is closed.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) {
        let rest = self.splitter.rest();
        let mut text = String::new();
        self.record(&rest, &mut text);
        let ended = !self.candidates.is_empty() && self.candidates.values().all(|c| c.ended);
        if !self.over && ended {
            self.over = true;
            let usage = serde_json::to_string(&self.usage.unwrap_or_default());
            let usage = usage.unwrap_or_else(|_| "null".to_owned());
            self.chunk(&mut text, Some(&usage), |_| {});
            text.push_str(&String::from_utf8_lossy(&DONE));
        }
        put(text, out);
    }

    fn record(&mut self, record: &[u8], out: &mut String) {
        if self.over {
            return;
        }
        let event = Event::read(record);
        let data = event.data.bytes().trim_ascii();
        if data.is_empty() {
            if record.starts_with(b":") {
                out.push_str(": ping\n\n");
            }
            return;
        }
        let text = std::str::from_utf8(data).unwrap_or_default();
        if let Some(fault) = error_in(text) {
            return self.fail(&fault, out);
        }
        match Answer::read(text) {
            Ok(answer) => {
                if let Err(fault) = self.answer(answer, out) {
                    self.fail(&fault, out);
                }
            }
            Err(_) => self.fail(&chat::unreadable(), out),
        }
    }

    fn fail(&mut self, fault: &Fault, out: &mut String) {
        self.over = true;
        out.push_str("data: ");
        out.push_str(&String::from_utf8_lossy(&errors::body(fault)));
        out.push_str("\n\n");
    }

    fn answer(&mut self, answer: Answer, out: &mut String) -> Result<(), Fault> {
        // The first piece names the answer; the others repeat it.
        if self.id.is_empty() {
            self.id = answer.id;
        }
        if self.model.is_empty() {
            self.model = answer.model;
        }
        self.usage = answer.usage.or(self.usage);
        if let Some(reason) = answer.blocked.filter(|_| answer.candidates.is_empty()) {
            self.begin(0, out);
            self.delta(0, out, |j| j.put("refusal", &refusal(&reason)));
            self.end(0, "content_filter", out);
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
                    self.chunk(out, None, |j| {
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
                Piece::Call(call) => {
                    let progress = self.candidates.entry(index).or_default();
                    let number = progress.calls;
                    progress.calls += 1;
                    let id = self.id.clone();
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
        let Some(reason) = &candidate.finish else { return Ok(()) };
        let called = self.candidates.get(&index).is_some_and(|c| c.calls > 0);
        let reason = finish(reason, called)?;
        self.end(index, reason, out);
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

    fn end(&mut self, index: u64, reason: &str, out: &mut String) {
        let progress = self.candidates.entry(index).or_default();
        if std::mem::replace(&mut progress.ended, true) {
            return;
        }
        self.chunk(out, None, |j| {
            j.put_number("index", index);
            j.put_object("delta", |_| {});
            j.put("finish_reason", reason);
        });
    }

    fn delta(&self, index: u64, out: &mut String, fill: impl FnOnce(&mut Json)) {
        self.chunk(out, None, |j| {
            j.put_number("index", index);
            j.put_object("delta", fill);
            j.key("finish_reason").null();
        });
    }

    /// One chunk; with a usage it has no choice.
    fn chunk(&self, out: &mut String, usage: Option<&str>, fill: impl FnOnce(&mut Json)) {
        let data = write::object(|j| {
            j.put("id", &self.id);
            j.put("object", "chat.completion.chunk");
            j.put_number("created", self.created);
            j.put("model", &self.model);
            j.put_array("choices", |j| {
                if usage.is_none() {
                    j.object(fill);
                }
            });
            if let Some(usage) = usage {
                j.put_raw("usage", Some(usage));
            }
        });
        out.push_str("data: ");
        out.push_str(&data);
        out.push_str("\n\n");
    }
}

/// The error that an event tells, if it is one. It has a status of its own.
fn error_in(text: &str) -> Option<Fault> {
    if !text.contains("\"error\"") {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let error = value.get(0).unwrap_or(&value).get("error")?;
    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    let fault = fault_of(&value, status);
    // The request itself was taken: what goes wrong later is the upstream's fault.
    let code = if fault.code == Code::InvalidRequest { Code::BadGateway } else { fault.code };
    Some(Fault { code, ..fault })
}

fn put(text: String, out: &mut Vec<Bytes>) {
    if !text.is_empty() {
        out.push(Bytes::from(text));
    }
}
