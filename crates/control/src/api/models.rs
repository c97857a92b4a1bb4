//! Requests and answers of the admin API's routes for the models of an upstream's engines.

use serde::{Deserialize, Serialize};

/// Body of `POST /admin/upstreams/{name}/models`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ManageModels {
    /// `list`, `show`, `pull`, `remove` or `warm`; `cancel` ends what pulls or warms the model.
    pub action: String,
    /// The model; not for `list`.
    #[serde(default)]
    pub model: String,
}

/// How far something is that is done at all instances of an upstream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelsJob {
    /// Its number, to ask again.
    pub job: u64,
    /// The upstream's name.
    pub upstream: String,
    /// What is done.
    pub action: String,
    /// With which model; empty for a list.
    pub model: String,
    /// Whether nothing goes on any more.
    pub ended: bool,
    /// One per instance.
    pub instances: Vec<ModelsAt>,
}

/// How far it is at one instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelsAt {
    /// The instance's id.
    pub instance: String,
    /// `working`, `done`, `failed` or `cancelled`.
    pub state: String,
    /// What it does, or why it failed or was cancelled.
    pub text: String,
    /// Bytes fetched of the part that is fetched now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completed: Option<u64>,
    /// Bytes of that part in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// The models it has, or shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub models: Vec<ModelStatus>,
}

/// A model.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelStatus {
    /// Its name.
    pub name: String,
    /// What it takes on the disk, in bytes.
    pub size: Option<u64>,
    /// How large it is: `32.8B`.
    pub parameters: Option<String>,
    /// How its weights are held: `Q4_K_M`.
    pub quantization: Option<String>,
    /// Its longest context, in tokens.
    pub context: Option<u64>,
    /// What it can do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub capabilities: Vec<String>,
    /// Whether it is in memory; none: the engine does not tell.
    pub loaded: Option<bool>,
}
