//! What we put into answers in place of the upstream's own names.

use std::sync::Arc;

/// Id, model name and time that the client shall see.
///
/// Engines' ids are not unique (Ollama counts to 998) and their model names would tell which arm
/// answered; the caller makes the id (chance is an argument here) and names the model that the client
/// asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mint {
    /// The answer's id, with the endpoint's prefix ([`crate::Endpoint::id_prefix`]).
    pub id: String,
    /// The model name that the client asked for.
    pub model: Arc<str>,
    /// Seconds since the Unix epoch: `created` of answers that we write ourselves.
    pub created: u64,
}
