//! Getting model files: from a path, the cache, Hugging Face, or a Python package.
//!
//! Contract: what is returned has exactly the pinned content, whichever source it came from. After
//! the first success everything is offline. Two processes that need the same file at the same time
//! download it once. A file appears in the cache whole or not at all.
//!
//! ```text
//! cache -> (lock) -> cache again -> Hugging Face -> the user's own pip -> error with what was tried
//! ```
//!
//! The Hugging Face addresses were taken from the models' public pages and have never been tried
//! against the real service; the digest decides whether what it answers is used. All calls block: use
//! a thread where blocking is allowed.

mod acquire;
mod catalog;
mod hub;
mod package;
mod requantise;

use std::path::PathBuf;

pub use acquire::acquire;
pub use catalog::{CATALOG, File, HubSource, MINILM_L6_V2, Model, PackageSource, SMOLLM2_135M};
pub use hub::{CONNECT_TIMEOUT_MS, Fetch, HUB_BASE, Sink};
pub use requantise::requantise;

/// Where models may come from.
pub struct Sources<'a> {
    /// The folder where model files are kept.
    pub cache: PathBuf,
    /// Hugging Face or a mirror of it; none skips it.
    pub hub: Option<Hub<'a>>,
    /// Whether the machine's Python package client may be asked.
    pub packages: bool,
}

/// How to reach a model hub.
pub struct Hub<'a> {
    /// Scheme and host, [`HUB_BASE`] unless a mirror is meant.
    pub base: String,
    /// What makes the requests.
    pub fetch: &'a dyn Fetch,
}

/// Who watches an acquisition.
pub trait Observer {
    /// Called at each new stage, and during downloads about once per 64 KiB.
    fn progress(&self, progress: Progress<'_>);

    /// Asked often; true ends the acquisition with [`AcquireError::Cancelled`].
    fn cancelled(&self) -> bool {
        false
    }
}

/// An observer that looks at nothing.
pub struct Unobserved;

impl Observer for Unobserved {
    fn progress(&self, _: Progress<'_>) {}
}

/// How far an acquisition is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress<'a> {
    /// The model's name in the catalog.
    pub model: &'a str,
    /// What is being done.
    pub stage: Stage<'a>,
}

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage<'a> {
    /// Another process is getting the same model.
    Waiting,
    /// A file is coming from the hub.
    Downloading {
        /// Its name.
        file: &'a str,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// The machine's package client is downloading a package; it does not tell how far it is.
    Package {
        /// The client's command.
        client: &'a str,
        /// The package and its version.
        package: &'a str,
        /// Bytes in all.
        total: u64,
    },
    /// A file is being unpacked and its digest compared.
    Unpacking {
        /// Its name.
        file: &'a str,
        /// Bytes so far.
        done: u64,
        /// Bytes in all.
        total: u64,
    },
    /// All files are there.
    Ready,
}

/// Why a model could not be had.
#[derive(Debug, thiserror::Error)]
pub enum AcquireError {
    /// The observer asked to stop.
    #[error("getting the model was cancelled")]
    Cancelled,
    /// The cache cannot be used.
    #[error("cannot use the model cache at {path}")]
    Cache {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// No source had it.
    #[error("no source has the model {model}: {}", list(.tried))]
    NotFound {
        /// The model's name in the catalog.
        model: &'static str,
        /// Each source that was tried and why it failed.
        tried: Vec<Attempt>,
    },
}

impl AcquireError {
    /// What the user can do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Cancelled => None,
            Self::Cache { path, .. } => {
                Some(format!("make {} writable, or choose another cache folder", path.display()))
            }
            Self::NotFound { model, .. } => {
                let package = CATALOG.iter().find(|m| m.name == *model).map(|m| &m.package);
                let package = package.map_or(String::new(), |p| {
                    format!(" (for example from the package {}=={})", p.name, p.version)
                });
                Some(format!("give the path of the model file{package}"))
            }
        }
    }
}

/// A source that did not have a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The source: an address or a command.
    pub source: String,
    /// Why it failed.
    pub why: String,
}

fn list(tried: &[Attempt]) -> String {
    if tried.is_empty() {
        return "it is not in the cache, and no source is enabled".into();
    }
    tried.iter().map(|a| format!("{} ({})", a.source, a.why)).collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests;
