//! The fakes do what their scripts say.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::time::Duration;

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Refusing, Reply, Setup};
use cutover_testkit::load::{self, Load};
use cutover_testkit::raw::{Raw, Response, exchange};
use cutover_testkit::wait;
use serde_json::{Value, json};

fn chat(fake: &Fake, body: &Value) -> Response {
    exchange(&fake.base_url(), "POST /v1/chat/completions", &[], body.to_string()).unwrap()
}

fn streaming(model: &str) -> Value {
    json!({"model": model, "stream": true, "messages": [{"role": "user", "content": "hi"}]})
}

fn deltas(response: &Response) -> String {
    response
        .events()
        .iter()
        .filter_map(|event| serde_json::from_str::<Value>(event).ok())
        .filter_map(|event| event["choices"][0]["delta"]["content"].as_str().map(str::to_owned))
        .collect()
}

#[test]
fn every_persona_streams_the_script_and_records_the_request() {
    for persona in [Persona::OpenAi, Persona::Vllm, Persona::LlamaCpp, Persona::Ollama] {
        let fake = Fake::start(persona);
        fake.once(Reply::text("one two\nthree é日"));
        let response = chat(&fake, &streaming("fake-model"));
        assert_eq!(deltas(&response), "one two\nthree é日", "{persona:?}");
        assert_eq!(response.events().last().map(String::as_str), Some("[DONE]"));
        let seen = fake.inferences();
        assert_eq!(seen.len(), 1);
        assert_eq!(seen[0].json(), streaming("fake-model"));
        wait::until("the answer to be noted", || fake.answered() == 1);
        assert!(fake.disconnects().is_empty());
    }
}

#[test]
fn a_dribbled_stream_is_the_same_stream() {
    let fake = Fake::start(Persona::OpenAi);
    let text = "é日本 ünd 🦀";
    for reply in [
        Reply::text(text).dribble(1),
        Reply::text(text).with_comments(),
        Reply::text(text).with_carriage_returns(),
    ] {
        fake.once(reply);
        assert_eq!(deltas(&chat(&fake, &streaming("fake-model"))), text);
    }
}

#[test]
fn ollama_speaks_its_own_dialect_and_truncates_without_a_word() {
    let fake = Fake::start(Persona::Ollama);
    let ask =
        |body: &Value| exchange(&fake.base_url(), "POST /api/chat", &[], body.to_string()).unwrap();
    let long = "word ".repeat(6000);
    let body = json!({"model": "fake-model", "stream": false, "options": {"num_ctx": 4096},
        "messages": [{"role": "user", "content": long}]});
    assert_eq!(ask(&body).json()["prompt_eval_count"], 2050);
    let mut refused = body.clone();
    refused["truncate"] = json!(false);
    let response = ask(&refused);
    assert_eq!(response.status, 400);
    // The engine's JSON, nested as a string.
    let inner = response.json()["error"].as_str().map(str::to_owned).unwrap();
    assert!(inner.contains("exceed_context_size_error"), "{inner}");
    assert_eq!(fake.loads(), 0);
    let mut other = body;
    other["options"]["num_ctx"] = json!(8192);
    ask(&other);
    assert_eq!(fake.loads(), 1, "another num_ctx loads the model again");
    let ps = exchange(&fake.base_url(), "GET /api/ps", &[], "").unwrap();
    assert_eq!(ps.json()["models"][0]["context_length"], 8192);
    assert_eq!(
        exchange(&fake.base_url(), "GET /metrics", &[], "").unwrap().text(),
        "404 page not found"
    );
}

#[test]
fn a_thinking_model_thinks_aloud_unless_told_not_to() {
    let mut setup = Setup::new(Persona::Ollama);
    setup.thinking = true;
    let fake = Fake::start_with(setup);
    let ask = |more: Value| {
        let mut body = json!({"model": "fake-model", "stream": false,
            "messages": [{"role": "user", "content": "hi"}]});
        body["think"] = more;
        exchange(&fake.base_url(), "POST /api/chat", &[], body.to_string()).unwrap().json()
    };
    assert_eq!(ask(Value::Null)["message"]["thinking"], "The user says something.");
    assert_eq!(ask(json!("low"))["message"]["content"], "Hello from ollama, how can I help?");
    assert_eq!(ask(json!(false))["message"]["thinking"], Value::Null);
}

#[tokio::test]
async fn a_cold_ollama_keeps_a_short_queue_and_refuses_the_rest() {
    let gate = Gate::new();
    let mut setup = Setup::new(Persona::Ollama);
    setup.load_gate = Some(gate.clone());
    setup.load_queue = 1;
    let fake = Fake::start_with(setup);
    let body = json!({"model": "fake-model", "stream": false,
        "messages": [{"role": "user", "content": "hi"}]});
    let (url, text) = (fake.base_url(), body.to_string());
    let first = {
        let (url, text) = (url.clone(), text.clone());
        tokio::task::spawn_blocking(move || exchange(&url, "POST /api/chat", &[], text).unwrap())
    };
    gate.arrived(1).await;
    let second = exchange(&url, "POST /api/chat", &[], &text).unwrap();
    assert_eq!(second.status, 503);
    assert!(second.text().contains("server busy, please try again.  maximum"));
    gate.open();
    assert_eq!(first.await.unwrap().status, 200);
    assert_eq!(fake.loads(), 1);
}

#[tokio::test]
async fn chunks_wait_for_their_permits_and_a_client_that_leaves_is_noticed() {
    let fake = Fake::start(Persona::OpenAi);
    let gate = Gate::new();
    fake.once(Reply::tokens(&["a", "b", "c"]).hold_each_chunk(&gate));
    let mut raw = Raw::open(&fake.base_url()).unwrap();
    raw.request("POST /v1/chat/completions", &[], streaming("fake-model").to_string()).unwrap();
    gate.release(2);
    let text = raw.read_until("\"content\":\"b\"").unwrap();
    assert!(!text.contains("\"content\":\"c\""), "{text}");
    gate.arrived(3).await;
    assert_eq!(fake.in_flight(), 1);
    let left = tokio::time::Instant::now().into_std();
    drop(raw);
    let disconnect = fake.wait_for_disconnect().await;
    assert_eq!(disconnect.request, 0);
    assert!(disconnect.at - left < Duration::from_secs(1));
}

#[test]
fn faults_look_as_they_should() {
    let fake = Fake::start(Persona::OpenAi);
    let ask = |reply: Reply| {
        fake.once(reply);
        exchange(
            &fake.base_url(),
            "POST /v1/chat/completions",
            &[],
            streaming("fake-model").to_string(),
        )
    };
    assert!(ask(Reply::fault(Fault::Reset)).is_err());
    assert!(ask(Reply::fault(Fault::Close)).is_err());
    let limited = ask(Reply::fault(Fault::Status {
        status: 429,
        retry_after: Some("2".to_owned()),
        retry_after_ms: Some(1500),
    }))
    .unwrap();
    assert_eq!(limited.status, 429);
    assert_eq!(limited.header("retry-after-ms"), Some("1500"));
    assert_eq!(limited.json()["error"]["code"], "rate_limit_exceeded");
    assert!(ask(Reply::fault(Fault::Html(200))).unwrap().text().contains("<html>"));
    assert!(!ask(Reply::fault(Fault::Half)).unwrap().complete);
    let cut = ask(Reply::words(5).and_then(2, Fault::Cut)).unwrap();
    assert!(!cut.complete);
    let early = ask(Reply::words(5).and_then(2, Fault::EarlyEnd)).unwrap();
    assert!(early.complete);
    assert_eq!(deltas(&early), "w0 w1 ");
    assert!(!early.text().contains("[DONE]"));
    let undone = ask(Reply::words(2).and_then(2, Fault::NoDone)).unwrap();
    assert!(undone.text().contains("\"finish_reason\":\"stop\""));
    assert!(!undone.text().contains("[DONE]"));
    let error = ask(Reply::words(5).and_then(1, Fault::ErrorEvent)).unwrap();
    assert!(error.events().last().unwrap().contains("\"error\""));
    let huge = ask(Reply::words(2).and_then(1, Fault::HugeEvent(3_000_000))).unwrap();
    assert!(deltas(&huge).len() > 3_000_000);
}

#[test]
fn a_fake_goes_down_and_comes_back_on_its_port() {
    let mut fake = Fake::start(Persona::Vllm);
    assert_eq!(chat(&fake, &streaming("fake-model")).status, 200);
    fake.go_down();
    assert!(Raw::open(&fake.base_url()).is_err());
    fake.come_back();
    assert_eq!(chat(&fake, &streaming("fake-model")).status, 200);
    assert!(Raw::open(&Refusing::start().base_url()).is_err());
}

#[tokio::test]
async fn the_load_driver_tells_good_from_bad() {
    let fake = Fake::start(Persona::OpenAi);
    let mut load = Load::new(&fake.base_url(), "sk", "fake-model");
    load.stream = true;
    let running = load.clone().start();
    running.more(50).await;
    let samples = running.stop();
    load::assert_all_good(&samples);
    assert_eq!(fake.inferences().len(), samples.len());
    fake.always(Reply::words(3).and_then(1, Fault::EarlyEnd));
    let running = load.start();
    running.more(5).await;
    assert!(running.stop().iter().all(|sample| !sample.good()));
}
