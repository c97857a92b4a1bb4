//! What each policy is for shows on the trace made for it; the guide's table is this module's.

use cutover_route::balance::POLICIES;

use super::closed::{Play, Spread, evenness};
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
    let closed = closed::table(&POLICIES[..3]);
    for table in [table(POLICIES), closed, closed::recovery_table(&POLICIES[0])] {
        assert!(GUIDE.contains(&table), "docs/guides/balance.md should contain:\n{table}");
    }
}

/// Two equal engines had 31 and 9 of 40 requests, then 9 and 31: averages of few answers were believed, and the one
/// that had just answered slowly was not asked again.
#[test]
fn equal_instances_share_any_requests_in_a_row() {
    let policy = Policy::by_name("least-latency").unwrap();
    for whole in [false, true] {
        for seed in 0..4 {
            for clients in [1, 2, 8, 16, 24, 32, 40] {
                let seen = |spread| {
                    let play = Play { clients, spread, whole, seed, ..closed::EQUALS };
                    evenness(&play.run(policy))
                };
                let (alike, wide) = (seen(Spread::Narrow), seen(Spread::Wide));
                assert!(alike.most <= 24, "{clients} clients, {seed}, {whole}: {alike:?}");
                assert!(wide.most <= 30, "{clients} clients, {seed}, {whole}: {wide:?}");
                for (spread, uneven) in [(Spread::Exponential, 20), (Spread::Heavy, 70)] {
                    let seen = seen(spread);
                    let told = format!("{clients} clients, {seed}, {whole}, {spread:?}: {seen:?}");
                    assert!(seen.uneven_permille <= uneven, "{told}");
                }
            }
        }
    }
}

/// What evenness must not cost: an engine that is slow gets little, and its share again when it is well.
#[test]
fn a_slow_instance_gets_little_and_its_share_again_when_it_is_well() {
    let policy = Policy::by_name("least-latency").unwrap();
    for clients in [1, 2, 8, 40] {
        let (percent, requests) = closed::slow_for_a_while(policy, clients, 9);
        assert!(percent <= 12 && requests <= 400, "{clients}: {percent} %, {requests} requests");
    }
}
