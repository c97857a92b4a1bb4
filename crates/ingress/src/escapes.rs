//! Text of a path as its client meant it.

use std::borrow::Cow;

/// A path's text without its percent escapes: SDKs write the slash of `org/model` as `%2F`. What is
/// no escape, or not UTF-8 without them, is taken as it stands.
pub fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = after.first_chunk::<2>().filter(|_| first == b'%').and_then(|two| {
            let digit = |at: usize| char::from(two[at]).to_digit(16);
            u8::try_from(digit(0)? * 16 + digit(1)?).ok()
        });
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { &after[2..] } else { after };
    }
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_models_name_is_read_as_sdks_write_it() {
        for (path, name) in [
            ("gpt-4o", "gpt-4o"),
            ("Qwen%2FQwen2.5-7B", "Qwen/Qwen2.5-7B"),
            ("qwen2.5%3A32b", "qwen2.5:32b"),
            ("m%C3%A9", "mé"),
            ("100%", "100%"),
            ("%zz%4", "%zz%4"),
            ("%ff", "%ff"),
        ] {
            assert_eq!(unescaped(path), name);
        }
    }
}
