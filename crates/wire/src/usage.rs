//! Token counts and finish reasons, in the form the OpenAI dialect gives them.

use serde::de::IgnoredAny;
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;
use crate::json::walk::{Stop, Walk};

/// How many tokens a request took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(into = "Shape")]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub prompt_tokens: u64,
    /// Tokens generated, over all choices, reasoning included.
    pub completion_tokens: u64,
    /// The upstream's own sum; not always prompt + completion.
    pub total_tokens: u64,
    /// Of the prompt's tokens, those read from a prefix cache.
    pub cached_tokens: Option<u64>,
    /// Of the prompt's tokens, those written to a prefix cache.
    pub cache_write_tokens: Option<u64>,
    /// Of the completion's tokens, those of hidden reasoning.
    pub reasoning_tokens: Option<u64>,
    /// The upstream's figures were wrong or missing and a part of these was estimated by us.
    pub estimated: bool,
}

impl Usage {
    /// Counts of prompt and completion; the total is their sum.
    pub fn new(prompt_tokens: u64, completion_tokens: u64) -> Self {
        Self {
            prompt_tokens,
            completion_tokens,
            total_tokens: prompt_tokens.saturating_add(completion_tokens),
            ..Self::default()
        }
    }
}

/// Most tokens of one request that are believed, for each count by itself: hundreds of times the longest context of today. What
/// is above was never counted, and would have a price: a window's sums, and a month's bill, would be that one answer's.
pub(crate) const TOKENS_MAX: u64 = u32::MAX as u64;

impl Usage {
    /// Nothing, if a count cannot be: who tells such a thing has told no usage.
    fn if_possible(self) -> Option<Self> {
        let parts = [self.cached_tokens, self.cache_write_tokens, self.reasoning_tokens];
        let counts = [self.prompt_tokens, self.completion_tokens];
        let mut all = counts.into_iter().chain(parts.into_iter().flatten());
        all.all(|count| count <= TOKENS_MAX).then_some(self)
    }

    /// The usage that a member of an answer tells; `None` if it tells none that can be read.
    pub fn read(endpoint: Endpoint, raw: &str) -> Option<Self> {
        serde_json::from_str::<Told>(raw).ok()?.usage(endpoint)
    }

    /// What is known once more has been told: counts that are all 0 replace none that are not.
    pub fn and_then_told(before: Option<Self>, told: Option<Self>) -> Option<Self> {
        let counts = |usage: &Self| usage.prompt_tokens > 0 || usage.completion_tokens > 0;
        told.filter(|told| counts(told) || before.is_none()).or(before)
    }
}

/// What an answer tells of its tokens, any of it perhaps missing. Null and missing are the same; unknown
/// members are skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub(crate) struct Told {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    /// What some services call the prompt's tokens, as the Responses API does.
    input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    input_tokens_details: Option<PromptDetails>,
    output_tokens_details: Option<CompletionDetails>,
}

impl Told {
    /// Reads what services write: whole numbers, null, and the objects of details. Anything else is left
    /// to the parser.
    pub(crate) fn walk(walk: &mut Walk<'_>) -> Result<Self, Stop> {
        let mut told = Self::default();
        let (mut prompt, mut completion, mut total) = (None, None, None);
        walk.object(|walk, name| match name {
            "prompt_tokens" => walk.once(&mut prompt),
            "completion_tokens" => walk.once(&mut completion),
            "total_tokens" => walk.once(&mut total),
            "prompt_tokens_details" if told.prompt_tokens_details.is_none() => {
                let (mut cached, mut written) = (None, None);
                details(walk, |walk, name| match name {
                    "cached_tokens" => walk.once(&mut cached),
                    "cache_write_tokens" => walk.once(&mut written),
                    _ => walk.value().map(drop),
                })?;
                told.prompt_tokens_details = Some(PromptDetails {
                    cached_tokens: number(cached)?,
                    cache_write_tokens: number(written)?,
                });
                Ok(())
            }
            "completion_tokens_details" if told.completion_tokens_details.is_none() => {
                let mut reasoning = None;
                details(walk, |walk, name| match name {
                    "reasoning_tokens" => walk.once(&mut reasoning),
                    _ => walk.value().map(drop),
                })?;
                let reasoning_tokens = number(reasoning)?;
                told.completion_tokens_details = Some(CompletionDetails { reasoning_tokens });
                Ok(())
            }
            "prompt_tokens_details"
            | "completion_tokens_details"
            | "input_tokens"
            | "output_tokens"
            | "input_tokens_details"
            | "output_tokens_details" => Err(Stop),
            _ => walk.value().map(drop),
        })?;
        told.prompt_tokens = number(prompt)?;
        told.completion_tokens = number(completion)?;
        told.total_tokens = number(total)?;
        Ok(told)
    }

    /// The usage, if both counts are told: of one and the sum the other follows. A count that nobody
    /// knows is no 0, which would have a price.
    pub(crate) fn usage(&self, endpoint: Endpoint) -> Option<Usage> {
        let total = self.total_tokens.filter(|total| *total > 0);
        let prompt = self.prompt_tokens.or(self.input_tokens);
        let completion = self.completion_tokens.or(self.output_tokens);
        let rest = |known: u64| total?.checked_sub(known);
        let (prompt, completion) = match (endpoint, prompt, completion) {
            // All of it is the prompt.
            (Endpoint::Embeddings, prompt, completion) => {
                let prompt = prompt.filter(|prompt| *prompt > 0).or(total).or(prompt)?;
                (prompt, completion.unwrap_or(0))
            }
            (_, Some(prompt), Some(completion)) => (prompt, completion),
            (_, Some(prompt), None) => (prompt, rest(prompt)?),
            (_, None, Some(completion)) => (rest(completion)?, completion),
            (_, None, None) => return None,
        };
        let of_prompt = self.prompt_tokens_details.as_ref().or(self.input_tokens_details.as_ref());
        let of_completion =
            self.completion_tokens_details.as_ref().or(self.output_tokens_details.as_ref());
        let usage = Usage {
            total_tokens: total.unwrap_or(prompt.saturating_add(completion)),
            cached_tokens: of_prompt.and_then(|details| details.cached_tokens),
            cache_write_tokens: of_prompt.and_then(|details| details.cache_write_tokens),
            reasoning_tokens: of_completion.and_then(|details| details.reasoning_tokens),
            ..Usage::new(prompt, completion)
        };
        usage.if_possible()
    }
}

fn number(raw: Option<&str>) -> Result<Option<u64>, Stop> {
    raw.filter(|raw| *raw != "null").map(str::parse).transpose().map_err(|_| Stop)
}

fn details<'a>(
    walk: &mut Walk<'a>,
    each: impl FnMut(&mut Walk<'a>, &'a str) -> Result<(), Stop>,
) -> Result<(), Stop> {
    if walk.peek() == Ok(b'n') {
        return walk.value().map(drop);
    }
    walk.object(each)
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct PromptDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cached_tokens: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct CompletionDetails {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reasoning_tokens: Option<u64>,
}

/// The JSON shape that is written.
#[derive(Serialize)]
struct Shape {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_tokens_details: Option<PromptDetails>,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<CompletionDetails>,
}

impl From<Usage> for Shape {
    fn from(usage: Usage) -> Self {
        let prompt = usage.cached_tokens.is_some() || usage.cache_write_tokens.is_some();
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.total_tokens,
            prompt_tokens_details: prompt.then_some(PromptDetails {
                cached_tokens: usage.cached_tokens,
                cache_write_tokens: usage.cache_write_tokens,
            }),
            completion_tokens_details: usage
                .reasoning_tokens
                .map(|n| CompletionDetails { reasoning_tokens: Some(n) }),
        }
    }
}

/// Why generation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Finish {
    /// The model ended, or a stop sequence was met.
    Stop,
    /// The token limit or the context was full.
    Length,
    /// The model calls tools.
    ToolCalls,
    /// Content was left out by a filter.
    ContentFilter,
    /// The model calls a function (deprecated form).
    FunctionCall,
    /// The upstream gave up and says so in the reason: never a success.
    Failed,
    /// A reason that is not in the OpenAI dialect; it was passed on as it came.
    Other,
}

impl Finish {
    /// The reason's word in the OpenAI dialect and in records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::Length => "length",
            Self::ToolCalls => "tool_calls",
            Self::ContentFilter => "content_filter",
            Self::FunctionCall => "function_call",
            Self::Failed => "error",
            Self::Other => "other",
        }
    }

    /// Reads the word, also those that services of the dialect have of their own: vLLM (`abort`), TensorRT-LLM
    /// (`timeout`, `cancelled`), DeepSeek (`insufficient_system_resource`), Z.ai (`network_error`, `sensitive`,
    /// `model_context_window_exceeded`), Mistral (`model_length`).
    pub fn from_word(word: &str) -> Self {
        match word {
            "stop" => Self::Stop,
            "length" | "model_length" | "model_context_window_exceeded" => Self::Length,
            "tool_calls" => Self::ToolCalls,
            "content_filter" | "sensitive" => Self::ContentFilter,
            "function_call" => Self::FunctionCall,
            "error"
            | "abort"
            | "timeout"
            | "cancelled"
            | "canceled"
            | "network_error"
            | "insufficient_system_resource" => Self::Failed,
            _ => Self::Other,
        }
    }
}

impl Finish {
    /// The reason that a JSON value tells. Words without escapes, as all are, need no parser.
    pub(crate) fn from_json(raw: &str) -> Self {
        let word = raw.strip_prefix('"').and_then(|word| word.strip_suffix('"'));
        match word {
            Some(word) if !word.contains('\\') => Self::from_word(word),
            _ => serde_json::from_str(raw).unwrap_or(Self::Other),
        }
    }
}

impl<'de> Deserialize<'de> for Finish {
    /// Any string is a reason; anything else that is not null is [`Finish::Other`].
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;
        impl<'de> serde::de::Visitor<'de> for Word {
            type Value = Finish;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a finish reason")
            }
            fn visit_str<E>(self, word: &str) -> Result<Finish, E> {
                Ok(Finish::from_word(word))
            }
            fn visit_bool<E>(self, _: bool) -> Result<Finish, E> {
                Ok(Finish::Other)
            }
            fn visit_i64<E>(self, _: i64) -> Result<Finish, E> {
                Ok(Finish::Other)
            }
            fn visit_u64<E>(self, _: u64) -> Result<Finish, E> {
                Ok(Finish::Other)
            }
            fn visit_f64<E>(self, _: f64) -> Result<Finish, E> {
                Ok(Finish::Other)
            }
            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<Finish, A::Error> {
                while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(Finish::Other)
            }
        }
        deserializer.deserialize_any(Word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walked(text: &str) -> Result<Told, Stop> {
        let mut walk = Walk::new(text);
        let told = Told::walk(&mut walk)?;
        walk.end()?;
        Ok(told)
    }

    fn read(text: &str) -> Option<Usage> {
        Usage::read(Endpoint::ChatCompletions, text)
    }

    #[test]
    fn usage_is_read_from_what_engines_really_send() {
        let llama = r#"{"completion_tokens":4,"prompt_tokens":36,"total_tokens":40,"prompt_tokens_details":{"cached_tokens":35}}"#;
        assert_eq!(read(llama), Some(Usage { cached_tokens: Some(35), ..Usage::new(36, 4) }));
        let vllm = r#"{"prompt_tokens":36,"total_tokens":37,"completion_tokens":1,"prompt_tokens_details":null,"completion_tokens_details":null}"#;
        assert_eq!(read(vllm), Some(Usage::new(36, 1)));
        let embeddings = r#"{"prompt_tokens":5,"total_tokens":5}"#;
        assert_eq!(Usage::read(Endpoint::Embeddings, embeddings), Some(Usage::new(5, 0)));
        let continuous = r#"{"prompt_tokens":36,"total_tokens":37}"#;
        assert_eq!(read(continuous), Some(Usage::new(36, 1)), "of one and the sum the other");
    }

    /// A count that was not told was booked as 0, and 0 tokens have a price: 0.
    #[test]
    fn a_count_that_nobody_tells_is_unknown_and_not_0() {
        let chat = [
            ("{}", None),
            (r#"{"total_tokens":11}"#, None),
            (r#"{"prompt_tokens":5}"#, None),
            (r#"{"prompt_tokens":null,"completion_tokens":6}"#, None),
            (r#"{"prompt_tokens":5,"total_tokens":0}"#, None),
            (r#"{"completion_tokens":6,"total_tokens":5}"#, None),
            (r#"{"completion_tokens":6,"total_tokens":11}"#, Some(Usage::new(5, 6))),
            (r#"{"input_tokens":5,"output_tokens":6}"#, Some(Usage::new(5, 6))),
            (r#"{"prompt_tokens":0,"completion_tokens":0}"#, Some(Usage::new(0, 0))),
        ];
        for (text, expected) in chat {
            assert_eq!(read(text), expected, "{text}");
            if let Ok(walked) = walked(text) {
                assert_eq!(walked.usage(Endpoint::ChatCompletions), expected, "{text}");
            }
        }
        let input = r#"{"input_tokens":5,"output_tokens":6,"input_tokens_details":{"cached_tokens":3},
            "output_tokens_details":{"reasoning_tokens":2}}"#;
        let details =
            Usage { cached_tokens: Some(3), reasoning_tokens: Some(2), ..Usage::new(5, 6) };
        assert_eq!(read(input), Some(details));
        for text in [r#"{"total_tokens":12}"#, r#"{"prompt_tokens":0,"total_tokens":12}"#] {
            let usage = Usage::read(Endpoint::Embeddings, text);
            assert_eq!(usage, Some(Usage::new(12, 0)), "all of it is the prompt: {text}");
        }
        assert_eq!(Usage::read(Endpoint::Embeddings, "{}"), None);
    }

    #[test]
    fn counts_of_0_replace_none_that_are_not() {
        let (real, none) = (Some(Usage::new(5, 2)), Some(Usage::new(0, 0)));
        for (before, told, expected) in [
            (real, none, real),
            (real, None, real),
            (None, none, none),
            (none, real, real),
            (Some(Usage::new(5, 0)), real, real),
        ] {
            assert_eq!(Usage::and_then_told(before, told), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn a_reason_is_read_as_the_parser_reads_it(raw in r#""?(stop|length|abort|x|\\u0073top|)"?|[ -~]{0,8}"#) {
            let parsed = serde_json::from_str(&raw).unwrap_or(Finish::Other);
            proptest::prop_assert_eq!(Finish::from_json(&raw), parsed);
        }

        #[test]
        fn a_walk_reads_what_the_parser_reads(at in 0_usize..140, with in "[ -~]{0,4}") {
            let text = concat!(
                r#"{"completion_tokens":4,"prompt_tokens":36,"total_tokens":0,"prompt_tokens_details":"#,
                r#"{"cached_tokens":35,"audio":null},"completion_tokens_details":{"reasoning_tokens":2}}"#
            );
            let mut text = text.to_owned();
            text.replace_range(at..=at, &with);
            if let Ok(walked) = walked(&text) {
                proptest::prop_assert_eq!(walked, serde_json::from_str::<Told>(&text).unwrap());
            }
        }
    }

    #[test]
    fn usual_usage_is_walked_and_other_is_left_to_the_parser() {
        let usual = r#"{"prompt_tokens":3,"completion_tokens":4,"prompt_tokens_details":null}"#;
        let told = walked(usual).unwrap();
        assert_eq!(told.usage(Endpoint::ChatCompletions), Some(Usage::new(3, 4)));
        for other in [r#"{"prompt_tokens":1.0}"#, r#"{"total_tokens":1,"total_tokens":1}"#, "[]"] {
            assert_eq!(walked(other), Err(Stop), "{other}");
        }
    }

    #[test]
    fn a_count_that_cannot_be_is_no_usage() {
        let most = TOKENS_MAX;
        let read = |raw: &str| Usage::read(Endpoint::ChatCompletions, raw);
        let told = |prompt: u64, completion: u64| {
            format!(r#"{{"prompt_tokens":{prompt},"completion_tokens":{completion}}}"#)
        };
        assert_eq!(read(&told(most, 1)), Some(Usage::new(most, 1)));
        for raw in [
            told(most + 1, 1),
            told(1, most + 1),
            told(9_007_199_254_740_993, i64::MAX.unsigned_abs()),
            format!(r#"{{"prompt_tokens":1,"total_tokens":{}}}"#, u64::MAX),
            format!(
                r#"{{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{{"cached_tokens":{}}}}}"#,
                most + 1
            ),
            r#"{"prompt_tokens":-1,"completion_tokens":1}"#.to_owned(),
        ] {
            assert_eq!(read(&raw), None, "{raw}");
        }
    }

    #[test]
    fn usage_survives_a_round_trip() {
        let usage = Usage {
            cached_tokens: Some(1),
            reasoning_tokens: Some(2),
            total_tokens: 99,
            ..Usage::new(3, 4)
        };
        let text = serde_json::to_string(&usage).unwrap();
        assert_eq!(read(&text), Some(usage));
    }
}
