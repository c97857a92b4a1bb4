use super::*;
use crate::framing::{Example, Framing};
use crate::target::VariantSettings;
use proptest::prelude::*;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

fn provider(name: &str) -> &'static Provider {
    Provider::by_name(name).expect(name)
}

fn target(name: &str) -> Target {
    Target::untouched(provider(name))
}

fn send(body: &str, target: &Target) -> Result<(Value, Outgoing), Fault> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let head = Head::read(Endpoint::ChatCompletions, &body)?;
    let out = adapt(&head, &body, target)?;
    let value = serde_json::from_slice(&out.body.concat()).expect("valid JSON");
    Ok((value, out))
}

const HI: &str = r#"{"model":"gpt","messages":[{"role":"user","content":"hi"}]}"#;

#[test]
fn an_untouched_request_is_the_clients_own_bytes() {
    for name in ["openai", "openai-compatible", "vllm", "llamacpp", "embedded"] {
        let body = Bytes::from(HI);
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        let out = adapt(&head, &body, &target(name)).unwrap();
        assert_eq!(out.body.len(), 1);
        assert_eq!(out.body[0].as_ptr(), body.as_ptr(), "{name}: not even copied");
        assert_eq!(out.body[0], body);
        assert_eq!(out.path, "/v1/chat/completions");
    }
}

/// An engine that drops what it does not know would answer `grammar` with free text, and 200.
#[test]
fn what_the_embedded_engine_does_not_know_is_refused_by_name_or_reported() {
    let with = |field: &str| format!(r#"{{{field},"model":"gpt","messages":[]}}"#);
    let strict = Target { unsupported: Unsupported::Strict, ..target("embedded") };
    let lenient = Target { unsupported: Unsupported::Lenient, ..target("embedded") };
    for (name, raw) in [
        ("grammar", "\"root ::= x\""),
        ("ignore_eos", "true"),
        ("min_tokens", "3"),
        ("think", "true"),
        ("best_of", "2"),
        ("echo", "true"),
        ("max_tokns", "4"),
        ("frobnicate", "{\"a\":[1]}"),
    ] {
        let field = format!("\"{name}\" : {raw}");
        let fault = send(&with(&field), &strict).map(|_| name).unwrap_err();
        assert_eq!(fault.code, Code::UnsupportedParameter, "{name}");
        assert_eq!(fault.param.as_deref(), Some(name));
        let (sent, out) = send(&with(&field), &lenient).unwrap();
        assert!(sent.get(name).is_none(), "{sent}");
        assert_eq!(out.losses[0].field, name);
        assert_eq!(out.losses[0].label(), "unknown", "clients do not name series");
        // Asking for nothing is no wish.
        assert!(send(&with(&format!("\"{name}\":null")), &strict).unwrap().1.losses.is_empty());
        // Others act on it, or say that they do not.
        let other = Target { unsupported: Unsupported::Strict, ..target("llamacpp") };
        assert!(send(&with(&field), &other).is_ok(), "{name}");
    }
    let odd = send(&with("\"a\\u000d, b\":1"), &lenient).unwrap().1.losses.remove(0).field;
    assert_eq!(odd, "a\\u000d??b", "fit for a header");
}

#[test]
fn the_model_is_spliced_without_copying_a_large_body() {
    let text = format!(r#"{{"model":"gpt","messages":[],"x":"{}"}}"#, "y".repeat(20_000));
    let body = Bytes::from(text);
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    let target = Target { model: Some(Arc::from("qwen")), ..target("vllm") };
    let out = adapt(&head, &body, &target).unwrap();
    assert_eq!(out.body.len(), 3);
    assert_eq!(out.body[1], "\"qwen\"");
    assert_eq!(out.body[2].as_ptr(), body[14..].as_ptr());
    assert!(out.reply.renamed);
}

#[test]
fn a_stream_is_asked_for_its_usage() {
    let cases = [
        (r#""stream":true"#, json!({"include_usage":true}), false),
        (r#""stream":true,"stream_options":null"#, json!({"include_usage":true}), false),
        (
            r#""stream":true,"stream_options":{"include_usage":false,"x":1}"#,
            json!({"include_usage":true,"x":1}),
            false,
        ),
        (
            r#""stream":true,"stream_options":{"include_usage":true}"#,
            json!({"include_usage":true}),
            true,
        ),
    ];
    for (fields, options, asked) in cases {
        let body = format!(r#"{{"model":"m","messages":[],{fields}}}"#);
        let (value, out) = send(&body, &target("openai")).unwrap();
        assert_eq!(value["stream_options"], options, "{fields}");
        assert_eq!(out.reply.include_usage, asked);
        assert_eq!(out.body.concat() == body.as_bytes(), asked);
    }
}

#[test]
fn an_upstream_that_refuses_stream_options_gets_none() {
    let never = Target { stream_usage: StreamUsage::Never, ..target("openai-compatible") };
    let body = |fields: &str| format!(r#"{{"model":"m","messages":[],"stream":true{fields}}}"#);
    let (value, out) = send(&body(""), &never).unwrap();
    assert_eq!(value, json!({"model":"m","messages":[],"stream":true}));
    assert_eq!((out.body.len(), out.losses.len()), (1, 0), "the client's own bytes");
    assert!(out.reply.unasked_prompt_tokens.is_some() && !out.reply.tells_estimate);
    for neutral in ["null", "{}", r#"{ "include_usage": false }"#] {
        let (value, out) = send(&body(&format!(r#","stream_options":{neutral}"#)), &never).unwrap();
        assert_eq!((value.get("stream_options"), out.losses.len()), (None, 0), "{neutral}");
    }
    let asking = body(r#","stream_options":{"include_usage":true}"#);
    let fault = send(&asking, &never).unwrap_err();
    let expected = (Code::UnsupportedParameter, Some("stream_options"));
    assert_eq!((fault.code, fault.param.as_deref()), expected);
    let lenient = Target { unsupported: Unsupported::Lenient, ..never };
    let (value, out) = send(&asking, &lenient).unwrap();
    assert_eq!(value.get("stream_options"), None);
    assert_eq!(out.losses[0].field, "stream_options");
}

#[test]
fn what_an_engine_cannot_do_is_refused_or_reported() {
    let body = r#"{"model":"m","messages":[],"store":true,"audio":{"voice":"x"},"service_tier":"flex","user":"u"}"#;
    let strict = target("vllm");
    let fault = send(body, &strict).unwrap_err();
    assert_eq!((fault.code, fault.param.as_deref()), (Code::UnsupportedParameter, Some("store")));
    let lenient = Target { unsupported: Unsupported::Lenient, ..strict };
    let (value, out) = send(body, &lenient).unwrap();
    assert_eq!(value, json!({"model":"m","messages":[],"user":"u"}));
    let fields: Vec<_> = out.losses.iter().map(|l| l.field.as_str()).collect();
    assert_eq!(fields, ["store", "audio", "service_tier"]);
    let (value, out) = send(body, &target("openai")).unwrap();
    assert_eq!(value, serde_json::from_str::<Value>(body).unwrap());
    assert!(out.losses.is_empty());
}

#[test]
fn a_field_that_asks_for_nothing_is_no_loss() {
    let body = r#"{"model":"m","messages":[],"store":false,"modalities":[ "text" ],"n":1,"audio":null,"verbosity":"medium"}"#;
    let (value, out) = send(body, &target("vllm")).unwrap();
    assert_eq!(value, json!({"model":"m","messages":[],"n":1}));
    assert!(out.losses.is_empty());
}

#[test]
fn a_client_cannot_choose_the_upstream() {
    for provider in crate::PROVIDERS {
        for rule in crate::providers::NEVER_FORWARDED {
            let name = rule.key.name();
            let body = format!(
                r#"{{"{name}":"http://evil","model":"m","messages":[{{"role":"user","content":"x"}}]}}"#
            );
            let strict = Target::untouched(provider);
            assert_eq!(send(&body, &strict).unwrap_err().param.as_deref(), Some(name));
            let lenient = Target { unsupported: Unsupported::Lenient, ..strict };
            let (_, out) = send(&body, &lenient).unwrap();
            assert!(!String::from_utf8(out.body.concat()).unwrap().contains("evil"));
            assert!(out.losses.iter().any(|l| l.field == name));
        }
    }
}

#[test]
fn old_guided_fields_become_structured_outputs_on_vllm() {
    let body =
        r#"{"model":"m","messages":[],"guided_choice":["yes","no"],"guided_decoding_backend":"x"}"#;
    let (value, out) = send(body, &target("vllm")).unwrap();
    let expected = json!({"model":"m","messages":[],"structured_outputs":{"choice":["yes","no"]}});
    assert_eq!(value, expected);
    assert_eq!(out.losses.len(), 1);
    let both = r#"{"model":"m","messages":[],"guided_choice":["a"],"structured_outputs":{}}"#;
    assert_eq!(send(both, &target("vllm")).unwrap_err().code, Code::InvalidValue);
}

#[test]
fn a_developer_message_becomes_a_system_message_where_needed() {
    let body = r#"{"model":"m","messages":[{"content":"developer","role":"developer"},{"role":"user","content":"a developer"}]}"#;
    let (value, _) = send(body, &target("llamacpp")).unwrap();
    assert_eq!(value["messages"][0], json!({"content":"developer","role":"system"}));
    assert_eq!(value["messages"][1]["content"], "a developer");
    let (value, _) = send(body, &target("openai")).unwrap();
    assert_eq!(value["messages"][0]["role"], "developer");
}

#[test]
fn the_variants_system_prompt_comes_first_and_alone() {
    let settings = VariantSettings {
        framing: Some(Arc::new(Framing::system("Be \"brief\"."))),
        ..Default::default()
    };
    let target = Target { settings, ..target("llamacpp") };
    let first = |messages: &str| {
        let body = format!(r#"{{"model":"m","messages":{messages}}}"#);
        let (value, _) = send(&body, &target).unwrap();
        (value["messages"][0].clone(), value["messages"].as_array().unwrap().len())
    };
    let own = json!({"role":"system","content":"Be \"brief\"."});
    assert_eq!(first("[ ]"), (own.clone(), 1));
    assert_eq!(first(r#"[{"role":"user","content":"x"}]"#), (own, 2));
    let joined = json!({"role":"system","content":"Be \"brief\".\n\nold"});
    assert_eq!(first(r#"[{"role":"developer","content":"old"}]"#), (joined, 1));
    let parts = first(r#"[{"role":"system","content":[{"type":"text","text":"old"}]}]"#);
    assert_eq!(parts.0["content"][0]["text"], "Be \"brief\".");
    assert_eq!(parts.0["content"].as_array().unwrap().len(), 2);
}

#[test]
fn a_variants_defaults_do_not_override_the_request() {
    let settings = VariantSettings {
        temperature: Some(0.5),
        top_p: Some(0.9),
        max_tokens: Some(100),
        seed: Some(-1),
        ..Default::default()
    };
    let target = Target { settings, ..target("openai") };
    let body = r#"{"model":"m","messages":[],"temperature":null,"top_p":1,"max_tokens":5}"#;
    let (value, _) = send(body, &target).unwrap();
    let expected =
        json!({"model":"m","messages":[],"temperature":0.5,"top_p":1,"max_tokens":5,"seed":-1});
    assert_eq!(value, expected);
    let (value, _) = send(HI, &target).unwrap();
    assert_eq!(value["max_completion_tokens"], 100);
}

#[test]
fn tools_are_not_sent_to_a_model_without_them() {
    let body = r#"{"model":"m","messages":[],"tools":[{"type":"function","function":{"name":"f"}}],"tool_choice":"auto"}"#;
    let capabilities = crate::Capabilities { tools: Some(false), images: Some(false) };
    let none = Target { capabilities, ..target("llamacpp") };
    assert_eq!(send(body, &none).unwrap_err().param.as_deref(), Some("tools"));
    assert!(send(body, &target("llamacpp")).is_ok());
    let image = r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url","image_url":{"url":"u"}}]}]}"#;
    let lenient = Target { unsupported: Unsupported::Lenient, ..none.clone() };
    let second = image.replace("[{\"role\"", "[{\"role\":\"user\",\"content\":\"x\"},{\"role\"");
    for (body, target, param) in [
        (image, &none, "messages[0]"),
        (image, &lenient, "messages[0]"),
        (&second, &none, "messages[1]"),
    ] {
        let fault = send(body, target).unwrap_err();
        assert_eq!(fault.code, Code::UnsupportedParameter, "never left out: {body}");
        assert_eq!(fault.param.as_deref(), Some(param));
    }
}

proptest! {
    #[test]
    fn only_what_is_rewritten_changes(
        temperature in proptest::option::of(0.0_f64..2.0),
        stop in proptest::option::of("[a-z\"\\\\]{1,4}"),
        number in "-?(0|[1-9][0-9]{0,25})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?",
        model in "[a-z\"\u{e9}/:]{1,9}",
    ) {
        // The number is kept as text: a parse and a write would change `1e2` and long integers.
        let mut body = format!(r#"{{"odd" :  {number},"model":"old","messages" : [ ]"#);
        if let Some(t) = temperature {
            let _ = write!(body, r#","temperature":{t}"#);
        }
        if let Some(stop) = &stop {
            let _ = write!(body, r#","stop":{}"#, serde_json::to_string(stop).unwrap());
        }
        body.push('}');
        let target = Target { model: Some(Arc::from(model.as_str())), ..target("vllm") };
        let (value, out) = send(&body, &target).unwrap();
        prop_assert_eq!(&value["model"], &Value::from(model.as_str()));
        let expected = body.replacen("\"old\"", &serde_json::to_string(&model).unwrap(), 1);
        prop_assert_eq!(String::from_utf8(out.body.concat()).unwrap(), expected);
    }

    #[test]
    fn no_accepted_body_makes_adapting_panic(
        bytes in "\\{\"model\":\"m\",\"messages\":[\\[\\]{}\":,a-c ]{0,20}[^\u{0}]{0,30}\\}",
        lenient in any::<bool>(),
    ) {
        let body = Bytes::from(bytes);
        if let Ok(head) = Head::read(Endpoint::ChatCompletions, &body) {
            for provider in crate::PROVIDERS {
                let settings = VariantSettings { framing: Some(Arc::new(Framing::system("s"))), ..Default::default() };
                let unsupported = if lenient { Unsupported::Lenient } else { Unsupported::Strict };
                let target = Target { unsupported, settings, ..Target::untouched(provider) };
                let _ = adapt(&head, &body, &target);
            }
        }
    }
}

fn framed(framing: Framing, messages: &str) -> Value {
    let settings = VariantSettings { framing: Some(Arc::new(framing)), ..Default::default() };
    let body = format!(r#"{{"model":"m","messages":{messages},"stream":false}}"#);
    let mut sent = Vec::new();
    for name in ["vllm", "llamacpp"] {
        let target = Target { settings: settings.clone(), ..target(name) };
        sent.push(send(&body, &target).unwrap().0["messages"].take());
    }
    assert_eq!(sent[0], sent[1]);
    sent.remove(0)
}

#[test]
fn a_prompt_stands_around_the_clients_messages() {
    let example = |by_model, text: &str| Example { by_model, text: text.to_owned() };
    let framing = Framing {
        system_before: Some("B\n".into()),
        system_after: Some("A".into()),
        user_before: Some("see \"this\"".into()),
        user_after: Some("end".into()),
        examples: vec![example(false, "q"), example(true, "a")],
        ..Framing::default()
    };
    let sent = framed(
        framing.clone(),
        r#"[ {"role":"system","content":"S"} , {"role":"user","content":"x"}, {"role":"user","content":"y"} ]"#,
    );
    assert_eq!(
        sent,
        json!([
            {"role":"system","content":"B\n\n\nS\n\nA"},
            {"role":"user","content":"q"},
            {"role":"assistant","content":"a"},
            {"role":"user","content":"x"},
            {"role":"user","content":"see \"this\"\n\ny\n\nend"},
        ])
    );
    let text = |text: &str| json!({"type":"text","text":text});
    let parts = framed(
        Framing { examples: vec![], ..framing.clone() },
        r#"[{"role":"user","content":[{"type":"text","text":"x"}]}]"#,
    );
    assert_eq!(parts[0], json!({"role":"system","content":"B\n\n\nA"}));
    assert_eq!(parts[1]["content"], json!([text("see \"this\""), text("x"), text("end")]));
    // What a tool's result held besides its text is no question of the user's.
    let label = crate::ATTACHED;
    let attached = framed(
        Framing { system_before: None, system_after: None, examples: vec![], ..framing.clone() },
        &format!(
            r#"[{{"role":"user","content":"x"}},{{"role":"user","content":[{{"type":"text","text":"{label}c:"}},{{"type":"image_url","image_url":{{"url":"u"}}}}]}}]"#
        ),
    );
    assert_eq!(attached[0]["content"], "see \"this\"\n\nx\n\nend");
    assert_eq!(attached[1]["content"].as_array().map(Vec::len), Some(2));
    let empty =
        framed(framing, r#"[{"role":"user","content":[]},{"role":"assistant","content":null}]"#);
    assert_eq!(empty[3]["content"], json!([text("see \"this\""), text("end")]));
    assert_eq!(empty[4]["content"], Value::Null);
}

#[test]
fn a_prompt_can_replace_the_clients_system_message_or_be_folded() {
    let list = r#"[{"role":"developer","content":"S"},{"role":"user","content":"x"},{"role":"system","content":"T"},{"role":"user","content":"y"}]"#;
    let replacing = Framing { replaces_system: true, ..Framing::system("P") };
    let sent = framed(replacing, list);
    assert_eq!(
        sent,
        json!([{"role":"system","content":"P"},{"role":"user","content":"x"},{"role":"user","content":"y"}])
    );
    let folding = Framing { folds_system: true, ..Framing::system("P") };
    let sent = framed(folding, list);
    assert_eq!(
        sent,
        json!([{"role":"user","content":"P\n\nS\n\nx"},{"role":"user","content":"T\n\ny"}])
    );
    let bare = Framing { folds_system: true, ..Framing::default() };
    assert_eq!(
        framed(bare, r#"[{"role":"system","content":"S"}]"#),
        json!([{"role":"user","content":"S"}])
    );
}

#[test]
fn a_variants_stop_sequences_join_the_requests_own() {
    let settings = VariantSettings { stop: vec!["a".into(), "b".into()], ..Default::default() };
    let stop = |name: &str, own: &str, unsupported| {
        let target = Target { settings: settings.clone(), unsupported, ..target(name) };
        let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":"x"}}]{own}}}"#);
        send(&body, &target).map(|(value, out)| {
            let found = if name == "ollama" { &value["options"]["stop"] } else { &value["stop"] };
            (found.clone(), out.losses.len())
        })
    };
    for name in ["openai", "vllm", "ollama"] {
        let strict = |own: &str| stop(name, own, Unsupported::Strict);
        assert_eq!(strict("").unwrap().0, json!(["a", "b"]));
        assert_eq!(strict(r#","stop":"b""#).unwrap().0, json!(["b", "a"]));
        assert_eq!(
            strict(r#","stop":["x",null]"#).map_err(|f| f.param).unwrap_err().as_deref(),
            Some("stop[1]")
        );
    }
    let many = r#","stop":["1","2","3"]"#;
    assert_eq!(
        stop("vllm", many, Unsupported::Strict).unwrap().0,
        json!(["1", "2", "3", "a", "b"])
    );
    assert_eq!(
        stop("openai", many, Unsupported::Strict).unwrap_err().param.as_deref(),
        Some("stop")
    );
    assert_eq!(
        stop("openai", many, Unsupported::Lenient).unwrap(),
        (json!(["1", "2", "3", "a"]), 1)
    );
}

/// OpenAI documents four, Google five, Anthropic no limit.
#[test]
fn each_service_has_its_own_limit_of_stop_sequences() {
    let settings = VariantSettings { stop: vec!["END".into()], ..Default::default() };
    for (name, most) in [
        ("openai", Some(4)),
        ("openai-compatible", Some(4)),
        ("gemini", Some(5)),
        ("anthropic", None),
        ("vllm", None),
        ("embedded", None),
    ] {
        let target =
            Target { settings: settings.clone(), unsupported: Unsupported::Strict, ..target(name) };
        for own in 1..9_usize {
            let own_stops: Vec<String> = (0..own).map(|n| n.to_string()).collect();
            let stop = json!(own_stops);
            let body =
                json!({"model": "m", "messages": [{"role": "user", "content": "x"}], "stop": stop});
            let sent = send(&body.to_string(), &target).map(|(value, _)| value["stop"].clone());
            match most {
                Some(most) if own + 1 > most => {
                    assert_eq!(sent.unwrap_err().param.as_deref(), Some("stop"), "{name} {own}");
                }
                _ => assert_eq!(sent.unwrap().as_array().unwrap().len(), own + 1, "{name}"),
            }
        }
    }
}

proptest! {
    #[test]
    fn any_framing_of_any_conversation_is_valid_and_keeps_the_clients_texts(
        said in proptest::collection::vec((0..5usize, 0..5usize), 0..6),
        flags in proptest::collection::vec(any::<bool>(), 7),
        space in "[ \n]{0,2}",
    ) {
        let roles = ["system", "developer", "user", "assistant", "tool"];
        let messages: Vec<String> = said.iter().enumerate().map(|(at, (role, content))| {
            let content = match content {
                0 => format!("\"own{at}\""),
                1 => format!("[{{\"type\":\"text\",\"text\":\"own{at}\"}}]"),
                2 => "null".to_owned(),
                3 => "[ ]".to_owned(),
                _ => "\"\"".to_owned(),
            };
            format!("{{{space}\"role\":\"{}\",\"content\":{content}}}", roles[*role])
        }).collect();
        let text = |at: usize, text: &str| flags[at].then(|| text.to_owned());
        let framing = Framing {
            system_before: text(0, "sb\""),
            system_after: text(1, "sa"),
            user_before: text(2, "ub"),
            user_after: text(3, "ua"),
            replaces_system: flags[4],
            folds_system: flags[5],
            examples: if flags[6] {
                vec![Example { by_model: false, text: "q".into() }, Example { by_model: true, text: "a".into() }]
            } else {
                vec![]
            },
        };
        let replaces = framing.replaces_system;
        let sent = framed(framing, &format!("[{space}{}{space}]", messages.join(&format!("{space},"))));
        let whole = sent.to_string();
        for (at, (role, content)) in said.iter().enumerate() {
            let kept = whole.matches(&format!("own{at}")).count();
            let system = *role < 2;
            prop_assert_eq!(kept, usize::from(*content < 2 && !(system && replaces)));
        }
        prop_assert!(!flags[0] || whole.contains("sb"));
        prop_assert!(!flags[5] || said.iter().all(|(_, content)| *content == 2) || !whole.contains("\"role\":\"system\"") || said.iter().any(|(role, content)| *role < 2 && *content == 2));
    }
}
