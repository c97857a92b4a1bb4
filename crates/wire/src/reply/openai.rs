//! Good answers in the OpenAI dialect: what is read of them, and the few ranges that are replaced.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::{Reply, UpstreamFault, of_value};
use crate::adapt::ReplyPlan;
use crate::endpoint::Endpoint;
use crate::json;
use crate::mint::Mint;
use crate::openai::chat::TokenLogprob;
use crate::openai::completions::Logprobs;
use crate::usage::{Finish, Usage};

/// The members of an answer or a chunk that are acted on.
#[derive(Deserialize)]
pub(crate) struct Answer<'a> {
    #[serde(default, borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) model: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) created: Option<&'a RawValue>,
    #[serde(default, borrow)]
    pub(crate) choices: Option<&'a RawValue>,
    #[serde(default, borrow)]
    data: Option<&'a RawValue>,
    #[serde(default, borrow)]
    usage: Option<&'a RawValue>,
    #[serde(default, borrow)]
    error: Option<&'a RawValue>,
}

impl Answer<'_> {
    /// The usage, if it is there in a readable form.
    pub(crate) fn usage(&self) -> Option<Usage> {
        self.usage.and_then(|raw| serde_json::from_str(raw.get()).ok())
    }

    /// The error that stands where an answer should.
    pub(crate) fn error(&self, plan: &ReplyPlan) -> Option<UpstreamFault> {
        let value: Value = serde_json::from_str(self.error?.get()).ok()?;
        (value.is_object() || value.is_string()).then(|| of_value(plan, &value))
    }
}

/// What is read of a choice.
#[derive(Deserialize)]
pub(crate) struct Choice<'a> {
    #[serde(default)]
    pub(crate) finish_reason: Option<Finish>,
    #[serde(default, borrow)]
    pub(crate) delta: Option<Said<'a>>,
    #[serde(default, borrow)]
    message: Option<Said<'a>>,
    #[serde(default, borrow)]
    pub(crate) text: Option<&'a RawValue>,
    #[serde(default, borrow)]
    logprobs: Option<&'a RawValue>,
}

/// What is read of a message or delta: whether it says anything.
#[derive(Deserialize)]
pub(crate) struct Said<'a> {
    #[serde(default, borrow)]
    content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    refusal: Option<&'a RawValue>,
    #[serde(default, borrow)]
    reasoning: Option<&'a RawValue>,
    #[serde(default, borrow)]
    reasoning_content: Option<&'a RawValue>,
    #[serde(default, borrow)]
    tool_calls: Option<&'a RawValue>,
    #[serde(default, borrow)]
    function_call: Option<&'a RawValue>,
    #[serde(default, borrow)]
    audio: Option<&'a RawValue>,
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
        ];
        parts.into_iter().flatten().any(|raw| !matches!(raw.get(), "null" | "\"\"" | "[]"))
    }

    fn bytes(&self) -> usize {
        self.content.map_or(0, |raw| raw.get().len())
    }
}

/// A range of a text and what replaces it.
pub(crate) type Patch = (Range<usize>, String);

/// Replaced ranges of a text.
pub(crate) type Patches = Vec<Patch>;

/// Reads an answer and replaces what must be.
pub(super) fn read(plan: &ReplyPlan, mint: &Mint, body: Bytes) -> Result<Reply, UpstreamFault> {
    let Ok(text) = std::str::from_utf8(&body) else {
        return Err(UpstreamFault::unreadable("it is not UTF-8"));
    };
    let answer: Answer<'_> = serde_json::from_str(text)
        .map_err(|_| UpstreamFault::unreadable("it is not a JSON object"))?;
    if let Some(fault) = answer.error(plan) {
        return Err(fault);
    }
    let mut usage = answer.usage();
    let mut patches = Patches::new();
    let mut finish = None;
    match (plan.endpoint, answer.choices, answer.data) {
        (Endpoint::Embeddings, _, Some(_)) => {}
        (Endpoint::ChatCompletions | Endpoint::Completions, Some(raw), _) => {
            let choices: Vec<Choice<'_>> = serde_json::from_str(raw.get())
                .map_err(|_| UpstreamFault::unreadable("its choices have another form"))?;
            finish = choices.first().and_then(|c| c.finish_reason);
            if choices.iter().any(|c| c.finish_reason == Some(Finish::Failed)) {
                return Err(UpstreamFault::failed(
                    "the upstream gave up in the middle of the answer",
                ));
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
    Ok(Reply { body, usage, finish, prompt_truncated })
}

/// Whether the upstream counted far fewer prompt tokens than the text can have. Eight bytes per token
/// is beyond what natural text and code reach; a prompt cut to half shows, a slightly cut one does not.
pub(crate) fn truncated(plan: &ReplyPlan, usage: Option<&Usage>) -> bool {
    const BYTES_PER_TOKEN_MAX: u64 = 8;
    usage.is_some_and(|u| {
        u.prompt_tokens > 0
            && u.prompt_tokens.saturating_mul(BYTES_PER_TOKEN_MAX) < plan.prompt_bytes
    })
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
        let text = choice.text.map_or(0, |raw| raw.get().len());
        (said + text).saturating_sub(2) as u64
    };
    let first = choices.first().map_or(1, bytes).max(1);
    let counted = usage.completion_tokens;
    let total: u64 = choices
        .iter()
        .enumerate()
        .map(|(index, choice)| match (index, choice.finish_reason, plan.max_tokens) {
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
pub(crate) fn usage_patches(text: &str, raw: &RawValue, usage: &Usage) -> Patches {
    let mut patches = Patches::new();
    let _ = json::members(raw.get(), |key, value| {
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
    let raw = answer.created.filter(|raw| raw.get().as_bytes() != first)?;
    let first = std::str::from_utf8(first).ok()?;
    Some((json::range_in(text, raw.get()), first.to_owned()))
}

/// Takes the usage out of a chunk that has choices.
pub(crate) fn no_usage_patches(text: &str, answer: &Answer<'_>) -> Patches {
    let null = |raw: &RawValue| (json::range_in(text, raw.get()), "null".to_owned());
    answer.usage.map(null).into_iter().collect()
}

/// Replaces the upstream's id and model, or adds what it left out.
pub(crate) fn mint_patches(
    endpoint: Endpoint,
    mint: &Mint,
    text: &str,
    answer: &Answer<'_>,
) -> Patches {
    let start = text.find('{').map_or(0, |at| at + 1);
    let set = |name: &str, raw: Option<&RawValue>, value: &str| match raw {
        Some(raw) => (json::range_in(text, raw.get()), json::string(value)),
        None => (start..start, format!("\"{name}\":{},", json::string(value))),
    };
    let mut patches = vec![set("model", answer.model, &mint.model)];
    if endpoint != Endpoint::Embeddings {
        patches.push(set("id", answer.id, &mint.id));
    }
    patches
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
        if let Ok(form) = serde_json::from_str::<ChatForm>(raw.get()) {
            let (legacy, _) = Logprobs::from_chat(&form.content, 0);
            let legacy = String::from_utf8(json::to_vec(&legacy)).unwrap_or_default();
            patches.push((json::range_in(text, raw.get()), legacy));
        }
    }
}

/// The text with some ranges replaced.
pub(crate) fn patch(text: &str, mut patches: Patches) -> Vec<u8> {
    patches.sort_by_key(|(range, _)| (range.start, range.end));
    let grown: usize = patches.iter().map(|(_, new)| new.len()).sum();
    let mut out = BytesMut::with_capacity(text.len() + grown);
    let mut at = 0;
    for (range, new) in patches {
        out.put_slice(text.get(at..range.start).unwrap_or_default().as_bytes());
        out.put_slice(new.as_bytes());
        at = range.end;
    }
    out.put_slice(text.get(at..).unwrap_or_default().as_bytes());
    out.to_vec()
}
