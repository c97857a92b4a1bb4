//! The same decisions once more, from the stored windows.
//!
//! With the rollout's own spec this reproduces every report to the last bit. With another it tells what
//! would have happened, as far as the windows go: units that the other spec would have served are not
//! in them.

use cutover_units::Millis;

use crate::evidence::{Absorbed, Evidence};
use crate::observe::Window;
use crate::plan::{Plan, plan, start};
use crate::report::Report;
use crate::spec::Spec;
use crate::state::{Action, State};

/// One stretch of the stored history.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A tick with what was seen before it.
    Tick(Window),
    /// A state that a person's command or a restart made.
    Changed(State),
}

/// Every tick of a rollout that began at the first window's beginning: when, what, and the report.
pub fn replay(spec: &Spec, windows: &[Window]) -> Vec<(Millis, Action, Report)> {
    let began = windows.first().map_or(Millis(0), |window| window.from);
    let state = start(spec, "replay".to_owned(), began);
    let events = windows.iter().cloned().map(Event::Tick);
    replay_from(spec, state, events)
        .into_iter()
        .map(|plan| (plan.report.at, plan.action, plan.report))
        .collect()
}

/// Every tick from a given state on, with the changes that people made in between.
pub fn replay_from(
    spec: &Spec,
    state: State,
    events: impl IntoIterator<Item = Event>,
) -> Vec<Plan> {
    let (mut state, mut evidence) = (state, Evidence::new(spec));
    let mut plans = Vec::new();
    for event in events {
        match event {
            Event::Changed(next) => state = next,
            Event::Tick(window) => {
                if evidence.absorb(spec, &state, &window) != Absorbed::Taken {
                    continue;
                }
                let now = window.to;
                let observations = evidence.observations(spec, &state, now);
                let made = plan(spec, &state, &observations, now);
                if let Some(next) = &made.next {
                    state.clone_from(next);
                }
                plans.push(made);
            }
        }
    }
    plans
}
