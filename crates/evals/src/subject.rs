//! What is scored, and the score.
//!
//! Texts live in private wrappers of `Debug`: an answer prints its sizes, never its words, so that no
//! log line and no error can carry a prompt or a completion by accident.

use std::fmt;

use cutover_stats::{Pair, Score};
use serde::{Deserialize, Serialize};

/// A tool that an answer asks for.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ToolCall {
    /// The tool's name.
    pub name: String,
    /// Its arguments, as the model wrote them: JSON text, or what was meant to be.
    pub arguments: String,
}

/// One arm's whole answer.
#[derive(Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The text, empty when the answer is tool calls only.
    pub text: String,
    /// The tools it asks for, in its order. They were never run.
    #[serde(default)]
    pub tool_calls: Vec<ToolCall>,
    /// Why it ended, in the words of the OpenAI dialect.
    #[serde(default)]
    pub finish_reason: Option<String>,
    /// True when no answer came: an error, a timeout, a stream that broke off.
    #[serde(default)]
    pub failed: bool,
}

/// Two answers to one request, and what is known about the right one.
#[derive(Clone, Copy)]
pub struct Subject<'a> {
    /// The rendered conversation that both arms saw.
    pub prompt: &'a str,
    /// What the baseline answered.
    pub baseline: &'a Answer,
    /// What the candidate answered.
    pub candidate: &'a Answer,
    /// The right answer where somebody knows it. Without it the baseline's answer is the reference of
    /// every scorer that compares, and its score means agreement, not correctness.
    pub expected: Option<&'a Answer>,
}

impl<'a> Subject<'a> {
    /// What a comparing scorer compares with: the right answer, else the baseline's, unless that
    /// failed.
    pub fn reference(&self) -> Option<&'a Answer> {
        let expected = self.with_known_expected().expected;
        expected.or_else(|| (!self.baseline.failed).then_some(self.baseline))
    }

    /// The same without a right answer that failed: that is none.
    pub(crate) fn with_known_expected(self) -> Self {
        Self { expected: self.expected.filter(|answer| !answer.failed), ..self }
    }
}

/// What one arm's answer is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmScore {
    /// In percent. What it measures is the scorer's affair: see its row in the table.
    pub score: Score,
    /// Whether the answer had the form asked for, where the scorer knows a form.
    pub valid: Option<bool>,
}

impl ArmScore {
    /// What a failed answer gets: nothing, and no valid form.
    pub const FAILED: Self = Self { score: Score::FAIL, valid: Some(false) };

    /// A score from a share between 0 and 1. Only a perfect share is 100 and only nothing is 0, so
    /// that rounding hides no single flaw; what is not a number is nothing.
    pub fn from_share(share: f64) -> Self {
        Self { score: percent(share), valid: None }
    }

    /// Full marks or none.
    pub fn passed(passed: bool) -> Self {
        Self { score: if passed { Score::PASS } else { Score::FAIL }, valid: None }
    }

    /// The same score with a verdict on the form.
    pub fn with_valid(self, valid: bool) -> Self {
        Self { valid: Some(valid), ..self }
    }
}

/// A share between 0 and 1 in percent, see [`ArmScore::from_share`].
fn percent(share: f64) -> Score {
    if share >= 1.0 {
        return Score::PASS;
    }
    if share.is_nan() || share <= 0.0 {
        return Score::FAIL;
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "between 0 and 100"
    )]
    let rounded = (share * 100.0).round() as u8;
    Score::from_percent(rounded.clamp(1, 99)).unwrap_or(Score::FAIL)
}

/// Both scores of one request.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairScore {
    /// The baseline's.
    pub baseline: ArmScore,
    /// The candidate's.
    pub candidate: ArmScore,
    /// Whether a judge changed its mind with the order of the answers; `None` for what has no order.
    pub order_flipped: Option<bool>,
    /// A word from the scorer. It may quote the answers, so it is kept and shown like them.
    pub note: Option<String>,
}

impl PairScore {
    /// Two scores and nothing else.
    pub fn new(baseline: ArmScore, candidate: ArmScore) -> Self {
        Self { baseline, candidate, order_flipped: None, note: None }
    }

    /// The same function of each answer; a failed answer gets [`ArmScore::FAILED`] unasked.
    pub fn of_each(subject: &Subject<'_>, score: impl Fn(&Answer) -> ArmScore) -> Self {
        let arm = |answer: &Answer| if answer.failed { ArmScore::FAILED } else { score(answer) };
        Self::new(arm(subject.baseline), arm(subject.candidate))
    }

    /// What the paired gates count.
    pub fn pair(&self) -> Pair {
        Pair { candidate: self.candidate.score, baseline: self.baseline.score }
    }
}

impl fmt::Debug for ToolCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ToolCall({} bytes of arguments)", self.arguments.len())
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("text_bytes", &self.text.len())
            .field("calls", &self.tool_calls.len())
            .field("failed", &self.failed)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject")
            .field("prompt_bytes", &self.prompt.len())
            .field("baseline", self.baseline)
            .field("candidate", self.candidate)
            .field("expected", &self.expected)
            .finish()
    }
}

impl fmt::Debug for PairScore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PairScore")
            .field("baseline", &self.baseline)
            .field("candidate", &self.candidate)
            .field("order_flipped", &self.order_flipped)
            .field("note_bytes", &self.note.as_ref().map(String::len))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_never_hides_a_flaw() {
        let score = |share| u8::from(ArmScore::from_share(share).score);
        assert_eq!([1.0, 0.999, 0.505, 0.001, 0.0].map(score), [100, 99, 51, 1, 0]);
        assert_eq!([f64::NAN, -1.0, 7.0].map(score), [0, 0, 100]);
    }

    #[test]
    fn debug_prints_no_word() {
        let call = ToolCall { name: "secret".into(), arguments: "secret".into() };
        let answer =
            Answer { text: "secret".into(), tool_calls: vec![call.clone()], ..Answer::default() };
        let subject =
            Subject { prompt: "secret", baseline: &answer, candidate: &answer, expected: None };
        let note = Some("secret".to_owned());
        let pair = PairScore { note, ..PairScore::new(ArmScore::FAILED, ArmScore::FAILED) };
        let shown = format!("{call:?} {answer:?} {subject:?} {pair:?}");
        assert!(!shown.contains("secret"), "{shown}");
    }
}
