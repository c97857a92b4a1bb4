//! The reference and the JSON Schema of the file, printed from the table of fields.

mod scorers;

use std::fmt::Write as _;

use serde_json::{Map, Value, json};

use crate::fields::{Field, GATE, Kind, Preset, ROOT, SCORER, SECRET, SHAPES, STEP, Section, UNIT};
use crate::providers::{POLICIES, PROVIDERS};
use crate::quantity::{print_duration, print_size};

/// `docs/reference/config.md`.
pub fn reference_markdown() -> String {
    let mut out = String::from(
        "# The configuration file\n\n\
         <!-- Generated from the table of fields in crates/config; do not edit. -->\n\n\
         One TOML file. Everything is optional: with an empty file, or none, cutover serves from \
         the embedded engine. `cutover check FILE` shows every mistake at once, with its line, and \
         prints the full form with all defaults. `config.schema.json` beside this page serves \
         editors.\n\n\
         - A **duration** is a whole number and `ms`, `s`, `min`, `h` or `d`: `\"10 s\"`.\n\
         - A **size** is a whole number and `B`, `KiB`, `MiB` or `GiB`: `\"32 MiB\"`.\n\
         - A **percentage** has at most two decimals: `\"0.5%\"`.\n\
         - A **price** is in US dollars per million tokens and exact to nine decimals: `\"0.15\"`.\n\
         - A **secret** never stands in the file. `{ env = \"NAME\" }` or `{ file = \"PATH\" }` says \
         where it is.\n\
         - A **path** that is relative starts at the config file's folder.\n\
         - A **name** has at most 64 letters, digits, `.`, `_` and `-`, and starts with a letter or \
         digit.\n",
    );
    let mut sections = vec![("(top level)".to_owned(), &ROOT)];
    collect(&ROOT, &mut sections);
    for (title, section) in &sections {
        let _ = write!(out, "\n## {title}\n\n{}\n\n", section.doc);
        table(section, &mut out);
        if section.path == "upstreams.NAME" {
            providers(&mut out);
            policies(&mut out);
        }
        if section.path == SCORER.path {
            scorers::table(&mut out);
        }
    }
    out.push_str("\n## Shapes inside values\n");
    for section in SHAPES {
        let _ = write!(out, "\n### {}\n\n{}\n\n", section.path, section.doc);
        table(section, &mut out);
    }
    out
}

/// All sections below one, in the order of the table, with their headings.
fn collect(section: &'static Section, sections: &mut Vec<(String, &'static Section)>) {
    for field in section.fields {
        if let Kind::Table(inner) | Kind::Named(inner) = field.kind {
            sections.push((format!("`[{}]`", inner.path), inner));
            collect(inner, sections);
        }
        if matches!(field.kind, Kind::Scorer) {
            sections.push((format!("`[{}]`", SCORER.path), &SCORER));
        }
    }
}

fn table(section: &Section, out: &mut String) {
    out.push_str("| key | value | default | meaning | since |\n|---|---|---|---|---|\n");
    for field in section.fields {
        let default = match field.preset {
            Preset::Required => "**required**".to_owned(),
            Preset::Value(toml) => format!("`{toml}`"),
            Preset::Words(words) => words.to_owned(),
        };
        let cells = [
            format!("`{}`", field.key),
            value_words(&field.kind),
            default,
            field.doc.to_owned(),
            field.since.to_owned(),
        ];
        let cells: Vec<_> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
        let _ = writeln!(out, "| {} |", cells.join(" | "));
    }
}

/// The value's type and limits for a reader of the reference.
fn value_words(kind: &Kind) -> String {
    match *kind {
        Kind::Integer { min: i64::MIN, max: i64::MAX } => "whole number".to_owned(),
        Kind::Integer { min, max } => format!("whole number, {min} to {max}"),
        Kind::Number { min, max } => format!("number, {min} to {max}"),
        Kind::Duration { min_ms, max_ms } => {
            let print = |ms| print_duration(std::time::Duration::from_millis(ms));
            format!("duration, {} to {}", print(min_ms), print(max_ms))
        }
        Kind::Size { min, max } => format!("size, {} to {}", print_size(min), print_size(max)),
        Kind::Table(section) | Kind::Named(section) => format!("see `[{}]`", section.path),
        Kind::Scorer => format!("see `[{}]`", SCORER.path),
        kind => kind.words(),
    }
}

fn providers(out: &mut String) {
    out.push_str("\n| provider | what it is | usual address |\n|---|---|---|\n");
    for provider in PROVIDERS {
        let address = provider.default_base.map_or("-".to_owned(), |a| format!("`{a}`"));
        let _ = writeln!(out, "| `{}` | {} | {address} |", provider.name, provider.doc);
    }
}

fn policies(out: &mut String) {
    out.push_str("\n| balance | how an instance is chosen |\n|---|---|\n");
    for policy in POLICIES {
        let _ = writeln!(out, "| `{}` | {} |", policy.name, policy.doc);
    }
}

/// `docs/reference/config.schema.json`, JSON Schema draft 2020-12.
pub fn json_schema() -> String {
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!("cutover.toml"));
    schema.extend(object(&ROOT));
    let mut schema = Value::Object(schema);
    // Whether serde_json keeps the order of insertion depends on what else is in the same build.
    schema.sort_all_objects();
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

fn object(section: &Section) -> Map<String, Value> {
    let properties: Map<_, _> =
        section.fields.iter().map(|field| (field.key.to_owned(), property(field))).collect();
    let required: Vec<_> = section
        .fields
        .iter()
        .filter(|field| field.preset == Preset::Required)
        .map(|field| field.key)
        .collect();
    let mut object = Map::new();
    object.insert("type".into(), json!("object"));
    object.insert("description".into(), json!(section.doc));
    object.insert("properties".into(), Value::Object(properties));
    object.insert("additionalProperties".into(), json!(false));
    if !required.is_empty() {
        object.insert("required".into(), json!(required));
    }
    object
}

fn property(field: &Field) -> Value {
    let mut property = value_schema(&field.kind);
    property.insert("description".into(), json!(field.doc));
    if let Preset::Value(toml) = field.preset
        && let Some(default) = default_json(toml)
    {
        property.insert("default".into(), default);
    }
    Value::Object(property)
}

/// A default as JSON. Defaults are scalars or empty containers.
fn default_json(toml: &str) -> Option<Value> {
    serde_json::from_str(toml).ok()
}

/// A text that holds one line of something.
const LINE: &str = r"^[^\u0000-\u001f\u007f]+$";

fn value_schema(kind: &Kind) -> Map<String, Value> {
    let text = |pattern: &str| json!({ "type": "string", "pattern": pattern });
    let schema = match *kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Integer { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Kind::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Text | Kind::Path | Kind::Name(_) => text(LINE),
        Kind::Choice(words) => json!({ "enum": words }),
        Kind::Duration { .. } => text(r"^\s*[0-9]+\s*(ms|s|min|h|d)\s*$"),
        Kind::Size { .. } => text(r"^\s*[0-9]+\s*(B|KiB|MiB|GiB)\s*$"),
        Kind::Percent => text(r"^\s*[0-9]{1,3}(\.[0-9]{0,2})?\s*%\s*$"),
        Kind::Price => json!({ "anyOf": [
            { "type": "string", "pattern": r"^[0-9]+(\.[0-9]{1,9})?$" },
            { "type": "number", "minimum": 0 },
        ] }),
        Kind::Listen => text(r"^.+:[0-9]{1,5}$"),
        Kind::Url => text("^[Hh][Tt][Tt][Pp][Ss]?://[^ ?#]+$"),
        Kind::List(of) => json!({ "type": "array", "items": value_schema(of) }),
        Kind::TextMap => {
            json!({ "type": "object", "additionalProperties": { "type": "string" } })
        }
        Kind::Vars => json!({ "type": "object", "additionalProperties": { "anyOf": [
            { "type": "string" },
            { "type": "number" },
            { "type": "boolean" },
            { "type": "array", "items": { "type": "string" } },
        ] } }),
        Kind::HeaderMap => json!({ "type": "object", "additionalProperties": {
            "anyOf": [{ "type": "string" }, one_of(&SECRET, &["env", "file"])],
        } }),
        Kind::Secret => one_of(&SECRET, &["env", "file"]),
        Kind::UpstreamKey => json!({ "anyOf": [
            { "enum": ["client", "none"] },
            one_of(&SECRET, &["env", "file"]),
        ] }),
        Kind::Prompt => json!({ "anyOf": [
            { "type": "string", "minLength": 1 },
            object(&crate::fields::PROMPT),
        ] }),
        Kind::Unit => json!({ "anyOf": [
            { "enum": ["user", "key", "request"] },
            one_of(&UNIT, &["header", "metadata"]),
        ] }),
        Kind::KeepAlive => text(r"^(forever|\s*[0-9]+\s*(ms|s|min|h|d)\s*)$"),
        Kind::Usd => json!({ "anyOf": [
            { "type": "string", "pattern": r"^(unlimited|[0-9]+(\.[0-9]{1,9})?)$" },
            { "type": "number", "minimum": 0 },
        ] }),
        Kind::WebUrl => text("^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$"),
        Kind::Gate => json!({ "anyOf": [{ "type": "string" }, object(&GATE)] }),
        Kind::Step => json!({ "anyOf": [{ "type": "string" }, object(&STEP)] }),
        Kind::Scorer => scorers::schema(),
        Kind::Table(section) => Value::Object(object(section)),
        Kind::Named(section) => json!({
            "type": "object",
            "propertyNames": { "pattern": "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$" },
            "additionalProperties": object(section),
        }),
    };
    match schema {
        Value::Object(map) => map,
        // Every arm above is an object.
        _ => Map::new(),
    }
}

/// An object of which exactly one of some keys is given.
fn one_of(section: &Section, keys: &[&str]) -> Value {
    let mut object = object(section);
    let alternatives: Vec<_> = keys.iter().map(|key| json!({ "required": [key] })).collect();
    object.insert("oneOf".into(), json!(alternatives));
    Value::Object(object)
}
