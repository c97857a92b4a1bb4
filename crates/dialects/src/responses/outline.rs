//! Responses requests by their settings: the input is walked, and looked at no further.
//!
//! What is walked is text, calls, their results and reasoning. Whatever refers to something stored, brings tools along or
//! is a step of the vendor's own ends the walk, and so does a request whose answer shall be kept here.

use bytes::Bytes;
use cutover_wire::json::walk::{Stop, Walk, Walked};

use super::request;
use crate::inbound::RequestFacts;
use crate::outline::{Found, Outline, is_id, is_none_or, is_text, only_if};
use crate::read::Obj;

/// `POST /v1/responses`.
pub(super) fn outline(body: &Bytes, facts: &RequestFacts<'_>) -> Option<Outline> {
    let found = Found::walk(body, |walk, name, found| match name {
        "input" => input(walk, found),
        "instructions" => {
            found.prompt += walk.value()?.len();
            Ok(())
        }
        _ => walk.value().map(drop),
    });
    let found = found.ok()?;
    // The input is not read again, in which tools might be looked for.
    let settings = found.members.iter().copied().filter(|(name, _)| *name != "input");
    let settings: Vec<_> = settings.collect();
    if settings.len() + 1 != found.members.len() {
        return None;
    }
    let root = Obj::of_members(&settings).ok()?;
    found.outline(body, request::outlined(&root, facts).ok()??)
}

fn input<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<()> {
    let mut says = false;
    let (raw, ()) = walk.with_text(|walk| {
        if walk.peek()? == b'"' {
            says = true;
            return walk.value().map(drop);
        }
        walk.array(|walk| {
            says |= item(walk, found)?;
            Ok(())
        })
    })?;
    found.prompt += raw.len();
    only_if(says)
}

#[derive(Default)]
struct Item<'a> {
    kind: Option<&'a str>,
    id: Option<&'a str>,
    role: Option<&'a str>,
    call_id: Option<&'a str>,
    name: Option<&'a str>,
    arguments: Option<&'a str>,
    input: Option<&'a str>,
    encrypted: Option<&'a str>,
    content: Option<Said>,
    output: Option<Said>,
    summary: bool,
    /// Told of an item; nothing that the model reads.
    status: Option<&'a str>,
    phase: Option<&'a str>,
}

/// What a text or a list of parts is of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Said {
    Text,
    /// With a refusal, which an assistant alone says.
    Refusal,
    /// Of reasoning.
    Reasoning,
    Nothing,
}

/// Walks an item; tells whether it is one that something is answered to.
fn item<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<bool> {
    let mut item = Item::default();
    walk.object(|walk, name| match name {
        "type" => walk.once(&mut item.kind),
        "id" => walk.once(&mut item.id),
        "role" => walk.once(&mut item.role),
        "call_id" => walk.once(&mut item.call_id),
        "name" => walk.once(&mut item.name),
        "arguments" => walk.once(&mut item.arguments),
        "input" => walk.once(&mut item.input),
        "encrypted_content" => walk.once(&mut item.encrypted),
        "status" => walk.once(&mut item.status),
        "phase" => walk.once(&mut item.phase),
        "content" if item.content.is_none() => {
            item.content = Some(parts(walk)?);
            Ok(())
        }
        "output" if item.output.is_none() => {
            item.output = Some(parts(walk)?);
            Ok(())
        }
        "summary" if !item.summary => {
            item.summary = true;
            only_if(matches!(parts(walk)?, Said::Reasoning | Said::Nothing))
        }
        _ => Err(Stop),
    })?;
    let has_id = item.id.is_none_or(|id| id == "null" || is_id(Some(id)));
    only_if(has_id)?;
    found.calls |= item.call_id.is_some();
    let says = item.says().ok_or(Stop)?;
    // What its maker can read again stays; else it must be looked for.
    found.reasoning |=
        !says && !item.encrypted.is_some_and(|raw| raw.len() > 2 && is_text(Some(raw)));
    Ok(says)
}

impl Item<'_> {
    /// Whether it is more than reasoning, if it is a good one.
    fn says(&self) -> Option<bool> {
        let call = self.call_id.or(self.name).or(self.arguments).or(self.input).is_some();
        let thought = self.encrypted.is_some() || self.summary;
        match self.kind {
            None | Some("\"message\"") => {
                let said = match self.role? {
                    "\"assistant\"" => self.content != Some(Said::Reasoning),
                    "\"user\"" | "\"system\"" | "\"developer\"" => {
                        matches!(self.content, Some(Said::Text | Said::Nothing))
                    }
                    _ => false,
                };
                let alone = !call && !thought && self.output.is_none();
                (said && alone && self.content.is_some()).then_some(true)
            }
            _ if self.role.is_some() || self.phase.is_some() => None,
            Some("\"reasoning\"") => {
                let said = matches!(self.content, None | Some(Said::Reasoning | Said::Nothing));
                let alone = !call && self.output.is_none();
                let encrypted = is_none_or(self.encrypted, |raw| raw.starts_with('"'));
                (said && alone && encrypted).then_some(false)
            }
            _ if thought || self.content.is_some() || !is_id(self.call_id) => None,
            Some("\"function_call\"") => {
                let alone = self.output.is_none() && self.input.is_none();
                (alone && is_text(self.name) && is_text(self.arguments)).then_some(true)
            }
            Some("\"custom_tool_call\"") => {
                let alone = self.output.is_none() && self.arguments.is_none();
                (alone && is_text(self.name) && is_text(self.input)).then_some(true)
            }
            Some("\"function_call_output\"" | "\"custom_tool_call_output\"") => {
                let alone = self.arguments.or(self.input).or(self.name).is_none();
                let said = matches!(self.output, Some(Said::Text | Said::Nothing));
                (alone && said).then_some(true)
            }
            _ => None,
        }
    }
}

/// A text, parts, or null.
fn parts(walk: &mut Walk<'_>) -> Walked<Said> {
    match walk.peek()? {
        b'"' => walk.value().map(|_| Said::Text),
        b'[' => {
            let mut all = Said::Nothing;
            walk.array(|walk| {
                let one = part(walk)?;
                all = match (all, one) {
                    (Said::Nothing, one) => one,
                    (Said::Text | Said::Refusal, Said::Refusal) | (Said::Refusal, Said::Text) => {
                        Said::Refusal
                    }
                    (all, one) if all == one => all,
                    _ => return Err(Stop),
                };
                Ok(())
            })?;
            Ok(all)
        }
        _ => Err(Stop),
    }
}

fn part(walk: &mut Walk<'_>) -> Walked<Said> {
    let (mut kind, mut text, mut refusal) = (None, None, None);
    let (mut annotations, mut logprobs) = (None, None);
    walk.object(|walk, name| match name {
        "type" => walk.once(&mut kind),
        "text" => walk.once(&mut text),
        "refusal" => walk.once(&mut refusal),
        "annotations" => walk.once(&mut annotations),
        "logprobs" => walk.once(&mut logprobs),
        _ => Err(Stop),
    })?;
    let told = annotations.or(logprobs).is_some();
    match kind {
        Some("\"input_text\"" | "\"output_text\"" | "\"text\"") => {
            only_if(is_text(text) && refusal.is_none()).map(|()| Said::Text)
        }
        Some("\"refusal\"") => {
            only_if(is_text(refusal) && text.is_none() && !told).map(|()| Said::Refusal)
        }
        Some("\"summary_text\"" | "\"reasoning_text\"") => {
            only_if(is_text(text) && refusal.is_none() && !told).map(|()| Said::Reasoning)
        }
        _ => Err(Stop),
    }
}
