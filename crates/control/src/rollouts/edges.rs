//! What rollouts ask of the process they run in: what was seen, and somebody who can be asked.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use cutover_evals::{Answer, ChatMessage};
use cutover_rollout::{Exposure, Served};
use cutover_units::{Millis, NanoUsd, UseCaseName};

/// What the live traffic of use cases leaves behind. Nothing here blocks.
pub trait Source: Send + Sync + 'static {
    /// Begins or ends to keep what a use case's requests tell.
    fn watch(&self, use_case: &UseCaseName, on: bool);
    /// Moves what came since the last time to the end of `into`. None: it could not be read, so that
    /// nothing is known of that time.
    fn drain(&self, use_case: &UseCaseName, into: &mut Vec<Exposure>) -> Option<Drained>;
    /// How many instances could answer with the candidate's model at once; none: not known. With `warm`
    /// the others are told to read it in.
    fn ready_instances(&self, _: &UseCaseName, warm: bool) -> Option<u32> {
        let _ = warm;
        None
    }
    /// Moves the shadow pairs that wait to the end of `into`.
    fn drain_pairs(&self, use_case: &UseCaseName, into: &mut Vec<Pair>);
    /// What copies of this UTC day have cost.
    fn shadow_spent(&self, use_case: &UseCaseName, now: Millis) -> NanoUsd;
    /// Takes over what copies had cost this UTC day before a restart.
    fn restore_shadow_spent(&self, use_case: &UseCaseName, now: Millis, spent: NanoUsd);
}

/// What came beside the observations.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drained {
    /// Observations that a full queue dropped.
    pub lost: u64,
    /// What copies have cost since the last time.
    pub shadow_cost: NanoUsd,
}

/// One request that both arms answered.
#[derive(Clone)]
pub struct Pair {
    /// The live request's id.
    pub request_id: String,
    /// Keyed hash of its unit.
    pub unit: u64,
    /// When the live request's head was read.
    pub at: Millis,
    /// What was asked for, such as `chat`.
    pub endpoint: &'static str,
    /// The request's body as the client sent it.
    pub body: String,
    /// The conversation in it, as people read it.
    pub conversation: String,
    /// What the client got.
    pub baseline: Side,
    /// What the copy brought.
    pub candidate: Side,
}

impl Pair {
    /// How long its texts are together.
    pub(crate) fn bytes(&self) -> usize {
        self.conversation.len() + self.baseline.answer.text.len() + self.candidate.answer.text.len()
    }
}

/// One arm's side of a pair.
#[derive(Clone, Default)]
pub struct Side {
    /// What it said.
    pub answer: Answer,
    /// How it went.
    pub served: Served,
}

/// Without a text.
impl fmt::Debug for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pair").field("request_id", &self.request_id).finish_non_exhaustive()
    }
}

impl fmt::Debug for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Side").field("served", &self.served).finish_non_exhaustive()
    }
}

/// A call's future.
pub type Calling<T> = Pin<Box<dyn Future<Output = Result<Called<T>, CallFailed>> + Send>>;

/// Asks configured variants on behalf of scorers. Dropping a future cancels the call.
pub trait Caller: Send + Sync + 'static {
    /// Asks a model, at temperature 0.
    fn chat(&self, ask: Chat) -> Calling<String>;
    /// Asks for vectors, one per text.
    fn embed(&self, ask: Embed) -> Calling<Vec<Vec<f32>>>;
}

/// A question to a model.
#[derive(Clone)]
pub struct Chat {
    /// The configured variant.
    pub variant: String,
    /// Whether the texts may be seen by local upstreams only.
    pub local_only: bool,
    /// The conversation.
    pub messages: Vec<ChatMessage>,
    /// The most tokens of the answer.
    pub max_tokens: u32,
    /// The form of the answer, for models that can be held to one.
    pub schema: serde_json::Value,
}

/// Texts to be embedded.
#[derive(Clone)]
pub struct Embed {
    /// The configured variant.
    pub variant: String,
    /// Whether the texts may be seen by local upstreams only.
    pub local_only: bool,
    /// The texts.
    pub texts: Vec<String>,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq)]
pub struct Called<T> {
    /// The answer.
    pub answer: T,
    /// What it cost; none: unpriced.
    pub cost: Option<NanoUsd>,
}

/// Why nothing came of a call. No text of it quotes a prompt or an answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallFailed {
    /// There is no such variant.
    #[error("there is no variant {0:?}")]
    Unknown(String),
    /// The variant is no local one, and the texts may not leave.
    #[error("variant {0:?} is not local, and the texts may not leave")]
    NotLocal(String),
    /// It failed.
    #[error("{0}")]
    Failed(String),
}
