//! What the turning of vendors' streams shares: bytes are cut into events, comments become signs of life,
//! and what cannot be turned ends the stream with an error event.

use std::ops::Range;

use bytes::Bytes;
use cutover_units::Millis;
use cutover_wire::stream::error_event;
use cutover_wire::stream::split::{Data, Event, Framing, Splitter};
use cutover_wire::{Fault, Usage};

use crate::chat;
use crate::write::{self, Json};

/// The longest event taken from an upstream.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Where a vendor's bytes come in.
pub(crate) struct Feed {
    splitter: Splitter,
    records: Vec<Range<usize>>,
    /// Whether nothing more is taken.
    pub(crate) over: bool,
    /// How many events with data have come.
    pub(crate) events: u64,
}

impl Feed {
    pub(crate) fn new() -> Self {
        let splitter = Splitter::new(Framing::Events, EVENT_BYTES_MAX);
        Self { splitter, records: Vec::new(), over: false, events: 0 }
    }
}

/// A vendor's stream on its way to the OpenAI dialect.
pub(crate) trait Turning {
    fn feed(&mut self) -> &mut Feed;

    /// Turns one event. An error ends the stream.
    fn event(&mut self, data: &[u8], out: &mut String) -> Result<(), Fault>;

    /// Takes bytes from the upstream and appends events of the OpenAI dialect.
    fn take(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        let mut text = String::new();
        let feed = self.feed();
        let mut records = std::mem::take(&mut feed.records);
        let (whole, fits) = feed.splitter.feed(frame, &mut records);
        for range in &records {
            self.record(whole.get(range.clone()).unwrap_or_default(), &mut text);
        }
        if fits.is_err() && !self.feed().over {
            self.fail(&chat::unreadable(), &mut text);
        }
        self.feed().records = records;
        put(text, out);
    }

    /// Reads what is left when the body has ended.
    fn rest(&mut self, out: &mut String) {
        let rest = self.feed().splitter.rest();
        self.record(&rest, out);
    }

    fn record(&mut self, record: &[u8], out: &mut String) {
        if self.feed().over {
            return;
        }
        let event = Event::read(record);
        let data = event.data.bytes().trim_ascii();
        if data.is_empty() {
            if event.data == Data::None && record.starts_with(b":") {
                out.push_str(": ping\n\n");
            }
            return;
        }
        self.feed().events += 1;
        if let Err(fault) = self.event(data, out) {
            self.fail(&fault, out);
        }
    }

    fn fail(&mut self, fault: &Fault, out: &mut String) {
        self.feed().over = true;
        out.push_str(&String::from_utf8_lossy(&error_event(fault)));
    }
}

/// Appends what was written, if anything was.
pub(crate) fn put(text: String, out: &mut Vec<Bytes>) {
    if !text.is_empty() {
        out.push(Bytes::from(text));
    }
}

/// Who answers: what all chunks of a stream repeat.
#[derive(Default)]
pub(crate) struct Teller {
    pub(crate) id: String,
    pub(crate) model: String,
    /// Seconds since 1970.
    pub(crate) created: u64,
}

impl Teller {
    pub(crate) fn new(created: Millis) -> Self {
        Self { created: created.0 / 1_000, ..Self::default() }
    }

    /// One chunk; with a usage it has no choice.
    pub(crate) fn chunk(
        &self,
        out: &mut String,
        usage: Option<&Usage>,
        fill: impl FnOnce(&mut Json),
    ) {
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
                j.put_raw("usage", serde_json::to_string(usage).ok().as_deref());
            }
        });
        out.push_str("data: ");
        out.push_str(&data);
        out.push_str("\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::anthropic::EventsIn;

    #[test]
    fn a_vendors_events_are_told_from_other_signs_of_life() {
        let (mut events, mut out) = (EventsIn::new(Millis(0)), Vec::new());
        let mut told = |piece: &'static str| {
            events.push(Bytes::from_static(piece.as_bytes()), &mut out);
            events.told()
        };
        assert_eq!(told("event: ping\ndata: {\"type\":\"ping\"}\n\n"), 1);
        assert_eq!(told(": alive\n\n\n\nevent: ping\n\ndata: {\"type\":"), 1);
        assert_eq!(told("\"ping\"}\n\n"), 2);
    }
}
