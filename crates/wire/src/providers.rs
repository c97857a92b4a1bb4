//! The table of provider kinds: one row each, read by adapting, error reading, the configuration's
//! list of names, and the generated reference.
//!
//! A row is data. What a rule does is in [`Act`]; adding a provider that speaks the OpenAI dialect
//! needs a row and nothing else.

pub mod claude;
mod hosted;
mod ids;
mod local;

use crate::endpoint::Endpoint;
use crate::head::Key;
use crate::probe::Page;
use crate::structured::{Grammar, Structured, StructuredOutput};

pub use ids::CallIds;

/// The JSON that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// The client's own: bytes are passed on, edited by range.
    OpenAi,
    /// Ollama's native API: requests and answers are converted.
    Ollama,
    /// Anthropic's Messages API. It is converted behind this crate, by `dialects`: what is adapted and
    /// read here is the OpenAI dialect.
    Anthropic,
    /// Google's Gemini API, converted in the same place.
    Gemini,
}

/// How a key is shown to the upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// `authorization: Bearer KEY`, and it is required.
    Bearer,
    /// The same, if a key is configured: self-hosted engines run without one by default.
    OptionalBearer,
    /// `x-api-key: KEY`, and it is required.
    ApiKey,
    /// `x-goog-api-key: KEY`, and it is required.
    GoogleKey,
    /// None: the upstream is in this process.
    None,
}

/// What a rule does with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// The engine knows the field by another name.
    Rename(&'static str),
    /// The engine cannot do it: refused in strict mode, dropped and reported in lenient mode.
    Refuse,
    /// Dropped and reported in either mode: a wish about service, not about the answer.
    Drop,
    /// Converted into the engine's own form. For dialects that are converted, where a field without a
    /// rule cannot be sent.
    Carry,
    /// Becomes this member of `structured_outputs`.
    Guided(&'static str),
    /// Never sent to anyone: refused in strict mode, dropped and reported in lenient mode.
    Forbid,
}

/// What becomes of one field at one provider. In the client's own dialect, a field without a rule is
/// sent as it is.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// The field.
    pub key: Key,
    /// The endpoints the rule is for; empty means all.
    pub at: &'static [Endpoint],
    /// Values (as compact JSON) that ask for nothing: with these the field is dropped without a report.
    /// `null` is always one.
    pub neutral: &'static [&'static str],
    /// What is done.
    pub act: Act,
    /// Why, for the refusal, the loss report and the reference.
    pub why: &'static str,
}

impl Rule {
    pub(crate) const fn new(key: Key, act: Act, why: &'static str) -> Self {
        Self { key, at: &[], neutral: &[], act, why }
    }

    pub(crate) const fn neutral(self, neutral: &'static [&'static str]) -> Self {
        Self { neutral, ..self }
    }

    pub(crate) const fn at(self, at: &'static [Endpoint]) -> Self {
        Self { at, ..self }
    }

    pub(crate) fn covers(&self, key: Key, endpoint: Endpoint) -> bool {
        self.key == key && (self.at.is_empty() || self.at.contains(&endpoint))
    }
}

/// Where an engine departs from the dialect.
#[derive(Debug, Clone, Copy, Default)]
pub struct Quirks {
    /// Templates know no `developer` role: it is sent as `system`.
    pub developer_as_system: bool,
    /// With `n` above 1 the usage counts the tokens of one choice.
    pub usage_of_one_choice: bool,
    /// `/v1/completions` answers carry chat's ids and chat's form of log-probabilities.
    pub completions_like_chat: bool,
    /// Chat requests take the limit as `max_completion_tokens` only for some models: a variant's
    /// default limit is sent under that name.
    pub new_limit_name: bool,
    /// Client faults come with status 500.
    pub client_faults_as_500: bool,
    /// Any model name is answered, by the one model that is loaded: whether a name exists is ours to
    /// say.
    pub ignores_model_name: bool,
    /// In some streams calls lack an index, or have one that another call has: they are numbered here.
    pub unnumbered_calls: bool,
}

/// How the beginning of an answer is given, for the model to go on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefill {
    /// It is not taken, or not known to be, or it depends on the model.
    None,
    /// As a last message of the assistant's.
    LastMessage,
    /// The same, with `continue_final_message` and without a generation prompt.
    ContinueFinalMessage,
}

impl Prefill {
    /// The word in the reference.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "no",
            Self::LastMessage => "as last message",
            Self::ContinueFinalMessage => "by `continue_final_message`",
        }
    }
}

/// Whether a provider speaks OpenAI's Responses API, beside chat completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResponsesApi {
    /// As its owner does.
    Spoken,
    /// If the operator says so: some such services do.
    IfTold,
    /// Not at all, or so that the official SDKs fail with it, as with the engines' own forms of it.
    Unspoken,
}

/// `response_format` as it came, and no other way.
const NATIVE: Structured = Structured { usual: StructuredOutput::Native, grammar: None };

/// The same, and a field of its own for a schema.
const fn with_grammar(grammar: Grammar) -> Structured {
    Structured { usual: StructuredOutput::Native, grammar: Some(grammar) }
}

/// One provider kind.
#[derive(Debug)]
pub struct Provider {
    /// The name in the configuration.
    pub name: &'static str,
    /// The JSON it speaks.
    pub dialect: Dialect,
    /// The address used if none is configured.
    pub default_base: Option<&'static str>,
    /// The environment variable that holds its key by custom.
    pub key_env: Option<&'static str>,
    /// How the key is shown.
    pub auth: Auth,
    /// Whether it is self-hosted by its nature.
    pub self_hosted: bool,
    /// The endpoints it can serve.
    pub endpoints: &'static [Endpoint],
    /// The pages that tell how an instance is; none where asking costs money or tells nothing.
    pub probes: &'static [Page],
    /// How it is held to a form of its answers.
    pub structured: Structured,
    /// How the beginning of an answer is given to it.
    pub prefill: Prefill,
    /// Whether it speaks OpenAI's Responses API, so that its clients' own words can pass.
    pub responses: ResponsesApi,
    /// The most stop sequences of one request, if it has such a limit.
    pub stops_max: Option<usize>,
    /// The ids of calls that it takes.
    pub call_ids: CallIds,
    /// Departures from the dialect.
    pub quirks: Quirks,
    /// What becomes of fields.
    pub rules: &'static [Rule],
    /// The fields that it acts on, where it drops all others without a word: those are refused or
    /// reported here.
    pub takes: Option<fn(Key, Endpoint) -> bool>,
    /// For the reference.
    pub doc: &'static str,
}

impl Provider {
    /// The row of a name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        PROVIDERS.iter().copied().find(|p| p.name == name)
    }

    /// The ids of calls that are taken at an address: behind one kind there are several services.
    pub fn call_ids_at(&self, host: &str) -> CallIds {
        const MISTRAL: &str = "api.mistral.ai";
        match self.call_ids {
            CallIds::Any if host == MISTRAL => CallIds::Nine,
            CallIds::Any if host.ends_with(".openai.azure.com") => hosted::OPENAI.call_ids,
            usual => usual,
        }
    }

    /// The rule for a field, the provider's own before the common ones.
    pub fn rule(&self, key: Key, endpoint: Endpoint) -> Option<&'static Rule> {
        let mut all = self.rules.iter().chain(NEVER_FORWARDED);
        all.find(|rule| rule.covers(key, endpoint))
    }

    /// Whether it would drop a field that no rule is about.
    pub(crate) fn passes_over(&self, key: Key, endpoint: Endpoint) -> bool {
        self.takes.is_some_and(|takes| !takes(key, endpoint))
    }
}

impl PartialEq for Provider {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

/// All provider kinds, in the order the reference lists them.
pub static PROVIDERS: &[&Provider] = &[
    &hosted::OPENAI,
    &hosted::COMPATIBLE,
    &hosted::ANTHROPIC,
    &hosted::GEMINI,
    &local::VLLM,
    &local::LLAMACPP,
    &local::OLLAMA,
    &local::EMBEDDED,
];

const REDIRECT: &str = "the upstream, its key and its headers are set by the operator only";

/// Fields that would let a client choose the upstream or its key if another gateway stands behind us
/// (CVE-2024-6587 sent a provider's key to an address from the body).
pub static NEVER_FORWARDED: &[Rule] = &[
    Rule::new(Key::ApiBase, Act::Forbid, REDIRECT),
    Rule::new(Key::BaseUrl, Act::Forbid, REDIRECT),
    Rule::new(Key::ApiKey, Act::Forbid, REDIRECT),
    Rule::new(Key::ApiType, Act::Forbid, REDIRECT),
    Rule::new(Key::ApiVersion, Act::Forbid, REDIRECT),
    Rule::new(Key::ExtraHeaders, Act::Forbid, REDIRECT),
    Rule::new(Key::ExtraQuery, Act::Forbid, REDIRECT),
    Rule::new(Key::Headers, Act::Forbid, REDIRECT),
    Rule::new(Key::CustomLlmProvider, Act::Forbid, REDIRECT),
    Rule::new(Key::LitellmParams, Act::Forbid, REDIRECT),
    Rule::new(Key::AzureAdToken, Act::Forbid, REDIRECT),
    Rule::new(Key::VertexCredentials, Act::Forbid, REDIRECT),
    Rule::new(Key::AwsAccessKeyId, Act::Forbid, REDIRECT),
    Rule::new(Key::AwsSecretAccessKey, Act::Forbid, REDIRECT),
    Rule::new(Key::Fallbacks, Act::Forbid, REDIRECT),
    Rule::new(Key::MockResponse, Act::Forbid, REDIRECT),
    Rule::new(Key::ProxyServerRequest, Act::Forbid, REDIRECT),
    Rule::new(Key::Cookies, Act::Forbid, REDIRECT),
];

/// The path and query to send to an upstream whose configured address has this path: `/v1` stands
/// once, whether the address was written with it or not.
pub fn request_path(base_path: &str, path: &str) -> String {
    let base = base_path.trim_end_matches('/');
    // Google's compatible endpoint has its version before its name.
    let versioned = base.ends_with("/v1") || base.ends_with("/v1beta/openai");
    // And its own API stands once, too.
    if let (Some(rest), true) = (path.strip_prefix("/v1beta"), base.ends_with("/v1beta")) {
        return format!("{base}{rest}");
    }
    match path.strip_prefix("/v1") {
        Some(rest) if versioned && !rest.starts_with("beta") => format!("{base}{rest}"),
        _ => format!("{base}{path}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found() {
        for provider in PROVIDERS {
            assert_eq!(Provider::by_name(provider.name), Some(*provider));
            assert!(!provider.endpoints.is_empty() && !provider.doc.is_empty());
        }
        assert_eq!(Provider::by_name("nope"), None);
    }

    #[test]
    fn a_services_address_tells_what_ids_it_takes() {
        let at = |provider: &str, host| Provider::by_name(provider).unwrap().call_ids_at(host);
        assert_eq!(at("openai-compatible", "api.mistral.ai"), CallIds::Nine);
        assert_eq!(at("openai-compatible", "eu.openai.azure.com"), CallIds::UpTo(40));
        assert_eq!(at("openai-compatible", "openrouter.ai"), CallIds::Any);
        assert_eq!(at("openai", "api.mistral.ai"), CallIds::UpTo(40));
    }

    #[test]
    fn no_field_has_two_rules_at_one_endpoint() {
        for provider in PROVIDERS {
            for &key in Key::ALL {
                for endpoint in Endpoint::ALL {
                    let rules = provider.rules.iter().filter(|r| r.covers(key, endpoint));
                    assert!(rules.count() <= 1, "{} {}", provider.name, key.name());
                }
            }
        }
    }

    #[test]
    fn v1_stands_once_in_a_path() {
        let chat = Endpoint::ChatCompletions.path();
        assert_eq!(request_path("", chat), "/v1/chat/completions");
        assert_eq!(request_path("/", chat), "/v1/chat/completions");
        assert_eq!(request_path("/v1/", chat), "/v1/chat/completions");
        assert_eq!(request_path("/api/v1", chat), "/api/v1/chat/completions");
        assert_eq!(request_path("/v1beta/openai/", chat), "/v1beta/openai/chat/completions");
        let native = "/v1beta/models/m:generateContent";
        assert_eq!(request_path("", native), native);
        assert_eq!(request_path("/v1beta/", native), native);
        assert_eq!(request_path("/x", "/api/chat"), "/x/api/chat");
    }
}
