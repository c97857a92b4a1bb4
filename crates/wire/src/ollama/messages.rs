//! Messages: content parts become text and images, arguments become objects, tool results get the
//! name of the tool they answer.

use std::collections::HashMap;

use cutover_json::solid::solid_bytes;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::adapt::{Loss, LossAction, dropped, inside};
use crate::endpoint::Endpoint;
use crate::errors::Fault;
use crate::framing::{self, Framing, Item, Said};
use crate::head::Key;
use crate::openai::arguments;
use crate::openai::chat::{self, CalledFunction, Role};
use crate::openai::content::{Content, Part};
use crate::target::{Target, Unsupported};

/// A message in Ollama's form.
#[derive(Serialize)]
pub(super) struct Message {
    role: &'static str,
    content: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    thinking: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    images: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_call_id: Option<String>,
    /// Whether it is of a tool's result, whoever says it.
    #[serde(skip)]
    attached: bool,
}

#[derive(Serialize)]
struct Call {
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    function: Function,
}

#[derive(Serialize)]
struct Function {
    name: String,
    arguments: Box<RawValue>,
}

/// Converted messages.
pub(super) struct Converted {
    pub(super) messages: Vec<Message>,
    pub(super) losses: Vec<Loss>,
    /// Bytes of text in all of them.
    pub(super) text_bytes: u64,
}

/// Converts a conversation, with what the variant puts around it.
pub(super) fn convert(
    list: Vec<chat::Message>,
    (framing, target): (Option<&Framing>, &Target),
) -> Result<Converted, Fault> {
    const NO_OBJECT: &str = "what is no JSON object is sent as a text in one";
    let mut names = HashMap::new();
    let mut converted =
        Converted { messages: Vec::with_capacity(list.len() + 1), losses: vec![], text_bytes: 0 };
    let mut wrapped = false;
    for (index, message) in list.into_iter().enumerate() {
        lose_inside(&message, index, (target, &mut converted.losses))?;
        let message = one(message, index, (&mut names, &mut wrapped))?;
        converted.messages.push(message);
    }
    if wrapped {
        let field = "messages[].tool_calls[].function.arguments".to_owned();
        converted.losses.push(Loss { field, action: LossAction::Approximated, why: NO_OBJECT });
    }
    if let Some(framing) = framing {
        converted.messages = frame(framing, converted.messages);
    }
    converted.text_bytes = converted.messages.iter().map(|m| solid_bytes(&m.content)).sum();
    Ok(converted)
}

/// Why what its maker needs to take reasoning or a call back is left out.
const SIGNED: &str = "another vendor's signatures";

/// Why an earlier answer that was spoken is left out.
const SPOKEN: &str = "Ollama takes text and images only";

/// What of a message Ollama has no place for: refused, or reported.
fn lose_inside(
    message: &chat::Message,
    index: usize,
    (target, losses): (&Target, &mut Vec<Loss>),
) -> Result<(), Fault> {
    let rule = |key| target.provider.rule(key, Endpoint::ChatCompletions);
    let is_tool = matches!(message.role, Role::Tool | Role::Function);
    let name = message.name.as_deref().filter(|name| !name.is_empty() && !is_tool);
    if let (Some(_), Some(rule)) = (name, rule(Key::MessageName)) {
        inside::lose(rule, &inside::name_at(index), (target.unsupported, losses))?;
    }
    let marks = message.tool_calls.iter().flatten().map(|call| call.extra_content.as_ref());
    let marks = marks.map(|mark| ("messages[].tool_calls[].extra_content", mark));
    for (field, mark) in
        marks.chain([("messages[].reasoning_details", message.reasoning_details.as_ref())])
    {
        let is_empty = mark.is_none_or(|raw| matches!(raw.get(), "null" | "[]" | "{}"));
        if !is_empty && losses.iter().all(|loss| loss.field != field) {
            losses.push(dropped(field, SIGNED));
        }
    }
    if message.audio.as_ref().is_some_and(|raw| raw.get() != "null") {
        if target.unsupported == Unsupported::Strict {
            return Err(Fault::unsupported(&format!("messages[{index}].audio"), SPOKEN));
        }
        if losses.iter().all(|loss| loss.field != "messages[].audio") {
            losses.push(dropped("messages[].audio", SPOKEN));
        }
    }
    let details = message.content.iter().flat_map(inside::details);
    for (part, _) in details.filter(|(_, detail)| *detail != "auto") {
        let Some(rule) = rule(Key::ImageDetail) else { break };
        inside::lose(rule, &inside::detail_at(index, part), (target.unsupported, losses))?;
    }
    Ok(())
}

fn frame(framing: &Framing, messages: Vec<Message>) -> Vec<Message> {
    let said: Vec<Said> = messages
        .iter()
        .map(|message| match message.role {
            "system" => Said::System,
            "user" if !message.attached => Said::User,
            _ => Said::Other,
        })
        .collect();
    let text_of = |at: usize| messages.get(at).map(|m| m.content.clone()).unwrap_or_default();
    let planned = framing::plan(framing, &said, &text_of);
    let mut messages: Vec<_> = messages.into_iter().map(Some).collect();
    let carried = planned.into_iter().filter_map(|item| match item {
        Item::New { role, texts } => Some(Message::of(role, framing::joined(&texts))),
        Item::Kept { at, before, after } => {
            let mut message = messages.get_mut(at)?.take()?;
            if !before.is_empty() || !after.is_empty() {
                let own = Some(message.content).filter(|own| !own.is_empty());
                let texts: Vec<_> = before.into_iter().chain(own).chain(after).collect();
                message.content = framing::joined(&texts);
            }
            Some(message)
        }
    });
    carried.collect()
}

impl Message {
    fn of(role: &'static str, content: String) -> Self {
        Self {
            role,
            content,
            thinking: None,
            images: Vec::new(),
            tool_calls: Vec::new(),
            tool_name: None,
            tool_call_id: None,
            attached: false,
        }
    }
}

fn one(
    message: chat::Message,
    index: usize,
    (names, wrapped): (&mut HashMap<String, String>, &mut bool),
) -> Result<Message, Fault> {
    let role = match message.role {
        Role::System | Role::Developer => "system",
        Role::User => "user",
        Role::Assistant => "assistant",
        Role::Tool | Role::Function => "tool",
    };
    let content = message.content.unwrap_or(Content::Text(String::new()));
    let mut out = Message::of(role, content.text().into_owned());
    // A conversation keeps the turn, as it does elsewhere: as what was said.
    if let Some(refusal) = message.refusal.filter(|text| !text.is_empty()) {
        let own = Some(out.content).filter(|own| !own.is_empty());
        out.content = own.into_iter().chain([refusal]).collect::<Vec<_>>().join("\n");
    }
    if let Content::Parts(parts) = &content {
        out.images = images(parts, index)?;
        let text = |part: &Part| matches!(part, Part::Text { text } if !framing::is_label(text));
        out.attached = !parts.iter().any(text) && framing::is_label(&out.content);
    }
    out.thinking = message.reasoning_content;
    let calls = message.tool_calls.unwrap_or_default();
    // Who writes both says the same twice. The deprecated form has no id.
    let old = message.function_call.filter(|_| calls.is_empty());
    let old = old.and_then(|raw| deprecated(&raw)).map(|called| (None, called));
    for (id, called) in calls.into_iter().map(|call| (call.id, call.function)).chain(old) {
        let arguments = object(&called.arguments, wrapped);
        if let Some(id) = &id {
            names.insert(id.clone(), called.name.clone());
        }
        let function = Function { name: called.name, arguments };
        out.tool_calls.push(Call { id, function });
    }
    if role == "tool" {
        let called = message.tool_call_id.as_ref().and_then(|id| names.get(id).cloned());
        out.tool_name = message.name.or(called);
        out.tool_call_id = message.tool_call_id;
    }
    Ok(out)
}

/// A call in the deprecated form, however its parts are written; none where it names nothing.
fn deprecated(raw: &RawValue) -> Option<CalledFunction> {
    let call: Value = serde_json::from_str(raw.get()).ok()?;
    let name = call.get("name")?.as_str().filter(|name| !name.is_empty())?.to_owned();
    let arguments = match call.get("arguments") {
        Some(Value::String(text)) => text.clone(),
        Some(Value::Null) | None => "{}".to_owned(),
        Some(other) => other.to_string(),
    };
    Some(CalledFunction { name, arguments })
}

/// Arguments are a text that holds an object; the object is passed on as it was written. Of a text that holds none an
/// object is made.
fn object(text: &str, wrapped: &mut bool) -> Box<RawValue> {
    let raw = |text: &str| serde_json::from_str::<Box<RawValue>>(text).ok();
    arguments::object(text).and_then(raw).unwrap_or_else(|| {
        *wrapped = true;
        raw(&arguments::wrapped(text)).unwrap_or_else(|| RawValue::NULL.to_owned())
    })
}

fn images(parts: &[Part], index: usize) -> Result<Vec<String>, Fault> {
    let mut images = Vec::new();
    for (position, part) in parts.iter().enumerate() {
        match part {
            Part::Text { .. } | Part::Refusal { .. } => {}
            Part::ImageUrl { image_url } => {
                let data = image_url.url.strip_prefix("data:");
                let data = data.and_then(|rest| rest.split_once(";base64,"));
                let Some((_, base64)) = data else {
                    let param = format!("messages[{index}].content[{position}].image_url.url");
                    let why = "Ollama takes images as base64 data URLs only";
                    return Err(Fault::unsupported(&param, why));
                };
                images.push(base64.to_owned());
            }
            Part::InputAudio { .. } | Part::File { .. } => {
                let param = format!("messages[{index}].content[{position}].{}", part.kind());
                return Err(Fault::unsupported(&param, "Ollama takes text and images only"));
            }
        }
    }
    Ok(images)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::providers::Provider;

    fn converted(history: &Value, unsupported: Unsupported) -> Result<Converted, Fault> {
        let list = serde_json::from_value(history.clone()).unwrap();
        let provider = Provider::by_name("ollama").unwrap();
        convert(list, (None, &Target { unsupported, ..Target::untouched(provider) }))
    }

    /// The model saw an empty turn, and a result of a call that it never made.
    #[test]
    fn a_call_in_the_deprecated_form_is_a_call() {
        let history = json!([
            {"role": "assistant", "content": null,
             "function_call": {"name": "get_order", "arguments": "{\"nr\":7}"}},
            {"role": "function", "name": "get_order", "content": "sent"},
        ]);
        let converted = converted(&history, Unsupported::Strict).ok().unwrap();
        assert!(converted.losses.is_empty());
        assert_eq!(
            serde_json::to_value(&converted.messages).unwrap(),
            json!([
                {"role": "assistant", "content": "",
                 "tool_calls": [{"function": {"name": "get_order", "arguments": {"nr": 7}}}]},
                {"role": "tool", "content": "sent", "tool_name": "get_order"},
            ])
        );
    }

    #[test]
    fn odd_forms_of_it_pass_as_they_did() {
        let call = json!([{"id": "1", "function": {"name": "f", "arguments": "{}"}}]);
        let own = json!({"name": "f", "arguments": "{}"});
        for (old, new, wanted) in [
            (json!({}), json!(null), 0),
            (json!(""), json!(null), 0),
            (json!("none"), json!([]), 0),
            (json!(null), json!(null), 0),
            (json!({"name": "f", "arguments": {}}), json!(null), 1),
            (json!({"name": "f", "arguments": null}), json!([]), 1),
            (own, call, 1),
        ] {
            let history = json!([{"role": "assistant", "function_call": old, "tool_calls": new}]);
            let converted = converted(&history, Unsupported::Strict).ok().unwrap();
            assert_eq!(converted.messages[0].tool_calls.len(), wanted, "{history}");
        }
    }

    #[test]
    fn an_answer_that_was_spoken_is_refused_or_reported() {
        let spoken = json!({"role": "assistant", "audio": {"id": "audio_1"}});
        let history = json!([{"role": "assistant", "content": "a", "audio": null}, spoken, spoken]);
        let fault = converted(&history, Unsupported::Strict).err().unwrap();
        assert_eq!(fault.param.as_deref(), Some("messages[1].audio"));
        let losses = converted(&history, Unsupported::Lenient).ok().unwrap().losses;
        let fields: Vec<_> = losses.iter().map(|loss| (&*loss.field, loss.action)).collect();
        assert_eq!(fields, [("messages[].audio", LossAction::Dropped)]);
    }
}
