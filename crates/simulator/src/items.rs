//! `key=value,key=value`: how traffic and truth are written on a command line.

use cutover_rollout::text::{TextError, parse_duration};

/// Counts beyond this are typing errors.
const COUNT_MAX: f64 = 1e9;

/// How a value is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    /// A whole number from 1 on: none of something is said by leaving it out.
    Count,
    /// `12%`, from 0 to 100 %.
    Share,
    /// `30 min`, as milliseconds.
    Duration,
    /// A plain number, not negative.
    Number,
}

/// A value that may be said relative to the baseline's.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Relative {
    /// `1.5x`.
    Times(f64),
    /// `+0.5pp` or `-2pp`, as a fraction.
    Plus(f64),
    /// The value itself, read as asked.
    Is(f64),
}

impl Relative {
    /// The value, given the baseline's.
    pub(super) fn of(self, baseline: f64) -> f64 {
        match self {
            Self::Times(factor) => factor * baseline,
            Self::Plus(difference) => baseline + difference,
            Self::Is(value) => value,
        }
    }
}

/// Items that have not been taken yet.
#[derive(Debug)]
pub(super) struct Items<'a> {
    items: Vec<(&'a str, &'a str)>,
    example: &'static str,
}

impl<'a> Items<'a> {
    pub(super) fn read(text: &'a str, example: &'static str) -> Result<Self, TextError> {
        let mut items: Vec<(&str, &str)> = Vec::new();
        for item in text.split(',').map(str::trim).filter(|item| !item.is_empty()) {
            let (key, value) = item.split_once('=').unwrap_or((item, ""));
            let (key, value) = (key.trim(), value.trim());
            if items.iter().any(|(known, _)| *known == key) {
                return Err(TextError::new(item, format!("{key:?} is given twice"), example));
            }
            items.push((key, value));
        }
        Ok(Self { items, example })
    }

    fn error(&self, text: &str, problem: impl Into<String>) -> TextError {
        TextError::new(text, problem, self.example)
    }

    fn remove(&mut self, key: &'static str) -> Option<&'a str> {
        let at = self.items.iter().position(|(known, _)| *known == key)?;
        Some(self.items.remove(at).1)
    }

    /// The bare item `20/min`.
    pub(super) fn take_rate(&mut self) -> Result<Option<f64>, TextError> {
        let Some(at) =
            self.items.iter().position(|(key, value)| value.is_empty() && key.contains('/'))
        else {
            return Ok(None);
        };
        let (text, _) = self.items.remove(at);
        let rate = text.strip_suffix("/min").and_then(|n| number(n.trim()));
        rate.filter(|rate| *rate > 0.0)
            .map(Some)
            .ok_or_else(|| self.error(text, "a rate is written RATE/min, a positive number"))
    }

    pub(super) fn take(
        &mut self,
        key: &'static str,
        reading: Reading,
    ) -> Result<Option<f64>, TextError> {
        let Some(text) = self.remove(key) else { return Ok(None) };
        read(text, reading)
            .map(Some)
            .ok_or_else(|| self.error(text, format!("{key} is {}", says(reading))))
    }

    pub(super) fn take_relative(
        &mut self,
        key: &'static str,
        reading: Reading,
    ) -> Result<Option<Relative>, TextError> {
        let Some(text) = self.remove(key) else { return Ok(None) };
        let relative = if let Some(factor) = text.strip_suffix('x') {
            number(factor.trim()).map(Relative::Times)
        } else if let Some(points) = text.strip_suffix("pp") {
            signed(points.trim()).map(|points| Relative::Plus(points / 100.0))
        } else {
            read(text, reading).map(Relative::Is)
        };
        relative.map(Some).ok_or_else(|| {
            let says = says(reading);
            self.error(text, format!("{key} is {says}, or relative: 1.5x, +0.5pp, -2pp"))
        })
    }

    /// `2h..5h`.
    pub(super) fn take_span(&mut self, key: &'static str) -> Result<Option<(u64, u64)>, TextError> {
        let Some(text) = self.remove(key) else { return Ok(None) };
        let bad = || self.error(text, format!("{key} is a stretch of time such as 2h..5h"));
        let (from, to) = text.split_once("..").ok_or_else(bad)?;
        let (from, to) = (parse_duration(from)?.0, parse_duration(to)?.0);
        if from < to { Ok(Some((from, to))) } else { Err(bad()) }
    }

    pub(super) fn take_word(
        &mut self,
        key: &'static str,
        known: &[&'static str],
    ) -> Result<Option<&'static str>, TextError> {
        let Some(text) = self.remove(key) else { return Ok(None) };
        known.iter().find(|word| **word == text).map(|word| Some(*word)).ok_or_else(|| {
            self.error(
                text,
                format!("not known{}", cutover_rollout::text::did_you_mean(text, known)),
            )
        })
    }

    /// Nothing may be left over.
    pub(super) fn finish(self, known: &[&str]) -> Result<(), TextError> {
        match self.items.first() {
            None => Ok(()),
            Some((key, _)) => Err(self.error(
                key,
                format!("not known{}", cutover_rollout::text::did_you_mean(key, known)),
            )),
        }
    }
}

fn says(reading: Reading) -> &'static str {
    match reading {
        Reading::Count => "a whole number from 1 on",
        Reading::Share => "a share such as 12%",
        Reading::Duration => "a duration such as 800ms or 2h",
        Reading::Number => "a number",
    }
}

fn number(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit() || b == b'.');
    plain.then(|| text.parse::<f64>().ok())?.filter(|value| value.is_finite())
}

fn signed(text: &str) -> Option<f64> {
    match text.split_at_checked(1)? {
        ("+", rest) => number(rest),
        ("-", rest) => number(rest).map(|value| -value),
        _ => None,
    }
}

fn read(text: &str, reading: Reading) -> Option<f64> {
    match reading {
        Reading::Count => {
            number(text).filter(|n| n.fract() == 0.0 && (1.0..=COUNT_MAX).contains(n))
        }
        Reading::Share => {
            number(text.strip_suffix('%')?.trim()).map(|p| p / 100.0).filter(|p| *p <= 1.0)
        }
        Reading::Duration => parse_duration(text).ok().map(|duration| duration.0 as f64),
        Reading::Number => number(text),
    }
}
