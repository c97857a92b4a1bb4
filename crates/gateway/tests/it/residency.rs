//! A local-only use case's requests end at local upstreams, or nowhere. The configuration refuses most
//! of what is tried here; the data path holds without it.

use cutover_gateway::Live;
use cutover_route::{Draft, Snapshot};
use cutover_testkit::fake::{Fake, Fault, Persona, Reply};
use cutover_units::WeightBp;

use crate::harness::{Rig, ask, ask_stream, two_arms, until};

/// The candidate `small` is local, the baseline `big` is not, or the other way round.
fn rig(cloud: &Fake, own: &Fake, weight: &str, local: &str) -> Rig {
    let upstream = if local == "small" { "[upstreams.own]" } else { "[upstreams.cloud]" };
    let config = two_arms(&cloud.base_url(), &own.base_url(), weight)
        .replace(upstream, &format!("{upstream}\nlocal = true"));
    let rig = Rig::start(&config);
    let mut live = Live::clone(&rig.gateway.live());
    let mut draft = Draft {
        variants: live.snapshot.variants().to_vec(),
        use_cases: live.snapshot.use_cases().to_vec(),
        default: live.snapshot.default_variant(),
    };
    for variant in &mut draft.variants {
        variant.local = variant.name.as_str() == local;
    }
    draft.use_cases[0].local_only = true;
    live.snapshot = Snapshot::build(draft);
    rig.gateway.publish(live);
    rig.copy(WeightBp::ALL);
    rig.feed().watch();
    rig
}

#[test]
fn where_no_local_variant_may_answer_nobody_does() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let rig = rig(&cloud, &own, "0%", "small");
    let response = rig.chat(&["x-unit: u1"], &ask("app"));
    assert_eq!(response.status, 503);
    assert_eq!(response.json()["error"]["code"], "residency_no_local_upstream");
    assert_eq!(response.header("x-should-retry"), Some("false"));
    let stream = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    assert_eq!((stream.status, stream.header("x-cutover-attempts")), (503, Some("0")));
    assert_eq!((cloud.bytes(), own.bytes()), (0, 0));
}

#[test]
fn a_failed_local_candidate_is_not_repeated_in_the_cloud() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let rig = rig(&cloud, &own, "100%", "small");
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).status, 200);
    own.always(Reply::fault(Fault::status(500)));
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).status, 502);
    assert_eq!(cloud.bytes(), 0);
    let (feed, mut seen) = (rig.feed(), Vec::new());
    until("both are told of", || {
        feed.drain(&mut seen);
        seen.len() == 2
    });
    assert!(seen.iter().all(|exposure| !exposure.leaked));
}

#[test]
fn a_candidate_in_the_cloud_gets_neither_requests_nor_copies() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    // The baseline is the local one here.
    let rig = rig(&own, &cloud, "100%", "big");
    for _ in 0..3 {
        let response = rig.chat(&["x-unit: u1"], &ask("app"));
        assert_eq!(response.header("x-cutover-arm"), Some("baseline"), "{}", response.text());
    }
    assert_eq!(rig.copies().waiting(), (0, 0));
    assert_eq!(cloud.bytes(), 0);
}

/// What the controller is told is seen where requests are sent, not taken from the router's word.
#[test]
fn a_router_that_is_wrong_is_found_out() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let rig = rig(&cloud, &own, "0%", "small");
    let mut live = Live::clone(&rig.gateway.live());
    let mut draft = Draft {
        variants: live.snapshot.variants().to_vec(),
        use_cases: live.snapshot.use_cases().to_vec(),
        default: None,
    };
    draft.variants[0].local = true;
    live.snapshot = Snapshot::build(draft);
    rig.gateway.publish(live);
    assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).header("x-cutover-upstream"), Some("cloud"));
    let (feed, mut seen) = (rig.feed(), Vec::new());
    until("it is told of", || {
        feed.drain(&mut seen);
        !seen.is_empty()
    });
    assert!(seen[0].leaked);
}
