//! Ollama's native API: what a request in the OpenAI dialect becomes, and how the answers come back.
//!
//! The native API is used, not Ollama's own `/v1`, because only there can a prompt that does not fit be
//! refused instead of cut (`truncate`), and only there are `num_ctx`, `keep_alive` and `think` ours to
//! set. `/v1` also ignores `max_completion_tokens`, `n`, `tool_choice` and more without a word.
//!
//! | the client asks | Ollama is sent | note |
//! |---|---|---|
//! | chat completions | `/api/chat` | |
//! | completions | `/api/generate`, `raw` | continued as it stands, unless the variant wants the template |
//! | embeddings | `/api/embed` | |
//!
//! `temperature` and `top_p` are always sent: absent means 1 in the OpenAI dialect and 0.8 / 0.9 in
//! Ollama, and two arms must be compared under the same sampling.

pub(crate) mod answer;
pub(crate) mod lines;
mod messages;
pub(crate) mod request;
pub(crate) mod spoken;

pub(crate) use request::convert;
