//! Clients of OpenAI's Responses API in front of an upstream that speaks it: what they wrote reaches it, and its answers
//! and events come back as they were.

use cutover_testkit::fake::{Fake, Persona, Reply};
use serde_json::{Value, json};

use crate::harness::{
    Arm, BY_UNIT, KEY, PRICE, Parrot, Rig, Stage, docs_on, engines, one_arm, service, until,
};

const PATH: &str = "/v1/responses";
const EVENTS: &str = "text/event-stream";
const STREAM: &str = include_str!("../../../vendors/fixtures/responses-stream.sse");
const ANSWER: &str = include_str!("../../../vendors/fixtures/responses-answer.json");

/// A request that chat completions has no room for.
const ODD: &str = r#" { "model" : "app" , "store":false, "include":["reasoning.encrypted_content","web_search_call.action.sources"],
  "reasoning":{"effort":"high","summary":"detailed"}, "tools":[ {"type":"web_search"}, {"type":"file_search","vector_store_ids":["vs_1"]},
  {"type":"mcp","server_label":"d","server_url":"https://mcp.example","require_approval":"never"}, {"type":"somethingNew","x":1e2} ],
  "tool_choice":{"type":"web_search"}, "somethingNew":[1.50], "truncation":"auto", "max_tool_calls":3,
  "input":[ {"role":"user","content":[{"type":"input_text","text":"h\u0069"},{"type":"input_file","file_id":"file-1"}]},
    {"type":"reasoning","id":"rs_1","summary":[],"encrypted_content":"gAAA"}, {"type":"web_search_call","id":"ws_1","status":"completed"},
    {"type":"message","role":"assistant","phase":"commentary","content":[{"type":"output_text","text":"so","annotations":[{"type":"url_citation"}]}]},
    {"type":"computer_call_output","call_id":"c1","output":{"type":"computer_screenshot","file_id":"file-2"}},
    {"type":"somethingNew"}, {"role":"user","content":[{"type":"input_new","x":1}]} ] "#;

fn odd(stream: bool) -> String {
    format!("{ODD}, \"stream\":{stream}}}")
}

/// `more` is added to the first variant, `after` to the use case; the second variant speaks chat alone.
fn config(vendor: &str, engine: &str, (more, after): (&str, &str)) -> String {
    let theirs = Arm::theirs(service("openai", vendor) + KEY, "gpt-5.5").with(more);
    let ours = Arm::small(service("llamacpp", engine)).with("unsupported = \"lenient\"");
    let docs = docs_on(&[theirs, ours], &format!("{BY_UNIT}{after}"));
    format!("default_upstream = \"vendor\"\n{docs}")
}

/// The vendor in front of which one stands, and the engine of the other arm.
fn start(more: &str, after: &str) -> (Stage, Fake) {
    let engine = Fake::start(Persona::LlamaCpp);
    let stage = Stage::start(|url| config(url, &engine.base_url(), (more, after)));
    (stage, engine)
}

fn values(text: &str) -> Vec<Value> {
    let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
    data.map(|data| serde_json::from_str(data).unwrap()).collect()
}

/// The same with our names, as an answer to this one has them.
fn named(theirs: &str, answer: &Value) -> String {
    let id = answer["id"].as_str().unwrap();
    assert!(id.starts_with("resp_") && id != "resp_68f0a1", "{id}");
    theirs
        .replace("resp_68f0a1", id)
        .replace("gpt-5.5-2026-04-23", "app")
        .replace("\"created_at\":1763790000", &format!("\"created_at\":{}", answer["created_at"]))
        .replace("\"created_at\": 1763790000", &format!("\"created_at\": {}", answer["created_at"]))
}

#[test]
fn what_a_client_wrote_reaches_openai_and_the_answer_comes_back_as_it_was() {
    let (stage, _engine) = start("", "");
    stage.vendor.says("application/json", ANSWER);
    let response = stage.ask(PATH, &odd(false));
    assert_eq!(response.status, 200, "{}", response.text());
    let (line, sent) = stage.vendor.last();
    assert_eq!(line, "POST /v1/responses HTTP/1.1");
    assert_eq!(sent, odd(false).replace("\"app\"", "\"gpt-5.5\""));
    assert_eq!(response.header("x-cutover-loss"), None);
    assert_eq!(response.text(), named(ANSWER, &response.json()));
    until("the tokens are counted", || {
        stage.rig.counts("cutover_prompt_tokens_total{", 9_120)
            && stage.rig.counts("cutover_completion_tokens_total{", 212)
    });
}

#[test]
fn on_the_first_day_nothing_changes() {
    let (stage, _engine) = start("", "");
    let body = odd(false).replace("\"app\"", "\"gpt-5.5\"");
    stage.vendor.says("application/json", ANSWER);
    let response = stage.ask(PATH, &body);
    assert_eq!((response.status, response.text()), (200, ANSWER.to_owned()));
    assert_eq!(stage.vendor.last().1, body, "byte for byte");
    stage.vendor.says(EVENTS, STREAM);
    let body = odd(true).replace("\"app\"", "\"gpt-5.5\"");
    assert_eq!(stage.ask(PATH, &body).text(), STREAM);
    assert_eq!(stage.vendor.last().1, body);
}

#[test]
fn a_stream_passes_event_by_event() {
    let (stage, _engine) = start("", "");
    stage.vendor.says(EVENTS, STREAM);
    let response = stage.ask(PATH, &odd(true));
    assert_eq!(response.header("content-type"), Some("text/event-stream"));
    assert_eq!(stage.vendor.last().1, odd(true).replace("\"app\"", "\"gpt-5.5\""));
    let first = values(&response.text()).swap_remove(0);
    assert_eq!(response.text(), named(STREAM, &first["response"]));
    until("its tokens are booked", || stage.rig.metrics().contains("outcome=\"ok\"} 1"));
}

#[test]
fn a_stream_that_breaks_ends_in_an_error_that_goes_on_with_its_numbers() {
    let (stage, _engine) = start("", "");
    let events: Vec<&str> = STREAM.split_inclusive("\n\n").collect();
    // After the first word of the answer, and with the last event cut in two.
    let half = |at: usize| format!("{}{}", events[..at].concat(), &events[at][..60]);
    for broken in [events[..18].concat(), half(20), events[..events.len() - 1].concat()] {
        stage.vendor.says(EVENTS, &broken);
        let response = stage.ask(PATH, &odd(true));
        let values = values(&response.text());
        let numbers: Vec<_> =
            values.iter().map(|v| v["sequence_number"].as_u64().unwrap()).collect();
        assert_eq!(numbers, (0..values.len() as u64).collect::<Vec<_>>(), "{}", response.text());
        let [.., error, failed] = values.as_slice() else { panic!("{}", response.text()) };
        assert_eq!(
            (&error["type"], &error["code"]),
            (&json!("error"), &json!("stream_interrupted"))
        );
        assert_eq!(failed["type"], "response.failed");
        let of = &failed["response"];
        assert_eq!((&of["status"], &of["id"]), (&json!("failed"), &values[0]["response"]["id"]));
        assert_eq!(of["error"]["code"], "server_error");
        assert_eq!(of["tools"][0]["type"], "web_search", "as the upstream told it");
        assert!(!response.text().contains("response.completed"), "{}", response.text());
    }
}

#[test]
fn errors_of_the_vendors_are_told_and_failed_over() {
    let (vendor, engine) = (Parrot::start(), Fake::start(Persona::LlamaCpp));
    let turned = "baseline = \"small\"\ncandidate = \"theirs\"\nweight = \"100%\"";
    let config = config(&vendor.base_url, &engine.base_url(), ("", ""))
        .replace("baseline = \"theirs\"\ncandidate = \"small\"", turned);
    let stage = Stage { rig: Rig::start(&config), vendor };
    let created = STREAM.split_inclusive("\n\n").next().unwrap();
    let failed = created
        .replace("response.created", "response.failed")
        .replace("\"in_progress\"", "\"failed\"")
        .replace("\"error\":null", r#""error":{"code":"server_error","message":"sorry"}"#);
    let error = "event: error\ndata: {\"type\":\"error\",\"sequence_number\":1,\"code\":\"server_error\",\"message\":\"sorry\",\"param\":null}\n\n";
    for end in [failed.as_str(), error] {
        stage.vendor.says(EVENTS, &format!("{created}{end}"));
        let body = json!({"model": "app", "input": "hi", "stream": true, "store": false});
        // Nothing was said before: the other arm says it.
        let asked = engine.inferences().len();
        let response = stage.ask(PATH, &body.to_string());
        assert_eq!(engine.inferences().len(), asked + 1);
        assert_eq!(response.header("x-cutover-variant"), Some("small"), "{}", response.text());
        let values = values(&response.text());
        assert_eq!(values.last().unwrap()["type"], "response.completed");
        // Where nobody else can be asked it is told.
        let alone = body.to_string().replace("\"app\"", "\"gpt-5.5\"");
        let response = stage.ask(PATH, &alone);
        assert_eq!(response.status, 502, "{}", response.text());
        assert!(response.json()["error"]["message"].is_string());
    }
    stage.vendor.says("application/json", r#"{"id":"resp_1","object":"response","status":"failed","error":{"code":"server_error","message":"sorry"},"output":[]}"#);
    let body = json!({"model": "gpt-5.5", "input": "hi", "store": false});
    assert_eq!(stage.ask(PATH, &body.to_string()).status, 502);
}

#[test]
fn a_conversation_that_moves_between_the_arms_is_taken_by_both() {
    let (stage, _engine) = start("", "weight = \"0%\"");
    stage.vendor.says("application/json", ANSWER);
    let asked = json!([{"role": "user", "content": "where is it?"}]);
    let first = stage.ask(PATH, &json!({"model": "app", "input": asked}).to_string()).json();
    let sent = stage.vendor.sent();
    assert_eq!((&sent["store"], &first["store"]), (&json!(false), &json!(false)));
    assert_eq!(sent["include"], json!(["reasoning.encrypted_content"]));
    let output = first["output"].as_array().unwrap().clone();
    let results = [
        json!({"type": "function_call_output", "call_id": "call_A1", "output": "in Bonn"}),
        json!({"type": "custom_tool_call_output", "call_id": "call_A2", "output": "noted"}),
    ];
    let mut input = asked.as_array().unwrap().clone();
    input.extend(output);
    input.extend(results);
    let body = json!({"model": "app", "input": input, "tools": [
        {"type": "web_search"}, {"type": "function", "name": "track", "parameters": {"type": "object"}}]});

    // In front of the vendor all items go back as they came.
    stage.ask(PATH, &body.to_string());
    assert_eq!(stage.vendor.sent()["input"], Value::from(input.clone()));

    // The other arm gets what chat completions has room for.
    let (moved, engine) = start("", "weight = \"100%\"");
    engine.always(Reply::tokens(&["in ", "Bonn"]));
    let answer = moved.ask(PATH, &body.to_string());
    assert_eq!(answer.status, 200, "{}", answer.text());
    let lost = answer.header("x-cutover-loss").unwrap().to_owned();
    assert!(lost.contains("tools[].type=dropped") && lost.contains("encrypted_content"), "{lost}");
    let seen = engine.inferences().pop().unwrap().json();
    let roles: Vec<_> = seen["messages"].as_array().unwrap().iter().map(|m| &m["role"]).collect();
    assert_eq!(roles, ["user", "assistant", "tool", "tool"], "{seen}");

    // And back: what that arm made up is nothing the vendor would refuse.
    let thought = json!({"type": "reasoning", "id": "rs_0a1b_0", "status": "completed", "summary": [],
        "content": [{"type": "reasoning_text", "text": "hm"}]});
    input.push(thought);
    input.extend(answer.json()["output"].as_array().unwrap().clone());
    stage.vendor.says("application/json", ANSWER);
    let back =
        stage.ask(PATH, &json!({"model": "app", "input": input, "store": false}).to_string());
    assert_eq!(back.header("x-cutover-loss"), Some("input[].reasoning=dropped"));
    let sent = stage.vendor.sent();
    let items = sent["input"].as_array().unwrap();
    let thoughts: Vec<_> = items.iter().filter(|item| item["type"] == "reasoning").collect();
    assert_eq!(thoughts.len(), 1);
    assert_eq!(thoughts[0]["encrypted_content"], "gAAAAABo8KGjQm9=");
}

#[test]
fn what_no_conversion_carries_is_refused_by_the_other_arm_alone() {
    let (stage, engine) = start("", "weight = \"100%\"");
    stage.vendor.says("application/json", ANSWER);
    // A file that the vendor keeps: the candidate cannot read it, so the baseline answers.
    let body = json!({"model": "app", "store": false, "input": [{"role": "user", "content": [
        {"type": "input_file", "file_id": "file-1"}, {"type": "input_text", "text": "sum up"}]}]});
    let response = stage.ask(PATH, &body.to_string());
    assert_eq!(response.status, 200, "{}", response.text());
    assert_eq!(response.header("x-cutover-variant"), Some("theirs"));
    assert!(engine.inferences().is_empty());
    // Alone it is refused, by the client's own name of it.
    let alone = Fake::start(Persona::LlamaCpp);
    let rig = Rig::start(&one_arm(&engines("llamacpp", &[&alone])));
    let response = rig.post(PATH, &[], &body.to_string());
    assert_eq!(response.status, 400);
    assert_eq!(response.json()["error"]["param"], "input[0].content[0].file_id");
}

#[test]
fn what_would_be_kept_or_runs_later_is_refused_as_everywhere() {
    let (stage, _engine) = start("", "");
    for (member, value) in [
        ("previous_response_id", json!("resp_1")),
        ("conversation", json!("conv_1")),
        ("prompt", json!({"id": "pmpt_1"})),
        ("background", json!(true)),
    ] {
        let mut body = json!({"model": "gpt-5.5", "input": "hi"});
        body[member] = value;
        let response = stage.ask(PATH, &body.to_string());
        assert_eq!(response.status, 400, "{member}: {}", response.text());
        assert_eq!(response.json()["error"]["param"], member);
    }
    assert!(stage.vendor.is_unasked());
}

#[test]
fn another_service_speaks_it_where_its_operator_says_so() {
    let vendor = Parrot::start();
    let with = |more: &str| {
        let service = service("openai-compatible", &vendor.base_url) + more;
        docs_on(&[Arm::theirs(service, "gpt-5.5")], BY_UNIT)
    };
    vendor.says("application/json", ANSWER);
    let body = json!({"model": "app", "input": "hi", "store": false}).to_string();
    let rig = Rig::start(&with("responses = true"));
    assert_eq!(rig.post(PATH, &[], &body).status, 200);
    assert_eq!(vendor.last().0, "POST /v1/responses HTTP/1.1");
    let rig = Rig::start(&with(""));
    rig.post(PATH, &[], &body);
    assert_eq!(vendor.last().0, "POST /v1/chat/completions HTTP/1.1");
}

#[test]
fn tools_at_the_vendors_are_content_and_cost_apart() {
    let (stage, engine) = start("", "");
    let events: Vec<&str> = STREAM.split_inclusive("\n\n").collect();
    let works = events.iter().position(|event| event.contains("ws_68f0a3")).unwrap();
    // It breaks while the vendor searches: what was told stays, and nobody else is asked.
    stage.vendor.says(EVENTS, &events[..=works].concat());
    let text = stage.ask(PATH, &odd(true)).text();
    assert!(text.contains("ws_68f0a3") && text.contains("response.failed"), "{text}");
    assert!(engine.inferences().is_empty());
}

#[test]
fn a_copy_for_a_candidate_that_speaks_it_goes_in_the_clients_words() {
    let (vendor, other) = (Parrot::start(), Parrot::start());
    let theirs = Arm::theirs(service("openai", &vendor.base_url) + KEY, "gpt-5.5");
    let next = Arm::small(service("openai", &other.base_url) + KEY).with(PRICE);
    let docs = docs_on(&[theirs, next.with("unsupported = \"lenient\"")], BY_UNIT);
    let config = format!("default_upstream = \"vendor\"\n{docs}");
    let rig = Rig::shadowing(&config, |_| {});
    for (stream, content_type, says) in
        [(false, "application/json", ANSWER), (true, "text/event-stream", STREAM)]
    {
        vendor.says(content_type, says);
        other.says(content_type, says);
        let response = rig.post(PATH, &["x-unit: u1"], &odd(stream));
        assert_eq!(response.status, 200, "{}", response.text());
        let pair = rig.pairs(1).swap_remove(0);
        assert_eq!(pair.candidate.fault, None, "stream: {stream}");
        assert_eq!(&*pair.candidate.text, "It is on its way – see \"the news\".");
        assert_eq!(pair.baseline.text, pair.candidate.text);
        assert_eq!(pair.baseline.tool_calls.len(), 2);
        let (line, sent) = other.last();
        assert_eq!(line, "POST /v1/responses HTTP/1.1");
        assert_eq!(sent, odd(stream).replace("\"app\"", "\"fake-model\""));
    }
}
