//! What the planner is told: every gate's verdict, and how far the numbers may be trusted.

use cutover_units::Millis;
use serde::{Deserialize, Serialize};

use super::Evidence;
use crate::process::{Bars, Context, Reading};
use crate::report::{Evaluation, Verdict};
use crate::spec::{Gate, Metric, Role, Spec, Test};
use crate::state::State;

/// Everything that the planner knows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Observations {
    /// The spec that the evidence belongs to.
    pub spec_hash: String,
    /// The step that the numbers of the step are about; another one: they are still to come.
    pub step: Option<u16>,
    /// The latest time that the evidence knows of.
    pub seen: Millis,
    /// Every gate of the spec, in its order.
    pub gates: Vec<Evaluation>,
    /// Ids of gates whose detector reports harm since the promotion.
    pub alarms: Vec<String>,
    /// Evidence for a wrong split of units, and where it holds.
    pub srm: (f64, f64),
    /// Units of candidate and baseline that counted in this step.
    pub units: (u64, u64),
    /// Pairs that counted in this step.
    pub pairs: u64,
    /// Requests that an upstream saw which may not.
    pub breaches: u64,
    /// When the source was last read.
    pub last_read: Millis,
    /// When a request of the use case was last seen.
    pub last_live: Millis,
    /// When a pair was last seen.
    pub last_pair: Millis,
    /// Share of the run's live observations that are missing (dropped, late, or beyond a table).
    pub lost_share: f64,
    /// Share of the run's pairs that are missing or have no score.
    pub unscored_share: f64,
    /// The same two shares of the present step alone.
    #[serde(default)]
    pub step_missing: (f64, f64),
}

impl Observations {
    /// The gate's evaluation.
    pub fn gate(&self, id: &str) -> Option<&Evaluation> {
        self.gates.iter().find(|gate| gate.gate == id)
    }
}

fn share(part: u64, rest: u64) -> f64 {
    if part == 0 { 0.0 } else { part as f64 / (part + rest) as f64 }
}

impl Evidence {
    /// What the planner is told now.
    pub fn observations(&self, spec: &Spec, state: &State, now: Millis) -> Observations {
        let bars = Bars::of(spec);
        // A step that no window has reached yet has numbers of its own still to come.
        let current = self.step == Some(state.step) && self.step_since == state.step_since;
        let mut alarms = Vec::new();
        let gates = spec.gates.iter().zip(&self.processes).map(|(gate, process)| {
            let context = Context::of(spec, gate, (state, bars));
            let reading = match (&context, process) {
                (Some(context), Some(process)) => process.reading(context),
                _ => Reading {
                    decided: Some(Verdict::NoData),
                    note: "this claim does not suit its metric".to_owned(),
                    ..Reading::default()
                },
            };
            if reading.alarm {
                alarms.push(gate.id.clone());
            }
            let reader = Reader { spec, state, bars, now: now.max(self.through), current };
            reader.evaluation(gate, reading)
        });
        let gates = gates.collect();
        let shares =
            |seen: super::Missing| (share(seen.lost, seen.live), share(seen.unscored, seen.pairs));
        let missing = self.missing();
        let (lost_share, unscored_share) = shares(missing);
        let of_step = missing.since(self.missing_before);
        let step = if current { self.step_units } else { super::Split::default() };
        Observations {
            spec_hash: self.spec_hash.clone(),
            step: self.step.filter(|_| current),
            seen: self.through,
            gates,
            alarms,
            srm: (if current { self.srm() } else { 0.0 }, -spec.levels.srm.ln()),
            units: (step.candidate, step.baseline),
            pairs: if current { self.step_pairs } else { 0 },
            breaches: self.breaches,
            last_read: self.last_read,
            last_live: self.last_live,
            last_pair: self.last_pair,
            lost_share,
            unscored_share,
            step_missing: if current { shares(of_step) } else { (0.0, 0.0) },
        }
    }
}

/// Turns readings into evaluations.
struct Reader<'a> {
    spec: &'a Spec,
    state: &'a State,
    bars: Bars,
    now: Millis,
    /// Whether the step's numbers are of the present step.
    current: bool,
}

impl Reader<'_> {
    fn evaluation(&self, gate: &Gate, reading: Reading) -> Evaluation {
        let Self { spec, state, bars, now, current } = *self;
        let row = crate::gates::row(gate);
        let log_e_fail = if current { reading.log_e_fail } else { 0.0 };
        let verdict = match reading.decided {
            Some(verdict) => verdict,
            None if log_e_fail >= bars.fail_at => Verdict::Fail,
            None if reading.log_e_pass >= bars.pass_at => Verdict::Pass,
            None if reading.n + reading.n_baseline == 0 => Verdict::NoData,
            None => Verdict::Hold,
        };
        let step = spec.steps.get(usize::from(state.step));
        let required_now = gate.role == Role::Required
            && step.is_some_and(|step| step.requires.contains(&gate.id));
        let open = verdict == Verdict::Hold || verdict == Verdict::NoData;
        let elapsed = now.0.saturating_sub(state.step_since.0);
        let expected_at = reading
            .n_expected
            .filter(|_| open && current && reading.n_step > 0 && elapsed > 0)
            .map(|expected| {
                let missing = expected.saturating_sub(reading.n) as f64;
                let wait = missing * elapsed as f64 / reading.n_step as f64;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "not negative, and a cast saturates"
                )]
                Millis(now.0.saturating_add(wait.ceil() as u64))
            });
        Evaluation {
            gate: gate.id.clone(),
            claim: gate.claim(),
            role: gate.role,
            required_now,
            verdict,
            estimate: reading.estimate,
            interval: reading.interval,
            threshold: reading.threshold,
            unit: reading.unit.to_owned(),
            n: reading.n,
            n_baseline: reading.n_baseline,
            n_expected: reading.n_expected,
            log_e_pass: reading.log_e_pass,
            pass_at: bars.pass_at,
            log_e_fail,
            fail_at: bars.fail_at,
            expected_at,
            note: reading.note,
            source: row.map_or("", |row| row.source).to_owned(),
        }
    }
}

/// The largest share of missing observations that cannot hide a gate's margin: if all that is missing
/// had gone wrong, the rate would still have risen by no more than the margin.
pub(crate) fn missing_max(gate: &Gate) -> Option<f64> {
    match (gate.metric, gate.test) {
        (Metric::Quality, Test::RatioAtLeast { ratio }) => Some((1.0 - ratio).max(0.0)),
        (_, Test::WorseByLessThan { margin }) => Some(margin),
        (_, Test::FractionAtMost { limit }) => Some(limit),
        (_, Test::QuantileWithin { quantile, .. } | Test::QuantileRatioAtMost { quantile, .. }) => {
            Some(quantile.min(1.0 - quantile))
        }
        _ => None,
    }
}
