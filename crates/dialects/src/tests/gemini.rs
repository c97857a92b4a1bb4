//! To the Gemini API and back: alone, in front of `wire`, and behind each ingress dialect. What is sent is
//! checked against the members that the published interface has.

use bytes::Bytes;
use cutover_units::Millis;
use cutover_wire::stream::Limits;
use cutover_wire::{
    Endpoint, Finish, Head, Mint, Provider, Received, ReplyPlan, Tap, Target, Unsupported, adapt,
    read_reply,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{facts, fixture, inbound, lenient, names, path_of, payloads, read, stream};
use crate::{Asked, RequestFacts};
use cutover_vendors::{Sent, gemini};

fn raw(body: &[u8], unsupported: Unsupported) -> Sent {
    match gemini::request(body, unsupported) {
        Ok(sent) => sent,
        Err(fault) => panic!("{fault} {:?}", fault.param),
    }
}

fn sent(body: &Value) -> (Value, Vec<String>) {
    let sent = raw(body.to_string().as_bytes(), Unsupported::Lenient);
    let body: Value = serde_json::from_slice(&sent.body).unwrap();
    published(&body);
    (body, sent.losses.into_iter().map(|loss| loss.field).collect())
}

/// Every member of a request is one that the interface has, with its type.
fn published(body: &Value) {
    let table: Value = serde_json::from_slice(&fixture("generate-content/members.json")).unwrap();
    check(body, ("GenerateContentRequest", &table["types"]));
}

fn check(value: &Value, (kind, types): (&str, &Value)) {
    if let Some(inner) = kind.strip_prefix('[').and_then(|kind| kind.strip_suffix(']')) {
        let list = value.as_array().unwrap_or_else(|| panic!("{value} is no {kind}"));
        return list.iter().for_each(|item| check(item, (inner, types)));
    }
    if let Some(words) = kind.strip_prefix("enum:") {
        let word = value.as_str().unwrap_or_else(|| panic!("{value} is no word"));
        return assert!(words.split(',').any(|known| known == word), "{word} of {words}");
    }
    let fits = match kind {
        "string" => value.is_string(),
        "integer" => value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "any" => true,
        _ => {
            let members = types[kind].as_object().unwrap_or_else(|| panic!("no type {kind}"));
            for (key, value) in value.as_object().unwrap_or_else(|| panic!("{value}: {kind}")) {
                let inner = members.get(key).unwrap_or_else(|| panic!("{kind} has no {key}"));
                check(value, (inner.as_str().unwrap(), types));
            }
            true
        }
    };
    assert!(fits, "{value} is no {kind}");
}

#[test]
fn each_ingress_dialect_reaches_gemini() {
    for folder in ["anthropic", "responses", "ollama", "gemini"] {
        let wanted = |name: &String| !name.ends_with(".bad.json") && !name.starts_with("agent");
        for name in names(folder, ".json").into_iter().filter(wanted) {
            let file = format!("{folder}/{name}");
            let Ok(Asked::Infer(inbound)) = read(path_of(&file), &fixture(&file), &lenient())
            else {
                continue;
            };
            if inbound.endpoint != Endpoint::ChatCompletions {
                continue;
            }
            let shown = match gemini::request(&inbound.body, Unsupported::Lenient) {
                Err(fault) => format!("{fault} {:?}", fault.param),
                Ok(sent) => {
                    let body: Value = serde_json::from_slice(&sent.body).unwrap();
                    published(&body);
                    let losses: Vec<_> = sent.losses.iter().map(|loss| &*loss.field).collect();
                    let text = serde_json::to_string_pretty(&body).unwrap();
                    format!("POST {}\n{text}\n{}", sent.path, losses.join("\n"))
                }
            };
            let name = name.trim_end_matches(".json");
            insta::assert_snapshot!(format!("gemini_{folder}_{name}"), shown);
        }
    }
}

#[test]
fn a_chat_request_uses_what_gemini_has() {
    let schema = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let body = json!({
        "model": "models/gemini-2.5-flash", "stream": true, "stream_options": {"include_usage": true},
        "messages": [
            {"role": "developer", "content": "be brief"},
            {"role": "user", "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "aGk=", "format": "wav"}},
                {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,aGk="}},
            ]},
            {"role": "user", "name": "x", "content": "please"},
            {"role": "system", "content": "late"},
        ],
        "max_completion_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": "END", "seed": 7, "n": 2,
        "presence_penalty": 0.1, "frequency_penalty": 0.2, "logprobs": true, "top_logprobs": 3,
        "reasoning_effort": "medium", "service_tier": "flex", "parallel_tool_calls": true,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}},
        "tools": [{"type": "function", "function": {"name": "f", "description": "d", "parameters": schema,
                   "strict": true}}],
        "tool_choice": "auto", "user": "u",
    });
    let (there, losses) = sent(&body);
    insta::assert_snapshot!(
        "gemini_chat_full",
        format!("{}\n{}", serde_json::to_string_pretty(&there).unwrap(), losses.join("\n"))
    );
    let path = |model: &str, stream| {
        let method = if stream { gemini::STREAM } else { "generateContent" };
        gemini::path(model, method).into_owned()
    };
    assert_eq!(
        path("models/gemini-2.5-flash", false),
        "/v1beta/models/gemini-2.5-flash:generateContent"
    );
    let stream = "/v1beta/tunedModels/mine:streamGenerateContent?alt=sse";
    assert_eq!(path("tunedModels/mine", true), stream);
    // A model's name cannot lead to another path.
    assert_eq!(path("../x?y#z", false), "/v1beta/models/..%2Fx%3Fy%23z:generateContent");
    assert!(!path("..", false).contains("/..:"));
}

#[test]
fn choices_and_efforts_are_googles_words() {
    let tool = json!([{"type": "function", "function": {"name": "f"}}]);
    let ask = |model: &str, key: &str, value: Value| {
        let mut body =
            json!({"model": model, "messages": [{"role": "user", "content": "a"}], "tools": tool});
        body[key] = value;
        sent(&body).0
    };
    let one = json!({"type": "function", "function": {"name": "f"}});
    for (choice, mode) in
        [(json!("auto"), "AUTO"), (json!("none"), "NONE"), (json!("required"), "ANY"), (one, "ANY")]
    {
        let config =
            ask("gemini-3-pro", "tool_choice", choice)["toolConfig"]["functionCallingConfig"]
                .clone();
        assert_eq!(config["mode"], mode);
    }
    for (model, effort, expected) in [
        ("gemini-2.5-flash", "none", json!({"thinkingBudget": 0})),
        ("gemini-2.5-flash", "low", json!({"includeThoughts": true, "thinkingBudget": 1024})),
        ("gemini-2.5-pro", "max", json!({"includeThoughts": true, "thinkingBudget": 24576})),
        (
            "gemini-3.1-pro-preview",
            "medium",
            json!({"includeThoughts": true, "thinkingLevel": "MEDIUM"}),
        ),
        ("gemini-flash-latest", "none", json!({"thinkingLevel": "MINIMAL"})),
    ] {
        let body = ask(model, "reasoning_effort", json!(effort));
        assert_eq!(body["generationConfig"]["thinkingConfig"], expected, "{model} {effort}");
    }
}

/// Two turns with tools, through both conversions, from each dialect whose calls have ids.
#[test]
fn a_signature_comes_back_with_its_call() {
    let answer = gemini::answer(&fixture("generate-content/answer.json"), Millis(0)).unwrap().body;
    let chat: Value = serde_json::from_slice(&answer).unwrap();
    insta::assert_snapshot!("gemini_answer", serde_json::to_string_pretty(&chat).unwrap());
    let keep = RequestFacts { keep_marks: true, ..lenient() };
    let check = |body: &[u8], losses: &[&str]| {
        let (there, lost) = sent(&serde_json::from_slice(body).unwrap());
        let turns = there["contents"].as_array().unwrap();
        let parts = turns[1]["parts"].as_array().unwrap();
        let calls: Vec<&Value> =
            parts.iter().filter(|part| part["functionCall"].is_object()).collect();
        assert_eq!(calls[0]["thoughtSignature"], "AbC+/w==", "{there}");
        assert_eq!(calls[0]["functionCall"]["name"], "weather");
        assert_eq!(calls[1].get("thoughtSignature"), None);
        let results = turns[2]["parts"].as_array().unwrap();
        for (call, result) in calls.iter().zip(results) {
            assert_eq!(call["functionCall"]["id"], result["functionResponse"]["id"]);
            assert_eq!(call["functionCall"]["name"], result["functionResponse"]["name"]);
        }
        assert_eq!(results[0]["functionResponse"]["response"], json!({"celsius": 18}));
        assert_eq!(lost, losses);
    };
    let model = "gemini-3.1-pro-preview";
    let outputs = [r#"{"celsius": 18}"#, "noon"];

    let said = &chat["choices"][0]["message"];
    let ids: Vec<&Value> =
        said["tool_calls"].as_array().unwrap().iter().map(|c| &c["id"]).collect();
    let mut messages = vec![json!({"role": "user", "content": "?"}), said.clone()];
    messages.extend(
        ids.iter()
            .zip(outputs)
            .map(|(id, output)| json!({"role": "tool", "tool_call_id": id, "content": output})),
    );
    let body = json!({"model": model, "messages": messages});
    check(body.to_string().as_bytes(), &["messages[].reasoning_content"]);

    let asked = inbound("/v1/messages", &fixture("anthropic/minimal.json"), &lenient());
    let back = asked.way_back.reply(&answer, super::support::now()).ok().unwrap();
    let back: Value = serde_json::from_slice(&back.body).unwrap();
    let blocks = back["content"].as_array().unwrap();
    let ids: Vec<&str> = blocks.iter().filter_map(|block| block["id"].as_str()).collect();
    assert!(ids[0].contains(crate::SIGNED_ID) && !ids[1].contains(crate::SIGNED_ID), "{ids:?}");
    let results: Vec<Value> = ids
        .iter()
        .zip(outputs)
        .map(|(id, output)| json!({"type": "tool_result", "tool_use_id": id, "content": output}))
        .collect();
    let next = json!({"model": model, "max_tokens": 9, "messages": [
        {"role": "user", "content": "?"}, {"role": "assistant", "content": blocks},
        {"role": "user", "content": results}]});
    let next = Bytes::from(next.to_string());
    check(&inbound("/v1/messages", &next, &keep).body, &["messages[].reasoning_content"]);
    // Nobody else sees any of it.
    let others = inbound("/v1/messages", &next, &lenient());
    let others = String::from_utf8_lossy(&others.body).into_owned();
    assert!(!others.contains("AbC") && !others.contains("_gts_"), "{others}");

    let asked = inbound("/v1/responses", &fixture("responses/minimal.json"), &lenient());
    let back = asked.way_back.reply(&answer, super::support::now()).ok().unwrap();
    let back: Value = serde_json::from_slice(&back.body).unwrap();
    let mut input = vec![json!({"role": "user", "content": "?"})];
    let output = back["output"].as_array().unwrap();
    input.extend(output.iter().filter(|item| item["type"] != "reasoning").cloned());
    let ids = output.iter().filter_map(|item| item["call_id"].as_str());
    input.extend(ids.zip(outputs).map(
        |(id, output)| json!({"type": "function_call_output", "call_id": id, "output": output}),
    ));
    let next = Bytes::from(json!({"model": model, "input": input}).to_string());
    check(&inbound("/v1/responses", &next, &keep).body, &[]);
}

#[test]
fn calls_that_gemini_did_not_sign_carry_its_own_mark_for_that() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let ask = |model: &str| {
        sent(&json!({"model": model, "messages": [
            {"role": "user", "content": "?"},
            {"role": "assistant", "content": null, "tool_calls": [call("a"), call("b")]},
            {"role": "tool", "tool_call_id": "a", "content": "1"},
            {"role": "tool", "tool_call_id": "b", "content": "2"}]}))
    };
    let (body, losses) = ask("gemini-3-flash");
    let parts = body["contents"][1]["parts"].as_array().unwrap();
    assert_eq!(parts[0]["thoughtSignature"], "skip_thought_signature_validator");
    assert_eq!(parts[1].get("thoughtSignature"), None);
    assert_eq!(body["contents"][2]["parts"].as_array().unwrap().len(), 2);
    assert_eq!(losses, ["messages[].tool_calls[].signature"]);
    let (body, losses) = ask("gemini-2.5-pro");
    assert!(losses.is_empty() && !body.to_string().contains("thoughtSignature"));
}

#[test]
fn what_gemini_cannot_do_is_refused_or_reported() {
    let user = json!([{"role": "user", "content": "a"}]);
    for (param, key, value) in [
        ("logit_bias", "logit_bias", json!({"1": 2})),
        ("parallel_tool_calls", "parallel_tool_calls", json!(false)),
        ("response_format.type", "response_format", json!({"type": "xml"})),
        ("reasoning_effort", "reasoning_effort", json!("much")),
        ("tools[0].type", "tools", json!([{"type": "custom"}])),
        (
            "messages[0].content[0].image_url.url",
            "messages",
            json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a/b.png"}}]}]),
        ),
        (
            "messages[0].tool_call_id",
            "messages",
            json!([{"role": "tool", "tool_call_id": "x", "content": "1"}]),
        ),
        ("messages[0].role", "messages", json!([{"role": "function", "content": "1"}])),
    ] {
        let mut body = json!({"model": "gemini-3-pro", "messages": user});
        body[key] = value;
        let fault =
            gemini::request(body.to_string().as_bytes(), Unsupported::Strict).err().unwrap();
        assert_eq!(fault.param.as_deref(), Some(param), "{fault}");
    }
    let body =
        json!({"model": "gemini-3-pro", "messages": user, "logit_bias": {"1": 2}, "store": true});
    assert_eq!(sent(&body).1, ["logit_bias", "store"]);
}

fn plan(stream: bool) -> ReplyPlan {
    let body = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    let target = Target::untouched(Provider::by_name("gemini").unwrap());
    let plan = adapt::adapt(&head, &body, &target).unwrap().reply;
    ReplyPlan { stream, include_usage: true, ..plan }
}

fn mint() -> Mint {
    Mint { id: "chatcmpl-1".into(), model: "m".into(), created: 1 }
}

/// Gemini's events as the relay path sees them.
fn chunks(frames: &[&[u8]]) -> String {
    let (mut events, mut out) = (gemini::EventsIn::new(Millis(7_000)), Vec::new());
    for frame in frames {
        events.push(Bytes::copy_from_slice(frame), &mut out);
    }
    events.finish(&mut out);
    String::from_utf8(out.concat()).unwrap()
}

#[test]
fn wire_reads_what_comes_back() {
    let body = gemini::answer(&fixture("generate-content/answer.json"), Millis(0)).unwrap().body;
    let reply = read_reply(&plan(false), &mint(), Received::new(200, body)).ok().unwrap();
    let usage = reply.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.cached_tokens), (23, Some(8)));
    assert_eq!((usage.completion_tokens, usage.reasoning_tokens), (42, Some(30)));
    assert_eq!(usage.total_tokens, 65);
    assert_eq!(reply.finish, Some(Finish::ToolCalls));
    for (name, well) in [("stream", true), ("error", false)] {
        let mut tap = Tap::new(plan(true), mint(), Limits::default());
        let (mut out, text) =
            (Vec::new(), chunks(&[&fixture(&format!("generate-content/{name}.sse"))]));
        let end = tap.push(Bytes::from(text), &mut out).and_then(|()| tap.finish(&mut out));
        assert_eq!(end.is_ok(), well, "{name}");
        if well {
            assert_eq!(tap.usage().unwrap().completion_tokens, 42);
            assert!(String::from_utf8(out.concat()).unwrap().contains("thought_signature"));
        }
    }
}

#[test]
fn streams_come_back_the_same_wherever_they_are_cut() {
    let text = fixture("generate-content/stream.sse");
    let whole = chunks(&[&text]);
    insta::assert_snapshot!("gemini_stream", whole);
    assert_eq!(chunks(&text.chunks(1).collect::<Vec<_>>()), whole);
    // What can still be missing behind the last event's data are its line ends.
    let complete = text.trim_ascii_end().len();
    for at in 0..text.len() {
        let (start, end) = text.split_at(at);
        assert_eq!(chunks(&[start, end]), whole);
        // Broken off: never an end that looks like success.
        assert_eq!(chunks(&[start]).contains("[DONE]"), at >= complete, "{at}");
    }
    insta::assert_snapshot!(
        "gemini_stream_error",
        chunks(&[&fixture("generate-content/error.sse")])
    );
    let asked = inbound("/v1/messages", &fixture("anthropic/minimal.json"), &lenient());
    let events = payloads(&stream(asked.way_back, &[whole.as_bytes()]));
    assert_eq!(events.last().unwrap()["type"], "message_stop");
    let ids = events.iter().filter_map(|event| event["content_block"]["id"].as_str());
    assert_eq!(ids.filter(|id| id.contains(crate::SIGNED_ID)).count(), 1);
}

#[test]
fn how_an_answer_ended_is_told() {
    let ended = |reason: &str| {
        let body = json!({"candidates": [{"content": {"parts": [{"text": "a"}]}, "finishReason": reason}]});
        let stream = chunks(&[format!("data: {body}\n\n").as_bytes()]);
        let answer = gemini::answer(body.to_string().as_bytes(), Millis(0));
        let whole = answer.ok().map(|answer| {
            let answer: Value = serde_json::from_slice(&answer.body).unwrap();
            answer["choices"][0]["finish_reason"].as_str().unwrap().to_owned()
        });
        assert_eq!(stream.contains("[DONE]"), whole.is_some(), "{reason}");
        whole
    };
    assert_eq!(ended("STOP").as_deref(), Some("stop"));
    assert_eq!(ended("MAX_TOKENS").as_deref(), Some("length"));
    for reason in
        ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "OTHER", "NEW_ONE"]
    {
        assert_eq!(ended(reason).as_deref(), Some("content_filter"), "{reason}");
    }
    // The reader takes these for failures, and tells why.
    for reason in ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "MALFORMED_RESPONSE"] {
        assert_eq!(ended(reason).as_deref(), Some("error"), "{reason}");
        let body = json!({"candidates": [{"finishReason": reason}]}).to_string();
        let own = format!("\"native_finish_reason\":\"{reason}\"");
        let whole = gemini::answer(body.as_bytes(), Millis(0)).unwrap().body;
        assert!(String::from_utf8_lossy(&whole).contains(&own));
        assert!(chunks(&[format!("data: {body}\n\n").as_bytes()]).contains(&own));
    }
    assert_eq!(ended(""), None);
    let blocked = json!({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"},
                         "usageMetadata": {"promptTokenCount": 4}});
    let answer = gemini::answer(blocked.to_string().as_bytes(), Millis(0)).unwrap().body;
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    assert_eq!(answer["choices"][0]["finish_reason"], "content_filter");
    let refusal = answer["choices"][0]["message"]["refusal"].as_str().unwrap();
    assert!(refusal.contains("PROHIBITED_CONTENT"));
    let stream = chunks(&[format!("data: {blocked}\n\n").as_bytes()]);
    assert!(stream.contains("\"refusal\"") && stream.contains("[DONE]"), "{stream}");
}

#[test]
fn errors_are_told_by_their_status() {
    let told = |status: u16, body: &Value| {
        let told = gemini::error(status, body.to_string().as_bytes());
        let body: Value = serde_json::from_slice(&told.body).unwrap();
        (told.status, body["error"]["code"].as_str().unwrap().to_owned(), told.retry_after_ms)
    };
    let error = |status: &str, message: &str, details: Value| json!({"error": {"code": 1, "message": message, "status": status, "details": details}});
    for (status, body, expected, code, wait) in [
        (
            429,
            error(
                "RESOURCE_EXHAUSTED",
                "quota",
                json!([{"@type": "a"}, {"@type": "RetryInfo", "retryDelay": "34.5s"}]),
            ),
            429,
            "rate_limit_exceeded",
            Some(34_500),
        ),
        (
            429,
            error("RESOURCE_EXHAUSTED", "quota", json!([{"retryDelay": "soon"}])),
            429,
            "rate_limit_exceeded",
            None,
        ),
        (
            400,
            error("INVALID_ARGUMENT", "API key not valid.", json!([{"reason": "API_KEY_INVALID"}])),
            401,
            "invalid_api_key",
            None,
        ),
        (
            400,
            error(
                "INVALID_ARGUMENT",
                "The input token count (9) exceeds the maximum number of tokens allowed (8).",
                json!([]),
            ),
            400,
            "context_length_exceeded",
            None,
        ),
        (400, error("INVALID_ARGUMENT", "bad", json!([])), 400, "invalid_request", None),
        (403, error("PERMISSION_DENIED", "no", json!([])), 403, "permission_denied", None),
        (404, error("NOT_FOUND", "no model", json!([])), 404, "model_not_found", None),
        (500, error("INTERNAL", "oops", json!([])), 500, "bad_gateway", None),
        (503, error("UNAVAILABLE", "overloaded", json!([])), 503, "server_is_overloaded", None),
        (504, error("DEADLINE_EXCEEDED", "late", json!([])), 504, "upstream_timeout", None),
        (
            503,
            json!([error("UNAVAILABLE", "in a list", json!([]))]),
            503,
            "server_is_overloaded",
            None,
        ),
    ] {
        assert_eq!(told(status, &body), (expected, code.to_owned(), wait), "{body}");
    }
    assert_eq!(gemini::error(502, b"<html>").status, 502);
    assert!(gemini::answer(b"{}", Millis(0)).is_err());
}

proptest! {
    #[test]
    fn no_bytes_make_the_conversions_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..200),
        at in any::<prop::sample::Index>(), byte in any::<u8>(),
    ) {
        let _ = gemini::request(&bytes, Unsupported::Lenient);
        let _ = gemini::answer(&bytes, Millis(0));
        let _ = gemini::error(500, &bytes);
        payloads(&chunks(&[&bytes]).replace("data: [DONE]", ""));
        for name in ["generate-content/stream.sse", "generate-content/answer.json"] {
            let mut text = fixture(name).to_vec();
            let place = at.index(text.len());
            text[place] = byte;
            payloads(&chunks(&[&text]).replace("data: [DONE]", ""));
            if let Ok(answer) = gemini::answer(&text, Millis(0)) {
                prop_assert!(serde_json::from_slice::<Value>(&answer.body).is_ok());
            }
        }
        let facts = RequestFacts { keep_marks: true, ..facts() };
        let mut body = match read("/v1/messages", &fixture("anthropic/full.json"),
                                  &RequestFacts { unsupported: Unsupported::Lenient, ..facts }) {
            Ok(Asked::Infer(inbound)) => inbound.body.to_vec(),
            _ => unreachable!("the fixture is good"),
        };
        let place = at.index(body.len());
        body[place] = byte;
        if let Ok(sent) = gemini::request(&body, Unsupported::Lenient) {
            prop_assert!(serde_json::from_slice::<Value>(&sent.body).is_ok());
            prop_assert!(sent.path.is_ascii());
        }
    }
}

#[test]
fn thinking_in_googles_own_words_beats_an_effort_and_reaches_gemini_as_it_was() {
    let ask = |extra: Value| {
        json!({"model": "gemini-3-flash", "messages": [{"role": "user", "content": "hi"}],
            "reasoning_effort": "high", "extra_body": extra})
    };
    let own =
        json!({"google": {"thinking_config": {"include_thoughts": true, "thinking_budget": 77}}});
    let (body, losses) = sent(&ask(own));
    let config = json!({"includeThoughts": true, "thinkingBudget": 77});
    assert_eq!(body["generationConfig"]["thinkingConfig"], config);
    assert!(losses.is_empty(), "{losses:?}");
    let (body, losses) = sent(&ask(json!({"google": {"cached_content": "c"}, "other": 1})));
    assert_eq!(body["generationConfig"]["thinkingConfig"]["thinkingLevel"], "HIGH");
    assert!(losses.contains(&"extra_body.google.cached_content".to_owned()), "{losses:?}");
    // From one of Gemini's clients to Gemini.
    let theirs = json!({"contents": [{"parts": [{"text": "hi"}]}],
        "generationConfig": {"thinkingConfig": config, "topK": 4}});
    let facts = RequestFacts { keep_marks: true, ..lenient() };
    let path = "/v1beta/models/m:generateContent";
    let inbound = inbound(path, &Bytes::from(theirs.to_string()), &facts);
    let (body, _) = sent(&serde_json::from_slice(&inbound.body).unwrap());
    assert_eq!(body["generationConfig"]["thinkingConfig"], config);
    let losses: Vec<&str> = inbound.losses.iter().map(|loss| &*loss.field).collect();
    assert_eq!(losses, ["generationConfig.topK"]);
}
