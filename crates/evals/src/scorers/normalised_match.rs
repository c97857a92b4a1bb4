//! `normalised-match`: the same text after the differences that do not matter are taken out.
//!
//! Normalisation, in this order, each step an option: Unicode NFKC (Unicode Annex 15), lower case, all
//! punctuation out, runs of white space to one space. Score 100 when the results are equal, else 0.
//! Answers that are nothing but punctuation would all be equal; when nothing is left of either text,
//! the texts themselves are compared.

use super::{Scorer, against_reference, build};
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::spec::{Row, Standing};
use crate::step::{ScoreError, Step};
use crate::subject::{ArmScore, Subject};
use crate::text::Normal;

pub(super) const ROW: Row = Row {
    kind: "normalised-match",
    doc: "The answer is the same text as the reference once case, white space, punctuation and \
          Unicode forms are made alike.",
    meaning: "100 or 0: equal to the right answer, or without one, agreement with the baseline",
    source: "normalised exact match of SQuAD (arXiv 1606.05250); NFKC: Unicode Annex 15",
    standing: Standing::MayGate,
    asks: false,
    revision: 1,
    options: &[
        OptionRow::new("case", OptionType::Bool, "true", "Upper and lower case are the same."),
        OptionRow::new("white_space", OptionType::Bool, "true", "Any white space is one space."),
        OptionRow::new("punctuation", OptionType::Bool, "true", "Punctuation is left out."),
        OptionRow::new(
            "unicode",
            OptionType::Bool,
            "true",
            "Compatible characters are the same (NFKC).",
        ),
    ],
    build: build::<NormalisedMatch>,
};

struct NormalisedMatch(Normal);

impl Scorer for NormalisedMatch {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        Ok(NormalisedMatch(Normal {
            case: options.bool("case"),
            white_space: options.bool("white_space"),
            punctuation: options.bool("punctuation"),
            unicode: options.bool("unicode"),
        }))
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        against_reference(subject, |answer, reference| {
            ArmScore::passed(self.0.same(&answer.text, &reference.text))
        })
    }
}
