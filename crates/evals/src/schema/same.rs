//! Values that are the same as JSON Schema means it: `1` is `1.0`, and the order of members says nothing.
//!
//! The validator's own `enum` goes through all of its members, its `uniqueItems` through all items that hash
//! alike (`[[], 1]` and `[1, []]` do), and each comparison looks twice at every level whose members stand in
//! another order: as often as two to the power of their levels. Here a value is written in the one way that all
//! that are the same share, and looked up, which takes as long as it is large, whatever the schema holds.

use std::collections::HashSet;

use jsonschema::{Draft, Keyword, ValidationError, ValidationOptions};
use serde_json::{Number, Value};

/// Two to the power of 64: whole numbers below it may be written without a fraction.
const WHOLE_BELOW: f64 = 18_446_744_073_709_551_616.0;

/// Has the keywords that compare values do so here.
pub(super) fn compared(draft: Draft, options: ValidationOptions<'_>) -> ValidationOptions<'_> {
    let options = options
        .with_keyword("enum", |_, members, _| Ok(Box::new(OneOf::of(listed(members)))))
        .with_keyword("uniqueItems", |_, unique, _| Ok(Box::new(Unique(*unique == true))));
    // Draft 4 does not know it.
    if draft == Draft::Draft4 {
        return options;
    }
    options
        .with_keyword("const", |_, value, _| Ok(Box::new(OneOf::of(std::slice::from_ref(value)))))
}

fn listed(members: &Value) -> &[Value] {
    members.as_array().map_or(&[], Vec::as_slice)
}

struct OneOf(HashSet<Vec<u8>>);

impl OneOf {
    fn of(members: &[Value]) -> Self {
        Self(members.iter().map(written).collect())
    }
}

impl<'i> Keyword<'i> for OneOf {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        let why = || ValidationError::custom("is none of the values that may be");
        self.is_valid(value).then_some(()).ok_or_else(why)
    }

    fn is_valid(&self, value: &Value) -> bool {
        self.0.contains(&written(value))
    }
}

struct Unique(bool);

impl<'i> Keyword<'i> for Unique {
    fn validate(&self, value: &'i Value) -> Result<(), ValidationError<'i>> {
        let why = || ValidationError::custom("has an item twice");
        self.is_valid(value).then_some(()).ok_or_else(why)
    }

    fn is_valid(&self, value: &Value) -> bool {
        let mut seen = HashSet::new();
        !self.0 || listed(value).iter().all(|item| seen.insert(written(item)))
    }
}

fn written(value: &Value) -> Vec<u8> {
    let mut bytes = Vec::new();
    write(value, &mut bytes);
    bytes
}

/// Each part says how long it is, so that no two that differ are written alike.
fn write(value: &Value, into: &mut Vec<u8>) {
    match value {
        Value::Null => into.push(b'n'),
        Value::Bool(value) => into.push(if *value { b't' } else { b'f' }),
        Value::Number(number) => {
            into.push(b'#');
            into.extend(digits(number).bytes());
            into.push(b'#');
        }
        Value::String(text) => name(text, into),
        Value::Array(items) => {
            into.push(b'[');
            for item in items {
                write(item, into);
            }
            into.push(b']');
        }
        Value::Object(members) => {
            let mut sorted: Vec<_> = members.iter().collect();
            sorted.sort_unstable_by_key(|(key, _)| *key);
            into.push(b'{');
            for (key, member) in sorted {
                name(key, into);
                write(member, into);
            }
            into.push(b'}');
        }
    }
}

fn name(text: &str, into: &mut Vec<u8>) {
    into.push(b'"');
    into.extend(text.len().to_le_bytes());
    into.extend(text.bytes());
}

/// A number in digits: one that can be written without a fraction is written so.
fn digits(number: &Number) -> String {
    match number.as_f64() {
        Some(0.0) => "0".to_owned(),
        // None that is larger is written otherwise: all have a fraction or an exponent.
        Some(float) if number.is_f64() && float.fract() == 0.0 && float.abs() < WHOLE_BELOW => {
            format!("{float:.0}")
        }
        _ => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn alike(one: &Value, other: &Value) -> bool {
        written(one) == written(other)
    }

    #[test]
    fn what_is_the_same_is_written_alike_and_nothing_else_is() {
        let huge = 9_007_199_254_740_993_u64;
        for (one, other) in [
            (json!(1), json!(1.0)),
            (json!(0), json!(-0.0)),
            (json!(-3), json!(-3.0)),
            (json!(u64::MAX - 2047), json!(18_446_744_073_709_549_568.0)),
            (json!({"a": 1, "b": [2.0]}), json!({"b": [2], "a": 1.0})),
        ] {
            assert!(alike(&one, &other), "{one} {other}");
        }
        for (one, other) in [
            (json!(huge), json!(9_007_199_254_740_992.0)),
            (json!(1), json!(true)),
            (json!(1), json!("1")),
            (json!([[], 1]), json!([1, []])),
            (json!([1, 2]), json!([12])),
            (json!(["a", "b"]), json!(["ab"])),
            (json!({"a": "b"}), json!({"a": null, "b": null})),
            (json!([null]), json!(null)),
            (json!({}), json!([])),
        ] {
            assert!(!alike(&one, &other), "{one} {other}");
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            prop::sample::select(vec![json!(null), json!(true), json!(0), json!(-0.0), json!("")]),
            prop::sample::select(vec![json!(1), json!(1.0), json!("1"), json!(1.5), json!(-1)]),
            prop::sample::select(vec![
                json!(u64::MAX),
                json!(i64::MIN),
                json!(18_446_744_073_709_551_616.0)
            ]),
        ];
        leaf.prop_recursive(3, 8, 3, |inner| {
            let named = |all: Vec<(u8, Value)>| -> Value {
                all.into_iter().map(|(at, one)| (format!("p{}", at % 3), one)).collect()
            };
            prop_oneof![
                prop::collection::vec((any::<u8>(), inner.clone()), 0..3).prop_map(named),
                prop::collection::vec(inner, 0..4).prop_map(Value::Array),
            ]
        })
    }

    proptest! {
        /// As the validator's own keywords have it.
        #[test]
        fn the_same_is_valid_as_for_the_validators_own_comparison(
            members in prop::collection::vec(value(), 1..4),
            value in value(),
            draft in prop::sample::select(vec!["draft-04", "draft-07", "draft/2020-12"]),
            keyword in prop::sample::select(vec!["enum", "const", "uniqueItems", "$ref"]),
        ) {
            let mut schema = json!({"$schema": format!("http://json-schema.org/{draft}/schema#")});
            schema[keyword] = match keyword {
                "enum" => Value::Array(members.clone()),
                "const" => members[0].clone(),
                "$ref" => json!("#/definitions/a"),
                _ => json!(true),
            };
            if keyword == "$ref" {
                schema["enum"] = json!([members[0]]);
                schema["definitions"] = json!({"a": true});
            }
            let whole = json!(members);
            let own = jsonschema::options();
            let ours = compared(Draft::default().detect(&schema), jsonschema::options());
            let (Ok(own), Ok(ours)) = (own.build(&schema), ours.build(&schema)) else { return Ok(()) };
            for value in [&value, &members[0], &whole] {
                prop_assert_eq!(own.is_valid(value), ours.is_valid(value), "{} {}", schema, value);
            }
        }
    }
}
