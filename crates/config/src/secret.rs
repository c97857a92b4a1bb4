//! References to secrets. The file holds where a secret is, never the secret; the binary resolves
//! references when it starts and on each reload.

use std::fmt;
use std::path::PathBuf;

/// Where a secret is.
#[derive(Clone, PartialEq, Eq)]
pub enum SecretRef {
    /// In an environment variable.
    Env {
        /// The variable's name.
        name: String,
        /// Whether its absence is fine: then the thing that wanted it goes without.
        optional: bool,
    },
    /// In a file, whose trailing line break does not count. A relative path starts at the folder of
    /// the config file.
    File {
        /// The path as written.
        path: PathBuf,
        /// Whether its absence is fine.
        optional: bool,
    },
}

impl SecretRef {
    /// Whether the secret may be absent.
    pub fn is_optional(&self) -> bool {
        match self {
            Self::Env { optional, .. } | Self::File { optional, .. } => *optional,
        }
    }
}

/// For messages to the operator: says where the secret should be.
impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env { name, .. } => write!(f, "environment variable {name}"),
            Self::File { path, .. } => write!(f, "file {}", path.display()),
        }
    }
}

/// Kinds only: someone who pastes a secret where its name belongs must not find it in a log.
impl fmt::Debug for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Env { .. } => "SecretRef(env)",
            Self::File { .. } => "SecretRef(file)",
        })
    }
}

/// What an upstream's requests carry as its API key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UpstreamKey {
    /// Nothing.
    None,
    /// The client's own bearer, passed on to this upstream only. Possible only while cutover itself
    /// asks for no keys.
    Client,
    /// A secret of ours.
    Secret(SecretRef),
}

/// The value of a static extra header.
#[derive(Clone, PartialEq, Eq)]
pub enum HeaderValue {
    /// The value itself.
    Text(String),
    /// A secret to be looked up.
    Secret(SecretRef),
}

/// Redacted: a header of a provider may well be a credential in plain text.
impl fmt::Debug for HeaderValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(_) => f.write_str("HeaderValue(text)"),
            Self::Secret(secret) => write!(f, "HeaderValue({secret:?})"),
        }
    }
}
