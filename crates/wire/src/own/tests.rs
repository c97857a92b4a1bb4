use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::Provider;
use crate::target::VariantSettings;

fn target(provider: &str, model: Option<&str>, settings: VariantSettings) -> Target {
    Target {
        model: model.map(Arc::from),
        settings,
        ..Target::untouched(Provider::by_name(provider).unwrap())
    }
}

fn sent(body: &str, target: &Target) -> Option<String> {
    let pieces = request(Written(&Bytes::from(body.to_owned()), None), "asked", target)?;
    Some(String::from_utf8(pieces.concat()).unwrap())
}

#[test]
fn nothing_is_changed_where_nothing_must_be() {
    let gemini = target("gemini", Some("gemini-3-pro"), VariantSettings::default());
    let body = r#" { "contents" : [{"parts":[{"text":"\u00e9","thoughtSignature":"A"}]}],
        "generation_config":{"top_k":4,"candidateCount":2},"safetySettings":[],"x-unknown":1e400 }"#;
    assert_eq!(sent(body, &gemini).as_deref(), Some(body));
    let whole = Bytes::from(body.to_owned());
    let pieces = request(Written(&whole, None), "asked", &gemini).unwrap();
    assert_eq!((pieces.len(), pieces[0].as_ptr()), (1, whole.as_ptr()));
    let claude = target("anthropic", None, VariantSettings::default());
    let body = r#"{"model":"asked","top_k":5,"messages":[],"container":null}"#;
    assert_eq!(sent(body, &claude).as_deref(), Some(body));
}

#[test]
fn the_model_is_named_as_the_upstream_knows_it() {
    let gemini = target("gemini", Some("gemini-embedding-001"), VariantSettings::default());
    let body = r#"{"requests":[{"model":"models/asked","content":{}},{"content":{}}]}"#;
    let wanted = body.replace("models/asked", "models/gemini-embedding-001");
    assert_eq!(sent(body, &gemini), Some(wanted));
    let claude = target("anthropic", Some("claude-x"), VariantSettings::default());
    let body = r#"{"max_tokens":1, "model": "asked" ,"messages":[]}"#;
    assert_eq!(sent(body, &claude), Some(body.replace("asked", "claude-x")));
}

#[test]
fn a_variants_defaults_stand_where_the_client_says_nothing() {
    let settings = VariantSettings {
        temperature: Some(0.5),
        top_p: Some(0.9),
        max_tokens: Some(7),
        seed: Some(3),
        ..VariantSettings::default()
    };
    let gemini = target("gemini", None, settings.clone());
    for (config, wanted) in [
        (None, json!({"temperature":0.5,"topP":0.9,"maxOutputTokens":7,"seed":3})),
        (Some("{}"), json!({"temperature":0.5,"topP":0.9,"maxOutputTokens":7,"seed":3})),
        (Some("null"), json!({"temperature":0.5,"topP":0.9,"maxOutputTokens":7,"seed":3})),
        (
            Some(r#"{"top_p":null,"seed":4}"#),
            json!({"temperature":0.5,"top_p":0.9,"maxOutputTokens":7,"seed":4}),
        ),
        (
            Some(r#"{"top_p":1,"topK":2}"#),
            json!({"temperature":0.5,"top_p":1,"topK":2,"maxOutputTokens":7,"seed":3}),
        ),
    ] {
        let config = config.map_or_else(String::new, |c| format!(r#","generationConfig":{c}"#));
        let sent = sent(&format!(r#"{{"contents":[]{config}}}"#), &gemini).unwrap();
        let sent: Value = serde_json::from_str(&sent).unwrap();
        assert_eq!(sent, json!({"contents": [], "generationConfig": wanted}));
    }
    let claude = target("anthropic", None, settings);
    let body = sent(r#"{"model":"asked","max_tokens":1}"#, &claude).unwrap();
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!(body, json!({"model":"asked","max_tokens":1,"temperature":0.5}), "one of two");
    // What Anthropic would refuse beside the client's own words.
    for body in [
        r#"{"model":"asked","thinking":{"type":"enabled","budget_tokens":1024},"max_tokens":2000}"#,
        r#"{"model":"asked","thinking":{"type":"adaptive"},"max_tokens":2000}"#,
        r#"{"model":"asked","max_tokens":1,"top_p":0.1}"#,
        r#"{"model":"asked","max_tokens":1,"temperature":0}"#,
    ] {
        assert_eq!(sent(body, &claude).as_deref(), Some(body));
        let lost = left_out(&Bytes::from_static(body.as_bytes()), &claude);
        let says = |name: &str| body.contains(&format!("\"{name}\""));
        let wanted: Vec<&str> =
            ["temperature", "top_p"].into_iter().filter(|name| !says(name)).collect();
        let fields: Vec<&str> =
            lost.iter().filter_map(|loss| loss.field.strip_prefix("variant.")).collect();
        assert_eq!(fields, wanted, "{body}");
    }
    let off = r#"{"model":"asked","max_tokens":1,"thinking":{"type":"disabled"}}"#;
    assert!(sent(off, &claude).unwrap().contains("\"temperature\":0.5"));
}

#[test]
fn what_needs_the_conversion_goes_that_way() {
    let plain = target("gemini", Some("gemini-3-pro"), VariantSettings::default());
    for body in [
        r#"{"contents":[],"api_base":"http://x"}"#,
        r#"{"contents":[{"parts":[{"functionCall":{"id":"a_gts_b"},"thoughtSignature":"A"}]}]}"#,
        // A call that another upstream made.
        r#"{"contents":[{"parts":[{"text":"a"},{"functionCall":{}}]}]}"#,
        r#"{"contents":[{"parts":[{"functio\u006eCall":{}}]}]}"#,
        "[]",
    ] {
        assert_eq!(sent(body, &plain), None, "{body}");
    }
    // The second call of a turn is not signed, and older models sign none.
    let parallel = r#"{"contents":[{"parts":[{"function_call":{},"thought_signature":"A"},{"functionCall":{}}]}]}"#;
    assert_eq!(sent(parallel, &plain).as_deref(), Some(parallel));
    let older = target("gemini", Some("models/gemini-2.5-pro"), VariantSettings::default());
    let unsigned = r#"{"contents":[{"parts":[{"functionCall":{}}]}]}"#;
    assert_eq!(sent(unsigned, &older).as_deref(), Some(unsigned));
    let stops = VariantSettings { stop: vec!["x".into()], ..VariantSettings::default() };
    assert_eq!(sent(r#"{"contents":[]}"#, &target("gemini", None, stops)), None);
    let claude = target("anthropic", None, VariantSettings::default());
    let made_here = r#"{"messages":[{"content":[{"type":"thinking","signature":"cutover"}]}]}"#;
    assert_eq!(sent(made_here, &claude), None);
    let unsigned = r#"{"messages":[{"content":[{"type":"thinking","signature" : ""}]}]}"#;
    assert_eq!(sent(unsigned, &claude), None);
    let quoted = r#"{"messages":[{"content":"his \"signature\": \"\" is missing"}]}"#;
    assert_eq!(sent(quoted, &claude).as_deref(), Some(quoted));
    assert_eq!(sent("{}", &target("openai", None, VariantSettings::default())), None);
}

fn mint() -> Mint {
    Mint { id: "ours".into(), model: "asked".into(), created: 1 }
}

#[test]
fn names_alone_are_replaced_in_an_answer() {
    let named = |dialect, text: &str| {
        named(dialect, text, &mint()).map(|text| String::from_utf8(text).unwrap())
    };
    let text =
        r#"{"candidates":[{"avgLogprobs":-1.50}],"modelVersion": "gemini-3","responseId":"r"}"#;
    let wanted =
        r#"{"candidates":[{"avgLogprobs":-1.50}],"modelVersion": "asked","responseId":"ours"}"#;
    assert_eq!(named(Dialect::Gemini, text).as_deref(), Some(wanted));
    assert_eq!(named(Dialect::Gemini, r#"{"candidates":[]}"#), None);
    let text = r#"{"type":"message_start","message":{"id":"m","model":"c","content":[]}}"#;
    let wanted = r#"{"type":"message_start","message":{"id":"ours","model":"asked","content":[]}}"#;
    assert_eq!(named(Dialect::Anthropic, text).as_deref(), Some(wanted));
}

#[test]
fn events_pass_one_by_one_however_they_come() {
    const STREAM: &[u8] =
        b": hi\r\n\r\ndata: {\"modelVersion\":\"m\",\"a\":1.50}\r\n\r\nevent: x\ndata: {}\n\ndata: {}";
    const WANTED: &[u8] =
        b"data: {\"modelVersion\":\"asked\",\"a\":1.50}\r\n\r\nevent: x\ndata: {}\n\ndata: {}\n\n";
    for step in [1, 7, STREAM.len()] {
        for (names, wanted) in
            [(Some(mint()), WANTED.to_vec()), (None, [&STREAM[8..], b"\n\n"].concat())]
        {
            let mut events = Events::new(Dialect::Gemini, names);
            let mut all: Vec<Bytes> = Vec::new();
            for frame in STREAM.chunks(step) {
                all.extend(events.cut(Bytes::copy_from_slice(frame)));
            }
            all.extend(events.rest());
            assert_eq!(all.len(), 4);
            let passed: Vec<Bytes> = all.into_iter().filter_map(|e| events.for_client(e)).collect();
            assert_eq!(passed.concat(), wanted);
        }
    }
}

proptest! {
    #[test]
    fn no_body_makes_it_panic_and_an_edited_one_is_json(
        text in "[\\[{\"a\\\\,:é contents model generationConfig}\\]]{0,60}"
    ) {
        let settings = VariantSettings { seed: Some(1), ..VariantSettings::default() };
        for provider in ["gemini", "anthropic"] {
            let target = target(provider, Some("m"), settings.clone());
            let sound = serde_json::from_str::<Value>(&text).is_ok();
            if let Some(sent) = sent(&text, &target) {
                prop_assert!(!sound || serde_json::from_str::<Value>(&sent).is_ok(), "{}", sent);
            }
            let _ = named(target.provider.dialect, &text, &mint());
        }
    }
}

#[test]
fn what_is_the_operators_to_say_goes_by_conversion() {
    let claude = target("anthropic", None, VariantSettings::default());
    for (more, passes) in [
        (r#""container":"container_01""#, false),
        (r#""container":{"id":"container_01","skills":[]}"#, false),
        (r#""contain\u0065r":"container_01""#, false),
        (r#""container":{"skills":[{"type":"custom","skill_id":"skill_01"}]}"#, false),
        (r#""container":{"skills":[{"type":"anthropic","skill_id":"pptx"}],"id":null}"#, true),
        (r#""thread":{"id":"t"}"#, false),
        (r#""inference_geo":"us""#, false),
        (r#""inference_geo":null,"thread":null"#, true),
        (r#""user_profile_id":"u""#, false),
        (r#""workspace_id":"w""#, false),
        (r#""speed":"fast","service_tier":"auto""#, true),
    ] {
        let body = format!(r#"{{"model":"asked","messages":[],{more}}}"#);
        assert_eq!(sent(&body, &claude).is_some(), passes, "{more}");
    }
    let gemini = target("gemini", Some("gemini-3-pro"), VariantSettings::default());
    for (tools, passes) in [
        (r#"[{"googleSearch":{}}]"#, true),
        (r#"[{"googleSearch":{}},{"fileSearch":{"fileSearchStoreNames":["a"]}}]"#, false),
        (r#"[{"file_search":{"file_search_store_names":["a"]}}]"#, false),
    ] {
        let body = format!(r#"{{"contents":[],"tools":{tools}}}"#);
        assert_eq!(sent(&body, &gemini).is_some(), passes, "{tools}");
    }
}
