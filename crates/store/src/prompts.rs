//! Prompts as they are stored: versions that never change, labels that move.

use cutover_prompts::{Label, LabelName, Version};
use cutover_units::{Generation, Millis, PromptName};

use crate::error::StoreError;

/// A version to be added, and perhaps a label to be put on it.
#[derive(Clone)]
pub struct NewPrompt {
    /// The prompt.
    pub name: PromptName,
    /// The text. Whoever adds it has checked that it is a prompt.
    pub text: String,
    /// What is new.
    pub note: String,
    /// The label to put on it, and the label's generation that the caller read, if it matters.
    pub label: Option<(LabelName, Option<Generation>)>,
    /// Who adds it.
    pub actor: String,
    /// Now.
    pub now: Millis,
}

impl std::fmt::Debug for NewPrompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "NewPrompt({}, {} bytes)", self.name, self.text.len())
    }
}

/// What adding came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PromptAdded {
    /// The version that has the text.
    pub version: Version,
    /// Whether it is new: the text of the newest version is not added again.
    pub new: bool,
    /// The label, where one was put.
    pub label: Option<Label>,
}

/// A label to be moved.
#[derive(Debug, Clone)]
pub struct MoveLabel {
    /// The prompt.
    pub name: PromptName,
    /// The label.
    pub label: LabelName,
    /// The version it shall be on.
    pub version: u32,
    /// The label's generation that the caller read; `Generation(0)` if there was no such label. `None`
    /// moves it wherever it is.
    pub expected: Option<Generation>,
    /// Who asks.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// Now.
    pub now: Millis,
}

/// Why prompts stay as they were.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PromptError {
    /// Another move came first.
    #[error("{name}@{label} is at generation {found}, not {expected}: another move came first")]
    Conflict {
        /// The prompt.
        name: PromptName,
        /// The label.
        label: LabelName,
        /// The generation the caller read.
        expected: Generation,
        /// The generation it has; 0 if there is no such label.
        found: Generation,
    },
    /// There is no such version.
    #[error("prompt {name} has no version {version}")]
    Unknown {
        /// The prompt.
        name: PromptName,
        /// The number.
        version: u32,
    },
    /// More than is kept.
    #[error("{0}")]
    TooMany(String),
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}
