//! What a config names outside of itself: files, a folder, secrets.
//!
//! Contract: [`Checked::files`] leaves none out. A test goes through the table of all keys and looks for each that
//! takes a path, so that a new one is in the list before it is in a file of a user's.

use std::path::Path;

use crate::checked::{Checked, Embedded, SystemPrompt};
use crate::secret::{HeaderValue, SecretRef, UpstreamKey};

/// A file or a folder that a config names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile<'c> {
    /// The key that names it.
    pub key: String,
    /// Its path as written.
    pub path: &'c Path,
    /// What it is named for.
    pub holds: Holds<'c>,
}

/// What a file is named for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds<'c> {
    /// A secret.
    Secret(&'c SecretRef),
    /// Certificates (PEM) of whom an upstream may be.
    Certificates,
    /// A price file.
    Prices,
    /// A system prompt.
    Prompt,
    /// A JSON document of the scorer of the use case with this index.
    Document(usize),
    /// The embedded engine's model, unless the path is a known model's name.
    Model(&'c Embedded),
    /// The state: a folder, which need not be there yet.
    State,
}

impl Checked {
    /// All files that the config names, each with the key that does.
    pub fn files(&self) -> Vec<NamedFile<'_>> {
        let mut files = Vec::new();
        let mut add = |key: String, path, holds| files.push(NamedFile { key, path, holds });
        for (key, secret) in self.secrets() {
            if let SecretRef::File { path, .. } = secret {
                add(key, path.as_path(), Holds::Secret(secret));
            }
        }
        if let Some(path) = &self.state.directory {
            add("state.directory".to_owned(), path, Holds::State);
        }
        if let Some(path) = &self.prices.file {
            add("prices.file".to_owned(), path, Holds::Prices);
        }
        for upstream in &self.upstreams {
            if let Some(path) = &upstream.ca_file {
                add(format!("upstreams.{}.ca_file", upstream.name), path, Holds::Certificates);
            }
            if let Some(embedded) = &upstream.embedded {
                let path = Path::new(&embedded.model);
                add(format!("upstreams.{}.model", upstream.name), path, Holds::Model(embedded));
            }
        }
        for variant in &self.variants {
            if let Some(SystemPrompt::File(path)) = &variant.system_prompt {
                add(format!("variants.{}.system_prompt", variant.name), path, Holds::Prompt);
            }
        }
        for (at, use_case) in self.use_cases.iter().enumerate() {
            for (option, path) in use_case.scorer.iter().flat_map(|scorer| &scorer.documents) {
                let key = format!("use_cases.{}.scorer.{option}", use_case.name);
                add(key, path, Holds::Document(at));
            }
        }
        files
    }

    /// All secrets that the config refers to, each with the key that does.
    pub fn secrets(&self) -> Vec<(String, &SecretRef)> {
        let mut all = Vec::new();
        for upstream in &self.upstreams {
            if let UpstreamKey::Secret(secret) = &upstream.key {
                all.push((format!("upstreams.{}.key", upstream.name), secret));
            }
            for (header, value) in &upstream.headers {
                if let HeaderValue::Secret(secret) = value {
                    all.push((format!("upstreams.{}.headers.{header}", upstream.name), secret));
                }
            }
        }
        for hook in &self.webhooks {
            let secret = hook.secret.as_ref();
            all.extend(secret.map(|secret| (format!("webhooks.{}.secret", hook.name), secret)));
        }
        all.extend(self.admin.token.as_ref().map(|token| ("admin.token".to_owned(), token)));
        for operator in &self.admin.operators {
            all.push((format!("admin.operators.{}.token", operator.name), &operator.token));
        }
        all
    }
}
