//! What probes and peers say of instances, and what becomes of requests then.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cutover_route::health::{FAILURES_MAX, Seen};
use cutover_store::{Options, Store};
use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::Raw;
use cutover_units::Millis;
use cutover_upstream::health::Wanted;

use crate::harness::{
    Rig, ask, ask_stream, build, checked, engines, now, one_arm, service, two_arms, until,
};

/// Several instances of one upstream behind one use case, looked after.
fn watched(provider: &str, instances: &[&Fake], more: &str) -> Rig {
    let own = format!("{}\nprobe_interval = \"1 s\"\n{more}", engines(provider, instances));
    let rig = Rig::start(&(one_arm(&own) + "unit = { header = \"x-unit\" }\n"));
    rig.watch_instances();
    rig
}

fn state(rig: &Rig, instance: usize) -> String {
    let metrics = rig.metrics();
    let of = format!(
        "cutover_upstream_instance_state{{upstream=\"own\",upstream_instance=\"own/{instance}\",state=\""
    );
    let lines = metrics.lines().filter_map(|line| line.strip_prefix(of.as_str()));
    let mut states = lines.filter_map(|rest| rest.strip_suffix("\"} 1"));
    let state = states.next().unwrap_or("unknown").to_owned();
    assert_eq!(states.next(), None, "an instance is in one state");
    state
}

fn ask_app(rig: &Rig) -> Option<String> {
    let response = rig.chat(&[], &ask("app"));
    assert_eq!(response.status, 200, "{}", response.text());
    response.header("x-cutover-instance").map(str::to_owned)
}

#[test]
fn requests_go_where_the_model_is_loaded() {
    let gate = Gate::new();
    gate.open();
    let cold = Setup { load_gate: Some(gate), ..Setup::new(Persona::Ollama).name("cold") };
    let cold = Fake::start_with(cold);
    let warm = Fake::start_with(Setup::new(Persona::Ollama).name("warm"));
    let rig = watched("ollama", &[&cold, &warm], "");
    until("the probes have told", || {
        (state(&rig, 0), state(&rig, 1)) == ("cold".to_owned(), "healthy".to_owned())
    });
    for _ in 0..20 {
        assert_eq!(ask_app(&rig).as_deref(), Some("own/1"));
    }
    assert_eq!((cold.loads(), warm.loads()), (0, 0), "no probe and no request loaded a model");
    let metrics = rig.metrics();
    let loaded =
        "cutover_upstream_engine_loaded_models{upstream=\"own\",upstream_instance=\"own/1\"} 1";
    assert!(metrics.contains(loaded), "{metrics}");
}

/// Two Ollamas with nothing in memory, which read a model in as soon as the gate is open.
fn cold_engines(gate: &Gate) -> [Fake; 2] {
    ["one", "two"].map(|name| {
        let setup = Setup::new(Persona::Ollama).name(name);
        Fake::start_with(Setup { load_gate: Some(gate.clone()), ..setup })
    })
}

/// It was the next probe that told, so that half of the requests until then had the other read it in, too.
#[test]
fn an_answer_tells_that_the_model_is_loaded_until_a_probe_tells_otherwise() {
    for model in ["app", "fake-model"] {
        let gate = Gate::new();
        gate.open();
        let fakes = cold_engines(&gate);
        let [one, two] = &fakes;
        let own = format!("{}\nprobe_interval = \"1 s\"", engines("ollama", &[one, two]));
        let rig = Rig::start(&format!("default_upstream = \"own\"\n{}", one_arm(&own)));
        rig.watch_instances();
        let cold = || (state(&rig, 0), state(&rig, 1)) == ("cold".to_owned(), "cold".to_owned());
        until("the probes have told", cold);
        for nth in 0..20 {
            let body = if nth % 2 == 0 { ask(model) } else { ask_stream(model) };
            assert_eq!(rig.chat(&[], &body).status, 200);
        }
        assert_eq!(one.loads() + two.loads(), 1, "{model}: no second copy");
        let asked = (one.inferences().len(), two.inferences().len());
        assert!(asked == (20, 0) || asked == (0, 20), "{model}: {asked:?}");
        for fake in &fakes {
            let unload = r#"{"model":"fake-model","keep_alive":0}"#;
            let mut raw = Raw::connect(fake.address()).unwrap();
            raw.request("POST /api/generate", &[], unload).unwrap();
            assert_eq!(raw.response().unwrap().unwrap().status, 200);
        }
        until("the probes have seen it go", cold);
    }
}

/// The second request had the other instance read the model in, too, which takes as long as the first one's load.
#[test]
fn what_one_instance_reads_in_no_other_is_asked_for() {
    let gate = Gate::new();
    let fakes = cold_engines(&gate);
    let [one, two] = &fakes;
    // So that eight may be there at once.
    let rig = watched("ollama", &[one, two], "in_flight_limit = 20");
    until("the probes have told", || {
        (state(&rig, 0), state(&rig, 1)) == ("cold".to_owned(), "cold".to_owned())
    });
    let open = (1..=8).map(|count| {
        let mut raw = rig.raw();
        let body = if count % 2 == 0 { ask("app") } else { ask_stream("app") };
        raw.request("POST /v1/chat/completions", &[], &body).unwrap();
        until("it is there", || one.in_flight() + two.in_flight() == count);
        raw
    });
    let open: Vec<_> = open.collect();
    let all = (one.in_flight(), two.in_flight());
    assert!(all == (8, 0) || all == (0, 8), "{all:?}");
    // Who waits for a load and leaves has it go on for the others; the last one's end is the load's.
    drop(open);
    until("they have left", || one.in_flight() + two.in_flight() == 0);
    let live = rig.gateway.live();
    let lane = live.lanes.iter().find(|lane| lane.model_place.is_some()).unwrap();
    let place = lane.model_place.unwrap();
    let draws = |at: usize| lane.upstream.instances[at].health.draws(Wanted::Known(place));
    until("nobody draws more", || !draws(0) && !draws(1));
    gate.open();
    assert_eq!(rig.chat(&[], &ask("app")).status, 200);
    assert_eq!(one.loads() + two.loads(), 1);
}

#[test]
fn an_instance_that_is_gone_is_down_and_comes_back() {
    let mut one = Fake::start_with(Setup::new(Persona::LlamaCpp).name("one"));
    let two = Fake::start_with(Setup::new(Persona::LlamaCpp).name("two"));
    let rig = watched("llamacpp", &[&one, &two], "");
    until("it is known", || state(&rig, 0) == "healthy");
    one.go_down();
    until("it is down", || state(&rig, 0) == "down");
    for _ in 0..10 {
        let response = rig.chat(&[], &ask("app"));
        assert_eq!(response.header("x-cutover-instance"), Some("own/1"));
        assert_eq!(response.header("x-cutover-attempts"), Some("1"), "the dead one is not tried");
    }
    assert_eq!(rig.gateway.live().unserved(now()), Vec::<String>::new());
    one.come_back();
    until("it is back", || state(&rig, 0) == "healthy");
    let taken: Vec<_> = (0..50).filter_map(|_| ask_app(&rig)).collect();
    assert!(taken.iter().any(|instance| instance == "own/0"), "{taken:?}");
}

/// It answers faster than any other, and says nothing of a wait.
#[test]
fn an_instance_that_sends_all_away_draws_no_traffic() {
    let (limited, well) = (Fake::start(Persona::LlamaCpp), Fake::start(Persona::LlamaCpp));
    limited.always(Reply::fault(Fault::status(429)));
    let rig = watched("llamacpp", &[&limited, &well], "");
    let (began, mut refused) = (Instant::now(), 0);
    for _ in 0..60 {
        refused += u64::from(rig.chat(&[], &ask("app")).status != 200);
    }
    let rests = began.elapsed().as_secs();
    let asked = limited.inferences().len() as u64;
    assert!(asked <= 1 + rests, "{asked} of 60 in {rests} s, with a rest of a second after each");
    assert!(refused <= asked, "{refused}");
}

#[test]
fn who_has_no_connection_left_is_not_waited_for_while_another_can_answer() {
    let (held, free) = (Fake::start(Persona::LlamaCpp), Fake::start(Persona::LlamaCpp));
    let gate = Gate::new();
    held.always(Reply::words(2).hold_headers(&gate));
    // One that has just answered may have its connection back a moment later: it needs more than one.
    let limits = "max_connections = 3\nconnect_timeout = \"50 s\"\nbalance = \"round-robin\"";
    let rig = watched("llamacpp", &[&held, &free], limits);
    thread::scope(|scope| {
        let mut all = Vec::new();
        for asked in 1..=6 {
            all.push(scope.spawn(|| ask_app(&rig)));
            let settled = || gate.arrivals() + u64::try_from(free.answered()).unwrap();
            until("it is held or answered", || settled() == asked);
        }
        assert_eq!(gate.arrivals(), 3, "every other one is held, and takes a connection");
        for _ in 0..4 {
            assert_eq!(ask_app(&rig).as_deref(), Some("own/1"));
        }
        gate.open();
        assert!(all.into_iter().all(|one| one.join().unwrap().is_some()));
    });

    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let gate = Gate::new();
    own.always(Reply::words(2).hold_headers(&gate));
    let limits = "[upstreams.own]\nprobes = false\nmax_connections = 1\nconnect_timeout = \"50 s\"";
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let rig = Rig::start(&config.replace("[upstreams.own]", limits));
    thread::scope(|scope| {
        let first = scope.spawn(|| rig.chat(&[], &ask("app")));
        until("the connection is taken", || gate.arrivals() == 1);
        let began = Instant::now();
        let second = rig.chat(&[], &ask("app"));
        assert_eq!((second.status, second.header("x-cutover-upstream")), (200, Some("cloud")));
        assert!(began.elapsed().as_secs() < 40, "it waited for a connection");
        gate.open();
        assert_eq!(first.join().unwrap().header("x-cutover-upstream"), Some("own"));
    });
    let hit = "cutover_limits_hit_total{limit=\"upstreams.max_connections\"} 1";
    assert!(rig.metrics().contains(hit), "{}", rig.metrics());
}

#[test]
fn where_nobody_else_can_answer_the_wait_for_a_connection_is_a_wait_and_no_time_of_the_instances() {
    let own = Fake::start(Persona::LlamaCpp);
    let gate = Gate::new();
    own.always(Reply::words(2).hold_headers(&gate));
    let limits = "probes = false\nmax_connections = 1\nconnect_timeout = \"50 s\"";
    let config = one_arm(&format!("{}\n{limits}", engines("llamacpp", &[&own])));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let rig = Rig::start_storing(&config, None, Some(&store));
    thread::scope(|scope| {
        let first = scope.spawn(|| ask_app(&rig));
        until("the connection is taken", || gate.arrivals() == 1);
        let second = scope.spawn(|| ask_app(&rig));
        let at_once = "cutover_queue_wait_seconds_count{upstream=\"own\"}";
        let both = "cutover_in_flight_attempts{upstream=\"own\",upstream_instance=\"own/0\"} 2";
        until("the second is there, too", || rig.metrics().contains(both));
        assert!(!rig.metrics().contains(at_once), "nobody has waited to the end");
        gate.open();
        assert!([first, second].into_iter().all(|one| one.join().unwrap().is_some()));
        let waited = format!("{at_once} 1");
        until("the wait is booked", || rig.metrics().contains(&waited));
    });
    until("both are recorded", || store.stats().written >= 2);
    let connection = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    let count = "SELECT count(*), count(queued_us), min(queued_us) > 0 FROM records";
    let count = connection.query_row(count, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
    let count: (i64, i64, Option<bool>) = count.unwrap();
    assert_eq!(count, (2, 1, Some(true)), "one of the two has waited");
}

#[test]
fn a_streams_deadlines_begin_with_its_connection() {
    let own = Fake::start(Persona::LlamaCpp);
    let gate = Gate::new();
    own.always(Reply::words(2).hold_headers(&gate));
    let limit = Duration::from_millis(200);
    let limits = "probes = false\nmax_connections = 1\nconnect_timeout = \"50 s\"\n\
                  first_token_timeout = \"200 ms\"";
    let rig = Rig::start(&one_arm(&format!("{}\n{limits}", engines("llamacpp", &[&own]))));
    let (first_byte, wait) = ("cutover_upstream_first_byte_seconds", "cutover_queue_wait_seconds");
    let figure = |name: &str| -> f64 {
        let metrics = rig.metrics();
        let line = metrics.lines().find(|line| line.starts_with(name) && !line.contains("bucket"));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or_default()
    };
    thread::scope(|scope| {
        let first = scope.spawn(|| ask_app(&rig));
        until("the connection is taken", || gate.arrivals() == 1);
        let second = scope.spawn(|| rig.chat(&[], &ask_stream("app")).status);
        let began = Instant::now();
        until("it has waited longer than it may take", || began.elapsed() > 2 * limit);
        gate.open();
        assert!(first.join().unwrap().is_some());
        assert_eq!(second.join().unwrap(), 200, "{}", rig.metrics());
    });
    until("the wait is booked", || figure(&format!("{wait}_count")) > 0.0);
    assert!(!rig.metrics().contains("first_token_timeout"), "{}", rig.metrics());
    // One was held for all of the time, the other waited.
    let held = figure(&format!("{first_byte}_sum"));
    assert!(held < 1.9 * figure(&format!("{wait}_sum")), "{}", rig.metrics());
}

#[test]
fn a_unit_stays_at_its_instance_without_a_candidate_too() {
    let fakes = [(); 4].map(|()| Fake::start(Persona::LlamaCpp));
    let instances: Vec<_> = fakes.iter().collect();
    let rig = watched("llamacpp", &instances, "balance = \"session\"");
    for unit in 0..8 {
        let header = format!("x-unit: user-{unit}");
        let taken: HashSet<_> = (0..6)
            .map(|_| {
                rig.chat(&[&header], &ask("app")).header("x-cutover-instance").map(str::to_owned)
            })
            .collect();
        assert_eq!(taken.len(), 1, "{unit}: {taken:?}");
    }
}

#[test]
fn a_use_case_whose_baseline_has_no_instance_left_is_told_of() {
    let mut only = Fake::start_with(Setup::new(Persona::Vllm).name("only"));
    let rig = watched("vllm", &[&only], "");
    until("it is known", || state(&rig, 0) == "healthy");
    only.go_down();
    until("it is down", || state(&rig, 0) == "down");
    let unserved = rig.gateway.live().unserved(now());
    assert_eq!(unserved, ["an instance for the baseline of docs"]);
    // The only instance is tried all the same: a probe may be wrong.
    assert_eq!(rig.chat(&[], &ask("app")).status, 503);
    only.come_back();
    until("it is back", || state(&rig, 0) == "healthy");
    ask_app(&rig);
}

#[test]
fn a_model_that_is_read_in_is_waited_for_elsewhere() {
    let loading = Fake::start_with(Setup::new(Persona::LlamaCpp).name("loading"));
    let ready = Fake::start_with(Setup::new(Persona::LlamaCpp).name("ready"));
    loading.set_loading(true);
    let rig = watched("llamacpp", &[&loading, &ready], "");
    until("it is known", || state(&rig, 0) == "down");
    for _ in 0..10 {
        assert_eq!(ask_app(&rig).as_deref(), Some("own/1"));
    }
    loading.set_loading(false);
    until("it has read its model in", || state(&rig, 0) == "healthy");
}

#[test]
fn probes_are_off_where_the_file_says_so() {
    let fake = Fake::start_with(Setup::new(Persona::Ollama).name("quiet"));
    let rig = watched("ollama", &[&fake], "probes = false");
    until("it is looked after", || state(&rig, 0) == "healthy");
    assert_eq!(fake.seen().len(), 0);
}

#[test]
fn without_an_instance_that_takes_requests_the_next_arm_answers() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let drain = |upstream: &str, fake: &Fake, out| {
        let upstream = cutover_units::UpstreamName::new(upstream).unwrap();
        rig.gateway.drain(&upstream, &fake.address().to_string(), out);
    };
    drain("own", &own, true);
    let response = rig.chat(&[], &ask("app"));
    assert_eq!((response.status, response.header("x-cutover-arm")), (200, Some("baseline")));
    drain("cloud", &cloud, true);
    let response = rig.chat(&[], &ask("app"));
    assert_eq!(response.status, 503, "{}", response.text());
    assert_eq!(response.json()["error"]["code"], "upstream_unavailable");
    assert!(own.inferences().is_empty() && cloud.inferences().len() == 1);
    assert_eq!(rig.gateway.live().unserved(now()).len(), 1, "not ready");
    // A reload forgets nothing of it.
    rig.reload(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    assert_eq!(rig.chat(&[], &ask("app")).status, 503);
    drain("own", &own, false);
    let response = rig.chat(&[], &ask("app"));
    assert_eq!((response.status, response.header("x-cutover-arm")), (200, Some("candidate")));
}

#[test]
fn nobody_waits_for_a_candidate_that_is_known_to_be_frozen() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    own.always(Reply::words(2).hold_headers(&Gate::new()));
    let frozen = "[upstreams.own]\nfirst_token_timeout = \"1 s\"\nprobes = false\n";
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let config = config.replace("[upstreams.own]\n", frozen);
    let rig = Rig::start(&config);
    let asked = |attempts: &str| {
        let response = rig.chat(&[], &ask_stream("app"));
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("x-cutover-arm"), Some("baseline"));
        assert_eq!(response.header("x-cutover-attempts"), Some(attempts));
    };
    thread::scope(|scope| {
        for _ in 0..12 {
            scope.spawn(|| asked("2"));
        }
    });
    rests_for_long(&rig, "own");
    assert_eq!(own.inferences().len(), 12);
    asked("1");
    assert_eq!(own.inferences().len(), 12, "it is not asked");
    let metrics = rig.metrics();
    let counted = "cutover_failovers_total{upstream=\"own\",upstream_instance=\"-\",reason=\"no_instance\"} 1";
    assert!(metrics.lines().any(|line| line == counted), "{metrics}");
    // Where nobody else may answer, it is asked whatever is known of it.
    rig.reload(&config.replace("weight = ", "failover = false\nweight = "));
    let response = rig.chat(&[], &ask_stream("app"));
    assert_eq!((response.status, own.inferences().len()), (504, 13), "{}", response.text());
}

/// Each request that the one that is well failed waited for the frozen one, beside a baseline that answers.
#[test]
fn the_second_attempt_goes_to_nobody_who_is_known_to_be_frozen_while_another_can_answer() {
    let (cloud, a, b) =
        (Fake::start(Persona::OpenAi), Fake::start(Persona::Vllm), Fake::start(Persona::Vllm));
    let own = format!("{}\nprobes = false", engines("vllm", &[&a, &b]));
    let config = |more: &str, weight: &str| {
        let text = two_arms(&cloud.base_url(), "http://gone", "100%");
        let text = text.replace("provider = \"llamacpp\"\nbase_url = \"http://gone\"", &own);
        text.replace("[upstreams.own]", &format!("[upstreams.own]\n{more}"))
            .replace("weight = ", &format!("{weight}\nweight = "))
    };
    let rig = Rig::start(&config("", ""));
    let rest = |upstream: &str, at: usize| {
        let live = rig.gateway.live();
        let lane = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == upstream).unwrap();
        let health = &lane.upstream.instances[at].health;
        (0..14).for_each(|_| health.failed(Millis(u64::MAX >> 16), now()));
    };
    let asked = |resting: &[(&str, usize)], wanted: (&str, &str)| {
        for body in [ask("app"), ask_stream("app")] {
            for (upstream, at) in resting {
                rest(upstream, *at);
            }
            let before = a.inferences().len();
            a.once(Reply::fault(Fault::status(500)));
            let response = rig.chat(&[], &body);
            let header = |name| response.header(name).unwrap_or_default();
            let seen = (header("x-cutover-instance"), header("x-cutover-attempts"));
            assert_eq!(seen, wanted, "{}", response.text());
            assert!(a.inferences().len() > before, "it is asked first");
        }
    };
    asked(&[("own", 1)], ("cloud/0", "2"));
    assert_eq!(b.inferences().len(), 0);
    // Nor where the upstream is asked again all the same.
    rig.forgive(&config("retries = 1", "failover = false"));
    asked(&[("own", 1)], ("own/0", "2"));
    assert_eq!(b.inferences().len(), 0);
    // Where nobody else can answer, it is asked.
    for (more, weight) in [("", "failover = false"), ("", "")] {
        rig.forgive(&config(more, weight));
        asked(&[("own", 1), ("cloud", 0)], ("own/1", "2"));
    }
}

/// A restart under load rested an instance for 30 s.
#[test]
fn streams_that_break_at_once_are_one_rest() {
    let (own, gate) = (Fake::start(Persona::Vllm), Gate::new());
    own.always(Reply::words(4).hold_each_chunk(&gate).and_then(2, Fault::Cut));
    let rig = Rig::start(&one_arm(&format!("{}\nprobes = false", engines("vllm", &[&own]))));
    thread::scope(|scope| {
        let streams: Vec<_> =
            (0..12).map(|_| scope.spawn(|| rig.chat(&[], &ask_stream("app")))).collect();
        until("all are under way", || gate.arrivals() == 12);
        gate.open();
        for stream in streams {
            let response = stream.join().unwrap();
            assert!(response.text().contains("stream_interrupted"), "{}", response.text());
        }
    });
    let live = rig.gateway.live();
    assert_eq!(live.lanes[0].upstream.instances[0].health.failures(), FAILURES_MAX);
}

/// It had nothing in flight, ever, and so nearly all requests.
#[test]
fn one_that_refuses_at_once_draws_no_more_than_its_share() {
    let (good, bad) = (Fake::start(Persona::Vllm), Fake::start(Persona::Vllm));
    bad.always(Reply::fault(Fault::status(400)));
    for policy in ["least-outstanding", "least-latency", "model-aware"] {
        let gate = Gate::new();
        good.always(Reply::words(2).hold_headers(&gate));
        let before = bad.inferences().len();
        let own = engines("vllm", &[&good, &bad]);
        let rig = Rig::start(&one_arm(&format!("{own}\nprobes = false\nbalance = \"{policy}\"")));
        thread::scope(|scope| {
            let asked: Vec<_> = (0..12)
                .map(|_| {
                    let waiting = good.inferences().len();
                    let asked = scope.spawn(|| rig.chat(&[], &ask("app")).status);
                    until("it is refused or waits", || {
                        asked.is_finished() || good.inferences().len() > waiting
                    });
                    asked
                })
                .collect();
            let refused = bad.inferences().len() - before;
            gate.open();
            let seen: Vec<_> = asked.into_iter().map(|asked| asked.join().unwrap()).collect();
            assert_eq!(seen.iter().filter(|seen| **seen == 400).count(), refused, "{seen:?}");
            assert!((4..=6).contains(&refused), "{policy}: {refused} of 12");
        });
    }
}

/// So many at once are one rest, the shortest: makes it long enough for what a test still has to do.
fn rests_for_long(rig: &Rig, upstream: &str) {
    let live = rig.gateway.live();
    let lane = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == upstream).unwrap();
    let health = &lane.upstream.instances[0].health;
    assert_eq!(health.failures(), FAILURES_MAX);
    // Trials to come.
    (0..9).for_each(|_| health.failed(Millis(u64::MAX >> 16), now()));
}

/// The use case has less patience than the upstream: the instance that hangs is found out all the same.
#[test]
fn an_instance_that_hangs_rests_though_a_deadline_ends_each_request_before_its_own_do() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    own.always(Reply::words(2).hold_headers(&Gate::new()));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let config = config.replace("[upstreams.own]\n", "[upstreams.own]\nprobes = false\n");
    let rig = Rig::start(&(config + "deadline = \"3 s\"\n"));
    thread::scope(|scope| {
        for body in [ask("app"), ask_stream("app")].into_iter().cycle().take(12) {
            let rig = &rig;
            scope.spawn(move || assert_eq!(rig.chat(&[], &body).status, 504));
        }
    });
    rests_for_long(&rig, "own");
    for body in [ask("app"), ask_stream("app")] {
        let response = rig.chat(&[], &body);
        let by = (response.status, response.header("x-cutover-arm"));
        assert_eq!(
            (by, response.header("x-cutover-attempts")),
            ((200, Some("baseline")), Some("1"))
        );
    }
    assert_eq!(own.inferences().len(), 12, "nobody is sent there any more");
}

/// Neither one that had little of the time, nor one that always takes longer than the deadline allows, nor one
/// from which something came, nor one that has answered others since: another use case's short answers made its own
/// deadline the fault of every instance.
#[test]
fn a_deadline_that_tells_nothing_of_an_instance_rests_none() {
    let state = |rig: &Rig| {
        let live = rig.gateway.live();
        let own = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
        own.upstream.instances[0].health.failures()
    };
    for case in ["little time", "usually slower", "something came", "others are answered"] {
        let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
        let silent = Reply::words(2).hold_headers(&Gate::new());
        match case {
            "something came" => own.always(Reply::words(2).hold_first_token(&Gate::new())),
            "others are answered" => own.once(silent),
            _ => own.always(silent),
        }
        let mut config = two_arms(&cloud.base_url(), &own.base_url(), "100%")
            .replace("[upstreams.own]\n", "[upstreams.own]\nprobes = false\n");
        if case == "little time" {
            // The first arm has most of it.
            config = config
                .replace("baseline = \"big\"", "baseline = \"small\"")
                .replace("candidate = \"small\"", "candidate = \"big\"")
                .replace(
                    "[upstreams.cloud]\n",
                    "[upstreams.cloud]\nfirst_token_timeout = \"1 s\"\n",
                );
            cloud.always(Reply::words(2).hold_headers(&Gate::new()));
        }
        let rig = Rig::start(&(config + "deadline = \"1500 ms\"\n"));
        if case == "usually slower" {
            let live = rig.gateway.live();
            let own = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
            own.upstream.instances[0].instance.live().succeeded(3_000_000);
        }
        let mut asked = 1;
        let response = thread::scope(|scope| {
            let late = scope.spawn(|| rig.chat(&[], &ask_stream("app")));
            if case == "others are answered" {
                until("it is asked", || own.inferences().len() == 1);
                assert_eq!(rig.chat(&[], &ask("app")).header("x-cutover-arm"), Some("candidate"));
                asked = 2;
            }
            late.join().unwrap()
        });
        assert_eq!(response.status, 504, "{case}: {}", response.text());
        assert_eq!((own.inferences().len(), state(&rig)), (asked, 0), "{case}");
    }
}

#[test]
fn a_candidate_whose_probe_finds_nobody_is_asked_where_the_baseline_is_gone_too() {
    let (mut cloud, own) = (Fake::start(Persona::Vllm), Fake::start(Persona::LlamaCpp));
    own.set_loading(true);
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let config = config
        .replacen("openai-compatible", "vllm", 1)
        .replace("base_url", "probe_interval = \"1 s\"\nbase_url");
    let rig = Rig::start(&config);
    rig.watch_instances();
    until("the candidate is known", || state(&rig, 0) == "down");
    let response = rig.chat(&[], &ask("app"));
    assert_eq!((response.status, response.header("x-cutover-attempts")), (200, Some("1")));
    assert!(own.inferences().is_empty());
    cloud.go_down();
    let gone = "an instance for the baseline of docs";
    until("the baseline is known", || rig.gateway.live().unserved(now()) == [gone]);
    let before = own.seen().len();
    let asked = |fake: &Fake| fake.seen().iter().any(|seen| seen.path().contains("completions"));
    assert_eq!(rig.chat(&[], &ask("app")).status, 503);
    assert!(asked(&own), "one of {before} and more");
}

/// It says so to its probes and to each request with the same polite 503: all who came were told to go, within a second.
#[test]
fn who_comes_while_the_only_engine_reads_its_model_in_waits_in_its_line() {
    const CLIENTS: usize = 8;
    let own = Fake::start(Persona::LlamaCpp);
    let rig = watched("llamacpp", &[&own], "in_flight_limit = 2\nqueue = { wait = \"1 h\" }");
    until("the probe has told", || own.seen().len() > 1 && state(&rig, 0) == "healthy");
    own.set_loading(true);
    thread::scope(|scope| {
        let rig = &rig;
        let asked = [(); CLIENTS].map(|()| scope.spawn(move || rig.chat(&[], &ask("app"))));
        let tried = || own.seen().iter().filter(|seen| seen.path().contains("completions")).count();
        until("it is known", || state(rig, 0) == "down" && tried() > CLIENTS);
        own.set_loading(false);
        for asked in asked {
            let answer = asked.join().unwrap();
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    });
}

/// Its probes were late and no answer ended between two of them: it was down while it streamed to all its clients.
#[test]
fn each_piece_of_a_stream_is_a_sign_of_life() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let gate = Gate::new();
    own.always(Reply::words(4).hold_each_chunk(&gate));
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let live = rig.gateway.live();
    let lane = live.lanes.iter().find(|lane| lane.upstream.name.as_str() == "own").unwrap();
    let health = &lane.upstream.instances[0].health;
    let mut raw = rig.raw();
    gate.release(2);
    raw.request("POST /v1/chat/completions", &[], ask_stream("app")).unwrap();
    raw.read_until("w0").unwrap();
    until("its next piece is held", || gate.arrivals() > 2);
    let _ = health.take_seen();
    assert_eq!(health.take_seen(), Seen::Silence);
    gate.release(1);
    until("the next piece is seen", || health.take_seen() == Seen::Answers);
    gate.open();
    raw.read_until("[DONE]").unwrap();
}

/// A proxy that passes `/v1/` alone, or a server that wants a key: whoever answers is there.
#[test]
fn an_engine_whose_health_page_is_not_to_be_had_takes_requests() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let (tell, told) = mpsc::channel();
    thread::spawn(move || {
        let (absent, broken) = ("404 Not Found", "502 Bad Gateway");
        let probes = [absent, "401 Unauthorized", absent, broken];
        for status in probes.into_iter().cycle() {
            let (mut socket, _) = listener.accept().unwrap();
            let _ = socket.read(&mut [0; 4096]);
            let close = "content-length: 0\r\nconnection: close";
            write!(socket, "HTTP/1.1 {status}\r\n{close}\r\n\r\n").unwrap();
            if tell.send(status).is_err() {
                return;
            }
        }
    });
    let own = service("vllm", &base_url) + "probe_interval = \"1 s\"\n";
    let rig = Rig::start(&one_arm(&own));
    rig.watch_instances();
    // A probe reads two more pages, but of one that says no.
    while !told.recv().unwrap().starts_with("401") {}
    assert_ne!(state(&rig, 0), "down");
    until("its own word counts", || state(&rig, 0) == "down");
}

#[test]
fn an_instance_that_is_taken_out_while_a_file_is_read_stays_out() {
    let own = Fake::start(Persona::Vllm);
    let config = |connections: u32| {
        let more = format!("max_connections = {connections}");
        one_arm(&format!("{}\n{more}", engines("vllm", &[&own])))
    };
    let rig = Rig::start(&config(10));
    let before = rig.gateway.live();
    let next = build(&checked(&config(20)), None, (&rig.registry, Some(&before)));
    let upstream = cutover_units::UpstreamName::new("own").unwrap();
    rig.gateway.drain(&upstream, &own.address().to_string(), true);
    rig.gateway.publish(next);
    assert_eq!(rig.chat(&[], &ask("app")).status, 503);
    assert!(own.inferences().is_empty());
}
