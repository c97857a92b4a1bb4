//! Ollama's chats by their settings: the conversation is walked, and looked at no further.

use bytes::Bytes;
use cutover_wire::json::walk::{Stop, Walk, Walked};

use super::request;
use crate::inbound::RequestFacts;
use crate::outline::{Found, Outline, is_id, is_none_or, is_object, is_text, named, only_if};
use crate::read::Obj;

/// `POST /api/chat`.
pub(super) fn chat(body: &Bytes, facts: &RequestFacts<'_>) -> Option<Outline> {
    let found = Found::walk(body, |walk, name, found| match name {
        "messages" => messages(walk, found),
        "tools" => tools(walk, found),
        // Other routes' prompts, which Ollama passes over.
        "prompt" | "system" | "input" => Err(Stop),
        _ => walk.value().map(drop),
    });
    let mut found = found.ok()?;
    let root = Obj::of_members(&found.members).ok()?;
    let functions = std::mem::take(&mut found.tools);
    found.outline(body, request::settings((body, root), facts, functions).ok()?)
}

fn messages<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<()> {
    let mut any = false;
    let (raw, ()) = walk.with_text(|walk| {
        walk.array(|walk| {
            any = true;
            message(walk, found)
        })
    })?;
    found.prompt += raw.len();
    only_if(any)
}

fn message<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<()> {
    let (mut role, mut content, mut thinking) = (None, None, None);
    let (mut call_id, mut tool_name, mut name) = (None, None, None);
    let mut calls = false;
    walk.object(|walk, key| match key {
        "role" => walk.once(&mut role),
        "content" if content.is_none() => {
            let (raw, solid) = walk.solid()?;
            (content, found.solid) = (Some(raw), found.solid + solid);
            Ok(())
        }
        "thinking" => walk.once(&mut thinking),
        "tool_call_id" => walk.once(&mut call_id),
        "tool_name" => walk.once(&mut tool_name),
        "name" => walk.once(&mut name),
        "tool_calls" if !calls => {
            calls = true;
            if walk.peek()? == b'n' { walk.value().map(drop) } else { walk.array(call) }
        }
        _ => Err(Stop),
    })?;
    found.calls |= calls;
    let words = |raw: &str| raw.starts_with('"');
    only_if(is_none_or(content, words) && is_none_or(thinking, words))?;
    let of_tool = call_id.or(tool_name).or(name).is_some();
    match role {
        Some("\"user\"" | "\"system\"") => only_if(!of_tool && !calls && thinking.is_none()),
        Some("\"assistant\"") => only_if(!of_tool),
        Some("\"tool\"") => {
            let has_id = call_id.is_none_or(|id| id == "null" || is_id(Some(id)));
            let is_named = is_none_or(tool_name, words) && is_none_or(name, words);
            only_if(!calls && thinking.is_none() && has_id && is_named)
        }
        _ => Err(Stop),
    }
}

fn call(walk: &mut Walk<'_>) -> Walked<()> {
    let (mut id, mut kind, mut whole) = (None, None, false);
    walk.object(|walk, key| match key {
        "id" => walk.once(&mut id),
        "type" => walk.once(&mut kind),
        "function" if !whole => {
            whole = true;
            let (mut name, mut arguments, mut index) = (None, None, None);
            walk.object(|walk, key| match key {
                "name" => walk.once(&mut name),
                "arguments" => walk.once(&mut arguments),
                "index" => walk.once(&mut index),
                _ => Err(Stop),
            })?;
            only_if(is_text(name) && is_none_or(arguments, is_object))
        }
        _ => Err(Stop),
    })?;
    only_if(whole && id.is_none_or(|id| id == "null" || is_id(Some(id))))
}

fn tools<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<()> {
    if walk.peek()? == b'n' {
        return walk.value().map(drop);
    }
    walk.array(|walk| {
        let (mut kind, mut function) = (None, None);
        walk.object(|walk, key| match key {
            "type" => walk.once(&mut kind),
            "function" if function.is_none() => {
                function = Some(declared(walk)?);
                Ok(())
            }
            _ => Err(Stop),
        })?;
        only_if(is_none_or(kind, |raw| matches!(raw, "\"function\"" | "\"\"")))?;
        found.tools.push(named(function.ok_or(Stop)?));
        Ok(())
    })
}

/// A function's name.
fn declared<'a>(walk: &mut Walk<'a>) -> Walked<&'a str> {
    let (mut name, mut description, mut parameters) = (None, None, None);
    walk.object(|walk, key| match key {
        "name" => walk.once(&mut name),
        "description" => walk.once(&mut description),
        "parameters" => walk.once(&mut parameters),
        _ => Err(Stop),
    })?;
    only_if(
        is_text(name)
            && is_none_or(description, |raw| raw.starts_with('"'))
            && is_none_or(parameters, is_object),
    )?;
    name.ok_or(Stop)
}
