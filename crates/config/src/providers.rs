//! The provider kinds a file can name, with what the file needs to know of each.

/// A kind of upstream service.
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    /// The word in the file.
    pub name: &'static str,
    /// Where it answers unless the file says otherwise.
    pub(crate) address: Option<&'static str>,
    /// Whether its endpoints lie under `/v1`.
    pub(crate) versioned: bool,
    /// The environment variable that usually holds its key.
    pub(crate) key_env: Option<&'static str>,
    /// What it is, for the reference.
    pub(crate) doc: &'static str,
}

impl Provider {
    /// Whether it is the engine in this process.
    pub fn is_embedded(&self) -> bool {
        self.name == "embedded"
    }
}

/// All provider kinds.
pub const PROVIDERS: &[Provider] = &[
    Provider {
        name: "openai",
        address: Some("https://api.openai.com/v1"),
        versioned: true,
        key_env: Some("OPENAI_API_KEY"),
        doc: "OpenAI",
    },
    Provider {
        name: "openai-compatible",
        address: None,
        versioned: true,
        key_env: None,
        doc: "any service that speaks OpenAI's dialect: OpenRouter, LiteLLM, LM Studio ...",
    },
    Provider {
        name: "vllm",
        address: Some("http://127.0.0.1:8000/v1"),
        versioned: true,
        key_env: None,
        doc: "vLLM's server",
    },
    Provider {
        name: "llamacpp",
        address: Some("http://127.0.0.1:8080/v1"),
        versioned: true,
        key_env: None,
        doc: "llama.cpp's llama-server",
    },
    Provider {
        name: "ollama",
        address: Some("http://127.0.0.1:11434"),
        versioned: false,
        key_env: None,
        doc: "Ollama, over its native API",
    },
    Provider {
        name: "embedded",
        address: None,
        versioned: false,
        key_env: None,
        doc: "the engine inside cutover: a small model on the CPU",
    },
];

/// Their names.
pub(crate) const PROVIDER_NAMES: &[&str] = &{
    let mut names = [""; PROVIDERS.len()];
    let mut at = 0;
    while at < names.len() {
        names[at] = PROVIDERS[at].name;
        at += 1;
    }
    names
};

/// The provider of a name.
pub(crate) fn find(name: &str) -> Option<&'static Provider> {
    PROVIDERS.iter().find(|p| p.name == name)
}
