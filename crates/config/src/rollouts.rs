//! What the file says of rollouts, scorers, shadow copies and webhooks, and what is made of it.
//!
//! Contract: [`Checked::rollout_spec`] gives the spec with the identity of both variants. A digest
//! covers everything that makes a variant's answers: the upstream's name and provider, the model, the
//! sampling, what happens to unsupported fields, Ollama's and the embedded engine's settings, and the
//! text of the system prompt, also where that stands in a file of its own; the version of its prompt with
//! its values and what else it changes in requests. Addresses, keys, deadlines
//! and prices are not in it: instances come and go, and evidence stays.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cutover_evals::{OptionProblem, Row, ScorerSpec};
use cutover_rollout::{Action, Spec, VariantIdentity};
use cutover_units::{NanoUsd, hex};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

use crate::checked::{Checked, SystemPrompt, Variant};
use crate::secret::SecretRef;

/// Reads a file that the config file names; a relative path starts at the config file's folder. The
/// error says why it cannot be read.
pub type ReadFile<'a> = &'a dyn Fn(&Path) -> Result<String, String>;

/// A file that the config file names cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileProblem {
    /// The key that names it.
    pub key: String,
    /// Its path as written.
    pub path: PathBuf,
    /// Why not.
    pub why: String,
}

impl fmt::Display for FileProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.key, self.path.display(), self.why)
    }
}

impl std::error::Error for FileProblem {}

/// `[use_cases.NAME.scorer]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Scorer {
    /// Its kind.
    pub kind: &'static str,
    /// The kind's options, every default filled in. JSON documents are not among them.
    pub options: Map<String, Value>,
    /// Options that are JSON documents, and the files that hold them.
    pub documents: Vec<(&'static str, PathBuf)>,
    /// Pairs scored at once.
    pub concurrency: u32,
    /// Pairs that wait at most.
    pub queue: u32,
    /// Time for one question to a model.
    pub timeout: Duration,
    /// What a UTC day's questions may cost; none: no limit.
    pub budget_per_day: Option<NanoUsd>,
}

impl Scorer {
    /// The kind's row in the table of scorers.
    pub fn row(&self) -> Option<&'static Row> {
        Row::find(self.kind)
    }

    /// The variant that it asks, if it asks one.
    pub fn variant(&self) -> Option<&str> {
        self.options.get("variant").and_then(Value::as_str)
    }

    /// The scorer, ready to score.
    fn load(&self, key: &str, read: ReadFile<'_>) -> Result<ScorerSpec, FileProblem> {
        let mut options = self.options.clone();
        for (name, path) in &self.documents {
            let why = |why| FileProblem { key: format!("{key}.{name}"), path: path.clone(), why };
            let text = read(path).map_err(why)?;
            options.insert((*name).to_owned(), Value::String(text));
        }
        ScorerSpec::from_options(self.kind, &options).map_err(|problem: OptionProblem| {
            let file = self.documents.iter().find(|(name, _)| *name == problem.key);
            FileProblem {
                key: format!("{key}.{}", problem.key),
                path: file.map(|(_, path)| path.clone()).unwrap_or_default(),
                why: problem.why,
            }
        })
    }
}

/// `[use_cases.NAME.shadow]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShadowSettings {
    /// Copies under way at once.
    pub concurrency: u32,
    /// Copies that wait at most.
    pub queue: u32,
    /// Largest request body, and largest answer of either arm, in bytes.
    pub capture_limit_bytes: u64,
    /// Time for a copy to find room, and again to be answered.
    pub timeout: Duration,
    /// What copies may cost in a UTC day; none: no limit.
    pub budget_per_day: Option<NanoUsd>,
    /// Whether a candidate at a service of others is asked although nobody knows its price.
    pub unpriced: bool,
    /// Live requests in flight on an instance, at most, for a copy to be sent there.
    pub live_limit: u32,
    /// What is kept of the texts of pairs.
    pub keep: KeepTexts,
    /// Age at which pairs are deleted.
    pub retention: Duration,
}

/// What is kept of the texts of pairs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepTexts {
    /// The texts as they are.
    Text,
    /// The texts without what looks personal or secret.
    Redacted,
    /// Length and digest.
    None,
}

impl KeepTexts {
    /// The word in the file.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Redacted => "redacted",
            Self::None => "none",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        [Self::Text, Self::Redacted, Self::None].into_iter().find(|keep| keep.as_str() == word)
    }
}

/// `[webhooks.NAME]`.
#[derive(Clone, PartialEq, Eq)]
pub struct Webhook {
    /// The name.
    pub name: String,
    /// Where decisions are posted.
    pub url: String,
    /// What messages are signed with; none: they are not signed.
    pub secret: Option<SecretRef>,
    /// The decisions that are told.
    pub events: Vec<Action>,
    /// Time for one try.
    pub timeout: Duration,
    /// A decision that nobody took for so long is given up.
    pub give_up: Duration,
}

/// Without the URL, whose path is often its secret.
impl fmt::Debug for Webhook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Webhook")
            .field("name", &self.name)
            .field("secret", &self.secret)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

impl Checked {
    /// A use case's rollout with the identities of its variants and its scorer; none if it has no
    /// rollout. The files that it names are read, because evidence ends when one of them changes.
    pub fn rollout_spec(
        &self,
        use_case: usize,
        read: ReadFile<'_>,
    ) -> Result<Option<Spec>, FileProblem> {
        let Some(case) = self.use_cases.get(use_case) else { return Ok(None) };
        let (Some(rollout), Some(candidate)) = (&case.rollout, case.candidate) else {
            return Ok(None);
        };
        let mut spec = rollout.clone();
        spec.baseline = self.identity(case.baseline, read)?;
        spec.candidate = self.identity(candidate, read)?;
        spec.scorer = self
            .scorer_spec(use_case, read)?
            .map(|scorer| format!("{}@{}", scorer.kind(), scorer.version_digest()));
        Ok(Some(spec))
    }

    /// A use case's scorer, ready to score; none if it has none.
    pub fn scorer_spec(
        &self,
        use_case: usize,
        read: ReadFile<'_>,
    ) -> Result<Option<ScorerSpec>, FileProblem> {
        let Some(case) = self.use_cases.get(use_case) else { return Ok(None) };
        let key = format!("use_cases.{}.scorer", case.name);
        case.scorer.as_ref().map(|scorer| scorer.load(&key, read)).transpose()
    }

    /// A variant's name with the digest of everything that makes its answers.
    pub fn identity(
        &self,
        variant: usize,
        read: ReadFile<'_>,
    ) -> Result<VariantIdentity, FileProblem> {
        let variant = &self.variants[variant];
        let upstream = &self.upstreams[variant.upstream];
        let embedded = upstream.embedded.as_ref().map(|embedded| {
            json!([embedded.model, embedded.quantization.as_str(), embedded.context_tokens])
        });
        let facts = json!({
            "upstream": upstream.name.as_str(),
            "provider": upstream.provider.name,
            "embedded": embedded,
            "model": &*variant.model,
            "system_prompt": prompt(variant, read)?,
            "temperature": variant.temperature,
            "top_p": variant.top_p,
            "max_tokens": variant.max_tokens,
            "seed": variant.seed,
            "unsupported": variant.unsupported.as_str(),
            "tools": variant.tools,
            "images": variant.images,
            "ollama": crate::render::ollama(&variant.ollama),
        });
        let mut digest = Sha256::new();
        if let Some(adapted) = crate::prompts::identity(&variant.adaptation) {
            digest.update(adapted.to_string().as_bytes());
        }
        digest.update(b"cutover variant 1\n");
        // Keys are written in the order above, whatever serde_json's map is: a list of pairs.
        for (key, value) in
            facts.as_object().into_iter().flatten().collect::<std::collections::BTreeMap<_, _>>()
        {
            digest.update(json!([key, value]).to_string().as_bytes());
        }
        Ok(VariantIdentity { name: variant.name.clone(), digest: hex(&digest.finalize()) })
    }
}

fn prompt(variant: &Variant, read: ReadFile<'_>) -> Result<Option<String>, FileProblem> {
    match &variant.system_prompt {
        None => Ok(None),
        Some(SystemPrompt::Text(text)) => Ok(Some(text.to_string())),
        Some(SystemPrompt::File(path)) => read(path).map(Some).map_err(|why| FileProblem {
            key: format!("variants.{}.system_prompt", variant.name),
            path: path.clone(),
            why,
        }),
    }
}
