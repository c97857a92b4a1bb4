//! Where schemas lie within a schema, in drafts 4 to 2020-12 taken together: what stands elsewhere is data.

use serde_json::{Map, Value};

/// Keywords whose value leads to another schema.
pub(super) const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// Which values a schema that a keyword holds is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// The same value.
    Here,
    /// Its members, items or their names.
    Within,
    /// None, unless a reference leads there.
    Aside,
}

/// The schemas that a keyword holds; nothing for one that holds none.
pub(super) fn held<'v>(
    keyword: &str,
    value: &'v Value,
) -> Option<(Place, impl Iterator<Item = &'v Value>)> {
    let (place, by_name) = match keyword {
        "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" => (Place::Here, false),
        "dependentSchemas" | "dependencies" => (Place::Here, true),
        "items"
        | "prefixItems"
        | "additionalItems"
        | "contains"
        | "unevaluatedItems"
        | "additionalProperties"
        | "unevaluatedProperties"
        | "propertyNames"
        | "contentSchema" => (Place::Within, false),
        "properties" | "patternProperties" => (Place::Within, true),
        "$defs" | "definitions" => (Place::Aside, true),
        _ => return None,
    };
    let alone = (!by_name && !value.is_array()).then_some(value);
    let members = value.as_object().filter(|_| by_name);
    let listed = value.as_array().into_iter().flatten();
    Some((place, listed.chain(members.into_iter().flat_map(Map::values)).chain(alone)))
}
