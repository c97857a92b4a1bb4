//! `json-fields`: how many of a document's fields are right. For extraction.
//!
//! A document is taken apart into leaves: paths to values that are neither objects nor arrays, or empty
//! ones. With TP the leaves of the answer that the reference has with the same value,
//!
//! ```text
//! f1       = 2 TP / (leaves of the answer + leaves of the reference)
//! accuracy = TP / leaves of the reference
//! ```
//!
//! (field-level F1 of slot filling; Chinchor & Sundheim, MUC-5, 1993). A wrong value costs precision and
//! recall; accuracy forgives extra fields. `exact` is 100 only where nothing is missing, wrong or extra.
//!
//! Paths are written with dots, `items.amount`; elements of arrays share their array's path. Arrays are
//! compared by position, or as multisets: elements of the answer and of the reference are then paired
//! one to one so that the total is the largest possible. Pairing is cubic, so arrays of more than 128
//! elements are compared by position after all.

use serde_json::Value;

use super::{Scorer, against_reference, build};
use crate::assignment::best_total;
use crate::json::{Fences, document, equal};
use crate::options::{OptionProblem, OptionRow, OptionType, Options};
use crate::schema::{Allowance, Schema};
use crate::spec::{Row, Standing};
use crate::step::{ScoreError, Step};
use crate::subject::{Answer, ArmScore, Subject};
use crate::text::Normal;

/// Comparing multisets is quadratic in the leaves; with the limit below, a pair takes well below a
/// second.
const LEAVES_MAX: usize = 2_000;

/// Arrays of which every element is compared with every other one's.
const PAIRED_MAX: usize = 128;

pub(super) const ROW: Row = Row {
    kind: "json-fields",
    doc: "The share of a JSON document's fields that are right, as F1 or accuracy.",
    meaning: "0 to 100: right fields against the right answer, or without one, agreement with the \
              baseline; valid: the answer is JSON and the schema, if any, accepts it",
    source: "field-level F1 of slot filling (MUC-5, Chinchor & Sundheim 1993)",
    standing: Standing::MayGate,
    asks: false,
    revision: 1,
    options: &[
        OptionRow::new(
            "metric",
            OptionType::Choice(&["f1", "accuracy", "exact"]),
            "\"f1\"",
            "What is computed: see the formulas.",
        ),
        OptionRow::new(
            "fields",
            OptionType::Texts,
            "[]",
            "Paths that count, with all below them. Empty: all.",
        ),
        OptionRow::new(
            "ignore",
            OptionType::Texts,
            "[]",
            "Paths that do not count, with all below them.",
        ),
        OptionRow::new(
            "tolerance",
            OptionType::Numbers,
            "{}",
            "By path: how far a number may be from the reference's, in its own unit.",
        ),
        OptionRow::new(
            "arrays",
            OptionType::Choice(&["ordered", "unordered"]),
            "\"ordered\"",
            "Whether the order of elements counts; beyond 128 elements it does.",
        ),
        OptionRow::new(
            "texts",
            OptionType::Choice(&["exact", "normalised"]),
            "\"exact\"",
            "Whether case, white space, punctuation and Unicode forms of texts count.",
        ),
        OptionRow::optional(
            "schema",
            OptionType::Document,
            "A JSON Schema; it decides about validity only.",
        ),
        OptionRow::new(
            "fences",
            OptionType::Choice(Fences::CHOICES),
            "\"strip\"",
            "What a Markdown code fence around the document is: a mistake, or nothing.",
        ),
    ],
    build: build::<JsonFields>,
};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Metric {
    F1,
    Accuracy,
    Exact,
}

struct JsonFields {
    metric: Metric,
    compare: Compare,
    schema: Option<Schema>,
    fences: Fences,
}

/// How two documents are compared.
struct Compare {
    fields: Vec<String>,
    ignore: Vec<String>,
    tolerance: Vec<(String, f64)>,
    unordered: bool,
    normal: Option<Normal>,
}

impl Scorer for JsonFields {
    fn read(options: &Options) -> Result<Self, OptionProblem> {
        let all = Normal { case: true, white_space: true, punctuation: true, unicode: true };
        Ok(JsonFields {
            metric: match options.text("metric") {
                "accuracy" => Metric::Accuracy,
                "exact" => Metric::Exact,
                _ => Metric::F1,
            },
            compare: Compare {
                fields: options.texts("fields"),
                ignore: options.texts("ignore"),
                tolerance: options.numbers("tolerance"),
                unordered: options.text("arrays") == "unordered",
                normal: (options.text("texts") == "normalised").then_some(all),
            },
            schema: options.given("schema").map(|text| Schema::read("schema", text)).transpose()?,
            fences: Fences::named(options.text("fences")),
        })
    }

    fn begin(&self, subject: &Subject<'_>) -> Result<Step, ScoreError> {
        let reference = subject.reference().ok_or(ScoreError::NoReference)?;
        let right = document(&reference.text, self.fences).ok_or(ScoreError::NoReference)?;
        let leaves = self.compare.leaves(&right, "");
        if leaves == 0 || (self.compare.unordered && leaves > LEAVES_MAX) {
            return Err(ScoreError::NoReference);
        }
        against_reference(subject, |answer, _| self.score(answer, &right, leaves))
    }
}

impl JsonFields {
    fn score(&self, answer: &Answer, right: &Value, right_leaves: usize) -> ArmScore {
        let Some(value) = document(&answer.text, self.fences) else {
            return ArmScore::FAILED;
        };
        let valid =
            self.schema.as_ref().is_none_or(|schema| schema.accepts(&value, &Allowance::default()));
        let leaves = self.compare.leaves(&value, "");
        if self.compare.unordered && leaves > LEAVES_MAX {
            return ArmScore::passed(false).with_valid(valid);
        }
        let hits = self.compare.hits(&value, right, "");
        let share = match self.metric {
            Metric::F1 => 2.0 * hits as f64 / (leaves + right_leaves) as f64,
            Metric::Accuracy => hits as f64 / right_leaves as f64,
            Metric::Exact if hits == leaves && hits == right_leaves => 1.0,
            Metric::Exact => 0.0,
        };
        ArmScore::from_share(share).with_valid(valid)
    }
}

/// The path of a member.
fn below(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether a path is the other or lies below it.
fn within(path: &str, root: &str) -> bool {
    path.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl Compare {
    fn counts(&self, path: &str) -> bool {
        let listed = |roots: &[String]| roots.iter().any(|root| within(path, root));
        (self.fields.is_empty() || listed(&self.fields)) && !listed(&self.ignore)
    }

    /// How many leaves of a document count.
    fn leaves(&self, value: &Value, path: &str) -> usize {
        match value {
            Value::Object(map) if !map.is_empty() => {
                map.iter().map(|(key, value)| self.leaves(value, &below(path, key))).sum()
            }
            Value::Array(list) if !list.is_empty() => {
                list.iter().map(|value| self.leaves(value, path)).sum()
            }
            _ => usize::from(self.counts(path)),
        }
    }

    /// How many leaves two documents share.
    fn hits(&self, value: &Value, right: &Value, path: &str) -> usize {
        match (value, right) {
            (Value::Object(map), Value::Object(right)) if !map.is_empty() && !right.is_empty() => {
                map.iter()
                    .filter_map(|(key, value)| Some((key, value, right.get(key)?)))
                    .map(|(key, value, right)| self.hits(value, right, &below(path, key)))
                    .sum()
            }
            (Value::Array(list), Value::Array(right)) if !list.is_empty() && !right.is_empty() => {
                if self.unordered {
                    self.multiset_hits(list, right, path)
                } else {
                    list.iter().zip(right).map(|(value, right)| self.hits(value, right, path)).sum()
                }
            }
            _ => usize::from(self.counts(path) && self.same(value, right, path)),
        }
    }

    /// Pairs elements so that they share most leaves in total.
    fn multiset_hits(&self, list: &[Value], right: &[Value], path: &str) -> usize {
        if list.len().max(right.len()) > PAIRED_MAX {
            return list
                .iter()
                .zip(right)
                .map(|(value, right)| self.hits(value, right, path))
                .sum();
        }
        let row = |value| right.iter().map(|other| self.hits(value, other, path)).collect();
        best_total(&list.iter().map(row).collect::<Vec<Vec<usize>>>())
    }

    fn same(&self, value: &Value, right: &Value, path: &str) -> bool {
        match (value, right) {
            (Value::Number(a), Value::Number(b)) => {
                let tolerance = self.tolerance.iter().find(|(at, _)| at == path).map(|(_, t)| *t);
                equal(value, right)
                    || matches!((a.as_f64(), b.as_f64(), tolerance),
                        (Some(a), Some(b), Some(t)) if (a - b).abs() <= t)
            }
            (Value::String(a), Value::String(b)) => {
                self.normal.map_or_else(|| a == b, |normal| normal.same(a, b))
            }
            _ => equal(value, right),
        }
    }
}
