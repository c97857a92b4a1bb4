//! Anthropic's Messages API, for clients that speak it: `POST /v1/messages`, token counts (estimates),
//! and the list of models in its shape.

mod answer;
mod content;
mod events;
mod fields;
mod outline;
mod request;

use cutover_units::{Code, Millis, Utc};
use cutover_wire::Fault;
use cutover_wire::openai::models::Model;

use crate::answer::{Answer, ErrorAnswer};
use crate::table::{Ask, Dialect, Route};
use crate::write;

pub(crate) use answer::reply;
pub(crate) use events::Events;

/// The dialect's row.
pub static ANTHROPIC: Dialect = Dialect {
    name: "anthropic",
    routes: &[
        Route::new("POST", "/v1/messages", Ask::Read(request::read)).outlined(outline::outline),
        Route::new("POST", "/v1/messages/count_tokens", Ask::Read(request::count)),
        Route::new("POST", "/v1/messages/batches", Ask::Refused(NO_BATCHES)),
        Route::new("GET", "/v1/messages/batches*", Ask::Refused(NO_BATCHES)),
    ],
    fields: fields::FIELDS,
    error,
    request_id_header: "request-id",
    doc: "The API of Anthropic's SDKs and of Claude Code. `count_tokens` gives an estimate (a quarter \
          of the bytes) and says so in the header `x-cutover-estimated`. Requests are recognised by \
          their path; `GET /v1/models` answers in this dialect's shape if the header \
          `anthropic-version` is there. An upstream of provider `anthropic` gets requests as their clients \
          wrote them; the table is of all others.",
};

const NO_BATCHES: &str = "cutover runs no batches";

/// The error's type in this dialect, and its status.
fn kind(code: Code) -> (&'static str, u16) {
    let status = code.status();
    match (code, status) {
        (Code::InsufficientQuota, _) => ("billing_error", 402),
        (Code::Overloaded | Code::ShuttingDown | Code::BodiesFull, _) => ("overloaded_error", 529),
        (_, 401) => ("authentication_error", status),
        (_, 403) => ("permission_error", status),
        (_, 404 | 405) => ("not_found_error", status),
        (_, 408 | 504) => ("timeout_error", status),
        (_, 413) => ("request_too_large", status),
        (_, 429) => ("rate_limit_error", status),
        (Code::UpstreamConflict, _) => ("api_error", status),
        (_, 400..=499 | 501) => ("invalid_request_error", status),
        _ => ("api_error", status),
    }
}

/// The error's envelope. The message begins with the field that is wrong, as this dialect has no other
/// place for it.
fn envelope(fault: &Fault, request_id: Option<&str>) -> String {
    let named = fault.param.as_deref().filter(|param| !fault.message.contains(param));
    let message =
        named.map_or_else(|| fault.message.clone(), |p| format!("{p}: {}", fault.message));
    write::object(|j| {
        j.put("type", "error");
        j.put_object("error", |j| {
            j.put("type", kind(fault.code).0);
            j.put("message", &message);
        });
        if let Some(id) = request_id {
            j.put("request_id", id);
        }
    })
}

fn error(fault: &Fault, request_id: &str) -> ErrorAnswer {
    ErrorAnswer {
        status: kind(fault.code).1,
        headers: vec![("request-id", request_id.to_owned())],
        body: envelope(fault, Some(request_id)).into(),
    }
}

fn model_info(model: &Model) -> String {
    write::object(|j| {
        j.put("type", "model");
        j.put("id", &model.id);
        j.put("display_name", &model.id);
        let created = Millis(model.created.saturating_mul(1_000));
        j.put("created_at", &Utc::at(created).rfc3339());
        j.put("lifecycle", "active");
    })
}

/// `GET /v1/models` for a client that sends `anthropic-version`. All models are on one page.
pub fn models(models: &[Model]) -> Answer {
    let id = |model: Option<&Model>| {
        model.map_or_else(|| "null".to_owned(), |m| serde_json::Value::from(&*m.id).to_string())
    };
    Answer::json(write::object(|j| {
        j.put_array("data", |j| models.iter().for_each(|m| j.raw(&model_info(m))));
        j.put_flag("has_more", false);
        j.put_raw("first_id", Some(&id(models.first())));
        j.put_raw("last_id", Some(&id(models.last())));
    }))
}

/// `GET /v1/models/{id}` in the same shape.
pub fn model(model: &Model) -> Answer {
    Answer::json(model_info(model))
}
