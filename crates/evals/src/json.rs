//! Reading JSON out of answers, and comparing values.

use serde_json::{Number, Value};

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
}
