//! Rollouts as they are stored: where each run stands, what it saw, and what was decided.
//!
//! One commit is one transaction: state, evidence, window, decision and the weight with its entry in
//! the audit log change together, or nothing does. It names the generation that was read, and loses
//! if another commit came first; the loser gets the state as it is.

use cutover_rollout::{Actor, Decision, Report, Spec, State, Window};
use cutover_units::{Generation, UseCaseName, WeightBp};
use serde::{Deserialize, Serialize};

use crate::chain::Chain;
use crate::error::StoreError;
use crate::state::{Cause, SetWeight, UseCaseState, WeightSet};

/// A run to begin.
#[derive(Debug, Clone)]
pub struct NewRollout {
    /// What is wanted. Its use case has no running rollout.
    pub spec: Spec,
    /// Where it begins. Its run's name was never used.
    pub state: State,
    /// The planner's evidence, in the planner's own form.
    pub evidence: Vec<u8>,
    /// The beginning, as a decision.
    pub decision: Decision,
    /// The use case's weight, where the beginning changes it.
    pub weight: Option<WeightChange>,
    /// The webhooks that are to be told of it.
    pub tell: Vec<String>,
}

/// A run as it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredRollout {
    /// Its name.
    pub run: String,
    /// The use case it moves.
    pub use_case: UseCaseName,
    /// The spec it follows now.
    pub spec: Spec,
    /// Where it stands. Its generation is what a commit must name.
    pub state: State,
    /// The planner's evidence, in the planner's own form.
    pub evidence: Vec<u8>,
    /// The windows that were committed after that evidence, oldest first: they are to be absorbed again.
    pub since: Vec<Window>,
    /// When it began.
    pub started: cutover_units::Millis,
    /// When it was promoted or rolled back; none: it runs. A promoted run can still be committed to,
    /// while no other run of its use case has begun.
    pub ended: Option<cutover_units::Millis>,
}

/// What a tick, or a person's command, changes.
#[derive(Debug, Clone)]
pub struct CommitTick {
    /// The use case.
    pub use_case: UseCaseName,
    /// The run, which is the use case's newest.
    pub run: String,
    /// The generation that was read.
    pub expected: Generation,
    /// Where the run stands from now on. The store counts: whatever generation it has, it is stored
    /// with the one after `expected`.
    pub next: State,
    /// Another spec, which the run follows from now on.
    pub spec: Option<Spec>,
    /// What was seen since the commit before.
    pub window: Option<Window>,
    /// The planner's evidence after that, in the planner's own form; none: it is as it was.
    pub evidence: Option<Vec<u8>>,
    /// What was decided.
    pub decision: Option<Decision>,
    /// The use case's weight, where it changes.
    pub weight: Option<WeightChange>,
    /// The webhooks that are to be told of the decision.
    pub tell: Vec<String>,
}

/// A change of weight that goes with a decision: actor and reason are the decision's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightChange {
    /// The weight from now on.
    pub to: WeightBp,
    /// The generation of the use case's weight that was read; 0 if it had none. It is not looked at
    /// for a rollback, which takes effect whatever the weight was.
    pub expected: Option<Generation>,
    /// Why it is set.
    pub cause: Cause,
    /// The digest of the candidate that it is set for.
    pub candidate: String,
}

/// A commit that will survive a loss of power if it holds a decision or a weight. One that holds
/// neither survives the death of the process; the last ones before a loss of power may be lost whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TickCommitted {
    /// The state as it is stored: what the next commit builds on.
    pub state: State,
    /// The weight, if it was changed.
    pub weight: Option<WeightSet>,
    /// The decision's place among all decisions, if there was one.
    pub decision: Option<u64>,
}

/// A run that has begun.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutStarted {
    /// The run as it is stored.
    pub rollout: StoredRollout,
    /// The weight, if it was changed.
    pub weight: Option<WeightSet>,
}

/// Why a run did not begin.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StartError {
    /// The use case has a run that has not ended, or the run's name was used before.
    #[error("{} already has the rollout {}", current.use_case, current.run)]
    AlreadyRunning {
        /// That run.
        current: Box<StoredRollout>,
    },
    /// The use case's weight was changed since it was read.
    #[error("the weight of {} was changed by someone else", current.use_case)]
    Conflict {
        /// The weight as it is.
        current: Box<UseCaseState>,
    },
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Why a tick was not committed. Nothing of it was.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum CommitError {
    /// Another commit, another run or another change of weight came first.
    #[error("another change of the rollout or its weight came first")]
    Conflict {
        /// The use case's newest run as it is; none if it never had one.
        rollout: Option<Box<StoredRollout>>,
        /// The use case's weight as it is; none if it was never set.
        weight: Option<Box<UseCaseState>>,
    },
    /// The database did not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A window in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredWindow {
    /// Its place among all windows: ask for those after it.
    pub seq: u64,
    /// The generation that its commit made: compare with [`StoredDecision`]'s order and with the
    /// generations of the run's specs.
    pub generation: Generation,
    /// What was seen.
    pub window: Window,
}

/// Whose decisions are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    /// All.
    All,
    /// A use case's, of all its runs.
    UseCase(UseCaseName),
    /// One run's.
    Run(String),
}

/// A decision in its place.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredDecision {
    /// Its place among all decisions, from 1 without gaps.
    pub seq: u64,
    /// The use case.
    pub use_case: UseCaseName,
    /// The generation that its commit made.
    pub generation: Generation,
    /// What was decided.
    pub decision: Decision,
    /// Its hash, in hex.
    pub hash: String,
    /// The hash of the decision before, in hex.
    pub previous: String,
}

/// The text that is hashed.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) seq: u64,
    pub(crate) use_case: UseCaseName,
    pub(crate) generation: Generation,
    pub(crate) decision: Decision,
}

/// The decisions as a chain.
pub(crate) static CHAIN: Chain = Chain {
    domain: b"cutover decisions 1\n",
    place: |entry| serde_json::from_str::<Entry>(entry).ok().map(|entry| entry.seq),
};

impl WeightChange {
    pub(crate) fn of(&self, state: &State, why: (&UseCaseName, Option<&Decision>)) -> SetWeight {
        let (use_case, decision) = why;
        let actor = match decision.map(|decision| &decision.actor) {
            Some(Actor::User { name }) => name.clone(),
            Some(Actor::Controller) | None => "controller".to_owned(),
        };
        let reason = decision.map(|decision| decision.reason.as_str()).unwrap_or_default();
        SetWeight {
            use_case: use_case.clone(),
            expected: match self.cause {
                Cause::Set => self.expected,
                Cause::Rollback => None,
            },
            weight: self.to,
            cause: self.cause,
            actor,
            reason: format!("rollout {}: {reason}", state.run),
            now: decision.map_or(state.seen, |decision| decision.at),
            candidate: self.candidate.clone(),
        }
    }
}

/// JSON knows no infinity: such a number would be written as null, and the decision could never be
/// read again. An infinite one becomes the largest there is; what is not a number was not measured.
pub(crate) fn finite(mut decision: Decision) -> Decision {
    let Some(report) = &mut decision.report else { return decision };
    let Report { gates, srm, .. } = report;
    for gate in gates {
        gate.estimate = gate.estimate.filter(|value| !value.is_nan()).map(clamp);
        // An end without a bound is infinite and has a form of its own in JSON.
        gate.interval = gate.interval.filter(|(low, high)| !low.is_nan() && !high.is_nan());
        // Not a number is no evidence, and a bound that is not a number is never reached.
        gate.log_e_pass = clamp(or(gate.log_e_pass, f64::MIN));
        gate.log_e_fail = clamp(or(gate.log_e_fail, f64::MIN));
        gate.pass_at = clamp(or(gate.pass_at, f64::MAX));
        gate.fail_at = clamp(or(gate.fail_at, f64::MAX));
        gate.threshold = clamp(or(gate.threshold, f64::MAX));
    }
    *srm = (clamp(or(srm.0, f64::MIN)), clamp(or(srm.1, f64::MAX)));
    decision
}

fn or(value: f64, instead: f64) -> f64 {
    if value.is_nan() { instead } else { value }
}

fn clamp(value: f64) -> f64 {
    value.clamp(f64::MIN, f64::MAX)
}
