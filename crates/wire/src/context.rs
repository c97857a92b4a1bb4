//! How much of a context a prompt takes, from below: what is surely too long is known before it is sent.
//!
//! Counted are *solid* bytes: a byte that repeats the one before it is left out, because tokenizers have
//! tokens for long runs of blanks, dashes and line ends, and nothing else has more than a few bytes per
//! token. So a count of solid bytes, divided by more bytes per token than text ever has, is a number of
//! tokens that the prompt surely has.

use bytes::Bytes;
use memchr::memchr_iter;

use crate::head::{Head, Key};

/// Thousandths of a solid byte per token: more than natural text and code reach with today's
/// vocabularies (English with the largest: below 5.5). What nothing is known of is measured with it.
pub const MILLIBYTES_PER_TOKEN: u32 = 8_000;

/// The least that a measured figure may be lowered to: a prompt of another kind than those that were
/// measured must not be refused for it.
pub const MILLIBYTES_PER_TOKEN_LEAST: u32 = 6_000;

/// The solid bytes of a text.
pub fn solid_bytes(text: &str) -> u64 {
    changes(0, text.as_bytes())
}

/// How many bytes of a run differ from the one before them. Whole blocks are folded, which the compiler turns into
/// vector code.
fn changes(before: u8, run: &[u8]) -> u64 {
    const BLOCK: usize = 128;
    let Some((first, after)) = run.split_first() else { return 0 };
    let differ = |(one, next): (&[u8], &[u8])| {
        let both = one.iter().zip(next);
        u64::from(both.fold(0_u8, |sum, (one, next)| sum.wrapping_add(u8::from(one != next))))
    };
    let blocks = run.chunks(BLOCK).zip(after.chunks(BLOCK));
    u64::from(*first != before) + blocks.map(differ).sum::<u64>()
}

/// The solid bytes of a request's prompt, read from its JSON as it came: an escape counts as one byte,
/// that of a character by its number as two. None: images or sound are in it, whose bytes say nothing
/// of their tokens.
pub fn prompt_bytes(head: &Head, body: &Bytes) -> Option<u64> {
    if head.has_images(body) || head.has_audio(body) {
        return None;
    }
    let parts = [Key::Messages, Key::Prompt].iter().filter_map(|&key| head.raw(body, key));
    Some(parts.map(|raw| solid_json(raw.as_bytes())).sum())
}

/// The solid bytes of raw JSON.
pub(crate) fn solid_json(raw: &[u8]) -> u64 {
    solid_with(raw, memchr_iter(b'\\', raw))
}

/// The solid bytes of raw JSON, of which it is known where its backslashes stand: those that an escape begins with, or
/// all. It is counted as if it had no escapes, and set right at each.
pub(crate) fn solid_with(raw: &[u8], backslashes: impl Iterator<Item = usize>) -> u64 {
    let byte = |at: usize| raw.get(at).copied().unwrap_or_default();
    // Whether a byte was counted; before the first stands none.
    let counted = |at: usize| u64::from(byte(at) != at.checked_sub(1).map_or(0, byte));
    let (mut count, mut end, mut last) = (changes(0, raw), 0, 0);
    for at in backslashes {
        if at < end {
            continue;
        }
        let before = if at == end { last } else { byte(at - 1) };
        let (now, long, worth) = match raw.get(at + 1) {
            Some(b'u') => (0, 6, 2),
            Some(&escaped) => (escaped | 0x80, 2, 1),
            None => (b'\\', 1, 1),
        };
        (end, last) = (raw.len().min(at + long), now);
        count += if now != before || now == 0 { worth } else { 0 };
        count -= (at..end).map(counted).sum::<u64>();
        // What follows is compared with what the escape stands for; another escape does so itself.
        if end < raw.len() && byte(end) != b'\\' {
            count += u64::from(byte(end) != now);
            count -= counted(end);
        }
    }
    count
}

/// Tokens that so many solid bytes surely are.
pub fn tokens_at_least(solid_bytes: u64, millibytes_per_token: u32) -> u64 {
    solid_bytes.saturating_mul(1_000) / u64::from(millibytes_per_token.max(1))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::endpoint::Endpoint;

    fn counted(content: &str) -> u64 {
        let body =
            serde_json::json!({"model": "m", "messages": [{"role": "user", "content": content}]});
        let body = Bytes::from(body.to_string());
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        prompt_bytes(&head, &body).unwrap()
    }

    #[test]
    fn runs_count_once() {
        assert_eq!(solid_bytes(""), 0);
        assert_eq!(solid_bytes("a   b----\n\n\n"), 5);
        assert_eq!(counted(&" ".repeat(10_000)), counted(" "));
        assert_eq!(counted(&"\n".repeat(10_000)), counted("\n"));
    }

    #[test]
    fn escapes_do_not_make_a_prompt_longer() {
        let escaped = solid_json(br"\u4f60\u597d");
        assert!(escaped <= solid_bytes("\u{4f60}\u{597d}"), "{escaped}");
    }

    #[test]
    fn a_count_is_never_above_the_bytes() {
        for text in ["The quick brown fox", "fn main() {\n    loop {}\n}", "\"\\\"\\"] {
            assert!(solid_bytes(text) <= text.len() as u64);
        }
        assert_eq!(tokens_at_least(24_000, 8_000), 3_000);
        assert_eq!(tokens_at_least(1, 0), 1_000);
    }

    proptest! {
        /// Byte by byte, as it is meant.
        #[test]
        fn whole_runs_are_counted_as_single_bytes_are(
            parts in proptest::collection::vec(
                prop_oneof![
                    Just("a".to_owned()), Just(" ".repeat(300)), Just("\\n".to_owned()),
                    Just("\\u0041".to_owned()), Just("\\\\".to_owned()), "[a-c]{0,200}",
                ], 0..20),
        ) {
            let raw = parts.concat();
            let (mut count, mut at, mut before) = (0, 0, 0);
            while let Some(&byte) = raw.as_bytes().get(at) {
                let (now, long, worth) = match (byte, raw.as_bytes().get(at + 1)) {
                    (b'\\', Some(b'u')) => (0, 6, 2),
                    (b'\\', Some(&escaped)) => (escaped | 0x80, 2, 1),
                    _ => (byte, 1, 1),
                };
                if now != before || now == 0 {
                    count += worth;
                }
                (before, at) = (now, at + long);
            }
            prop_assert_eq!(solid_json(raw.as_bytes()), count);
            let mut before = 0;
            let solid = raw.bytes().filter(|&byte| std::mem::replace(&mut before, byte) != byte);
            prop_assert_eq!(solid_bytes(&raw), solid.count() as u64);
        }
    }

    #[test]
    fn a_picture_cannot_be_counted() {
        let body = Bytes::from_static(
            br#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#,
        );
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        assert_eq!(prompt_bytes(&head, &body), None);
    }
}
