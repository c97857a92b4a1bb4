//! Streams: passed on as they come, ended honestly, cancelled when the client goes.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};

use crate::harness::{BROKEN_STREAMS, Rig, ask, ask_stream, two_arms, until};

fn pair() -> (Fake, Fake) {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
    (cloud, Fake::start_with(Setup::new(Persona::LlamaCpp).name("own")))
}

#[test]
fn each_chunk_is_passed_on_when_it_comes() {
    let (cloud, own) = pair();
    let gate = Gate::new();
    own.always(Reply::tokens(&["one", "two", "three"]).hold_each_chunk(&gate));
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    let mut text = String::new();
    for word in ["one", "two", "three"] {
        assert!(!text.contains(word), "the chunk is still held back");
        gate.release(1);
        text = raw.read_until(word).unwrap();
        assert!(text.contains(word), "{text}");
    }
    gate.open();
    if !text.contains("[DONE]") {
        text = raw.read_until("[DONE]").unwrap();
    }
    assert!(text.contains("[DONE]"), "{text}");
}

/// While 256 events were held the upstream was not read: what waited in its socket was delayed by another
/// `max_delay` for each 256, and nobody counted it.
#[test]
fn of_a_long_burst_the_pace_holds_back_a_bounded_number() {
    let (cloud, own) = pair();
    let words: Vec<_> = (0..1_000).map(|n| format!("w{n} ")).collect();
    own.always(Reply::tokens(&words));
    let smooth = two_arms(&cloud.base_url(), &own.base_url(), "100%")
        + "[use_cases.docs.smoothing]\ninterval = \"1 s\"\nmax_delay = \"60 s\"\n";
    let rig = Rig::start(&smooth);
    let mut raw = rig.raw();
    let asked = std::time::Instant::now();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    let text = raw.read_until("\"w740 \"").unwrap();
    // One a second, and the first of those that were held after 60 s: it was three minutes.
    assert!(asked.elapsed().as_secs() < 50, "the rest is held behind it");
    assert!(text.contains("\"w740 \"") && !text.contains("\"w999 \""), "the pace is kept");
}

#[test]
fn usage_is_known_to_us_and_shown_only_to_who_asked() {
    let (cloud, own) = pair();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let plain = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    assert!(!plain.text().contains("\"usage\":{"), "{}", plain.text());
    assert_eq!(own.inferences()[0].json()["stream_options"]["include_usage"], true);
    let asked = ask_stream("app").replace("}]", "}],\"stream_options\":{\"include_usage\":true}");
    let shown = rig.chat(&["x-unit: u1"], &asked);
    assert!(shown.text().contains("\"usage\":{"), "{}", shown.text());
    let counted = "cutover_completion_tokens_total{use_case=\"docs\",arm=\"candidate\"";
    until("both are counted", || {
        let metrics = rig.metrics();
        let line = metrics.lines().find(|line| line.starts_with(counted));
        line.is_some_and(|line| !line.ends_with(" 0"))
    });
}

/// A service that refuses `stream_options`, as the candidate; the file says so.
fn without_stream_options(unsupported: &str) -> (Fake, Rig) {
    let mut setup = Setup::new(Persona::OpenAi).name("own");
    setup.stream_options = false;
    let own = Fake::start_with(setup);
    let config = two_arms("http://127.0.0.1:9", &own.base_url(), "100%")
        .replace(
            "provider = \"llamacpp\"",
            "provider = \"openai-compatible\"\nstream_usage = \"never\"",
        )
        .replace("[variants.small]", &format!("[variants.small]\nunsupported = \"{unsupported}\""))
        .replace("weight =", "failover = false\nweight =");
    (own, Rig::start(&config))
}

#[test]
fn a_service_that_refuses_stream_options_streams_and_its_usage_is_estimated() {
    let (own, rig) = without_stream_options("strict");
    own.always(Reply::words(5));
    let asked_for_usage =
        ask_stream("app").replace("}]", "}],\"stream_options\":{\"include_usage\":true}");
    let plain = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    assert_eq!((plain.status, plain.header("x-cutover-arm")), (200, Some("candidate")));
    assert!(plain.text().ends_with("[DONE]\n\n"), "{}", plain.text());
    assert!(!plain.text().contains("\"usage\":{"), "an estimate is not shown as a count");
    let counted = "cutover_completion_tokens_total{use_case=\"docs\",arm=\"candidate\"";
    until("the chunks are counted", || {
        let metrics = rig.metrics();
        let line = metrics.lines().find(|line| line.starts_with(counted));
        line.is_some_and(|line| line.ends_with(" 5"))
    });
    let refused = rig.chat(&["x-unit: u1"], &asked_for_usage);
    assert_eq!(
        (refused.status, &refused.json()["error"]["param"]),
        (400, &"stream_options".into())
    );
    assert_eq!(own.inferences().len(), 1, "it was not even asked");
    // Whoever speaks another dialect has asked for nothing, and must be given figures.
    let message = r#"{"model":"app","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"hi"}]}"#;
    let other = rig.post("/v1/messages", &["x-unit: u1", "anthropic-version: 2023-06-01"], message);
    assert_eq!(other.status, 200, "{}", other.text());
    assert!(other.text().contains("\"output_tokens\":5"), "{}", other.text());

    let (own, rig) = without_stream_options("lenient");
    let response = rig.chat(&["x-unit: u1"], &asked_for_usage);
    assert_eq!(response.status, 200, "{}", response.text());
    let lost = response.headers.iter().any(|(_, value)| value.contains("stream_options"));
    assert!(lost, "{:?}", response.headers);
    assert_eq!(own.inferences()[0].json().get("stream_options"), None);
}

#[test]
fn a_stream_that_breaks_after_content_ends_with_an_error_and_no_done() {
    let (cloud, own) = pair();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let rig = Rig::start(&config);
    for fault in BROKEN_STREAMS {
        rig.forgive(&config);
        own.always(Reply::words(4).and_then(2, fault.clone()));
        let response = rig.chat(&["x-unit: u1"], &ask_stream("app"));
        assert_eq!(response.header("x-cutover-arm"), Some("candidate"));
        let events = response.events();
        let last = events.last().map(String::as_str).unwrap_or_default();
        assert!(last.contains("\"error\":{"), "{fault:?}: {events:?}");
        assert!(!response.text().contains("[DONE]"), "{fault:?}");
        assert!(response.complete, "the connection itself ends in order");
    }
    assert_eq!(cloud.bytes(), 0, "nothing is asked again once content was sent");
}

#[test]
fn a_missing_done_is_added_when_the_answer_is_whole() {
    let (cloud, own) = pair();
    own.always(Reply::words(3).and_then(3, Fault::NoDone));
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let response = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"), "{}", response.text());
}

#[test]
fn a_client_that_goes_ends_the_upstream_stream_or_not() {
    let (cloud, own) = pair();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let gate = Gate::new();
    own.always(Reply::words(5).hold_each_chunk(&gate));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    gate.release(2);
    raw.read_until("data: ").unwrap();
    drop(raw);
    until("the upstream sees the stream's client go", || own.disconnects().len() == 1);

    let gate = Gate::new();
    own.always(Reply::words(5).hold_headers(&gate));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask("app")).unwrap();
    until("the request is there", || own.inferences().len() == 2);
    drop(raw);
    until("the upstream sees the other client go", || own.disconnects().len() == 2);
    until("both are counted", || rig.metrics().contains("outcome=\"client_gone\"} 2"));

    // Who closes only its sending side in the middle of a stream is taken for gone, as by other proxies:
    // an SDK that gives an answer up looks the same, and what it gave up is paid for.
    let gate = Gate::new();
    own.always(Reply::words(5).hold_each_chunk(&gate));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    gate.release(2);
    raw.read_until("data: ").unwrap();
    raw.finish_sending().unwrap();
    until("the upstream sees it", || own.disconnects().len() == 3);
    until("it is counted", || rig.metrics().contains("outcome=\"client_gone\"} 3"));
}

/// The cloud, an upstream of one's own that has all traffic and must not be cancelled, and the gateway.
fn uncancelled() -> (Fake, Fake, Rig) {
    let (cloud, own) = pair();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%").replace(
        "provider = \"llamacpp\"",
        "provider = \"llamacpp\"\ncancel_on_disconnect = false",
    );
    let rig = Rig::start(&config);
    (cloud, own, rig)
}

#[test]
fn an_upstream_that_must_not_be_cancelled_is_read_to_its_end() {
    let (_cloud, own, rig) = uncancelled();
    let gate = Gate::new();
    own.always(Reply::words(5).hold_each_chunk(&gate));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    gate.release(2);
    raw.read_until("data: ").unwrap();
    drop(raw);
    until("the client's going is noticed", || rig.connections() == 0);
    gate.open();
    until("the upstream finished", || own.answered() == 1);
    assert!(own.disconnects().is_empty());
    until("what it took is counted all the same", || {
        let metrics = rig.metrics();
        let counted = "cutover_completion_tokens_total{use_case=\"docs\",arm=\"candidate\"";
        let line = metrics.lines().find(|line| line.starts_with(counted));
        metrics.contains("outcome=\"client_gone\"} 1")
            && line.is_some_and(|line| !line.ends_with(" 0"))
    });
}

#[test]
fn an_upstream_that_must_not_be_cancelled_lives_on_before_its_first_token_too() {
    let (_cloud, own, rig) = uncancelled();
    let gate = Gate::new();
    own.always(Reply::words(5).hold_first_token(&gate));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u1"], ask_stream("app")).unwrap();
    until("the request is there", || own.inferences().len() == 1);
    drop(raw);
    until("the client's going is noticed", || rig.connections() == 0);
    gate.open();
    until("the upstream finished", || own.answered() == 1);
    assert!(own.disconnects().is_empty());
    until("it is recorded", || rig.metrics().contains("outcome=\"client_gone\"} 1"));
}

/// Servers write `[DONE]` and the end of the body apart. Whoever drops the body in between pays for
/// a new connection, and its TLS handshake, with each stream.
#[test]
fn a_stream_that_ended_well_leaves_its_connection_for_the_next() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap());
    let (go_on, gate) = mpsc::channel();
    let server = thread::spawn(move || {
        let (mut socket, _) = listener.accept().unwrap();
        let mut request = Vec::new();
        while !String::from_utf8_lossy(&request).contains("include_usage") {
            let mut piece = [0; 4096];
            let count = socket.read(&mut piece).unwrap();
            assert!(count > 0, "the connection was closed");
            request.extend_from_slice(&piece[..count]);
        }
        let event = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"hi"},"finish_reason":"stop"}]}"#;
        let events = format!("data: {event}\n\ndata: [DONE]\n\n");
        let head =
            "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked";
        write!(socket, "{head}\r\n\r\n{:x}\r\n{events}\r\n", events.len()).unwrap();
        gate.recv().unwrap();
        socket.write_all(b"0\r\n\r\n").unwrap();
        gate.recv().unwrap();
        socket.set_nonblocking(true).unwrap();
        let more = socket.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(more, Err(ErrorKind::WouldBlock), "the connection is open");
    });
    let rig = Rig::start(&two_arms(&base_url, &base_url, "100%"));
    let answer = rig.chat(&["x-unit: u1"], &ask_stream("app"));
    assert!(answer.complete && answer.text().ends_with("data: [DONE]\n\n"), "{answer:?}");
    go_on.send(()).unwrap();
    until("the connection is free again", || {
        let live = rig.gateway.live();
        let idle = |at: usize| live.lanes[at].upstream.instances[0].instance.live().figures().idle;
        idle(0) + idle(1) == 1
    });
    go_on.send(()).unwrap();
    server.join().unwrap();
}

/// Whoever pinged on behalf of a frozen engine hid that for ten minutes.
#[test]
fn signs_of_life_alone_keep_no_stream_open() {
    let word = r#"{"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":{"content":"so "},"finish_reason":null}]}"#;
    let word = format!("data: {word}\n\n");
    // A silence as long as the idle timeout would be told as that: a busy machine's must not.
    let stays = |(alive, finds): (&str, bool)| {
        let (cloud, own) = pair();
        own.always(Reply::words(3).and_then(2, Fault::Alive(alive.into())));
        let timeouts =
            "idle_timeout = \"1 s\"\nfirst_token_timeout = \"2 s\"\ntotal_timeout = \"6 s\"";
        let config = two_arms(&cloud.base_url(), &own.base_url(), "100%")
            .replace("[upstreams.own]", &format!("[upstreams.own]\n{timeouts}"));
        let rig = Rig::start(&config);
        let answer = rig.chat(&["x-unit: u1"], &ask_stream("app"));
        let told = answer.text();
        let found = told.contains("signs of life, and no content");
        assert_eq!((answer.status, found), (200, finds), "{alive}: {told}");
        assert!(told.contains("w1") && !told.contains("[DONE]"), "{told}");
        let reason = if finds { "idle_timeout" } else { "total_timeout" };
        until("it is counted", || rig.metrics().contains(&format!("reason=\"{reason}\"")));
    };
    let cases = [(": keep-alive\n\n", true), ("data: {}\n\n", true), ("x", true), (&*word, false)];
    thread::scope(|scope| {
        cases.map(|case| scope.spawn(move || stays(case))).map(|one| one.join().unwrap())
    });
}
