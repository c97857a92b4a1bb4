//! What each field of a request is about, and what becomes of it at each provider: one rule for all of them, and the
//! table that shows it.
//!
//! The rule: a target that cannot do what a field asks for refuses the request by the field's name, unless the field is
//! no more than a wish about service ([`About::Service`]) or tells who asks ([`About::Caller`]). A variant that is
//! lenient leaves fields out instead of refusing. Whatever a vendor is not sent stands in the loss report.

use std::fmt::Write as _;

use cutover_wire::head::Key;
use cutover_wire::providers::{Act, Dialect, NEVER_FORWARDED};
use cutover_wire::{Endpoint, PROVIDERS, Provider};

use crate::{Fate, Field, anthropic, gemini};

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
    /// What a field is about. One that nobody has judged is about the answer.
    pub fn of(key: Key) -> Self {
        match key {
            Key::ServiceTier
            | Key::Prediction
            | Key::PromptCacheRetention
            | Key::GuidedDecodingBackend => Self::Service,
            Key::User | Key::SafetyIdentifier | Key::PromptCacheKey | Key::Metadata => Self::Caller,
            Key::Options | Key::NumCtx | Key::KeepAlive => Self::Operator,
            key if NEVER_FORWARDED.iter().any(|rule| rule.key == key) => Self::Operator,
            _ => Self::Answer,
        }
    }

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

/// Whether a field is one of an endpoint's requests, of whichever engine.
pub fn belongs(key: Key, endpoint: Endpoint) -> bool {
    use Endpoint::{ChatCompletions, Completions, Embeddings};
    match key {
        Key::Messages
        | Key::MaxCompletionTokens
        | Key::TopLogprobs
        | Key::ResponseFormat
        | Key::Tools
        | Key::ToolChoice
        | Key::ParallelToolCalls
        | Key::Functions
        | Key::FunctionCall
        | Key::ReasoningEffort
        | Key::Verbosity
        | Key::Audio
        | Key::Modalities
        | Key::Prediction
        | Key::WebSearchOptions
        | Key::MessageName
        | Key::ImageDetail => endpoint == ChatCompletions,
        Key::Prompt | Key::Suffix | Key::Echo | Key::BestOf => endpoint == Completions,
        Key::Input | Key::EncodingFormat | Key::Dimensions => endpoint == Embeddings,
        Key::Model | Key::User => true,
        key if About::of(key) == About::Operator => true,
        _ => endpoint != Embeddings,
    }
}

/// What becomes of a field at a provider, where it asks for something and the variant is strict.
pub fn outcome(provider: &Provider, key: Key, endpoint: Endpoint) -> Outcome {
    let rule = provider.rule(key, endpoint).map(|rule| rule.act);
    let own: &[Field] = match (provider.dialect, endpoint) {
        (Dialect::OpenAi | Dialect::Ollama, _) => return by_rule(provider, rule, (key, endpoint)),
        (Dialect::Anthropic, _) => anthropic::FIELDS,
        (Dialect::Gemini, Endpoint::Embeddings) => gemini::embeddings::FIELDS,
        (Dialect::Gemini, _) => gemini::FIELDS,
    };
    match own.iter().find(|field| field.path == key.name()).map(|field| field.fate) {
        // What cutover makes of the upstream's answer itself is to the client as if it had been sent.
        Some(Fate::Carried(_) | Fate::Mapped(_) | Fate::Approximated(_) | Fate::Ours) => {
            Outcome::Converted
        }
        Some(Fate::Dropped) => Outcome::Dropped,
        Some(Fate::Unsupported | Fate::Refused) | None => Outcome::Refused,
    }
}

fn by_rule(provider: &Provider, act: Option<Act>, (key, endpoint): (Key, Endpoint)) -> Outcome {
    let engine_reads = provider.dialect == Dialect::OpenAi && provider.takes.is_none();
    match act {
        Some(Act::Refuse | Act::Forbid) => Outcome::Refused,
        Some(Act::Drop) => Outcome::Dropped,
        None if engine_reads => Outcome::Sent,
        None if provider.takes.is_none_or(|takes| !takes(key, endpoint)) => Outcome::Refused,
        Some(Act::Carry) | None if About::of(key) == About::Caller => Outcome::ReadHere,
        Some(Act::Carry | Act::Rename(_) | Act::Guided(_)) => Outcome::Converted,
        None => Outcome::Sent,
    }
}

/// The reference.
pub fn reference() -> String {
    let mut page = String::from(
        "What becomes of a request's fields at each kind of upstream, where they ask for something (`null`, `n: 1`, \
         `store: false` and their like ask for nothing) and the variant is strict. \"answer\": what the client gets, \
         now or later, depends on it, so a target that cannot do it answers 400 with the field in `param`. \
         \"service\": how soon, at what price or by which means the same answer comes; where the target has no such \
         thing, it is left out and reported. \"caller\": who asks; cutover reads it itself, a vendor without a place \
         for it is reported, an engine of one's own is not. \"operator\": never the client's to set. With \
         `unsupported = \"lenient\"` what is \"refused\" here is left out and reported. A field that is not in this \
         table is sent where that says \"sent\" for most of them (`openai`, `openai-compatible`, `vllm`, `llamacpp`) \
         and refused elsewhere; what an upstream makes of a field that it is sent is its own to say.\n\n\
         Two rows are about what stands inside of messages. A participant's `name` is for the chat template of an engine \
         that is sent it; who has no place for it is not sent it in another one, such as the text, because that would \
         be another prompt. On a tool's result it has no effect, and is no loss: the call has named the function. Of an \
         image's `detail`, `auto` asks for nothing.\n",
    );
    for endpoint in Endpoint::ALL {
        let providers = || PROVIDERS.iter().filter(|p| p.endpoints.contains(&endpoint));
        let names: Vec<_> = providers().map(|provider| provider.name).collect();
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(page, "\n## `{}`\n", endpoint.path());
        let _ = writeln!(page, "| field | about | {} |", names.join(" | "));
        let _ = writeln!(page, "|---|---|{}", "---|".repeat(names.len()));
        for key in Key::ALL.iter().filter(|key| belongs(**key, endpoint)) {
            let cells = providers().map(|provider| outcome(provider, *key, endpoint).as_str());
            let cells: Vec<_> = cells.collect();
            let about = About::of(*key).as_str();
            let _ = writeln!(page, "| `{}` | {about} | {} |", key.name(), cells.join(" | "));
        }
    }
    page
}
