//! What a variant changes in requests besides sampling.

use std::collections::BTreeMap;
use std::sync::Arc;

use cutover_prompts::Reference;
use serde_json::Value as Json;
use toml::de::DeValue;

use crate::checked::{StructuredOutput, SystemRole, Upstream};
use crate::fields::Kind;
use crate::prompts::Adaptation;
use crate::reader::{Place, Table, Value, Weight};
use crate::sections::shapes;
use crate::values::{self, Wrong};

/// Stop sequences of a variant, at most: what services take at most.
const STOPS_MAX: usize = 4;

/// Longest text of one value, in bytes.
const VALUE_BYTES_MAX: usize = 64 << 10;

/// Names that a template can write: what stands behind `vars.` and `metadata.`.
fn is_word(name: &str) -> bool {
    let head = |c: char| c.is_ascii_alphabetic() || c == '_';
    name.starts_with(head) && name.chars().all(|c| head(c) || c.is_ascii_digit())
}

const NO_WORD: &str = "expected a name of letters, digits and '_', as a template can write it";

pub(crate) fn read(table: &Table<'_>) -> Option<Adaptation> {
    let prompt_given = table.given("prompt").is_some();
    let prompt = table.read("prompt", reference);
    if prompt_given && table.given("system_prompt").is_some() {
        let hint = "put the text into the prompt, as a version of its own".to_owned();
        table.conflict("prompt", "system_prompt is given, too", Some(hint));
    }
    let vars = vars(table, "vars");
    let prompt_metadata = table.read_set("prompt_metadata", |value, kind| {
        let name = values::text(value, kind)?;
        if is_word(&name) { Ok(name) } else { Err(Wrong::new(NO_WORD)) }
    });
    for key in ["vars", "prompt_metadata"] {
        if !prompt_given && table.given(key).is_some() {
            table.warn(key, "ignored: the variant has no prompt", None);
        }
    }
    let system_role = table.read("system_role", values::choice).and_then(SystemRole::from_word);
    let stop = table.read_set("stop", free_text);
    if stop.as_ref().is_some_and(|stop| stop.len() > STOPS_MAX) {
        table.wrong("stop", format!("expected at most {STOPS_MAX} entries"), None);
    }
    let format_instruction = table.read("format_instruction", free_text);
    let structured = table.read("structured_output", values::choice);
    Some(Adaptation {
        structured: structured.and_then(StructuredOutput::from_word),
        prompt,
        version: None,
        vars: Arc::new(vars?),
        prompt_metadata: prompt_metadata?,
        folds_system: system_role? == SystemRole::User,
        stop: stop?,
        format_instruction: format_instruction.map(Arc::from),
    })
}

/// A grammar where the provider's engine takes none.
pub(crate) fn note_grammar(table: &Table<'_>, upstream: &Upstream, adaptation: &Adaptation) {
    let row = cutover_wire::Provider::by_name(upstream.provider.name);
    let has_none = row.is_some_and(|row| row.structured.grammar.is_none());
    if has_none && adaptation.structured == Some(StructuredOutput::Grammar) {
        let message = format!("provider {} takes no grammar", upstream.provider.name);
        let hint = "\"native\", \"json-mode\" or \"instruct-and-repair\"".to_owned();
        table.wrong("structured_output", message, Some(hint));
    }
}

fn reference(value: &Value<'_>, kind: &Kind) -> Result<Reference, Wrong> {
    let text = values::text(value, kind)?;
    Reference::parse(&text).map_err(|why| Wrong {
        hint: Some("such as \"extraction@production\" or \"extraction@3\"".to_owned()),
        ..Wrong::new(why.to_string())
    })
}

/// A text that may have line breaks.
fn free_text(value: &Value<'_>, kind: &Kind) -> Result<String, Wrong> {
    let text = value.get_ref().as_str().ok_or_else(|| Wrong::kind(kind, value))?;
    if text.is_empty() || text.len() > VALUE_BYTES_MAX {
        return Err(Wrong::new(format!("expected a text of 1 to {VALUE_BYTES_MAX} bytes")));
    }
    Ok(text.to_owned())
}

fn vars(table: &Table<'_>, key: &'static str) -> Option<BTreeMap<String, Json>> {
    let mut vars = BTreeMap::new();
    let mut good = true;
    for (name, at, value) in shapes::entries(table, key) {
        let found = if is_word(name) { var(value) } else { Err(Wrong::new(NO_WORD)) };
        match found {
            Ok(value) => _ = vars.insert(name.to_owned(), value),
            Err(wrong) => {
                good = false;
                let path = shapes::entry_path(table, key, name);
                table.context.note(Place::new(wrong.at.unwrap_or(at), path), Weight::Wrong, wrong);
            }
        }
    }
    good.then_some(vars)
}

fn var(value: &Value<'_>) -> Result<Json, Wrong> {
    let text = |text: &str| {
        let fits = text.len() <= VALUE_BYTES_MAX;
        let wrong = || Wrong::new(format!("expected at most {VALUE_BYTES_MAX} bytes"));
        if fits { Ok(Json::from(text)) } else { Err(wrong()) }
    };
    let number =
        |text: &str| serde_json::from_str(text).map_err(|_| Wrong::kind(&Kind::Vars, value));
    match value.get_ref() {
        DeValue::String(found) => text(found),
        DeValue::Boolean(found) => Ok(Json::from(*found)),
        DeValue::Integer(digits) if digits.radix() == 10 => number(digits.as_str()),
        DeValue::Float(digits) => number(digits.as_str()),
        DeValue::Array(list) => list
            .iter()
            .map(|one| match one.get_ref().as_str() {
                Some(found) => text(found),
                None => Err(Wrong::kind(&Kind::List(&Kind::Text), value)),
            })
            .collect(),
        _ => Err(Wrong::kind(&Kind::Vars, value)),
    }
}
