//! All prompts at one moment: their versions and where the labels are.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use cutover_units::{Generation, Millis, PromptName, did_you_mean, hex};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::names::{LabelName, Reference, Selector};

/// A version: never changed, never removed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The prompt.
    pub name: PromptName,
    /// Its number, from 1 without gaps.
    pub version: u32,
    /// Its text.
    pub text: Arc<str>,
    /// SHA-256 of the text, in hex.
    pub digest: String,
    /// Who added it.
    pub actor: String,
    /// What is new, in the author's words.
    pub note: String,
    /// When it was added.
    pub created: Millis,
}

impl Version {
    /// `NAME@3`.
    pub fn reference(&self) -> String {
        format!("{}@{}", self.name, self.version)
    }
}

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.reference(), self.text.len())
    }
}

/// The digest of a version's text.
pub fn digest(text: &str) -> String {
    hex(&Sha256::digest(text.as_bytes()))
}

/// A label: on one version at a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    /// The prompt.
    pub name: PromptName,
    /// The label.
    pub label: LabelName,
    /// The version it is on.
    pub version: u32,
    /// Counts its moves, from 1.
    pub generation: Generation,
    /// Who moved it last.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// When.
    pub moved: Millis,
}

/// Why a reference leads nowhere.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unresolved {
    /// No such prompt.
    #[error("there is no prompt {name:?}{suggestion}")]
    Prompt {
        /// The name.
        name: String,
        /// `; did you mean ..`, or nothing.
        suggestion: String,
    },
    /// No such label.
    #[error("prompt {name} has no label {label:?}; it has {known}")]
    Label {
        /// The prompt.
        name: String,
        /// The label.
        label: String,
        /// Those it has.
        known: String,
    },
    /// No such version.
    #[error("prompt {name} has no version {version}; the newest is {newest}")]
    Version {
        /// The prompt.
        name: String,
        /// The number.
        version: u32,
        /// The newest.
        newest: u32,
    },
}

/// All prompts at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    versions: BTreeMap<PromptName, Vec<Version>>,
    labels: BTreeMap<(PromptName, LabelName), Label>,
}

impl Book {
    /// Puts a book together. Versions of one prompt must come in their order.
    pub fn new(versions: Vec<Version>, labels: Vec<Label>) -> Self {
        let mut book = Self::default();
        for version in versions {
            book.versions.entry(version.name.clone()).or_default().push(version);
        }
        for label in labels {
            book.labels.insert((label.name.clone(), label.label.clone()), label);
        }
        book
    }

    /// Grows with every change: of two books of one store the greater is the newer.
    pub fn revision(&self) -> u64 {
        let versions: usize = self.versions.values().map(Vec::len).sum();
        let moves: u64 = self.labels.values().map(|label| label.generation.0).sum();
        moves + versions as u64
    }

    /// All versions, by name, oldest first.
    pub fn versions(&self) -> impl Iterator<Item = &Version> {
        self.versions.values().flatten()
    }

    /// All labels, by name.
    pub fn labels(&self) -> impl Iterator<Item = &Label> {
        self.labels.values()
    }

    /// The labels on a version.
    pub fn labels_on<'b>(&'b self, version: &'b Version) -> impl Iterator<Item = &'b Label> {
        self.labels().filter(|l| l.name == version.name && l.version == version.version)
    }

    /// A prompt's newest version.
    pub fn newest(&self, name: &PromptName) -> Option<&Version> {
        self.versions.get(name)?.last()
    }

    /// One label.
    pub fn label(&self, name: &PromptName, label: &LabelName) -> Option<&Label> {
        self.labels.get(&(name.clone(), label.clone()))
    }

    /// The version that a reference leads to.
    pub fn resolve(&self, reference: &Reference) -> Result<&Version, Unresolved> {
        let name = &reference.name;
        let Some(versions) = self.versions.get(name) else {
            let known = self.versions.keys().map(PromptName::as_str);
            let suggestion = did_you_mean(name.as_str(), known)
                .map(|near| format!("; {near}"))
                .unwrap_or_default();
            return Err(Unresolved::Prompt { name: name.to_string(), suggestion });
        };
        let number = match &reference.selector {
            Selector::Number(number) => *number,
            Selector::Label(label) => {
                let found = self.label(name, label);
                found.ok_or_else(|| self.no_label(name, label))?.version
            }
        };
        versions.iter().find(|version| version.version == number).ok_or_else(|| {
            let newest = versions.last().map_or(0, |version| version.version);
            Unresolved::Version { name: name.to_string(), version: number, newest }
        })
    }

    fn no_label(&self, name: &PromptName, label: &LabelName) -> Unresolved {
        let known: Vec<_> =
            self.labels().filter(|l| l.name == *name).map(|l| l.label.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Unresolved::Label { name: name.to_string(), label: label.to_string(), known }
    }

    /// The same with one more version.
    #[must_use]
    pub fn with_version(mut self, version: Version) -> Self {
        self.versions.entry(version.name.clone()).or_default().push(version);
        self
    }

    /// The same with a label moved.
    #[must_use]
    pub fn with_label(mut self, label: Label) -> Self {
        self.labels.insert((label.name.clone(), label.label.clone()), label);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version(name: &str, version: u32) -> Version {
        let text = format!("text {version}");
        Version {
            name: PromptName::new(name).unwrap(),
            version,
            digest: digest(&text),
            text: text.into(),
            actor: "ann".to_owned(),
            note: String::new(),
            created: Millis(1),
        }
    }

    fn label(name: &str, label: &str, version: u32) -> Label {
        Label {
            name: PromptName::new(name).unwrap(),
            label: LabelName::new(label).unwrap(),
            version,
            generation: Generation(1),
            actor: "ann".to_owned(),
            reason: String::new(),
            moved: Millis(1),
        }
    }

    #[test]
    fn references_lead_to_versions_or_say_why_not() {
        let book = Book::new(vec![version("a", 1), version("a", 2)], vec![label("a", "prod", 1)]);
        let found = |text: &str| match book.resolve(&Reference::parse(text).unwrap()) {
            Ok(version) => version.reference(),
            Err(why) => why.to_string(),
        };
        assert_eq!(found("a@prod"), "a@1");
        assert_eq!(found("a@2"), "a@2");
        assert_eq!(found("a@3"), "prompt a has no version 3; the newest is 2");
        assert_eq!(found("a@live"), "prompt a has no label \"live\"; it has prod");
        assert!(found("b@1").starts_with("there is no prompt \"b\""));
        assert_eq!(book.revision(), 3);
        let moved = Label { generation: Generation(2), ..label("a", "prod", 2) };
        let next = book.clone().with_label(moved);
        assert_eq!(next.resolve(&Reference::parse("a@prod").unwrap()).unwrap().version, 2);
        assert!(next.revision() > book.revision());
        assert!(!format!("{next:?}").contains("text 2"));
    }
}
