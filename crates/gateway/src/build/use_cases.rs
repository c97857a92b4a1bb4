//! Use cases: what the router knows of them, and what hangs on them.

use std::sync::Arc;

use cutover_config::ShadowSettings;
use cutover_route::overflow::{Class, Purses};
use cutover_route::{Draft, Matcher, Snapshot, Traffic, UnitSource, UseCase, Variant, VariantIx};
use cutover_telemetry::{ArmLabels, ArmMetrics, NONE, families};
use cutover_units::{Arm, UseCaseName, VariantName};
use cutover_wire::stream::pacing::Pace;

use super::doors;
use super::{BuildError, DEFAULT_VARIANT, Materials, header_value, wrong};
use crate::Feed;
use crate::live::UseCaseLane;
use crate::shadow::{Copies, Settings};

pub(super) fn snapshot(materials: &Materials<'_>) -> Result<Snapshot, BuildError> {
    let checked = materials.checked;
    let variant = |name: VariantName, upstream: &cutover_config::Upstream| Variant {
        name,
        upstream: upstream.name.clone(),
        local: upstream.local,
    };
    let mut variants: Vec<_> = checked
        .variants
        .iter()
        .map(|v| variant(v.name.clone(), &checked.upstreams[v.upstream]))
        .collect();
    let name = VariantName::new(DEFAULT_VARIANT).map_err(|e| wrong("variants", e.to_string()))?;
    variants.push(variant(name, checked.default_upstream()));
    let default = Some(variant_ix(checked.variants.len())?);
    let mut use_cases = Vec::with_capacity(checked.use_cases.len());
    for use_case in &checked.use_cases {
        let traffic = materials.surroundings.traffic(&use_case.name, use_case.weight);
        use_cases.push(route_use_case(use_case, traffic)?);
    }
    Ok(Snapshot::build(Draft { variants, use_cases, default }))
}

fn variant_ix(at: usize) -> Result<VariantIx, BuildError> {
    u16::try_from(at).map(VariantIx).map_err(|_| wrong("variants", "too many variants"))
}

fn route_use_case(
    use_case: &cutover_config::UseCase,
    Traffic { weight, shadow }: Traffic,
) -> Result<UseCase, BuildError> {
    use cutover_config::Unit;
    let matches = &use_case.matches;
    Ok(UseCase {
        name: use_case.name.clone(),
        matcher: Matcher {
            headers: matches.headers.clone(),
            key: matches.key.clone(),
            model: matches.model.clone(),
            metadata: matches.metadata.clone(),
        },
        unit: match &use_case.unit {
            Unit::Header(name) => UnitSource::Header(name.clone()),
            Unit::Metadata(name) => UnitSource::Metadata(name.clone()),
            Unit::User => UnitSource::User,
            Unit::Key => UnitSource::Key,
            Unit::Request => UnitSource::Request,
        },
        salt: use_case.salt.clone(),
        baseline: variant_ix(use_case.baseline)?,
        candidate: use_case.candidate.map(variant_ix).transpose()?,
        weight,
        shadow,
        local_only: use_case.local_only,
        pilot: use_case.pilot.clone(),
        excluded: use_case.excluded.clone(),
        failover: use_case.failover,
        priority_hint: use_case.priority_hint,
    })
}

pub(super) fn lanes(
    materials: &Materials<'_>,
    snapshot: &Snapshot,
    purses: &Purses,
) -> Result<Vec<UseCaseLane>, BuildError> {
    let before = |name: &UseCaseName| materials.previous?.use_case_by_name(name);
    let metrics = |use_case: &UseCase, arm, at: VariantIx| {
        let variant = snapshot.variants().get(usize::from(at.0));
        let labels = ArmLabels {
            use_case: use_case.name.as_str(),
            arm,
            variant: variant.map_or(NONE, |v| v.name.as_str()),
            upstream: variant.map_or(NONE, |v| v.upstream.as_str()),
        };
        ArmMetrics::new(materials.registry, &labels)
    };
    let pairs = snapshot.use_cases().iter().zip(&materials.checked.use_cases);
    pairs
        .map(|(use_case, configured)| {
            let name = &use_case.name;
            let carried = before(name);
            let feed = || {
                let lost = families::EXPOSURES_LOST;
                Arc::new(Feed::new(materials.registry.counter(lost, [name.as_str()])))
            };
            let copies = || Arc::new(Copies::new(materials.registry, name));
            Ok(UseCaseLane {
                header: header_value(name.as_str())?,
                baseline_while_cold: configured.cold == cutover_config::Cold::Baseline,
                feed: carried.map_or_else(feed, |lane| Arc::clone(&lane.feed)),
                copies: carried.map_or_else(copies, |lane| Arc::clone(&lane.copies)),
                usual: carried.map_or_else(Arc::default, |lane| Arc::clone(&lane.usual)),
                shadow: limits(&configured.shadow),
                overflow: doors::overflow(materials, configured, purses),
                class: if configured.batch { Class::Batch } else { Class::Interactive },
                endurance: configured.endurance,
                pace: configured
                    .smoothing
                    .map(|s| Pace { interval: s.interval, delay_max: s.delay_max }),
                baseline: metrics(use_case, Arm::Baseline, use_case.baseline),
                candidate: use_case.candidate.map(|at| metrics(use_case, Arm::Candidate, at)),
            })
        })
        .collect()
}

fn limits(configured: &ShadowSettings) -> Settings {
    Settings {
        concurrency: usize::try_from(configured.concurrency).unwrap_or(usize::MAX),
        queue: usize::try_from(configured.queue).unwrap_or(usize::MAX),
        capture_bytes_max: usize::try_from(configured.capture_limit_bytes).unwrap_or(usize::MAX),
        timeout: configured.timeout,
        budget_per_day: configured.budget_per_day,
        unpriced: configured.unpriced,
        live_max: configured.live_limit,
    }
}
