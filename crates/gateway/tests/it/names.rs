//! Names whose addresses are instances: a real name server, real upstreams at several loopback addresses.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use cutover_gateway::{InstanceLane, NameStatus};
use cutover_testkit::fake::{Fake, Gate, Persona, Reply, Setup};
use cutover_testkit::names::{NameServer, Say};
use cutover_units::UpstreamName;

use crate::harness::{Rig, ask, ask_stream, one_arm, two_arms, until};

const NAME: &str = "gpus.test";

fn loopback(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

/// One upstream at each of these addresses, all at the same port.
fn fakes(last: &[u8]) -> Vec<Fake> {
    let setup = |last: u8| Setup::new(Persona::LlamaCpp).name(&format!("at {last}"));
    let at = |last: u8, port| SocketAddr::from((loopback(last), port));
    let first = Fake::start_at(setup(last[0]), at(last[0], 0));
    let port = first.address().port();
    let others = last[1..].iter().map(|last| Fake::start_at(setup(*last), at(*last, port)));
    std::iter::once(first).chain(others).collect()
}

fn config(host: &str, port: u16, more: &str) -> String {
    one_arm(&format!(
        r#"provider = "llamacpp"
base_url = "http://{host}:{port}"
resolve = "1 s"
balance = "round-robin"
{more}"#
    ))
}

fn start(host: &str, port: u16, server: &NameServer) -> Rig {
    let rig = Rig::start(&config(host, port, &format!("name_server = \"{}\"", server.address())));
    rig.watch_instances();
    rig
}

fn ids(rig: &Rig) -> Vec<String> {
    instances(rig).iter().map(|lane| lane.id.to_string()).collect()
}

fn instances(rig: &Rig) -> Vec<InstanceLane> {
    rig.gateway.live().lanes[0].upstream.instances.clone()
}

fn status(rig: &Rig) -> NameStatus {
    rig.gateway.names().pop().expect("a name is resolved")
}

fn asked(rig: &Rig) -> String {
    let response = rig.chat(&[], &ask("app"));
    assert_eq!(response.status, 200, "{}", response.text());
    response.header("x-cutover-instance").unwrap().to_owned()
}

/// Waits until the name server has answered something that was asked from now on.
fn asked_again(server: &NameServer) {
    let before = server.asked();
    until("the name is asked for again", || server.asked() >= before + 2);
}

#[test]
fn each_address_is_an_instance_and_one_that_leaves_ends_what_it_began() {
    let (fakes, server, gate) = (fakes(&[1, 2, 3]), NameServer::start(), Gate::new());
    let port = fakes[0].address().port();
    server.set(NAME, &[loopback(2), loopback(1)]);
    fakes[0].always(Reply::words(4).hold_each_chunk(&gate));
    gate.release(1);
    let rig = start(NAME, port, &server);
    until("two instances are known", || ids(&rig) == ["own/0.1", "own/0.2"]);
    let labels: Vec<_> =
        instances(&rig).iter().map(|lane| lane.instance.label().to_owned()).collect();
    assert_eq!(labels, [format!("127.0.0.1:{port}"), format!("127.0.0.2:{port}")]);

    // A stream at the first, and one at the second, whichever comes first.
    let mut streams = Vec::new();
    for _ in 0..2 {
        let mut raw = rig.raw();
        raw.request("POST /v1/chat/completions", &[], ask_stream("app")).unwrap();
        let head = raw.response_head().unwrap().expect("a head");
        streams.push((head.header("x-cutover-instance").unwrap().to_owned(), raw, head));
    }
    let at = streams.iter().position(|(id, ..)| id == "own/0.1").expect("they take turns");
    let (_, mut raw, mut head) = streams.swap_remove(at);
    let (kept, health) = (instances(&rig)[1].clone(), Arc::clone(&instances(&rig)[0].health));

    server.set(NAME, &[loopback(3), loopback(2)]);
    until("the change is in force", || ids(&rig) == ["own/0.2", "own/0.3", "own/0.1"]);
    // It is told when the picture is in force.
    until("it knows that it leaves", || health.is_leaving());
    assert!(rig.metrics().contains("upstream_instance=\"own/0.1\""));
    let after = instances(&rig)[0].clone();
    assert!(Arc::ptr_eq(&after.health, &kept.health), "its health is kept");
    assert!(Arc::ptr_eq(&after.instance, &kept.instance), "its connections are kept");
    for _ in 0..8 {
        assert_ne!(asked(&rig), "own/0.1", "no new request goes to one that leaves");
    }
    assert_eq!(fakes[0].inferences().len(), 1);
    until("the state is shown", || {
        let of = "upstream=\"own\",upstream_instance=\"own/0.1\",state=\"draining\"} 1";
        rig.metrics().contains(of)
    });

    gate.open();
    raw.response_body(&mut head).unwrap();
    assert_eq!(head.events().last().map(String::as_str), Some("[DONE]"), "{}", head.text());
    until("it is forgotten", || ids(&rig) == ["own/0.2", "own/0.3"]);
    // What it counted is there for a scrape more; what it is, is nothing.
    until("its state is, too", || {
        let (metrics, of) =
            (rig.metrics(), "upstream=\"own\",upstream_instance=\"own/0.1\",state=");
        !metrics.contains(of) && metrics.contains("own/0.1")
    });
    assert!(rig.metrics().contains("cutover_upstream_resolved_addresses{upstream=\"own\"} 2"));
    // The upstreams were spoken to by the name.
    let host = format!("{NAME}:{port}");
    let seen = fakes[2].inferences();
    assert!(seen.iter().all(|seen| seen.header("host") == Some(host.as_str())) && !seen.is_empty());
    // Who comes back is another.
    server.set(NAME, &[loopback(1), loopback(2), loopback(3)]);
    until("it is a new one", || ids(&rig) == ["own/0.2", "own/0.3", "own/0.4"]);
}

#[test]
fn an_answer_that_fails_or_is_empty_takes_no_instance_away() {
    let (fakes, server) = (fakes(&[1]), NameServer::start());
    server.set(NAME, &[loopback(1)]);
    let rig = start(NAME, fakes[0].address().port(), &server);
    until("the instance is known", || ids(&rig) == ["own/0.1"]);
    let bad = [
        (Say::Code(2), "refused"),
        (Say::Code(3), "no_address"),
        (Say::Addresses(Vec::new()), "no_address"),
        (Say::Silence, "timeout"),
    ];
    for (say, word) in bad {
        server.say(NAME, say);
        let of = format!(
            "cutover_upstream_name_resolutions_total{{upstream=\"own\",result=\"{word}\"}}"
        );
        until(word, || rig.metrics().contains(&of) && status(&rig).problem.is_some());
        assert_eq!((asked(&rig).as_str(), ids(&rig).len()), ("own/0.1", 1), "{word}");
        assert!(status(&rig).answered.is_some(), "{word}");
    }
    server.set(NAME, &[loopback(1)]);
    until("it is well again", || status(&rig).problem.is_none());
    assert_eq!(ids(&rig), ["own/0.1"]);
}

/// The system's resolver knows `localhost`, and would lead to an upstream that answers: a request that
/// reaches it was looked up by somebody who must not be asked.
#[test]
fn what_a_name_server_has_not_told_yet_is_asked_of_nobody_else() {
    let (fakes, server) = (fakes(&[1]), NameServer::start());
    server.say("localhost", Say::Silence);
    let rig = start("localhost", fakes[0].address().port(), &server);
    asked_again(&server);
    assert!(ids(&rig).is_empty(), "{:?}", ids(&rig));
    let response = rig.chat(&[], &ask("app"));
    assert_eq!(response.status, 503, "{}", response.text());
    let text = response.text();
    assert!(text.contains("no address of the upstream is known yet"), "{text}");
    assert!(text.contains("upstream_unavailable"), "{text}");
    let passed = rig.post("/v1/responses", &[], r#"{"model":"other","input":"hi"}"#);
    assert!(passed.status >= 400, "{}", passed.text());
    let waits = "an instance for the baseline of docs: no address of localhost is known yet";
    assert_eq!(rig.gateway.live().unserved(crate::harness::now()), [waits]);
    assert!(fakes[0].seen().is_empty(), "neither requests nor probes");

    // One that was taken out before it was known is out when it is.
    let (own, address) = (UpstreamName::new("own").unwrap(), fakes[0].address().to_string());
    rig.gateway.drain(&own, &address, true);
    server.set("localhost", &[loopback(1)]);
    until("its address is the instance", || ids(&rig) == ["own/0.1"]);
    let response = rig.chat(&[], &ask("app"));
    assert_eq!((response.status, fakes[0].inferences().len()), (503, 0), "{}", response.text());
    rig.gateway.drain(&own, &address, false);
    assert_eq!(asked(&rig), "own/0.1");
}

#[test]
fn the_baseline_answers_while_no_address_of_the_candidate_is_known() {
    let (fakes, server) = (fakes(&[1]), NameServer::start());
    let baseline = Fake::start(Persona::OpenAi);
    server.say("localhost", Say::Code(2));
    let candidate = format!("http://localhost:{}", fakes[0].address().port());
    let config = two_arms(&baseline.base_url(), &candidate, "100%");
    let name = format!(
        "provider = \"llamacpp\"\nresolve = \"1 s\"\nname_server = \"{}\"",
        server.address()
    );
    let rig = Rig::start(&config.replace("provider = \"llamacpp\"", &name));
    rig.watch_instances();
    asked_again(&server);
    for _ in 0..3 {
        let response = rig.chat(&[], &ask("app"));
        assert_eq!((response.status, response.header("x-cutover-arm")), (200, Some("baseline")));
    }
    assert!(fakes[0].seen().is_empty());
    assert_eq!(rig.gateway.live().unserved(crate::harness::now()), Vec::<String>::new());
    server.set("localhost", &[loopback(1)]);
    until("the candidate answers", || {
        rig.chat(&[], &ask("app")).header("x-cutover-arm") == Some("candidate")
    });
}

#[test]
fn a_reload_keeps_addresses_and_what_is_known_of_them() {
    let (fakes, server) = (fakes(&[1, 2]), NameServer::start());
    let port = fakes[0].address().port();
    server.set(NAME, &[loopback(1), loopback(2)]);
    let rig = start(NAME, port, &server);
    until("they are known", || ids(&rig).len() == 2);
    let before = instances(&rig);
    let more = format!("name_server = \"{}\"\nretries = 1", server.address());
    rig.reload(&config(NAME, port, &more));
    let after = instances(&rig);
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(before.id, after.id);
        assert!(Arc::ptr_eq(&before.health, &after.health));
    }
    server.set(NAME, &[loopback(2)]);
    until("changes still come", || ids(&rig) == ["own/0.2"]);
    // Without `resolve` the name is one instance again, and nobody asks for it.
    rig.reload(&config(NAME, port, "").replace("resolve = \"1 s\"\n", ""));
    assert_eq!(ids(&rig), ["own/0"]);
    until("the name is forgotten", || rig.gateway.names().is_empty());
}

#[test]
fn long_answers_come_over_a_connection_and_no_more_are_taken_than_there_is_room_for() {
    let server = NameServer::start();
    let many: Vec<_> = (1..=70).map(|last| Ipv4Addr::new(127, 0, 1, last)).collect();
    server.set(NAME, &many);
    let rig = start(NAME, 9, &server);
    until("they are known", || ids(&rig).len() == 64);
    assert_eq!((status(&rig).addresses, status(&rig).beyond), (64, 6));
    assert!(server.connections() > 0);
    server.set(NAME, &many[10..20]);
    until("the others have left", || ids(&rig).len() == 10);
    assert_eq!(status(&rig).beyond, 0);
}

#[test]
fn the_systems_resolver_reads_the_hosts_file() {
    let fakes = fakes(&[1]);
    let rig = Rig::start(&config("localhost", fakes[0].address().port(), ""));
    rig.watch_instances();
    until("its address is the instance", || ids(&rig) == ["own/0.1"]);
    let address = instances(&rig)[0].instance.label().to_owned();
    assert_eq!(address, fakes[0].address().to_string());
    assert_eq!(asked(&rig), "own/0.1");
}

/// Its engine went away while it waited: it has not lost its turn, and the new one is not overrun.
#[test]
fn who_waits_in_line_while_a_name_leads_elsewhere_is_served_there_one_by_one() {
    let (fakes, server) = (fakes(&[1, 2]), NameServer::start());
    let gates = [Gate::new(), Gate::new()];
    for (fake, gate) in fakes.iter().zip(&gates) {
        fake.always(Reply::words(2).hold_headers(gate));
    }
    server.set(NAME, &[loopback(1)]);
    let more = format!(
        "name_server = \"{}\"\nprobes = false\nin_flight_limit = 1\nqueue = {{ wait = \"10 min\" }}",
        server.address()
    );
    let rig = Rig::start(&config(NAME, fakes[0].address().port(), &more));
    rig.watch_instances();
    until("the first is known", || ids(&rig) == ["own/0.1"]);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| asked(&rig));
        until("the place is taken", || gates[0].arrivals() == 1);
        let waiting: Vec<_> = (0..3).map(|_| scope.spawn(|| asked(&rig))).collect();
        let waits = "cutover_queue_waiting_requests{upstream=\"own\"} 3";
        until("they stand in line", || rig.metrics().contains(waits));
        server.set(NAME, &[loopback(2)]);
        until("the other is known", || ids(&rig) == ["own/0.2", "own/0.1"]);
        until("one is served, whatever is still under way at the old one", || {
            gates[1].arrivals() == 1
        });
        asked_again(&server);
        let two = "cutover_queue_waiting_requests{upstream=\"own\"} 2";
        assert!(rig.metrics().contains(two), "there is one place: {}", rig.metrics());
        gates[0].open();
        assert_eq!(first.join().unwrap(), "own/0.1");
        gates[1].open();
        for answer in waiting {
            assert_eq!(answer.join().unwrap(), "own/0.2");
        }
    });
    assert_eq!((fakes[0].inferences().len(), fakes[1].in_flight_max()), (1, 1));
}
