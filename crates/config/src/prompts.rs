//! A variant's prompt: what the file says of it, and what it is once its version is known.
//!
//! A file names a prompt by a label or a number; the texts are in the store. So a [`Checked`] is
//! complete only after [`Checked::take_prompts`], which finds the versions and checks them against
//! `vars` and `prompt_metadata`. What needs no request's values is rendered there, once.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cutover_prompts::{Book, Problem as PromptProblem, Prompt, Reference, Rendered, Scope};
use serde_json::{Value, json};

use crate::checked::{Checked, StructuredOutput, UseCase, Variant};

/// What a variant changes in requests besides sampling.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Adaptation {
    /// Its prompt in the store.
    pub prompt: Option<Reference>,
    /// The prompt once its version is known.
    pub version: Option<Arc<PromptVersion>>,
    /// Values for the prompt's `vars`.
    pub vars: Arc<BTreeMap<String, Value>>,
    /// Entries of a request's metadata that the prompt may use.
    pub prompt_metadata: Vec<String>,
    /// Whether the model's template has no system role: system text goes into a user message.
    pub folds_system: bool,
    /// Stop sequences besides the request's own.
    pub stop: Vec<String>,
    /// A text at the end of the system text.
    pub format_instruction: Option<Arc<str>>,
    /// How a form of the answer is asked for; none: as is usual for the provider.
    pub structured: Option<StructuredOutput>,
}

/// A version of a prompt, fitted to a variant. Its `Debug` shows no text.
pub struct PromptVersion {
    /// `NAME@3`.
    pub reference: Arc<str>,
    /// The digest of its text.
    pub digest: String,
    /// The variant and its model, as the prompt sees them.
    names: (String, Arc<str>),
    vars: Arc<BTreeMap<String, Value>>,
    prompt: Prompt,
    /// What every request gets; none where it depends on the request.
    fixed: Option<Rendered>,
}

impl fmt::Debug for PromptVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PromptVersion({})", self.reference)
    }
}

impl PartialEq for PromptVersion {
    fn eq(&self, other: &Self) -> bool {
        (&self.reference, &self.digest, &self.names, &self.vars)
            == (&other.reference, &other.digest, &other.names, &other.vars)
    }
}

impl PromptVersion {
    /// What every request gets; none where it depends on the request.
    pub fn fixed(&self) -> Option<&Rendered> {
        self.fixed.as_ref()
    }

    /// What a request with these values gets.
    pub fn render(&self, metadata: &BTreeMap<String, String>) -> Result<Rendered, PromptProblem> {
        let (variant, model) = (&self.names.0, &self.names.1);
        self.prompt.render(&Scope { vars: &self.vars, model, variant, metadata })
    }

    /// The entries of a request's metadata that it names.
    pub fn metadata(&self) -> impl Iterator<Item = &str> {
        self.prompt.needs().metadata.iter().map(String::as_str)
    }
}

/// A variant's prompt that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}")]
pub struct PromptUnfit {
    /// The key that names it.
    pub key: String,
    /// Why not.
    pub why: String,
}

impl Checked {
    /// Whether any variant's prompt is in the store.
    pub fn needs_prompts(&self) -> bool {
        self.variants.iter().any(|variant| variant.adaptation.prompt.is_some())
    }

    /// Finds the versions that labels and numbers lead to, or says of the first what is wrong with it.
    pub fn take_prompts(&mut self, book: &Book) -> Result<(), PromptUnfit> {
        self.take_fitting(book).into_iter().next().map_or(Ok(()), |(_, unfit)| Err(unfit))
    }

    /// The same of those that fit. Says what is wrong with the others, with the variant's place: they await
    /// their prompt.
    pub fn take_fitting(&mut self, book: &Book) -> Vec<(usize, PromptUnfit)> {
        let mut unfit = Vec::new();
        for (at, variant) in self.variants.iter_mut().enumerate() {
            let Some(reference) = variant.adaptation.prompt.clone() else { continue };
            match fit(variant, &reference, book) {
                Ok(version) => variant.adaptation.version = Some(Arc::new(version)),
                Err(why) => unfit.push((at, why)),
            }
        }
        unfit
    }

    /// Whether a use case has an arm whose prompt is not known.
    pub fn awaits_prompt(&self, use_case: &UseCase) -> bool {
        let arms = [Some(use_case.baseline), use_case.candidate];
        let mut arms = arms.into_iter().flatten().filter_map(|at| self.variants.get(at));
        arms.any(|variant| variant.adaptation.awaits())
    }
}

impl Adaptation {
    /// Whether its prompt is in the store and its version is not known, so that nobody may be answered.
    pub fn awaits(&self) -> bool {
        self.prompt.is_some() && self.version.is_none()
    }
}

fn fit(
    variant: &Variant,
    reference: &Reference,
    book: &Book,
) -> Result<PromptVersion, PromptUnfit> {
    let name = &variant.name;
    let unfit = |key: &str, why: String| PromptUnfit { key: format!("variants.{name}.{key}"), why };
    let version = book.resolve(reference).map_err(|why| unfit("prompt", why.to_string()))?;
    let told = version.reference();
    let at = |problem: PromptProblem| unfit("prompt", format!("{told}, {problem}"));
    let prompt = Prompt::compile(&version.text).map_err(at)?;
    let adaptation = &variant.adaptation;
    let lists = [
        ("vars", &prompt.needs().vars, adaptation.vars.keys().collect::<Vec<_>>()),
        ("metadata", &prompt.needs().metadata, adaptation.prompt_metadata.iter().collect()),
    ];
    for (root, needed, given) in lists {
        let key = if root == "vars" { "vars" } else { "prompt_metadata" };
        if let Some(missing) = needed.iter().find(|needed| !given.contains(needed)) {
            let line = prompt.line_of(&format!("{root}.{missing}"));
            let why =
                format!("{told}, line {line}, uses {root}.{missing}, which is not given here");
            return Err(unfit(key, why));
        }
    }
    let mut fitted = PromptVersion {
        reference: told.as_str().into(),
        digest: version.digest.clone(),
        names: (name.to_string(), Arc::clone(&variant.model)),
        vars: Arc::clone(&adaptation.vars),
        prompt,
        fixed: None,
    };
    if !fitted.prompt.is_per_request() {
        fitted.fixed = Some(fitted.render(&BTreeMap::new()).map_err(at)?);
    }
    Ok(fitted)
}

/// What of a variant's adaptation makes its answers; nothing where it has none, so that variants without
/// have the digest they had before there was any.
pub(crate) fn identity(adaptation: &Adaptation) -> Option<Value> {
    let Adaptation { prompt, version, vars, prompt_metadata, folds_system, .. } = adaptation;
    let Adaptation { stop, format_instruction, structured, .. } = adaptation;
    if *adaptation == Adaptation::default() {
        return None;
    }
    let prompt = version.as_ref().map_or_else(
        || prompt.as_ref().map(|reference| json!(reference.to_string())),
        |version| Some(json!([&*version.reference, version.digest])),
    );
    let structured = structured.map(StructuredOutput::as_str);
    let rest = json!([folds_system, stop, format_instruction.as_deref(), structured]);
    Some(json!([prompt, **vars, prompt_metadata, rest]))
}

#[cfg(test)]
mod tests;
