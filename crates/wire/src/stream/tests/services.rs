//! Streams of services that depart from the dialect, and whatever else is a JSON object.

use super::*;
use crate::json;
use crate::stream::split::Event;

const OPENAI_DIALECT: [&str; 5] = ["openai", "openai-compatible", "vllm", "llamacpp", "embedded"];

/// A stream of `fixtures/services`, read as each provider of the dialect, with and without our names.
fn each(name: &str, mut check: impl FnMut(&str, &ReplyPlan, &Got)) -> String {
    let body = exchange("services", name).body;
    for provider in OPENAI_DIALECT {
        for mint in [false, true] {
            let plan = ReplyPlan { mint, ..plan(provider) };
            let got = run(&plan, [body.clone()]);
            let shown = format!("{name} {provider} {mint}");
            if mint {
                for chunk in got.chunks() {
                    assert_eq!(chunk["id"], "chatcmpl-ours", "{shown}");
                    assert_eq!(chunk["model"], "asked-for", "{shown}");
                    assert_eq!(chunk["created"], got.chunks()[0]["created"], "{shown}");
                    assert_ne!(chunk["created"], 0, "{shown}");
                }
            }
            check(&shown, &plan, &got);
        }
    }
    String::from_utf8(body.to_vec()).unwrap()
}

fn is_whole(shown: &str, got: &Got) {
    assert_eq!(got.end, Ok(()), "{shown}");
    assert_eq!((got.content().as_str(), got.done()), ("Hello world", 1), "{shown}");
    assert_eq!(got.tap.finish_reason(), Some(Finish::Stop), "{shown}");
}

#[test]
fn an_empty_model_is_no_sign_of_an_end() {
    for name in ["azure", "azure-asynchronous", "model-empty"] {
        let mut untouched = String::new();
        let sent = each(name, |shown, plan, got| {
            is_whole(shown, got);
            if !plan.mint {
                untouched.clone_from(&got.text);
            }
        });
        assert_eq!(untouched, sent, "{name}: no byte is changed without need");
    }
}

/// What Ollama's OpenAI-style API sends when its runner is killed: before the first word, too.
#[test]
fn a_dead_runner_of_ollamas_is_known_by_the_missing_end() {
    let body = exchange("ollama", "kill-v1").body;
    let text = std::str::from_utf8(&body).unwrap();
    let last = text.trim_end().rsplit("\n\n").next().unwrap();
    assert!(last.contains(r#""model":"","system_fingerprint":"fp_ollama""#));
    for provider in ["openai", "openai-compatible"] {
        for mint in [false, true] {
            let plan = ReplyPlan { mint, ..plan(provider) };
            let fault = run(&plan, [body.clone()]).end.unwrap_err();
            assert_eq!((fault.fault.code, fault.failover_ok), (Code::BadGateway, true));
            let early = run(&plan, [Bytes::from(format!("{last}\n\n"))]).end.unwrap_err();
            assert_eq!((early.fault.code, early.failover_ok), (Code::BadGateway, true));
        }
    }
}

#[test]
fn an_empty_reason_is_none_and_the_client_gets_null() {
    each("reason-empty", |shown, _, got| {
        is_whole(shown, got);
        assert!(!got.text.contains(r#""finish_reason":"""#), "{shown} {}", got.text);
        assert_eq!(got.chunks()[0]["choices"][0]["finish_reason"], Value::Null);
    });
    let cut = each("reason-empty-cut", |shown, _, got| {
        let fault = got.end.as_ref().expect_err(shown);
        assert_eq!(fault.fault.code, Code::BadGateway, "{shown}");
        assert_eq!((got.content().as_str(), got.done()), ("Hello world", 0), "{shown}");
        assert_eq!(got.tap.finish_reason(), None, "{shown}");
    });
    // [DONE] says that the stream is over, and not that the answer is.
    let done = run(&plan("openai-compatible"), [Bytes::from(cut + "data: [DONE]\n\n")]);
    let fault = done.end.as_ref().unwrap_err();
    assert!(fault.fault.message.ends_with("its finish_reason was empty to the end"), "{fault}");
    assert_eq!(done.done(), 0);
}

#[test]
fn objects_without_members_keep_the_connection_alive_and_are_no_chunks() {
    each("pings", |shown, _, got| {
        is_whole(shown, got);
        assert_eq!(got.chunks().len(), 3, "{shown}");
        assert_eq!(got.text.matches(": ping\n\n").count(), 4, "{shown}");
    });
    let error = run(&plan("openai"), [Bytes::from_static(b"event: error\ndata: {}\n\n")]);
    assert_eq!(error.end.unwrap_err().class, FaultClass::Failed);
}

#[test]
fn names_that_are_null_are_replaced_and_stand_once() {
    let sent = each("names-null", |shown, plan, got| {
        is_whole(shown, got);
        if plan.mint {
            assert_eq!(got.text.matches("\"id\"").count(), 3, "{shown}");
            assert_eq!(got.text.matches("\"model\"").count(), 3, "{shown}");
            assert_eq!(got.chunks()[0]["created"], 1_800_000_000);
        }
    });
    assert!(sent.contains(r#""id": null"#));
}

#[test]
fn a_whole_message_at_the_end_passes() {
    for name in ["message-last", "message-and-delta"] {
        each(name, |shown, _, got| is_whole(shown, got));
    }
}

#[test]
fn calls_under_one_index_are_told_apart_where_such_services_are_known() {
    let body = exchange("services", "one-index").body;
    for mint in [false, true] {
        let got = run(&ReplyPlan { mint, ..plan("openai-compatible") }, [body.clone()]);
        let chunks = got.chunks();
        let call = |at: usize| chunks[at]["choices"][0]["delta"]["tool_calls"][0].clone();
        assert_eq!((&call(1)["index"], &call(1)["id"]), (&0.into(), &"c1".into()));
        assert_eq!((&call(2)["index"], &call(2)["id"]), (&1.into(), &"c2".into()));
        assert!(got.tap.numbered_calls() && got.end.is_ok() && got.done() == 1);
    }
    assert_eq!(run(&plan("openai"), [body.clone()]).text.as_bytes(), body, "not OpenAI's own");
}

/// Any JSON without members.
fn any_leaf() -> impl Strategy<Value = Value> {
    let texts = ["", "a", "m", "stop", "c\"id\":\"a\"", "{}", "é\n"];
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (-3_i64..3).prop_map(Value::from),
        Just(Value::from(17.5)),
        Just(serde_json::from_str("1e300").unwrap()),
        proptest::sample::select(texts.to_vec()).prop_map(Value::from),
    ]
}

/// Any JSON, with the members that are looked at.
fn any_json() -> impl Strategy<Value = Value> {
    any_leaf().prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            any_object(inner),
        ]
    })
}

fn any_object(inner: impl Strategy<Value = Value>) -> impl Strategy<Value = Value> {
    let key = proptest::sample::select(
        &[
            "id",
            "model",
            "created",
            "choices",
            "index",
            "delta",
            "message",
            "role",
            "content",
            "text",
            "finish_reason",
            "tool_calls",
            "function",
            "name",
            "arguments",
            "logprobs",
            "usage",
            "completion_tokens",
            "total_tokens",
            "object",
            "",
            "x\"y",
            "x",
        ][..],
    );
    let members = proptest::collection::vec((key, inner), 0..6);
    members.prop_map(|members| members.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
}

/// Chunks with calls whose members are of any kind.
fn any_chunk() -> impl Strategy<Value = Value> {
    let members = || any_object(any_json());
    (members(), members(), members(), proptest::collection::vec(members(), 0..3)).prop_map(
        |(mut chunk, mut choice, mut delta, calls)| {
            delta["tool_calls"] = calls.into();
            choice["delta"] = delta;
            chunk["choices"] = serde_json::json!([choice]);
            chunk
        },
    )
}

/// A good chunk, some members of which are of another kind or not there.
fn odd_chunk() -> impl Strategy<Value = Value> {
    let at = proptest::sample::select(
        &[
            "id",
            "model",
            "created",
            "object",
            "usage",
            "x",
            "choices/0/finish_reason",
            "choices/0/index",
        ][..],
    );
    let value = prop_oneof![3 => any_leaf(), 1 => any_json()];
    let value = proptest::option::weighted(0.9, value);
    let odd = proptest::collection::vec((at, value), 0..4);
    odd.prop_map(|odd| {
        let mut chunk = serde_json::json!({"id": "a", "object": "o", "model": "m", "created": 17,
            "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": null}]});
        for (at, value) in odd {
            let (object, name) = match at.strip_prefix("choices/0/") {
                Some(name) => (&mut chunk["choices"][0], name),
                None => (&mut chunk, at),
            };
            match value {
                Some(value) => object[name] = value,
                None => drop(object.as_object_mut().unwrap().remove(name)),
            }
        }
        chunk
    })
}

/// An event that holds a value: on one line, with spaces, or over several lines.
fn event_of(value: &Value, form: u8) -> String {
    let pretty = || serde_json::to_string_pretty(value).unwrap();
    let data = match form {
        0 => value.to_string(),
        1 => pretty().replace('\n', " "),
        _ => pretty().replace('\n', "\ndata: "),
    };
    format!("data: {data}\n\n")
}

/// Whether an event is [DONE], none, or a JSON object none of whose members stands twice.
fn is_good(event: &str) -> bool {
    let event = format!("{event}\n\n");
    let read = Event::read(event.as_bytes());
    let Ok(data) = std::str::from_utf8(read.data.bytes()) else { return false };
    let mut names = Vec::new();
    let parsed = json::members(data, |name, _| names.push(name.to_owned()));
    let count = names.len();
    names.sort();
    names.dedup();
    data.is_empty() || data == "[DONE]" || (parsed.is_ok() && names.len() == count)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn no_object_of_an_upstream_becomes_invalid_json(
        events in proptest::collection::vec(
            (
                prop_oneof![
                    1 => any_object(any_json()),
                    1 => any_chunk(),
                    6 => odd_chunk(),
                ],
                0_u8..3,
            ),
            1..8,
        ),
        mint in any::<bool>(),
        include_usage in any::<bool>(),
        n in 1_u32..3,
    ) {
        let text: String = events.iter().map(|(value, form)| event_of(value, *form)).collect();
        for provider in OPENAI_DIALECT {
            for endpoint in [Endpoint::ChatCompletions, Endpoint::Completions] {
                let plan = ReplyPlan { endpoint, include_usage, mint, n, ..plan(provider) };
                let got = run(&plan, [Bytes::from(text.clone())]);
                for event in got.text.split_terminator("\n\n") {
                    prop_assert!(is_good(event), "{provider}: {event}\nof\n{text}");
                }
            }
        }
    }
}
