//! Reading JSON out of answers, comparing values, validating against a schema.

use serde_json::{Number, Value};

use crate::options::OptionProblem;
use crate::text::without_fence;

/// Whether a code fence around a document is part of the mistake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fences {
    Strip,
    Reject,
}

impl Fences {
    pub(crate) const CHOICES: &'static [&'static str] = &["strip", "reject"];

    pub(crate) fn named(name: &str) -> Self {
        if name == "strip" { Self::Strip } else { Self::Reject }
    }
}

/// The document that a text is; serde_json bounds its depth.
pub(crate) fn document(text: &str, fences: Fences) -> Option<Value> {
    let text = match fences {
        Fences::Strip => without_fence(text),
        Fences::Reject => text,
    };
    serde_json::from_str(text).ok()
}

/// Equality in which 1 and 1.0 are the same number. The order of members does not count.
pub(crate) fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => same_number(a, b),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => a == b,
    }
}

fn same_number(a: &Number, b: &Number) -> bool {
    if a == b {
        return true;
    }
    // Whole numbers are compared as such: two large ones may round to one float.
    if !a.is_f64() && !b.is_f64() {
        return false;
    }
    matches!((a.as_f64(), b.as_f64()), (Some(a), Some(b)) if (a - b).abs() <= 0.0)
}

/// A compiled JSON Schema. References lead nowhere outside the document: nothing is fetched. Patterns
/// run in linear time, because an answer is not to be trusted with a backtracking engine.
pub(crate) struct Schema(jsonschema::Validator);

impl Schema {
    pub(crate) fn read(key: &str, text: &str) -> Result<Self, OptionProblem> {
        let wrong = |why: String| OptionProblem::new(key, why);
        let schema: Value =
            serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        jsonschema::options()
            .with_pattern_options(jsonschema::PatternOptions::regex())
            .build(&schema)
            .map(Self)
            .map_err(|error| {
                wrong(format!("is no usable schema: {error} (at {})", error.instance_path()))
            })
    }

    pub(crate) fn accepts(&self, value: &Value) -> bool {
        self.0.is_valid(value)
    }
}

/// Whether a value is valid against a schema. One that is no usable schema accepts nothing.
pub fn fits_schema(schema: &str, value: &Value) -> bool {
    Schema::read("schema", schema).is_ok_and(|schema| schema.accepts(value))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_equal_by_value() {
        assert!(equal(&json!({"a": [1, 2.50]}), &json!({"a": [1.0, 2.5]})));
        assert!(!equal(&json!(9_007_199_254_740_993_u64), &json!(9_007_199_254_740_992_u64)));
        assert!(!equal(&json!("1"), &json!(1)));
        assert!(!equal(&json!([1]), &json!([1, 2])));
        assert!(!equal(&json!({"a": 1}), &json!({"b": 1})));
    }

    #[test]
    fn a_schema_fetches_nothing_and_terminates() {
        let remote = Schema::read("schema", r#"{"$ref": "https://example.com/s.json"}"#);
        assert!(remote.is_err());
        assert!(Schema::read("schema", r#"{"type": "strin"}"#).is_err());
        assert!(Schema::read("schema", r#"{"$ref": "file:///etc/passwd"}"#).is_err());
        let endless = Schema::read("schema", r##"{"$ref": "#"}"##).unwrap();
        endless.accepts(&json!({"a": 1}));
        // Exponential in a backtracking engine.
        let hard = Schema::read("schema", r#"{"pattern": "^(a+)+$"}"#).unwrap();
        assert!(!hard.accepts(&json!("a".repeat(40) + "!")));
        assert!(fits_schema(r#"{"required": ["a"]}"#, &json!({"a": 1})));
        assert!(!fits_schema(r#"{"required": ["a"]}"#, &json!({})));
        assert!(!fits_schema("{", &json!({})));
    }
}
