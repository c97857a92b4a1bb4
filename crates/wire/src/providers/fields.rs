//! What each field of a request is about, and what becomes of it at each provider: one rule for all of them, and the
//! table that shows it.
//!
//! The rule: a target that cannot do what a field asks for refuses the request by the field's name, unless the field is
//! no more than a wish about service ([`About::Service`]) or tells who asks ([`About::Caller`]). A variant that is
//! lenient leaves fields out instead of refusing. Whatever a vendor is not sent stands in the loss report.

use std::fmt::Write as _;

use super::{Act, Dialect, Provider};
use crate::endpoint::Endpoint;
use crate::head::Key;

/// What a field is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum About {
    /// The answer, or what can be asked for later: never left out of a strict variant's request.
    Answer,
    /// How soon, at what price or by which means the same answer comes: may be left out, with a report.
    Service,
    /// Who asks. cutover reads it itself; a vendor that has no place for it is a loss, an engine is not.
    Caller,
    /// What the operator alone sets: a client's is refused, where it would be obeyed.
    Operator,
}

impl About {
    /// The rule: whether this may become of such a field, at an upstream that is self-hosted by its nature or not.
    pub fn allows(self, outcome: Outcome, self_hosted: bool) -> bool {
        match (self, outcome) {
            (_, Outcome::Sent | Outcome::Converted) => true,
            (Self::Answer | Self::Operator, outcome) => outcome == Outcome::Refused,
            (Self::Caller, Outcome::ReadHere) => self_hosted,
            (Self::Service | Self::Caller, outcome) => outcome == Outcome::Dropped,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Service => "service",
            Self::Caller => "caller",
            Self::Operator => "operator",
        }
    }
}

/// What a strict variant's request becomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The field is sent as it came. Where the upstream speaks the client's dialect, what it makes of it is its own.
    Sent,
    /// It is sent in the upstream's own form.
    Converted,
    /// The request is refused.
    Refused,
    /// It is left out, with a report.
    Dropped,
    /// cutover alone reads it.
    ReadHere,
}

impl Outcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Sent => "sent",
            Self::Converted => "converted",
            Self::Refused => "refused",
            Self::Dropped => "dropped",
            Self::ReadHere => "read here",
        }
    }
}

impl Key {
    /// What the field is about. One that nobody has judged is about the answer.
    pub fn about(self) -> About {
        match self {
            Self::ServiceTier
            | Self::Prediction
            | Self::PromptCacheRetention
            | Self::GuidedDecodingBackend => About::Service,
            Self::User | Self::SafetyIdentifier | Self::PromptCacheKey | Self::Metadata => {
                About::Caller
            }
            Self::Options | Self::NumCtx | Self::KeepAlive => About::Operator,
            key if super::NEVER_FORWARDED.iter().any(|rule| rule.key == key) => About::Operator,
            _ => About::Answer,
        }
    }

    /// Whether the field is one of an endpoint's requests, of whichever engine.
    pub fn belongs_to(self, endpoint: Endpoint) -> bool {
        use Endpoint::{ChatCompletions, Completions, Embeddings};
        match self {
            Self::Messages
            | Self::MaxCompletionTokens
            | Self::TopLogprobs
            | Self::ResponseFormat
            | Self::Tools
            | Self::ToolChoice
            | Self::ParallelToolCalls
            | Self::Functions
            | Self::FunctionCall
            | Self::ReasoningEffort
            | Self::Verbosity
            | Self::Audio
            | Self::Modalities
            | Self::Prediction
            | Self::WebSearchOptions => endpoint == ChatCompletions,
            Self::Prompt | Self::Suffix | Self::Echo | Self::BestOf => endpoint == Completions,
            Self::Input | Self::EncodingFormat | Self::Dimensions => endpoint == Embeddings,
            Self::Model | Self::User => true,
            key if key.about() == About::Operator => true,
            _ => endpoint != Embeddings,
        }
    }
}

impl Provider {
    /// What becomes of a field here, where it asks for something. Not for dialects that are converted behind this
    /// crate: their own tables tell.
    pub fn outcome(&self, key: Key, endpoint: Endpoint) -> Outcome {
        let engine_reads = || self.dialect == Dialect::OpenAi && self.takes.is_none();
        match self.rule(key, endpoint).map(|rule| rule.act) {
            Some(Act::Refuse | Act::Forbid) => Outcome::Refused,
            Some(Act::Drop) => Outcome::Dropped,
            None if engine_reads() => Outcome::Sent,
            None if self.takes.is_none() || self.passes_over(key, endpoint) => Outcome::Refused,
            Some(Act::Carry) | None if key.about() == About::Caller => Outcome::ReadHere,
            Some(Act::Carry | Act::Rename(_) | Act::Guided(_)) => Outcome::Converted,
            None => Outcome::Sent,
        }
    }
}

/// What tells what becomes of a field at a provider.
pub type Tells = fn(&'static Provider, Key, Endpoint) -> Outcome;

/// The reference.
pub fn reference(tells: Tells) -> String {
    let mut page = String::from(
        "What becomes of a request's fields at each kind of upstream, where they ask for something (`null`, `n: 1`, \
         `store: false` and their like ask for nothing) and the variant is strict. \"answer\": what the client gets, \
         now or later, depends on it, so a target that cannot do it answers 400 with the field in `param`. \
         \"service\": how soon, at what price or by which means the same answer comes; where the target has no such \
         thing, it is left out and reported. \"caller\": who asks; cutover reads it itself, a vendor without a place \
         for it is reported, an engine of one's own is not. \"operator\": never the client's to set. With \
         `unsupported = \"lenient\"` what is \"refused\" here is left out and reported. A field that is not in this \
         table is sent where that says \"sent\" for most of them (`openai`, `openai-compatible`, `vllm`, `llamacpp`) \
         and refused elsewhere; what an upstream makes of a field that it is sent is its own to say.\n",
    );
    for endpoint in Endpoint::ALL {
        let providers = || super::PROVIDERS.iter().filter(|p| p.endpoints.contains(&endpoint));
        let names: Vec<_> = providers().map(|provider| provider.name).collect();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(page, "\n## `{}`\n", endpoint.path());
        let _ = writeln!(page, "| field | about | {} |", names.join(" | "));
        let _ = writeln!(page, "|---|---|{}", "---|".repeat(names.len()));
        for key in Key::ALL.iter().filter(|key| key.belongs_to(endpoint)) {
            let cells = providers().map(|provider| tells(provider, *key, endpoint).as_str());
            let cells: Vec<_> = cells.collect();
            let about = key.about().as_str();
            let _ = writeln!(page, "| `{}` | {about} | {} |", key.name(), cells.join(" | "));
        }
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PROVIDERS;

    /// `prediction` and `reasoning_effort` were treated alike where a target knew neither: both left out of strict
    /// requests, though only the first changes nothing of an answer.
    #[test]
    fn one_rule_for_all_providers() {
        let mut wrong = Vec::new();
        let here = |p: &&&Provider| matches!(p.dialect, Dialect::OpenAi | Dialect::Ollama);
        for provider in PROVIDERS.iter().filter(here) {
            for &endpoint in provider.endpoints {
                for &key in Key::ALL.iter().filter(|key| key.belongs_to(endpoint)) {
                    let outcome = provider.outcome(key, endpoint);
                    if !key.about().allows(outcome, provider.self_hosted) {
                        wrong.push(format!("{} {} {outcome:?}", provider.name, key.name()));
                    }
                }
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }
}
