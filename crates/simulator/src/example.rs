//! The example of the README, so that tests, guide and command line speak of the same spec.

use cutover_units::{NameError, UseCaseName, VariantName};

use cutover_rollout::{Spec, VariantIdentity};
use cutover_rollout::{TextError, parse_gate, parse_step};

/// Its gates.
pub const GATES: [&str; 3] =
    ["quality >= 0.95 x baseline", "errors <= baseline + 0.5 pp", "p95 <= 4 s"];

/// Its steps.
pub const STEPS: [&str; 5] = ["shadow 50%", "canary 5% for 1 h", "ramp 25%", "ramp 75%", "100%"];

/// Why an example is none.
#[derive(Debug, Clone, PartialEq)]
pub enum ExampleError {
    /// A name is not allowed.
    Name(NameError),
    /// A gate or a step is not understood.
    Text(TextError),
}

impl From<NameError> for ExampleError {
    fn from(error: NameError) -> Self {
        Self::Name(error)
    }
}

impl From<TextError> for ExampleError {
    fn from(error: TextError) -> Self {
        Self::Text(error)
    }
}

/// The spec of the README's example, with the gates and steps that it shows.
pub fn spec() -> Result<Spec, ExampleError> {
    of(&GATES, &STEPS)
}

/// A spec of these gates and steps between two named variants.
pub(crate) fn of(gates: &[&str], steps: &[&str]) -> Result<Spec, ExampleError> {
    let variant = |name: &str| -> Result<VariantIdentity, NameError> {
        Ok(VariantIdentity { name: VariantName::new(name)?, digest: name.to_owned() })
    };
    let use_case = UseCaseName::new("statements")?;
    let mut spec = Spec::draft(use_case, variant("gpt-4o")?, variant("qwen")?);
    spec.scorer = Some("exact@1".to_owned());
    spec.gates = gates.iter().map(|gate| parse_gate(gate)).collect::<Result<_, _>>()?;
    spec.steps = steps.iter().map(|step| parse_step(step)).collect::<Result<_, _>>()?;
    spec.resolve_requires();
    Ok(spec)
}

#[cfg(test)]
mod tests {
    use crate::{Traffic, Trial, Truth, simulate};

    use super::{GATES, STEPS, spec};

    const README: &str = include_str!("../../../README.md");
    const ROLLOUTS: &str = include_str!("../../../docs/guides/rollouts.md");
    const COMPARED: &str = include_str!("../../../docs/guides/why-these-gates.md");

    #[test]
    fn the_documents_show_this_spec() {
        let (gates, steps) = (format!("gates = {GATES:?}"), format!("steps = {STEPS:?}"));
        for document in [README, ROLLOUTS, COMPARED] {
            assert!(document.contains(&gates) && document.contains(&steps), "{gates}\n{steps}");
        }
    }

    /// What the guide prints of `--truth quality=0.99x --runs 100`, and the hours that the README tells.
    #[test]
    fn the_documents_print_what_a_simulation_gives() {
        let of = |truth: &str| {
            let (traffic, truth) =
                (Traffic::parse("20/min").unwrap(), Truth::parse(truth).unwrap());
            simulate(&spec().unwrap(), &Trial::new(traffic, truth, 100))
        };
        let shown = of("quality=0.99x").render();
        assert!(ROLLOUTS.contains(&shown), "not in the guide:\n{shown}");
        let rows = of("").render();
        let decided =
            rows.lines().find_map(|line| line.trim().strip_prefix("decision in")).unwrap();
        let hours = decided.trim().split(" h").next().unwrap();
        let told = format!("decides in about {hours} hours");
        assert!(README.contains(&told), "not in the README: {told}");
    }
}
