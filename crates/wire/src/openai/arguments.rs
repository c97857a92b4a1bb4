//! Arguments of calls, which chat completions has as a text, for APIs that have them as an object.

use serde::de::IgnoredAny;

use crate::json;

/// The object that a text holds, as it stands; an empty one for no text.
pub fn object(text: &str) -> Option<&str> {
    let text = text.trim();
    if text.is_empty() {
        return Some("{}");
    }
    let valid = text.starts_with('{') && serde_json::from_str::<IgnoredAny>(text).is_ok();
    valid.then_some(text)
}

/// An object that holds a text which is none. A model wrote it once, and no client can mend that.
pub fn wrapped(text: &str) -> String {
    format!("{{\"arguments\":{}}}", json::string(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_object_becomes_a_text_in_one() {
        assert_eq!(object(" {\"a\": 1} "), Some("{\"a\": 1}"));
        assert_eq!(object(" "), Some("{}"));
        for text in ["{\"city\": \"Bonn\"", "[1]", "\"a\"", "null", "Bonn"] {
            assert_eq!(object(text), None);
            assert_eq!(object(&wrapped(text)), Some(&*wrapped(text)));
        }
    }
}
