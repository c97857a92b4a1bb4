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
    /// What the upstream called it, where that is a vendor of the OpenAI dialect which refused the request:
    /// clients of that dialect know its words. Records, metrics and other dialects go by [`Self::code`].
    pub vendors: Option<Box<VendorsWords>>,
}

/// A refusal in the vendor's own words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VendorsWords {
    /// Its status, 400 to 499.
    pub status: u16,
    /// Its `type`, if that is a word.
    pub kind: Option<Box<str>>,
    /// Its `code`, if that is a word.
    pub code: Option<Box<str>>,
}

impl Fault {
    /// An error without a field.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), param: None, vendors: None }
    }

    /// An error about one field.
    pub fn of(code: Code, param: impl Into<String>, message: impl Into<String>) -> Self {
        Self { param: Some(param.into()), ..Self::new(code, message) }
    }

    /// The status that a client of the OpenAI dialect sees.
    pub fn status(&self) -> u16 {
        self.vendors.as_ref().map_or_else(|| self.code.status(), |words| words.status)
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
    let vendors = fault.vendors.as_deref();
    let envelope = Envelope {
        error: Inner {
            message: &fault.message,
            kind: vendors.and_then(|words| words.kind.as_deref()).unwrap_or(row.kind),
            param: fault.param.as_deref(),
            code: vendors.and_then(|words| words.code.as_deref()).unwrap_or(row.name),
        },
    };
    Bytes::from(crate::json::to_vec(&envelope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vendors_words_stand_in_place_of_ours_as_far_as_it_has_said_them() {
        let said = |kind: Option<&str>, code: Option<&str>| {
            let words = VendorsWords {
                status: 422,
                kind: kind.map(Into::into),
                code: code.map(Into::into),
            };
            let fault = Fault::of(Code::InvalidRequest, "messages", "no");
            let fault = Fault { vendors: Some(Box::new(words)), ..fault };
            assert_eq!(fault.status(), 422);
            String::from_utf8(body(&fault).to_vec()).unwrap()
        };
        assert_eq!(
            said(Some("image_generation_user_error"), Some("content_policy_violation")),
            r#"{"error":{"message":"no","type":"image_generation_user_error","param":"messages","code":"content_policy_violation"}}"#
        );
        assert_eq!(
            said(None, None),
            r#"{"error":{"message":"no","type":"invalid_request_error","param":"messages","code":"invalid_request"}}"#
        );
    }

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
