//! A gate's full form and its short form, which say the same.
//!
//! The short form's grammar is `rollout::text`'s alone: a full gate is read by writing it short, and
//! printed by taking the short form apart. So the two cannot differ.

use std::fmt;

/// A gate's claim in parts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct GateForm<'a> {
    pub(crate) metric: &'a str,
    pub(crate) quantile: Option<&'a str>,
    pub(crate) value: Value<'a>,
}

/// What a metric is compared with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    /// So many times the baseline's.
    Ratio(&'a str),
    /// So many percentage points worse than the baseline's.
    Margin(&'a str),
    /// A bound of its own.
    Limit(&'a str),
    /// It never happens.
    Nothing,
}

/// What a quantile's metric is called behind its quantile.
const QUANTILES: &[(&str, &str, &str)] = &[
    ("first_token", " first token", "p95"),
    ("token_rate", " tokens/s", "p5"),
    ("duration", "", "p95"),
];

impl<'a> GateForm<'a> {
    /// The parts of a claim in the short form.
    pub(crate) fn of(claim: &'a str) -> Option<Self> {
        let claim = claim.split_once(" (").map_or(claim, |(claim, _)| claim);
        let split = claim.split_once("<=").or_else(|| claim.split_once(">="));
        let Some((left, value)) = split else {
            return Some(Self { metric: claim.trim(), quantile: None, value: Value::Nothing });
        };
        let (left, value) = (left.trim(), value.trim());
        let (metric, quantile) = if left.starts_with('p') && left != "privacy" {
            let (word, of) = left.split_once(' ').unwrap_or((left, ""));
            let row = QUANTILES.iter().find(|(_, words, _)| words.trim() == of)?;
            (row.0, Some(word))
        } else {
            (left, None)
        };
        let value = if let Some(ratio) = value.strip_suffix(" x baseline") {
            Value::Ratio(ratio)
        } else if let Some(margin) = value.strip_prefix("baseline ") {
            Value::Margin(margin.trim_start_matches(['+', '-', ' ']).strip_suffix(" pp")?)
        } else {
            Value::Limit(value)
        };
        Some(Self { metric, quantile, value })
    }

    /// The short form.
    pub(crate) fn claim(&self) -> String {
        let at_least = matches!(self.metric, "quality" | "feedback" | "token_rate");
        let (op, sign) = if at_least { (">=", '-') } else { ("<=", '+') };
        let row = QUANTILES.iter().find(|(metric, ..)| *metric == self.metric);
        let left = match row {
            Some((_, words, usual)) => format!("{}{words}", self.quantile.unwrap_or(usual)),
            None => self.metric.to_owned(),
        };
        match self.value {
            Value::Ratio(ratio) => format!("{left} {op} {ratio} x baseline"),
            Value::Margin(margin) => format!("{left} {op} baseline {sign} {margin} pp"),
            Value::Limit(limit) => format!("{left} {op} {limit}"),
            Value::Nothing => left,
        }
    }
}

/// The full form, as the inside of a TOML table.
impl fmt::Display for GateForm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metric = \"{}\"", self.metric)?;
        if let Some(quantile) = self.quantile {
            write!(f, ", quantile = \"{quantile}\"")?;
        }
        match self.value {
            Value::Ratio(ratio) => write!(f, ", ratio = {ratio}"),
            Value::Margin(margin) => write!(f, ", margin_pp = {margin}"),
            Value::Limit(limit) => write!(f, ", limit = \"{limit}\""),
            Value::Nothing => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use cutover_rollout::{gates, parse_gate};

    use super::*;

    #[test]
    fn both_forms_of_every_kind_of_gate_are_the_same() {
        let more =
            ["p99.9 first token <= 1.5 x baseline", "p5 tokens/s >= 0.8 x baseline", "privacy"];
        let examples = gates::GATES.iter().map(|row| row.example);
        for text in examples.chain(more) {
            let gate = parse_gate(text).unwrap();
            let claim = gate.claim();
            let form = GateForm::of(&claim).unwrap();
            assert_eq!(parse_gate(&form.claim()).unwrap().claim(), claim, "{form:?}");
            assert_eq!(form.claim(), claim);
        }
    }

    #[test]
    fn a_full_gate_without_quantile_has_the_usual_one() {
        let form = GateForm { metric: "duration", quantile: None, value: Value::Limit("4 s") };
        assert_eq!(form.claim(), "p95 <= 4 s");
        let form = GateForm { metric: "token_rate", ..form };
        assert_eq!(form.claim(), "p5 tokens/s >= 4 s");
    }
}
