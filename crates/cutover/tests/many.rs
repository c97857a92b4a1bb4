//! Many streams at once: an end that cuts none of them, an end that tells each of them, and readers that
//! stop reading.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply};
use cutover_testkit::program::{Program, Setup};
use cutover_testkit::raw::{Raw, Response};
use cutover_testkit::wait;
use serde_json::{Value, json};

const BINARY: &str = env!("CARGO_BIN_EXE_cutover");
const STREAMS: usize = 200;

fn config(upstream: &Fake, server: &str) -> String {
    format!(
        "[server]\n{server}\n[upstreams.one]\nprovider = \"openai-compatible\"\n\
         base_url = \"{}/v1\"\n",
        upstream.base_url()
    )
}

fn start(upstream: &Fake, server: &str) -> Program {
    Program::start(BINARY, &config(upstream, server))
}

fn ask(raw: &mut Raw, words: &str) {
    let body = json!({"model": "fake-model", "stream": true,
        "messages": [{"role": "user", "content": words}]});
    raw.request("POST /v1/chat/completions", &[], body.to_string()).unwrap();
}

/// So many streams, each of which has begun and waits for the gate.
fn begun(program: &Program, upstream: &Fake, gate: &Gate) -> Vec<Raw> {
    upstream.always(Reply::words(4).and_then(2, Fault::Stall(gate.clone())));
    let mut streams: Vec<Raw> = (0..STREAMS).map(|_| Raw::open(program.url()).unwrap()).collect();
    for raw in &mut streams {
        ask(raw, "hi");
    }
    for raw in &mut streams {
        let head = raw.read_until("w1 ").unwrap();
        assert!(head.contains("w1 "), "{head}");
    }
    assert_eq!(upstream.in_flight(), STREAMS);
    streams
}

/// What the records say of all requests, once.
fn outcomes(program: &Program) -> Vec<(String, i64)> {
    let database = rusqlite::Connection::open(program.state().join("cutover.db")).unwrap();
    let mut statement = database
        .prepare("SELECT outcome, count(DISTINCT request_id) FROM records GROUP BY outcome")
        .unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}

#[test]
fn sigterm_lets_200_streams_end_and_records_each_of_them() {
    let upstream = Fake::start(Persona::OpenAi);
    let mut program = start(&upstream, "");
    let gate = Gate::new();
    let mut streams = begun(&program, &upstream, &gate);
    let url = program.url().to_owned();
    let ended = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| program.terminate());
        wait::until("the listener to close", || Raw::open(&url).is_err());
        gate.open();
        for raw in &mut streams {
            let rest = String::from_utf8_lossy(&raw.read_to_close()).into_owned();
            assert!(rest.contains("w3 ") && rest.contains("[DONE]"), "{rest}");
        }
        stopping.join().unwrap()
    });
    assert_eq!(ended, Some(0));
    assert_eq!(outcomes(&program), [("ok".to_owned(), 200)]);
}

#[test]
fn when_the_drain_is_over_each_of_200_streams_is_told_and_recorded() {
    let upstream = Fake::start(Persona::OpenAi);
    let mut program = start(&upstream, "drain_timeout = \"300 ms\"");
    let gate = Gate::new();
    let mut streams = begun(&program, &upstream, &gate);
    let ended = std::thread::scope(|scope| {
        let stopping = scope.spawn(|| program.terminate());
        for raw in &mut streams {
            let rest = String::from_utf8_lossy(&raw.read_to_close()).into_owned();
            assert!(rest.contains("\"code\":\"shutting_down\""), "{rest}");
            assert!(!rest.contains("[DONE]"), "{rest}");
        }
        stopping.join().unwrap()
    });
    assert_eq!(ended, Some(0));
    assert_eq!(outcomes(&program), [("drained".to_owned(), 200)]);
    wait::until("the upstream to be let go", || upstream.disconnects().len() == STREAMS);
}

const STALLED: usize = 8;
const PIECES: usize = 600;
const PIECE: usize = 50_000;

/// The most that was ever resident.
fn resident_kb(program: &Program) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", program.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

/// Eight answers of 30 MB each would be 240 MB, were they taken from the upstream as fast as it gives
/// them.
#[test]
fn readers_that_stop_slow_their_upstream_down_and_cost_no_memory_and_nobody_else_anything() {
    let upstream = Fake::start(Persona::OpenAi);
    let program = start(&upstream, "");
    let quick = |raw: &mut Raw| {
        upstream.once(Reply::words(20));
        ask(raw, "hi");
        let text = raw.response().unwrap().unwrap().text();
        assert!(text.contains("w19 ") && text.contains("[DONE]"), "{text}");
    };
    let mut other = Raw::open(program.url()).unwrap();
    quick(&mut other);
    let before = resident_kb(&program);

    // An open gate that counts who passes: how much the upstream has got rid of.
    let passed = Gate::new();
    passed.open();
    let piece = "x".repeat(PIECE);
    let long: Vec<String> = (0..PIECES).map(|number| format!("{number} {piece}")).collect();
    upstream.always(Reply::tokens(&long).hold_each_chunk(&passed));
    let mut stalled: Vec<Raw> = (0..STALLED).map(|_| Raw::narrow(program.url()).unwrap()).collect();
    for raw in &mut stalled {
        ask(raw, "long");
    }
    // The head comes with the first content; nobody reads on from there.
    let mut heads: Vec<Response> =
        stalled.iter_mut().map(|raw| raw.response_head().unwrap().unwrap()).collect();

    // While they stall, others are served, until the upstream gets rid of nothing more.
    let (mut seen, mut still) = (0, 0);
    while still < 20 {
        quick(&mut other);
        let now = passed.arrivals();
        still = if now == seen { still + 1 } else { 0 };
        seen = now;
    }
    let all = u64::try_from(STALLED * PIECES).unwrap();
    assert!(seen < all, "the upstream was rid of everything: nobody slowed it down");
    let more = resident_kb(&program) - before;
    assert!(more < 40_000, "{more} kB for {STALLED} clients that do not read");

    // Whoever reads on misses nothing.
    let mut first = stalled.swap_remove(0);
    let mut answer = heads.swap_remove(0);
    first.response_body(&mut answer).unwrap();
    let said: Vec<String> = answer
        .events()
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|chunk| Some(chunk["choices"][0]["delta"]["content"].as_str()?.to_owned()))
        .filter(|piece| !piece.is_empty())
        .collect();
    assert!(said == long, "{} of {PIECES} pieces", said.len());
    // And whoever goes lets the upstream go.
    drop(stalled);
    wait::until("the upstream to be let go", || upstream.disconnects().len() == STALLED - 1);
}

/// With a shell's usual limit on open files clients once took all of them: then neither the state could
/// be read, so that every candidate stood at weight 0, nor an upstream be connected to.
#[test]
fn more_clients_than_there_are_open_files_for_wait_their_turn_and_harm_nobody() {
    let upstream = Fake::start(Persona::OpenAi);
    let folder = tempfile::tempdir().unwrap();
    let limited = folder.path().join("limited");
    std::fs::write(&limited, format!("ulimit -n 300\nexec '{BINARY}' \"$@\"\n")).unwrap();
    let config = config(&upstream, "");
    let program = Setup::new("/bin/sh", &config).first(limited.to_str().unwrap()).start();
    let gate = Gate::new();
    upstream.always(Reply::words(4).and_then(2, Fault::Stall(gate.clone())));
    let mut streams: Vec<Raw> = (0..STREAMS).map(|_| Raw::open(program.url()).unwrap()).collect();
    for raw in &mut streams {
        ask(raw, "hi");
    }
    // 128 of the 300 are kept for other things.
    wait::until("as many as fit", || upstream.in_flight() == 86);
    assert_eq!(program.status()["ready"]["ready"], true);
    gate.open();
    for mut raw in streams {
        let text = raw.read_until("[DONE]").unwrap();
        assert!(text.contains("w3 "), "{text}");
    }
    let log = program.log();
    assert!(log.contains("places=86") && !log.contains("os error 24"), "{log}");
    assert_eq!(upstream.in_flight_max(), 86);
}

/// When traffic moves to another upstream, the connections to the one before it are idle: they took the files that the new
/// ones needed, and three of four requests were refused.
#[test]
fn traffic_that_moves_at_the_limit_on_open_files_harms_nobody() {
    let upstreams = [(); 4].map(|()| Fake::start(Persona::OpenAi));
    let parts = std::iter::zip(["a", "b", "c", "d"], &upstreams).map(|(name, upstream)| {
        let url = upstream.base_url();
        format!(
            "[upstreams.{name}]\nprovider = \"openai-compatible\"\nbase_url = \"{url}/v1\"\n\
             [variants.{name}]\nupstream = \"{name}\"\nmodel = \"fake-model\"\n\
             [use_cases.{name}]\nmatch = {{ model = \"{name}\" }}\nbaseline = \"{name}\"\n"
        )
    });
    let config = format!("default_upstream = \"a\"\n{}", parts.collect::<Vec<_>>().concat());
    let folder = tempfile::tempdir().unwrap();
    let limited = folder.path().join("limited");
    std::fs::write(&limited, format!("ulimit -n 300\nexec '{BINARY}' \"$@\"\n")).unwrap();
    let setup = Setup::new("/bin/sh", &config);
    let program = setup.first(limited.to_str().unwrap()).start();
    let mut clients: Vec<Raw> = (0..86).map(|_| Raw::open(program.url()).unwrap()).collect();
    for (name, upstream) in std::iter::zip(["a", "b", "c", "d"], &upstreams) {
        let gate = Gate::new();
        upstream.always(Reply::words(2).hold_headers(&gate));
        for client in &mut clients {
            let body = json!({"model": name, "messages": [{"role": "user", "content": "hi"}]});
            client.request("POST /v1/chat/completions", &[], body.to_string()).unwrap();
        }
        wait::until("all to be there", || upstream.in_flight() == clients.len());
        gate.open();
        for client in &mut clients {
            let answer = client.response().unwrap().unwrap();
            assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        }
    }
    #[cfg(target_os = "linux")]
    {
        let files = std::fs::read_dir(format!("/proc/{}/fd", program.pid())).unwrap().count();
        assert!(files < 86 + 86 + 64, "{files} files are open: none of the reserve is for them");
    }
    let log = program.log();
    assert!(!log.contains("os error 24") && !log.contains("no file is left"), "{log}");
}
