//! How much a validator does with a value.

use serde_json::{Map, Value};

use super::keywords::{Place, held};
use super::patterns::Sizes;
use super::references::References;

/// Parts of the schema beside parts of a value, for one value.
const STEPS_MAX: usize = 1_000_000;
/// How deep those lie in one another.
const DEEP_MAX: usize = 500;

/// Counts what a validator may have to look at: every part of the schema beside every part of the value it
/// applies to, whether or not an earlier one has decided.
pub(super) struct Steps<'r, 'v> {
    references: &'r References<'v>,
    patterns: &'r Sizes,
    left: usize,
}

impl<'r, 'v> Steps<'r, 'v> {
    pub(super) fn with(references: &'r References<'v>, patterns: &'r Sizes) -> Self {
        Self { references, patterns, left: STEPS_MAX }
    }

    /// How many there are; None: too many.
    pub(super) fn take(mut self, schema: &'v Value, value: &Value) -> Option<usize> {
        self.valid(schema, value, 0)?;
        Some(STEPS_MAX - self.left)
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
            self.keyword((keyword, held), value, depth + 1)?;
        }
        // What was evaluated is found out by looking once more.
        for again in ["unevaluatedProperties", "unevaluatedItems"] {
            if keywords.contains_key(again) {
                self.evaluated(keywords, value, depth + 1)?;
            }
        }
        Some(())
    }

    fn keyword(
        &mut self,
        (keyword, schema): (&'v str, &'v Value),
        value: &Value,
        depth: usize,
    ) -> Option<()> {
        match (keyword, value) {
            ("$ref" | "$dynamicRef" | "$recursiveRef", _) => {
                let Some(to) = schema.as_str() else { return Some(()) };
                self.valid(self.references.target(to)?, value, depth)
            }
            ("pattern", Value::String(text)) => {
                self.count(self.patterns.steps(schema.as_str()?, text.len()))
            }
            ("properties", _) => {
                value.as_object().into_iter().flatten().try_for_each(|(name, member)| {
                    let one = schema.get(name);
                    one.map_or(Some(()), |one| self.valid(one, member, depth))
                })
            }
            ("patternProperties", Value::Object(members)) => {
                let names = members.keys().map(String::len).sum::<usize>() + members.len();
                for (pattern, one) in schema.as_object().into_iter().flatten() {
                    self.count(self.patterns.steps(pattern, names))?;
                    self.each(one, value, depth)?;
                }
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

    /// What a schema, which is valid or not, has evaluated of a value: each schema that stands for it is asked
    /// whether it is valid, and then for what it has evaluated.
    fn evaluated(
        &mut self,
        keywords: &'v Map<String, Value>,
        value: &Value,
        depth: usize,
    ) -> Option<()> {
        self.count(1)?;
        if depth > DEEP_MAX {
            return None;
        }
        for (keyword, schema) in keywords {
            match (keyword.as_str(), schema, held(keyword, schema)) {
                ("$ref" | "$dynamicRef" | "$recursiveRef", Value::String(to), _) => {
                    if let Value::Object(led) = self.references.target(to)? {
                        self.evaluated(led, value, depth + 1)?;
                    }
                }
                ("patternProperties", ..) => self.keyword((keyword, schema), value, depth)?,
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
