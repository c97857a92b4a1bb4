//! What the file needs to know of the provider kinds; their table is `wire`'s.

pub(crate) use cutover_route::balance::POLICIES;
pub use cutover_wire::providers::{PROVIDERS, Provider};

use cutover_route::balance::Policy;
use cutover_wire::providers::{Dialect, ResponsesApi};

use crate::address::BaseUrl;

/// Their names.
pub(crate) static PROVIDER_NAMES: &[&str] = &{
    const COUNT: usize = PROVIDERS.len();
    let mut names = [""; COUNT];
    let mut at = 0;
    while at < COUNT {
        names[at] = PROVIDERS[at].name;
        at += 1;
    }
    names
};

/// The names of the balance policies.
pub(crate) static POLICY_NAMES: &[&str] = &{
    const COUNT: usize = POLICIES.len();
    let mut names = [""; COUNT];
    let mut at = 0;
    while at < COUNT {
        names[at] = POLICIES[at].name;
        at += 1;
    }
    names
};

/// How a provider's instances are balanced unless the file says otherwise. Ollama loads models on
/// demand, so that it matters which instance has which.
pub(crate) fn usual_policy(provider: &Provider) -> &'static Policy {
    let name = if provider.dialect == Dialect::Ollama { "model-aware" } else { "least-latency" };
    Policy::by_name(name).unwrap_or(&POLICIES[0])
}

/// Whether it is the engine in this process, which has no address.
pub(crate) fn is_embedded(provider: &Provider) -> bool {
    provider.name == "embedded"
}

/// Whether requests to it are of the dialect that has `stream_options`, over a connection.
pub(crate) fn has_stream_options(provider: &Provider) -> bool {
    provider.dialect == Dialect::OpenAi && !is_embedded(provider)
}

/// Whether OpenAI's Responses API may be spoken: the engines' own forms of it fail its SDKs.
pub(crate) fn may_speak_responses(provider: &Provider) -> bool {
    provider.responses != ResponsesApi::Unspoken
}

/// Whether it is, where nothing is said.
pub(crate) fn speaks_responses(provider: &Provider) -> bool {
    provider.responses == ResponsesApi::Spoken
}

/// Reads a base URL as the provider's servers mean it: those of OpenAI's dialect have their endpoints
/// under `/v1` unless the URL names another path.
pub(crate) fn base_url(provider: &Provider, text: &str) -> Result<BaseUrl, String> {
    let is_versioned = provider.default_base.is_none_or(|base| base.ends_with("/v1"));
    if is_versioned { BaseUrl::versioned(text) } else { BaseUrl::rooted(text) }
}
