//! Streams in this dialect: blocks, one after another.

use bytes::Bytes;
use cutover_wire::openai::chat::TokenLogprob;
use cutover_wire::{Fault, Finish, Usage};
use memchr::memmem;

use super::answer::{write_stop, write_usage};
use super::envelope;
use crate::chat::{self, End};
use crate::inbound::Moment;
use crate::sequence::{Closed, Kind, Opened, Parts};
use crate::stream::{Writer, event};
use crate::write::{self, Json};

// Whoever sends a conversation to Anthropic leaves blocks with this signature out.
pub(super) use cutover_wire::own::SIGNATURE;

const STOP: &str = r#"{"type":"message_stop"}"#;

/// Writes the events.
pub(crate) struct Events {
    id: String,
    index: u64,
    refused: bool,
    /// Whether an upstream's own events told the message's end.
    stopped: bool,
}

impl Events {
    pub(crate) fn new(id: String) -> Self {
        Self { id, index: 0, refused: false, stopped: false }
    }
}

impl Writer for Events {
    fn begin(&mut self, model: &str, out: &mut String) {
        // What the prompt took is known at the end only; zero here, and the sum in message_delta.
        let data = write::object(|j| {
            j.put("type", "message_start");
            j.put_object("message", |j| {
                j.put("id", &self.id);
                j.put("type", "message");
                j.put("role", "assistant");
                j.put("model", model);
                j.put_array("content", |_| {});
                j.key("stop_reason").null();
                j.key("stop_sequence").null();
                j.put_object("usage", |j| write_usage(j, &Usage::default()));
            });
        });
        event(out, "message_start", &data);
        event(out, "ping", r#"{"type":"ping"}"#);
    }

    fn parts<'s>(&'s mut self, _: Moment, out: &'s mut String) -> Box<dyn Parts + 's> {
        Box::new(Blocks { events: self, out })
    }

    fn ping(&mut self, _: Moment, out: &mut String) {
        event(out, "ping", r#"{"type":"ping"}"#);
    }

    fn end(&mut self, end: &End, _: Moment, out: &mut String) {
        let mut end = end.clone();
        if self.refused {
            end.finish = Finish::ContentFilter;
        }
        let data = write::object(|j| {
            j.put("type", "message_delta");
            j.put_object("delta", |j| write_stop(j, &end));
            j.put_object("usage", |j| write_usage(j, &end.usage));
        });
        event(out, "message_delta", &data);
        event(out, "message_stop", STOP);
    }

    fn pass(&mut self, event: Bytes, out: &mut Vec<Bytes>) {
        self.stopped |= memmem::find(&event, b"\"message_stop\"").is_some();
        out.push(event);
    }

    fn passed(&mut self, out: &mut String) {
        if !self.stopped {
            event(out, "message_stop", STOP);
        }
    }

    fn fail(&mut self, fault: &Fault, _: Moment, out: &mut String) {
        event(out, "error", &envelope(fault, None));
    }
}

struct Blocks<'s> {
    events: &'s mut Events,
    out: &'s mut String,
}

impl Blocks<'_> {
    fn event(&mut self, name: &str, fill: impl FnOnce(&mut Json)) {
        let data = write::object(|j| {
            j.put("type", name);
            j.put_number("index", self.events.index);
            fill(j);
        });
        event(self.out, name, &data);
    }

    fn piece(&mut self, kind: &str, member: &str, text: &str) {
        self.event("content_block_delta", |j| {
            j.put_object("delta", |j| {
                j.put("type", kind);
                j.put(member, text);
            });
        });
    }
}

impl Parts for Blocks<'_> {
    fn open(&mut self, part: &Opened<'_>) -> Result<(), Fault> {
        self.event("content_block_start", |j| {
            j.put_object("content_block", |j| match part.kind {
                Kind::Reasoning => {
                    j.put("type", "thinking");
                    j.put("thinking", "");
                    j.put("signature", "");
                }
                Kind::Hidden => {
                    j.put("type", "redacted_thinking");
                    j.put("data", part.name);
                }
                Kind::Text | Kind::Refusal => {
                    j.put("type", "text");
                    j.put("text", "");
                }
                Kind::Call(_) => {
                    j.put("type", "tool_use");
                    j.put("id", part.id);
                    j.put("name", part.name);
                    j.put_object("input", |_| {});
                }
            });
        });
        Ok(())
    }

    fn delta(&mut self, kind: &Kind, text: &str, _: &[TokenLogprob]) {
        match kind {
            Kind::Reasoning => self.piece("thinking_delta", "thinking", text),
            Kind::Text | Kind::Refusal => self.piece("text_delta", "text", text),
            Kind::Call(_) => self.piece("input_json_delta", "partial_json", text),
            Kind::Hidden => {}
        }
    }

    fn close(&mut self, part: &Closed<'_>) -> Result<(), Fault> {
        match part.kind {
            Kind::Reasoning => {
                let signature = part.signature.unwrap_or(SIGNATURE);
                self.piece("signature_delta", "signature", signature);
            }
            Kind::Refusal => self.events.refused = true,
            Kind::Call(_) if !part.cut && chat::arguments_object(part.text).is_none() => {
                return Err(chat::bad_arguments());
            }
            _ => {}
        }
        self.event("content_block_stop", |_| {});
        self.events.index += 1;
        Ok(())
    }
}
