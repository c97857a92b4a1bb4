//! Which step a rollout takes next, and why.
//!
//! Purpose: move a use case from its baseline to its candidate on proof, hold it without proof, take it
//! back on proof of harm. Pure: time is a [`Millis`](cutover_units::Millis) argument, chance a seed, and
//! nothing here reads or writes anything.
//!
//! - [`Spec`] is what the operator wants: steps and gates. [`Spec::hash`](Spec) names it; evidence
//!   belongs to one hash and starts again with another.
//! - [`Window`] is what was seen between two ticks; [`State`] is where the rollout stands.
//! - [`Report`] is what a tick found: every gate with value, interval, n, threshold and verdict.

mod observe;
mod report;
mod spec;
mod state;

pub use observe::{ArmSide, Exposure, ScoredPair, Served, Vote, Window};
pub use report::{Decision, Evaluation, Report, Verdict};
pub use spec::{
    Approval, Comparison, Gate, Levels, Metric, OnInconclusive, OnStale, Role, Schedule, Spec,
    Step, StepKind, Test, UnitRule, VariantIdentity,
};
pub use state::{Action, Actor, Command, Phase, State};
