use cutover_units::Code;
use cutover_wire::stream::{Limits, Tap};
use cutover_wire::{
    Endpoint, Finish, Head, Mint, Provider, ReplyPlan, Target, UpstreamFault, adapt,
};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::responses::answer;

const STREAM: &str = include_str!("../../../fixtures/responses-stream.sse");
const ANSWER: &str = include_str!("../../../fixtures/responses-answer.json");

fn turned(frames: &[&[u8]]) -> (String, EventsIn) {
    let (mut events, mut out) = (EventsIn::new(Millis(7_000)), Vec::new());
    for frame in frames {
        events.push(Bytes::copy_from_slice(frame), &mut out);
    }
    events.finish(&mut out);
    (String::from_utf8(out.concat()).unwrap(), events)
}

fn plan() -> ReplyPlan {
    let target = Target::untouched(Provider::by_name("openai").unwrap());
    let body = Bytes::from_static(br#"{"model":"m","messages":[{"role":"user","content":"a"}],"stream":true,"stream_options":{"include_usage":true}}"#);
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    adapt::adapt(&head, &body, &target).unwrap().reply
}

/// What the reader of chats makes of a stream.
fn tapped(stream: &str) -> Result<Tap, UpstreamFault> {
    let mint = Mint { id: "chatcmpl-1".to_owned(), model: "m".into(), created: 7 };
    let (mut tap, mut out) = (Tap::new(plan(), mint, Limits::default()), Vec::new());
    tap.push(Bytes::from(turned(&[stream.as_bytes()]).0), &mut out)?;
    tap.finish(&mut out)?;
    Ok(tap)
}

/// A stream's chunks put together.
fn joined(chunks: &str) -> Value {
    let mut message = json!({"content": "", "reasoning_content": "", "tool_calls": []});
    let mut finish = Value::Null;
    for data in chunks.lines().filter_map(|line| line.strip_prefix("data: {")) {
        let chunk: Value = serde_json::from_str(&format!("{{{data}")).unwrap();
        let Some(choice) = chunk["choices"].get(0) else { continue };
        for key in ["content", "reasoning_content"] {
            let piece = choice["delta"][key].as_str().unwrap_or_default();
            message[key] = format!("{}{piece}", message[key].as_str().unwrap()).into();
        }
        for call in choice["delta"]["tool_calls"].as_array().into_iter().flatten() {
            let at = usize::try_from(call["index"].as_u64().unwrap()).unwrap();
            let calls = message["tool_calls"].as_array_mut().unwrap();
            if calls.len() == at {
                calls.push(
                    json!({"id": call["id"], "name": call["function"]["name"], "arguments": ""}),
                );
            }
            let piece = call["function"]["arguments"].as_str().unwrap();
            let told = calls[at]["arguments"].as_str().unwrap();
            calls[at]["arguments"] = format!("{told}{piece}").into();
        }
        if choice["finish_reason"].is_string() {
            finish = choice["finish_reason"].clone();
        }
    }
    json!({"message": message, "finish_reason": finish})
}

#[test]
fn a_stream_says_what_the_whole_answer_says() {
    let (chunks, events) = turned(&[STREAM.as_bytes()]);
    assert!(chunks.ends_with("data: [DONE]\n\n") && events.works());
    let stream = joined(&chunks);
    assert_eq!(stream["message"]["content"], "It is on its way – see \"the news\".");
    assert_eq!(stream["message"]["reasoning_content"], "**Looking it up**");
    let custom = &stream["message"]["tool_calls"][1];
    assert_eq!(custom["name"], "desk__note");
    let input: Value = serde_json::from_str(custom["arguments"].as_str().unwrap()).unwrap();
    assert_eq!(input["input"], "say \"hi\"\ntwice");

    let whole: Value =
        serde_json::from_slice(&answer(ANSWER.as_bytes(), Millis(0)).unwrap()).unwrap();
    let choice = &whole["choices"][0];
    assert_eq!(choice["finish_reason"], stream["finish_reason"]);
    for key in ["content", "reasoning_content"] {
        assert_eq!(choice["message"][key], stream["message"][key], "{key}");
    }
    for at in [0, 1] {
        let (call, told) =
            (&choice["message"]["tool_calls"][at], &stream["message"]["tool_calls"][at]);
        assert_eq!(call["id"], told["id"]);
        assert_eq!(call["function"]["name"], told["name"]);
        assert_eq!(call["function"]["arguments"], told["arguments"]);
    }
}

#[test]
fn what_it_took_and_how_it_ended_is_read() {
    let tap = tapped(STREAM).unwrap();
    assert!(tap.ended_well() && tap.first_content_seen());
    assert_eq!(tap.finish_reason(), Some(Finish::ToolCalls));
    let usage = tap.usage().unwrap();
    assert_eq!((usage.prompt_tokens, usage.completion_tokens), (9_120, 212));
    assert_eq!((usage.cached_tokens, usage.reasoning_tokens), (Some(8_064), Some(128)));
    let cut = |reason: &str| {
        format!(
            "data: {{\"type\":\"response.incomplete\",\"response\":{{\"status\":\"incomplete\",\"incomplete_details\":{{\"reason\":\"{reason}\"}},\"output\":[]}}}}\n\n"
        )
    };
    assert_eq!(tapped(&cut("max_output_tokens")).unwrap().finish_reason(), Some(Finish::Length));
    let filtered = tapped(&cut("content_filter")).unwrap().finish_reason();
    assert_eq!(filtered, Some(Finish::ContentFilter));
}

#[test]
fn a_stream_is_the_same_wherever_it_is_cut_and_never_whole_before_its_end() {
    let (whole, _) = turned(&[STREAM.as_bytes()]);
    let last = STREAM.rfind("event: ").unwrap();
    let bytes: Vec<&[u8]> = STREAM.as_bytes().chunks(1).collect();
    assert_eq!(turned(&bytes).0, whole);
    for at in (0..STREAM.len()).step_by(11) {
        let (first, second) = STREAM.as_bytes().split_at(at);
        assert_eq!(turned(&[first, second]).0, whole, "{at}");
    }
    // An event is whole with its last byte, whether its end mark has come or not.
    let mut events = EventsIn::new(Millis(7_000));
    for (at, byte) in bytes[..STREAM.len() - 2].iter().enumerate() {
        let mut out = Vec::new();
        events.push(Bytes::copy_from_slice(byte), &mut out);
        assert!(!out.concat().ends_with(b"[DONE]\n\n"), "{at}");
    }
    let fault = tapped(&STREAM[..last]).err().unwrap().fault;
    assert_eq!(fault.code, Code::BadGateway);
}

#[test]
fn errors_are_told_in_each_of_their_forms() {
    let event = |data: &str| format!("data: {data}\n\n");
    for (data, code) in [
        (
            r#"{"type":"error","code":"rate_limit_exceeded","message":"slow down","param":null}"#,
            Code::RateLimitExceeded,
        ),
        (
            r#"{"type":"error","error":{"type":"x","code":"context_length_exceeded","message":"long"}}"#,
            Code::ContextLengthExceeded,
        ),
        (
            r#"{"error":{"type":"x","code":"rate_limit_exceeded","message":"slow"}}"#,
            Code::RateLimitExceeded,
        ),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"server_error","message":"sorry"}}}"#,
            Code::BadGateway,
        ),
        (
            r#"{"type":"response.failed","response":{"status":"failed","error":{"code":"invalid_prompt","message":"no"}}}"#,
            Code::InvalidRequest,
        ),
        (
            r#"{"type":"response.completed","response":{"status":"completed","output":[],"error":{"code":"image_parse_error","message":"no"}}}"#,
            Code::InvalidRequest,
        ),
        (r#"{"type":"response.cancelled","response":{"status":"cancelled"}}"#, Code::BadGateway),
        (
            r#"{"type":"response.completed","response":{"status":"in_progress","output":[]}}"#,
            Code::BadGateway,
        ),
        ("[DONE]", Code::BadGateway),
    ] {
        let fault = tapped(&event(data)).err().unwrap().fault;
        assert_eq!(fault.code, code, "{data}");
    }
    let failed = r#"{"id":"resp_1","status":"failed","error":{"code":"rate_limit_exceeded","message":"slow"},"output":[]}"#;
    let body: Value =
        serde_json::from_slice(&answer(failed.as_bytes(), Millis(0)).unwrap()).unwrap();
    assert_eq!(body["error"]["code"], "rate_limit_exceeded");
    for none in [r#"{"status":"queued","output":[]}"#, r#"{"status":"completed"}"#, "[]", "<html>"]
    {
        assert_eq!(
            answer(none.as_bytes(), Millis(0)).err().unwrap().code,
            Code::BadGateway,
            "{none}"
        );
    }
}

#[test]
fn a_call_that_comes_whole_or_runs_at_the_clients_is_a_call() {
    let stream = concat!(
        r#"data: {"type":"response.output_item.added","output_index":0,"item":{"type":"function_call","call_id":"c1","name":"f","arguments":""}}"#,
        "\n\n",
        r#"data: {"type":"response.output_item.done","output_index":0,"item":{"type":"function_call","call_id":"c1","name":"f","arguments":"{}"}}"#,
        "\n\n",
        r#"data: {"type":"response.output_item.added","output_index":1,"item":{"type":"local_shell_call","call_id":"c2","action":{"command":["ls"]}}}"#,
        "\n\n",
        r#"data: {"type":"response.output_item.done","output_index":1,"item":{"type":"local_shell_call","call_id":"c2","action":{"command":["ls"]}}}"#,
        "\n\n",
    );
    let (chunks, events) = turned(&[stream.as_bytes()]);
    assert!(!events.works(), "nothing runs at the vendor's");
    let calls = joined(&chunks)["message"]["tool_calls"].clone();
    assert_eq!(calls[0]["arguments"], "{}");
    assert_eq!(
        (&calls[1]["name"], &calls[1]["arguments"]),
        (&json!("local_shell"), &json!(r#"{"action":{"command":["ls"]}}"#))
    );
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "[{}\\[\\]\",:a-z.]{0,80}", at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        turned(&[&bytes]);
        let _ = answer(&bytes, Millis(0));
        turned(&[format!("data: {text}\n\n").as_bytes()]);
        let mut stream = STREAM.as_bytes().to_vec();
        let place = at.index(stream.len());
        stream[place] = byte;
        turned(&[&stream]);
    }
}
