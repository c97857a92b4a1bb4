//! A spec with every default, its hash, and which gates its steps require.

use cutover_units::{Millis, UseCaseName};
use sha2::{Digest as _, Sha256};

use crate::gates::{self, Data};
use crate::spec::{
    Comparison, GraderFloor, Levels, OnInconclusive, OnStale, Role, Sources, Spec, StepKind,
    UnitRule, VariantIdentity,
};

impl Spec {
    /// A spec with the defaults of a careful operator and neither steps nor gates.
    pub fn draft(
        use_case: UseCaseName,
        baseline: VariantIdentity,
        candidate: VariantIdentity,
    ) -> Self {
        Self {
            use_case,
            baseline,
            candidate,
            local_only: false,
            comparison: Comparison::Matched,
            levels: Levels { promote: 0.05, rollback: 0.05, srm: 0.001 },
            interval: Millis(30_000),
            unit_rule: UnitRule::First,
            unit_window: Millis(30 * 60_000),
            pair_window: Millis(24 * 3_600_000),
            stale_after: Millis(15 * 60_000),
            on_stale: OnStale::Hold,
            on_inconclusive: OnInconclusive::Hold,
            roll_back_after_promotion: false,
            // A year of ticks of half a minute.
            alarm_run_length: 1_051_200,
            scorer: None,
            grader: GraderFloor::default(),
            sources: Sources::default(),
            steps: Vec::new(),
            gates: Vec::new(),
        }
    }

    /// Names this spec: SHA-256 over its JSON with sorted keys, in hex. Evidence belongs to one hash.
    /// What is known of sources is no part of it: a price that becomes known changes no evidence.
    pub fn hash(&self) -> String {
        let mut text = String::new();
        match serde_json::to_value(self) {
            Ok(mut value) => {
                value.as_object_mut().and_then(|members| members.remove("sources"));
                canonical(&value, &mut text);
            }
            // Maps have text keys and floats are finite or null, so this cannot happen; a constant
            // hash would then only make every spec look the same, and evidence carry over.
            Err(error) => text = error.to_string(),
        }
        cutover_units::hex(&Sha256::digest(text.as_bytes()))
    }

    /// Ids of the gates that this step requires unless it says otherwise: on shadow steps those that
    /// pairs can prove; on the last step that compares both arms on live traffic all required ones; on
    /// the last step those that need no baseline; on all others none.
    pub fn default_requires(&self, step: usize) -> Vec<String> {
        let Some(here) = self.steps.get(step) else { return Vec::new() };
        let compares = |weight: u16| weight > 0 && weight < 10_000;
        let last_compared =
            self.steps.iter().rposition(|step| compares(step.weight.basis_points()));
        let last = step + 1 == self.steps.len();
        let required = self.gates.iter().filter(|gate| gate.role == Role::Required);
        required
            .filter(|gate| {
                let Some(row) = gates::row(gate) else { return false };
                if here.kind == StepKind::Shadow {
                    row.data == Data::Pairs || (row.on_pairs() && row.needs_baseline)
                } else if Some(step) == last_compared {
                    true
                } else {
                    last && !row.needs_baseline
                }
            })
            .map(|gate| gate.id.clone())
            .collect()
    }

    /// Fills [`default_requires`](Self::default_requires) into every step that names no gate.
    pub fn resolve_requires(&mut self) {
        for step in 0..self.steps.len() {
            let requires = self.default_requires(step);
            if let Some(step) = self.steps.get_mut(step).filter(|step| step.requires.is_empty()) {
                step.requires = requires;
            }
        }
    }
}

/// JSON with sorted keys and no blanks.
fn canonical(value: &serde_json::Value, out: &mut String) {
    use serde_json::Value;
    match value {
        Value::Object(members) => {
            let mut keys: Vec<_> = members.iter().collect();
            keys.sort_by_key(|(key, _)| *key);
            out.push('{');
            for (i, (key, value)) in keys.into_iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                out.push_str(&Value::from(key.as_str()).to_string());
                out.push(':');
                canonical(value, out);
            }
            out.push('}');
        }
        Value::Array(items) => {
            out.push('[');
            for (i, value) in items.iter().enumerate() {
                out.push_str(if i > 0 { "," } else { "" });
                canonical(value, out);
            }
            out.push(']');
        }
        plain => out.push_str(&plain.to_string()),
    }
}
