//! What becomes of a request's fields at the vendors' own APIs, in the words that `wire` has for its providers, so that
//! one page shows all of them.

use cutover_wire::head::Key;
use cutover_wire::providers::Dialect;
use cutover_wire::providers::fields::Outcome;
use cutover_wire::{Endpoint, Provider};

use crate::{Fate, Field, anthropic, gemini};

/// What becomes of a field at any provider, where it asks for something and the variant is strict.
pub fn outcome(provider: &'static Provider, key: Key, endpoint: Endpoint) -> Outcome {
    let table: &[Field] = match (provider.dialect, endpoint) {
        (Dialect::OpenAi | Dialect::Ollama, _) => return provider.outcome(key, endpoint),
        (Dialect::Anthropic, _) => anthropic::FIELDS,
        (Dialect::Gemini, Endpoint::Embeddings) => gemini::embeddings::FIELDS,
        (Dialect::Gemini, _) => gemini::FIELDS,
    };
    match table.iter().find(|field| field.path == key.name()).map(|field| field.fate) {
        // What cutover makes of the upstream's answer itself is to the client as if it had been sent.
        Some(Fate::Carried(_) | Fate::Mapped(_) | Fate::Approximated(_) | Fate::Ours) => {
            Outcome::Converted
        }
        Some(Fate::Dropped) => Outcome::Dropped,
        Some(Fate::Unsupported | Fate::Refused) | None => Outcome::Refused,
    }
}
