//! `[use_cases.NAME]`.

use std::collections::HashMap;

use cutover_rollout::Spec;
use cutover_units::{UseCaseName, VariantName, WeightBp};

use crate::checked::{ClientKeys, Match, Smoothing, Unit, UseCase};
use crate::failover;
use crate::loading;
use crate::overflow;
use crate::reader::{NamedTable, Table, Weight};
use crate::rollouts::{KeepTexts, Scorer, ShadowSettings};
use crate::sections::shapes::{self, MapOf};
use crate::sections::sources::Around;
use crate::sections::{Keys, Names, rollouts, scorer};
use crate::values::{self, Wrong};

pub(crate) fn read(
    entry: &NamedTable<'_>,
    variants: &Names<'_>,
    around: &Around<'_>,
) -> Option<UseCase> {
    let (table, keys) = (&entry.table, around.keys);
    let name = match UseCaseName::new(entry.name) {
        Ok(name) => Some(name),
        Err(why) => {
            table.note_self(Weight::Wrong, Wrong::new(why.to_string()));
            None
        }
    };
    let matches = matches(table, keys);
    let unit = shapes::unit(table, "unit");
    let baseline = variants.reference(table, "baseline");
    let candidate_given = table.given("candidate").is_some();
    let candidate = if candidate_given { variants.reference(table, "candidate") } else { None };
    let weight = table.read("weight", values::percent);
    let pilot = table.read_set("pilot", values::text);
    let excluded = table.read_set("excluded", values::text);
    let salt = table.read("salt", values::text);
    let failover = table.read("failover", values::boolean);
    let endurance = failover::endurance(table);
    let cold = loading::cold(table);
    let overflow = table.given_child("overflow").map(|table| overflow::overflow(&table));
    let batch = overflow::batch(table);
    let priority_hint = table.read("priority_hint", values::boolean);
    let smoothing = table.given_child("smoothing").map(|table| smoothing(&table));

    let residency = table.read("residency", values::choice);
    let scorer_given = table.given("scorer").is_some();
    let scorer = if scorer_given { scorer::read(table, variants) } else { None };
    let rollout = table.given_child("rollout").map(|t| rollouts::read(t, scorer_given));
    let shadow = shadow(&table.child("shadow"));

    if unit == Some(Unit::Key) && keys == Some(ClientKeys::Off) {
        table.conflict("unit", NO_KEYS, Some(KEYS_HINT.to_owned()));
    }
    if scorer_given && scorer.is_none() {
        return None;
    }
    let mut use_case = UseCase {
        name: name?,
        matches: matches?,
        unit: unit?,
        baseline: baseline?,
        candidate,
        weight: weight?,
        pilot: pilot?,
        excluded: excluded?,
        salt: salt.unwrap_or_else(|| entry.name.to_owned()),
        failover: failover?,
        endurance: endurance?,
        cold: cold?,
        overflow: match overflow {
            Some(overflow) => Some(overflow?),
            None => None,
        },
        batch: batch?,
        priority_hint: priority_hint?,
        smoothing: match smoothing {
            Some(smoothing) => Some(smoothing?),
            None => None,
        },
        local_only: residency? == "local-only",
        scorer,
        shadow: shadow?,
        rollout: None,
    };
    check_arms(table, &use_case, candidate_given);
    overflow::check(table, &use_case);
    if let Some(draft) = rollout {
        use_case.rollout = Some(rollout_of(table, (&use_case, around), (draft, variants))?);
    }
    Some(use_case)
}

/// The rollout, judged together with the rest of the use case.
fn rollout_of(
    table: &Table<'_>,
    (use_case, around): (&UseCase, &Around<'_>),
    (draft, variants): (Option<rollouts::Draft<'_>>, &Names<'_>),
) -> Option<Spec> {
    let name = |at: usize| VariantName::new(variants.at(at)?).ok();
    if table.given("candidate").is_none() {
        let hint = "name the variant that shall take over: candidate = \"NAME\"";
        table.conflict("rollout", "there is no candidate to move to", Some(hint.to_owned()));
        return None;
    }
    if use_case.unit == Unit::Request {
        let hint = "set `unit` to what should stay with its arm, such as a customer";
        let message = "unit = \"request\": nothing is sticky, and users see both arms";
        table.warn("rollout", message, Some(hint.to_owned()));
    }
    if use_case.weight != WeightBp::NONE {
        let message = "the rollout sets the share from its start on";
        table.warn("weight", message, Some("remove this line".to_owned()));
    }
    let facts = rollouts::Facts {
        use_case: &use_case.name,
        baseline: &name(use_case.baseline)?,
        candidate: &name(use_case.candidate?)?,
        local_only: use_case.local_only,
        scorer: use_case.scorer.as_ref().map(|scorer: &Scorer| scorer.kind),
        sources: around.sources(use_case),
        instances: around.instances(use_case),
    };
    Some(draft?.finish(&facts))
}

fn shadow(table: &Table<'_>) -> Option<ShadowSettings> {
    let concurrency = table.read("concurrency", values::count);
    let queue = table.read("queue", values::count);
    let capture_limit = table.read("capture_limit", values::size);
    let timeout = table.read("timeout", values::duration);
    let budget = table.read("budget_per_day", values::budget);
    let unpriced = table.read("unpriced", values::boolean);
    let live_limit = table.read("live_limit", values::count);
    let keep = table.read("keep", values::choice);
    let retention = table.read("retention", values::duration);
    Some(ShadowSettings {
        concurrency: concurrency?,
        queue: queue?,
        capture_limit_bytes: capture_limit?,
        timeout: timeout?,
        budget_per_day: budget?,
        unpriced: unpriced?,
        live_limit: live_limit?,
        keep: KeepTexts::from_word(keep?)?,
        retention: retention?,
    })
}

const NO_KEYS: &str = "clients have no keys while server.keys = \"off\"";
const KEYS_HINT: &str = "set server.keys = \"required\"";

fn check_arms(table: &Table<'_>, use_case: &UseCase, candidate_given: bool) {
    if use_case.candidate == Some(use_case.baseline) {
        table.conflict("candidate", "baseline and candidate are the same variant", None);
    }
    if !candidate_given {
        if use_case.weight != WeightBp::NONE {
            table.conflict("weight", "there is no candidate to take this share", None);
        }
        if !use_case.pilot.is_empty() {
            table.conflict("pilot", "there is no candidate for these units", None);
        }
    }
    let both = use_case.pilot.iter().find(|unit| use_case.excluded.contains(unit));
    if let Some(unit) = both {
        table.wrong("excluded", format!("{unit:?} also stands in pilot"), None);
    }
    let named = [("pilot", &use_case.pilot), ("excluded", &use_case.excluded)];
    for (key, units) in named {
        if use_case.unit == Unit::Request && !units.is_empty() {
            table.warn(key, "never found, because unit = \"request\"", None);
        }
    }
}

fn matches(table: &Table<'_>, keys: Keys) -> Option<Match> {
    if table.given("match").is_none() {
        let hint = "such as match = { header = { x-use-case = \"NAME\" } } or { model = \"NAME\" }";
        table.conflict("match", "required, but not given", Some(hint.to_owned()));
        return None;
    }
    let table = table.given_child("match")?;
    let matches = Match {
        headers: shapes::text_map(&table, "header", MapOf::Headers),
        key: table.read("key", values::text),
        metadata: shapes::text_map(&table, "metadata", MapOf::Metadata),
        model: table.read("model", values::text),
    };
    let any_given =
        ["header", "key", "metadata", "model"].iter().any(|key| table.given(key).is_some());
    if matches == Match::default() {
        // Conditions that are wrong have been noted already.
        let empty = ["header", "metadata"].into_iter().all(|key| {
            table
                .given(key)
                .is_none_or(|(_, v)| v.get_ref().as_table().is_some_and(toml::map::Map::is_empty))
        });
        if empty || !any_given {
            let message = "expected at least one condition: header, key, metadata or model";
            table.note_self(Weight::Missing, Wrong::new(message));
        }
        return None;
    }
    if matches.key.is_some() && keys == Some(ClientKeys::Off) {
        table.conflict("key", NO_KEYS, Some(KEYS_HINT.to_owned()));
    }
    Some(matches)
}

fn smoothing(table: &Table<'_>) -> Option<Smoothing> {
    let interval = table.read("interval", values::duration);
    let delay_max = table.read("max_delay", values::duration);
    let smoothing = Smoothing { interval: interval?, delay_max: delay_max? };
    if smoothing.delay_max < smoothing.interval {
        table.wrong("max_delay", "shorter than interval", None);
    }
    Some(smoothing)
}

/// Notes use cases that want the very same requests: which one gets them would be a guess.
pub(crate) fn note_same_match(tables: &[NamedTable<'_>], use_cases: &[Option<UseCase>]) {
    let mut read: Vec<_> =
        tables.iter().zip(use_cases).filter_map(|(t, u)| Some((t, u.as_ref()?))).collect();
    read.sort_by_key(|(entry, _)| entry.table.at());
    let mut first = HashMap::new();
    for (entry, use_case) in read {
        let other = *first.entry(&use_case.matches).or_insert(&use_case.name);
        if *other != use_case.name {
            let message = format!("use case {other} has the same conditions");
            entry.table.conflict("match", message, None);
        }
    }
}
