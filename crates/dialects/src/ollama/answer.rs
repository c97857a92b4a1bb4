//! From whole answers to Ollama's objects.

use cutover_units::{Millis, Utc};
use cutover_wire::openai::chat::TokenLogprob;
use cutover_wire::{Fault, Finish, Usage};

use super::Shape;
use crate::answer::Answer;
use crate::chat::{self, End};
use crate::inbound::{Moment, WayBack};
use crate::vectors;
use crate::write::{self, Json};

pub(crate) fn reply(
    back: &WayBack,
    shape: Shape,
    body: &[u8],
    now: Moment,
) -> Result<Answer, Fault> {
    if matches!(shape, Shape::Embed | Shape::Embedding) {
        return embedded(back, shape, body, now);
    }
    let turn = chat::turn(body)?;
    let lost = turn.lost_with_sources();
    let model = turn.model.as_deref().unwrap_or(&back.model);
    let mut said = Said {
        text: turn.text.or(turn.refusal).unwrap_or_default(),
        thinking: turn.reasoning.unwrap_or_default(),
        calls: Vec::new(),
        logprobs: turn.logprobs,
    };
    for call in &turn.calls {
        let arguments = call.function.arguments.as_deref().unwrap_or_default();
        let name = call.function.name.as_deref().unwrap_or_default();
        match chat::arguments_object(arguments) {
            Some(object) => {
                let id = call.id.as_deref().unwrap_or_default();
                said.calls.push(call_object(said.calls.len(), (id, name), object));
            }
            // A call that the limit cut is no call; done_reason tells of the cut.
            None if turn.end.is_cut() => {}
            None => return Err(chat::bad_arguments()),
        }
    }
    let times = Times { first: None, now };
    let text = write::object(|j| {
        said.write(j, shape, (model, now.at));
        write_end(j, &turn.end, times);
    });
    Ok(Answer::json(text).without(lost))
}

/// When what happened.
#[derive(Clone, Copy)]
pub(super) struct Times {
    /// When the first content came; not known of a whole answer.
    pub(super) first: Option<Moment>,
    pub(super) now: Moment,
}

/// What one object says.
#[derive(Default)]
pub(super) struct Said {
    pub(super) text: String,
    pub(super) thinking: String,
    pub(super) calls: Vec<String>,
    pub(super) logprobs: Vec<TokenLogprob>,
}

impl Said {
    /// Everything but the end.
    pub(super) fn write(&self, json: &mut Json, shape: Shape, (model, at): (&str, Millis)) {
        json.put("model", model);
        json.put("created_at", &Utc::at(at).rfc3339());
        if shape == Shape::Generate {
            json.put("response", &self.text);
            if !self.thinking.is_empty() {
                json.put("thinking", &self.thinking);
            }
        } else {
            json.put_object("message", |j| {
                j.put("role", "assistant");
                j.put("content", &self.text);
                if !self.thinking.is_empty() {
                    j.put("thinking", &self.thinking);
                }
                if !self.calls.is_empty() {
                    j.put_array("tool_calls", |j| self.calls.iter().for_each(|call| j.raw(call)));
                }
            });
        }
        if !self.logprobs.is_empty() {
            let list = serde_json::to_string(&self.logprobs).unwrap_or_else(|_| "[]".to_owned());
            json.key("logprobs").raw(&list);
        }
    }
}

pub(super) fn call_object(index: usize, (id, name): (&str, &str), arguments: &str) -> String {
    write::object(|j| {
        if !id.is_empty() {
            j.put("id", id);
        }
        j.put_object("function", |j| {
            j.put_number("index", index as u64);
            j.put("name", name);
            j.key("arguments").raw(arguments);
        });
    })
}

/// The end of an answer: reason, counts and durations.
pub(super) fn write_end(json: &mut Json, end: &End, times: Times) {
    json.put_flag("done", true);
    json.put("done_reason", if end.finish == Finish::Length { "length" } else { "stop" });
    write_counts(json, &end.usage, times);
}

fn write_counts(json: &mut Json, usage: &Usage, times: Times) {
    let nanos = |us: u64| us.saturating_mul(1_000);
    let total = times.now.elapsed.0;
    let first = times.first.map_or(0, |moment| moment.elapsed.0.min(total));
    json.put_number("total_duration", nanos(total));
    json.put_number("load_duration", 0);
    json.put_number("prompt_eval_count", usage.prompt_tokens);
    json.put_number("prompt_eval_duration", nanos(first));
    json.put_number("eval_count", usage.completion_tokens);
    json.put_number("eval_duration", nanos(total - first));
}

/// The answer to a request that only loads or unloads a model.
pub(super) fn loaded(shape: Shape, model: &str, now: Millis, reason: &str) -> Answer {
    let said = Said::default();
    Answer::json(write::object(|j| {
        said.write(j, shape, (model, now));
        j.put_flag("done", true);
        j.put("done_reason", reason);
    }))
}

fn embedded(back: &WayBack, shape: Shape, body: &[u8], now: Moment) -> Result<Answer, Fault> {
    let read = vectors::read(body)?;
    if shape == Shape::Embedding {
        let first = read.data.first().ok_or_else(chat::unreadable)?;
        let text = write::object(|j| j.key("embedding").raw(first.embedding.get()));
        return Ok(Answer::json(text));
    }
    let usage = read.usage().unwrap_or_default();
    let model = read.model.filter(|model| !model.is_empty());
    Ok(Answer::json(write::object(|j| {
        j.put("model", model.as_deref().unwrap_or(&back.model));
        j.put_array("embeddings", |j| read.data.iter().for_each(|v| j.raw(v.embedding.get())));
        j.put_number("total_duration", now.elapsed.0.saturating_mul(1_000));
        j.put_number("load_duration", 0);
        j.put_number("prompt_eval_count", usage.prompt_tokens);
    })))
}
