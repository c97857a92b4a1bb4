//! `code-runs`: the code in the answer runs, and passes the checks behind it. Off unless allowed.
//!
//! The last code block of each answer (with the language's tag, where one is named) goes to the standard
//! input of a command, followed by the text of `checks`. Exit code 0 scores 100, any other 0; an answer
//! without a block scores 0 and is not valid. This is functional correctness as HumanEval counts it
//! (arXiv 2107.03374), with one sample.
//!
//! **Model output is run.** What contains it is the operator's command: a container without network, a
//! virtual machine, a jail. Nothing here is a sandbox, and so `allow = true` must be written.
//!
//! A block that hangs or writes without end has failed its test: a timeout scores 0, else a candidate
//! could take its worst answers out of the evidence. A sandbox that cannot start must not look like bad
//! code: exit codes 125 to 127 (as container runtimes, `env` and shells use them) are errors.

use super::command::{OUTPUT, TIMEOUT, limits, program};
use super::{Scorer, build};
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::spec::{Row, Standing};
use crate::step::{Ask, AskAnswer, Failure, Limits, ScoreError, Step};
use crate::subject::{Answer, ArmScore, PairScore, Subject};
use crate::text::fenced;

pub(super) const ROW: Row = Row {
    kind: "code-runs",
    doc: "The answer's code block runs under the operator's sandbox and exits with 0. Off unless allowed.",
    meaning: "100 or 0: correctness of each answer alone, by the checks; valid: there is a code block",
    source: "functional correctness of HumanEval (arXiv 2107.03374), one sample",
    standing: Standing::MayGate,
    asks: true,
    revision: 1,
    options: &[
        OptionRow::required(
            "command",
            OptionType::Texts,
            "The sandbox that reads code from standard input and runs it. There is no shell.",
        ),
        OptionRow::new(
            "allow",
            OptionType::Bool,
            "false",
            "Must be true: code that a model wrote is run.",
        ),
        OptionRow::optional(
            "language",
            OptionType::Text,
            "The tag of the code block; other blocks are passed over.",
        ),
        OptionRow::optional("checks", OptionType::Text, "Code that is put behind the answer's."),
        TIMEOUT,
        OUTPUT,
    ],
    build: build::<CodeRuns>,
};

struct CodeRuns {
    command: Vec<String>,
    language: Option<String>,
    checks: String,
    limits: Limits,
}

impl CodeRuns {
    fn code<'a>(&self, answer: &'a Answer) -> Option<&'a str> {
        let wanted = |tag: &str| {
            self.language.as_ref().is_none_or(|language| tag.to_lowercase() == *language)
        };
        let blocks = fenced(&answer.text);
        let last = blocks.iter().rev().find(|block| wanted(block.tag))?;
        (!answer.failed && !last.body.trim().is_empty()).then_some(last.body)
    }

    fn ask(&self, code: &str) -> Ask {
        let mut stdin = code.trim_end().to_owned();
        stdin.push('\n');
        stdin.push_str(&self.checks);
        Ask::Run { command: self.command.clone(), stdin, limits: self.limits }
    }
}

/// An exit in points.
fn passed(answer: &AskAnswer) -> Result<bool, ScoreError> {
    match answer {
        AskAnswer::Exited { code: Some(125..=127), .. } => Err(ScoreError::Crashed),
        AskAnswer::Exited { code, .. } => Ok(*code == Some(0)),
        AskAnswer::Failed(Failure::TimedOut | Failure::TooLarge) => Ok(false),
        AskAnswer::Failed(failure) => Err((*failure).into()),
        _ => Err(ScoreError::UnreadableReply),
    }
}

impl Scorer for CodeRuns {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        if !options.bool("allow") {
            let problem = OptionProblem::new("allow", "code-runs runs code that a model wrote");
            return Err(problem.suggest("name a sandbox in command and write allow = true"));
        }
        Ok(CodeRuns {
            command: program(options)?,
            language: options.given("language").map(str::to_lowercase),
            checks: options.text("checks").to_owned(),
            limits: limits(options),
        })
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        let codes = [subject.baseline, subject.candidate].map(|answer| self.code(answer));
        let asks: Vec<Ask> = codes.into_iter().flatten().map(|code| self.ask(code)).collect();
        if asks.is_empty() {
            return Ok(Step::Done(PairScore::new(ArmScore::FAILED, ArmScore::FAILED)));
        }
        Ok(Step::Ask(asks))
    }

    fn resume(
        &self,
        subject: &Subject<'_>,
        answers: &[AskAnswer],
    ) -> Result<PairScore, ScoreError> {
        let mut answers = answers.iter();
        let mut arm = |answer: &Answer| match self.code(answer) {
            None => Ok(ArmScore::FAILED),
            Some(_) => {
                let run = answers.next().ok_or(ScoreError::UnreadableReply)?;
                passed(run).map(|passed| ArmScore::passed(passed).with_valid(true))
            }
        };
        let score = PairScore::new(arm(subject.baseline)?, arm(subject.candidate)?);
        if answers.next().is_some() { Err(ScoreError::UnreadableReply) } else { Ok(score) }
    }
}
