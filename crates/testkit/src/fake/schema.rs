//! A value that satisfies a JSON schema: what an engine with constrained output would produce.

use serde_json::{Map, Value, json};

/// The smallest instance of `schema` this knows how to build; deterministic.
pub(super) fn instance(schema: &Value) -> Value {
    build(schema, schema, 0)
}

fn build(schema: &Value, root: &Value, depth: usize) -> Value {
    if depth > 16 {
        return Value::Null;
    }
    let next = |part: &Value| build(part, root, depth + 1);
    if let Some(value) = schema.get("const") {
        return value.clone();
    }
    if let Some(first) = schema.get("enum").and_then(|list| list.get(0)) {
        return first.clone();
    }
    if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
        return root.pointer(target.trim_start_matches('#')).map_or(Value::Null, next);
    }
    if let Some(first) = ["anyOf", "oneOf"].iter().find_map(|key| schema.get(key)?.get(0)) {
        return next(first);
    }
    let kind = match schema.get("type") {
        Some(Value::Array(kinds)) => kinds.first().and_then(Value::as_str),
        other => other.and_then(Value::as_str),
    };
    match kind {
        Some("object") => {
            let properties = schema.get("properties").and_then(Value::as_object);
            let built = properties
                .into_iter()
                .flatten()
                .map(|(name, part)| (name.clone(), next(part)))
                .collect::<Map<String, Value>>();
            Value::Object(built)
        }
        Some("array") => json!([schema.get("items").map_or(Value::Null, next)]),
        Some("string") => json!("Ann"),
        Some("integer") => schema.get("minimum").cloned().unwrap_or(json!(30)),
        Some("number") => schema.get("minimum").cloned().unwrap_or(json!(1.5)),
        Some("boolean") => json!(true),
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_follow_the_schema() {
        let schema = json!({
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "age": {"type": "integer"},
                "mood": {"enum": ["calm", "cross"]},
                "child": {"$ref": "#/$defs/child"},
                "tags": {"type": "array", "items": {"type": "boolean"}},
            },
            "$defs": {"child": {"type": ["object", "null"], "properties": {}}},
        });
        let expected =
            json!({"name": "Ann", "age": 30, "mood": "calm", "child": {}, "tags": [true]});
        assert_eq!(instance(&schema), expected);
    }
}
