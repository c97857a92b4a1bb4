//! Good answers in the OpenAI dialect: what is read of them, and the few ranges that are replaced.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Reply, UpstreamFault, of_value};
use crate::adapt::ReplyPlan;
use crate::context::tokens_at_least;
use crate::endpoint::Endpoint;
use crate::json;
use crate::mint::Mint;
use crate::openai::chat::TokenLogprob;
use crate::openai::completions::Logprobs;
use crate::usage::{Finish, Told, Usage};

mod walked;

/// The members of an answer or a chunk that are acted on, as raw JSON; null counts as absent, except of
/// those that are replaced where they stand.
#[derive(Default, Deserialize)]
pub(crate) struct Answer<'a> {
    #[serde(default, borrow, deserialize_with = "even_null")]
    pub(crate) id: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "even_null")]
    pub(crate) model: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "even_null")]
    pub(crate) created: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    choices: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    data: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    usage: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    error: Option<&'a str>,
    /// The choices, where they were read on the way.
    #[serde(skip)]
    read: Option<Vec<Choice<'a>>>,
    /// The usage, where it was read on the way.
    #[serde(skip)]
    counted: Option<Told>,
}

fn raw<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<&'de str>, D::Error> {
    Ok(Option::<&RawValue>::deserialize(deserializer)?.map(RawValue::get))
}

fn even_null<'de, D>(deserializer: D) -> Result<Option<&'de str>, D::Error>
where
    D: serde::Deserializer<'de>,
{
    Ok(Some(<&RawValue>::deserialize(deserializer)?.get()))
}

impl<'a> Answer<'a> {
    /// Reads an answer: walked once if it has the usual form, parsed if not.
    pub(crate) fn read(text: &'a str) -> serde_json::Result<Self> {
        walked::answer(text).or_else(|_| serde_json::from_str(text))
    }

    /// Whether there is a list of choices, be it empty.
    pub(crate) fn has_choices(&self) -> bool {
        self.read.is_some() || self.choices.is_some()
    }

    /// Takes the choices out; none if there is no such member.
    pub(crate) fn take_choices(&mut self) -> serde_json::Result<Vec<Choice<'a>>> {
        match (self.read.take(), self.choices) {
            (Some(choices), _) => Ok(choices),
            (None, Some(raw)) => serde_json::from_str(raw),
            (None, None) => Ok(Vec::new()),
        }
    }

    /// Whether there is a usage, readable or not.
    pub(crate) fn tells_usage(&self) -> bool {
        self.usage.is_some()
    }

    /// The usage, if it is there in a readable form, and whole.
    pub(crate) fn usage(&self, endpoint: Endpoint) -> Option<Usage> {
        match &self.counted {
            Some(told) => told.usage(endpoint),
            None => Usage::read(endpoint, self.usage?),
        }
    }

    /// The error that stands where an answer should.
    pub(crate) fn error(&self, plan: &ReplyPlan) -> Option<UpstreamFault> {
        let value: Value = serde_json::from_str(self.error?).ok()?;
        (value.is_object() || value.is_string()).then(|| of_value(plan, &value))
    }
}

/// What is read of a choice.
#[derive(Default, Deserialize)]
pub(crate) struct Choice<'a> {
    #[serde(default, borrow, deserialize_with = "raw")]
    index: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    finish_reason: Option<&'a str>,
    /// What the model's maker calls it.
    #[serde(default, borrow, deserialize_with = "raw")]
    native_finish_reason: Option<&'a str>,
    #[serde(default, borrow)]
    pub(crate) delta: Option<Said<'a>>,
    #[serde(default, borrow)]
    message: Option<Said<'a>>,
    #[serde(default, borrow, deserialize_with = "raw")]
    pub(crate) text: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    logprobs: Option<&'a str>,
}

impl<'a> Choice<'a> {
    /// Its number; the first's if it has none.
    pub(crate) fn index(&self) -> u64 {
        self.index.and_then(|raw| raw.parse().ok()).unwrap_or(0)
    }

    /// Why it ended. An answer that is whole has ended, whatever word it has for it.
    pub(crate) fn finish(&self) -> Option<Finish> {
        self.finish_reason.map(Finish::from_json)
    }

    /// Why it ended, by a chunk of it: an empty word is none.
    pub(crate) fn ended(&self) -> Option<Finish> {
        self.finish().filter(|_| self.empty_reason().is_none())
    }

    /// The empty word that some services write for a reason until there is one.
    pub(crate) fn empty_reason(&self) -> Option<&'a str> {
        self.finish_reason.filter(|raw| *raw == "\"\"")
    }

    /// Whether it ended in a way that leaves nothing to use. A client of the upstream's own dialect is told so by
    /// the upstream's own words.
    pub(crate) fn gave_up(&self, plan: &ReplyPlan) -> bool {
        self.finish() == Some(Finish::Failed) && !plan.own
    }

    /// Why it gave up, as far as a name was given.
    pub(crate) fn why(&self) -> String {
        const NAME_BYTES_MAX: usize = 64;
        let is_name = |name: &&str| {
            let plain = |b: u8| b.is_ascii_uppercase() || b == b'_';
            !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(plain)
        };
        match self.native_finish_reason.map(|raw| raw.trim_matches('"')).filter(is_name) {
            Some(name) => format!("the model's answer cannot be used: {name}"),
            None => "the upstream gave up in the middle of the answer".to_owned(),
        }
    }
}

/// What is read of a message or delta: whether it says anything.
#[derive(Default, Deserialize)]
pub(crate) struct Said<'a> {
    #[serde(default, borrow, deserialize_with = "raw")]
    content: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    refusal: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    reasoning: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    reasoning_content: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    tool_calls: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    function_call: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    audio: Option<&'a str>,
    #[serde(default, borrow, deserialize_with = "raw")]
    images: Option<&'a str>,
}

impl Said<'_> {
    /// Whether there is anything a reader would see or act on.
    pub(crate) fn anything(&self) -> bool {
        let parts = [
            self.content,
            self.refusal,
            self.reasoning,
            self.reasoning_content,
            self.tool_calls,
            self.function_call,
            self.audio,
            self.images,
        ];
        parts.into_iter().flatten().any(|raw| !matches!(raw, "null" | "\"\"" | "[]"))
    }

    fn bytes(&self) -> usize {
        self.content.map_or(0, str::len)
    }
}

/// A range of a text and what replaces it.
pub(crate) type Patch = (Range<usize>, String);

/// Replaced ranges of a text.
pub(crate) type Patches = Vec<Patch>;

/// Reads an answer and replaces what must be.
pub(super) fn read(plan: &ReplyPlan, mint: &Mint, body: Bytes) -> Result<Reply, UpstreamFault> {
    let Some(text) = json::text(&body) else {
        return Err(UpstreamFault::unreadable("it is not UTF-8"));
    };
    let mut answer =
        Answer::read(text).map_err(|_| UpstreamFault::unreadable("it is not a JSON object"))?;
    if let Some(fault) = answer.error(plan) {
        return Err(fault);
    }
    let mut usage = answer.usage(plan.endpoint);
    let mut patches = Patches::new();
    let mut finish = None;
    match plan.endpoint {
        Endpoint::Embeddings if answer.data.is_some_and(|data| data != "[]") => {}
        Endpoint::ChatCompletions | Endpoint::Completions if answer.has_choices() => {
            let choices = answer
                .take_choices()
                .map_err(|_| UpstreamFault::unreadable("its choices have another form"))?;
            // A stream with nothing in it fails for want of a finish reason; so does its whole form.
            let Some(first) = choices.first() else {
                return Err(UpstreamFault::unreadable("it has no choices"));
            };
            finish = first.finish();
            if let Some(failed) = choices.iter().find(|choice| choice.gave_up(plan)) {
                return Err(UpstreamFault::failed(&failed.why()));
            }
            recount(plan, &choices, &mut usage);
            legacy_logprobs(plan, text, &choices, &mut patches);
        }
        _ => return Err(UpstreamFault::unreadable("it holds no answer")),
    }
    if let Some((raw, usage)) = answer.usage.zip(usage.filter(|u| u.estimated)) {
        patches.extend(usage_patches(text, raw, &usage));
    }
    if plan.mint {
        patches.extend(mint_patches(plan.endpoint, mint, text, &answer));
    }
    let prompt_truncated = truncated(plan, usage.as_ref());
    let body = if patches.is_empty() { body } else { Bytes::from(patch(text, patches)) };
    Ok(Reply { body, usage, finish, prompt_truncated, own: None, losses: Vec::new() })
}

/// Whether the upstream counted far fewer prompt tokens than the text surely has, or as many as a cut leaves of
/// a prompt that was expected not to fit: one that is a little too long does not show.
pub(crate) fn truncated(plan: &ReplyPlan, usage: Option<&Usage>) -> bool {
    let surely = tokens_at_least(plan.prompt_bytes, plan.millibytes_per_token);
    let told = usage.filter(|usage| !usage.estimated && usage.prompt_tokens > 0);
    told.is_some_and(|usage| {
        usage.prompt_tokens < surely || is_left_of(plan.overfull_context, usage.prompt_tokens)
    })
}

/// Whether so many tokens are what a cut leaves of a prompt in this context: Ollama drops the oldest messages until the
/// rest fits, or cuts a text to half of the context.
fn is_left_of(context: u32, tokens: u64) -> bool {
    let context = u64::from(context);
    let fills = (context * 3 / 4..=context).contains(&tokens);
    context > 0 && (fills || tokens.abs_diff(context / 2) <= context / 64)
}

/// Counts all choices where the engine counted one. Exact for a choice that ran into the limit,
/// else by the length of its text: marked as an estimate.
fn recount(plan: &ReplyPlan, choices: &[Choice<'_>], usage: &mut Option<Usage>) {
    let Some(usage) = usage.as_mut() else { return };
    if !plan.provider.quirks.usage_of_one_choice || choices.len() < 2 {
        return;
    }
    let bytes = |choice: &Choice<'_>| {
        let said = choice.message.as_ref().map_or(0, Said::bytes);
        let text = choice.text.map_or(0, str::len);
        (said + text).saturating_sub(2) as u64
    };
    let first = choices.first().map_or(1, bytes).max(1);
    let counted = usage.completion_tokens;
    let total: u64 = choices
        .iter()
        .enumerate()
        .map(|(index, choice)| match (index, choice.finish(), plan.max_tokens) {
            (0, ..) => counted,
            (_, Some(Finish::Length), Some(limit)) => limit,
            _ => (counted.saturating_mul(bytes(choice)) / first).max(1),
        })
        .sum();
    usage.completion_tokens = total;
    usage.total_tokens = usage.prompt_tokens.saturating_add(total);
    usage.estimated = true;
}

/// Replaces the two counts that depend on the completion; details stay as they came.
pub(crate) fn usage_patches(text: &str, raw: &str, usage: &Usage) -> Patches {
    let mut patches = Patches::new();
    let _ = json::members(raw, |key, value| {
        let number = match key {
            "completion_tokens" => usage.completion_tokens,
            "total_tokens" => usage.total_tokens,
            _ => return,
        };
        patches.push((json::range_in(text, value.get()), number.to_string()));
    });
    patches
}

/// Patches of a chunk's usage.
pub(crate) fn chunk_usage_patches(text: &str, answer: &Answer<'_>, usage: &Usage) -> Patches {
    answer.usage.map(|raw| usage_patches(text, raw, usage)).unwrap_or_default()
}

/// Gives a chunk the time of the first one.
pub(crate) fn created_patch(text: &str, answer: &Answer<'_>, first: &[u8]) -> Option<Patch> {
    let raw = answer.created.filter(|raw| raw.as_bytes() != first)?;
    let first = std::str::from_utf8(first).ok()?;
    Some((json::range_in(text, raw), first.to_owned()))
}

/// Takes the usage out of a chunk that has choices.
pub(crate) fn no_usage_patches(text: &str, answer: &Answer<'_>) -> Patches {
    let null = |raw: &str| (json::range_in(text, raw), "null".to_owned());
    answer.usage.map(null).into_iter().collect()
}

/// Replaces the upstream's id and model, or adds what it left out.
pub(crate) fn mint_patches(
    endpoint: Endpoint,
    mint: &Mint,
    text: &str,
    answer: &Answer<'_>,
) -> Patches {
    let (mut patches, mut added) = (Patches::new(), Vec::new());
    let mut set = |name: &str, raw: Option<&str>, value: &str| match raw {
        Some(raw) => patches.push((json::range_in(text, raw), json::string(value))),
        None => added.push(format!("\"{name}\":{}", json::string(value))),
    };
    set("model", answer.model, &mint.model);
    if endpoint != Endpoint::Embeddings {
        set("id", answer.id, &mint.id);
    }
    if !added.is_empty() {
        patches.push(first_members(text, &added.join(",")));
    }
    patches
}

/// Puts members at the beginning of an object.
pub(crate) fn first_members(object: &str, members: &str) -> Patch {
    let start = object.find('{').map_or(0, |at| at + 1);
    let rest = object.get(start..).unwrap_or_default();
    let comma = if rest.trim_ascii_start().starts_with('}') { "" } else { "," };
    (start..start, format!("{members}{comma}"))
}

/// `/v1/completions` has its own form of log-probabilities; some engines answer in chat's.
pub(crate) fn legacy_logprobs(
    plan: &ReplyPlan,
    text: &str,
    choices: &[Choice<'_>],
    patches: &mut Patches,
) {
    #[derive(Deserialize)]
    struct ChatForm {
        content: Vec<TokenLogprob>,
    }
    if plan.endpoint != Endpoint::Completions || !plan.provider.quirks.completions_like_chat {
        return;
    }
    for raw in choices.iter().filter_map(|choice| choice.logprobs) {
        if let Ok(form) = serde_json::from_str::<ChatForm>(raw) {
            let (legacy, _) = Logprobs::from_chat(&form.content, 0);
            let legacy = String::from_utf8(json::to_vec(&legacy)).unwrap_or_default();
            patches.push((json::range_in(text, raw), legacy));
        }
    }
}

/// The text with some ranges replaced.
pub(crate) fn patch(text: &str, mut patches: Patches) -> Vec<u8> {
    patches.sort_by_key(|(range, _)| (range.start, range.end));
    let grown: usize = patches.iter().map(|(_, new)| new.len()).sum();
    let mut out = Vec::with_capacity(text.len() + grown);
    let mut at = 0;
    for (range, new) in patches {
        out.extend_from_slice(text.get(at..range.start).unwrap_or_default().as_bytes());
        out.extend_from_slice(new.as_bytes());
        at = range.end;
    }
    out.extend_from_slice(text.get(at..).unwrap_or_default().as_bytes());
    out
}
