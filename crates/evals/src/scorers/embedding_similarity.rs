//! `embedding-similarity`: how near the answer's meaning is to the reference's. Advisory.
//!
//! Score `100 max(0, cos(answer, reference))` of vectors that an embedding model gives. Cosines of
//! unrelated texts are far from 0 and differ between models, and a negation hardly moves them, so the
//! number orders answers and measures no quality: it may never be a required gate's source.

use super::{Scorer, build};
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::spec::{Row, Standing};
use crate::step::{Ask, AskAnswer, ScoreError, Step};
use crate::subject::{Answer, ArmScore, PairScore, Subject};

pub(super) const ROW: Row = Row {
    kind: "embedding-similarity",
    doc: "The cosine between the vectors of the answer and of the reference.",
    meaning: "0 to 100: nearness to the right answer, or without one, to the baseline; advisory",
    source: "cosine similarity of sentence embeddings (arXiv 1908.10084); its limits: arXiv 2403.05440",
    standing: Standing::Advisory,
    asks: true,
    revision: 1,
    options: &[OptionRow::required(
        "variant",
        OptionType::Text,
        "The configured variant that embeds.",
    )],
    build: build::<EmbeddingSimilarity>,
};

struct EmbeddingSimilarity {
    variant: String,
}

/// The texts to embed: the reference, then each arm that is neither failed nor the reference itself.
fn texts<'a>(subject: &Subject<'a>) -> Option<Vec<&'a Answer>> {
    let mut texts = vec![subject.reference()?];
    if subject.expected.is_some() && !subject.baseline.failed {
        texts.push(subject.baseline);
    }
    if !subject.candidate.failed {
        texts.push(subject.candidate);
    }
    Some(texts)
}

impl Scorer for EmbeddingSimilarity {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        Ok(EmbeddingSimilarity { variant: options.text("variant").to_owned() })
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        let answers = texts(subject).ok_or(ScoreError::NoReference)?;
        if answers.len() == 1 {
            return Ok(Step::Done(PairScore::new(ArmScore::passed(true), ArmScore::FAILED)));
        }
        let texts = answers.iter().map(|answer| answer.text.clone()).collect();
        Ok(Step::Ask(vec![Ask::Embed { variant: self.variant.clone(), texts }]))
    }

    fn resume(
        &self,
        subject: &Subject<'_>,
        answers: &[AskAnswer],
    ) -> Result<PairScore, ScoreError> {
        let vectors = match answers {
            [AskAnswer::Embedded(vectors)] => vectors,
            [AskAnswer::Failed(failure)] => return Err((*failure).into()),
            _ => return Err(ScoreError::UnreadableReply),
        };
        let asked = texts(subject).ok_or(ScoreError::NoReference)?.len();
        let [reference, others @ ..] = vectors.as_slice() else {
            return Err(ScoreError::UnreadableReply);
        };
        if vectors.len() != asked {
            return Err(ScoreError::UnreadableReply);
        }
        let mut cosines = others.iter().map(|vector| cosine(reference, vector));
        let mut next = || match cosines.next() {
            Some(cosine) => cosine.map(ArmScore::from_share),
            None => Ok(ArmScore::FAILED),
        };
        let baseline = match (subject.expected, subject.baseline.failed) {
            (Some(_), false) => next()?,
            (Some(_), true) => ArmScore::FAILED,
            (None, _) => ArmScore::passed(true),
        };
        let candidate = if subject.candidate.failed { ArmScore::FAILED } else { next()? };
        Ok(PairScore::new(baseline, candidate))
    }
}

/// The cosine of the angle between two vectors. Vectors of different or no length, or without a
/// direction, have none.
pub(crate) fn cosine(a: &[f32], b: &[f32]) -> Result<f64, ScoreError> {
    if a.len() != b.len() || a.is_empty() {
        return Err(ScoreError::UnreadableReply);
    }
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
    };
    let cosine = dot(a, b) / (dot(a, a).sqrt() * dot(b, b).sqrt());
    if cosine.is_finite() { Ok(cosine.clamp(-1.0, 1.0)) } else { Err(ScoreError::NotANumber) }
}
