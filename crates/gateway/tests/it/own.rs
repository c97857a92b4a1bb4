//! A vendor's own API on both sides: what its client wrote reaches it, and what it says reaches the client.

use cutover_testkit::fake::{Fake, Fault, Persona, Reply, Setup};
use cutover_testkit::raw::Response;
use serde_json::{Value, json};

use crate::harness::{Arm, BY_UNIT, KEY, Parrot, Rig, Stage, docs_on, service, until};

/// A request that chat completions has no room for.
const ODD: &str = r#" { "contents" : [ { "role":"user", "parts":[{"text":"h\u0069", "thoughtSignature":"QUJD"}] } ],
  "safety_settings": [ {"category":"HARM_CATEGORY_HARASSMENT","threshold":"BLOCK_NONE"} ],
  "generationConfig": { "topK":40, "candidateCount": 2, "temperature": 0.50, "responseModalities":["TEXT","IMAGE"] },
  "tools": [ {"googleSearch":{}} ], "somethingNew": {"a": 1e2} } "#;

/// A vendor's model, to whose variant `more` is added.
pub(crate) fn config(provider: &str, base_url: &str, more: &str) -> String {
    let service = service(provider, base_url) + KEY;
    docs_on(&[Arm::theirs(service, "gemini-3-pro").with(more)], BY_UNIT)
}

/// A scripted Gemini, which judges what it is asked.
impl Stage<Fake> {
    fn google(more: &str) -> Self {
        let setup = Setup::new(Persona::Gemini).models(&["gemini-3-pro", "gemini-embedding-001"]);
        let vendor = Fake::start_with(setup);
        let rig = Rig::start(&config("gemini", &vendor.base_url(), more));
        Self { vendor, rig }
    }

    /// The vendor says exactly this.
    fn says(&self, content_type: &str, body: &str) {
        self.vendor.always(Reply::fault(Fault::answer("200 OK", content_type, body)));
    }

    fn generate(&self, method: &str, body: &str) -> Response {
        self.ask(&format!("/v1beta/models/app:{method}"), body)
    }
}

#[test]
fn what_a_gemini_client_wrote_reaches_gemini_and_the_answer_comes_back_as_it_was() {
    let stage = Stage::google("");
    let answer = r#"{ "candidates": [
  {"content":{"parts":[{"text":"on\u0065","thoughtSignature":"REVG"}],"role":"model"},"finishReason":"STOP","index":0,"avgLogprobs":-1.50},
  {"content":{"parts":[{"text":"two"}]},"finishReason":"STOP","index":1} ],
 "usageMetadata":{"promptTokenCount":7,"candidatesTokenCount":5,"thoughtsTokenCount":2,"totalTokenCount":14},
 "modelVersion":"gemini-3-pro-0812","responseId":"theirs"}"#;
    stage.says("application/json", answer);
    let response = stage.generate("generateContent", ODD);
    assert_eq!(response.status, 200, "{}", response.text());
    let seen = stage.vendor.inferences().pop().unwrap();
    assert_eq!(String::from_utf8_lossy(&seen.body), ODD, "byte for byte");
    assert_eq!(seen.target, "/v1beta/models/gemini-3-pro:generateContent");
    assert_eq!(response.header("x-cutover-loss"), None);
    let id = response.json()["responseId"].as_str().unwrap().to_owned();
    let wanted =
        answer.replace("gemini-3-pro-0812", "app").replace("\"theirs\"", &format!("\"{id}\""));
    assert_eq!(response.text(), wanted);
    assert_ne!(id, "theirs");
    // 7 of the prompt, 5 and 2 thoughts of the answer.
    until("the tokens are counted", || {
        stage.rig.counts("cutover_prompt_tokens_total{", 7)
            && stage.rig.counts("cutover_completion_tokens_total{", 7)
    });
}

const EVENTS: [&str; 4] = [
    r#"{"candidates":[{"content":{"parts":[{"text":"o","x-new":1.50}]},"index":0}],"modelVersion":"m","responseId":"r"}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"t"}]},"index":1,"citationMetadata":{"a":[]}}],"modelVersion":"m"}"#,
    r#"{"candidates":[{"finishReason":"STOP","index":0}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":2}}"#,
    r#"{"candidates":[{"content":{"parts":[{"text":"","thoughtSignature":"QUJD"}]},"finishReason":"MAX_TOKENS","index":1}],"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4}}"#,
];

fn stream_of(events: &[&str]) -> String {
    let events: Vec<_> = events.iter().map(|event| format!("data: {event}\r\n\r\n")).collect();
    events.concat()
}

#[test]
fn a_stream_passes_event_by_event() {
    let stage = Stage::google("");
    stage.says("text/event-stream", &stream_of(&EVENTS));
    let response = stage.generate("streamGenerateContent?alt=sse", ODD);
    let seen = stage.vendor.inferences().pop().unwrap();
    assert_eq!(seen.target, "/v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse");
    assert_eq!(String::from_utf8_lossy(&seen.body), ODD);
    let text = response.text();
    let first: Value = serde_json::from_str(&response.events()[0]).unwrap();
    let id = first["responseId"].as_str().unwrap();
    let wanted =
        stream_of(&EVENTS).replace("\"m\"", "\"app\"").replace("\"r\"", &format!("\"{id}\""));
    assert_eq!(text, wanted);
    // The older form of a stream is a list of the same.
    let list = stage.generate("streamGenerateContent", ODD);
    assert_eq!(list.header("content-type"), Some("application/json"));
    let all: Vec<Value> = serde_json::from_str(&list.text()).unwrap();
    assert_eq!(all.len(), 4);
    assert_eq!(all[1]["candidates"][0]["citationMetadata"], json!({"a": []}));
    until("its tokens are booked", || stage.rig.metrics().contains("outcome=\"ok\"} 2"));
}

#[test]
fn a_stream_that_breaks_ends_in_the_dialects_error() {
    let stage = Stage::google("");
    let cut = stream_of(&EVENTS[..2]);
    let half = format!("{cut}data: {{\"candidates\":[{{\"cont");
    for broken in [cut, half] {
        stage.says("text/event-stream", &broken);
        for method in ["streamGenerateContent?alt=sse", "streamGenerateContent"] {
            let response = stage.generate(method, ODD);
            let text = response.text();
            let all: Vec<Value> = if method.ends_with("sse") {
                response.events().iter().map(|event| serde_json::from_str(event).unwrap()).collect()
            } else {
                serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"))
            };
            assert_eq!(all.len(), 3, "{text}");
            assert_eq!(all[2]["error"]["details"][0]["reason"], "STREAM_INTERRUPTED", "{text}");
            assert!(!text.contains("finishReason"), "{text}");
        }
    }
    until("all are failures", || stage.rig.metrics().contains("outcome=\"interrupted\"} 4"));
}

#[test]
fn what_goes_wrong_names_the_clients_own_field() {
    let stage = Stage::google("");
    let body = r#"{"error":{"code":400,"message":"Invalid value at 'generation_config.top_k'","status":"INVALID_ARGUMENT"}}"#;
    let refused = Fault::answer("400 Bad Request", "application/json", body);
    stage.vendor.always(Reply::fault(refused));
    for method in ["generateContent", "streamGenerateContent?alt=sse"] {
        let told = stage.generate(method, ODD);
        assert_eq!(told.status, 400);
        let message = told.json()["error"]["message"].as_str().unwrap().to_owned();
        assert!(message.contains("generation_config.top_k"), "{message}");
    }
}

/// A prompt of the variant's is put around the conversation, which only the conversion can do.
#[test]
fn a_variant_with_a_prompt_goes_by_conversion_and_says_what_is_lost() {
    let stage =
        Stage::google("unsupported = \"lenient\"\nsystem_prompt = \"be brief\"\ntemperature = 0.1");
    stage.vendor.always(Reply::text("well"));
    let response = stage.generate("generateContent", ODD);
    assert_eq!(response.status, 200, "{}", response.text());
    assert!(response.header("x-cutover-loss").unwrap().contains("topK"));
    let seen = stage.vendor.inferences().pop().unwrap().json();
    assert_eq!(seen["systemInstruction"]["parts"][0]["text"], "be brief");
    // Settings alone are put beside the client's own.
    let stage = Stage::google("temperature = 0.1\nseed = 7");
    stage.vendor.always(Reply::text("well"));
    assert_eq!(stage.generate("generateContent", ODD).status, 200);
    let seen = stage.vendor.inferences().pop().unwrap().json();
    let config = &seen["generationConfig"];
    assert_eq!((&config["temperature"], &config["seed"]), (&json!(0.5), &json!(7)));
    assert_eq!(config["topK"], 40);
}

#[test]
fn embeddings_reach_gemini_from_its_own_clients_and_from_openais() {
    let more = "[variants.vectors]\nupstream = \"vendor\"\nmodel = \"gemini-embedding-001\"\n\
                [use_cases.search]\nmatch = { model = \"vec\" }\nbaseline = \"vectors\"";
    let stage = Stage::google(more);
    let one =
        r#"{"model":"models/vec","content":{"parts":[{"text":"a"}]},"taskType":"RETRIEVAL_QUERY"}"#;
    for (method, body) in [
        ("embedContent", one.to_owned()),
        ("batchEmbedContents", format!(r#"{{"requests":[{one}, {one}]}}"#)),
    ] {
        let response = stage.rig.post(&format!("/v1beta/models/vec:{method}"), &[], &body);
        assert_eq!(response.status, 200, "{}", response.text());
        let seen = stage.vendor.inferences().pop().unwrap();
        assert_eq!(seen.target, format!("/v1beta/models/gemini-embedding-001:{method}"));
        let wanted = body.replace("models/vec", "models/gemini-embedding-001");
        assert_eq!(String::from_utf8_lossy(&seen.body), wanted);
    }
    let ask = |more: &str| {
        let body = format!(r#"{{"model":"vec","input":["a","b"]{more}}}"#);
        stage.rig.post("/v1/embeddings", &[], &body)
    };
    let plain = ask(r#","dimensions":8"#);
    assert_eq!(plain.status, 200, "{}", plain.text());
    let seen = stage.vendor.inferences().pop().unwrap().json();
    assert_eq!(seen["requests"][1]["content"]["parts"][0]["text"], "b");
    assert_eq!(seen["requests"][1]["outputDimensionality"], 8);
    assert_eq!(seen["requests"][0]["model"], "models/gemini-embedding-001");
    let numbers = plain.json();
    assert_eq!((&numbers["model"], &numbers["object"]), (&json!("vec"), &json!("list")));
    assert_eq!(numbers["data"][1]["index"], 1);
    assert!(numbers["usage"]["prompt_tokens"].as_u64().unwrap() > 0, "an estimate");
    let numbers: Vec<f32> =
        serde_json::from_value(numbers["data"][1]["embedding"].clone()).unwrap();
    assert_eq!(numbers.len(), 8);
    let coded = ask(r#","dimensions":8,"encoding_format":"base64""#).json();
    let bytes: Vec<u8> = numbers.iter().flat_map(|number| number.to_le_bytes()).collect();
    let wanted = cutover_wire::openai::embeddings::base64(&bytes);
    assert_eq!(coded["data"][1]["embedding"], json!(wanted));
    let tokens = stage.rig.post("/v1/embeddings", &[], r#"{"model":"vec","input":[[1,2]]}"#);
    assert_eq!((tokens.status, &tokens.json()["error"]["param"]), (400, &json!("input")));
}

#[test]
fn what_an_anthropic_client_wrote_reaches_anthropic() {
    let claude = Parrot::start();
    let rig = Rig::start(&config("anthropic", &claude.base_url, ""));
    let body = r#"{"model": "app" , "max_tokens":9,"top_k":5,"stop_sequences":["\u0021"],
        "messages":[{"role":"user","content":[{"type":"text","text":"h\u0069","cache_control":{"type":"ephemeral"}}]}],
        "tools":[{"type":"web_search_20250305","name":"web_search"}],"container":null}"#;
    let answer = r#"{ "id":"msg_theirs","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"\u0061","citations":null}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1,"service_tier":"standard"}}"#;
    claude.says("application/json", answer);
    // What is known in its beta is known by the query.
    let response = rig.post("/v1/messages?beta=true&key=k", &["x-unit: u1"], body);
    assert_eq!(response.status, 200, "{}", response.text());
    let (line, sent) = claude.last();
    assert_eq!(line, "POST /v1/messages?beta=true HTTP/1.1");
    assert_eq!(sent, body.replace("\"app\"", "\"gemini-3-pro\""));
    let id = response.json()["id"].as_str().unwrap().to_owned();
    assert!(id.starts_with("msg_") && id != "msg_theirs", "{id}");
    assert_eq!(response.text(), answer.replace("msg_theirs", &id).replace("claude-x", "app"));
    let events = [
        (
            "message_start",
            r#"{"type":"message_start","message":{"id":"msg_theirs","type":"message","role":"assistant","model":"claude-x","content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}}"#,
        ),
        (
            "content_block_start",
            r#"{"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        ),
        ("ping", r#"{"type": "ping"}"#),
        (
            "content_block_delta",
            r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"\u0061"}}"#,
        ),
        ("content_block_stop", r#"{"type":"content_block_stop","index":0}"#),
        (
            "message_delta",
            r#"{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},"usage":{"output_tokens":5}}"#,
        ),
        ("message_stop", r#"{"type":"message_stop"}"#),
    ];
    let stream = |count: usize| -> String {
        let all = events[..count].iter();
        let all: Vec<_> =
            all.map(|(name, data)| format!("event: {name}\ndata: {data}\n\n")).collect();
        all.concat()
    };
    let asked = body.replacen('{', r#"{"stream":true,"#, 1);
    claude.says("text/event-stream", &stream(7));
    let response = rig.post("/v1/messages", &["x-unit: u1"], &asked);
    let first: Value = serde_json::from_str(&response.events()[0]).unwrap();
    let id = first["message"]["id"].as_str().unwrap();
    let wanted = stream(7).replace("msg_theirs", id).replace("claude-x", "app");
    assert_eq!(response.text(), wanted);
    claude.says("text/event-stream", &stream(4));
    let broken = rig.post("/v1/messages", &["x-unit: u1"], &asked).text();
    assert!(broken.contains("event: error") && !broken.contains("message_stop"), "{broken}");
    assert_eq!(broken.matches("message_start\n").count(), 1, "{broken}");
}

/// A variant's own message moves those of the client, and an engine names the place where it found them.
#[test]
fn an_engines_error_names_the_message_where_its_sender_put_it() {
    let engine = Fake::start(Persona::Vllm);
    let config = config("vllm", &engine.base_url(), "system_prompt = \"be brief\"");
    let rig = Rig::start(&config.replace(KEY, ""));
    let told = r#"{"error":{"message":"'messages[1].content' is wrong, see messages[1]","type":"BadRequestError","param":"messages[1].content","code":400}}"#;
    engine.always(Reply::fault(Fault::answer("400 Bad Request", "application/json", told)));
    let body = |stream: bool| json!({"model": "app", "stream": stream, "messages": [{"role": "user", "content": "hi"}]});
    for stream in [false, true] {
        let error = rig.chat(&["x-unit: u1"], &body(stream).to_string()).json()["error"].clone();
        assert_eq!(error["param"], "messages[0].content", "{error}");
        assert_eq!(error["message"], "'messages[0].content' is wrong, see messages[0]");
    }
    let seen = engine.inferences().pop().unwrap().json();
    assert_eq!(seen["messages"][1]["content"], "hi", "the variant's prompt stands before it");
    let asked = json!({"model": "app", "max_tokens": 9, "system": "s",
        "messages": [{"role": "user", "content": "hi"}]});
    let error = rig.post("/v1/messages", &["x-unit: u1"], &asked.to_string()).json();
    assert!(error["error"]["message"].is_string(), "{error}");
}

/// What Claude answers, whatever it is asked.
const CLAUDE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-x","content":[{"type":"text","text":"a"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":3,"output_tokens":1}}"#;

/// A parrot that answers like Claude, and a gateway with a variant in front of it.
fn claude(model: &str, more: &str) -> (Parrot, Rig) {
    let Stage { vendor, rig } =
        Stage::start(|url| config("anthropic", url, more).replace("gemini-3-pro", model));
    vendor.says("application/json", CLAUDE);
    (vendor, rig)
}

/// A conversation of Kimi's on vLLM comes back to Claude after a rollback: each turn was a 400 there, for good.
#[test]
fn ids_of_calls_that_anthropic_refuses_are_written_anew() {
    let (claude, rig) = claude("claude-haiku-4-5", "");
    let body = |id: &str| {
        json!({"model": "app", "max_tokens": 9, "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "f", "input": {}}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "R"}]},
        ]})
    };
    let good = body("toolu_1").to_string();
    assert_eq!(rig.post("/v1/messages", &["x-unit: u1"], &good).status, 200);
    assert_eq!(claude.last().1, good.replace("\"app\"", "\"claude-haiku-4-5\""), "as it came");
    let kimis = body("functions.f:0").to_string();
    let response = rig.post("/v1/messages", &["x-unit: u1"], &kimis);
    assert_eq!((response.status, response.header("x-cutover-loss")), (200, None));
    let there = claude.sent();
    let id = json!("functions_2e_f_3a_0");
    assert_eq!(there["messages"][1]["content"][0]["id"], id);
    assert_eq!(there["messages"][2]["content"][0]["tool_use_id"], id);
}

/// What other upstreams' answers left behind, in the words of Anthropic's client: each was a 400 on every later turn.
#[test]
fn what_another_models_turns_left_behind_is_mended_on_the_way_to_claude() {
    let (claude, rig) = claude("claude-haiku-4-5", "");
    let call = |before: &str, id: &str| {
        json!({"role": "assistant", "content": [
            {"type": "text", "text": before}, {"type": "tool_use", "id": id, "name": "f", "input": {}}]})
    };
    let result = |id: &str| json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": id, "content": "R"}]});
    let ask = |turns: Value, more: Value| {
        let mut body = json!({"model": "app", "max_tokens": 9000, "messages": turns});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let response = rig.post("/v1/messages", &["x-unit: u1"], &body.to_string());
        assert_eq!(response.status, 200, "{}", response.text());
        (claude.sent(), response.header("x-cutover-loss").map(str::to_owned))
    };
    let first = json!({"role": "user", "content": "a"});
    let (there, _) = ask(json!([first, call("\n\n", "c"), result("c")]), json!({}));
    assert_eq!(there["messages"][1]["content"][0]["type"], "tool_use");
    let again = json!([
        first,
        call("x", "call_0"),
        result("call_0"),
        call("y", "call_0"),
        result("call_0")
    ]);
    let (there, _) = ask(again, json!({}));
    assert_eq!(there["messages"][3]["content"][1]["id"], "call_0_2");
    assert_eq!(there["messages"][4]["content"][0]["tool_use_id"], "call_0_2");
    let thinking = json!({"thinking": {"type": "enabled", "budget_tokens": 2048}});
    let (there, lost) = ask(json!([first, call("x", "c"), result("c")]), thinking);
    assert_eq!(there["thinking"], Value::Null);
    assert!(lost.is_some_and(|lost| lost.contains("reasoning_effort.turn")));
}

/// A prompt makes the conversion necessary, and the target knows all of this.
#[test]
fn what_a_client_of_anthropics_says_of_thinking_survives_a_variants_prompt() {
    let (claude, rig) = claude("claude-haiku-4-5", "system_prompt = \"Be brief.\"");
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    // The one form that this model does not know, and newer clients say all the same.
    let adaptive = json!({"type": "adaptive", "display": "omitted"});
    let told = "extra_body.anthropic.thinking.adaptive=approximated";
    for (thinking, wanted, lost) in [
        (budget(2_048), budget(2_048), None),
        (json!({"type": "disabled"}), json!({"type": "disabled"}), None),
        (adaptive, budget(4_500), Some(told)),
    ] {
        let body = json!({"model": "app", "max_tokens": 9000, "thinking": thinking, "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "SG"},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": "R"}]},
        ]});
        let response = rig.post("/v1/messages", &["x-unit: u1"], &body.to_string());
        assert_eq!(response.status, 200, "{}", response.text());
        assert_eq!(response.header("x-cutover-loss"), lost, "{thinking}");
        let there = claude.sent();
        assert_eq!((&there["thinking"], &there["output_config"]), (&wanted, &Value::Null));
        let result = &there["messages"][2]["content"][0];
        assert_eq!(result["is_error"], true);
        assert_eq!(result["content"], json!([{"type": "text", "text": "R"}]));
        assert_eq!(there["system"][0]["text"], "Be brief.");
    }
}

#[test]
fn what_anthropic_would_refuse_is_refused_before_it_is_asked_or_left_out() {
    let variant = "temperature = 0.3\ntop_p = 0.9\nseed = 42\nstructured_output = \"json-mode\"";
    let (claude, rig) = claude("claude-sonnet-4-6", variant);
    let chat = |more: &Value| {
        let mut body = json!({"model": "app", "max_tokens": 99, "messages": [{"role": "user", "content": "a"}]});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        rig.post("/v1/chat/completions", &["x-unit: u1"], &body.to_string())
    };
    // The variant's own: nobody's fault.
    for (more, lost) in [
        (json!({}), "variant.top_p=dropped,variant.seed=dropped"),
        (json!({"reasoning_effort": "high"}), "variant.temperature=dropped"),
        (
            json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}}}),
            "variant.structured_output=dropped",
        ),
    ] {
        let response = chat(&more);
        assert_eq!(response.status, 200, "{more}: {}", response.text());
        let told = response.header("x-cutover-loss").unwrap_or_default().replace(", ", ",");
        assert!(told.contains(lost), "{more}: {told}");
        let there = claude.sent();
        let thinks = more.get("reasoning_effort").is_some();
        assert_eq!(there.get("temperature").is_none(), thinks, "{there}");
        assert_eq!((there.get("top_p"), there.get("seed")), (None, None), "{there}");
    }
    // The client's own.
    for (more, param) in [
        (json!({"temperature": 0.2, "reasoning_effort": "high"}), "temperature"),
        (json!({"temperature": 0.2, "top_p": 0.5}), "top_p"),
        (json!({"seed": 7}), "seed"),
    ] {
        let response = chat(&more);
        assert_eq!(
            (response.status, &response.json()["error"]["param"]),
            (400, &json!(param)),
            "{more}"
        );
        assert!(claude.is_unasked(), "{more}");
    }
}

/// Newer models take no sampling at all, on the way without conversion, too.
#[test]
fn a_variants_sampling_is_left_out_where_the_model_takes_none() {
    let (claude, rig) = claude("claude-sonnet-5", "temperature = 0.3");
    let body = r#"{"model":"app","max_tokens":9,"messages":[{"role":"user","content":"a"}]}"#;
    let response = rig.post("/v1/messages", &["x-unit: u1"], body);
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-cutover-loss"), Some("variant.temperature=dropped"));
    assert_eq!(claude.last().1, body.replace("\"app\"", "\"claude-sonnet-5\""));
}

#[test]
fn what_another_vendors_answers_left_in_a_chat_stays_here() {
    let answer = r#"{"id":"c","object":"chat.completion","created":1,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"a","refusal":null},"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#;
    let body = json!({"model": "app", "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": null, "reasoning_content": "hm",
         "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "SG"}],
         "tool_calls": [{"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"},
                         "extra_content": {"google": {"thought_signature": "QUJD"}}}]},
        {"role": "tool", "tool_call_id": "t", "content": "R"},
    ]});
    for (provider, kept) in [("openai", vec![]), ("vllm", vec!["reasoning_content"])] {
        let parrot = Parrot::start();
        parrot.says("application/json", answer);
        let rig = Rig::start(&config(provider, &parrot.base_url, ""));
        let response = rig.post("/v1/chat/completions", &["x-unit: u1"], &body.to_string());
        assert_eq!(response.status, 200, "{}", response.text());
        let there = parrot.sent();
        let turn = there["messages"][1].as_object().unwrap();
        let wanted = ["reasoning_content", "reasoning_details"];
        let found: Vec<_> = wanted.into_iter().filter(|key| turn.contains_key(*key)).collect();
        assert_eq!(found, kept, "{provider}");
        let call =
            json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        assert_eq!(turn["tool_calls"], json!([call]), "{provider}");
        let told = response.header("x-cutover-loss").unwrap();
        assert!(told.contains("messages[].tool_calls[].extra_content=dropped"), "{told}");
    }
}
