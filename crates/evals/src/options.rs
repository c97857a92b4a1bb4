//! Options of a scorer as data: what may be written, checked in one place.
//!
//! A scorer's row names its options with type, default and meaning. The reader here refuses unknown
//! keys, wrong types and values out of range, fills in defaults, and gives the scorer's constructor
//! values that need no further checks of form. So the config crate reads any scorer without knowing it.

use cutover_units::nearest;
use serde_json::{Map, Value};

/// What an option's value must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OptionType {
    /// true or false.
    Bool,
    /// A whole number in this range, ends included.
    Integer(u64, u64),
    /// A number in this range, ends included.
    Number(f64, f64),
    /// A text that is not empty.
    Text,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// Numbers that are not negative, by name.
    Numbers,
    /// A JSON document as a text. In a config file: the path of the file that holds it.
    Document,
}

impl OptionType {
    /// The type in words.
    pub fn describe(self) -> String {
        match self {
            Self::Bool => "true or false".to_owned(),
            Self::Integer(low, high) => format!("a whole number from {low} to {high}"),
            Self::Number(low, high) if high >= f64::MAX => format!("a number of at least {low}"),
            Self::Number(low, high) => format!("a number from {low} to {high}"),
            Self::Text => "a text".to_owned(),
            Self::Choice(words) => {
                let quoted: Vec<String> = words.iter().map(|word| format!("{word:?}")).collect();
                quoted.join(" or ")
            }
            Self::Texts => "a list of texts".to_owned(),
            Self::Numbers => "a table of numbers that are not negative".to_owned(),
            Self::Document => "a JSON document".to_owned(),
        }
    }
}

/// One option of a scorer.
#[derive(Clone, Copy, Debug)]
pub struct OptionRow {
    /// Its key.
    pub name: &'static str,
    /// What it must be.
    pub kind: OptionType,
    /// What holds when it is not written, as JSON text; `None` = nothing.
    pub default: Option<&'static str>,
    /// Whether it must be written.
    pub required: bool,
    /// What it means.
    pub doc: &'static str,
}

impl OptionRow {
    /// An option with a default.
    pub(crate) const fn new(
        name: &'static str,
        kind: OptionType,
        default: &'static str,
        doc: &'static str,
    ) -> Self {
        Self { name, kind, default: Some(default), required: false, doc }
    }

    /// An option that must be written.
    pub(crate) const fn required(name: &'static str, kind: OptionType, doc: &'static str) -> Self {
        Self { name, kind, default: None, required: true, doc }
    }

    /// An option that may be absent.
    pub(crate) const fn optional(name: &'static str, kind: OptionType, doc: &'static str) -> Self {
        Self { name, kind, default: None, required: false, doc }
    }

    /// The default as a value.
    pub fn default_value(&self) -> Option<Value> {
        self.default.and_then(|text| serde_json::from_str(text).ok())
    }
}

/// A mistake in a scorer's options.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {why}{}", suggestion.as_ref().map(|s| format!("; {s}")).unwrap_or_default())]
pub struct OptionProblem {
    /// The option, or `kind` when there is no such scorer.
    pub key: String,
    /// What is wrong.
    pub why: String,
    /// What to write instead, where that can be guessed.
    pub suggestion: Option<String>,
}

impl OptionProblem {
    pub(crate) fn new(key: &str, why: impl Into<String>) -> Self {
        Self { key: key.to_owned(), why: why.into(), suggestion: None }
    }

    pub(crate) fn suggest(self, suggestion: impl Into<String>) -> Self {
        Self { suggestion: Some(suggestion.into()), ..self }
    }
}

/// Checked options with all defaults filled in, in the order of the table.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Options(Map<String, Value>);

impl Options {
    pub(crate) fn read(
        rows: &[OptionRow],
        written: &Map<String, Value>,
    ) -> Result<Self, OptionProblem> {
        for key in written.keys() {
            if !rows.iter().any(|row| row.name == key) {
                let problem = OptionProblem::new(key, "there is no such option");
                let near = nearest(key, rows.iter().map(|row| row.name));
                return Err(match near {
                    Some(name) => problem.suggest(format!("did you mean {name}?")),
                    None => problem,
                });
            }
        }
        let mut values = Map::new();
        for row in rows {
            match written.get(row.name).filter(|value| !value.is_null()) {
                Some(value) => {
                    check(row, value)?;
                    values.insert(row.name.to_owned(), canonical(row.kind, value));
                }
                None if row.required => {
                    return Err(OptionProblem::new(row.name, "is required").suggest(row.doc));
                }
                None => {
                    if let Some(value) = row.default_value() {
                        values.insert(row.name.to_owned(), canonical(row.kind, &value));
                    }
                }
            }
        }
        Ok(Self(values))
    }

    pub(crate) fn values(&self) -> &Map<String, Value> {
        &self.0
    }

    pub(crate) fn bool(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn integer(&self, name: &str) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(0)
    }

    pub(crate) fn number(&self, name: &str) -> f64 {
        self.0.get(name).and_then(Value::as_f64).unwrap_or(0.0)
    }

    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or("")
    }

    pub(crate) fn given(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(crate) fn texts(&self, name: &str) -> Vec<String> {
        let list = self.0.get(name).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    }

    pub(crate) fn numbers(&self, name: &str) -> Vec<(String, f64)> {
        let map = self.0.get(name).and_then(Value::as_object);
        map.into_iter()
            .flatten()
            .filter_map(|(key, value)| value.as_f64().map(|number| (key.clone(), number)))
            .collect()
    }
}

/// One spelling for what means the same, so that a version does not hang on spelling: 1 and 1.0, the
/// order of a table, the white space of a document.
fn canonical(kind: OptionType, value: &Value) -> Value {
    let float = |value: &Value| value.as_f64().map_or_else(|| value.clone(), Value::from);
    match (kind, value) {
        (OptionType::Number(..), number) => float(number),
        (OptionType::Numbers, Value::Object(map)) => {
            let mut entries: Vec<(&String, &Value)> = map.iter().collect();
            entries.sort_by_key(|(key, _)| key.as_str());
            entries.into_iter().map(|(key, value)| (key.clone(), float(value))).collect()
        }
        (OptionType::Document, Value::String(text)) => {
            let document = serde_json::from_str::<Value>(text);
            document.map_or_else(|_| value.clone(), |document| Value::from(document.to_string()))
        }
        _ => value.clone(),
    }
}

fn check(row: &OptionRow, value: &Value) -> Result<(), OptionProblem> {
    let problem = |why: String| Err(OptionProblem::new(row.name, why));
    let good = match row.kind {
        OptionType::Bool => value.is_boolean(),
        OptionType::Integer(low, high) => value.as_u64().is_some_and(|n| low <= n && n <= high),
        OptionType::Number(low, high) => value.as_f64().is_some_and(|n| low <= n && n <= high),
        OptionType::Text => value.as_str().is_some_and(|text| !text.trim().is_empty()),
        OptionType::Choice(words) => {
            let Some(word) = value.as_str() else { return problem(row.kind.describe()) };
            if words.contains(&word) {
                return Ok(());
            }
            let wrong =
                OptionProblem::new(row.name, format!("{word:?} is not {}", row.kind.describe()));
            return Err(match nearest(word, words.iter().copied()) {
                Some(near) => wrong.suggest(format!("did you mean {near:?}?")),
                None => wrong,
            });
        }
        OptionType::Texts => value
            .as_array()
            .is_some_and(|list| list.iter().all(|v| v.as_str().is_some_and(|t| !t.is_empty()))),
        OptionType::Numbers => value
            .as_object()
            .is_some_and(|map| map.values().all(|v| v.as_f64().is_some_and(|n| n >= 0.0))),
        OptionType::Document => {
            let Some(text) = value.as_str() else { return problem(row.kind.describe()) };
            return match serde_json::from_str::<Value>(text) {
                Ok(_) => Ok(()),
                Err(error) => problem(format!("is not JSON: {error}")),
            };
        }
    };
    if good { Ok(()) } else { problem(format!("must be {}", row.kind.describe())) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const ROWS: &[OptionRow] = &[
        OptionRow::new("case", OptionType::Bool, "true", "whether case counts"),
        OptionRow::new("order", OptionType::Choice(&["any", "given"]), "\"any\"", "the order"),
        OptionRow::required("url", OptionType::Text, "where"),
    ];

    fn read(value: &Value) -> Result<Options, OptionProblem> {
        Options::read(ROWS, value.as_object().expect("an object"))
    }

    #[test]
    fn defaults_are_filled_in_the_order_of_the_table() {
        let options = read(&json!({"url": "x"})).unwrap();
        let keys: Vec<&String> = options.values().keys().collect();
        assert_eq!(keys, ["case", "order", "url"]);
        assert!(options.bool("case"));
    }

    #[test]
    fn mistakes_come_with_a_suggestion() {
        let told = |value: Value| read(&value).unwrap_err().to_string();
        insta::assert_snapshot!([
            told(json!({"url": "x", "ordr": "any"})),
            told(json!({"url": "x", "order": "givn"})),
            told(json!({"url": "x", "case": 1})),
            told(json!({"url": " "})),
            told(json!({})),
        ].join("\n"), @r#"
        ordr: there is no such option; did you mean order?
        order: "givn" is not "any" or "given"; did you mean "given"?
        case: must be true or false
        url: must be a text
        url: is required; where
        "#);
    }
}
