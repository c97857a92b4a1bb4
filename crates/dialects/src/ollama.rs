//! Ollama's native API, for clients that speak it: chat, generate, embed, and what is known of models.
//! Nothing that changes models.

mod answer;
mod fields;
mod lines;
mod lists;
mod messages;
mod outline;
mod request;

use cutover_wire::Fault;

use crate::answer::ErrorAnswer;
use crate::table::{Ask, Dialect, Route};
use crate::write;

pub use crate::inbound::ModelFacts;
pub(crate) use answer::reply;
pub(crate) use lines::Lines;
pub use lists::{running, show, show_name, tags, version};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Chat,
    Generate,
    /// `/api/embed`: a list of vectors.
    Embed,
    /// `/api/embeddings`: one vector.
    Embedding,
}

/// The dialect's row.
pub static OLLAMA: Dialect = Dialect {
    name: "ollama",
    routes: &[
        Route::new("POST", "/api/chat", Ask::Read(request::chat)).outlined(outline::chat),
        Route::new("POST", "/api/generate", Ask::Read(request::generate)),
        Route::new("POST", "/api/embed", Ask::Read(request::embed)),
        Route::new("POST", "/api/embeddings", Ask::Read(request::embedding)),
        Route::new("GET", "/api/tags", Ask::Models(tags)),
        Route::new("POST", "/api/show", Ask::ShowModel),
        Route::new("GET", "/api/ps", Ask::RunningModels),
        Route::new("GET", "/api/version", Ask::Version),
        Route::new("POST", "/api/create", Ask::Refused(NO_CHANGES)),
        Route::new("POST", "/api/copy", Ask::Refused(NO_CHANGES)),
        Route::new("DELETE", "/api/delete", Ask::Refused(NO_CHANGES)),
        Route::new("POST", "/api/pull", Ask::Refused(NO_CHANGES)),
        Route::new("POST", "/api/push", Ask::Refused(NO_CHANGES)),
        Route::new("POST", "/api/blobs/*", Ask::Refused(NO_CHANGES)),
    ],
    fields: fields::FIELDS,
    error,
    request_id_header: "x-request-id",
    doc: "The API of Ollama's own clients. Streams are lines of JSON and the default. Token counts are \
          the engine's; durations are measured by cutover: what passed until the first content counts \
          as reading the prompt, the rest (of an answer that is no stream: all) as generating, and \
          loading is not told apart. In front of an Ollama `/api/chat`, `/api/generate` and `/api/embed` pass \
          as they were written, but for what is the operator's, and the figures are Ollama's own.",
};

const NO_CHANGES: &str =
    "models are the operator's: cutover never creates, copies, pulls, pushes or deletes one";

fn error_body(fault: &Fault) -> String {
    let named = fault.param.as_deref().filter(|param| !fault.message.contains(param));
    let message =
        named.map_or_else(|| fault.message.clone(), |p| format!("{p}: {}", fault.message));
    write::object(|j| j.put("error", &message))
}

fn error(fault: &Fault, request_id: &str) -> ErrorAnswer {
    ErrorAnswer {
        status: fault.code.status(),
        headers: vec![("x-request-id", request_id.to_owned())],
        body: error_body(fault).into(),
    }
}
