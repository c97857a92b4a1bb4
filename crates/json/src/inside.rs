//! What stands between a string's quotes.

use memchr::memmem::find;
use memchr::{memchr, memchr2};

/// What may stand behind a backslash, but for an escape by its number.
pub(crate) const IS_ESCAPED: [bool; 256] = {
    let (mut is, letters, mut at) = ([false; 256], b"\"\\/bfnrt", 0);
    while at < letters.len() {
        is[letters[at] as usize] = true;
        at += 1;
    }
    is
};

/// Where the string ends whose content begins at `at`: the place of its closing quote.
pub fn string_end(text: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text.get(at) == Some(&b'"') {
            return Some(at);
        }
        at += 2;
    }
}

/// Whether a string without escapes stands in JSON, as a name or a value: as it is, or with letters written by their
/// numbers.
pub fn has_string(json: &[u8], string: &str) -> bool {
    let plain = format!("\"{string}\"");
    // Most have neither, and are not read.
    if find(json, plain.as_bytes()).is_none() && find(json, br"\u00").is_none() {
        return false;
    }
    let mut at = 0;
    let rest = |at: usize| json.get(at..).unwrap_or_default();
    while let Some(begin) = memchr(b'"', rest(at)).map(|found| at + found)
        && let Some(end) = string_end(json, begin + 1)
    {
        at = end + 1;
        let spelled = json.get(begin..at).unwrap_or_default();
        // A letter by its number takes six bytes.
        let by_number = spelled.len() <= 6 * string.len() + 2 && spelled.contains(&b'\\');
        let is = |read: String| read == string;
        if spelled == plain.as_bytes() || by_number && serde_json::from_slice(spelled).is_ok_and(is)
        {
            return true;
        }
    }
    false
}

/// Whether the text can stand between a string's quotes: each quote in it is escaped, its escapes are
/// JSON's, it has no control characters, and it is UTF-8.
pub fn is_inside_string(text: &[u8]) -> bool {
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        match memchr2(b'"', b'\\', rest) {
            None => break,
            Some(found) if rest.get(found) == Some(&b'"') => return false,
            Some(found) => match escape(rest.get(found + 1..).unwrap_or_default()) {
                Some(bytes) => at += found + 1 + bytes,
                None => return false,
            },
        }
    }
    !has_controls(text) && (text.is_ascii() || crate::text(text).is_some())
}

/// How many bytes stand behind a backslash and belong to it; none if that is no escape.
fn escape(text: &[u8]) -> Option<usize> {
    match text.first()? {
        b'u' => text.get(1..5)?.iter().all(u8::is_ascii_hexdigit).then_some(5),
        byte => IS_ESCAPED[usize::from(*byte)].then_some(1),
    }
}

/// Whether there is a control character. Whole blocks are folded, which the compiler turns into vector
/// code.
fn has_controls(text: &[u8]) -> bool {
    const BLOCK: usize = 128;
    let any = |block: &[u8]| block.iter().fold(0, |any, &byte| any | u8::from(byte < b' ')) != 0;
    let (blocks, rest) = text.as_chunks::<BLOCK>();
    blocks.iter().any(|block| any(block)) || any(rest)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_string_is_found_however_it_is_spelled() {
        for json in [
            r#"[{"image_url":{}}]"#,
            r#"["image_url"]"#,
            r#"{"a":"\u005f","image\u005furl":1}"#,
            r#"["\"", "\u0069\u006d\u0061\u0067\u0065\u005F\u0075\u0072\u006C"]"#,
        ] {
            assert!(has_string(json.as_bytes(), "image_url"), "{json}");
        }
        for json in [
            r#"["\"image_url\""]"#,
            r#"["\"image_url","image_url\""]"#,
            r#"["\u0022image_url\u0022"]"#,
            r#"["image_url\u0020", "\\u005f"]"#,
            r#"["image\\u005furl"]"#,
            r#"["image_ur"#,
        ] {
            assert!(!has_string(json.as_bytes(), "image_url"), "{json}");
        }
    }

    fn spelled(string: &str, numbers: &[bool]) -> String {
        let letters = string.bytes().zip(numbers.iter().cycle());
        letters
            .map(|(byte, &number)| match byte {
                b'"' | b'\\' => format!("\\{}", char::from(byte)),
                _ if number => format!("\\u{byte:04x}"),
                _ => char::from(byte).to_string(),
            })
            .collect()
    }

    fn stands_in(value: &Value, string: &str) -> bool {
        match value {
            Value::String(text) => text == string,
            Value::Array(items) => items.iter().any(|item| stands_in(item, string)),
            Value::Object(members) => {
                members.iter().any(|(name, value)| name == string || stands_in(value, string))
            }
            _ => false,
        }
    }

    proptest! {
        #[test]
        fn a_string_is_found_where_the_parser_reads_it(
            strings in prop::collection::vec((r#"[a-b"\\]{0,3}"#, prop::collection::vec(any::<bool>(), 1..4)), 1..6),
        ) {
            let strings: Vec<String> =
                strings.iter().map(|(string, numbers)| format!("\"{}\"", spelled(string, numbers))).collect();
            let json = format!("[{{{}:0}},{}]", strings[0], strings.join(","));
            let value: Value = serde_json::from_str(&json).unwrap();
            for wanted in ["a", "ab", "bba"] {
                prop_assert_eq!(has_string(json.as_bytes(), wanted), stands_in(&value, wanted), "{}", json);
            }
        }
    }
}
