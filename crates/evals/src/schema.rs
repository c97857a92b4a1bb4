//! Validation against a JSON Schema. A client's may be anything, and the validator has no bound of its own: a
//! few kilobytes can double their work with each reference, or go deeper than a stack. So both are counted
//! before it is asked: how deep and how large a schema is with its references followed, how large its patterns
//! are, and how many steps it takes with a value. What is counted is what the validator sees: see `references`.

mod extent;
mod keywords;
mod patterns;
mod references;
mod steps;
#[cfg(test)]
mod tests;

use serde_json::Value;

use crate::options::OptionProblem;
use patterns::Sizes;
use references::References;
use steps::Steps;

/// A compiled JSON Schema. References lead nowhere outside the document: nothing is fetched.
pub(crate) struct Schema {
    validator: jsonschema::Validator,
    document: Value,
    patterns: Sizes,
}

impl Schema {
    pub(crate) fn read(key: &str, text: &str) -> Result<Self, OptionProblem> {
        Self::compiled(text).map_err(|why| OptionProblem::new(key, why))
    }

    fn compiled(text: &str) -> Result<Self, String> {
        let mut document: Value =
            serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        references::without_names(&mut document);
        let patterns = bounded(&document)?;
        let validator = patterns::options(Sizes::EACH_MAX).build(&document).map_err(|error| {
            format!("is no usable schema: {error} (at {})", error.instance_path())
        })?;
        Ok(Self { validator, document, patterns })
    }

    /// Whether a value is valid. One that would take too many steps to tell is not.
    pub(crate) fn accepts(&self, value: &Value) -> bool {
        self.steps(value).is_some() && self.validator.is_valid(value)
    }

    /// How many steps a value takes; None: too many.
    fn steps(&self, value: &Value) -> Option<usize> {
        let references = References::of(&self.document).ok()?;
        Steps::with(&references, &self.patterns).take(&self.document, value)
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

/// Says what makes a schema too dear to compile.
fn bounded(document: &Value) -> Result<Sizes, String> {
    let references = References::of(document)?;
    extent::refuse_deep(document, &references)?;
    references.refuse_rounds()?;
    extent::refuse_large(document, &references)?;
    Sizes::of(references.patterns())
}
