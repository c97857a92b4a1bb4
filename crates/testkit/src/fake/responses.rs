//! OpenAI's Responses API: a request as a chat's, and the answer in its own form.
//!
//! Nothing is stored, as for requests with `store: false`: reasoning of earlier turns must come with what makes it
//! readable, else it is not found.

use serde_json::{Value, json};

use super::ask::{Answer, Ask};
use super::openai::Event;
use super::refusal::Refusal;

/// What reasoning of this fake's begins with.
const SEALED: &str = "gAAAAfake";

/// The request as a chat's, or why it is refused.
pub(super) fn as_chat(body: &Value) -> Result<Value, Refusal> {
    let mut messages = Vec::new();
    if let Some(text) = body["instructions"].as_str() {
        messages.push(json!({"role": "system", "content": text}));
    }
    match &body["input"] {
        Value::String(text) => messages.push(json!({"role": "user", "content": text})),
        Value::Array(items) => {
            for item in items {
                messages.extend(message(item)?);
            }
        }
        _ => return Err(Refusal::BadType { param: "input".to_owned() }),
    }
    let functions = list(&body["tools"]).filter(|tool| tool["type"] == "function");
    let tools: Vec<Value> =
        functions.map(|tool| json!({"type": "function", "function": tool})).collect();
    let mut chat = json!({"model": body["model"], "messages": messages, "tools": tools});
    for (name, at) in [
        ("stream", "/stream"),
        ("temperature", "/temperature"),
        ("max_completion_tokens", "/max_output_tokens"),
    ] {
        if let Some(value) = body.pointer(at).filter(|value| !value.is_null()) {
            chat[name] = value.clone();
        }
    }
    if let Some(name) = body["tool_choice"]["name"].as_str() {
        chat["tool_choice"] = json!({"type": "function", "function": {"name": name}});
    }
    let format = &body["text"]["format"];
    if format["type"] == "json_schema" {
        chat["response_format"] = json!({"type": "json_schema", "json_schema": format});
    }
    Ok(chat)
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn message(item: &Value) -> Result<Option<Value>, Refusal> {
    let text = |value: &Value| match value.as_str() {
        Some(text) => text.to_owned(),
        None => list(value).filter_map(|part| part["text"].as_str()).collect(),
    };
    Ok(match item["type"].as_str().unwrap_or("message") {
        "message" => Some(json!({"role": item["role"], "content": text(&item["content"])})),
        "function_call" => Some(json!({"role": "assistant", "content": null, "tool_calls": [
            {"id": item["call_id"], "type": "function",
             "function": {"name": item["name"], "arguments": item["arguments"]}}]})),
        "function_call_output" => Some(json!({"role": "tool", "tool_call_id": item["call_id"],
            "content": text(&item["output"])})),
        "reasoning" => {
            let sealed = item["encrypted_content"].as_str();
            if !sealed.is_some_and(|sealed| sealed.starts_with(SEALED)) {
                return Err(Refusal::BadType { param: "input".to_owned() });
            }
            None
        }
        _ => None,
    })
}

/// An answer in this form.
pub(super) struct Voice<'a> {
    pub(super) number: usize,
    pub(super) body: &'a Value,
    pub(super) ask: &'a Ask,
    pub(super) answer: &'a Answer,
}

impl Voice<'_> {
    /// The answer of a request that did not ask for a stream.
    pub(super) fn whole(&self) -> Value {
        let status = if self.answer.finish == "length" { "incomplete" } else { "completed" };
        let output: Vec<Value> = self.items().into_iter().map(|(item, _)| item).collect();
        self.response(status, &output)
    }

    fn response(&self, status: &str, output: &[Value]) -> Value {
        let said = |name: &str, usual: Value| match &self.body[name] {
            Value::Null => usual,
            value => value.clone(),
        };
        let ended = status != "in_progress";
        let usage = json!({"input_tokens": self.answer.prompt_tokens,
            "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
            "output_tokens": self.answer.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": self.answer.prompt_tokens + self.answer.completion_tokens});
        let cut = json!({"reason": "max_output_tokens"});
        json!({"id": format!("resp_fake{}", self.number), "object": "response",
            "created_at": 1_795_000_000, "status": status, "error": null,
            "completed_at": if status == "completed" { json!(1_795_000_001) } else { Value::Null },
            "incomplete_details": if status == "incomplete" { cut } else { Value::Null },
            "instructions": said("instructions", Value::Null), "background": false,
            "max_output_tokens": said("max_output_tokens", Value::Null),
            "model": self.ask.model, "output": output,
            "parallel_tool_calls": said("parallel_tool_calls", json!(true)),
            "previous_response_id": null, "reasoning": {"effort": null, "summary": null},
            "service_tier": "default", "store": said("store", json!(true)),
            "temperature": said("temperature", json!(1.0)), "top_p": said("top_p", json!(1.0)),
            "text": said("text", json!({"format": {"type": "text"}})),
            "tool_choice": said("tool_choice", json!("auto")), "tools": said("tools", json!([])),
            "truncation": "disabled", "metadata": said("metadata", json!({})),
            "usage": if ended { usage } else { Value::Null }, "user": said("user", Value::Null)})
    }

    /// The output, each item with its text or arguments in pieces.
    fn items(&self) -> Vec<(Value, Vec<String>)> {
        let mut items: Vec<(Value, Vec<String>)> = Vec::new();
        let id = |prefix: &str, at: usize| format!("{prefix}_fake{}x{at}", self.number);
        let includes = |word: &str| list(&self.body["include"]).any(|one| one == word);
        if includes("reasoning.encrypted_content") {
            let sealed = format!("{SEALED}{}", self.number);
            let item = json!({"id": id("rs", 0), "type": "reasoning", "summary": [],
                "encrypted_content": sealed});
            items.push((item, Vec::new()));
        }
        if list(&self.body["tools"]).any(|tool| tool["type"] == "web_search") {
            let item = json!({"id": id("ws", items.len()), "type": "web_search_call",
                "status": "completed", "action": {"type": "search", "query": "news"}});
            items.push((item, Vec::new()));
        }
        for (at, call) in self.answer.calls.iter().enumerate() {
            let item = json!({"id": id("fc", items.len()), "type": "function_call",
                "status": "completed", "call_id": format!("call_{}_{at}", self.number),
                "name": call.name, "arguments": call.arguments});
            items.push((item, vec![call.arguments.clone()]));
        }
        if self.answer.calls.is_empty() {
            let text = self.answer.tokens.concat();
            let part =
                json!({"type": "output_text", "annotations": [], "logprobs": [], "text": text});
            let item = json!({"id": id("msg", items.len()), "type": "message",
                "status": "completed", "role": "assistant", "content": [part]});
            items.push((item, self.answer.tokens.clone()));
        }
        items
    }

    /// The events of a stream.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events = Events(Vec::new());
        let begun = self.response("in_progress", &[]);
        for name in ["response.created", "response.in_progress"] {
            events.put(name, json!({"response": begun}), false);
        }
        for (index, (item, pieces)) in self.items().into_iter().enumerate() {
            events.item(index, &item, &pieces);
        }
        let whole = self.whole();
        let name = format!("response.{}", whole["status"].as_str().unwrap_or_default());
        events.put(&name, json!({"response": whole}), false);
        events.0
    }
}

struct Events(Vec<Event>);

impl Events {
    fn put(&mut self, name: &str, mut members: Value, content: bool) {
        members["type"] = json!(name);
        members["sequence_number"] = json!(self.0.len());
        self.0.push(Event { data: members.to_string(), content });
    }

    fn added(&mut self, index: usize, open: &Value, content: bool) {
        let members = json!({"output_index": index, "item": open});
        self.put("response.output_item.added", members, content);
    }

    fn item(&mut self, index: usize, item: &Value, pieces: &[String]) {
        let mut open = item.clone();
        let at = json!({"output_index": index, "item_id": item["id"]});
        let with = |members: &[(&str, Value)]| {
            let mut all = at.clone();
            for (name, value) in members {
                all[*name] = value.clone();
            }
            all
        };
        match item["type"].as_str().unwrap_or_default() {
            "message" => {
                (open["content"], open["status"]) = (json!([]), json!("in_progress"));
                self.added(index, &open, false);
                let part = &item["content"][0];
                let mut empty = part.clone();
                empty["text"] = json!("");
                let first = ("content_index", json!(0));
                let logprobs = ("logprobs", json!([]));
                self.put(
                    "response.content_part.added",
                    with(&[first.clone(), ("part", empty)]),
                    false,
                );
                for piece in pieces {
                    let delta = with(&[first.clone(), logprobs.clone(), ("delta", json!(piece))]);
                    self.put("response.output_text.delta", delta, true);
                }
                let done = with(&[first.clone(), logprobs, ("text", part["text"].clone())]);
                self.put("response.output_text.done", done, false);
                self.put(
                    "response.content_part.done",
                    with(&[first, ("part", part.clone())]),
                    false,
                );
            }
            "function_call" => {
                (open["arguments"], open["status"]) = (json!(""), json!("in_progress"));
                self.added(index, &open, true);
                for piece in pieces {
                    let delta = with(&[("delta", json!(piece))]);
                    self.put("response.function_call_arguments.delta", delta, true);
                }
                let done = with(&[
                    ("name", item["name"].clone()),
                    ("arguments", item["arguments"].clone()),
                ]);
                self.put("response.function_call_arguments.done", done, false);
            }
            kind => {
                if kind == "web_search_call" {
                    open["status"] = json!("in_progress");
                }
                self.added(index, &open, false);
                for step in ["in_progress", "searching", "completed"] {
                    if kind == "web_search_call" {
                        self.put(&format!("response.web_search_call.{step}"), with(&[]), false);
                    }
                }
            }
        }
        self.put("response.output_item.done", json!({"output_index": index, "item": item}), false);
    }
}
