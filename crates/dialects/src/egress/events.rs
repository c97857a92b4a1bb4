//! From Anthropic's events to chunks of the OpenAI dialect.

use std::collections::BTreeMap;

use bytes::Bytes;
use cutover_units::{Code, Millis};
use cutover_wire::Fault;
use cutover_wire::openai::DONE;
use serde_json::Value;

use super::answer::{fault_of, finish, usage_of};
use super::feed::{Feed, Teller, Turning, put};
use crate::chat;
use crate::write::Json;

/// Turns one stream. What it gives ends with `[DONE]` if the message did; else it just ends, or ends
/// with an error event, and the reader knows it for broken. No `Debug`: it holds the answer.
pub struct EventsIn {
    feed: Feed,
    teller: Teller,
    /// Tool calls by the index of their block.
    calls: BTreeMap<u64, u64>,
    usage: Value,
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
            usage: Value::Object(serde_json::Map::new()),
        }
    }

    /// Takes bytes from the upstream and appends events of the OpenAI dialect.
    pub fn push(&mut self, frame: Bytes, out: &mut Vec<Bytes>) {
        self.take(frame, out);
    }

    /// The body ended: what is left is read.
    pub fn finish(&mut self, out: &mut Vec<Bytes>) {
        let mut text = String::new();
        self.rest(&mut text);
        put(text, out);
    }

    fn tell(&mut self, value: &Value, out: &mut String) -> Result<(), Fault> {
        let index = value["index"].as_u64().unwrap_or(0);
        match value["type"].as_str().unwrap_or_default() {
            "message_start" => {
                let word = |at: &str| value.pointer(at).and_then(Value::as_str).unwrap_or_default();
                word("/message/id").clone_into(&mut self.teller.id);
                word("/message/model").clone_into(&mut self.teller.model);
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
                let usage = usage_of(&self.usage.to_string());
                self.teller.chunk(out, Some(&usage), |_| {});
                out.push_str(&String::from_utf8_lossy(&DONE));
                self.feed.over = true;
            }
            "ping" => out.push_str(": ping\n\n"),
            "error" => return Err(Fault { code: kind(value), ..fault_of(value, 500) }),
            _ => {}
        }
        Ok(())
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
        self.teller.chunk(out, None, |j| {
            j.put_number("index", 0);
            j.put_object("delta", fill);
            j.key("finish_reason").null();
        });
    }
}

/// An error in a stream has no status: an overload or a rate limit is told by its type.
fn kind(envelope: &Value) -> Code {
    match fault_of(envelope, 500).code {
        Code::InvalidRequest => Code::BadGateway,
        code => code,
    }
}
