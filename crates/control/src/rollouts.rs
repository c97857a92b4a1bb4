//! Rollouts under way: what was seen becomes evidence, evidence becomes decisions, decisions become
//! weights.
//!
//! ```text
//!  every interval, per use case:
//!  drain feed, pairs, votes > Window > absorb > plan > commit (compare-and-set) > publish
//!                                               |        |
//!                                               |        +-- another was faster: read again, anew
//!                                               |        +-- no database: keep the window, hold
//!                                               +-- roll back: in force first, then committed
//! ```
//!
//! Invariants:
//! - a step is left only by a committed decision. While the database does not take one, nothing
//!   advances, and what was seen waits in memory up to a bound; a rollback takes effect all the same;
//! - evidence goes on where the last commit left it, bit for bit; the time in which the process was
//!   away is a blind window: missing, not good;
//! - evidence belongs to one spec: another one in the config file begins it anew, which is said in a
//!   decision, an event and the report;
//! - a tick that is late makes one longer window, never two ticks in a row;
//! - whoever rolls a use case back by hand ends its rollout;
//! - one run per use case; while it runs, nobody else sets the weight.

mod commands;
mod commit;
mod edges;
mod past;
mod rating;
mod scoring;
mod seat;
mod status;
mod tell;
mod tick;
mod webhooks;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cutover_rollout::Spec;
use cutover_store::{Store, StoreError};
use cutover_telemetry::Registry;
use cutover_units::{Millis, UseCaseName};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use commands::RolloutRefusal;
pub use edges::{CallFailed, Called, Caller, Calling, Chat, Drained, Embed, Pair, Side, Source};
pub use past::replay_stored;
pub use scoring::{JudgeStatus, PROGRAM_PATH, Scoring, ScoringStatus};
pub use webhooks::{Webhook, WebhookStatus, Webhooks};

use crate::book::Refusal;
use crate::controller::Controller;
use crate::outgoing::Outgoing;
use scoring::Desk;
use seat::{Seat, View};

/// Shadow pairs are fetched so often: a copy's answer holds its texts in memory until then.
const PAIRS_INTERVAL: Duration = Duration::from_secs(1);

/// Old pairs are deleted so often.
const SWEEP_INTERVAL: Duration = Duration::from_hours(1);

/// Rollouts that could not be read at the start are tried again after so long.
const LOAD_PAUSE: Duration = Duration::from_secs(5);

/// The last look before the process ends may take so long; then what was seen since the look before
/// is lost.
const LAST_LOOK: Duration = Duration::from_secs(5);

/// What the config file says of a use case's rollout.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Steps and gates, every default filled in.
    pub spec: Spec,
    /// How shadow pairs are scored.
    pub scoring: Scoring,
}

/// What rollouts are made of.
pub struct RolloutParts {
    /// Sets weights.
    pub controller: Controller,
    /// What was seen.
    pub source: Arc<dyn Source>,
    /// Who can be asked.
    pub caller: Arc<dyn Caller>,
    /// For scorers' servers.
    pub outgoing: Outgoing,
    /// Who is told.
    pub webhooks: Webhooks,
    /// Metrics and events.
    pub registry: Registry,
    /// Reads a use case's spec from a config file's text.
    pub read_spec: ReadSpec,
}

/// Reads a use case's spec from a config file's text, or tells everything that is wrong with it.
pub type ReadSpec = Arc<dyn Fn(&str, &UseCaseName) -> Result<Spec, Vec<String>> + Send + Sync>;

/// All rollouts: a cheap handle.
#[derive(Clone)]
pub struct Rollouts(Arc<Shared>);

struct Shared {
    parts: RolloutParts,
    plans: Mutex<BTreeMap<UseCaseName, Arc<Plan>>>,
    /// Use cases whose plan cannot be told, because a prompt of theirs is not known.
    untold: Mutex<BTreeSet<UseCaseName>>,
    runs: Mutex<BTreeMap<UseCaseName, Arc<Run>>>,
    /// Why the stored rollouts could not be read; none once they were.
    unread: Mutex<Option<String>>,
    tasks: TaskTracker,
    stop: CancellationToken,
    /// Whether the process ends in good order, so that there is time for a last look.
    closing: AtomicBool,
}

/// One use case's run, in this process.
pub(crate) struct Run {
    pub(crate) use_case: UseCaseName,
    /// Held through a tick or a command.
    pub(crate) seat: tokio::sync::Mutex<Seat>,
    /// What the status shows; never held across a wait.
    pub(crate) view: Mutex<Arc<View>>,
    pub(crate) desk: Desk,
    wake: Notify,
    /// Pairs that a person did not want to label, by name.
    skipped: Mutex<BTreeSet<(String, u64)>>,
    /// The run's task ends with it.
    over: CancellationToken,
}

impl fmt::Debug for Rollouts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rollouts")
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Rollouts {
    /// No rollouts yet: see [`Rollouts::begin`].
    pub fn new(parts: RolloutParts) -> Self {
        Self(Arc::new(Shared {
            parts,
            plans: Mutex::default(),
            untold: Mutex::default(),
            runs: Mutex::default(),
            unread: Mutex::new(Some("the rollouts were not read yet".to_owned())),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            closing: AtomicBool::new(false),
        }))
    }

    /// Takes what the config file says. Runs see it at their next tick, which comes at once.
    pub fn take_plans(&self, plans: Vec<Plan>) {
        self.take_plans_but(plans, BTreeSet::new());
    }

    /// The same of a file that has more plans than can be told: the runs of these use cases wait.
    pub fn take_plans_but(&self, plans: Vec<Plan>, untold: BTreeSet<UseCaseName>) {
        // In this order no tick takes a plan that is not known for one that is gone.
        lock(&self.0.untold).extend(untold.iter().cloned());
        let plans = plans.into_iter().map(|plan| (plan.spec.use_case.clone(), Arc::new(plan)));
        *lock(&self.0.plans) = plans.collect();
        *lock(&self.0.untold) = untold;
        for run in lock(&self.0.runs).values() {
            run.wake.notify_one();
        }
    }

    /// From now on these and no others are told of decisions.
    pub fn take_webhooks(&self, webhooks: Vec<Webhook>) {
        self.0.parts.webhooks.set(webhooks);
    }

    /// Takes up the stored rollouts. A database that cannot be read is tried again; until then no
    /// candidate has a weight anyway.
    pub async fn begin(&self) {
        if self.load().await.is_err() {
            let rollouts = self.clone();
            self.0.tasks.spawn(async move {
                loop {
                    tokio::select! {
                        () = tokio::time::sleep(LOAD_PAUSE) => {}
                        () = rollouts.0.stop.cancelled() => return,
                    }
                    if rollouts.load().await.is_ok() {
                        return;
                    }
                }
            });
        }
    }

    async fn load(&self) -> Result<(), StoreError> {
        let stored = self.store().rollouts().await;
        *lock(&self.0.unread) = stored.as_ref().err().map(ToString::to_string);
        for stored in stored? {
            if lock(&self.0.runs).contains_key(&stored.use_case) {
                continue;
            }
            self.put(Seat::resumed(stored, self.now()));
        }
        Ok(())
    }

    /// Looks for a last time, so that what was seen since the look before is kept, and ends the ticks.
    /// Call it after the last request has ended and before the store is closed.
    pub async fn close(&self) {
        self.0.closing.store(true, Ordering::Relaxed);
        self.0.stop.cancel();
        self.0.tasks.close();
        self.0.tasks.wait().await;
        self.0.parts.webhooks.close().await;
    }

    pub(crate) fn store(&self) -> &Store {
        self.0.parts.controller.state().store()
    }

    pub(crate) fn controller(&self) -> &Controller {
        &self.0.parts.controller
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.parts.registry
    }

    pub(crate) fn source(&self) -> &dyn Source {
        &*self.0.parts.source
    }

    pub(crate) fn webhooks(&self) -> &Webhooks {
        &self.0.parts.webhooks
    }

    pub(crate) fn now(&self) -> Millis {
        self.0.parts.controller.now()
    }

    pub(crate) fn plan_of(&self, use_case: &UseCaseName) -> Option<Arc<Plan>> {
        lock(&self.0.plans).get(use_case).cloned()
    }

    /// Why a use case's plan is not known, though the config file may have one.
    pub(crate) fn untold(&self, use_case: &UseCaseName) -> Option<&'static str> {
        const WHY: &str = "it waits: a prompt of its variants is not known, because the database could not be read";
        lock(&self.0.untold).contains(use_case).then_some(WHY)
    }

    pub(crate) fn run_of(&self, use_case: &str) -> Option<Arc<Run>> {
        lock(&self.0.runs).get(use_case).cloned()
    }

    /// The use case of a name: the config file's, or one that it had and that still has a run.
    pub(crate) fn name_of(&self, name: &str) -> Result<UseCaseName, Refusal> {
        self.controller()
            .name_of(name)
            .or_else(|refusal| self.run_of(name).map(|run| run.use_case.clone()).ok_or(refusal))
    }

    pub(crate) fn runs(&self) -> Vec<Arc<Run>> {
        lock(&self.0.runs).values().cloned().collect()
    }

    /// Why the stored rollouts could not be read; none once they were.
    pub(crate) fn unread(&self) -> Option<String> {
        lock(&self.0.unread).clone()
    }

    /// Seats a run, in the place of the use case's last one, and lets it tick.
    pub(crate) fn put(&self, mut seat: Seat) -> Arc<Run> {
        let use_case = seat.spec.use_case.clone();
        if let Some(before) = self.run_of(use_case.as_str()) {
            seat.inherit(before.desk.record());
        }
        let desk = Desk::new(scoring::DeskParts {
            use_case: use_case.clone(),
            caller: self.0.parts.caller.clone(),
            outgoing: self.0.parts.outgoing.clone(),
            store: self.store().clone(),
            registry: self.registry().clone(),
            clock: self.controller().clock(),
            tasks: self.0.tasks.clone(),
            stop: self.0.stop.clone(),
        });
        let view = Mutex::new(Arc::new(seat.view()));
        let run = Arc::new(Run {
            use_case: use_case.clone(),
            view,
            desk,
            wake: Notify::new(),
            skipped: Mutex::default(),
            over: self.0.stop.child_token(),
            seat: tokio::sync::Mutex::new(seat),
        });
        let before = lock(&self.0.runs).insert(use_case, run.clone());
        if let Some(before) = before {
            before.over.cancel();
        }
        self.0.tasks.spawn(self.clone().watch_over(run.clone()));
        run
    }

    /// Ticks until the run or the process is over. The first tick comes at once.
    async fn watch_over(self, run: Arc<Run>) {
        self.take_up(&run).await;
        let mut next_tick = Instant::now();
        let mut next_pairs = next_tick + PAIRS_INTERVAL;
        let mut next_sweep = next_tick;
        loop {
            let rolled_back = self.controller().rolled_back();
            tokio::select! {
                () = run.over.cancelled() => return self.last_look(&run).await,
                () = rolled_back => next_tick = Instant::now(),
                () = run.wake.notified() => next_tick = Instant::now(),
                () = sleep_until(next_tick) => {}
                () = sleep_until(next_pairs) => {}
            }
            let now = Instant::now();
            if now >= next_pairs {
                next_pairs = now + PAIRS_INTERVAL;
                self.fetch_pairs(&run);
                // Not awaited: a database that hangs must not keep ticks from looking for harm.
                let desk = run.desk.clone();
                self.0.tasks.spawn(async move { desk.flush().await });
            }
            if now >= next_sweep {
                next_sweep = now + SWEEP_INTERVAL;
                let desk = run.desk.clone();
                self.0.tasks.spawn(async move { desk.sweep().await });
            }
            if now >= next_tick {
                let pause = self.tick(&run).await;
                // Counted from the tick's end: a slow one is not followed by another at once.
                next_tick = Instant::now() + pause;
            }
        }
    }

    /// The run or the process is over.
    async fn last_look(&self, run: &Arc<Run>) {
        let current = self.run_of(run.use_case.as_str());
        let current = current.is_some_and(|current| Arc::ptr_eq(&current, run));
        let look = async {
            if current && self.0.closing.load(Ordering::Relaxed) {
                self.fetch_pairs(run);
                run.desk.quiet().await;
                run.desk.close_books();
                self.tick(run).await;
            }
            run.desk.flush_last().await;
        };
        if tokio::time::timeout(LAST_LOOK, look).await.is_err() {
            let use_case = run.use_case.as_str();
            tracing::warn!(use_case, "the database took too long: the last observations are lost");
        }
    }

    fn fetch_pairs(&self, run: &Run) {
        let mut pairs = Vec::new();
        self.source().drain_pairs(&run.use_case, &mut pairs);
        for pair in pairs {
            run.desk.offer(pair);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
