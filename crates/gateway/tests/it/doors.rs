//! Bad input: each has a defined outcome.

use std::time::{Duration, Instant};

use cutover_testkit::fake::{Fake, Gate, Persona, Reply};

use cutover_store::{Options, Store, Window};
use cutover_testkit::raw::Raw;
use cutover_units::Millis;

use crate::harness::{Rig, ask, ask_stream, now, two_arms, until};

fn rig() -> (Fake, Rig) {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let limits = "[server]\nbody_limit = \"64 KiB\"\nbody_timeout = \"300 ms\"\nheader_timeout = \"300 ms\"\n";
    let rig =
        Rig::start(&config.replace("[upstreams.cloud]", &format!("{limits}[upstreams.cloud]")));
    (own, rig)
}

#[test]
fn wrong_bodies_are_400_with_four_keys_and_reach_no_upstream() {
    let (own, rig) = rig();
    let cases = [
        ("", "invalid_json"),
        ("{", "invalid_json"),
        ("[]", "invalid_type"),
        (r#"{"model":"app"}"#, "missing_required_parameter"),
        (r#"{"messages":[]}"#, "missing_required_parameter"),
        (r#"{"model":7,"messages":[]}"#, "invalid_type"),
        (r#"{"model":"app","model":"b","messages":[]}"#, "invalid_value"),
        (r#"{"model":"app","messages":[],"stream":"yes"}"#, "invalid_type"),
    ];
    for (body, code) in cases {
        let response = rig.chat(&[], body);
        assert_eq!(response.status, 400, "{body}: {}", response.text());
        let error = &response.json()["error"];
        assert_eq!(error["code"], code, "{body}: {error}");
        for key in ["message", "type", "param", "code"] {
            assert!(error.get(key).is_some(), "{body}: {error}");
        }
        assert!(response.header("x-request-id").is_some());
    }
    assert_eq!(own.bytes(), 0);
}

#[test]
fn oversized_bodies_are_413_announced_or_not() {
    let (own, rig) = rig();
    let big = format!(r#"{{"model":"app","messages":[],"x":"{}"}}"#, "a".repeat(100_000));
    let response = rig.chat(&[], &big);
    assert_eq!(response.status, 413);
    assert_eq!(response.json()["error"]["code"], "request_too_large");
    let mut raw = rig.raw();
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n")
        .unwrap();
    let chunk = format!("10000\r\n{}\r\n", "a".repeat(0x10000));
    // The gateway may close while we still write.
    let _ = raw.send(&chunk).and_then(|()| raw.send(&chunk));
    let status = raw.response().ok().flatten().map(|r| r.status);
    assert!(matches!(status, Some(413) | None), "{status:?}");
    assert_eq!(own.bytes(), 0);
}

#[test]
fn slow_heads_and_slow_bodies_are_cut() {
    let (_own, rig) = rig();
    let mut raw = rig.raw();
    raw.send("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n").unwrap();
    let answer = String::from_utf8_lossy(&raw.read_to_close()).into_owned();
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 408"), "{answer}");
    let mut raw = rig.raw();
    raw.send(
        "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{",
    )
    .unwrap();
    let response = raw.response().unwrap().unwrap();
    assert_eq!(response.status, 408);
    assert_eq!(response.json()["error"]["code"], "request_timeout");
}

#[test]
fn smuggling_is_refused_before_anything_is_sent_on() {
    let (own, rig) = rig();
    let heads = [
        "content-length: 5\r\ntransfer-encoding: chunked",
        "content-length: 5\r\ncontent-length: 6",
        "transfer-encoding: gzip",
        "content-length: -1",
        "content-length: 5, 6",
        "x: a\r\n folded: b\r\ncontent-length: 2",
        "content-length : 5",
    ];
    for head in heads {
        let mut raw = rig.raw();
        let request =
            format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n");
        raw.send(request).unwrap();
        let _ = raw.send("0\r\n\r\nGET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let _ = raw.finish_sending();
        let answer = String::from_utf8_lossy(&raw.read_to_close()).into_owned();
        assert!(!answer.contains("HTTP/1.1 200"), "{head}: {answer}");
    }
    assert_eq!(own.inferences().len(), 0);
}

/// The error of a head that was refused, whoever refused it: in the form of all others.
fn refused_head(raw: &mut Raw) -> (u16, String) {
    let response = raw.response().unwrap().expect("an answer");
    let error = &response.json()["error"];
    for key in ["message", "type", "param", "code"] {
        assert!(error.get(key).is_some(), "{}", response.text());
    }
    assert!(response.header("x-request-id").is_some_and(|id| id.starts_with("req_")));
    assert_eq!(response.header("connection"), Some("close"));
    assert!(raw.read_to_close().is_empty(), "nothing follows");
    (response.status, error["code"].as_str().unwrap().to_owned())
}

fn counted(rig: &Rig, family: &str, label: &str) -> u64 {
    let metrics = rig.metrics();
    let line = metrics.lines().find(|line| line.starts_with(family) && line.contains(label));
    line.and_then(|line| line.rsplit(' ').next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn heads_beyond_the_limits_are_answered_and_counted_to_the_byte() {
    let (own, rig) = rig();
    // The limit is 64 KiB; what hyper's own buffer makes of a head must not show.
    let head = |bytes: usize| {
        let frame = "GET /health HTTP/1.1\r\nhost: localhost\r\nx-fill: \r\n\r\n".len();
        let fill = "a".repeat(bytes - frame);
        format!("GET /health HTTP/1.1\r\nhost: localhost\r\nx-fill: {fill}\r\n\r\n")
    };
    let limit = 64 * 1024;
    let mut raw = rig.raw();
    raw.send(head(limit)).unwrap();
    assert_ne!(raw.response().unwrap().map(|r| r.status), Some(431), "just within");
    for bytes in [limit + 1, limit + 5_000, 3 * limit] {
        let mut raw = rig.raw();
        let _ = raw.send(head(bytes));
        let expected = (431, "request_headers_too_large".to_owned());
        assert_eq!(refused_head(&mut raw), expected, "{bytes}");
    }
    let by_size = counted(&rig, "cutover_limits_hit_total", "\"server.header_limit\"");
    assert_eq!(by_size, 3);
    let many: Vec<String> = (0..200).map(|n| format!("x-{n}: 1")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut raw = rig.raw();
    raw.request("POST /v1/chat/completions", &many, ask("app")).unwrap();
    assert_eq!(refused_head(&mut raw), (431, "request_headers_too_large".to_owned()));
    assert_eq!(counted(&rig, "cutover_limits_hit_total", "\"server.header_count\""), 1);
    let mut raw = rig.raw();
    let _ = raw.send(format!("GET /{} HTTP/1.1\r\nhost: localhost\r\n\r\n", "a".repeat(70_000)));
    assert_eq!(refused_head(&mut raw).0, 431);
    assert_eq!(counted(&rig, "cutover_errors_total", "\"request_headers_too_large\""), 5);
    assert_eq!(own.bytes(), 0);
}

#[test]
fn a_head_that_is_no_http_is_answered_and_counted_also_behind_a_good_one() {
    let (_own, rig) = rig();
    let bad = ["NONSENSE\r\n\r\n", "GET / HTTP/1.1\r\nx y: 1\r\n\r\n", "G@T / HTTP/9.9\r\n\r\n"];
    for bytes in bad {
        let mut raw = rig.raw();
        raw.send(bytes).unwrap();
        assert_eq!(refused_head(&mut raw), (400, "malformed_http".to_owned()), "{bytes}");
    }
    // Pipelined: the first is answered before.
    let mut raw = rig.raw();
    raw.send("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\nNONSENSE\r\n\r\n").unwrap();
    assert_eq!(raw.response().unwrap().map(|r| r.status), Some(200));
    assert_eq!(refused_head(&mut raw), (400, "malformed_http".to_owned()));
    until("all are counted", || counted(&rig, "cutover_errors_total", "\"malformed_http\"") == 4);
}

#[test]
fn a_head_that_is_too_large_is_refused_in_the_clients_dialect() {
    let (_own, rig) = rig();
    let mut raw = rig.raw();
    let large = format!("x-large: {}", "a".repeat(64 * 1024));
    raw.request("POST /v1/messages", &["anthropic-version: 2023-06-01", &large], "{}").unwrap();
    let response = raw.response().unwrap().unwrap();
    assert_eq!(response.json()["type"], "error", "{}", response.text());
}

#[test]
fn a_use_case_or_priority_that_there_is_none_of_is_refused_and_sent_nowhere() {
    let (own, rig) = rig();
    let cases = [
        ("x-cutover-use-case: dosc", "x-cutover-use-case"),
        ("x-cutover-use-case: ", "x-cutover-use-case"),
        ("x-cutover-priority: cheap", "x-cutover-priority"),
    ];
    for (header, param) in cases {
        let response = rig.chat(&[header], &ask("app"));
        assert_eq!(response.status, 400, "{header}: {}", response.text());
        let error = &response.json()["error"];
        assert_eq!((&error["code"], &error["param"]), (&"invalid_value".into(), &param.into()));
    }
    let twice = ["x-cutover-use-case: docs", "x-cutover-use-case: docs"];
    assert_eq!(rig.chat(&twice, &ask("app")).status, 400);
    let message = ask("app").replace("}]", "}],\"max_tokens\":9");
    let other = rig.post("/v1/messages", &["x-cutover-use-case: dosc"], &message);
    assert_eq!((other.status, &other.json()["type"]), (400, &"error".into()));
    assert_eq!(own.bytes(), 0);
    let good = rig.chat(&["x-cutover-use-case: docs", "x-cutover-priority: cost"], &ask("other"));
    assert_eq!(good.header("x-cutover-use-case"), Some("docs"), "{}", good.text());
}

#[test]
fn an_idle_connection_is_closed_after_its_time_and_not_before() {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let server = "[server]\nidle_timeout = \"300 ms\"\n[upstreams.cloud]";
    let rig = Rig::start(&config.replace("[upstreams.cloud]", server));
    let mut raw = rig.raw();
    raw.request("GET /health", &[], "").unwrap();
    assert_eq!(raw.response().unwrap().map(|r| r.status), Some(200));
    let answered = Instant::now();
    assert!(raw.read_to_close().is_empty());
    let idle = answered.elapsed();
    assert!(idle > Duration::from_millis(200) && idle < Duration::from_secs(20), "{idle:?}");
}

#[test]
fn unknown_paths_and_methods_answer_in_json() {
    let (_own, rig) = rig();
    let unknown = rig.post("/v1/unheard_of", &[], "{}");
    assert_eq!((unknown.status, &unknown.json()["error"]["code"]), (404, &"not_found".into()));
    // What a vendor's administration is asked for never passes.
    let closed = rig.post("/v1/organization/keys", &[], "{}");
    assert_eq!(
        (closed.status, &closed.json()["error"]["code"]),
        (403, &"permission_denied".into()),
        "{}",
        closed.text()
    );
    let mut raw = rig.raw();
    raw.request("GET /v1/chat/completions", &[], "").unwrap();
    assert_eq!(raw.response().unwrap().unwrap().status, 405);
}

#[test]
fn a_client_cannot_name_an_upstream() {
    let (own, rig) = rig();
    for field in ["api_base", "base_url", "api_key", "extra_headers", "custom_llm_provider"] {
        let body =
            ask("app").replace("\"model\"", &format!("\"{field}\":\"http://evil\",\"model\""));
        let response = rig.chat(&["x-unit: u"], &body);
        assert!(
            own.inferences()
                .iter()
                .all(|seen| !String::from_utf8_lossy(&seen.body).contains(field)),
            "{field} was passed on: {}",
            response.text()
        );
    }
}

/// Closing a socket with unread bytes resets the connection: a client that is still writing would see
/// that, not the answer that says why.
#[test]
fn who_is_refused_with_a_large_body_can_send_it_and_read_why() {
    let (own, rig) = rig();
    let large = "a".repeat(8 << 20);
    for (path, status) in [("/v1/unheard_of", 404), ("/v1/chat/completions", 413)] {
        let mut raw = rig.raw();
        raw.request(&format!("POST {path}"), &[], &large).expect("the body is taken");
        let response = raw.response().unwrap().unwrap();
        assert_eq!(response.status, status);
        assert_eq!(response.header("connection"), Some("close"));
        assert!(raw.read_to_close().is_empty());
    }
    assert_eq!(own.bytes(), 0);
}

#[test]
fn a_small_refused_body_does_not_cost_the_connection() {
    let (_own, rig) = rig();
    let mut raw = rig.raw();
    for (path, body, status) in [
        ("/v1/unheard_of", "{}".to_owned(), 404),
        ("/v1/chat/completions", "a".repeat(100_000), 413),
        ("/v1/chat/completions", "{".to_owned(), 400),
        ("/v1/chat/completions", ask("app"), 200),
    ] {
        raw.request(&format!("POST {path}"), &["x-unit: u"], &body).unwrap();
        let response = raw.response().unwrap().expect("the connection goes on");
        assert_eq!((response.status, response.header("connection")), (status, None));
    }
}

#[test]
fn who_waits_for_our_word_gets_the_refusal_instead_of_it() {
    let (_own, rig) = rig();
    let mut raw = rig.raw();
    let head = "host: localhost\r\nexpect: 100-continue\r\ncontent-length: 100";
    raw.send(format!("POST /v1/unheard_of HTTP/1.1\r\n{head}\r\n\r\n")).unwrap();
    assert_eq!(raw.response().unwrap().unwrap().status, 404);
    let mut raw = rig.raw();
    let body = ask("app");
    let head = format!("host: localhost\r\nexpect: 100-continue\r\ncontent-length: {}", body.len());
    raw.send(format!("POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n\r\n")).unwrap();
    assert_eq!(raw.response().unwrap().unwrap().status, 100);
    raw.send(body).unwrap();
    assert_eq!(raw.response().unwrap().unwrap().status, 200);
}

#[test]
fn unusual_but_legal_requests_are_answered() {
    let (_own, rig) = rig();
    let body = ask("app");
    let length = body.len();
    for (request, status) in [
        // HTTP/1.0, without a host.
        (
            format!("POST /v1/chat/completions HTTP/1.0\r\ncontent-length: {length}\r\n\r\n{body}"),
            200,
        ),
        // Chunked, in two pieces, with a chunk extension and a trailer.
        (
            format!(
                "POST /chat/completions?api-version=1 HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\n\r\n\
                 5;x=y\r\n{}\r\n{:x}\r\n{}\r\n0\r\nx-trailer: 1\r\n\r\n",
                &body[..5],
                length - 5,
                &body[5..]
            ),
            200,
        ),
        // The absolute form that proxies use, and a blank line before the request.
        (
            format!(
                "\r\nPOST http://a/v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n{body}"
            ),
            200,
        ),
        ("HEAD /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), 200),
        ("GET /health HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), 200),
        ("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), 400),
        ("OPTIONS * HTTP/1.1\r\nhost: localhost\r\n\r\n".to_owned(), 404),
    ] {
        let mut raw = rig.raw();
        raw.send(&request).unwrap();
        let text = raw.read_until("\r\n\r\n").unwrap();
        let expected = format!("HTTP/1.{} {status}", u8::from(!request.contains("HTTP/1.0")));
        assert!(text.starts_with(&expected), "{request}: {text}");
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let (_own, rig) = rig();
    let body = ask("app");
    let head = format!("host: localhost\r\nx-unit: u\r\ncontent-length: {}", body.len());
    let one = format!("POST /v1/chat/completions HTTP/1.1\r\n{head}\r\n\r\n{body}");
    let two = "GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let mut raw = rig.raw();
    raw.send(format!("{one}{two}{one}")).unwrap();
    for object in ["chat.completion", "list", "chat.completion"] {
        assert_eq!(raw.response().unwrap().unwrap().json()["object"], object);
    }
}

#[test]
fn a_stream_to_an_old_client_ends_with_the_connection() {
    let (_own, rig) = rig();
    let body = ask_stream("app");
    let mut raw = rig.raw();
    raw.send(format!(
        "POST /v1/chat/completions HTTP/1.0\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    ))
    .unwrap();
    let text = String::from_utf8_lossy(&raw.read_to_close()).into_owned();
    assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("chunked"), "{text}");
}

#[test]
fn a_quiet_connection_outlives_the_heads_deadline() {
    let (_own, rig) = rig();
    let mut raw = rig.raw();
    let began = Instant::now();
    for _ in 0..2 {
        raw.request("GET /v1/models", &[], "").unwrap();
        assert_eq!(raw.response().unwrap().expect("still open").status, 200);
        until("thrice the deadline has passed", || began.elapsed() > Duration::from_millis(900));
    }
}

#[test]
fn a_shutdown_lets_requests_end_and_closes_the_quiet_ones() {
    let (own, mut rig) = rig();
    let gate = Gate::new();
    own.always(Reply::words(2).hold_headers(&gate));
    let (mut quiet, mut busy) = (rig.raw(), rig.raw());
    busy.request("POST /v1/chat/completions", &["x-unit: u"], ask("app")).unwrap();
    until("the request is there", || own.inferences().len() == 1);
    rig.stop();
    assert!(quiet.read_to_close().is_empty());
    until("nobody is let in", || Raw::connect(rig.address).is_err());
    gate.open();
    let response = busy.response().unwrap().unwrap();
    assert_eq!((response.status, response.header("connection")), (200, Some("close")));
}

#[test]
fn who_is_refused_at_the_door_leaves_a_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let rig = Rig::start_storing(&config, None, Some(&store));
    assert_eq!(rig.chat(&[], "{\"secret\"").status, 400);
    assert_eq!(rig.post("/v1/unheard_of", &[], "{}").status, 404);
    let summary =
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(
            async {
                store.flush().await.unwrap();
                let (from, until) = (Millis(0), Millis(u64::MAX >> 1));
                store.summarize(Window { from, until, use_case: None }).await.unwrap()
            },
        );
    let [row] = &summary.rows[..] else { panic!("{summary:#?}") };
    assert_eq!((row.use_case.as_ref(), &*row.arm, row.variant.as_ref()), (None, "default", None));
    assert_eq!((row.requests, row.client_errors), (2, 2));
    assert_eq!(own.bytes(), 0);
}

/// Whoever has no key could fill the disk.
#[test]
fn who_shows_no_good_key_is_counted_and_leaves_no_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let rig = Rig::start_storing(&config, Some(crate::keys::ring(&["good"])), Some(&store));
    let key = format!("authorization: Bearer {}", "good".repeat(10));
    for _ in 0..3 {
        assert_eq!(rig.chat(&["authorization: Bearer nope"], &ask("app")).status, 401);
        assert_eq!(rig.chat(&[], &ask("app")).status, 401);
        assert_eq!(rig.post("/v1/unheard_of", &[], "{}").status, 401);
    }
    // Those of a key are recorded, whatever is wrong with them.
    assert_eq!(rig.chat(&[&key], "{").status, 400);
    assert_eq!(rig.chat(&[&key, "x-cutover-use-case: none"], &ask("app")).status, 400);
    assert_eq!(rig.post("/v1/unheard_of", &[&key], "{}").status, 404);
    until("they are recorded", || store.stats().written == 3);
    let records = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    let count = |sql| records.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count("SELECT count(*) FROM records"), 3);
    let metrics = rig.metrics();
    assert!(metrics.contains("code=\"invalid_api_key\"} 9\n"), "{metrics}");
    for (reason, count) in [("missing", 6), ("unknown", 3)] {
        let refused =
            format!("cutover_auth_failures_total{{listener=\"client\",reason=\"{reason}\"}}");
        assert_eq!(rig.figure(&refused), Some(count));
    }
}

/// Paths and methods were told apart to anybody, and each such request wrote a line.
#[test]
fn who_shows_no_good_key_is_told_nothing_of_paths_and_methods() {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let rig = Rig::start_with(&config, Some(crate::keys::ring(&["good"])));
    let asked = |line: &str, headers: &[&str]| {
        let mut raw = rig.raw();
        raw.request(line, headers, "").unwrap();
        raw.response().unwrap().unwrap()
    };
    let key = "good".repeat(10);
    let bearer = format!("authorization: Bearer {key}");
    let google = "\"status\":\"UNAUTHENTICATED\"";
    for (line, status, words) in [
        ("GET /v1/unheard_of", 404, "invalid_api_key"),
        ("PUT /v1/models", 405, "invalid_api_key"),
        ("DELETE /health", 405, "invalid_api_key"),
        ("POST /v1/organization/keys", 403, "invalid_api_key"),
        ("GET /v1/messages", 405, "authentication_error"),
        ("PUT /v1beta/models/app:generateContent", 405, google),
    ] {
        for headers in [&[][..], &["authorization: Bearer nope"]] {
            let answer = asked(line, headers);
            assert_eq!((answer.status, answer.header("allow")), (401, None), "{line}");
            assert!(answer.text().contains(words), "{line}: {}", answer.text());
        }
        assert_eq!(asked(line, &[&bearer]).status, status, "{line}");
    }
    // Where Google's clients show it.
    for (line, status) in
        [("PUT /v1beta/models/app:generateContent", 405), ("GET /v1beta/unheard_of", 404)]
    {
        assert_eq!(asked(&format!("{line}?key=nope"), &[]).status, 401, "{line}");
        assert_eq!(asked(&format!("{line}?key={key}"), &[]).status, status, "{line}");
    }
    for line in ["GET /health", "GET /", "GET /v1/health"] {
        assert_eq!(asked(line, &[]).status, 200, "{line}");
    }
}
