//! `[use_cases.NAME.scorer]`: any kind of scorer, by the table of scorers.

use std::path::PathBuf;

use cutover_evals::judge::independent;
use cutover_evals::{OptionType, Row, SCORERS, ScorerSpec};
use cutover_rollout::{Gate, Metric, Role};
use cutover_units::did_you_mean;
use serde_json::{Map, Value as Json};
use toml::de::DeValue;

use crate::checked::{UseCase, Variant};
use crate::reader::{Extra, NamedTable, Place, Table, Value, Weight};
use crate::rollouts::Scorer;
use crate::sections::Names;
use crate::values::{self, Wrong};

/// Deepest nesting of an option: a table of numbers has one.
const DEPTH_MAX: u32 = 8;

/// What stands for a JSON document until its file is read: a schema that accepts everything.
const ANY_DOCUMENT: &str = "{}";

/// Reads a scorer. `None` after something was noted.
pub(crate) fn read(use_case: &Table<'_>, variants: &Names<'_>) -> Option<Scorer> {
    let (table, extras) = use_case.scorer("scorer")?;
    let kind = table.read("kind", values::text);
    let concurrency = table.read("concurrency", values::count);
    let queue = table.read("queue", values::count);
    let timeout = table.read("timeout", values::duration);
    let budget_per_day = table.read("budget_per_day", values::budget);
    let kind = kind?;
    let Some(row) = Row::find(&kind) else {
        let kinds = || SCORERS.iter().map(|row| row.kind);
        let hint = did_you_mean(&kind, kinds())
            .unwrap_or_else(|| format!("there are: {}", kinds().collect::<Vec<_>>().join(", ")));
        table.wrong("kind", "there is no such scorer", Some(hint));
        return None;
    };
    let (options, documents) = options(&table, row, &extras)?;
    if let Some(variant) = options.get("variant").and_then(Json::as_str)
        && !variants.contains(variant)
    {
        let wrong = Wrong {
            message: format!("no {variant:?} in [variants]"),
            hint: variants.nearest(variant),
            at: None,
        };
        note(&table, (&extras, "variant"), Weight::Missing, wrong);
        return None;
    }
    Some(Scorer {
        kind: row.kind,
        options,
        documents,
        concurrency: concurrency?,
        queue: queue?,
        timeout: timeout?,
        budget_per_day: budget_per_day?,
    })
}

type Options = (Map<String, Json>, Vec<(&'static str, PathBuf)>);

fn options(table: &Table<'_>, row: &'static Row, extras: &[Extra<'_>]) -> Option<Options> {
    let mut written = Map::new();
    let mut documents = Vec::new();
    for (name, at, value) in extras {
        let option = row.options.iter().find(|option| option.name == *name);
        let is_document = option.is_some_and(|option| option.kind == OptionType::Document);
        let json = match option.filter(|_| is_document) {
            Some(option) => values::path(value, &crate::fields::Kind::Path).map(|path| {
                documents.push((option.name, path));
                Json::from(ANY_DOCUMENT)
            }),
            None => json(value, 0),
        };
        match json {
            Ok(json) => {
                written.insert((*name).to_owned(), json);
            }
            Err(wrong) => {
                let place = Place::new(*at, table.key_path(name));
                table.context.note(place, Weight::Wrong, wrong);
                return None;
            }
        }
    }
    let spec = ScorerSpec::from_options(row.kind, &written)
        .map_err(|problem| {
            // A pattern's error is drawn over several lines.
            let message: Vec<_> = problem.why.split_whitespace().collect();
            let wrong =
                Wrong { message: message.join(" "), hint: problem.suggestion.clone(), at: None };
            note(table, (extras, &problem.key), Weight::Wrong, wrong);
        })
        .ok()?;
    let mut options = spec.options().clone();
    for (name, _) in &documents {
        options.remove(*name);
    }
    Some((options, documents))
}

/// Notes judges of an arm's own model family: they favour it, so they must not decide.
pub(crate) fn note_judges(
    tables: &[NamedTable<'_>],
    use_cases: &[Option<UseCase>],
    variants: &[Option<Variant>],
) {
    let model = |at: usize| Some(variants.get(at)?.as_ref()?.model.as_ref());
    for (entry, use_case) in tables.iter().zip(use_cases) {
        let Some(use_case) = use_case else { continue };
        let Some(scorer) = use_case.scorer.as_ref().filter(|scorer| scorer.kind == "judge") else {
            continue;
        };
        let named = |v: &Variant| Some(v.name.as_str()) == scorer.variant();
        let judge = variants.iter().flatten().find(|variant| named(variant));
        let arms: Vec<&str> = [Some(use_case.baseline), use_case.candidate]
            .into_iter()
            .flatten()
            .filter_map(model)
            .collect();
        let Some(judge) = judge else { continue };
        let Err(refusal) = independent(&judge.model, &arms) else { continue };
        let (message, hint) = (refusal.to_string(), Some("let another model judge".to_owned()));
        let gates = use_case.rollout.iter().flat_map(|rollout| &rollout.gates);
        let decides = |gate: &Gate| {
            gate.metric == Metric::Quality && matches!(gate.role, Role::Required | Role::Rollback)
        };
        if gates.into_iter().any(decides) {
            entry.table.conflict("scorer", message, hint);
        } else {
            entry.table.warn("scorer", message, hint);
        }
    }
}

/// Notes something at an option, if it is written.
fn note(table: &Table<'_>, (extras, name): (&[Extra<'_>], &str), weight: Weight, wrong: Wrong) {
    let at = extras.iter().find(|(key, ..)| *key == name).map_or(table.at(), |(_, at, _)| *at);
    table.context.note(Place::new(at, table.key_path(name)), weight, wrong);
}

fn json(value: &Value<'_>, depth: u32) -> Result<Json, Wrong> {
    if depth > DEPTH_MAX {
        return Err(Wrong::new("nested too deeply"));
    }
    let number = |text: &str| text.parse::<serde_json::Number>().ok().map(Json::Number);
    match value.get_ref() {
        DeValue::String(text) => Ok(Json::from(text.as_ref())),
        DeValue::Boolean(flag) => Ok(Json::from(*flag)),
        DeValue::Integer(digits) => i64::from_str_radix(digits.as_str(), digits.radix())
            .map(Json::from)
            .map_err(|_| Wrong::new("this number is too large")),
        DeValue::Float(digits) => {
            number(digits.as_str()).ok_or_else(|| Wrong::new("expected a finite decimal number"))
        }
        DeValue::Array(values) => values.iter().map(|value| json(value, depth + 1)).collect(),
        DeValue::Table(entries) => entries
            .iter()
            .map(|(key, value)| Ok((key.get_ref().to_string(), json(value, depth + 1)?)))
            .collect(),
        DeValue::Datetime(_) => Err(Wrong::new("expected no date or time")),
    }
}
