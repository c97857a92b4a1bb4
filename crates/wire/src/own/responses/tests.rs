use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::own::{Events, named};
use crate::providers::{Dialect, Provider};
use crate::target::VariantSettings;

fn target(model: Option<&str>, settings: VariantSettings) -> Target {
    let provider = Provider::by_name("openai").unwrap();
    Target { model: model.map(Arc::from), settings, ..Target::untouched(provider) }
}

fn plain() -> Target {
    target(None, VariantSettings::default())
}

fn sent(body: &str, target: &Target) -> Option<(String, Vec<String>)> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let asked = serde_json::from_slice::<Value>(&body).ok()?["model"].as_str()?.to_owned();
    let (pieces, losses) = request(Written(&body, None), &asked, target)?;
    let text = String::from_utf8(pieces.concat()).unwrap();
    Some((text, losses.into_iter().map(|loss| loss.field).collect()))
}

fn text(body: &str, target: &Target) -> String {
    sent(body, target).unwrap().0
}

#[test]
fn a_request_that_keeps_nothing_goes_as_it_was_written() {
    let body = r#"{ "model":"gpt-5.5", "store": false, "tools":[{"type":"web_search"}],"input":"hi","x":1e2 }"#;
    assert_eq!(text(body, &plain()), body);
}

#[test]
fn nothing_is_stored_at_the_vendors() {
    let stored = |body: &str| serde_json::from_str::<Value>(&text(body, &plain())).unwrap();
    for body in [
        r#"{"model":"gpt-4.1","input":"hi"}"#,
        r#"{"model":"gpt-4.1","input":"hi","store":null}"#,
        r#"{"model":"gpt-4.1","input":"hi","store": true}"#,
    ] {
        let sent = stored(body);
        assert_eq!(sent["store"], false, "{body}");
        assert_eq!(sent["include"], Value::Null, "a model that does not reason refuses it");
    }
}

#[test]
fn reasoning_is_asked_for_so_that_it_can_come_back() {
    const WANTED: &str = "reasoning.encrypted_content";
    let included = |body: &str| {
        serde_json::from_str::<Value>(&text(body, &plain())).unwrap()["include"].clone()
    };
    assert_eq!(included(r#"{"model":"gpt-5.5","input":"hi"}"#), json!([WANTED]));
    assert_eq!(included(r#"{"model":"o4-mini","input":"hi","include":[]}"#), json!([WANTED]));
    let more = r#"{"model":"gpt-5","input":"hi","include":["message.output_text.logprobs"]}"#;
    assert_eq!(included(more), json!(["message.output_text.logprobs", WANTED]));
    let there = format!(r#"{{"model":"gpt-5","input":"hi","include":["{WANTED}"]}}"#);
    assert_eq!(included(&there), json!([WANTED]));
    // Who says that nothing shall be stored knows what to ask for.
    assert_eq!(included(r#"{"model":"gpt-5","input":"hi","store":false}"#), Value::Null);
    for (model, does) in [
        ("o1", true),
        ("openai/o3-pro", true),
        ("gpt-5.5-codex", true),
        ("codex-mini-latest", true),
        ("ft:o4-mini:org::1", true),
        ("computer-use-preview", true),
        ("gpt-5-chat-latest", false),
        ("gpt-5.5-chat-latest", false),
        ("omni-moderation", false),
        ("gpt-4o", false),
    ] {
        assert_eq!(reasons(model), does, "{model}");
    }
}

#[test]
fn reasoning_that_the_vendor_could_not_read_is_left_out_and_told() {
    const GONE: &str = r#"{"type":"reasoning","id":"rs_1","summary":[]}"#;
    const READ: &str = r#"{"type":"reasoning","id":"rs_2","summary":[],"encrypted_content":"gA"}"#;
    const SAID: &str = r#"{"role":"user","content":"hi"}"#;
    let with = |items: &[&str]| {
        format!(r#"{{"model":"m","store":false,"input":[ {} ]}}"#, items.join(" , "))
    };
    for (items, left) in [
        (vec![GONE, SAID], vec![SAID]),
        (vec![SAID, GONE], vec![SAID]),
        (vec![SAID, GONE, GONE, READ, SAID], vec![SAID, READ, SAID]),
        (vec![GONE, GONE, SAID, GONE, SAID, GONE, GONE], vec![SAID, SAID]),
        (vec![GONE, READ], vec![READ]),
        (vec![GONE, GONE], vec![]),
        (vec![r#"{"type":"reasoning","encrypted_content":"","id":"rs_3"}"#, SAID], vec![SAID]),
        (vec![r#"{"type":"reasoning","encrypted_content":null}"#, SAID], vec![SAID]),
    ] {
        let (text, losses) = sent(&with(&items), &plain()).unwrap();
        let value: Value = serde_json::from_str(&text).unwrap();
        let kept: Vec<Value> = left.iter().map(|raw| serde_json::from_str(raw).unwrap()).collect();
        assert_eq!(value["input"], Value::from(kept), "{text}");
        assert_eq!(losses, ["input[].reasoning"]);
    }
    let (text, losses) = sent(&with(&[SAID, READ]), &plain()).unwrap();
    assert_eq!((text, losses.len()), (with(&[SAID, READ]), 0));
}

#[test]
fn what_is_ours_to_load_or_to_refuse_goes_by_conversion() {
    let goes = |members: &str| {
        sent(&format!(r#"{{"model":"m","input":"hi",{members}}}"#), &plain()).is_some()
    };
    for (members, does) in [
        (r#""previous_response_id":"resp_1""#, false),
        (r#""previous_response_id":null"#, true),
        (r#""conversation":"conv_1""#, false),
        (r#""prompt":{"id":"pmpt_1"}"#, false),
        (r#""background":true"#, false),
        (r#""background":false"#, true),
        (r#""api_base":"http://evil""#, false),
        (r#""metadata":{"id":"call_1_gts_AbC"}"#, false),
        (r#""tools":[{"type":"mcp","server_url":"https://a","server_label":"a"}]"#, true),
    ] {
        assert_eq!(goes(members), does, "{members}");
    }
    for item in [r#"{"type":"item_reference","id":"msg_1"}"#, r#"{"id":"msg_1"}"#] {
        let body = format!(r#"{{"model":"m","input":[{{"role":"user","content":"a"}},{item}]}}"#);
        assert!(sent(&body, &plain()).is_none(), "{item}");
    }
}

#[test]
fn a_variants_settings_stand_where_the_client_said_nothing() {
    let settings = VariantSettings {
        temperature: Some(0.5),
        top_p: Some(0.9),
        max_tokens: Some(100),
        seed: Some(7),
        ..VariantSettings::default()
    };
    let of = target(Some("gpt-4.1"), settings);
    let (text, losses) =
        sent(r#"{"model":"app","input":"hi","temperature":1,"top_p":null,"store":false}"#, &of)
            .unwrap();
    let value: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(value["model"], "gpt-4.1");
    assert_eq!((&value["temperature"], &value["top_p"]), (&json!(1), &json!(0.9)));
    assert_eq!(value["max_output_tokens"], 100);
    assert_eq!(losses, ["variant.seed"]);
    let stops = VariantSettings { stop: vec!["END".to_owned()], ..VariantSettings::default() };
    assert!(sent(r#"{"model":"app","input":"hi"}"#, &target(None, stops)).is_none());
}

fn mint() -> Mint {
    Mint { id: "resp_ours".to_owned(), model: "app".into(), created: 7 }
}

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"sequence_number\":0,\"response\":{ \"id\":\"resp_v\", \"object\":\"response\",\"created_at\":1.5,\"model\":\"gpt-5\",\"output\":[]}}\n\n";
const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"sequence_number\":4,\"item_id\":\"msg_v\",\"delta\":\"\\\"object\\\":\\\"id\\\"\"}\n\n";

#[test]
fn names_are_ours_where_they_stand_and_nowhere_else() {
    let whole = r#"{"id":"resp_v","object":"response","created_at":1,"model":"gpt-5","output":[{"id":"msg_1"}]}"#;
    let new = String::from_utf8(named(Dialect::OpenAi, whole, &mint()).unwrap()).unwrap();
    let wanted = r#"{"id":"resp_ours","object":"response","created_at":7,"model":"app","output":[{"id":"msg_1"}]}"#;
    assert_eq!(new, wanted);
    let events = Events::new(Dialect::OpenAi, Some(mint()));
    let created = events.for_client(Bytes::from_static(CREATED.as_bytes())).unwrap();
    let wanted = CREATED
        .replace("resp_v", "resp_ours")
        .replace("\"gpt-5\"", "\"app\"")
        .replace("\"created_at\":1.5", "\"created_at\":7");
    assert_eq!(created, wanted.as_bytes());
    let delta = events.for_client(Bytes::from_static(DELTA.as_bytes())).unwrap();
    assert_eq!(delta, DELTA.as_bytes());
}

#[test]
fn events_are_the_same_wherever_the_stream_is_cut() {
    let stream = [CREATED, ": keep-alive\n\n", DELTA].concat();
    for names in [None, Some(mint())] {
        let through = |frames: &[&[u8]]| {
            let mut events = Events::new(Dialect::OpenAi, names.clone());
            let mut out = Vec::new();
            for frame in frames {
                for event in events.cut(Bytes::copy_from_slice(frame)) {
                    out.extend(events.for_client(event));
                }
            }
            out.extend(events.rest());
            out.concat()
        };
        let whole = through(&[stream.as_bytes()]);
        if names.is_none() {
            assert_eq!(whole, stream.as_bytes());
        }
        for at in 0..stream.len() {
            let (first, second) = stream.as_bytes().split_at(at);
            assert_eq!(through(&[first, second]), whole, "{at}");
        }
    }
}

/// A request with members that are written over and others.
fn requests() -> impl Strategy<Value = Value> {
    let word = "[a-z\"\\\\{}\\[\\],: ]{0,8}";
    let item = prop_oneof![
        word.prop_map(|text| json!({"role": "user", "content": text})),
        word.prop_map(|text| json!({"type": "reasoning", "id": "rs_1", "summary": [], "x": text})),
        word.prop_map(|text| json!({"type": "reasoning", "encrypted_content": format!("g{text}")})),
        word.prop_map(|text| json!({"type": "web_search_call", "id": "ws_1", "action": text})),
    ];
    let input = prop_oneof![
        word.prop_map(Value::from),
        proptest::collection::vec(item, 0..6).prop_map(Value::from)
    ];
    let store = prop_oneof![
        Just(None),
        Just(Some(json!(null))),
        any::<bool>().prop_map(|b| Some(json!(b)))
    ];
    let include = prop_oneof![Just(None), Just(Some(json!([]))), Just(Some(json!(["a"])))];
    let model = prop_oneof![Just("gpt-5"), Just("gpt-4o")];
    (input, store, include, model, word).prop_map(|(input, store, include, model, text)| {
        let mut value = json!({"model": model, "input": input, "tools": [{"type": text}]});
        for (key, member) in [("store", store), ("include", include)] {
            if let Some(member) = member {
                value[key] = member;
            }
        }
        value
    })
}

proptest! {
    #[test]
    fn every_other_member_is_as_it_was(value in requests()) {
        let (text, losses) = sent(&value.to_string(), &plain()).unwrap();
        let new: Value = serde_json::from_str(&text).unwrap();
        let mut wanted = value.clone();
        wanted["store"] = json!(false);
        if let Some(items) = wanted["input"].as_array_mut() {
            let before = items.len();
            items.retain(|item| item["type"] != "reasoning" || item["encrypted_content"].is_string());
            prop_assert_eq!(losses.len(), usize::from(items.len() < before));
        }
        if value["store"] != false && value["model"] == "gpt-5" {
            let mut include = value["include"].as_array().cloned().unwrap_or_default();
            include.push(json!("reasoning.encrypted_content"));
            wanted["include"] = Value::from(include);
        }
        prop_assert_eq!(new, wanted);
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80), text in "[{}\\[\\]\",:a-z]{0,60}") {
        let _ = request(Written(&Bytes::from(bytes), None), "m", &plain());
        let body = format!("{{\"input\":{text}}}");
        let _ = request(Written(&Bytes::from(body), None), "m", &plain());
        let _ = named(Dialect::OpenAi, &text, &mint());
    }
}
