//! How deep and how large a schema is with its references followed.

use std::collections::{HashMap, HashSet};

use cutover_json::levels;
use serde_json::{Map, Value};

use super::keywords::{Place, REFERENCES, held};
use super::references::References;

/// Levels within one another, if each reference is followed once. The validator goes through them by recursion:
/// this many take less than half a megabyte of a thread's stack.
const DEPTH_MAX: usize = 1_000;
/// Values in it, if each reference is followed wherever it stands, and what lies aside counts as it stands.
const SIZE_MAX: usize = 100_000;
/// Names of `properties` that are matched with a pattern beside them when a schema is compiled, for a value.
const MATCHED: usize = 32;

/// Refuses lists that hold something else than names. They are compared for what stands in them twice before it
/// is seen what that is, and no bound holds for that.
pub(super) fn refuse_no_names(references: &References<'_>) -> Result<(), String> {
    let keywords = references.schemas().iter().filter_map(|schema| schema.as_object()).flatten();
    for (keyword, value) in keywords {
        let by_name = matches!(keyword.as_str(), "dependentRequired" | "dependencies");
        let members = value.as_object().filter(|_| by_name).into_iter().flat_map(Map::values);
        let alone = matches!(keyword.as_str(), "required" | "type").then_some(value);
        let items = members.chain(alone).filter_map(Value::as_array).flatten();
        if let Some(other) = items.into_iter().find(|item| !item.is_string()) {
            let shown: String = other.to_string().chars().take(80).collect();
            return Err(format!("has a list of names ({keyword:?}) that holds {shown}"));
        }
    }
    Ok(())
}

/// By an upper bound of how deep a compiler goes that follows references: each may lead to the deepest place.
pub(super) fn refuse_deep(document: &Value, references: &References<'_>) -> Result<(), String> {
    let depth = levels(document).saturating_mul(references.count() + 1);
    if depth > DEPTH_MAX {
        return Err(format!(
            "is too deep: {depth} levels with its references followed, of at most {DEPTH_MAX}"
        ));
    }
    Ok(())
}

pub(super) fn refuse_large(document: &Value, references: &References<'_>) -> Result<(), String> {
    if size(document, references) > SIZE_MAX {
        return Err(format!(
            "is too large: more than {SIZE_MAX} values with its references followed"
        ));
    }
    Ok(())
}

/// How many values a compiler may have to look at.
pub(super) fn size(document: &Value, references: &References<'_>) -> usize {
    Sizing { references, known: HashMap::new(), aside: HashSet::new() }.schema(document)
}

struct Sizing<'r, 'v> {
    references: &'r References<'v>,
    known: HashMap<*const Value, usize>,
    aside: HashSet<*const Value>,
}

impl<'v> Sizing<'_, 'v> {
    fn schema(&mut self, schema: &'v Value) -> usize {
        let Value::Object(keywords) = schema else { return data(schema) };
        let count =
            |keyword: &str| keywords.get(keyword).and_then(Value::as_object).map_or(0, Map::len);
        let matched = count("patternProperties").saturating_mul(count("properties")) / MATCHED;
        keywords.iter().fold(1 + matched, |sum: usize, (keyword, value)| {
            let led = match (held(keyword, value), value) {
                // What these lead to counts where they are referred to; that they stand here, once.
                (Some((Place::Aside, _)), _) => self.aside(value),
                (Some((_, schemas)), _) => {
                    schemas.fold(1, |sum: usize, one| sum.saturating_add(self.schema(one)))
                }
                (None, Value::String(to)) if REFERENCES.contains(&keyword.as_str()) => {
                    self.references.target(to).map_or(usize::MAX, |target| self.led(target))
                }
                (None, _) => data(value),
            };
            sum.saturating_add(led)
        })
    }

    fn aside(&mut self, value: &'v Value) -> usize {
        if self.aside.insert(std::ptr::from_ref(value)) { data(value) } else { 1 }
    }

    /// A reference within what it leads to adds nothing: such are compiled once.
    fn led(&mut self, target: &'v Value) -> usize {
        let place = std::ptr::from_ref(target);
        if let Some(size) = self.known.get(&place) {
            return *size;
        }
        self.known.insert(place, 1);
        let size = self.schema(target).saturating_add(1);
        self.known.insert(place, size);
        size
    }
}

fn data(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(data).fold(1, usize::saturating_add),
        Value::Object(members) => members.values().map(data).fold(1, usize::saturating_add),
        _ => 1,
    }
}
