//! What the admin API says of client keys.

use cutover_store::Key;
use cutover_units::{Millis, UseCaseName};
use serde::{Deserialize, Serialize};

/// Body of `POST /admin/keys`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AddKey {
    /// The key's name: what records and matchers call it.
    pub name: String,
    /// The use case all its requests belong to, if any.
    #[serde(default)]
    pub use_case: Option<UseCaseName>,
    /// Whether its requests stay with local upstreams.
    #[serde(default)]
    pub local_only: bool,
    /// Whether nobody waits for its answers, so that others go first.
    #[serde(default)]
    pub batch: bool,
    /// Who asks; shown in the audit log.
    pub actor: String,
}

/// Body of `POST /admin/keys/{name}/rotate`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RotateKey {
    /// How long the text before goes on opening the door. With none, no text of before does.
    pub overlap_ms: Millis,
    /// Who asks; shown in the audit log.
    pub actor: String,
    /// Why; shown in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// Body of `DELETE /admin/keys/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevokeKey {
    /// Whether only the texts are revoked that a rotation replaced.
    #[serde(default)]
    pub former: bool,
    /// Who asks; shown in the audit log.
    pub actor: String,
    /// Why; shown in the audit log.
    #[serde(default)]
    pub reason: String,
}

/// Answer to [`AddKey`] and [`RotateKey`]: the only time the key is shown.
#[derive(Clone, Serialize, Deserialize)]
pub struct NewKey {
    /// The key's name.
    pub name: String,
    /// The key itself.
    pub key: String,
    /// Until when the text that it replaces opens the door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_until: Option<Millis>,
}

/// Without the key.
impl std::fmt::Debug for NewKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewKey").field("name", &self.name).finish_non_exhaustive()
    }
}

/// One key in the list. The key itself cannot be shown: only its hash is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyStatus {
    /// Its name.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// When it was made.
    pub created: Millis,
    /// The use case it is bound to.
    pub use_case: Option<UseCaseName>,
    /// Whether its requests stay with local upstreams.
    #[serde(default)]
    pub local_only: bool,
    /// Whether nobody waits for its answers, so that others go first.
    #[serde(default)]
    pub batch: bool,
    /// When it was revoked.
    pub revoked: Option<Millis>,
    /// Until when a text that a rotation replaced opens the door.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub former_until: Option<Millis>,
}

impl KeyStatus {
    /// Of a stored key.
    pub fn of(key: &Key) -> Self {
        Self {
            name: key.name.to_string(),
            prefix: key.prefix.clone(),
            created: key.created,
            use_case: key.use_case.clone(),
            local_only: key.local_only,
            batch: key.batch,
            revoked: key.revoked,
            former_until: key.former_until,
        }
    }
}
