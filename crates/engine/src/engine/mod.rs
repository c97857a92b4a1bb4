//! The engine's handle: loads a model, takes requests, hands them to its threads.
//!
//! ```text
//! generate() -> intake thread: template, tokens, schema -> queue -> slot threads, one answer each
//!            <- accepted (prompt size) or refused                <- deltas, end
//! ```
//!
//! Invariants: a slot computes on its own thread only; a request that is refused has produced no
//! event; dropping a [`Generation`] frees its slot at the next token.

mod intake;
mod slot;

use std::path::Path;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::gguf::Gguf;
use crate::grammar::Grammars;
use crate::llama::Llama;
use crate::template::Template;
use crate::tokenizer::Tokenizer;
use crate::{Event, GenerateRequest, LoadError, RequestError, WeightFormat};

use intake::Intake;
use slot::Queue;

/// How an engine is set up.
#[derive(Debug, Clone)]
pub struct EngineOptions {
    /// Answers computed at the same time, each on a thread of its own. More than the machine has
    /// cores makes all of them slower.
    pub slots: usize,
    /// Requests that may wait for a slot; one more is refused as overloaded.
    pub queue: usize,
    /// Tokens a conversation may hold, prompt and answer; none: what the model was made for.
    pub context: Option<usize>,
    /// The format to hold the weights in; none: as stored where there is a fast kernel for it, Q8_0
    /// otherwise.
    pub weights: Option<WeightFormat>,
}

impl Default for EngineOptions {
    fn default() -> Self {
        Self { slots: 1, queue: 64, context: None, weights: None }
    }
}

/// What a loaded model is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelCard {
    /// The name inside the file.
    pub name: String,
    /// Tokens a conversation may hold here.
    pub context: usize,
    /// Tokens a conversation may hold at most with this model.
    pub trained_context: usize,
    /// Tokens in the vocabulary.
    pub vocabulary: usize,
    /// Weights in the model.
    pub parameters: usize,
    /// Bytes that the weights take in memory.
    pub weight_bytes: usize,
    /// Whether the file has a chat template.
    pub chat: bool,
}

/// What all threads of an engine share.
pub(crate) struct Model {
    pub(crate) llama: Llama,
    pub(crate) tokenizer: Arc<Tokenizer>,
    pub(crate) template: Option<Template>,
    pub(crate) grammars: Grammars,
    pub(crate) card: ModelCard,
    pub(crate) longest_token: usize,
}

/// A loaded model, ready to answer. Cheap to clone; the threads end with the last clone.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    model: Arc<Model>,
    intake: Intake,
    queue: Arc<Queue>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.queue.close();
    }
}

/// An accepted request.
#[derive(Debug)]
pub struct Generation {
    /// Tokens of the prompt, template included.
    pub prompt_tokens: usize,
    /// What happens. Dropping it cancels the answer.
    pub events: mpsc::UnboundedReceiver<Event>,
}

impl Engine {
    /// Loads a GGUF file and starts the threads. Takes a second of computing for a small model: call
    /// it where blocking is allowed.
    pub fn load(path: &Path, options: &EngineOptions) -> Result<Self, LoadError> {
        let model = Arc::new(Model::load(path, options)?);
        let queue = Arc::new(Queue::new(options.queue));
        for number in 0..options.slots.max(1) {
            slot::start(number, model.clone(), queue.clone()).map_err(LoadError::Thread)?;
        }
        let intake = Intake::start(model.clone(), queue.clone()).map_err(LoadError::Thread)?;
        Ok(Self { inner: Arc::new(Inner { model, intake, queue }) })
    }

    /// What the loaded model is.
    pub fn card(&self) -> &ModelCard {
        &self.inner.model.card
    }

    /// Requests being answered and requests waiting.
    pub fn load_now(&self) -> (usize, usize) {
        self.inner.queue.load()
    }

    /// Asks for an answer. Returns when the prompt has been read and found to fit; the answer itself
    /// comes through the events.
    pub async fn generate(&self, request: GenerateRequest) -> Result<Generation, RequestError> {
        request.validate()?;
        let ticket = Queue::enter(&self.inner.queue)?;
        let (events, receiver) = mpsc::unbounded_channel();
        let (accepted, answer) = oneshot::channel();
        self.inner.intake.submit(intake::Submission { request, events, accepted, ticket })?;
        let prompt_tokens = answer.await.map_err(|_| RequestError::Stopped)??;
        Ok(Generation { prompt_tokens, events: receiver })
    }
}

impl Model {
    fn load(path: &Path, options: &EngineOptions) -> Result<Self, LoadError> {
        let mut file = Gguf::open(path)?;
        file.hold_as(options.weights);
        let tokenizer = Arc::new(Tokenizer::load(&file)?);
        let template = match file.text("tokenizer.chat_template") {
            None => None,
            Some(source) => {
                let id = |key| file.number(key).and_then(|id| u32::try_from(id).ok());
                let name = |key| id(key).and_then(|id| tokenizer.name(id)).unwrap_or_default();
                let begin = name("tokenizer.ggml.bos_token_id");
                let end = name("tokenizer.ggml.eos_token_id");
                let compiled = Template::compile(source, begin, end)
                    .map_err(|e| file.unsupported(format!("its chat template: {e}")))?;
                Some(compiled)
            }
        };
        let name = file.text("general.name").unwrap_or("model").to_owned();
        let llama = Llama::load(&mut file)?;
        let trained_context = llama.shape().context;
        let card = ModelCard {
            name,
            context: options.context.unwrap_or(trained_context).clamp(2, trained_context.max(2)),
            trained_context,
            vocabulary: llama.shape().vocab,
            parameters: llama.parameters(),
            weight_bytes: llama.bytes(),
            chat: template.is_some(),
        };
        let longest_token = tokenizer.longest();
        let grammars = Grammars::new(tokenizer.clone());
        Ok(Self { llama, tokenizer, template, grammars, card, longest_token })
    }
}
