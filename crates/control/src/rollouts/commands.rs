//! What people ask of rollouts.

use std::sync::Arc;

use cutover_rollout::{Action, Actor, Command, Decision, Evidence, Phase};
use cutover_store::{Cause, NewRollout, StartError, WeightChange};
use cutover_units::{Millis, UseCaseName, WeightBp};

use super::seat::Seat;
use super::{Plan, Rollouts, Run};
use crate::api::RollBack;
use crate::api::rollouts::{CommandRollout, RolloutStatus, StartRollout, Verb};
use crate::book::Refusal;
use crate::controller::Because;

/// Why a rollout does not do what it is asked for.
#[derive(Debug, thiserror::Error)]
pub enum RolloutRefusal {
    /// The use case, its weight or its rollback stand against it.
    #[error(transparent)]
    UseCase(#[from] Refusal),
    /// The config file has no rollout for it.
    #[error("use case {0} has no rollout in the config file")]
    NoPlan(UseCaseName),
    /// The spec has mistakes.
    #[error("the spec of {use_case} cannot be followed: {}", problems.join("; "))]
    Spec {
        /// The use case.
        use_case: UseCaseName,
        /// What is wrong, with where and how to mend it.
        problems: Vec<String>,
    },
    /// It has one that has not ended.
    #[error("use case {use_case} already has the rollout {run}, which is {phase}")]
    AlreadyRunning {
        /// The use case.
        use_case: UseCaseName,
        /// The run.
        run: String,
        /// What it is doing.
        phase: &'static str,
    },
    /// Its candidate has all the traffic, which a new rollout would take away.
    #[error("use case {0} is promoted: a new rollout would take all traffic from its candidate")]
    Promoted(UseCaseName),
    /// It has none.
    #[error("use case {0} has no rollout")]
    NotRunning(UseCaseName),
    /// The state does not allow it.
    #[error(transparent)]
    Refused(#[from] cutover_rollout::Refusal),
    /// Another change came first.
    #[error("the rollout of {0} was changed by someone else at the same time")]
    Conflict(UseCaseName),
    /// The database cannot be used.
    #[error("the state database cannot be used: {0}")]
    Database(String),
    /// No such run or decision.
    #[error("there is no {0}")]
    Unknown(String),
    /// Nobody can compare what was not kept.
    #[error("the texts of {0}'s pairs are not kept, so nobody can compare them")]
    TextsNotKept(UseCaseName),
    /// Not a name for somebody who labels pairs.
    #[error("{0:?} is no name for a rater: use 1 to 64 letters, digits, '.', '_' or '-'")]
    Rater(String),
    /// This person has said something of this pair.
    #[error("{rater} has labelled pair {pair} already")]
    AlreadyLabelled {
        /// The pair.
        pair: u64,
        /// Who.
        rater: String,
    },
    /// A text that was sent cannot be read.
    #[error("the spec cannot be read: {}", .0.join("; "))]
    Unreadable(Vec<String>),
}

/// Whether a use case whose last run is this one may begin another.
fn may_follow(run: &Run, use_case: &UseCaseName) -> Result<(), RolloutRefusal> {
    let phase = run.view().state.phase.clone();
    match phase {
        Phase::RolledBack { .. } | Phase::Abandoned { .. } => Ok(()),
        Phase::Promoted => Err(RolloutRefusal::Promoted(use_case.clone())),
        _ => Err(already(run)),
    }
}

impl Rollouts {
    /// A name that no run has, also where two begin within a millisecond or the clock has stepped back.
    async fn name_for(
        &self,
        use_case: &UseCaseName,
        now: Millis,
    ) -> Result<String, RolloutRefusal> {
        let mut name = format!("{use_case}-{}", now.0);
        for next in 2.. {
            let taken = self.store().rollout(name.clone()).await;
            if taken.map_err(|error| RolloutRefusal::Database(error.to_string()))?.is_none() {
                break;
            }
            name = format!("{use_case}-{}-{next}", now.0);
        }
        Ok(name)
    }

    /// Refuses what needs the config file's plan while that is not known.
    fn told(&self, use_case: &UseCaseName) -> Result<(), RolloutRefusal> {
        self.untold(use_case).map_or(Ok(()), |why| Err(RolloutRefusal::Database(why.to_owned())))
    }

    /// Begins a use case's rollout with the spec of the config file.
    pub async fn start(
        &self,
        name: &str,
        request: &StartRollout,
    ) -> Result<RolloutStatus, RolloutRefusal> {
        if let Some(problem) = self.unread() {
            return Err(RolloutRefusal::Database(problem));
        }
        let use_case = self.controller().name_of(name)?;
        if let Some(run) = self.run_of(name) {
            may_follow(&run, &use_case)?;
        }
        self.told(&use_case)?;
        let plan =
            self.plan_of(&use_case).ok_or_else(|| RolloutRefusal::NoPlan(use_case.clone()))?;
        check(&plan)?;
        let (_, expected, lift) = self.controller().admit_rollout(name, request.after_rollback)?;
        let by_hand = self.controller().weight_of(&use_case);
        let now = self.now();
        let run_name = self.name_for(&use_case, now).await?;
        let state = cutover_rollout::start(&plan.spec, run_name, now);
        let reason = begins((by_hand, state.weight), &request.reason);
        let decision = Decision {
            at: now,
            run: state.run.clone(),
            action: Action::Start,
            actor: Actor::User { name: request.actor.clone() },
            from_step: state.step,
            to_step: state.step,
            weight: state.weight,
            reason: reason.clone(),
            report: None,
        };
        let new = NewRollout {
            weight: Some(WeightChange {
                to: state.weight,
                expected: Some(expected),
                cause: Cause::Set,
                candidate: plan.spec.candidate.digest.clone(),
            }),
            evidence: Seat::first_checkpoint(&plan.spec, now).map_err(RolloutRefusal::Database)?,
            spec: plan.spec.clone(),
            state,
            decision: decision.clone(),
            tell: self.webhooks().who_wants(Action::Start),
        };
        // Before the first request that it is about.
        self.source().watch(&use_case, true);
        let because = Because { actor: &request.actor, reason: &reason, at: now };
        let started = self.controller().start_rollout(new, lift, because).await;
        let stored = match started {
            Ok(stored) => stored,
            Err(StartError::AlreadyRunning { current }) => {
                return Err(already(&self.put(Seat::resumed(*current, now))));
            }
            Err(StartError::Conflict { .. }) => {
                self.source().watch(&use_case, false);
                return Err(RolloutRefusal::Conflict(use_case));
            }
            Err(StartError::Store(error)) => {
                self.source().watch(&use_case, false);
                return Err(RolloutRefusal::Database(error.to_string()));
            }
        };
        let run = self.put(Seat::started(stored, Evidence::new(&plan.spec)));
        let seat = run.seat.lock().await;
        self.announce(&run, &seat, &decision);
        drop(seat);
        Ok(self.status_of(&run))
    }

    /// Does what a person asks for.
    pub async fn command(
        &self,
        name: &str,
        request: &CommandRollout,
    ) -> Result<RolloutStatus, RolloutRefusal> {
        let use_case = self.name_of(name)?;
        if request.command == Verb::RollBack {
            // In force before anything is asked of rollout or database.
            let by = RollBack { actor: request.actor.clone(), reason: request.reason.clone() };
            match self.controller().roll_back(name, &by).await {
                // The config file has lost it: no request meets its candidate, and its run still ends.
                Ok(_) | Err(Refusal::UnknownUseCase { .. }) => {}
                Err(refusal) => return Err(refusal.into()),
            }
        }
        let run = self.run_of(name).ok_or_else(|| RolloutRefusal::NotRunning(use_case.clone()))?;
        let mut seat = run.seat.lock().await;
        // One that has ended says so, rather than what else stands against it.
        let goes_on = matches!(request.command, Verb::Resume | Verb::Advance | Verb::Promote)
            && !seat.state.is_over();
        if goes_on {
            self.told(&use_case)?;
        }
        if goes_on && self.plan_of(&use_case).is_none() {
            return Err(RolloutRefusal::NoPlan(use_case));
        }
        if goes_on && let Some((actor, reason)) = self.controller().rollback_of(&use_case) {
            let refusal = Refusal::RolledBack { name: use_case, actor, reason };
            return Err(refusal.into());
        }
        let command = match request.command {
            Verb::Pause => Command::Pause,
            Verb::Resume => Command::Resume,
            Verb::Advance => Command::Advance,
            Verb::Approve => Command::Approve { step: request.step.clone() },
            Verb::Promote => Command::Promote,
            Verb::RollBack => Command::RollBack,
            Verb::Abandon => Command::Abandon,
        };
        let ended = seat.state.phase.is_final();
        if !(ended && request.command == Verb::RollBack) {
            let asked = (&command, request.actor.as_str(), request.reason.as_str());
            self.order(&run, &mut seat, asked).await?;
            if self.plan_of(&use_case).is_some() {
                seat.estranged = None;
            }
        }
        self.show(&run, &seat);
        drop(seat);
        Ok(self.status_of(&run))
    }
}

/// Why a run begins; a share set by hand does not fall without a word.
fn begins((by_hand, first): (WeightBp, WeightBp), reason: &str) -> String {
    let mut begins = "the rollout begins".to_owned();
    if by_hand > first {
        begins =
            format!("{begins}, and the share falls from {by_hand} to its first step's {first}");
    }
    if reason.is_empty() { begins } else { format!("{begins}: {reason}") }
}

fn already(run: &Run) -> RolloutRefusal {
    let view = run.view();
    RolloutRefusal::AlreadyRunning {
        use_case: run.use_case.clone(),
        run: view.state.run.clone(),
        phase: crate::controller::word(&view.state.phase),
    }
}

/// Whether a spec can be followed at all.
fn check(plan: &Arc<Plan>) -> Result<(), RolloutRefusal> {
    let problems: Vec<String> = cutover_rollout::lint(&plan.spec)
        .into_iter()
        .filter(|problem| problem.severity == cutover_rollout::Severity::Error)
        .map(|problem| format!("{}: {} ({})", problem.path, problem.why, problem.fix))
        .collect();
    if problems.is_empty() {
        return Ok(());
    }
    Err(RolloutRefusal::Spec { use_case: plan.spec.use_case.clone(), problems })
}
