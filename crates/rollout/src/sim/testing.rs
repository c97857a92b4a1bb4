//! Shorthand for the simulator's tests.

use cutover_units::{UseCaseName, VariantName};

use super::{Outcome, Traffic, Trial, Truth, simulate};
use crate::spec::{Spec, VariantIdentity};
use crate::text::{parse_gate, parse_step};

pub(super) fn spec(gates: &[&str], steps: &[&str]) -> Spec {
    let variant = |name: &str| VariantIdentity {
        name: VariantName::new(name).unwrap(),
        digest: format!("{name} digest"),
    };
    let mut spec =
        Spec::draft(UseCaseName::new("statements").unwrap(), variant("gpt-4o"), variant("qwen"));
    spec.scorer = Some("exact@1".to_owned());
    spec.gates = gates.iter().map(|gate| parse_gate(gate).unwrap()).collect();
    spec.steps = steps.iter().map(|step| parse_step(step).unwrap()).collect();
    spec.resolve_requires();
    spec
}

/// The example of the README.
pub(super) fn example() -> Spec {
    spec(
        &["quality >= 0.95 x baseline", "errors <= baseline + 0.5 pp", "p95 <= 4 s"],
        &["shadow 50%", "canary 5% for 1 h", "ramp 25%", "ramp 75%", "100%"],
    )
}

pub(super) fn run(spec: &Spec, traffic: &str, truth: &str, runs: u32) -> Outcome {
    let (traffic, truth) = (Traffic::parse(traffic).unwrap(), Truth::parse(truth).unwrap());
    simulate(spec, &Trial::new(traffic, truth, runs))
}
