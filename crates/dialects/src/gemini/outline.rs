//! generateContent requests by their settings: the conversation is walked, and looked at no further.
//!
//! What is walked is text, thoughts, calls and their results. Other parts, and members that these do not have, end the
//! walk. The declarations of functions are converted: their schemas may be wrong.

use std::borrow::Cow;

use bytes::Bytes;
use cutover_wire::json::walk::{Stop, Walk, Walked};

use super::fields::FIELDS;
use super::names::camel;
use super::request;
use crate::inbound::RequestFacts;
use crate::losses::Losses;
use crate::outline::{
    Found, Outline, Settings, is_flag, is_id, is_none_or, is_object, is_signature, is_text, only_if,
};
use crate::pivot::Chat;
use crate::read::{At, Obj, Text};

const ROOT: At<'static> = At::Root;

/// `:generateContent`.
pub(super) fn generate(body: &Bytes, facts: &RequestFacts<'_>) -> Option<Outline> {
    outline(body, facts, false)
}

/// `:streamGenerateContent`.
pub(super) fn stream(body: &Bytes, facts: &RequestFacts<'_>) -> Option<Outline> {
    outline(body, facts, true)
}

fn outline(body: &Bytes, facts: &RequestFacts<'_>, stream: bool) -> Option<Outline> {
    let model = request::model(facts).ok()?;
    let found = Found::walk(body, |walk, name, found| match &*cased(name) {
        "contents" => contents(walk, found),
        "systemInstruction" => content(walk, found, true),
        _ => walk.value().map(drop),
    });
    let found = found.ok()?;
    let root = Obj::of_members(&found.members).ok()?.renamed(ROOT, camel).ok()?;
    let mut losses = Losses::new(FIELDS, facts.unsupported);
    let mut chat = Chat::default();
    // Said by the path, or walked already.
    for known in ["model", "systemInstruction"] {
        root.get(known);
    }
    root.get("contents")?;
    let thoughts = request::settings(&root, (&mut chat, false), (&mut losses, ROOT)).ok()?;
    for tool in &mut chat.tools {
        (tool.description, tool.parameters) = (None, None);
    }
    let way_back = request::way_back(model, facts, thoughts);
    let model = Text::from(model);
    found.outline(body, Settings { model, stream, chat, losses, way_back })
}

/// A name in camel case.
fn cased(name: &str) -> Cow<'_, str> {
    camel(name).unwrap_or(Cow::Borrowed(name))
}

/// Walks a list, or the one thing that stands for it. There must be something.
fn many<'a>(walk: &mut Walk<'a>, mut each: impl FnMut(&mut Walk<'a>) -> Walked<()>) -> Walked<()> {
    if walk.peek()? == b'{' {
        return each(walk);
    }
    let mut any = false;
    walk.array(|walk| {
        any = true;
        each(walk)
    })?;
    only_if(any)
}

fn contents<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<()> {
    many(walk, |walk| content(walk, found, false))
}

#[derive(Default)]
struct Kinds {
    /// What only a model says.
    models: bool,
    /// What only a user says.
    users: bool,
    calls: bool,
    reasoning: bool,
}

fn content<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>, instructs: bool) -> Walked<()> {
    let (mut role, mut parts) = (None, None);
    let (raw, ()) = walk.with_text(|walk| {
        walk.object(|walk, name| match name {
            "role" => walk.once(&mut role),
            "parts" if parts.is_none() => {
                let mut kinds = Kinds::default();
                many(walk, |walk| part(walk, &mut kinds))?;
                parts = Some(kinds);
                Ok(())
            }
            _ => Err(Stop),
        })
    })?;
    found.prompt += raw.len();
    let kinds = parts.ok_or(Stop)?;
    found.calls |= kinds.calls;
    found.reasoning |= kinds.reasoning;
    match role {
        _ if instructs => only_if(!kinds.models && !kinds.users),
        None | Some("null" | "\"user\"" | "\"function\"" | "\"tool\"") => only_if(!kinds.models),
        Some("\"model\"") => only_if(!kinds.users),
        _ => Err(Stop),
    }
}

fn part(walk: &mut Walk<'_>, kinds: &mut Kinds) -> Walked<()> {
    let (mut text, mut thought, mut signature) = (None, None, None);
    let (mut call, mut response) = (false, false);
    walk.object(|walk, name| match &*cased(name) {
        "text" => walk.once(&mut text),
        "thought" => walk.once(&mut thought),
        "thoughtSignature" => walk.once(&mut signature),
        "functionCall" if !call => {
            call = true;
            function(walk, "args", Walk::value)
        }
        "functionResponse" if !response => {
            response = true;
            function(walk, "response", distinct)
        }
        _ => Err(Stop),
    })?;
    only_if(is_none_or(thought, is_flag) && signature.is_none_or(|raw| is_signature(Some(raw))))?;
    let thinks = thought.is_some() || signature.is_some();
    kinds.models |= call || thinks;
    kinds.users |= response;
    kinds.calls |= call;
    kinds.reasoning |= thinks;
    match (is_text(text), call, response) {
        (true, false, false) => Ok(()),
        (false, true, false) => only_if(text.is_none()),
        (false, false, true) => only_if(text.is_none() && !thinks),
        _ => Err(Stop),
    }
}

/// A call, or what came of one.
fn function<'a>(
    walk: &mut Walk<'a>,
    said: &str,
    mut walked: impl FnMut(&mut Walk<'a>) -> Walked<&'a str>,
) -> Walked<()> {
    let (mut id, mut name, mut object) = (None, None, None);
    walk.object(|walk, key| match key {
        "id" => walk.once(&mut id),
        "name" => walk.once(&mut name),
        key if key == said && object.is_none() => {
            object = Some(walked(walk)?);
            Ok(())
        }
        _ => Err(Stop),
    })?;
    let has_id = id.is_none_or(|id| id == "null" || is_id(Some(id)));
    only_if(has_id && is_text(name) && is_none_or(object, is_object))
}

/// A value that is an object of a few members, none of which comes twice.
fn distinct<'a>(walk: &mut Walk<'a>) -> Walked<&'a str> {
    const MEMBERS_MAX: usize = 32;
    if walk.peek()? != b'{' {
        return walk.value();
    }
    let mut names: Vec<&str> = Vec::new();
    let walked = walk.with_text(|walk| {
        walk.object(|walk, name| {
            only_if(names.len() < MEMBERS_MAX && !names.contains(&name))?;
            names.push(name);
            walk.value().map(drop)
        })
    });
    walked.map(|(raw, ())| raw)
}
