//! Upstreams that speak Anthropic's Messages API. Ours does, too: a second gateway is the upstream, and a
//! scripted engine stands behind it.

use cutover_testkit::fake::{Fake, Fault, Gate, Persona, Reply};
use cutover_testkit::raw::Response;
use serde_json::{Value, json};

use crate::harness::{
    Arm, BY_UNIT, KEY, Parrot, Rig, ask, ask_stream, docs_on, service, two_arms, until,
};

/// The engine, the gateway that speaks Messages in front of it, and the one that is tested.
struct Chain {
    engine: Fake,
    near: Rig,
    _far: Rig,
}

fn chain() -> Chain {
    let engine = Fake::start(Persona::OpenAi);
    let far = two_arms(&engine.base_url(), &engine.base_url(), "0%");
    let far = Rig::start(&far.replace("\"app\"", "\"claude\""));
    let claude = service("anthropic", &format!("http://{}", far.address)) + KEY;
    let claude = Arm::theirs(claude, "claude").with("unsupported = \"lenient\"");
    let config = docs_on(&[claude], BY_UNIT);
    Chain { engine, near: Rig::start(&config), _far: far }
}

fn last(chain: &Chain) -> Value {
    chain.engine.inferences().pop().unwrap().json()
}

fn said(response: &Response) -> String {
    let events = response.events();
    let events = events.iter().filter_map(|e| serde_json::from_str::<Value>(e).ok());
    let deltas =
        events.filter_map(|e| Some(e["choices"][0]["delta"]["content"].as_str()?.to_owned()));
    deltas.collect()
}

#[test]
fn a_chat_request_is_answered_by_a_messages_upstream() {
    let chain = chain();
    chain.engine.always(Reply::tokens(&["from ", "claude"]));
    let response = chain.near.chat(&[], &ask("app"));
    let body = response.json();
    assert_eq!(body["choices"][0]["message"]["content"], "from claude", "{body}");
    assert_eq!((&body["model"], &body["object"]), (&json!("app"), &json!("chat.completion")));
    assert!(body["id"].as_str().unwrap().starts_with("chatcmpl-"));
    assert!(body["usage"]["completion_tokens"].as_u64().unwrap() > 0);
    let stream = chain.near.chat(&[], &ask_stream("app"));
    assert_eq!(said(&stream), "from claude", "{}", stream.text());
    assert!(stream.text().ends_with("data: [DONE]\n\n"));
    assert!(!stream.text().contains("\"usage\":{"), "not asked for: {}", stream.text());
    until("both are counted", || chain.near.metrics().contains("outcome=\"ok\"} 2"));
}

#[test]
fn chunks_pass_as_they_come_and_a_client_that_goes_ends_the_work() {
    let chain = chain();
    let gate = Gate::new();
    chain.engine.always(Reply::tokens(&["one", "two", "three"]).hold_each_chunk(&gate));
    let mut raw = chain.near.raw();
    raw.request("POST /v1/chat/completions", &[], ask_stream("app")).unwrap();
    for word in ["one", "two"] {
        gate.release(1);
        raw.read_until(word).unwrap();
    }
    drop(raw);
    until("the engine sees the client go", || chain.engine.disconnects().len() == 1);
}

#[test]
fn tools_make_the_round_trip() {
    let chain = chain();
    chain.engine.always(Reply::default().call("weather", r#"{"city":"Paris"}"#));
    let tool = json!({"type": "function", "function": {
        "name": "weather", "parameters": {"type": "object"}, "strict": true}});
    let messages = json!([
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "the weather?"},
        {"role": "assistant", "content": null, "tool_calls": [{"id": "call_1", "type": "function",
            "function": {"name": "weather", "arguments": "{\"city\":\"Rome\"}"}}]},
        {"role": "tool", "tool_call_id": "call_1", "content": "sunny"},
        {"role": "user", "content": "and in Paris?"},
    ]);
    let body = json!({"model": "app", "messages": messages, "tools": [tool]});
    let response = chain.near.chat(&[], &body.to_string()).json();
    let choice = &response["choices"][0];
    assert_eq!(choice["finish_reason"], "tool_calls", "{response}");
    assert_eq!(choice["message"]["tool_calls"][0]["function"]["arguments"], r#"{"city":"Paris"}"#);
    let seen = last(&chain);
    let roles: Vec<_> = seen["messages"].as_array().unwrap().iter().map(|m| &m["role"]).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool", "user"], "{seen}");
    let call = &seen["messages"][2]["tool_calls"][0];
    assert_eq!(call["function"]["name"], "weather");
    assert_eq!(seen["messages"][3]["tool_call_id"], call["id"]);
    assert_eq!(seen["messages"][3]["content"], "sunny");
}

#[test]
fn what_goes_wrong_there_is_said_in_the_clients_words() {
    let chain = chain();
    for (fault, status) in [
        (Fault::status(429), 429),
        (Fault::status(400), 400),
        (Fault::status(500), 502),
        (Fault::status(503), 503),
        (Fault::NotJson, 502),
    ] {
        chain.engine.always(Reply::fault(fault.clone()));
        for body in [ask("app"), ask_stream("app")] {
            let response = chain.near.chat(&[], &body);
            assert_eq!(response.status, status, "{fault:?}: {}", response.text());
            assert!(response.json()["error"]["code"].is_string(), "{}", response.text());
        }
    }
    for fault in [Fault::Cut, Fault::Malformed, Fault::EarlyEnd, Fault::ErrorEvent] {
        chain.engine.always(Reply::words(4).and_then(2, fault.clone()));
        let response = chain.near.chat(&[], &ask_stream("app"));
        let events = response.events();
        assert!(events.last().unwrap().contains("\"error\":{"), "{fault:?}: {events:?}");
        assert!(!response.text().contains("[DONE]"), "{fault:?}");
    }
}

#[test]
fn every_dialect_reaches_it() {
    let chain = chain();
    chain.engine.always(Reply::text("from claude"));
    let messages = json!([{"role": "user", "content": "hi"}]);
    for (path, body) in [
        ("/v1/messages", json!({"model": "app", "max_tokens": 9, "messages": messages})),
        ("/v1/responses", json!({"model": "app", "input": "hi"})),
        ("/api/chat", json!({"model": "app", "messages": messages})),
    ] {
        let response = chain.near.post(path, &[], &body.to_string());
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert!(response.text().contains("claude"), "{path}: {}", response.text());
        let mut body = body;
        body["stream"] = json!(path != "/api/chat");
        let response = chain.near.post(path, &[], &body.to_string());
        assert_eq!(response.status, 200, "{path}: {}", response.text());
        assert!(response.text().contains("claude"), "{path}: {}", response.text());
    }
}

#[test]
fn the_key_is_shown_as_anthropic_wants_it() {
    let claude = Parrot::start();
    claude.says("application/json", "{}");
    let heads = [r#"{ env = "KEY" }"#, "\"client\""].map(|key| {
        let service = service("anthropic", &claude.base_url);
        let rig = Rig::start(&format!("[upstreams.claude]\n{service}key = {key}\n"));
        rig.chat(&["x-api-key: sk-client"], &ask("claude"));
        claude.take().0
    });
    for (head, key) in heads.iter().zip(["upstream-secret", "sk-client"]) {
        assert!(head.starts_with("POST /v1/messages HTTP/1.1\r\n"), "{head}");
        assert!(head.contains(&format!("x-api-key: {key}\r\n")), "{head}");
        assert!(head.contains("anthropic-version: 2023-06-01\r\n"), "{head}");
        assert!(!head.contains("authorization:"), "{head}");
    }
}
