//! What a conversation brings along that has moved from another upstream: what its new one would refuse, though the
//! client cannot help it, is mended on the way.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use cutover_vendors::{Defaults, anthropic, gemini};
use cutover_wire::{Fault, Unsupported, VariantSettings};
use serde_json::{Value, json};

const MODES: [Unsupported; 2] = [Unsupported::Strict, Unsupported::Lenient];

type Sent = (Value, Vec<String>);

fn chat(messages: &Value, more: &Value) -> Value {
    let mut body = json!({"model": "claude-haiku-4-5", "max_tokens": 9_000, "messages": messages});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

fn of_variant(body: &Value, mode: Unsupported, settings: &VariantSettings) -> Result<Sent, Fault> {
    let defaults = Defaults::of(body.to_string().as_bytes(), settings);
    let sent = anthropic::request(body.to_string().as_bytes(), mode, &defaults)?;
    let losses = sent.losses.into_iter().map(|loss| loss.field).collect();
    Ok((serde_json::from_slice(&sent.body).unwrap(), losses))
}

fn to_claude(body: &Value, mode: Unsupported) -> Result<Sent, Fault> {
    of_variant(body, mode, &VariantSettings::default())
}

fn to_gemini(body: &Value, mode: Unsupported) -> Sent {
    let sent = gemini::request(body.to_string().as_bytes(), mode).unwrap();
    let losses = sent.losses.into_iter().map(|loss| loss.field).collect();
    (serde_json::from_slice(&sent.body).unwrap(), losses)
}

fn call(id: &str, arguments: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": arguments}})
}

fn result(id: &str) -> Value {
    json!({"role": "tool", "tool_call_id": id, "content": format!("of {id}")})
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn by_model(content: &Value, calls: &[Value]) -> Value {
    json!({"role": "assistant", "content": content, "tool_calls": calls})
}

/// Engines that number their calls anew in each answer.
#[test]
fn an_id_that_comes_again_is_sent_once() {
    let turn = |text: &str| {
        let calls = [call("call_0", "{}"), call("call_1", "{}")];
        [user(text), by_model(&Value::Null, &calls), result("call_1"), result("call_0")]
    };
    let messages: Vec<Value> = turn("a").into_iter().chain(turn("b")).collect();
    let (sent, losses) = to_claude(&chat(&json!(messages), &json!({})), MODES[0]).unwrap();
    let ids = |at: usize, name: &str| -> Vec<String> {
        let blocks = sent["messages"][at]["content"].as_array().unwrap();
        blocks.iter().filter_map(|block| Some(block[name].as_str()?.to_owned())).collect()
    };
    assert_eq!(
        (ids(1, "id"), ids(2, "tool_use_id")),
        (
            vec!["call_0".to_owned(), "call_1".to_owned()],
            vec!["call_1".to_owned(), "call_0".to_owned()],
        )
    );
    assert_eq!(
        (ids(3, "id"), ids(4, "tool_use_id")),
        (
            vec!["call_0_2".to_owned(), "call_1_2".to_owned()],
            vec!["call_1_2".to_owned(), "call_0_2".to_owned()],
        )
    );
    assert_eq!(losses, Vec::<String>::new());
}

/// A budget wants the turn of calls that goes on to have begun with thinking; no other client can send it back.
#[test]
fn a_turn_of_calls_without_thinking_goes_on_without_a_budget() {
    let bare = [user("a"), by_model(&json!("x"), &[call("c", "{}")]), result("c")];
    let mut signed = bare.clone();
    signed[1]["reasoning_details"] =
        json!([{"type": "reasoning.text", "text": "hm", "signature": "SG"}]);
    let after = [user("b"), by_model(&json!("x"), &[call("d", "{}")]), result("d")];
    let both = |one: &[Value], other: &[Value]| json!([one, other].concat());
    let said = json!({"role": "assistant", "content": "y"});
    let own = json!({"anthropic": {"thinking": {"type": "enabled", "budget_tokens": 2000}}});
    let wishes = [json!({"reasoning_effort": "low"}), json!({"extra_body": own})];
    for (messages, thinks) in [
        (json!(bare), false),
        (json!(signed), true),
        (both(&bare, &[user("b")]), false),
        (both(&bare, &[said.clone(), user("b")]), true),
        (json!([&signed[..], std::slice::from_ref(&said), &after].concat()), false),
        (both(&signed, &[by_model(&Value::Null, &[call("d", "{}")]), result("d")]), true),
        (json!([user("a")]), true),
    ] {
        for (wish, mode) in wishes.iter().zip(MODES) {
            let (sent, losses) = to_claude(&chat(&messages, wish), mode).unwrap();
            let kind = sent["thinking"]["type"].as_str();
            assert_eq!(kind, thinks.then_some("enabled"), "{messages}");
            let told = losses.iter().any(|field| field == "reasoning_effort.turn");
            assert_eq!(told, !thinks, "{messages} {losses:?}");
        }
        // Adaptive thinking has no such rule.
        let mut newer = chat(&messages, &wishes[0]);
        newer["model"] = "claude-sonnet-5".into();
        let (sent, _) = to_claude(&newer, MODES[0]).unwrap();
        assert_eq!(sent["thinking"]["type"], "adaptive");
    }
    // What goes with thinking alone counts again.
    let more = json!({"reasoning_effort": "low", "temperature": 0.3});
    let (sent, _) = to_claude(&chat(&json!(bare), &more), MODES[0]).unwrap();
    assert_eq!(sent["temperature"], 0.3);
}

/// Reasoning models write it beside a call.
#[test]
fn texts_of_white_space_alone_are_not_sent() {
    let part = |text: &str| json!({"type": "text", "text": text});
    let spoken = json!([part(" "), part("b"), {"type": "refusal", "refusal": "\n"}]);
    let messages = json!([
        {"role": "system", "content": [part("\n"), part("s")]},
        {"role": "user", "content": spoken},
        by_model(&json!("\n\n"), &[call("c", "{}")]),
        {"role": "tool", "tool_call_id": "c", "content": [part("\t"), part("r")]},
        by_model(&json!(" \u{a0}"), &[call("d", "{}")]),
        {"role": "tool", "tool_call_id": "d", "content": "\n"},
        {"role": "assistant", "content": "\n"},
        user(" "),
    ]);
    let (sent, _) = to_claude(&chat(&messages, &json!({})), MODES[0]).unwrap();
    let tool = |id: &str| json!({"type": "tool_use", "id": id, "name": "f", "input": {}});
    let said = |id: &str, content: Value| json!({"type": "tool_result", "tool_use_id": id, "content": content});
    assert_eq!(sent["system"], json!([part("s")]));
    assert_eq!(
        sent["messages"],
        json!([
            {"role": "user", "content": [part("b")]},
            {"role": "assistant", "content": [tool("c")]},
            {"role": "user", "content": [said("c", json!([part("r")]))]},
            {"role": "assistant", "content": [tool("d")]},
            {"role": "user", "content": [said("d", json!([]))]},
        ])
    );
}

/// A model wrote them once; its client sends them back for ever.
#[test]
fn arguments_that_are_no_object_are_sent_as_a_text_in_one() {
    let text = r#"{"city": "Bonn""#;
    let messages = json!([user("a"), by_model(&Value::Null, &[call("c", text)]), result("c")]);
    for mode in MODES {
        let (sent, losses) = to_claude(&chat(&messages, &json!({})), mode).unwrap();
        let wanted = json!({"arguments": text});
        assert_eq!(sent["messages"][1]["content"][0]["input"], wanted);
        assert_eq!(losses, ["messages[].tool_calls[].function.arguments"]);
        let (sent, losses) = to_gemini(&chat(&messages, &json!({})), mode);
        assert_eq!(sent["contents"][1]["parts"][0]["functionCall"]["args"], wanted);
        assert!(losses.contains(&"messages[].tool_calls[].function.arguments".to_owned()));
    }
}

#[test]
fn a_stop_of_white_space_alone_is_refused_or_reported() {
    for stop in [json!("\n\n"), json!(["\n"]), json!([""])] {
        let body = chat(&json!([user("a")]), &json!({"stop": stop}));
        let fault = to_claude(&body, Unsupported::Strict).unwrap_err();
        assert_eq!(fault.param.as_deref(), Some("stop"), "{stop}");
        let (sent, losses) = to_claude(&body, Unsupported::Lenient).unwrap();
        assert_eq!((sent.get("stop_sequences"), &*losses), (None, &["stop.blank".to_owned()][..]));
    }
    let body = chat(&json!([user("a")]), &json!({"stop": ["END", "\n"]}));
    let (sent, _) = to_claude(&body, Unsupported::Lenient).unwrap();
    assert_eq!(sent["stop_sequences"], json!(["END"]));
    // A variant's own is nobody's fault.
    let settings = VariantSettings { stop: vec!["\n".to_owned()], ..VariantSettings::default() };
    let (sent, losses) = of_variant(&body, Unsupported::Strict, &settings).unwrap();
    assert_eq!(
        (&sent["stop_sequences"], &*losses),
        (&json!(["END"]), &["variant.stop".to_owned()][..])
    );
}

#[test]
fn an_images_type_is_named_as_the_vendors_do() {
    for (named, wanted) in [
        ("image/jpg", "image/jpeg"),
        ("image/JPG;name=a", "image/jpeg"),
        ("image/png", "image/png"),
    ] {
        let url = format!("data:{named};base64,QUJD");
        let part = json!({"type": "image_url", "image_url": {"url": url}});
        let body = chat(&json!([{"role": "user", "content": [part]}]), &json!({}));
        let (sent, _) = to_claude(&body, MODES[0]).unwrap();
        assert_eq!(sent["messages"][0]["content"][0]["source"]["media_type"], wanted);
        let (sent, _) = to_gemini(&body, MODES[0]);
        assert_eq!(sent["contents"][0]["parts"][0]["inlineData"]["mimeType"], wanted);
    }
}

#[test]
fn results_come_before_what_the_user_says_beside_them() {
    let calls = [call("c", "{}"), call("d", "{}")];
    let turn = [user("a"), by_model(&Value::Null, &calls)];
    for rest in [
        [user("hurry"), result("c"), result("d")],
        [result("c"), user("hurry"), result("d")],
        [result("c"), result("d"), user("hurry")],
    ] {
        let messages = [&turn[..], &rest[..]].concat();
        let (sent, losses) = to_claude(&chat(&json!(messages), &json!({})), MODES[0]).unwrap();
        let blocks = sent["messages"][2]["content"].as_array().unwrap();
        let ids: Vec<&str> = blocks.iter().filter_map(|b| b["tool_use_id"].as_str()).collect();
        assert_eq!((ids, &blocks[2]["text"]), (vec!["c", "d"], &json!("hurry")));
        assert_eq!(losses.is_empty(), rest[2]["role"] == "user", "{losses:?}");
    }
}

/// Each result walked those of its turn, and moved what was said between them: with as many as a body has room for this
/// would not end.
#[test]
fn results_and_words_of_one_turn_cost_no_more_each_the_more_they_are() {
    const TIMES: usize = 100_000;
    let calls: Vec<_> = (0..TIMES).map(|at| call(&format!("c{at}"), "{}").to_string()).collect();
    let wait = user("wait").to_string();
    let results = (0..TIMES).rev().map(|at| format!("{},{wait}", result(&format!("c{at}"))));
    let results: Vec<_> = results.collect();
    let body = format!(
        r#"{{"model":"claude-haiku-4-5","max_tokens":9000,"messages":[{},
            {{"role":"assistant","content":null,"tool_calls":[{}]}},{}]}}"#,
        user("go"),
        calls.join(","),
        results.join(",")
    );
    let sent = anthropic::request(body.as_bytes(), MODES[0], &Defaults::default()).unwrap();
    let body = std::str::from_utf8(&sent.body).unwrap();
    let at = |what: &str| body.find(what).unwrap();
    assert_eq!(body.matches(r#""tool_result""#).count(), TIMES);
    let first = format!(r#""tool_use_id":"c{}""#, TIMES - 1);
    assert!(at(&first) < at(r#""tool_use_id":"c0""#));
    assert!(at(r#""tool_use_id":"c0""#) < at("wait"));
    let losses: Vec<_> = sent.losses.iter().map(|loss| &*loss.field).collect();
    assert_eq!(losses, ["messages[].tool.order"]);
}

/// OpenAI shows it to the model; the schema alone was sent, and nothing reported.
#[test]
fn what_is_said_of_a_schema_is_sent_as_its_description_or_reported() {
    for (schema, sent, lost) in [
        (r#"{"type":"object"}"#, json!({"description": "as ISO", "type": "object"}), false),
        ("{ }", json!({"description": "as ISO"}), false),
        (r#"{"description":"own"}"#, json!({"description": "own"}), true),
    ] {
        let schema: Value = serde_json::from_str(schema).unwrap();
        let format = json!({"name": "n", "description": "as ISO", "schema": schema});
        let format = json!({"type": "json_schema", "json_schema": format});
        let body = chat(&json!([user("a")]), &json!({"response_format": format}));
        let report = if lost { vec!["response_format.json_schema.description"] } else { vec![] };
        let (claudes, losses) = to_claude(&body, MODES[0]).unwrap();
        assert_eq!(
            (&claudes["output_config"]["format"]["schema"], losses),
            (&sent, report.iter().map(|r| (*r).to_owned()).collect())
        );
        let (geminis, losses) = to_gemini(&body, MODES[0]);
        assert_eq!(
            (&geminis["generationConfig"]["responseJsonSchema"], losses),
            (&sent, report.iter().map(|r| (*r).to_owned()).collect())
        );
    }
}

#[test]
fn of_two_names_for_who_asks_the_one_that_is_not_sent_is_reported() {
    let lost = |user: &str| {
        let more = json!({"user": user, "safety_identifier": "b"});
        let (sent, losses) =
            to_claude(&chat(&json!([{"role": "user", "content": "a"}]), &more), MODES[0]).unwrap();
        assert_eq!(sent["metadata"]["user_id"], "b");
        losses
    };
    assert_eq!(lost("a"), ["user"]);
    assert!(lost("b").is_empty());
}

/// They were sent, without a turn, and the vendor's own words for it named no place of the client's.
#[test]
fn a_chat_that_says_nothing_is_refused_by_name() {
    let body = chat(&json!([user(""), by_model(&Value::Null, &[])]), &json!({}));
    for mode in MODES {
        let claudes = to_claude(&body, mode).unwrap_err();
        let geminis = gemini::request(body.to_string().as_bytes(), mode).err().unwrap();
        assert_eq!(claudes.param.as_deref(), Some("messages"));
        assert_eq!(geminis.param.as_deref(), Some("messages"));
    }
}
