//! The embedding model's handle: texts in, vectors out, computed on one thread.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};

use tokenizers::Tokenizer;
use tokio::sync::oneshot;

use crate::bert::{Bert, Workspace};
use crate::{LoadError, RequestError};

/// Texts that one request may hold.
pub const EMBED_TEXTS_MAX: usize = 2048;

/// How an embedder is set up.
#[derive(Debug, Clone)]
pub struct EmbedderOptions {
    /// Requests that may wait; one more is refused as overloaded.
    pub queue: usize,
}

impl Default for EmbedderOptions {
    fn default() -> Self {
        Self { queue: 64 }
    }
}

/// A loaded embedding model. Cheap to clone; its thread ends with the last clone.
#[derive(Clone)]
pub struct Embedder {
    sender: mpsc::Sender<Request>,
    waiting: Arc<AtomicUsize>,
    queue: usize,
    dimensions: usize,
    max_tokens: usize,
}

/// Vectors of the texts of one request.
#[derive(Clone, PartialEq)]
pub struct Embeddings {
    /// One vector of length one per text, in the order of the texts.
    pub vectors: Vec<Vec<f32>>,
    /// Tokens in all texts, their begin and end markers included.
    pub tokens: usize,
}

struct Request {
    texts: Vec<String>,
    answer: oneshot::Sender<Result<Embeddings, RequestError>>,
    _place: Place,
}

/// A place in the queue, given back when dropped.
struct Place(Arc<AtomicUsize>);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Embedder {
    /// Loads a folder with `config.json`, `model.safetensors` and `tokenizer.json` and starts the
    /// thread. Takes a fraction of a second of computing: call it where blocking is allowed.
    pub fn load(folder: &Path, options: &EmbedderOptions) -> Result<Self, LoadError> {
        let bert = Bert::load(folder)?;
        let path = folder.join("tokenizer.json");
        let text = std::fs::read(&path)
            .map_err(|source| LoadError::Read { path: path.clone(), source })?;
        let malformed = |reason: String| LoadError::Malformed { path: path.clone(), reason };
        let mut tokenizer = Tokenizer::from_bytes(text).map_err(|e| malformed(e.to_string()))?;
        // The file asks for padding and silent truncation; this engine does neither.
        tokenizer.with_padding(None);
        tokenizer.with_truncation(None).map_err(|e| malformed(e.to_string()))?;
        if tokenizer.get_vocab_size(true) > bert.config.vocab_size {
            return Err(malformed("it has more tokens than the model".into()));
        }
        let (dimensions, max_tokens) = (bert.dimensions(), bert.config.max_position_embeddings);
        let (sender, receiver) = mpsc::channel::<Request>();
        std::thread::Builder::new()
            .name("engine-embed".into())
            .spawn(move || {
                let mut model = Model { bert, tokenizer, workspace: Workspace::default() };
                for request in receiver {
                    if !request.answer.is_closed() {
                        // The tokenizer is not ours; if it panics, the thread must live on.
                        let outcome = catch_unwind(AssertUnwindSafe(|| model.embed(&request)));
                        let outcome = outcome.unwrap_or(Err(RequestError::Failed));
                        drop(request.answer.send(outcome));
                    }
                }
            })
            .map_err(LoadError::Thread)?;
        let waiting = Arc::default();
        Ok(Self { sender, waiting, queue: options.queue.max(1), dimensions, max_tokens })
    }

    /// Length of the vectors.
    pub fn dimensions(&self) -> usize {
        self.dimensions
    }

    /// Tokens that one text may have, its two markers included. The model was trained on shorter
    /// texts (128 to 256 tokens) and grows vague beyond.
    pub fn max_tokens(&self) -> usize {
        self.max_tokens
    }

    /// The vectors of some texts. A text that is too long is an error, never cut. Dropping the
    /// future ends the work at the next text.
    pub async fn embed(&self, texts: Vec<String>) -> Result<Embeddings, RequestError> {
        if texts.is_empty() || texts.len() > EMBED_TEXTS_MAX {
            let message = format!("between 1 and {EMBED_TEXTS_MAX} texts are needed");
            return Err(RequestError::invalid("input", message));
        }
        if texts.iter().any(String::is_empty) {
            return Err(RequestError::invalid("input", "a text must not be empty"));
        }
        let entered = self.waiting.fetch_update(Ordering::AcqRel, Ordering::Acquire, |n| {
            (n <= self.queue).then_some(n + 1)
        });
        if entered.is_err() {
            return Err(RequestError::Overloaded { waiting: self.queue });
        }
        let place = Place(self.waiting.clone());
        let (answer, outcome) = oneshot::channel();
        let request = Request { texts, answer, _place: place };
        self.sender.send(request).map_err(|_| RequestError::Stopped)?;
        outcome.await.map_err(|_| RequestError::Stopped)?
    }
}

struct Model {
    bert: Bert,
    tokenizer: Tokenizer,
    workspace: Workspace,
}

impl Model {
    /// Checks all texts before it computes any, so that a refusal costs nothing.
    fn embed(&mut self, request: &Request) -> Result<Embeddings, RequestError> {
        let limit = self.bert.config.max_position_embeddings;
        let mut encoded = Vec::with_capacity(request.texts.len());
        for text in &request.texts {
            let tokens = self.tokenizer.encode_fast(text.as_str(), true).map_err(|e| {
                RequestError::invalid("input", format!("a text cannot be read: {e}"))
            })?;
            let tokens = tokens.get_ids().to_vec();
            if tokens.len() > limit {
                return Err(RequestError::ContextLength {
                    prompt_tokens: tokens.len(),
                    context_tokens: limit,
                });
            }
            encoded.push(tokens);
        }
        let mut vectors = Vec::with_capacity(encoded.len());
        for tokens in &encoded {
            if request.answer.is_closed() {
                break;
            }
            vectors.push(self.bert.encode(tokens, &mut self.workspace));
        }
        Ok(Embeddings { vectors, tokens: encoded.iter().map(Vec::len).sum() })
    }
}
