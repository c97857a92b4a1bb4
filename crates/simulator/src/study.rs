//! The runs that a spec's promises are about.

use serde::{Deserialize, Serialize};

use super::outcome::Outcome;
use super::trial::{Trial, simulate};
use super::truth::{ArmTruth, Truth};
use cutover_rollout::{Gate, Metric, Role, Spec, Test};

/// One truth that was simulated, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Case {
    /// What it is, in words.
    pub name: String,
    /// How the arms were.
    pub truth: Truth,
    /// What came of it.
    pub outcome: Outcome,
}

/// A spec under the truth that was asked for, under equal arms and on each boundary.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Study {
    /// The truth that was asked for.
    pub asked: Case,
    /// Two equal arms: how often a candidate is rolled back that does no harm.
    pub equal: Case,
    /// Per required gate, a candidate that misses its claim by nothing: how often it is promoted.
    pub boundaries: Vec<Case>,
    /// Per gate that rolls back, a candidate that is like the baseline but for plain harm in what the
    /// gate measures: whether anything stops it. Few runs: they show what is not seen at all.
    #[serde(default)]
    pub harms: Vec<Harm>,
}

/// A candidate that does plain harm in what one gate measures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Harm {
    /// The gate's id.
    pub gate: String,
    /// The harm in words, what came of it, and what the gates' claims are worth.
    pub case: Case,
}

/// Runs of each harm: with one in two missed, twenty show it all but surely.
const HARM_RUNS: u32 = 20;

impl Study {
    /// All cases: what was asked, equal arms, boundaries.
    pub fn cases(&self) -> impl Iterator<Item = &Case> {
        [&self.asked, &self.equal].into_iter().chain(&self.boundaries)
    }

    /// The largest share of false promotions and of false roll-backs over all cases.
    pub fn worst(&self) -> (f64, f64) {
        let rate = |count: fn(&Outcome) -> u32| {
            self.cases().map(|case| case.outcome.rate(count(&case.outcome)).0).fold(0.0, f64::max)
        };
        (rate(|outcome| outcome.false_promoted), rate(|outcome| outcome.false_rolled_back))
    }

    /// Adds other runs of the same study.
    pub fn merge(&mut self, other: Self) {
        self.asked.outcome.merge(other.asked.outcome);
        self.equal.outcome.merge(other.equal.outcome);
        for (own, more) in self.boundaries.iter_mut().zip(other.boundaries) {
            own.outcome.merge(more.outcome);
        }
        for (own, more) in self.harms.iter_mut().zip(other.harms) {
            own.case.outcome.merge(more.case.outcome);
        }
    }
}

/// Simulates what was asked, equal arms, and every required gate's boundary.
pub fn study(spec: &Spec, trial: &Trial) -> Study {
    let case = |name: String, truth: Truth| {
        let outcome = simulate(spec, &Trial { truth, ..trial.clone() });
        Case { name, truth, outcome }
    };
    let required = spec.gates.iter().filter(|gate| gate.role == Role::Required);
    let boundaries = required.filter_map(|gate| {
        let truth = trial.truth.on_boundary(gate)?;
        Some(case(format!("exactly on the boundary of `{}`", gate.claim()), truth))
    });
    let boundaries = boundaries.collect();
    let asked = case("as asked".to_owned(), trial.truth);
    // Equal arms were asked for: the same runs need not be made twice.
    let equal = if trial.truth == trial.truth.equal() {
        Case { name: "equal arms".to_owned(), ..asked.clone() }
    } else {
        case("equal arms".to_owned(), trial.truth.equal())
    };
    Study { asked, equal, boundaries, harms: harms(spec, trial) }
}

/// Simulates a candidate that does plain harm in what a gate measures, for every gate that rolls back.
pub fn harms(spec: &Spec, trial: &Trial) -> Vec<Harm> {
    let acts = |gate: &&Gate| matches!(gate.role, Role::Required | Role::Rollback);
    let last = trial.runs.end.min(HARM_RUNS);
    let runs = trial.runs.start.min(last)..last;
    let harm = |gate: &Gate| {
        let (name, truth) = trial.truth.harmed(gate)?;
        let outcome = simulate(spec, &Trial { truth, runs: runs.clone(), ..trial.clone() });
        Some(Harm { gate: gate.id.clone(), case: Case { name, truth, outcome } })
    };
    spec.gates.iter().filter(acts).filter_map(harm).collect()
}

impl Truth {
    /// The same world with a candidate like the baseline.
    pub fn equal(&self) -> Self {
        let cost = self.candidate.cost;
        Self { candidate: ArmTruth { cost, ..self.baseline }, ..*self }
    }

    /// The same world with a candidate that is like the baseline but ten times as bad in what a gate
    /// measures (half as good, where more is better), and that in words. What is harm so follows from
    /// the baseline's own figures and not from the gate's limit. None where nothing is measured here.
    pub fn harmed(&self, gate: &Gate) -> Option<(String, Self)> {
        const TIMES: f64 = 10.0;
        let mut truth = self.equal();
        truth.onset = cutover_units::Millis(0);
        let b = truth.baseline;
        let c = &mut truth.candidate;
        let share = |rate: f64| (TIMES * rate.max(0.001)).min(1.0);
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let name = match gate.metric {
            Metric::Quality => {
                c.quality = b.quality / 2.0;
                format!("half the baseline's quality ({:.2})", c.quality)
            }
            Metric::Feedback => {
                c.feedback = b.feedback / 2.0;
                format!("half the baseline's feedback ({:.2})", c.feedback)
            }
            Metric::Errors => {
                c.errors = share(b.errors);
                format!("ten times the baseline's errors ({})", percent(c.errors))
            }
            Metric::Invalid => {
                c.invalid = share(b.invalid);
                format!("ten times the baseline's invalid answers ({})", percent(c.invalid))
            }
            Metric::Fallback => {
                c.fallback = 0.5f64.max(share(b.fallback));
                format!("{} of its requests answered by the baseline", percent(c.fallback))
            }
            Metric::Duration => {
                c.p95_ms = TIMES * b.p95_ms;
                format!("ten times the baseline's times (p95 {:.1} s)", c.p95_ms / 1_000.0)
            }
            Metric::FirstToken => {
                c.p95_first_token_ms = TIMES * b.p95_first_token_ms;
                c.p95_ms = c.p95_ms.max(c.p95_first_token_ms);
                let seconds = c.p95_first_token_ms / 1_000.0;
                format!("ten times the baseline's time to the first token (p95 {seconds:.1} s)")
            }
            Metric::Cost => {
                c.cost = TIMES * b.cost;
                format!("ten times the baseline's cost ({:.2} USD per 1000)", c.cost)
            }
            Metric::TokenRate | Metric::Privacy => return None,
        };
        Some((name, truth))
    }

    /// The same world with a candidate that is like the baseline but for one gate, whose claim it
    /// misses by nothing. None where that cannot be: no such metric here, or no room for it.
    pub fn on_boundary(&self, gate: &Gate) -> Option<Self> {
        let mut truth = self.equal();
        let b = truth.baseline;
        let spread = truth.spread;
        let c = &mut truth.candidate;
        let latency: fn(&mut ArmTruth) -> &mut f64 = match gate.metric {
            Metric::FirstToken => |arm: &mut ArmTruth| &mut arm.p95_first_token_ms,
            _ => |arm: &mut ArmTruth| &mut arm.p95_ms,
        };
        match (gate.metric, gate.test) {
            (Metric::Quality, Test::RatioAtLeast { ratio }) => c.quality = ratio * b.quality,
            (Metric::Errors, Test::WorseByLessThan { margin }) => c.errors += margin,
            (Metric::Invalid, Test::WorseByLessThan { margin }) => c.invalid += margin,
            (Metric::Feedback, Test::WorseByLessThan { margin }) => c.feedback -= margin,
            (Metric::Errors, Test::RateRatioAtMost { ratio }) => c.errors *= ratio,
            (Metric::Errors, Test::FractionAtMost { limit }) => c.errors = limit,
            (Metric::Fallback, Test::FractionAtMost { limit }) => c.fallback = limit,
            (Metric::Duration | Metric::FirstToken, Test::QuantileWithin { quantile, limit }) => {
                // The quantile among answers that end, so that failed ones are the rest.
                let within = quantile / (1.0 - c.errors);
                let z = (within < 1.0).then(|| cutover_stats::normal_quantile(within))?;
                *latency(c) = limit / (spread * (z - super::truth::Z95)).exp();
            }
            (Metric::Duration | Metric::FirstToken, Test::QuantileRatioAtMost { factor, .. }) => {
                *latency(c) *= factor;
            }
            _ => return None,
        }
        let share = |value: f64| (0.0..=1.0).contains(&value);
        (share(c.quality) && share(c.errors) && share(c.invalid) && share(c.feedback))
            .then_some(truth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;
    use cutover_units::Millis;

    #[test]
    fn a_boundary_is_neither_true_nor_false() {
        let spec = spec(
            &[
                "quality >= 0.95 x baseline",
                "errors <= baseline + 0.5 pp",
                "p95 <= 4 s",
                "p95 first token <= 1.25 x baseline",
                "fallback <= 15%",
                "invalid <= baseline + 1 pp",
            ],
            &["shadow 50%", "ramp 50%", "100%"],
        );
        for gate in &spec.gates {
            let truth = Truth::default().on_boundary(gate).unwrap();
            for standing in truth.standings(&spec, Millis(0)) {
                let own = standing.gate == gate.id;
                // A fallback counts where a gate judges it and nowhere else.
                assert_eq!(standing.holds(), !own, "{} at {}", standing.gate, gate.id);
                assert!(!standing.harms(), "{} at {}", standing.gate, gate.id);
            }
        }
    }
}
