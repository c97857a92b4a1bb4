//! From the events of Responses to chunks of the OpenAI dialect's chat.

use std::collections::BTreeMap;

use bytes::Bytes;
use cutover_units::Millis;
use cutover_wire::Fault;
use cutover_wire::openai::DONE;
use serde_json::Value;

use super::answer::{Call, failure, fault_of, finish, usage_of};
use crate::chat;
use crate::feed::{Feed, Teller, Turning, put};
use crate::write::Json;

/// A call whose arguments come in pieces.
struct Open {
    number: u64,
    is_custom: bool,
    /// Whether a piece has come.
    told: bool,
}

/// Turns one stream. What it gives ends with `[DONE]` if the response did; else it just ends, or ends with an error
/// event, and the reader knows it for broken. No `Debug`: it holds the answer.
pub struct EventsIn {
    feed: Feed,
    teller: Teller,
    /// Calls by the place of their item.
    calls: BTreeMap<u64, Open>,
    works: bool,
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
            works: false,
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

    /// Whether a tool at the vendor's is at work for the answer, or was: what it does is content that no chat has.
    pub fn works(&self) -> bool {
        self.works
    }

    fn tell(&mut self, value: &Value, out: &mut String) -> Result<(), Fault> {
        let text = |name: &str| value[name].as_str().unwrap_or_default();
        match text("type") {
            "response.created" => self.begin(&value["response"], out),
            "response.output_item.added" => self.added(value, out),
            "response.output_item.done" => self.done(value, out),
            "response.output_text.delta" => self.delta(out, |j| j.put("content", text("delta"))),
            "response.refusal.delta" => self.delta(out, |j| j.put("refusal", text("delta"))),
            "response.reasoning_text.delta" | "response.reasoning_summary_text.delta" => {
                self.delta(out, |j| j.put("reasoning_content", text("delta")));
            }
            "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta" => {
                self.piece(value, out);
            }
            "response.completed" | "response.incomplete" => {
                return self.end(&value["response"], out);
            }
            "response.failed" | "response.cancelled" => {
                let told = failure(&value["response"]);
                return Err(told.unwrap_or_else(|| fault_of(&Value::Null)));
            }
            kind if kind == "error" || value["error"].is_object() => {
                // OpenAI tells it beside the type, others in an object of its own.
                let inner = Some(&value["error"]).filter(|inner| inner.is_object());
                return Err(fault_of(inner.unwrap_or(value)));
            }
            _ => {}
        }
        Ok(())
    }

    fn begin(&mut self, response: &Value, out: &mut String) {
        let text = |name: &str| response[name].as_str().unwrap_or_default();
        text("id").clone_into(&mut self.teller.id);
        text("model").clone_into(&mut self.teller.model);
        self.delta(out, |j| {
            j.put("role", "assistant");
            j.put("content", "");
        });
    }

    fn added(&mut self, value: &Value, out: &mut String) {
        let item = &value["item"];
        let Some(call) = Call::of(item) else {
            let said = matches!(item["type"].as_str(), Some("message" | "reasoning") | None);
            self.works |= !said;
            return;
        };
        let number = self.calls.len() as u64;
        let open = Open { number, is_custom: call.is_custom, told: false };
        self.calls.insert(place(value), open);
        self.call(number, out, |j| call.write(j, None));
    }

    fn piece(&mut self, value: &Value, out: &mut String) {
        let piece = value["delta"].as_str().unwrap_or_default();
        let Some(open) = self.calls.get_mut(&place(value)).filter(|_| !piece.is_empty()) else {
            return;
        };
        let first = !std::mem::replace(&mut open.told, true);
        let number = open.number;
        let text = if open.is_custom {
            // The text becomes a member of an object, piece by piece.
            let literal = Value::from(piece).to_string();
            let inner = literal.get(1..literal.len() - 1).unwrap_or_default();
            format!("{}{inner}", if first { "{\"input\":\"" } else { "" })
        } else {
            piece.to_owned()
        };
        self.arguments(number, &text, out);
    }

    /// What has not come in pieces comes with the whole item.
    fn done(&mut self, value: &Value, out: &mut String) {
        let Some(open) = self.calls.get_mut(&place(value)) else { return };
        let Some(call) = Call::of(&value["item"]) else { return };
        let (number, told) = (open.number, std::mem::replace(&mut open.told, true));
        if !told {
            self.arguments(number, &call.arguments, out);
        } else if open.is_custom {
            self.arguments(number, "\"}", out);
        }
    }

    fn end(&mut self, response: &Value, out: &mut String) -> Result<(), Fault> {
        if let Some(fault) = failure(response) {
            return Err(fault);
        }
        let reason = finish(response).ok_or_else(chat::unreadable)?;
        self.teller.chunk(out, None, |j| {
            j.put_number("index", 0);
            j.put_object("delta", |_| {});
            j.put("finish_reason", reason);
        });
        if let Some(usage) = usage_of(&response["usage"]) {
            self.teller.chunk(out, Some(&usage), |_| {});
        }
        out.push_str(&String::from_utf8_lossy(&DONE));
        self.feed.over = true;
        Ok(())
    }

    fn arguments(&self, number: u64, text: &str, out: &mut String) {
        self.call(number, out, |j| j.put_object("function", |j| j.put("arguments", text)));
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

    fn delta(&self, out: &mut String, fill: impl FnOnce(&mut Json)) {
        self.teller.chunk(out, None, |j| {
            j.put_number("index", 0);
            j.put_object("delta", fill);
            j.key("finish_reason").null();
        });
    }
}

fn place(value: &Value) -> u64 {
    value["output_index"].as_u64().unwrap_or(0)
}

#[cfg(test)]
mod tests;
