//! Tool calls that a model says in its text.
//!
//! Ollama finds a model's calls by its template; some models write theirs as plain JSON all the same, and
//! the client gets a text that its program cannot use. It is taken as a call only if it cannot be meant
//! otherwise: tools were declared, no form of answer was asked for, and the whole text is one object that
//! begins with the name of a declared tool and has its arguments as an object, and nothing else:
//!
//! ```text
//! {"name": "get_weather", "arguments": {"city": "Paris"}}
//! ```
//!
//! `parameters` is read as `arguments`. In a stream text is held back only as long as it may become such a
//! call, which other texts show within their first characters.

use serde::Deserialize;
use serde_json::value::RawValue;

/// The longest text that is held back.
const HELD_BYTES_MAX: usize = 64 << 10;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire<'a> {
    name: String,
    #[serde(borrow, alias = "parameters")]
    arguments: &'a RawValue,
}

/// A call.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Spoken {
    pub(crate) name: String,
    /// JSON text of an object.
    pub(crate) arguments: String,
}

/// Whether a text may yet become a call of one of these tools.
pub(super) fn may_become(text: &str, tools: &[String]) -> bool {
    if text.len() > HELD_BYTES_MAX {
        return false;
    }
    tools.iter().any(|tool| {
        let mut wanted = "{\"name\":\"".chars().chain(tool.chars()).chain("\",".chars());
        let mut said = text.chars().filter(|c| !c.is_whitespace());
        loop {
            match (wanted.next(), said.next()) {
                (Some(want), Some(have)) if want == have => {}
                (None, _) | (_, None) => return true,
                _ => return false,
            }
        }
    })
}

/// The call that a whole text is, if it is one.
pub(crate) fn call(text: &str, tools: &[String]) -> Option<Spoken> {
    if !text.trim_start().starts_with('{') || !may_become(text, tools) {
        return None;
    }
    let wire: Wire<'_> = serde_json::from_str(text).ok()?;
    let is_call = tools.contains(&wire.name) && wire.arguments.get().starts_with('{');
    is_call.then(|| Spoken { name: wire.name, arguments: wire.arguments.get().to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tools() -> Vec<String> {
        vec!["get_weather".to_owned(), "get".to_owned()]
    }

    #[test]
    fn only_the_exact_form_is_a_call() {
        let spoken =
            call(" {\"name\": \"get_weather\", \"arguments\": {\"city\": \"Paris\"}}\n", &tools());
        let arguments = r#"{"city": "Paris"}"#.to_owned();
        assert_eq!(spoken, Some(Spoken { name: "get_weather".to_owned(), arguments }));
        assert!(call(r#"{"name":"get","parameters":{}}"#, &tools()).is_some());
        for text in [
            "",
            "{}",
            r#"{"name":"other","arguments":{}}"#,
            r#"{"name":"get","arguments":"x"}"#,
            r#"{"name":"get","arguments":{},"note":1}"#,
            r#"{"name":"get","arguments":{}} and more"#,
            r#"I call {"name":"get","arguments":{}}"#,
            r#"[{"name":"get","arguments":{}}]"#,
            r#"{"name":"get"}"#,
        ] {
            assert_eq!(call(text, &tools()), None, "{text}");
        }
        assert_eq!(call(r#"{"name":"get","arguments":{}}"#, &[]), None);
    }

    #[test]
    fn other_texts_are_not_held_back() {
        for text in ["", " ", "{", "{ \"na", "{\"name\": \"get_w", "{\"name\":\"get\",\"x"] {
            assert!(may_become(text, &tools()), "{text}");
        }
        for text in ["H", "{\"a", "{\"name\":\"Bob", "[", "{\"name\":\"get\"}"] {
            assert!(!may_become(text, &tools()), "{text}");
        }
        assert!(!may_become("", &[]));
        let long = format!("{{\"name\":\"get\",{}", " ".repeat(HELD_BYTES_MAX));
        assert!(!may_become(&long, &tools()));
    }
}
