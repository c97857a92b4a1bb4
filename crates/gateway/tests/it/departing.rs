//! Instances that a reload takes out of an upstream that stays: they are seen until they have ended what they began,
//! and what was counted of them is never another machine's.

use std::thread;

use cutover_route::health::State;
use cutover_testkit::fake::{Fake, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::{Raw, Response};
use cutover_units::UpstreamName;

use crate::harness::{Rig, ask, ask_stream, build, checked, engines, now, one_arm, until};

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

const ANOTHER: &str = "[variants.another]\nupstream = \"own\"\nmodel = \"a-model\"\n";

/// A model more, or another number of connections, made it another instance, of which nothing was known: as many
/// requests again went to an engine that was full, and one that was drained was said to have ended all.
#[test]
fn whatever_else_a_file_says_of_an_instance_what_is_under_way_there_is_counted() {
    let own = Fake::start(Persona::LlamaCpp);
    let config = |more: &str, variants: &str| {
        let limits = "probes = false\nin_flight_limit = 2\nqueue = { wait = \"1 h\" }";
        one_arm(&format!("{}\n{limits}\n{more}", engines("llamacpp", &[&own]))) + variants
    };
    let gate = Gate::new();
    own.always(Reply::words(1).hold_headers(&gate));
    let rig = Rig::start(&config("", ""));
    let waits = |count: u64| {
        let waiting = || rig.figure("cutover_queue_waiting_requests{upstream=\"own\"}");
        until("so many wait", || waiting() == Some(count));
    };
    let under_way = || {
        let live = rig.gateway.live();
        let [instance] = &*live.lanes[0].upstream.instances else { panic!("one") };
        assert_eq!(instance.id.as_str(), "own/0");
        (instance.instance.live().in_flight(), instance.health.state(now()))
    };
    thread::scope(|scope| {
        let mut all: Vec<_> = (0..2).map(|_| scope.spawn(|| rig.chat(&[], &ask("app")))).collect();
        until("both places are taken", || gate.arrivals() == 2);
        // The next finds no place, whatever was read meanwhile: more models, fewer, and other bounds.
        let changes =
            [("", ANOTHER), ("max_connections = 9", ANOTHER), ("max_connections = 4", "")];
        for (waiting, (more, variants)) in (1..).zip(changes) {
            rig.reload(&config(more, variants));
            all.push(scope.spawn(|| rig.chat(&[], &ask("app"))));
            waits(waiting);
            assert_eq!(under_way(), (2, State::Healthy));
        }
        rig.gateway.drain(&UpstreamName::new("own").unwrap(), &own.address().to_string(), true);
        rig.reload(&config("", ANOTHER));
        assert_eq!(under_way(), (2, State::Draining), "it is told how much it has to end");
        rig.gateway.drain(&UpstreamName::new("own").unwrap(), &own.address().to_string(), false);
        // Of nobody's use for a while, and back.
        let other = Fake::start(Persona::LlamaCpp);
        let elsewhere = config("", "").replace("upstream = \"own\"", "upstream = \"new\"");
        let elsewhere = format!("{}{elsewhere}", "default_upstream = \"new\"\n")
            + &format!("[upstreams.new]\n{}\n", engines("llamacpp", &[&other]));
        rig.reload(&elsewhere);
        rig.reload(&elsewhere);
        rig.reload(&config("", ""));
        assert_eq!(under_way(), (2, State::Healthy));
        gate.open();
        assert!(all.into_iter().all(|one| one.join().unwrap().status == 200));
    });
    assert_eq!(own.in_flight_max(), 2);
}

#[test]
fn what_is_known_of_an_instance_outlives_whatever_else_a_file_says_of_it() {
    let own = Fake::start(Persona::LlamaCpp);
    let config =
        |more: &str| one_arm(&format!("{}\nprobes = false\n{more}", engines("llamacpp", &[&own])));
    let rig = Rig::start(&config(""));
    let known = |rig: &Rig| {
        let live = rig.gateway.live();
        let instance = &live.lanes[0].upstream.instances[0];
        let told = instance.instance.live().figures();
        (instance.health.failures(), told.requests, told.latency_us, told.connects)
    };
    assert_eq!(rig.chat(&[], &ask("app")).status, 200);
    rig.gateway.live().lanes[0].upstream.instances[0].health.failed(now(), now());
    let before = known(&rig);
    assert!(before.0 == 1 && before.1 == 1 && before.2 > 0, "{before:?}");
    for (more, variants) in [("max_connections = 7", ""), ("", ANOTHER)] {
        rig.reload(&(config(more) + variants));
        assert_eq!(known(&rig), before, "{more} {variants}");
    }
}

/// Twice as many went there until those of before had ended.
#[test]
fn a_new_bound_of_connections_counts_those_that_are_in_use() {
    let own = Fake::start(Persona::LlamaCpp);
    let gate = Gate::new();
    own.always(Reply::words(1).hold_headers(&gate));
    let config = |most: u32| {
        let limits =
            format!("probes = false\nconnect_timeout = \"50 s\"\nmax_connections = {most}");
        one_arm(&format!("{}\n{limits}", engines("llamacpp", &[&own])))
    };
    let rig = Rig::start(&config(2));
    let begun = |count: usize| {
        let of = "cutover_in_flight_attempts{upstream=\"own\",upstream_instance=\"own/0\"}";
        until("so many are begun", || rig.figure(of) == u64::try_from(count).ok());
    };
    thread::scope(|scope| {
        let mut all = Vec::new();
        // A third has a connection of its own, and a fourth waits: two of three end before it has one of two.
        for (most, under_way) in [(2, 2), (3, 3), (2, 3)] {
            rig.reload(&config(most));
            while all.len() < under_way {
                all.push(scope.spawn(|| rig.chat(&[], &ask("app"))));
            }
            begun(under_way);
            until("they are there", || gate.arrivals() == under_way as u64);
        }
        all.push(scope.spawn(|| rig.chat(&[], &ask("app"))));
        begun(4);
        gate.open();
        assert!(all.into_iter().all(|one| one.join().unwrap().status == 200));
    });
    assert_eq!(own.in_flight_max(), 3);
}
