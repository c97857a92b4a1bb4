//! Validation against a JSON Schema. A client's may be anything, and the validator has no bound of its own: a
//! few kilobytes can double their work with each reference, or go deeper than a stack. So both are counted
//! before it is asked: how deep and how large a schema is with its references followed, and how many steps it
//! takes with a value.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

use crate::options::OptionProblem;

/// Levels within one another, if each reference is followed once. The validator goes through them by recursion:
/// this many take less than half a megabyte of a thread's stack.
const DEPTH_MAX: usize = 1_000;
/// Values in it, if each reference is followed wherever it stands.
const SIZE_MAX: usize = 100_000;
/// Regular expressions, counted likewise.
const PATTERNS_MAX: usize = 1_000;
/// The largest of them when compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 256 << 10;
/// Parts of the schema beside parts of a value, for one value.
const STEPS_MAX: usize = 1_000_000;
/// How deep those lie in one another.
const STEPS_DEEP_MAX: usize = 500;

const REFERENCES: [&str; 3] = ["$ref", "$dynamicRef", "$recursiveRef"];

/// A compiled JSON Schema. References lead nowhere outside the document: nothing is fetched. Patterns
/// run in linear time, because an answer is not to be trusted with a backtracking engine.
pub(crate) struct Schema {
    validator: jsonschema::Validator,
    document: Value,
}

impl Schema {
    pub(crate) fn read(key: &str, text: &str) -> Result<Self, OptionProblem> {
        let wrong = |why: String| OptionProblem::new(key, why);
        let document: Value =
            serde_json::from_str(text).map_err(|error| wrong(format!("is not JSON: {error}")))?;
        let depth = depth(&document).map_err(wrong)?;
        if depth > DEPTH_MAX {
            let why = format!(
                "is too deep: {depth} levels with its references followed, of at most {DEPTH_MAX}"
            );
            return Err(wrong(why));
        }
        Extent::of(&document).map_err(wrong)?;
        let patterns = jsonschema::PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::options().with_pattern_options(patterns);
        let validator = options.build(&document).map_err(|error| {
            wrong(format!("is no usable schema: {error} (at {})", error.instance_path()))
        })?;
        Ok(Self { validator, document })
    }

    /// Whether a value is valid. One that would take too many steps to tell is not.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        let mut walk = Walk { document: &self.document, left: STEPS_MAX };
        walk.take(&self.document, value, 0).is_some() && self.validator.is_valid(value)
    }
}

/// Whether a value is valid against a schema. One that is no usable schema accepts nothing.
pub fn fits_schema(schema: &str, value: &Value) -> bool {
    Schema::read("schema", schema).is_ok_and(|schema| schema.accepts(value))
}

/// Says why nothing can be validated against a schema.
pub fn check_schema(schema: &str) -> Result<(), OptionProblem> {
    Schema::read("schema", schema).map(drop)
}

/// An upper bound of how deep a compiler goes that follows references: each may lead to the deepest place.
fn depth(document: &Value) -> Result<usize, String> {
    fn walk<'v>(
        value: &'v Value,
        level: usize,
        found: &mut (usize, HashSet<&'v str>),
    ) -> Result<(), String> {
        found.0 = found.0.max(level);
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| walk(item, level + 1, found)),
            Value::Object(members) => members.iter().try_for_each(|(key, member)| {
                if let (true, Value::String(to)) = (REFERENCES.contains(&key.as_str()), member) {
                    if !to.is_empty() && to != "#" && !to.starts_with("#/") {
                        let shown: String = to.chars().take(80).collect();
                        return Err(format!(
                            "refers to {shown:?}: a reference is \"#\" or begins with \"#/\""
                        ));
                    }
                    found.1.insert(to);
                }
                walk(member, level + 1, found)
            }),
            _ => Ok(()),
        }
    }
    let mut found = (0, HashSet::new());
    walk(document, 1, &mut found)?;
    Ok(found.0.saturating_mul(found.1.len() + 1))
}

/// Where a reference leads.
fn target<'v>(document: &'v Value, reference: &str) -> Option<&'v Value> {
    let pointer = reference.strip_prefix('#').unwrap_or(reference);
    // As a fragment of a URL it may be escaped; names with such signs are not worth a decoder here: they are
    // counted as leading to the whole document.
    if pointer.contains('%') { Some(document) } else { document.pointer(pointer) }
}

/// How much there is with all references followed.
#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    size: usize,
    patterns: usize,
}

impl Extent {
    fn of(document: &Value) -> Result<Self, String> {
        let extent = Self::walk(document, document, &mut HashMap::new());
        if extent.size > SIZE_MAX {
            return Err(format!(
                "is too large: more than {SIZE_MAX} values with its references followed"
            ));
        }
        if extent.patterns > PATTERNS_MAX {
            return Err(format!(
                "has more than {PATTERNS_MAX} patterns with its references followed"
            ));
        }
        Ok(extent)
    }

    fn and(self, other: Self) -> Self {
        Self {
            size: self.size.saturating_add(other.size),
            patterns: self.patterns.saturating_add(other.patterns),
        }
    }

    /// A reference within what it leads to adds nothing: such are compiled once.
    fn walk<'v>(document: &'v Value, value: &'v Value, known: &mut HashMap<&'v str, Self>) -> Self {
        let one = Self { size: 1, patterns: 0 };
        match value {
            Value::Array(items) => {
                items.iter().fold(one, |sum, item| sum.and(Self::walk(document, item, known)))
            }
            Value::Object(members) => members.iter().fold(one, |sum, (key, member)| {
                let patterns = match (key.as_str(), member) {
                    ("pattern", _) => 1,
                    ("patternProperties", Value::Object(all)) => all.len(),
                    _ => 0,
                };
                let led = match member {
                    // These count where they are referred to.
                    _ if ["$defs", "definitions"].contains(&key.as_str()) => one,
                    Value::String(to) if REFERENCES.contains(&key.as_str()) => {
                        Self::led(document, to, known)
                    }
                    _ => Self::walk(document, member, known),
                };
                sum.and(led).and(Self { size: 0, patterns })
            }),
            _ => one,
        }
    }

    fn led<'v>(document: &'v Value, to: &'v str, known: &mut HashMap<&'v str, Self>) -> Self {
        if let Some(extent) = known.get(to) {
            return *extent;
        }
        known.insert(to, Self::default());
        let extent = target(document, to)
            .map_or_else(Self::default, |value| Self::walk(document, value, known));
        known.insert(to, extent);
        extent
    }
}

/// Counts what a validator may have to look at: every part of the schema beside every part of the value it
/// applies to, whether or not an earlier one has decided.
struct Walk<'v> {
    document: &'v Value,
    left: usize,
}

impl<'v> Walk<'v> {
    /// None: too much.
    fn take(&mut self, schema: &'v Value, value: &Value, depth: usize) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        let Value::Object(keywords) = schema else { return Some(()) };
        if depth > STEPS_DEEP_MAX {
            return None;
        }
        // What was evaluated is found out by looking once more, for each member.
        let again = keywords.contains_key("unevaluatedProperties")
            || keywords.contains_key("unevaluatedItems");
        let rounds = if again { 1 + parts(value) } else { 1 };
        for _ in 0..rounds {
            self.keywords(keywords, value, depth + 1)?;
        }
        Some(())
    }

    fn keywords(
        &mut self,
        keywords: &'v Map<String, Value>,
        value: &Value,
        depth: usize,
    ) -> Option<()> {
        for (keyword, schema) in keywords {
            match keyword.as_str() {
                "$ref" | "$dynamicRef" | "$recursiveRef" => {
                    let led = schema.as_str().and_then(|to| target(self.document, to));
                    led.map_or(Some(()), |led| self.take(led, value, depth))?;
                }
                "allOf" | "anyOf" | "oneOf" => {
                    let mut all = schema.as_array().into_iter().flatten();
                    all.try_for_each(|one| self.take(one, value, depth))?;
                }
                "not" | "if" | "then" | "else" => self.take(schema, value, depth)?,
                "dependentSchemas" | "dependencies" => {
                    let mut all = schema.as_object().into_iter().flat_map(Map::values);
                    all.try_for_each(|one| self.take(one, value, depth))?;
                }
                "properties" => {
                    let mut members = value.as_object().into_iter().flatten();
                    members.try_for_each(|(name, member)| {
                        let one = schema.get(name);
                        one.map_or(Some(()), |one| self.take(one, member, depth))
                    })?;
                }
                "patternProperties" => {
                    for one in schema.as_object().into_iter().flat_map(Map::values) {
                        self.each(one, value, depth)?;
                    }
                }
                "prefixItems" | "items" if schema.is_array() => {
                    let items = value.as_array().into_iter().flatten();
                    let all = schema.as_array().into_iter().flatten();
                    all.zip(items).try_for_each(|(one, item)| self.take(one, item, depth))?;
                }
                "items"
                | "additionalItems"
                | "contains"
                | "unevaluatedItems"
                | "additionalProperties"
                | "unevaluatedProperties"
                | "propertyNames" => {
                    self.each(schema, value, depth)?;
                }
                _ => {}
            }
        }
        Some(())
    }

    /// One schema beside each member or item.
    fn each(&mut self, schema: &'v Value, value: &Value, depth: usize) -> Option<()> {
        match value {
            Value::Array(items) => items.iter().try_for_each(|item| self.take(schema, item, depth)),
            Value::Object(members) => {
                members.values().try_for_each(|member| self.take(schema, member, depth))
            }
            _ => Some(()),
        }
    }
}

/// Members or items.
fn parts(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.len(),
        Value::Object(members) => members.len(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn why(schema: &Value) -> String {
        let read = Schema::read("schema", &schema.to_string());
        read.map_or_else(|problem| problem.to_string(), |_| "good".to_owned())
    }

    /// Each place refers to the next one.
    fn chain(links: usize, link: impl Fn(&str) -> Value, end: Value) -> Value {
        let name = |at: usize| format!("a{at}");
        let places = (0..links).map(|at| (name(at), link(&format!("#/$defs/{}", name(at + 1)))));
        let places: Map<_, _> = places.chain([(name(links), end)]).collect();
        json!({"$ref": "#/$defs/a0", "$defs": places})
    }

    #[test]
    fn a_schema_fetches_nothing_and_terminates() {
        let remote = Schema::read("schema", r#"{"$ref": "https://example.com/s.json"}"#);
        assert!(remote.is_err());
        assert!(Schema::read("schema", r#"{"type": "strin"}"#).is_err());
        assert!(Schema::read("schema", r#"{"$ref": "file:///etc/passwd"}"#).is_err());
        let endless = Schema::read("schema", r##"{"$ref": "#"}"##).unwrap();
        assert!(!endless.accepts(&json!({"a": 1})), "nobody can tell");
        // Exponential in a backtracking engine.
        let hard = Schema::read("schema", r#"{"pattern": "^(a+)+$"}"#).unwrap();
        assert!(!hard.accepts(&json!("a".repeat(40) + "!")));
        assert!(fits_schema(r#"{"required": ["a"]}"#, &json!({"a": 1})));
        assert!(!fits_schema(r#"{"required": ["a"]}"#, &json!({})));
        assert!(!fits_schema("{", &json!({})));
        assert!(check_schema(r#"{"properties": {"a": {"pattern": "("}}}"#).is_err());
    }

    #[test]
    fn one_that_doubles_with_each_reference_is_refused() {
        for keyword in ["allOf", "anyOf", "oneOf"] {
            let doubling = |to: &str| json!({keyword: [{"$ref": to}, {"$ref": to}]});
            let large =
                "schema: is too large: more than 100000 values with its references followed";
            assert_eq!(why(&chain(48, doubling, json!({"type": "object"}))), large);
            assert_eq!(why(&chain(8, doubling, json!({"type": "object"}))), "good");
        }
        let patterns = |to: &str| json!({"properties": {"a": {"$ref": to}, "b": {"$ref": to}}});
        let many = chain(10, patterns, json!({"pattern": "a"}));
        assert_eq!(why(&many), "schema: has more than 1000 patterns with its references followed");
        assert_ne!(why(&json!({"pattern": "(a{1000}){1000}"})), "good");
    }

    #[test]
    fn the_deepest_that_is_let_through_takes_half_of_a_threads_stack() {
        let deepest = std::thread::Builder::new().stack_size(1 << 20).spawn(deepest).unwrap();
        deepest.join().unwrap();
    }

    fn deepest() {
        let alone = |to: &str| json!({"$ref": to});
        let within = |to: &str| json!({"properties": {"x": {"allOf": [{"$ref": to}]}}});
        let not = |to: &str| json!({"not": {"$ref": to}});
        let deep = chain(5_000, alone, json!(true));
        assert!(why(&deep).starts_with("schema: is too deep: 20008 levels"), "{}", why(&deep));
        let valid = |schema: Value| fits_schema(&schema.to_string(), &json!({"x": {"x": 1}}));
        assert!(valid(chain(240, alone, json!({"type": "object"}))));
        assert!(!valid(chain(240, alone, json!({"type": "string"}))));
        assert!(valid(chain(198, not, json!({"type": "object"}))));
        assert!(valid(chain(122, within, json!({"type": "object"}))));
    }

    /// Whoever writes the schema may have the model write the answer, too.
    #[test]
    fn a_value_that_would_take_too_many_steps_is_not_accepted() {
        let member = json!({"properties": {"x": {"$ref": "#"}}, "required": ["y"]});
        let doubling = json!({"anyOf": [member, member]}).to_string();
        let nested = |levels| (0..levels).fold(json!({}), |inner, _| json!({"x": inner}));
        assert!(!fits_schema(&doubling, &nested(100)));
        let plain = json!({"properties": {"x": {"$ref": "#"}}}).to_string();
        assert!(fits_schema(&plain, &nested(100)));
        let open = json!({"unevaluatedProperties": {"$ref": "#"}}).to_string();
        assert!(!fits_schema(&open, &nested(100)));
        assert!(fits_schema(&open, &nested(5)));
    }

    #[test]
    fn ordinary_schemas_are_taken_whole() {
        let schema = json!({
            "$defs": {"node": {
                "type": "object",
                "properties": {"name": {"type": "string", "pattern": "^[a-z]+$"},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}}},
                "required": ["name", "children"], "additionalProperties": false}},
            "$ref": "#/$defs/node"});
        let leaf = json!({"name": "leaf", "children": []});
        let tree = json!({"name": "root", "children": vec![leaf; 1_000]});
        assert!(fits_schema(&schema.to_string(), &tree));
        let wrong = json!({"name": "root", "children": [{"name": "Leaf", "children": []}]});
        assert!(!fits_schema(&schema.to_string(), &wrong));
    }
}
