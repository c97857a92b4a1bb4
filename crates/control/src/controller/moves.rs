//! What rollouts do with weights. A commit that moves traffic goes through here, so that at any time
//! one change is under way, whoever makes it.

use std::sync::Arc;

use cutover_rollout::{Phase, State};
use cutover_store::{
    Cause, CommitError, CommitTick, NewRollout, Override, RolloutStarted, StartError,
    StoredRollout, TickCommitted, UseCaseState, WeightChange, WeightSet,
};
use cutover_units::{Generation, Millis, UseCaseName};

use super::{Controller, lock};
use crate::book::{Claim, Refusal};

/// Who changes a weight, why and when.
pub(crate) struct Because<'a> {
    pub(crate) actor: &'a str,
    pub(crate) reason: &'a str,
    pub(crate) at: Millis,
}

/// The word for what a rollout is doing.
pub(crate) fn word(phase: &Phase) -> &'static str {
    match phase {
        Phase::Running => "running",
        Phase::Holding { .. } => "holding",
        Phase::Paused { .. } => "paused",
        Phase::Promoted => "promoted",
        Phase::RolledBack { .. } => "rolled_back",
        Phase::Abandoned { .. } => "abandoned",
    }
}

impl Controller {
    /// Waits until somebody rolls any use case back.
    pub(crate) async fn rolled_back(&self) {
        self.0.rolled_back.notified().await;
    }

    /// The use case of a name.
    pub(crate) fn name_of(&self, name: &str) -> Result<UseCaseName, Refusal> {
        lock(&self.0.book).find(name).map(|spec| spec.name.clone())
    }

    /// The share in force.
    pub(crate) fn weight_of(&self, name: &UseCaseName) -> cutover_units::WeightBp {
        let book = lock(&self.0.book);
        let found = book.find(name.as_str());
        found.map_or(cutover_units::WeightBp::NONE, |spec| book.status(spec).weight)
    }

    /// Who rolled a use case back and why, if it stands rolled back.
    pub(crate) fn rollback_of(&self, name: &UseCaseName) -> Option<(String, String)> {
        lock(&self.0.book).rollback(name)
    }

    /// Whether the database knows that a use case stands rolled back.
    pub(crate) fn rollback_is_stored(&self, name: &UseCaseName) -> bool {
        !lock(&self.0.pending).contains(name) && lock(&self.0.book).is_rolled_back(name)
    }

    /// The clock.
    pub(crate) fn clock(&self) -> Arc<dyn Fn() -> Millis + Send + Sync> {
        self.0.parts.clock.clone()
    }

    /// Whether a rollout may begin, and the weight's generation it begins from.
    pub(crate) fn admit_rollout(
        &self,
        name: &str,
        after_rollback: bool,
    ) -> Result<(UseCaseName, Generation, Option<Override>), Refusal> {
        let book = lock(&self.0.book);
        let request = crate::api::SetWeight {
            weight: cutover_units::WeightBp::ALL,
            actor: String::new(),
            reason: String::new(),
            after_rollback,
            expected_generation: None,
        };
        let name = book.admit(name, &request)?;
        let seen = book.overridden(&name).cloned();
        Ok((name.clone(), book.generation(&name), seen))
    }

    /// Whether the stored share is another candidate's than this.
    pub(crate) fn is_anothers(&self, name: &UseCaseName, digest: &str) -> bool {
        lock(&self.0.book).is_another_than(name, digest)
    }

    /// Whether the candidate of the stored share answers elsewhere now, and only there.
    pub(crate) fn has_moved(&self, name: &UseCaseName) -> bool {
        lock(&self.0.book).has_moved(name)
    }

    /// The generation of a use case's weight.
    pub(crate) fn weight_generation(&self, name: &UseCaseName) -> Generation {
        lock(&self.0.book).generation(name)
    }

    /// Begins a run, with its weight.
    pub(crate) async fn start_rollout(
        &self,
        mut new: NewRollout,
        lift: Option<Override>,
        because: Because<'_>,
    ) -> Result<StoredRollout, StartError> {
        let _one_at_a_time = self.0.committing.lock().await;
        self.complete(&new.spec.use_case, &mut new.weight);
        let (name, change) = (new.spec.use_case.clone(), new.weight.clone());
        let RolloutStarted { rollout: started, weight } =
            self.state().store().start_rollout(new).await?;
        self.note(&name, (change, weight), &because);
        if let Some(seen) = lift {
            // A newer rollback stays, and ends the run that has just begun.
            let _ = self.lift(&name, seen).await;
        }
        self.show_rollout(&name, Some(&started.state));
        Ok(started)
    }

    /// Commits what a tick or a command changes, with its weight.
    pub(crate) async fn commit_rollout(
        &self,
        mut tick: CommitTick,
        because: Because<'_>,
    ) -> Result<TickCommitted, CommitError> {
        let _one_at_a_time = self.0.committing.lock().await;
        self.complete(&tick.use_case, &mut tick.weight);
        let (name, change) = (tick.use_case.clone(), tick.weight.clone());
        match self.state().store().commit_tick(tick).await {
            Ok(committed) => {
                self.note(&name, (change, committed.weight), &because);
                self.show_rollout(&name, Some(&committed.state));
                Ok(committed)
            }
            Err(error) => {
                if let CommitError::Conflict { weight: Some(found), .. } = &error {
                    lock(&self.0.book).commit(UseCaseState::clone(found));
                }
                Err(error)
            }
        }
    }

    /// A use case is moved by this rollout from now on, or (with none) by nobody.
    pub(crate) fn show_rollout(&self, name: &UseCaseName, state: Option<&State>) {
        let mut book = lock(&self.0.book);
        let live = state.filter(|state| {
            matches!(state.phase, Phase::Running | Phase::Holding { .. } | Phase::Paused { .. })
        });
        let claim = live.map(|state| Claim { shadow: state.shadow, phase: word(&state.phase) });
        book.claim(name, claim);
        self.put_into_force(&mut book);
    }

    /// A rollout knows its candidate's digest; where it answers, the config file does.
    fn complete(&self, name: &UseCaseName, change: &mut Option<WeightChange>) {
        if let Some(change) = change {
            change.candidate = lock(&self.0.book).owner_of(name, &change.candidate);
        }
    }

    fn note(
        &self,
        name: &UseCaseName,
        (change, set): (Option<WeightChange>, Option<WeightSet>),
        because: &Because<'_>,
    ) {
        let Some((change, set)) = change.zip(set) else { return };
        let rolled_back = change.cause == Cause::Rollback;
        lock(&self.0.book).commit(UseCaseState {
            use_case: name.clone(),
            weight: change.to,
            generation: set.generation,
            updated: because.at,
            actor: because.actor.to_owned(),
            reason: because.reason.to_owned(),
            rolled_back,
            candidate: change.candidate,
        });
        if rolled_back {
            lock(&self.0.pending).remove(name);
        }
    }
}
