//! HTTP as nobody should send it, and as some do: each has one outcome.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use cutover_testkit::fake::{Fake, Gate, Persona, Reply};
use cutover_testkit::raw::{Raw, Response};

use crate::harness::{Rig, ask, ask_stream, two_arms, until};

fn rig() -> (Fake, Rig) {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let limits = "[server]\nbody_limit = \"64 KiB\"\nbody_timeout = \"2 s\"\n[upstreams.cloud]";
    let rig = Rig::start(&config.replace("[upstreams.cloud]", limits));
    (own, rig)
}

const CHAT: &str = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n";

fn chunked(body: &str) -> String {
    format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())
}

/// What was answered to these bytes, and whether the connection was closed after it.
fn answered(rig: &Rig, bytes: impl AsRef<[u8]>) -> (Response, bool) {
    let mut raw = rig.raw();
    // It may be refused, and the connection closed, while it is still being sent.
    let _ = raw.send(bytes);
    let response = raw.response().unwrap().unwrap_or_default();
    // What is open takes another request.
    let asked = raw.request("GET /health", &[], "");
    let closed = asked.is_err() || !matches!(raw.response(), Ok(Some(next)) if next.status == 200);
    (response, closed)
}

fn refused(rig: &Rig, name: &str, bytes: impl AsRef<[u8]>) -> String {
    let (response, closed) = answered(rig, bytes);
    assert!(closed, "{name}: the connection was used on");
    let error = &response.json()["error"];
    for key in ["message", "type", "param", "code"] {
        assert!(error.get(key).is_some(), "{name}: {} {}", response.status, response.text());
    }
    let code = error["code"].as_str().unwrap();
    format!("{} {code}", response.status)
}

#[test]
fn where_a_request_ends_is_said_in_one_way_or_it_is_refused() {
    let (own, rig) = rig();
    let body = ask("app");
    let length = format!("content-length: {}\r\n", body.len());
    let coding = "transfer-encoding: chunked\r\n";
    for (name, lines) in [
        ("a length, then a coding", format!("{length}{coding}")),
        ("a coding, then a length", format!("{coding}{length}")),
        ("a length between codings", format!("{coding}{length}{coding}")),
        ("a coding and no length at all", format!("{coding}content-length: 0\r\n")),
        ("two codings", format!("{coding}{coding}")),
        ("a list of codings", "transfer-encoding: identity, chunked\r\n".to_owned()),
        ("compressed and chunked", "transfer-encoding: gzip, chunked\r\n".to_owned()),
        ("chunked twice", "transfer-encoding: chunked, chunked\r\n".to_owned()),
        ("chunked not last", "transfer-encoding: chunked, gzip\r\n".to_owned()),
        ("nearly chunked", "transfer-encoding: xchunked\r\n".to_owned()),
        ("chunked behind a tab of the wrong kind", "transfer-encoding: \x0bchunked\r\n".to_owned()),
        ("a blank before the colon", "transfer-encoding : chunked\r\n".to_owned()),
        ("two lengths", format!("{length}content-length: 3\r\n")),
        ("a list of lengths", format!("content-length: {0}, {0}\r\n", body.len())),
        ("a signed length", format!("content-length: +{}\r\n", body.len())),
        ("a length in hexadecimal", "content-length: 0x10\r\n".to_owned()),
        ("an empty length", "content-length: \r\n".to_owned()),
        ("a length that no number holds", "content-length: 99999999999999999999999\r\n".to_owned()),
    ] {
        let sent = format!("{CHAT}{lines}\r\n{}{CHAT}{length}\r\n{body}", chunked(&body));
        assert_eq!(refused(&rig, name, sent), "400 malformed_http", "{name}");
    }
    let old = CHAT.replace("1.1", "1.0");
    let sent = format!("{old}{coding}\r\n{}", chunked(&body));
    assert_eq!(refused(&rig, "an old client's coding", sent), "400 malformed_http");
    // In pieces of a few bytes, too.
    let mut raw = rig.raw();
    for piece in format!("{CHAT}{coding}{length}\r\n").as_bytes().chunks(7) {
        raw.send(piece).unwrap();
    }
    assert_eq!(raw.response().unwrap().map(|r| r.status), Some(400));
    assert_eq!(own.inferences().len(), 0);
    // The same length twice, and a coding in capitals, are one.
    for (lines, body) in [
        (format!("{length}{length}"), body.clone()),
        ("Transfer-Encoding: CHUNKED\r\n".to_owned(), chunked(&body)),
    ] {
        let (response, closed) = answered(&rig, format!("{CHAT}{lines}\r\n{body}"));
        assert_eq!((response.status, closed), (200, false), "{lines}");
    }
}

/// A request whose follower could be read in two ways is answered; the follower is not even read.
#[test]
fn a_doubtful_request_behind_another_ends_the_connection_after_that() {
    let (own, rig) = rig();
    let body = ask("app");
    let length = format!("content-length: {}\r\n", body.len());
    let good = format!("{CHAT}{length}\r\n{body}");
    let in_chunks = format!("{CHAT}transfer-encoding: chunked\r\n\r\n{}", chunked(&body));
    let doubtful = format!("{CHAT}{length}transfer-encoding: chunked\r\n\r\n{}", chunked(&body));
    for (name, first, pieces) in [
        ("in one piece", &good, 1),
        ("in pieces of a few bytes", &good, 7),
        ("behind chunks", &in_chunks, 1),
    ] {
        let before = own.inferences().len();
        let mut raw = rig.raw();
        let sent = format!("{first}{doubtful}{good}");
        let size = if pieces == 1 { sent.len() } else { pieces };
        for piece in sent.as_bytes().chunks(size) {
            // The connection may end before all of it was sent.
            let _ = raw.send(piece);
        }
        let answer = raw.response().unwrap().expect("an answer to the first");
        assert_eq!(answer.status, 200, "{name}: {}", answer.text());
        let mut last = answer.header("connection") == Some("close");
        // Whose follower came after its answer had begun: that one is refused itself, then.
        if !last {
            let refused = raw.response().unwrap().expect("an answer to the second");
            assert_eq!(refused.json()["error"]["code"], "malformed_http", "{name}");
            last = refused.header("connection") == Some("close");
        }
        assert!(last, "{name}");
        assert!(matches!(raw.response(), Ok(None) | Err(_)), "{name}: nothing follows");
        assert_eq!(own.inferences().len(), before + 1, "{name}");
    }
    // Requests that say their end in one way may follow one another in one piece.
    let mut raw = rig.raw();
    raw.send(format!("{good}{good}{in_chunks}").as_bytes()).unwrap();
    for _ in 0..3 {
        let answer = raw.response().unwrap().expect("an answer");
        assert_eq!((answer.status, answer.header("connection")), (200, None));
    }
}

#[test]
fn a_length_beyond_all_counting_is_a_body_too_large() {
    let (_own, rig) = rig();
    for length in ["18446744073709551615", "9223372036854775808", "99999999"] {
        let sent = format!("{CHAT}content-length: {length}\r\n\r\n{{");
        assert_eq!(refused(&rig, length, sent), "413 request_too_large", "{length}");
    }
}

#[test]
fn lines_that_are_no_header_are_refused_and_bare_newlines_taken() {
    let (own, rig) = rig();
    let body = ask("app");
    let length = format!("content-length: {}\r\n", body.len());
    for (name, lines) in [
        ("a folded line", "x-a: b\r\n c\r\n"),
        ("a carriage return in a value", "x-a: b\rc\r\n"),
        ("a NUL in a value", "x-a: b\0c\r\n"),
        ("a NUL in a name", "x-\0a: b\r\n"),
        ("no name", ": b\r\n"),
        ("no colon", "words\r\n"),
        ("a second host", "host: localhost\r\n"),
        ("a host beside another", "host: b\r\n"),
    ] {
        let sent = format!("{CHAT}{lines}{length}\r\n{body}");
        assert_eq!(refused(&rig, name, sent), "400 malformed_http", "{name}");
    }
    for (name, sent) in [
        ("HTTP/0.9", "GET /v1/models\r\n\r\n".to_owned()),
        ("HTTP/1.2", "GET /health HTTP/1.2\r\nhost: localhost\r\n\r\n".to_owned()),
        ("HTTP/2.0", "GET /health HTTP/2.0\r\nhost: localhost\r\n\r\n".to_owned()),
        ("lower case", "GET /health http/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("no host", "GET /health HTTP/1.1\r\n\r\n".to_owned()),
        ("a host with a path", "GET /health HTTP/1.1\r\nhost: a/b\r\n\r\n".to_owned()),
        ("a NUL in the path", "GET /v1/mod\0els HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("an authority as target", "GET a:80 HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("a relative path", "GET v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("no target", "GET  HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned()),
        ("TLS", "\x16\x03\x01\0\u{1}\0\r\n\r\n".to_owned()),
    ] {
        assert_eq!(refused(&rig, name, sent), "400 malformed_http", "{name}");
    }
    assert_eq!(own.bytes(), 0);
    // What RFC 9112 (2.2) lets a server take for the end of a line.
    let bare = format!("{CHAT}{length}\r\n").replace("\r\n", "\n");
    let (response, closed) = answered(&rig, format!("{bare}{body}"));
    assert_eq!((response.status, closed), (200, false));
}

#[test]
fn chunks_are_read_strictly_and_within_limits() {
    let (own, rig) = rig();
    let body = ask("app");
    let head = format!("{CHAT}transfer-encoding: chunked\r\n\r\n");
    let size = format!("{:x}", body.len());
    let end = "\r\n0\r\n\r\n";
    for (name, sent) in [
        ("a size that no number holds", format!("fffffffffffffffff\r\n{body}{end}")),
        ("a negative size", format!("-1\r\n{body}{end}")),
        ("a signed size", format!("+{size}\r\n{body}{end}")),
        ("a prefixed size", format!("0x{size}\r\n{body}{end}")),
        ("an empty size", format!("\r\n{body}{end}")),
        ("a bare newline", format!("{size}\n{body}{end}")),
        ("a bare newline in an extension", format!("{size};a\n{body}{end}")),
        ("a wrong size", format!("5\r\n{body}{end}")),
        ("a huge extension", format!("{size};{}\r\n{body}{end}", "e".repeat(100_000))),
        ("a huge trailer", format!("{size}\r\n{body}\r\n0\r\nx: {}\r\n\r\n", "a".repeat(200_000))),
        ("many trailers", format!("{size}\r\n{body}\r\n0\r\n{}\r\n", "x: 1\r\n".repeat(5_000))),
    ] {
        let code = refused(&rig, name, format!("{head}{sent}"));
        assert_eq!(code, "400 malformed_http", "{name}");
    }
    // Sizes are believed only as far as bytes come.
    let large = format!("{head}ffffffffffffffff\r\n{}", "a".repeat(100_000));
    assert_eq!(refused(&rig, "a huge chunk", large), "413 request_too_large");
    let mut raw = rig.raw();
    raw.send(format!("{head}{size}\r\n{body}\r\n")).unwrap();
    raw.finish_sending().unwrap();
    let response = raw.response().unwrap().unwrap();
    let error = &response.json()["error"];
    assert_eq!(error["code"], "malformed_http", "{error}");
    assert!(error["message"].as_str().unwrap().contains("ended before"), "{error}");
    assert_eq!(own.inferences().len(), 0);
    let mut small = format!("{head}{size};a=b;c=\"d\"\r\n{body}\r\n0\r\n");
    small.push_str("x-trailer: 1\r\ncontent-length: 3\r\n\r\n");
    let (response, closed) = answered(&rig, small);
    assert_eq!(
        (response.status, closed),
        (200, false),
        "extensions and trailers count for nothing"
    );
}

#[test]
fn who_asks_for_another_protocol_is_answered_in_this_one() {
    let (own, rig) = rig();
    let upgrade = |to: &str, path: &str| {
        let lines = format!("connection: upgrade, http2-settings\r\nupgrade: {to}\r\n");
        format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{lines}http2-settings: AAMAAABk\r\n\r\n")
    };
    for (name, sent, status) in [
        ("h2c", upgrade("h2c", "/v1/models"), 200),
        ("a web socket", upgrade("websocket", "/health"), 200),
        ("a web socket to speak with a model", upgrade("websocket", "/v1/realtime"), 501),
        (
            "a proxy's absolute form",
            "GET http://b.example/health HTTP/1.1\r\nhost: localhost\r\n\r\n".into(),
            200,
        ),
        ("CONNECT", "CONNECT b.example:443 HTTP/1.1\r\nhost: b.example:443\r\n\r\n".into(), 405),
        ("CONNECT to a path", "CONNECT /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n".into(), 405),
        (
            "TRACE",
            "TRACE /v1/models HTTP/1.1\r\nhost: localhost\r\nx-secret: 1\r\n\r\n".into(),
            405,
        ),
        (
            "an unknown expectation",
            "GET /health HTTP/1.1\r\nhost: localhost\r\nexpect: b\r\n\r\n".into(),
            200,
        ),
    ] {
        let (response, closed) = answered(&rig, sent);
        assert_eq!((response.status, closed), (status, false), "{name}: {}", response.text());
        assert_eq!(response.header("upgrade"), None, "{name}");
        assert!(!response.text().contains("x-secret"), "{name}");
    }
    assert_eq!(own.inferences().len(), 0);
    // HTTP/2 from the first byte on: silence, which such clients understand.
    let mut raw = rig.raw();
    raw.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    assert!(raw.read_to_close().is_empty());
}

/// Some clients say that they will send nothing more, and wait for the answer. It looks like leaving.
#[test]
fn who_closes_its_sending_side_is_answered_and_who_leaves_is_not_waited_for() {
    let (own, rig) = rig();
    let waiting = |body: &str| {
        let gate = Gate::new();
        own.once(Reply::words(3).hold_headers(&gate));
        let mut raw = rig.raw();
        raw.request("POST /v1/chat/completions", &["x-unit: u"], body).unwrap();
        until("it is there", || own.in_flight() == 1);
        (raw, gate)
    };
    for body in [ask("app"), ask_stream("app")] {
        let (mut raw, gate) = waiting(&body);
        raw.finish_sending().unwrap();
        // It is told apart from one that has left by one letter of its answer, which comes at once.
        assert_eq!(raw.read_some().unwrap(), b"H");
        gate.open();
        let rest = String::from_utf8_lossy(&raw.read_to_close()).into_owned();
        assert!(rest.starts_with("TTP/1.1 200 OK\r\n") && rest.contains("w2"), "{rest}");
        assert!(rest.ends_with("0\r\n\r\n") || rest.ends_with('}'), "{rest}");
        let (raw, _gate) = waiting(&body);
        let left = Instant::now();
        drop(raw);
        until("its upstream is let go", || own.in_flight() == 0);
        assert!(left.elapsed() < Duration::from_secs(5), "{:?}", left.elapsed());
    }
    let metrics = rig.metrics();
    let gone = metrics.lines().filter(|line| line.contains("outcome=\"client_gone\"} 2"));
    assert_eq!(gone.count(), 1, "{metrics}");
}

/// In the middle of an answer nothing can be sent that is not the answer.
#[test]
fn who_closes_its_sending_side_while_a_stream_comes_counts_as_gone() {
    let (own, rig) = rig();
    let gate = Gate::new();
    own.once(Reply::words(3).hold_each_chunk(&gate));
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &["x-unit: u"], ask_stream("app")).unwrap();
    gate.release(1);
    raw.read_until("w0 ").unwrap();
    raw.finish_sending().unwrap();
    until("its upstream is let go", || own.in_flight() == 0);
}

#[test]
fn an_old_client_keeps_its_connection_if_it_asks_to() {
    let (_own, rig) = rig();
    let mut raw = rig.raw();
    for _ in 0..2 {
        raw.send("GET /health HTTP/1.0\r\nconnection: keep-alive\r\n\r\n").unwrap();
        let response = raw.response().unwrap().unwrap();
        assert_eq!((response.status, response.header("connection")), (200, Some("keep-alive")));
    }
    raw.send("GET /health HTTP/1.0\r\n\r\n").unwrap();
    assert_eq!(raw.response().unwrap().unwrap().status, 200);
    assert!(raw.read_to_close().is_empty());
}

#[test]
fn a_hundred_pipelined_requests_get_a_hundred_answers() {
    let (own, rig) = rig();
    let body = ask("app");
    let one = format!("{CHAT}content-length: {}\r\n\r\n{body}", body.len());
    let mut raw = rig.raw();
    raw.send(one.repeat(100)).unwrap();
    for at in 0..100 {
        assert_eq!(raw.response().unwrap().map(|r| r.status), Some(200), "{at}");
    }
    assert_eq!(own.inferences().len(), 100);
}

#[test]
fn paths_are_compared_as_they_are_written() {
    let (own, rig) = rig();
    let body = ask("app");
    let long = format!("/v1/{}", "a".repeat(60_000));
    for (path, status) in [
        ("//v1//chat/completions", 404),
        ("/v1//chat/completions", 404),
        ("/v1/chat/%63ompletions", 404),
        ("/v1/../v1/chat/completions", 404),
        ("/v1/chat/completions;a=b", 404),
        ("/V1/chat/completions", 404),
        ("/v1/v1/chat/completions", 404),
        ("/v1/chat/completions%00", 404),
        ("/v1/embeddings/", 404),
        ("/v1/\u{e7}hat", 404),
        ("/%", 404),
        ("*", 404),
        (&long, 404),
        ("/v1/chat/completions?a=b&c", 200),
        ("/v1/chat/completions?", 200),
        ("/v1/chat/completions#fragment", 200),
    ] {
        let length = body.len();
        let sent = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let (response, closed) = answered(&rig, sent);
        assert_eq!((response.status, closed), (status, false), "{path}: {}", response.text());
        assert!(response.body.len() < 1_000, "a long path is not sent back");
    }
    assert_eq!(own.inferences().len(), 3);
}

/// A page in a browser would need a key to ask: who may read the page could take it.
#[test]
fn browsers_are_told_nothing_that_lets_a_page_ask() {
    let (own, rig) = rig();
    let mut preflight = "OPTIONS /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n".to_owned();
    let wants =
        "access-control-request-method: POST\r\naccess-control-request-headers: authorization";
    write!(preflight, "origin: https://b.example\r\n{wants}\r\n\r\n").unwrap();
    let (response, closed) = answered(&rig, preflight);
    assert_eq!((response.status, response.header("allow"), closed), (405, Some("POST"), false));
    let simple = rig.chat(&["origin: https://b.example"], &ask("app"));
    for response in [&response, &simple] {
        let names = response.headers.iter().map(|(name, _)| name);
        assert!(names.into_iter().all(|name| !name.starts_with("access-control-")));
    }
    assert_eq!((simple.status, own.bytes()), (403, 0), "no key is asked for");
}

/// What `fetch(url, {method: "POST", mode: "no-cors", body})` sends needs no preflight, and a name that was made to
/// lead here makes its page one of this origin.
#[test]
fn where_no_key_is_asked_for_a_page_can_spend_none() {
    let (own, rig) = rig();
    let body = ask("app");
    let host = |host: &str| {
        let length = body.len();
        let (response, _) = answered(
            &rig,
            format!(
                "POST /v1/chat/completions HTTP/1.1\r\nhost: {host}\r\ncontent-length: {length}\r\n\r\n{body}"
            ),
        );
        response
    };
    let rebound = host("rebind.b.example:4000");
    assert_eq!(rebound.status, 403);
    assert!(rebound.text().contains("localhost"), "{}", rebound.text());
    let text = "content-type: text/plain;charset=UTF-8";
    let page = ["origin: https://b.example", "sec-fetch-site: cross-site", text];
    for path in ["/v1/chat/completions", "/v1/messages", "/api/chat", "/v1/moderations"] {
        let response = rig.post(path, &page, &body);
        assert_eq!(response.status, 403, "{path}: {}", response.text());
    }
    let list = |header: &str| {
        let mut raw = rig.raw();
        raw.request("GET /v1/models", &[header], "").unwrap();
        raw.response().unwrap().unwrap().status
    };
    assert_eq!(list("sec-fetch-site: cross-site"), 403);
    assert_eq!(own.bytes(), 0);
    assert_eq!(
        rig.figure("cutover_auth_failures_total{listener=\"client\",reason=\"origin\"}"),
        Some(5)
    );
    assert_eq!(
        rig.figure("cutover_auth_failures_total{listener=\"client\",reason=\"host\"}"),
        Some(1)
    );
    assert_eq!(list("origin: http://localhost:3000"), 200);
    for name in ["localhost", "127.0.0.1:4000", "[::1]:4000", "host.docker.internal:4000"] {
        assert_eq!(host(name).status, 200, "{name}");
    }
}

/// Who shows a key is nobody's page: a browser adds none by itself.
#[test]
fn where_a_key_is_asked_for_it_alone_decides() {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let ring = crate::keys::ring(&["good"]);
    let rig = Rig::start_with(&config, Some(ring));
    let key = format!("authorization: Bearer {}", "good".repeat(10));
    let page = ["origin: https://b.example", "sec-fetch-site: cross-site"];
    assert_eq!(rig.chat(&[&key, page[0], page[1]], &ask("app")).status, 200);
    assert_eq!(rig.chat(&page, &ask("app")).status, 401);
}

#[test]
fn a_405_lists_what_the_path_takes() {
    let (_own, rig) = rig();
    for (line, takes) in [
        ("GET /v1/chat/completions", "POST"),
        ("POST /v1/models", "GET, HEAD"),
        ("DELETE /v1/messages", "POST"),
        ("PUT /v1/files", "GET, HEAD, POST"),
    ] {
        let (response, _) = answered(&rig, format!("{line} HTTP/1.1\r\nhost: localhost\r\n\r\n"));
        assert_eq!((response.status, response.header("allow")), (405, Some(takes)), "{line}");
    }
}

#[test]
fn what_only_we_say_is_not_taken_from_a_client() {
    let (own, rig) = rig();
    let forged = [
        "x-request-id: mine",
        "x-cutover-arm: candidate",
        "x-cutover-assigned-arm: candidate",
        "x-cutover-variant: forged%0d%0aset-cookie: a=b",
        "x-cutover-upstream: forged",
        "x-cutover-instance: forged",
        "x-cutover-attempts: 77",
        "x-cutover-loss: forged",
        "x-should-retry: true",
    ];
    for body in [ask("app"), ask_stream("app")] {
        let response = rig.chat(&forged, &body);
        assert_eq!(response.status, 200, "{}", response.text());
        for (name, value) in &response.headers {
            assert!(
                !value.contains("forged") && value != "mine" && value != "77",
                "{name}: {value}"
            );
        }
        assert_eq!(response.header("x-cutover-arm"), Some("baseline"));
        assert_eq!(response.header("set-cookie"), None);
        assert_eq!(response.header("x-should-retry"), None);
    }
    for seen in own.inferences() {
        let names: Vec<_> = seen.headers.iter().map(|(name, _)| name.clone()).collect();
        assert!(names.iter().all(|name| !name.starts_with("x-cutover-")), "{names:?}");
    }
}

/// Each holds a place and some kilobytes, and nobody else waits for it.
#[test]
fn two_thousand_idle_connections_are_in_nobodys_way() {
    let (_own, rig) = rig();
    let idle: Vec<Raw> = (0..2_000).map(|_| rig.raw()).collect();
    let response = rig.chat(&[], &ask("app"));
    assert_eq!(response.status, 200);
    assert!(rig.connections() >= 2_000, "{}", rig.connections());
    drop(idle);
    until("all are forgotten", || rig.connections() == 0);
}

/// An engine that answers one request on each connection, and closes it when the next one comes.
fn closes_when_reused() -> String {
    use std::io::{Read as _, Write as _};
    const BODY: &str = r#"{"id":"x","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"ok"},"finish_reason":"stop"}]}"#;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            std::thread::spawn(move || {
                let mut request = Vec::new();
                while !request.ends_with(b"}") {
                    let mut piece = [0; 4_096];
                    let Ok(1..) = stream
                        .read(&mut piece)
                        .inspect(|n| request.extend_from_slice(&piece[..*n]))
                    else {
                        return;
                    };
                }
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: ";
                let _ = stream.write_all(format!("{head}{}\r\n\r\n{BODY}", BODY.len()).as_bytes());
                let _ = stream.read(&mut [0; 1]);
            });
        }
    });
    format!("http://{address}/v1")
}

/// Whether it was sent twice was known to tests alone.
#[test]
fn a_request_that_an_idle_close_made_be_sent_again_is_counted() {
    let base = closes_when_reused();
    let rig = Rig::start(&format!(
        "[upstreams.cloud]\nprovider = \"openai-compatible\"\nbase_url = \"{base}\"\n"
    ));
    let of = "cutover_resends_total{upstream=\"cloud\",upstream_instance=\"cloud/0\"}";
    let count = || rig.figure(of).expect("it is there from the start");
    assert_eq!(count(), 0);
    // On a busy machine a close may come too late to be taken for an idle one.
    until("one was sent again", || {
        let _ = rig.chat(&[], &ask("m"));
        count() > 0
    });
}
