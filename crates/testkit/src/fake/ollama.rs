//! Answers in Ollama's own dialect: newline-delimited JSON, durations in nanoseconds.

use serde_json::{Map, Value, json};

use super::Setup;
use super::ask::{Answer, Ask};
use super::info::Page;
use super::openai::Event;
use super::seen::Seen;

const CREATED: &str = "2026-11-21T08:42:10.04015733Z";

/// What a thinking model says to itself.
const THOUGHTS: [&str; 2] = ["The user ", "says something."];

/// Chat or generate; they differ in where the text stands.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Verb {
    Chat,
    Generate,
}

/// One answer about to be written.
pub(super) struct Voice<'a> {
    pub(super) verb: Verb,
    pub(super) ask: &'a Ask,
    pub(super) answer: &'a Answer,
    pub(super) usage: bool,
    /// Nanoseconds that loading the model took before this answer; small when it was warm.
    pub(super) load_duration: u64,
}

impl Voice<'_> {
    /// The answer of a request with `stream: false`.
    pub(super) fn whole(&self) -> Value {
        let text = self.answer.tokens.concat();
        let mut body = if self.ask.thinks {
            self.thinking(&text, &THOUGHTS.concat())
        } else {
            self.line(&text, &self.tool_calls())
        };
        self.close(&mut body);
        if let Some(top) = self.ask.logprobs {
            let entries: Vec<Value> =
                self.answer.tokens.iter().map(|token| logprob(token, top)).collect();
            body["logprobs"] = json!(entries);
        }
        body
    }

    /// The lines of a stream.
    pub(super) fn events(&self) -> Vec<Event> {
        let mut events: Vec<Event> = Vec::new();
        if self.ask.thinks {
            for thought in THOUGHTS {
                let line = self.thinking("", thought);
                events.push(Event { data: line.to_string(), content: false });
            }
        }
        for token in &self.answer.tokens {
            let mut line = self.line(token, &[]);
            if let Some(top) = self.ask.logprobs {
                line["logprobs"] = json!([logprob(token, top)]);
            }
            events.push(Event { data: line.to_string(), content: true });
        }
        // A call comes whole in one line, before the closing one.
        let calls = self.tool_calls();
        if !calls.is_empty() {
            events.push(Event { data: self.line("", &calls).to_string(), content: true });
        }
        let mut last = self.line("", &[]);
        self.close(&mut last);
        events.push(Event { data: last.to_string(), content: false });
        events
    }

    fn line(&self, text: &str, calls: &[Value]) -> Value {
        let mut body = json!({"model": self.ask.model, "created_at": CREATED, "done": false});
        if self.verb == Verb::Generate {
            body["response"] = json!(text);
            return body;
        }
        let mut message = json!({"role": "assistant", "content": text});
        if !calls.is_empty() {
            message["tool_calls"] = json!(calls);
        }
        body["message"] = message;
        body
    }

    fn thinking(&self, text: &str, thought: &str) -> Value {
        let mut body = self.line(text, &[]);
        match self.verb {
            Verb::Chat => body["message"]["thinking"] = json!(thought),
            Verb::Generate => body["thinking"] = json!(thought),
        }
        body
    }

    fn close(&self, body: &mut Value) {
        body["done"] = json!(true);
        // Ollama has no reason of its own for a tool call.
        let reason = if self.answer.finish == "length" { "length" } else { "stop" };
        body["done_reason"] = json!(reason);
        body["total_duration"] = json!(22_433_259 + self.load_duration);
        body["load_duration"] = json!(self.load_duration);
        if self.usage {
            body["prompt_eval_count"] = json!(self.answer.prompt_tokens);
            body["prompt_eval_duration"] = json!(9_507_000);
            body["eval_count"] = json!(self.answer.completion_tokens);
            body["eval_duration"] = json!(8_951_000);
        }
    }

    fn tool_calls(&self) -> Vec<Value> {
        self.answer
            .calls
            .iter()
            .map(|call| {
                // Arguments are an object here, not text.
                let arguments: Value = serde_json::from_str(&call.arguments)
                    .unwrap_or_else(|_| Value::Object(Map::new()));
                json!({"function": {"name": call.name, "arguments": arguments}})
            })
            .collect()
    }
}

fn logprob(token: &str, top: u64) -> Value {
    let one = json!({"token": token, "logprob": -0.25, "bytes": token.as_bytes()});
    let mut entry = one.clone();
    if top > 0 {
        entry["top_logprobs"] = json!(vec![one; usize::try_from(top).unwrap_or(1)]);
    }
    entry
}

/// An answer without text: what loading and unloading a model give.
pub(super) fn silent(model: &str, reason: &str) -> Value {
    json!({"model": model, "created_at": CREATED, "message": {"role": "assistant", "content": ""},
        "done": true, "done_reason": reason})
}

/// Models that were fetched and removed since the start.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    fetched: Vec<String>,
    removed: Vec<String>,
}

impl Shelf {
    /// The models there are.
    pub(super) fn models(&self, setup: &Setup) -> Vec<String> {
        let all = setup.models.iter().chain(&self.fetched);
        all.filter(|name| !self.removed.contains(name)).cloned().collect()
    }

    /// Does what a request asks of the shelf; None: nothing.
    pub(super) fn order(&mut self, setup: &Setup, seen: &Seen) -> Option<Page> {
        let mut page = self.obey(setup, seen)?;
        // What a proxy leaves that takes the end of a body for blank.
        if page.body.contains('\n') && seen.body.windows(7).any(|word| word == b"unended") {
            page.body.truncate(page.body.trim_end().len());
        }
        Some(page)
    }

    fn obey(&mut self, setup: &Setup, seen: &Seen) -> Option<Page> {
        let body: Value = serde_json::from_slice(&seen.body).unwrap_or_default();
        let model = body["model"].as_str().unwrap_or_default().to_owned();
        let known = self.models(setup).contains(&model);
        let missing = || refused(&format!("model '{model}' not found"));
        Some(match seen.path() {
            "/api/pull" if model.contains("missing") => {
                lines(&[json!({"status": "pulling manifest"}), json!({"error": NO_MANIFEST})])
            }
            "/api/pull" => {
                if !known {
                    self.removed.retain(|name| *name != model);
                    self.fetched.push(model);
                }
                lines(&fetching())
            }
            "/api/delete" if known => {
                self.fetched.retain(|name| *name != model);
                self.removed.push(model);
                Page { status: 200, content_type: "application/json", body: String::new() }
            }
            "/api/delete" => missing(),
            "/api/show" if !known => missing(),
            _ => return None,
        })
    }
}

const NO_MANIFEST: &str = "pull model manifest: file does not exist";

fn fetching() -> Vec<Value> {
    let part = |completed: u64| {
        json!({"status": "pulling 941f309b54ca", "digest": "sha256:941f309b54ca",
            "total": 98_362_432, "completed": completed})
    };
    vec![
        json!({"status": "pulling manifest"}),
        part(0),
        part(49_181_216),
        part(98_362_432),
        json!({"status": "verifying sha256 digest"}),
        part(98_362_432),
        json!({"status": "success"}),
    ]
}

fn lines(values: &[Value]) -> Page {
    let body = values.iter().map(|value| value.to_string() + "\n").collect();
    Page { status: 200, content_type: "application/x-ndjson", body }
}

fn refused(message: &str) -> Page {
    let body = json!({"error": message}).to_string();
    Page { status: 404, content_type: "application/json", body }
}
