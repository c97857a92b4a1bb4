//! Who waits in line while none of an upstream's instances is well: they are not let go all at once into an engine that
//! has just stumbled, and nobody waits for one where another can be asked.

use std::thread;
use std::time::{Duration, Instant};

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply};
use cutover_units::{Millis, UpstreamName};

use crate::harness::{Rig, ask, ask_stream, engines, now, one_arm, two_arms, until};

fn waiting(rig: &Rig, upstream: &str) -> u64 {
    let of = format!("cutover_queue_waiting_requests{{upstream=\"{upstream}\"}}");
    rig.figure(&of).unwrap_or(0)
}

fn outcomes(rig: &Rig, upstream: &str, outcome: &str) -> u64 {
    let labels = format!("{{upstream=\"{upstream}\",outcome=\"{outcome}\"}}");
    rig.figure(&format!("cutover_queue_requests_total{labels}")).unwrap_or(0)
}

/// An upstream's only instance was found an outlier at this time: it rests for half a minute from then on.
fn rests_from(rig: &Rig, upstream: &str, at: Millis) -> bool {
    let live = rig.gateway.live();
    let lane = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == upstream).unwrap();
    let health = &lane.upstream.instances[0].health;
    health.judged_by_peers(true, at);
    !health.state(now()).can_serve()
}

fn rests(rig: &Rig, upstream: &str) {
    assert!(rests_from(rig, upstream, now()));
}

/// Five failures in a row opened the door: the whole line was in the engine the next moment, twelve times as much as it
/// takes.
#[test]
fn a_line_is_not_emptied_into_an_engine_that_has_stumbled() {
    const CLIENTS: usize = 24;
    let own = Fake::start(Persona::LlamaCpp);
    let limits = "probes = false\nretries = 0\nin_flight_limit = 2\n\
                  queue = { length = 100, wait = \"1 h\" }";
    let rig = Rig::start(&one_arm(&format!("{}\n{limits}", engines("llamacpp", &[&own]))));
    let gate = Gate::new();
    own.always(Reply::words(1).hold_headers(&gate));
    (0..6).for_each(|_| own.once(Reply::fault(Fault::status(500))));
    thread::scope(|scope| {
        let ask = |stream: bool| {
            let body = if stream { ask_stream("app") } else { ask("app") };
            rig.chat(&[], &body).status
        };
        let all: Vec<_> = (0..CLIENTS).map(|n| scope.spawn(move || ask(n % 2 == 0))).collect();
        // Its rest is over and it is tried; and again, as the first is silent.
        for trials in 1..=2 {
            until("it is tried", || gate.arrivals() == trials);
            let under_way = usize::try_from(trials).unwrap();
            assert_eq!(own.in_flight(), under_way, "and by nobody else");
        }
        assert_eq!(waiting(&rig, "own"), CLIENTS as u64 - 8);
        gate.open();
        let answered = all.into_iter().map(|one| one.join().unwrap());
        assert_eq!(answered.filter(|status| *status == 200).count(), CLIENTS - 6);
    });
    assert_eq!(own.in_flight_max(), 2);
    assert_eq!(own.inferences().len(), CLIENTS);
}

#[test]
fn who_has_nobody_else_to_ask_waits_for_the_rest_to_end_and_no_longer_than_the_line_says() {
    let own = Fake::start(Persona::LlamaCpp);
    let config =
        |line: &str| one_arm(&format!("{}\nprobes = false\n{line}", engines("llamacpp", &[&own])));
    let rig = Rig::start(&config("queue = { wait = \"50 ms\" }"));
    rests(&rig, "own");
    let refused = rig.chat(&[], &ask("app"));
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "upstream_unavailable");
    assert!(refused.text().contains("well in time"), "{}", refused.text());
    assert!(refused.header("retry-after").is_some());
    assert_eq!(refused.header("x-cutover-attempts"), Some("0"));
    assert_eq!((own.inferences().len(), outcomes(&rig, "own", "refused")), (0, 1));

    // Its rest is over: whoever waits is woken.
    rig.reload(&config("queue = { wait = \"1 h\" }"));
    thread::scope(|scope| {
        let asked = scope.spawn(|| rig.chat(&[], &ask("app")));
        until("it waits", || waiting(&rig, "own") == 1);
        assert!(!rests_from(&rig, "own", Millis(0)), "that was long ago");
        assert_eq!(asked.join().unwrap().status, 200);
    });
    // Without a line nobody waits: what has no other way is sent all the same.
    rig.reload(&config(""));
    rests(&rig, "own");
    assert_eq!(rig.chat(&[], &ask("app")).status, 200);
}

/// Clients waited for nothing: up to the whole of `wait` for their 503.
#[test]
fn nobody_waits_for_a_rest_that_surely_lasts_longer() {
    let own = Fake::start(Persona::LlamaCpp);
    let line = "probes = false\nin_flight_limit = 1\nqueue = { wait = \"29 s\" }";
    let rig = Rig::start(&one_arm(&format!("{}\n{line}", engines("llamacpp", &[&own]))));
    let refused = |answer: &cutover_testkit::raw::Response| {
        assert_eq!(answer.status, 503, "{}", answer.text());
        assert!(answer.text().contains("well in time"), "{}", answer.text());
        let wait: u64 = answer.header("retry-after").unwrap().parse().unwrap();
        assert!((25..=90).contains(&wait), "when it has rested: {wait}");
    };
    let began = Instant::now();
    rests(&rig, "own");
    for body in [ask("app"), ask_stream("app")] {
        refused(&rig.chat(&[], &body));
    }
    assert!(!rests_from(&rig, "own", Millis(0)));
    // Nor who is in the line already when it begins to rest.
    let gate = Gate::new();
    own.once(Reply::words(1).hold_headers(&gate));
    thread::scope(|scope| {
        let first = scope.spawn(|| rig.chat(&[], &ask("app")));
        until("the place is taken", || gate.arrivals() == 1);
        let second = scope.spawn(|| rig.chat(&[], &ask("app")));
        until("it waits", || waiting(&rig, "own") == 1);
        rests(&rig, "own");
        refused(&second.join().unwrap());
        gate.open();
        assert_eq!(first.join().unwrap().status, 200);
    });
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    assert_eq!((own.inferences().len(), outcomes(&rig, "own", "refused")), (1, 3));
}

/// A candidate in whose line somebody waits, and a baseline.
fn config(cloud: &Fake, own: &Fake, lines: (&str, &str), more: &str) -> String {
    two_arms(&cloud.base_url(), &own.base_url(), "100%")
        .replace("[upstreams.own]", &format!("[upstreams.own]\nprobes = false\n{}", lines.1))
        .replace("[upstreams.cloud]", &format!("[upstreams.cloud]\n{}", lines.0))
        + more
}

const LINE: &str = "in_flight_limit = 1\nqueue = { wait = \"1 h\" }";

#[test]
fn who_waits_at_a_candidate_goes_on_to_the_baseline_when_nobody_there_is_well() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let gate = Gate::new();
    own.always(Reply::words(1).hold_headers(&gate));
    let rig = Rig::start(&config(&cloud, &own, ("", LINE), ""));
    thread::scope(|scope| {
        let first = scope.spawn(|| rig.chat(&[], &ask("app")));
        until("the place is taken", || gate.arrivals() == 1);
        let bodies = [ask("app"), ask_stream("app")];
        let others = bodies.map(|body| {
            scope.spawn({
                let rig = &rig;
                move || rig.chat(&[], &body)
            })
        });
        until("they wait", || waiting(&rig, "own") == 2);
        rests(&rig, "own");
        for answer in others.map(|other| other.join().unwrap()) {
            assert_eq!((answer.status, answer.header("x-cutover-upstream")), (200, Some("cloud")));
            assert_eq!(answer.header("x-cutover-assigned-arm"), Some("candidate"));
            assert_eq!(answer.header("x-cutover-overflow"), None, "it was not full");
        }
        gate.open();
        assert_eq!(first.join().unwrap().header("x-cutover-upstream"), Some("own"));
    });
    assert_eq!(outcomes(&rig, "own", "passed_over"), 2);
    assert_eq!(own.inferences().len(), 1);
}

/// It went past those who wait there, and past the limit: the whole traffic of a candidate that was down was at once in
/// an engine of a few places.
#[test]
fn what_the_baseline_takes_for_the_candidate_waits_in_the_baselines_line() {
    for way in ["passed over", "overflow"] {
        let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
        let (gates, more) = ([(); 2].map(|()| Gate::new()), "overflow = { wait = \"1 ms\" }\n");
        cloud.always(Reply::words(1).hold_headers(&gates[0]));
        own.always(Reply::words(1).hold_headers(&gates[1]));
        let more = if way == "overflow" { more } else { "" };
        let direct = "[use_cases.direct]\nmatch = { model = \"direct\" }\nbaseline = \"big\"\n";
        let rig = Rig::start(&config(&cloud, &own, (LINE, LINE), &format!("{more}{direct}")));
        thread::scope(|scope| {
            let mut all = vec![scope.spawn(|| rig.chat(&[], &ask("direct")))];
            until("the baseline's place is taken", || gates[0].arrivals() == 1);
            let line = if way == "overflow" {
                all.push(scope.spawn(|| rig.chat(&[], &ask("app"))));
                until("the candidate's is, too", || gates[1].arrivals() == 1);
                "own"
            } else {
                rests(&rig, "own");
                "cloud"
            };
            for count in 1..=3 {
                all.push(scope.spawn(|| rig.chat(&[], &ask("app"))));
                until("it waits", || waiting(&rig, line) == count);
            }
            let asked = [cloud.inferences().len(), own.inferences().len()];
            assert_eq!(asked, [1, usize::from(way == "overflow")], "{way}");
            gates.iter().for_each(Gate::open);
            assert!(all.into_iter().all(|one| one.join().unwrap().status == 200), "{way}");
        });
        let most = [cloud.in_flight_max(), own.in_flight_max()];
        assert_eq!(most, [1, usize::from(way == "overflow")], "{way}");
    }
}

/// They were counted as admitted, and went past the line of the baseline's.
#[test]
fn who_waits_for_what_is_taken_out_is_no_longer_waiting_and_was_never_admitted() {
    let line = "in_flight_limit = 1\nqueue = { wait = \"1 h\" }";
    for with_baseline in [false, true] {
        let (own, cloud) = (Fake::start(Persona::LlamaCpp), Fake::start(Persona::OpenAi));
        let config = if with_baseline {
            two_arms(&cloud.base_url(), &own.base_url(), "100%")
                .replace("[upstreams.own]", &format!("[upstreams.own]\nprobes = false\n{line}"))
                .replace("[upstreams.cloud]", &format!("[upstreams.cloud]\n{line}"))
        } else {
            one_arm(&format!("{}\nprobes = false\n{line}", engines("llamacpp", &[&own])))
        };
        let rig = Rig::start(&config);
        let gate = Gate::new();
        own.always(Reply::words(1).hold_headers(&gate));
        thread::scope(|scope| {
            let first = scope.spawn(|| rig.chat(&[], &ask("app")).status);
            until("it is asked", || gate.arrivals() == 1);
            let others = [(); 3].map(|()| scope.spawn(|| rig.chat(&[], &ask("app"))));
            until("they wait", || waiting(&rig, "own") == 3);
            let name = UpstreamName::new("own").unwrap();
            rig.gateway.drain(&name, &own.address().to_string(), true);
            for other in others {
                let other = other.join().unwrap();
                if with_baseline {
                    assert_eq!(other.header("x-cutover-upstream"), Some("cloud"));
                } else {
                    assert_eq!(other.status, 503, "{}", other.text());
                    assert_eq!(other.json()["error"]["code"], "upstream_unavailable");
                }
            }
            gate.open();
            assert_eq!(first.join().unwrap(), 200);
        });
        let counted =
            ["admitted", "refused", "passed_over"].map(|what| outcomes(&rig, "own", what));
        assert_eq!(counted, if with_baseline { [0, 0, 3] } else { [0, 3, 0] });
        assert!(cloud.in_flight_max() <= 1, "its line holds for them, too");
    }
}
