//! `numeric`: the answer's last number is near the reference's.
//!
//! Score 100 when `|answer - reference| <= max(absolute, relative * |reference|)`, else 0. The last
//! number counts, because answers reason first and conclude last (as GSM8K is graded, arXiv 2110.14168).
//! An answer without a number scores 0; a reference without one is no reference. Valid: there is a
//! number.

use super::{Scorer, against_reference, build};
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::spec::{Row, Standing};
use crate::step::{ScoreError, Step};
use crate::subject::{ArmScore, Subject};
use crate::text::{Decimal, last_number};

pub(super) const ROW: Row = Row {
    kind: "numeric",
    doc: "The answer's last number is within a tolerance of the reference's.",
    meaning: "100 or 0: right number, or without a right answer, agreement with the baseline; \
              valid: the answer has a number",
    source: "final-answer grading of GSM8K (arXiv 2110.14168)",
    standing: Standing::MayGate,
    asks: false,
    revision: 1,
    options: &[
        OptionRow::new(
            "absolute",
            OptionType::Number(0.0, f64::MAX),
            "0",
            "How far it may be off, in its own unit.",
        ),
        OptionRow::new(
            "relative",
            OptionType::Number(0.0, 1.0),
            "0.000001",
            "How far it may be off, as a share of the reference.",
        ),
        OptionRow::new(
            "decimal",
            OptionType::Choice(&["point", "comma"]),
            "\"point\"",
            "What stands before the fraction; the other one groups digits.",
        ),
    ],
    build: build::<Numeric>,
};

struct Numeric {
    absolute: f64,
    relative: f64,
    decimal: Decimal,
}

impl Scorer for Numeric {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        let decimal =
            if options.text("decimal") == "comma" { Decimal::Comma } else { Decimal::Point };
        let (absolute, relative) = (options.number("absolute"), options.number("relative"));
        Ok(Numeric { absolute, relative, decimal })
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        let number = |text: &str| last_number(text, self.decimal);
        let right = subject.reference().and_then(|reference| number(&reference.text));
        let right = right.ok_or(ScoreError::NoReference)?;
        let tolerance = self.absolute.max(self.relative * right.abs());
        against_reference(subject, |answer, _| match number(&answer.text) {
            Some(found) => ArmScore::passed((found - right).abs() <= tolerance).with_valid(true),
            None => ArmScore::FAILED,
        })
    }
}
