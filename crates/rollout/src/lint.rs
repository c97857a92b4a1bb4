//! Everything that is wrong with a spec, all at once, before it touches traffic.

mod source;

use std::fmt;

use cutover_units::{Millis, WeightBp};
use serde::{Deserialize, Serialize};

use crate::gates::{self, Data};
use crate::spec::{Gate, GraderFloor, Metric, OnInconclusive, Role, Spec, Step, StepKind, Test};

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The rollout must not start.
    Error,
    /// It may start, and its owner should know.
    Warning,
}

/// Something wrong with a spec.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Where, such as `steps[2].weight`.
    pub path: String,
    /// What is wrong.
    pub why: String,
    /// What to do.
    pub fix: String,
    /// How bad it is.
    pub severity: Severity,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{word}: {}: {}; {}", self.path, self.why, self.fix)
    }
}

/// Most instances of one upstream.
const INSTANCES_MAX: u32 = 64;

/// More steps than anyone watches.
pub const STEPS_MAX: usize = 50;
/// More gates than anyone reads.
pub const GATES_MAX: usize = 50;
/// A margin of an error or format gate beyond this is hardly one.
const MARGIN_WIDE: f64 = 0.2;

struct Lint<'a> {
    spec: &'a Spec,
    found: Vec<Problem>,
}

/// Everything that is wrong with a spec; no errors among them: it may start.
pub fn lint(spec: &Spec) -> Vec<Problem> {
    let mut lint = Lint { spec, found: Vec::new() };
    lint.whole();
    lint.levels();
    lint.steps();
    for place in 0..spec.steps.len() {
        lint.step(place);
    }
    lint.gates();
    for place in 0..spec.gates.len() {
        lint.gate(place);
    }
    lint.found
}

impl Lint<'_> {
    fn error(&mut self, path: impl Into<String>, why: impl Into<String>, fix: &str) {
        self.push(Severity::Error, (path.into(), why.into()), fix);
    }

    fn warning(&mut self, path: impl Into<String>, why: impl Into<String>, fix: &str) {
        self.push(Severity::Warning, (path.into(), why.into()), fix);
    }

    fn push(&mut self, severity: Severity, (path, why): (String, String), fix: &str) {
        self.found.push(Problem { path, why, fix: fix.to_owned(), severity });
    }

    fn whole(&mut self) {
        let spec = self.spec;
        if spec.baseline.digest == spec.candidate.digest {
            let why = "baseline and candidate are the same";
            self.warning("candidate", why, "an A/A rollout only tests the rollout itself");
        }
        for (path, value) in [
            ("interval", spec.interval),
            ("unit_window", spec.unit_window),
            ("pair_window", spec.pair_window),
            ("stale_after", spec.stale_after),
        ] {
            if value == Millis(0) {
                self.error(path, "a time of 0", "write how long, such as `30 s`");
            }
        }
        if spec.stale_after < Millis(spec.interval.0.saturating_mul(2)) {
            let why = "one late tick would make the numbers stale";
            self.error("stale_after", why, "allow at least two intervals");
        }
        if spec.alarm_run_length < 100 {
            let why = "after promotion the detectors would alarm falsely all the time";
            self.error("alarm_run_length", why, "allow at least 100 ticks between false alarms");
        }
        if spec.on_inconclusive == OnInconclusive::Advance {
            let why = "steps that prove nothing in time are left for the next one all the same";
            self.warning("on_inconclusive", why, "write `hold` unless that is meant");
        }
    }

    fn levels(&mut self) {
        let GraderFloor { agreement_min, flip_rate_max } = self.spec.grader;
        if !(-1.0..1.0).contains(&agreement_min) {
            let why = format!("{agreement_min} is no agreement that a judge can exceed");
            self.error("grader.agreement_min", why, "write a number below 1, such as 0.4");
        }
        if !(0.0..1.0).contains(&flip_rate_max) {
            let why = format!("{flip_rate_max} is no share of pairs");
            self.error("grader.flip_rate_max", why, "write a number from 0 to 1, such as 0.25");
        } else if flip_rate_max >= 0.5 {
            let why = "a judge whose verdicts follow the order of the answers would be trusted";
            self.warning("grader.flip_rate_max", why, "0.25 is usual");
        }
        let levels = self.spec.levels;
        for (path, level) in [
            ("levels.promote", levels.promote),
            ("levels.rollback", levels.rollback),
            ("levels.srm", levels.srm),
        ] {
            if !(level > 0.0 && level < 1.0) {
                let why = format!("{level} is no probability of a wrong decision");
                self.error(path, why, "write a number between 0 and 1, such as 0.05");
            } else if level > 0.2 {
                let why = format!("one decision in {:.0} may be wrong", 1.0 / level);
                self.warning(path, why, "0.05 is usual");
            }
        }
    }

    fn steps(&mut self) {
        let steps = &self.spec.steps;
        let Some(last) = steps.last() else {
            self.error("steps", "a rollout without steps", "for example `shadow 50%`, `100%`");
            return;
        };
        if steps.len() > STEPS_MAX {
            self.error("steps", format!("more than {STEPS_MAX} steps"), "write fewer");
        }
        if last.weight != WeightBp::ALL {
            let why = format!("the last step ends at {}", last.weight);
            self.error("steps", why, "end with `100%`: promotion means all the traffic");
        }
        let compares = |step: &Step| !matches!(step.weight, WeightBp::NONE | WeightBp::ALL);
        if !steps.iter().any(compares) {
            let why = "no step compares both arms on live traffic";
            self.warning("steps", why, "add a step such as `canary 5% for 1 h`");
        }
        if let Some(first) = steps.first().filter(|step| step.min_instances > 0) {
            let why = format!(
                "the first step, {:?}, begins with the rollout and waits for nothing",
                first.name
            );
            self.warning(
                "steps[0].min_instances",
                why,
                "look at `cutover models list`, then start it",
            );
        }
        if let Some(first) = steps.first().filter(|step| step.approval.is_some()) {
            let why = format!("the first step, {:?}, needs an approval", first.name);
            self.warning("steps[0].approval", why, "starting the rollout is the approval");
        }
    }

    fn step(&mut self, place: usize) {
        let Some(step) = self.spec.steps.get(place) else { return };
        let path = |field: &str| format!("steps[{place}].{field}");
        if self.spec.steps.iter().take(place).any(|before| before.name == step.name) {
            self.error(path("name"), format!("{:?} names two steps", step.name), "rename one");
        }
        let before = place.checked_sub(1).and_then(|before| self.spec.steps.get(before));
        if let Some(before) = before {
            if step.weight < before.weight {
                let why = format!("goes down from {} to {}", before.weight, step.weight);
                self.error(path("weight"), why, "order the steps by their share");
            }
            if before.weight == WeightBp::ALL && step.weight == WeightBp::ALL {
                let why = "100% before the last step";
                self.warning(path("weight"), why, "one step at 100% is enough");
            }
        }
        if step.min_instances > INSTANCES_MAX {
            let why = format!("an upstream has at most {INSTANCES_MAX} instances");
            self.error(path("min_instances"), why, "write how many shall be ready, such as 2");
        }
        match step.kind {
            StepKind::Shadow if step.weight != WeightBp::NONE => {
                let why = "a shadow step answers no client";
                self.error(path("weight"), why, "make it a canary, or its share 0");
            }
            StepKind::Shadow if step.shadow == WeightBp::NONE => {
                self.error(path("shadow"), "shadows nothing", "for example `shadow 50%`");
            }
            StepKind::Canary | StepKind::Ramp if step.weight == WeightBp::NONE => {
                self.error(path("weight"), "serves no unit", "for example `canary 5%`");
            }
            _ => {}
        }
        if step.weight == WeightBp::ALL && step.shadow != WeightBp::NONE {
            let why = "the baseline answers nobody that could be shadowed";
            self.error(path("shadow"), why, "leave the shadow away at 100%");
        }
        if step.max_duration.is_some_and(|max| max < step.min_duration) {
            let why = "its longest time is shorter than its shortest";
            self.error(path("max_duration"), why, "make `until` longer than `for`");
        }
        self.requires(place, step);
        self.schedule(place, step);
    }

    fn requires(&mut self, place: usize, step: &Step) {
        for id in &step.requires {
            let path = format!("steps[{place}].requires");
            let Some(gate) = self.spec.gates.iter().find(|gate| gate.id == *id) else {
                let known: Vec<_> = self.spec.gates.iter().map(|gate| gate.id.as_str()).collect();
                let fix = format!("known are {}", known.join(", "));
                self.error(path, format!("no gate is called {id:?}"), &fix);
                continue;
            };
            if gate.role != Role::Required {
                let why = format!("gate {id:?} is not required by its role");
                self.error(path, why, "make its role `required`, or leave it away here");
                continue;
            }
            let Some(row) = gates::row(gate) else { continue };
            let measured_before = self.spec.steps.iter().take(place + 1).any(|step| {
                let live = step.weight != WeightBp::NONE
                    && (!row.needs_baseline || step.weight != WeightBp::ALL);
                let pairs = step.shadow != WeightBp::NONE && row.on_pairs();
                pairs || (live && row.data != Data::Pairs)
            });
            if !measured_before && row.data != Data::Requests {
                let why =
                    format!("nothing that `{}` is measured on has come by then", gate.claim());
                self.error(path, why, "require it at a later step");
            }
        }
    }

    fn schedule(&mut self, place: usize, step: &Step) {
        let Some(times) = &step.schedule else { return };
        let path = format!("steps[{place}].schedule");
        let day = 1_440;
        if times.days.iter().any(|day| *day > 6) || times.from_minute > day || times.to_minute > day
        {
            self.error(path, "no such day or minute", "for example `on mon-fri 09:00-17:00`");
        } else if times.from_minute == times.to_minute {
            self.error(path, "a time of day that never comes", "end it later than it begins");
        }
    }

    fn gates(&mut self) {
        let gates = &self.spec.gates;
        if gates.len() > GATES_MAX {
            self.error("gates", format!("more than {GATES_MAX} gates"), "write fewer");
        }
        if gates.is_empty() {
            let why = "nothing is watched, so nothing is proved and no harm is seen";
            self.error("gates", why, "for example `errors <= baseline + 0.5 pp`");
            return;
        }
        if !gates.iter().any(|gate| gate.role == Role::Required) {
            let why = "no gate is required: the rollout promotes without any proof";
            self.error("gates", why, "for example `quality >= 0.95 x baseline`");
        }
        for (place, gate) in gates.iter().enumerate() {
            if gates.iter().take(place).any(|before| before.id == gate.id) {
                let why = format!("{:?} names two gates", gate.id);
                self.error(format!("gates[{place}].id"), why, "rename one");
            }
        }
        for (place, gate) in gates.iter().enumerate() {
            let asked = self.spec.steps.iter().any(|step| step.requires.contains(&gate.id));
            if gate.role == Role::Required && !asked {
                let why = format!("no step requires `{}`", gate.claim());
                let fix = "name it in a step's `requires`, or make its role `rollback`";
                self.warning(format!("gates[{place}].role"), why, fix);
            }
        }
    }

    fn gate(&mut self, place: usize) {
        let Some(gate) = self.spec.gates.get(place) else { return };
        let path = format!("gates[{place}].test");
        let Some(row) = gates::row(gate) else {
            let known: Vec<_> = gates::GATES.iter().map(|row| row.example).collect();
            let fix = format!("known are: {}", known.join("; "));
            self.error(path, "this claim does not suit its metric", &fix);
            return;
        };
        if (row.open)(gate).is_err() {
            self.error(
                &path,
                "its number makes no sense",
                &format!("for example `{}`", row.example),
            );
        }
        self.number(&path, gate);
        source::check(self, place, (gate, row.data));
    }

    /// Limits that nothing can reach, or everything.
    fn number(&mut self, path: &str, gate: &Gate) {
        let required = gate.role == Role::Required;
        match gate.test {
            Test::RatioAtLeast { ratio } if !(ratio > 0.0 && ratio <= 10.0) => {
                self.error(path, format!("{ratio} is no share of quality"), "0.95 is usual");
            }
            Test::RatioAtLeast { ratio } if ratio >= 1.0 && required => {
                let why =
                    "cannot pass: proof needs room, and an equally good candidate has none here";
                self.error(path, why, "0.95 is usual; what it retains is proved, not assumed");
            }
            Test::RatioAtLeast { ratio } if ratio < 0.5 => {
                let why = "hardly fails: half the quality would still pass";
                self.warning(path, why, "0.95 is usual");
            }
            Test::WorseByLessThan { margin } if !(0.0..1.0).contains(&margin) => {
                self.error(
                    path,
                    "a margin lies between 0 and 100 pp",
                    "0.5 pp is usual for errors",
                );
            }
            Test::WorseByLessThan { margin } if margin <= 0.0 && required => {
                let why = "cannot pass: a margin of 0 leaves an equally good candidate no room";
                self.error(path, why, "write the excess that is acceptable, such as `+ 0.5 pp`");
            }
            Test::WorseByLessThan { margin } if margin > MARGIN_WIDE => {
                let why = format!("hardly fails: {} pp of harm would pass", margin * 100.0);
                self.warning(path, why, "0.5 to 3 pp is usual");
            }
            Test::RateRatioAtMost { ratio } if ratio <= 0.0 => {
                self.error(
                    path,
                    "a ratio of rates is positive",
                    "for example `errors <= 1.0 x baseline`",
                );
            }
            Test::RateRatioAtMost { ratio } if ratio <= 1.0 && required => {
                let why = "cannot pass: equal rates are not below each other";
                let fix = "make its role `rollback`, or require `errors <= baseline + 0.5 pp`";
                self.error(path, why, fix);
            }
            Test::QuantileRatioAtMost { factor, .. } if !(factor > 0.0 && factor.is_finite()) => {
                self.error(path, "a factor is positive", "for example `p95 <= 1.25 x baseline`");
            }
            Test::QuantileRatioAtMost { factor, .. } if factor <= 1.0 && required => {
                let why = "cannot pass: an equally fast candidate has no room";
                self.error(path, why, "1.25 is usual");
            }
            Test::FractionAtMost { limit } if limit <= 0.0 && required => {
                let why = "cannot pass: no number of requests proves that something never happens";
                self.error(path, why, "write a share that is acceptable, such as `2%`");
            }
            Test::FractionAtMost { limit } if !(0.0..1.0).contains(&limit) => {
                self.error(
                    path,
                    "cannot fail: a share is never above 100 %",
                    "for example `<= 2%`",
                );
            }
            Test::BudgetAtMost { limit } if limit.0 == 0 && required => {
                self.error(
                    path,
                    "cannot pass: requests cost something",
                    "write a budget, such as 2.50",
                );
            }
            _ => {}
        }
        self.quantile(path, gate);
    }

    fn quantile(&mut self, path: &str, gate: &Gate) {
        let (Test::QuantileWithin { quantile, .. } | Test::QuantileRatioAtMost { quantile, .. }) =
            gate.test
        else {
            return;
        };
        if !(quantile > 0.0 && quantile < 1.0) {
            self.error(path, "a quantile lies between p0 and p100", "p95 is usual");
            return;
        }
        let limit = match gate.test {
            Test::QuantileWithin { limit, .. } => limit,
            _ => 1.0,
        };
        if !(limit > 0.0 && limit.is_finite()) {
            self.error(
                path,
                "a limit of 0 passes nothing or everything",
                "for example `p95 <= 4 s`",
            );
        }
        let tail = quantile.min(1.0 - quantile);
        if tail < 0.005 {
            let why = "so far in the tail a proof needs tens of thousands of units";
            self.warning(path, why, "p95 is usual");
        }
        let slow_side = (gate.metric == Metric::TokenRate) == (quantile > 0.5);
        if slow_side {
            let why = "looks at the fast end: the slow requests are on the other side";
            self.warning(path, why, "p95 for times, p5 for speeds");
        }
    }
}

#[cfg(test)]
mod tests;
