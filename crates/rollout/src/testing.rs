//! Shorthand for tests: a usual spec, exposures and pairs.

use cutover_units::{Arm, Millis, UseCaseName, VariantName, WeightBp};

use crate::observe::{ArmSide, Exposure, Part, ScoredPair, Served, Window};
use crate::spec::{Spec, VariantIdentity};
use crate::text::{parse_gate, parse_step};

pub(crate) const T0: Millis = Millis(1_800_000_000_000);
pub(crate) const MINUTE: u64 = 60_000;

pub(crate) fn variant(name: &str) -> VariantIdentity {
    VariantIdentity { name: VariantName::new(name).unwrap(), digest: format!("digest-of-{name}") }
}

pub(crate) fn spec(steps: &[&str], gates: &[&str]) -> Spec {
    let use_case = UseCaseName::new("statements").unwrap();
    let mut spec = Spec::draft(use_case, variant("cloud"), variant("local"));
    spec.scorer = Some("exact@1".to_owned());
    spec.steps = steps.iter().map(|step| parse_step(step).unwrap()).collect();
    spec.gates = gates.iter().map(|gate| parse_gate(gate).unwrap()).collect();
    spec.resolve_requires();
    spec
}

pub(crate) fn usual() -> Spec {
    spec(
        &["shadow 50%", "canary 5% for 1 h", "ramp 25%", "ramp 75%", "100%"],
        &["quality >= 0.95 x baseline", "errors <= baseline + 0.5 pp", "p95 <= 4 s"],
    )
}

/// A number that looks random and is not: splitmix64.
pub(crate) fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

pub(crate) fn exposure(unit: u64, at: Millis, share: WeightBp) -> Exposure {
    let bucket = u16::try_from(mix(unit) % 10_000).unwrap();
    let arm = if bucket < share.basis_points() { Arm::Candidate } else { Arm::Baseline };
    Exposure {
        at,
        unit: mix(unit),
        bucket,
        arm,
        share,
        random: true,
        client_ended: false,
        fell_back: false,
        leaked: false,
        excluded: false,
        served: Served { total_ms: 900, ..Served::default() },
    }
}

pub(crate) fn pair(unit: u64, at: Millis, (baseline, candidate): (u8, u8)) -> ScoredPair {
    let side = |score| ArmSide {
        served: Served { total_ms: 900, ..Served::default() },
        score: Some(score),
    };
    ScoredPair {
        part: Part::Whole,
        at,
        unit: mix(unit),
        baseline: side(baseline),
        candidate: side(candidate),
    }
}

/// A window of one tick after the last one's end.
pub(crate) fn window(last: Millis, length: u64) -> Window {
    Window::since(last, Millis(last.0 + length))
}
