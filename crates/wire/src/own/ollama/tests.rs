use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::stream::{Limits, Tap};
use crate::target::{Capabilities, OllamaSettings, Think, VariantSettings};
use crate::{Provider, Received, read_reply};

fn target(model: Option<&str>, settings: VariantSettings) -> Target {
    Target {
        model: model.map(Arc::from),
        settings,
        ..Target::untouched(Provider::by_name("ollama").unwrap())
    }
}

fn plain() -> Target {
    target(None, VariantSettings::default())
}

/// What the conversion makes of a request, as far as it matters here.
fn converted(path: &str, stream: bool) -> Bytes {
    let mut body = json!({"model": "asked", "stream": stream, "messages": []});
    if path == EMBED {
        body = json!({"model": "asked", "input": "a"});
    }
    Bytes::from(body.to_string())
}

fn sent_to(path: &'static str, body: &str, target: &Target) -> Option<Outgoing> {
    let chat = converted(path, true);
    let endpoint = if path == EMBED { Endpoint::Embeddings } else { Endpoint::ChatCompletions };
    let head = Head::read(endpoint, &chat).unwrap();
    outgoing((Written(&Bytes::from(body.to_owned()), None), path), (&head, &chat), target)
}

fn text_of(outgoing: &Outgoing) -> String {
    String::from_utf8(outgoing.body.concat()).unwrap()
}

fn sent(body: &str, target: &Target) -> Option<String> {
    sent_to("/api/chat", body, target).map(|sent| text_of(&sent))
}

fn lost(outgoing: &Outgoing) -> Vec<&str> {
    outgoing.losses.iter().map(|loss| loss.field.as_str()).collect()
}

#[test]
fn what_the_client_wrote_passes_but_for_what_is_the_operators() {
    let body = r#" {"model" : "asked","messages":[{"role":"user","content":"h\u0069","images":["iVBOR"]}],
  "options": { "top_k":4, "mirostat" : 2,"x_new":1e400 , "num_ctx":9, "temperature": 0.50}, "think":"max",
  "format":{"type":"object"}, "somethingnew": {"a": 1e2}, "keep_alive" : "2h" , "truncate":true} "#;
    let outgoing = sent_to("/api/chat", body, &plain()).unwrap();
    let wanted = body
        .replacen('{', r#"{"shift":false,"#, 1)
        .replace(r#" , "num_ctx":9"#, "")
        .replace(r#", "keep_alive" : "2h""#, "")
        .replace(r#""truncate":true"#, r#""truncate":false"#);
    assert_eq!(text_of(&outgoing), wanted);
    assert_eq!(outgoing.path, "/api/chat");
    assert_eq!(lost(&outgoing), ["truncate", "keep_alive", "options.num_ctx"]);
    assert!(outgoing.reply.own && outgoing.reply.must_be_whole);
}

#[test]
fn one_context_length_and_the_variants_words_are_sent() {
    let settings = VariantSettings {
        temperature: Some(0.5),
        top_p: Some(0.9),
        max_tokens: Some(7),
        seed: Some(3),
        ollama: OllamaSettings {
            num_ctx: Some(8192),
            keep_alive: Some("3600".into()),
            think: Some(Think::Low),
            truncate: true,
            ..OllamaSettings::default()
        },
        ..VariantSettings::default()
    };
    let ours = target(Some("qwen3:8b"), settings);
    for (options, wanted) in [
        (None, json!({"num_ctx":8192,"temperature":0.5,"top_p":0.9,"num_predict":7,"seed":3})),
        (
            Some("null"),
            json!({"num_ctx":8192,"temperature":0.5,"top_p":0.9,"num_predict":7,"seed":3}),
        ),
        (
            Some(r#"{"num_ctx":4,"temperature":null,"top_p":1,"num_predict":-1,"seed":4}"#),
            json!({"num_ctx":8192,"temperature":0.5,"top_p":1,"num_predict":-1,"seed":4}),
        ),
        (
            Some(r#"{"num_gpu":9,"num_thread":1}"#),
            json!({"num_ctx":8192,"temperature":0.5,"top_p":0.9,"num_predict":7,"seed":3}),
        ),
    ] {
        let options = options.map_or_else(String::new, |raw| format!(r#","options":{raw}"#));
        let body = format!(r#"{{"model":"asked","messages":[],"keep_alive":0{options}}}"#);
        let sent: Value = serde_json::from_str(&sent(&body, &ours).unwrap()).unwrap();
        let wanted = json!({"model": "qwen3:8b", "messages": [], "keep_alive": 3600,
            "truncate": true, "shift": false, "think": "low", "options": wanted});
        assert_eq!(sent, wanted, "{body}");
    }
    let embed = sent_to(EMBED, r#"{"model":"asked","input":["a"],"options":{"seed":1}}"#, &ours);
    let sent: Value = serde_json::from_str(&text_of(&embed.unwrap())).unwrap();
    assert_eq!(
        sent,
        json!({"model": "qwen3:8b", "input": ["a"], "keep_alive": 3600, "truncate": true,
            "options": {"seed": 1, "num_ctx": 8192}})
    );
    // A model that others ask the upstream for is pinned, too; who says what is sent has lost nothing.
    let pins: Arc<[(String, u32)]> = [("asked:latest".to_owned(), 4096)].into();
    let ollama = OllamaSettings { pins, ..OllamaSettings::default() };
    let pinned = target(None, VariantSettings { ollama, ..VariantSettings::default() });
    let body = r#"{"model":"asked","shift":false,"truncate":false,"options":{"num_ctx":4096}}"#;
    let outgoing = sent_to("/api/generate", body, &pinned).unwrap();
    assert_eq!((text_of(&outgoing).as_str(), lost(&outgoing)), (body, vec![]));
    assert_eq!(outgoing.body.len(), 1, "the very same bytes");
}

#[test]
fn what_needs_the_conversion_goes_that_way() {
    let goes = |body: &str, target: &Target| sent(body, target).is_some();
    for body in [
        r#"{"messages":[],"api_base":"http://x"}"#,
        // Ollama reads names in any case, and the last one counts.
        r#"{"model":"asked","Model":"another"}"#,
        r#"{"model":"asked","TRUNCATE":true}"#,
        "{\"model\":\"asked\",\"op\u{17f}\":1}",
        r#"{"model":"asked","\u212aeep_alive":"1h"}"#,
        r#"{"model":"asked","_debug_render_only":true}"#,
        r#"{"messages":[{"tool_calls":[{"id":"a_gts_b"}]}]}"#,
        r#"{"top_logprobs":-1}"#,
        "[]",
    ] {
        assert!(!goes(body, &plain()), "{body}");
    }
    let stops = VariantSettings { stop: vec!["x".into()], ..VariantSettings::default() };
    assert!(!goes("{}", &target(None, stops)));
    let can = Capabilities { tools: Some(false), images: None };
    let toolless = Target { capabilities: can, ..plain() };
    assert!(!goes(r#"{"tools":[{"type":"function"}]}"#, &toolless));
    assert!(goes(r#"{"tools":[]}"#, &toolless));
    let chat = Bytes::from_static(br#"{"model":"m","messages":[],"max_completion_tokens":0}"#);
    let head = Head::read(Endpoint::ChatCompletions, &chat).unwrap();
    let none = (&Bytes::from_static(b"{}"), "/api/chat");
    assert!(
        outgoing((Written(none.0, None), none.1), (&head, &chat), &plain()).is_none(),
        "no tokens is no limit there"
    );
}

#[test]
fn a_prompts_bytes_are_those_of_its_text() {
    let bytes = |path, body| sent_to(path, body, &plain()).unwrap().reply.prompt_bytes;
    let chat =
        r#"{"messages":[{"role":"system","content":"ab"},{"content":"c","images":["xyz"]},{}]}"#;
    assert_eq!(bytes("/api/chat", chat), 3);
    assert_eq!(bytes("/api/generate", r#"{"prompt":"abc","system":"d","context":[1,2]}"#), 4);
    assert_eq!(bytes(EMBED, r#"{"input":"abc"}"#), 3);
    assert_eq!(bytes(EMBED, r#"{"input":["abc","de"]}"#), 5);
}

const LINES: &str = concat!(
    r#"{"model":"theirs","created_at":"2026-11-21T08:42:10.04015733Z","message":{"role":"assistant","content":"na\u00efve "},"done":false}"#,
    "\n",
    r#"{"model":"theirs","created_at":"x","message":{"role":"assistant","content":"","thinking":"hm","x-new":1.50},"done":false}"#,
    "\n\r\n",
    r#"{ "model" : "theirs","message":{"content":"é"},"done":true,"done_reason":"stop","total_duration":5,"prompt_eval_count":3,"eval_count":2}"#,
    "\n",
);

fn plan_of(body: &str, names: bool) -> ReplyPlan {
    let target = Target { mint: names, ..plain() };
    sent_to("/api/chat", body, &target).unwrap().reply
}

fn mint() -> Mint {
    Mint { id: "chatcmpl-1".into(), model: "app".into(), created: 1 }
}

/// What a stream that comes in these frames becomes, and how it ended.
fn passed(frames: &[&[u8]], plan: &ReplyPlan) -> (String, bool) {
    let mut tap = Tap::new(plan.clone(), mint(), Limits::default());
    let (mut own, mut out) = (Vec::new(), Vec::new());
    let mut result = Ok(());
    for frame in frames {
        result = result.and_then(|()| tap.push(Bytes::copy_from_slice(frame), &mut out));
        own.extend(tap.take_own().unwrap());
    }
    let result = result.and_then(|()| tap.finish(&mut out));
    own.extend(tap.take_own().unwrap());
    (String::from_utf8(own.concat()).unwrap(), result.is_ok())
}

#[test]
fn lines_pass_as_they_came_wherever_they_are_cut() {
    for names in [true, false] {
        let plan = plan_of("{}", names);
        let mut wanted = LINES.replace("\n\r\n", "\n");
        if names {
            wanted = wanted.replace("theirs", "app");
        }
        for cut in 0..LINES.len() {
            let (before, after) = LINES.as_bytes().split_at(cut);
            assert_eq!(passed(&[before, after], &plan), (wanted.clone(), true), "{cut}");
        }
        let single: Vec<&[u8]> = LINES.as_bytes().chunks(1).collect();
        assert_eq!(passed(&single, &plan), (wanted.clone(), true));
        // Without its last line feed it is whole; without its last line it is not.
        let unended = LINES.trim_end().as_bytes();
        assert_eq!(passed(&[unended], &plan), (wanted.clone(), true));
        for end in 0..unended.len() {
            let (text, well) = passed(&[&unended[..end]], &plan);
            assert!(!well && wanted.starts_with(&text), "{end}: {text}");
        }
    }
}

#[test]
fn an_error_never_passes_and_nothing_follows_the_end() {
    let plan = plan_of("{}", true);
    let first = LINES.split_inclusive('\n').next().unwrap();
    let broken = format!("{first}{{\"error\":\"unexpected EOF\"}}\n{LINES}");
    assert_eq!(passed(&[broken.as_bytes()], &plan), (first.replace("theirs", "app"), false));
    let (all, _) = passed(&[LINES.as_bytes()], &plan);
    let more = format!("{LINES}{LINES}{{\"error\":\"x\"}}\n");
    assert_eq!(passed(&[more.as_bytes()], &plan), (all, true));
}

#[test]
fn an_answer_to_a_part_of_the_prompt_does_not_end_well() {
    let long =
        format!(r#"{{"messages":[{{"role":"user","content":"{}"}}]}}"#, "abcdef".repeat(999));
    let plan = plan_of(&long, true);
    let (text, well) = passed(&[LINES.as_bytes()], &plan);
    assert!(!well && !text.contains("done_reason"), "{text}");
}

const TOOLS: &str = r#"{"tools":[{"type":"function","function":{"name":"get"}}]}"#;

fn said(texts: &[&str]) -> String {
    let lines = texts.iter().map(|text| {
        let message = json!({"role": "assistant", "content": text});
        format!("{}\n", json!({"model": "theirs", "message": message, "done": false}))
    });
    let last =
        json!({"model": "theirs", "message": {"content": ""}, "done": true, "eval_count": 1});
    lines.chain([format!("{last}\n")]).collect()
}

#[test]
fn a_call_in_the_text_becomes_a_call_and_any_other_text_passes_late() {
    let plan = plan_of(TOOLS, true);
    assert_eq!(plan.spoken_tools[..], ["get".to_owned()]);
    let stream = said(&["{\"name\": \"get\", ", "\"arguments\": {\"a\":1}}"]);
    let (text, well) = passed(&[stream.as_bytes()], &plan);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let call =
        json!({"id": "call_1_0", "function": {"index": 0, "name": "get", "arguments": {"a": 1}}});
    assert!(well);
    assert_eq!(
        lines[0]["message"],
        json!({"role": "assistant", "content": "", "tool_calls": [call]})
    );
    assert_eq!((&lines[0]["model"], &lines[0]["done"]), (&json!("app"), &json!(false)));
    assert_eq!(lines.last().unwrap()["done"], true);
    assert!(lines.iter().all(|line| line["message"]["content"] == ""), "{text}");
    for other in [&["{\"name\": \"get\", ", "no"][..], &["Hi ", "there"], &["{"]] {
        let stream = said(other);
        let (text, well) = passed(&[stream.as_bytes()], &plan);
        assert_eq!((text, well), (stream.replace("theirs", "app"), true), "{other:?}");
    }
    // Where a form was asked for, it is the answer.
    let formed = plan_of(&TOOLS.replacen('{', r#"{"format":"json","#, 1), true);
    assert!(formed.spoken_tools.is_empty());
}

#[test]
fn a_whole_answer_passes_with_the_clients_name_of_the_model() {
    let text = r#"{ "model":"theirs", "message" : {"role":"assistant","content":"a"}, "context":[1], "done":true,"x":1.50,"prompt_eval_count":3,"eval_count":2 }"#;
    let body = Bytes::from_static(text.as_bytes());
    let plan = ReplyPlan { stream: false, ..plan_of(TOOLS, true) };
    assert_eq!(answer(&plan, &mint(), &body), text.replace("theirs", "app"));
    let unnamed = ReplyPlan { mint: false, ..plan.clone() };
    assert_eq!(answer(&unnamed, &mint(), &body).as_ptr(), body.as_ptr());
    let spoken = text.replace("\"a\"", r#""{\"name\":\"get\",\"arguments\":{}}""#);
    let wanted = text.replace("theirs", "app").replace(
        "\"a\"",
        r#""","tool_calls":[{"id":"call_1_0","function":{"index":0,"name":"get","arguments":{}}}]"#,
    );
    assert_eq!(answer(&plan, &mint(), &Bytes::from(spoken)), wanted);
    let reply = read_reply(&plan, &mint(), Received::new(200, body)).unwrap();
    assert_eq!(reply.usage.map(|usage| usage.prompt_tokens), Some(3));
}

proptest! {
    /// Only what is named is different, and the rest has its bytes.
    #[test]
    fn nothing_but_the_operators_keys_is_changed(
        mut members in proptest::collection::vec(
            prop_oneof![
                Just(r#""keep_alive" : "5m""#), Just(r#""truncate":true"#), Just("\"shift\" :true"),
                Just(r#""prompt":"\u00e9{,}""#), Just(r#""context":[1, 2]"#), Just(r#""new_1":1e400"#),
                Just(r#""options" : {"num_ctx" :1 , "top_k":2}"#), Just(r#""options":{"num_gpu":1}"#),
                Just(r#""options":{ }"#), Just(r#""options":{"num_gpu":1 ,"num_thread":2, "min_p" : 0.10}"#),
            ], 0..8),
        space in "[ \n]{0,2}",
        kept in any::<bool>(),
        settings in any::<bool>(),
    ) {
        let name = |member: &str| member.split('"').nth(1).unwrap_or_default().to_owned();
        let mut seen = Vec::new();
        members.retain(|member| {
            let new = !seen.contains(&name(member));
            seen.push(name(member));
            new
        });
        members.insert(members.len() / 2, r#""model":"asked""#);
        let body = format!("{space}{{{space}{}{space}}}", members.join(&format!("{space},{space}")));
        let ollama = OllamaSettings {
            keep_alive: kept.then(|| "1h".into()),
            num_ctx: settings.then_some(512),
            ..OllamaSettings::default()
        };
        let temperature = settings.then_some(0.5);
        let ours = target(None, VariantSettings { temperature, ollama, ..VariantSettings::default() });
        let sent = sent(&body, &ours).unwrap();
        let now: Members<'_> = Members::of(&sent).unwrap();
        let was: Members<'_> = Members::of(&body).unwrap();
        for (key, raw) in &was.0 {
            let there = now.0.iter().filter(|(name, _)| name == key).map(|(_, raw)| *raw);
            let there: Vec<&str> = there.collect();
            match &**key {
                "keep_alive" => prop_assert_eq!(there, if kept { vec!["\"1h\""] } else { vec![] }),
                "truncate" | "shift" => prop_assert_eq!(there, ["false"]),
                "options" => {
                    let options: Value = serde_json::from_str(there[0]).unwrap();
                    let before: Value = serde_json::from_str(raw).unwrap();
                    for name in ["top_k", "min_p"] {
                        prop_assert_eq!(options.get(name), before.get(name));
                    }
                    let num_ctx = settings.then(|| json!(512));
                    prop_assert_eq!(options.get("num_ctx"), num_ctx.as_ref());
                    prop_assert!(options.get("num_gpu").is_none() && options.get("num_thread").is_none());
                }
                _ => prop_assert_eq!(there, [*raw]),
            }
        }
    }

    #[test]
    fn no_body_makes_it_panic_and_an_edited_one_is_json(
        text in "[\\[{\"a\\\\,:é options num_ctx messages content tools}\\]]{0,60}"
    ) {
        let sound = serde_json::from_str::<Value>(&text).is_ok();
        if let Some(sent) = sent(&text, &plain()) {
            prop_assert!(!sound || serde_json::from_str::<Value>(&sent).is_ok(), "{}", sent);
        }
        let _ = answer(&plan_of(TOOLS, true), &mint(), &Bytes::from(text));
    }
}
