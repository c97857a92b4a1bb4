//! What a client said comes back to it: the pivot's conversation, told again as an answer.

use bytes::Bytes;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::support::{inbound, lenient, now};

/// An assistant's turn of the pivot as the answer that an engine would give.
fn as_answer(turn: &Value) -> Bytes {
    let called = turn.get("tool_calls").is_some();
    let finish = if called { "tool_calls" } else { "stop" };
    let answer = json!({
        "id": "c", "object": "chat.completion", "created": 1, "model": "m",
        "choices": [{"index": 0, "message": turn, "finish_reason": finish}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    });
    Bytes::from(answer.to_string())
}

fn last_turn(body: &[u8]) -> Value {
    let value: Value = serde_json::from_slice(body).unwrap();
    value["messages"].as_array().unwrap().last().unwrap().clone()
}

/// Objects as tools get them.
fn arguments() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![any::<i64>().prop_map(Value::from), ".{0,12}".prop_map(Value::from)];
    prop::collection::btree_map("[a-z]{1,6}", leaf, 0..4)
        .prop_map(|map| Value::Object(map.into_iter().collect()))
}

fn calls() -> impl Strategy<Value = Vec<(String, Value)>> {
    prop::collection::vec(("[a-z_]{1,12}", arguments()), 0..4)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn anthropics_assistant_turn_survives_the_pivot(
        text in ".{1,40}", thinking in ".{1,20}", calls in calls()
    ) {
        let mut blocks = vec![
            json!({"type": "thinking", "thinking": thinking, "signature": "cutover"}),
            json!({"type": "text", "text": text}),
        ];
        for (n, (name, input)) in calls.iter().enumerate() {
            blocks.push(json!({"type": "tool_use", "id": format!("t{n}"), "name": name, "input": input}));
        }
        let body = json!({"model": "m", "max_tokens": 9, "messages": [{"role": "assistant", "content": blocks}]});
        let inbound = inbound("/v1/messages", &Bytes::from(body.to_string()), &lenient());
        let answer = inbound.way_back.reply(&as_answer(&last_turn(&inbound.body)), now()).ok().unwrap();
        let back: Value = serde_json::from_slice(&answer.body).unwrap();
        prop_assert_eq!(&back["content"], &Value::from(blocks));
        prop_assert_eq!(&back["stop_reason"], if calls.is_empty() { "end_turn" } else { "tool_use" });
        // Only what the table says is lost: that it was the last message.
        let fields: Vec<&str> = inbound.losses.iter().map(|loss| &*loss.field).collect();
        prop_assert_eq!(fields, ["messages[].prefill"]);
    }

    #[test]
    fn responses_items_survive_the_pivot(text in ".{1,40}", calls in calls(), custom in ".{0,20}") {
        let mut items = vec![json!({
            "type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}],
        })];
        for (n, (name, arguments)) in calls.iter().enumerate() {
            items.push(json!({
                "type": "function_call", "call_id": format!("c{n}"), "name": name, "namespace": "a.b",
                "arguments": arguments.to_string(),
            }));
        }
        items.push(json!({"type": "custom_tool_call", "call_id": "x", "name": "patch!", "input": custom}));
        let tools: Vec<Value> =
            calls.iter().map(|(name, _)| json!({"type": "function", "name": name})).collect();
        let body = json!({
            "model": "m", "input": items,
            "tools": [{"type": "namespace", "name": "a.b", "tools": tools}, {"type": "custom", "name": "patch!"}],
        });
        let inbound = inbound("/v1/responses", &Bytes::from(body.to_string()), &lenient());
        prop_assert!(inbound.losses.is_empty());
        let answer = inbound.way_back.reply(&as_answer(&last_turn(&inbound.body)), now()).ok().unwrap();
        let back: Value = serde_json::from_slice(&answer.body).unwrap();
        let output = back["output"].as_array().unwrap();
        prop_assert_eq!(output.len(), items.len());
        for (had, got) in items.iter().zip(output) {
            for key in ["type", "call_id", "name", "namespace", "arguments", "input"] {
                prop_assert_eq!(had.get(key), got.get(key));
            }
        }
        prop_assert_eq!(&output[0]["content"][0]["text"], &Value::from(text));
    }

    #[test]
    fn ollamas_assistant_turn_survives_the_pivot(
        text in ".{1,40}", thinking in ".{1,20}", calls in calls()
    ) {
        let list: Vec<Value> = calls
            .iter()
            .enumerate()
            .map(|(n, (name, arguments))| {
                json!({"id": format!("c{n}"), "function": {"index": n, "name": name, "arguments": arguments}})
            })
            .collect();
        let mut turn = json!({"role": "assistant", "content": text, "thinking": thinking});
        if !list.is_empty() {
            turn["tool_calls"] = Value::from(list);
        }
        let body = json!({"model": "m", "messages": [turn]});
        let inbound = inbound("/api/chat", &Bytes::from(body.to_string()), &lenient());
        let answer = inbound.way_back.reply(&as_answer(&last_turn(&inbound.body)), now()).ok().unwrap();
        let back: Value = serde_json::from_slice(&answer.body).unwrap();
        prop_assert_eq!(&back["message"], &turn);
    }

    #[test]
    fn geminis_model_turn_survives_the_pivot(
        text in ".{1,40}", thought in ".{1,20}", calls in calls()
    ) {
        let mut parts = vec![json!({"text": thought, "thought": true}), json!({"text": text})];
        for (n, (name, args)) in calls.iter().enumerate() {
            let id = format!("c{n}");
            parts.push(json!({"functionCall": {"id": id, "name": name, "args": args}}));
        }
        let body = json!({
            "contents": [{"role": "model", "parts": parts}],
            "generationConfig": {"thinkingConfig": {"includeThoughts": true}},
        });
        let path = "/v1beta/models/m:generateContent";
        let inbound = inbound(path, &Bytes::from(body.to_string()), &lenient());
        prop_assert!(inbound.losses.is_empty());
        let answer = inbound.way_back.reply(&as_answer(&last_turn(&inbound.body)), now()).ok().unwrap();
        let back: Value = serde_json::from_slice(&answer.body).unwrap();
        prop_assert_eq!(&back["candidates"][0]["content"]["parts"], &Value::from(parts));
        prop_assert_eq!(&back["candidates"][0]["finishReason"], "STOP");
    }
}
