//! From whole answers to Gemini's objects.

use cutover_wire::openai::chat::{TokenLogprob, TopLogprob};
use cutover_wire::{Fault, Finish, Usage};

use super::Shape;
use crate::answer::Answer;
use crate::chat::{self, Call, End};
use crate::inbound::WayBack;
use crate::read::Text;
use crate::signature;
use crate::vectors;
use crate::write::{self, Json};

pub(crate) fn reply(back: &WayBack, shape: Shape, body: &[u8]) -> Result<Answer, Fault> {
    let thoughts = match shape {
        Shape::Content { thoughts, .. } => thoughts,
        Shape::Embedding | Shape::Embeddings => return embedded(shape, body),
    };
    let turn = chat::turn(body)?;
    let lost = turn.lost_with_sources();
    let mut said = Said { logprobs: turn.logprobs, ..Said::default() };
    said.thought = turn.reasoning.filter(|_| thoughts).unwrap_or_default();
    let refused = turn.refusal.is_some();
    said.text = turn.text.or(turn.refusal).unwrap_or_default();
    for (index, call) in turn.calls.iter().enumerate() {
        let id = || format!("call_{}_{index}", back.id);
        match part_of_call(call, id) {
            Some(part) => said.calls.push(part),
            // A call that the limit cut is no call; the finish reason tells of the cut.
            None if turn.end.is_cut() => {}
            None => return Err(chat::bad_arguments()),
        }
    }
    let model = turn.model.as_deref().unwrap_or(&back.model);
    let end = Some((&turn.end, refused));
    let text = write::object(|j| said.write(j, end, (model, &back.id)));
    Ok(Answer::json(text).without(lost))
}

/// What one object says.
#[derive(Default)]
pub(super) struct Said {
    pub(super) thought: String,
    pub(super) text: String,
    /// Calls as parts, as JSON.
    pub(super) calls: Vec<String>,
    pub(super) logprobs: Vec<TokenLogprob>,
}

impl Said {
    /// An answer, or a piece of one: an end has a reason and a usage.
    pub(super) fn write(
        &self,
        json: &mut Json,
        end: Option<(&End, bool)>,
        (model, id): (&str, &str),
    ) {
        json.put_array("candidates", |j| {
            j.object(|j| {
                j.put_object("content", |j| {
                    j.put_array("parts", |j| self.parts(j));
                    j.put("role", "model");
                });
                if let Some((end, refused)) = end {
                    j.put("finishReason", reason(end, refused));
                }
                j.put_number("index", 0);
                if !self.logprobs.is_empty() {
                    j.put_object("logprobsResult", |j| write_logprobs(j, &self.logprobs));
                }
            });
        });
        if let Some((end, _)) = end {
            json.put_object("usageMetadata", |j| write_usage(j, &end.usage));
        }
        json.put("modelVersion", model);
        json.put("responseId", id);
    }

    fn parts(&self, json: &mut Json) {
        if !self.thought.is_empty() {
            json.object(|j| {
                j.put("text", &self.thought);
                j.put_flag("thought", true);
            });
        }
        // Clients read the first part without looking: there is one.
        if !self.text.is_empty() || (self.calls.is_empty() && self.thought.is_empty()) {
            json.object(|j| j.put("text", &self.text));
        }
        self.calls.iter().for_each(|call| json.raw(call));
    }
}

/// A call as a part. `None`: its arguments are no JSON object.
fn part_of_call(call: &Call, make: impl FnOnce() -> String) -> Option<String> {
    let object = chat::arguments_object(call.function.arguments.as_deref().unwrap_or_default())?;
    let id = call.id.clone().filter(|id| !id.is_empty()).unwrap_or_else(make);
    let name = call.function.name.as_deref().unwrap_or_default();
    Some(call_part((&id, name), object))
}

/// A call as a part, with the signature that its id carries.
pub(super) fn call_part((id, name): (&str, &str), arguments: &str) -> String {
    let id = Text::from(id);
    let (id, signature) = signature::split(&id);
    write::object(|j| {
        j.put_object("functionCall", |j| {
            j.put("id", &id);
            j.put("name", name);
            j.key("args").raw(arguments);
        });
        if let Some(signature) = &signature {
            j.put("thoughtSignature", signature);
        }
    })
}

fn reason(end: &End, refused: bool) -> &'static str {
    match end.finish {
        _ if refused => "SAFETY",
        Finish::Length => "MAX_TOKENS",
        Finish::ContentFilter => "SAFETY",
        _ => "STOP",
    }
}

/// Thoughts are inside chat's count of the answer and outside this dialect's.
fn write_usage(json: &mut Json, usage: &Usage) {
    let thoughts = usage.reasoning_tokens.unwrap_or(0).min(usage.completion_tokens);
    json.put_number("promptTokenCount", usage.prompt_tokens);
    if let Some(tokens) = usage.cached_tokens.filter(|tokens| *tokens > 0) {
        json.put_number("cachedContentTokenCount", tokens);
    }
    json.put_number("candidatesTokenCount", usage.completion_tokens - thoughts);
    if thoughts > 0 {
        json.put_number("thoughtsTokenCount", thoughts);
    }
    let total = usage.prompt_tokens.saturating_add(usage.completion_tokens);
    json.put_number("totalTokenCount", total);
}

fn write_logprobs(json: &mut Json, logprobs: &[TokenLogprob]) {
    json.put_array("chosenCandidates", |j| {
        for token in logprobs {
            write_token(j, &token.token, token.logprob);
        }
    });
    json.put_array("topCandidates", |j| {
        for token in logprobs {
            let each = |j: &mut Json, top: &TopLogprob| write_token(j, &top.token, top.logprob);
            j.object(|j| {
                j.put_array("candidates", |j| {
                    token.top_logprobs.iter().for_each(|top| each(j, top));
                });
            });
        }
    });
}

fn write_token(json: &mut Json, token: &str, logprob: f64) {
    json.object(|j| {
        j.put("token", token);
        let number = serde_json::Value::from(logprob).to_string();
        j.put_raw("logProbability", Some(&number).filter(|n| *n != "null").map(|n| &**n));
    });
}

fn embedded(shape: Shape, body: &[u8]) -> Result<Answer, Fault> {
    let read = vectors::read(body)?;
    let values = |j: &mut Json, vector: &str| j.object(|j| j.put_raw("values", Some(vector)));
    let text = match shape {
        Shape::Embedding => {
            let first = read.data.first().ok_or_else(chat::unreadable)?;
            write::object(|j| values(j.key("embedding"), first.embedding.get()))
        }
        _ => write::object(|j| {
            j.put_array("embeddings", |j| {
                read.data.iter().for_each(|vector| values(j, vector.embedding.get()));
            });
        }),
    };
    Ok(Answer::json(text))
}
