//! `exact-match`: the same text, white space at the ends aside.
//!
//! Score 100 when the answer's text equals the reference's, else 0 (exact match; Rajpurkar et al. 2016,
//! without their normalisation). Tool calls are not compared: see `tool-calls`.

use super::{Scorer, against_reference, build};
use crate::options::{OptionProblem, Options};
use crate::spec::{Row, Standing};
use crate::step::{ScoreError, Step};
use crate::subject::{ArmScore, Subject};

pub(super) const ROW: Row = Row {
    kind: "exact-match",
    doc: "The answer is the same text as the reference, white space at its ends aside.",
    meaning: "100 or 0: equal to the right answer, or without one, agreement with the baseline",
    source: "exact match of SQuAD (arXiv 1606.05250), not normalised",
    standing: Standing::MayGate,
    asks: false,
    revision: 1,
    options: &[],
    build: build::<ExactMatch>,
};

struct ExactMatch;

impl Scorer for ExactMatch {
    fn read(_: &Options) -> Result<Self, OptionProblem> {
        Ok(ExactMatch)
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        against_reference(subject, |answer, reference| {
            ArmScore::passed(answer.text.trim() == reference.text.trim())
        })
    }
}
