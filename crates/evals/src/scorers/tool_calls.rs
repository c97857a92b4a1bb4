//! `tool-calls`: the same tools with the same arguments.
//!
//! Two calls match when their names are equal and their arguments are equal as JSON values (1 and 1.0
//! are one number, the order of members does not count; no arguments and `{}` are the same). Without
//! `partial` the score is 100 when all calls match one to one, none missing and none extra, else 0, as
//! the Berkeley Function-Calling Leaderboard counts. With `partial` it is
//! `F1 = 2 matched / (calls of the answer + calls of the reference)`. No calls on both sides match.
//!
//! Valid: every call's arguments are a JSON object. Tools were never run: what counts is the request.

use serde_json::{Map, Value};

use super::{Scorer, against_reference, build};
use crate::json::equal;
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::spec::{Row, Standing};
use crate::step::{ScoreError, Step};
use crate::subject::{Answer, ArmScore, Subject, ToolCall};

/// Matching is quadratic; an answer with more calls than this is not meant to be followed.
const CALLS_MAX: usize = 256;

pub(super) const ROW: Row = Row {
    kind: "tool-calls",
    doc: "The answer asks for the reference's tools with its arguments.",
    meaning: "100 or 0 (0 to 100 with partial): calls equal to the right ones, or without them, \
              agreement with the baseline; valid: all arguments are JSON objects",
    source: "AST match of the Berkeley Function-Calling Leaderboard, on JSON values",
    standing: Standing::MayGate,
    asks: false,
    revision: 1,
    options: &[
        OptionRow::new(
            "order",
            OptionType::Choice(&["any", "given"]),
            "\"any\"",
            "Whether the order of the calls counts.",
        ),
        OptionRow::new(
            "arguments",
            OptionType::Choice(&["equal", "subset", "ignore"]),
            "\"equal\"",
            "What of the arguments counts: all, those that the reference has, or none.",
        ),
        OptionRow::new(
            "partial",
            OptionType::Bool,
            "false",
            "Some right calls are worth something.",
        ),
    ],
    build: build::<ToolCalls>,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arguments {
    Equal,
    Subset,
    Ignore,
}

struct ToolCalls {
    in_order: bool,
    arguments: Arguments,
    partial: bool,
}

/// A call whose arguments were read, or are no JSON object.
struct Call<'a> {
    name: &'a str,
    arguments: Option<Map<String, Value>>,
}

impl<'a> Call<'a> {
    fn read(call: &'a ToolCall) -> Self {
        let text = call.arguments.trim();
        let text = if text.is_empty() { "{}" } else { text };
        Self { name: &call.name, arguments: serde_json::from_str(text).ok() }
    }
}

impl Scorer for ToolCalls {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        Ok(ToolCalls {
            in_order: options.text("order") == "given",
            arguments: match options.text("arguments") {
                "subset" => Arguments::Subset,
                "ignore" => Arguments::Ignore,
                _ => Arguments::Equal,
            },
            partial: options.bool("partial"),
        })
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        let reference = subject.reference().ok_or(ScoreError::NoReference)?;
        let right: Vec<Call<'_>> = reference.tool_calls.iter().map(Call::read).collect();
        if right.len() > CALLS_MAX {
            return Err(ScoreError::NoReference);
        }
        against_reference(subject, |answer, _| self.score(answer, &right))
    }
}

impl ToolCalls {
    fn score(&self, answer: &Answer, right: &[Call<'_>]) -> ArmScore {
        let calls: Vec<Call<'_>> =
            answer.tool_calls.iter().take(CALLS_MAX).map(Call::read).collect();
        let all = answer.tool_calls.len();
        let valid = all <= CALLS_MAX && calls.iter().all(|call| call.arguments.is_some());
        let matched = if self.in_order {
            self.longest_common(&calls, right)
        } else {
            self.one_to_one(&calls, right)
        };
        if all + right.len() == 0 {
            return ArmScore::passed(true).with_valid(true);
        }
        let f1 = 2.0 * matched as f64 / (all + right.len()) as f64;
        let score =
            if self.partial { ArmScore::from_share(f1) } else { ArmScore::passed(f1 >= 1.0) };
        score.with_valid(valid)
    }

    fn matches(&self, call: &Call<'_>, right: &Call<'_>) -> bool {
        let same = |left: &Map<String, Value>, right: &Map<String, Value>| match self.arguments {
            Arguments::Ignore => true,
            Arguments::Subset => {
                right.iter().all(|(key, value)| left.get(key).is_some_and(|own| equal(own, value)))
            }
            Arguments::Equal => {
                left.len() == right.len()
                    && left
                        .iter()
                        .all(|(key, value)| right.get(key).is_some_and(|r| equal(value, r)))
            }
        };
        call.name == right.name
            && match (&call.arguments, &right.arguments) {
                (Some(left), Some(right)) => same(left, right),
                (left, right) => {
                    self.arguments == Arguments::Ignore && left.is_some() == right.is_some()
                }
            }
    }

    /// Calls paired in any order: the most that can be (augmenting paths, because a call may contain
    /// the arguments of several).
    fn one_to_one(&self, calls: &[Call<'_>], right: &[Call<'_>]) -> usize {
        let edges: Vec<Vec<usize>> = calls
            .iter()
            .map(|call| (0..right.len()).filter(|j| self.matches(call, &right[*j])).collect())
            .collect();
        let mut partner: Vec<Option<usize>> = vec![None; right.len()];
        let mut matched = 0;
        for call in 0..calls.len() {
            let mut seen = vec![false; right.len()];
            matched += usize::from(augment(call, &edges, &mut partner, &mut seen));
        }
        matched
    }

    /// Calls paired in the given order: the longest common subsequence.
    fn longest_common(&self, calls: &[Call<'_>], right: &[Call<'_>]) -> usize {
        let mut row = vec![0usize; right.len() + 1];
        for call in calls {
            let mut diagonal = 0;
            for (j, other) in right.iter().enumerate() {
                let above = row[j + 1];
                row[j + 1] =
                    if self.matches(call, other) { diagonal + 1 } else { above.max(row[j]) };
                diagonal = above;
            }
        }
        row.last().copied().unwrap_or(0)
    }
}

/// Finds a partner for a call, moving others if need be. Depth is bounded by [`CALLS_MAX`].
fn augment(
    call: usize,
    edges: &[Vec<usize>],
    partner: &mut [Option<usize>],
    seen: &mut [bool],
) -> bool {
    for &other in &edges[call] {
        if std::mem::replace(&mut seen[other], true) {
            continue;
        }
        let free = match partner[other] {
            None => true,
            Some(holder) => augment(holder, edges, partner, seen),
        };
        if free {
            partner[other] = Some(call);
            return true;
        }
    }
    false
}
