//! What an engine says of itself: which pages to read, and what they mean.
//!
//! None of these pages loads a model or generates a token. A page that is switched off (llama.cpp's
//! `/metrics` without `--metrics`, anything behind a key) tells nothing, and nothing is then known: a
//! figure that is missing is `None`, never 0.

use std::borrow::Cow;

use serde::Deserialize;

use crate::openai::models::{Listed, read_list};

mod metrics;

/// What is known of an instance after its pages were read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Whether it says that it can serve.
    pub fitness: Fitness,
    /// Requests that wait inside the engine.
    pub waiting: Option<u32>,
    /// Requests being generated.
    pub running: Option<u32>,
    /// Requests it can generate at once.
    pub slots: Option<u32>,
    /// The key-value cache in use, in thousandths.
    pub cache_permille: Option<u16>,
    /// The models in memory, where the engine loads them on demand.
    pub loaded: Option<Vec<Loaded>>,
    /// The models that it lists, where it serves what it was started with.
    pub listed: Option<Vec<Listed>>,
    /// Its version.
    pub version: Option<String>,
}

impl Facts {
    /// The context of a model, in tokens, as the engine has it now.
    pub fn context_of(&self, model: &str) -> Option<u32> {
        if let Some(loaded) = &self.loaded {
            let model = with_tag(model);
            return loaded.iter().find(|known| known.name == model)?.context_length;
        }
        match self.listed.as_deref()? {
            // An engine with one model mostly answers to any name.
            [only] => only.context_tokens,
            listed => listed.iter().find(|known| known.id == model)?.context_tokens,
        }
        .map(|tokens| u32::try_from(tokens).unwrap_or(u32::MAX))
    }
}

/// Whether an engine says that it can serve.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Fitness {
    /// No page said anything.
    #[default]
    Silent,
    /// It can.
    Ready,
    /// It reads its model in.
    Loading,
    /// It says that it cannot.
    Unfit,
}

impl Fitness {
    /// What a status of its health page says. Who passes `/v1/` alone, or asks for a key, says nothing of the engine
    /// behind it with his 404 or 401: a server is there.
    fn of(status: u16) -> Self {
        match status {
            200 => Self::Ready,
            500.. => Self::Unfit,
            _ => Self::Silent,
        }
    }
}

/// A model in memory.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
pub struct Loaded {
    /// Its name, as [`with_tag`] has it.
    pub name: String,
    /// The context it was loaded with, in tokens.
    #[serde(default)]
    pub context_length: Option<u32>,
    /// What it takes in all, in bytes.
    #[serde(default)]
    pub size: u64,
    /// What of that lies in the memory of GPUs, in bytes. Some engines report a part here without any
    /// GPU, so that it proves nothing alone.
    #[serde(default)]
    pub size_vram: u64,
    /// Whether the next request of ours would have it read in anew, with another context.
    #[serde(skip)]
    pub reloads: bool,
}

impl Loaded {
    /// Whether a request of this model, named as [`with_tag`] has it, finds it in memory.
    pub fn serves(&self, model: &str) -> bool {
        !self.reloads && self.name == model
    }

    fn tagged(self) -> Self {
        Self { name: with_tag(&self.name).into_owned(), ..self }
    }
}

/// A page of an engine that tells how it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Page {
    /// Ollama's version: it lives.
    OllamaVersion,
    /// Ollama's models in memory.
    OllamaLoaded,
    /// vLLM's health.
    VllmHealth,
    /// vLLM's metrics.
    VllmMetrics,
    /// The models that an engine of OpenAI's dialect lists, with the context lengths that vLLM and
    /// llama.cpp add.
    Models,
    /// llama.cpp's health.
    LlamaHealth,
    /// llama.cpp's slots.
    LlamaSlots,
    /// llama.cpp's metrics.
    LlamaMetrics,
}

impl Page {
    /// Where it is, from the server's root.
    pub fn path(self) -> &'static str {
        match self {
            Self::OllamaVersion => "/api/version",
            Self::OllamaLoaded => "/api/ps",
            Self::VllmHealth | Self::LlamaHealth => "/health",
            Self::VllmMetrics | Self::LlamaMetrics => "/metrics",
            Self::LlamaSlots => "/slots",
            Self::Models => "/v1/models",
        }
    }

    /// Adds what the page tells.
    pub fn read(self, status: u16, body: &[u8], facts: &mut Facts) {
        match self {
            Self::OllamaVersion => {
                facts.fitness = Fitness::of(status);
                facts.version = json::<Version>(status, body).map(|told| told.version);
            }
            Self::OllamaLoaded => {
                let told = json::<LoadedList>(status, body);
                facts.loaded =
                    told.map(|told| told.models.into_iter().map(Loaded::tagged).collect());
            }
            Self::Models => {
                facts.listed = read_list(body).filter(|_| status == 200);
            }
            Self::VllmHealth => facts.fitness = Fitness::of(status),
            Self::LlamaHealth => {
                // 503 is its answer while the model is read in, and nothing else.
                facts.fitness = if status == 503 { Fitness::Loading } else { Fitness::of(status) };
            }
            Self::LlamaSlots => {
                let Some(slots) = json::<Vec<Slot>>(status, body) else { return };
                let count = |n: usize| Some(u32::try_from(n).unwrap_or(u32::MAX));
                facts.slots = count(slots.len());
                facts.running = count(slots.iter().filter(|slot| slot.is_processing).count());
            }
            Self::VllmMetrics | Self::LlamaMetrics if status == 200 => metrics::read(body, facts),
            Self::VllmMetrics | Self::LlamaMetrics => {}
        }
    }
}

/// The name of a model as Ollama compares it, so that all names of one model are one text: its own registry and
/// library unsaid, the tag `latest` said, letters small. Upper case is another spelling there, no other model.
pub fn with_tag(model: &str) -> Cow<'_, str> {
    let name = model.split_once("://").map_or(model, |(_, name)| name);
    let name = match name.matches('/').count() {
        1 => without(LIBRARY, name),
        2 => match without(REGISTRY, name) {
            elsewhere if elsewhere.len() == name.len() => name,
            own => without(LIBRARY, own),
        },
        _ => name,
    };
    let last = name.rsplit('/').next().unwrap_or(name);
    match (last.contains(':'), name.bytes().any(|byte| byte.is_ascii_uppercase())) {
        (true, false) => name.into(),
        (true, true) => name.to_ascii_lowercase().into(),
        (false, _) => format!("{}:latest", name.to_ascii_lowercase()).into(),
    }
}

/// Where Ollama has models from whose names tell no registry and no namespace.
const REGISTRY: &str = "registry.ollama.ai/";
const LIBRARY: &str = "library/";

fn without<'n>(start: &str, name: &'n str) -> &'n str {
    let has_it = name.get(..start.len()).is_some_and(|own| own.eq_ignore_ascii_case(start));
    name.get(start.len()..).filter(|_| has_it).unwrap_or(name)
}

fn json<T: for<'a> Deserialize<'a>>(status: u16, body: &[u8]) -> Option<T> {
    (status == 200).then(|| serde_json::from_slice(body).ok()).flatten()
}

#[derive(Deserialize)]
struct Version {
    version: String,
}

#[derive(Deserialize)]
struct LoadedList {
    models: Vec<Loaded>,
}

#[derive(Deserialize)]
struct Slot {
    #[serde(default)]
    is_processing: bool,
}

#[cfg(test)]
mod tests;
