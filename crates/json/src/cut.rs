//! Cutting valid JSON into members and elements, without parsing it again: a conversation is cut at
//! each level it is read, and a long string in it costs a search for its closing quote.
//!
//! The text must be known to be valid JSON. Of other texts the pieces are as wrong as the text, and
//! nothing panics.

use std::borrow::Cow;

use memchr::memchr;

/// Cuts an object into key literals and values. `None`: it is no object.
pub fn members(text: &str) -> Option<Members<'_>> {
    Some(Members { cutter: Cutter::open(text, b'{')? })
}

/// Cuts an array into its elements. `None`: it is no array.
pub fn elements(text: &str) -> Option<Elements<'_>> {
    Some(Elements { cutter: Cutter::open(text, b'[')? })
}

/// An object's members in order.
pub struct Members<'a> {
    cutter: Cutter<'a>,
}

/// An array's elements in order.
pub struct Elements<'a> {
    cutter: Cutter<'a>,
}

impl<'a> Iterator for Members<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let key = self.cutter.value()?;
        Some((key, self.cutter.value()?))
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        self.cutter.value()
    }
}

impl<'a> Elements<'a> {
    /// Whether nothing is left.
    pub fn is_done(&mut self) -> bool {
        self.cutter.is_closed()
    }

    /// Reads the next element's members where they stand, so that the element need not be cut before: true; false where
    /// it is no object, which is passed over. `None`: there is none left.
    pub fn object<E>(
        &mut self,
        mut each: impl FnMut(&'a str, &'a str) -> Result<(), E>,
    ) -> Option<Result<bool, E>> {
        if self.is_done() {
            return None;
        }
        if self.cutter.text.as_bytes().get(self.cutter.at) != Some(&b'{') {
            return self.cutter.value().map(|_| Ok(false));
        }
        self.cutter.at += 1;
        while let Some((key, value)) = self.cutter.value().zip(self.cutter.value()) {
            if let Err(error) = each(key, value) {
                return Some(Err(error));
            }
        }
        self.cutter.at += 1;
        Some(Ok(true))
    }
}

struct Cutter<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cutter<'a> {
    fn open(text: &'a str, bracket: u8) -> Option<Self> {
        (text.as_bytes().first() == Some(&bracket)).then_some(Self { text, at: 1 })
    }

    /// Whether the closing bracket comes next, behind space, commas and colons, or the text is over.
    fn is_closed(&mut self) -> bool {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
            self.at += 1;
        }
        matches!(bytes.get(self.at), None | Some(b'}' | b']'))
    }

    /// The next value. `None` at the closing bracket.
    fn value(&mut self) -> Option<&'a str> {
        if self.is_closed() {
            return None;
        }
        let bytes = self.text.as_bytes();
        let start = self.at;
        let end = match bytes.get(start)? {
            b'"' => string_end(bytes, start + 1),
            b'{' | b'[' => container_end(bytes, start),
            _ => {
                let ends = |b: &u8| matches!(b, b',' | b'}' | b']' | b' ' | b'\t' | b'\n' | b'\r');
                bytes.iter().skip(start).position(ends).map_or(bytes.len(), |n| start + n)
            }
        };
        self.at = end;
        self.text.get(start..end)
    }
}

/// The position after the closing quote of a string whose content starts at `at`.
fn string_end(bytes: &[u8], at: usize) -> usize {
    const WORDS: usize = 3;
    let rest = bytes.get(at..).unwrap_or_default();
    let (words, _) = rest.as_chunks::<8>();
    // Names and most values end within a few words: a call of `memchr` costs more than that.
    for (index, word) in words.iter().take(WORDS).enumerate() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            let end = index * 8 + found.trailing_zeros() as usize / 8;
            if rest.get(end) == Some(&b'"') {
                return at + end + 1;
            }
            break;
        }
    }
    long_string_end(bytes, at)
}

/// The lowest bit that is set lies in the first byte that is a quote or a backslash; 0: there is none. (Where a byte is
/// less than n, taking n from it borrows into its high bit; a borrow can set bits of later bytes wrongly, never of
/// earlier ones.)
fn marks(word: u64) -> u64 {
    const ONES: u64 = u64::MAX / 255;
    let zero = |word: u64| word.wrapping_sub(ONES) & !word;
    let quote = zero(word ^ (ONES * u64::from(b'"')));
    let backslash = zero(word ^ (ONES * u64::from(b'\\')));
    (quote | backslash) & (ONES << 7)
}

/// The same by its quotes alone: text is full of other escapes, and a search that stopped at each would take longer.
fn long_string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr(b'"', rest)) {
        at += found;
        let before = bytes.get(start..at).unwrap_or_default();
        // Of an odd number of backslashes the last one is the quote's.
        let slashes = before.iter().rev().take_while(|byte| **byte == b'\\').count();
        at += 1;
        if slashes % 2 == 0 {
            return at;
        }
    }
    bytes.len()
}

/// The position after the bracket that closes the one at `at`.
fn container_end(bytes: &[u8], mut at: usize) -> usize {
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        at += 1;
        match byte {
            b'"' => at = string_end(bytes, at),
            b'{' | b'[' => depth += 1,
            b'}' | b']' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return at;
                }
            }
            _ => {}
        }
    }
    bytes.len()
}

/// Whether a literal holds an escape.
pub fn has_escape(literal: &str) -> bool {
    memchr(b'\\', literal.as_bytes()).is_some()
}

/// A key from its literal. `None`: it is no text (half of a surrogate pair).
pub fn key(literal: &str) -> Option<Cow<'_, str>> {
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    if has_escape(inner) {
        return serde_json::from_str(literal).map(Cow::Owned).ok();
    }
    Some(Cow::Borrowed(inner))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    #[test]
    fn members_and_elements_are_cut_with_their_own_text() {
        let text = r#"{ "a" : "x\"}," , "b":[1, {"c":"]"}],"d":1.50,"e":null }"#;
        let cut: Vec<_> = members(text).unwrap().collect();
        assert_eq!(
            cut,
            [
                ("\"a\"", r#""x\"},""#),
                ("\"b\"", r#"[1, {"c":"]"}]"#),
                ("\"d\"", "1.50"),
                ("\"e\"", "null")
            ]
        );
        let cut: Vec<_> = elements("[ [], {} ,\"a\\\\\",true]").unwrap().collect();
        assert_eq!(cut, ["[]", "{}", "\"a\\\\\"", "true"]);
        assert!(members("[]").is_none() && elements("{}").is_none() && members("").is_none());
    }

    fn json() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_cut_is_what_a_parser_reads(value in json(), pretty in any::<bool>()) {
            let text = if pretty { format!("{value:#}") } else { value.to_string() };
            if let Some(cut) = elements(&text) {
                let cut: Vec<Value> = cut.map(|raw| serde_json::from_str(raw).unwrap()).collect();
                prop_assert_eq!(Value::from(cut), value);
            } else if let Some(cut) = members(&text) {
                let cut: serde_json::Map<String, Value> = cut
                    .map(|(key, raw)| {
                        (serde_json::from_str(key).unwrap(), serde_json::from_str(raw).unwrap())
                    })
                    .collect();
                prop_assert_eq!(Value::Object(cut), value);
            }
        }

        #[test]
        fn a_strings_end_is_where_a_reader_finds_it(
            parts in prop::collection::vec(
                prop_oneof![Just("\\\\"), Just("\\\""), Just("\\n"), Just("a"), Just("long text é ")], 0..40),
        ) {
            let text = format!("\"{}\"", parts.concat());
            let more = format!("{text},\"b\"]");
            prop_assert_eq!(string_end(more.as_bytes(), 1), text.len());
            prop_assert_eq!(long_string_end(more.as_bytes(), 1), text.len());
        }

        #[test]
        fn objects_read_where_they_stand_are_those_that_are_cut(value in json(), pretty in any::<bool>()) {
            let list = Value::from(vec![value.clone(), Value::from(1), value]);
            let text = if pretty { format!("{list:#}") } else { list.to_string() };
            let mut there = elements(&text).unwrap();
            for element in elements(&text).unwrap() {
                let mut found = Vec::new();
                let is_object = there.object(|key, raw| {
                    found.push((key, raw));
                    Ok::<(), ()>(())
                });
                let cut: Option<Vec<_>> = members(element).map(Iterator::collect);
                prop_assert_eq!(is_object, Some(Ok(cut.is_some())));
                prop_assert_eq!(found, cut.unwrap_or_default());
            }
            prop_assert!(there.is_done());
            prop_assert_eq!(there.object(|_, _| Ok::<(), ()>(())), None);
        }

        #[test]
        fn no_text_makes_cutting_panic(text in "[\\[{\"a\\\\,:é }\\]]{0,30}") {
            let mut there = elements(&text);
            while there.as_mut().and_then(|all| all.object(|_, _| Ok::<(), ()>(()))).is_some() {}
            let _ = elements(&text).map(Iterator::count);
            let _ = members(&text).map(Iterator::count);
        }
    }
}
