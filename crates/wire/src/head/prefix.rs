//! How a prompt begins, as far as it takes to keep like prompts together.

use bytes::Bytes;
use memchr::memmem;

use super::Head;

/// So much of the first message is looked at: long enough to tell system prompts apart, short enough
/// to cost nothing beside reading the body.
const PREFIX_BYTES_MAX: usize = 4_096;

/// Names, roles and other parts before the text are looked at, too.
const LOOKED_AT_MAX: usize = 2 * PREFIX_BYTES_MAX;

/// Shorter beginnings are not worth keeping together: their cache entries are made again in less time
/// than a detour costs.
const PREFIX_BYTES_MIN: usize = 256;

impl Head {
    /// The longest text of the first message (of prompts that are one text: its beginning) as it is written, at most
    /// 4 KiB: mostly a system prompt, which all requests of an application share, whatever role, form and dialect it came
    /// in. None if it is shorter than 256 bytes. Nothing but a warm cache depends on it.
    pub fn prefix<'a>(&self, body: &'a Bytes) -> Option<&'a [u8]> {
        let (key, opens) = match memmem::find(body, b"\"messages\"") {
            Some(at) => (at + b"\"messages\"".len(), b'{'),
            None => (memmem::find(body, b"\"prompt\"")? + b"\"prompt\"".len(), b'"'),
        };
        let start = key + memchr::memchr(opens, &body[key..])?;
        let prefix = longest_text(&body[start..]);
        (prefix.len() >= PREFIX_BYTES_MIN).then_some(prefix)
    }
}

/// The longest text in the object or text that begins here, as far as anything is looked at.
fn longest_text(value: &[u8]) -> &[u8] {
    let (mut longest, mut depth, mut at) = (&value[..0], 0_u32, 0);
    while let Some(byte) = value.get(at).filter(|_| at < LOOKED_AT_MAX) {
        match byte {
            b'"' => {
                let text = text_at(&value[at + 1..]);
                longest = if text.len() > longest.len() { text } else { longest };
                at += text.len() + 1;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        at += 1;
        if depth == 0 || longest.len() == PREFIX_BYTES_MAX {
            break;
        }
    }
    longest
}

/// The text whose quote was before this, without its end.
fn text_at(rest: &[u8]) -> &[u8] {
    let window = &rest[..rest.len().min(PREFIX_BYTES_MAX)];
    let mut escaped = false;
    let end = window.iter().position(|byte| {
        let ends = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        ends
    });
    &window[..end.unwrap_or(window.len())]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Endpoint;

    fn read(body: &str) -> (Head, Bytes) {
        let body = Bytes::from(body.to_owned());
        (Head::read(Endpoint::ChatCompletions, &body).unwrap(), body)
    }

    fn chat(system: &str, user: &str) -> String {
        let messages = serde_json::json!([
            {"role": "system", "content": system}, {"role": "user", "content": user}
        ]);
        serde_json::json!({"model": "m", "messages": messages}).to_string()
    }

    #[test]
    fn the_first_message_alone_counts() {
        let long = "Always { be \"kind\" ] \\".repeat(20);
        let (one, one_body) = read(&chat(&long, "a"));
        let (other, other_body) = read(&chat(&long, "something else"));
        assert_eq!(one.prefix(&one_body), other.prefix(&other_body));
        assert!(one.prefix(&one_body).is_some_and(|prefix| prefix.ends_with(b"\\\\")));
        let (third, third_body) = read(&chat(&format!("{long}!"), "a"));
        assert_ne!(one.prefix(&one_body), third.prefix(&third_body));
    }

    /// The engine is sent the same text each time: its cache was filled three times.
    #[test]
    fn the_same_text_has_one_home_whatever_form_it_came_in() {
        for text in ["You \"help\" here. ".repeat(30), "z\\".repeat(9_000)] {
            let (head, body) = read(&chat(&text, "a"));
            let home = head.prefix(&body).unwrap();
            let literal = serde_json::json!(text);
            for first in [
                format!("{{\"role\":\"developer\",\"content\":{literal}}}"),
                format!(
                    "{{\"content\":[{{\"type\":\"text\",\"text\":{literal}}}],\"role\":\"system\"}}"
                ),
                format!("{{\"content\": {literal} , \"name\":\"n\", \"role\":\"user\"}}"),
            ] {
                let (head, body) = read(&format!("{{\"model\":\"m\",\"messages\":[{first}]}}"));
                assert_eq!(head.prefix(&body), Some(home), "{first}");
            }
        }
    }

    #[test]
    fn a_short_beginning_is_none_and_a_long_one_is_cut() {
        let (short, body) = read(&chat("be kind", &"x".repeat(10_000)));
        assert_eq!(short.prefix(&body), None);
        let (long, body) = read(&chat(&"y".repeat(10_000), "a"));
        assert_eq!(long.prefix(&body).map(<[u8]>::len), Some(PREFIX_BYTES_MAX));
    }

    proptest! {
        #[test]
        fn any_bytes_are_looked_at_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            let (head, _) = read(&chat("s", "u"));
            let body = Bytes::from([b"{\"messages\"".as_slice(), &bytes].concat());
            prop_assert!(head.prefix(&body).is_none_or(|prefix| prefix.len() <= PREFIX_BYTES_MAX));
        }
    }
}
