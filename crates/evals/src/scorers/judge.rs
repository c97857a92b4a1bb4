//! `judge`: a language model says which answer is better. Never alone.
//!
//! Each pair is judged twice, with the answers in both orders, because judges favour a position
//! (arXiv 2306.05685, 2406.07791). Verdicts that disagree are a tie and count as flipped. In points:
//!
//! | verdict | baseline | candidate |
//! |---|---|---|
//! | candidate wins | 0 | 100 |
//! | tie, or the orders disagree | 100 | 100 |
//! | baseline wins | 100 | 0 |
//! | both are bad | 0 | 0 |
//!
//! The score so means preference. A judge gates only while [`JudgeHealth`](crate::judge::JudgeHealth)
//! says that it keeps its verdicts when the order changes and agrees with people, and never judges its
//! own family ([`judge::independent`](crate::judge::independent)). A reply in prose is an error.
//!
//! A failed candidate has lost. A failed baseline is no reference: whether the candidate's answer is
//! good is then unknown, and a point for free would be evidence out of nothing.

use super::{Scorer, build};
use crate::judge::{Brief, Outcome, Winner, combine, conversation, read_verdict, verdict_schema};
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::spec::{Row, Standing};
use crate::step::{Ask, AskAnswer, ScoreError, Step};
use crate::subject::{ArmScore, PairScore, Subject};

pub(super) const ROW: Row = Row {
    kind: "judge",
    doc: "A language model compares the two answers, in both orders.",
    meaning: "100 or 0: preferred or as good (100), worse or bad (0)",
    source: "pairwise judging with swapped positions (arXiv 2306.05685); position bias: arXiv 2406.07791",
    standing: Standing::NeedsHealth,
    asks: true,
    revision: 1,
    options: &[
        OptionRow::required(
            "variant",
            OptionType::Text,
            "The configured variant that judges; of another model family than both arms.",
        ),
        OptionRow::new(
            "criteria",
            OptionType::Text,
            "\"Correctness first, then completeness, then following the instructions. Length and style do not count.\"",
            "What makes an answer better, in the judge's words.",
        ),
        OptionRow::new(
            "max_tokens",
            OptionType::Integer(16, 4_096),
            "300",
            "The longest verdict, in tokens.",
        ),
        OptionRow::new(
            "answer_bytes_max",
            OptionType::Integer(256, 1_048_576),
            "32768",
            "How much of the prompt and of each answer is shown.",
        ),
    ],
    build: build::<Judge>,
};

struct Judge {
    variant: String,
    criteria: String,
    max_tokens: u32,
    bytes_max: usize,
}

impl Scorer for Judge {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        Ok(Judge {
            variant: options.text("variant").to_owned(),
            criteria: options.text("criteria").to_owned(),
            max_tokens: u32::try_from(options.integer("max_tokens")).unwrap_or(u32::MAX),
            bytes_max: usize::try_from(options.integer("answer_bytes_max")).unwrap_or(usize::MAX),
        })
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        if subject.candidate.failed {
            let won = ArmScore::passed(true);
            return Ok(Step::Done(PairScore::new(won, ArmScore::FAILED)));
        }
        if subject.baseline.failed {
            return Err(ScoreError::NoReference);
        }
        let brief = Brief {
            criteria: &self.criteria,
            prompt: subject.prompt,
            reference: subject.expected,
            bytes_max: self.bytes_max,
        };
        let ask = |a, b| Ask::Chat {
            variant: self.variant.clone(),
            messages: conversation(&brief, a, b),
            max_tokens: self.max_tokens,
            schema: verdict_schema(),
        };
        Ok(Step::Ask(vec![
            ask(subject.baseline, subject.candidate),
            ask(subject.candidate, subject.baseline),
        ]))
    }

    fn resume(&self, _: &Subject<'_>, answers: &[AskAnswer]) -> Result<PairScore, ScoreError> {
        let [baseline_first, candidate_first] = answers else {
            return Err(ScoreError::UnreadableReply);
        };
        let said = |answer: &AskAnswer| match answer {
            AskAnswer::Said(text) => read_verdict(text),
            AskAnswer::Failed(failure) => Err((*failure).into()),
            _ => Err(ScoreError::UnreadableReply),
        };
        let (first, second) = (said(baseline_first)?, said(candidate_first)?);
        let (outcome, flipped) =
            combine(Outcome::of(first.winner, Winner::A), Outcome::of(second.winner, Winner::B));
        let (baseline, candidate) = outcome.points();
        let score = PairScore::new(baseline, candidate);
        Ok(PairScore { order_flipped: Some(flipped), note: first.reason, ..score })
    }
}
