//! One look at a rollout's evidence, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use cutover_rollout::{
    Absorbed, Action, Actor, Command, Decision, Evidence, Phase, Plan as Planned, Report, State,
    Window,
};
use cutover_store::{
    Cause, CommitError, CommitTick, StoreError, StoredRollout, TickCommitted, WeightChange,
};
use cutover_telemetry::{events, families};
use cutover_units::{Micros, Millis, NanoUsd, WeightBp};
use tokio::time::Instant;

use super::seat::{Seat, after};
use super::words::actor_word;
use super::{Plan, Rollouts, Run};
use crate::api::RollBack;
use crate::controller::Because;

/// A loser of a compare-and-set reads again and tries again so often in one tick.
const CONFLICTS_MAX: usize = 4;

/// Votes read in one tick at most; the others are read in the next one.
const VOTES_MAX: u32 = 10_000;

/// A database that does not answer for so long must not keep a tick from looking for harm.
const STORE_TIMEOUT: Duration = Duration::from_secs(10);

/// The shortest pause between two ticks, whatever the spec says.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Who the planner is in overrides and the audit log.
pub(super) const CONTROLLER: &str = "controller";

/// Why a fold ended before its end.
enum Stopped {
    /// Another process was faster; what it committed was read.
    Overtaken,
    /// The use case has another run now.
    Replaced,
    /// The database did not take it.
    Unsaved(StoreError),
}

impl Rollouts {
    /// Begins to listen for a run.
    pub(super) async fn take_up(&self, run: &Arc<Run>) {
        let seat = run.seat.lock().await;
        let (use_case, now) = (&run.use_case, self.now());
        self.source().watch(use_case, !matches!(seat.state.phase, Phase::RolledBack { .. }));
        self.source().restore_shadow_spent(use_case, now, seat.kept.shadow.today(now));
        if let Some(plan) = self.plan_of(use_case) {
            run.desk.open(&Arc::new(plan.scoring.clone()), &seat.spec, &seat.state.run);
        }
        run.desk.restore(seat.kept.scoring.clone());
        self.recount(run);
        self.controller().show_rollout(use_case, Some(&seat.state));
    }

    /// Looks once, and tells how long to wait until the next look.
    pub(super) async fn tick(&self, run: &Arc<Run>) -> Duration {
        let started = Instant::now();
        let mut seat = run.seat.lock().await;
        self.look(run, &mut seat).await;
        let took = Micros(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        self.registry().histogram(families::ROLLOUT_TICK_DURATION, []).observe(took);
        let pause = Duration::from_millis(seat.spec.interval.0).max(PAUSE_MIN);
        seat.next_tick = match seat.state.phase {
            Phase::RolledBack { .. } => None,
            _ => Some(Millis(self.now().0.saturating_add(seat.spec.interval.0))),
        };
        self.show(run, &seat);
        pause
    }

    async fn look(&self, run: &Arc<Run>, seat: &mut Seat) {
        if matches!(seat.state.phase, Phase::RolledBack { .. }) {
            return;
        }
        if let Some((actor, reason)) = self.controller().rollback_of(&run.use_case)
            && !seat.harmed
        {
            return self.end_by_hand(run, seat, (&actor, &reason)).await;
        }
        if !self.follow_config(run, seat).await {
            return;
        }
        if !seat.harmed {
            self.gather(run, seat).await;
        }
        for _ in 0..CONFLICTS_MAX {
            match self.fold(run, seat).await {
                Ok(()) => {
                    seat.problem = None;
                    return self.count(run, "committed");
                }
                Err(Stopped::Overtaken) => self.count(run, "conflict"),
                Err(Stopped::Replaced) => return self.count(run, "conflict"),
                Err(Stopped::Unsaved(error)) => return self.unsaved(run, seat, &error),
            }
        }
        seat.problem = Some("another process keeps changing this rollout".to_owned());
    }

    fn unsaved(&self, run: &Run, seat: &mut Seat, error: &StoreError) {
        let why = error.to_string();
        let use_case = run.use_case.as_str();
        events::RolloutUnsaved { use_case, why: &why, at: self.now() }.emit(self.registry());
        self.count(run, "unsaved");
        seat.problem = Some(format!("it stays where it is, because it cannot be stored: {why}"));
    }

    fn count(&self, run: &Run, result: &'static str) {
        let labels = [run.use_case.as_str(), result];
        self.registry().counter(families::ROLLOUT_TICKS, labels).inc();
    }

    /// Compares with the config file. False: this tick was spent on it.
    async fn follow_config(&self, run: &Arc<Run>, seat: &mut Seat) -> bool {
        let Some(plan) = self.plan_of(&run.use_case) else {
            let what = "the config file has no rollout for it any more";
            if matches!(seat.state.phase, Phase::Running | Phase::Holding { .. }) {
                let paused = self.order(run, seat, (&Command::Pause, CONTROLLER, what)).await;
                seat.problem = paused.err().map(|error| error.to_string());
                return false;
            }
            seat.estranged = Some(format!("{what}: it only watches for harm"));
            return true;
        };
        seat.estranged = None;
        if seat.unreadable {
            return self.restart(run, seat, (&plan, "its stored evidence cannot be read")).await;
        }
        if plan.spec.hash() != seat.state.spec_hash {
            return self.restart(run, seat, (&plan, "its spec was changed")).await;
        }
        run.desk.open(&Arc::new(plan.scoring.clone()), &seat.spec, &seat.state.run);
        true
    }

    /// Begins the evidence anew, under the config file's spec.
    async fn restart(&self, run: &Arc<Run>, seat: &mut Seat, (plan, why): (&Plan, &str)) -> bool {
        let now = self.now().max(seat.seen_to);
        let restarted = cutover_rollout::restart(&seat.spec, &plan.spec, &seat.state, now);
        let (next, mut decision) = match restarted {
            Ok(restarted) => restarted,
            // A run that is over keeps the spec it ended with.
            Err(refusal) => {
                seat.estranged = Some(format!("{why}: {refusal}"));
                return !seat.unreadable;
            }
        };
        if seat.unreadable {
            decision.reason = format!("{why}: evidence begins anew");
        }
        let evidence = Evidence::new(&plan.spec);
        let before = std::mem::replace(&mut seat.evidence, evidence);
        let began = std::mem::replace(&mut seat.kept.began, now);
        let Ok(checkpoint) = seat.checkpoint() else { return false };
        (seat.evidence, seat.kept.began) = (before, began);
        let tick = CommitTick {
            use_case: run.use_case.clone(),
            run: seat.state.run.clone(),
            expected: seat.state.generation,
            weight: self.weight_change(run, seat, &next),
            next,
            spec: Some(plan.spec.clone()),
            window: None,
            evidence: checkpoint.clone(),
            decision: Some(decision.clone()),
        };
        match self.commit(run, seat, tick).await {
            Ok(committed) => {
                seat.spec = Arc::new(plan.spec.clone());
                seat.evidence = Evidence::new(&plan.spec);
                seat.kept.began = now;
                // What was seen before was seen under another spec.
                seat.pending.clear();
                seat.report = None;
                seat.unreadable = false;
                run.desk.open(&Arc::new(plan.scoring.clone()), &seat.spec, &seat.state.run);
                self.settled(run, seat, (checkpoint, committed, Some(decision)));
                seat.problem = None;
                true
            }
            Err(Stopped::Unsaved(error)) => {
                self.unsaved(run, seat, &error);
                false
            }
            Err(Stopped::Overtaken | Stopped::Replaced) => false,
        }
    }

    /// Reads what came since the last tick.
    async fn gather(&self, run: &Run, seat: &mut Seat) {
        let to = self.now().max(after(seat.seen_to));
        let mut window = Window { from: seat.seen_to, to, ..Window::default() };
        match self.source().drain(&run.use_case, &mut window.exposures) {
            Some(drained) => {
                window.lost = drained.lost;
                window.shadow_cost = drained.shadow_cost;
            }
            None => window.blind = true,
        }
        let taken = run.desk.take();
        window.pairs = taken.pairs;
        // A pair that found no room is a pair without a score, not a live observation.
        window.unscored = taken.unscored + taken.lost;
        let cost = window.shadow_cost.0.saturating_add(taken.cost.0);
        window.shadow_cost = NanoUsd(cost);
        seat.kept.spent = NanoUsd(seat.kept.spent.0.saturating_add(cost));
        seat.kept.scoring = run.desk.record();
        seat.kept.shadow.set(to, self.source().shadow_spent(&run.use_case, to));
        // Votes that cannot be read now are read later.
        let votes = self.store().take_votes(run.use_case.clone(), seat.votes_read, VOTES_MAX);
        if let Ok(Ok(taken)) = tokio::time::timeout(STORE_TIMEOUT, votes).await {
            seat.votes_read = taken.votes.last().map_or(seat.votes_read, |(seq, _)| *seq);
            window.votes = taken.votes.into_iter().map(|(_, vote)| vote).collect();
        }
        let lost = window.lost;
        self.registry().counter(families::OBSERVATIONS_LOST, [run.use_case.as_str()]).add(lost);
        seat.leave_out_older(&mut window);
        seat.keep(window);
    }

    /// Absorbs and commits what waits, window by window.
    async fn fold(&self, run: &Arc<Run>, seat: &mut Seat) -> Result<(), Stopped> {
        seat.rewind();
        while let Some(at) = seat.pending.front().map(|window| window.to) {
            let planned = seat.absorb(0, at);
            if planned.action == Action::RollBack {
                self.take_back(run, seat, &planned.report).await;
            }
            if seat.pending.len() == 1 {
                seat.kept.votes = seat.votes_read;
            }
            match self.commit_window(run, seat, planned).await {
                Ok(()) => {}
                Err(stopped) => {
                    if let Stopped::Unsaved(_) = stopped {
                        self.look_for_harm(run, seat).await;
                    }
                    return Err(stopped);
                }
            }
        }
        Ok(())
    }

    /// The database does not take the first window; those behind it may still show harm.
    async fn look_for_harm(&self, run: &Run, seat: &mut Seat) {
        for place in 1..seat.pending.len() {
            let at = seat.pending[place].to;
            let planned = seat.absorb(place, at);
            if planned.action == Action::RollBack {
                return self.take_back(run, seat, &planned.report).await;
            }
        }
    }

    /// The candidate loses its traffic, before anything is committed.
    async fn take_back(&self, run: &Run, seat: &mut Seat, report: &Report) {
        if seat.harmed {
            return;
        }
        seat.harmed = true;
        let by = RollBack { actor: CONTROLLER.to_owned(), reason: report.reason.clone() };
        if let Ok((_, _, warnings)) = self.controller().hold_back(run.use_case.as_str(), &by).await
        {
            for warning in warnings {
                tracing::warn!(use_case = %run.use_case, warning, "rolling back");
            }
        }
    }

    async fn commit_window(
        &self,
        run: &Arc<Run>,
        seat: &mut Seat,
        planned: Planned,
    ) -> Result<(), Stopped> {
        let Some(window) = seat.pending.front().cloned() else { return Ok(()) };
        let next = planned.next.clone().unwrap_or_else(|| seat.state.clone());
        let next = State { seen: next.seen.max(window.to), ..next };
        let decision = planned.decision(&seat.state);
        let checkpoint = seat.checkpoint().map_err(|error| {
            let detail = error.to_string();
            Stopped::Unsaved(StoreError::Failed { operation: "checkpoint", detail })
        })?;
        let tick = CommitTick {
            use_case: run.use_case.clone(),
            run: seat.state.run.clone(),
            expected: seat.state.generation,
            weight: self.weight_change(run, seat, &next),
            next,
            spec: None,
            window: Some(window),
            evidence: checkpoint.clone(),
            decision: decision.clone(),
        };
        seat.offered = None;
        let committed = self.commit(run, seat, tick).await?;
        seat.pending.pop_front();
        self.settled(run, seat, (checkpoint, committed, decision));
        seat.harmed = false;
        self.measure(run, &planned.report);
        seat.report = Some(planned.report);
        Ok(())
    }

    pub(super) fn weight_change(
        &self,
        run: &Run,
        seat: &Seat,
        next: &State,
    ) -> Option<WeightChange> {
        if matches!(next.phase, Phase::RolledBack { .. }) {
            // Who rolls back by hand has it stored already, if the database could be reached.
            let change =
                WeightChange { to: WeightBp::NONE, expected: None, cause: Cause::Rollback };
            return (!self.controller().rollback_is_stored(&run.use_case)).then_some(change);
        }
        let expected = Some(self.controller().weight_generation(&run.use_case));
        (next.weight != seat.state.weight).then_some(WeightChange {
            to: next.weight,
            expected,
            cause: Cause::Set,
        })
    }

    async fn commit(
        &self,
        run: &Arc<Run>,
        seat: &mut Seat,
        tick: CommitTick,
    ) -> Result<TickCommitted, Stopped> {
        let decision = tick.decision.clone();
        let because = Because {
            actor: decision.as_ref().map_or(CONTROLLER, |decision| actor_word(&decision.actor)),
            reason: decision.as_ref().map_or("", |decision| decision.reason.as_str()),
            at: tick.next.seen,
        };
        let offered = tick.window.is_some().then(|| tick.evidence.clone());
        let committing = self.controller().commit_rollout(tick, because);
        match tokio::time::timeout(STORE_TIMEOUT, committing).await {
            Ok(Ok(committed)) => Ok(committed),
            Ok(Err(CommitError::Store(error))) => Err(Stopped::Unsaved(error)),
            Ok(Err(CommitError::Conflict { rollout, .. })) => {
                Err(self.overtaken(run, seat, rollout))
            }
            Err(_) => {
                seat.offered = offered;
                let detail = "the database did not answer in time".to_owned();
                let operation = "commit_tick";
                Err(Stopped::Unsaved(StoreError::Failed { operation, detail }))
            }
        }
    }

    fn overtaken(
        &self,
        run: &Arc<Run>,
        seat: &mut Seat,
        stored: Option<Box<StoredRollout>>,
    ) -> Stopped {
        match stored {
            Some(stored) if stored.run == seat.state.run => {
                seat.overtaken(*stored);
                self.controller().show_rollout(&run.use_case, Some(&seat.state));
                Stopped::Overtaken
            }
            Some(stored) => {
                self.put(Seat::resumed(*stored, self.now()));
                Stopped::Replaced
            }
            None => {
                let (operation, path) = ("commit_tick", std::path::PathBuf::new());
                Stopped::Unsaved(StoreError::Gone { operation, path })
            }
        }
    }

    /// A commit is in the database: what follows from it in memory.
    fn settled(
        &self,
        run: &Run,
        seat: &mut Seat,
        (checkpoint, committed, decision): (Vec<u8>, TickCommitted, Option<Decision>),
    ) {
        seat.saved = checkpoint;
        seat.clean = true;
        seat.state = committed.state;
        if matches!(seat.state.phase, Phase::RolledBack { .. }) {
            seat.pending.clear();
            self.source().watch(&run.use_case, false);
        }
        let Some((decision, seq)) = decision.zip(committed.decision) else { return };
        self.announce(run, seat, (seq, &decision));
    }

    /// Somebody has rolled the use case back: that ends the run, by that actor.
    pub(super) async fn end_by_hand(
        &self,
        run: &Arc<Run>,
        seat: &mut Seat,
        (actor, reason): (&str, &str),
    ) {
        for _ in 0..CONFLICTS_MAX {
            match self.order(run, seat, (&Command::RollBack, actor, reason)).await {
                Ok(()) | Err(super::RolloutRefusal::Refused(_)) => return,
                Err(super::RolloutRefusal::Conflict(_)) => {}
                Err(error) => {
                    seat.problem = Some(format!("its end cannot be stored: {error}"));
                    return;
                }
            }
        }
    }

    /// Does what a person asks for, and commits it.
    pub(super) async fn order(
        &self,
        run: &Arc<Run>,
        seat: &mut Seat,
        (command, actor, reason): (&Command, &str, &str),
    ) -> Result<(), super::RolloutRefusal> {
        let now = self.now().max(seat.seen_to);
        let (next, mut decision) =
            cutover_rollout::command(&seat.spec, &seat.state, command, actor, now)?;
        if actor == CONTROLLER {
            decision.actor = Actor::Controller;
        }
        if !reason.is_empty() {
            decision.reason = format!("{}: {reason}", decision.reason);
        }
        if matches!(command, Command::Advance | Command::Promote) {
            // What was not proved when a person went on all the same.
            decision.report.clone_from(&seat.report);
        }
        let tick = CommitTick {
            use_case: run.use_case.clone(),
            run: seat.state.run.clone(),
            expected: seat.state.generation,
            weight: self.weight_change(run, seat, &next),
            next,
            spec: None,
            window: None,
            evidence: seat.saved.clone(),
            decision: Some(decision.clone()),
        };
        let checkpoint = seat.saved.clone();
        let clean = seat.clean;
        match self.commit(run, seat, tick).await {
            Ok(committed) => {
                self.settled(run, seat, (checkpoint, committed, Some(decision)));
                seat.clean = clean;
                Ok(())
            }
            Err(Stopped::Unsaved(error)) => Err(super::RolloutRefusal::Database(error.to_string())),
            Err(Stopped::Overtaken | Stopped::Replaced) => {
                Err(super::RolloutRefusal::Conflict(run.use_case.clone()))
            }
        }
    }
}

impl Seat {
    /// Adds a waiting window to the evidence, and plans.
    fn absorb(&mut self, place: usize, at: Millis) -> Planned {
        let (spec, state) = (&self.spec, &self.state);
        self.clean = false;
        if let Some(window) = self.pending.get(place) {
            let absorbed = self.evidence.absorb(spec, state, window);
            debug_assert_eq!(absorbed, Absorbed::Taken, "windows follow each other");
        }
        let seen = self.evidence.observations(spec, state, at);
        cutover_rollout::plan(spec, state, &seen, at)
    }
}
