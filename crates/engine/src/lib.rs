//! Embedded inference: a small model answers on the CPU, inside the process.
//!
//! It is the default upstream when nothing else is configured, so that a first run has a real model
//! behind it. It is right before it is fast: at temperature 0 it produces the tokens that llama.cpp's
//! server produces from the same file, and it is not meant for production load.
//!
//! - [`models`] gets the model files.
//! - [`Engine`] answers [`GenerateRequest`]s from a llama-architecture GGUF file.
//! - [`Embedder`] turns texts into vectors.
//! - [`service`] answers HTTP-shaped requests in the OpenAI dialect.
//!
//! Every answer is computed on one thread of its own; see [`EngineOptions::slots`].

mod bert;
mod embedder;
mod engine;
mod error;
mod format;
mod gguf;
mod grammar;
mod kernels;
mod llama;
pub mod models;
mod request;
mod safetensors;
mod sample;
pub mod service;
mod template;
mod text;
mod tokenizer;

pub use embedder::{EMBED_TEXTS_MAX, Embedder, EmbedderOptions, Embeddings};
pub use engine::{Engine, EngineOptions, Generation, ModelCard};
pub use error::{LoadError, RequestError};
pub use format::WeightFormat;
pub use grammar::OutputFormat;
pub use request::{
    Alternative, Delta, Done, Event, Finish, GenerateRequest, Prompt, STOPS_MAX, TOP_LOGPROBS_MAX,
    TokenLogprob, Usage,
};
pub use sample::Sampling;
pub use template::Message;
