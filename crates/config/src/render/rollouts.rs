//! The full form of rollouts, scorers, shadow settings and webhooks.

use std::fmt::Write as _;
use std::time::Duration;

use cutover_rollout::{
    Comparison, Gate, OnInconclusive, OnStale, Role, Spec, Step, StepKind, UnitRule,
};
use cutover_units::{Millis, NanoUsd};
use serde_json::Value;

use super::{Toml, list, quote_path, secret};
use crate::checked::{Checked, UseCase};
use crate::gate_form::GateForm;
use crate::quantity::{print_duration, print_price};
use crate::reader::{bare_or_quoted, quote};
use crate::rollouts::{Scorer, ShadowSettings, Webhook};

/// The full form of a use case's rollout: steps and gates as tables, every default written out, each
/// with its short form beside it. Empty for a use case without a rollout.
pub fn render_rollout(checked: &Checked, use_case: usize) -> String {
    let mut out = Toml(String::new());
    if let Some(case) = checked.use_cases.get(use_case)
        && let Some(rollout) = &case.rollout
    {
        out.rollout(case.name.as_str(), rollout);
        if let Some(scorer) = &case.scorer {
            out.scorer(case.name.as_str(), scorer);
        }
        out.shadow(case.name.as_str(), &case.shadow);
    }
    out.0
}

impl Toml {
    /// What a use case's move is made of.
    pub(super) fn migration(&mut self, use_case: &UseCase) {
        let name = use_case.name.as_str();
        if let Some(rollout) = &use_case.rollout {
            self.rollout(name, rollout);
        }
        if let Some(scorer) = &use_case.scorer {
            self.scorer(name, scorer);
        }
        self.shadow(name, &use_case.shadow);
    }

    fn part(&mut self, use_case: &str, part: &str) {
        let _ = write!(self.0, "\n[use_cases.{}.{part}]\n", bare_or_quoted(use_case));
    }

    fn rollout(&mut self, use_case: &str, spec: &Spec) {
        self.part(use_case, "rollout");
        self.0.push_str("gates = [\n");
        for gate in &spec.gates {
            let _ = writeln!(self.0, "    {}, # {}", full_gate(gate), gate.claim());
        }
        self.0.push_str("]\nsteps = [\n");
        for step in &spec.steps {
            let _ = writeln!(self.0, "    {},", full_step(step));
        }
        self.0.push_str("]\n");
        let comparison = match spec.comparison {
            Comparison::Matched => "matched",
            Comparison::AllControl => "all_control",
        };
        self.text("comparison", comparison);
        let levels = spec.levels;
        let inner = format!(
            "{{ promote = {:?}, rollback = {:?}, srm = {:?} }}",
            levels.promote, levels.rollback, levels.srm
        );
        self.line("levels", inner);
        let floor = spec.grader;
        let inner = format!(
            "{{ agreement_min = {:?}, flip_rate_max = {:?} }}",
            floor.agreement_min, floor.flip_rate_max
        );
        self.line("grader", inner);
        self.span("interval", spec.interval);
        let unit_rule = match spec.unit_rule {
            UnitRule::First => "first",
            UnitRule::Mean => "mean",
        };
        self.text("unit_rule", unit_rule);
        self.span("unit_window", spec.unit_window);
        self.span("pair_window", spec.pair_window);
        self.span("stale_after", spec.stale_after);
        let on_stale = match spec.on_stale {
            OnStale::Hold => "hold",
            OnStale::RollBack => "roll_back",
        };
        self.text("on_stale", on_stale);
        let on_inconclusive = match spec.on_inconclusive {
            OnInconclusive::Hold => "hold",
            OnInconclusive::RollBack => "roll_back",
            OnInconclusive::Advance => "advance",
        };
        self.text("on_inconclusive", on_inconclusive);
        self.line("roll_back_after_promotion", spec.roll_back_after_promotion);
        self.span("alarm_every", Millis(spec.alarm_run_length.saturating_mul(spec.interval.0)));
    }

    fn scorer(&mut self, use_case: &str, scorer: &Scorer) {
        self.part(use_case, "scorer");
        self.text("kind", scorer.kind);
        for (name, value) in &scorer.options {
            self.line(name, toml(value));
        }
        for (name, path) in &scorer.documents {
            self.line(name, quote_path(path));
        }
        self.line("concurrency", scorer.concurrency);
        self.line("queue", scorer.queue);
        self.duration("timeout", scorer.timeout);
        self.text("budget_per_day", &budget(scorer.budget_per_day));
    }

    fn shadow(&mut self, use_case: &str, shadow: &ShadowSettings) {
        self.part(use_case, "shadow");
        self.line("concurrency", shadow.concurrency);
        self.line("queue", shadow.queue);
        self.size("capture_limit", shadow.capture_limit_bytes);
        self.duration("timeout", shadow.timeout);
        self.text("budget_per_day", &budget(shadow.budget_per_day));
        self.line("unpriced", shadow.unpriced);
        self.line("live_limit", shadow.live_limit);
        self.text("keep", shadow.keep.as_str());
        self.duration("retention", shadow.retention);
    }

    pub(super) fn webhook(&mut self, webhook: &Webhook) {
        self.table("webhooks", &webhook.name);
        self.text("url", &webhook.url);
        self.optional("secret", webhook.secret.as_ref().map(secret));
        let events: Vec<_> = webhook.events.iter().map(|event| event.as_str().to_owned()).collect();
        self.line("events", list(&events));
        self.duration("timeout", webhook.timeout);
        self.duration("give_up", webhook.give_up);
    }

    fn span(&mut self, key: &str, span: Millis) {
        self.duration(key, Duration::from_millis(span.0));
    }
}

fn budget(budget: Option<NanoUsd>) -> String {
    budget.map_or_else(|| "unlimited".to_owned(), |amount| print_price(amount.0))
}

fn full_gate(gate: &Gate) -> String {
    let claim = gate.claim();
    // A claim that `rollout` writes has a full form; a test holds them together.
    let form = GateForm::of(&claim).map(|form| form.to_string()).unwrap_or_default();
    let role = match gate.role {
        Role::Required => "required",
        Role::Rollback => "rollback",
        Role::Signal => "signal",
        Role::DryRun => "dry_run",
    };
    format!("{{ id = {}, {form}, role = \"{role}\" }}", quote(&gate.id))
}

fn full_step(step: &Step) -> String {
    let kind = match step.kind {
        StepKind::Shadow => "shadow",
        StepKind::Canary => "canary",
        StepKind::Ramp => "ramp",
        StepKind::Soak => "soak",
    };
    let span = |span: Millis| quote(&print_duration(Duration::from_millis(span.0)));
    let mut text = format!(
        "{{ name = {}, kind = \"{kind}\", weight = \"{}\", shadow = \"{}\", min_duration = {}",
        quote(&step.name),
        step.weight,
        step.shadow,
        span(step.min_duration)
    );
    if let Some(max) = step.max_duration {
        let _ = write!(text, ", max_duration = {}", span(max));
    }
    let _ = write!(text, ", min_units = {}, requires = {}", step.min_units, list(&step.requires));
    if let Some(approval) = &step.approval {
        let _ = write!(text, ", approval = {}", list(&approval.by));
    }
    if let Some(schedule) = &step.schedule {
        let _ = write!(text, ", schedule = {}", quote(&schedule.to_string()));
    }
    if step.min_instances > 0 {
        let _ = write!(text, ", min_instances = {}", step.min_instances);
    }
    text.push_str(" }");
    text
}

/// An option's value. Options are never null.
fn toml(value: &Value) -> String {
    match value {
        Value::String(text) => quote(text),
        Value::Array(values) => {
            format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", "))
        }
        Value::Object(entries) => {
            let entries: Vec<_> = entries
                .iter()
                .map(|(key, value)| format!("{} = {}", bare_or_quoted(key), toml(value)))
                .collect();
            format!("{{{}}}", entries.join(", "))
        }
        plain => plain.to_string(),
    }
}
