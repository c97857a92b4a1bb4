//! Google's own form of schemas (`responseSchema`, `parameters`) as JSON schemas: types in small letters,
//! `nullable` as a type, limits as numbers. What else stands in one is copied as the client wrote it.

use cutover_wire::Fault;

use super::names::object;
use crate::read::{At, Obj, list};
use crate::write::Json;

/// Limits that are numbers in a JSON schema, and texts in Google's.
const COUNTS: [&str; 6] =
    ["minItems", "maxItems", "minLength", "maxLength", "minProperties", "maxProperties"];

/// What is copied as it stands.
const COPIED: [&str; 7] =
    ["title", "description", "pattern", "default", "minimum", "maximum", "required"];

/// A schema of Google's as a JSON schema.
pub(super) fn json_schema(raw: &str, at: At<'_>) -> Result<String, Fault> {
    let mut json = Json::new();
    write(&mut json, raw, at)?;
    Ok(json.into_string())
}

fn write(json: &mut Json, raw: &str, at: At<'_>) -> Result<(), Fault> {
    let schema = object(raw, at)?;
    let mut inner = Json::new();
    let nullable = schema.flag(at, "nullable")? == Some(true);
    kind(&schema, (&mut inner, nullable), at)?;
    for key in COPIED {
        if let Some(raw) = schema.get(key) {
            inner.put_raw(key, Some(raw));
        }
    }
    for key in COUNTS {
        if let Some(raw) = schema.get(key) {
            inner.put_raw(key, Some(count(raw, at.key(key))?));
        }
    }
    if let Some(raw) = schema.get("example") {
        inner.put_array("examples", |j| j.raw(raw));
    }
    if let Some(raw) = schema.get("items") {
        write(inner.key("items"), raw, at.key("items"))?;
    }
    properties(&schema, &mut inner, at)?;
    // `enum` is a format of Google's alone, and says what `enum` says.
    if let Some(raw) = schema.get("format").filter(|raw| *raw != "\"enum\"") {
        inner.put_raw("format", Some(raw));
    }
    let rest: Vec<String> = schema.rest().map(str::to_owned).collect();
    for key in rest {
        inner.put_raw(&key, schema.get(&key));
    }
    json.object(|j| j.members(&inner.into_string()));
    Ok(())
}

/// `type`, `enum` and `anyOf`, each with null if that is allowed.
fn kind(schema: &Obj<'_>, (json, nullable): (&mut Json, bool), at: At<'_>) -> Result<(), Fault> {
    let word = schema.word(at, "type")?.to_ascii_lowercase();
    let known = ["string", "number", "integer", "boolean", "array", "object", "null"];
    match word.as_str() {
        "" | "type_unspecified" => {}
        word if !known.contains(&word) => {
            return Err(at.key("type").invalid("names no type"));
        }
        word if nullable => json.put_array("type", |j| {
            j.text(word);
            j.text("null");
        }),
        word => json.put("type", word),
    }
    if let Some(raw) = schema.get("enum") {
        let words = list(raw, at.key("enum"))?;
        json.put_array("enum", |j| {
            for word in words {
                j.raw(word);
            }
            if nullable {
                j.null();
            }
        });
    }
    let Some(raw) = schema.get("anyOf") else { return Ok(()) };
    let here = at.key("anyOf");
    let mut some = Json::new();
    for (index, raw) in list(raw, here)?.into_iter().enumerate() {
        write(&mut some, raw, here.item(index))?;
    }
    if nullable && word.is_empty() {
        some.object(|j| j.put("type", "null"));
    }
    json.put_array("anyOf", |j| j.members(&some.into_string()));
    Ok(())
}

/// The properties, in the order that is asked for: models write them in the schema's.
fn properties(schema: &Obj<'_>, json: &mut Json, at: At<'_>) -> Result<(), Fault> {
    let order = schema.list(at, "propertyOrdering")?.unwrap_or_default();
    let Some(raw) = schema.get("properties") else { return Ok(()) };
    let here = at.key("properties");
    let properties = Obj::read(raw, here)?;
    let literal = |name: &str| serde_json::Value::from(name).to_string();
    let mut named: Vec<(&str, &str)> = properties.each().collect();
    let place = |name: &str| order.iter().position(|raw| *raw == literal(name));
    named.sort_by_key(|(name, _)| place(name).unwrap_or(usize::MAX));
    let mut inner = Json::new();
    for (name, raw) in named {
        write(inner.key(name), raw, here.key(name))?;
    }
    json.put_object("properties", |j| j.members(&inner.into_string()));
    Ok(())
}

/// A count: a number, or the text of one.
fn count<'a>(raw: &'a str, at: At<'_>) -> Result<&'a str, Fault> {
    let digits = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"')).unwrap_or(raw);
    let whole = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    let plain = whole && (digits.len() == 1 || !digits.starts_with('0'));
    if plain { Ok(digits) } else { Err(at.wrong_type("an integer")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn turned(schema: &Value) -> Value {
        let text = json_schema(&schema.to_string(), At::Root).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"))
    }

    #[test]
    fn a_schema_of_googles_becomes_a_json_schema() {
        let theirs = json!({
            "type": "OBJECT", "property_ordering": ["b", "a"], "required": ["a"],
            "properties": {
                "a": {"type": "STRING", "format": "enum", "enum": ["x", "y"], "nullable": true},
                "b": {"type": "ARRAY", "minItems": "1", "max_items": 3,
                      "items": {"anyOf": [{"type": "INTEGER"}, {"type": "STRING"}], "nullable": true}},
                "type": {"type": "NUMBER", "minimum": 0.5, "example": 1, "format": "float"},
            },
            "additionalProperties": false,
        });
        let ours = json!({
            "type": "object", "required": ["a"],
            "properties": {
                "a": {"type": ["string", "null"], "enum": ["x", "y", null]},
                "b": {"type": "array", "minItems": 1, "maxItems": 3,
                      "items": {"anyOf": [{"type": "integer"}, {"type": "string"}, {"type": "null"}]}},
                "type": {"type": "number", "minimum": 0.5, "examples": [1], "format": "float"},
            },
            "additionalProperties": false,
        });
        assert_eq!(turned(&theirs), ours);
        let text = json_schema(&theirs.to_string(), At::Root).unwrap();
        assert!(text.find("\"b\":").unwrap() < text.find("\"a\":").unwrap(), "{text}");
        // One that is a JSON schema already stays one.
        assert_eq!(turned(&ours["properties"]["b"]["items"]), ours["properties"]["b"]["items"]);
    }

    #[test]
    fn what_is_wrong_in_a_schema_is_named() {
        let named = |schema: Value| {
            let at = At::Root.key("responseSchema");
            json_schema(&schema.to_string(), at).unwrap_err().param.unwrap()
        };
        assert_eq!(named(json!([])), "responseSchema");
        assert_eq!(named(json!({"type": "DATE"})), "responseSchema.type");
        assert_eq!(named(json!({"items": {"minItems": "-1"}})), "responseSchema.items.minItems");
        assert_eq!(named(json!({"properties": {"a": 1}})), "responseSchema.properties.a");
        assert_eq!(named(json!({"nullable": "yes"})), "responseSchema.nullable");
    }
}
