//! `KIND SHARE [with shadow SHARE] [for TIME] [until TIME] [min N units] [after approval] [on TIMES]
//! [needs N instances]`.

use std::fmt;

use cutover_units::{Millis, WeightBp};

use super::quantity::{Span, parse_duration};
use super::{TextError, did_you_mean};
use crate::spec::{Approval, Schedule, Step, StepKind};

const KINDS: [(&str, StepKind); 4] = [
    ("shadow", StepKind::Shadow),
    ("canary", StepKind::Canary),
    ("ramp", StepKind::Ramp),
    ("soak", StepKind::Soak),
];
const CLAUSES: [&str; 8] = ["with", "for", "until", "min", "after", "on", "needs", "requires"];
const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const EXAMPLE: &str = "ramp 25% for 1 h until 7 d";
const DAY_MINUTES: u16 = 1_440;

/// Each arm must have seen so many units unless the step says otherwise.
pub(crate) const MIN_UNITS: u32 = 100;
const HOUR: Millis = Millis(3_600_000);
const DAY: Millis = Millis(86_400_000);

/// How long a step lasts at least unless it says otherwise: errors of a working day's hour show within
/// one, and the whole of the traffic is watched for a day with its night.
fn default_duration(kind: StepKind) -> Millis {
    match kind {
        StepKind::Shadow | StepKind::Canary | StepKind::Ramp => HOUR,
        StepKind::Soak => DAY,
    }
}

/// What a step is called when nobody names it.
pub(crate) fn step_name(step: &Step) -> String {
    head(step)
}

fn head(step: &Step) -> String {
    let word = KINDS.iter().find(|(_, kind)| *kind == step.kind).map_or("", |(word, _)| word);
    match step.kind {
        StepKind::Soak if step.weight == WeightBp::ALL => "100%".to_owned(),
        StepKind::Shadow => format!("{word} {}", step.shadow),
        _ => format!("{word} {}", step.weight),
    }
}

/// Reads a step such as `canary 5% for 1 h` or `ramp 75% with shadow 10% until 7 d`.
pub fn parse_step(text: &str) -> Result<Step, TextError> {
    let text = text.trim();
    let words: Vec<&str> = text.split_whitespace().collect();
    let (kind, rest) = match words.split_first() {
        Some((first, rest)) if first.ends_with('%') => {
            if share(text, first)? != WeightBp::ALL {
                let problem =
                    "a share without a kind is only `100%`; write what kind of step it is";
                return Err(TextError::new(text, problem, &format!("ramp {first}")));
            }
            (StepKind::Soak, (WeightBp::ALL, rest))
        }
        Some((first, rest)) => {
            let kind = KINDS.iter().find(|(word, _)| word == first).map(|(_, kind)| *kind);
            let names: Vec<_> = KINDS.iter().map(|(word, _)| *word).collect();
            let kind = kind.ok_or_else(|| {
                let problem =
                    format!("{first:?} is no kind of step{}", did_you_mean(first, &names));
                TextError::new(text, problem, EXAMPLE)
            })?;
            let (weight, rest) = rest.split_first().ok_or_else(|| {
                TextError::new(text, "a step needs its share of traffic", EXAMPLE)
            })?;
            (kind, (share(text, weight)?, rest))
        }
        None => return Err(TextError::new(text, "a step is empty", EXAMPLE)),
    };
    let (of, rest) = rest;
    let mut step = Step {
        name: String::new(),
        kind,
        weight: if kind == StepKind::Shadow { WeightBp::NONE } else { of },
        shadow: if kind == StepKind::Shadow { of } else { WeightBp::NONE },
        min_duration: default_duration(kind),
        max_duration: None,
        min_units: MIN_UNITS,
        requires: Vec::new(),
        approval: None,
        schedule: None,
        min_instances: 0,
    };
    clauses(text, rest, &mut step)?;
    step.name = step_name(&step);
    Ok(step)
}

fn share(text: &str, word: &str) -> Result<WeightBp, TextError> {
    WeightBp::parse(word).map_err(|error| TextError::new(text, error.to_string(), EXAMPLE))
}

fn clauses(text: &str, words: &[&str], step: &mut Step) -> Result<(), TextError> {
    let mut rest = words;
    let mut seen = Vec::new();
    while let Some((clause, after)) = rest.split_first() {
        if !CLAUSES.contains(clause) {
            let hint = did_you_mean(clause, &CLAUSES);
            let problem = format!("{clause:?} begins no part of a step{hint}");
            return Err(TextError::new(text, problem, EXAMPLE));
        }
        if seen.contains(clause) {
            return Err(TextError::new(text, format!("`{clause}` twice"), EXAMPLE));
        }
        seen.push(*clause);
        let begins = |at: &usize| begins_clause(&after[*at..]);
        let end = (0..after.len()).find(begins).unwrap_or(after.len());
        let (body, tail) = after.split_at(end);
        clause_of(text, clause, body, step)?;
        rest = tail;
    }
    Ok(())
}

/// `min` is a clause before a number and a unit of time behind one: `for 30 min min 200 units`.
fn begins_clause(words: &[&str]) -> bool {
    let digits = |word: &&str| word.bytes().all(|b| b.is_ascii_digit());
    match words {
        ["min", rest @ ..] => rest.first().is_some_and(digits),
        [word, ..] => CLAUSES.contains(word),
        [] => false,
    }
}

fn clause_of(text: &str, clause: &str, body: &[&str], step: &mut Step) -> Result<(), TextError> {
    let joined = body.join(" ");
    let time = || {
        parse_duration(&joined).map_err(|error| {
            TextError::new(text, format!("`{clause}`: {}", error.problem), EXAMPLE)
        })
    };
    match (clause, body) {
        ("with", ["shadow", of]) => step.shadow = share(text, of)?,
        ("with", _) => return Err(expected(text, "with shadow 10%")),
        ("for", _) => step.min_duration = time()?,
        ("until", _) => step.max_duration = Some(time()?),
        ("min", [number, "units" | "unit" | "pairs" | "pair"]) => {
            step.min_units = number.parse().map_err(|_| expected(text, "min 200 units"))?;
        }
        ("min", _) => return Err(expected(text, "min 200 units")),
        ("after", ["approval"]) => step.approval = Some(Approval { by: Vec::new() }),
        ("after", ["approval", "by", names @ ..]) if !names.is_empty() => {
            step.approval = Some(Approval { by: list(names) });
        }
        ("after", _) => return Err(expected(text, "after approval by ana, ben")),
        ("on", _) => {
            let parsed = schedule(body).ok_or_else(|| expected(text, "on mon-fri 09:00-17:00"))?;
            step.schedule = Some(parsed);
        }
        ("needs", [number, "instances" | "instance"]) => {
            let count = number.parse().ok().filter(|count| *count > 0);
            step.min_instances = count.ok_or_else(|| expected(text, "needs 2 instances"))?;
        }
        ("needs", _) => return Err(expected(text, "needs 2 instances")),
        _ if body.is_empty() => return Err(expected(text, "requires quality, errors")),
        _ => step.requires = list(body),
    }
    Ok(())
}

fn expected(text: &str, example: &str) -> TextError {
    TextError::new(text, format!("expected `{example}`"), &format!("ramp 25% {example}"))
}

fn list(words: &[&str]) -> Vec<String> {
    let all = words.join(" ");
    all.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
}

/// `mon-fri 09:00-17:00`, `sat,sun`, `22:00-06:00`.
fn schedule(words: &[&str]) -> Option<Schedule> {
    let (days, hours) = match words {
        [one] if one.contains(':') => ("", *one),
        [one] => (*one, "00:00-24:00"),
        [days, hours] => (*days, *hours),
        _ => return None,
    };
    let mut parsed = Vec::new();
    for part in days.split(',').filter(|part| !part.is_empty()) {
        let day = |name: &str| DAYS.iter().position(|day| *day == name);
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to) = (day(from)?, day(to)?);
        let to = if to < from { to + DAYS.len() } else { to };
        parsed.extend((from..=to).filter_map(|day| u8::try_from(day % DAYS.len()).ok()));
    }
    parsed.sort_unstable();
    parsed.dedup();
    let (from, to) = hours.split_once('-')?;
    Some(Schedule { days: parsed, from_minute: minute(from)?, to_minute: minute(to)? })
}

fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let (hour, minute): (u16, u16) = (hour.parse().ok()?, minute.parse().ok()?);
    (hour <= 24 && minute < 60 && hour * 60 + minute <= DAY_MINUTES).then_some(hour * 60 + minute)
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let clock = |minute: u16| format!("{:02}:{:02}", minute / 60, minute % 60);
        if !self.days.is_empty() {
            let days: Vec<_> =
                self.days.iter().filter_map(|day| DAYS.get(usize::from(*day)).copied()).collect();
            write!(f, "{} ", days.join(","))?;
        }
        write!(f, "{}-{}", clock(self.from_minute), clock(self.to_minute))
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&head(self))?;
        if self.kind != StepKind::Shadow && self.shadow != WeightBp::NONE {
            write!(f, " with shadow {}", self.shadow)?;
        }
        if self.min_duration != default_duration(self.kind) {
            write!(f, " for {}", Span(self.min_duration))?;
        }
        if let Some(max) = self.max_duration {
            write!(f, " until {}", Span(max))?;
        }
        if self.min_units != MIN_UNITS {
            write!(f, " min {} units", self.min_units)?;
        }
        match &self.approval {
            Some(approval) if approval.by.is_empty() => f.write_str(" after approval")?,
            Some(approval) => write!(f, " after approval by {}", approval.by.join(", "))?,
            None => {}
        }
        if let Some(schedule) = &self.schedule {
            write!(f, " on {schedule}")?;
        }
        match self.min_instances {
            0 => {}
            1 => f.write_str(" needs 1 instance")?,
            count => write!(f, " needs {count} instances")?,
        }
        if !self.requires.is_empty() {
            write!(f, " requires {}", self.requires.join(", "))?;
        }
        Ok(())
    }
}
