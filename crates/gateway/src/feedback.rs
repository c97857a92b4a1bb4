//! `POST /v1/feedback`: what a user says of an answer.
//! Whether the request exists is not looked up here. Comments appear in no log.

use std::sync::Arc;

use cutover_ingress::Verdict;
use cutover_server::BodyLimits;
use cutover_store::Feedback;
use cutover_telemetry::families;
use cutover_units::{Code, Millis};
use cutover_wire::Fault;
use http::{Response, StatusCode};

use crate::body::{Out, json};
use crate::gateway::Shared;

/// Largest body, in bytes: a long comment, several times over.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// What such a body may take.
pub(crate) fn limits(of_all: &BodyLimits) -> BodyLimits {
    BodyLimits { bytes_max: BODY_BYTES_MAX, ..of_all.clone() }
}

/// Takes a user's verdict. It is accepted when it waits to be written.
pub(crate) fn take(
    shared: &Shared,
    (at, key_name): (Millis, Option<Arc<str>>),
    body: &[u8],
) -> Result<Response<Out>, Fault> {
    let Some(sink) = &shared.feedback else {
        return Err(Fault::new(Code::NotSupported, "feedback is not kept here"));
    };
    let Verdict { request_id, score, comment } = Verdict::read(body)?;
    let answer = serde_json::json!({ "object": "feedback", "request_id": request_id });
    let taken = sink.try_push(Feedback { request_id, at, key_name, score, comment });
    let result = if taken { "accepted" } else { "queue_full" };
    shared.registry.counter(families::FEEDBACK, [result]).inc();
    if !taken {
        let message = "too much feedback waits to be written; send it again later";
        return Err(Fault::new(Code::FeedbackBusy, message));
    }
    let mut response = json(answer.to_string());
    *response.status_mut() = StatusCode::ACCEPTED;
    Ok(response)
}
