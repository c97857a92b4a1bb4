//! Upstreams that fail before any content: the client must not notice while another arm can answer.

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Refusing, Reply, Setup};

use crate::harness::{BROKEN_STREAMS, Rig, ask, ask_stream, two_arms, until};

fn cloud() -> Fake {
    Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"))
}

/// SDKs send 409 again by themselves. It was a 400 of the client's, in no gate.
#[test]
fn a_conflict_is_asked_elsewhere_or_told_as_one_that_may_be_sent_again() {
    let (cloud, own) = (cloud(), Fake::start(Persona::LlamaCpp));
    own.always(Reply::fault(Fault::status(409)));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    for body in [ask("app"), ask_stream("app")] {
        let rig = Rig::start(&config);
        let response = rig.chat(&["x-unit: u1"], &body);
        assert_eq!((response.status, response.header("x-cutover-arm")), (200, Some("baseline")));
        let rig = Rig::start(&config.replace("weight =", "failover = false\nweight ="));
        let refused = rig.chat(&["x-unit: u1"], &body);
        let error = refused.json()["error"].clone();
        assert_eq!((refused.status, error["code"].as_str()), (409, Some("upstream_conflict")));
        assert_eq!(refused.header("x-should-retry"), None, "an SDK sends it again");
        own.once(Reply::words(1));
        assert_eq!(rig.chat(&["x-unit: u1"], &body).status, 200, "the instance is well");
        until("it is the upstream's", || {
            let of = |line: &str| {
                line.starts_with("cutover_requests_total{") && line.contains("upstream_error")
            };
            rig.metrics().lines().any(|line| of(line) && line.ends_with(" 1"))
        });
    }
}

#[test]
fn a_failing_candidate_is_answered_for_by_the_baseline_stream_or_not() {
    let faults = [
        Fault::Reset,
        Fault::Close,
        Fault::Status { status: 500, retry_after: None, retry_after_ms: None },
        Fault::Status { status: 503, retry_after: None, retry_after_ms: None },
        Fault::Status { status: 429, retry_after: Some("7".into()), retry_after_ms: None },
        Fault::Status { status: 400, retry_after: None, retry_after_ms: None },
        Fault::Html(200),
        Fault::Html(502),
        Fault::NotJson,
        Fault::LengthAndChunked,
        Fault::TwoLengths,
        Fault::Half,
    ];
    let cloud = cloud();
    let own = Fake::start(Persona::LlamaCpp);
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let rig = Rig::start(&config);
    for fault in faults {
        rig.forgive(&config);
        own.always(Reply::fault(fault.clone()));
        for body in [ask("app"), ask_stream("app")] {
            let response = rig.chat(&["x-unit: u1"], &body);
            assert_eq!(response.status, 200, "{fault:?} {}", response.text());
            assert_eq!(response.header("x-cutover-arm"), Some("baseline"), "{fault:?}");
            assert_eq!(response.header("x-cutover-assigned-arm"), Some("candidate"));
            assert_eq!(response.header("x-cutover-attempts"), Some("2"));
            assert!(response.text().contains("cloud"), "{fault:?}: {}", response.text());
        }
    }
}

#[test]
fn a_stream_that_dies_before_its_first_content_is_moved_unseen() {
    let cloud = cloud();
    let own = Fake::start(Persona::LlamaCpp);
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let rig = Rig::start(&config);
    for fault in BROKEN_STREAMS {
        rig.forgive(&config);
        own.always(Reply::words(3).and_then(0, fault.clone()));
        let response = rig.chat(&["x-unit: u1"], &ask_stream("app"));
        let events = response.events();
        assert_eq!(response.header("x-cutover-arm"), Some("baseline"), "{fault:?} {events:?}");
        assert_eq!(events.last().map(String::as_str), Some("[DONE]"), "{fault:?}");
        assert!(!response.text().contains("\"error\""));
    }
}

#[test]
fn a_dead_candidate_costs_nobody_an_answer() {
    let cloud = cloud();
    let dead = Refusing::start();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &dead.base_url(), "100%"));
    for _ in 0..20 {
        assert_eq!(rig.chat(&["x-unit: u1"], &ask("app")).status, 200);
    }
}

#[test]
fn with_both_arms_down_the_error_is_the_baselines_and_says_do_not_retry() {
    let dead = Refusing::start();
    let rig = Rig::start(&two_arms(&dead.base_url(), &dead.base_url(), "100%"));
    let response = rig.chat(&["x-unit: u1"], &ask("app"));
    assert_eq!(response.status, 503);
    assert_eq!(response.header("x-should-retry"), Some("false"));
    let error = &response.json()["error"];
    assert_eq!(error["code"], "upstream_unavailable");
    assert!(error.get("param").is_some_and(serde_json::Value::is_null));
    assert!(!response.text().contains("127.0.0.1"), "no address of ours reaches a client");
}

#[test]
fn a_rate_limit_of_the_only_arm_reaches_the_client_with_its_wait() {
    let cloud = cloud();
    cloud.always(Reply::fault(Fault::Status {
        status: 429,
        retry_after: Some("7".into()),
        retry_after_ms: None,
    }));
    let own = Fake::start(Persona::LlamaCpp);
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "0%"));
    let response = rig.chat(&["x-unit: u1"], &ask("app"));
    assert_eq!(response.status, 429);
    assert_eq!(response.header("retry-after"), Some("7"));
    assert_eq!(response.header("retry-after-ms"), Some("7000"));
    assert_eq!(response.json()["error"]["code"], "rate_limit_exceeded");
    assert_eq!(response.header("x-should-retry"), None, "the SDK may retry: we did not");
}

#[test]
fn our_key_being_wrong_is_not_the_clients_401() {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).key("another"));
    let own = Fake::start(Persona::LlamaCpp);
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "0%"));
    let response = rig.chat(&["x-unit: u1", "authorization: Bearer mine"], &ask("app"));
    assert_eq!(response.status, 502);
    assert_eq!(response.json()["error"]["code"], "upstream_authentication");
}

/// Where the client's own key is passed on, it is the client's to put right: whole or as a stream.
#[test]
fn the_clients_own_key_being_wrong_is_the_clients_401() {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).key("another"));
    let config = format!(
        "[upstreams.cloud]\nprovider = \"openai-compatible\"\nbase_url = \"{}/v1\"\n\
         key = \"client\"\n[server]\nkeys = \"off\"\n",
        cloud.base_url()
    );
    let rig = Rig::start(&config);
    let whole = ask("fake-model");
    let stream = whole.replacen('{', "{\"stream\":true,", 1);
    for body in [whole, stream] {
        let response = rig.chat(&["authorization: Bearer mine"], &body);
        assert_eq!(response.status, 401, "{}", response.text());
        assert_eq!(response.json()["error"]["code"], "invalid_api_key");
        let good = rig.chat(&["authorization: Bearer another"], &body);
        assert_eq!(good.status, 200, "{}", good.text());
    }
}

#[test]
fn a_vendors_refusal_reaches_clients_of_its_dialect_as_the_vendor_said_it() {
    let cloud = cloud();
    let config = two_arms(&cloud.base_url(), &cloud.base_url(), "0%");
    let rig = Rig::start(&config);
    let said = r#"{"error":{"message":"The prompt was filtered","type":"image_generation_user_error","param":"prompt","code":"content_filter"}}"#;
    cloud.always(Reply::fault(Fault::answer("422 Unprocessable Entity", "application/json", said)));
    for body in [ask("app"), ask("fake-model"), ask_stream("fake-model")] {
        let response = rig.chat(&["x-unit: u1"], &body);
        assert_eq!(response.status, 422, "{}", response.text());
        let mut error = response.json()["error"].take();
        assert_eq!(error["message"].take(), "The prompt was filtered");
        let rest = r#"{"message":null,"type":"image_generation_user_error","param":"prompt","code":"content_filter"}"#;
        assert_eq!(error.to_string(), rest);
    }
    // Another dialect has words of its own.
    let claude = r#"{"model":"app","max_tokens":5,"messages":[{"role":"user","content":"hi"}]}"#;
    let response = rig.post("/v1/messages", &["x-unit: u1"], claude);
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["error"]["type"], "invalid_request_error");
    // What is counted is ours: nobody's words become labels.
    let metrics = rig.metrics();
    assert!(metrics.contains("code=\"invalid_request\"} "), "{metrics}");
    assert!(!metrics.contains("content_filter\""), "{metrics}");
}

/// The head of an answer proves little: an instance that says 200 and then fails must rest like one
/// that refuses connections.
#[test]
fn an_instance_that_answers_200_and_then_fails_is_rested() {
    let (good, bad) = (cloud(), cloud());
    bad.always(Reply::fault(Fault::NotJson));
    let config = two_arms(&good.base_url(), &good.base_url(), "0%").replace(
        &format!("provider = \"openai-compatible\"\nbase_url = \"{}\"", good.base_url()),
        &format!(
            // In turn: by latency, the one that happened to be slower at first would hardly be asked.
            "provider = \"openai-compatible\"\nbalance = \"round-robin\"\ninstances = [\"{}\", \"{}\"]",
            good.base_url(),
            bad.base_url()
        ),
    );
    let rig = Rig::start(&config);
    for _ in 0..60 {
        let response = rig.chat(&["x-unit: u1"], &ask("app"));
        assert_eq!(response.status, 200, "{}", response.text());
    }
    let asked = bad.inferences().len();
    assert!((5..15).contains(&asked), "half of 60 were 30; it was asked {asked} times");
}

/// A candidate that cannot do what a request asks costs nobody an answer, and does not do so silently.
#[test]
fn a_candidate_without_tools_leaves_them_to_the_baseline_and_it_is_counted() {
    let (cloud, own) = (cloud(), Fake::start(Persona::LlamaCpp));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%")
        .replace("[variants.small]", "[variants.small]\ntools = false");
    let rig = Rig::start(&config);
    let tool = r#"{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}"#;
    let body = ask("app").replace("\"model\"", &format!("\"tools\":[{tool}],\"model\""));
    let response = rig.chat(&["x-unit: u1"], &body);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-cutover-arm"), Some("baseline"));
    assert_eq!(response.header("x-cutover-assigned-arm"), Some("candidate"));
    assert_eq!(own.bytes(), 0);
    let metrics = rig.metrics();
    assert!(metrics.contains("reason=\"unsupported\"} 1"), "{metrics}");
}

/// An answer that is no stream was waited for until the total timeout: ten minutes by default.
#[test]
fn a_hung_upstream_is_left_for_the_baseline_after_its_first_byte_timeout() {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
    let own = Fake::start_with(Setup::new(Persona::LlamaCpp).name("own"));
    own.always(Reply::words(2).hold_headers(&Gate::new()));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%").replace(
        "provider = \"llamacpp\"",
        "provider = \"llamacpp\"\nfirst_byte_timeout = \"300 ms\"",
    );
    let rig = Rig::start(&config);
    let response = rig.chat(&["x-unit: u1"], &ask("app"));
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-cutover-arm"), Some("baseline"));
    until("the hung one is let go", || own.in_flight() == 0);
}
