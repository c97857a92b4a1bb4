//! Names of functions that an upstream would refuse, there and back: of clients of every dialect, in requests, whole
//! answers and streams cut anywhere.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a failed unwrap is a failed test")]

use std::collections::BTreeSet;

use bytes::Bytes;
use cutover_dialects::{Ask, Asked, Moment, RequestFacts, WayBack, find};
use cutover_relay::{Intake, adapted, read};
use cutover_units::{Micros, Millis};
use cutover_wire::providers::Dialect;
use cutover_wire::{
    Endpoint, Head, Limits, Mint, Outgoing, Provider, Received, Target, Unsupported,
};
use proptest::prelude::*;
use serde_json::{Value, json};

/// How clients speak, and where.
const CLIENTS: [(&str, &str); 4] = [
    ("chat", "/v1/chat/completions"),
    ("messages", "/v1/messages"),
    ("responses", "/v1/responses"),
    ("gemini", "/v1beta/models/m:generateContent"),
];

const UPSTREAMS: [&str; 6] = ["openai", "mistral", "anthropic", "gemini", "vllm", "llamacpp"];

fn target(upstream: &str) -> Target {
    let name = if upstream == "mistral" { "openai-compatible" } else { upstream };
    let provider = Provider::by_name(name).unwrap();
    let host = if upstream == "mistral" { "api.mistral.ai" } else { "127.0.0.1" };
    Target {
        mint: true,
        model: Some("m".into()),
        unsupported: Unsupported::Lenient,
        call_ids: provider.call_ids_at(host),
        ..Target::untouched(provider)
    }
}

/// A conversation in which every tool was called, and the last one must be.
fn request(client: &str, names: &[String], stream: bool) -> Value {
    let schema = json!({"type": "object", "properties": {"name": {"type": "string"}}});
    let calls = || names.iter().enumerate().map(|(at, name)| (format!("call{at:05}"), name));
    let last = names.last().unwrap();
    match client {
        "chat" => {
            let tools: Vec<Value> = names
                .iter()
                .map(|n| json!({"type": "function", "function": {"name": n, "parameters": schema}}))
                .collect();
            let calls_of: Vec<Value> = calls().map(|(id, n)| json!({"id": id, "type": "function", "function": {"name": n, "arguments": "{}"}})).collect();
            let mut messages = vec![
                json!({"role": "user", "content": "a", "name": "ann b."}),
                json!({"role": "assistant", "content": null, "tool_calls": calls_of}),
            ];
            messages.extend(
                calls().map(|(id, _)| json!({"role": "tool", "tool_call_id": id, "content": "r"})),
            );
            json!({"model": "m", "stream": stream, "tools": tools, "messages": messages,
                "tool_choice": {"type": "function", "function": {"name": last}}})
        }
        "messages" => json!({"model": "m", "max_tokens": 9, "stream": stream,
            "tools": names.iter().map(|n| json!({"name": n, "input_schema": schema})).collect::<Vec<_>>(),
            "tool_choice": {"type": "tool", "name": last},
            "messages": [{"role": "user", "content": "a"},
                {"role": "assistant", "content": calls().map(|(id, n)| json!({"type": "tool_use", "id": id, "name": n, "input": {}})).collect::<Vec<_>>()},
                {"role": "user", "content": calls().map(|(id, _)| json!({"type": "tool_result", "tool_use_id": id, "content": "r"})).collect::<Vec<_>>()}]}),
        "responses" => {
            let mut input = vec![json!({"role": "user", "content": "a"})];
            input.extend(calls().map(|(id, n)| json!({"type": "function_call", "call_id": id, "name": n, "arguments": "{}"})));
            input.extend(calls().map(
                |(id, _)| json!({"type": "function_call_output", "call_id": id, "output": "r"}),
            ));
            json!({"model": "m", "stream": stream, "store": false, "input": input,
                "tools": names.iter().map(|n| json!({"type": "function", "name": n, "parameters": schema})).collect::<Vec<_>>(),
                "tool_choice": {"type": "function", "name": last}})
        }
        _ => json!({
            "tools": [{"functionDeclarations": names.iter().map(|n| json!({"name": n, "parameters": {"type": "OBJECT"}})).collect::<Vec<_>>()}],
            "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": [last]}},
            "contents": [{"role": "user", "parts": [{"text": "a"}]},
                {"role": "model", "parts": calls().map(|(id, n)| json!({"functionCall": {"id": id, "name": n, "args": {}}})).collect::<Vec<_>>()},
                {"role": "user", "parts": calls().map(|(id, n)| json!({"functionResponse": {"id": id, "name": n, "response": {"output": "r"}}})).collect::<Vec<_>>()}]}),
    }
}

/// What a target is sent of it, and the way back of an answer.
fn sent(
    (client, path): (&str, &str),
    body: &Value,
    target: &Target,
) -> (Outgoing, Option<WayBack>) {
    let body = Bytes::from(body.to_string());
    if client == "chat" {
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        return (adapted(&head, &body, target).unwrap(), None);
    }
    let path = if client == "gemini" && target_streams(&body) { STREAMS } else { path };
    let Some(Ok(found)) = find("POST", path) else { panic!("{path}") };
    let Ask::Read(read) = found.ask else { panic!("{path}") };
    let facts = RequestFacts {
        unsupported: Unsupported::Lenient,
        named: Some("m"),
        events: true,
        ..RequestFacts::new("0a1b", Millis(1_795_250_530_040))
    };
    let Asked::Infer(inbound) = read(&body, &facts).unwrap() else { panic!("answered") };
    let mut head = Head::of_made(inbound.endpoint, &inbound.body).unwrap();
    head.stream_options_are_ours = true;
    (adapted(&head, &inbound.body, target).unwrap(), Some(inbound.way_back))
}

const STREAMS: &str = "/v1beta/models/m:streamGenerateContent";

/// Google's body does not say whether it streams: here a label does.
fn target_streams(body: &Bytes) -> bool {
    body.windows(8).any(|seen| seen == b"\"stream\"")
}

/// The names in a request as its upstream reads it: of tools, of calls, of results, and the one that is chosen.
fn names_in(dialect: Dialect, body: &Value) -> (Vec<String>, Vec<String>, Vec<String>, String) {
    let list = |value: &Value, at: &str| -> Vec<String> {
        let many = value.as_array().cloned().unwrap_or_default();
        many.iter().filter_map(|one| Some(one.pointer(at)?.as_str()?.to_owned())).collect()
    };
    let chosen = |at: &str| body.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned();
    match dialect {
        Dialect::Anthropic => (
            list(&body["tools"], "/name"),
            list(&body["messages"][1]["content"], "/name"),
            Vec::new(),
            chosen("/tool_choice/name"),
        ),
        Dialect::Gemini => (
            list(&body["tools"][0]["functionDeclarations"], "/name"),
            list(&body["contents"][1]["parts"], "/functionCall/name"),
            list(&body["contents"][2]["parts"], "/functionResponse/name"),
            chosen("/toolConfig/functionCallingConfig/allowedFunctionNames/0"),
        ),
        _ => (
            list(&body["tools"], "/function/name"),
            list(&body["messages"][1]["tool_calls"], "/function/name"),
            Vec::new(),
            chosen("/tool_choice/function/name"),
        ),
    }
}

fn taken(upstream: &str, name: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
    match upstream {
        "gemini" => {
            let mut letters = name.chars();
            let first = letters.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_');
            first && name.len() <= 64 && letters.all(|c| plain(c) || ".:".contains(c))
        }
        "anthropic" => !name.is_empty() && name.len() <= 128 && name.chars().all(plain),
        _ => !name.is_empty() && name.len() <= 64 && name.chars().all(plain),
    }
}

/// An upstream's answer that calls every tool, whole or as a stream.
fn answer(dialect: Dialect, names: &[String], stream: bool) -> String {
    let events = |list: Vec<Value>| -> String {
        list.iter()
            .flat_map(|event| ["data: ".to_owned(), event.to_string(), "\n\n".to_owned()])
            .collect()
    };
    match (dialect, stream) {
        (Dialect::Anthropic, false) => json!({"id": "msg_1", "type": "message", "role": "assistant", "model": "m",
            "content": names.iter().enumerate().map(|(at, n)| json!({"type": "tool_use", "id": format!("d{at}"), "name": n, "input": {}})).collect::<Vec<_>>(),
            "stop_reason": "tool_use", "stop_sequence": null, "usage": {"input_tokens": 1, "output_tokens": 1}})
        .to_string(),
        (Dialect::Anthropic, true) => {
            let start = json!({"type": "message_start", "message": {"id": "msg_1", "type": "message", "role": "assistant", "model": "m", "content": [], "usage": {"input_tokens": 1, "output_tokens": 1}}});
            let blocks = names.iter().enumerate().flat_map(|(at, n)| [
                json!({"type": "content_block_start", "index": at, "content_block": {"type": "tool_use", "id": format!("d{at}"), "name": n, "input": {}}}),
                json!({"type": "content_block_stop", "index": at})]);
            let end = [json!({"type": "message_delta", "delta": {"stop_reason": "tool_use"}, "usage": {"output_tokens": 2}}), json!({"type": "message_stop"})];
            events([start].into_iter().chain(blocks).chain(end).collect())
        }
        (Dialect::Gemini, _) => {
            let answer = json!({"candidates": [{"index": 0, "finishReason": "STOP", "content": {"role": "model",
                "parts": names.iter().map(|n| json!({"functionCall": {"name": n, "args": {}}})).collect::<Vec<_>>()}}],
                "modelVersion": "m", "responseId": "r", "usageMetadata": {"promptTokenCount": 1, "totalTokenCount": 1}});
            if stream { events(vec![answer]) } else { answer.to_string() }
        }
        (_, false) => json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m", "choices": [{"index": 0, "finish_reason": "tool_calls",
            "message": {"role": "assistant", "content": null, "tool_calls": names.iter().enumerate().map(|(at, n)| json!({"id": format!("d{at}"), "type": "function", "function": {"name": n, "arguments": "{}"}})).collect::<Vec<_>>()}}],
            "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}})
        .to_string(),
        (_, true) => {
            let chunk = |delta: Value, finish: Value| json!({"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m",
                "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]});
            let calls = names.iter().enumerate().map(|(at, n)| chunk(json!({"tool_calls": [{"index": at, "id": format!("d{at}"), "type": "function", "function": {"name": n, "arguments": "{}"}}]}), Value::Null));
            let all = [chunk(json!({"role": "assistant", "content": ""}), Value::Null)].into_iter().chain(calls).chain([chunk(json!({}), json!("tool_calls"))]);
            events(all.collect()) + "data: [DONE]\n\n"
        }
    }
}

fn now() -> Moment {
    Moment { at: Millis(1_795_250_531_500), elapsed: Micros(1_460_000) }
}

/// What the client gets of an answer.
fn told(
    (outgoing, back): (Outgoing, Option<WayBack>),
    answer: &str,
    cuts: &[usize],
    stream: bool,
) -> String {
    let mint = Mint { id: "ours".into(), model: "m".into(), created: 1_800_000_000 };
    if !stream {
        let body = Bytes::from(answer.to_owned());
        let received = Received {
            status: 200,
            content_type: Some("application/json"),
            retry_after: None,
            retry_after_ms: None,
            date: None,
            body,
        };
        let (_, reply) = read(&outgoing.reply, &mint, received);
        let body = reply.unwrap_or_else(|fault| panic!("{fault:?}")).body;
        let body = match back {
            Some(back) => back.reply(&body, now()).unwrap().body,
            None => body,
        };
        return String::from_utf8(body.to_vec()).unwrap();
    }
    let mut intake = Intake::new(outgoing.reply, mint, Limits::default());
    let (mut chat, mut at) = (Vec::new(), 0);
    let cuts = cuts.iter().map(|cut| cut % (answer.len() + 1)).collect::<BTreeSet<_>>();
    for cut in cuts.into_iter().chain([answer.len()]) {
        let piece = Bytes::copy_from_slice(&answer.as_bytes()[at..cut]);
        intake.push(piece, &mut chat).unwrap();
        at = cut;
    }
    intake.finish(&mut chat).unwrap();
    let Some(back) = back else { return String::from_utf8(chat.concat()).unwrap() };
    let (mut edge, mut out) = (back.stream(), Vec::new());
    for piece in chat {
        edge.push(piece, now(), &mut out);
    }
    edge.finish(now(), &mut out);
    assert_eq!(edge.failure(), None);
    String::from_utf8(out.concat()).unwrap()
}

/// The names of calls in what a client got, each time that they are told.
fn calls_in(told: &str) -> BTreeSet<String> {
    fn gather(value: &Value, found: &mut BTreeSet<String>) {
        match value {
            Value::Object(members) => {
                let calls =
                    ["arguments", "input", "args"].iter().any(|key| members.contains_key(*key));
                if let (true, Some(name)) = (calls, members.get("name").and_then(Value::as_str)) {
                    found.insert(name.to_owned());
                }
                // What a Response repeats of its request is no call.
                members
                    .iter()
                    .filter(|(key, _)| *key != "tools")
                    .for_each(|(_, v)| gather(v, found));
            }
            Value::Array(list) => list.iter().for_each(|value| gather(value, found)),
            _ => {}
        }
    }
    let mut found = BTreeSet::new();
    let payloads = told.lines().map(|line| line.strip_prefix("data: ").unwrap_or(line));
    payloads
        .filter_map(|line| serde_json::from_str(line).ok())
        .for_each(|v| gather(&v, &mut found));
    found
}

fn goes_there_and_back(
    (client, path): (&str, &str),
    upstream: &str,
    (names, stream, cuts): (&[String], bool, &[usize]),
) {
    let target = target(upstream);
    let dialect = target.provider.dialect;
    let mut body = request(client, names, stream);
    if client == "gemini" && stream {
        body["labels"] = json!({"stream": "yes"});
    }
    let (outgoing, back) = sent((client, path), &body, &target);
    let at_upstream: Value = serde_json::from_slice(&outgoing.body.concat()).unwrap();
    let (tools, calls, results, chosen) = names_in(dialect, &at_upstream);
    let context = format!("{client} > {upstream}: {names:?} as {tools:?}");
    assert_eq!(tools.len(), names.len(), "{context}");
    let free = client == "chat" && target.provider.self_hosted;
    if free {
        assert_eq!(tools, names, "{context}");
    } else {
        assert!(tools.iter().all(|name| taken(upstream, name)), "{context}");
    }
    assert_eq!(tools.iter().collect::<BTreeSet<_>>().len(), names.len(), "{context}");
    assert_eq!(calls, tools, "{context}");
    assert!(results.is_empty() || results == tools, "{context}");
    assert_eq!(Some(&chosen), tools.last(), "{context}");
    // Those that are taken stay.
    for (own, sent) in names.iter().zip(&tools) {
        assert!(own == sent || !taken(upstream, own), "{context}");
    }
    let told = told((outgoing, back), &answer(dialect, &tools, stream), cuts, stream);
    let own: BTreeSet<String> = names.iter().cloned().collect();
    assert_eq!(calls_in(&told), own, "{context}\n{told}");
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[a-z]{1,3}[._:/-][a-z]{1,3}",
        "[0-9][a-z0-9.]{0,8}",
        "-[a-z]{1,4}",
        "[a-z_]{60,140}",
        "[a-zA-Z0-9_-]{1,12}",
        "[a-zäöü\u{4e00}\u{1f600}\"\\\\ ]{1,6}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn every_name_is_taken_everywhere_and_comes_back_as_the_client_wrote_it(
        names in prop::collection::btree_set(name(), 1..6),
        stream in any::<bool>(),
        cuts in prop::collection::vec(any::<usize>(), 0..12),
    ) {
        let names: Vec<String> = names.into_iter().collect();
        for client in CLIENTS {
            for upstream in UPSTREAMS {
                goes_there_and_back(client, upstream, (&names, stream, &cuts));
            }
        }
    }
}

/// A client that knows what is made of names cannot have one taken for another.
#[test]
fn a_name_that_looks_like_one_of_ours_is_not_taken_for_it() {
    let made = |names: &[String]| -> Vec<String> {
        let body = request("chat", names, false);
        let (outgoing, _) = sent(CLIENTS[0], &body, &target("openai"));
        names_in(Dialect::OpenAi, &serde_json::from_slice(&outgoing.body.concat()).unwrap()).0
    };
    let first = made(&["files.read".to_owned()]).remove(0);
    for stream in [false, true] {
        let names = ["files.read".to_owned(), first.clone()];
        goes_there_and_back(CLIENTS[0], "openai", (&names, stream, &[]));
    }
    // The same in every request, whatever else it holds: a cached prefix stays one.
    assert_eq!(made(&["files.read".to_owned(), "z.z".to_owned()])[0], first);
}

#[test]
fn a_call_without_its_tool_has_its_name_too_and_a_user_keeps_theirs() {
    let body = json!({"model": "m", "messages": [
        {"role": "user", "name": "Ann B.", "content": "\"name\":\"a.b\""},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c", "type": "custom", "custom": {"name": "a.b", "input": "{\"name\":\"a.b\"}"}}]},
        {"role": "tool", "tool_call_id": "c", "name": "a.b", "content": "r"}],
        "functions": [{"name": "a.b", "parameters": {"name": "a.b"}}], "function_call": {"name": "a.b"},
        "tools": [{"type": "custom", "custom": {"name": "a.b"}}],
        "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "auto",
            "tools": [{"type": "custom", "custom": {"name": "a.b"}}]}}});
    let (outgoing, _) = sent(CLIENTS[0], &body, &target("openai"));
    let text = String::from_utf8(outgoing.body.concat()).unwrap();
    let new = "\"a_b_";
    let at_upstream: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(text.matches(new).count(), 6, "{text}");
    assert_eq!(at_upstream["messages"][0], body["messages"][0]);
    assert_eq!(at_upstream["functions"][0]["parameters"], body["functions"][0]["parameters"]);
    // What goes to the default upstream goes as it came.
    let untouched = Target::untouched(Provider::by_name("openai").unwrap());
    let (outgoing, _) = sent(CLIENTS[0], &body, &untouched);
    assert_eq!(outgoing.body.concat(), body.to_string().into_bytes());
}
