//! OpenAI's Responses API: `POST /v1/responses`, stream and not, synthesised from chat completions, and
//! what is stored of it.

mod events;
mod fields;
mod items;
mod object;
mod outline;
mod request;
mod store;
mod tools;

use cutover_wire::{Fault, errors};

use crate::answer::ErrorAnswer;
use crate::table::{Ask, Dialect, Route};

pub(crate) use events::Events;
pub(crate) use object::{Echo, reply};
pub use request::read_after;
pub use store::{Loaded, Stored, deleted, get, input_items, not_stored};

/// The dialect's row.
pub static RESPONSES: Dialect = Dialect {
    name: "responses",
    routes: &[
        Route::new("POST", "/v1/responses", Ask::Read(request::read)).outlined(outline::outline),
        Route::new("POST", "/v1/responses/input_tokens", Ask::Read(request::count)),
        Route::new("GET", "/v1/responses/{id}", Ask::GetStored),
        Route::new("DELETE", "/v1/responses/{id}", Ask::DeleteStored),
        Route::new("GET", "/v1/responses/{id}/input_items", Ask::StoredInput),
        Route::new("POST", "/v1/responses/{id}/cancel", Ask::Refused(NO_BACKGROUND)),
        Route::new("POST", "/v1/responses/compact", Ask::Refused(NO_COMPACTION)),
    ],
    fields: fields::FIELDS,
    error,
    request_id_header: "x-request-id",
    doc: "OpenAI's newer API, which Codex, the Agents SDK and the Vercel AI SDK speak. It is made from \
          chat completions for every upstream but those that speak it as OpenAI does, so that an engine's own \
          incomplete form of it breaks no client. `input_tokens` gives an estimate, as Anthropic's `count_tokens` does.",
};

const NO_BACKGROUND: &str =
    "cutover runs no response in the background, so there is none to cancel";
const NO_COMPACTION: &str = "cutover compacts no conversations";

fn error(fault: &Fault, request_id: &str) -> ErrorAnswer {
    ErrorAnswer {
        status: fault.status(),
        headers: vec![("x-request-id", request_id.to_owned())],
        body: errors::body(fault),
    }
}
