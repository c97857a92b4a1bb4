//! Where requests go, and what is said about it.

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use cutover_testkit::fake::{Fake, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::Response;
use cutover_testkit::receiver::Receiver;
use cutover_units::WeightBp;

use crate::harness::{Rig, ask, two_arms, until};

fn fakes() -> (Fake, Fake) {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
    let own = Fake::start_with(Setup::new(Persona::LlamaCpp).name("own"));
    (cloud, own)
}

#[test]
fn what_no_use_case_names_reaches_the_default_byte_for_byte() {
    let (cloud, own) = fakes();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let body = r#"{ "messages" : [{"role":"user","content":"h\u0069"}], "x":1.0e2, "model":"fake-model" }"#;
    let response = rig.chat(&["x-unit: u1"], body);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-cutover-arm"), Some("default"));
    let seen = cloud.inferences();
    assert_eq!(String::from_utf8_lossy(&seen[0].body), body);
    assert_eq!(own.bytes(), 0);
}

#[test]
fn the_answer_tells_who_answered() {
    let (cloud, own) = fakes();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let response = rig.chat(&["x-unit: u1"], &ask("app"));
    assert_eq!(response.status, 200, "{}", response.text());
    let header = |name| response.header(name).unwrap_or("-").to_owned();
    assert_eq!(header("x-cutover-use-case"), "docs");
    assert_eq!(header("x-cutover-arm"), "candidate");
    assert_eq!(header("x-cutover-variant"), "small");
    assert_eq!(header("x-cutover-upstream"), "own");
    assert_eq!(header("x-cutover-instance"), "own/0");
    assert_eq!(header("x-cutover-attempts"), "1");
    assert!(header("x-request-id").starts_with("req_"));
    let json = response.json();
    assert_eq!(json["model"], "app", "the client's own name for the model");
    assert!(json["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert_eq!(own.inferences()[0].json()["model"], "fake-model");
    assert_eq!(cloud.bytes(), 0, "the cloud sees nothing of a candidate's request");
}

#[test]
fn growing_a_weight_moves_no_unit_back_and_takes_effect_at_once() {
    let (cloud, own) = fakes();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "0%"));
    let arms = |rig: &Rig| -> Vec<bool> {
        let arm = |n: usize| {
            let unit = format!("x-unit: u{n}");
            let response = rig.chat(&[&unit], &ask("app"));
            assert_eq!(response.status, 200);
            response.header("x-cutover-arm") == Some("candidate")
        };
        (0..60).map(arm).collect()
    };
    let mut before = arms(&rig);
    assert!(before.iter().all(|candidate| !candidate));
    for weight in ["10%", "40%", "70%", "100%"] {
        rig.gateway.set_weights(&|_| WeightBp::parse(weight).unwrap());
        let after = arms(&rig);
        assert!(before.iter().zip(&after).all(|(b, a)| !b || *a), "{weight}");
        before = after;
    }
    assert!(before.iter().all(|candidate| *candidate));
    rig.gateway.set_weights(&|_| WeightBp::NONE);
    assert!(arms(&rig).iter().all(|candidate| !candidate));
}

#[test]
fn clients_keys_and_cookies_stay_here() {
    let (cloud, own) = fakes();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "0%")
        .replace("provider = \"llamacpp\"", "provider = \"llamacpp\"\nkey = { env = \"OWN_KEY\" }");
    let rig = Rig::start(&config.replace("weight = \"0%\"", "weight = \"100%\""));
    let headers = [
        "authorization: Bearer client-secret",
        "x-api-key: client-secret",
        "cookie: session=client-secret",
        "x-forwarded-for: 10.0.0.1",
        "x-unit: u1",
    ];
    let response = rig.chat(&headers, &ask("app"));
    assert_eq!(response.status, 200);
    let seen = &own.inferences()[0];
    assert_eq!(seen.header("authorization"), Some("Bearer upstream-secret"));
    assert!(!format!("{seen:?}").contains("client-secret"));
    assert_eq!(seen.header("x-forwarded-for"), None);
}

#[test]
fn models_are_listed_and_found_and_unknown_ones_are_not() {
    let (cloud, own) = fakes();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "0%"));
    let get = |path: &str| {
        let mut raw = rig.raw();
        raw.request(&format!("GET {path}"), &[], "").unwrap();
        raw.response().unwrap().unwrap()
    };
    let list = get("/v1/models").json();
    let ids: Vec<_> = list["data"].as_array().unwrap().iter().map(|m| m["id"].clone()).collect();
    assert_eq!(ids, ["app", "fake-model"]);
    assert_eq!(get("/models/app").json()["object"], "model");
    let missing = get("/v1/models/nope");
    assert_eq!(missing.status, 404);
    assert_eq!(missing.json()["error"]["code"], "model_not_found");
}

/// A model that is only out of reach must not look as if it were gone; what use cases name needs nobody.
#[test]
fn a_default_upstream_out_of_reach_hides_its_own_models_alone() {
    let own = Fake::start(Persona::LlamaCpp);
    // Free again: a connection is refused.
    let closed = TcpListener::bind("127.0.0.1:0").unwrap();
    let nowhere = format!("http://{}", closed.local_addr().unwrap());
    drop(closed);
    let rig = Rig::start(&two_arms(&nowhere, &own.base_url(), "0%"));
    let list = get(&rig, "/v1/models", &[]);
    assert_eq!(list.status, 200, "{}", list.text());
    let models = list.json()["data"].clone();
    assert_eq!((models[0]["id"].as_str(), models.as_array().unwrap().len()), (Some("app"), 1));
    assert_eq!(get(&rig, "/v1/models/app", &[]).status, 200, "our own names need nobody");
    assert!(get(&rig, "/api/tags", &[]).text().contains("app"));
    let refused = get(&rig, "/v1/models/fake-model", &[]);
    assert_eq!(refused.status, 503, "{}", refused.text());
    assert_eq!(refused.json()["error"]["code"], "upstream_unavailable");
    let theirs = get(&rig, "/v1/models/fake-model", &["anthropic-version: 2023-06-01"]);
    assert!(theirs.status >= 500, "{}", theirs.text());
    assert_eq!(theirs.json()["type"], "error");
}

/// An empty list would say that there is nothing to ask for, when it is the key that is wrong.
#[test]
fn a_list_that_is_refused_is_an_error_that_says_why() {
    let status = Arc::new(AtomicU16::new(401));
    let says = Arc::clone(&status);
    let cloud = Receiver::start(move |_| (says.load(Relaxed), "{}".to_owned()));
    let config = format!(
        "[upstreams.cloud]\nprovider = \"openai-compatible\"\nbase_url = \"{}/v1\"\n",
        cloud.base_url()
    );
    let rig = Rig::start(&config);
    for (answer, code, word) in [
        (401, "upstream_authentication", "refused the key"),
        (403, "upstream_authentication", "refused the key"),
        (404, "bad_gateway", "base_url"),
        (307, "bad_gateway", "redirect"),
        (500, "bad_gateway", "status 500"),
        (200, "bad_gateway", "no list of models"),
    ] {
        status.store(answer, Relaxed);
        for path in ["/v1/models", "/v1/models/gpt-4o"] {
            let refused = get(&rig, path, &[]);
            assert_eq!(refused.status, 502, "{answer}: {}", refused.text());
            let error = &refused.json()["error"];
            assert_eq!(error["code"], code, "{answer}");
            assert!(error["message"].as_str().unwrap().contains(word), "{error}");
        }
    }
    status.store(501, Relaxed);
    let says_so = get(&rig, "/v1/models", &[]);
    assert_eq!(says_so.json()["data"], serde_json::json!([]));
}

fn get(rig: &Rig, path: &str, headers: &[&str]) -> Response {
    let mut raw = rig.raw();
    raw.request(&format!("GET {path}"), headers, "").unwrap();
    raw.response().unwrap().unwrap()
}

#[test]
fn requests_tokens_and_arms_are_counted() {
    let (cloud, own) = fakes();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    rig.chat(&["x-unit: u1"], &ask("app"));
    let line = r#"cutover_requests_total{use_case="docs",arm="candidate",variant="small",upstream="own",outcome="ok"} 1"#;
    until("the request is counted", || rig.metrics().contains(line));
    assert!(rig.metrics().contains("cutover_unpriced_requests_total{use_case=\"docs\""));
}

/// What a client takes to send its body, and an upstream to answer, is not the gateway's own time,
/// not even when the client leaves in the middle.
#[test]
fn overhead_is_our_own_time_only() {
    let (cloud, own) = fakes();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "100%"));
    let gate = Gate::new();
    own.always(Reply::words(2).hold_headers(&gate));
    let began = Instant::now();
    let mut raw = rig.raw();
    let body = ask("app");
    let head = format!("content-length: {}\r\nx-unit: u1", body.len());
    raw.send(format!("POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n{head}\r\n\r\n"))
        .unwrap();
    until("the client is slow", || began.elapsed() > Duration::from_millis(150));
    raw.send(body).unwrap();
    until("the request is there", || own.inferences().len() == 1);
    until("the upstream is slow", || began.elapsed() > Duration::from_millis(300));
    drop(raw);
    let observed = |bound: &str| {
        let bucket = format!(
            "cutover_gateway_overhead_seconds_bucket{{endpoint=\"chat_completions\",le=\"{bound}\"}} 1"
        );
        rig.metrics().contains(&bucket)
    };
    until("the request is counted", || observed("+Inf"));
    assert!(observed("0.1"), "{}", rig.metrics());
}

#[test]
fn a_unit_may_be_named_in_any_alphabet() {
    let (cloud, own) = fakes();
    let rig = Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), "50%"));
    for unit in ["josé", "山田", "Ольга", "zoë"] {
        let arm = || {
            let response = rig.chat(&[&format!("x-unit: {unit}")], &ask("app"));
            response.header("x-cutover-arm").map(str::to_owned)
        };
        let first = arm();
        assert!((0..10).all(|_| arm() == first), "{unit}");
    }
}

#[test]
fn an_engine_that_answers_any_name_is_asked_only_for_the_models_it_has() {
    let own = Fake::start(Persona::LlamaCpp);
    let url = own.base_url();
    let config = format!(
        "[upstreams.own]\nprovider = \"llamacpp\"\nbase_url = \"{url}\"\nmodels = [\"fake-model\"]\n"
    );
    let rig = Rig::start(&config);
    assert_eq!(rig.chat(&[], &ask("fake-model")).status, 200);
    let refused = rig.chat(&[], &ask("gpt-9"));
    assert_eq!(refused.status, 404);
    assert_eq!(refused.json()["error"]["code"], "model_not_found");
    assert_eq!(own.inferences().len(), 1);
    let any = Rig::start(&config.replace("models", "# models"));
    assert_eq!(any.chat(&[], &ask("gpt-9")).status, 200, "without a list the engine decides");
}

/// Ollama cuts a prompt that does not fit and says 200: whoever opts in to that is told each time.
#[test]
fn a_prompt_that_the_upstream_cut_is_reported_as_a_loss() {
    let mut setup = Setup::new(Persona::Ollama);
    setup.context = 32;
    let own = Fake::start_with(setup);
    let cloud = Fake::start(Persona::OpenAi);
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%")
        .replace("\"llamacpp\"", "\"ollama\"")
        .replace("upstream = \"own\"", "upstream = \"own\"\nollama = { truncate = true }");
    let rig = Rig::start(&config);
    let long = ask("app").replace("hi", &"many words ".repeat(200));
    let response = rig.chat(&["x-unit: u1"], &long);
    assert_eq!(response.header("x-cutover-arm"), Some("candidate"), "{}", response.text());
    assert_eq!(response.header("x-cutover-loss"), Some("messages=truncated"));
    let whole = rig.chat(&["x-unit: u1"], &ask("app"));
    assert_eq!(whole.header("x-cutover-loss"), None);
    let counted = "cutover_losses_total{use_case=\"docs\",variant=\"small\",field=\"messages\",action=\"truncated\"} 1";
    until("the loss is counted", || rig.metrics().contains(counted));
}
