//! The head of a request: the few fields that routing and adapting act on, and where each top-level
//! member lies in the body.
//!
//! One pass over the body; it borrows nothing, so that body and head travel together. The pass checks
//! the whole body: UTF-8, JSON syntax, nesting, the types of the fields that are read, and that no
//! known field is given twice (of two models one engine takes the first, another the last: the policy
//! must have judged the one that is served).

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cutover_units::Code;
use serde_json::value::RawValue;

use crate::endpoint::Endpoint;
use crate::errors::Fault;
use crate::json;

mod key;
mod outline;
mod prefix;
mod words;

pub use key::Key;
pub use words::Words;

use outline::{Outline, made, scan, walk};

/// One top-level member of the body.
#[derive(Debug, Clone)]
pub(crate) struct Member {
    pub(crate) key: Key,
    /// Where the value lies in the body.
    pub(crate) value: Range<usize>,
}

/// What was read of a request. Holds no prompt text.
#[derive(Debug, Clone)]
pub struct Head {
    /// The endpoint that was asked.
    pub endpoint: Endpoint,
    /// The model that was asked for, decoded.
    pub model: Arc<str>,
    /// Whether the answer shall be a stream.
    pub stream: bool,
    /// Whether the client wants the usage chunk at a stream's end.
    pub include_usage: bool,
    /// Whether the body was converted from another dialect, and `stream_options` put there by cutover: it
    /// must not be refused for it, nor get limits that only OpenAI's own clients expect. Never read from a
    /// body; false until someone sets it.
    pub stream_options_are_ours: bool,
    /// How many choices are wanted.
    pub n: u32,
    /// How many answers may be made and billed: `n` or, if they are more, `best_of`, for each of a completion's prompts.
    pub answers: u64,
    /// `user`, if given.
    pub user: Option<Box<str>>,
    /// `safety_identifier`, if given and not empty.
    pub safety_identifier: Option<Box<str>>,
    /// `prompt_cache_key`, if given.
    pub prompt_cache_key: Option<Box<str>>,
    /// The limit on generated tokens: `max_completion_tokens`, else `max_tokens`.
    pub max_tokens: Option<u64>,
    /// The larger of the two, where both are given: some engines know the one alone, some the other.
    pub longest: Option<u64>,
    /// Whether tools (or deprecated functions) are offered.
    pub has_tools: bool,
    /// Whether the answer's form is constrained (`response_format` other than text).
    pub has_response_format: bool,
    /// Tokens of the prompt, *estimated* as a quarter of the bytes of messages, prompt or input.
    pub est_prompt_tokens: u64,
    pub(crate) members: Vec<Member>,
    /// The body's length, to tell a head that is used with another body.
    pub(crate) body_len: usize,
    /// How deep the body nests, at most.
    pub(crate) nesting: usize,
    /// Names and values that stand somewhere in the body.
    pub(crate) words: Words,
}

/// Whether messages carry an image, by their JSON.
pub(crate) fn has_image(raw: &str) -> bool {
    json::inside::has_string(raw.as_bytes(), "image_url")
}

/// Bytes of a token in the estimate of the prompt's size: the usual figure for English text.
const BYTES_PER_TOKEN: u64 = 4;

impl Head {
    /// Reads the head and checks the body.
    pub fn read(endpoint: Endpoint, body: &Bytes) -> Result<Self, Fault> {
        let text = json::text(body).ok_or_else(|| not_utf8(body))?;
        let outline = match walk(text) {
            Ok(outline) => outline,
            // What is wrong, or so unusual that it takes the parser to read it.
            Err(_) if json::too_deep(body) => {
                let message = format!("the body nests deeper than {} levels", json::DEPTH_MAX);
                return Err(Fault::new(Code::InvalidJson, message));
            }
            Err(_) => Outline::of(scan(text)?),
        };
        Self::with(endpoint, outline, body.len()).decode(text)
    }

    /// [`Head::read`] of a body that was made here, and so is JSON without a mistake: its bytes are not checked again.
    pub fn of_made(endpoint: Endpoint, body: &Bytes) -> Result<Self, Fault> {
        let found = json::text(body).and_then(|text| Some((text, made(text)?)));
        let Some((text, members)) = found else { return Self::read(endpoint, body) };
        Self::with(endpoint, Outline::of(members), body.len()).decode(text)
    }

    fn with(endpoint: Endpoint, outline: Outline, body_len: usize) -> Self {
        let Outline { members, nesting, words } = outline;
        Self {
            endpoint,
            model: Arc::from(""),
            stream: false,
            include_usage: false,
            stream_options_are_ours: false,
            n: 1,
            answers: 1,
            user: None,
            safety_identifier: None,
            prompt_cache_key: None,
            max_tokens: None,
            longest: None,
            has_tools: false,
            has_response_format: false,
            est_prompt_tokens: 0,
            members,
            body_len,
            nesting,
            words,
        }
    }

    /// Whether one of these may stand somewhere in the body: a look at what has none of them can be spared.
    pub fn may_have(&self, words: Words) -> bool {
        self.words.may_have(words)
    }

    /// The value of a member of `metadata`, if it is there and a string, or a number or a flag as it was
    /// written: a customer's 7 is the customer "7". The body must be the one that the head was read from.
    pub fn metadata(&self, body: &Bytes, key: &str) -> Option<String> {
        let raw = self.raw(body, Key::Metadata)?;
        let mut found = None;
        for (literal, text) in json::cut::members(raw)? {
            // A name that is no text (half a character) is nobody's, and hides none behind it.
            let name = serde_json::from_str::<String>(literal);
            if name.is_ok_and(|name| name == key) {
                let bare = || text.parse::<f64>().is_ok() || matches!(text, "true" | "false");
                let written = || bare().then(|| text.to_owned());
                found = serde_json::from_str(text).ok().or_else(written);
            }
        }
        found
    }

    /// The same as its client wrote it, where that was in another dialect and said so.
    pub fn metadata_said(
        &self,
        body: &Bytes,
        own: Option<&HashMap<String, String>>,
        key: &str,
    ) -> Option<String> {
        let said = own.and_then(|own| own.get(key).cloned());
        said.or_else(|| self.metadata(body, key))
    }

    /// Whether a message carries an image. Looks at the messages' bytes: ask only if it matters.
    pub fn has_images(&self, body: &Bytes) -> bool {
        self.words.may_have(Words::IMAGE) && self.raw(body, Key::Messages).is_some_and(has_image)
    }

    /// Whether anything in the body can stand inside so many objects and arrays: known without a look at
    /// it, and never wrong about what does.
    pub fn may_nest(&self, body: &Bytes, levels: usize) -> bool {
        self.nesting >= levels || self.body_len != body.len()
    }

    /// Whether the request does more at an upstream than to be answered: it is stored there, or has the
    /// web searched. Such a request is not made twice.
    pub fn has_effects(&self, body: &Bytes) -> bool {
        self.raw(body, Key::Store).is_some_and(|raw| raw.trim() != "false")
            || self.raw(body, Key::WebSearchOptions).is_some()
    }

    /// Whether the client chooses another tier of service than the usual one: it has other prices.
    pub fn chooses_tier(&self, body: &Bytes) -> bool {
        const USUAL: [&str; 3] = ["\"auto\"", "\"default\"", "\"standard\""];
        self.raw(body, Key::ServiceTier).is_some_and(|raw| !USUAL.contains(&raw.trim()))
    }

    /// Whether the tokens of a chat's answer shall come with their log-probabilities.
    pub(crate) fn wants_logprobs(&self, body: &Bytes) -> bool {
        self.raw(body, Key::Logprobs).is_some_and(|raw| raw.trim() == "true")
    }

    /// Whether a message carries audio.
    pub fn has_audio(&self, body: &Bytes) -> bool {
        let has = |raw: &str| json::inside::has_string(raw.as_bytes(), "input_audio");
        self.words.may_have(Words::AUDIO) && self.raw(body, Key::Messages).is_some_and(has)
    }

    /// A known member's raw text; null counts as absent.
    pub(crate) fn raw<'a>(&self, body: &'a Bytes, key: Key) -> Option<&'a str> {
        let member = self.members.iter().find(|m| m.key == key)?;
        let raw = self.text(body, &member.value);
        (raw != "null").then_some(raw)
    }

    /// A part of the body as text; empty if the head belongs to another body.
    pub(crate) fn text<'a>(&self, body: &'a Bytes, range: &Range<usize>) -> &'a str {
        let part = if body.len() == self.body_len { body.get(range.clone()) } else { None };
        part.and_then(|b| std::str::from_utf8(b).ok()).unwrap_or_default()
    }

    /// A member's name as the client meant it, known or not.
    pub(crate) fn member_name(&self, body: &Bytes, index: usize) -> String {
        let before = index.checked_sub(1).and_then(|i| self.members.get(i));
        let start = before.map_or(0, |m| m.value.end);
        let end = self.members.get(index).map_or(start, |m| m.value.start);
        let text = self.text(body, &(start..end));
        let literal = text.find('"').and_then(|at| text.get(at..)).unwrap_or_default();
        let literal = literal.trim_end().trim_end_matches(':').trim_end();
        serde_json::from_str(literal).unwrap_or_default()
    }

    fn decode(mut self, text: &str) -> Result<Self, Fault> {
        let prompt = Key::prompt_of(self.endpoint);
        let mut prompt_seen = false;
        let (mut tokens, mut completion_tokens) = (None, None);
        let (mut model, mut prompts, mut best_of) = (None, 1, 1);
        let members = std::mem::take(&mut self.members);
        for member in &members {
            let raw = &text[member.value.clone()];
            if member.key == prompt {
                prompt_seen = raw != "null";
                check_prompt(self.endpoint, raw)?;
                self.est_prompt_tokens = raw.len() as u64 / BYTES_PER_TOKEN;
                prompts = prompts_in(self.endpoint, raw);
            }
            match member.key {
                Key::Model => model = words::<Arc<str>>(raw, "model")?,
                Key::Stream => self.stream = flag(raw, "stream")?,
                Key::StreamOptions => self.include_usage = include_usage(raw)?,
                Key::N => self.n = read(raw, "n", "a positive integer")?.unwrap_or(1),
                // What it may be is the engine's to say.
                Key::BestOf => best_of = raw.parse().unwrap_or(1),
                Key::User => self.user = words(raw, "user")?,
                Key::SafetyIdentifier => {
                    // Nobody's name is empty: it would hide `user`.
                    let named: Option<Box<str>> = words(raw, "safety_identifier")?;
                    self.safety_identifier = named.filter(|name| !name.is_empty());
                }
                Key::PromptCacheKey => {
                    self.prompt_cache_key = words(raw, "prompt_cache_key")?;
                }
                Key::MaxTokens => tokens = read(raw, "max_tokens", "a non-negative integer")?,
                Key::MaxCompletionTokens => {
                    let name = "max_completion_tokens";
                    completion_tokens = read(raw, name, "a non-negative integer")?;
                }
                Key::Tools | Key::Functions => {
                    self.has_tools |= tools(raw, member.key.name())?;
                }
                Key::Metadata => container(raw, "metadata", b'{', "an object")?,
                Key::ResponseFormat => self.has_response_format = response_format(raw)?,
                _ => {}
            }
        }
        self.members = members;
        self.max_tokens = completion_tokens.or(tokens);
        self.longest = completion_tokens.max(tokens);
        self.answers = u64::from(self.n).max(best_of).saturating_mul(prompts);
        let model = model.ok_or_else(|| Fault::missing("model"))?;
        if model.is_empty() {
            return Err(Fault::of(Code::InvalidValue, "model", "'model' must not be empty"));
        }
        if !prompt_seen {
            return Err(Fault::missing(self.endpoint.prompt_field()));
        }
        if self.n == 0 {
            return Err(Fault::of(Code::InvalidValue, "n", "'n' must be at least 1"));
        }
        // An embedding is never a stream, whatever the field says.
        self.stream &= self.endpoint != Endpoint::Embeddings;
        self.model = model;
        Ok(self)
    }
}

fn not_utf8(body: &[u8]) -> Fault {
    let at = std::str::from_utf8(body).map_or_else(|e| e.valid_up_to(), str::len);
    Fault::new(Code::InvalidJson, format!("the body is not valid UTF-8 (byte {at})"))
}

fn read<T: serde::de::DeserializeOwned>(
    raw: &str,
    param: &str,
    expected: &str,
) -> Result<Option<T>, Fault> {
    serde_json::from_str(raw).map_err(|_| Fault::wrong_type(param, expected))
}

/// Reads a string; one without escapes is taken from the body as it stands.
fn words<T: for<'a> From<&'a str>>(raw: &str, param: &str) -> Result<Option<T>, Fault> {
    let plain = raw.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    match plain.filter(|text| !text.contains('\\')) {
        Some(text) => Ok(Some(T::from(text))),
        None => Ok(read::<String>(raw, param, "a string")?.map(|text| T::from(&text))),
    }
}

fn flag(raw: &str, param: &str) -> Result<bool, Fault> {
    match raw {
        "true" => Ok(true),
        "false" | "null" => Ok(false),
        _ => Err(Fault::wrong_type(param, "a boolean")),
    }
}

fn container(raw: &str, param: &str, open: u8, expected: &str) -> Result<(), Fault> {
    if raw == "null" || raw.as_bytes().first() == Some(&open) {
        return Ok(());
    }
    Err(Fault::wrong_type(param, expected))
}

fn check_prompt(endpoint: Endpoint, raw: &str) -> Result<(), Fault> {
    let param = endpoint.prompt_field();
    match endpoint {
        Endpoint::ChatCompletions => container(raw, param, b'[', "an array"),
        // Some answer nothing with nothing, which would look like an answer that broke.
        Endpoint::Embeddings if is_empty(raw) => {
            Err(Fault::of(Code::InvalidValue, param, format!("'{param}' must not be empty")))
        }
        Endpoint::Completions | Endpoint::Embeddings => match raw.as_bytes().first() {
            Some(b'"' | b'[') => Ok(()),
            _ if raw == "null" => Ok(()),
            _ => Err(Fault::wrong_type(param, "a string or an array")),
        },
    }
}

/// How many prompts there are to answer: several texts, or lists of tokens. One list of tokens is one prompt.
fn prompts_in(endpoint: Endpoint, raw: &str) -> u64 {
    let lists = (endpoint == Endpoint::Completions).then(|| json::cut::elements(raw)).flatten();
    let each = lists.into_iter().flatten().filter(|element| element.starts_with(['"', '[']));
    (each.count() as u64).max(1)
}

/// Whether a value is an empty list or an empty text.
fn is_empty(raw: &str) -> bool {
    let inner = raw.strip_prefix('[').and_then(|raw| raw.strip_suffix(']'));
    raw == "\"\"" || inner.is_some_and(|inner| inner.trim_ascii().is_empty())
}

fn include_usage(raw: &str) -> Result<bool, Fault> {
    container(raw, "stream_options", b'{', "an object")?;
    if raw == "null" {
        return Ok(false);
    }
    let mut asked = false;
    let mut wrong = None;
    let _ = json::members(raw, |key, value| {
        if key == "include_usage" {
            match flag(value.get(), "stream_options.include_usage") {
                Ok(value) => asked = value,
                Err(fault) => wrong = Some(fault),
            }
        }
    });
    wrong.map_or(Ok(asked), Err)
}

/// Whether there are tools; each must be an object, as must its schema.
fn tools(raw: &str, param: &str) -> Result<bool, Fault> {
    container(raw, param, b'[', "an array")?;
    if raw == "null" {
        return Ok(false);
    }
    let items: Vec<&RawValue> = read_list(raw);
    for (index, item) in items.iter().enumerate() {
        let path = format!("{param}[{index}]");
        container(item.get(), &path, b'{', "an object")?;
        let mut wrong = None;
        let mut schema = |path: &str, value: &str| {
            if let Err(fault) = container(value, path, b'{', "an object (a JSON schema)") {
                wrong.get_or_insert(fault);
            }
        };
        let _ = json::members(item.get(), |key, value| match key {
            "parameters" => schema(&format!("{path}.parameters"), value.get()),
            "function" if value.get().starts_with('{') => {
                let _ = json::members(value.get(), |key, value| {
                    if key == "parameters" {
                        schema(&format!("{path}.function.parameters"), value.get());
                    }
                });
            }
            _ => {}
        });
        if let Some(fault) = wrong {
            return Err(fault);
        }
    }
    Ok(!items.is_empty())
}

fn read_list(raw: &str) -> Vec<&RawValue> {
    serde_json::from_str(raw).unwrap_or_default()
}

fn response_format(raw: &str) -> Result<bool, Fault> {
    container(raw, "response_format", b'{', "an object")?;
    if raw == "null" {
        return Ok(false);
    }
    let mut kind = None;
    let _ = json::members(raw, |key, value| {
        if key == "type" {
            kind = serde_json::from_str::<String>(value.get()).ok();
        }
    });
    Ok(kind.as_deref() != Some("text"))
}

#[cfg(test)]
mod tests;
