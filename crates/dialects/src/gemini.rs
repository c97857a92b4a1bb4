//! Google's Gemini API, for clients that speak it: `generateContent` and its stream, token counts
//! (estimates), embeddings, and what is known of models.
//!
//! The model's name stands in the path, and so does what is asked of it. Names of members are taken as
//! that API takes them: in camel case or in snake case.

mod answer;
mod chunks;
mod content;
mod embeddings;
mod fields;
mod lists;
mod names;
mod outline;
mod request;
mod schema;

use cutover_units::Code;
use cutover_wire::Fault;

use crate::answer::ErrorAnswer;
use crate::table::{Ask, Dialect, Route};
use crate::write::{self, Json};

pub(crate) use answer::reply;
pub(crate) use chunks::Chunks;
pub use lists::{model, models};

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    Content {
        /// Whether the client wants to see the model's thoughts.
        thoughts: bool,
        /// Whether a stream is one of events, not a list in pieces.
        events: bool,
    },
    /// One vector.
    Embedding,
    /// A list of them.
    Embeddings,
}

/// The dialect's row.
pub static GEMINI: Dialect = Dialect {
    name: "gemini",
    routes: &[
        Route::new("POST", "/v1beta/models/{model}:generateContent", Ask::Read(request::generate))
            .outlined(outline::generate),
        Route::new(
            "POST",
            "/v1beta/models/{model}:streamGenerateContent",
            Ask::Read(request::stream),
        )
        .outlined(outline::stream),
        Route::new("POST", "/v1beta/models/{model}:countTokens", Ask::Read(request::count)),
        Route::new("POST", "/v1beta/models/{model}:embedContent", Ask::Read(embeddings::one)),
        Route::new(
            "POST",
            "/v1beta/models/{model}:batchEmbedContents",
            Ask::Read(embeddings::many_of),
        ),
        Route::new("GET", "/v1beta/models", Ask::Models(models)),
        Route::new("GET", "/v1beta/models/{model}", Ask::Model(model)),
        Route::new("POST", "/v1beta/models/{model}:batchGenerateContent", Ask::Refused(NO_BATCHES)),
        Route::new(
            "POST",
            "/v1beta/models/{model}:asyncBatchEmbedContent",
            Ask::Refused(NO_BATCHES),
        ),
        Route::new("POST", "/v1beta/cachedContents*", Ask::Refused(NOTHING_KEPT)),
        Route::new("POST", "/v1beta/files*", Ask::Refused(NOTHING_KEPT)),
        Route::new("POST", "/upload/v1beta/files*", Ask::Refused(NOTHING_KEPT)),
        Route::new("POST", "/v1beta/interactions*", Ask::Refused(NO_INTERACTIONS)),
    ],
    fields: fields::FIELDS,
    error,
    request_id_header: "x-request-id",
    doc: "The API of Google's SDKs (`google-genai`). The routes of models are there under `/v1beta` and \
          `/v1`, as the SDKs use both; `GET /v1/models` answers in this dialect's shape if the header \
          `x-goog-api-key` or `x-goog-api-client` is there. Streams are events with `alt=sse` and a list \
          in pieces without. `countTokens` gives an estimate (a quarter of the bytes) and says so in the \
          header `x-cutover-estimated`. The key may come as `x-goog-api-key` or as `key` in the query. \
          An upstream of provider `gemini` gets requests as their clients wrote them; the table is of all others.",
};

const NO_BATCHES: &str = "cutover runs no batches";
const NOTHING_KEPT: &str =
    "cutover keeps no files and no cached contents; send them with each request";
const NO_INTERACTIONS: &str = "cutover knows no interactions; use generateContent";

/// Whether a query asks for a stream of events.
pub fn wants_events(query: &str) -> bool {
    query.split('&').any(|pair| matches!(pair, "alt=sse" | "%24alt=sse" | "$alt=sse"))
}

/// The key that a query shows, escaped as it came.
pub fn key_in(query: &str) -> Option<&str> {
    query.split('&').find_map(|pair| pair.strip_prefix("key=")).filter(|key| !key.is_empty())
}

/// The word of Google's for an error.
fn status_word(code: Code) -> &'static str {
    match (code, code.status()) {
        (_, 401) => "UNAUTHENTICATED",
        (_, 403) => "PERMISSION_DENIED",
        (_, 404) => "NOT_FOUND",
        (_, 405 | 501) => "UNIMPLEMENTED",
        (_, 408 | 504) => "DEADLINE_EXCEEDED",
        (_, 429) => "RESOURCE_EXHAUSTED",
        (_, 409) => "ABORTED",
        (_, 400..=499) => "INVALID_ARGUMENT",
        (_, 503) => "UNAVAILABLE",
        _ => "INTERNAL",
    }
}

/// The error's envelope. Its first detail names cutover's own code, a second one the field.
fn envelope(fault: &Fault) -> String {
    let row = fault.code.row();
    write::object(|j| {
        j.put_object("error", |j| {
            j.put_number("code", u64::from(row.status));
            j.put("message", &fault.message);
            j.put("status", status_word(fault.code));
            j.put_array("details", |j| {
                j.object(|j| {
                    j.put("@type", "type.googleapis.com/google.rpc.ErrorInfo");
                    // The reason that Google's clients know of a wrong key.
                    let own = row.name.to_ascii_uppercase();
                    let wrong_key = fault.code == Code::InvalidApiKey;
                    j.put("reason", if wrong_key { "API_KEY_INVALID" } else { &own });
                    j.put("domain", "cutover");
                });
                if let Some(param) = &fault.param {
                    j.object(|j| violation(j, param, &fault.message));
                }
            });
        });
    })
}

fn violation(json: &mut Json, field: &str, why: &str) {
    json.put("@type", "type.googleapis.com/google.rpc.BadRequest");
    json.put_array("fieldViolations", |j| {
        j.object(|j| {
            j.put("field", field);
            j.put("description", why);
        });
    });
}

fn error(fault: &Fault, request_id: &str) -> ErrorAnswer {
    ErrorAnswer {
        status: fault.code.status(),
        headers: vec![("x-request-id", request_id.to_owned())],
        body: envelope(fault).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_read_by_its_whole_names() {
        assert!(
            wants_events("alt=sse") && wants_events("key=k&alt=sse") && wants_events("$alt=sse")
        );
        assert!(!wants_events("") && !wants_events("alt=json") && !wants_events("xalt=sse"));
        assert_eq!(key_in("alt=sse&key=ck-1"), Some("ck-1"));
        assert_eq!((key_in("key="), key_in("monkey=1"), key_in("")), (None, None, None));
    }
}
