//! The engine's refusals as client-visible errors.

use cutover_units::Code;
use cutover_wire::{Endpoint, Fault};

use crate::RequestError;

/// The fault for a refusal, with the field named as this endpoint's clients know it.
pub(super) fn of(error: RequestError, endpoint: Endpoint) -> Fault {
    match error {
        RequestError::Invalid { field, message } => {
            let param = match field {
                "schema" => "response_format",
                "messages" | "prompt" | "input" => endpoint.prompt_field(),
                other => other,
            };
            Fault::of(Code::InvalidValue, param, message)
        }
        RequestError::ContextLength { prompt_tokens, context_tokens } => Fault::of(
            Code::ContextLengthExceeded,
            endpoint.prompt_field(),
            format!(
                "This model's maximum context length is {context_tokens} tokens. However, your \
                 request has {prompt_tokens} tokens of input. Please shorten it."
            ),
        ),
        error @ RequestError::Overloaded { .. } => Fault::new(Code::Overloaded, error.to_string()),
        error @ RequestError::Failed => Fault::new(Code::Internal, error.to_string()),
        error @ RequestError::Stopped => Fault::new(Code::ShuttingDown, error.to_string()),
    }
}

/// A field that this engine cannot act on.
pub(super) fn unsupported(param: impl Into<String>, why: &str) -> Fault {
    let param = param.into();
    let message = format!("'{param}' is not supported by the embedded engine: {why}");
    Fault::of(Code::UnsupportedParameter, param, message)
}

/// A field with a value that cannot be used.
pub(super) fn invalid(param: &str, message: impl Into<String>) -> Fault {
    Fault::of(Code::InvalidValue, param, message)
}
