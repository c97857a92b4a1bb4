//! Small tools on raw JSON text: where a value lies in its text, how deep it nests, which field an
//! error is about.

use std::fmt::{self, Write as _};
use std::ops::Range;

use cutover_units::Code;
use serde::de::{DeserializeOwned, DeserializeSeed, MapAccess, Visitor};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::errors::Fault;

pub use cutover_json::{DEPTH_MAX, Scan, cut, inside, sound_members, text, too_deep, walk};

/// Serialises into bytes. Our own types cannot fail to serialise (string keys only, no custom errors);
/// if one did, the answer would be `null` rather than a panic.
pub(crate) fn to_vec<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    serde_json::to_vec(value).unwrap_or_else(|_| b"null".to_vec())
}

/// A JSON string literal with its quotes.
#[expect(clippy::needless_bitwise_bool, reason = "a lazy operator would end in the middle")]
pub(crate) fn string(text: &str) -> String {
    // Without an end in the middle, so that many bytes are looked at at once.
    let plain = |byte: u8| (byte >= b' ') & (byte != b'"') & (byte != b'\\');
    if text.bytes().fold(true, |all, byte| all & plain(byte)) {
        // Names and ids: nothing to escape.
        let mut literal = String::with_capacity(text.len() + 2);
        literal.push('"');
        literal.push_str(text);
        literal.push('"');
        return literal;
    }
    serde_json::to_string(text).unwrap_or_else(|_| "\"\"".to_owned())
}

/// Where a borrowed part lies within the whole. The part must be a slice of the whole.
pub(crate) fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// Parses a typed value out of a part of the request; an error names the field.
///
/// `path` is where `text` lies in the body (empty for the whole body).
pub(crate) fn typed<T: DeserializeOwned>(text: &str, path: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|e| fault_of(text, path, &e))
}

/// [`typed`] for values that borrow from the text.
pub(crate) fn typed_borrowed<'a, T: Deserialize<'a>>(
    text: &'a str,
    path: &str,
) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|e| fault_of(text, path, &e))
}

/// A type by the word that people outside this program have for it.
fn in_words(expected: &str) -> &str {
    match expected {
        "i8" | "i16" | "i32" | "i64" | "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number",
        "f32" | "f64" => "a number",
        other => other,
    }
}

/// Turns a parse error into an error about a field, without quoting the client's values: they may be
/// prompt text, and errors are logged.
pub(crate) fn fault_of(text: &str, path: &str, error: &serde_json::Error) -> Fault {
    if !error.is_data() && !path.is_empty() {
        // The whole was valid: this is a number that its type cannot hold, such as 1e999.
        return Fault::of(Code::InvalidValue, path, format!("'{path}' is out of range"));
    }
    if !error.is_data() {
        return Fault::new(
            Code::InvalidJson,
            format!(
                "the body is not valid JSON (line {}, column {})",
                error.line(),
                error.column()
            ),
        );
    }
    let offset = offset_of(text, error.line(), error.column());
    let mut param = path.to_owned();
    locate(text, offset, &mut param);
    let words = error.to_string();
    if let Some(name) = quoted_after(&words, "missing field `") {
        join(&mut param, name);
        return Fault::missing(&param);
    }
    if let Some(name) = quoted_after(&words, "duplicate field `") {
        join(&mut param, name);
        return repeated(&param);
    }
    let expected = words.rsplit_once(", expected ").map(|(_, e)| e);
    let expected = expected.map_or("another type", |e| e.split(" at line ").next().unwrap_or(e));
    let expected = in_words(expected);
    if words.starts_with("invalid type") {
        return Fault::wrong_type(&param, expected);
    }
    Fault::of(Code::InvalidValue, param.clone(), format!("'{param}' must be {expected}"))
}

pub(crate) fn repeated(param: &str) -> Fault {
    // Engines differ in which of two they take; a policy that judged the other would be deceived.
    Fault::of(Code::InvalidValue, param, format!("'{param}' is given more than once"))
}

fn quoted_after<'a>(words: &'a str, prefix: &str) -> Option<&'a str> {
    words.split_once(prefix).and_then(|(_, rest)| rest.split_once('`')).map(|(name, _)| name)
}

fn offset_of(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column).saturating_sub(1).min(text.len())
}

fn join(path: &mut String, name: &str) {
    if !path.is_empty() {
        path.push('.');
    }
    path.push_str(name);
}

/// Appends to `path` the members and elements in whose text `offset` lies.
fn locate(text: &str, offset: usize, path: &mut String) {
    let lead = text.len() - text.trim_start().len();
    match text.as_bytes().get(lead) {
        Some(b'{') => {
            let mut found = None;
            let _ = members(text, |key, raw| {
                let range = range_in(text, raw.get());
                if found.is_none() && range.contains(&offset) {
                    found = Some((key.to_owned(), range));
                }
            });
            if let Some((key, range)) = found {
                join(path, &key);
                locate(&text[range.clone()], offset - range.start, path);
            }
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
            let hit = items.iter().map(|raw| range_in(text, raw.get())).enumerate();
            let hit = hit.into_iter().find(|(_, r)| r.contains(&offset));
            if let Some((index, range)) = hit {
                let _ = write!(path, "[{index}]");
                locate(&text[range.clone()], offset - range.start, path);
            }
        }
        _ => {}
    }
}

/// Calls `each` for every member of a JSON object, in order, with its decoded key and raw value.
pub(crate) fn members<'a, F>(text: &'a str, each: F) -> Result<(), serde_json::Error>
where
    F: FnMut(&str, &'a RawValue),
{
    let mut reader = serde_json::Deserializer::from_str(text);
    serde::Deserializer::deserialize_map(&mut reader, Members(each))?;
    reader.end()
}

struct Members<F>(F);

impl<'de, F> Visitor<'de> for Members<F>
where
    F: FnMut(&str, &'de RawValue),
{
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            (self.0)(&key, map.next_value()?);
        }
        Ok(())
    }
}

/// Reads a key by passing its text to a function: a plain key is borrowed, an escaped one decoded.
pub(crate) struct KeySeed<T>(pub(crate) fn(&str) -> T);

impl<'de, T> DeserializeSeed<'de> for KeySeed<T> {
    type Value = T;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T> Visitor<'_> for KeySeed<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, text: &str) -> Result<T, E> {
        Ok((self.0)(text))
    }
}

/// Skips JSON whitespace from `at`.
pub(crate) fn skip_space(text: &[u8], mut at: usize) -> usize {
    while matches!(text.get(at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_type_error_names_the_field_and_never_quotes_the_value() {
        #[derive(serde::Deserialize, Debug)]
        #[expect(dead_code, reason = "only its errors are of interest")]
        struct Inner {
            a: u64,
        }
        #[derive(serde::Deserialize, Debug)]
        #[expect(dead_code, reason = "only its errors are of interest")]
        struct Outer {
            list: Vec<Inner>,
        }
        let check = |text: &str| typed::<Outer>(text, "").unwrap_err();
        let fault = check(r#"{"list":[{"a":1},{"a":"a secret"}]}"#);
        assert_eq!(fault.param.as_deref(), Some("list[1].a"));
        assert_eq!(fault.message, "'list[1].a' must be a whole number");
        assert_eq!(check("{\"list\":\n [{ }]}").param.as_deref(), Some("list[0].a"));
        assert_eq!(check("{}").param.as_deref(), Some("list"));
        assert_eq!(check("{}").code, Code::MissingField);
        assert_eq!(check("{").code, Code::InvalidJson);
        let large = typed::<f64>("1e999", "temperature").unwrap_err();
        assert_eq!((large.code, large.param.as_deref()), (Code::InvalidValue, Some("temperature")));
    }

    proptest! {
        #[test]
        fn no_text_makes_the_tools_panic(text in ".{0,60}") {
            let _ = typed::<Vec<u64>>(&text, "x");
            let _ = typed::<std::collections::BTreeMap<String, Vec<u8>>>(&text, "");
        }
    }
}
