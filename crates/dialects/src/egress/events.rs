//! From Anthropic's events to chunks of the OpenAI dialect.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use cutover_units::{Code, Millis};
use cutover_wire::openai::DONE;
use cutover_wire::stream::split::{Data, Event, Framing, Splitter};
use cutover_wire::{Fault, Usage, errors};
use serde_json::Value;

use super::answer::{fault_of, finish, usage_of};
use crate::chat;
use crate::write::{self, Json};

/// The longest event taken from the upstream.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Turns one stream. What it gives ends with `[DONE]` if the message did; else it just ends, or ends
/// with an error event, and the reader knows it for broken. No `Debug`: it holds the answer.
pub struct EventsIn {
    splitter: Splitter,
    records: Vec<Range<usize>>,
    created: u64,
    id: String,
    model: String,
    /// Tool calls by the index of their block.
    calls: BTreeMap<u64, u64>,
    usage: Value,
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
            calls: BTreeMap::new(),
            usage: Value::Object(serde_json::Map::new()),
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
        if !text.is_empty() {
            out.push(Bytes::from(text));
        }
    }

    /// The body ended: what is left is read.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) {
        let rest = self.splitter.rest();
        let mut text = String::new();
        self.record(&rest, &mut text);
        if !text.is_empty() {
            out.push(Bytes::from(text));
        }
    }

    fn record(&mut self, record: &[u8], out: &mut String) {
        if self.over {
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
        match serde_json::from_slice::<Value>(data) {
            Ok(value) => self.event(&value, out),
            Err(_) => self.fail(&chat::unreadable(), out),
        }
    }

    fn fail(&mut self, fault: &Fault, out: &mut String) {
        self.over = true;
        out.push_str("data: ");
        out.push_str(&String::from_utf8_lossy(&errors::body(fault)));
        out.push_str("\n\n");
    }

    fn event(&mut self, value: &Value, out: &mut String) {
        let index = value["index"].as_u64().unwrap_or(0);
        match value["type"].as_str().unwrap_or_default() {
            "message_start" => {
                let word = |at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default();
                word("/message/id").clone_into(&mut self.id);
                word("/message/model").clone_into(&mut self.model);
                self.count(&value["message"]["usage"]);
                self.delta(out, |j| {
                    j.put("role", "assistant");
                    j.put("content", "");
                });
            }
            "content_block_start" => self.start(index, &value["content_block"], out),
            "content_block_delta" => self.block_delta(index, &value["delta"], out),
            "message_delta" => {
                self.count(&value["usage"]);
                if let Some(stop) = value.pointer("/delta/stop_reason").and_then(Value::as_str) {
                    let sequence = value["delta"]["stop_sequence"].as_str();
                    self.chunk(out, None, |j| {
                        j.put_object("delta", |_| {});
                        j.put("finish_reason", finish(stop));
                        if let Some(text) = sequence {
                            j.put("stop_reason", text);
                        }
                    });
                }
            }
            "message_stop" => {
                let usage = usage_of(&self.usage.to_string());
                self.usage_chunk(&usage, out);
                out.push_str(&String::from_utf8_lossy(&DONE));
                self.over = true;
            }
            "ping" => out.push_str(": ping\n\n"),
            "error" => {
                let fault = Fault { code: kind(value), ..fault_of(value, 500) };
                self.fail(&fault, out);
            }
            _ => {}
        }
    }

    /// Counts are totals so far: later ones replace earlier ones.
    fn count(&mut self, usage: &Value) {
        let (Some(known), Some(new)) = (self.usage.as_object_mut(), usage.as_object()) else {
            return;
        };
        for (key, value) in new.iter().filter(|(_, value)| !value.is_null()) {
            known.insert(key.clone(), value.clone());
        }
    }

    fn start(&mut self, index: u64, block: &Value, out: &mut String) {
        match block["type"].as_str().unwrap_or_default() {
            "tool_use" => {
                let number = self.calls.len() as u64;
                self.calls.insert(index, number);
                let (id, name) = (block["id"].as_str(), block["name"].as_str());
                self.call(number, out, |j| {
                    j.put("id", id.unwrap_or_default());
                    j.put("type", "function");
                    j.put_object("function", |j| {
                        j.put("name", name.unwrap_or_default());
                        j.put("arguments", "");
                    });
                });
            }
            "redacted_thinking" => {
                let data = block["data"].as_str().unwrap_or_default();
                self.detail(out, |j| {
                    j.put("type", "reasoning.encrypted");
                    j.put("data", data);
                });
            }
            "text" => {
                // An empty start says nothing; some servers put the first words here.
                let text = block["text"].as_str().filter(|text| !text.is_empty());
                if let Some(text) = text {
                    self.delta(out, |j| j.put("content", text));
                }
            }
            _ => {}
        }
    }

    fn block_delta(&mut self, index: u64, delta: &Value, out: &mut String) {
        let text = |key: &str| delta[key].as_str().unwrap_or_default();
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => self.delta(out, |j| j.put("content", text("text"))),
            "thinking_delta" => {
                self.delta(out, |j| j.put("reasoning_content", text("thinking")));
            }
            "signature_delta" => self.detail(out, |j| {
                j.put("type", "reasoning.text");
                j.put("signature", text("signature"));
            }),
            "input_json_delta" => {
                let Some(number) = self.calls.get(&index).copied() else { return };
                self.call(number, out, |j| {
                    j.put_object("function", |j| j.put("arguments", text("partial_json")));
                });
            }
            _ => {}
        }
    }

    fn call(&self, number: u64, out: &mut String, fill: impl FnOnce(&mut Json)) {
        self.delta(out, |j| {
            j.put_array("tool_calls", |j| {
                j.object(|j| {
                    j.put_number("index", number);
                    fill(j);
                });
            });
        });
    }

    fn detail(&self, out: &mut String, fill: impl FnOnce(&mut Json)) {
        self.delta(out, |j| j.put_array("reasoning_details", |j| j.object(fill)));
    }

    fn delta(&self, out: &mut String, fill: impl FnOnce(&mut Json)) {
        self.chunk(out, None, |j| {
            j.put_object("delta", fill);
            j.key("finish_reason").null();
        });
    }

    fn usage_chunk(&self, usage: &Usage, out: &mut String) {
        let text = serde_json::to_string(usage).unwrap_or_else(|_| "null".to_owned());
        self.chunk(out, Some(&text), |_| {});
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
                    j.object(|j| {
                        j.put_number("index", 0);
                        fill(j);
                    });
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

/// An error in a stream has no status: an overload or a rate limit is told by its type.
fn kind(envelope: &Value) -> Code {
    match fault_of(envelope, 500).code {
        Code::InvalidRequest => Code::BadGateway,
        code => code,
    }
}
