//! From a message or an error of Anthropic's to the OpenAI dialect.

use bytes::Bytes;
use cutover_units::{Code, Millis};
use cutover_wire::{Fault, Usage, errors};
use serde_json::Value;

use crate::lost::{self, Lost};
use crate::read::{At, Obj};
use crate::write::{self, Json};
use crate::{Turned, chat};

/// Turns a whole message (status 200) into a chat completion. An error in its place stays one.
pub fn answer(body: &[u8], created: Millis) -> Result<Turned, Fault> {
    let mut lost = Lost::default();
    let body = convert(body, created, &mut lost).map_err(|_| chat::unreadable())?;
    Ok(Turned { body: Bytes::from(body), losses: lost.into_list() })
}

fn convert(body: &[u8], created: Millis, lost: &mut Lost) -> Result<String, Fault> {
    let at = At::Root;
    let text = std::str::from_utf8(body).map_err(|_| chat::unreadable())?;
    let root = Obj::parse(text, at)?;
    if root.get("error").is_some() {
        let envelope = serde_json::from_str(text).map_err(|_| chat::unreadable())?;
        return Ok(String::from_utf8_lossy(&errors::body(&error_of(&envelope))).into_owned());
    }
    let mut said = Said::default();
    for raw in root.list(at, "content")?.ok_or_else(chat::unreadable)? {
        said.block(&Obj::read(raw, at)?, lost)?;
    }
    let stop = root.word(at, "stop_reason")?;
    note_stop(&stop, lost);
    let sequence = root.text(at, "stop_sequence")?;
    let usage = root.get("usage").and_then(usage_of);
    let (id, model) = (root.need_text(at, "id")?, root.need_text(at, "model")?);
    Ok(write::object(|j| {
        id.write(j.key("id"));
        j.put("object", "chat.completion");
        j.put_number("created", created.0 / 1_000);
        model.write(j.key("model"));
        j.put_array("choices", |j| {
            j.object(|j| {
                j.put_number("index", 0);
                j.put_object("message", |j| said.write(j));
                j.key("logprobs").null();
                j.put("finish_reason", finish(&stop));
                if let Some(text) = &sequence {
                    text.write(j.key("stop_reason"));
                }
            });
        });
        j.put_raw("usage", serde_json::to_string(&usage).ok().as_deref());
    }))
}

#[derive(Default)]
struct Said {
    text: Option<String>,
    reasoning: String,
    details: Vec<String>,
    calls: Vec<String>,
    /// Letters of the text so far.
    chars: u64,
    annotations: Vec<String>,
}

impl Said {
    fn block(&mut self, block: &Obj<'_>, lost: &mut Lost) -> Result<(), Fault> {
        let at = At::Root;
        match &*block.word(at, "type")? {
            "text" => {
                let text = block.need_text(at, "text")?;
                let citations = block.list(at, "citations")?.unwrap_or_default();
                self.cited(&text.decode(), &citations, lost);
            }
            "thinking" => {
                let text = block.need_text(at, "thinking")?;
                self.reasoning.push_str(&text.decode());
                let signature = block.text(at, "signature")?;
                self.details.push(write::object(|j| {
                    j.put("type", "reasoning.text");
                    text.write(j.key("text"));
                    if let Some(signature) = &signature {
                        signature.write(j.key("signature"));
                    }
                }));
            }
            "redacted_thinking" => {
                let data = block.need_text(at, "data")?;
                self.details.push(write::object(|j| {
                    j.put("type", "reasoning.encrypted");
                    data.write(j.key("data"));
                }));
            }
            "tool_use" => {
                let (id, name) = (block.need_text(at, "id")?, block.need_text(at, "name")?);
                let input = block.raw_object(at, "input")?.unwrap_or("{}");
                self.calls.push(write::object(|j| {
                    id.write(j.key("id"));
                    j.put("type", "function");
                    j.put_object("function", |j| {
                        name.write(j.key("name"));
                        j.put("arguments", input);
                    });
                }));
            }
            kind => note_block(kind, lost),
        }
        Ok(())
    }

    /// A text, and the web pages that it is from.
    fn cited(&mut self, text: &str, citations: &[&str], lost: &mut Lost) {
        let start = self.chars;
        self.text.get_or_insert_default().push_str(text);
        self.chars += text.chars().count() as u64;
        for raw in citations {
            let citation: Value = serde_json::from_str(raw).unwrap_or_default();
            match annotation(&citation, (start, self.chars)) {
                Some(annotation) => self.annotations.push(annotation),
                None => lost.note(lost::CITATIONS),
            }
        }
    }

    fn write(&self, json: &mut Json) {
        json.put("role", "assistant");
        match &self.text {
            Some(text) => json.put("content", text),
            None => json.key("content").null(),
        }
        json.key("refusal").null();
        if !self.reasoning.is_empty() {
            json.put("reasoning_content", &self.reasoning);
        }
        let lists = [
            ("annotations", &self.annotations),
            ("reasoning_details", &self.details),
            ("tool_calls", &self.calls),
        ];
        for (key, list) in lists {
            if !list.is_empty() {
                json.put_array(key, |j| list.iter().for_each(|raw| j.raw(raw)));
            }
        }
    }
}

/// A citation of a web page as chat completions has it, for these letters of the text. `None`: it is of another kind.
pub(super) fn annotation(citation: &Value, (start, end): (u64, u64)) -> Option<String> {
    let url = citation["url"].as_str()?;
    Some(write::object(|j| {
        j.put("type", "url_citation");
        j.put_object("url_citation", |j| {
            j.put_number("start_index", start);
            j.put_number("end_index", end);
            j.put("url", url);
            j.put("title", citation["title"].as_str().unwrap_or_default());
        });
    }))
}

/// A block that no text, thought or call is.
pub(super) fn note_block(kind: &str, lost: &mut Lost) {
    let is_tools = kind.ends_with("_tool_use") || kind.ends_with("_tool_result");
    lost.note(if is_tools { lost::TOOLS } else { lost::PART });
}

/// A turn that shall go on is told like one that has ended, and so is what nobody knows.
pub(super) fn note_stop(stop: &str, lost: &mut Lost) {
    const KNOWN: [&str; 6] = [
        "end_turn",
        "stop_sequence",
        "max_tokens",
        "model_context_window_exceeded",
        "tool_use",
        "refusal",
    ];
    if !stop.is_empty() && !KNOWN.contains(&stop) {
        lost.near(lost::STOP);
    }
}

/// `stop_reason` as a finish reason.
pub(super) fn finish(stop: &str) -> &'static str {
    match stop {
        "max_tokens" | "model_context_window_exceeded" => "length",
        "tool_use" => "tool_calls",
        "refusal" => "content_filter",
        _ => "stop",
    }
}

/// Tokens read from or written to a cache are outside Anthropic's count of the input and inside
/// OpenAI's. A count that is not told is not 0: then nobody knows the usage.
pub(super) fn usage_of(raw: &str) -> Option<Usage> {
    let value: Value = serde_json::from_str(raw).unwrap_or_default();
    let count = |at: &str| value.pointer(at).and_then(Value::as_u64);
    let read = count("/cache_read_input_tokens");
    let written = count("/cache_creation_input_tokens");
    let (input, output) = (count("/input_tokens")?, count("/output_tokens")?);
    let prompt = input.saturating_add(read.unwrap_or(0)).saturating_add(written.unwrap_or(0));
    Some(Usage {
        cached_tokens: read,
        cache_write_tokens: written,
        reasoning_tokens: count("/output_tokens_details/thinking_tokens"),
        ..Usage::new(prompt, output)
    })
}

/// Turns an error answer into the OpenAI dialect's; the status of an overload becomes the usual one.
pub fn error(status: u16, body: &[u8]) -> (u16, Bytes) {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let status = if status == 529 { 503 } else { status };
    (status, errors::body(&fault_of(&value, status)))
}

/// The fault of an error that comes where no status can: it is told by its type.
pub(super) fn error_of(envelope: &Value) -> Fault {
    fault_of(envelope, 500)
}

/// The fault that an error envelope tells.
pub(super) fn fault_of(envelope: &Value, status: u16) -> Fault {
    let text = |at: &str| envelope.pointer(at).and_then(Value::as_str);
    let message = text("/error/message").unwrap_or("the upstream failed").to_owned();
    let long = message.contains("prompt is too long") || message.contains("context window");
    let code = match (text("/error/type").unwrap_or_default(), status) {
        ("conflict_error", _) | (_, 409) => Code::UpstreamConflict,
        ("invalid_request_error", _) if long => Code::ContextLengthExceeded,
        ("invalid_request_error", _) => Code::InvalidRequest,
        ("authentication_error", _) => Code::InvalidApiKey,
        ("permission_error", _) => Code::PermissionDenied,
        ("billing_error", _) => Code::InsufficientQuota,
        ("not_found_error", _) => Code::ModelNotFound,
        ("request_too_large", _) => Code::RequestTooLarge,
        ("rate_limit_error", _) => Code::RateLimitExceeded,
        ("overloaded_error", _) | (_, 503) => Code::Overloaded,
        ("timeout_error", _) => Code::UpstreamTimeout,
        (_, 400..=499) => Code::InvalidRequest,
        _ => Code::BadGateway,
    };
    Fault::new(code, message)
}
