//! `cutover rollout rate`: a person compares answers, blind, so that a judge's verdicts can be compared
//! with theirs.

use std::fmt::Write as _;
use std::io::{BufRead, Write as _};

use cutover_control::api::rating::{Choice, LabelPair, NextPair, RatingItem};
use cutover_control::api::rollouts::{JudgeStatus, RolloutStatus};
use cutover_control::client::Admin;
use cutover_units::WeightBp;

use super::Context;
use crate::clock;
use crate::exit::{Exit, Failed};
use crate::operator;
use crate::term::Term;

/// Compare answers of stored pairs, blind: what people say lets a judge decide.
///
/// Shows a prompt and two answers, without saying which is whose. For each: l or r for the better one, t
/// if they are equally good, b if both are bad, s to skip, q to stop; then Enter. Reads from a pipe, too.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The use case
    use_case: String,
    /// Who compares: letters, digits, '.', '_', '-'. Default: who asks. With an operator's own token it is
    /// that operator
    #[arg(long, value_name = "NAME")]
    rater: Option<String>,
    /// Stop after so many labels
    #[arg(long, value_name = "N", default_value_t = 50)]
    count: u32,
}

pub(super) fn run(args: &Args, context: &Context<'_>, term: &mut Term) -> Result<Exit, Failed> {
    let rater = args.rater.clone().unwrap_or_else(|| plain(&operator::actor(context.actor)));
    let mut session = Session { client: context.operator.client()?, args, rater };
    session.run(&mut std::io::stdin().lock(), term)
}

/// One sitting of one person.
struct Session<'a> {
    client: Admin,
    args: &'a Args,
    rater: String,
}

impl Session<'_> {
    fn run(&mut self, keys: &mut dyn BufRead, term: &mut Term) -> Result<Exit, Failed> {
        let (mut stored, mut judge) = (0, None);
        while stored < self.args.count {
            let NextPair { item, left, rater, pairs, .. } = self.next()?;
            if !rater.is_empty() {
                self.rater = rater;
            }
            let Some(item) = item else {
                if pairs == 0 {
                    return Err(self.nothing()?);
                }
                term.talk(format_args!(
                    "there is no scored pair that {} has not compared",
                    self.rater
                ));
                break;
            };
            let title = format!("pair {} of {}, {left} not compared", stored + 1, self.args.count);
            term.say(show(&title, &item))?;
            let began = clock::now();
            let Some(choice) = ask(keys, term)? else { break };
            let ms = clock::now().0.saturating_sub(began.0);
            let (rater, repeat) = (self.rater.clone(), item.repeat);
            let label = LabelPair { choice, rater, ms, repeat };
            let call = self.client.label_pair(&self.args.use_case, item.pair, &label);
            let labelled = operator::block_on(call)?.map_err(operator::failed)?;
            stored += u32::from(labelled.stored);
            judge = labelled.judge.or(judge);
        }
        term.say(format_args!("{stored} labels of {} stored", self.rater))?;
        if let Some(judge) = judge {
            term.say(record(&judge))?;
        }
        Ok(Exit::Done)
    }

    fn nothing(&self) -> Result<Failed, Failed> {
        let name = &self.args.use_case;
        let call = self.client.rollout(name);
        let status = operator::block_on(call)?.map_err(operator::failed)?;
        let why = unscored(&status);
        Ok(Failed::new(Exit::Failed, format!("no pair of {name} can be compared: {why}"))
            .hint(format!("see what comes of pairs: cutover rollout status {name}")))
    }

    fn next(&self) -> Result<NextPair, Failed> {
        let call = self.client.next_pair(&self.args.use_case, &self.rater);
        operator::block_on(call)?.map_err(operator::failed)
    }
}

/// Why there is nothing to compare.
fn unscored(status: &RolloutStatus) -> String {
    let scoring = &status.scoring;
    let reasons: Vec<_> = scoring.unscored.iter().map(|(why, n)| format!("{why} {n}")).collect();
    let copies = status.state.shadow;
    match &scoring.scorer {
        None => "the use case has no scorer".to_owned(),
        Some(_) if scoring.pending > 0 => {
            format!("{} pairs are being scored: try again soon", scoring.pending)
        }
        Some(_) if !reasons.is_empty() => {
            format!("the scorer gave no score that could be used ({})", reasons.join(", "))
        }
        Some(_) if copies == WeightBp::NONE => {
            "no request is copied in this step, so that no pair comes".to_owned()
        }
        Some(_) => format!("{copies} of the requests are copied, and no pair has come yet"),
    }
}

/// Asks until the answer is one; none: stop.
fn ask(keys: &mut dyn BufRead, term: &mut Term) -> Result<Option<Choice>, Failed> {
    loop {
        let _ = write!(term.err, "l left, r right, t tie, b both bad, s skip, q stop > ");
        let _ = term.err.flush();
        let mut line = String::new();
        if keys.read_line(&mut line)? == 0 {
            term.talk("");
            return Ok(None);
        }
        match line.trim().to_lowercase().as_str() {
            "l" | "left" => return Ok(Some(Choice::Left)),
            "r" | "right" => return Ok(Some(Choice::Right)),
            "t" | "tie" => return Ok(Some(Choice::Tie)),
            "b" | "both bad" => return Ok(Some(Choice::BothBad)),
            "s" | "skip" => return Ok(Some(Choice::Skip)),
            "q" | "quit" => return Ok(None),
            _ => {}
        }
    }
}

fn show(title: &str, item: &RatingItem) -> String {
    let mut out = String::new();
    for (head, text) in [
        (title, ""),
        ("asked", item.prompt.as_str()),
        ("LEFT (l)", item.left.as_str()),
        ("RIGHT (r)", item.right.as_str()),
    ] {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "--- {head}");
        if !text.is_empty() {
            let _ = writeln!(out, "{}", harmless(text));
        }
    }
    out
}

/// A text without what moves a terminal's cursor or paints it.
fn harmless(text: &str) -> String {
    let shown = |c: &char| !c.is_control() || matches!(c, '\n' | '\t');
    text.chars().filter(shown).collect()
}

/// A judge's record, and what it lacks.
pub(super) fn record(judge: &JudgeStatus) -> String {
    let ends = |ends: Option<(f64, f64)>, scale: f64| {
        let ends = ends.map(|(low, high)| format!(" ({:.2} to {:.2})", low * scale, high * scale));
        ends.unwrap_or_default()
    };
    let unknown = judge.kappa.is_some() && judge.kappa_interval.is_none();
    let unknown =
        if unknown { " (no interval: one side never varied, or both always agreed)" } else { "" };
    let kappa = judge.kappa.map_or("undefined".to_owned(), |kappa| format!("{kappa:.2}"));
    let mut text = format!(
        "judge: {} of {} labels, agreement with people kappa {kappa}{}{unknown}, at least {:.2}",
        judge.labels,
        judge.labels_needed,
        ends(judge.kappa_interval, 1.0),
        judge.kappa_min
    );
    if let Some(flips) = judge.flip_rate {
        let flips = flips * 100.0;
        let _ = write!(
            text,
            "; {flips:.1} %{} of {} verdicts changed with the order, at most {:.0} %",
            ends(judge.flip_interval, 100.0),
            judge.judged,
            judge.flip_rate_max * 100.0
        );
    }
    if judge.repeats > 0 {
        let _ = write!(
            text,
            "; people said the same again in {} of {} pairs",
            judge.repeats_agree, judge.repeats
        );
    }
    match &judge.refused {
        Some(why) => {
            let _ = write!(text, "; it may not decide yet: {why}");
        }
        None => text += "; it may decide",
    }
    text
}

/// A name as the server takes it.
fn plain(name: &str) -> String {
    let kept = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    name.chars().map(kept).take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_a_choice_and_anything_else_is_asked_again() {
        let mut keys = "x\nL\nright\nt\nb\ns\n\nq\n".as_bytes();
        let mut term = Term {
            out: Box::new(std::io::sink()),
            err: Box::new(std::io::sink()),
            colour: false,
            screen: false,
        };
        let mut asked = || ask(&mut keys, &mut term).unwrap();
        let choices: Vec<_> = std::iter::from_fn(&mut asked).collect();
        let all = [Choice::Left, Choice::Right, Choice::Tie, Choice::BothBad, Choice::Skip];
        assert_eq!(choices, all);
        assert_eq!(asked(), None, "the end of the pipe");
    }

    #[test]
    fn what_is_shown_moves_no_cursor() {
        let item = RatingItem {
            pair: 7,
            prompt: "user: Sum?\u{1b}[2J".into(),
            left: "42\n".into(),
            right: "\u{7}43".into(),
            repeat: false,
        };
        insta::assert_snapshot!(show("pair 1 of 50, 9 not compared", &item), @r"
        --- pair 1 of 50, 9 not compared
        --- asked
        user: Sum?[2J
        --- LEFT (l)
        42

        --- RIGHT (r)
        43
        ");
    }

    #[test]
    fn a_judges_record_says_what_it_lacks() {
        let judge = JudgeStatus {
            judged: 120,
            judged_needed: 50,
            flip_rate: Some(0.1),
            flip_interval: Some((0.06, 0.17)),
            flip_rate_max: 0.25,
            labels: 20,
            labels_needed: 50,
            kappa: Some(0.61),
            kappa_interval: Some((0.3, 0.92)),
            kappa_min: 0.4,
            unreadable: 0,
            longer_won: None,
            repeats: 2,
            repeats_agree: 1,
            refused: Some("people labelled 20 of the judge's pairs, 50 are needed".into()),
        };
        insta::assert_snapshot!(record(&judge), @"judge: 20 of 50 labels, agreement with people kappa 0.61 (0.30 to 0.92), at least 0.40; 10.0 % (6.00 to 17.00) of 120 verdicts changed with the order, at most 25 %; people said the same again in 1 of 2 pairs; it may not decide yet: people labelled 20 of the judge's pairs, 50 are needed");
        assert_eq!(plain("Ann B@x"), "Ann-B-x");
    }
}
