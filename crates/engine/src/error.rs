//! What can go wrong, by when it is known: while loading, when a request arrives, while it runs.

use std::path::PathBuf;

/// A model file could not be made ready to serve.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file could not be opened or read.
    #[error("cannot read model file {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is not a GGUF file, or it is damaged.
    #[error("{path} is not a readable GGUF model: {reason}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What was found wrong.
        reason: String,
    },
    /// The file is well formed, but this engine does not run such a model.
    #[error("the embedded engine cannot run {path}: {reason}")]
    Unsupported {
        /// The file.
        path: PathBuf,
        /// Which property is not supported.
        reason: String,
    },
    /// A converted model could not be written.
    #[error("cannot write model file {path}")]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A worker thread could not be started.
    #[error("cannot start an engine thread")]
    Thread(#[source] std::io::Error),
}

/// A request was refused before any work was done for it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// A parameter has a value that cannot be used.
    #[error("{message}")]
    Invalid {
        /// The request field at fault, in the engine's own names.
        field: &'static str,
        /// What is wrong and what would be right.
        message: String,
    },
    /// The prompt (with room for one token of answer) does not fit the context window.
    #[error(
        "the prompt has {prompt_tokens} tokens, but the context window holds {context_tokens}, \
         answer included"
    )]
    ContextLength {
        /// Tokens in the prompt.
        prompt_tokens: usize,
        /// Tokens the model can hold.
        context_tokens: usize,
    },
    /// As many requests as allowed are waiting already.
    #[error("the engine is busy: {waiting} requests are waiting")]
    Overloaded {
        /// The bound that was reached.
        waiting: usize,
    },
    /// The engine has stopped.
    #[error("the engine has stopped")]
    Stopped,
    /// The engine failed on this request; others are not affected.
    #[error("the engine failed unexpectedly on this request")]
    Failed,
}

impl RequestError {
    /// An invalid value of a field.
    pub(crate) fn invalid(field: &'static str, message: impl Into<String>) -> Self {
        Self::Invalid { field, message: message.into() }
    }
}
