//! The Response object and its output items.

use cutover_units::Millis;
use cutover_wire::openai::chat::TokenLogprob;
use cutover_wire::{Fault, Finish, Usage};

use super::store::Stored;
use super::tools::{self, Names};
use crate::answer::Answer;
use crate::chat::{self, End, Source, Turn};
use crate::inbound::{Moment, WayBack};
use crate::read::Obj;
use crate::sampled::{Sampled, Sent};
use crate::split;
use crate::write::{self, Json};

/// What the answer repeats of the request, and what is kept of it.
pub(crate) struct Echo {
    /// Members of the Response object, as JSON.
    pub(super) members: String,
    /// Those of them that depend on what was sent.
    pub(super) sampled: Sampled,
    pub(super) names: Names,
    /// The request's own items in their stored form, if the answer is kept.
    pub(super) input: Option<String>,
    pub(super) previous: Option<String>,
}

/// The members that repeat the request: every one that the vendor's schema knows, with the vendor's
/// defaults, but for what was [`Sampled`].
pub(super) fn echo(root: &Obj<'_>, keep: bool) -> String {
    const ECHOED: &[(&str, &str)] = &[
        ("background", "false"),
        ("instructions", "null"),
        ("max_tool_calls", "null"),
        ("parallel_tool_calls", "true"),
        ("previous_response_id", "null"),
        ("prompt_cache_key", "null"),
        ("safety_identifier", "null"),
        ("service_tier", "\"default\""),
        ("text", r#"{"format":{"type":"text"}}"#),
        ("tool_choice", "\"auto\""),
        ("tools", "[]"),
        ("top_logprobs", "0"),
        ("truncation", "\"disabled\""),
        ("user", "null"),
        ("metadata", "{}"),
    ];
    let whole = write::object(|j| {
        // Told by its members: a summary that nobody makes is none.
        j.put_object("reasoning", |j| {
            let effort = root.get("reasoning").and_then(|raw| {
                let obj = Obj::read(raw, crate::read::At::Root).ok()?;
                obj.get("effort")
            });
            j.put_raw("effort", effort);
            j.key("summary").null();
        });
        j.put_flag("store", keep);
        for (key, default) in ECHOED {
            j.key(key).raw(root.get(key).unwrap_or(default));
        }
    });
    // Without the braces: these are members of a larger object.
    whole.get(1..whole.len().saturating_sub(1)).unwrap_or_default().to_owned()
}

/// How a response stands.
pub(super) enum Standing<'a> {
    InProgress,
    Ended(&'a End, Millis),
    Failed(&'a Fault),
}

/// What the object is written from.
pub(super) struct Object<'a> {
    pub(super) id: &'a str,
    pub(super) model: &'a str,
    pub(super) created: Millis,
    pub(super) output: &'a [String],
    pub(super) sampled: &'a Sampled,
}

impl Object<'_> {
    pub(super) fn write(&self, echo: &Echo, standing: &Standing<'_>) -> String {
        write::object(|j| {
            j.put("id", self.id);
            j.put("object", "response");
            j.put_number("created_at", self.created.0 / 1_000);
            j.put("status", status(standing));
            j.put("model", self.model);
            j.put_array("output", |j| self.output.iter().for_each(|item| j.raw(item)));
            match standing {
                Standing::Failed(fault) => put_error(j, fault),
                _ => j.key("error").null(),
            }
            match standing {
                Standing::Ended(end, at) => {
                    match incomplete(end) {
                        Some(reason) => {
                            j.put_object("incomplete_details", |j| j.put("reason", reason));
                            j.key("completed_at").null();
                        }
                        None => {
                            j.key("incomplete_details").null();
                            j.put_number("completed_at", at.0 / 1_000);
                        }
                    }
                    j.put_object("usage", |j| write_usage(j, &end.usage));
                }
                _ => {
                    for key in ["incomplete_details", "completed_at", "usage"] {
                        j.key(key).null();
                    }
                }
            }
            j.members(&echo.members);
            self.sampled.write(j);
        })
    }
}

fn put_error(json: &mut Json, fault: &Fault) {
    json.put_object("error", |j| {
        j.put("code", error_code(fault));
        j.put("message", &fault.message);
    });
}

/// The Response of an upstream that speaks this dialect itself, once it has failed.
pub(super) fn failed(theirs: &str, fault: &Fault) -> Option<String> {
    let members = split::members(theirs)?;
    Some(write::object(|j| {
        for (key, raw) in members {
            match key {
                "\"status\"" => j.put("status", "failed"),
                "\"error\"" => put_error(j, fault),
                key => j.key(key.trim_matches('"')).raw(raw),
            }
        }
    }))
}

fn status(standing: &Standing<'_>) -> &'static str {
    match standing {
        Standing::InProgress => "in_progress",
        Standing::Failed(_) => "failed",
        Standing::Ended(end, _) if incomplete(end).is_some() => "incomplete",
        Standing::Ended(..) => "completed",
    }
}

pub(super) fn incomplete(end: &End) -> Option<&'static str> {
    match end.finish {
        Finish::Length => Some("max_output_tokens"),
        Finish::ContentFilter => Some("content_filter"),
        _ => None,
    }
}

/// The schema knows a fixed list of codes.
fn error_code(fault: &Fault) -> &'static str {
    match fault.code.status() {
        429 => "rate_limit_exceeded",
        400 => "invalid_prompt",
        _ => "server_error",
    }
}

fn write_usage(json: &mut Json, usage: &Usage) {
    json.put_number("input_tokens", usage.prompt_tokens);
    json.put_object("input_tokens_details", |j| {
        j.put_number("cached_tokens", usage.cached_tokens.unwrap_or(0));
        j.put_number("cache_write_tokens", usage.cache_write_tokens.unwrap_or(0));
    });
    json.put_number("output_tokens", usage.completion_tokens);
    json.put_object("output_tokens_details", |j| {
        j.put_number("reasoning_tokens", usage.reasoning_tokens.unwrap_or(0));
    });
    json.put_number("total_tokens", usage.total_tokens);
}

/// Log-probabilities with every member that the schema requires.
pub(super) fn write_logprobs(json: &mut Json, list: &[TokenLogprob]) {
    let bytes = |j: &mut Json, bytes: Option<&[u8]>, token: &str| {
        let bytes = bytes.unwrap_or(token.as_bytes());
        j.put_array("bytes", |j| bytes.iter().for_each(|b| j.number(u64::from(*b))));
    };
    let number = |j: &mut Json, value: f64| {
        // JSON has no infinity: an impossible token's is the smallest number.
        let value = if value.is_finite() { value } else { f64::MIN };
        j.key("logprob").raw(&serde_json::Value::from(value).to_string());
    };
    json.array(|j| {
        for entry in list {
            j.object(|j| {
                j.put("token", &entry.token);
                number(j, entry.logprob);
                bytes(j, entry.bytes.as_deref(), &entry.token);
                j.put_array("top_logprobs", |j| {
                    for top in &entry.top_logprobs {
                        j.object(|j| {
                            j.put("token", &top.token);
                            number(j, top.logprob);
                            bytes(j, top.bytes.as_deref(), &top.token);
                        });
                    }
                });
            });
        }
    });
}

/// A content part of a message or of reasoning.
pub(super) fn text_part(text: &str, logprobs: &[TokenLogprob], sources: &[Source]) -> String {
    write::object(|j| {
        j.put("type", "output_text");
        j.put_array("annotations", |j| sources.iter().for_each(|s| j.raw(&annotation(s))));
        write_logprobs(j.key("logprobs"), logprobs);
        j.put("text", text);
    })
}

/// Where a part of a text is from.
pub(super) fn annotation(source: &Source) -> String {
    let (start, end) = source.place;
    write::object(|j| {
        j.put("type", "url_citation");
        j.put_number("start_index", start);
        j.put_number("end_index", end);
        j.put("url", &source.url);
        j.put("title", &source.title);
    })
}

pub(super) fn refusal_part(text: &str) -> String {
    write::object(|j| {
        j.put("type", "refusal");
        j.put("refusal", text);
    })
}

pub(super) fn reasoning_part(text: &str) -> String {
    write::object(|j| {
        j.put("type", "reasoning_text");
        j.put("text", text);
    })
}

/// A message with one part, or none yet.
pub(super) fn message_item(id: &str, part: Option<&str>, status: &str) -> String {
    write::object(|j| {
        j.put("id", id);
        j.put("type", "message");
        j.put("status", status);
        j.put("role", "assistant");
        j.put_array("content", |j| part.into_iter().for_each(|part| j.raw(part)));
    })
}

pub(super) fn reasoning_item(id: &str, part: Option<&str>, status: &str) -> String {
    write::object(|j| {
        j.put("id", id);
        j.put("type", "reasoning");
        j.put("status", status);
        j.put_array("summary", |_| {});
        j.put_array("content", |j| part.into_iter().for_each(|part| j.raw(part)));
    })
}

/// A call: of a function, or of a custom tool, by what the client calls it.
pub(super) struct CallItem<'a> {
    pub(super) id: &'a str,
    pub(super) call_id: &'a str,
    pub(super) chat_name: &'a str,
    pub(super) arguments: &'a str,
    pub(super) status: &'a str,
}

/// The arguments of a call: clients parse them, and an empty text is no JSON.
pub(super) fn call_arguments(arguments: &str) -> &str {
    if arguments.trim().is_empty() { "{}" } else { arguments }
}

impl CallItem<'_> {
    pub(super) fn write(&self, names: &Names) -> String {
        let origin = names.origin(self.chat_name);
        write::object(|j| {
            j.put("id", self.id);
            j.put("type", if origin.custom { "custom_tool_call" } else { "function_call" });
            j.put("status", self.status);
            j.put("call_id", self.call_id);
            j.put("name", &origin.name);
            if let Some(namespace) = &origin.namespace {
                j.put("namespace", namespace);
            }
            if origin.custom {
                j.put("input", &tools::custom_input(self.arguments));
            } else {
                j.put("arguments", self.arguments);
            }
        })
    }
}

fn output(turn: &Turn, id: &str, names: &Names) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    let status = if incomplete(&turn.end).is_some() { "incomplete" } else { "completed" };
    if let Some(text) = &turn.reasoning {
        let part = reasoning_part(text);
        items.push(reasoning_item(&format!("rs_{id}_{}", items.len()), Some(&part), "completed"));
    }
    let text = turn.text.as_ref().map(|text| text_part(text, &turn.logprobs, &turn.sources));
    let refusal = turn.refusal.as_ref().map(|text| refusal_part(text));
    for part in [text, refusal].into_iter().flatten() {
        items.push(message_item(&format!("msg_{id}_{}", items.len()), Some(&part), status));
    }
    for (index, call) in turn.calls.iter().enumerate() {
        let chat_name = call.function.name.as_deref().unwrap_or_default();
        let own = call.id.clone().filter(|id| !id.is_empty());
        let prefix = if names.origin(chat_name).custom { "ctc" } else { "fc" };
        let item = CallItem {
            id: &format!("{prefix}_{id}_{}", items.len()),
            call_id: &own.unwrap_or_else(|| format!("call_{id}_{index}")),
            chat_name,
            arguments: call_arguments(call.function.arguments.as_deref().unwrap_or_default()),
            status,
        };
        items.push(item.write(names));
    }
    items
}

/// From a whole chat answer to a Response, and what is stored of it.
pub(crate) fn reply(
    back: &WayBack,
    (echo, sent): (&Echo, Option<Sent<'_>>),
    body: &[u8],
    now: Moment,
) -> Result<(Answer, Option<Stored>), Fault> {
    let turn = chat::turn(body)?;
    let id = back.answer_id();
    let output = output(&turn, &back.id, &echo.names);
    let model = turn.model.as_deref().unwrap_or(&back.model);
    let mut sampled = echo.sampled.clone();
    if let Some(sent) = sent {
        sampled.was_sent(sent);
    }
    let (created, output, sampled) = (back.created, &output, &sampled);
    let object = Object { id: &id, model, created, output, sampled };
    let text = object.write(echo, &Standing::Ended(&turn.end, now.at));
    let stored = stored(echo, &id, &text);
    Ok((Answer::json(text).without(turn.lost), stored))
}

/// The stored form of an answer, if it is kept.
pub(super) fn stored(echo: &Echo, id: &str, response: &str) -> Option<Stored> {
    let input = echo.input.clone()?;
    let (id, previous) = (id.to_owned(), echo.previous.clone());
    Some(Stored { id, previous, input, response: response.to_owned() })
}
