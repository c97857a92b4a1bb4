//! Signatures of calls: what Gemini wants back with a call that it made.
//!
//! In the OpenAI dialect they stand where Google's own compatible endpoint puts them, in
//! `tool_calls[].extra_content`. The other dialects' calls have no room for them, and their clients
//! keep nothing they do not know; but every client gives a call's id back as it got it. So there the
//! signature is the end of the id: `call_1` becomes `call_1_gts_AbC...`, and is taken off again before
//! any upstream sees it.

use std::borrow::Cow;

use crate::read::{At, Obj, Text};
use crate::write::Json;

/// What stands between an id and a signature.
pub use cutover_wire::own::SEPARATOR;

/// A call's signature, of a chat completions message.
pub fn of_call(call: &Obj<'_>) -> Option<String> {
    let at = At::Root;
    let extra = call.object(at, "extra_content").ok().flatten()?;
    let google = extra.object(at, "google").ok().flatten()?;
    let text = google.text(at, "thought_signature").ok().flatten()?;
    Some(text.decode().into_owned()).filter(|text| !text.is_empty())
}

/// Writes a call's signature beside its function.
pub fn write(json: &mut Json, signature: &str) {
    json.put_object("extra_content", |j| {
        j.put_object("google", |j| j.put("thought_signature", signature));
    });
}

/// An id with its signature, in the letters that ids of all dialects may have.
pub fn join(id: &str, signature: &str) -> String {
    let safe = |c: char| match c {
        '+' => '-',
        '/' => '_',
        other => other,
    };
    let plain = signature.trim_end_matches('=');
    let fits = plain.bytes().all(|b| b.is_ascii_alphanumeric() || b"+/-_".contains(&b));
    if !fits {
        return id.to_owned();
    }
    format!("{id}{SEPARATOR}{}", plain.chars().map(safe).collect::<String>())
}

/// An id without its signature, and the signature.
pub fn split<'t>(id: &'t Text<'_>) -> (Cow<'t, str>, Option<String>) {
    let whole = id.decode();
    let Some(at) = whole.find(SEPARATOR) else { return (whole, None) };
    let signature = whole.get(at + SEPARATOR.len()..).unwrap_or_default();
    let standard = |c: char| match c {
        '-' => '+',
        '_' => '/',
        other => other,
    };
    let mut text: String = signature.chars().map(standard).collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    let own = whole.get(..at).unwrap_or_default().to_owned();
    (Cow::Owned(own), Some(text).filter(|text| !text.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_carries_a_signature_there_and_back() {
        for signature in ["AbC+/w==", "AAAA", "a+/b"] {
            let id = join("call_1", signature);
            assert!(id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b)), "{id}");
            let text = Text::from(&*id);
            assert_eq!(split(&text), ("call_1".into(), Some(signature.to_owned())));
        }
        assert_eq!(join("call_1", "no base 64"), "call_1");
        assert_eq!(split(&Text::from("call_1")), ("call_1".into(), None));
        assert_eq!(split(&Text::from("call_1_gts_")), ("call_1".into(), None));
    }
}
