//! The scorers, one file each, and the table of them.
//!
//! A scorer is total: whatever an answer contains, it scores it or says why there is no score. It keeps
//! nothing between pairs. Content that the *candidate* could write to avoid a bad score (too large, too
//! deep, unreadable) scores 0; only a missing reference or a failing outside is an error, because errors
//! take a pair out of the evidence, and a candidate must not be able to choose which.

mod code_runs;
mod command;
mod embedding_similarity;
mod exact_match;
mod http;
mod json_fields;
mod json_schema;
mod judge;
mod normalised_match;
mod numeric;
mod refusal;
mod regex_match;
mod tool_calls;

use std::sync::Arc;

use crate::options::{OptionProblem, Options};
use crate::spec::Row;
use crate::step::{AskAnswer, ScoreError, Step};
use crate::subject::{Answer, ArmScore, PairScore, Subject};

/// Every scorer. A new one is a file here and a row.
pub static SCORERS: &[Row] = &[
    exact_match::ROW,
    normalised_match::ROW,
    json_schema::ROW,
    json_fields::ROW,
    regex_match::ROW,
    refusal::ROW,
    tool_calls::ROW,
    numeric::ROW,
    embedding_similarity::ROW,
    command::ROW,
    http::ROW,
    code_runs::ROW,
    judge::ROW,
];

/// One kind's work. [`ScorerSpec`](crate::ScorerSpec) deals with failed answers around it.
pub(crate) trait Scorer: Send + Sync {
    /// Reads options whose form the table has checked.
    fn read(options: &Options) -> Result<Self, OptionProblem>
    where
        Self: Sized;

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError>;

    /// For scorers that never ask, an answer is nothing they can read.
    fn resume(&self, _: &Subject<'_>, _: &[AskAnswer]) -> Result<PairScore, ScoreError> {
        Err(ScoreError::UnreadableReply)
    }
}

/// The constructor of a row.
fn build<S: Scorer + 'static>(options: &Options) -> Result<Arc<dyn Scorer>, OptionProblem> {
    Ok(Arc::new(S::read(options)?))
}

/// Scores each arm against the reference. Without a right answer the baseline is the reference and
/// agrees with itself.
fn against_reference(
    subject: &Subject<'_>,
    score: impl Fn(&Answer, &Answer) -> ArmScore,
) -> Result<Step, ScoreError> {
    let reference = subject.reference().ok_or(ScoreError::NoReference)?;
    Ok(Step::Done(PairScore::of_each(subject, |answer| score(answer, reference))))
}

#[cfg(test)]
mod tests;
