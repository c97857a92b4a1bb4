//! The audit log: who changed what, when and why, in a chain of hashes ([`chain`](crate::chain)).

use cutover_units::{Generation, Millis};
use serde::{Deserialize, Serialize};

use crate::chain::Chain;

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A weight was set.
    WeightSet,
    /// A use case was rolled back.
    RolledBack,
    /// A client key was made.
    KeyAdded,
    /// A client key was revoked.
    KeyRevoked,
    /// A client key was given another secret.
    KeyRotated,
    /// The secrets that a client key had before were revoked.
    FormerKeysRevoked,
    /// A version of a prompt was added.
    PromptAdded,
    /// A label was put on a version of a prompt.
    PromptLabelled,
    /// An instance was taken out of service.
    InstanceDrained,
    /// An instance was put back into service.
    InstanceResumed,
}

/// One entry of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Its place in the log, from 1 without gaps.
    pub seq: u64,
    /// When.
    pub at: Millis,
    /// What was done.
    pub action: Action,
    /// To which use case, key, version, label or instance.
    pub subject: String,
    /// Who did it.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    /// What it is now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The state's generation after a change of weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
}

/// The log as a chain.
pub(crate) static CHAIN: Chain = Chain {
    domain: b"cutover audit 1\n",
    place: |entry| serde_json::from_str::<Change>(entry).ok().map(|change| change.seq),
};
