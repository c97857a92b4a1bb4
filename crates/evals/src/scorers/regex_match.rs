//! `regex`: patterns that an answer must or must not match.
//!
//! Score 100 when every pattern of `must_match` is found and none of `must_not_match` is, else 0. Each
//! answer is judged alone. Syntax of the `regex` crate: matching takes linear time, and there are no
//! look-arounds and back-references.

use regex::{Regex, RegexBuilder};

use super::{Scorer, build};
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::spec::{Row, Standing};
use crate::step::{ScoreError, Step};
use crate::subject::{ArmScore, PairScore, Subject};

/// A pattern that compiles to more is a mistake, or meant to hurt.
const COMPILED_BYTES_MAX: usize = 1 << 20;

pub(super) const ROW: Row = Row {
    kind: "regex",
    doc: "The answer matches all of some patterns and none of others.",
    meaning: "100 or 0: a property of each answer alone",
    source: "regular expressions in the syntax of Rust's regex crate",
    standing: Standing::MayGate,
    asks: false,
    revision: 1,
    options: &[
        OptionRow::new("must_match", OptionType::Texts, "[]", "Patterns that must all be found."),
        OptionRow::new(
            "must_not_match",
            OptionType::Texts,
            "[]",
            "Patterns of which none may be found.",
        ),
        OptionRow::new(
            "ignore_case",
            OptionType::Bool,
            "false",
            "Upper and lower case are the same.",
        ),
    ],
    build: build::<RegexMatch>,
};

struct RegexMatch {
    must: Vec<Regex>,
    must_not: Vec<Regex>,
}

/// Compiles an option's patterns.
pub(super) fn compile(
    options: &Options,
    key: &str,
    ignore_case: bool,
) -> Result<Vec<Regex>, OptionProblem> {
    let one = |pattern: &String| {
        RegexBuilder::new(pattern)
            .case_insensitive(ignore_case)
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|error| OptionProblem::new(key, format!("{pattern:?} is no pattern: {error}")))
    };
    options.texts(key).iter().map(one).collect()
}

impl Scorer for RegexMatch {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        let ignore_case = options.bool("ignore_case");
        let must = compile(options, "must_match", ignore_case)?;
        let must_not = compile(options, "must_not_match", ignore_case)?;
        if must.is_empty() && must_not.is_empty() {
            let problem =
                OptionProblem::new("must_match", "without a pattern every answer is right");
            return Err(problem.suggest("name a pattern in must_match or must_not_match"));
        }
        Ok(RegexMatch { must, must_not })
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        Ok(Step::Done(PairScore::of_each(subject, |answer| {
            let found = |pattern: &Regex| pattern.is_match(&answer.text);
            ArmScore::passed(self.must.iter().all(found) && !self.must_not.iter().any(found))
        })))
    }
}
