//! Errors of Google's APIs.

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::{Fault, errors};
use serde_json::Value;

/// An error answer in the OpenAI dialect.
pub struct Told {
    /// Its status.
    pub status: u16,
    /// Its body.
    pub body: Bytes,
    /// How long to wait before the next try, in milliseconds.
    pub retry_after_ms: Option<u64>,
}

/// Turns an error answer into the OpenAI dialect's.
pub fn error(status: u16, body: &[u8]) -> Told {
    let value: Value = serde_json::from_slice(body).unwrap_or_default();
    let fault = fault_of(&value, status);
    // A wrong key comes with status 400 and must be known for what it is.
    let status = if fault.code == Code::InvalidApiKey { 401 } else { status };
    Told { status, body: errors::body(&fault), retry_after_ms: retry_after(inner(&value)) }
}

/// The error itself: some of Google's endpoints put it into an array.
fn inner(value: &Value) -> &Value {
    let envelope = value.get(0).unwrap_or(value);
    envelope.get("error").unwrap_or(&Value::Null)
}

fn details(error: &Value) -> impl Iterator<Item = &Value> {
    error.get("details").and_then(Value::as_array).into_iter().flatten()
}

/// `RetryInfo.retryDelay`, such as `34s` or `0.5s`.
fn retry_after(error: &Value) -> Option<u64> {
    let delay = details(error).find_map(|detail| detail.get("retryDelay")?.as_str())?;
    let seconds: f64 = delay.strip_suffix('s')?.parse().ok()?;
    let fits = seconds.is_finite() && (0.0..=86_400.0).contains(&seconds);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and a day"
    )]
    fits.then(|| (seconds * 1_000.0).ceil() as u64)
}

/// The fault that an error envelope tells.
pub(super) fn fault_of(value: &Value, status: u16) -> Fault {
    let error = inner(value);
    let text = |key: &str| error.get(key).and_then(Value::as_str).unwrap_or_default();
    let reason = |word: &str| details(error).any(|detail| detail["reason"] == word);
    let message = match text("message") {
        "" => "the upstream failed",
        message => message,
    };
    let long = message.contains("exceeds the maximum number of tokens");
    let code = match (text("status"), status) {
        ("INVALID_ARGUMENT", _) if reason("API_KEY_INVALID") => Code::InvalidApiKey,
        ("INVALID_ARGUMENT", _) if long => Code::ContextLengthExceeded,
        ("INVALID_ARGUMENT" | "FAILED_PRECONDITION" | "OUT_OF_RANGE", _) => Code::InvalidRequest,
        ("UNAUTHENTICATED", _) | ("", 401) => Code::InvalidApiKey,
        ("PERMISSION_DENIED", _) | ("", 403) => Code::PermissionDenied,
        ("NOT_FOUND", _) | ("", 404) => Code::ModelNotFound,
        ("ABORTED", _) | (_, 409) => Code::UpstreamConflict,
        ("RESOURCE_EXHAUSTED", _) | (_, 429) => Code::RateLimitExceeded,
        ("UNAVAILABLE", _) | (_, 503) => Code::Overloaded,
        ("DEADLINE_EXCEEDED", _) | (_, 504) => Code::UpstreamTimeout,
        (_, 400..=499) => Code::InvalidRequest,
        _ => Code::BadGateway,
    };
    Fault::new(code, message)
}

/// The error that an event, or an answer whose status is 200, tells, if it is one. It has a status of its own.
pub(super) fn error_in(text: &str) -> Option<Fault> {
    if !text.contains("\"error\"") {
        return None;
    }
    let value: Value = serde_json::from_str(text).ok()?;
    let error = value.get(0).unwrap_or(&value).get("error")?;
    let status = error["code"].as_u64().and_then(|code| u16::try_from(code).ok()).unwrap_or(500);
    Some(fault_of(&value, status))
}
