//! From a whole Response to the OpenAI dialect's chat.

use bytes::Bytes;
use cutover_units::{Code, Millis};
use cutover_wire::{Fault, Usage, errors};
use serde_json::Value;

use crate::chat;
use crate::write::{self, Json};

/// Turns a whole Response (status 200) into a chat completion. One that failed becomes its error.
pub fn answer(body: &[u8], created: Millis) -> Result<Bytes, Fault> {
    let root: Value = serde_json::from_slice(body).map_err(|_| chat::unreadable())?;
    let output = root["output"].as_array();
    if let Some(fault) = failure(&root) {
        return Ok(errors::body(&fault));
    }
    let (Some(output), Some(finish)) = (output, finish(&root)) else {
        return Err(chat::unreadable());
    };
    let mut said = Said::default();
    for item in output {
        said.item(item);
    }
    let usage = usage_of(&root["usage"]);
    let text = |name: &str| root[name].as_str().unwrap_or_default();
    Ok(Bytes::from(write::object(|j| {
        j.put("id", text("id"));
        j.put("object", "chat.completion");
        j.put_number("created", created.0 / 1_000);
        j.put("model", text("model"));
        j.put_array("choices", |j| {
            j.object(|j| {
                j.put_number("index", 0);
                j.put_object("message", |j| said.write(j));
                j.key("logprobs").null();
                j.put("finish_reason", finish);
            });
        });
        if let Some(usage) = usage {
            j.put_raw("usage", serde_json::to_string(&usage).ok().as_deref());
        }
    })))
}

#[derive(Default)]
struct Said {
    text: Option<String>,
    refusal: Option<String>,
    reasoning: String,
    calls: Vec<Call>,
}

impl Said {
    fn item(&mut self, item: &Value) {
        let parts = |name: &str| item[name].as_array().into_iter().flatten();
        match item["type"].as_str().unwrap_or_default() {
            "message" => {
                for part in parts("content") {
                    if let Some(text) = part["text"].as_str() {
                        self.text.get_or_insert_default().push_str(text);
                    } else if let Some(text) = part["refusal"].as_str() {
                        self.refusal.get_or_insert_default().push_str(text);
                    }
                }
            }
            "reasoning" => {
                let texts = parts("summary").chain(parts("content"));
                texts.filter_map(|part| part["text"].as_str()).for_each(|text| {
                    self.reasoning.push_str(text);
                });
            }
            // Steps of tools that run at the vendor's: what the model says of them is text.
            _ => self.calls.extend(Call::of(item)),
        }
    }

    fn write(&self, json: &mut Json) {
        json.put("role", "assistant");
        for (key, text) in [("content", &self.text), ("refusal", &self.refusal)] {
            match text {
                Some(text) => json.put(key, text),
                None => json.key(key).null(),
            }
        }
        if !self.reasoning.is_empty() {
            json.put("reasoning_content", &self.reasoning);
        }
        if !self.calls.is_empty() {
            json.put_array("tool_calls", |j| {
                self.calls.iter().for_each(|call| {
                    j.object(|j| call.write(j, Some(&call.arguments)));
                });
            });
        }
    }
}

/// A call that the client shall answer.
pub(super) struct Call {
    id: String,
    name: String,
    pub(super) arguments: String,
    /// Whether the input is a text and no JSON.
    pub(super) is_custom: bool,
}

impl Call {
    /// From an item. `None`: it is another, or one that the vendor answers itself.
    pub(super) fn of(item: &Value) -> Option<Self> {
        let text = |name: &str| item[name].as_str().unwrap_or_default();
        let kind = text("type").strip_suffix("_call")?;
        let id = item["call_id"].as_str()?.to_owned();
        let mut name = text("name").to_owned();
        let arguments = match kind {
            "function" => text("arguments").to_owned(),
            "custom_tool" => custom_arguments(text("input")),
            // A computer, a shell, a patch.
            kind => {
                kind.clone_into(&mut name);
                let told = ["action", "actions", "operation"].map(|name| &item[name]);
                let told = told.into_iter().find(|told| !told.is_null());
                write::object(|j| j.put_raw("action", told.map(Value::to_string).as_deref()))
            }
        };
        if let Some(space) = item["namespace"].as_str() {
            name = format!("{space}__{name}");
        }
        Some(Self { id, name, arguments, is_custom: kind == "custom_tool" })
    }

    /// Writes it with arguments, or without any where they come in pieces.
    pub(super) fn write(&self, json: &mut Json, arguments: Option<&str>) {
        json.put("id", &self.id);
        json.put("type", "function");
        json.put_object("function", |j| {
            j.put("name", &self.name);
            j.put("arguments", arguments.unwrap_or_default());
        });
    }
}

/// The arguments of a custom tool's call: its text under the one name.
fn custom_arguments(input: &str) -> String {
    write::object(|j| j.put("input", input))
}

/// Why an answer ended, as a finish reason. `None`: it has not.
pub(super) fn finish(response: &Value) -> Option<&'static str> {
    let called =
        || response["output"].as_array().into_iter().flatten().any(|i| Call::of(i).is_some());
    match response["status"].as_str()? {
        "completed" if called() => Some("tool_calls"),
        "completed" => Some("stop"),
        "incomplete" => {
            Some(match response.pointer("/incomplete_details/reason").and_then(Value::as_str) {
                Some("content_filter") => "content_filter",
                _ => "length",
            })
        }
        _ => None,
    }
}

/// What went wrong, if the answer failed.
pub(super) fn failure(response: &Value) -> Option<Fault> {
    let ended = matches!(response["status"].as_str(), Some("failed" | "cancelled"));
    let error = &response["error"];
    (ended || !error.is_null()).then(|| fault_of(error))
}

/// The fault that an error in an answer or a stream tells.
pub(super) fn fault_of(error: &Value) -> Fault {
    let fault = chat::fault_of(error);
    let word = error["code"].as_str().unwrap_or_default();
    // An image or a prompt that the vendor could not take.
    let by_client = word.starts_with("invalid_") || word.contains("image");
    match fault.code {
        Code::BadGateway if by_client => Fault { code: Code::InvalidRequest, ..fault },
        _ => fault,
    }
}

/// The tokens that an answer tells of. What was cached is part of the input, as in chat.
pub(super) fn usage_of(told: &Value) -> Option<Usage> {
    let count = |at: &str| told.pointer(at).and_then(Value::as_u64);
    let (input, output) = (count("/input_tokens")?, count("/output_tokens")?);
    let sum = Usage::new(input, output);
    Some(Usage {
        total_tokens: count("/total_tokens").unwrap_or(sum.total_tokens),
        cached_tokens: count("/input_tokens_details/cached_tokens"),
        cache_write_tokens: count("/input_tokens_details/cache_write_tokens"),
        reasoning_tokens: count("/output_tokens_details/reasoning_tokens"),
        ..sum
    })
}
