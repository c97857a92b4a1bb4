//! Cloud services, and anything that only says it speaks the OpenAI dialect.

use super::{Auth, CallIds, Dialect, Prefill, Provider, Quirks, ResponsesApi};
use crate::endpoint::Endpoint;

/// OpenAI itself: the dialect's owner, so nothing is mapped.
pub(super) static OPENAI: Provider = Provider {
    name: "openai",
    dialect: Dialect::OpenAi,
    default_base: Some("https://api.openai.com/v1"),
    key_env: Some("OPENAI_API_KEY"),
    auth: Auth::Bearer,
    self_hosted: false,
    endpoints: &Endpoint::ALL,
    probes: &[],
    structured: super::NATIVE,
    prefill: Prefill::None,
    responses: ResponsesApi::Spoken,
    stops_max: Some(4),
    call_ids: CallIds::UpTo(40),
    quirks: Quirks {
        developer_as_system: false,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: true,
        client_faults_as_500: false,
        ignores_model_name: false,
        unnumbered_calls: false,
    },
    rules: &[],
    takes: None,
    doc: "OpenAI's own API. Requests are passed on byte for byte, those of Responses' clients, too. \
          Ids of calls over 40 characters, as vLLM makes them, become shorter ones on the call and its result.",
};

/// OpenRouter, LiteLLM, LM Studio and whoever else: what they can do is theirs to say.
pub(super) static COMPATIBLE: Provider = Provider {
    name: "openai-compatible",
    dialect: Dialect::OpenAi,
    default_base: None,
    key_env: None,
    auth: Auth::OptionalBearer,
    self_hosted: false,
    endpoints: &Endpoint::ALL,
    probes: &[],
    structured: super::NATIVE,
    prefill: Prefill::None,
    responses: ResponsesApi::IfTold,
    // The dialect's own limit: who has another does not say so in its answers.
    stops_max: Some(4),
    call_ids: CallIds::Any,
    quirks: Quirks {
        developer_as_system: false,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: false,
        client_faults_as_500: false,
        ignores_model_name: false,
        unnumbered_calls: true,
    },
    rules: &[],
    takes: None,
    doc: "Any service with an OpenAI-style API (OpenRouter, LiteLLM, LM Studio ...). Requests are \
          passed on byte for byte; unknown fields are the service's to judge. Ids of calls become what is taken \
          at Mistral's own address (`api.mistral.ai`: nine letters and digits) and Azure's (40 characters).",
};

/// Anthropic's own API. What becomes of a field stands in the table of `vendors::anthropic`, not here.
pub(super) static ANTHROPIC: Provider = Provider {
    name: "anthropic",
    dialect: Dialect::Anthropic,
    default_base: Some("https://api.anthropic.com"),
    key_env: Some("ANTHROPIC_API_KEY"),
    auth: Auth::ApiKey,
    self_hosted: false,
    endpoints: &[Endpoint::ChatCompletions],
    probes: &[],
    structured: super::NATIVE,
    prefill: Prefill::None,
    responses: ResponsesApi::Unspoken,
    stops_max: None,
    call_ids: CallIds::Plain,
    quirks: Quirks {
        developer_as_system: false,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: false,
        client_faults_as_500: false,
        ignores_model_name: false,
        unnumbered_calls: false,
    },
    rules: &[],
    takes: None,
    doc: "Anthropic's Messages API. Requests are converted, those of Anthropic's own clients sent as they are; thinking with its signature makes the \
          round trip.",
};

/// Google's own API. What becomes of a field stands in the table of `vendors::gemini`.
pub(super) static GEMINI: Provider = Provider {
    name: "gemini",
    dialect: Dialect::Gemini,
    default_base: Some("https://generativelanguage.googleapis.com"),
    key_env: Some("GEMINI_API_KEY"),
    auth: Auth::GoogleKey,
    self_hosted: false,
    endpoints: &[Endpoint::ChatCompletions, Endpoint::Embeddings],
    probes: &[],
    structured: super::NATIVE,
    prefill: Prefill::None,
    responses: ResponsesApi::Unspoken,
    stops_max: Some(5),
    call_ids: CallIds::Any,
    quirks: Quirks {
        developer_as_system: false,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: false,
        client_faults_as_500: false,
        ignores_model_name: false,
        unnumbered_calls: false,
    },
    rules: &[],
    takes: None,
    doc: "Google's Gemini API (`generateContent`, `batchEmbedContents`). Requests are converted, those of Google's own \
          clients sent as they are; signatures of calls make the round trip. Written after the published interface, never tried against the service.",
};
