//! How much a validator does with a value.

use serde_json::{Map, Value};

use super::keywords::{Place, held};
use super::patterns::Sizes;
use super::references::Places;

/// How deep schemas beside values may lie in one another.
const DEEP_MAX: usize = 500;
/// With fewer members the validator goes through `properties` one after another, and looks no name up.
const LOOKED_UP: usize = 15;
/// Of larger objects each name of `required` is looked up, and it is not gone through.
const GONE_THROUGH: usize = 32;
/// Division with numbers of any size.
const DIVISION: usize = 25;
/// Schemas that `unevaluatedProperties` reaches are gone through for each of them, so many in a step.
const REACHED: usize = 128;

/// Counts what a validator may have to look at: every part of the schema beside every part of the value it
/// applies to, whether or not an earlier one has decided. Each keyword counts as what it does with a value: how
/// long its texts are and how many names or values it goes through.
pub(super) struct Steps<'r, 'v> {
    document: &'v Value,
    places: &'r Places,
    patterns: &'r Sizes,
    most: usize,
    left: usize,
    reached: usize,
}

impl<'r, 'v> Steps<'r, 'v> {
    pub(super) fn of(
        most: usize,
        document: &'v Value,
        places: &'r Places,
        patterns: &'r Sizes,
    ) -> Self {
        Self { document, places, patterns, most, left: most, reached: 0 }
    }

    /// How many there are; None: too many.
    pub(super) fn take(mut self, value: &Value) -> Option<usize> {
        self.valid(self.document, value, 0)?;
        Some(self.most - self.left)
    }

    fn count(&mut self, steps: usize) -> Option<()> {
        self.left = self.left.checked_sub(steps)?;
        Some(())
    }

    /// A schema beside a value.
    fn valid(&mut self, schema: &'v Value, value: &Value, depth: usize) -> Option<()> {
        self.count(1)?;
        let Value::Object(keywords) = schema else { return Some(()) };
        if depth > DEEP_MAX {
            return None;
        }
        for (keyword, held) in keywords {
            self.count(1)?;
            self.keyword((keywords, keyword, held), value, depth + 1)?;
        }
        // What was evaluated is found out by looking once more.
        for again in ["unevaluatedProperties", "unevaluatedItems"] {
            if keywords.contains_key(again) {
                let outer = std::mem::take(&mut self.reached);
                self.evaluated(keywords, value, depth + 1)?;
                self.reached = outer;
            }
        }
        Some(())
    }

    /// A keyword of a schema, with what it holds, beside a value.
    fn keyword(
        &mut self,
        (keywords, keyword, schema): (&'v Map<String, Value>, &'v str, &'v Value),
        value: &Value,
        depth: usize,
    ) -> Option<()> {
        match (keyword, value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", _) => {
                let Some(to) = schema.as_str() else { return Some(()) };
                let target = self.target(to)?;
                self.valid(target, value, depth)
            }
            ("pattern", Value::String(text)) => {
                self.count(self.patterns.steps(schema.as_str()?, text.len()))
            }
            ("minLength" | "maxLength", Value::String(text)) => self.count(text.len() / 256),
            ("format" | "contentEncoding", Value::String(text)) => self.count(text.len() / 16),
            // Read as JSON, value by value.
            ("contentMediaType", Value::String(text)) => self.count(text.len() / 2),
            ("multipleOf", Value::Number(_)) => self.count(DIVISION),
            ("enum" | "const", _) => self.compared(value),
            ("uniqueItems", Value::Array(_)) if *schema == true => self.compared(value),
            ("required", Value::Object(members)) => self.names(schema, members),
            ("dependentRequired" | "dependencies", Value::Object(members)) => {
                for (name, one) in schema.as_object().into_iter().flatten() {
                    self.count(1 + text(name))?;
                    if one.is_array() && members.contains_key(name) {
                        self.names(one, members)?;
                    } else if keyword == "dependencies" {
                        self.valid(one, value, depth)?;
                    }
                }
                Some(())
            }
            ("properties", Value::Object(members)) => self.properties(schema, members, depth),
            ("additionalProperties", Value::Object(members)) => {
                self.members(members)?;
                let named = keywords.get("properties").and_then(Value::as_object);
                members
                    .iter()
                    .filter(|(name, _)| !named.is_some_and(|named| named.contains_key(*name)))
                    .try_for_each(|(_, member)| self.valid(schema, member, depth))
            }
            ("patternProperties", Value::Object(members)) => {
                for (pattern, one) in schema.as_object().into_iter().flatten() {
                    self.matched(pattern, members)?;
                    self.each(one, value, depth)?;
                }
                Some(())
            }
            ("propertyNames", Value::Object(members)) => members.keys().try_for_each(|name| {
                self.count(1 + text(name))?;
                self.valid(schema, &Value::String(name.clone()), depth)
            }),
            // They are about objects alone.
            ("properties" | "additionalProperties" | "patternProperties" | "propertyNames", _) => {
                Some(())
            }
            ("prefixItems" | "items", _) if schema.is_array() => {
                let items = value.as_array().into_iter().flatten();
                let all = schema.as_array().into_iter().flatten();
                all.zip(items).try_for_each(|(one, item)| self.valid(one, item, depth))
            }
            _ => match held(keyword, schema) {
                Some((Place::Here, mut schemas)) => {
                    schemas.try_for_each(|one| self.valid(one, value, depth))
                }
                Some((Place::Within, mut schemas)) => {
                    schemas.try_for_each(|one| self.each(one, value, depth))
                }
                _ => Some(()),
            },
        }
    }

    fn target(&mut self, reference: &str) -> Option<&'v Value> {
        self.count(1 + reference.len() / 16)?;
        self.places.find(self.document, reference)
    }

    /// `properties`: the fewer of both are gone through, names or members.
    fn properties(
        &mut self,
        schemas: &'v Value,
        members: &Map<String, Value>,
        depth: usize,
    ) -> Option<()> {
        let Value::Object(schemas) = schemas else { return Some(()) };
        if schemas.len() < LOOKED_UP && schemas.len() < members.len() {
            return schemas.iter().try_for_each(|(name, one)| {
                self.count(1 + text(name))?;
                members.get(name).map_or(Some(()), |member| self.valid(one, member, depth))
            });
        }
        members.iter().try_for_each(|(name, member)| {
            // Names that are alike at both ends may have to be compared with each.
            let compared = if schemas.len() < LOOKED_UP { schemas.len() } else { 1 };
            self.count(1 + text(name).saturating_mul(compared))?;
            schemas.get(name).map_or(Some(()), |one| self.valid(one, member, depth))
        })
    }

    /// Whether an object has all names of a list.
    fn names(&mut self, names: &Value, members: &Map<String, Value>) -> Option<()> {
        let beside = 1 + members.len().min(GONE_THROUGH) / 8;
        names.as_array().into_iter().flatten().try_for_each(|name| {
            let long = name.as_str().map_or(0, text);
            self.count((1 + long).saturating_mul(beside))
        })
    }

    /// Each name is looked at.
    fn members(&mut self, members: &Map<String, Value>) -> Option<()> {
        self.count(members.len())?;
        members.keys().try_for_each(|name| self.count(text(name)))
    }

    /// A pattern beside each name.
    fn matched(&mut self, pattern: &str, members: &Map<String, Value>) -> Option<()> {
        members.keys().try_for_each(|name| self.count(self.patterns.steps(pattern, name.len())))
    }

    /// A value is written whole to be compared: see `same`.
    fn compared(&mut self, value: &Value) -> Option<()> {
        self.count(2)?;
        match value {
            Value::String(long) => self.count(text(long)),
            Value::Number(_) => self.count(4),
            Value::Array(items) => items.iter().try_for_each(|item| self.compared(item)),
            Value::Object(members) => members.iter().try_for_each(|(name, member)| {
                self.count(2 + text(name))?;
                self.compared(member)
            }),
            Value::Null | Value::Bool(_) => Some(()),
        }
    }

    /// What a schema, which is valid or not, has evaluated of a value: each schema that stands for it is asked
    /// whether it is valid, and then for what it has evaluated.
    fn evaluated(
        &mut self,
        keywords: &'v Map<String, Value>,
        value: &Value,
        depth: usize,
    ) -> Option<()> {
        self.reached += 1;
        self.count(1 + self.reached / REACHED)?;
        match value {
            Value::Object(members) => self.members(members)?,
            Value::Array(items) => self.count(items.len() / 8)?,
            _ => {}
        }
        if depth > DEEP_MAX {
            return None;
        }
        for (keyword, schema) in keywords {
            match (keyword.as_str(), schema, held(keyword, schema)) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to), _) => {
                    if let Value::Object(led) = self.target(to)? {
                        self.evaluated(led, value, depth + 1)?;
                    }
                }
                ("patternProperties", ..) => {
                    self.keyword((keywords, keyword, schema), value, depth)?;
                }
                ("contains" | "unevaluatedProperties" | "unevaluatedItems", ..) => {
                    self.each(schema, value, depth)?;
                }
                (_, _, Some((Place::Here, schemas))) => {
                    for one in schemas {
                        self.valid(one, value, depth)?;
                        if let Value::Object(one) = one {
                            self.evaluated(one, value, depth + 1)?;
                        }
                    }
                }
                _ => {}
            }
        }
        Some(())
    }

    /// One schema beside each member or item.
    fn each(&mut self, schema: &'v Value, value: &Value, depth: usize) -> Option<()> {
        match value {
            Value::Array(items) => {
                items.iter().try_for_each(|item| self.valid(schema, item, depth))
            }
            Value::Object(members) => {
                members.values().try_for_each(|member| self.valid(schema, member, depth))
            }
            _ => Some(()),
        }
    }
}

/// How many steps a text takes that is copied, hashed or compared.
fn text(text: &str) -> usize {
    text.len() / 64
}
