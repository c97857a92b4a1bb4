//! What the bodies under way hold together: bounded, and given back on every way a request can end.

use cutover_testkit::fake::{Fake, Gate, Persona, Reply};
use cutover_testkit::raw::Raw;

use crate::harness::{Rig, two_arms, until};

/// Room for two bodies of [`LARGE`] bytes, not for three.
const MEMORY: &str =
    "[server]\nbody_limit = \"2 MiB\"\nbody_memory = \"4 MiB\"\nbody_timeout = \"2 s\"\n";

const LARGE: usize = 1_500_000;

fn rig(limits: &str) -> (Fake, Rig) {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let limits = format!("{limits}[upstreams.cloud]");
    let rig = Rig::start(&config.replace("[upstreams.cloud]", &limits));
    (own, rig)
}

fn held(rig: &Rig) -> usize {
    rig.gateway.live().limits.body.room.held()
}

/// Much of it says nothing, so that it fits any model's context.
fn large() -> String {
    let blanks = " ".repeat(LARGE);
    format!(
        r#"{{"model":"app",{blanks}"max_tokens":9,"messages":[{{"role":"user","content":"hi"}}]}}"#
    )
}

/// A client that has sent all of such a body but its last bytes.
fn sending(rig: &Rig, path: &str, chunked: bool) -> (Raw, String) {
    let (mut raw, body) = (rig.raw(), large());
    let (first, rest) = body.split_at(LARGE);
    let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\n");
    let head = if chunked {
        format!("{head}transfer-encoding: chunked\r\n\r\n{:x}\r\n", body.len())
    } else {
        format!("{head}content-length: {}\r\n\r\n", body.len())
    };
    raw.send(head).unwrap();
    raw.send(first).unwrap();
    let rest = if chunked { format!("{rest}\r\n0\r\n\r\n") } else { rest.to_owned() };
    (raw, rest)
}

/// Ten thousand clients could each hold 32 MiB: nothing bounded all of them together.
#[test]
fn a_body_without_room_is_refused_at_once_in_each_dialect_and_counted() {
    let (own, rig) = rig(&MEMORY.replace("2 s", "60 s"));
    let holding =
        [sending(&rig, "/v1/chat/completions", false), sending(&rig, "/v1/messages", true)];
    until("both are held", || held(&rig) >= 2 * LARGE);
    for (path, status, word) in [
        ("/v1/chat/completions", 503, "request_bodies_full"),
        ("/v1/responses", 503, "request_bodies_full"),
        ("/v1/messages", 529, "overloaded_error"),
        ("/v1beta/models/app:generateContent", 503, "UNAVAILABLE"),
        ("/api/chat", 503, "server.body_memory"),
    ] {
        let mut raw = rig.raw();
        // Nothing of it need be sent.
        raw.send(format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {LARGE}\r\n\r\n"
        ))
        .unwrap();
        let response = raw.response().unwrap().unwrap();
        assert_eq!(response.status, status, "{path}: {}", response.text());
        assert!(response.text().contains(word), "{path}: {}", response.text());
        assert_eq!(response.header("retry-after"), Some("1"), "{path}");
    }
    let metrics = rig.metrics();
    assert!(metrics.contains("limit=\"server.body_memory\"} 5"), "{metrics}");
    assert!(metrics.contains("outcome=\"internal_error\"} 5"), "{metrics}");
    // One that does not say how long it is learns it on the way.
    let (mut raw, _) = sending(&rig, "/v1/chat/completions", true);
    assert_eq!(raw.response().unwrap().map(|r| r.status), Some(503));
    // Small ones, and those that were there first, are answered.
    own.always(Reply::words(2));
    assert_eq!(rig.chat(&[], &crate::harness::ask("app")).status, 200);
    for (mut raw, rest) in holding {
        raw.send(rest).unwrap();
        let response = raw.response().unwrap().unwrap();
        assert_eq!(response.status, 200, "{}", response.text());
    }
    until("all is given back", || held(&rig) == 0);
}

/// In an order of its own on each run of the list: whoever ends a request, in whichever phase, its share is back.
#[test]
fn what_a_body_held_is_given_back_however_its_request_ends() {
    let (own, mut rig) = rig(MEMORY);
    for (at, chunked) in [false, true, true, false].into_iter().enumerate() {
        let path = ["/v1/chat/completions", "/v1/messages"][at % 2];
        // Its client goes while it sends, and while it waits for its answer.
        let (raw, _) = sending(&rig, path, chunked);
        until("it is held", || held(&rig) >= LARGE);
        drop(raw);
        until("a broken body is given back", || held(&rig) == 0);
        let gate = Gate::new();
        own.always(Reply::words(2).hold_headers(&gate));
        let asked = own.inferences().len();
        let (mut raw, rest) = sending(&rig, path, chunked);
        raw.send(rest).unwrap();
        until("it is asked", || own.inferences().len() > asked);
        drop(raw);
        until("an abandoned request's is given back", || held(&rig) == 0);
        gate.open();
        // It is too slow.
        let (mut raw, _) = sending(&rig, path, chunked);
        assert_eq!(raw.response().unwrap().map(|r| r.status), Some(408));
        until("a slow body is given back", || held(&rig) == 0);
        // It is too large, wrong, answered, refused upstream.
        let (mut raw, _) = sending(&rig, path, true);
        let _ = raw.send(format!("\r\n{:x}\r\n{}", LARGE, "x".repeat(LARGE)));
        drop(raw.response());
        until("a large body is given back", || held(&rig) == 0);
        own.always(Reply::words(2));
        let (mut raw, rest) = sending(&rig, path, chunked);
        raw.send(rest).unwrap();
        assert_eq!(raw.response().unwrap().map(|r| r.status), Some(200));
        until("an answered body is given back", || held(&rig) == 0);
        own.always(Reply::fault(cutover_testkit::fake::Fault::status(400)));
        let (mut raw, rest) = sending(&rig, path, chunked);
        raw.send(rest).unwrap();
        assert_eq!(raw.response().unwrap().map(|r| r.status), Some(400));
        until("a refused body is given back", || held(&rig) == 0);
    }
    let (_raw, _) = sending(&rig, "/v1/chat/completions", false);
    until("it is held", || held(&rig) >= LARGE);
    rig.stop();
    until("at the end of the drain it is given back", || held(&rig) == 0);
}

/// Copies for a slow candidate kept live requests out, with nothing live under way.
#[test]
fn copies_that_wait_hold_nothing_of_what_live_bodies_may() {
    let (cloud, own) = (Fake::start(Persona::OpenAi), Fake::start(Persona::LlamaCpp));
    let gate = Gate::new();
    own.always(Reply::words(2).hold_headers(&gate));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "0%");
    let config = config.replace("[upstreams.cloud]", &format!("{MEMORY}[upstreams.cloud]"));
    let rig = Rig::shadowing(&config, |settings| settings.capture_bytes_max = 2 << 20);
    for path in ["/v1/chat/completions", "/v1/chat/completions", "/v1/messages", "/v1/messages"] {
        let (mut raw, rest) = sending(&rig, path, true);
        raw.send(rest).unwrap();
        assert_eq!(raw.response().unwrap().map(|r| r.status), Some(200));
    }
    until("copies wait", || gate.arrivals() >= 1);
    until("their bodies are given back", || held(&rig) == 0);
    gate.open();
}
