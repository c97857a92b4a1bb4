//! The engine behind a path and a JSON body, in the OpenAI dialect: what the gateway calls as if it
//! were an upstream.
//!
//! Contract: everything a client may ask is either done or refused with a 400 that names the field;
//! usage is exact; a stream is only begun once the request has been accepted, so every refusal is a
//! plain response. Models may be added while requests are served: one that is still being downloaded
//! or loaded answers 503 with the reason.

mod chat;
mod completions;
mod embeddings;
mod fault;
mod job;
mod stream;

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::openai::{self, models};
use cutover_wire::{Endpoint, Fault, errors};

use crate::{Embedder, Engine};

pub use stream::EventStream;

/// What a model name stands for.
#[derive(Clone)]
pub enum Served {
    /// Answers chat and plain completions.
    Chat(Engine),
    /// Answers embeddings.
    Embeddings(Embedder),
    /// Not ready yet; the text says why and goes to clients ("is being downloaded").
    Coming(String),
    /// Will not become ready; the text says why and goes to clients.
    Failed(String),
}

/// An answer, shaped like an HTTP response.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// The content type.
    pub content_type: &'static str,
    /// The body.
    pub body: Body,
}

/// The body of an answer.
#[derive(Debug)]
pub enum Body {
    /// All of it.
    Full(Bytes),
    /// Server-sent events as they come.
    Events(Box<EventStream>),
}

/// Serves any number of models. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    inner: Arc<Inner>,
}

struct Inner {
    /// Seconds since the epoch, for `created`.
    clock: fn() -> u64,
    models: Mutex<Vec<(Arc<str>, Served)>>,
}

impl Service {
    /// A service without models. The clock gives seconds since the epoch.
    pub fn new(clock: fn() -> u64) -> Self {
        Self { inner: Arc::new(Inner { clock, models: Mutex::default() }) }
    }

    /// Adds a model or replaces what its name stood for.
    pub fn serve(&self, name: &str, served: Served) {
        let mut models = self.lock();
        match models.iter_mut().find(|(known, _)| **known == *name) {
            Some((_, old)) => *old = served,
            None => models.push((name.into(), served)),
        }
    }

    /// The names served, in the order they were added.
    pub fn names(&self) -> Vec<Arc<str>> {
        self.lock().iter().map(|(name, _)| name.clone()).collect()
    }

    /// Answers a request for a path, with or without `/v1`. Dropping the future, or the stream in the
    /// answer, cancels the work at the next token.
    pub async fn call(&self, path: &str, body: Bytes) -> Answer {
        let path = path.split('?').next().unwrap_or_default();
        let outcome = match Endpoint::from_path(path) {
            Some(Endpoint::ChatCompletions) => chat::call(self, &body).await,
            Some(Endpoint::Completions) => completions::call(self, &body).await,
            Some(Endpoint::Embeddings) => embeddings::call(self, &body).await,
            None => self.describe(path.strip_prefix("/v1").unwrap_or(path)),
        };
        outcome.unwrap_or_else(|fault| Answer {
            status: fault.code.status(),
            content_type: JSON,
            body: Body::Full(errors::body(&fault)),
        })
    }

    fn describe(&self, path: &str) -> Result<Answer, Fault> {
        let model = |name: &str| models::Model::new(name, 0, "cutover");
        if path == "/models" {
            let all = self.names().iter().map(|name| model(name)).collect();
            return Ok(json(openai::write(&models::List::new(all))));
        }
        match path.strip_prefix("/models/") {
            Some(name) => self.model(name).map(|(name, _)| json(openai::write(&model(&name)))),
            None => Err(Fault::new(Code::NotFound, "the embedded engine has no such path")),
        }
    }

    /// What a name stands for.
    fn model(&self, name: &str) -> Result<(Arc<str>, Served), Fault> {
        let models = self.lock();
        let found = models.iter().find(|(known, _)| **known == *name);
        found.cloned().ok_or_else(|| {
            let known: Vec<&str> = models.iter().map(|(known, _)| &**known).collect();
            let message = format!(
                "the embedded engine has no model '{name}'; it has: {}",
                if known.is_empty() { "none".to_owned() } else { known.join(", ") }
            );
            Fault::of(Code::ModelNotFound, "model", message)
        })
    }

    /// The engine behind a name, for requests that need one.
    fn engine(&self, name: &str) -> Result<(Arc<str>, Engine), Fault> {
        match self.model(name)? {
            (name, Served::Chat(engine)) => Ok((name, engine)),
            (name, other) => Err(not_this(&name, &other, "is an embedding model")),
        }
    }

    /// The embedder behind a name, for requests that need one.
    fn embedder(&self, name: &str) -> Result<(Arc<str>, Embedder), Fault> {
        match self.model(name)? {
            (name, Served::Embeddings(embedder)) => Ok((name, embedder)),
            (name, other) => Err(not_this(&name, &other, "does not make embeddings")),
        }
    }

    fn now(&self) -> u64 {
        (self.inner.clock)()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<(Arc<str>, Served)>> {
        self.inner.models.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const JSON: &str = "application/json";

fn json(body: Bytes) -> Answer {
    Answer { status: 200, content_type: JSON, body: Body::Full(body) }
}

fn not_this(name: &str, served: &Served, otherwise: &str) -> Fault {
    match served {
        Served::Coming(why) | Served::Failed(why) => {
            Fault::new(Code::Overloaded, format!("the model '{name}' {why}"))
        }
        _ => Fault::of(Code::NotSupported, "model", format!("the model '{name}' {otherwise}")),
    }
}
