//! Ids of calls as Anthropic takes them: letters, digits, `_` and `-`. Other engines make others
//! (`functions.f:0`), and a conversation that has moved keeps them.

use std::borrow::Cow;
use std::fmt::Write as _;

use memchr::memmem;

use crate::read::Text;
use crate::split;

fn fits(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-')
}

/// An id that Anthropic takes: this one, or one that is always the same for it, so that a call and its result still
/// find each other and a cached prefix stays one.
pub(super) fn taken(id: &str) -> Cow<'_, str> {
    if id.chars().all(fits) {
        return Cow::Borrowed(id);
    }
    let mut text = String::with_capacity(id.len() + 8);
    for letter in id.chars() {
        if fits(letter) {
            text.push(letter);
        } else {
            let _infallible = write!(text, "_{:x}_", u32::from(letter));
        }
    }
    Cow::Owned(text)
}

/// Whether a Messages request holds ids of calls that Anthropic refuses: it must then be converted.
pub fn holds_refused(body: &[u8]) -> bool {
    if memmem::find(body, b"\"tool_").is_none() {
        return false;
    }
    let text = std::str::from_utf8(body).unwrap_or_default().trim_ascii();
    let blocks = list(text, "\"messages\"").flat_map(|turn| list(turn, "\"content\""));
    blocks.into_iter().any(|block| {
        let name = match member(block, "\"type\"") {
            Some("\"tool_use\"") => "\"id\"",
            Some("\"tool_result\"") => "\"tool_use_id\"",
            _ => return false,
        };
        let id = member(block, name).and_then(|raw| Text::read(raw, crate::read::At::Root).ok());
        id.is_some_and(|id| id.is_empty() || !id.decode().chars().all(fits))
    })
}

fn member<'a>(object: &'a str, key: &str) -> Option<&'a str> {
    split::members(object)?.find(|(name, _)| *name == key).map(|(_, raw)| raw)
}

fn list<'a>(object: &'a str, key: &str) -> impl Iterator<Item = &'a str> + use<'a> {
    member(object, key).and_then(split::elements).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_id_of_another_engines_becomes_one_that_is_taken() {
        assert_eq!(taken("toolu_01-A"), "toolu_01-A");
        assert_eq!(taken("functions.f:0"), "functions_2e_f_3a_0");
        assert_ne!(taken("call.1/2"), taken("call/1.2"));
    }

    #[test]
    fn a_conversation_with_such_ids_is_told() {
        let told = |block: &str| {
            let body = format!(
                r#" {{"model":"m","messages":[{{"role":"user","content":"a"}},{{"role":"assistant","content":[{block}]}}]}}"#
            );
            holds_refused(body.as_bytes())
        };
        assert!(told(r#"{"type":"tool_use","id":"functions.f:0","name":"f","input":{}}"#));
        assert!(told(r#"{"type":"tool_result","content":"a","tool_use_id":""}"#));
        assert!(!told(r#"{"type":"tool_use","id":"call_1","name":"f","input":{"id":"a.b"}}"#));
        assert!(!told(r#"{"type":"text","text":"\"tool_use\" a.b","id":"a.b"}"#));
    }

    proptest! {
        #[test]
        fn no_id_stays_one_that_is_refused(id in ".{1,30}") {
            prop_assert!(taken(&id).chars().all(fits));
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..80)) {
            holds_refused(&body);
            holds_refused(&[b"{\"messages\":[{\"content\":[{\"tool_", &body[..]].concat());
        }
    }
}
