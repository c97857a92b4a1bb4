//! Instances that a reload takes out of an upstream that stays: they are seen until they have ended what they began,
//! and what was counted of them is never another machine's.

use cutover_testkit::fake::{Fake, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::{Raw, Response};

use crate::harness::{Rig, ask, ask_stream, build, checked, engines, one_arm, until};

fn fakes() -> [Fake; 3] {
    ["a", "b", "c"].map(|name| Fake::start_with(Setup::new(Persona::LlamaCpp).name(name)))
}

fn config(own: &[&Fake]) -> String {
    one_arm(&format!("{}\nbalance = \"round-robin\"", engines("llamacpp", own)))
}

/// The instances, those that only end what they have begun with a mark.
fn ids(rig: &Rig) -> Vec<String> {
    let live = rig.gateway.live();
    let shown = |lane: &cutover_gateway::InstanceLane| {
        assert_eq!(lane.leaving, lane.health.is_leaving(), "{}", lane.id);
        format!("{}{}", lane.id, if lane.leaving { " leaves" } else { "" })
    };
    live.lanes[0].upstream.instances.iter().map(shown).collect()
}

/// Streams under way at the first two, each with a word of it heard.
fn begun(rig: &Rig) -> Vec<(String, Raw, Response)> {
    let mut streams: Vec<_> = (0..2)
        .map(|_| {
            let mut raw = rig.raw();
            raw.request("POST /v1/chat/completions", &[], ask_stream("app")).unwrap();
            let head = raw.response_head().unwrap().expect("a head");
            (head.header("x-cutover-instance").unwrap().to_owned(), raw, head)
        })
        .collect();
    streams.sort_by(|a, b| a.0.cmp(&b.0));
    streams
}

fn asked(rig: &Rig) -> Vec<String> {
    let by = |_| {
        let response = rig.chat(&[], &ask("app"));
        assert_eq!(response.status, 200, "{}", response.text());
        response.header("x-cutover-instance").unwrap().to_owned()
    };
    let mut by: Vec<_> = (0..6).map(by).collect();
    by.sort_unstable();
    by.dedup();
    by
}

fn state(id: &str, state: &str) -> String {
    format!("state{{upstream=\"own\",upstream_instance=\"{id}\",state=\"{state}\"}}")
}

/// The value of a series.
fn value(rig: &Rig, series: &str) -> Option<String> {
    let metrics = rig.metrics();
    metrics.lines().find_map(|line| Some(line.split_once(series)?.1.trim().to_owned()))
}

#[test]
fn an_instance_that_a_reload_takes_out_is_shown_until_it_has_ended_what_it_began() {
    let [a, b, c] = fakes();
    let gate = Gate::new();
    gate.release(1);
    for fake in [&a, &b] {
        fake.always(Reply::words(4).hold_each_chunk(&gate));
    }
    let rig = Rig::start(&config(&[&a, &b]));
    rig.watch_instances();
    until("both are known, and what they tell", || {
        ["own/0", "own/1"].iter().all(|id| {
            let running =
                format!("running_requests{{upstream=\"own\",upstream_instance=\"{id}\"}}");
            rig.metrics().contains(&state(id, "healthy")) && value(&rig, &running).is_some()
        })
    });
    // A stream at one of them; the other has nothing to end.
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &[], ask_stream("app")).unwrap();
    let mut head = raw.response_head().unwrap().expect("a head");
    let busy = head.header("x-cutover-instance").unwrap().to_owned();
    let idle = if busy == "own/0" { "own/1" } else { "own/0" };
    let of = |series: &str, id: &str| {
        value(&rig, &format!("{series}{{upstream=\"own\",upstream_instance=\"{id}\"}}"))
    };
    // What never comes into force takes nobody out.
    let (other, before) = (checked(&config(&[&c])), rig.gateway.live());
    drop(build(&other, None, (&rig.registry, Some(&before))));
    assert_eq!(ids(&rig), ["own/0", "own/1"]);

    rig.reload(&config(&[&c]));
    let leaves = format!("{busy} leaves");
    assert_eq!(ids(&rig), ["own/2", &leaves]);
    assert_eq!(value(&rig, &state(idle, "healthy")), None, "nobody asks it, and it has ended all");
    assert_eq!(of("engine_running_requests", idle), None);
    until("it is shown as leaving, and what it told is not", || {
        value(&rig, &state(&busy, "draining")).as_deref() == Some("1")
            && of("engine_running_requests", &busy).is_none()
    });
    assert_eq!(value(&rig, &state(&busy, "healthy")).as_deref(), Some("0"));
    assert_eq!(of("in_flight_attempts", &busy).as_deref(), Some("1"));
    assert_eq!(asked(&rig), ["own/2"]);
    // Whatever is read again meanwhile.
    rig.reload(&config(&[&c]));
    assert_eq!(ids(&rig), ["own/2", &leaves]);

    gate.open();
    raw.response_body(&mut head).unwrap();
    assert_eq!(head.events().last().map(String::as_str), Some("[DONE]"), "{}", head.text());
    until("it is gone", || ids(&rig) == ["own/2"]);
    until("its state is, too", || value(&rig, &state(&busy, "draining")).is_none());
    assert_eq!(of("in_flight_attempts", &busy).as_deref(), Some("0"));
}

#[test]
fn one_that_is_put_back_while_it_ends_is_asked_again() {
    let [a, b, c] = fakes();
    // One each: who asks first would have all permits of one.
    let gates = [&a, &b].map(|fake| {
        let gate = Gate::new();
        gate.release(1);
        fake.always(Reply::words(4).hold_each_chunk(&gate));
        gate
    });
    let rig = Rig::start(&config(&[&a, &b]));
    rig.watch_instances();
    let streams = begun(&rig);
    rig.reload(&config(&[&c]));
    assert_eq!(ids(&rig), ["own/2", "own/0 leaves", "own/1 leaves"]);
    a.always(Reply::words(1));
    rig.reload(&config(&[&c, &a]));
    assert_eq!(ids(&rig), ["own/2", "own/0", "own/1 leaves"]);
    assert_eq!(asked(&rig), ["own/0", "own/2"]);
    gates.iter().for_each(Gate::open);
    for (_, mut raw, mut head) in streams {
        raw.response_body(&mut head).unwrap();
        assert_eq!(head.events().last().map(String::as_str), Some("[DONE]"), "{}", head.text());
    }
    until("the other is gone", || ids(&rig) == ["own/2", "own/0"]);
}

#[test]
fn an_address_keeps_its_number_and_no_other_gets_it() {
    let [a, b, c] = fakes();
    let rig = Rig::start(&config(&[&a, &b]));
    let attempts = |id: &str| {
        let of = "{upstream=\"own\",upstream_instance=\"";
        value(&rig, &format!("attempts_total{of}{id}\",result=\"ok\"}}"))
    };
    assert_eq!(asked(&rig), ["own/0", "own/1"]);
    assert_eq!([attempts("own/0"), attempts("own/1")].map(Option::unwrap), ["3", "3"]);
    // Another place, a machine more before it.
    rig.reload(&config(&[&c, &b, &a]));
    assert_eq!(ids(&rig), ["own/2", "own/1", "own/0"]);
    asked(&rig);
    assert_eq!(a.inferences().len().to_string(), attempts("own/0").unwrap());
    assert_eq!(c.inferences().len().to_string(), attempts("own/2").unwrap());
    // Another machine in the only place.
    rig.reload(&config(&[&a]));
    rig.reload(&config(&[&c]));
    assert_eq!(asked(&rig), ["own/2"]);
    assert_eq!(a.inferences().len().to_string(), attempts("own/0").unwrap());
    // And back.
    rig.reload(&config(&[&a]));
    assert_eq!(asked(&rig), ["own/0"]);
}
