//! The configuration is read again while many streams flow: none of them notices, and who comes then goes by the
//! new one.

use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, ScopedJoinHandle};

use cutover_store::{Options, Store};
use cutover_testkit::crowd::{End, judge};
use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::{Raw, Response};
use cutover_units::UpstreamName;

use crate::harness::{Arm, BY_UNIT, Rig, ask, ask_stream, docs_on, engines, now, service, until};

const STREAMS: usize = 200;

/// No deadline ends a stream that the test holds.
const PATIENT: &str = "idle_timeout = \"10 min\"\n";

fn fake(persona: Persona, name: &str) -> Fake {
    Fake::start_with(Setup::new(persona).name(name))
}

fn config(cloud: &Fake, own: &[&Fake], weight: &str) -> String {
    let cloud = format!("{}{PATIENT}", service("openai-compatible", &cloud.base_url()));
    let own = format!(
        "{}\nbalance = \"round-robin\"\nprobes = false\n{PATIENT}",
        engines("llamacpp", own)
    );
    let docs =
        docs_on(&[Arm::big(cloud), Arm::small(own)], &format!("{BY_UNIT}weight = \"{weight}\""));
    format!("default_upstream = \"cloud\"\n{docs}")
}

/// What [`Reply::words`] says.
fn words(count: usize) -> String {
    let words: Vec<_> = (0..count).map(|word| format!("w{word} ")).collect();
    words.concat()
}

/// A stream whose first word has reached its client.
struct Begun {
    raw: Raw,
    response: Response,
}

impl Begun {
    fn open(rig: &Rig, unit: usize) -> Self {
        Self::ask(rig, unit, "app")
    }

    fn ask(rig: &Rig, unit: usize, model: &str) -> Self {
        let mut raw = rig.raw();
        let unit = format!("x-unit: u{unit}");
        raw.request("POST /v1/chat/completions", &[&unit], ask_stream(model)).unwrap();
        let response = raw.response_head().unwrap().expect("a head");
        assert_eq!(response.status, 200, "{response:?}");
        Self { raw, response }
    }

    fn end(mut self) -> Response {
        self.raw.response_body(&mut self.response).unwrap();
        self.response
    }
}

/// So many requests, each of a unit of its own: how many of them each of these answered, all to the end.
fn served(rig: &Rig, units: RangeInclusive<usize>, by: &[&Fake]) -> Vec<usize> {
    let before: Vec<_> = by.iter().map(|fake| fake.inferences().len()).collect();
    for unit in units {
        let response = Begun::open(rig, unit).end();
        assert_eq!(judge(&response, &words(4)), End::Whole, "{}", response.text());
    }
    let now = by.iter().map(|fake| fake.inferences().len());
    now.zip(before).map(|(now, before)| now - before).collect()
}

/// Each stream has its first word and waits for the rest: whatever is read again meanwhile, it ends as it began.
#[test]
fn two_hundred_streams_outlive_what_is_read_again_in_their_midst() {
    let cloud = fake(Persona::OpenAi, "cloud");
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| fake(Persona::LlamaCpp, name));
    let (all, gate) = ([&cloud, &a, &b, &c, &d], Gate::new());
    for fake in all {
        // A gate at its second word, once: permits for each word would be anybody's.
        fake.always(Reply::words(4).and_then(1, Fault::Stall(gate.clone())));
    }
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let rig = Rig::start_storing(&config(&cloud, &[&a, &b], "50%"), None, Some(&store));
    rig.watch_instances();
    let begun: Vec<_> = (1..=STREAMS).map(|unit| Begun::open(&rig, unit)).collect();
    until("all of them wait", || gate.arrivals() == STREAMS as u64);
    let held = all.map(Fake::in_flight);
    assert_eq!(held.iter().sum::<usize>(), STREAMS, "{held:?}");
    assert!(held[..3].iter().all(|held| *held > STREAMS / 8), "{held:?}");
    for fake in all {
        fake.always(Reply::words(4));
    }

    // One leaves, two come, and the candidate has all units.
    rig.reload(&config(&cloud, &[&b, &c, &d], "100%"));
    assert_eq!(served(&rig, 1..=60, &all), [0, 0, 20, 20, 20]);
    // One of those is taken out by hand, and stays out over another reload.
    let own = UpstreamName::new("own").unwrap();
    rig.gateway.drain(&own, &b.address().to_string(), true);
    assert_eq!(served(&rig, 1..=40, &all), [0, 0, 0, 20, 20]);
    rig.reload(&config(&cloud, &[&d, &b, &c], "100%"));
    assert_eq!(served(&rig, 1..=40, &all), [0, 0, 0, 20, 20]);
    rig.reload(&config(&cloud, &[&b, &c], "0%"));
    assert_eq!(served(&rig, 1..=40, &all), [40, 0, 0, 0, 0]);

    // Nobody who had begun has noticed any of it.
    until("those alone are under way", || all.map(Fake::in_flight) == held);
    assert_eq!(a.open_connections(), held[1], "it still says what it has begun");
    gate.open();
    for begun in begun {
        let response = begun.end();
        assert_eq!(judge(&response, &words(4)), End::Whole, "{}", response.text());
    }
    assert!(all.iter().all(|fake| fake.disconnects().is_empty()));
    // Who is not in the file any more is let go, and who is keeps its connections.
    until("those that left are let go", || a.open_connections() + d.open_connections() == 0);
    assert!(b.open_connections() >= held[2] && cloud.open_connections() >= held[0]);

    let made = STREAMS as u64 + 60 + 3 * 40;
    until("all are written", || store.stats().written >= made);
    let database = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    let count = "SELECT count(*), count(DISTINCT request_id), sum(outcome = 'ok') FROM records";
    let row = database.query_row(count, [], |row| Ok([row.get(0)?, row.get(1)?, row.get(2)?]));
    let written: [i64; 3] = row.unwrap();
    assert_eq!(written.map(i64::cast_unsigned), [made; 3], "each once, and well");
}

/// A request whose head has been read, and which waits with its body.
struct Slow {
    raw: Raw,
    body: String,
}

impl Slow {
    fn open(rig: &Rig, path: &str, body: String) -> Self {
        let mut raw = rig.raw();
        let length = body.len();
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\nx-unit: u1\r\nexpect: 100-continue\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n"
        ))
        .unwrap();
        // Its body is asked for once what is in force is known.
        assert_eq!(raw.response().unwrap().unwrap().status, 100);
        Self { raw, body }
    }

    /// Sends the body: the instance that answers.
    fn end(mut self) -> String {
        self.raw.send(self.body).unwrap();
        let response = self.raw.response().unwrap().expect("an answer");
        let instance = response.header("x-cutover-instance").map(str::to_owned);
        instance.unwrap_or_else(|| panic!("{response:?}"))
    }
}

/// All instances that it knew of have left while its body was on its way: those that came answer it, not the baseline.
#[test]
fn a_slow_request_goes_to_the_instances_that_came_meanwhile() {
    let cloud = fake(Persona::OpenAi, "cloud");
    let [a, b, c] = ["a", "b", "c"].map(|name| fake(Persona::LlamaCpp, name));
    let gate = Gate::new();
    for fake in [&a, &b] {
        fake.always(Reply::words(4).and_then(1, Fault::Stall(gate.clone())));
    }
    let rig = Rig::start(&config(&cloud, &[&a, &b], "100%"));
    let begun: Vec<_> = (1..=2).map(|unit| Begun::open(&rig, unit)).collect();
    let slow = Slow::open(&rig, "/v1/chat/completions", ask("app"));
    // With another model at the upstream, for which what was decided holds nevertheless.
    let another = "[variants.another]\nupstream = \"own\"\nmodel = \"another\"\n";
    rig.reload(&(config(&cloud, &[&c], "100%") + another));
    assert_eq!((slow.end(), c.inferences().len()), ("own/2".to_owned(), 1));
    assert!(cloud.inferences().is_empty());
    gate.open();
    for begun in begun {
        assert_eq!(judge(&begun.end(), &words(4)), End::Whole);
    }
}

/// So it is where a body is passed on, which is read first if it may have to stay local.
#[test]
fn a_slow_body_is_passed_on_to_the_instance_that_came_meanwhile() {
    let [a, b] = ["a", "b"].map(|name| fake(Persona::OpenAi, name));
    let gate = Gate::new();
    a.always(Reply::words(4).and_then(1, Fault::Stall(gate.clone())));
    let text = |cloud: &Fake| {
        let own = service("vllm", "http://127.0.0.1:9") + "local = true\nprobes = false";
        let docs = docs_on(&[Arm::small(own)], "residency = \"local-only\"");
        let cloud = engines("openai-compatible", &[cloud]);
        format!("default_upstream = \"cloud\"\n[upstreams.cloud]\n{cloud}\n{PATIENT}{docs}")
    };
    let rig = Rig::start(&text(&a));
    let begun = Begun::ask(&rig, 1, "fake-model");
    let slow = Slow::open(&rig, "/v1/moderations", ask("fake-model"));
    rig.reload(&text(&b));
    assert_eq!((slow.end(), b.seen().len()), ("cloud/1".to_owned(), 1));
    gate.open();
    assert_eq!(judge(&begun.end(), &words(4)), End::Whole);
}

/// One upstream's engines, and no arm behind them.
fn alone(own: &[&Fake], more: &str) -> String {
    let own = format!("{}\nprobes = false\n{PATIENT}", engines("llamacpp", own));
    docs_on(&[Arm::small(own)], more)
}

/// A rolling update: requests under way at instances that are taken out of the file and stopped were 503, beside idle new ones.
#[test]
fn what_waits_at_instances_that_leave_and_stop_is_answered_by_those_that_came() {
    let [a, b, c, d] = ["a", "b", "c", "d"].map(|name| fake(Persona::LlamaCpp, name));
    let gate = Gate::new();
    for fake in [&a, &b] {
        fake.always(Reply::fault(Fault::Reset).hold_headers(&gate));
    }
    let rig = Rig::start(&alone(&[&a, &b], ""));
    thread::scope(|scope| {
        let rig = &rig;
        let send = |body: String| scope.spawn(move || rig.chat(&[], &body));
        let asked = [ask("app"), ask_stream("app"), ask("app"), ask_stream("app")].map(send);
        until("all of them wait", || gate.arrivals() == 4);
        rig.reload(&alone(&[&c, &d], ""));
        gate.open();
        for answer in asked.map(|one| one.join().unwrap()) {
            let of = |name| answer.header(name).map(str::to_owned);
            assert_eq!(answer.status, 200, "{answer:?}");
            assert_eq!(of("x-cutover-attempts").as_deref(), Some("2"), "{answer:?}");
            let instance = of("x-cutover-instance").unwrap();
            assert!(["own/2", "own/3"].contains(&&*instance), "{instance}");
        }
    });
    // Each failure is told of who failed, whose place in the list has changed meanwhile.
    let metrics = rig.metrics();
    let failed = |id: &str| {
        let line = format!("upstream_instance=\"own/{id}\",result=\"closed\"}} ");
        let found = metrics.lines().find_map(|known| Some(known.split_once(&line)?.1));
        found.map_or(0, |count| count.parse::<u32>().unwrap())
    };
    assert_eq!((failed("0") + failed("1"), failed("2") + failed("3")), (4, 0), "{metrics}");
}

/// One that had nothing to do when it was taken out is asked no more either, and takes nobody's second attempt.
#[test]
fn an_idle_instance_that_left_is_not_asked_for_what_broke_at_another() {
    let [a, b, c] = ["a", "b", "c"].map(|name| fake(Persona::LlamaCpp, name));
    let gate = Gate::new();
    for fake in [&a, &b] {
        fake.once(Reply::fault(Fault::Reset).hold_headers(&gate));
    }
    let rig = Rig::start(&alone(&[&a, &b], ""));
    thread::scope(|scope| {
        let waiting = scope.spawn(|| rig.chat(&[], &ask("app")));
        until("it waits", || gate.arrivals() == 1);
        rig.reload(&alone(&[&c], ""));
        gate.open();
        let answer = waiting.join().unwrap();
        assert_eq!(answer.status, 200, "{answer:?}");
        assert_eq!(answer.header("x-cutover-instance"), Some("own/2"), "{answer:?}");
    });
    assert_eq!(a.inferences().len() + b.inferences().len(), 1);
}

/// So it is with streams that are continued.
#[test]
fn a_stream_that_breaks_at_an_instance_that_leaves_goes_on_at_one_that_came() {
    let [a, b, c] = ["a", "b", "c"].map(|name| fake(Persona::LlamaCpp, name));
    let gate = Gate::new();
    for fake in [&a, &b] {
        fake.always(Reply::words(4).hold_each_chunk(&gate).and_then(2, Fault::Cut));
    }
    c.always(Reply::tokens(&["and", " so", " on"]));
    let continued = "on_interrupt = \"continue\"";
    let rig = Rig::start(&alone(&[&a, &b], continued));
    gate.release(1);
    let begun = Begun::open(&rig, 1);
    rig.reload(&alone(&[&c], continued));
    gate.open();
    let response = begun.end();
    assert_eq!(judge(&response, "w0 w1 and so on"), End::Whole, "{}", response.text());
    assert_eq!(c.inferences().len(), 1);
}

/// It came back to the instances that it had left, of which none was there any more.
#[test]
fn who_pauses_while_its_instance_is_replaced_goes_to_the_one_that_came() {
    let cloud = fake(Persona::OpenAi, "cloud");
    let [old, new] = ["old", "new"].map(|name| fake(Persona::LlamaCpp, name));
    let pause = Fault::Status { status: 503, retry_after: None, retry_after_ms: Some(2_000) };
    old.always(Reply::fault(pause));
    for queue in ["", "in_flight_limit = 4\nqueue = { wait = \"1 h\" }\n"] {
        let text = |own: &Fake| {
            let config = config(&cloud, &[own], "0%")
                .replace("baseline = \"big\"", "baseline = \"small\"")
                .replace("candidate = \"small\"", "candidate = \"big\"");
            config.replace("[upstreams.own]\n", &format!("[upstreams.own]\nretries = 2\n{queue}"))
        };
        let rig = Rig::start(&text(&old));
        let before = old.inferences().len();
        thread::scope(|scope| {
            let asked = scope.spawn(|| Begun::open(&rig, 1).end());
            until("it pauses", || old.inferences().len() > before);
            rig.reload(&text(&new));
            let answer = asked.join().unwrap();
            assert_eq!(answer.status, 200, "{queue}: {}", answer.text());
            assert_eq!(answer.header("x-cutover-upstream"), Some("own"), "{queue}");
        });
    }
    assert_eq!(new.inferences().len(), 2);
}

/// What an engine says is its name, over and over.
fn says(name: &str) -> Reply {
    Reply::tokens(&[format!("{name} ").as_str(); 3])
}

/// Many ask without a pause while the file changes without a pause. A request is answered by an instance of the
/// configuration that was in force when it was sent, or of one that came before its answer had begun.
#[test]
fn each_request_goes_by_one_of_the_configurations_that_were_in_force_meanwhile() {
    const RELOADS: usize = 60;
    let cloud = fake(Persona::OpenAi, "cloud");
    let names = ["a", "b", "c", "d", "e"];
    let own = names.map(|name| fake(Persona::LlamaCpp, name));
    for (fake, name) in own.iter().zip(names) {
        fake.always(says(name));
    }
    // Of five engines in a row each configuration has two, so that each time one leaves and another comes.
    let of = |reload: usize| [reload % 5, (reload + 1) % 5];
    let text = |reload: usize| config(&cloud, &of(reload).map(|at| &own[at]), "100%");
    let rig = Rig::start(&text(0));
    // One is about to be in force, and one is.
    let (coming, in_force, over) =
        (AtomicUsize::new(0), AtomicUsize::new(0), AtomicBool::new(false));
    let asked = AtomicUsize::new(0);
    let client = |unit: usize| {
        while !over.load(SeqCst) {
            let since = in_force.load(SeqCst);
            let begun = Begun::open(&rig, unit);
            let until = coming.load(SeqCst);
            let response = begun.end();
            let wellsaid = |at: usize| judge(&response, &format!("{} ", names[at]).repeat(3));
            let mut served = (since..=until).flat_map(of).map(wellsaid);
            assert!(served.any(|end| end == End::Whole), "{since} to {until}: {response:?}");
            asked.fetch_add(1, SeqCst);
        }
    };
    thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..16).map(|unit| scope.spawn(move || client(unit))).collect();
        for reload in 1..=RELOADS {
            let before = asked.load(SeqCst);
            coming.store(reload, SeqCst);
            rig.reload(&text(reload));
            in_force.store(reload, SeqCst);
            until("some are asked by it", || {
                asked.load(SeqCst) > before + 5 || clients.iter().any(ScopedJoinHandle::is_finished)
            });
        }
        over.store(true, SeqCst);
    });
    assert!(cloud.inferences().is_empty() && asked.into_inner() > 5 * RELOADS);
    let gone = |at: &usize| !of(RELOADS).contains(at);
    until("those that left are let go", || {
        (0..5).filter(gone).all(|at| own[at].open_connections() == 0)
    });
}
