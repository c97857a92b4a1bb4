//! E1 for a share: at most so many units of the candidate fail, fall back, or are slower than a limit.
//! Needs no baseline, so it also works while the candidate has everything.

use cutover_stats::{Count, Direction, fraction_interval};
use serde::{Deserialize, Serialize};

use super::fraction::{Fraction, log_factors};
use super::growth::{needed, smoothed};
use super::histogram::Histogram;
use super::run::Run;
use super::strata::Cell;
use super::watch::Watch;
use super::{Context, Ends, LiveUnit, Reading};
use crate::spec::{Gate, Metric, Test};

/// Before anything was measured, the expected size is for a share of half the limit.
const ASSUMED: f64 = 0.5;
const MEASURED_FROM: u64 = 30;

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Share {
    pass: Fraction,
    cell: Cell,
    baseline: Cell,
    step_units: u64,
    /// The values themselves where the claim is about a quantile: the report shows it.
    values: Option<Histogram>,
    ends: Ends,
    #[serde(skip)]
    run: Run,
    pub(super) watch: Watch,
}

/// The share of the candidate's units that may be on the wrong side.
pub(crate) fn limit(gate: &Gate) -> Option<f64> {
    match gate.test {
        Test::FractionAtMost { limit } => Some(limit),
        Test::QuantileWithin { quantile, .. } if gate.metric == Metric::TokenRate => Some(quantile),
        Test::QuantileWithin { quantile, .. } => Some(1.0 - quantile),
        _ => None,
    }
}

/// Whether a value is on the wrong side, 0 to 1.
fn badness(gate: &Gate, value: f64) -> f64 {
    match gate.test {
        Test::QuantileWithin { limit, .. } if gate.metric == Metric::TokenRate => {
            f64::from(u8::from(value < limit))
        }
        Test::QuantileWithin { limit, .. } => f64::from(u8::from(value > limit)),
        _ => value,
    }
}

impl Share {
    pub(crate) fn new(gate: &Gate) -> Self {
        let values = matches!(gate.test, Test::QuantileWithin { .. }).then(Histogram::default);
        let mut fresh = Self { values, ..Self::default() };
        fresh.watch.begin(limit(gate));
        fresh
    }

    pub(crate) fn live(&mut self, gate: &Gate, unit: &LiveUnit, value: f64) {
        let x = badness(gate, value);
        if unit.arm == cutover_stats::Arm::Baseline {
            self.baseline.add(x);
            return;
        }
        if let Some(run) = self.run.push(x) {
            self.take(gate, run);
        }
        self.cell.add(x);
        if let Some(values) = &mut self.values {
            values.add(value);
        }
        if unit.in_step {
            self.watch.observe(x);
            self.step_units += 1;
        }
    }

    fn take(&mut self, gate: &Gate, (x, times): (f64, u64)) {
        let factors = limit(gate).and_then(|p| log_factors(Direction::Below, p, x));
        if let Some(factors) = factors {
            self.pass.add(factors, times);
        }
    }

    pub(crate) fn end_window(&mut self, gate: &Gate, promoted: bool) {
        if let Some(run) = self.run.end() {
            self.take(gate, run);
        }
        self.watch.end_window(promoted);
    }

    pub(crate) fn begin_step(&mut self, context: &Context<'_>) {
        self.watch.begin(limit(context.gate));
        self.step_units = 0;
    }

    pub(crate) fn refresh(&mut self, context: &Context<'_>) {
        let proved = context.bars.reached(self.pass.log_e(), self.watch.log_e());
        if !self.ends.due(self.cell.n, proved) {
            return;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a sum of shares of units"
        )]
        let count = Count { hits: self.cell.sum().round() as u64, trials: self.cell.n };
        let ends = fraction_interval(count, context.bars.promote);
        self.ends =
            Ends { n: self.cell.n, proved, interval: Some((ends.low, ends.high)), expected: None };
    }

    pub(crate) fn reading(&self, context: &Context<'_>) -> Reading {
        let Some(limit) = limit(context.gate) else { return Reading::default() };
        let share = self.cell.mean();
        let alarm = self.watch.alarm().filter(|_| context.promoted);
        Reading {
            estimate: share.map(|share| share * 100.0),
            interval: self.ends.interval.map(|(low, high)| (low * 100.0, high * 100.0)),
            threshold: limit * 100.0,
            unit: "%",
            n: self.cell.n,
            n_baseline: self.baseline.n,
            n_step: self.step_units,
            n_expected: self.n_expected(limit, context.bars.pass_at),
            log_e_pass: self.pass.log_e(),
            log_e_fail: self.watch.log_e(),
            decided: None,
            alarm: alarm.is_some_and(|log| log >= context.bars.alarm_at),
            note: self.note(context.gate),
        }
    }

    fn note(&self, gate: &Gate) -> String {
        let Test::QuantileWithin { quantile, limit } = gate.test else {
            return self.baseline.mean().map_or_else(String::new, |rate| {
                format!("the baseline's own share is {:.2} %", rate * 100.0)
            });
        };
        let seen = self.values.as_ref().and_then(|values| values.quantile(quantile));
        let (side, unit) = match gate.metric {
            Metric::TokenRate => ("slower than", "tokens/s"),
            _ => ("that take longer than", "ms"),
        };
        let word = crate::text::quantile_word(quantile);
        match seen {
            Some(seen) => {
                format!("share of units {side} {limit} {unit}; measured {word} is {seen:.0} {unit}")
            }
            None => format!("share of units {side} {limit} {unit}"),
        }
    }

    fn n_expected(&self, limit: f64, pass_at: f64) -> Option<u64> {
        let p = if self.cell.n >= MEASURED_FROM {
            smoothed(self.cell.sum(), self.cell.n)
        } else {
            ASSUMED * limit
        };
        let hit = log_factors(Direction::Below, limit, 1.0)?;
        let miss = log_factors(Direction::Below, limit, 0.0)?;
        let growth: Vec<f64> =
            hit.iter().zip(miss).map(|(hit, miss)| p * hit + (1.0 - p) * miss).collect();
        needed(&growth, pass_at)
    }
}
