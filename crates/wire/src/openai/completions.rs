//! `/v1/completions`, the older endpoint: a prompt is continued as it stands.

use std::fmt;

use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};

use super::chat;
use super::sampling::{LogitBias, Stop, StreamOptions};
use crate::usage::{Finish, Usage};

/// A request. Optional fields: absent and null are the same.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// The model's name.
    pub model: String,
    /// One prompt or several.
    pub prompt: Prompt,
    /// What follows the place to fill.
    #[serde(default)]
    pub suffix: Option<String>,
    /// Whether the answer shall be a stream.
    #[serde(default)]
    pub stream: Option<bool>,
    /// How it shall stream.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// The limit on generated tokens; the dialect's default is 16.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// Sampling temperature; the dialect's default is 1.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Nucleus sampling; the dialect's default is 1.
    #[serde(default)]
    pub top_p: Option<f64>,
    /// Choices per prompt; default 1.
    #[serde(default)]
    pub n: Option<u32>,
    /// Candidates of which the best is returned.
    #[serde(default)]
    pub best_of: Option<u32>,
    /// Whether the prompt is repeated in the answer.
    #[serde(default)]
    pub echo: Option<bool>,
    /// Seed of the sampler.
    #[serde(default)]
    pub seed: Option<i64>,
    /// Sequences that end the answer and are no part of it.
    #[serde(default)]
    pub stop: Option<Stop>,
    /// Penalty by frequency so far.
    #[serde(default)]
    pub frequency_penalty: Option<f64>,
    /// Penalty by presence so far.
    #[serde(default)]
    pub presence_penalty: Option<f64>,
    /// Bias by token id.
    #[serde(default)]
    pub logit_bias: Option<LogitBias>,
    /// How many alternatives per token; their presence asks for log-probabilities.
    #[serde(default)]
    pub logprobs: Option<u32>,
}

impl Request {
    /// Whether the client wants the usage chunk.
    pub fn include_usage(&self) -> bool {
        self.stream_options.and_then(|o| o.include_usage).unwrap_or(false)
    }
}

/// A prompt, or an embedding's input: a text, texts, tokens, or lists of tokens.
#[derive(Clone, PartialEq, Eq)]
pub enum Prompt {
    /// Texts; one if the client sent a plain string.
    Texts(Vec<String>),
    /// Lists of token ids; one if the client sent a flat list.
    Tokens(Vec<Vec<u32>>),
}

impl Prompt {
    /// How many prompts there are.
    pub fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Tokens(lists) => lists.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl fmt::Debug for Prompt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prompt({})", self.len())
    }
}

enum Item {
    Text(String),
    Token(u32),
    Tokens(Vec<u32>),
}

impl<'de> Deserialize<'de> for Item {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Item;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, a token id or an array of token ids")
            }
            fn visit_str<E>(self, text: &str) -> Result<Item, E> {
                Ok(Item::Text(text.to_owned()))
            }
            fn visit_u64<E: serde::de::Error>(self, id: u64) -> Result<Item, E> {
                u32::try_from(id).map(Item::Token).map_err(|_| {
                    E::invalid_value(serde::de::Unexpected::Unsigned(id), &"a token id")
                })
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Item, A::Error> {
                let mut ids = Vec::new();
                while let Some(id) = items.next_element()? {
                    ids.push(id);
                }
                Ok(Item::Tokens(ids))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

impl<'de> Deserialize<'de> for Prompt {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Prompt;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string, an array of strings, or arrays of token ids")
            }
            fn visit_str<E>(self, text: &str) -> Result<Prompt, E> {
                Ok(Prompt::Texts(vec![text.to_owned()]))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Prompt, A::Error> {
                let (mut texts, mut flat, mut lists) = (Vec::new(), Vec::new(), Vec::new());
                while let Some(item) = items.next_element()? {
                    match item {
                        Item::Text(text) => texts.push(text),
                        Item::Token(id) => flat.push(id),
                        Item::Tokens(ids) => lists.push(ids),
                    }
                }
                match (texts.is_empty(), flat.is_empty(), lists.is_empty()) {
                    (_, true, true) => Ok(Prompt::Texts(texts)),
                    (true, false, true) => Ok(Prompt::Tokens(vec![flat])),
                    (true, true, false) => Ok(Prompt::Tokens(lists)),
                    _ => Err(serde::de::Error::invalid_value(
                        serde::de::Unexpected::Seq,
                        &"an array of one kind: strings, token ids, or arrays of token ids",
                    )),
                }
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}

/// An answer, or a chunk of one: the endpoint gives both the same shape and `object`.
#[derive(Debug, Clone, Serialize)]
pub struct Completion<'a> {
    /// The answer's id: the same in all chunks.
    pub id: &'a str,
    /// Always `text_completion`.
    pub object: &'static str,
    /// Seconds since the epoch.
    pub created: u64,
    /// The model's name.
    pub model: &'a str,
    /// The choices; empty in the usage chunk.
    pub choices: Vec<Choice>,
    /// The tokens used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl<'a> Completion<'a> {
    /// An answer or chunk under the names of a mint.
    pub fn new(mint: &'a crate::Mint, choices: Vec<Choice>, usage: Option<Usage>) -> Self {
        Self {
            id: &mint.id,
            object: "text_completion",
            created: mint.created,
            model: &mint.model,
            choices,
            usage,
        }
    }
}

/// One choice of an answer or chunk.
#[derive(Clone, Serialize)]
pub struct Choice {
    /// The text, or its new part.
    pub text: String,
    /// The choice's position.
    pub index: u32,
    /// Log-probabilities, if asked for.
    pub logprobs: Option<Logprobs>,
    /// Why it ended; null in a stream until it does.
    pub finish_reason: Option<Finish>,
}

impl fmt::Debug for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Choice({}, {} bytes)", self.index, self.text.len())
    }
}

/// Log-probabilities in this endpoint's own form: parallel lists.
#[derive(Clone, Default, Serialize)]
pub struct Logprobs {
    /// The tokens.
    pub tokens: Vec<String>,
    /// Their log-probabilities.
    pub token_logprobs: Vec<f64>,
    /// The alternatives at each place: text to log-probability.
    pub top_logprobs: Vec<serde_json::Map<String, serde_json::Value>>,
    /// Where each token starts in the text, in characters.
    pub text_offset: Vec<u64>,
}

impl Logprobs {
    /// From chat's form; offsets count from `start`. Returns the offset after the last token too, for
    /// the next chunk.
    pub fn from_chat(entries: &[chat::TokenLogprob], start: u64) -> (Self, u64) {
        let mut all = Self::default();
        let mut offset = start;
        for entry in entries {
            let tops = entry.top_logprobs.iter();
            let tops = tops.map(|top| (top.token.clone(), serde_json::Value::from(top.logprob)));
            all.top_logprobs.push(tops.collect());
            all.tokens.push(entry.token.clone());
            all.token_logprobs.push(entry.logprob);
            all.text_offset.push(offset);
            offset += entry.token.chars().count() as u64;
        }
        (all, offset)
    }
}

impl fmt::Debug for Logprobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logprobs({} tokens)", self.tokens.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::openai::parse;

    fn prompt(text: &str) -> Result<Prompt, crate::Fault> {
        parse::<Request>(format!(r#"{{"model":"m","prompt":{text}}}"#).as_bytes()).map(|r| r.prompt)
    }

    #[test]
    fn all_four_forms_of_a_prompt_are_read() {
        assert_eq!(prompt(r#""a""#).unwrap(), Prompt::Texts(vec!["a".into()]));
        assert_eq!(prompt(r#"["a","b"]"#).unwrap().len(), 2);
        assert_eq!(prompt("[1,2]").unwrap(), Prompt::Tokens(vec![vec![1, 2]]));
        assert_eq!(prompt("[[1],[2]]").unwrap(), Prompt::Tokens(vec![vec![1], vec![2]]));
        assert!(prompt("[]").unwrap().is_empty());
        for bad in ["{}", "1", r#"["a",1]"#, "[-1]", "[1.5]", "null"] {
            let param = prompt(bad).unwrap_err().param.unwrap_or_default();
            assert!(param.starts_with("prompt"), "{bad} {param}");
        }
    }

    #[test]
    fn offsets_continue_over_chunks() {
        let entry = |token: &str| chat::TokenLogprob {
            token: token.into(),
            logprob: -0.5,
            bytes: None,
            top_logprobs: vec![],
        };
        let (first, next) = Logprobs::from_chat(&[entry("né"), entry("b")], 10);
        assert_eq!((first.text_offset, next), (vec![10, 12], 13));
    }
}
