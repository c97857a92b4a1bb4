//! Streams: from events of the OpenAI dialect to the client's, chunk by chunk.
//!
//! ```text
//!           first event or comment       finish_reason, [DONE]
//!   new ───────────────────────▶ begun ───────────────────────▶ ended
//!                                  │ error event, unreadable event, end without [DONE]
//!                                  ▼
//!                                failed (the dialect's error; never an end that looks like success)
//! ```
//!
//! What goes in is what cutover would send to a client of chat completions: its comments (which keep a
//! silent connection alive) become the dialect's own sign of life, its error events the dialect's
//! errors. Where the bytes are cut does not matter.

use std::ops::Range;

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::stream::halves::Joiner;
use cutover_wire::stream::split::{Data, Event, Framing, Splitter};
use cutover_wire::{Fault, Loss, Usage};

use crate::answer::{EVENTS, JSON, LINES};
use crate::chat::{self, End};
use crate::inbound::{Back, Moment, WayBack};
use crate::responses::Stored;
use crate::sampled::Sent;
use crate::sequence::{Parts, Sequence};
use crate::{anthropic, gemini, ollama, responses};

/// Writes a stream in a client's dialect.
pub(crate) trait Writer: Send {
    /// What of the request was sent, for what an answer repeats of it.
    fn was_sent(&mut self, _: Sent<'_>) {}
    /// The stream begins; `model` is the one that answers.
    fn begin(&mut self, model: &str, out: &mut String);
    /// Where parts are written.
    fn parts<'s>(&'s mut self, now: Moment, out: &'s mut String) -> Box<dyn Parts + 's>;
    /// A sign of life.
    fn ping(&mut self, now: Moment, out: &mut String);
    /// The stream ends well.
    fn end(&mut self, end: &End, now: Moment, out: &mut String);
    /// The stream ends in an error.
    fn fail(&mut self, fault: &Fault, now: Moment, out: &mut String);
    /// Whether a sign of life needs a beginning.
    fn begins_to_ping(&self) -> bool {
        true
    }
    /// Whether an upstream's own events may follow what was written here.
    fn can_be_followed(&self) -> bool {
        false
    }
    /// An event of an upstream that speaks this dialect, as the client gets it.
    fn pass(&mut self, event: Bytes, out: &mut Vec<Bytes>) {
        out.push(event);
    }
    /// The upstream's own events have ended well.
    fn passed(&mut self, _: &mut String) {}
    /// What shall be stored of an answer that ended well.
    fn stored(&mut self) -> Option<Stored> {
        None
    }
}

/// The longest event taken from the gateway: as long as it takes from an upstream.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Begun,
    Ended,
    Failed,
}

/// Turns one stream. No `Debug`: it holds the answer.
pub struct StreamOut {
    writer: Box<dyn Writer>,
    content_type: &'static str,
    model: String,
    splitter: Splitter,
    records: Vec<Range<usize>>,
    halves: Joiner,
    sequence: Sequence,
    end: End,
    finished: bool,
    state: State,
    fault: Option<Fault>,
}

impl StreamOut {
    pub(crate) fn new(back: WayBack) -> Self {
        let names = (back.model.clone(), back.id.clone());
        let model = back.model.clone();
        let answer_id = back.answer_id();
        let content_type = match back.kind {
            Back::Ollama(_) => LINES,
            Back::Gemini(gemini::Shape::Content { events: false, .. }) => JSON,
            _ => EVENTS,
        };
        let writer: Box<dyn Writer> = match back.kind {
            Back::Anthropic => Box::new(anthropic::Events::new(answer_id)),
            Back::Responses(echo) => {
                Box::new(responses::Events::new(*echo, answer_id, (back.id, back.created)))
            }
            Back::Ollama(shape) => Box::new(ollama::Lines::new(shape, model.clone())),
            Back::Gemini(shape) => Box::new(gemini::Chunks::new(shape, (model.clone(), back.id))),
        };
        Self { content_type, ..Self::with(writer, names) }
    }

    /// Written by this, with the model's name and the request's id.
    pub(crate) fn with(writer: Box<dyn Writer>, (model, id): (String, String)) -> Self {
        Self {
            writer,
            content_type: EVENTS,
            model,
            splitter: Splitter::new(Framing::Events, EVENT_BYTES_MAX),
            records: Vec::new(),
            halves: Joiner::default(),
            sequence: Sequence::new(id),
            end: End::default(),
            finished: false,
            state: State::New,
            fault: None,
        }
    }

    /// The stream's content type.
    pub fn content_type(&self) -> &'static str {
        self.content_type
    }

    /// Tells what of the request was sent: before what comes of it is pushed.
    pub fn was_sent(&mut self, sent: Sent<'_>) {
        self.writer.was_sent(sent);
    }

    /// Takes bytes of the OpenAI dialect and appends what the client shall get.
    pub fn push(&mut self, frame: Bytes, now: Moment, out: &mut Vec<Bytes>) {
        if self.is_over() {
            return;
        }
        let mut text = String::new();
        let mut records = std::mem::take(&mut self.records);
        let (whole, fits) = self.splitter.feed(frame, &mut records);
        for range in &records {
            let record = whole.get(range.clone()).unwrap_or_default();
            self.record(record, now, &mut text);
        }
        if fits.is_err() && !self.is_over() {
            self.failed(&chat::unreadable(), now, &mut text);
        }
        self.records = records;
        put(text, out);
    }

    /// The body ended. Without `[DONE]` before, the client gets an error: a clean end would tell it that
    /// the answer is whole.
    pub fn finish(&mut self, now: Moment, out: &mut Vec<Bytes>) {
        let mut text = String::new();
        if !self.is_over() {
            let rest = self.splitter.rest();
            self.record(&rest, now, &mut text);
        }
        if !self.is_over() {
            let message = "the stream broke off before the answer was complete";
            self.failed(&Fault::new(Code::StreamInterrupted, message), now, &mut text);
        }
        put(text, out);
    }

    /// Whether the events of an upstream that speaks the client's dialect may pass: nothing was written that they
    /// would contradict.
    pub fn can_pass(&self) -> bool {
        self.state == State::New || self.writer.can_be_followed()
    }

    /// Passes an event of the client's own dialect.
    pub fn pass(&mut self, event: Bytes, out: &mut Vec<Bytes>) {
        if !self.is_over() {
            self.state = State::Begun;
            self.writer.pass(event, out);
        }
    }

    /// The events that were passed have ended well.
    pub fn passed(&mut self, out: &mut Vec<Bytes>) {
        let mut text = String::new();
        if !self.is_over() {
            self.writer.passed(&mut text);
            self.state = State::Ended;
        }
        put(text, out);
    }

    /// Ends the stream with an error.
    pub fn error(&mut self, fault: &Fault, now: Moment, out: &mut Vec<Bytes>) {
        let mut text = String::new();
        if !self.is_over() {
            self.failed(fault, now, &mut text);
        }
        put(text, out);
    }

    /// Whether nothing more will come.
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Ended | State::Failed)
    }

    /// Why the stream ended in an error, if it did.
    pub fn failure(&self) -> Option<Code> {
        self.fault().map(|fault| fault.code)
    }

    pub(crate) fn fault(&self) -> Option<&Fault> {
        self.fault.as_ref()
    }

    /// What the client's dialect has no room for.
    pub fn losses(&self) -> &[Loss] {
        self.sequence.lost().list()
    }

    /// What shall be stored, once the stream has ended well and if the client wants it stored.
    pub fn take_stored(&mut self) -> Option<Stored> {
        if self.state == State::Ended { self.writer.stored() } else { None }
    }

    fn record(&mut self, record: &[u8], now: Moment, out: &mut String) {
        if self.is_over() {
            return;
        }
        let event = Event::read(record);
        let data = event.data.bytes().trim_ascii();
        if data.is_empty() {
            if event.data == Data::None && record.starts_with(b":") {
                if self.writer.begins_to_ping() {
                    self.begin(out);
                }
                self.writer.ping(now, out);
            }
            return;
        }
        if let Err(fault) = self.event(data, now, out) {
            self.failed(&fault, now, out);
        }
    }

    fn begin(&mut self, out: &mut String) {
        if self.state == State::New {
            self.state = State::Begun;
            let model = std::mem::take(&mut self.model);
            self.writer.begin(&model, out);
        }
    }

    fn event(&mut self, data: &[u8], now: Moment, out: &mut String) -> Result<(), Fault> {
        if data.starts_with(b"[DONE]") {
            if !self.finished {
                let message = "the stream ended without a finish reason";
                return Err(Fault::new(Code::StreamInterrupted, message));
            }
            return self.ended(now, out);
        }
        let joined = self.halves.joined(data);
        let chunk = chat::read(joined.as_deref().unwrap_or(data))?;
        if let Some(model) = chunk.model.filter(|m| !m.is_empty() && self.state == State::New) {
            self.model = model.into_owned();
        }
        self.begin(out);
        let told = Usage::and_then_told(Some(self.end.usage), chunk.usage);
        self.end.usage = told.unwrap_or_default();
        for mut choice in chunk.choices {
            if choice.index != 0 {
                continue;
            }
            if let Some(finish) = choice.finish_reason {
                self.finished = true;
                self.end.finish = finish;
                self.end.stop_sequence = choice.stop_sequence();
            }
            let mut parts = self.writer.parts(now, out);
            self.sequence.take(&mut choice, &mut *parts)?;
        }
        Ok(())
    }

    fn ended(&mut self, now: Moment, out: &mut String) -> Result<(), Fault> {
        {
            let mut parts = self.writer.parts(now, out);
            self.sequence.end(&self.end, &mut *parts)?;
        }
        self.end.called |= self.sequence.has_calls();
        self.writer.end(&self.end, now, out);
        self.state = State::Ended;
        Ok(())
    }

    fn failed(&mut self, fault: &Fault, now: Moment, out: &mut String) {
        self.begin(out);
        self.writer.fail(fault, now, out);
        self.state = State::Failed;
        self.fault = Some(fault.clone());
    }
}

fn put(text: String, out: &mut Vec<Bytes>) {
    if !text.is_empty() {
        out.push(Bytes::from(text));
    }
}

/// One server-sent event.
pub(crate) fn event(out: &mut String, name: &str, data: &str) {
    out.push_str("event: ");
    out.push_str(name);
    out.push_str("\ndata: ");
    out.push_str(data);
    out.push_str("\n\n");
}
