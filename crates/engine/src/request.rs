//! What is asked of the engine and what it answers: plain types, no JSON.

use crate::RequestError;
use crate::grammar::OutputFormat;
use crate::sample::Sampling;
use crate::template::Message;

/// Stop strings a request may name.
pub const STOPS_MAX: usize = 16;
/// Alternatives that can be reported for each token.
pub const TOP_LOGPROBS_MAX: usize = 20;

/// What the model continues.
///
/// The model's own markers (`<|im_start|>` and the like) are read as such wherever they stand in a
/// text, also where a user wrote them: llama.cpp's server does the same with a rendered template, and
/// this engine promises the same tokens. Who must not let users forge turns filters them before.
#[derive(Clone, PartialEq, Eq)]
pub enum Prompt {
    /// A conversation, rendered by the model's own chat template.
    Messages(Vec<Message>),
    /// Text as it stands, without a template.
    Text(String),
    /// Tokens as they stand.
    Tokens(Vec<u32>),
}

/// Shows sizes only: prompts never reach a log.
impl std::fmt::Debug for Prompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Messages(m) => write!(f, "Messages({})", m.len()),
            Self::Text(t) => write!(f, "Text({} bytes)", t.len()),
            Self::Tokens(t) => write!(f, "Tokens({})", t.len()),
        }
    }
}

/// One answer asked for.
#[derive(Debug, Clone, PartialEq)]
pub struct GenerateRequest {
    /// What to continue.
    pub prompt: Prompt,
    /// Most tokens to answer with; none: as many as the context holds.
    pub max_tokens: Option<usize>,
    /// How tokens are chosen.
    pub sampling: Sampling,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// None: no log-probabilities. Some(n): those of each token and of the n most probable ones.
    pub logprobs: Option<usize>,
    /// What the answer must be.
    pub format: OutputFormat,
}

impl GenerateRequest {
    /// A request with everything but the prompt at its default.
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            max_tokens: None,
            sampling: Sampling::default(),
            stop: Vec::new(),
            logprobs: None,
            format: OutputFormat::Text,
        }
    }

    /// Refuses values out of range.
    pub(crate) fn validate(&self) -> Result<(), RequestError> {
        let s = &self.sampling;
        let range = |field, value: f32, low: f32, high: f32| {
            if (low..=high).contains(&value) {
                return Ok(());
            }
            Err(RequestError::invalid(field, format!("{field} must be between {low} and {high}")))
        };
        range("temperature", s.temperature, 0.0, 2.0)?;
        range("top_p", s.top_p, 0.0, 1.0)?;
        range("presence_penalty", s.presence_penalty, -2.0, 2.0)?;
        range("frequency_penalty", s.frequency_penalty, -2.0, 2.0)?;
        for (_, bias) in &s.logit_bias {
            range("logit_bias", *bias, -100.0, 100.0)?;
        }
        if self.max_tokens == Some(0) {
            return Err(RequestError::invalid("max_tokens", "max_tokens must be at least 1"));
        }
        if self.stop.len() > STOPS_MAX {
            return Err(RequestError::invalid("stop", format!("at most {STOPS_MAX} stop strings")));
        }
        if self.logprobs.is_some_and(|n| n > TOP_LOGPROBS_MAX) {
            let message = format!("top_logprobs must be at most {TOP_LOGPROBS_MAX}");
            return Err(RequestError::invalid("top_logprobs", message));
        }
        Ok(())
    }
}

/// What happens while an answer is made, in order: any number of deltas, then one end.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// More text.
    Delta(Delta),
    /// The answer is complete.
    Done(Done),
    /// The engine failed; the text so far is not an answer.
    Failed(String),
}

/// More text of an answer.
#[derive(Clone, PartialEq, Default)]
pub struct Delta {
    /// Whole characters; may be empty when only log-probabilities are due.
    pub text: String,
    /// The tokens behind the text, if log-probabilities were asked for.
    pub tokens: Vec<TokenLogprob>,
}

/// Shows sizes only: completions never reach a log.
impl std::fmt::Debug for Delta {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Delta({} bytes, {} tokens)", self.text.len(), self.tokens.len())
    }
}

/// A token of an answer and how probable it was.
#[derive(Clone, PartialEq)]
pub struct TokenLogprob {
    /// The token itself.
    pub token: Alternative,
    /// The most probable tokens at this place, best first.
    pub top: Vec<Alternative>,
}

/// A token that was or could have been chosen.
#[derive(Clone, PartialEq)]
pub struct Alternative {
    /// Its text; bytes that are not a whole character are shown as U+FFFD. The name, for control
    /// tokens.
    pub text: String,
    /// Its bytes.
    pub bytes: Vec<u8>,
    /// The natural logarithm of its probability under the model, before temperature, penalties and
    /// constraints.
    pub logprob: f32,
}

/// How an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Done {
    /// Why it ended.
    pub finish: Finish,
    /// What it took.
    pub usage: Usage,
}

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or a stop string was met.
    Stop,
    /// `max_tokens` or the context was used up.
    Length,
}

/// Tokens of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: usize,
    /// Of those, tokens that did not have to be computed again.
    pub cached_tokens: usize,
    /// Tokens of the answer, the one that ended it included.
    pub completion_tokens: usize,
}
