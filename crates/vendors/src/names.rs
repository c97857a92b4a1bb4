//! Names of functions that an upstream would refuse: it is sent others, and the client gets its own back.
//!
//! OpenAI's API takes 64 letters, digits, `_` and `-`, and so do most that speak its dialect. Anthropic takes 128 of them;
//! Google wants a letter or `_` first and takes dots and colons. What is made of a name is the same in each request, so
//! that a cached prefix stays one, and never another name of the same request. A name that is taken stays as it is, and so
//! do all of them where nobody is known to refuse any: a service's own clients know best what it takes, and self-hosted
//! engines may serve models that were trained on the very names. A request that was converted from another dialect is
//! given names that everyone takes, for templates and parsers of engines stumble over dots.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use cutover_wire::providers::{CallIds, Dialect};
use cutover_wire::{Endpoint, Head, Target};
use memchr::memmem;

use crate::read::{At, Text, key_of};
use crate::split;

/// The names that an upstream takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    chars_max: usize,
    /// What is taken beside letters, digits, `_` and `-`.
    more: &'static str,
    /// Whether a letter or `_` must come first.
    begins_with_letter: bool,
}

/// OpenAI's, which everyone takes but Google, where a digit comes first.
const OPENAIS: Rule = Rule { chars_max: 64, more: "", begins_with_letter: false };
const ANTHROPICS: Rule = Rule { chars_max: 128, ..OPENAIS };
/// Google's documents name 64 characters and 128.
const GOOGLES: Rule = Rule { chars_max: 64, more: ".:", begins_with_letter: true };

impl Rule {
    /// Of a target for a request. `None`: nobody is known to refuse any name, or the request goes as its client wrote it.
    pub fn of(head: &Head, target: &Target) -> Option<Self> {
        let converted = head.stream_options_are_ours;
        // Who has a rule of OpenAI's or Mistral's for ids of calls has theirs for names.
        let is_known = || target.mint && target.call_ids != CallIds::Any;
        match target.provider.dialect {
            _ if head.endpoint != Endpoint::ChatCompletions => None,
            Dialect::Anthropic => Some(ANTHROPICS),
            Dialect::Gemini => Some(GOOGLES),
            Dialect::OpenAi => (converted || is_known()).then_some(OPENAIS),
            // It takes any name.
            Dialect::Ollama => None,
        }
    }

    /// Whether a name is taken as it is. An empty one is the client's mistake, and stays one.
    fn takes(self, name: &str) -> bool {
        let first = name.chars().next();
        let begins = first.is_none_or(|c| c.is_ascii_alphabetic() || c == '_');
        name.len() <= self.chars_max
            && name.chars().all(|c| self.takes_letter(c))
            && (begins || !self.begins_with_letter)
    }

    fn takes_letter(self, letter: char) -> bool {
        letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-') || self.more.contains(letter)
    }

    /// A name that is taken, made of one that is not; another one for each `round`.
    fn made(self, name: &str, round: usize) -> String {
        let tail = match round {
            0 => format!("_{}", CallIds::Nine.taken(name)),
            _ => format!("_{}", CallIds::Nine.taken(&format!("{name}\n{round}"))),
        };
        let head = if self.begins_with_letter { "_" } else { "" };
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        let head = if begins { "" } else { head };
        let letters = name.chars().map(|c| if self.takes_letter(c) { c } else { '_' });
        let kept = self.chars_max - tail.len() - head.len();
        head.chars().chain(letters.take(kept)).chain(tail.chars()).collect()
    }

    /// Whether a piece of a request may hold a name that is not taken: a quick look.
    fn may_refuse(self, piece: &[u8]) -> bool {
        const NAME: &[u8] = b"\"name\"";
        memmem::find_iter(piece, NAME).any(|at| {
            let after = piece.get(at + NAME.len()..).unwrap_or_default().trim_ascii_start();
            let value = after.strip_prefix(b":").unwrap_or_default().trim_ascii_start();
            let Some(inner) = value.strip_prefix(b"\"") else { return false };
            let end = inner.iter().position(|b| *b == b'"').unwrap_or(inner.len());
            let name = inner.get(..end).and_then(|name| std::str::from_utf8(name).ok());
            name.is_none_or(|name| !self.takes(name))
        })
    }
}

/// Names that are sent, each with the client's, as JSON strings.
pub type Pairs = Vec<(String, String)>;

/// A chat request with names that are taken, and the way back. `None`: it has no others.
pub fn taken(pieces: &[Bytes], rule: Rule) -> Option<(Bytes, Pairs)> {
    if !pieces.iter().any(|piece| rule.may_refuse(piece)) {
        return None;
    }
    let whole = pieces.concat();
    let text = std::str::from_utf8(&whole).ok()?;
    let mut spots = Vec::new();
    for (key, raw) in split::members(text.trim_ascii())? {
        match &*key_of(key) {
            "messages" => {
                split::elements(raw).into_iter().flatten().for_each(|m| in_message(m, &mut spots));
            }
            "tools" | "tool_choice" | "functions" | "function_call" => {
                within((raw, DEPTH_MAX), &mut spots);
            }
            _ => {}
        }
    }
    let name = |raw: &str| Some(Text::read(raw, At::Root).ok()?.decode().into_owned());
    let names: BTreeSet<String> = spots.iter().filter_map(|raw| name(raw)).collect();
    let made = made(&names, rule);
    if made.is_empty() {
        return None;
    }
    let (mut body, mut from) = (String::with_capacity(text.len()), 0);
    for raw in spots {
        let Some(new) = name(raw).and_then(|name| made.get(&*name)) else { continue };
        let at = (raw.as_ptr() as usize).checked_sub(text.as_ptr() as usize)?;
        body.push_str(text.get(from..at)?);
        body.push_str(&literal(new));
        from = at + raw.len();
    }
    body.push_str(text.get(from..)?);
    let pairs = made.iter().map(|(own, new)| (literal(new), literal(own))).collect();
    Some((Bytes::from(body), pairs))
}

fn literal(text: &str) -> String {
    serde_json::to_string(text).unwrap_or_default()
}

/// Other names for those that are not taken.
fn made(names: &BTreeSet<String>, rule: Rule) -> BTreeMap<&str, String> {
    let mut made = BTreeMap::new();
    let mut used: BTreeSet<String> = BTreeSet::new();
    for name in names.iter().filter(|name| !rule.takes(name)) {
        let mut all = (0..).map(|round| rule.made(name, round));
        let free = |new: &String| !names.contains(new) && !used.contains(new);
        let Some(new) = all.find(free) else { continue };
        used.insert(new.clone());
        made.insert(&**name, new);
    }
    made
}

/// How deep names are looked for: `tool_choice.allowed_tools.tools[].function.name`.
const DEPTH_MAX: usize = 8;

/// The literals of names in a tool, a call, a choice, or a list of them, in order.
fn within<'t>((raw, depth): (&'t str, usize), spots: &mut Vec<&'t str>) {
    let Some(depth) = depth.checked_sub(1) else { return };
    for (key, raw) in split::members(raw).into_iter().flatten() {
        match &*key_of(key) {
            "name" if raw.starts_with('"') => spots.push(raw),
            "function" | "custom" | "allowed_tools" | "tools" => within((raw, depth), spots),
            _ => {}
        }
    }
    split::elements(raw).into_iter().flatten().for_each(|raw| within((raw, depth), spots));
}

fn in_message<'t>(raw: &'t str, spots: &mut Vec<&'t str>) {
    let members = || split::members(raw).into_iter().flatten().map(|(key, raw)| (key_of(key), raw));
    // What a user is called is no function's name.
    let results = |(key, raw): (Cow<'_, str>, &str)| {
        key == "role" && matches!(raw, "\"tool\"" | "\"function\"")
    };
    let is_result = members().any(results);
    for (key, raw) in members() {
        match &*key {
            "tool_calls" | "function_call" => within((raw, DEPTH_MAX), spots),
            "name" if is_result && raw.starts_with('"') => spots.push(raw),
            _ => {}
        }
    }
}

/// An answer in chat completions, or whole lines of a stream of one, with the client's own names.
pub fn back<'t>(names: &[(String, String)], body: &'t [u8]) -> Cow<'t, [u8]> {
    let mut body = Cow::Borrowed(body);
    for (new, own) in names {
        if memmem::find(&body, new.as_bytes()).is_none() {
            continue;
        }
        // A literal with such a tail is no part of another text: its quotes would be escaped there.
        let text = String::from_utf8_lossy(&body).replace(&**new, own);
        body = Cow::Owned(text.into_bytes());
    }
    body
}
