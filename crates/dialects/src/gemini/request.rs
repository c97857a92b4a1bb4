//! From a generateContent request to chat completions.

use std::collections::HashSet;

use bytes::Bytes;
use cutover_wire::{Endpoint, Fault};

use super::Shape;
use super::content::Conversation;
use super::fields::FIELDS;
use super::names::{camel, many, member, object};
use super::schema::json_schema;
use crate::answer::{Answer, ESTIMATED, GOOGLES_IMAGE, estimated_tokens};
use crate::inbound::{Asked, Back, Inbound, RequestFacts, StoreNeeds, WayBack};
use crate::losses::Losses;
use crate::origins::Origins;
use crate::pivot::{self, Chat, Tool};
use crate::read::{At, Obj, Text};
use crate::sound::{self, GOOGLES_SECOND};
use crate::write::{self, Json};

const ROOT: At<'static> = At::Root;

/// `:generateContent`.
pub(super) fn generate(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    run(body, facts, false)
}

/// `:streamGenerateContent`.
pub(super) fn stream(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    run(body, facts, true)
}

fn run(body: &Bytes, facts: &RequestFacts<'_>, stream: bool) -> Result<Asked, Fault> {
    let model = model(facts)?;
    let root = body_of(body)?;
    let mut losses = facts.losses(FIELDS);
    let (mut chat, thoughts) = convert(&root, facts, (&mut losses, ROOT))?;
    chat.bytes = body.len();
    let way_back = way_back(model, facts, thoughts);
    Ok(Asked::Infer(Box::new(Inbound {
        endpoint: Endpoint::ChatCompletions,
        body: chat.write(&Text::from(model), stream),
        stream,
        refused: losses.take_refused(),
        losses: losses.into_list(),
        needs: StoreNeeds::default(),
        origins: Origins::of(&chat, body, FIELDS),
        way_back,
    })))
}

pub(super) fn way_back(model: &str, facts: &RequestFacts<'_>, thoughts: bool) -> WayBack {
    let kind = Back::Gemini(Shape::Content { thoughts, events: facts.events });
    let (model, id) = (model.to_owned(), facts.id.to_owned());
    WayBack { kind, model, id, created: facts.now }
}

/// A body, checked, with its names in one case.
pub(super) fn body_of(body: &Bytes) -> Result<Obj<'_>, Fault> {
    Obj::of_body(body)?.renamed(ROOT, camel)
}

/// The model that the path names.
pub(super) fn model<'f>(facts: &RequestFacts<'f>) -> Result<&'f str, Fault> {
    facts.named.ok_or_else(|| ROOT.key("model").missing())
}

/// `:countTokens`.
pub(super) fn count(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    model(facts)?;
    let outer = body_of(body)?;
    let mut losses = facts.losses(FIELDS);
    let at = ROOT.key("generateContentRequest");
    let mut chat = match member(&outer, ROOT, "generateContentRequest")? {
        Some(inner) => convert(&inner, facts, (&mut losses, at))?.0,
        None => convert(&outer, facts, (&mut losses, ROOT))?.0,
    };
    let origins = Origins::of(&chat, body, FIELDS);
    let sound = sound::taken_out(&mut chat, GOOGLES_SECOND);
    let sound = sound.map_err(|fault| origins.in_clients_words(fault))?;
    // What the model will read: the request without its name.
    let tokens = estimated_tokens(&chat.write(&Text::from(""), false), GOOGLES_IMAGE) + sound;
    let mut answer = Answer::json(write::object(|j| j.put_number("totalTokens", tokens)));
    answer.headers.push((ESTIMATED, "totalTokens".to_owned()));
    Ok(Asked::Now(answer))
}

/// A request, and whether its thoughts shall be shown.
fn convert<'a>(
    root: &Obj<'a>,
    facts: &RequestFacts<'_>,
    (losses, at): (&mut Losses, At<'_>),
) -> Result<(Chat<'a>, bool), Fault> {
    // The path has named it; here it is said once more at most.
    root.get("model");
    let mut chat = Chat { signatures: facts.keep_marks, ..Chat::default() };
    let mut conversation = Conversation::new(losses, (facts.keep_reasoning, facts.keep_marks));
    if let Some(content) = member(root, at, "systemInstruction")? {
        conversation.system(&content, at.key("systemInstruction"))?;
    }
    let contents = many(root, at, "contents")?;
    if contents.is_empty() {
        return Err(at.key("contents").missing());
    }
    conversation.read(&contents, at.key("contents"))?;
    chat.messages = conversation.messages;
    let thoughts = settings(root, (&mut chat, facts.keep_marks), (losses, at))?;
    Ok((chat, thoughts))
}

/// All but the conversation. Tells whether thoughts shall be shown.
pub(super) fn settings<'a>(
    root: &Obj<'a>,
    (chat, keep_marks): (&mut Chat<'a>, bool),
    (losses, at): (&mut Losses, At<'_>),
) -> Result<bool, Fault> {
    tools(root, chat, (losses, at))?;
    choice(root, (chat, keep_marks), (losses, at))?;
    let thoughts = match member(root, at, "generationConfig")? {
        Some(config) => {
            let at = at.key("generationConfig");
            generation(&config, (chat, keep_marks), (losses, at))?
        }
        None => false,
    };
    if root.get("cachedContent").is_some() {
        losses.refuse("cachedContent", at.key("cachedContent"))?;
    }
    match &*root.word(at, "serviceTier")? {
        "" | "unspecified" => {}
        "standard" => chat.set("service_tier", "\"default\""),
        "flex" => chat.set("service_tier", "\"flex\""),
        "priority" => chat.set("service_tier", "\"priority\""),
        _ => return Err(at.key("serviceTier").invalid("must be standard, flex or priority")),
    }
    if root.flag(at, "store")? == Some(true) {
        losses.note("store");
    }
    losses.rest(root, "", at)?;
    Ok(thoughts)
}

fn tools<'a>(
    root: &Obj<'a>,
    chat: &mut Chat<'a>,
    (losses, at): (&mut Losses, At<'_>),
) -> Result<(), Fault> {
    const DECLARED: &str = "tools[].functionDeclarations[].";
    let here = at.key("tools");
    for (index, raw) in many(root, at, "tools")?.into_iter().enumerate() {
        let at = here.item(index);
        let tool = object(raw, at)?;
        let declared = at.key("functionDeclarations");
        for (index, raw) in many(&tool, at, "functionDeclarations")?.into_iter().enumerate() {
            let at = declared.item(index);
            let function = object(raw, at)?;
            let parameters = match function.get("parameters") {
                Some(raw) => Some(json_schema(raw, at.key("parameters"))?.into()),
                None => function.raw_object(at, "parametersJsonSchema")?.map(Into::into),
            };
            chat.tools.push(Tool {
                name: function.need_text(at, "name")?,
                description: function.text(at, "description")?,
                parameters,
                strict: None,
                mark: None,
            });
            losses.rest(&function, DECLARED, at)?;
        }
        losses.rest(&tool, "tools[].", at)?;
    }
    Ok(())
}

fn choice<'a>(
    root: &Obj<'a>,
    (chat, keep_marks): (&mut Chat<'a>, bool),
    (losses, at): (&mut Losses, At<'_>),
) -> Result<(), Fault> {
    let Some(outer) = member(root, at, "toolConfig")? else { return Ok(()) };
    let at = at.key("toolConfig");
    let here = at.key("functionCallingConfig");
    if let Some(config) = member(&outer, at, "functionCallingConfig")? {
        let mut names = Vec::new();
        let allowed = config.list(here, "allowedFunctionNames")?.unwrap_or_default();
        for (index, raw) in allowed.into_iter().enumerate() {
            names.push(Text::read(raw, here.key("allowedFunctionNames").item(index))?);
        }
        let mode = config.word(here, "mode")?;
        let word = match (&*mode, names.as_slice()) {
            ("" | "MODE_UNSPECIFIED" | "AUTO", _) => "\"auto\"".to_owned(),
            ("NONE", _) => "\"none\"".to_owned(),
            ("ANY", [one]) => pivot::choose_function(one),
            ("ANY", _) => "\"required\"".to_owned(),
            ("VALIDATED", _) if keep_marks => {
                chat.tools.iter_mut().for_each(|tool| tool.strict = Some(true));
                "\"auto\"".to_owned()
            }
            ("VALIDATED", _) => {
                losses.note("toolConfig.functionCallingConfig.validated");
                "\"auto\"".to_owned()
            }
            _ => return Err(here.key("mode").invalid("must be AUTO, ANY, NONE or VALIDATED")),
        };
        if names.len() > 1 {
            losses.note("toolConfig.functionCallingConfig.allowedFunctionNames");
            let names: HashSet<_> = names.iter().map(Text::decode).collect();
            chat.tools.retain(|tool| names.contains(&tool.name.decode()));
        }
        // Without tools the choice is an error in chat completions; here it is none.
        if !chat.tools.is_empty() {
            chat.set("tool_choice", word);
        }
        losses.rest(&config, "toolConfig.functionCallingConfig.", here)?;
    }
    losses.rest(&outer, "toolConfig.", at)
}

/// `generationConfig`. Tells whether thoughts shall be shown.
fn generation<'a>(
    config: &Obj<'a>,
    (chat, keep_marks): (&mut Chat<'a>, bool),
    (losses, at): (&mut Losses, At<'_>),
) -> Result<bool, Fault> {
    const OWN: &str = "generationConfig.";
    for (theirs, ours) in [("maxOutputTokens", "max_completion_tokens"), ("seed", "seed")] {
        config.whole(at, theirs)?;
        chat.set_some(ours, config.get(theirs));
    }
    for (theirs, ours) in [
        ("temperature", "temperature"),
        ("topP", "top_p"),
        ("presencePenalty", "presence_penalty"),
        ("frequencyPenalty", "frequency_penalty"),
    ] {
        chat.set_some(ours, config.number(at, theirs)?);
    }
    let stops = config.list(at, "stopSequences")?.unwrap_or_default();
    for (index, raw) in stops.iter().enumerate() {
        Text::read(raw, at.key("stopSequences").item(index))?;
    }
    chat.set_some("stop", config.get("stopSequences").filter(|_| !stops.is_empty()));
    if config.whole(at, "candidateCount")?.is_some_and(|count| count != 1) {
        losses.refuse("generationConfig.candidateCount", at.key("candidateCount"))?;
    }
    let top = config.whole(at, "logprobs")?.filter(|top| *top > 0);
    if config.flag(at, "responseLogprobs")? == Some(true) {
        chat.set("logprobs", "true");
        chat.set_some("top_logprobs", config.get("logprobs").filter(|_| top.is_some()));
    }
    let words = config.list(at, "responseModalities")?.unwrap_or_default();
    if words.iter().any(|word| !matches!(*word, "\"TEXT\"" | "\"MODALITY_UNSPECIFIED\"")) {
        losses.refuse("generationConfig.responseModalities", at.key("responseModalities"))?;
    }
    format(config, chat, at)?;
    let thoughts = match member(config, at, "thinkingConfig")? {
        Some(thinking) if keep_marks => {
            let raw = config.get("thinkingConfig").unwrap_or("{}");
            chat.set(cutover_vendors::EXTRA, write::object(|j| put_thinking(j, raw)));
            thinking.flag(at.key("thinkingConfig"), "includeThoughts")? == Some(true)
        }
        Some(thinking) => think(&thinking, chat, (losses, at.key("thinkingConfig")))?,
        None => false,
    };
    losses.rest(config, OWN, at)?;
    Ok(thoughts)
}

fn format<'a>(config: &Obj<'a>, chat: &mut Chat<'a>, at: At<'_>) -> Result<(), Fault> {
    let kind = config.word(at, "responseMimeType")?;
    let theirs = config.get("responseSchema");
    let older = config.raw_object(at, "_responseJsonSchema")?;
    let ours = config.raw_object(at, "responseJsonSchema")?.or(older);
    let schema = match (theirs, ours) {
        (Some(raw), _) => Some(json_schema(raw, at.key("responseSchema"))?),
        (None, schema) => schema.map(str::to_owned),
    };
    match (&*kind, schema) {
        ("" | "text/plain", None) => {}
        ("application/json", None) => {
            chat.set("response_format", r#"{"type":"json_object"}"#);
        }
        ("" | "application/json", Some(schema)) => {
            let format = pivot::schema_format(&Text::from("answer"), &schema, None);
            chat.set("response_format", format);
        }
        _ => {
            let why = "must be text/plain, or application/json where there is a schema";
            return Err(at.key("responseMimeType").invalid(why));
        }
    }
    Ok(())
}

/// Gemini's own settings for thinking, where Google's compatible endpoint takes them.
fn put_thinking(json: &mut Json, raw: &str) {
    json.put_object("google", |j| j.put_raw("thinking_config", Some(raw)));
}

/// `thinkingConfig`. Tells whether thoughts shall be shown.
fn think<'a>(
    thinking: &Obj<'a>,
    chat: &mut Chat<'a>,
    (losses, at): (&mut Losses, At<'_>),
) -> Result<bool, Fault> {
    let level = thinking.word(at, "thinkingLevel")?.to_ascii_lowercase();
    let budget = thinking.whole(at, "thinkingBudget")?;
    let effort = match (level.as_str(), budget) {
        ("minimal" | "low" | "medium" | "high", _) => Some(level.as_str()),
        ("" | "thinking_level_unspecified", budget) => {
            if budget.is_some() {
                losses.note("generationConfig.thinkingConfig.thinkingBudget");
            }
            match budget {
                None | Some(..=-1) => None,
                Some(0) => Some("none"),
                Some(..=4_096) => Some("low"),
                Some(..=16_384) => Some("medium"),
                Some(_) => Some("high"),
            }
        }
        _ => {
            let words = "must be MINIMAL, LOW, MEDIUM or HIGH";
            return Err(at.key("thinkingLevel").invalid(words));
        }
    };
    if let Some(effort) = effort {
        chat.set("reasoning_effort", format!("\"{effort}\""));
    }
    let shown = thinking.flag(at, "includeThoughts")?;
    losses.rest(thinking, "generationConfig.thinkingConfig.", at)?;
    Ok(shown == Some(true))
}
