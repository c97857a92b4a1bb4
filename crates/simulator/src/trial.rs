//! Rollouts on a virtual clock: the user's own spec, the real evidence, the real planner.

use cutover_stats::Draws;
use cutover_units::Millis;

use super::outcome::{End, Outcome, Run};
use super::traffic::Traffic;
use super::truth::Truth;
use super::world::{Setting, World};
use cutover_rollout::Verdict;
use cutover_rollout::Window;
use cutover_rollout::{Absorbed, Evidence, Observations};
use cutover_rollout::{Phase, State};
use cutover_rollout::{Plan, plan, start};
use cutover_rollout::{Spec, Step, UnitRule};

/// Simulated rollouts begin on a Monday at eight in the morning.
pub(super) const BEGAN: Millis = Millis(4 * 86_400_000 + 8 * 3_600_000);

/// Two weeks: what has not ended by then counts as held.
pub const HORIZON: Millis = Millis(14 * 86_400_000);

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// What arrives.
    pub traffic: Traffic,
    /// How the arms really are.
    pub truth: Truth,
    /// Which runs; run k is the same whatever other runs there are.
    pub runs: std::ops::Range<u32>,
    /// Decides all chance.
    pub seed: u64,
    /// A run that has not ended after so long is held.
    pub horizon: Millis,
}

impl Trial {
    /// So many runs over two weeks.
    pub fn new(traffic: Traffic, truth: Truth, runs: u32) -> Self {
        Self { traffic, truth, runs: 0..runs, seed: 1, horizon: HORIZON }
    }

    pub(super) fn draws(&self, run: u32) -> Draws {
        Draws::new(self.seed).fork(u64::from(run))
    }
}

/// What would happen to this spec. Approvals are given at once. Outcomes of different runs of the same
/// trial [`merge`](Outcome::merge), so that a caller may share the runs among threads.
pub fn simulate(spec: &Spec, trial: &Trial) -> Outcome {
    let mut spec = spec.clone();
    for step in &mut spec.steps {
        step.approval = None;
    }
    let mut outcome = Outcome::new(&spec, trial);
    for run in trial.runs.clone() {
        let ended = Rollout::new(&spec, trial, run).run(Pace::Skipping);
        outcome.add(&spec, trial, ended);
    }
    outcome
}

/// Whether ticks at which nothing can change are left out. Without it every tick is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    Skipping,
    #[cfg(test)]
    Every,
}

pub(super) struct Rollout<'a> {
    spec: &'a Spec,
    horizon: Millis,
    world: World,
    state: State,
    evidence: Evidence,
    window: Window,
    steps: Vec<(u16, Millis)>,
}

impl<'a> Rollout<'a> {
    pub(super) fn new(spec: &'a Spec, trial: &Trial, run: u32) -> Self {
        Self {
            spec,
            horizon: trial.horizon,
            world: World::new((&trial.traffic, &trial.truth), BEGAN, trial.draws(run)),
            state: start(spec, format!("simulated-{run}"), BEGAN),
            evidence: Evidence::new(spec),
            window: Window { from: BEGAN, to: BEGAN, ..Window::default() },
            steps: Vec::new(),
        }
    }

    pub(super) fn run(mut self, pace: Pace) -> Run {
        let over = BEGAN.0 + self.horizon.0;
        let mut wake = BEGAN.0;
        let mut harmful = None;
        while !self.state.is_over() && self.window.to.0 < over {
            let Some((observations, made)) = self.tick(wake) else { continue };
            if let Some(next) = made.next {
                harmful = observations
                    .gates
                    .iter()
                    .find(|gate| gate.verdict == Verdict::Fail)
                    .map(|gate| gate.gate.clone());
                if next.step != self.state.step || next.is_over() {
                    let began = self.state.step_since;
                    let took = Millis(self.window.to.0 - began.0);
                    self.steps.push((self.state.step, took));
                }
                self.state = next;
                wake = 0;
            } else {
                wake = match pace {
                    Pace::Skipping => self.next_change(&observations),
                    #[cfg(test)]
                    Pace::Every => 0,
                };
            }
        }
        let why = match &self.state.phase {
            Phase::RolledBack { why } => harmful.unwrap_or_else(|| why.clone()),
            Phase::Holding { why } => why.clone(),
            _ => String::new(),
        };
        Run {
            end: match self.state.phase {
                Phase::Promoted => End::Promoted,
                Phase::RolledBack { .. } => End::RolledBack,
                _ => End::Held,
            },
            took: Millis(self.window.to.0 - BEGAN.0),
            damage: self.world.damage,
            steps: self.steps,
            last_step: self.state.step,
            unproved: !self.state.unproved.is_empty(),
            why,
        }
    }

    /// The next tick at or after `wake`; none if nothing was there to be taken.
    fn tick(&mut self, wake: u64) -> Option<(Observations, Plan)> {
        let Self { spec, world, state, evidence, window, .. } = self;
        let interval = spec.interval.0.max(1);
        let from = window.to;
        let ticks = wake.saturating_sub(from.0).div_ceil(interval).max(1);
        window.exposures.clear();
        window.pairs.clear();
        window.votes.clear();
        (window.from, window.to) = (from, Millis(from.0 + ticks * interval));
        world.fill(window, Setting { weight: state.weight, shadow: state.shadow });
        if evidence.absorb(spec, state, window) != Absorbed::Taken {
            return None;
        }
        let observations = evidence.observations(spec, state, window.to);
        let made = plan(spec, state, &observations, window.to);
        Some((observations, made))
    }

    /// Before this time no plan differs from the last one: nothing arrives and no span of time ends.
    fn next_change(&self, seen: &Observations) -> u64 {
        let Some(step) = self.spec.steps.get(usize::from(self.state.step)) else { return 0 };
        let next = self.spec.steps.get(usize::from(self.state.step) + 1);
        let timed = |step: &Step| step.schedule.is_some();
        // A schedule opens, a session closes, an outage begins without anything arriving.
        if next.is_some_and(timed) || self.spec.unit_rule == UnitRule::Mean || self.window.blind {
            return 0;
        }
        let now = self.window.to.0;
        let since = self.state.step_since.0;
        let stale = self.spec.stale_after.0;
        let ends = [
            Some(since + step.min_duration.0),
            step.max_duration.map(|max| since + max.0),
            Some(since.max(seen.last_live.0) + stale),
            Some(since.max(seen.last_pair.0) + stale),
            self.world.outage_begins().map(|at| at.0),
        ];
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a time of this century, and a cast saturates"
        )]
        // A request at the very end of a window belongs to the next.
        let arrival = (self.world.next_ms() + 1.0) as u64;
        let end = ends.into_iter().flatten().filter(|end| *end > now).min();
        arrival.min(end.unwrap_or(u64::MAX)).min(BEGAN.0 + self.horizon.0)
    }
}

#[cfg(test)]
mod tests;
