//! From a whole chat answer to a message.

use cutover_wire::{Fault, Finish, Usage};

use super::events::SIGNATURE;
use crate::answer::Answer;
use crate::chat::{self, End, Signed, Turn};
use crate::inbound::WayBack;
use crate::write::{self, Json};

pub(crate) fn reply(back: &WayBack, body: &[u8]) -> Result<Answer, Fault> {
    let turn = chat::turn(body)?;
    let lost = turn.lost_with_sources();
    let model = turn.model.as_deref().unwrap_or(&back.model);
    let mut end = turn.end.clone();
    end.called = !turn.calls.is_empty();
    if turn.refusal.is_some() {
        end.finish = Finish::ContentFilter;
    }
    let blocks = blocks(&turn, back)?;
    let text = write::object(|j| {
        j.put("id", &back.answer_id());
        j.put("type", "message");
        j.put("role", "assistant");
        j.put("model", model);
        j.put_array("content", |j| blocks.iter().for_each(|block| j.raw(block)));
        write_stop(j, &end);
        j.put_object("usage", |j| write_usage(j, &end.usage));
    });
    Ok(Answer::json(text).without(lost))
}

fn blocks(turn: &Turn, back: &WayBack) -> Result<Vec<String>, Fault> {
    let mut blocks = Vec::new();
    let thinking = |text: &str, signature: &str| {
        write::object(|j| {
            j.put("type", "thinking");
            j.put("thinking", text);
            j.put("signature", signature);
        })
    };
    for signed in &turn.signed {
        blocks.push(match signed {
            Signed::Open(text, signature) => thinking(text, signature),
            Signed::Hidden(data) => write::object(|j| {
                j.put("type", "redacted_thinking");
                j.put("data", data);
            }),
        });
    }
    let unsigned = turn.reasoning.as_ref().filter(|_| turn.signed.is_empty());
    blocks.extend(unsigned.map(|text| thinking(text, SIGNATURE)));
    for text in [&turn.text, &turn.refusal].into_iter().flatten() {
        blocks.push(write::object(|j| {
            j.put("type", "text");
            j.put("text", text);
        }));
    }
    for (index, call) in turn.calls.iter().enumerate() {
        let arguments = call.function.arguments.as_deref().unwrap_or_default();
        let Some(input) = chat::arguments_object(arguments) else {
            // A call that the limit cut is no call; stop_reason tells of the cut.
            if turn.end.is_cut() {
                continue;
            }
            return Err(chat::bad_arguments());
        };
        let id = call.id.clone().filter(|id| !id.is_empty());
        let id = id.unwrap_or_else(|| format!("call_{}_{index}", back.id));
        let name = call.function.name.as_deref().unwrap_or_default();
        blocks.push(write::object(|j| {
            j.put("type", "tool_use");
            j.put("id", &id);
            j.put("name", name);
            j.key("input").raw(input);
        }));
    }
    Ok(blocks)
}

/// `stop_reason` and `stop_sequence`.
pub(super) fn write_stop(json: &mut Json, end: &End) {
    let reason = match (end.finish, &end.stop_sequence) {
        (Finish::Length, _) => "max_tokens",
        (Finish::ContentFilter, _) => "refusal",
        // Whoever is told of a call and finds none asks again for ever.
        _ if end.called => "tool_use",
        (Finish::Stop, Some(_)) => "stop_sequence",
        _ => "end_turn",
    };
    json.put("stop_reason", reason);
    match &end.stop_sequence {
        Some(text) if reason == "stop_sequence" => json.put("stop_sequence", text),
        _ => json.key("stop_sequence").null(),
    }
}

/// Tokens read from or written to a cache are inside chat's count of the prompt and outside this
/// dialect's.
pub(super) fn write_usage(json: &mut Json, usage: &Usage) {
    let read = usage.cached_tokens.unwrap_or(0).min(usage.prompt_tokens);
    let written = usage.cache_write_tokens.unwrap_or(0).min(usage.prompt_tokens - read);
    json.put_number("input_tokens", usage.prompt_tokens - read - written);
    json.put_number("cache_creation_input_tokens", written);
    json.put_number("cache_read_input_tokens", read);
    json.put_number("output_tokens", usage.completion_tokens);
    if let Some(tokens) = usage.reasoning_tokens.filter(|tokens| *tokens <= usage.completion_tokens)
    {
        json.put_object("output_tokens_details", |j| j.put_number("thinking_tokens", tokens));
    }
}
