use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};

use crate::adapt::{Outgoing, adapt};
use crate::fixtures::{self, exchange, mint};
use crate::framing::Framing;
use crate::reply::{Received, read_reply};
use crate::stream::{Limits, Tap};
use crate::target::{OllamaSettings, Target, Think, Unsupported, VariantSettings};
use crate::{Endpoint, FaultClass, Finish, Head, Provider, ReplyPlan, UpstreamFault, Usage};
use cutover_units::Code;

fn target() -> Target {
    Target::untouched(Provider::by_name("ollama").unwrap())
}

fn lenient() -> Target {
    Target { unsupported: Unsupported::Lenient, ..target() }
}

fn send(endpoint: Endpoint, body: &Value, target: &Target) -> Result<Outgoing, crate::Fault> {
    let body = Bytes::from(body.to_string());
    let head = Head::read(endpoint, &body)?;
    adapt(&head, &body, target)
}

fn chat(body: &Value, target: &Target) -> Value {
    let out = send(Endpoint::ChatCompletions, body, target).expect("accepted");
    assert_eq!(out.path, "/api/chat");
    serde_json::from_slice(&out.body.concat()).unwrap()
}

fn refused(body: &Value) -> (Code, String) {
    let fault = send(Endpoint::ChatCompletions, body, &target()).expect_err("refused");
    (fault.code, fault.param.unwrap_or_default())
}

#[test]
fn a_plain_chat_states_the_dialects_defaults() {
    let sent = chat(&json!({"model":"m","messages":[{"role":"user","content":"hi"}]}), &target());
    let expected = json!({
        "model":"m","messages":[{"role":"user","content":"hi"}],"stream":false,"truncate":false,
        "shift":false,"options":{"temperature":1.0,"top_p":1.0}
    });
    assert_eq!(sent, expected);
}

#[test]
fn options_come_from_the_request_before_the_variant() {
    let settings = VariantSettings {
        temperature: Some(0.3),
        top_p: Some(0.8),
        max_tokens: Some(99),
        seed: Some(7),
        ollama: OllamaSettings {
            num_ctx: Some(8192),
            keep_alive: Some("-1".into()),
            think: Some(Think::Off),
            truncate: true,
            completions_use_template: false,
            ..OllamaSettings::default()
        },
        ..Default::default()
    };
    let target = Target { settings, model: Some("qwen:7b".into()), ..target() };
    let sent = chat(
        &json!({"model":"gpt","messages":[{"role":"user","content":"hi"}],"max_completion_tokens":5,
            "max_tokens":6,"temperature":0,"stop":"x","frequency_penalty":0.5,"top_k":3,"stream":true}),
        &target,
    );
    assert_eq!(sent["model"], "qwen:7b");
    let options = json!({"num_ctx":8192,"temperature":0.0,"top_p":0.8,"num_predict":5,"seed":7,
        "stop":["x"],"frequency_penalty":0.5,"top_k":3});
    assert_eq!(sent["options"], options);
    assert_eq!((&sent["keep_alive"], &sent["think"]), (&json!(-1), &json!(false)));
    assert_eq!((&sent["truncate"], &sent["stream"]), (&json!(true), &json!(true)));
}

#[test]
fn tools_and_their_results_are_converted() {
    let body = json!({"model":"m","messages":[
        {"role":"developer","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"see"},{"type":"image_url","image_url":{"url":"data:image/png;base64,QUJD"}}]},
        {"role":"assistant","content":null,"tool_calls":[
            {"id":"c1","type":"function","function":{"name":"weather","arguments":"{\"city\": \"Paris\",\"n\":1e2}"}}]},
        {"role":"tool","tool_call_id":"c1","content":"22 C"}],
        "tools":[{"type":"function","function":{"name":"weather","parameters":{"type":"object"}}}],
        "tool_choice":"auto"});
    let out = send(Endpoint::ChatCompletions, &body, &target()).unwrap();
    let text = String::from_utf8(out.body.concat()).unwrap();
    assert!(text.contains(r#""arguments":{"city": "Paris","n":1e2}"#), "not re-written: {text}");
    let sent: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(sent["messages"][0]["role"], "system");
    assert_eq!(sent["messages"][1], json!({"role":"user","content":"see","images":["QUJD"]}));
    assert_eq!(sent["messages"][2]["content"], "");
    let result = json!({"role":"tool","content":"22 C","tool_name":"weather","tool_call_id":"c1"});
    assert_eq!(sent["messages"][3], result);
    assert_eq!(sent["tools"], body["tools"]);
    let mut none = body;
    none["tool_choice"] = json!("none");
    assert!(chat(&none, &target()).get("tools").is_none());
}

#[test]
fn forms_and_thinking_are_converted() {
    let with = |extra: Value| {
        let mut body = json!({"model":"m","messages":[{"role":"user","content":"hi"}]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        body
    };
    let format =
        |kind: Value| chat(&with(json!({"response_format":kind})), &target())["format"].clone();
    assert_eq!(format(json!({"type":"text"})), Value::Null);
    assert_eq!(format(json!({"type":"json_object"})), "json");
    let schema = json!({"type":"object","properties":{"a":{"type":"integer"}}});
    let named = json!({"type":"json_schema","json_schema":{"name":"n","schema":schema}});
    assert_eq!(format(named), schema);
    let fault = refused(&with(
        json!({"response_format":{"type":"json_schema","json_schema":{"name":"n"}}}),
    ));
    assert_eq!(fault, (Code::MissingField, "response_format.json_schema.schema".into()));
    let think =
        |effort: &str| chat(&with(json!({"reasoning_effort":effort})), &target())["think"].clone();
    assert_eq!(
        (think("none"), think("low"), think("max")),
        (json!(false), json!("low"), json!("high"))
    );
    assert_eq!(refused(&with(json!({"reasoning_effort":"huge"}))).0, Code::InvalidValue);
    let logprobs = chat(&with(json!({"logprobs":true,"top_logprobs":2})), &target());
    assert_eq!((&logprobs["logprobs"], &logprobs["top_logprobs"]), (&json!(true), &json!(2)));
}

#[test]
fn what_ollama_would_ignore_is_refused_or_reported() {
    let fields = json!({"n":2,"logit_bias":{"1":5},"tool_choice":"required","parallel_tool_calls":false,
        "options":{"num_ctx":1},"keep_alive":"1h","num_ctx":5,"best_thing":1,"audio":{},"api_base":"http://x"});
    for (field, value) in fields.as_object().unwrap() {
        let mut body = json!({"model":"m","messages":[{"role":"user","content":"hi"}]});
        body[field] = value.clone();
        assert_eq!(refused(&body), (Code::UnsupportedParameter, field.clone()));
        let out = send(Endpoint::ChatCompletions, &body, &lenient()).unwrap();
        assert_eq!(out.losses.len(), 1);
        assert_eq!(&out.losses[0].field, field);
        let sent: Value = serde_json::from_slice(&out.body.concat()).unwrap();
        assert!(field == "options" || sent.get(field).is_none());
        assert_eq!(sent["options"], json!({"temperature":1.0,"top_p":1.0}));
    }
    let harmless = json!({"model":"m","messages":[{"role":"user","content":"hi"}],"n":1,"user":"u",
        "metadata":{"a":"b"},"safety_identifier":"s","prompt_cache_key":"k","logit_bias":{},"store":false,
        "parallel_tool_calls":true,"unheard_of":null});
    let out = send(Endpoint::ChatCompletions, &harmless, &target()).unwrap();
    assert!(out.losses.is_empty());
}

/// A model wrote them once; its client sends them back for ever.
#[test]
fn arguments_that_are_no_object_are_sent_as_a_text_in_one() {
    let call = json!({"id": "a", "function": {"name": "f", "arguments": "{\"city\": \"Bonn\""}});
    let body = json!({"model": "m", "messages": [{"role": "assistant", "tool_calls": [call]}]});
    let out = send(Endpoint::ChatCompletions, &body, &target()).unwrap();
    let fields: Vec<&str> = out.losses.iter().map(|loss| &*loss.field).collect();
    assert_eq!(fields, ["messages[].tool_calls[].function.arguments"]);
    let sent: Value = serde_json::from_slice(&out.body.concat()).unwrap();
    let arguments = &sent["messages"][0]["tool_calls"][0]["function"]["arguments"];
    assert_eq!(arguments, &json!({"arguments": "{\"city\": \"Bonn\""}));
}

/// The label stands before what a tool's result held besides its text: no client asked that.
fn sent_and_lost(body: &Value) -> (Value, Vec<String>) {
    let out = send(Endpoint::ChatCompletions, body, &target()).unwrap();
    let losses = out.losses.into_iter().map(|loss| loss.field).collect();
    (serde_json::from_slice(&out.body.concat()).unwrap(), losses)
}

/// The turn was empty: a conversation that came from OpenAI lost it.
#[test]
fn a_refusal_of_the_history_is_sent_as_what_was_said() {
    for (content, said) in [
        (json!(null), "NO WAY"),
        (json!(""), "NO WAY"),
        (json!("partly"), "partly\nNO WAY"),
        (json!([{"type": "refusal", "refusal": "NO WAY"}]), "NO WAY"),
    ] {
        let by_part = content.is_array();
        let mut message = json!({"role": "assistant", "content": content});
        if !by_part {
            message["refusal"] = json!("NO WAY");
        }
        let (sent, losses) = sent_and_lost(&json!({"model": "m", "messages": [message]}));
        assert_eq!(sent["messages"][0]["content"], said);
        assert!(losses.is_empty(), "{losses:?}");
    }
}

#[test]
fn what_ollama_cannot_be_told_is_reported_once() {
    let call = json!({"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"},
        "extra_content": {"google": {"thought_signature": "S"}}});
    let said = json!({"role": "assistant", "content": "t", "reasoning_content": "hm", "tool_calls": [call],
        "reasoning_details": [{"type": "reasoning.text", "text": "hm", "signature": "S"}]});
    let schema = json!({"name": "n", "description": "dates as ISO", "schema": {"type": "object"}});
    let body = json!({"model": "m", "messages": [said, said],
        "response_format": {"type": "json_schema", "json_schema": schema}});
    let (sent, losses) = sent_and_lost(&body);
    assert_eq!(sent["messages"][0]["thinking"], "hm");
    let expected = [
        "messages[].tool_calls[].extra_content",
        "messages[].reasoning_details",
        "response_format.json_schema.description",
    ];
    assert_eq!(losses, expected);
    let plain = json!({"role": "assistant", "content": "t", "reasoning_content": "hm", "reasoning_details": []});
    assert!(sent_and_lost(&json!({"model": "m", "messages": [plain]})).1.is_empty());
}

#[test]
fn a_prompt_stands_around_the_users_own_last_message() {
    let settings = VariantSettings {
        framing: Some(Arc::new(Framing { user_before: Some("B".into()), ..Framing::default() })),
        ..VariantSettings::default()
    };
    let target = Target { settings, ..target() };
    let label = format!("{}c:", crate::framing::ATTACHED);
    let image = json!({"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}});
    let talk = |parts: Value| {
        let body = json!({"model": "m", "messages": [
            {"role": "user", "content": "own"}, {"role": "user", "content": parts}]});
        let out = send(Endpoint::ChatCompletions, &body, &target).unwrap();
        let sent: Value = serde_json::from_slice(&out.body.concat()).unwrap();
        [0, 1].map(|at| sent["messages"][at]["content"].as_str().unwrap().starts_with('B'))
    };
    let text = |text: &str| json!({"type": "text", "text": text});
    assert_eq!(talk(json!([text(&label), image])), [true, false]);
    assert_eq!(talk(json!([text(&label), image, text("and now?")])), [false, true]);
}

#[test]
fn content_that_cannot_be_sent_names_its_place() {
    let user = |part: Value| json!({"model":"m","messages":[{"role":"user","content":[part]}]});
    let cases = [
        (
            user(json!({"type":"image_url","image_url":{"url":"https://x/y.png"}})),
            "messages[0].content[0].image_url.url",
        ),
        (
            user(json!({"type":"input_audio","input_audio":{"data":"x"}})),
            "messages[0].content[0].input_audio",
        ),
        (json!({"model":"m","messages":[]}), "messages"),
        (
            json!({"model":"m","messages":[{"role":"user","content":"x"}],"max_tokens":0}),
            "max_tokens",
        ),
        (
            json!({"model":"m","messages":[{"role":"user","content":"x"}],"temperature":"hot"}),
            "temperature",
        ),
        (
            json!({"model":"m","messages":[{"role":"user","content":"x"}],"tools":[{"type":"custom"}]}),
            "tools[0].type",
        ),
    ];
    for (body, param) in cases {
        assert_eq!(refused(&body).1, param, "{body}");
    }
}

#[test]
fn the_system_prompt_joins_the_requests_own() {
    let settings =
        VariantSettings { framing: Some(Arc::new(Framing::system("S"))), ..Default::default() };
    let target = Target { settings, ..target() };
    let first = |role: &str| {
        let body = json!({"model":"m","messages":[{"role":role,"content":"x"}]});
        chat(&body, &target)["messages"].clone()
    };
    assert_eq!(first("developer"), json!([{"role":"system","content":"S\n\nx"}]));
    assert_eq!(first("user")[0], json!({"role":"system","content":"S"}));
}

#[test]
fn completions_continue_the_prompt_as_it_stands() {
    let complete = |extra: Value, target: &Target| {
        let mut body = json!({"model":"m","prompt":"Once"});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        send(Endpoint::Completions, &body, target)
    };
    let out = complete(json!({"logprobs":0}), &target()).unwrap();
    assert_eq!(out.path, "/api/generate");
    let sent: Value = serde_json::from_slice(&out.body.concat()).unwrap();
    let expected = json!({"model":"m","prompt":"Once","raw":true,"stream":false,"truncate":false,"shift":false,
        "logprobs":true,"top_logprobs":0,"options":{"temperature":1.0,"top_p":1.0,"num_predict":16}});
    assert_eq!(sent, expected);
    // The same asked through Ollama's own API, where nothing limits it.
    let body = Bytes::from_static(br#"{"model":"m","prompt":"Once"}"#);
    let mut head = Head::read(Endpoint::Completions, &body).unwrap();
    head.stream_options_are_ours = true;
    let open = adapt(&head, &body, &target()).unwrap().body.concat();
    let open: Value = serde_json::from_slice(&open).unwrap();
    assert_eq!(open["options"], json!({"temperature":1.0,"top_p":1.0}));
    let fill: Value = serde_json::from_slice(
        &complete(json!({"suffix":"end"}), &target()).unwrap().body.concat(),
    )
    .unwrap();
    assert_eq!((&fill["raw"], &fill["suffix"]), (&json!(false), &json!("end")));
    for bad in [json!({"prompt":["a","b"]}), json!({"prompt":[1]}), json!({"prompt":""})] {
        assert_eq!(complete(bad, &lenient()).unwrap_err().param.as_deref(), Some("prompt"));
    }
    assert_eq!(
        complete(json!({"echo":true}), &target()).unwrap_err().param.as_deref(),
        Some("echo")
    );
    assert_eq!(
        complete(json!({"prompt":["a","b"]}), &target()).unwrap_err().param.as_deref(),
        Some("prompt")
    );
}

#[test]
fn embeddings_are_refused_rather_than_truncated() {
    let body = json!({"model":"m","input":["a","b"],"encoding_format":"base64","dimensions":8});
    let out = send(Endpoint::Embeddings, &body, &target()).unwrap();
    assert_eq!(out.path, "/api/embed");
    let sent: Value = serde_json::from_slice(&out.body.concat()).unwrap();
    assert_eq!(sent, json!({"model":"m","input":["a","b"],"truncate":false,"dimensions":8}));
    let answer = Bytes::from_static(br#"{"model":"m","embeddings":[[1.0,-2.5],[0,1e-3]],"total_duration":1,"prompt_eval_count":4}"#);
    let reply = read_reply(&out.reply, &mint(), Received::new(200, answer.clone())).unwrap();
    let value: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(value["data"][0]["embedding"], "AACAPwAAIMA=");
    assert_eq!(value["usage"], json!({"prompt_tokens":4,"total_tokens":4}));
    let float = ReplyPlan { encoding: crate::openai::embeddings::Encoding::Float, ..out.reply };
    let reply = read_reply(&float, &mint(), Received::new(200, answer)).unwrap();
    assert!(
        std::str::from_utf8(&reply.body).unwrap().contains("[0,1e-3]"),
        "numbers stay as written"
    );
    let absurd = Bytes::from_static(
        br#"{"model":"m","embeddings":[[1.0]],"prompt_eval_count":9223372036854775807}"#,
    );
    let usage = read_reply(&float, &mint(), Received::new(200, absurd)).unwrap().usage.unwrap();
    assert!(usage.estimated && usage.prompt_tokens < 100, "{usage:?}");
}

fn plan(endpoint: Endpoint) -> ReplyPlan {
    ReplyPlan { mint: true, ..fixtures::plan("ollama", endpoint) }
}

#[test]
fn captured_answers_are_converted() {
    let read = |name: &str, endpoint| {
        let reply =
            read_reply(&plan(endpoint), &mint(), Received::new(200, exchange("ollama", name).body));
        serde_json::from_slice::<Value>(&reply.unwrap().body).unwrap()
    };
    let chat = read("ctx2", Endpoint::ChatCompletions);
    let expected = json!({
        "id":"chatcmpl-ours","object":"chat.completion","created":1_800_000_000,"model":"asked-for",
        "choices":[{"index":0,"message":{"role":"assistant","content":"\ndef find_max","refusal":null},
            "logprobs":null,"finish_reason":"length"}],
        "usage":{"prompt_tokens":2050,"completion_tokens":5,"total_tokens":2055}
    });
    assert_eq!(chat, expected);
    let text = read("generate", Endpoint::Completions);
    assert_eq!(text["choices"][0]["text"], "Hello.");
    assert_eq!(
        (&text["object"], &text["choices"][0]["finish_reason"]),
        (&json!("text_completion"), &json!("length"))
    );
}

#[test]
fn a_prompt_that_ollama_cut_is_noticed() {
    let plan = ReplyPlan { prompt_bytes: 24_000, ..plan(Endpoint::ChatCompletions) };
    let reply =
        read_reply(&plan, &mint(), Received::new(200, exchange("ollama", "ctx2").body)).unwrap();
    assert!(reply.prompt_truncated, "told, where the operator allowed it");
    let plan = ReplyPlan { must_be_whole: true, ..plan };
    let read = |plan: &ReplyPlan| {
        read_reply(plan, &mint(), Received::new(200, exchange("ollama", "ctx2").body))
    };
    let fault = read(&plan).unwrap_err();
    assert_eq!(fault.fault.code, Code::ContextLengthExceeded);
    assert!(fault.failover_ok, "another context may be longer");
    // With a larger measured figure the same count is no proof.
    assert!(read(&ReplyPlan { millibytes_per_token: 12_000, ..plan }).is_ok());
}

/// A history whose oldest messages were dropped leaves nearly all of the context filled: by bytes alone it may be whole.
#[test]
fn a_history_that_was_cut_until_it_fitted_is_noticed_where_it_was_expected_not_to_fit() {
    let body = |count: u32| {
        Bytes::from(format!(
            r#"{{"model":"m","message":{{"role":"assistant","content":"Hi"}},"done":true,"done_reason":"stop","prompt_eval_count":{count},"eval_count":1}}"#
        ))
    };
    let read = |overfull_context, count| {
        let plan = ReplyPlan {
            prompt_bytes: 16_800,
            must_be_whole: true,
            overfull_context,
            ..plan(Endpoint::ChatCompletions)
        };
        read_reply(&plan, &mint(), Received::new(200, body(count)))
    };
    for count in [4_096, 3_930, 3_072] {
        assert!(read(0, count).is_ok(), "{count}: by its bytes it may be whole");
    }
    for count in [4_096, 3_930, 3_072, 2_050] {
        let fault = read(4_096, count).unwrap_err();
        assert_eq!(fault.fault.code, Code::ContextLengthExceeded, "{count}");
    }
    // What neither cut leaves is a text of another kind that fitted; so is what the context could not have held.
    for count in [2_700, 4_200] {
        assert!(read(4_096, count).is_ok(), "{count}");
    }
}

#[test]
fn the_stream_of_a_cut_prompt_ends_in_an_error() {
    let whole = ReplyPlan {
        prompt_bytes: 24_000,
        must_be_whole: true,
        stream: true,
        ..plan(Endpoint::ChatCompletions)
    };
    let lines = Bytes::from_static(
        b"{\"model\":\"m\",\"message\":{\"content\":\"Hi\"},\"done\":false}\n\
          {\"model\":\"m\",\"message\":{\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\
          \"prompt_eval_count\":2050,\"eval_count\":1}\n",
    );
    let mut tap = Tap::new(whole, mint(), Limits::default());
    let mut out = Vec::new();
    let fault = tap.push(lines, &mut out).unwrap_err();
    assert_eq!(fault.fault.code, Code::ContextLengthExceeded);
    assert!(!out.concat().windows(6).any(|six| six == b"[DONE]"));
    assert!(tap.finish_reason().is_none() && tap.usage().is_some());
}

#[test]
fn a_model_that_was_only_loaded_is_no_answer() {
    for reason in ["load", "unload"] {
        let body = format!(
            r#"{{"model":"m","message":{{"role":"assistant","content":""}},"done":true,"done_reason":"{reason}"}}"#
        );
        let received = Received::new(200, Bytes::from(body));
        let fault = read_reply(&plan(Endpoint::ChatCompletions), &mint(), received).unwrap_err();
        assert!(fault.failover_ok);
    }
}

#[test]
fn tool_calls_get_ids_and_arguments_as_text() {
    let body = Bytes::from_static(
        br#"{"model":"m","message":{"role":"assistant","content":"","thinking":"hm","tool_calls":[
        {"function":{"name":"f","arguments":{"a": 1}}},{"id":"x","function":{"index":1,"name":"g"}}]},
        "done":true,"done_reason":"stop","prompt_eval_count":3,"eval_count":4}"#,
    );
    let reply =
        read_reply(&plan(Endpoint::ChatCompletions), &mint(), Received::new(200, body)).unwrap();
    assert_eq!(reply.finish, Some(Finish::ToolCalls));
    let value: Value = serde_json::from_slice(&reply.body).unwrap();
    let message = &value["choices"][0]["message"];
    assert_eq!((&message["content"], &message["reasoning_content"]), (&Value::Null, &json!("hm")));
    let calls = json!([
        {"id":"call_ours_0","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}},
        {"id":"x","type":"function","function":{"name":"g","arguments":"{}"}}
    ]);
    assert_eq!(message["tool_calls"], calls);
}

/// A template or an older engine may give them as the text that clients want: encoded anew it was a text
/// within a text, and a client that decoded it had no object.
#[test]
fn arguments_that_are_the_text_of_an_object_pass_as_they_are() {
    for (given, told) in [
        (r#""{\"a\":1}""#, r#"{"a":1}"#),
        (r#"" {\"a\": \"\\u00e9\"} ""#, r#" {"a": "\u00e9"} "#),
        (r#""{\"a\":""#, r#""{\"a\":""#),
        (r#""[1]""#, r#""[1]""#),
        (r#""""#, r#""""#),
        (r#"{"a": 1}"#, r#"{"a": 1}"#),
    ] {
        let call = format!(r#"{{"function":{{"name":"f","arguments":{given}}}}}"#);
        let body = format!(
            r#"{{"message":{{"content":"","tool_calls":[{call}]}},"done":true,"eval_count":1}}"#
        );
        let plan = plan(Endpoint::ChatCompletions);
        let got = stream(&plan, &Bytes::from(body.clone() + "\n"), 1_000);
        let calls = |value: &Value| value["tool_calls"][0]["function"]["arguments"].clone();
        let streamed = got.chunks.iter().map(|chunk| calls(&chunk["choices"][0]["delta"]));
        assert_eq!(streamed.filter(|args| !args.is_null()).collect::<Vec<_>>(), [told], "{given}");
        let reply = read_reply(&plan, &mint(), Received::new(200, Bytes::from(body))).unwrap();
        let value: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!(calls(&value["choices"][0]["message"]), *told, "{given}");
    }
}

struct Got {
    chunks: Vec<Value>,
    text: String,
    end: Result<(), UpstreamFault>,
    tap: Tap,
}

fn stream(plan: &ReplyPlan, body: &Bytes, frame: usize) -> Got {
    let mut tap = Tap::new(plan.clone(), mint(), Limits::default());
    let mut out = vec![];
    let mut end = Ok(());
    let mut at = 0;
    while at < body.len() && end.is_ok() {
        let next = (at + frame).min(body.len());
        end = tap.push(body.slice(at..next), &mut out);
        at = next;
    }
    if end.is_ok() {
        end = tap.finish(&mut out);
    }
    let text = String::from_utf8(out.concat()).unwrap();
    let lines = text.lines().filter_map(|l| l.strip_prefix("data: ")).filter(|l| *l != "[DONE]");
    let chunks = lines.map(|l| serde_json::from_str(l).unwrap()).collect();
    Got { chunks, text, end, tap }
}

#[test]
fn a_captured_stream_becomes_the_dialects_chunks() {
    let body = exchange("ollama", "chat-stream").body;
    let whole = stream(&plan(Endpoint::ChatCompletions), &body, usize::MAX / 2);
    assert!(whole.end.is_ok() && whole.tap.ended_well());
    insta::assert_snapshot!("ollama_chat_stream", whole.text);
    for frame in [1, 7, 100] {
        assert_eq!(stream(&plan(Endpoint::ChatCompletions), &body, frame).text, whole.text);
    }
    assert_eq!(whole.tap.usage(), Some(Usage::new(15, 2)));
    assert_eq!(whole.tap.content_chunks(), 2);
    let quiet = ReplyPlan { include_usage: false, mint: false, ..plan(Endpoint::ChatCompletions) };
    let quiet = stream(&quiet, &body, 64);
    assert!(!quiet.text.contains("usage") && quiet.text.contains("\"model\":\"smollm2:135m\""));
}

#[test]
fn a_runner_that_dies_is_a_failure_and_never_done() {
    let got = stream(&plan(Endpoint::ChatCompletions), &exchange("ollama", "kill-api").body, 50);
    let fault = got.end.unwrap_err();
    assert_eq!((fault.class, fault.failover_ok), (FaultClass::Failed, true));
    assert!(!got.text.contains("[DONE]") && got.chunks.len() > 5);
    let cut = exchange("ollama", "chat-stream").body;
    let got = stream(&plan(Endpoint::ChatCompletions), &cut.slice(..200), 50);
    assert_eq!(got.end.unwrap_err().fault.code, Code::BadGateway);
}

#[test]
fn streamed_tool_calls_are_numbered_and_end_as_such() {
    let body = Bytes::from_static(
        b"{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"f\",\"arguments\":{}}}]},\"done\":false}\n\
          {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"g\",\"arguments\":{}}}]},\"done\":false}\n\
          {\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"\"},\"done\":true,\"done_reason\":\"stop\",\"prompt_eval_count\":1,\"eval_count\":1}\n",
    );
    let got = stream(&plan(Endpoint::ChatCompletions), &body, 30);
    let calls: Vec<_> = got
        .chunks
        .iter()
        .filter_map(|c| {
            let call = c["choices"].get(0)?["delta"]["tool_calls"].get(0)?.clone();
            Some((call["index"].clone(), call["id"].clone()))
        })
        .collect();
    assert_eq!(calls, [(json!(0), json!("call_ours_0")), (json!(1), json!("call_ours_1"))]);
    assert_eq!(got.tap.finish_reason(), Some(Finish::ToolCalls));
}

#[test]
fn missing_counts_are_estimated_and_said_to_be() {
    let plan = ReplyPlan { prompt_bytes: 40, ..plan(Endpoint::Completions) };
    let body = Bytes::from_static(
        b"{\"model\":\"m\",\"response\":\"a\",\"done\":false,\"logprobs\":[{\"token\":\"a\",\"logprob\":-1}]}\n{\"model\":\"m\",\"response\":\"b\",\"done\":false,\"logprobs\":[{\"token\":\"b\",\"logprob\":-1}]}\n{\"model\":\"m\",\"response\":\"\",\"done\":true}",
    );
    let got = stream(&plan, &body, 1_000);
    assert!(got.end.is_ok());
    assert_eq!(got.tap.usage(), Some(Usage { estimated: true, ..Usage::new(10, 2) }));
    assert_eq!(got.chunks[1]["choices"][0]["logprobs"]["text_offset"], json!([1]));
    assert_eq!(got.chunks[2]["choices"][0]["finish_reason"], "stop");
}

/// One counter below zero threw a whole answer away, and ended a stream that had said all it had to say.
#[test]
fn counts_and_reasons_that_cannot_be_are_none_and_no_failure() {
    let plan = ReplyPlan { prompt_bytes: 40, ..plan(Endpoint::ChatCompletions) };
    for wrong in ["-3", "3.7", "\"3\"", "99999999999999999999999", "1e999", "[]", "null"] {
        let end = format!(
            r#""done":true,"done_reason":5,"prompt_eval_count":{wrong},"eval_count":{wrong}}}"#
        );
        let said = r#"{"model":"m","message":{"role":"assistant","content":"a"},"#;
        let body = Bytes::from(format!("{said}\"done\":false}}\n{said}{end}\n"));
        let got = stream(&plan, &body, 1_000);
        assert!(got.end.is_ok(), "{wrong}: {:?}", got.end);
        let estimate = |chunks| Some(Usage { estimated: true, ..Usage::new(10, chunks) });
        assert_eq!(got.tap.usage(), estimate(2), "{wrong}");
        assert_eq!(got.tap.finish_reason(), Some(Finish::Stop), "{wrong}");
        let whole = Received::new(200, Bytes::from(format!("{said}{end}")));
        let whole = read_reply(&plan, &mint(), whole).unwrap();
        assert_eq!((whole.usage, whole.finish), (estimate(0), Some(Finish::Stop)), "{wrong}");
        let vectors = format!(r#"{{"embeddings":[[1,2]],"prompt_eval_count":{wrong}}}"#);
        let plan = ReplyPlan { endpoint: Endpoint::Embeddings, ..plan.clone() };
        let vectors = Received::new(200, Bytes::from(vectors));
        assert_eq!(read_reply(&plan, &mint(), vectors).unwrap().usage, estimate(0), "{wrong}");
    }
}

#[test]
fn a_nested_error_in_a_200_is_read() {
    let text = r#"{"error":"{\"error\":{\"code\":400,\"message\":\"request (4653 tokens) exceeds the available context size (4096 tokens), try increasing it\",\"type\":\"exceed_context_size_error\"}}"}"#;
    let received = Received::new(200, Bytes::from(text));
    let fault = read_reply(&plan(Endpoint::ChatCompletions), &mint(), received).unwrap_err();
    assert_eq!(fault.fault.code, Code::ContextLengthExceeded);
}

#[test]
fn traffic_that_names_its_model_itself_gets_the_model_s_context() {
    let mut pinned = target();
    pinned.settings.ollama.pins = [("m:latest".to_owned(), 16_384)].into();
    let sent = |model: &str| {
        chat(&json!({"model": model, "messages": [{"role": "user", "content": "hi"}]}), &pinned)
    };
    assert_eq!(sent("m")["options"]["num_ctx"], 16_384);
    assert_eq!(sent("m:latest")["options"]["num_ctx"], 16_384);
    assert_eq!(sent("m:7b")["options"]["num_ctx"], Value::Null);
    assert_eq!(sent("m")["truncate"], false);
}

const SPOKEN: [&str; 3] =
    ["{\"name\": ", "\"get_weather\", \"arguments\": ", "{\"city\": \"Paris\"}}"];

fn said(pieces: &[&str], tools: &[&str]) -> String {
    let tools: Vec<String> = tools.iter().map(|&tool| tool.to_owned()).collect();
    let plan =
        ReplyPlan { spoken_tools: tools.into(), stream: true, ..plan(Endpoint::ChatCompletions) };
    let mut tap = Tap::new(plan, mint(), Limits::default());
    let mut out = Vec::new();
    for piece in pieces {
        let line = json!({"model": "m", "message": {"role": "assistant", "content": piece}, "done": false});
        tap.push(Bytes::from(format!("{line}\n")), &mut out).unwrap();
    }
    let last = json!({"model": "m", "message": {"role": "assistant", "content": ""}, "done": true,
        "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4});
    tap.push(Bytes::from(format!("{last}\n")), &mut out).unwrap();
    String::from_utf8(out.concat()).unwrap()
}

#[test]
fn a_call_said_in_the_text_of_a_stream_is_a_call() {
    let text = said(&SPOKEN, &["get_weather"]);
    assert!(text.contains("\"tool_calls\":[{\"index\":0,"), "{text}");
    assert!(text.contains(r#""arguments":"{\"city\": \"Paris\"}""#), "{text}");
    assert!(text.contains("\"finish_reason\":\"tool_calls\"") && text.contains("[DONE]"), "{text}");
    assert!(!text.contains("\"content\":\"{"), "{text}");
    // Without tools, or with others, it is a text.
    for tools in [&[][..], &["other"][..]] {
        let text = said(&SPOKEN, tools);
        assert!(
            !text.contains("tool_calls") && text.contains("\"finish_reason\":\"stop\""),
            "{text}"
        );
    }
}

#[test]
fn a_text_that_only_begins_like_a_call_arrives_whole() {
    let text = said(&["{\"name\": ", "\"get_weather\", ", "\"is\": \"a tool\"}"], &["get_weather"]);
    assert!(!text.contains("tool_calls"), "{text}");
    assert!(text.contains(r#"{\"name\": \"get_weather\", \"is\": \"a tool\"}"#), "{text}");
    let text = said(&["Hello", " there"], &["get_weather"]);
    assert!(
        text.contains("\"content\":\"Hello\"") && text.contains("\"content\":\" there\""),
        "{text}"
    );
}

#[test]
fn a_call_said_in_a_whole_text_is_a_call_where_no_form_was_asked_for() {
    let declared = json!([{"type": "function", "function": {"name": "get_weather"}}]);
    let messages = json!([{"role": "user", "content": "Weather?"}]);
    let asked = json!({"model": "m", "messages": messages, "tools": declared});
    let sent = send(Endpoint::ChatCompletions, &asked, &target()).unwrap();
    let body = json!({"model": "m", "message": {"role": "assistant", "content": SPOKEN.concat()},
        "done": true, "done_reason": "stop", "prompt_eval_count": 3, "eval_count": 4});
    let read = |plan: &ReplyPlan| {
        let body = Bytes::from(body.to_string());
        read_reply(plan, &mint(), Received::new(200, body)).unwrap().finish
    };
    assert_eq!(read(&sent.reply), Some(Finish::ToolCalls));
    let mut formed = asked;
    formed["response_format"] = json!({"type": "json_object"});
    let sent = send(Endpoint::ChatCompletions, &formed, &target()).unwrap();
    assert_eq!(read(&sent.reply), Some(Finish::Stop));
}
