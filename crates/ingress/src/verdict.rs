//! The body of `POST /v1/feedback`: what a user says of an answer.
//!
//! ```text
//! {"request_id": "req_..." or "chatcmpl-...", "score": 0.8 | "thumbs": "up" | "down", "comment": "..."}
//! ```
//!
//! The request is named by its `x-request-id` or by its answer's `id`. Whether it exists is not
//! looked up, so that nobody can probe for requests; what names none counts nowhere.
//!
//! Strict: an unknown or repeated field is an error, because a misspelt `score` must not become a
//! missing one.

use cutover_route::ids;
use cutover_units::Code;
use cutover_wire::{Endpoint, Fault};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// What was said. Its comment appears in no log, so there is no `Debug`.
pub struct Verdict {
    /// The rated request.
    pub request_id: String,
    /// In percent.
    pub score: u8,
    /// In the user's words.
    pub comment: Option<String>,
}

impl Verdict {
    /// Reads a body.
    ///
    /// # Errors
    ///
    /// If it is no such object; the fault names the field.
    pub fn read(body: &[u8]) -> Result<Self, Fault> {
        let Members(members) = serde_json::from_slice(body).map_err(|error| {
            if error.is_data() {
                return Fault::new(Code::InvalidType, "the body must be a JSON object");
            }
            let (line, column) = (error.line(), error.column());
            let message = format!("the body is not valid JSON (line {line}, column {column})");
            Fault::new(Code::InvalidJson, message)
        })?;
        let mut fields = Fields::default();
        for (name, value) in members {
            fields.take(&name, value)?;
        }
        fields.check()
    }
}

/// A JSON object's members as they came: a map would hide repeated ones.
struct Members(Vec<(String, Value)>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

#[derive(Default)]
struct Fields {
    request_id: Option<String>,
    score: Option<u8>,
    thumbs: Option<u8>,
    comment: Option<String>,
}

impl Fields {
    fn take(&mut self, name: &str, value: Value) -> Result<(), Fault> {
        match name {
            "request_id" => {
                once("request_id", &mut self.request_id, request_id(&text("request_id", value)?)?)
            }
            "score" => once("score", &mut self.score, score(&value)?),
            "thumbs" => once("thumbs", &mut self.thumbs, thumbs(&text("thumbs", value)?)?),
            // What clients send for a field that they leave empty.
            "comment" if value.is_null() => Ok(()),
            "comment" => once("comment", &mut self.comment, text("comment", value)?),
            other => {
                let shown: String = other.chars().take(100).collect();
                let message = format!(
                    "unknown field '{shown}'; there are request_id, score, thumbs and comment"
                );
                Err(Fault::of(Code::InvalidValue, &shown, message))
            }
        }
    }

    fn check(self) -> Result<Verdict, Fault> {
        let missing = |param, message| Fault::of(Code::MissingField, param, message);
        let request_id = self.request_id.ok_or_else(|| {
            missing("request_id", "request_id is required: the answer's x-request-id or its id")
        })?;
        let score = match (self.score, self.thumbs) {
            (Some(score), None) | (None, Some(score)) => score,
            (None, None) => {
                let message = "give score (0 to 1) or thumbs (\"up\" or \"down\")";
                return Err(missing("score", message));
            }
            (Some(_), Some(_)) => {
                let message = "give score or thumbs, not both";
                return Err(Fault::of(Code::InvalidValue, "thumbs", message));
            }
        };
        Ok(Verdict { request_id, score, comment: self.comment })
    }
}

fn once<T>(name: &str, field: &mut Option<T>, value: T) -> Result<(), Fault> {
    if field.replace(value).is_some() {
        return Err(Fault::of(Code::InvalidValue, name, format!("{name} is there twice")));
    }
    Ok(())
}

fn text(name: &str, value: Value) -> Result<String, Fault> {
    match value {
        Value::String(text) => Ok(text),
        _ => Err(Fault::of(Code::InvalidType, name, format!("{name} must be a string"))),
    }
}

/// The request's own id, from that or from its answer's.
fn request_id(text: &str) -> Result<String, Fault> {
    let prefixes = Endpoint::ALL.iter().map(|endpoint| endpoint.id_prefix());
    prefixes
        .chain([ids::REQUEST_PREFIX, "msg_", "resp_"])
        .find_map(|prefix| text.strip_prefix(prefix).filter(|digits| ids::are_digits(digits)))
        .map(|digits| [ids::REQUEST_PREFIX, digits].concat())
        .ok_or_else(|| {
            let message = "request_id must be an answer's x-request-id (req_...), or its id where \
                           the answer is a use case's";
            Fault::of(Code::InvalidValue, "request_id", message)
        })
}

fn score(value: &Value) -> Result<u8, Fault> {
    let Some(number) = value.as_f64() else {
        return Err(Fault::of(Code::InvalidType, "score", "score must be a number from 0 to 1"));
    };
    if !(0.0..=1.0).contains(&number) {
        return Err(Fault::of(Code::InvalidValue, "score", "score must be from 0 to 1"));
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "from 0 to 100 by the check above"
    )]
    let percent = (number * 100.0).round() as u8;
    Ok(percent)
}

fn thumbs(word: &str) -> Result<u8, Fault> {
    match word {
        "up" => Ok(100),
        "down" => Ok(0),
        _ => {
            let message = "thumbs must be \"up\" or \"down\"";
            Err(Fault::of(Code::InvalidValue, "thumbs", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DIGITS: &str = "0123456789abcdef0123456789abcdef";

    type Read = Result<(String, u8, Option<String>), (Code, Option<String>)>;

    fn read(fields: &str) -> Read {
        let body = format!("{{{}}}", fields.replace("ID", &format!("\"req_{DIGITS}\"")));
        Verdict::read(body.as_bytes())
            .map(|said| (said.request_id, said.score, said.comment))
            .map_err(|fault| (fault.code, fault.param))
    }

    #[test]
    fn a_verdict_is_a_score_or_a_thumb() {
        let score = |fields: &str| read(fields).map(|said| said.1);
        assert_eq!(score("\"request_id\":ID,\"score\":0.55"), Ok(55));
        assert_eq!(score("\"request_id\":ID,\"score\":1"), Ok(100));
        assert_eq!(score("\"request_id\":ID,\"thumbs\":\"up\""), Ok(100));
        assert_eq!(score("\"thumbs\":\"down\",\"request_id\":ID,\"comment\":null"), Ok(0));
        let comment = read("\"request_id\":ID,\"score\":0,\"comment\":\"née\"").map(|said| said.2);
        assert_eq!(comment, Ok(Some("née".to_owned())));
    }

    #[test]
    fn an_answers_id_names_its_request() {
        let id =
            |text: &str| read(&format!("\"request_id\":\"{text}\",\"score\":1")).map(|said| said.0);
        for prefix in ["req_", "chatcmpl-", "cmpl-", "embd-", "msg_", "resp_"] {
            assert_eq!(id(&format!("{prefix}{DIGITS}")), Ok(format!("req_{DIGITS}")));
        }
        let refused = Err((Code::InvalidValue, Some("request_id".to_owned())));
        for other in ["", "req_", "chatcmpl-BxYz123", DIGITS, &format!("req_{DIGITS}0")] {
            assert_eq!(id(other), refused, "{other}");
        }
    }

    #[test]
    fn each_fault_names_its_field() {
        for (fields, code, param) in [
            ("", Code::MissingField, Some("request_id")),
            ("\"request_id\":ID", Code::MissingField, Some("score")),
            ("\"request_id\":7,\"score\":1", Code::InvalidType, Some("request_id")),
            ("\"request_id\":ID,\"score\":\"1\"", Code::InvalidType, Some("score")),
            ("\"request_id\":ID,\"score\":1.01", Code::InvalidValue, Some("score")),
            ("\"request_id\":ID,\"score\":-1", Code::InvalidValue, Some("score")),
            ("\"request_id\":ID,\"thumbs\":\"sideways\"", Code::InvalidValue, Some("thumbs")),
            ("\"request_id\":ID,\"thumbs\":true", Code::InvalidType, Some("thumbs")),
            ("\"request_id\":ID,\"score\":1,\"thumbs\":\"up\"", Code::InvalidValue, Some("thumbs")),
            ("\"request_id\":ID,\"score\":1,\"score\":0", Code::InvalidValue, Some("score")),
            ("\"request_id\":ID,\"scor\":1", Code::InvalidValue, Some("scor")),
            ("\"request_id\":ID,\"score\":1,\"comment\":[]", Code::InvalidType, Some("comment")),
            ("\"request_id\":", Code::InvalidJson, None),
        ] {
            assert_eq!(read(fields), Err((code, param.map(str::to_owned))), "{fields}");
        }
        let not_an_object = Verdict::read(b"[]").err().map(|fault| fault.code);
        assert_eq!(not_an_object, Some(Code::InvalidType));
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let _ = Verdict::read(&bytes);
        }
    }
}
