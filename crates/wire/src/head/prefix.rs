//! How a prompt begins, as far as it takes to keep like prompts together.

use bytes::Bytes;
use memchr::memmem;

use super::Head;

/// So much of the first message is looked at: long enough to tell system prompts apart, short enough
/// to cost nothing beside reading the body.
const PREFIX_BYTES_MAX: usize = 4_096;

/// Shorter beginnings are not worth keeping together: their cache entries are made again in less time
/// than a detour costs.
const PREFIX_BYTES_MIN: usize = 256;

impl Head {
    /// The bytes of the first message (for prompts that are one text: of its beginning), at most 4 KiB:
    /// mostly a system prompt, which all requests of an application share. None if it is shorter than
    /// 256 bytes. Two requests with equal bytes here begin alike for any engine; the reverse does not
    /// hold, and nothing but a warm cache depends on it.
    pub fn prefix<'a>(&self, body: &'a Bytes) -> Option<&'a [u8]> {
        let (key, opens) = match memmem::find(body, b"\"messages\"") {
            Some(at) => (at + b"\"messages\"".len(), b'{'),
            None => (memmem::find(body, b"\"prompt\"")? + b"\"prompt\"".len(), b'"'),
        };
        let start = key + memchr::memchr(opens, &body[key..])?;
        let window = &body[start..body.len().min(start + PREFIX_BYTES_MAX)];
        let prefix = if opens == b'{' { &window[..end_of_object(window)] } else { window };
        (prefix.len() >= PREFIX_BYTES_MIN).then_some(prefix)
    }
}

/// Where the object that begins here ends; the length of the window if it goes on beyond.
fn end_of_object(window: &[u8]) -> usize {
    let (mut depth, mut in_text, mut escaped) = (0u32, false, false);
    for (at, byte) in window.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            _ if in_text => {}
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at + 1;
                }
            }
            _ => {}
        }
    }
    window.len()
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
        assert!(one.prefix(&one_body).is_some_and(|prefix| prefix.ends_with(b"\"}")));
        let (third, third_body) = read(&chat(&format!("{long}!"), "a"));
        assert_ne!(one.prefix(&one_body), third.prefix(&third_body));
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
