//! `[use_cases.NAME.rollout]`: gates and steps in either form, and what is wrong with the whole.

use std::time::Duration;

use cutover_rollout::{
    Approval, Comparison, Gate, GraderFloor, OnInconclusive, OnStale, Role, Severity, Sources,
    Spec, Step, StepKind, TextError, UnitRule, VariantIdentity, lint, parse_gate, parse_step,
};
use cutover_units::{Millis, UseCaseName, VariantName, WeightBp};

use crate::checked::{Operator, UseCase};
use crate::fields::{GATE, STEP};
use crate::gate_form::{GateForm, Value as Claimed};
use crate::reader::{Entry, Form, NamedTable, Place, Table, Weight};
use crate::values::{self, Wrong};

/// What a rollout without steps of its own does. The first needs a scorer.
const STEPS: &[&str] = &["shadow 50%", "canary 5%", "ramp 25%", "ramp 75%", "100%"];

/// What the rest of the use case says.
pub(crate) struct Facts<'a> {
    pub(crate) use_case: &'a UseCaseName,
    pub(crate) baseline: &'a VariantName,
    pub(crate) candidate: &'a VariantName,
    pub(crate) local_only: bool,
    /// The scorer's kind.
    pub(crate) scorer: Option<&'static str>,
    /// What is known of the gates' sources.
    pub(crate) sources: Sources,
    /// How many instances the candidate's upstream has, if the file says so.
    pub(crate) instances: Option<usize>,
}

/// The section's values, before the spec is made of them.
pub(crate) struct Draft<'a> {
    gates: Vec<(Entry<'a>, Gate)>,
    /// Without entries where the steps are the usual ones.
    steps: Vec<(Option<Entry<'a>>, Step)>,
    table: Table<'a>,
    settings: Settings,
}

struct Settings {
    comparison: Comparison,
    levels: cutover_rollout::Levels,
    grader: GraderFloor,
    interval: Millis,
    unit_rule: UnitRule,
    unit_window: Millis,
    pair_window: Millis,
    stale_after: Millis,
    on_stale: OnStale,
    on_inconclusive: OnInconclusive,
    roll_back_after_promotion: bool,
    alarm_run_length: u64,
}

/// Reads the section. `None` after something was noted.
pub(crate) fn read(table: Table<'_>, has_scorer: bool) -> Option<Draft<'_>> {
    let min_units = table.read("min_units", values::count);
    let gates = gates(&table);
    let steps = steps(&table, (has_scorer, min_units.unwrap_or_default()));
    let settings = settings(&table);
    Some(Draft { gates: gates?, steps: steps?, settings: settings?, table })
}

fn settings(table: &Table<'_>) -> Option<Settings> {
    let comparison = table.read("comparison", values::choice);
    let levels = table.child("levels");
    let level = |key: &'static str| levels.read(key, values::number);
    let (promote, rollback, srm) = (level("promote"), level("rollback"), level("srm"));
    let grader = table.child("grader");
    let agreement_min = grader.read("agreement_min", values::number);
    let flip_rate_max = grader.read("flip_rate_max", values::number);
    let span = |key: &'static str| table.read(key, values::duration).map(millis);
    let interval = span("interval");
    let unit_rule = table.read("unit_rule", values::choice);
    let (unit_window, pair_window) = (span("unit_window"), span("pair_window"));
    let stale_after = span("stale_after");
    let on_stale = table.read("on_stale", values::choice);
    let on_inconclusive = table.read("on_inconclusive", values::choice);
    let roll_back_after_promotion = table.read("roll_back_after_promotion", values::boolean);
    let alarm_every = span("alarm_every");
    let interval = interval?;
    Some(Settings {
        comparison: match comparison? {
            "all_control" => Comparison::AllControl,
            _ => Comparison::Matched,
        },
        levels: cutover_rollout::Levels { promote: promote?, rollback: rollback?, srm: srm? },
        grader: GraderFloor { agreement_min: agreement_min?, flip_rate_max: flip_rate_max? },
        interval,
        unit_rule: if unit_rule? == "mean" { UnitRule::Mean } else { UnitRule::First },
        unit_window: unit_window?,
        pair_window: pair_window?,
        stale_after: stale_after?,
        on_stale: if on_stale? == "roll_back" { OnStale::RollBack } else { OnStale::Hold },
        on_inconclusive: match on_inconclusive? {
            "roll_back" => OnInconclusive::RollBack,
            "advance" => OnInconclusive::Advance,
            _ => OnInconclusive::Hold,
        },
        roll_back_after_promotion: roll_back_after_promotion?,
        // Counted in looks at the evidence.
        alarm_run_length: alarm_every?.0 / interval.0.max(1),
    })
}

fn millis(duration: Duration) -> Millis {
    Millis(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX))
}

/// A text's error, at its entry.
fn note_text(entry: &Entry<'_>, field: &str, error: &TextError) {
    let wrong = Wrong {
        message: error.problem.clone(),
        hint: Some(format!("for example {:?}", error.example)),
        at: None,
    };
    entry.note(field, Weight::Wrong, wrong);
}

fn gates<'a>(table: &Table<'a>) -> Option<Vec<(Entry<'a>, Gate)>> {
    if table.given("gates").is_none() {
        let hint =
            "for example gates = [\"errors <= baseline + 0.5 pp\", \"p95 <= 1.25 x baseline\"]";
        table.conflict("gates", "required, but not given", Some(hint.to_owned()));
        return None;
    }
    let entries = table.entries("gates", &GATE)?;
    let read: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let gate = match &entry.form {
                Form::Text(text) => {
                    parse_gate(text).map_err(|error| note_text(&entry, "", &error)).ok()
                }
                Form::Table(table) => full_gate(&entry, table),
            };
            gate.map(|gate| (entry, gate))
        })
        .collect();
    read.into_iter().collect()
}

fn full_gate(entry: &Entry<'_>, table: &Table<'_>) -> Option<Gate> {
    let id = table.read("id", values::text);
    let metric = table.read("metric", values::choice);
    let quantile = table.read("quantile", values::text);
    let ratio = table.read("ratio", values::number);
    let margin = table.read("margin_pp", values::number);
    let limit = table.read("limit", values::text);
    let role = table.read("role", values::choice);
    let metric = metric?;
    let given = ["ratio", "margin_pp", "limit"].map(|key| table.given(key).is_some());
    let expected = usize::from(metric != "privacy");
    if given.iter().filter(|given| **given).count() != expected {
        let message = match expected {
            0 => "privacy has neither ratio nor margin_pp nor limit: it never happens",
            _ => "expected exactly one of ratio, margin_pp and limit",
        };
        table.note_self(Weight::Wrong, Wrong::new(message));
        return None;
    }
    let (ratio, margin) = (ratio.map(|r| r.to_string()), margin.map(|m| m.to_string()));
    let value = match (&ratio, &margin, &limit) {
        (Some(ratio), ..) => Claimed::Ratio(ratio),
        (_, Some(margin), _) => Claimed::Margin(margin),
        (.., Some(limit)) => Claimed::Limit(limit),
        _ if expected == 0 => Claimed::Nothing,
        _ => return None,
    };
    let form = GateForm { metric, quantile: quantile.as_deref(), value };
    let field = match form.value {
        Claimed::Ratio(_) => "ratio",
        Claimed::Margin(_) => "margin_pp",
        Claimed::Limit(_) => "limit",
        Claimed::Nothing => "metric",
    };
    let mut gate = parse_gate(&form.claim())
        .map_err(|error| {
            let example = GateForm::of(&error.example).map(|form| form.to_string());
            let error = TextError { example: example.unwrap_or_default(), ..error };
            note_text(entry, field, &error);
        })
        .ok()?;
    gate.id = id.unwrap_or(gate.id);
    gate.role = match role {
        Some("required") => Role::Required,
        Some("rollback") => Role::Rollback,
        Some("signal") => Role::Signal,
        Some("dry_run") => Role::DryRun,
        _ => gate.role,
    };
    Some(gate)
}

fn steps<'a>(
    table: &Table<'a>,
    (has_scorer, min_units): (bool, u32),
) -> Option<Vec<(Option<Entry<'a>>, Step)>> {
    let own = |step: Step, says_units: bool| {
        if says_units { step } else { Step { min_units, ..step } }
    };
    if table.given("steps").is_none() {
        let usual = STEPS.iter().skip(usize::from(!has_scorer));
        return usual.map(|text| Some((None, own(parse_step(text).ok()?, false)))).collect();
    }
    let entries = table.entries("steps", &STEP)?;
    let read: Vec<_> = entries
        .into_iter()
        .map(|entry| {
            let step = match &entry.form {
                Form::Text(text) => {
                    let says_units = text.split_whitespace().any(|word| word == "min");
                    let step = parse_step(text).map_err(|error| note_text(&entry, "", &error));
                    step.ok().map(|step| own(step, says_units))
                }
                Form::Table(table) => full_step(&entry, table)
                    .map(|step| own(step, table.given("min_units").is_some())),
            };
            step.map(|step| (Some(entry), step))
        })
        .collect();
    read.into_iter().collect()
}

fn full_step(entry: &Entry<'_>, table: &Table<'_>) -> Option<Step> {
    let name = table.read("name", values::text);
    let kind = table.read("kind", values::choice);
    let weight = table.read("weight", values::percent);
    let shadow = table.read("shadow", values::percent);
    let min_duration = table.read("min_duration", values::duration);
    let max_duration = table.read("max_duration", values::duration);
    let min_units = table.read("min_units", values::count);
    let requires = table.read_set("requires", values::text);
    let approval = table.read_set("approval", values::text);
    let schedule = table.read("schedule", values::text);
    let min_instances = table.read("min_instances", values::count);
    let kind = kind?;
    let share = match kind {
        "shadow" => shadow,
        "soak" => weight.or(Some(WeightBp::ALL)),
        _ => weight,
    };
    let Some(share) = share else {
        let key = if kind == "shadow" { "shadow" } else { "weight" };
        if table.given(key).is_none() {
            table.missing(key);
        }
        return None;
    };
    // The short form knows what a kind's defaults are, and what a schedule looks like.
    let mut text = format!("{kind} {share}");
    if let Some(schedule) = &schedule {
        text.push_str(" on ");
        text.push_str(schedule);
    }
    let mut step = parse_step(&text)
        .map_err(|error| {
            let example = "mon-fri 09:00-17:00".to_owned();
            let problem = "expected days, hours or both".to_owned();
            note_text(entry, "schedule", &TextError { example, problem, ..error });
        })
        .ok()?;
    step.name = name.unwrap_or(step.name);
    step.weight = weight.unwrap_or(step.weight);
    step.shadow = shadow.unwrap_or(step.shadow);
    step.min_duration = min_duration.map_or(step.min_duration, millis);
    step.max_duration = max_duration.map(millis);
    step.min_units = min_units.unwrap_or(step.min_units);
    step.requires = requires?;
    step.min_instances = min_instances.unwrap_or(0);
    if table.given("approval").is_some() {
        step.approval = Some(Approval { by: approval? });
    }
    debug_assert!(step.kind != StepKind::Shadow || shadow.is_some());
    Some(step)
}

impl Draft<'_> {
    /// The spec, judged. Digests are still empty: files may be part of them.
    pub(crate) fn finish(self, facts: &Facts<'_>) -> Spec {
        // Names stand for digests, so that two variants are two.
        let identity =
            |name: &VariantName| VariantIdentity { name: name.clone(), digest: name.to_string() };
        let mut spec = Spec::draft(
            facts.use_case.clone(),
            identity(facts.baseline),
            identity(facts.candidate),
        );
        let settings = &self.settings;
        spec.local_only = facts.local_only;
        spec.comparison = settings.comparison;
        spec.levels = settings.levels;
        spec.grader = settings.grader;
        spec.sources = facts.sources;
        spec.interval = settings.interval;
        spec.unit_rule = settings.unit_rule;
        spec.unit_window = settings.unit_window;
        spec.pair_window = settings.pair_window;
        spec.stale_after = settings.stale_after;
        spec.on_stale = settings.on_stale;
        spec.on_inconclusive = settings.on_inconclusive;
        spec.roll_back_after_promotion = settings.roll_back_after_promotion;
        spec.alarm_run_length = settings.alarm_run_length;
        spec.scorer = facts.scorer.map(str::to_owned);
        spec.steps = self.steps.iter().map(|(_, step)| step.clone()).collect();
        spec.gates = self.gates.iter().map(|(_, gate)| gate.clone()).collect();
        spec.resolve_requires();
        for problem in lint(&spec) {
            self.note(&problem);
        }
        self.note_advisory(facts);
        self.note_waiting(facts);
        spec
    }

    /// A problem of the whole, at the line that it is about.
    fn note(&self, problem: &cutover_rollout::Problem) {
        let weight = match problem.severity {
            Severity::Error => Weight::Missing,
            Severity::Warning => Weight::Warning,
        };
        let wrong =
            Wrong { message: problem.why.clone(), hint: Some(problem.fix.clone()), at: None };
        let (place, field) = problem.path.split_once('.').unwrap_or((&problem.path, ""));
        let entry = match indexed(place) {
            Some(("gates", at)) => self.gates.get(at).map(|(entry, _)| entry),
            Some(("steps", at)) => self.steps.get(at).and_then(|(entry, _)| entry.as_ref()),
            _ => None,
        };
        if let Some(entry) = entry {
            return entry.note(claim_field(entry, field), weight, wrong);
        }
        let child = ["levels", "grader"].into_iter().find(|child| *child == place);
        let child = child.and_then(|child| self.table.given_child(child));
        let (table, name) = match (place, child) {
            (_, Some(child)) => (child, field),
            ("alarm_run_length", _) => (self.table.clone(), "alarm_every"),
            _ => (self.table.clone(), place.split('[').next().unwrap_or_default()),
        };
        table.note_at(name, weight, wrong);
    }

    /// A scorer that may not decide must not be asked to.
    /// A step that waits for more instances than there are waits until the file has them.
    fn note_waiting(&self, facts: &Facts<'_>) {
        let Some(there) = facts.instances else { return };
        for (entry, step) in &self.steps {
            let needed = step.min_instances as usize;
            let Some(entry) = entry.as_ref().filter(|_| needed > there) else { continue };
            let message = format!(
                "the step waits for {needed} instances, and the candidate's upstream has {there}"
            );
            let hint = "add to its `instances`, or ask for fewer".to_owned();
            let wrong = Wrong { message, hint: Some(hint), at: None };
            entry.note(claim_field(entry, "min_instances"), Weight::Warning, wrong);
        }
    }

    fn note_advisory(&self, facts: &Facts<'_>) {
        use cutover_evals::{Row, Standing};
        let row = facts.scorer.and_then(Row::find);
        let Some(row) = row.filter(|row| row.standing == Standing::Advisory) else { return };
        for (entry, gate) in &self.gates {
            let decides = matches!(gate.role, Role::Required | Role::Rollback);
            if gate.metric == cutover_rollout::Metric::Quality && decides {
                let wrong = Wrong {
                    message: format!("scorer {} is advisory and decides nothing", row.kind),
                    hint: Some(
                        "write `(signal)` behind the gate, or use another scorer".to_owned(),
                    ),
                    at: None,
                };
                entry.note("role", Weight::Missing, wrong);
            }
        }
    }
}

/// An approval that a list of names guards is worth what the names are worth.
pub(crate) fn note_approvers(
    tables: &[NamedTable<'_>],
    use_cases: &[Option<UseCase>],
    operators: &[Operator],
) {
    for (entry, use_case) in tables.iter().zip(use_cases) {
        let rollout = use_case.as_ref().and_then(|use_case| use_case.rollout.as_ref());
        let approvals = rollout.iter().flat_map(|spec| &spec.steps);
        let names = approvals.filter_map(|step| step.approval.as_ref()).flat_map(|one| &one.by);
        let known = |name: &&String| !operators.iter().any(|operator| operator.name == **name);
        let mut open: Vec<_> = names.filter(known).map(String::as_str).collect();
        open.sort_unstable();
        open.dedup();
        if let Some(first) = open.first() {
            let message = format!(
                "whoever has the admin token can approve as {}, who has no token of their own",
                open.join(" or ")
            );
            let hint = format!("add [admin.operators.{first}]");
            entry.table.warn("rollout", message, Some(hint));
        }
    }
}

/// A gate's claim stands in one of three keys.
fn claim_field<'f>(entry: &Entry<'_>, field: &'f str) -> &'f str {
    let Form::Table(table) = &entry.form else { return field };
    if field != "test" {
        return field;
    }
    let written = ["ratio", "margin_pp", "limit"].into_iter();
    written.into_iter().find(|key| table.given(key).is_some()).unwrap_or("metric")
}

/// `steps[2]` as name and place.
fn indexed(path: &str) -> Option<(&str, usize)> {
    let (name, rest) = path.split_once('[')?;
    Some((name, rest.strip_suffix(']')?.parse().ok()?))
}

impl Table<'_> {
    /// Notes something at a key by its name, or at the table if there is no such key.
    fn note_at(&self, name: &str, weight: Weight, wrong: Wrong) {
        match self.known_key(name) {
            Some((at, path)) => self.context.note(Place::new(at, path), weight, wrong),
            None => self.note_self(weight, wrong),
        }
    }
}
