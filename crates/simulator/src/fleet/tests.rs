//! What each policy is for shows on the trace made for it; the guide's table is this module's.

use cutover_route::balance::POLICIES;

use super::*;

const GUIDE: &str = include_str!("../../../../docs/guides/balance.md");

fn seen(trace: &str, policy: &str) -> Seen {
    let trace = TRACES.iter().find(|known| known.name == trace).unwrap();
    play(trace, Policy::by_name(policy).unwrap())
}

#[test]
fn every_request_gets_its_first_token_under_every_policy() {
    for trace in TRACES {
        let asks = trace.asks();
        assert!(asks.is_sorted_by_key(|ask| ask.at_us));
        for policy in POLICIES {
            let mut field = Field::new(trace, &asks);
            for (request, ask) in asks.iter().enumerate() {
                field.run_until(ask.at_us);
                field.arrive(request, policy);
            }
            field.run_until(u64::MAX);
            assert_eq!(field.waits_us.len(), asks.len(), "{} {}", trace.name, policy.name);
            assert!(
                field.engines.iter().all(|engine| engine.in_flight == 0 && engine.running == 0)
            );
        }
    }
}

#[test]
fn a_slow_instance_hurts_those_who_do_not_look() {
    let looked = seen("skewed", "least-latency");
    assert!(looked.p99_ms * 2 < seen("skewed", "round-robin").p99_ms, "{looked:?}");
}

#[test]
fn affinity_saves_prefill_and_makes_no_hot_spot() {
    let affine = seen("prefix-heavy", "prefix-affine");
    let blind = seen("prefix-heavy", "least-outstanding");
    assert!(affine.cached_percent > blind.cached_percent + 10, "{affine:?} {blind:?}");
    assert!(affine.p50_ms < blind.p50_ms, "{affine:?} {blind:?}");
    assert!(affine.busiest_percent < 150, "{affine:?}");
}

#[test]
fn looking_at_models_saves_loads() {
    let aware = seen("three models", "model-aware");
    let blind = seen("three models", "least-outstanding");
    assert!(aware.loads * 10 < blind.loads, "{aware:?} {blind:?}");
    assert!(aware.p99_ms * 2 < blind.p99_ms, "{aware:?} {blind:?}");
}

#[test]
fn the_guide_shows_what_the_simulator_prints() {
    let table = table(POLICIES);
    assert!(GUIDE.contains(&table), "docs/guides/balance.md should contain:\n{table}");
}
