//! The JSON Schema judges as the reader does, as far as a schema can: whatever the reader accepts,
//! the schema accepts; and it knows unknown keys, missing keys and wrong types.

use serde_json::{Value, json};

use super::{EVERYTHING, examples, good};
use crate::json_schema;

/// The keywords that our schema uses, and no more: an unknown keyword fails the test instead of
/// being ignored. Patterns are left out: they repeat what the readers' own tests cover.
fn violations(schema: &Value, value: &Value, path: &str) -> Vec<String> {
    let mut found = Vec::new();
    let keywords = schema.as_object().expect("a schema is an object");
    for (keyword, rule) in keywords {
        let fine = match keyword.as_str() {
            "$schema" | "title" | "description" | "default" | "pattern" | "propertyNames" => true,
            "properties" | "items" | "additionalProperties" => {
                found.extend(inner_violations(keyword, (schema, rule), value, path));
                true
            }
            "type" => has_type(rule.as_str().expect("one type"), value),
            "enum" => rule.as_array().expect("a list").contains(value),
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().expect("a number")),
            "maximum" => value.as_f64().is_none_or(|n| n <= rule.as_f64().expect("a number")),
            "minLength" => value.as_str().is_none_or(|s| !s.is_empty()),
            "required" => {
                let names = rule.as_array().expect("a list").iter().filter_map(Value::as_str);
                value.as_object().is_none_or(|map| names.clone().all(|n| map.contains_key(n)))
            }
            "anyOf" | "oneOf" => {
                let of = rule.as_array().expect("a list");
                let fitting = of.iter().filter(|s| violations(s, value, path).is_empty()).count();
                if keyword == "anyOf" { fitting > 0 } else { fitting == 1 }
            }
            other => panic!("the test does not know the keyword {other}"),
        };
        if !fine {
            found.push(format!("{path}: {keyword}"));
        }
    }
    found
}

fn inner_violations(
    keyword: &str,
    (schema, rule): (&Value, &Value),
    value: &Value,
    path: &str,
) -> Vec<String> {
    match (keyword, value) {
        ("items", Value::Array(values)) => {
            values.iter().flat_map(|v| violations(rule, v, path)).collect()
        }
        ("properties", Value::Object(map)) => map
            .iter()
            .filter_map(|(key, v)| Some((key, rule.get(key)?, v)))
            .flat_map(|(key, rule, v)| violations(rule, v, &format!("{path}.{key}")))
            .collect(),
        ("additionalProperties", Value::Object(map)) => {
            let known = |key: &str| schema.get("properties").is_some_and(|p| p.get(key).is_some());
            let unknown = map.iter().filter(|(key, _)| !known(key));
            unknown
                .flat_map(|(key, v)| match rule {
                    Value::Bool(false) => vec![format!("{path}.{key}: unknown")],
                    rule => violations(rule, v, &format!("{path}.{key}")),
                })
                .collect()
        }
        _ => Vec::new(),
    }
}

fn has_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        other => panic!("the test does not know the type {other}"),
    }
}

fn judged(text: &str) -> Vec<String> {
    let schema: Value = serde_json::from_str(&json_schema()).expect("the schema is JSON");
    let value: toml::Table = toml::from_str(text).expect("valid TOML");
    violations(&schema, &json(&toml::Value::Table(value)), "")
}

fn json(value: &toml::Value) -> Value {
    match value {
        toml::Value::String(text) => json!(text),
        toml::Value::Integer(number) => json!(number),
        toml::Value::Float(number) => json!(number),
        toml::Value::Boolean(flag) => json!(flag),
        toml::Value::Datetime(time) => json!(time.to_string()),
        toml::Value::Array(values) => values.iter().map(json).collect(),
        toml::Value::Table(table) => {
            Value::Object(table.iter().map(|(k, v)| (k.clone(), json(v))).collect())
        }
    }
}

#[test]
fn what_the_reader_accepts_the_schema_accepts() {
    for (_, text) in examples() {
        assert_eq!(judged(&text), Vec::<String>::new());
        assert_eq!(judged(&good(&text).to_toml()), Vec::<String>::new());
    }
    assert_eq!(judged(EVERYTHING), Vec::<String>::new());
    assert_eq!(judged(&good(EVERYTHING).to_toml()), Vec::<String>::new());
}

#[test]
fn the_schema_finds_unknown_keys_missing_keys_and_wrong_types() {
    let cases = [
        ("defualt_upstream = \"a\"", ".defualt_upstream: unknown"),
        ("[server]\nworkers = 0", ".server.workers: minimum"),
        ("[log]\naccess = \"no\"", ".log.access: type"),
        ("[upstreams.a]", ".upstreams.a: required"),
        ("[upstreams.a]\nprovider = \"x\"", ".upstreams.a.provider: enum"),
        ("[admin]\ntoken = { env = \"A\", file = \"b\" }", ".admin.token: oneOf"),
        ("[admin]\ntoken = \"sk\"", ".admin.token: type"),
    ];
    for (text, expected) in cases {
        assert!(judged(text).contains(&expected.to_owned()), "{text}: {:?}", judged(text));
    }
}
