//! From a chat completions request to a generateContent request.

use std::collections::BTreeMap;

use bytes::Bytes;
use cutover_wire::own::gemini_generation;
use cutover_wire::{Fault, Unsupported};

use super::fields::FIELDS;
use super::parts::Talk;
use super::{STREAM, path};
use crate::Sent;
use crate::choice::{Words, choice};
use crate::losses::Losses;
use crate::read::{self, At, Obj};
use crate::schema;
use crate::turns::{Turns, neutral};
use crate::write::{self, Json};
use crate::{EXTRA, MARK};

const ROOT: At<'static> = At::Root;

const WORDS: Words = Words { auto: "AUTO", none: "NONE", any: "ANY", one: "ANY" };

/// Converts a request. `body` is a chat completions request.
pub fn request(body: &[u8], unsupported: Unsupported) -> Result<Sent, Fault> {
    let text = read::body_text(body)?;
    let root = Obj::parse(text, ROOT)?;
    let mut losses = Losses::new(FIELDS, unsupported).and_nothing_else();
    let model = root.need_text(ROOT, "model")?;
    let model = model.decode();
    let mut talk = Talk {
        turns: Turns::default(),
        losses: &mut losses,
        signs: gemini_generation(&model) >= 3,
        called: BTreeMap::new(),
    };
    let messages = root.list(ROOT, "messages")?.unwrap_or_default();
    let any = !messages.is_empty();
    for (index, raw) in messages.into_iter().enumerate() {
        talk.message(raw, ROOT.key("messages").item(index))?;
    }
    let mut turns = talk.turns;
    turns.someone_speaks(any, &mut losses)?;
    let config = config(&root, &model, &mut losses)?;
    let tools = tools(&root, &mut losses)?;
    let stream = root.flag(ROOT, "stream")?.unwrap_or(false);
    root.get("stream_options");
    if root.get(MARK).is_some() {
        losses.note(MARK);
    }
    let tier = tier(&root, &mut losses)?;
    neutral(&root, NEUTRAL);
    losses.rest(&root, "", ROOT)?;
    let text = write::object(|j| {
        if !turns.system.is_empty() {
            j.put_object("systemInstruction", |j| {
                j.put_array("parts", |j| turns.system.iter().for_each(|part| j.raw(part)));
            });
        }
        j.put_array("contents", |j| turns.write(j, "parts"));
        j.members(&tools);
        if !config.is_empty() {
            j.put_object("generationConfig", |j| j.members(&config));
        }
        if let Some(tier) = tier {
            j.put("serviceTier", tier);
        }
    });
    let path = path(&model, if stream { STREAM } else { "generateContent" });
    Ok(Sent { path, body: Bytes::from(text), losses: losses.into_list() })
}

/// Values that ask for nothing.
const NEUTRAL: &[(&str, &[&str])] = &[
    ("modalities", &["[\"text\"]"]),
    ("logit_bias", &["{}"]),
    ("store", &["false"]),
    ("verbosity", &["\"medium\""]),
    ("metadata", &["{}"]),
    ("parallel_tool_calls", &["true"]),
];

/// `generationConfig`, as members.
fn config(root: &Obj<'_>, model: &str, losses: &mut Losses) -> Result<String, Fault> {
    let mut json = Json::new();
    root.whole(ROOT, "max_tokens")?;
    let old = root.get("max_tokens");
    root.whole(ROOT, "max_completion_tokens")?;
    json.put_some("maxOutputTokens", root.get("max_completion_tokens").or(old));
    for (theirs, ours) in [
        ("temperature", "temperature"),
        ("top_p", "topP"),
        ("presence_penalty", "presencePenalty"),
        ("frequency_penalty", "frequencyPenalty"),
    ] {
        json.put_some(ours, root.number(ROOT, theirs)?);
    }
    for (theirs, ours) in [("seed", "seed"), ("n", "candidateCount")] {
        let asked = root.whole(ROOT, theirs)?.is_some_and(|value| theirs != "n" || value != 1);
        json.put_some(ours, root.get(theirs).filter(|_| asked));
    }
    match root.get("stop") {
        Some(raw) if raw.starts_with('"') => json.put_array("stopSequences", |j| j.raw(raw)),
        Some(raw) if raw != "[]" => json.put_raw("stopSequences", Some(raw)),
        _ => {}
    }
    if root.flag(ROOT, "logprobs")? == Some(true) {
        json.put_flag("responseLogprobs", true);
    }
    let top = root.whole(ROOT, "top_logprobs")?.filter(|top| *top > 0);
    json.put_some("logprobs", root.get("top_logprobs").filter(|_| top.is_some()));
    thinking(root, model, (&mut json, losses))?;
    format(root, (&mut json, losses))?;
    Ok(json.into_string())
}

/// Google's own mapping of efforts for its OpenAI-compatible endpoint: levels from generation 3 on,
/// budgets before.
fn thinking(
    root: &Obj<'_>,
    model: &str,
    (json, losses): (&mut Json, &mut Losses),
) -> Result<(), Fault> {
    let wish = root.word(ROOT, "reasoning_effort")?;
    if let Some(own) = own_thinking(root, losses)? {
        json.key("thinkingConfig").raw(&own);
        return Ok(());
    }
    let (level, budget) = match &*wish {
        "" => return Ok(()),
        "none" => ("MINIMAL", 0),
        "minimal" => ("MINIMAL", 1_024),
        "low" => ("LOW", 1_024),
        "medium" => ("MEDIUM", 8_192),
        "high" | "xhigh" | "max" => ("HIGH", 24_576),
        _ => return Err(ROOT.key("reasoning_effort").invalid("names no effort")),
    };
    losses.note("reasoning_effort");
    json.put_object("thinkingConfig", |j| {
        if wish != "none" {
            j.put_flag("includeThoughts", true);
        }
        if gemini_generation(model) >= 3 {
            j.put("thinkingLevel", level);
        } else {
            j.put_number("thinkingBudget", budget);
        }
    });
    Ok(())
}

/// `extra_body.google.thinking_config`: the client's own settings, which beat an effort.
fn own_thinking(root: &Obj<'_>, losses: &mut Losses) -> Result<Option<String>, Fault> {
    let at = ROOT.key(EXTRA);
    let Some(extra) = root.object(ROOT, EXTRA)? else { return Ok(None) };
    let here = at.key("google");
    let google = extra.object(at, "google")?;
    if extra.get("anthropic").is_some() {
        losses.note("extra_body.anthropic");
    }
    losses.rest(&extra, "extra_body.", at)?;
    let Some(google) = google else { return Ok(None) };
    let inner = here.key("thinking_config");
    let thinking = google.object(here, "thinking_config")?;
    losses.rest(&google, "extra_body.google.", here)?;
    let Some(thinking) = thinking else { return Ok(None) };
    let mut json = Json::new();
    for (theirs, ours) in [
        ("include_thoughts", "includeThoughts"),
        ("thinking_budget", "thinkingBudget"),
        ("thinking_level", "thinkingLevel"),
    ] {
        json.put_some(ours, thinking.get(theirs).or(thinking.get(ours)));
    }
    losses.rest(&thinking, "extra_body.google.thinking_config.", inner)?;
    Ok(Some(write::object(|j| j.members(&json.into_string()))))
}

fn format(root: &Obj<'_>, (json, losses): (&mut Json, &mut Losses)) -> Result<(), Fault> {
    let at = ROOT.key("response_format");
    let Some(format) = root.object(ROOT, "response_format")? else { return Ok(()) };
    match &*format.word(at, "type")? {
        "text" => {}
        "json_object" => json.put("responseMimeType", "application/json"),
        "json_schema" => {
            let schema = schema::of_format(&format, at, losses)?;
            json.put("responseMimeType", "application/json");
            json.key("responseJsonSchema").raw(&schema);
        }
        _ => return Err(at.key("type").invalid("must be text, json_object or json_schema")),
    }
    Ok(())
}

/// `tools` and `toolConfig`, as members.
fn tools(root: &Obj<'_>, losses: &mut Losses) -> Result<String, Fault> {
    let here = ROOT.key("tools");
    let (mut tools, mut strict) = (Vec::new(), false);
    for (index, raw) in root.list(ROOT, "tools")?.unwrap_or_default().into_iter().enumerate() {
        let at = here.item(index);
        let tool = Obj::read(raw, at)?;
        if tool.word(at, "type")? != "function" {
            losses.refuse("tools[].type", at.key("type"))?;
            continue;
        }
        if tool.get(MARK).is_some() {
            losses.note(MARK);
        }
        let inner = at.key("function");
        let function = tool.object(at, "function")?.ok_or_else(|| inner.missing())?;
        let name = function.need_text(inner, "name")?;
        let description = function.text(inner, "description")?;
        let schema = function.raw_object(inner, "parameters")?.filter(|raw| *raw != "{}");
        strict |= function.flag(inner, "strict")? == Some(true);
        tools.push(write::object(|j| {
            name.write(j.key("name"));
            if let Some(text) = &description {
                text.write(j.key("description"));
            }
            if let Some(schema) = schema {
                j.key("parametersJsonSchema").raw(schema);
            }
        }));
    }
    let choice = choice(root, WORDS, losses)?;
    let mut json = Json::new();
    if tools.is_empty() {
        return Ok(String::new());
    }
    json.put_array("tools", |j| {
        j.object(|j| {
            j.put_array("functionDeclarations", |j| tools.iter().for_each(|tool| j.raw(tool)));
        });
    });
    let (mode, name) = match choice {
        None | Some(("AUTO", _)) if strict => ("VALIDATED", None),
        None => return Ok(json.into_string()),
        Some(choice) => choice,
    };
    json.put_object("toolConfig", |j| {
        j.put_object("functionCallingConfig", |j| {
            j.put("mode", mode);
            if let Some(name) = &name {
                j.put_array("allowedFunctionNames", |j| j.text(name));
            }
        });
    });
    Ok(json.into_string())
}

fn tier(root: &Obj<'_>, losses: &mut Losses) -> Result<Option<&'static str>, Fault> {
    Ok(match &*root.word(ROOT, "service_tier")? {
        "" | "auto" => None,
        "default" => Some("standard"),
        "flex" => Some("flex"),
        "priority" => Some("priority"),
        _ => {
            losses.note("service_tier");
            None
        }
    })
}
