//! The names of request fields that cutover knows.

use crate::endpoint::Endpoint;

macro_rules! keys {
    (members { $($variant:ident = $name:literal,)+ } inside { $($inside:ident = $path:literal,)+ }) => {
        /// A request field that cutover knows by name. Fields of all endpoints, and of engines beyond
        /// the OpenAI dialect where a rule needs them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        #[repr(u8)]
        #[expect(missing_docs, reason = "each variant is the field of the same name")]
        pub enum Key {
            $($variant,)+
            $($inside,)+
            /// Any other field: known to nobody here.
            Other,
        }

        impl Key {
            /// The key of a member of the request itself.
            pub fn from_name(name: &str) -> Self {
                match name {
                    $($name => Self::$variant,)+
                    _ => Self::Other,
                }
            }

            /// The field's name, with where it stands if that is inside of another; empty for [`Key::Other`].
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)+
                    $(Self::$inside => $path,)+
                    Self::Other => "",
                }
            }

            /// All known keys.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+ $(Self::$inside,)+];

            /// Those that stand inside of others.
            pub const INSIDE: &'static [Self] = &[$(Self::$inside,)+];
        }
    };
}

keys! {
    members {
        Model = "model",
        Messages = "messages",
        Prompt = "prompt",
        Input = "input",
        Stream = "stream",
        StreamOptions = "stream_options",
        N = "n",
        User = "user",
        SafetyIdentifier = "safety_identifier",
        PromptCacheKey = "prompt_cache_key",
        PromptCacheRetention = "prompt_cache_retention",
        Metadata = "metadata",
        MaxTokens = "max_tokens",
        MaxCompletionTokens = "max_completion_tokens",
        Temperature = "temperature",
        TopP = "top_p",
        FrequencyPenalty = "frequency_penalty",
        PresencePenalty = "presence_penalty",
        Seed = "seed",
        Stop = "stop",
        LogitBias = "logit_bias",
        Logprobs = "logprobs",
        TopLogprobs = "top_logprobs",
        ResponseFormat = "response_format",
        Tools = "tools",
        ToolChoice = "tool_choice",
        ParallelToolCalls = "parallel_tool_calls",
        Functions = "functions",
        FunctionCall = "function_call",
        ReasoningEffort = "reasoning_effort",
        Verbosity = "verbosity",
        Audio = "audio",
        Modalities = "modalities",
        Prediction = "prediction",
        WebSearchOptions = "web_search_options",
        Moderation = "moderation",
        ServiceTier = "service_tier",
        Store = "store",
        // Completions.
        Suffix = "suffix",
        Echo = "echo",
        BestOf = "best_of",
        // Embeddings.
        EncodingFormat = "encoding_format",
        Dimensions = "dimensions",
        // Sampling beyond the dialect, common to engines.
        TopK = "top_k",
        MinP = "min_p",
        RepetitionPenalty = "repetition_penalty",
        RepeatPenalty = "repeat_penalty",
        // vLLM.
        GuidedJson = "guided_json",
        GuidedRegex = "guided_regex",
        GuidedChoice = "guided_choice",
        GuidedGrammar = "guided_grammar",
        GuidedJsonObject = "guided_json_object",
        GuidedDecodingBackend = "guided_decoding_backend",
        GuidedWhitespacePattern = "guided_whitespace_pattern",
        StructuredOutputs = "structured_outputs",
        // Ollama.
        Options = "options",
        KeepAlive = "keep_alive",
        NumCtx = "num_ctx",
        Format = "format",
        Think = "think",
        // Never forwarded: another gateway behind us would obey them (see `providers::NEVER_FORWARDED`).
        ApiBase = "api_base",
        BaseUrl = "base_url",
        ApiKey = "api_key",
        ApiType = "api_type",
        ApiVersion = "api_version",
        ExtraHeaders = "extra_headers",
        ExtraQuery = "extra_query",
        Headers = "headers",
        CustomLlmProvider = "custom_llm_provider",
        LitellmParams = "litellm_params",
        AzureAdToken = "azure_ad_token",
        VertexCredentials = "vertex_credentials",
        AwsAccessKeyId = "aws_access_key_id",
        AwsSecretAccessKey = "aws_secret_access_key",
        Fallbacks = "fallbacks",
        MockResponse = "mock_response",
        ProxyServerRequest = "proxy_server_request",
        Cookies = "cookies",
    }
    inside {
        // Of whoever is no tool: a tool's result is named by its call.
        MessageName = "messages[].name",
        ImageDetail = "messages[].content[].image_url.detail",
    }
}

impl Key {
    /// The field that holds the prompt at an endpoint.
    pub(crate) fn prompt_of(endpoint: Endpoint) -> Self {
        match endpoint {
            Endpoint::ChatCompletions => Self::Messages,
            Endpoint::Completions => Self::Prompt,
            Endpoint::Embeddings => Self::Input,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_name_finds_its_key_and_all_fit_the_bit_set() {
        for &key in Key::ALL {
            let found = if Key::INSIDE.contains(&key) { Key::Other } else { key };
            assert_eq!(Key::from_name(key.name()), found);
        }
        assert_eq!(Key::from_name("no_such"), Key::Other);
        assert!(Key::ALL.len() <= 128, "head::scan keeps a bit per key in a u128");
    }
}
