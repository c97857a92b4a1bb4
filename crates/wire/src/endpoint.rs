//! The inference endpoints of the OpenAI dialect.

/// An endpoint that carries inference. Paths that only list or describe are not here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Endpoint {
    /// `POST /v1/chat/completions`
    ChatCompletions,
    /// `POST /v1/completions`
    Completions,
    /// `POST /v1/embeddings`
    Embeddings,
}

impl Endpoint {
    /// All endpoints.
    pub const ALL: [Self; 3] = [Self::ChatCompletions, Self::Completions, Self::Embeddings];

    /// The path in the OpenAI dialect, with `/v1`.
    pub fn path(self) -> &'static str {
        match self {
            Self::ChatCompletions => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Embeddings => "/v1/embeddings",
        }
    }

    /// The endpoint of a path, with or without `/v1` (SDKs are configured either way).
    pub fn from_path(path: &str) -> Option<Self> {
        let rest = path.strip_prefix("/v1").unwrap_or(path);
        match rest {
            "/chat/completions" => Some(Self::ChatCompletions),
            "/completions" => Some(Self::Completions),
            "/embeddings" => Some(Self::Embeddings),
            _ => None,
        }
    }

    /// The endpoint's word in labels, records and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chat_completions",
            Self::Completions => "completions",
            Self::Embeddings => "embeddings",
        }
    }

    /// The prefix of ids that the OpenAI API gives to this endpoint's answers.
    pub fn id_prefix(self) -> &'static str {
        match self {
            Self::ChatCompletions => "chatcmpl-",
            Self::Completions => "cmpl-",
            Self::Embeddings => "embd-",
        }
    }

    /// The field that holds the prompt.
    pub fn prompt_field(self) -> &'static str {
        match self {
            Self::ChatCompletions => "messages",
            Self::Completions => "prompt",
            Self::Embeddings => "input",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_path_is_found_with_and_without_v1() {
        for endpoint in Endpoint::ALL {
            let path = endpoint.path();
            assert_eq!(Endpoint::from_path(path), Some(endpoint));
            assert_eq!(Endpoint::from_path(path.trim_start_matches("/v1")), Some(endpoint));
        }
        for other in ["/v1", "", "/v1/v1/embeddings", "/v1/chat/completions/", "/v2/embeddings"] {
            assert_eq!(Endpoint::from_path(other), None, "{other}");
        }
    }
}
