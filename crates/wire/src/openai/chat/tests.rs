use super::*;
use crate::Mint;
use crate::openai::{event, parse, write};
use cutover_units::Code;

fn mint() -> Mint {
    Mint { id: "chatcmpl-1".into(), model: "m".into(), created: 7 }
}

#[test]
fn a_full_request_is_read() {
    let request: Request = parse(
        br#"{"model":"m","messages":[
        {"role":"developer","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":{"url":"data:,x"}}]},
        {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c1","content":"42"}],
        "stop":"x","max_tokens":3,"max_completion_tokens":null,"logit_bias":{"5":-100},
        "response_format":{"type":"json_schema","json_schema":{"name":"n","schema":{"type":"object"},"strict":true}},
        "tools":[{"type":"function","function":{"name":"f","parameters":{"type":"object"}}}],"tool_choice":"auto",
        "stream_options":{"include_usage":true},"unknown":1}"#,
    )
    .unwrap();
    assert_eq!(request.limit(), Some(3));
    assert!(request.include_usage());
    assert_eq!(request.stop.unwrap().0, ["x"]);
    assert_eq!(
        request.messages[1].content.as_ref().unwrap().first_not_text(),
        Some((1, "image_url"))
    );
    let schema = request.response_format.unwrap().json_schema.unwrap().schema.unwrap();
    assert_eq!(schema.get(), r#"{"type":"object"}"#);
}

#[test]
fn a_wrong_field_is_named_with_its_place() {
    let param = |body: &str| {
        let fault = parse::<Request>(body.as_bytes()).unwrap_err();
        (fault.code, fault.param.unwrap_or_default())
    };
    let bad_role = r#"{"model":"m","messages":[{"role":"user","content":"a"},{"role":"weird"}]}"#;
    assert_eq!(param(bad_role), (Code::InvalidValue, "messages[1].role".into()));
    let bad_content = r#"{"model":"m","messages":[{"role":"user","content":5}]}"#;
    assert_eq!(param(bad_content), (Code::InvalidType, "messages[0].content".into()));
    let no_role = r#"{"model":"m","messages":[{"content":"x"}]}"#;
    assert_eq!(param(no_role), (Code::MissingField, "messages[0].role".into()));
}

#[test]
fn prompt_text_is_not_in_debug_output() {
    let request: Request =
        parse(br#"{"model":"m","messages":[{"role":"user","content":"SECRET"}],"stop":"SECRET"}"#)
            .unwrap();
    assert!(!format!("{request:?}").contains("SECRET"));
    assert!(!format!("{:?}", Answer::text("SECRET")).contains("SECRET"));
}

#[test]
fn answers_have_the_keys_the_vendor_requires() {
    let choice = Choice {
        index: 0,
        message: Answer::text("hi"),
        logprobs: None,
        finish_reason: Finish::Stop,
    };
    let answer = write(&Completion::new(&mint(), vec![choice], Some(Usage::new(1, 2))));
    assert_eq!(
        answer,
        r#"{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"m","choices":[{"index":0,"message":{"role":"assistant","content":"hi","refusal":null},"logprobs":null,"finish_reason":"stop"}],"usage":{"prompt_tokens":1,"completion_tokens":2,"total_tokens":3}}"#
    );
}

#[test]
fn chunks_are_events() {
    let mint = mint();
    let first = event(&Chunk::of(&mint, ChunkChoice::delta(Delta::role())));
    assert_eq!(
        first,
        "data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":7,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},\"finish_reason\":null}]}\n\n"
    );
    let last = event(&Chunk::of(&mint, ChunkChoice::finish(Finish::ToolCalls)));
    assert!(
        std::str::from_utf8(&last).unwrap().contains(r#""delta":{},"finish_reason":"tool_calls""#)
    );
    let usage = event(&Chunk::usage(&mint, Some(Usage::new(1, 1))));
    assert!(std::str::from_utf8(&usage).unwrap().contains(r#""choices":[],"usage":{"#));
}
