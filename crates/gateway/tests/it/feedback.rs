//! What users say of answers.

use std::path::Path;
use std::sync::Arc;

use cutover_store::{KeyRing, Options, Store};
use cutover_testkit::fake::{Fake, Persona};

use crate::harness::{Rig, ask, now, two_arms, until};

fn store(dir: &Path) -> Store {
    Store::open(Options::new(dir, now)).unwrap()
}

#[test]
fn a_verdict_is_accepted_by_either_id_and_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let rig = Rig::start_storing(&config, None, Some(&store));
    let answer = rig.chat(&["x-unit: u1"], &ask("app"));
    let request_id = answer.header("x-request-id").unwrap().to_owned();
    let minted = answer.json()["id"].as_str().unwrap().to_owned();
    for (path, id, verdict) in [
        ("/v1/feedback", &request_id, "\"thumbs\":\"up\""),
        ("/feedback", &minted, "\"score\":0.25,\"comment\":\"too long\""),
    ] {
        let response = rig.post(path, &[], &format!("{{\"request_id\":\"{id}\",{verdict}}}"));
        assert_eq!(response.status, 202, "{}", response.text());
        let json = response.json();
        assert_eq!(
            (&json["object"], &json["request_id"]),
            (&"feedback".into(), &request_id.as_str().into())
        );
    }
    until("both are in the store's hands", || {
        let stats = store.feedback().stats();
        stats.written + stats.repeated == 2
    });
    assert!(rig.metrics().contains("cutover_feedback_total{result=\"accepted\"} 2"));
}

#[test]
fn what_is_wrong_with_a_verdict_is_said_by_field() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let rig = Rig::start_storing(&config, None, Some(&store));
    let response = rig.post("/v1/feedback", &[], r#"{"request_id":"nope","score":1}"#);
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["error"]["param"], "request_id");
    let long = format!(r#"{{"comment":"{}"}}"#, "a".repeat(20_000));
    assert_eq!(rig.post("/v1/feedback", &[], &long).status, 413);
    let mut raw = rig.raw();
    raw.request("GET /v1/feedback", &[], "").unwrap();
    assert_eq!(raw.response().unwrap().unwrap().status, 405);
    let keyless = Rig::start(&config);
    let refused = keyless.post("/v1/feedback", &[], r#"{"request_id":"x","score":1}"#);
    assert_eq!(refused.status, 501, "nothing keeps it");
}

/// While the database is locked nothing is written, and what waits has a limit.
#[test]
fn verdicts_beyond_the_queue_are_503_and_those_within_are_written() {
    let dir = tempfile::tempdir().unwrap();
    let store = store(dir.path());
    let own = Fake::start(Persona::OpenAi);
    let rig =
        Rig::start_storing(&two_arms(&own.base_url(), &own.base_url(), "0%"), None, Some(&store));
    let lock = rusqlite::Connection::open(dir.path().join("cutover.db")).unwrap();
    lock.execute_batch("PRAGMA busy_timeout = 5000; BEGIN EXCLUSIVE").unwrap();
    let mut raw = rig.raw();
    let mut say = |n: u32| {
        let body = format!(r#"{{"request_id":"req_{n:032x}","score":1}}"#);
        raw.request("POST /v1/feedback", &[], &body).unwrap();
        raw.response().unwrap().unwrap()
    };
    // More than queue and batch hold together.
    let mut answers = (0..5_000).map(|n| (n, say(n)));
    let (taken, refused) = answers.find(|(_, answer)| answer.status != 202).unwrap();
    let error = &refused.json()["error"];
    let seen = (refused.status, error["code"].as_str(), error["type"].as_str());
    assert_eq!(seen, (503, Some("feedback_queue_full"), Some("server_error")), "{error}");
    assert_eq!(refused.header("x-should-retry"), None, "SDKs send it again");
    assert!(taken >= 1_024, "{taken}");
    assert!(rig.metrics().contains("cutover_feedback_total{result=\"queue_full\"} 1"));
    lock.execute_batch("ROLLBACK").unwrap();
    until("what was accepted is written", || store.feedback().stats().written == u64::from(taken));
    assert_eq!(say(taken).status, 202);
}

#[test]
fn a_verdict_needs_the_clients_key_before_anything_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let keys =
        tokio::runtime::Runtime::new().unwrap().block_on(store(dir.path()).load_keys()).unwrap();
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let rig = Rig::start_with(&config, Some(Arc::new(KeyRing::new(keys))));
    let response = rig.post("/v1/feedback", &[], "not even JSON");
    assert_eq!(response.status, 401, "{}", response.text());
}
