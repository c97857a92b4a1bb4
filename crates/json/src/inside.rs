//! What stands between a string's quotes.

use memchr::memchr2;

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
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(1),
        b'u' => text.get(1..5)?.iter().all(u8::is_ascii_hexdigit).then_some(5),
        _ => None,
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
