//! Google's published description of an API (a discovery document) as a judge of JSON.

use std::fs;

use serde_json::Value;

use crate::rig::{self, Unavailable};

/// The types of an API.
#[derive(Clone, Debug)]
pub struct Discovery(Value);

impl Discovery {
    /// The Gemini API's (v1beta), of 29 May 2026.
    pub fn gemini() -> Result<Self, Unavailable> {
        let path = rig::gemini_spec()?;
        let text = fs::read_to_string(&path)
            .map_err(|error| Unavailable(format!("reading {}: {error}", path.display())))?;
        let document = serde_json::from_str(&text)
            .map_err(|error| Unavailable(format!("{}: {error}", path.display())))?;
        Ok(Self(document))
    }

    /// Whether a value is of a type. An error is in the service's own words.
    pub fn check(&self, kind: &str, value: &Value) -> Result<(), String> {
        let schema = self.0["schemas"].get(kind).ok_or_else(|| format!("no type {kind}"))?;
        self.fits(schema, value, "")
    }

    fn fits(&self, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
        if let Some(target) = schema["$ref"].as_str() {
            return self.fits(&self.0["schemas"][target], value, path);
        }
        let wrong = |kind: &str| Err(format!("Invalid value at '{path}' ({kind}), {value}"));
        let format = schema["format"].as_str().unwrap_or_default();
        match schema["type"].as_str().unwrap_or("any") {
            "object" => self.members(schema, value, path),
            "array" => match value.as_array() {
                None => wrong("list"),
                Some(list) => list.iter().enumerate().try_for_each(|(at, item)| {
                    self.fits(&schema["items"], item, &format!("{path}[{at}]"))
                }),
            },
            "boolean" if !value.is_boolean() => wrong("TYPE_BOOL"),
            "number" if !value.is_number() => wrong("TYPE_FLOAT"),
            "integer" if !value.is_i64() => wrong("TYPE_INT32"),
            "string" => match value.as_str() {
                None => wrong("TYPE_STRING"),
                Some(text) if format == "byte" && !is_base64(text) => wrong("TYPE_BYTES"),
                Some(text) if format == "int64" && text.parse::<i64>().is_err() => {
                    wrong("TYPE_INT64")
                }
                Some(text) => match schema["enum"].as_array() {
                    Some(words) if !words.iter().any(|word| word == text) => wrong("enum"),
                    _ => Ok(()),
                },
            },
            // "any" among them.
            _ => Ok(()),
        }
    }

    fn members(&self, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
        let Some(members) = value.as_object() else {
            return Err(format!("Invalid value at '{path}' (object), {value}"));
        };
        let others = schema.get("additionalProperties");
        for (name, value) in members {
            let inner = schema["properties"].get(name).or(others);
            let Some(inner) = inner else {
                let place = if path.is_empty() { String::new() } else { format!(" at '{path}'") };
                return Err(format!(
                    "Invalid JSON payload received. Unknown name \"{name}\"{place}: Cannot find field."
                ));
            };
            let dot = if path.is_empty() { "" } else { "." };
            self.fits(inner, value, &format!("{path}{dot}{name}"))?;
        }
        Ok(())
    }
}

fn is_base64(text: &str) -> bool {
    let plain = text.trim_end_matches('=');
    plain.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn small() -> Discovery {
        Discovery(json!({"schemas": {
            "A": {"type": "object", "properties": {
                "b": {"$ref": "B"}, "list": {"type": "array", "items": {"type": "integer"}},
                "data": {"type": "string", "format": "byte"}, "free": {"type": "any"}}},
            "B": {"type": "object", "properties": {"word": {"type": "string", "enum": ["X", "Y"]}}},
        }}))
    }

    #[test]
    fn what_fits_fits_and_what_does_not_is_named() {
        let all = json!({"b": {"word": "X"}, "list": [1, 2], "data": "AbC+/w==", "free": [{}]});
        assert_eq!(small().check("A", &all), Ok(()));
        for (value, words) in [
            (json!({"c": 1}), "Unknown name \"c\": "),
            (json!({"b": {"x": 1}}), "Unknown name \"x\" at 'b'"),
            (json!({"b": {"word": "Z"}}), "at 'b.word' (enum)"),
            (json!({"list": [1, "2"]}), "at 'list[1]' (TYPE_INT32)"),
            (json!({"data": "a b"}), "at 'data' (TYPE_BYTES)"),
            (json!([]), "(object)"),
        ] {
            let why = small().check("A", &value).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }
}
