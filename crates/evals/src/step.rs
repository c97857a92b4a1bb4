//! How a scorer that needs the outside world gets it without doing I/O.
//!
//! ```text
//! begin(subject) --+--> Step::Done(scores)
//!                  +--> Step::Ask(asks) --(the caller runs them)--> resume(subject, answers) --> scores
//! ```
//!
//! Contract: the caller runs each ask under the limits it names, in any order or at once, and passes one
//! answer per ask in the order of the asks. It refuses ([`Failure::Refused`]) what would take a text out
//! that must not leave, or a budget that is spent. Whatever goes wrong out there is an answer too. An error is
//! never a score: the pair does not count, and the caller counts the error.

use std::fmt;

use cutover_units::Millis;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::subject::PairScore;

/// What a scorer knows, or what it needs to know.
#[derive(Clone, PartialEq)]
pub enum Step {
    /// The scores.
    Done(PairScore),
    /// Work for the caller; at least one.
    Ask(Vec<Ask>),
}

/// Bounds of one piece of outside work.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// How long it may take in all. Then it is killed, and the answer is [`Failure::TimedOut`].
    pub timeout: Millis,
    /// How much of its output is read. More is [`Failure::TooLarge`].
    pub output_bytes_max: u64,
}

/// Who speaks in a conversation with a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The rules.
    System,
    /// The question.
    User,
}

/// One message to a model.
#[derive(Clone, PartialEq, Eq)]
pub struct ChatMessage {
    /// Who speaks.
    pub role: Role,
    /// What is said.
    pub content: String,
}

/// A piece of outside work.
#[derive(Clone, PartialEq)]
pub enum Ask {
    /// Vectors for these texts, in their order.
    Embed {
        /// The configured variant that embeds.
        variant: String,
        /// The texts.
        texts: Vec<String>,
    },
    /// Run a program. No shell: the first word is the program, the others are its arguments.
    Run {
        /// Program and arguments.
        command: Vec<String>,
        /// What it reads.
        stdin: String,
        /// Its bounds.
        limits: Limits,
    },
    /// Post JSON to an address.
    Post {
        /// The address.
        url: String,
        /// The body, `application/json`.
        body: String,
        /// Its bounds.
        limits: Limits,
    },
    /// Ask a model, at temperature 0.
    Chat {
        /// The configured variant that answers.
        variant: String,
        /// The conversation.
        messages: Vec<ChatMessage>,
        /// The most tokens it may answer with.
        max_tokens: u32,
        /// The form of the answer, for models that can be held to one.
        schema: Value,
    },
}

/// What came of an [`Ask`].
#[derive(Clone, PartialEq)]
pub enum AskAnswer {
    /// The vectors.
    Embedded(Vec<Vec<f32>>),
    /// The program ended.
    Exited {
        /// Its exit code, or `None` when a signal ended it.
        code: Option<i32>,
        /// What it wrote.
        stdout: String,
    },
    /// The server answered.
    Replied {
        /// The HTTP status.
        status: u16,
        /// The body.
        body: String,
    },
    /// The model answered.
    Said(String),
    /// Nothing came.
    Failed(Failure),
}

/// Why nothing came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failure {
    /// It could not be started or reached, or broke off.
    Crashed,
    /// It took longer than its limit.
    TimedOut,
    /// It wrote more than its limit.
    TooLarge,
    /// It was not allowed: a budget is spent, or a local-only text would have left.
    Refused,
}

/// Why there is no score. None of the texts quotes an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScoreError {
    /// The scorer's program, server or model failed.
    #[error("the scorer crashed or could not be reached")]
    Crashed,
    /// It took too long.
    #[error("the scorer did not answer within its time")]
    TimedOut,
    /// It answered with something else than was agreed: prose, missing fields, too much.
    #[error("the scorer's reply is not of the agreed form")]
    UnreadableReply,
    /// It answered with NaN, an infinity, a text or nothing where a number belongs.
    #[error("the scorer's score is not a number")]
    NotANumber,
    /// Its score is not between 0 and 1.
    #[error("the scorer's score is out of range")]
    OutOfRange,
    /// It was not allowed to run.
    #[error("the scorer was refused")]
    Refused,
    /// There is nothing to compare with: no right answer is known and the baseline has none of the
    /// form that this scorer compares.
    #[error("there is no reference answer to compare with")]
    NoReference,
}

impl ScoreError {
    /// All of them, for a metric's labels.
    pub const ALL: [Self; 7] = [
        Self::Crashed,
        Self::TimedOut,
        Self::UnreadableReply,
        Self::NotANumber,
        Self::OutOfRange,
        Self::Refused,
        Self::NoReference,
    ];

    /// Its name in records and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Crashed => "crashed",
            Self::TimedOut => "timed_out",
            Self::UnreadableReply => "unreadable_reply",
            Self::NotANumber => "not_a_number",
            Self::OutOfRange => "out_of_range",
            Self::Refused => "refused",
            Self::NoReference => "no_reference",
        }
    }
}

impl From<Failure> for ScoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Crashed => Self::Crashed,
            Failure::TimedOut => Self::TimedOut,
            Failure::TooLarge => Self::UnreadableReply,
            Failure::Refused => Self::Refused,
        }
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(score) => f.debug_tuple("Done").field(score).finish(),
            Self::Ask(asks) => f.debug_tuple("Ask").field(asks).finish(),
        }
    }
}

impl fmt::Debug for ChatMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}({} bytes)", self.role, self.content.len())
    }
}

impl fmt::Debug for Ask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embed { variant, texts } => write!(f, "Embed({variant}, {} texts)", texts.len()),
            Self::Run { command, stdin, limits } => {
                let program = command.first().map_or("", String::as_str);
                write!(f, "Run({program}, {} bytes, {limits:?})", stdin.len())
            }
            Self::Post { body, limits, .. } => {
                write!(f, "Post({} bytes, {limits:?})", body.len())
            }
            Self::Chat { variant, messages, max_tokens, .. } => {
                write!(f, "Chat({variant}, {messages:?}, {max_tokens} tokens)")
            }
        }
    }
}

impl fmt::Debug for AskAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Embedded(vectors) => write!(f, "Embedded({})", vectors.len()),
            Self::Exited { code, stdout } => write!(f, "Exited({code:?}, {} bytes)", stdout.len()),
            Self::Replied { status, body } => write!(f, "Replied({status}, {} bytes)", body.len()),
            Self::Said(text) => write!(f, "Said({} bytes)", text.len()),
            Self::Failed(failure) => write!(f, "Failed({failure:?})"),
        }
    }
}
