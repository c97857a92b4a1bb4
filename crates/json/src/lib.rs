//! JSON as it stands: where members and elements lie in a text, how deep it nests, what it holds of solid bytes. Nothing
//! is decoded but a key with escapes, nothing else is copied.
//!
//! ```text
//! text ─ walk ─▶ checked, and what was asked for on the way     a stranger's body
//!      └ cut ──▶ members and elements                           what is known to be JSON
//! ```
//!
//! Pure, and of no dialect: who reads what is in `wire` and above. Nothing here panics, whatever the bytes.

mod blocks;
pub mod cut;
pub mod inside;
mod scan;
mod secrets;
pub mod solid;
pub mod walk;

use serde_json::Value;

pub use scan::Scan;
pub use secrets::Secrets;

/// The deepest nesting accepted in a request: what `serde_json` accepts in typed parses, so that a body
/// that passes the door can also be converted.
pub const DEPTH_MAX: usize = 127;

/// The bytes as text, if they are UTF-8.
pub fn text(bytes: &[u8]) -> Option<&str> {
    simdutf8::basic::from_utf8(bytes).ok()
}

/// Whether the text nests deeper than [`DEPTH_MAX`]. The text need not be valid JSON.
pub fn too_deep(text: &[u8]) -> bool {
    // A body with few brackets cannot nest deeply: this count vectorises and settles nearly all.
    open_brackets(text) > DEPTH_MAX && depth_of(text) > DEPTH_MAX
}

/// How many values of one that has been read lie within one another, the outermost and the innermost counted. By
/// recursion: whoever read it has bounded that.
pub fn levels(value: &Value) -> usize {
    let parts: &mut dyn Iterator<Item = &Value> = match value {
        Value::Array(items) => &mut items.iter(),
        Value::Object(members) => &mut members.values(),
        _ => return 1,
    };
    1 + parts.map(levels).max().unwrap_or(0)
}

/// The members of a text that is one JSON object and nests no deeper than [`DEPTH_MAX`]: their names and values.
/// `None` also for what is right but unusual: then a parser must be asked, which knows what to say about mistakes, too.
pub fn sound_members(body: &[u8]) -> Option<Vec<(&str, &str)>> {
    let mut walk = walk::Walk::new(text(body)?);
    let mut members = Vec::with_capacity(16);
    let all = walk.object(|walk, name| {
        members.push((name, walk.value()?));
        Ok(())
    });
    all.and_then(|()| walk.end()).ok().map(|_| members)
}

/// Counts `{` and `[`. The blocks keep the counter in a byte, which the compiler turns into vector code:
/// ten times as fast as a plain count, and the body is read once more for it.
fn open_brackets(text: &[u8]) -> usize {
    const BLOCK: usize = 128;
    let count = |block: &[u8]| {
        block.iter().fold(0_u8, |sum, &b| sum.wrapping_add(u8::from(b | 0x20 == b'{')))
    };
    text.chunks(BLOCK).map(|block| usize::from(count(block))).sum()
}

fn depth_of(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut at) = (0_usize, 0, 0);
    while let Some(&byte) = text.get(at) {
        at += 1;
        match byte {
            b'"' => at = inside::string_end(text, at).map_or(text.len(), |end| end + 1),
            b'{' | b'[' => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        assert_eq!(depth_of(br#"{"a":[{"b":"[[[[\"[["}]}"#), 3);
        assert!(!too_deep("[".repeat(DEPTH_MAX).as_bytes()));
        assert!(too_deep("[".repeat(DEPTH_MAX + 1).as_bytes()));
        assert!(!too_deep("[]".repeat(1_000).as_bytes()));
        assert!(!too_deep(br#""unclosed \"#));
    }

    #[test]
    fn levels_are_those_of_the_deepest_value() {
        let levels = |text: &str| levels(&serde_json::from_str(text).unwrap());
        assert_eq!((levels("1"), levels("[]"), levels("{}"), levels("[1]")), (1, 1, 1, 2));
        assert_eq!(levels(r#"{"a": [{"b": 1}], "c": [[]], "d": "[[[[["}"#), 4);
    }

    proptest! {
        #[test]
        fn no_text_makes_a_count_of_depth_panic(text in ".{0,60}") {
            let _ = too_deep(text.as_bytes());
            let _ = depth_of(text.as_bytes());
        }
    }
}
