//! Stored answers: two turns of a conversation, single items, and what is shown of them.

use bytes::Bytes;
use cutover_units::Code;
use serde_json::{Value, json};

use super::support::{facts, fixture, now, read};
use crate::responses::{Loaded, Stored, get, input_items, not_stored, read_after};
use crate::{Asked, Inbound, RequestFacts};

fn storing(id: &'static str) -> RequestFacts<'static> {
    RequestFacts { id, storage: true, keep_reasoning: true, ..facts() }
}

fn infer(asked: Result<Asked, cutover_wire::Fault>) -> Inbound {
    match asked {
        Ok(Asked::Infer(inbound)) => *inbound,
        Ok(Asked::Now(_)) => panic!("answered at once"),
        Err(fault) => panic!("{fault} {:?}", fault.param),
    }
}

fn first() -> Stored {
    let body = json!({
        "model": "m", "instructions": "Be brief.", "input": [
            {"role": "user", "content": "Weather?"},
            {"type": "function_call_output", "call_id": "old", "output": "x"},
        ],
        "tools": [{"type": "function", "name": "shell"}, {"type": "custom", "name": "apply_patch"}],
    });
    let inbound = infer(read("/v1/responses", &Bytes::from(body.to_string()), &storing("aa")));
    assert!(inbound.needs.keep && !inbound.needs.must_load());
    let answer = fixture("chat/tools.json");
    inbound.way_back.reply_and_keep(&answer, (None, now())).ok().unwrap().1.unwrap()
}

#[test]
fn a_stored_answer_survives_its_document() {
    let stored = first();
    assert!(Stored::from_json(&stored.to_json()).unwrap() == stored);
    assert!(Stored::from_json("{}").is_none());
    assert!(Stored::from_json(r#"{"id":"a","input":{},"response":{}}"#).is_none());
    let shown: Value = serde_json::from_slice(&get(&stored).body).unwrap();
    assert_eq!(shown["id"], "resp_aa");
    assert_eq!(shown["output"].as_array().unwrap().len(), 5);
}

#[test]
fn the_second_turn_goes_on_with_the_first() {
    let stored = first();
    let body = json!({
        "model": "m", "previous_response_id": "resp_aa",
        "input": [{"type": "function_call_output", "call_id": "call_a", "output": "18"}],
    });
    let body = Bytes::from(body.to_string());
    let before = infer(read("/v1/responses", &body, &storing("bb")));
    assert!(before.needs.must_load());
    assert_eq!(before.needs.previous.as_deref(), Some("resp_aa"));
    let earlier = [stored];
    let loaded = Loaded { earlier: &earlier, items: &[] };
    let after = infer(read_after(&body, &storing("bb"), loaded));
    assert!(!after.needs.must_load());
    let pivot: Value = serde_json::from_slice(&after.body).unwrap();
    let roles: Vec<&str> =
        pivot["messages"].as_array().unwrap().iter().filter_map(|m| m["role"].as_str()).collect();
    // Instructions are not inherited.
    assert_eq!(roles, ["user", "tool", "assistant", "tool"]);
    let said = &pivot["messages"][2];
    assert_eq!(said["reasoning_content"], "Both cities.");
    assert_eq!(said["tool_calls"][1]["function"]["arguments"], r#"{"input":"*** Begin\n"}"#);
    let (answer, kept) =
        after.way_back.reply_and_keep(&fixture("chat/text.json"), (None, now())).ok().unwrap();
    let answer: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(answer["previous_response_id"], "resp_aa");
    assert_eq!(kept.unwrap().previous.as_deref(), Some("resp_aa"));
}

#[test]
fn a_stored_item_stands_for_itself() {
    let stored = first();
    let body = json!({
        "model": "m", "input": [
            {"id": "fc_aa_2"},
            {"type": "function_call_output", "call_id": "call_a", "output": "18"},
        ],
    });
    let body = Bytes::from(body.to_string());
    let before = infer(read("/v1/responses", &body, &storing("bb")));
    assert_eq!(before.needs.items, ["resp_aa"]);
    let items = [stored];
    let loaded = Loaded { earlier: &[], items: &items };
    let after = infer(read_after(&body, &storing("bb"), loaded));
    let pivot: Value = serde_json::from_slice(&after.body).unwrap();
    assert_eq!(pivot["messages"][0]["tool_calls"][0]["id"], "call_a");
    // What is kept of this request holds the item itself.
    let (_, kept) =
        after.way_back.reply_and_keep(&fixture("chat/text.json"), (None, now())).ok().unwrap();
    assert!(kept.unwrap().input.contains("\"fc_aa_2\""));
    let missing = read_after(&body, &storing("bb"), Loaded::default()).err().unwrap();
    assert_eq!(missing.param.as_deref(), Some("input[0].id"));
    let off = read("/v1/responses", &body, &facts()).err().unwrap();
    assert_eq!(off.code, Code::UnsupportedParameter);
}

#[test]
fn the_ai_sdks_second_turn_finds_its_first_one() {
    let body = fixture("stored/ai-sdk-second-turn.json");
    let before = infer(read("/v1/responses", &body, &storing("bb")));
    assert_eq!(before.needs.items, ["resp_aa"]);
    let items = [first()];
    let loaded = Loaded { earlier: &[], items: &items };
    let pivot = infer(read_after(&body, &storing("bb"), loaded)).body;
    let pivot: Value = serde_json::from_slice(&pivot).unwrap();
    let roles: Vec<&str> =
        pivot["messages"].as_array().unwrap().iter().filter_map(|m| m["role"].as_str()).collect();
    assert_eq!(roles, ["system", "user", "assistant", "tool"]);
    let said = &pivot["messages"][2];
    assert_eq!(said["content"], "Let me look.");
    assert_eq!(said["reasoning_content"], "Both cities.");
    assert_eq!(said["tool_calls"][0]["id"], "call_a");
}

#[test]
fn nothing_is_kept_if_the_client_or_the_operator_does_not_want_it() {
    for (store, storage) in [("false", true), ("true", false)] {
        let body = format!(r#"{{"model":"m","input":"a","store":{store}}}"#);
        let facts = RequestFacts { storage, ..facts() };
        let inbound = infer(read("/v1/responses", &Bytes::from(body), &facts));
        assert!(!inbound.needs.keep);
        let (answer, kept) = inbound
            .way_back
            .reply_and_keep(&fixture("chat/text.json"), (None, now()))
            .ok()
            .unwrap();
        assert!(kept.is_none());
        assert!(std::str::from_utf8(&answer.body).unwrap().contains(r#""store":false"#));
    }
}

#[test]
fn a_stream_is_kept_once_it_has_ended_well() {
    for (name, kept) in [("tools", true), ("broken", false), ("error", false)] {
        let body = Bytes::from_static(br#"{"model":"m","input":"a","stream":true}"#);
        let inbound = infer(read("/v1/responses", &body, &storing("cc")));
        let (mut stream, mut out) = (inbound.way_back.stream(), Vec::new());
        stream.push(fixture(&format!("chat/{name}.sse")), now(), &mut out);
        stream.finish(now(), &mut out);
        let stored = stream.take_stored();
        assert_eq!(stored.is_some(), kept, "{name}");
        assert!(stream.take_stored().is_none());
        if let Some(stored) = stored {
            let text = String::from_utf8(out.concat()).unwrap();
            assert!(text.contains(&stored.response));
            assert!(stored.input.contains("input_text"));
        }
    }
}

#[test]
fn input_items_are_paged() {
    let items: Vec<Value> =
        (0..30).map(|n| json!({"role": "user", "content": format!("m{n}")})).collect();
    let body = Bytes::from(json!({"model": "m", "input": items}).to_string());
    let inbound = infer(read("/v1/responses", &body, &storing("dd")));
    let (_, kept) =
        inbound.way_back.reply_and_keep(&fixture("chat/text.json"), (None, now())).ok().unwrap();
    let stored = kept.unwrap();
    let page = |query: &str| -> Value {
        serde_json::from_slice(&input_items(&stored, query).ok().unwrap().body).unwrap()
    };
    let first = page("");
    assert_eq!(first["data"].as_array().unwrap().len(), 20);
    assert_eq!((&first["first_id"], &first["has_more"]), (&json!("msg_dd_i29"), &json!(true)));
    let next = page(&format!("limit=20&after={}", first["last_id"].as_str().unwrap()));
    assert_eq!(next["data"].as_array().unwrap().len(), 10);
    assert_eq!((&next["last_id"], &next["has_more"]), (&json!("msg_dd_i0"), &json!(false)));
    assert_eq!(page("order=asc&limit=1")["data"][0]["content"][0]["text"], "m0");
    for wrong in ["limit=0", "limit=101", "limit=x", "order=up", "after=none"] {
        assert_eq!(input_items(&stored, wrong).err().unwrap().code, Code::InvalidValue);
    }
    let fault = not_stored("resp_\u{7}x", Some("previous_response_id"));
    assert_eq!(
        (fault.code, fault.message.contains('\u{7}')),
        (Code::PreviousResponseNotFound, false)
    );
}
