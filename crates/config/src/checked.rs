//! The values of a checked file. Only [`crate::check`] makes a [`Checked`], so whoever holds one
//! knows that references resolve, limits are sane and no two rules contradict each other.
//!
//! Invariants: `upstreams` and `variants` are sorted by name, `use_cases` by precedence; every index
//! lies inside its vector; paths are as written (relative ones start at the config file's folder).

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cutover_route::balance::Policy;
use cutover_units::{UpstreamName, UseCaseName, VariantName, WeightBp};

use crate::address::{BaseUrl, Reach};
use crate::failover::{Endurance, Retries};
use crate::loading::{Cold, Loading};
use crate::numbers::{HardwareSettings, PriceSettings};
use crate::overflow::{Overflow, Queue};
use crate::prompts::Adaptation;
use crate::providers::Provider;
use crate::resolve::Resolve;
use crate::rollouts::{Scorer, ShadowSettings, Webhook};
use crate::secret::{HeaderValue, SecretRef, UpstreamKey};
use crate::surface::{ImageSettings, SurfaceSettings};

mod words;

pub use words::{
    ImageUrls, LogFormat, LogLevel, Quantization, StreamUsage, StructuredOutput, SystemRole, Think,
    Unsupported, UpstreamMessages,
};

/// A whole checked file, every default filled in.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Checked {
    /// The client-facing listener.
    pub server: Server,
    /// The operator-facing listener.
    pub admin: Admin,
    /// Where state is kept, and for how long.
    pub state: State,
    /// What is logged, and how.
    pub log: Log,
    /// Endpoints that are passed on untouched.
    pub surface: SurfaceSettings,
    /// How images in chats are fetched.
    pub images: ImageSettings,
    /// What tokens cost, where a variant does not say.
    pub prices: PriceSettings,
    /// How the machine's accelerators are looked at.
    pub hardware: HardwareSettings,
    /// Position of the upstream that serves requests no use case matches.
    pub default_upstream: usize,
    /// All upstreams, by name. Never empty: a file without one gets the embedded engine.
    pub upstreams: Vec<Upstream>,
    /// All variants, by name.
    pub variants: Vec<Variant>,
    /// All use cases in order of precedence: the first whose conditions all hold is the request's.
    pub use_cases: Vec<UseCase>,
    /// All webhooks, by name.
    pub webhooks: Vec<Webhook>,
    /// What is allowed but looks like a mistake.
    pub warnings: Vec<crate::Problem>,
}

/// `[server]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Address of the client-facing listener.
    pub listen: SocketAddr,
    /// Whether clients must send an API key of ours.
    pub keys: ClientKeys,
    /// Largest request body, in bytes.
    pub body_limit_bytes: u64,
    /// Most that request bodies hold together, in bytes.
    pub body_memory_bytes: u64,
    /// Largest request head (request line and headers), in bytes.
    pub header_limit_bytes: u64,
    /// Most headers in a request.
    pub header_count_max: u32,
    /// Time for a whole request head to arrive.
    pub header_timeout: Duration,
    /// How long a client's connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// Time for a whole request body to arrive.
    pub body_timeout: Duration,
    /// Time for requests in flight to end at shutdown.
    pub drain_timeout: Duration,
    /// Silence on a stream after which a comment is sent, so that proxies keep the connection.
    pub keep_alive_interval: Duration,
    /// Most client connections at once.
    pub connections_max: u32,
    /// Runtime threads; `None` is one per core.
    pub workers: Option<u32>,
}

/// Whether clients must send an API key of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientKeys {
    /// Every request carries a key made with `cutover key add`.
    Required,
    /// No key is asked for. Possible on a loopback address only.
    Off,
}

/// `[admin]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Admin {
    /// Address of the operator-facing listener.
    pub listen: SocketAddr,
    /// The token that callers show; `None` is one generated in the state directory.
    pub token: Option<SecretRef>,
    /// Those who have a token of their own, by name.
    pub operators: Vec<Operator>,
}

/// `[admin.operators.NAME]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operator {
    /// By this name what it does is recorded.
    pub name: String,
    /// Its token.
    pub token: SecretRef,
}

/// `[state]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State {
    /// The folder; `None` leaves it to the platform.
    pub directory: Option<PathBuf>,
    /// Age at which request records are deleted.
    pub retention: Duration,
    /// Whether a record per request is kept.
    pub records: bool,
    /// Whether answers of the Responses API are kept.
    pub responses: bool,
    /// Age at which those are deleted.
    pub responses_retention: Duration,
}

/// `[log]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The least severe level that is logged.
    pub level: LogLevel,
    /// The form of a line.
    pub format: LogFormat,
    /// Whether every request gets a line.
    pub access: bool,
    /// Duration above which a request gets a line anyway.
    pub slow: Duration,
    /// How much of what upstreams say of their failures is logged.
    pub upstream_messages: UpstreamMessages,
}

/// `[upstreams.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Upstream {
    /// The name.
    pub name: UpstreamName,
    /// The kind of service.
    pub provider: &'static Provider,
    /// One base URL per instance; empty for the embedded engine, which is one instance in-process.
    pub instances: Vec<BaseUrl>,
    /// How the names among them are resolved anew; None: by each connection.
    pub resolve: Option<Resolve>,
    /// How an instance is chosen.
    pub balance: &'static Policy,
    /// How instances are probed; None: not at all.
    pub probing: Option<Probing>,
    /// What requests carry as API key.
    pub key: UpstreamKey,
    /// Static extra headers: name in lower case, value.
    pub headers: Vec<(String, HeaderValue)>,
    /// Whether it may see data that must not leave the house.
    pub local: bool,
    /// How its instances are filled.
    pub loading: Loading,
    /// The line before it while it is full; None: requests go there all the same.
    pub queue: Option<Queue>,
    /// Deadlines of an attempt.
    pub timeouts: Timeouts,
    /// How it is asked again.
    pub retries: Retries,
    /// Whether a client that goes away ends the request at the upstream, too.
    pub cancel_on_disconnect: bool,
    /// Most connections to one instance.
    pub connections_max: u32,
    /// Largest answer that is not a stream, in bytes.
    pub answer_limit_bytes: u64,
    /// Largest single event of a stream, in bytes.
    pub event_limit_bytes: u64,
    /// Whether the usage of a stream is asked for.
    pub stream_usage: StreamUsage,
    /// Whether it speaks OpenAI's Responses API as OpenAI does.
    pub responses: bool,
    /// What happens to images that a chat names by address.
    pub image_urls: ImageUrls,
    /// File with the certificates (PEM) to trust instead of the built-in roots.
    pub ca_file: Option<PathBuf>,
    /// Models to list; empty asks the upstream.
    pub models: Vec<String>,
    /// The embedded engine's settings: `Some` exactly when the provider is `embedded`.
    pub embedded: Option<Embedded>,
}

impl Upstream {
    /// What the catalogue of prices calls a provider whose name says whose models it serves.
    pub fn catalogued(&self) -> Option<&'static str> {
        match self.provider.name {
            "openai" => Some("openai"),
            "anthropic" => Some("anthropic"),
            "gemini" => Some("google"),
            _ => None,
        }
    }

    /// Whether the catalogue may know what its tokens cost: a service's, at addresses that are nobody's own.
    pub fn may_be_listed(&self) -> bool {
        let is_service = self.catalogued().is_some() || self.provider.name == "openai-compatible";
        let public = self.instances.iter().all(|url| url.reach() == Reach::Public);
        public && !self.local && is_service
    }
}

/// How an upstream's instances are probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Probing {
    /// How often.
    pub every: Duration,
    /// So many requests waiting inside an engine make it count as full.
    pub waiting_limit: u32,
}

/// Deadlines of one attempt at an upstream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For name look-up, connection and TLS together.
    pub connect: Duration,
    /// From the request's last byte to the answer's first content.
    pub first_token: Duration,
    /// To the head of an answer that is not a stream.
    pub first_byte: Duration,
    /// Between two reads of an answer.
    pub idle: Duration,
    /// For the attempt as a whole.
    pub total: Duration,
}

/// Settings of the embedded engine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedded {
    /// A known model's name, or the path of a GGUF file.
    pub model: String,
    /// How weights are held.
    pub quantization: Quantization,
    /// Requests that generate at the same time.
    pub slots: u32,
    /// Context window in tokens; `None` is the model's own.
    pub context_tokens: Option<u32>,
}

/// `[variants.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// The name.
    pub name: VariantName,
    /// Position of the upstream.
    pub upstream: usize,
    /// The model's name at the upstream.
    pub model: Arc<str>,
    /// A system prompt of the variant's own.
    pub system_prompt: Option<SystemPrompt>,
    /// Temperature for requests that give none.
    pub temperature: Option<f64>,
    /// Nucleus share for requests that give none.
    pub top_p: Option<f64>,
    /// Answer length in tokens for requests that give none.
    pub max_tokens: Option<u32>,
    /// Seed for requests that give none.
    pub seed: Option<i64>,
    /// What happens to fields the target cannot honour.
    pub unsupported: Unsupported,
    /// Whether the model can be given tools; `None` if not known.
    pub tools: Option<bool>,
    /// Whether the model sees images; `None` if not known.
    pub images: Option<bool>,
    /// Whether its model goes on from the beginning of an answer; `None`: as its provider does.
    pub prefill: Option<bool>,
    /// Its prompt in the store, and what else it changes in requests.
    pub adaptation: Adaptation,
    /// What only Ollama understands.
    pub ollama: OllamaSettings,
    /// Whether its model is kept in memory (Ollama).
    pub warm: bool,
    /// The price, where the built-in list has none or another one holds.
    pub price: Option<Price>,
}

/// Where a system prompt's text is. The text never appears in Debug output.
#[derive(Clone, PartialEq, Eq)]
pub enum SystemPrompt {
    /// In the config file.
    Text(Arc<str>),
    /// In a file of its own.
    File(PathBuf),
}

impl std::fmt::Debug for SystemPrompt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "SystemPrompt({} bytes)", text.len()),
            Self::File(path) => write!(f, "SystemPrompt({})", path.display()),
        }
    }
}

/// Settings that only Ollama understands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OllamaSettings {
    /// Context window in tokens. One value per model: a change makes Ollama load the model anew.
    pub num_ctx: Option<u32>,
    /// How long the model stays loaded after a request.
    pub keep_alive: Option<KeepAlive>,
    /// Whether a thinking model thinks.
    pub think: Option<Think>,
    /// Whether Ollama may cut a prompt that is too long. Off, it refuses instead.
    pub truncate: bool,
    /// Whether `/v1/completions` goes through the model's chat template.
    pub completions_use_template: bool,
}

/// How long Ollama keeps a model loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeepAlive {
    /// So long after the last request.
    For(Duration),
    /// Until Ollama stops.
    Forever,
}

/// Prices in billionths of a US dollar per million tokens, exact.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// Of a prompt token.
    pub input_nano_usd_per_mtok: u64,
    /// Of a prompt token read from the provider's cache; equals the former unless given.
    pub cached_input_nano_usd_per_mtok: u64,
    /// Of an answer token.
    pub output_nano_usd_per_mtok: u64,
}

/// `[use_cases.NAME]`.
#[derive(Debug, Clone, PartialEq)]
pub struct UseCase {
    /// The name.
    pub name: UseCaseName,
    /// Which requests belong to it.
    pub matches: Match,
    /// What is assigned to an arm.
    pub unit: Unit,
    /// Position of the variant that serves it today.
    pub baseline: usize,
    /// Position of the variant that shall take over.
    pub candidate: Option<usize>,
    /// The candidate's share at the very first start. Afterwards the stored weight holds.
    pub weight: WeightBp,
    /// Units that always get the candidate.
    pub pilot: Vec<String>,
    /// Units that always get the baseline.
    pub excluded: Vec<String>,
    /// Keeps the assignment apart from other use cases'.
    pub salt: String,
    /// Whether the baseline answers where the candidate failed before any content.
    pub failover: bool,
    /// How its requests are kept alive.
    pub endurance: Endurance,
    /// What becomes of a candidate's request while its model is in no instance's memory.
    pub cold: Cold,
    /// What of its excess goes to the baseline; None: nothing.
    pub overflow: Option<Overflow>,
    /// Whether nobody waits for its answers, so that others go first.
    pub batch: bool,
    /// Whether a request's `priority` hint is followed.
    pub priority_hint: bool,
    /// Even pace of streamed tokens.
    pub smoothing: Option<Smoothing>,
    /// Whether only local upstreams may see its requests.
    pub local_only: bool,
    /// How shadow pairs are scored.
    pub scorer: Option<Scorer>,
    /// Limits of shadow copies.
    pub shadow: ShadowSettings,
    /// How it moves, without the identities of its variants: see [`Checked::rollout_spec`].
    pub(crate) rollout: Option<cutover_rollout::Spec>,
}

impl UseCase {
    /// Whether it has a rollout.
    pub fn has_rollout(&self) -> bool {
        self.rollout.is_some()
    }
}

/// Conditions of a use case; all that are given must hold, and at least one is given.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Match {
    /// Headers (lower-case name) and their exact values, sorted.
    pub headers: Vec<(String, String)>,
    /// Name of the client's API key.
    pub key: Option<String>,
    /// Entries of the request's `metadata` and their exact values, sorted.
    pub metadata: Vec<(String, String)>,
    /// The model that the request asks for.
    pub model: Option<String>,
}

impl Match {
    /// Greater wins: more header conditions, then a key, then more metadata, then a model. What a
    /// client says explicitly beats what it says in passing.
    pub(crate) fn precedence(&self) -> (usize, bool, usize, bool) {
        (self.headers.len(), self.key.is_some(), self.metadata.len(), self.model.is_some())
    }

    /// Whether a request can fit both.
    pub(crate) fn may_fit_with(&self, other: &Self) -> bool {
        let agree = |one: &[(String, String)], other: &[(String, String)]| {
            one.iter().all(|(name, value)| other.iter().all(|(n, v)| n != name || v == value))
        };
        let same = |one: &Option<String>, other: &Option<String>| {
            one.is_none() || other.is_none() || one == other
        };
        agree(&self.headers, &other.headers)
            && agree(&self.metadata, &other.metadata)
            && same(&self.key, &other.key)
            && same(&self.model, &other.model)
    }

    /// Whether each request that fits this fits the other.
    pub(crate) fn asks_for_all_of(&self, other: &Self) -> bool {
        let within = |one: &Option<String>, all: &Option<String>| one.is_none() || one == all;
        other.headers.iter().all(|one| self.headers.contains(one))
            && other.metadata.iter().all(|one| self.metadata.contains(one))
            && within(&other.key, &self.key)
            && within(&other.model, &self.model)
    }
}

/// What is assigned to an arm as one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unit {
    /// A header's value; its name in lower case.
    Header(String),
    /// An entry of the request's `metadata`.
    Metadata(String),
    /// The request's `safety_identifier` or, failing that, `user`.
    User,
    /// The client's API key.
    Key,
    /// Each request by itself: nothing is sticky.
    Request,
}

/// Even pace of streamed tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Smoothing {
    /// Least time between two pieces.
    pub interval: Duration,
    /// Most delay that smoothing may add to a piece.
    pub delay_max: Duration,
}

impl Checked {
    /// The upstream of requests that no use case matches.
    pub fn default_upstream(&self) -> &Upstream {
        &self.upstreams[self.default_upstream]
    }
}
