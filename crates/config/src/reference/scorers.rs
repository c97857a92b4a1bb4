//! The kinds of scorers in reference and schema, from their own table.

use std::fmt::Write as _;

use cutover_evals::{OptionRow, OptionType, Row, SCORERS};
use serde_json::{Map, Value, json};

use super::{SCORER, object};

/// All kinds with their options.
pub(super) fn table(out: &mut String) {
    out.push_str("\n| kind | what it does | its own options |\n|---|---|---|\n");
    for row in SCORERS {
        let options: Vec<_> = row.options.iter().map(option_words).collect();
        let options = if options.is_empty() { "none".to_owned() } else { options.join("; ") };
        let cells = [row.doc, &options].map(|cell| cell.replace('|', "\\|"));
        let _ = writeln!(out, "| `{}` | {} | {} |", row.kind, cells[0], cells[1]);
    }
}

fn option_words(option: &OptionRow) -> String {
    let default = match (option.required, option.default) {
        (true, _) => " (required)".to_owned(),
        // Long texts stand in the scorers' own page.
        (_, Some(default)) if default.len() <= 16 => format!(" (`{default}`)"),
        _ => String::new(),
    };
    let file = if option.kind == OptionType::Document { ", a file" } else { "" };
    format!("`{}`{file}{default}", option.name)
}

/// One object per kind, told apart by `kind`.
pub(super) fn schema() -> Value {
    json!({ "oneOf": SCORERS.iter().map(kind).collect::<Vec<_>>() })
}

fn kind(row: &Row) -> Value {
    let mut schema = object(&SCORER);
    let mut required = vec![json!("kind")];
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("kind".to_owned(), json!({ "enum": [row.kind] }));
        for option in row.options {
            properties.insert(option.name.to_owned(), Value::Object(property(option)));
        }
    }
    required.extend(row.options.iter().filter(|o| o.required).map(|option| json!(option.name)));
    schema.insert("description".to_owned(), json!(row.doc));
    schema.insert("required".to_owned(), Value::Array(required));
    Value::Object(schema)
}

fn property(option: &OptionRow) -> Map<String, Value> {
    let schema = match option.kind {
        OptionType::Bool => json!({ "type": "boolean" }),
        OptionType::Integer(min, max) => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        OptionType::Number(min, max) if max >= f64::MAX => {
            json!({ "type": "number", "minimum": min })
        }
        OptionType::Number(min, max) => {
            json!({ "type": "number", "minimum": min, "maximum": max })
        }
        OptionType::Text | OptionType::Document => json!({ "type": "string", "minLength": 1 }),
        OptionType::Choice(words) => json!({ "enum": words }),
        OptionType::Texts => {
            json!({ "type": "array", "items": { "type": "string", "minLength": 1 } })
        }
        OptionType::Numbers => json!({
            "type": "object",
            "additionalProperties": { "type": "number", "minimum": 0 },
        }),
    };
    let Value::Object(mut schema) = schema else { return Map::new() };
    schema.insert("description".to_owned(), json!(option.doc));
    if let Some(default) = option.default_value() {
        schema.insert("default".to_owned(), default);
    }
    schema
}
