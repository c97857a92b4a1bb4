//! `/v1/chat/completions`.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::content::Content;
use super::sampling::{LogitBias, ResponseFormat, Stop, StreamOptions};
use crate::usage::{Finish, Usage};

/// A request. Optional fields: absent and null are the same.
#[derive(Debug, Clone, Deserialize)]
pub struct Request {
    /// The model's name.
    pub model: String,
    /// The conversation so far.
    pub messages: Vec<Message>,
    /// Whether the answer shall be a stream.
    #[serde(default)]
    pub stream: Option<bool>,
    /// How it shall stream.
    #[serde(default)]
    pub stream_options: Option<StreamOptions>,
    /// The old name of the limit.
    #[serde(default)]
    pub max_tokens: Option<u64>,
    /// The limit on generated tokens.
    #[serde(default)]
    pub max_completion_tokens: Option<u64>,
    /// Sampling temperature; the dialect's default is 1.
    #[serde(default)]
    pub temperature: Option<f64>,
    /// Nucleus sampling; the dialect's default is 1.
    #[serde(default)]
    pub top_p: Option<f64>,
    /// Choices wanted; default 1.
    #[serde(default)]
    pub n: Option<u32>,
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
    /// Whether log-probabilities are wanted.
    #[serde(default)]
    pub logprobs: Option<bool>,
    /// How many alternatives per token.
    #[serde(default)]
    pub top_logprobs: Option<u32>,
    /// The answer's form.
    #[serde(default)]
    pub response_format: Option<ResponseFormat>,
    /// Tools the model may call.
    #[serde(default)]
    pub tools: Option<Vec<Tool>>,
    /// Whether and which tool must be called, as the client wrote it.
    #[serde(default)]
    pub tool_choice: Option<Box<RawValue>>,
    /// `none`, `minimal`, `low`, `medium`, `high`, `xhigh` or `max`.
    #[serde(default)]
    pub reasoning_effort: Option<String>,
}

impl Request {
    /// The limit on generated tokens under either name; the newer name wins.
    pub fn limit(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// Whether the client wants the usage chunk.
    pub fn include_usage(&self) -> bool {
        self.stream_options.and_then(|o| o.include_usage).unwrap_or(false)
    }
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Instructions.
    System,
    /// Instructions, in newer requests.
    Developer,
    /// The user.
    User,
    /// The model.
    Assistant,
    /// A tool's result.
    Tool,
    /// A function's result (deprecated form).
    Function,
}

impl Role {
    /// The role's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::System => "system",
            Self::Developer => "developer",
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::Tool => "tool",
            Self::Function => "function",
        }
    }
}

/// One message of the conversation.
#[derive(Debug, Clone, Deserialize)]
pub struct Message {
    /// Who speaks.
    pub role: Role,
    /// What is said; absent beside tool calls.
    #[serde(default)]
    pub content: Option<Content>,
    /// What the assistant said in place of an answer.
    #[serde(default)]
    pub refusal: Option<String>,
    /// A participant's name, or a function's.
    #[serde(default)]
    pub name: Option<String>,
    /// Calls the assistant made.
    #[serde(default)]
    pub tool_calls: Option<Vec<ToolCall>>,
    /// A call the assistant made, in the form that is deprecated.
    #[serde(default)]
    pub function_call: Option<Box<RawValue>>,
    /// An earlier answer that was spoken.
    #[serde(default)]
    pub audio: Option<Box<RawValue>>,
    /// Which call a tool message answers.
    #[serde(default)]
    pub tool_call_id: Option<String>,
    /// An earlier answer's reasoning, where a client sends it back.
    #[serde(default, alias = "reasoning")]
    pub reasoning_content: Option<String>,
    /// What the reasoning's maker needs to take it back.
    #[serde(default)]
    pub reasoning_details: Option<Box<RawValue>>,
}

/// A call in the history.
#[derive(Clone, Deserialize)]
pub struct ToolCall {
    /// The call's id.
    #[serde(default)]
    pub id: Option<String>,
    /// What is called.
    pub function: CalledFunction,
    /// What the call's maker needs to take it back.
    #[serde(default)]
    pub extra_content: Option<Box<RawValue>>,
}

/// Name and arguments of a call.
#[derive(Clone, Deserialize)]
pub struct CalledFunction {
    /// The function's name.
    pub name: String,
    /// The arguments: JSON written as a string.
    #[serde(default)]
    pub arguments: String,
}

impl fmt::Debug for ToolCall {
    /// Arguments are completion text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolCall({})", self.function.name)
    }
}

/// A tool that the model may call.
#[derive(Debug, Clone, Deserialize)]
pub struct Tool {
    /// `function` for all that cutover converts.
    #[serde(rename = "type")]
    pub kind: String,
    /// The function.
    #[serde(default)]
    pub function: Option<Function>,
}

/// A function's declaration.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// What it does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Its parameters' schema, as the client wrote it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Box<RawValue>>,
    /// Whether arguments must fit the schema exactly.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strict: Option<bool>,
}

/// An answer that is not a stream.
#[derive(Debug, Clone, Serialize)]
pub struct Completion<'a> {
    /// The answer's id.
    pub id: &'a str,
    /// Always `chat.completion`.
    pub object: &'static str,
    /// Seconds since the epoch.
    pub created: u64,
    /// The model's name.
    pub model: &'a str,
    /// The choices.
    pub choices: Vec<Choice>,
    /// The tokens used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
    /// What served it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub system_fingerprint: Option<&'a str>,
}

impl<'a> Completion<'a> {
    /// An answer under the names of a mint.
    pub fn new(mint: &'a crate::Mint, choices: Vec<Choice>, usage: Option<Usage>) -> Self {
        Self {
            id: &mint.id,
            object: "chat.completion",
            created: mint.created,
            model: &mint.model,
            choices,
            usage,
            system_fingerprint: None,
        }
    }
}

/// One choice of an answer.
#[derive(Debug, Clone, Serialize)]
pub struct Choice {
    /// Its position.
    pub index: u32,
    /// What the model said.
    pub message: Answer,
    /// Log-probabilities, if asked for; the key is always there.
    pub logprobs: Option<Logprobs>,
    /// Why it ended.
    pub finish_reason: Finish,
}

/// The assistant's message in an answer. `content` and `refusal` are always there, as the vendor's
/// schema requires.
#[derive(Clone, Serialize)]
pub struct Answer {
    /// Always the assistant.
    pub role: Role,
    /// The text; null beside tool calls.
    pub content: Option<String>,
    /// Always null: local models have no separate refusal.
    pub refusal: Option<String>,
    /// The model's reasoning, under the name that engines and clients share.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// The calls it wants made.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallOut>,
}

impl Answer {
    /// A plain text.
    pub fn text(text: impl Into<String>) -> Self {
        Self {
            role: Role::Assistant,
            content: Some(text.into()),
            refusal: None,
            reasoning_content: None,
            tool_calls: Vec::new(),
        }
    }
}

impl fmt::Debug for Answer {
    /// Completion text is not shown.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.content.as_ref().map_or(0, String::len);
        write!(f, "Answer({bytes} bytes, {} calls)", self.tool_calls.len())
    }
}

/// A tool call in an answer; in a stream with its index.
#[derive(Clone, Serialize)]
pub struct CallOut {
    /// Position among the answer's calls; streams only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub index: Option<u32>,
    /// The call's id.
    pub id: String,
    /// Always `function`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// What is called.
    pub function: CallOutFunction,
}

/// Name and arguments of a call in an answer.
#[derive(Clone, Serialize)]
pub struct CallOutFunction {
    /// The function's name.
    pub name: String,
    /// The arguments: JSON written as a string.
    pub arguments: String,
}

impl fmt::Debug for CallOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallOut({})", self.function.name)
    }
}

/// Log-probabilities of a choice.
#[derive(Clone, Serialize, Deserialize)]
pub struct Logprobs {
    /// One entry per token.
    pub content: Vec<TokenLogprob>,
    /// Always null.
    #[serde(default)]
    pub refusal: Option<()>,
}

impl Logprobs {
    /// The entries of some tokens.
    pub fn new(content: Vec<TokenLogprob>) -> Self {
        Self { content, refusal: None }
    }
}

impl fmt::Debug for Logprobs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Logprobs({} tokens)", self.content.len())
    }
}

/// One token's log-probability and alternatives.
#[derive(Clone, Serialize, Deserialize)]
pub struct TokenLogprob {
    /// The token's text; bytes that are no UTF-8 show as the replacement character.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The token's bytes.
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
    /// The most likely tokens at this place.
    #[serde(default)]
    pub top_logprobs: Vec<TopLogprob>,
}

/// An alternative at a token's place.
#[derive(Clone, Serialize, Deserialize)]
pub struct TopLogprob {
    /// The token's text.
    pub token: String,
    /// Natural logarithm of its probability.
    pub logprob: f64,
    /// The token's bytes.
    #[serde(default)]
    pub bytes: Option<Vec<u8>>,
}

/// One chunk of a stream.
#[derive(Debug, Clone, Serialize)]
pub struct Chunk<'a> {
    /// The answer's id: the same in all its chunks.
    pub id: &'a str,
    /// Always `chat.completion.chunk`.
    pub object: &'static str,
    /// Seconds since the epoch: the same in all chunks.
    pub created: u64,
    /// The model's name.
    pub model: &'a str,
    /// What is new; empty in the usage chunk.
    pub choices: Vec<ChunkChoice>,
    /// The tokens used: in the usage chunk only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<Usage>,
}

impl<'a> Chunk<'a> {
    /// A chunk with one choice's delta.
    pub fn of(mint: &'a crate::Mint, choice: ChunkChoice) -> Self {
        Self { choices: vec![choice], ..Self::usage(mint, None) }
    }

    /// The usage chunk: no choices. It comes after the finish and before `[DONE]`, and only if asked for.
    pub fn usage(mint: &'a crate::Mint, usage: Option<Usage>) -> Self {
        Self {
            id: &mint.id,
            object: "chat.completion.chunk",
            created: mint.created,
            model: &mint.model,
            choices: Vec::new(),
            usage,
        }
    }
}

/// What is new in one choice.
#[derive(Debug, Clone, Serialize)]
pub struct ChunkChoice {
    /// The choice's position.
    pub index: u32,
    /// The new part.
    pub delta: Delta,
    /// Log-probabilities of the new part.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logprobs: Option<Logprobs>,
    /// Why it ended; null until it does.
    pub finish_reason: Option<Finish>,
}

impl ChunkChoice {
    /// A delta of the first choice that does not end it.
    pub fn delta(delta: Delta) -> Self {
        Self { index: 0, delta, logprobs: None, finish_reason: None }
    }

    /// The end of the first choice.
    pub fn finish(reason: Finish) -> Self {
        let delta = Delta::default();
        Self { index: 0, delta, logprobs: None, finish_reason: Some(reason) }
    }
}

/// The new part of a message.
#[derive(Clone, Default, Serialize)]
pub struct Delta {
    /// In the first chunk.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub role: Option<Role>,
    /// New text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// New reasoning text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning_content: Option<String>,
    /// New tool calls.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub tool_calls: Vec<CallOut>,
}

impl Delta {
    /// The first chunk's delta: the role and no text yet.
    pub fn role() -> Self {
        let (role, content) = (Some(Role::Assistant), Some(String::new()));
        Self { role, content, ..Self::default() }
    }

    /// New text.
    pub fn text(text: impl Into<String>) -> Self {
        Self { content: Some(text.into()), ..Self::default() }
    }
}

impl fmt::Debug for Delta {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Delta({} bytes)", self.content.as_ref().map_or(0, String::len))
    }
}

#[cfg(test)]
mod tests;
