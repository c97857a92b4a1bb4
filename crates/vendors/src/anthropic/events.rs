//! From Anthropic's events to chunks of the OpenAI dialect.

use std::collections::BTreeMap;

use bytes::Bytes;
use cutover_units::Millis;
use cutover_wire::openai::DONE;
use cutover_wire::{Fault, Loss, Usage};
use serde_json::Value;

use super::answer::{annotation, error_of, finish, note_block, note_stop, usage_of};
use crate::chat;
use crate::feed::{Feed, Teller, Turning, put};
use crate::lost::{self, Lost};
use crate::write::Json;

/// The most of one block's thinking that is kept until its signature comes.
const THOUGHT_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Most web pages that one block is from.
const CITATIONS_MAX: usize = 256;

/// A tool call that has begun.
struct Call {
    number: u64,
    /// Its arguments as the start told them; none once pieces have come.
    input: Option<String>,
}

/// Turns one stream. What it gives ends with `[DONE]` if the message did; else it just ends, or ends
/// with an error event, and the reader knows it for broken. No `Debug`: it holds the answer.
pub struct EventsIn {
    feed: Feed,
    teller: Teller,
    /// Tool calls by the index of their block.
    calls: BTreeMap<u64, Call>,
    /// The thinking of the block that is open: it goes back with its signature.
    thought: String,
    /// How many blocks of thinking were told of.
    details: u64,
    /// Letters of the text so far, and where the open block's begin.
    chars: (u64, u64),
    /// Web pages that the open block is from.
    cited: Vec<Value>,
    usage: Value,
    /// Whether the last word on the usage counts the output. What the beginning says of it is a placeholder.
    is_counted: bool,
    lost: Lost,
}

impl Turning for EventsIn {
    fn feed(&mut self) -> &mut Feed {
        &mut self.feed
    }

    fn event(&mut self, data: &[u8], out: &mut String) -> Result<(), Fault> {
        let value: Value = serde_json::from_slice(data).map_err(|_| chat::unreadable())?;
        self.tell(&value, out)
    }
}

impl EventsIn {
    /// A stream that begins now.
    pub fn new(created: Millis) -> Self {
        Self {
            feed: Feed::new(),
            teller: Teller::new(created),
            calls: BTreeMap::new(),
            thought: String::new(),
            details: 0,
            chars: (0, 0),
            cited: Vec::new(),
            lost: Lost::default(),
            is_counted: false,
            usage: Value::Object(serde_json::Map::new()),
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

    /// The body ended: what is left is read.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) {
        let mut text = String::new();
        self.rest(&mut text);
        put(text, out);
    }

    /// What the vendor has told of the usage so far: the prompt's when the message began.
    pub fn usage_so_far(&self) -> Option<Usage> {
        usage_of(&self.usage.to_string())
    }

    /// What of the answer has no place in the OpenAI dialect.
    pub fn losses(&self) -> &[Loss] {
        self.lost.list()
    }

    fn tell(&mut self, value: &Value, out: &mut String) -> Result<(), Fault> {
        let index = value["index"].as_u64().unwrap_or(0);
        match value["type"].as_str().unwrap_or_default() {
            "message_start" => {
                let word = |at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default();
                word("/message/id").clone_into(&mut self.teller.id);
                word("/message/model").clone_into(&mut self.teller.model);
                self.note_usage(&value["message"]["usage"]);
                self.delta(out, |j| {
                    j.put("role", "assistant");
                    j.put("content", "");
                });
            }
            "content_block_start" => self.start(index, &value["content_block"], out),
            "content_block_delta" => self.block_delta(index, &value["delta"], out),
            "content_block_stop" => self.stop(index, out),
            "message_delta" => {
                self.note_usage(&value["usage"]);
                let output = value.pointer("/usage/output_tokens");
                self.is_counted = output.is_some_and(|count| !count.is_null());
                if let Some(stop) = value.pointer("/delta/stop_reason").and_then(Value::as_str) {
                    note_stop(stop, &mut self.lost);
                    let sequence = value["delta"]["stop_sequence"].as_str();
                    self.teller.chunk(out, None, |j| {
                        j.put_number("index", 0);
                        j.put_object("delta", |_| {});
                        j.put("finish_reason", finish(stop));
                        if let Some(text) = sequence {
                            j.put("stop_reason", text);
                        }
                    });
                }
            }
            "message_stop" => {
                if let Some(known) = self.usage.as_object_mut().filter(|_| !self.is_counted) {
                    known.remove("output_tokens");
                }
                if let Some(usage) = self.usage_so_far() {
                    self.teller.chunk(out, Some(&usage), |_| {});
                }
                out.push_str(&String::from_utf8_lossy(&DONE));
                self.feed.over = true;
            }
            "ping" => out.push_str(": ping\n\n"),
            "error" => return Err(error_of(value)),
            _ => {}
        }
        Ok(())
    }

    /// Counts are totals so far: later ones replace earlier ones.
    fn note_usage(&mut self, usage: &Value) {
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
                let input = block.get("input").filter(|input| input.is_object());
                let input = input.map_or_else(|| "{}".to_owned(), Value::to_string);
                self.calls.insert(index, Call { number, input: Some(input) });
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
                self.chars.1 = self.chars.0;
                // An empty start says nothing; some servers put the first words here.
                let text = block["text"].as_str().filter(|text| !text.is_empty());
                if let Some(text) = text {
                    self.text(text, out);
                }
            }
            "thinking" => {}
            kind => note_block(kind, &mut self.lost),
        }
    }

    fn text(&mut self, text: &str, out: &mut String) {
        self.chars.0 += text.chars().count() as u64;
        self.delta(out, |j| j.put("content", text));
    }

    /// The web pages that a block of text is from, now that its end is known.
    fn cite(&mut self, out: &mut String) {
        let (end, start) = self.chars;
        for citation in std::mem::take(&mut self.cited) {
            match annotation(&citation, (start, end)) {
                Some(annotation) => {
                    self.delta(out, |j| j.put_array("annotations", |j| j.raw(&annotation)));
                }
                None => self.lost.note(lost::CITATIONS),
            }
        }
    }

    /// A call without arguments has pieces that say nothing, or none: clients want an object all the same.
    fn stop(&mut self, index: u64, out: &mut String) {
        self.thought.clear();
        self.cite(out);
        let Some(call) = self.calls.get_mut(&index) else { return };
        let number = call.number;
        if let Some(input) = call.input.take() {
            self.call(number, out, |j| j.put_object("function", |j| j.put("arguments", &input)));
        }
    }

    fn block_delta(&mut self, index: u64, delta: &Value, out: &mut String) {
        let text = |key: &str| delta[key].as_str().unwrap_or_default();
        match delta["type"].as_str().unwrap_or_default() {
            "text_delta" => self.text(text("text"), out),
            "citations_delta" if self.cited.len() < CITATIONS_MAX => {
                self.cited.push(delta["citation"].clone());
            }
            "citations_delta" => self.lost.note(lost::CITATIONS),
            "thinking_delta" => {
                let piece = text("thinking");
                if self.thought.len() + piece.len() <= THOUGHT_BYTES_MAX {
                    self.thought.push_str(piece);
                }
                self.delta(out, |j| j.put("reasoning_content", piece));
            }
            "signature_delta" => {
                let thought = std::mem::take(&mut self.thought);
                self.detail(out, |j| {
                    j.put("type", "reasoning.text");
                    j.put("text", &thought);
                    j.put("signature", text("signature"));
                });
            }
            "input_json_delta" => {
                let piece = text("partial_json");
                let Some(call) = self.calls.get_mut(&index) else { return };
                if piece.is_empty() {
                    return;
                }
                call.input = None;
                let number = call.number;
                self.call(number, out, |j| {
                    j.put_object("function", |j| j.put("arguments", piece));
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

    /// OpenAI's SDKs put entries of a list together by their index, and fail without one.
    fn detail(&mut self, out: &mut String, fill: impl FnOnce(&mut Json)) {
        let number = self.details;
        self.details += 1;
        self.delta(out, |j| {
            j.put_array("reasoning_details", |j| {
                j.object(|j| {
                    j.put_number("index", number);
                    fill(j);
                });
            });
        });
    }

    fn delta(&self, out: &mut String, fill: impl FnOnce(&mut Json)) {
        self.teller.chunk(out, None, |j| {
            j.put_number("index", 0);
            j.put_object("delta", fill);
            j.key("finish_reason").null();
        });
    }
}
