//! Who changes weights, in which order, and what still works when parts fail.
//!
//! ```text
//!  set_weight:  admit > commit to the database (compare-and-set) > lift an override > publish
//!  roll_back:   publish > write an override > commit to the database, with a short deadline
//! ```
//!
//! A new weight is real only once it is stored: a crash in between leaves the old one in force. A
//! rollback is the other way round: it takes effect first, in this process, and whatever fails
//! afterwards is reported and tried again.
//!
//! Invariants:
//! - the book's lock is held while weights are published, so that the last publication is the latest
//!   state;
//! - an override is lifted only if it is still the one that was seen when the change was admitted;
//! - a rollback that comes while a new weight is being committed wins.

use std::collections::BTreeSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cutover_store::{
    Cause, Drain, Keys, Override, SetWeight as Commit, SetWeightError, StoreError, UseCaseState,
};
use cutover_telemetry::{Registry, events, families};
use cutover_units::{Generation, Millis, UseCaseName, WeightBp};
use tokio::sync::Notify;
use tokio_util::task::TaskTracker;

use crate::api::{Origin, RollBack, RolledBack, SetWeight, UseCaseStatus};
use crate::book::{Book, Refusal, Spec, Weights};
use crate::state::State;

/// A share that is another candidate's, with its generation.
type LeftBehind = (UseCaseName, WeightBp, Generation);

/// Puts weights into force.
pub trait Publisher: Send + Sync + 'static {
    /// Makes these the weights of all requests that come from now on. Must not block.
    fn publish(&self, weights: &Weights);
}

/// What a controller is made of.
pub struct Parts {
    /// Puts weights into force.
    pub publisher: Box<dyn Publisher>,
    /// Database and overrides.
    pub state: State,
    /// The wall clock.
    pub clock: Arc<dyn Fn() -> Millis + Send + Sync>,
    /// Metrics and events.
    pub registry: Registry,
    /// How long a rollback's answer waits for what is written.
    pub deadlines: Deadlines,
}

/// The owner of all weights: a cheap handle.
#[derive(Clone)]
pub struct Controller(Arc<Shared>);

struct Shared {
    parts: Parts,
    started: Millis,
    book: Mutex<Book>,
    /// Why the database is not used.
    problem: Mutex<Option<String>>,
    /// Rollbacks that are not in the database yet.
    pending: Mutex<BTreeSet<UseCaseName>>,
    /// One commit at a time. A rollback has taken effect before it waits here.
    committing: tokio::sync::Mutex<()>,
    /// Held while overrides are written or read.
    disk: Mutex<()>,
    tasks: TaskTracker,
    /// Told when a use case was rolled back by somebody.
    rolled_back: Notify,
}

impl fmt::Debug for Controller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Controller").finish_non_exhaustive()
    }
}

/// Where a rollback is not, for now: it is tried again until it is.
const NOT_IN_DATABASE: &str = "the rollback is not in the database yet, which is tried again";

/// A panic elsewhere while the lock was held leaves values that are still whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Controller {
    /// Reads what database and overrides say of these use cases. Nothing is published yet: see
    /// [`Controller::adopt`]. Neither source has to be there.
    pub async fn start(parts: Parts, specs: Vec<Spec>) -> Self {
        let started = (parts.clock)();
        let controller = Self(Arc::new(Shared {
            parts,
            started,
            book: Mutex::new(Book::new(specs)),
            problem: Mutex::default(),
            pending: Mutex::default(),
            committing: tokio::sync::Mutex::default(),
            disk: Mutex::default(),
            tasks: TaskTracker::new(),
            rolled_back: Notify::new(),
        }));
        controller.take_overrides();
        if let Err(error) = controller.take_states().await {
            tracing::error!(
                error = %error,
                "the weights cannot be read: every candidate stays at weight 0 until they can"
            );
        }
        lock(&controller.0.book).put_into_force();
        controller.settle_owners().await;
        controller
    }

    /// When the controller was started.
    pub fn started(&self) -> Millis {
        self.0.started
    }

    /// The clock's reading.
    pub fn now(&self) -> Millis {
        (self.0.parts.clock)()
    }

    /// What stops the state from being used; none when all is well.
    pub fn state_problem(&self) -> Option<String> {
        lock(&self.0.problem).clone()
    }

    /// All use cases.
    pub fn statuses(&self) -> Vec<UseCaseStatus> {
        lock(&self.0.book).statuses()
    }

    /// The weights in force.
    pub fn weights(&self) -> Weights {
        lock(&self.0.book).weights()
    }

    /// Takes the use cases of a new config file, and hands the weights they start with to `install`
    /// while nothing else can be published. If that fails, the old use cases stay.
    pub fn adopt<T, E>(
        &self,
        specs: Vec<Spec>,
        install: impl FnOnce(&Weights) -> Result<T, E>,
    ) -> Result<T, E> {
        let mut book = lock(&self.0.book);
        let mut next = book.clone();
        next.set_specs(specs);
        let weights = next.put_into_force();
        let installed = install(&weights)?;
        let before = book.left_behind();
        // Its generation is another once it is stored, and nothing to tell of twice.
        let is_told = |(name, share, _): &LeftBehind| {
            before.iter().any(|(known, was, _)| (known, was) == (name, share))
        };
        for left in next.left_behind().iter().filter(|left| !is_told(left)) {
            self.tell_left_behind(left);
        }
        *book = next;
        self.show(&weights);
        self.settle_soon(&book);
        Ok(installed)
    }

    fn tell_left_behind(&self, (name, from, generation): &LeftBehind) {
        events::WeightChanged {
            use_case: name.as_str(),
            from: Some(*from),
            to: WeightBp::NONE,
            generation: *generation,
            actor: "controller",
            reason: "the config file has another candidate: the share was not its own",
        }
        .emit(&self.0.parts.registry);
    }

    /// Waits for commits in the background.
    pub async fn close(&self) {
        self.0.tasks.close();
        self.0.tasks.wait().await;
    }

    /// Runs `act` with the weights in force while nothing else can be published.
    pub fn undisturbed<T>(&self, act: impl FnOnce(&Weights) -> T) -> T {
        let book = lock(&self.0.book);
        act(&book.weights())
    }

    /// All client keys.
    pub async fn keys(&self) -> Result<Keys, StoreError> {
        self.0.parts.state.store().load_keys().await
    }

    /// All prompts.
    pub async fn prompts(&self) -> Result<cutover_prompts::Book, StoreError> {
        self.0.parts.state.store().prompts().await
    }

    /// The instances that operators took out.
    pub async fn drains(&self) -> Result<Vec<Drain>, StoreError> {
        self.0.parts.state.store().drains().await
    }

    pub(crate) fn state(&self) -> &State {
        &self.0.parts.state
    }

    /// Sets a candidate's share.
    pub async fn set_weight(
        &self,
        name: &str,
        request: &SetWeight,
    ) -> Result<UseCaseStatus, Refusal> {
        let _one_at_a_time = self.0.committing.lock().await;
        let (name, before, seen) = {
            let book = lock(&self.0.book);
            let name = book.admit(name, request)?;
            let before = book.find(name.as_str()).map(|spec| book.status(spec))?;
            let seen = book.overridden(&name).cloned();
            (name, before, seen)
        };
        // A rolled back use case that is set to zero is rolled back still.
        let resumes = request.after_rollback || before.origin != Origin::Rollback;
        let cause = if resumes { Cause::Set } else { Cause::Rollback };
        let generation = self.commit_weight((&name, before.generation), cause, request).await?;
        if let Some(seen) = seen.filter(|_| request.after_rollback) {
            self.lift(&name, seen).await?;
        }
        let status = self.publish(&name)?;
        events::WeightChanged {
            use_case: name.as_str(),
            from: Some(before.weight),
            to: status.weight,
            generation,
            actor: &request.actor,
            reason: &request.reason,
        }
        .emit(&self.0.parts.registry);
        Ok(status)
    }

    async fn commit_weight(
        &self,
        (name, expected): (&UseCaseName, Generation),
        cause: Cause,
        request: &SetWeight,
    ) -> Result<Generation, Refusal> {
        let commit = Commit {
            use_case: name.clone(),
            expected: Some(expected),
            weight: request.weight,
            cause,
            actor: request.actor.clone(),
            reason: request.reason.clone(),
            now: self.now(),
            candidate: lock(&self.0.book).candidate(name),
        };
        match self.commit(commit).await {
            Ok(generation) => Ok(generation),
            Err(SetWeightError::Conflict { expected, current }) => {
                let (name, found) = (name.clone(), current.generation);
                // Another process changed it. What it set is in force from now on.
                lock(&self.0.book).commit(*current);
                self.publish(&name)?;
                Err(Refusal::Conflict { name, expected, found })
            }
            Err(SetWeightError::Store(error)) => Err(Refusal::Database(error.to_string())),
        }
    }

    /// Commits a change and notes it in the book.
    async fn commit(&self, commit: Commit) -> Result<Generation, SetWeightError> {
        self.commit_noting(commit, |_, _| ()).await
    }

    /// The same, with what else the book is to note of it in the same breath.
    async fn commit_noting(
        &self,
        commit: Commit,
        note: impl FnOnce(&mut Book, Generation),
    ) -> Result<Generation, SetWeightError> {
        let set = self.0.parts.state.commit(commit.clone()).await?;
        let mut book = lock(&self.0.book);
        book.commit(UseCaseState {
            use_case: commit.use_case,
            weight: commit.weight,
            generation: set.generation,
            updated: commit.now,
            actor: commit.actor,
            reason: commit.reason,
            rolled_back: commit.cause == Cause::Rollback,
            candidate: commit.candidate,
        });
        note(&mut book, set.generation);
        Ok(set.generation)
    }

    /// Removes an override from disk and book, unless it is another than the one that was seen.
    async fn lift(&self, name: &UseCaseName, seen: Override) -> Result<(), Refusal> {
        let (controller, name) = (self.clone(), name.clone());
        let lifting = tokio::task::spawn_blocking(move || {
            let _disk = lock(&controller.0.disk);
            let state = &controller.0.parts.state;
            let found = state.overrides();
            if let Some(newer) = found.get(&name).filter(|held| **held != seen) {
                let (actor, reason) = (newer.actor.clone(), newer.reason.clone());
                // Whoever tries again has been told of this one.
                lock(&controller.0.book).renew_override(&name, newer);
                return Err(Refusal::RolledBack { name, actor, reason });
            }
            state.clear_override(&name).map_err(|e| Refusal::Overrides(e.to_string()))?;
            lock(&controller.0.book).lift(&name, &seen);
            lock(&controller.0.pending).remove(&name);
            Ok(())
        });
        match lifting.await {
            Ok(result) => result,
            Err(_) => Err(Refusal::Overrides("the writer died".to_owned())),
        }
    }

    /// Sends all of a use case's traffic to its baseline. Works without database and without disk;
    /// the report says what it could not reach.
    pub async fn roll_back(&self, name: &str, by: &RollBack) -> Result<RolledBack, Refusal> {
        let (name, in_override, mut warnings) = self.hold_back(name, by).await?;
        let in_database = self.keep_commit(&name, &mut warnings).await;
        events::RolledBack {
            use_case: name.as_str(),
            actor: &by.actor,
            reason: &by.reason,
            held: in_override || in_database,
        }
        .emit(&self.0.parts.registry);
        self.0.rolled_back.notify_waiters();
        let book = lock(&self.0.book);
        let use_case = book.find(name.as_str()).map(|spec| book.status(spec))?;
        Ok(RolledBack { use_case, in_override, in_database, warnings })
    }

    /// The part of a rollback that needs no database: it is in force, then it is on disk.
    pub(crate) async fn hold_back(
        &self,
        name: &str,
        by: &RollBack,
    ) -> Result<(UseCaseName, bool, Vec<String>), Refusal> {
        let held = Override {
            weight: WeightBp::NONE,
            actor: by.actor.clone(),
            reason: by.reason.clone(),
            at: self.now(),
        };
        let (name, held) = {
            let mut book = lock(&self.0.book);
            let spec = book.find(name)?;
            if spec.candidate.is_none() {
                return Err(Refusal::NoCandidate(spec.name.clone()));
            }
            let name = spec.name.clone();
            book.override_with(&name, held.clone());
            self.put_into_force(&mut book);
            // A second rollback finds the first: disk and book must hold the same one, or nothing could
            // ever be lifted.
            let held = book.overridden(&name).cloned().unwrap_or(held);
            (name, held)
        };
        lock(&self.0.pending).insert(name.clone());
        let mut warnings = Vec::new();
        let in_override = self.keep_override(&name, &held, &mut warnings).await;
        Ok((name, in_override, warnings))
    }

    /// Commits a rollback. The commit goes on after the deadline, and is tried again by
    /// [`Controller::tend`] if it fails.
    async fn keep_commit(&self, name: &UseCaseName, warnings: &mut Vec<String>) -> bool {
        let (controller, name) = (self.clone(), name.clone());
        let committing = self.0.tasks.spawn(async move { controller.commit_rollback(&name).await });
        match tokio::time::timeout(self.0.parts.deadlines.commit, committing).await {
            Ok(Ok(Ok(()))) => return true,
            Ok(Ok(Err(error))) => warnings.push(format!("{NOT_IN_DATABASE}: {error}")),
            Ok(Err(_)) => warnings.push(NOT_IN_DATABASE.to_owned()),
            Err(_) => warnings.push(format!("{NOT_IN_DATABASE}: it is still being written")),
        }
        false
    }

    async fn commit_rollback(&self, name: &UseCaseName) -> Result<(), SetWeightError> {
        let _one_at_a_time = self.0.committing.lock().await;
        let held = lock(&self.0.book).overridden(name).cloned();
        let pending = lock(&self.0.pending).contains(name);
        let Some(held) = held.filter(|_| pending) else { return Ok(()) };
        let candidate = lock(&self.0.book).candidate(name);
        self.commit(Commit {
            use_case: name.clone(),
            expected: None,
            weight: held.weight,
            cause: Cause::Rollback,
            actor: held.actor,
            reason: held.reason,
            now: self.now(),
            candidate,
        })
        .await?;
        lock(&self.0.pending).remove(name);
        Ok(())
    }

    async fn take_states(&self) -> Result<(), StoreError> {
        let states = self.0.parts.state.load(self.now()).await;
        *lock(&self.0.problem) = states.as_ref().err().map(ToString::to_string);
        let states = states?;
        for state in states.iter().filter(|state| state.rolled_back) {
            lock(&self.0.pending).remove(&state.use_case);
        }
        let mut book = lock(&self.0.book);
        book.set_states(states);
        // The file may have changed while nothing ran.
        for left in &book.left_behind() {
            self.tell_left_behind(left);
        }
        Ok(())
    }

    /// Does what could not be done before: reads a database that could not be read, commits
    /// rollbacks that could not be committed, and writes the overrides of those that still cannot.
    pub async fn tend(&self) {
        let unread = !lock(&self.0.book).has_states();
        if unread && self.take_states().await.is_ok() {
            tracing::info!("the weights can be read again");
            self.put_into_force(&mut lock(&self.0.book));
        }
        self.settle_owners().await;
        let pending: Vec<_> = lock(&self.0.pending).iter().cloned().collect();
        for name in pending {
            // Still pending then; the failure has been counted and logged.
            if self.commit_rollback(&name).await.is_err() {
                self.keep_missing_override(name).await;
            }
        }
    }

    fn publish(&self, name: &UseCaseName) -> Result<UseCaseStatus, Refusal> {
        let mut book = lock(&self.0.book);
        self.put_into_force(&mut book);
        book.find(name.as_str()).map(|spec| book.status(spec))
    }

    fn put_into_force(&self, book: &mut Book) {
        let weights = book.put_into_force();
        self.0.parts.publisher.publish(&weights);
        self.show(&weights);
    }

    fn show(&self, weights: &Weights) {
        for (name, traffic) in weights {
            let gauge = self.0.parts.registry.gauge(families::WEIGHT, [name.as_str()]);
            gauge.set(traffic.weight.basis_points().into());
            let gauge = self.0.parts.registry.gauge(families::SHADOW_WEIGHT, [name.as_str()]);
            gauge.set(traffic.shadow.basis_points().into());
        }
    }
}

mod deadlines;
mod moves;
mod overridden;
mod owners;

pub use deadlines::Deadlines;
pub(crate) use moves::{Because, word};

#[cfg(test)]
mod tests;
