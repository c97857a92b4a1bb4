//! `METRIC OP VALUE (ROLE)`.

use std::fmt;

use super::quantity::{decimal, number_of, parse_duration, parse_usd, split_number, usd};
use super::{Span, TextError, did_you_mean};
use crate::gates;
use crate::spec::{Gate, Metric, Role, Test};

const ROLES: [(&str, Role); 4] = [
    ("required", Role::Required),
    ("rollback", Role::Rollback),
    ("signal", Role::Signal),
    ("dry run", Role::DryRun),
];

const METRICS: [&str; 8] =
    ["quality", "errors", "invalid", "feedback", "fallback", "cost", "privacy", "p95"];

/// Reads a gate such as `quality >= 0.95 x baseline` or `p95 <= 4 s (rollback)`.
pub fn parse_gate(text: &str) -> Result<Gate, TextError> {
    let text = text.trim();
    let (claim, role) = split_role(text)?;
    let (metric, test) = parse_claim(claim)?;
    let mut gate = Gate { id: String::new(), metric, test, role: Role::Required };
    gate.id = gate_id(&gate);
    gate.role = role.unwrap_or_else(|| default_role(&gate));
    Ok(gate)
}

fn default_role(gate: &Gate) -> Role {
    gates::row(gate).map_or(Role::Required, |row| row.default_role)
}

fn split_role(text: &str) -> Result<(&str, Option<Role>), TextError> {
    let Some(inner) = text.strip_suffix(')') else { return Ok((text, None)) };
    let Some((claim, word)) = inner.rsplit_once('(') else {
        return Err(TextError::new(text, "a `)` without its `(`", "p95 <= 4 s (signal)"));
    };
    let word = word.trim();
    let role = ROLES.iter().find(|(name, _)| *name == word).map(|(_, role)| *role);
    let Some(role) = role else {
        let names: Vec<_> = ROLES.iter().map(|(name, _)| *name).collect();
        let problem = format!("{word:?} is no role{}", did_you_mean(word, &names));
        return Err(TextError::new(text, problem, "p95 <= 4 s (signal)"));
    };
    Ok((claim.trim_end(), Some(role)))
}

fn parse_claim(text: &str) -> Result<(Metric, Test), TextError> {
    if text == "privacy" {
        return Ok((Metric::Privacy, Test::Never));
    }
    let (at, at_most) = match (text.find("<="), text.find(">=")) {
        (Some(at), None) => (at, true),
        (None, Some(at)) => (at, false),
        _ => {
            let word = text.split_whitespace().next().unwrap_or("");
            let known = is_quantile(word) || METRICS.contains(&word);
            let problem = if known {
                "expected METRIC, one `<=` or `>=`, VALUE".to_owned()
            } else {
                format!("{word:?} is no metric{}", did_you_mean(word, &METRICS))
            };
            return Err(TextError::new(text, problem, "errors <= baseline + 0.5 pp"));
        }
    };
    let (left, value) = (text[..at].trim(), text[at + 2..].trim());
    match left {
        "quality" => quality(text, at_most, value),
        "errors" => errors(text, at_most, value),
        "invalid" => {
            let problem = "expected `invalid <= baseline + N pp`";
            let margin = at_most.then(|| excess(value, '+')).flatten();
            let margin = margin
                .ok_or_else(|| TextError::new(text, problem, "invalid <= baseline + 1 pp"))?;
            Ok((Metric::Invalid, Test::WorseByLessThan { margin }))
        }
        "feedback" => {
            let problem = "expected `feedback >= baseline - N pp`";
            let margin = (!at_most).then(|| excess(value, '-')).flatten();
            let margin = margin
                .ok_or_else(|| TextError::new(text, problem, "feedback >= baseline - 3 pp"))?;
            Ok((Metric::Feedback, Test::WorseByLessThan { margin }))
        }
        "fallback" => {
            let limit = at_most.then(|| percent(value)).flatten();
            let limit = limit.ok_or_else(|| {
                TextError::new(text, "expected `fallback <= N%`", "fallback <= 15%")
            })?;
            Ok((Metric::Fallback, Test::FractionAtMost { limit }))
        }
        "cost" => cost(text, at_most, value),
        _ if left.split_whitespace().next().is_some_and(is_quantile) => {
            quantile(text, left, (at_most, value))
        }
        _ => {
            let problem = format!("{left:?} is no metric{}", did_you_mean(left, &METRICS));
            Err(TextError::new(text, problem, "errors <= baseline + 0.5 pp"))
        }
    }
}

fn quality(text: &str, at_most: bool, value: &str) -> Result<(Metric, Test), TextError> {
    let ratio = (!at_most).then(|| times_baseline(value)).flatten();
    let ratio = ratio.ok_or_else(|| {
        let problem = "expected `quality >= RATIO x baseline`";
        TextError::new(text, problem, "quality >= 0.95 x baseline")
    })?;
    Ok((Metric::Quality, Test::RatioAtLeast { ratio }))
}

fn errors(text: &str, at_most: bool, value: &str) -> Result<(Metric, Test), TextError> {
    let problem = "expected `errors <= baseline + N pp`, `errors <= RATIO x baseline` or \
                   `errors <= N%`";
    let bad = || TextError::new(text, problem, "errors <= baseline + 0.5 pp");
    if !at_most {
        return Err(bad());
    }
    let test = if let Some(margin) = excess(value, '+') {
        Test::WorseByLessThan { margin }
    } else if let Some(ratio) = times_baseline(value) {
        Test::RateRatioAtMost { ratio }
    } else {
        Test::FractionAtMost { limit: percent(value).ok_or_else(bad)? }
    };
    Ok((Metric::Errors, test))
}

fn cost(text: &str, at_most: bool, value: &str) -> Result<(Metric, Test), TextError> {
    let problem = "expected `cost <= N USD per 1000`";
    let bad = || TextError::new(text, problem, "cost <= 2.50 USD per 1000");
    let words: Vec<_> = value.split_whitespace().collect();
    let [amount, "USD", "per", "1000" | "1,000"] = words[..] else { return Err(bad()) };
    let limit = at_most.then(|| parse_usd(amount)).flatten().ok_or_else(bad)?;
    Ok((Metric::Cost, Test::BudgetAtMost { limit }))
}

fn is_quantile(word: &str) -> bool {
    word.strip_prefix('p').is_some_and(|number| number_of(number).is_some())
}

fn quantile(
    text: &str,
    left: &str,
    (at_most, value): (bool, &str),
) -> Result<(Metric, Test), TextError> {
    let (word, of) = left.split_once(char::is_whitespace).unwrap_or((left, ""));
    let number = word.strip_prefix('p').and_then(number_of).unwrap_or(0.0);
    if number <= 0.0 || number >= 100.0 {
        return Err(TextError::new(text, "a quantile lies between p0 and p100", "p95 <= 4 s"));
    }
    let quantile = number / 100.0;
    let metric = match of.trim() {
        "" => Metric::Duration,
        "first token" => Metric::FirstToken,
        "tokens/s" => Metric::TokenRate,
        other => {
            let hint = did_you_mean(other, &["first token", "tokens/s"]);
            let problem = format!("{other:?} has no quantiles here{hint}");
            return Err(TextError::new(text, problem, "p95 first token <= 800 ms"));
        }
    };
    if metric == Metric::TokenRate {
        let bad = || {
            let problem = "expected `pN tokens/s >= RATE` or `pN tokens/s >= RATIO x baseline`";
            TextError::new(text, problem, "p5 tokens/s >= 20")
        };
        if at_most {
            return Err(bad());
        }
        if let Some(ratio) = times_baseline(value).filter(|ratio| *ratio > 0.0) {
            return Ok((metric, Test::QuantileRatioAtMost { quantile, factor: 1.0 / ratio }));
        }
        let limit = number_of(value).ok_or_else(bad)?;
        return Ok((metric, Test::QuantileWithin { quantile, limit }));
    }
    if !at_most {
        let problem = "a time is bounded from above: `<=`";
        return Err(TextError::new(text, problem, "p95 <= 4 s"));
    }
    if let Some(factor) = times_baseline(value) {
        return Ok((metric, Test::QuantileRatioAtMost { quantile, factor }));
    }
    let limit = parse_duration(value).map_err(|error| {
        let problem = format!("expected a duration or `RATIO x baseline`, and {}", error.problem);
        TextError::new(text, problem, "p95 <= 4 s")
    })?;
    Ok((metric, Test::QuantileWithin { quantile, limit: limit.0 as f64 }))
}

/// `0.95 x baseline`.
fn times_baseline(value: &str) -> Option<f64> {
    let words: Vec<_> = value.split_whitespace().collect();
    let [number, "x", "baseline"] = words[..] else { return None };
    number_of(number)
}

/// `baseline + 0.5 pp`.
fn excess(value: &str, sign: char) -> Option<f64> {
    let rest = value.strip_prefix("baseline")?.trim_start().strip_prefix(sign)?.trim_start();
    let (number, unit) = split_number(rest);
    (unit == "pp").then(|| number_of(number)).flatten().map(|pp| pp / 100.0)
}

/// `15%`.
fn percent(value: &str) -> Option<f64> {
    let (number, unit) = split_number(value);
    (unit == "%").then(|| number_of(number)).flatten().map(|percent| percent / 100.0)
}

/// `p95`, `p99.9`.
pub(crate) fn quantile_word(quantile: f64) -> String {
    format!("p{}", decimal(quantile * 100.0))
}

/// What a gate is called when nobody names it.
pub(crate) fn gate_id(gate: &Gate) -> String {
    let metric = match gate.metric {
        Metric::Quality => "quality",
        Metric::Errors => "errors",
        Metric::Invalid => "invalid",
        Metric::Feedback => "feedback",
        Metric::Fallback => "fallback",
        Metric::Cost => "cost",
        Metric::Privacy => "privacy",
        Metric::Duration => "",
        Metric::FirstToken => "-first-token",
        Metric::TokenRate => "-tokens",
    };
    match gate.test {
        Test::RateRatioAtMost { .. } => format!("{metric}-ratio"),
        Test::FractionAtMost { .. } if gate.metric == Metric::Errors => format!("{metric}-share"),
        Test::QuantileWithin { quantile, .. } => format!("{}{metric}", quantile_word(quantile)),
        Test::QuantileRatioAtMost { quantile, .. } => {
            format!("{}{metric}-ratio", quantile_word(quantile))
        }
        _ => metric.to_owned(),
    }
}

/// The gate without its role, in the words of the config file.
pub(crate) fn claim(gate: &Gate) -> String {
    let metric = match gate.metric {
        Metric::Quality => "quality",
        Metric::Errors => "errors",
        Metric::Invalid => "invalid",
        Metric::Feedback => "feedback",
        Metric::Fallback => "fallback",
        Metric::Cost => "cost",
        Metric::Privacy => "privacy",
        Metric::Duration => "",
        Metric::FirstToken => " first token",
        Metric::TokenRate => " tokens/s",
    };
    let op = match gate.metric {
        Metric::Quality | Metric::Feedback | Metric::TokenRate => ">=",
        _ => "<=",
    };
    match gate.test {
        Test::RatioAtLeast { ratio } | Test::RateRatioAtMost { ratio } => {
            format!("{metric} {op} {} x baseline", decimal(ratio))
        }
        Test::WorseByLessThan { margin } => {
            let sign = if op == ">=" { '-' } else { '+' };
            format!("{metric} {op} baseline {sign} {} pp", decimal(margin * 100.0))
        }
        Test::QuantileWithin { quantile, limit } => {
            let limit = if gate.metric == Metric::TokenRate {
                decimal(limit)
            } else {
                Span(gates::millis(limit)).to_string()
            };
            format!("{}{metric} {op} {limit}", quantile_word(quantile))
        }
        Test::QuantileRatioAtMost { quantile, factor } => {
            let shown = if gate.metric == Metric::TokenRate { 1.0 / factor } else { factor };
            format!("{}{metric} {op} {} x baseline", quantile_word(quantile), decimal(shown))
        }
        Test::FractionAtMost { limit } => format!("{metric} {op} {}%", decimal(limit * 100.0)),
        Test::BudgetAtMost { limit } => format!("{metric} {op} {} USD per 1000", usd(limit)),
        Test::Never => metric.to_owned(),
    }
}

impl Gate {
    /// What it claims, in the words of the config file, without its role.
    pub fn claim(&self) -> String {
        claim(self)
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&claim(self))?;
        if self.role == default_role(self) {
            return Ok(());
        }
        let name = ROLES.iter().find(|(_, role)| *role == self.role).map_or("", |(name, _)| name);
        write!(f, " ({name})")
    }
}
