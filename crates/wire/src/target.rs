//! Where a request goes: what the router knows about one variant, as far as wire needs it.

use std::fmt;
use std::sync::Arc;

use crate::framing::Framing;
use crate::head::Head;
use crate::providers::{CallIds, Provider, ResponsesApi};
use crate::reply::Secrets;
use crate::structured::StructuredOutput;

/// What happens to a field that the target cannot act on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Unsupported {
    /// The request is refused with a 400 that names the field.
    #[default]
    Strict,
    /// The field is dropped and reported as a [`crate::Loss`].
    Lenient,
}

/// Whether an upstream is asked for the usage of a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StreamUsage {
    /// `stream_options.include_usage` is sent with every stream.
    #[default]
    Ask,
    /// `stream_options` is never sent: some services refuse it. What such a stream took is estimated
    /// unless the upstream tells it unasked.
    Never,
}

/// What is known about the model behind the target. `None` means not known: the request is sent and
/// the engine decides.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities {
    /// Whether the model can be given tools. llama-server drops them without a word if not.
    pub tools: Option<bool>,
    /// Whether the model sees images.
    pub images: Option<bool>,
}

/// Ollama's `think` field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Think {
    /// No thinking.
    Off,
    /// Thinking at the model's own level.
    On,
    /// `low`
    Low,
    /// `medium`
    Medium,
    /// `high`
    High,
}

/// What only Ollama's native API can be told.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct OllamaSettings {
    /// Context length in tokens. A change reloads the model: use one value per model.
    pub num_ctx: Option<u32>,
    /// The same for the models that others ask this upstream for, with their tags: traffic that names
    /// its model itself must not make Ollama load it anew.
    pub pins: Arc<[(String, u32)]>,
    /// How long the model stays loaded, such as `10m`, `-1` (for ever) or a number of seconds.
    pub keep_alive: Option<String>,
    /// Thinking, if the request does not say (`reasoning_effort`).
    pub think: Option<Think>,
    /// Lets Ollama cut a prompt that does not fit. Off: such a prompt is an error, as with any other
    /// engine; Ollama's own default would answer from a part of the prompt and say nothing.
    pub truncate: bool,
    /// Sends `/v1/completions` through the model's chat template, as Ollama's own `/v1` does. Off: the
    /// prompt is continued as it stands, which is what the endpoint means everywhere else.
    pub completions_use_template: bool,
}

impl OllamaSettings {
    /// The context length that a request of this model is sent; None: Ollama's own.
    pub fn context_of(&self, model: &str) -> Option<u32> {
        if self.num_ctx.is_some() || self.pins.is_empty() {
            return self.num_ctx;
        }
        let model = crate::probe::with_tag(model);
        self.pins.iter().find(|(name, _)| *name == model).map(|(_, tokens)| *tokens)
    }
}

/// A variant's own settings: defaults for what the request leaves open, and what is put around it.
#[derive(Clone, Default, PartialEq)]
pub struct VariantSettings {
    /// Put around the request's own messages; none leaves them alone.
    pub framing: Option<Arc<Framing>>,
    /// How a form of the answer is asked for; none: as the provider's row says.
    pub structured: Option<StructuredOutput>,
    /// Stop sequences, besides the request's own.
    pub stop: Vec<String>,
    /// Used where the request has no `temperature`.
    pub temperature: Option<f64>,
    /// Used where the request has no `top_p`.
    pub top_p: Option<f64>,
    /// Used where the request has neither `max_tokens` nor `max_completion_tokens`.
    pub max_tokens: Option<u64>,
    /// Used where the request has no `seed`.
    pub seed: Option<i64>,
    /// For Ollama only.
    pub ollama: OllamaSettings,
}

impl fmt::Debug for VariantSettings {
    /// Prompts are shown by their length only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VariantSettings")
            .field("framing", &self.framing)
            .field("structured", &self.structured)
            .field("stop", &self.stop.len())
            .field("temperature", &self.temperature)
            .field("top_p", &self.top_p)
            .field("max_tokens", &self.max_tokens)
            .field("seed", &self.seed)
            .field("ollama", &self.ollama)
            .finish()
    }
}

/// Where a request goes. Made once per variant when a snapshot is built, and shared by its requests.
#[derive(Debug, Clone)]
pub struct Target {
    /// The provider's row.
    pub provider: &'static Provider,
    /// The model name that the upstream knows; `None` sends the client's own.
    pub model: Option<Arc<str>>,
    /// What happens to fields that the target cannot act on.
    pub unsupported: Unsupported,
    /// Whether the usage of a stream is asked for. Has no meaning for Ollama's own dialect, which
    /// always tells it.
    pub stream_usage: StreamUsage,
    /// Whether the upstream speaks OpenAI's Responses API, too, so that its clients' own words can pass.
    pub responses: bool,
    /// The ids of calls that the upstream takes.
    pub call_ids: CallIds,
    /// Whether answers carry our ids and the client's model name instead of the upstream's.
    pub mint: bool,
    /// What the upstream is shown and no client may read where it is quoted in an error.
    pub secrets: Secrets,
    /// What is known about the model.
    pub capabilities: Capabilities,
    /// The variant's own settings.
    pub settings: VariantSettings,
}

/// What an answer is taken to have when nobody sets a limit: enough for most, so that a budget is kept rather than
/// overdrawn.
const COMPLETION_TOKENS: u64 = 1_000;

/// As elsewhere, where nobody has counted.
const BYTES_PER_TOKEN: u64 = 4;

impl Target {
    /// The tokens that a request of so many bytes may take, of prompt and answer: all that is sent (tools, and what the
    /// settings add), and as many answers as are asked for, `best_of` and of each prompt of a list, each as long as is allowed.
    pub fn most_tokens(&self, head: &Head, sent: usize) -> (u64, u64) {
        let added = self.settings.framing.as_ref().map_or(0, |framing| framing.bytes());
        let prompt = (sent + added) as u64 / BYTES_PER_TOKEN;
        let each = head.longest.or(self.settings.max_tokens).unwrap_or(COMPLETION_TOKENS);
        (prompt.max(head.est_prompt_tokens), each.saturating_mul(head.answers))
    }

    /// A target that changes nothing: the default upstream.
    pub fn untouched(provider: &'static Provider) -> Self {
        Self {
            provider,
            model: None,
            unsupported: Unsupported::Strict,
            stream_usage: StreamUsage::Ask,
            responses: provider.responses == ResponsesApi::Spoken,
            call_ids: provider.call_ids,
            mint: false,
            secrets: Secrets::default(),
            capabilities: Capabilities::default(),
            settings: VariantSettings::default(),
        }
    }
}
