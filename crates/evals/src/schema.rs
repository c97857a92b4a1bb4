//! Validation against a JSON Schema. A client's may be anything, and the validator has no bound of its own: a
//! few kilobytes can double their work with each reference, or go deeper than a stack. So both are counted
//! before it is asked: how long a schema is, how deep and how large with its references followed, how large its
//! patterns are, and how many steps it takes with a value. What is counted is what the validator sees: see
//! `references`. What it would compare without a bound is compared here: see `same`.

mod extent;
mod keywords;
mod patterns;
mod references;
mod same;
mod steps;
#[cfg(test)]
mod tests;

use std::cell::Cell;

use jsonschema::Draft;
use serde_json::Value;

use crate::options::OptionProblem;
use patterns::Sizes;
use references::{Places, References};
use steps::Steps;

/// The longest schema that is read, in bytes.
const BYTES_MAX: usize = 256 << 10;
/// What a validator may do for one answer. A step is about what it takes to ask one keyword: some 40 ns.
const STEPS_MAX: usize = 1_000_000;

/// A compiled JSON Schema. References lead nowhere outside the document: nothing is fetched.
pub struct Schema {
    validator: jsonschema::Validator,
    document: Value,
    bounds: Bounds,
}

/// What is known of a schema that is not too dear to compile.
struct Bounds {
    draft: Draft,
    places: Places,
    patterns: Sizes,
}

impl Schema {
    /// Reads a schema; says why nothing can be validated against it.
    pub fn of(text: &str) -> Result<Self, OptionProblem> {
        Self::read("schema", text)
    }

    pub(crate) fn read(key: &str, text: &str) -> Result<Self, OptionProblem> {
        Self::compiled(text).map_err(|why| OptionProblem::new(key, why))
    }

    fn compiled(text: &str) -> Result<Self, String> {
        if text.len() > BYTES_MAX {
            let (long, most) = (text.len().div_ceil(1 << 10), BYTES_MAX >> 10);
            return Err(format!("is too long: {long} KiB, of at most {most} KiB"));
        }
        let mut document: Value =
            serde_json::from_str(text).map_err(|error| format!("is not JSON: {error}"))?;
        references::without_names(&mut document);
        // The validator looks twice at objects whose members stand in another order, at each of their levels.
        document.sort_all_objects();
        let bounds = bounded(&document)?;
        let options = same::compared(bounds.draft, patterns::options(Sizes::EACH_MAX));
        let validator = options.build(&document).map_err(|error| {
            format!("is no usable schema: {error} (at {})", error.instance_path())
        })?;
        Ok(Self { validator, document, bounds })
    }

    /// Whether a value is valid. One that would take more steps to tell than are left for its answer is not.
    pub fn accepts(&self, value: &Value, allowance: &Allowance) -> bool {
        let steps = self.steps(value, allowance.0.get());
        allowance.0.set(steps.map_or(0, |steps| allowance.0.get() - steps));
        steps.is_some() && self.validator.is_valid(value)
    }

    /// How many steps a value takes; None: more than these.
    fn steps(&self, value: &Value, most: usize) -> Option<usize> {
        let Bounds { places, patterns, .. } = &self.bounds;
        Steps::of(most, &self.document, places, patterns).take(value)
    }
}

/// The steps that are left for the values of one answer.
#[derive(Debug)]
pub struct Allowance(Cell<usize>);

impl Default for Allowance {
    fn default() -> Self {
        Self(Cell::new(STEPS_MAX))
    }
}

/// Says what makes a schema too dear to compile.
fn bounded(document: &Value) -> Result<Bounds, String> {
    let references = References::of(document)?;
    extent::refuse_no_names(&references)?;
    extent::refuse_deep(document, &references)?;
    references.refuse_rounds()?;
    extent::refuse_large(document, &references)?;
    let (draft, places) = (references.draft(), references.places());
    Ok(Bounds { draft, places, patterns: Sizes::of(references.patterns())? })
}
