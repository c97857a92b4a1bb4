//! The OpenAI dialect over the tiny random models.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed test says why")]

use bytes::Bytes;
use cutover_engine::service::{Answer, Body, Served, Service};
use cutover_engine::{Engine, EngineOptions};
use cutover_testkit::tiny_gguf;
use serde_json::{Value, json};

fn engine(context: Option<usize>) -> Engine {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("tiny.gguf");
    tiny_gguf::write_readable(&path, 7).expect("written");
    Engine::load(&path, &EngineOptions { context, ..EngineOptions::default() }).expect("loads")
}

fn service() -> Service {
    let service = Service::new(|| 1_700_000_000);
    service.serve("tiny", Served::Chat(engine(Some(256))));
    service.serve("later", Served::Coming("is being downloaded".into()));
    service
}

async fn post(path: &str, body: Value) -> Answer {
    service().call(path, Bytes::from(body.to_string())).await
}

fn full(answer: Answer) -> (u16, Value) {
    let Body::Full(bytes) = answer.body else { panic!("expected a whole body") };
    assert_eq!(answer.content_type, "application/json");
    (answer.status, serde_json::from_slice(&bytes).expect("JSON"))
}

/// The chunks of a stream, and whether `[DONE]` ended it.
async fn events(answer: Answer) -> (Vec<Value>, bool) {
    assert_eq!((answer.status, answer.content_type), (200, "text/event-stream"));
    let Body::Events(mut stream) = answer.body else { panic!("expected a stream") };
    let (mut chunks, mut done) = (Vec::new(), false);
    while let Some(bytes) = stream.next().await {
        assert!(!done, "nothing follows [DONE]");
        let text = std::str::from_utf8(&bytes).expect("UTF-8");
        let data = text.strip_prefix("data: ").and_then(|t| t.strip_suffix("\n\n")).expect("event");
        match data {
            "[DONE]" => done = true,
            data => chunks.push(serde_json::from_str(data).expect("JSON")),
        }
    }
    (chunks, done)
}

fn chat() -> Value {
    json!({
        "model": "tiny", "messages": [{"role": "user", "content": "the sea"}],
        "temperature": 0, "max_tokens": 8,
    })
}

fn with(mut body: Value, field: &str, value: Value) -> Value {
    body[field] = value;
    body
}

#[tokio::test]
async fn a_chat_answer_has_text_finish_and_usage() {
    let (status, body) = full(post("/v1/chat/completions", chat()).await);
    assert_eq!(status, 200);
    assert!(body["id"].as_str().expect("an id").starts_with("chatcmpl-"));
    assert_eq!(body["created"], 1_700_000_000);
    assert_eq!(body["choices"][0]["finish_reason"], "length");
    assert!(!body["choices"][0]["message"]["content"].as_str().expect("text").is_empty());
    assert_eq!(body["usage"]["prompt_tokens"], 23);
    assert_eq!(body["usage"]["completion_tokens"], 8);
    assert_eq!(body["usage"]["total_tokens"], 31);
}

/// This model never ends by itself, and its context would hold four times as much.
#[tokio::test]
async fn an_answer_without_a_limit_ends_long_before_the_context_does() {
    let service = Service::new(|| 1_700_000_000);
    service.serve("tiny", Served::Chat(engine(None)));
    let mut body = chat();
    body.as_object_mut().expect("an object").remove("max_tokens");
    let ask = |body: &Value| Bytes::from(body.to_string());
    let (status, whole) = full(service.call("/v1/chat/completions", ask(&body)).await);
    assert_eq!((status, &whole["usage"]["completion_tokens"]), (200, &json!(1024)));
    assert_eq!(whole["choices"][0]["finish_reason"], "length");
    let longer = with(body, "max_tokens", 1100.into());
    let (_, longer) = full(service.call("/v1/chat/completions", ask(&longer)).await);
    assert_eq!(longer["usage"]["completion_tokens"], 1100, "who asks for more gets it");
}

#[tokio::test]
async fn a_stream_says_the_same_as_a_whole_answer() {
    let (_, whole) = full(post("/chat/completions", chat()).await);
    let (chunks, done) =
        events(post("/v1/chat/completions", with(chat(), "stream", true.into())).await).await;
    assert!(done);
    assert_eq!(chunks[0]["choices"][0]["delta"]["role"], "assistant");
    let text: String =
        chunks.iter().filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(text, whole["choices"][0]["message"]["content"]);
    let last = chunks.last().expect("chunks");
    assert_eq!(last["choices"][0]["finish_reason"], "length");
    assert!(chunks.iter().all(|c| c.get("usage").is_none()), "usage was not asked for");
    assert!(chunks.iter().all(|c| c["id"] == chunks[0]["id"]));
}

#[tokio::test]
async fn a_stream_ends_with_usage_if_asked() {
    let body = with(chat(), "stream", true.into());
    let body = with(body, "stream_options", json!({"include_usage": true}));
    let (chunks, done) = events(post("/v1/chat/completions", body).await).await;
    let last = chunks.last().expect("chunks");
    assert!(done);
    assert_eq!(last["choices"], json!([]));
    assert_eq!(last["usage"]["completion_tokens"], 8);
}

#[tokio::test]
async fn choices_are_numbered_and_the_prompt_is_counted_once() {
    let body = json!({
        "model": "tiny", "messages": [{"role": "user", "content": "the sea"}],
        "seed": 5, "temperature": 1, "max_tokens": 8, "n": 2,
    });
    let (status, whole) = full(post("/v1/chat/completions", body.clone()).await);
    assert_eq!(status, 200);
    let text = |i: usize| whole["choices"][i]["message"]["content"].as_str().expect("text");
    assert_ne!(text(0), text(1));
    assert_eq!(whole["usage"]["prompt_tokens"], 23);
    assert_eq!(whole["usage"]["completion_tokens"], 16);
    let (chunks, done) =
        events(post("/v1/chat/completions", with(body, "stream", true.into())).await).await;
    assert!(done);
    for i in 0..2 {
        let own = chunks.iter().filter(|c| c["choices"][0]["index"] == i);
        let streamed: String =
            own.filter_map(|c| c["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(streamed, text(i));
    }
}

#[tokio::test]
async fn logprobs_come_in_both_dialects() {
    let body = with(with(chat(), "logprobs", true.into()), "top_logprobs", 2.into());
    let (_, body) = full(post("/v1/chat/completions", body).await);
    let content = body["choices"][0]["logprobs"]["content"].as_array().expect("entries");
    assert_eq!(content.len(), 8);
    assert_eq!(content[0]["top_logprobs"].as_array().expect("top").len(), 2);

    let body = json!({"model": "tiny", "prompt": "sea", "temperature": 0, "logprobs": 1});
    let (_, body) = full(post("/v1/completions", body).await);
    let choice = &body["choices"][0];
    assert_eq!(choice["logprobs"]["tokens"].as_array().expect("tokens").len(), 16);
    assert_eq!(choice["logprobs"]["text_offset"][0], 0);
}

#[tokio::test]
async fn plain_completions_take_several_prompts_and_stream() {
    let body =
        json!({"model": "tiny", "prompt": ["a sea", "b"], "temperature": 0, "max_tokens": 4});
    let (status, whole) = full(post("/v1/completions", body.clone()).await);
    assert_eq!(status, 200);
    assert_eq!(whole["object"], "text_completion");
    assert_eq!(whole["usage"]["prompt_tokens"], 3);
    assert_eq!(whole["usage"]["completion_tokens"], 8);
    let (chunks, done) =
        events(post("/v1/completions", with(body, "stream", true.into())).await).await;
    assert!(done);
    for i in 0..2 {
        let own = chunks.iter().filter(|c| c["choices"][0]["index"] == i);
        let streamed: String = own.filter_map(|c| c["choices"][0]["text"].as_str()).collect();
        assert_eq!(streamed, whole["choices"][i]["text"].as_str().expect("text"));
    }
}

#[tokio::test]
async fn what_cannot_be_done_is_refused_by_name() {
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let image = json!([{"role": "user", "content": [
        {"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "data:,"}}]}]);
    let format = json!({"type": "json_schema", "json_schema": {"name": "n"}});
    let bad_schema =
        json!({"type": "json_schema", "json_schema": {"schema": {"type": "nonsense"}}});
    let cases = [
        ("tools", tool.clone(), "tools", "unsupported_parameter"),
        ("tool_choice", json!("required"), "tool_choice", "unsupported_parameter"),
        ("functions", tool, "functions", "unsupported_parameter"),
        ("modalities", json!(["text", "audio"]), "modalities", "unsupported_parameter"),
        ("messages", image, "messages[0].content[1]", "unsupported_parameter"),
        ("messages", json!([]), "messages", "invalid_value"),
        (
            "messages",
            json!([{"role": "tool", "content": "x"}]),
            "messages[0].role",
            "unsupported_parameter",
        ),
        ("temperature", json!(9), "temperature", "invalid_value"),
        ("max_tokens", json!(0), "max_tokens", "invalid_value"),
        ("n", json!(99), "n", "invalid_value"),
        ("top_logprobs", json!(3), "top_logprobs", "invalid_value"),
        ("logit_bias", json!({"x": 1}), "logit_bias", "invalid_value"),
        ("logit_bias", json!({"999999": 1}), "logit_bias", "invalid_value"),
        (
            "messages",
            json!([{"role": "user"}]),
            "messages[0].content",
            "missing_required_parameter",
        ),
        (
            "messages",
            json!([{"role": "system", "content": "x"}, {"role": "user", "content": null}]),
            "messages[1].content",
            "missing_required_parameter",
        ),
        (
            "response_format",
            format,
            "response_format.json_schema.schema",
            "missing_required_parameter",
        ),
        ("response_format", bad_schema, "response_format", "invalid_value"),
        ("stream", json!("yes"), "stream", "invalid_type"),
    ];
    for (field, value, param, code) in cases {
        // A stream is refused the same way: before it begins.
        for stream in [false, true] {
            let body = with(chat(), "stream", stream.into());
            let (status, body) =
                full(post("/v1/chat/completions", with(body, field, value.clone())).await);
            assert_eq!(status, 400, "{field}: {body}");
            assert_eq!(body["error"]["param"], param, "{body}");
            assert_eq!(body["error"]["code"], code, "{body}");
        }
    }
    for field in [("echo", json!(true)), ("suffix", json!("x")), ("best_of", json!(2))] {
        let body = with(json!({"model": "tiny", "prompt": "x"}), field.0, field.1);
        let (status, body) = full(post("/v1/completions", body).await);
        assert_eq!((status, &body["error"]["param"]), (400, &json!(field.0)));
    }
}

#[tokio::test]
async fn a_prompt_that_is_too_long_has_its_own_code() {
    let long = json!([{"role": "user", "content": "x".repeat(500)}]);
    let (status, body) = full(post("/v1/chat/completions", with(chat(), "messages", long)).await);
    assert_eq!((status, &body["error"]["code"]), (400, &json!("context_length_exceeded")));
    assert!(body["error"]["message"].as_str().expect("text").contains("256 tokens"));
}

#[tokio::test]
async fn models_are_listed_and_found_by_name() {
    let (_, list) = full(post("/v1/models", Value::Null).await);
    let names: Vec<_> = list["data"].as_array().expect("list").iter().map(|m| &m["id"]).collect();
    assert_eq!(names, ["tiny", "later"]);
    assert_eq!(full(post("/v1/models/tiny", Value::Null).await).1["object"], "model");
    let code = async |path, body| {
        let (status, body) = full(post(path, body).await);
        (status, body["error"]["code"].as_str().expect("a code").to_owned())
    };
    let ask = |model: &str| with(chat(), "model", model.into());
    assert_eq!(code("/v1/models/none", Value::Null).await, (404, "model_not_found".into()));
    assert_eq!(code("/v1/chat/completions", ask("none")).await, (404, "model_not_found".into()));
    assert_eq!(
        code("/v1/chat/completions", ask("later")).await,
        (503, "server_is_overloaded".into())
    );
    assert_eq!(code("/v1/responses", chat()).await, (404, "not_found".into()));
    let embed = json!({"model": "tiny", "input": "x"});
    assert_eq!(code("/v1/embeddings", embed).await, (501, "not_supported".into()));
    assert_eq!(code("/v1/chat/completions", json!("no object")).await.0, 400);
}

#[tokio::test]
async fn json_mode_gives_json() {
    let schema = json!({"type": "object", "properties": {"ok": {"type": "boolean"}},
        "required": ["ok"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    let body = with(with(chat(), "response_format", format), "max_tokens", 50.into());
    let (_, body) = full(post("/v1/chat/completions", body).await);
    let text = body["choices"][0]["message"]["content"].as_str().expect("text");
    let value: Value = serde_json::from_str(text).expect("JSON");
    assert!(value["ok"].is_boolean());
    assert_eq!(body["choices"][0]["finish_reason"], "stop");
}

#[tokio::test]
async fn a_json_schema_has_a_length_it_may_have() {
    let service = service();
    let bytes = |bytes: usize| {
        let schema = json!({"type": "boolean", "description": "x".repeat(bytes - 35)});
        assert_eq!(schema.to_string().len(), bytes);
        let format = json!({"type": "json_schema", "json_schema": {"schema": schema}});
        Bytes::from(with(chat(), "response_format", format).to_string())
    };
    let answer = service.call("/v1/chat/completions", bytes(256 << 10)).await;
    assert_eq!(answer.status, 200);
    let answer = service.call("/v1/chat/completions", bytes((256 << 10) + 1)).await;
    let (status, body) = full(answer);
    assert_eq!(status, 400, "{body}");
    let why = "the JSON schema is too long: 257 KiB, of at most 256 KiB";
    assert_eq!(body["error"]["message"], why);
}

#[tokio::test]
async fn no_body_makes_the_service_panic_or_hang() {
    let service = service();
    let schema = |schema: Value| {
        let format = json!({"type": "json_schema", "json_schema": {"schema": schema}});
        with(with(chat(), "response_format", format), "max_tokens", 2.into()).to_string()
    };
    let nested = (0..200).fold(
        json!({"type": "null"}),
        |inner, _| json!({"type": "object", "properties": {"a": inner}, "required": ["a"]}),
    );
    let deep = format!(r#"{{"model":"tiny","messages":{}1{}}}"#, "[".repeat(500), "]".repeat(500));
    let bodies = [
        String::new(),
        "\u{0}".into(),
        "[]".into(),
        "null".into(),
        r#"{"model":"tiny"}"#.into(),
        r#"{"model":"tiny","prompt":"x","input":"x","messages":"x"}"#.into(),
        deep,
        with(chat(), "seed", (-1).into()).to_string(),
        with(chat(), "max_tokens", u64::MAX.into()).to_string(),
        with(chat(), "logit_bias", json!({"4294967295": 100, "0": -100})).to_string(),
        with(chat(), "stop", json!(["", "\u{fffd}", "€"])).to_string(),
        schema(json!(true)),
        schema(json!({"$ref": "#"})),
        schema(json!({"$ref": "https://example.com/schema.json"})),
        schema(json!({"type": "array", "minItems": 1_000_000_000})),
        schema(json!({"type": "string", "minLength": 1_000_000_000})),
        schema(json!({"type": "string", "pattern": "((a{1,1000}){1,1000}){1,1000}"})),
        schema(json!({"enum": []})),
        schema(nested),
    ];
    for body in &bodies {
        for path in ["/v1/chat/completions", "/v1/completions", "/v1/embeddings"] {
            let answer = service.call(path, Bytes::from(body.clone())).await;
            assert_ne!(answer.status, 500, "{path} {body} {:?}", answer.body);
        }
    }
    // The engine lives on.
    let answer = service.call("/v1/chat/completions", Bytes::from(chat().to_string())).await;
    assert_eq!(answer.status, 200);
}
