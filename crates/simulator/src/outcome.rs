//! What simulated rollouts came to.

use std::collections::BTreeMap;

use cutover_stats::{Alpha, Count, Interval, fixed::clopper_pearson};
use cutover_units::Millis;
use serde::{Deserialize, Serialize};

use super::trial::Trial;
use super::truth::Standing;
use super::world::Damage;
use cutover_rollout::{Role, Spec};

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The candidate has all the traffic.
    Promoted,
    /// The baseline has it back.
    RolledBack,
    /// Neither, when the time was over.
    Held,
}

/// One run.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Run {
    pub end: End,
    pub took: Millis,
    pub damage: Damage,
    /// Steps that were left, with their durations.
    pub steps: Vec<(u16, Millis)>,
    pub last_step: u16,
    pub unproved: bool,
    /// The gate or the reason that ended or holds it.
    pub why: String,
}

/// Many runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Outcome {
    /// The spec.
    pub spec_hash: String,
    /// How many runs.
    pub runs: u32,
    /// Runs by their end.
    pub promoted: u32,
    /// Runs that were rolled back.
    pub rolled_back: u32,
    /// Runs without a decision at the horizon.
    pub held: u32,
    /// Promotions of a candidate for which a required gate's claim was not true at that time.
    pub false_promoted: u32,
    /// Roll-backs of a candidate for which no gate's claim was false at that time.
    pub false_rolled_back: u32,
    /// Promotions over a step without proof.
    pub unproved: u32,
    /// What each gate's claim is worth, once the candidate is what it is.
    pub standings: Vec<Standing>,
    /// Milliseconds to the decision, of runs that came to one, sorted.
    pub decided_ms: Vec<u64>,
    /// Requests of both arms until the end, of all runs, sorted.
    pub requests: Vec<u64>,
    /// Requests that the candidate served until the end, of all runs, sorted.
    pub candidate_requests: Vec<u64>,
    /// Bad answers more than the baseline would have given, of all runs, sorted.
    pub excess_bad: Vec<f64>,
    /// Bad answers more than the baseline's that promoted candidates would have given from their
    /// promotion to the horizon, over all runs.
    pub lasting_bad: f64,
    /// Per step: its name, and how long runs that left it were in it, sorted.
    pub steps: Vec<(String, Vec<u64>)>,
    /// In which step runs were held.
    pub held_in: BTreeMap<u16, u32>,
    /// What rolled runs back, and what holds those that are held.
    pub causes: BTreeMap<String, u32>,
    /// The longest a run may take.
    pub horizon: Millis,
}

impl Outcome {
    pub(super) fn new(spec: &Spec, trial: &Trial) -> Self {
        Self {
            spec_hash: spec.hash(),
            runs: 0,
            promoted: 0,
            rolled_back: 0,
            held: 0,
            false_promoted: 0,
            false_rolled_back: 0,
            unproved: 0,
            standings: trial.truth.standings(spec, Millis(u64::MAX)),
            decided_ms: Vec::new(),
            requests: Vec::new(),
            candidate_requests: Vec::new(),
            excess_bad: Vec::new(),
            lasting_bad: 0.0,
            steps: spec.steps.iter().map(|step| (step.name.clone(), Vec::new())).collect(),
            held_in: BTreeMap::new(),
            causes: BTreeMap::new(),
            horizon: trial.horizon,
        }
    }

    pub(super) fn add(&mut self, spec: &Spec, trial: &Trial, run: Run) {
        self.runs += 1;
        let standings = trial.truth.standings(spec, run.took);
        match run.end {
            End::Promoted => {
                self.promoted += 1;
                self.unproved += u32::from(run.unproved);
                let left = trial.horizon.0.saturating_sub(run.took.0) as f64 / 60_000.0;
                let each = trial.truth.excess_bad();
                self.lasting_bad += left * trial.traffic.requests_per_minute * each;
                self.false_promoted += u32::from(!deserves(spec, &standings));
            }
            End::RolledBack => {
                self.rolled_back += 1;
                self.false_rolled_back += u32::from(!harms(spec, &standings));
            }
            End::Held => {
                self.held += 1;
                *self.held_in.entry(run.last_step).or_default() += 1;
            }
        }
        if run.end != End::Promoted && !run.why.is_empty() {
            *self.causes.entry(run.why).or_default() += 1;
        }
        if run.end != End::Held {
            insert(&mut self.decided_ms, run.took.0);
        }
        for (step, took) in run.steps {
            if let Some((_, times)) = self.steps.get_mut(usize::from(step)) {
                insert(times, took.0);
            }
        }
        insert(&mut self.requests, run.damage.requests);
        insert(&mut self.candidate_requests, run.damage.candidate);
        let at = self.excess_bad.partition_point(|bad| *bad < run.damage.excess_bad);
        self.excess_bad.insert(at, run.damage.excess_bad);
    }

    /// Adds other runs of the same trial.
    pub fn merge(&mut self, other: Self) {
        self.runs += other.runs;
        self.promoted += other.promoted;
        self.rolled_back += other.rolled_back;
        self.held += other.held;
        self.false_promoted += other.false_promoted;
        self.false_rolled_back += other.false_rolled_back;
        self.unproved += other.unproved;
        let add = |into: &mut Vec<u64>, from: Vec<u64>| {
            into.extend(from);
            into.sort_unstable();
        };
        add(&mut self.decided_ms, other.decided_ms);
        add(&mut self.requests, other.requests);
        add(&mut self.candidate_requests, other.candidate_requests);
        for ((_, into), (_, from)) in self.steps.iter_mut().zip(other.steps) {
            add(into, from);
        }
        self.lasting_bad += other.lasting_bad;
        self.excess_bad.extend(other.excess_bad);
        self.excess_bad.sort_by(f64::total_cmp);
        for (step, n) in other.held_in {
            *self.held_in.entry(step).or_default() += n;
        }
        for (why, n) in other.causes {
            *self.causes.entry(why).or_default() += n;
        }
    }

    /// The share of runs that such a count is, with its 95 % interval (Clopper & Pearson).
    pub fn rate(&self, count: u32) -> (f64, Interval) {
        let (n, runs) = (u64::from(count), u64::from(self.runs));
        let Ok(count) = Count::new(n, runs) else { return (0.0, Interval { low: 0.0, high: 1.0 }) };
        (count.share().unwrap_or(0.0), clopper_pearson(count, Alpha::FIVE_PERCENT))
    }

    /// Whether the candidate deserves to be promoted, once it is what it is.
    pub fn deserves(&self, spec: &Spec) -> bool {
        deserves(spec, &self.standings)
    }

    /// Whether the candidate does harm that some gate watches for, once it is what it is.
    pub fn harms(&self, spec: &Spec) -> bool {
        harms(spec, &self.standings)
    }
}

fn insert(sorted: &mut Vec<u64>, value: u64) {
    let at = sorted.partition_point(|known| *known < value);
    sorted.insert(at, value);
}

/// The value below which a share of the sorted values lies.
pub(super) fn quantile<T: Copy>(sorted: &[T], p: f64) -> Option<T> {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a share between 0 and 1 times a length"
    )]
    let at = (p * sorted.len() as f64) as usize;
    sorted.get(at.min(sorted.len().saturating_sub(1))).copied()
}

/// Every required gate's claim is true, as far as the simulator knows.
fn deserves(spec: &Spec, standings: &[Standing]) -> bool {
    let required = spec.gates.iter().zip(standings).filter(|(gate, _)| gate.role == Role::Required);
    required.into_iter().all(|(_, standing)| standing.room.is_none() || standing.holds())
}

/// Some gate that rolls back watches for a claim that is false.
fn harms(spec: &Spec, standings: &[Standing]) -> bool {
    let acts = |role: Role| matches!(role, Role::Required | Role::Rollback);
    spec.gates.iter().zip(standings).any(|(gate, standing)| acts(gate.role) && standing.harms())
}
