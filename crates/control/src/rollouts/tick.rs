//! One look at a rollout's evidence, and what follows from it.

use std::sync::Arc;
use std::time::Duration;

use cutover_rollout::{Absorbed, Action, Command, Evidence, Phase, Plan as Planned, Report, State};
use cutover_store::{CommitTick, StoreError};
use cutover_telemetry::{events, families};
use cutover_units::{Micros, Millis, NanoUsd};
use tokio::time::Instant;

use super::commit::{STORE_TIMEOUT, Stopped};
use super::seat::{Seat, not_before};
use super::{Plan, Rollouts, Run};
use crate::api::RollBack;

/// A loser of a compare-and-set reads again and tries again so often in one tick.
const CONFLICTS_MAX: usize = 4;

/// Votes read in one tick at most; the others are read in the next one.
const VOTES_MAX: u32 = 10_000;

/// The shortest pause between two ticks, whatever the spec says.
const PAUSE_MIN: Duration = Duration::from_millis(50);

/// Who the planner is in overrides and the audit log.
pub(super) const CONTROLLER: &str = "controller";

impl Rollouts {
    /// Begins to listen for a run.
    pub(super) async fn take_up(&self, run: &Arc<Run>) {
        let seat = run.seat.lock().await;
        let (use_case, now) = (&run.use_case, self.now());
        self.source().watch(use_case, !seat.state.phase.is_final());
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
        seat.next_tick = match &seat.state.phase {
            phase if phase.is_final() => None,
            _ => Some(Millis(self.now().0.saturating_add(seat.spec.interval.0))),
        };
        self.show(run, &seat);
        pause
    }

    async fn look(&self, run: &Arc<Run>, seat: &mut Seat) {
        if seat.state.phase.is_final() {
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
        seat.problem = Some(if seat.harmed {
            format!("it is rolled back, which is not stored yet: {why}")
        } else {
            format!("it stays where it is, because it cannot be stored: {why}")
        });
    }

    fn count(&self, run: &Run, result: &'static str) {
        let labels = [run.use_case.as_str(), result];
        self.registry().counter(families::ROLLOUT_TICKS, labels).inc();
    }

    /// Compares with the config file. False: this tick was spent on it.
    async fn follow_config(&self, run: &Arc<Run>, seat: &mut Seat) -> bool {
        let plan = self.plan_of(&run.use_case);
        if let Some(why) = self.untold(&run.use_case) {
            seat.problem = Some(why.to_owned());
            return false;
        }
        let Some(plan) = plan else {
            let what = "the config file has no rollout for it any more";
            let ways =
                "put it back and resume it, or end it: rollback, or abandon (the share stays)";
            if matches!(seat.state.phase, Phase::Running | Phase::Holding { .. }) {
                let paused = self.order(run, seat, (&Command::Pause, CONTROLLER, what)).await;
                seat.problem = paused.err().map(|error| error.to_string());
                return false;
            }
            seat.estranged = Some(format!("{what}: it only watches for harm; {ways}"));
            return true;
        };
        let back = returned(&seat.state);
        if back.is_some() && back != seat.estranged {
            let (use_case, share) = (run.use_case.as_str(), seat.state.weight.to_string());
            tracing::warn!(
                use_case,
                share,
                "the config file has a rollout again that it had lost: it is paused at its old share, which \
                 is in force"
            );
        }
        seat.estranged = back;
        if seat.unreadable {
            return self.restart(run, seat, (&plan, "its stored evidence cannot be read")).await;
        }
        if self.controller().has_moved(&run.use_case) {
            return self.restart(run, seat, (&plan, cutover_rollout::MOVED)).await;
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
        let moved = why == cutover_rollout::MOVED;
        let restarted = if moved {
            cutover_rollout::restart_moved(&plan.spec, &seat.state, now)
        } else {
            cutover_rollout::restart(&seat.spec, &plan.spec, &seat.state, now)
        };
        let (next, mut decision) = match restarted {
            Ok(restarted) => restarted,
            // A run that is over keeps the spec it ended with.
            Err(refusal) => {
                if let Phase::Promoted = seat.state.phase
                    && (moved || plan.spec.candidate.digest != seat.spec.candidate.digest)
                {
                    self.succeeded(run, seat, plan).await;
                    return false;
                }
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
            weight: self.weight_change(run, (&seat.state, &next), &plan.spec.candidate.digest),
            next,
            spec: Some(plan.spec.clone()),
            window: None,
            evidence: Some(checkpoint.clone()),
            decision: Some(decision.clone()),
            tell: Vec::new(),
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
                seat.checkpointed(Some(checkpoint), None);
                seat.clean = true;
                self.settled(run, seat, (committed, Some(decision)));
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

    /// After a promotion the config file names another candidate: the share was the promoted one's, so
    /// the new one loses it before anything is committed.
    async fn succeeded(&self, run: &Arc<Run>, seat: &mut Seat, plan: &Plan) {
        let (before, now) = (&seat.spec.candidate.name, &plan.spec.candidate.name);
        let reason = if self.controller().has_moved(&run.use_case) {
            format!(
                "{}: {before} was promoted elsewhere, and has proved nothing there",
                cutover_rollout::MOVED
            )
        } else if before == now {
            format!(
                "the config file has another candidate: {now} was promoted with other settings, and has \
                 proved nothing with these"
            )
        } else {
            format!(
                "the config file has another candidate: {before} was promoted, {now} has proved nothing"
            )
        };
        self.hold_back(run, &reason).await;
        self.end_by_hand(run, seat, (CONTROLLER, &reason)).await;
    }

    /// Reads what came since the last tick.
    async fn gather(&self, run: &Run, seat: &mut Seat) {
        let (mut window, behind) = seat.next_window(self.now());
        let to = window.to;
        match self.source().drain(&run.use_case, &mut window.exposures) {
            Some(drained) => {
                window.lost = drained.lost;
                window.shadow_cost = drained.shadow_cost;
            }
            // A lane that is gone, or that is new and knew nothing so far: nobody watched.
            None => (window.blind, window.watched) = (true, Some(Millis(0))),
        }
        let taken = run.desk.take();
        window.pairs = taken.pairs;
        window.unscored = taken.unscored;
        window.lost_pairs = taken.lost;
        window.awaited = taken.awaited;
        window.grader = run.desk.verdict();
        window.instances = self.ready_instances(run, seat);
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
        if behind {
            let from = window.from;
            not_before(&mut window, from);
        }
        seat.leave_out_older(&mut window);
        seat.keep(window);
    }

    /// How many instances are ready for the next step, if it asks.
    fn ready_instances(&self, run: &Run, seat: &Seat) -> Option<u32> {
        let next = seat.spec.steps.get(usize::from(seat.state.step) + 1)?;
        let asked = next.min_instances > 0;
        asked.then(|| self.source().ready_instances(&run.use_case, true)).flatten()
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
        self.hold_back(run, &report.reason).await;
    }

    /// Takes the candidate's traffic away, in force at once.
    async fn hold_back(&self, run: &Run, reason: &str) {
        let by = RollBack { actor: CONTROLLER.to_owned(), reason: reason.to_owned() };
        if let Ok((_, _, warnings)) = self.controller().hold_back(run.use_case.as_str(), &by).await
        {
            for warning in warnings {
                tracing::warn!(use_case = %run.use_case, warning, "rolling back");
            }
        }
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
}

/// What stands between a rollout and a config file that had lost it, and has it again; none: nothing.
fn returned(state: &State) -> Option<String> {
    // The controller pauses for no other reason.
    let lost = matches!(&state.phase, Phase::Paused { by } if by == CONTROLLER);
    lost.then(|| {
        format!(
            "the config file had lost it and has it again: it is paused at its old share of {}, which is in \
             force; resume it, or end it: rollback, or abandon (the share stays)",
            state.weight
        )
    })
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
