//! Shorthand for the simulator's tests.

use super::{Outcome, Traffic, Trial, Truth, simulate};
use cutover_rollout::Spec;

pub(super) fn spec(gates: &[&str], steps: &[&str]) -> Spec {
    crate::example::of(gates, steps).unwrap()
}

pub(super) fn example() -> Spec {
    crate::example::spec().unwrap()
}

pub(super) fn run(spec: &Spec, traffic: &str, truth: &str, runs: u32) -> Outcome {
    let (traffic, truth) = (Traffic::parse(traffic).unwrap(), Truth::parse(truth).unwrap());
    simulate(spec, &Trial::new(traffic, truth, runs))
}
