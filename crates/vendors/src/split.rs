//! Cutting valid JSON into members and elements, without parsing it again: a conversation is cut at
//! each level it is read, and a long string in it costs a search for its closing quote.
//!
//! The text must be known to be valid JSON. Of other texts the pieces are as wrong as the text, and
//! nothing panics.

use memchr::{memchr, memchr2};

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

struct Cutter<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cutter<'a> {
    fn open(text: &'a str, bracket: u8) -> Option<Self> {
        (text.as_bytes().first() == Some(&bracket)).then_some(Self { text, at: 1 })
    }

    /// The next value, behind space, commas and colons. `None` at the closing bracket.
    fn value(&mut self) -> Option<&'a str> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r' | b',' | b':')) {
            self.at += 1;
        }
        let start = self.at;
        let end = match bytes.get(start)? {
            b'}' | b']' => return None,
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
fn string_end(bytes: &[u8], mut at: usize) -> usize {
    // Most strings have no escape: one search then finds the end.
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr2(b'"', b'\\', rest)) {
        at += found;
        if bytes.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
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
        fn no_text_makes_cutting_panic(text in "[\\[{\"a\\\\,:é }\\]]{0,30}") {
            let _ = elements(&text).map(Iterator::count);
            let _ = members(&text).map(Iterator::count);
        }
    }
}
