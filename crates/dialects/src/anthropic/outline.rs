//! Messages requests by their settings: the conversation is walked, and looked at no further.
//!
//! What is walked is what clients and agents send: texts, thinking, calls and their results, marks for caching, tools
//! of the client's own. A block of another kind, and a member that no row of the conversion's names here, end the walk.

use bytes::Bytes;
use cutover_wire::json::walk::{Stop, Walk, Walked};

use super::fields::FIELDS;
use super::{content, request};
use crate::inbound::RequestFacts;
use crate::losses::Losses;
use crate::outline::{
    Found, Outline, Settings, is_flag, is_id, is_none_or, is_object, is_signature, is_text, named,
    only_if,
};
use crate::pivot::Chat;
use crate::read::{At, Obj, Text};

/// `POST /v1/messages`.
pub(super) fn outline(body: &Bytes, facts: &RequestFacts<'_>) -> Option<Outline> {
    let found = Found::walk(body, |walk, name, found| match name {
        "messages" => turns(walk, found),
        "system" => system(walk, found),
        "tools" => tools(walk, found),
        _ => walk.value().map(drop),
    });
    let mut found = found.ok()?;
    let root = Obj::of_members(&found.members).ok()?;
    let mut losses = Losses::new(FIELDS, facts.unsupported);
    let stream = request::needed(&root).ok()?;
    let mut chat = Chat { tools: std::mem::take(&mut found.tools), ..Chat::default() };
    // Walked already.
    for walked in ["system", "tools"] {
        root.get(walked);
    }
    root.get("messages")?;
    content::taken_mark(&root, (At::Root, true)).ok()?;
    request::settings(&root, (&mut chat, false), &mut losses).ok()?;
    let model = root.need_text(At::Root, "model").ok()?;
    let way_back = request::way_back(&model, facts);
    found.outline(body, Settings { model, stream, chat, losses, way_back })
}

/// The kinds of blocks that stand in a content, a bit for each.
type Kinds = u8;
const TEXT: Kinds = 1;
const RESULT: Kinds = 2;
const CALL: Kinds = 4;
const THINKING: Kinds = 8;

fn turns<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<()> {
    let mut any = false;
    let (raw, ()) = walk.with_text(|walk| {
        walk.array(|walk| {
            any = true;
            turn(walk, found)
        })
    })?;
    found.prompt += raw.len();
    only_if(any)
}

fn turn<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<()> {
    let (mut role, mut content) = (None, None);
    walk.object(|walk, name| match name {
        "role" => walk.once(&mut role),
        "content" if content.is_none() => {
            content = Some(blocks(walk, true)?);
            Ok(())
        }
        _ => Err(Stop),
    })?;
    let kinds = content.ok_or(Stop)?;
    found.calls |= kinds & (CALL | RESULT) != 0;
    found.reasoning |= kinds & THINKING != 0;
    let known = match role {
        Some("\"user\"") => TEXT | RESULT,
        Some("\"assistant\"") => TEXT | CALL | THINKING,
        Some("\"system\"") => TEXT,
        _ => return Err(Stop),
    };
    only_if(kinds & !known == 0)
}

fn system<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<()> {
    if walk.peek()? == b'n' {
        return walk.value().map(drop);
    }
    let (raw, kinds) = walk.with_text(|walk| match walk.peek()? {
        // An empty text is no message, and nobody minds it here.
        b'"' => walk.value().map(|_| TEXT),
        _ => blocks(walk, true),
    })?;
    found.prompt += raw.len();
    only_if(kinds & !TEXT == 0)
}

/// A text, or blocks; results of tools in them where these may be.
fn blocks(walk: &mut Walk<'_>, outer: bool) -> Walked<Kinds> {
    let mut kinds = 0;
    match walk.peek()? {
        b'"' => only_if(says(walk.value()?)).map(|()| TEXT),
        b'[' => walk
            .array(|walk| {
                kinds |= block(walk, outer)?;
                Ok(())
            })
            .map(|()| kinds),
        _ => Err(Stop),
    }
}

#[derive(Default)]
struct Block<'a> {
    kind: Option<&'a str>,
    text: Option<&'a str>,
    id: Option<&'a str>,
    name: Option<&'a str>,
    input: Option<&'a str>,
    thinking: Option<&'a str>,
    signature: Option<&'a str>,
    data: Option<&'a str>,
    result_of: Option<&'a str>,
    content: Option<Kinds>,
    failed: Option<&'a str>,
    mark: Option<&'a str>,
    /// Told by the vendor of a text or call; nothing that the model reads.
    citations: Option<&'a str>,
    caller: Option<&'a str>,
}

fn block(walk: &mut Walk<'_>, outer: bool) -> Walked<Kinds> {
    let mut block = Block::default();
    walk.object(|walk, name| match name {
        "type" => walk.once(&mut block.kind),
        "text" => walk.once(&mut block.text),
        "id" => walk.once(&mut block.id),
        "name" => walk.once(&mut block.name),
        "input" => walk.once(&mut block.input),
        "thinking" => walk.once(&mut block.thinking),
        "signature" => walk.once(&mut block.signature),
        "data" => walk.once(&mut block.data),
        "tool_use_id" => walk.once(&mut block.result_of),
        "is_error" => walk.once(&mut block.failed),
        "cache_control" => walk.once(&mut block.mark),
        "citations" => walk.once(&mut block.citations),
        "caller" => walk.once(&mut block.caller),
        "content" if outer && block.content.is_none() => {
            let empty = walk.peek()? == b'n';
            block.content =
                Some(if empty { walk.value().map(|_| 0)? } else { blocks(walk, false)? });
            Ok(())
        }
        _ => Err(Stop),
    })?;
    only_if(is_none_or(block.mark, is_object))?;
    block.read(outer).ok_or(Stop)
}

impl Block<'_> {
    /// Its kind, if it is a good one.
    fn read(&self, outer: bool) -> Option<Kinds> {
        let call = self.id.or(self.name).or(self.input).or(self.caller);
        let thought = self.thinking.or(self.signature).or(self.data);
        let result = self.result_of.or(self.failed).is_some() || self.content.is_some();
        let good = |kinds: Kinds, good: bool| good.then_some(kinds);
        match self.kind? {
            "\"text\"" => {
                let alone = call.is_none() && thought.is_none() && !result;
                good(TEXT, alone && self.text.is_some_and(says))
            }
            _ if self.text.is_some() || !outer => None,
            "\"tool_use\"" => {
                let alone = thought.is_none() && !result && self.citations.is_none();
                let whole =
                    is_id(self.id) && is_text(self.name) && self.input.is_some_and(is_object);
                good(CALL, alone && whole)
            }
            "\"tool_result\"" => {
                let alone = call.is_none() && thought.is_none() && self.citations.is_none();
                let whole = is_id(self.result_of) && self.content.unwrap_or(0) & !TEXT == 0;
                good(RESULT, alone && whole && is_none_or(self.failed, is_flag))
            }
            _ if call.is_some() || result || self.citations.is_some() => None,
            "\"thinking\"" => {
                let whole = is_text(self.thinking) && is_signature(self.signature);
                good(THINKING, whole && self.data.is_none())
            }
            "\"redacted_thinking\"" => {
                let alone = self.thinking.is_none() && self.signature.is_none();
                good(THINKING, alone && is_text(self.data))
            }
            _ => None,
        }
    }
}

/// Whether a value is a text with a letter: others the vendor refuses, and the conversion mends.
fn says(raw: &str) -> bool {
    raw.starts_with('"') && !Text::Literal(raw).is_blank()
}

fn tools<'a>(walk: &mut Walk<'a>, found: &mut Found<'a>) -> Walked<()> {
    if walk.peek()? == b'n' {
        return walk.value().map(drop);
    }
    walk.array(|walk| {
        found.tools.push(named(tool(walk)?));
        Ok(())
    })
}

/// A tool that the client runs; gives its name.
fn tool<'a>(walk: &mut Walk<'a>) -> Walked<&'a str> {
    let (mut kind, mut name, mut description, mut schema) = (None, None, None, None);
    let (mut strict, mut mark) = (None, None);
    let mut dropped = [None; 4];
    let [deferred, streamed, examples, callers] = &mut dropped;
    walk.object(|walk, key| match key {
        "type" => walk.once(&mut kind),
        "name" => walk.once(&mut name),
        "description" => walk.once(&mut description),
        "input_schema" => walk.once(&mut schema),
        "strict" => walk.once(&mut strict),
        "cache_control" => walk.once(&mut mark),
        "defer_loading" => walk.once(deferred),
        "eager_input_streaming" => walk.once(streamed),
        "input_examples" => walk.once(examples),
        "allowed_callers" => walk.once(callers),
        _ => Err(Stop),
    })?;
    only_if(
        is_none_or(kind, |raw| matches!(raw, "\"custom\"" | "\"\""))
            && is_text(name)
            && is_none_or(description, |raw| raw.starts_with('"'))
            && schema.is_some_and(is_object)
            && is_none_or(strict, is_flag)
            && is_none_or(mark, is_object),
    )?;
    name.ok_or(Stop)
}
