//! Clients that speak Anthropic's, OpenAI's Responses and Ollama's API: the same pipeline, and their own
//! words for everything that goes wrong.

use std::sync::Arc;

use cutover_store::{KeyRing, NewKey, Options, Secret, Store, Window};
use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply, Setup};
use cutover_testkit::raw::Response;
use cutover_units::Millis;
use serde_json::{Value, json};

use crate::harness::{BROKEN_STREAMS, Rig, now, two_arms, until};

/// A client's key.
const KEY: &str = "ck-0123456789abcdef0123456789abcdef";

const UNIT: &[&str] = &["x-unit: u1"];

/// One dialect as its client sees it.
struct Client {
    path: &'static str,
    /// The body of a plain request.
    body: fn(&str) -> Value,
    /// The same with a tool.
    tools: fn(&str) -> Value,
    /// What an error's message is, if the body is an error of this dialect's.
    error: fn(&Value) -> Option<String>,
    /// The header that tells the request's id.
    id: &'static str,
    /// The text of a whole answer.
    text: fn(&Value) -> String,
    /// The call of a whole answer: name and arguments.
    call: fn(&Value) -> (String, Value),
    /// The type of the error of a stream that broke off, and of one that ended well.
    ends: fn(&Response) -> End,
}

#[derive(Debug, PartialEq)]
enum End {
    Well(String),
    Error,
    Neither,
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

const ANTHROPIC: Client = Client {
    path: "/v1/messages",
    body: |model| {
        let messages = json!([{"role": "user", "content": "hi"}]);
        json!({"model": model, "max_tokens": 100, "messages": messages})
    },
    tools: |model| {
        let messages = json!([{"role": "user", "content": "the weather?"}]);
        let tool = json!({"name": "weather", "input_schema": {"type": "object"}});
        json!({"model": model, "max_tokens": 100, "messages": messages, "tools": [tool]})
    },
    error: |body| {
        let shaped = body["type"] == "error"
            && body["error"]["type"].is_string()
            && body["request_id"].is_string();
        text(&body["error"]["message"]).filter(|_| shaped)
    },
    id: "request-id",
    text: |body| text(&body["content"][0]["text"]).unwrap(),
    call: |body| {
        let block = body["content"].as_array().unwrap().last().unwrap();
        assert_eq!(
            (&block["type"], &body["stop_reason"]),
            (&json!("tool_use"), &json!("tool_use"))
        );
        (text(&block["name"]).unwrap(), block["input"].clone())
    },
    ends: |response| {
        let events: Vec<Value> =
            response.events().iter().map(|e| serde_json::from_str(e).unwrap()).collect();
        let said = events.iter().filter_map(|e| e["delta"]["text"].as_str()).collect();
        match events.last().unwrap()["type"].as_str().unwrap() {
            "message_stop" => End::Well(said),
            "error" => End::Error,
            _ => End::Neither,
        }
    },
};

const RESPONSES: Client = Client {
    path: "/v1/responses",
    body: |model| json!({"model": model, "input": "hi"}),
    tools: |model| {
        let tool = json!({"type": "function", "name": "weather", "parameters": {"type": "object"}});
        json!({"model": model, "input": "the weather?", "tools": [tool]})
    },
    error: |body| {
        let error = &body["error"];
        let shaped = ["type", "param", "code"].iter().all(|key| error.get(key).is_some());
        text(&error["message"]).filter(|_| shaped)
    },
    id: "x-request-id",
    text: |body| text(&body["output"][0]["content"][0]["text"]).unwrap(),
    call: |body| {
        let item = body["output"].as_array().unwrap().last().unwrap();
        assert_eq!(item["type"], "function_call");
        let arguments = item["arguments"].as_str().unwrap();
        (text(&item["name"]).unwrap(), serde_json::from_str(arguments).unwrap())
    },
    ends: |response| {
        let events: Vec<Value> =
            response.events().iter().map(|e| serde_json::from_str(e).unwrap()).collect();
        for (number, event) in events.iter().enumerate() {
            assert_eq!(event["sequence_number"], number, "{event}");
        }
        let deltas = events.iter().filter(|e| e["type"] == "response.output_text.delta");
        let said = deltas.filter_map(|e| e["delta"].as_str()).collect();
        match events.last().unwrap()["type"].as_str().unwrap() {
            "response.completed" => End::Well(said),
            "error" | "response.failed" => End::Error,
            _ => End::Neither,
        }
    },
};

const OLLAMA: Client = Client {
    path: "/api/chat",
    body: |model| {
        let messages = json!([{"role": "user", "content": "hi"}]);
        json!({"model": model, "messages": messages, "stream": false})
    },
    tools: |model| {
        let messages = json!([{"role": "user", "content": "the weather?"}]);
        let function = json!({"name": "weather", "parameters": {"type": "object"}});
        let tools = json!([{"type": "function", "function": function}]);
        json!({"model": model, "messages": messages, "stream": false, "tools": tools})
    },
    error: |body| text(&body["error"]),
    id: "x-request-id",
    text: |body| text(&body["message"]["content"]).unwrap(),
    call: |body| {
        let call = &body["message"]["tool_calls"][0]["function"];
        (text(&call["name"]).unwrap(), call["arguments"].clone())
    },
    ends: |response| {
        let lines: Vec<Value> =
            response.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let said = lines.iter().filter_map(|line| line["message"]["content"].as_str()).collect();
        let last = lines.last().unwrap();
        match (last["done"] == true, last["error"].is_string()) {
            (true, false) => End::Well(said),
            (false, true) => End::Error,
            _ => End::Neither,
        }
    },
};

const CLIENTS: [&Client; 3] = [&ANTHROPIC, &RESPONSES, &OLLAMA];

impl Client {
    fn stream(&self, model: &str) -> String {
        let mut body = (self.body)(model);
        body["stream"] = json!(true);
        body.to_string()
    }

    fn ask(&self, rig: &Rig, body: &Value) -> Response {
        rig.post(self.path, UNIT, &body.to_string())
    }

    /// The message of an error, which must be in this dialect's own words throughout.
    fn refused(&self, response: &Response, status: u16) -> String {
        let path = self.path;
        assert_eq!(response.status, status, "{path}: {}", response.text());
        assert_eq!(response.header("content-type"), Some("application/json"));
        let id = response.header(self.id).unwrap_or_else(|| panic!("{path}: {response:?}"));
        assert!(id.starts_with("req_"), "{id}");
        assert_eq!(response.header("x-request-id"), Some(id));
        let message = (self.error)(&response.json());
        message.unwrap_or_else(|| panic!("{path}: not its own words: {}", response.text()))
    }
}

fn pair() -> (Fake, Fake) {
    let cloud = Fake::start_with(Setup::new(Persona::OpenAi).name("cloud"));
    (cloud, Fake::start_with(Setup::new(Persona::LlamaCpp).name("own")))
}

fn rig(cloud: &Fake, own: &Fake, weight: &str) -> Rig {
    Rig::start(&two_arms(&cloud.base_url(), &own.base_url(), weight))
}

#[test]
fn a_plain_request_is_answered_in_its_own_words() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "100%");
    own.always(Reply::tokens(&["from ", "home"]));
    for client in CLIENTS {
        let response = client.ask(&rig, &(client.body)("app"));
        assert_eq!(response.status, 200, "{}: {}", client.path, response.text());
        assert_eq!((client.text)(&response.json()), "from home");
        assert_eq!(response.json()["model"], "app", "the upstream's name stays inside");
        assert!(response.header(client.id).unwrap().starts_with("req_"));
        assert_eq!(response.header("x-cutover-arm"), Some("candidate"));
        assert_eq!(response.header("x-cutover-use-case"), Some("docs"));
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
    for seen in own.inferences() {
        assert_eq!(seen.path(), "/v1/chat/completions");
        assert_eq!(seen.json()["model"], "fake-model");
        for header in ["x-api-key", "anthropic-version", "authorization"] {
            assert_eq!(seen.header(header), None);
        }
    }
    assert_eq!(cloud.bytes(), 0);
}

#[test]
fn a_stream_is_turned_chunk_by_chunk() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "100%");
    for client in CLIENTS {
        let gate = Gate::new();
        own.always(Reply::tokens(&["one", "two", "three"]).hold_each_chunk(&gate));
        let mut raw = rig.raw();
        raw.request(&format!("POST {}", client.path), UNIT, client.stream("app")).unwrap();
        let mut seen = String::new();
        for word in ["one", "two", "three"] {
            assert!(!seen.contains(word), "the chunk is still held back");
            gate.release(1);
            seen.push_str(&raw.read_until(word).unwrap());
        }
        gate.open();
        own.always(Reply::tokens(&["one", "two", "three"]));
        let response = rig.post(client.path, UNIT, &client.stream("app"));
        assert!(response.complete, "{}", client.path);
        assert_eq!((client.ends)(&response), End::Well("onetwothree".to_owned()));
        let content_type = response.header("content-type").unwrap();
        let lines = client.path == OLLAMA.path;
        assert_eq!(content_type == "application/x-ndjson", lines, "{content_type}");
        assert_eq!(response.header("x-cutover-arm"), Some("candidate"));
        assert!(response.header(client.id).unwrap().starts_with("req_"));
    }
    // Ollama's streams are the default.
    let mut body = (OLLAMA.body)("app");
    body.as_object_mut().unwrap().remove("stream");
    let response = OLLAMA.ask(&rig, &body);
    assert_eq!((OLLAMA.ends)(&response), End::Well("onetwothree".to_owned()));
}

#[test]
fn tool_calls_come_back_in_each_dialects_form() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "100%");
    own.always(Reply::default().call("weather", r#"{"city": "Paris"}"#));
    for client in CLIENTS {
        let response = client.ask(&rig, &(client.tools)("app"));
        assert_eq!(response.status, 200, "{}: {}", client.path, response.text());
        let call = (client.call)(&response.json());
        assert_eq!(call, ("weather".to_owned(), json!({"city": "Paris"})));
        let mut body = (client.tools)("app");
        body["stream"] = json!(true);
        let stream = client.ask(&rig, &body);
        assert!(matches!((client.ends)(&stream), End::Well(_)), "{}", stream.text());
        assert!(stream.text().contains("weather") && stream.text().contains("Paris"));
        let last = own.inferences().pop().unwrap().json();
        assert_eq!(last["tools"][0]["function"]["name"], "weather");
    }
}

#[test]
fn every_error_is_in_the_clients_own_words() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "100%");
    for client in CLIENTS {
        for body in ["", "{", "[]", "7", r#"{"model":7}"#] {
            client.refused(&rig.post(client.path, UNIT, body), 400);
        }
        let mut raw = rig.raw();
        raw.request(&format!("PATCH {}", client.path), UNIT, "{}").unwrap();
        client.refused(&raw.response().unwrap().unwrap(), 405);
    }
    assert_eq!(own.bytes() + cloud.bytes(), 0);
    let shapes = [
        (Fault::status(429), 429),
        (Fault::status(500), 502),
        (Fault::status(401), 502),
        (Fault::NotJson, 502),
        (Fault::Html(200), 502),
        (Fault::Reset, 503),
    ];
    for client in CLIENTS {
        for (fault, status) in &shapes {
            own.always(Reply::fault(fault.clone()));
            cloud.always(Reply::fault(fault.clone()));
            for body in [(client.body)("app").to_string(), client.stream("app")] {
                let response = rig.post(client.path, UNIT, &body);
                let message = client.refused(&response, *status);
                assert!(!message.contains("DOCTYPE") && !message.contains("upstream-secret"));
                assert_eq!(response.header("x-cutover-attempts"), Some("2"), "{fault:?}");
            }
        }
    }
}

#[test]
fn an_unknown_model_is_not_found() {
    let own = Fake::start(Persona::OpenAi);
    let rig = Rig::start(&two_arms(&own.base_url(), &own.base_url(), "0%"));
    for client in CLIENTS {
        client.refused(&client.ask(&rig, &(client.body)("nobody")), 404);
    }
}

#[test]
fn the_door_asks_for_a_key_in_each_dialects_way() {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%");
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let key = NewKey {
        name: "app".to_owned(),
        secret: Secret::new(KEY).unwrap(),
        use_case: None,
        local_only: false,
        batch: false,
        actor: "test".to_owned(),
        now: now(),
    };
    let keys = tokio::runtime::Runtime::new().unwrap().block_on(async {
        store.add_key(key).await.unwrap();
        store.load_keys().await.unwrap()
    });
    let ring = KeyRing::new(keys);
    let rig = Rig::start_with(&config, Some(Arc::new(ring)));
    for client in CLIENTS {
        let body = (client.body)("app").to_string();
        client.refused(&rig.post(client.path, UNIT, &body), 401);
        let wrong = ["x-unit: u1", "x-api-key: ck-wrong"];
        client.refused(&rig.post(client.path, &wrong, &body), 401);
        for key in [format!("x-api-key: {KEY}"), format!("authorization: Bearer {KEY}")] {
            let response = rig.post(client.path, &["x-unit: u1", &key], &body);
            assert_eq!(response.status, 200, "{}: {}", client.path, response.text());
        }
    }
    for seen in own.inferences() {
        let all = format!("{:?}", seen.headers);
        assert!(!all.contains(KEY), "{all}");
    }
}

#[test]
fn too_large_a_body_is_refused_in_the_clients_words() {
    let own = Fake::start(Persona::OpenAi);
    let config = two_arms(&own.base_url(), &own.base_url(), "0%")
        .replace("[upstreams.cloud]", "[server]\nbody_limit = \"64 KiB\"\n[upstreams.cloud]");
    let rig = Rig::start(&config);
    for client in CLIENTS {
        let large = "a".repeat(100_000);
        client.refused(&rig.post(client.path, UNIT, &large), 413);
    }
}

#[test]
fn a_stream_that_breaks_ends_in_the_dialects_error_and_never_well() {
    let (cloud, own) = pair();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let rig = Rig::start(&config);
    for client in CLIENTS {
        for fault in BROKEN_STREAMS {
            own.always(Reply::words(4).and_then(2, fault.clone()));
            rig.forgive(&config);
            let response = rig.post(client.path, UNIT, &client.stream("app"));
            assert_eq!(response.header("x-cutover-arm"), Some("candidate"));
            assert_eq!((client.ends)(&response), End::Error, "{fault:?}: {}", response.text());
            assert!(response.complete, "the connection itself ends in order");
        }
    }
    assert_eq!(cloud.bytes(), 0, "nothing is asked again once content was sent");
    until("all are counted", || rig.metrics().contains("outcome=\"interrupted\"} 18"));
}

#[test]
fn an_answer_that_a_dialect_has_no_form_for_is_an_error() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "100%");
    for arm in [&own, &cloud] {
        arm.always(Reply::default().call("weather", "not json"));
    }
    for client in [&ANTHROPIC, &OLLAMA] {
        client.refused(&client.ask(&rig, &(client.tools)("app")), 502);
    }
    until("all are the upstream's", || rig.metrics().contains("outcome=\"upstream_error\"} 2"));
}

#[test]
fn a_failing_candidate_is_answered_for_by_the_baseline() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "100%");
    cloud.always(Reply::text("from the cloud"));
    own.always(Reply::fault(Fault::status(500)));
    for client in CLIENTS {
        let response = client.ask(&rig, &(client.body)("app"));
        assert_eq!((client.text)(&response.json()), "from the cloud");
        assert_eq!(response.header("x-cutover-assigned-arm"), Some("candidate"));
        let stream = rig.post(client.path, UNIT, &client.stream("app"));
        assert_eq!((client.ends)(&stream), End::Well("from the cloud".to_owned()));
    }
}

#[test]
fn a_client_that_goes_ends_the_upstreams_work() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "100%");
    for (at, client) in CLIENTS.iter().enumerate() {
        let gate = Gate::new();
        own.always(Reply::words(5).hold_each_chunk(&gate));
        let mut raw = rig.raw();
        raw.request(&format!("POST {}", client.path), UNIT, client.stream("app")).unwrap();
        gate.release(2);
        raw.read_until("w0").unwrap();
        drop(raw);
        until("the upstream sees the stream's client go", || own.disconnects().len() == 2 * at + 1);
        let gate = Gate::new();
        own.always(Reply::words(5).hold_headers(&gate));
        let mut raw = rig.raw();
        let body = (client.body)("app").to_string();
        raw.request(&format!("POST {}", client.path), UNIT, body).unwrap();
        until("the request is there", || own.inferences().len() == 2 * at + 2);
        drop(raw);
        until("the upstream sees the other client go", || own.disconnects().len() == 2 * at + 2);
    }
    until("all are counted", || rig.metrics().contains("outcome=\"client_gone\"} 6"));
}

#[test]
fn a_silent_prefill_shows_signs_of_life_in_each_dialect() {
    let (cloud, own) = pair();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%")
        .replace("[upstreams.cloud]", "[server]\nkeep_alive_interval = \"1 s\"\n[upstreams.cloud]");
    let rig = Rig::start(&config);
    for client in CLIENTS {
        let gate = Gate::new();
        own.always(Reply::text("at last").hold_first_token(&gate));
        let mut raw = rig.raw();
        raw.request(&format!("POST {}", client.path), UNIT, client.stream("app")).unwrap();
        // Whatever it is, it comes before the answer does.
        raw.read_until("\r\n\r\n").unwrap();
        let sign = String::from_utf8_lossy(&raw.read_some().unwrap()).into_owned();
        assert!(!sign.is_empty() && !sign.contains("at last"), "{sign}");
        gate.open();
        raw.read_until("last").unwrap();
    }
}

#[test]
fn what_a_dialect_cannot_carry_is_refused_or_reported_as_the_variant_says() {
    let (cloud, own) = pair();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let search = json!({"type": "web_search"});
    let mut body = (RESPONSES.body)("app");
    body["tools"] = json!([search]);
    let strict = Rig::start(&config);
    let message = RESPONSES.refused(&RESPONSES.ask(&strict, &body), 400);
    assert!(message.contains("tools"), "{message}");
    assert_eq!(own.bytes() + cloud.bytes(), 0);
    let lenient =
        config.replace("[variants.small]\n", "[variants.small]\nunsupported = \"lenient\"\n");
    let lenient = Rig::start(&lenient);
    let response = RESPONSES.ask(&lenient, &body);
    assert_eq!(response.status, 200, "{}", response.text());
    let loss = response.header("x-cutover-loss").unwrap();
    assert!(loss.contains("tools[].type=dropped"), "{loss}");
    until("it is counted", || lenient.metrics().contains("cutover_losses_total{"));
}

#[test]
fn earlier_reasoning_goes_to_targets_that_take_it() {
    let (cloud, own) = pair();
    let earlier = json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": [
            {"type": "thinking", "thinking": "hm", "signature": "abc"},
            {"type": "text", "text": "yes?"},
        ]},
        {"role": "user", "content": "go on"},
    ]);
    let mut body = (ANTHROPIC.body)("app");
    body["messages"] = earlier;
    let home = rig(&cloud, &own, "100%");
    assert_eq!(ANTHROPIC.ask(&home, &body).status, 200);
    let seen = own.inferences().pop().unwrap().json();
    assert_eq!(seen["messages"][1]["reasoning_content"], "hm");
    let away = rig(&cloud, &own, "0%");
    let response = ANTHROPIC.ask(&away, &body);
    let loss = response.header("x-cutover-loss").unwrap_or_default().to_owned();
    assert!(loss.contains("thinking"), "{loss}");
    let seen = cloud.inferences().pop().unwrap().json();
    assert_eq!(seen["messages"][1].get("reasoning_content"), None, "{seen}");
}

#[test]
fn a_record_is_written_under_the_dialects_name() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(Options::new(dir.path(), now)).unwrap();
    let (cloud, own) = pair();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "100%");
    let rig = Rig::start_storing(&config, None, Some(&store));
    for client in CLIENTS {
        assert_eq!(client.ask(&rig, &(client.body)("app")).status, 200);
        assert_eq!(rig.post(client.path, UNIT, "{").status, 400);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let summary = runtime.block_on(async {
        store.flush().await.unwrap();
        let (from, until) = (Millis(0), Millis(u64::MAX >> 1));
        store.summarize(Window { from, until, use_case: None }).await.unwrap()
    });
    let of = |arm: &str| summary.rows.iter().find(|row| *row.arm == *arm).unwrap();
    assert_eq!((of("candidate").requests, of("candidate").client_errors), (3, 0));
    assert_eq!((of("default").requests, of("default").client_errors), (3, 3));
    assert!(of("candidate").completion_tokens > 0);
}

#[test]
fn copies_are_made_of_every_dialects_requests() {
    let (cloud, own) = pair();
    cloud.always(Reply::text("from the cloud"));
    own.always(Reply::text("from home"));
    let config = two_arms(&cloud.base_url(), &own.base_url(), "0%");
    let rig = Rig::shadowing(&config, |_| {});
    for (at, client) in CLIENTS.iter().enumerate() {
        for body in [(client.body)("app").to_string(), client.stream("app")] {
            let before = own.answered();
            assert_eq!(rig.post(client.path, UNIT, &body).status, 200);
            until("the copy is made", || own.answered() > before);
        }
        assert_eq!(own.answered(), 2 * at + 2);
    }
    for pair in rig.pairs(6) {
        assert_eq!(
            (pair.baseline.text.as_str(), pair.candidate.text.as_str()),
            ("from the cloud", "from home")
        );
    }
}

#[test]
fn a_copy_that_a_strict_candidate_would_refuse_is_refused() {
    let (cloud, own) = pair();
    let config = two_arms(&cloud.base_url(), &own.base_url(), "0%")
        .replace("[variants.big]\n", "[variants.big]\nunsupported = \"lenient\"\n");
    let rig = Rig::shadowing(&config, |_| {});
    let mut body = (RESPONSES.body)("app");
    body["tools"] = json!([{"type": "web_search"}]);
    assert_eq!(RESPONSES.ask(&rig, &body).status, 200);
    assert_eq!(rig.pairs(1)[0].candidate.fault, Some("unsupported"));
    assert_eq!(own.bytes(), 0);
}

fn get(rig: &Rig, path: &str, headers: &[&str]) -> Response {
    let mut raw = rig.raw();
    raw.request(&format!("GET {path}"), headers, "").unwrap();
    raw.response().unwrap().unwrap()
}

#[test]
fn models_are_listed_in_the_shape_that_is_asked_for() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "0%");
    let version = ["anthropic-version: 2023-06-01"];
    let list = get(&rig, "/v1/models", &version);
    assert_eq!(list.json()["has_more"], false, "{}", list.text());
    assert_eq!(list.json()["data"][0]["type"], "model");
    assert!(list.header("request-id").is_some());
    assert_eq!(get(&rig, "/v1/models/app", &version).json()["display_name"], "app");
    ANTHROPIC.refused(&get(&rig, "/v1/models/nobody", &version), 404);
    ANTHROPIC.refused(&get(&rig, "/v1/nowhere", &version), 404);
    assert_eq!(get(&rig, "/v1/models", &[]).json()["object"], "list");
    let tags = get(&rig, "/api/tags", &[]).json();
    assert!(tags["models"].as_array().unwrap().iter().any(|m| m["name"] == "app"), "{tags}");
    let show = rig.post("/api/show", &[], r#"{"model":"app"}"#);
    assert_eq!(show.json()["capabilities"][0], "completion", "{}", show.text());
    OLLAMA.refused(&rig.post("/api/show", &[], r#"{"model":"nobody"}"#), 404);
    OLLAMA.refused(&rig.post("/api/show", &[], "{}"), 400);
    assert_eq!(get(&rig, "/api/ps", &[]).json()["models"], json!([]));
    assert!(get(&rig, "/api/version", &[]).json()["version"].is_string());
}

#[test]
fn nothing_administers_models_or_stored_answers() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "0%");
    for (method, path) in [
        ("POST", "/api/pull"),
        ("POST", "/api/push"),
        ("POST", "/api/create"),
        ("POST", "/api/copy"),
        ("DELETE", "/api/delete"),
        ("POST", "/api/blobs/sha256:00"),
    ] {
        let mut raw = rig.raw();
        raw.request(&format!("{method} {path}"), &[], r#"{"model":"app"}"#).unwrap();
        OLLAMA.refused(&raw.response().unwrap().unwrap(), 403);
    }
    ANTHROPIC.refused(&rig.post("/v1/messages/batches", &[], "{}"), 403);
    RESPONSES.refused(&get(&rig, "/v1/responses/resp_1", &[]), 404);
    let mut body = (RESPONSES.body)("app");
    body["previous_response_id"] = json!("resp_1");
    RESPONSES.refused(&RESPONSES.ask(&rig, &body), 400);
    assert_eq!(cloud.bytes() + own.bytes(), 0);
}

#[test]
fn tokens_are_estimated_and_vectors_come_in_ollamas_shapes() {
    let (cloud, own) = pair();
    let rig = rig(&cloud, &own, "100%");
    let count = rig.post("/v1/messages/count_tokens", UNIT, &(ANTHROPIC.body)("app").to_string());
    assert!(count.json()["input_tokens"].as_u64().unwrap() > 0, "{}", count.text());
    assert!(count.header("x-cutover-estimated").is_some() && count.header("request-id").is_some());
    assert_eq!(own.bytes() + cloud.bytes(), 0);
    let many = rig.post("/api/embed", UNIT, r#"{"model":"app","input":["a","b"]}"#);
    assert_eq!(many.json()["embeddings"].as_array().map(Vec::len), Some(2), "{}", many.text());
    let one = rig.post("/api/embeddings", UNIT, r#"{"model":"app","prompt":"a"}"#);
    assert!(one.json()["embedding"].is_array(), "{}", one.text());
    let generated =
        rig.post("/api/generate", UNIT, r#"{"model":"app","prompt":"hi","stream":false}"#);
    assert!(generated.json()["response"].is_string(), "{}", generated.text());
    let beta = rig.post("/v1/messages?beta=true", UNIT, &(ANTHROPIC.body)("app").to_string());
    assert_eq!(beta.status, 200);
}
