//! A language model as a judge: what it is asked, what it may answer, and whether it may decide.
//!
//! Contract: a judge sees two answers without names, in both orders, as data between marks that no
//! answer can contain. It answers one small JSON object; a code fence around it is forgiven, anything
//! else is an error. Its verdicts decide only while its record ([`JudgeHealth`]) is good: it keeps its
//! verdict when the order changes, and people agree with it. It never judges its own family.

mod family;
mod health;
mod prompt;

use std::cmp::Ordering;

use cutover_stats::Score;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::step::ScoreError;
use crate::subject::{ArmScore, PairScore};
use crate::text::{cut, without_fence};

pub use family::{family, independent};
pub use health::{FLIP_RATE_MAX, JUDGED_MIN, JudgeFloor, JudgeHealth, KAPPA_MIN, LABELS_MIN};
pub(crate) use prompt::{Brief, conversation};

/// A reason longer than this is cut.
const REASON_BYTES_MAX: usize = 1_000;

/// Whom the judge names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Winner {
    /// The answer shown first.
    A,
    /// The answer shown second.
    B,
    /// They are equally good.
    #[serde(rename = "tie")]
    Tie,
    /// Neither is acceptable.
    #[serde(rename = "both_bad")]
    BothBad,
}

/// The judge's reply.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Verdict {
    /// Whom it names.
    pub winner: Winner,
    /// Why; may quote the answers.
    #[serde(default)]
    pub reason: Option<String>,
}

impl std::fmt::Debug for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Verdict({:?})", self.winner)
    }
}

/// The form that a judge's model can be held to.
pub(crate) fn verdict_schema() -> Value {
    json!({
        "type": "object",
        "properties": {
            "reason": {"type": "string"},
            "winner": {"type": "string", "enum": ["A", "B", "tie", "both_bad"]}
        },
        "required": ["reason", "winner"],
        "additionalProperties": false
    })
}

/// Reads a judge's reply: the object alone, or in a code fence.
pub fn read_verdict(text: &str) -> Result<Verdict, ScoreError> {
    let verdict: Verdict =
        serde_json::from_str(without_fence(text)).map_err(|_| ScoreError::UnreadableReply)?;
    let reason = verdict.reason.map(|reason| cut(&reason, REASON_BYTES_MAX).0.to_owned());
    Ok(Verdict { reason, ..verdict })
}

/// What a comparison says about the arms; people and judges both say one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The candidate's answer is better.
    Candidate,
    /// The baseline's answer is better.
    Baseline,
    /// They are equally good.
    Tie,
    /// Neither is acceptable.
    BothBad,
}

impl Outcome {
    /// All outcomes, in the order of a counts matrix.
    pub const ALL: [Self; 4] = [Self::Candidate, Self::Baseline, Self::Tie, Self::BothBad];

    /// What naming a winner means when the baseline was shown as `baseline_is`.
    pub fn of(winner: Winner, baseline_is: Winner) -> Self {
        match winner {
            Winner::Tie => Self::Tie,
            Winner::BothBad => Self::BothBad,
            named if named == baseline_is => Self::Baseline,
            _ => Self::Candidate,
        }
    }

    /// What a judge's scores said: the inverse of the mapping to points.
    pub fn of_scores(score: &PairScore) -> Self {
        match score.candidate.score.cmp(&score.baseline.score) {
            Ordering::Greater => Self::Candidate,
            Ordering::Less => Self::Baseline,
            Ordering::Equal if score.candidate.score == Score::FAIL => Self::BothBad,
            Ordering::Equal => Self::Tie,
        }
    }

    /// The points of the baseline and of the candidate.
    pub fn points(self) -> (ArmScore, ArmScore) {
        let (baseline, candidate) = match self {
            Self::Candidate => (false, true),
            Self::Baseline => (true, false),
            Self::Tie => (true, true),
            Self::BothBad => (false, false),
        };
        (ArmScore::passed(baseline), ArmScore::passed(candidate))
    }

    pub(crate) fn index(self) -> usize {
        match self {
            Self::Candidate => 0,
            Self::Baseline => 1,
            Self::Tie => 2,
            Self::BothBad => 3,
        }
    }
}

/// One outcome of two orders, and whether they disagreed. Disagreement is a tie.
pub fn combine(first: Outcome, second: Outcome) -> (Outcome, bool) {
    if first == second { (first, false) } else { (Outcome::Tie, true) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn only_the_agreed_object_is_a_verdict() {
        for good in [
            r#"{"winner": "A"}"#,
            " {\"winner\": \"A\", \"reason\": \"x\"}\n",
            "```json\n{\"winner\": \"A\"}\n```",
        ] {
            assert_eq!(read_verdict(good).map(|v| v.winner), Ok(Winner::A), "{good}");
        }
        for bad in [
            "A",
            "Answer A is better.",
            r#"{"winner": "a"}"#,
            r#"{"winner": "C"}"#,
            r#"{"winner": "A", "score": 3}"#,
            r#"{"winner": "A"} because it is"#,
            r#"Verdict: {"winner": "A"}"#,
            r#"{"reason": "none"}"#,
            "```json\n{\"winner\": \"A\"}\n```\nI hope this helps",
            "",
        ] {
            assert_eq!(read_verdict(bad), Err(ScoreError::UnreadableReply), "{bad}");
        }
    }

    #[test]
    fn both_orders_must_agree() {
        let ab = Outcome::of(Winner::A, Winner::A);
        let ba = Outcome::of(Winner::B, Winner::B);
        assert_eq!(combine(ab, ba), (Outcome::Baseline, false));
        // Whoever stands first wins: the judge looks at the position.
        let biased = Outcome::of(Winner::A, Winner::B);
        assert_eq!(combine(ab, biased), (Outcome::Tie, true));
    }

    #[test]
    fn outcomes_are_read_back_from_scores() {
        for outcome in Outcome::ALL {
            let (baseline, candidate) = outcome.points();
            assert_eq!(Outcome::of_scores(&PairScore::new(baseline, candidate)), outcome);
            assert_eq!(Outcome::ALL[outcome.index()], outcome);
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC{0,80}") {
            let _ = read_verdict(&text);
        }
    }
}
