//! Endpoints that are passed on: what an answer says of its instance, and what a client is shown of an error.

use std::net::TcpListener;

use cutover_testkit::cloud::Cloud;
use cutover_testkit::raw::Response;
use cutover_testkit::receiver::Receiver;

use crate::harness::{Rig, ask, until};

const GOOD: &str = r#"{"id":"modr-1","results":[]}"#;
const BAD_KEY: &str = r#"{"error":{"message":"Incorrect API key provided: sk-secret","type":"invalid_request_error","param":null,"code":"invalid_api_key"}}"#;
const NO_MODEL: &str = r#"{"error":{"message":"The model `tts-9` does not exist","type":"invalid_request_error","param":"model","code":"model_not_found"}}"#;

fn says(status: u16, body: &'static str) -> Receiver {
    Receiver::start(move |_| (status, body.to_owned()))
}

fn rig(instances: &[&str]) -> Rig {
    let instances: Vec<_> = instances.iter().map(|url| format!("{url:?}")).collect();
    Rig::start(&format!(
        "default_upstream = \"cloud\"\n[upstreams.cloud]\nprovider = \"openai\"\nkey = {{ env = \"KEY\" }}\n\
         instances = [{}]\n",
        instances.join(", ")
    ))
}

fn moderate(rig: &Rig) -> Response {
    rig.post("/v1/moderations", &[], r#"{"model":"m","input":"x"}"#)
}

/// Failures in a row at each instance.
fn failures(rig: &Rig) -> Vec<u32> {
    let live = rig.gateway.live();
    let upstream = live.surface.upstream.as_ref().unwrap();
    upstream.instances.iter().map(|lane| lane.health.failures()).collect()
}

#[test]
fn an_instance_that_refuses_what_another_takes_is_to_blame_and_passed_over() {
    for (status, body, shown) in [
        (401, BAD_KEY, (502, "upstream_authentication")),
        (402, "{}", (429, "insufficient_quota")),
        (404, NO_MODEL, (404, "model_not_found")),
        (500, "{}", (500, "")),
    ] {
        let (bad, good) = (says(status, body), says(200, GOOD));
        let rig = rig(&[&bad.base_url(), &good.base_url()]);
        let first = moderate(&rig);
        let code = first.json()["error"]["code"].as_str().unwrap_or_default().to_owned();
        assert_eq!((first.status, &*code), shown, "{}", first.text());
        for _ in 0..10 {
            assert_eq!(moderate(&rig).status, 200, "{status}");
        }
        assert_eq!(failures(&rig), [1, 0], "{status}");
    }
}

/// It is the file's fault then, or the client's: chats go on as before.
#[test]
fn what_all_instances_refuse_rests_none() {
    for (status, body) in [(401, BAD_KEY), (403, "{}"), (404, NO_MODEL), (400, "{}"), (405, "{}")] {
        let (one, two) = (says(status, body), says(status, body));
        let rig = rig(&[&one.base_url(), &two.base_url()]);
        for _ in 0..12 {
            assert!(moderate(&rig).status >= 400);
        }
        assert_eq!(failures(&rig), [0, 0], "{status}");
        let is_doubted = matches!(status, 401 | 403 | 404);
        assert_eq!(!two.posted().is_empty(), is_doubted, "{status}: the other one is asked");
    }
}

#[test]
fn an_instance_that_is_gone_or_fails_rests_and_is_asked_again_after_that() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let failing = says(500, "{}");
    let rig = rig(&[&nowhere, &failing.base_url()]);
    // They take turns, the one that failed less going first.
    for _ in 0..10 {
        assert!(moderate(&rig).status >= 500);
    }
    assert_eq!(failures(&rig), [5, 5]);
    let unserved = |rig: &Rig| {
        let live = rig.gateway.live();
        !live
            .surface
            .upstream
            .as_ref()
            .unwrap()
            .instances
            .iter()
            .any(|lane| lane.state(crate::harness::now()).can_serve())
    };
    assert!(unserved(&rig), "for chats, too: {:?}", failures(&rig));
    until("a second of rest is over", || !unserved(&rig));
}

#[test]
fn a_good_answer_that_breaks_off_is_a_failure_of_its_instance() {
    let cloud = Cloud::start("upstream-secret");
    let base = cloud.base_url();
    let rig = rig(&[base.strip_suffix("/v1").unwrap_or(&base)]);
    let speak = |more: &str| {
        let body = r#"{"model":"tts-1","input":"x","voice":"alloy"}"#;
        rig.post(&format!("/v1/audio/speech{more}"), &[], body)
    };
    let cut = speak("?fault=cut");
    assert!(cut.status == 200 && !cut.complete);
    assert_eq!(failures(&rig), [1]);
    assert!(speak("").complete);
    assert_eq!(failures(&rig), [0]);
}

/// The same words as on the endpoints that are read: whose bill it is, no client can mend.
#[test]
fn trouble_with_the_account_is_told_as_such_and_the_clients_own_mistakes_as_they_came() {
    const BILL: &str = r#"{"error":{"message":"Billing hard limit has been reached","type":"invalid_request_error","param":null,"code":"billing_hard_limit_reached"}}"#;
    const MISTAKE: &str = r#"{ "error" : {"message":"Invalid 'size'","type":"invalid_request_error","param":"size","code":"invalid_value"}, "more": 1 }"#;
    let bill = says(400, BILL);
    let rig_of = |receiver: &Receiver| rig(&[&receiver.base_url()]);
    let rig = rig_of(&bill);
    let passed = rig.post("/v1/images/generations", &[], r#"{"prompt":"x"}"#);
    let read = rig.chat(&[], &ask("gpt-4o"));
    for response in [&passed, &read] {
        assert_eq!(response.status, 429, "{}", response.text());
        assert_eq!(response.json()["error"]["code"], "insufficient_quota");
        assert_eq!(response.header("x-should-retry"), Some("false"));
        assert!(!response.text().contains("Billing"), "{}", response.text());
    }
    // Nor is it said where an answer leads, whatever is in it.
    let elsewhere = says(302, MISTAKE);
    let passed = rig_of(&elsewhere).post("/v1/images/generations", &[], "{}");
    assert_eq!((passed.status, &passed.json()["error"]["code"]), (502, &"bad_gateway".into()));
    let mistake = says(400, MISTAKE);
    let rig = rig_of(&mistake);
    let passed = rig.post("/v1/images/generations", &[], r#"{"prompt":"x"}"#);
    assert_eq!((passed.status, &*passed.text()), (400, MISTAKE));
    assert_eq!(failures(&rig), [0]);
}

/// With no use case yet, as on the first day, nothing could be served and `/ready` said yes.
#[test]
fn a_default_upstream_that_nobody_serves_is_told_of() {
    let failing = says(500, "{}");
    let rig = rig(&[&failing.base_url()]);
    let unserved = || rig.gateway.live().unserved(crate::harness::now());
    assert_eq!(unserved(), Vec::<String>::new());
    for _ in 0..5 {
        assert!(moderate(&rig).status >= 500);
    }
    assert_eq!(unserved(), ["an instance of the default upstream cloud"]);
    until("its rest is over", || unserved().is_empty());
}
