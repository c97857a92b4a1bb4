//! Halves of surrogate pairs in pieces of an answer.
//!
//! A server that counts text in UTF-16 units ends a piece in the first half of an emoji's pair, and begins the
//! next one with the second (`"a\ud83d"`, then `"\ude00b"`). JSON may say so, but no text of Rust's holds it: a
//! piece that is read by itself could not be read at all, and the answer would have a hole there.
//!
//! Contract: a first half moves into the piece that begins with a second one; what never finds its other half
//! is shown as U+FFFD, or not at all, and [`Joiner::is_whole`] tells. Nothing else of a piece is changed.

use std::fmt;

use memchr::memchr;

/// Length of an escape such as `\ud83d`.
const ESCAPE: usize = 6;

/// Puts halves together over the pieces of one answer.
#[derive(Clone, Default)]
pub struct Joiner {
    /// The first half that a piece ended in, as it was written.
    held: Option<[u8; ESCAPE]>,
    /// Whether a half was left alone.
    broken: bool,
}

impl fmt::Debug for Joiner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joiner").field("is_whole", &self.is_whole()).finish()
    }
}

impl Joiner {
    /// Whether each half has found its other half so far.
    pub fn is_whole(&self) -> bool {
        self.held.is_none() && !self.broken
    }

    /// A piece, as JSON, with whole pairs alone. None: it holds no half, and is read as it is.
    pub fn joined(&mut self, json: &[u8]) -> Option<Vec<u8>> {
        let mut out: Option<Vec<u8>> = None;
        let (mut from, mut at) = (0, 0);
        while let Some(next) = json.get(at..).and_then(|rest| memchr(b'\\', rest)) {
            at += next;
            let Some(unit) = unit(json, at) else {
                at += 2;
                continue;
            };
            let is_pair = is_first(unit) && self::unit(json, at + ESCAPE).is_some_and(is_second);
            let alone = !is_pair && (is_first(unit) || is_second(unit));
            if alone {
                let out = out.get_or_insert_with(|| Vec::with_capacity(json.len() + ESCAPE));
                out.extend_from_slice(json.get(from..at).unwrap_or_default());
                self.half(json, (at, is_first(unit)), out);
                from = at + ESCAPE;
            }
            at += if is_pair { 2 * ESCAPE } else { ESCAPE };
        }
        let mut out = out?;
        out.extend_from_slice(json.get(from..).unwrap_or_default());
        Some(out)
    }

    /// A half alone: the last of its text, which is held, the first, which is joined, or one too many.
    fn half(&mut self, json: &[u8], (at, is_first): (usize, bool), out: &mut Vec<u8>) {
        let escape = json.get(at..at + ESCAPE).and_then(|escape| escape.try_into().ok());
        let is_last = is_first && json.get(at + ESCAPE) == Some(&b'"');
        let begins = !is_first && at > 0 && json.get(at - 1) == Some(&b'"');
        match (escape, self.held) {
            (Some(escape), None) if is_last => self.held = Some(escape),
            (Some(escape), Some(held)) if begins => {
                self.held = None;
                out.extend_from_slice(&held);
                out.extend_from_slice(&escape);
            }
            _ => {
                self.broken = true;
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
}

/// The UTF-16 unit that an escape names.
fn unit(json: &[u8], at: usize) -> Option<u16> {
    let digits = json.get(at..at + ESCAPE)?.strip_prefix(b"\\u")?;
    let digits = digits.iter().all(u8::is_ascii_hexdigit).then_some(digits)?;
    u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

fn is_first(unit: u16) -> bool {
    (0xd800..0xdc00).contains(&unit)
}

fn is_second(unit: u16) -> bool {
    (0xdc00..0xe000).contains(&unit)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the pieces say together, and whether that is all of it.
    fn said(pieces: &[&str]) -> (String, bool) {
        let mut joiner = Joiner::default();
        let mut text = String::new();
        for piece in pieces {
            let joined = joiner.joined(piece.as_bytes());
            let piece = joined.as_deref().unwrap_or(piece.as_bytes());
            text += &serde_json::from_slice::<String>(piece).unwrap();
        }
        (text, joiner.is_whole())
    }

    #[test]
    fn halves_that_come_apart_are_one_again() {
        for pieces in [
            &[r#""a\ud83d""#, r#""\ude00b""#][..],
            &[r#""a\uD83D""#, r#""""#, r#""\uDE00b""#],
            &[r#""a\ud83d\ude00b""#],
            &[r#""a😀b""#],
        ] {
            assert_eq!(said(pieces), ("a😀b".to_owned(), true), "{pieces:?}");
        }
        assert_eq!(Joiner::default().joined(br#""\\ud83d \" \u00e9 \ud83d\ude00""#), None);
    }

    #[test]
    fn a_half_that_stays_alone_is_told() {
        for (pieces, text) in [
            (&[r#""a\ud83d""#][..], "a"),
            (&[r#""\ude00b""#], "\u{fffd}b"),
            (&[r#""a\ud83db""#], "a\u{fffd}b"),
            (&[r#""\ud83d\ud83d""#, r#""\ude00""#], "\u{fffd}😀"),
        ] {
            assert_eq!(said(pieces), (text.to_owned(), false), "{pieces:?}");
        }
    }

    proptest! {
        /// However a text is cut into UTF-16 units, its pieces say what it says.
        #[test]
        fn any_cut_says_the_same(text in "\\PC{0,12}", cut in any::<prop::sample::Index>()) {
            let units: Vec<u16> = text.encode_utf16().collect();
            let (one, two) = units.split_at(cut.index(units.len() + 1));
            let written = |units: &[u16]| {
                let escapes: Vec<_> = units.iter().map(|unit| format!("\\u{unit:04x}")).collect();
                format!("\"{}\"", escapes.concat())
            };
            prop_assert_eq!(said(&[&written(one), &written(two)]), (text.clone(), true));
        }

        #[test]
        fn nothing_makes_it_panic(bytes in prop::collection::vec(
            prop::sample::select(b"\\ud8cDe\"0x".to_vec()), 0..40,
        )) {
            let _ = Joiner::default().joined(&bytes);
        }
    }
}
