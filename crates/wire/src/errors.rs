//! Errors a client can see, in the OpenAI dialect's shape.

use std::fmt;

use bytes::Bytes;
use cutover_units::Code;
use serde::Serialize;

/// An error that may be shown to the client that caused or met it.
///
/// The message may quote the client's own field names, never prompt text, and nothing of another
/// party (addresses, keys).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The row of the error table: status, type, who is to blame, whether a retry helps.
    pub code: Code,
    /// One or two sentences for a person.
    pub message: String,
    /// The field that is wrong, such as `messages[0].content`.
    pub param: Option<String>,
}

impl Fault {
    /// An error without a field.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None }
    }

    /// An error about one field.
    pub fn of(code: Code, param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: Some(param.into()) }
    }

    /// A field with the wrong type.
    pub(crate) fn wrong_type(param: &str, expected: &str) -> Self {
        Self::of(Code::InvalidType, param, format!("'{param}' must be {expected}"))
    }

    /// A field that must be there.
    pub(crate) fn missing(param: &str) -> Self {
        Self::of(Code::MissingField, param, format!("'{param}' is required"))
    }

    /// A field that the target cannot act on.
    pub(crate) fn unsupported(param: &str, why: &str) -> Self {
        Self::of(
            Code::UnsupportedParameter,
            param,
            format!("'{param}' is not supported by the target of this request: {why}"),
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code.name(), self.message)
    }
}

impl std::error::Error for Fault {}

#[derive(Serialize)]
struct Envelope<'a> {
    error: Inner<'a>,
}

/// All four keys, always: the official SDKs' error classes read them.
#[derive(Serialize)]
struct Inner<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

/// The error's JSON body: `{"error":{"message","type","param","code"}}`.
pub fn body(fault: &Fault) -> Bytes {
    let row = fault.code.row();
    let envelope = Envelope {
        error: Inner {
            message: &fault.message,
            kind: row.kind,
            param: fault.param.as_deref(),
            code: row.name,
        },
    };
    Bytes::from(crate::json::to_vec(&envelope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_body_has_all_four_keys_and_a_string_code() {
        let plain = body(&Fault::new(Code::Overloaded, "busy \"now\""));
        assert_eq!(
            plain,
            r#"{"error":{"message":"busy \"now\"","type":"server_error","param":null,"code":"server_is_overloaded"}}"#
        );
        let with_param = body(&Fault::wrong_type("stream", "a boolean"));
        assert_eq!(
            with_param,
            r#"{"error":{"message":"'stream' must be a boolean","type":"invalid_request_error","param":"stream","code":"invalid_type"}}"#
        );
    }
}
