//! How much of a context a prompt takes, from below: what is surely too long is known before it is sent.
//!
//! Counted are *solid* bytes: a byte that repeats the one before it is left out, because tokenizers have
//! tokens for long runs of blanks, dashes and line ends, and nothing else has more than a few bytes per
//! token. So a count of solid bytes, divided by more bytes per token than text ever has, is a number of
//! tokens that the prompt surely has.

use bytes::Bytes;
use cutover_json::solid::solid_json;

use crate::head::{Head, Key};

/// Thousandths of a solid byte per token: more than natural text and code reach with today's
/// vocabularies (English with the largest: below 5.5). What nothing is known of is measured with it.
pub const MILLIBYTES_PER_TOKEN: u32 = 8_000;

/// The least that a measured figure may be lowered to: a prompt of another kind than those that were
/// measured must not be refused for it.
pub const MILLIBYTES_PER_TOKEN_LEAST: u32 = 6_000;

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

/// Tokens that so many solid bytes surely are.
pub fn tokens_at_least(solid_bytes: u64, millibytes_per_token: u32) -> u64 {
    solid_bytes.saturating_mul(1_000) / u64::from(millibytes_per_token.max(1))
}

#[cfg(test)]
mod tests {
    use cutover_json::solid::solid_bytes;

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

    #[test]
    fn a_picture_cannot_be_counted() {
        let body = Bytes::from_static(
            br#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,"}}]}]}"#,
        );
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        assert_eq!(prompt_bytes(&head, &body), None);
    }
}
