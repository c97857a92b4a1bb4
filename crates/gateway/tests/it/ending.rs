//! The end of the process: what is under way then is told, and recorded as what it was.

use cutover_store::{Options, Store};
use cutover_testkit::cloud::Cloud;
use cutover_testkit::fake::{Fake, Gate, Persona, Reply};
use cutover_testkit::raw::Raw;
use rusqlite::Connection;

use crate::harness::{Rig, ask, ask_stream, now, two_arms, until};

fn rig(store: Option<&Store>) -> (Fake, Rig) {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    (own, Rig::start_storing(&config, None, store))
}

fn error_in(text: &str) -> serde_json::Value {
    let last = text.lines().filter_map(|line| line.strip_prefix("data: ")).next_back();
    let event: serde_json::Value = serde_json::from_str(last.unwrap_or_default()).unwrap();
    event["error"].clone()
}

fn begun(rig: &Rig, path: &str, body: String) -> Raw {
    let mut raw = rig.raw();
    raw.request(&format!("POST {path}"), &[], body).unwrap();
    raw
}

#[test]
fn a_stream_that_the_drain_cuts_ends_with_an_error_event_and_is_recorded_as_drained() {
    let (own, mut rig) = rig(None);
    let gate = Gate::new();
    own.always(Reply::words(4).hold_each_chunk(&gate));
    let mut chat = begun(&rig, "/v1/chat/completions", ask_stream("app"));
    gate.release(1);
    chat.read_until("w0 ").unwrap();
    rig.stop();
    let rest = String::from_utf8_lossy(&chat.read_to_close()).into_owned();
    let error = error_in(&rest);
    assert_eq!(error["code"], "shutting_down", "{rest}");
    assert!(rest.ends_with("0\r\n\r\n") && !rest.contains("[DONE]"), "{rest}");
    until("it is counted", || rig.metrics().contains("outcome=\"drained\"} 1"));
    assert!(!rig.metrics().contains("outcome=\"client_gone\"} 1"));
    until("its upstream is let go", || own.in_flight() == 0);
}

/// Each client's own words for an error, and none of those for a good end.
#[test]
fn a_stream_in_another_dialect_is_told_in_its_words() {
    let hi = r#""messages":[{"role":"user","content":"hi"}]"#;
    let gemini = r#"{"contents":[{"role":"user","parts":[{"text":"hi"}]}]}"#;
    for (path, body, error, end) in [
        (
            "/v1/messages",
            format!(r#"{{"model":"app","max_tokens":9,"stream":true,{hi}}}"#),
            "event: error",
            "message_stop",
        ),
        (
            "/v1/responses",
            r#"{"model":"app","input":"hi","stream":true}"#.to_owned(),
            "response.failed",
            "response.completed",
        ),
        ("/api/chat", format!(r#"{{"model":"app",{hi}}}"#), "{\"error\":", "\"done\":true"),
        (
            "/v1beta/models/app:streamGenerateContent?alt=sse",
            gemini.to_owned(),
            "\"error\"",
            "finishReason",
        ),
        (
            "/v1/completions",
            r#"{"model":"app","prompt":"hi","stream":true}"#.to_owned(),
            "\"error\"",
            "[DONE]",
        ),
    ] {
        let (own, mut rig) = rig(None);
        let gate = Gate::new();
        own.always(Reply::words(4).hold_each_chunk(&gate));
        let mut raw = begun(&rig, path, body);
        gate.release(1);
        raw.read_until("w0 ").unwrap();
        rig.stop();
        let rest = String::from_utf8_lossy(&raw.read_to_close()).into_owned();
        assert!(rest.contains(error) && !rest.contains(end), "{path}: {rest}");
        until("it is counted", || rig.metrics().contains("outcome=\"drained\"} 1"));
        until("its upstream is let go", || own.in_flight() == 0);
    }
}

/// Its end cannot be told: the connection breaks off. It is counted as what it was.
#[test]
fn an_answer_that_is_passed_on_and_cut_by_the_drain_was_drained() {
    let cloud = Cloud::start("upstream-secret");
    let base = cloud.base_url();
    let mut rig = Rig::start(&format!(
        "default_upstream = \"cloud\"\n[upstreams.cloud]\nprovider = \"openai\"\nbase_url = {:?}\n\
         key = {{ env = \"KEY\" }}\n",
        base.strip_suffix("/v1").unwrap_or(&base)
    ));
    let body = r#"{"model":"tts-1","input":"x","voice":"alloy"}"#;
    let mut raw = begun(&rig, "/v1/audio/speech?fault=stall", body.to_owned());
    raw.read_until("audio/mpeg").unwrap();
    rig.stop();
    let rest = raw.read_to_close();
    assert!(!rest.ends_with(b"0\r\n\r\n"), "it looks whole");
    let drained = "endpoint=\"audio\",upstream=\"cloud\",outcome=\"drained\"} 1";
    until("it is counted", || rig.metrics().contains(drained));
}

#[test]
fn a_request_that_waits_for_its_answer_gets_503_and_so_does_one_that_still_sends() {
    let (own, mut rig) = rig(None);
    own.always(Reply::words(4).hold_headers(&Gate::new()));
    let mut whole = begun(&rig, "/v1/chat/completions", ask("app"));
    let mut sending = rig.raw();
    sending
        .send(
            "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{",
        )
        .unwrap();
    until("the upstream is asked", || own.in_flight() == 1);
    until("both are open", || rig.connections() == 2);
    rig.stop();
    for raw in [&mut whole, &mut sending] {
        let response = raw.response().unwrap().expect("an answer");
        assert_eq!(response.status, 503, "{}", response.text());
        assert_eq!(response.json()["error"]["code"], "shutting_down");
        assert_eq!(response.header("x-should-retry"), None, "another replica may answer");
    }
    until("it is counted", || rig.metrics().contains("outcome=\"drained\"} 1"));
    let metrics = rig.metrics();
    assert!(!metrics.contains("outcome=\"client_error\"} 1"), "{metrics}");
    let errors: u64 = metrics
        .lines()
        .filter(|line| line.starts_with("cutover_errors_total") && line.contains("shutting_down"))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
        .sum();
    assert_eq!(errors, 2, "each once: {metrics}");
    until("the upstream is let go", || own.disconnects().len() == 1);
}

#[test]
fn the_record_says_drained() {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(folder.path(), now)).unwrap();
    let (own, mut rig) = rig(Some(&store));
    own.always(Reply::words(4).hold_headers(&Gate::new()));
    let mut whole = begun(&rig, "/v1/chat/completions", ask("app"));
    until("the upstream is asked", || own.in_flight() == 1);
    rig.stop();
    assert_eq!(whole.response().unwrap().map(|r| r.status), Some(503));
    until("it is counted", || rig.metrics().contains("outcome=\"drained\"} 1"));
    until("it is written", || store.stats().written == 1);
}

/// It was booked as the client's error, and at no endpoint: an unfinished body is not the client's fault when
/// the process ends.
#[test]
fn a_request_whose_body_still_arrives_when_the_drain_is_over_was_drained() {
    for (path, endpoint) in [
        ("/v1/chat/completions", "chat_completions"),
        ("/v1/embeddings", "embeddings"),
        ("/v1/messages", "anthropic"),
        ("/api/show", "none"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(Options::new(folder.path(), now)).unwrap();
        let (_own, mut rig) = rig(Some(&store));
        let mut sending = rig.raw();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 50\r\n\r\n{{");
        sending.send(head).unwrap();
        until("it is open", || rig.connections() == 1);
        rig.stop();
        let status = sending.response().unwrap().map(|r| r.status);
        assert!(matches!(status, Some(503 | 529)), "{path}: {status:?}");
        until("it is written", || store.stats().written == 1);
        let records = Connection::open(folder.path().join("cutover.db")).unwrap();
        let row = "SELECT endpoint, outcome, code FROM records";
        let row: (String, String, String) =
            records.query_row(row, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?))).unwrap();
        assert_eq!((&*row.0, &*row.1, &*row.2), (endpoint, "drained", "shutting_down"), "{path}");
        let counted = rig.metrics().contains("outcome=\"drained\"} 1");
        assert_eq!(counted, endpoint != "none", "{path}");
    }
}
