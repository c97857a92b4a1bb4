//! What the admin API's requests and answers look like. The routes and the CLI use these same types,
//! so they cannot drift apart.
//!
//! Answers may grow new members; readers ignore what they do not know. Requests refuse unknown
//! members, so that a misspelt `after_rolback` is an error and not a surprise.

pub mod instances;
pub mod keys;
pub mod models;
pub mod prompts;
pub mod rating;
pub mod rollouts;

use std::collections::BTreeMap;

use cutover_units::{Generation, Millis, UseCaseName, VariantName, WeightBp};
use serde::{Deserialize, Serialize};

/// A weight as people write it: `"25%"`.
pub mod percent {
    use cutover_units::WeightBp;
    use serde::{Deserialize, Deserializer, Serializer};

    /// Writes the weight as a percentage.
    pub fn serialize<S: Serializer>(weight: &WeightBp, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(weight)
    }

    /// Reads a percentage.
    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<WeightBp, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(from)?;
        WeightBp::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Reads a person's words: bounded, and without what a terminal would act on.
fn in_line<'de, D: serde::Deserializer<'de>>(from: D) -> Result<String, D::Error> {
    String::deserialize(from).map(|text| cutover_store::clip(&text).into_owned())
}

/// Body of `POST /admin/use-cases/{name}/weight`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SetWeight {
    /// The candidate's new share.
    #[serde(with = "percent")]
    pub weight: WeightBp,
    /// Who asks; shown in status and audit log.
    #[serde(deserialize_with = "in_line")]
    pub actor: String,
    /// Why.
    #[serde(default, deserialize_with = "in_line")]
    pub reason: String,
    /// Says that the use case was rolled back and shall get traffic again all the same.
    #[serde(default)]
    pub after_rollback: bool,
    /// The generation the caller saw: the change is refused if another came first.
    #[serde(default)]
    pub expected_generation: Option<Generation>,
}

/// Body of `POST /admin/use-cases/{name}/rollback` and `DELETE /admin/keys/{name}`.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RollBack {
    /// Who asks; shown in status and audit log.
    #[serde(deserialize_with = "in_line")]
    pub actor: String,
    /// Why.
    #[serde(default, deserialize_with = "in_line")]
    pub reason: String,
}

/// Answer to a rollback: what has been reached, in the order it was tried.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[must_use = "an unread report hides a rollback that may not survive a restart"]
pub struct RolledBack {
    /// The use case as it is now.
    pub use_case: UseCaseStatus,
    /// Whether an override on disk holds the rollback, so that it survives a restart.
    pub in_override: bool,
    /// Whether the database holds it too. False is fine: the override wins at start.
    pub in_database: bool,
    /// What went wrong on the way, if anything.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where a weight comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// The config file's initial weight: nobody has set another.
    Config,
    /// Set by an operator and kept in the state database.
    Operator,
    /// Rolled back.
    Rollback,
    /// The config file has another candidate than the one whose share it was.
    Replaced,
    /// The state database could not be read, or the candidate's prompt out of it is not known, so the
    /// candidate gets nothing.
    Unknown,
}

/// One use case in the status.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UseCaseStatus {
    /// The name.
    pub name: UseCaseName,
    /// The variant that serves today.
    pub baseline: VariantName,
    /// The variant that shall take over.
    pub candidate: Option<VariantName>,
    /// The candidate's share now.
    #[serde(with = "percent")]
    pub weight: WeightBp,
    /// Where that share comes from.
    pub origin: Origin,
    /// Counts the changes.
    pub generation: Generation,
    /// When it was changed last.
    pub updated: Option<Millis>,
    /// Who changed it.
    pub actor: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// The initial weight in the config file.
    #[serde(with = "percent")]
    pub config_weight: WeightBp,
    /// What each arm has served since the process started.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub served: BTreeMap<String, u64>,
}

/// One instance in the status.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// `upstream/0`.
    pub id: String,
    /// Its address; `embedded` for the engine in this process.
    pub address: String,
    /// Requests it is answering now.
    pub in_flight: u64,
    /// Failures since its last success.
    pub failures: u64,
    /// What it is fit for: healthy, cold, saturated, ejected, down or draining.
    #[serde(default)]
    pub state: String,
    /// Who took it out of service; none: nobody did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drained: Option<instances::DrainStatus>,
    /// What its last probe told; none: it is not probed, or does not answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub engine: Option<EngineStatus>,
}

/// What an engine told of itself. A member that is missing was not told.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct EngineStatus {
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Requests that wait inside it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub waiting: Option<u32>,
    /// Requests it generates for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub running: Option<u32>,
    /// Requests it can generate for at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slots: Option<u32>,
    /// Its key-value cache in use, in thousandths.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_permille: Option<u16>,
    /// The models in its memory, with their contexts in tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub models: Option<BTreeMap<String, Option<u32>>>,
}

/// The config in force.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct ConfigStatus {
    /// The file; none for the built-in defaults.
    pub file: Option<String>,
    /// SHA-256 of the text in force, in hex.
    pub digest: String,
    /// When it was loaded.
    pub loaded: Millis,
    /// The last attempt to reload that was refused, if it is newer than `loaded`.
    pub refused: Option<Refused>,
}

/// A config file that was not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// When.
    pub at: Millis,
    /// What is wrong with it.
    pub problems: Vec<String>,
}

/// Answer of `GET /admin/status`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Status {
    /// The program's version.
    pub version: String,
    /// When the process began to serve.
    pub started: Millis,
    /// The clock's reading when this was made.
    pub now: Millis,
    /// The config in force.
    pub config: ConfigStatus,
    /// What stops the state database from being used; none when all is well.
    pub state_problem: Option<String>,
    /// Whether traffic is served, and if not, why.
    pub ready: Ready,
    /// All use cases.
    pub use_cases: Vec<UseCaseStatus>,
    /// All instances.
    pub instances: Vec<InstanceStatus>,
    /// The names whose addresses are instances.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<instances::NameStatus>,
    /// What has become of decisions that webhooks are told of.
    #[serde(default)]
    pub webhooks: Vec<rollouts::WebhookStatus>,
}

/// Answer of `GET /ready`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Whether every configured part can serve.
    pub ready: bool,
    /// What it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub waiting_for: Vec<String>,
    /// What does not work while requests are served all the same: the database, say. No reason to take
    /// the process out of service.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub degraded: Vec<String>,
}

/// Answer of `POST /admin/reload`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reloaded {
    /// Whether the new file is in force.
    pub loaded: bool,
    /// Why not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
    /// What is in force but looks like a mistake, or needs a restart to take effect.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Body of `POST /admin/explain`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExplainRequest {
    /// The path it would be sent to, with its query. Default: what the body's fields tell
    #[serde(default)]
    pub path: Option<String>,
    /// Its method. Default: POST
    #[serde(default)]
    pub method: Option<String>,
    /// Its headers.
    #[serde(default)]
    pub headers: BTreeMap<String, String>,
    /// The name of the client key it would come with.
    #[serde(default)]
    pub key: Option<String>,
    /// Its body. What is passed on untouched needs none.
    #[serde(default)]
    pub body: Option<Box<serde_json::value::RawValue>>,
}

/// Without the body: a prompt never reaches a log.
impl std::fmt::Debug for ExplainRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ExplainRequest").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What would happen to a request.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Explanation {
    /// What the request is read as: method, path, and the dialect.
    #[serde(default)]
    pub request: String,
    /// What becomes of it if it is no inference: answered by cutover itself, or passed on untouched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instead: Option<String>,
    /// The use case it belongs to; none for the default upstream.
    pub use_case: Option<String>,
    /// The arm it is assigned to.
    pub arm: String,
    /// How the arm was found.
    pub assignment: String,
    /// The unit that was hashed or listed.
    pub unit: String,
    /// The unit's bucket of 10,000.
    pub bucket: Option<u16>,
    /// The candidate's share, if a use case was found.
    pub weight: Option<String>,
    /// Whether local upstreams alone may see it.
    #[serde(default)]
    pub local_only: bool,
    /// What would be tried, in order.
    pub legs: Vec<ExplainedLeg>,
}

/// One attempt that would be made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExplainedLeg {
    /// The arm.
    pub arm: String,
    /// The variant.
    pub variant: String,
    /// The upstream.
    pub upstream: String,
    /// The provider's kind.
    pub provider: String,
    /// The path asked for there.
    pub path: Option<String>,
    /// The model asked for there.
    pub model: Option<String>,
    /// Bytes sent, and whether they are the client's own.
    pub body: Option<ExplainedBody>,
    /// The version of its prompt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prompt: Option<String>,
    /// Fields the target cannot honour as asked, and what is done with them.
    pub losses: Vec<ExplainedLoss>,
    /// The error the client would get instead.
    pub refused: Option<String>,
}

/// The body that would be sent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExplainedBody {
    /// Its size.
    pub bytes: usize,
    /// Whether it is the client's, byte for byte.
    pub unchanged: bool,
}

/// One field the target cannot honour as asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ExplainedLoss {
    /// The field.
    pub field: String,
    /// What is done with it.
    pub action: String,
    /// Why.
    pub why: String,
}

/// Body of every answer that is not a success.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// A word programs can branch on.
    pub code: String,
    /// What is wrong: lower case, no final stop.
    pub message: String,
    /// How to mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_is_written_and_read_as_a_percentage() {
        let request: SetWeight = serde_json::from_str(r#"{"weight":"2.5%","actor":"me"}"#).unwrap();
        assert_eq!(request.weight, WeightBp::new(250).unwrap());
        assert!(!request.after_rollback);
        assert!(serde_json::to_string(&request).unwrap().contains(r#""weight":"2.5%""#));
        assert!(serde_json::from_str::<SetWeight>(r#"{"weight":25,"actor":"me"}"#).is_err());
    }

    #[test]
    fn a_misspelt_member_of_a_request_is_an_error() {
        let text = r#"{"weight":"5%","actor":"me","after_rolback":true}"#;
        assert!(serde_json::from_str::<SetWeight>(text).is_err());
    }

    #[test]
    fn secrets_stay_out_of_debug_output() {
        let (name, key) = ("team".into(), "ck-secret".into());
        let key = keys::NewKey { name, key, former_until: None };
        assert!(!format!("{key:?}").contains("secret"));
        let body = serde_json::value::RawValue::from_string(r#"{"a":"prompt"}"#.into()).unwrap();
        let headers = BTreeMap::new();
        let request =
            ExplainRequest { path: None, method: None, headers, key: None, body: Some(body) };
        assert!(!format!("{request:?}").contains("prompt"));
    }
}
