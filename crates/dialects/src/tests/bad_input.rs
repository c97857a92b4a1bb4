//! Input that is wrong, and input that is only large: a defined outcome each.

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::{Endpoint, Head};

use super::support::{facts, inbound, lenient, now, payloads, read, stream};
use crate::{Asked, Inbound};

fn fault(path: &str, body: &str) -> (Code, Option<String>) {
    let body = Bytes::from(body.to_owned());
    let fault = read(path, &body, &facts()).err().unwrap();
    (fault.code, fault.param)
}

fn named(path: &str, body: &str) -> String {
    fault(path, body).1.unwrap_or_default()
}

#[test]
fn what_is_no_request_is_told_in_every_dialect() {
    for path in ["/v1/messages", "/v1/responses", "/api/chat", "/api/generate", "/api/embed"] {
        assert_eq!(fault(path, "").0, Code::InvalidJson);
        assert_eq!(fault(path, "{").0, Code::InvalidJson);
        assert_eq!(fault(path, "{} {}").0, Code::InvalidJson);
        assert_eq!(fault(path, "[]").0, Code::InvalidType);
        assert_eq!(fault(path, "null").0, Code::InvalidType);
        assert_eq!(fault(path, "{}"), (Code::MissingField, Some("model".to_owned())));
        assert_eq!(named(path, r#"{"model":1}"#), "model");
        let deep = format!(r#"{{"model":"m","x":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        assert_eq!(fault(path, &deep).0, Code::InvalidJson);
        let invalid = Bytes::from_static(b"{\"model\":\"\xff\"}");
        assert_eq!(read(path, &invalid, &facts()).err().unwrap().code, Code::InvalidJson);
    }
}

#[test]
fn each_wrong_field_is_named() {
    let messages = |inner: &str| {
        named("/v1/messages", &format!(r#"{{"model":"m","max_tokens":1,"messages":{inner}}}"#))
    };
    assert_eq!(messages("[]"), "messages");
    assert_eq!(messages("{}"), "messages");
    assert_eq!(messages(r#"[{"role":"robot","content":"a"}]"#), "messages[0].role");
    assert_eq!(messages(r#"[{"role":"user"}]"#), "messages[0].content");
    assert_eq!(messages(r#"[{"role":"user","content":1}]"#), "messages[0].content");
    assert_eq!(messages(r#"[{"role":"user","content":[1]}]"#), "messages[0].content[0]");
    assert_eq!(
        messages(r#"[{"role":"user","content":[{"type":"text"}]}]"#),
        "messages[0].content[0].text"
    );
    assert_eq!(messages(r#"[{"role":"user","content":"a","role":"user"}]"#), "messages[0].role");
    assert_eq!(
        messages(r#"[{"role":"user","content":[{"type":"tool_result","content":"a"}]}]"#),
        "messages[0].content[0].tool_use_id"
    );
    assert_eq!(
        messages(
            r#"[{"role":"assistant","content":[{"type":"image","source":{"type":"url","url":"a"}}]}]"#
        ),
        "messages[0].content[0].type"
    );
    let input =
        |inner: &str| named("/v1/responses", &format!(r#"{{"model":"m","input":{inner}}}"#));
    assert_eq!(input("[]"), "input");
    assert_eq!(input("7"), "input");
    assert_eq!(
        input(r#"[{"type":"function_call","name":"f","arguments":"{}"}]"#),
        "input[0].call_id"
    );
    assert_eq!(
        input(r#"[{"type":"function_call","call_id":"a","name":"f","arguments":{}}]"#),
        "input[0].arguments"
    );
    assert_eq!(input(r#"[{"role":"user","content":[{"type":"x"}]}]"#), "input[0].content[0].type");
    assert_eq!(input(r#"[{"type":"item_reference","id":"foreign"}]"#), "input[0].id");
    assert_eq!(named("/v1/responses", r#"{"model":"m"}"#), "input");
    let chat = |inner: &str| named("/api/chat", &format!(r#"{{"model":"m",{inner}}}"#));
    assert_eq!(chat(r#""messages":[{"role":"user"}],"format":"xml""#), "format");
    assert_eq!(chat(r#""messages":[{"role":"user"}],"options":{"seed":"x"}"#), "options.seed");
    assert_eq!(
        chat(r#""messages":[{"role":"user"}],"options":{"temperature":1e999}"#),
        "options.temperature"
    );
    assert_eq!(chat(r#""messages":[{"role":"user","images":[1]}]"#), "messages[0].images[0]");
    assert_eq!(chat(r#""messages":[{"content":"a"}]"#), "messages[0].role");
}

#[test]
fn a_thinking_block_without_signature_is_taken() {
    let body = r#"{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"a"}]},{"role":"user","content":"b"}]}"#;
    let kept = inbound("/v1/messages", &Bytes::from(body), &lenient());
    assert!(std::str::from_utf8(&kept.body).unwrap().contains(r#""reasoning_content":"hm""#));
    assert!(kept.losses.is_empty());
    let dropped = inbound("/v1/messages", &Bytes::from(body), &facts());
    assert!(!std::str::from_utf8(&dropped.body).unwrap().contains("hm"));
    assert_eq!(dropped.losses[0].field, "messages[].content[].thinking");
}

#[test]
fn ten_thousand_messages_and_a_thousand_tools_are_carried() {
    let turns: Vec<String> = (0..10_000)
        .map(|n| format!(r#"{{"role":"{}","content":"m{n}"}}"#, ["user", "assistant"][n % 2]))
        .collect();
    let tools: Vec<String> = (0..1_000)
        .map(|n| format!(r#"{{"type":"function","name":"f{n}","parameters":{{"type":"object"}}}}"#))
        .collect();
    let anthropic: Vec<String> = tools
        .iter()
        .map(|t| t.replace(r#""type":"function","#, "").replace("parameters", "input_schema"))
        .collect();
    let (turns, tools, anthropic) = (turns.join(","), tools.join(","), anthropic.join(","));
    for (path, body) in [
        (
            "/v1/messages",
            format!(r#"{{"model":"m","max_tokens":1,"tools":[{anthropic}],"messages":[{turns}]}}"#),
        ),
        ("/v1/responses", format!(r#"{{"model":"m","tools":[{tools}],"input":[{turns}]}}"#)),
        ("/api/chat", format!(r#"{{"model":"m","messages":[{turns}]}}"#)),
    ] {
        let inbound = inbound(path, &Bytes::from(body), &facts());
        let value: serde_json::Value = serde_json::from_slice(&inbound.body).unwrap();
        assert_eq!(value["messages"].as_array().unwrap().len(), 10_000);
        if path != "/api/chat" {
            assert_eq!(value["tools"].as_array().unwrap().len(), 1_000);
        }
        Head::read(Endpoint::ChatCompletions, &inbound.body).unwrap();
    }
}

#[test]
fn a_report_lists_a_bounded_number_of_unknown_fields_in_plain_letters() {
    let fields: Vec<String> = (0..200).map(|n| format!("\"f\\r\\n{n}\u{e9}\":1")).collect();
    let body = format!(r#"{{"model":"m","input":"a",{}}}"#, fields.join(","));
    let inbound = inbound("/v1/responses", &Bytes::from(body), &facts());
    assert_eq!(inbound.losses.len(), 64);
    let plain = |c: char| c.is_ascii_graphic();
    assert!(inbound.losses.iter().all(|loss| loss.field.chars().all(plain)));
}

fn asked(path: &str, body: &'static str) -> Inbound {
    match read(path, &Bytes::from_static(body.as_bytes()), &facts()) {
        Ok(Asked::Infer(inbound)) => *inbound,
        _ => panic!("{path}"),
    }
}

fn all() -> Vec<Inbound> {
    vec![
        asked(
            "/v1/messages",
            r#"{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"a"}]}"#,
        ),
        asked("/v1/responses", r#"{"model":"m","input":"a"}"#),
        asked("/api/chat", r#"{"model":"m","messages":[{"role":"user","content":"a"}]}"#),
        asked("/api/generate", r#"{"model":"m","prompt":"a"}"#),
        asked(GENERATE, r#"{"contents":[{"parts":[{"text":"a"}]}]}"#),
    ]
}

#[test]
fn an_answer_that_cannot_be_read_is_the_upstreams_fault() {
    for body in [
        "",
        "null",
        "<html>",
        r#"{"choices":[]}"#,
        r#"{"choices":[{"message":{"content":[1]},"finish_reason":"stop"}]}"#,
        r#"{"choices":[{"message":{"content":"a"},"finish_reason":"stop"}],"error":{"message":"x"}}"#,
    ] {
        for inbound in all() {
            let fault = inbound.way_back.reply(body.as_bytes(), now()).err().unwrap();
            assert_eq!(fault.code, Code::BadGateway, "{body}");
        }
    }
}

#[test]
fn no_broken_stream_ends_like_a_whole_one() {
    let start = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let finish = "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n";
    let done = "data: [DONE]\n\n";
    for (text, whole) in [
        (format!("{start}{finish}{done}"), true),
        (format!("{start}{finish}data: [DONE]"), true),
        (String::new(), false),
        (start.to_owned(), false),
        (format!("{start}{done}"), false),
        (format!("{start}{finish}"), false),
        (format!("{start}data: {{oops\n\n{finish}{done}"), false),
        (format!("{start}data: {{\"error\":null}}\n\n{finish}{done}"), true),
        (format!("{start}data: {{\"error\":{{\"message\":\"m\"}}}}\n\n{finish}{done}"), false),
    ] {
        for inbound in all() {
            let out = stream(inbound.way_back, &[text.as_bytes()]);
            let ended = ["message_stop", "response.completed", "\"done\":true", "\"finishReason\""];
            assert_eq!(ended.iter().any(|word| out.contains(word)), whole, "{text}\n{out}");
            let failed = ["event: error", "\n{\"error\":", "response.failed", "data: {\"error\":"];
            let shows =
                failed.iter().any(|word| out.contains(word)) || out.starts_with("{\"error\":");
            assert_eq!(shows, !whole, "{text}\n{out}");
            payloads(&out);
        }
    }
}

const GENERATE: &str = "/v1beta/models/m:generateContent";

#[test]
fn each_wrong_field_of_geminis_is_named() {
    for (body, code) in [
        ("", Code::InvalidJson),
        ("{", Code::InvalidJson),
        ("[]", Code::InvalidType),
        ("{}", Code::MissingField),
    ] {
        for verb in ["generateContent", "streamGenerateContent", "countTokens", "embedContent"] {
            assert_eq!(fault(&format!("/v1/models/m:{verb}"), body).0, code, "{verb} {body}");
        }
    }
    let contents =
        |inner: &str| named(GENERATE, &format!(r#"{{"contents":[{{"parts":[{inner}]}}]}}"#));
    assert_eq!(named(GENERATE, r#"{"contents":7}"#), "contents");
    assert_eq!(named(GENERATE, r#"{"contents":[{"role":"user"}]}"#), "contents[0].parts");
    assert_eq!(contents("{}"), "contents[0].parts[0]");
    assert_eq!(contents(r#"{"text":7}"#), "contents[0].parts[0].text");
    assert_eq!(contents(r#"{"text":"\ud83d"}"#), "contents[0].parts[0].text");
    assert_eq!(
        contents(r#"{"functionResponse":{"response":{}}}"#),
        "contents[0].parts[0].functionResponse.name"
    );
    assert_eq!(
        contents(r#"{"inlineData":{"mimeType":"a\r\nb","data":"AA=="}}"#),
        "contents[0].parts[0].inlineData.mimeType"
    );
    let call =
        r#"{"contents":[{"role":"model","parts":[{"functionCall":{"name":"f","args":"x"}}]}]}"#;
    assert_eq!(named(GENERATE, call), "contents[0].parts[0].functionCall.args");
    let with = |more: &str| {
        named(GENERATE, &format!(r#"{{"contents":[{{"parts":[{{"text":"a"}}]}}],{more}}}"#))
    };
    for (more, field) in [
        (r#""generationConfig":{"maxOutputTokens":"x"}"#, "generationConfig.maxOutputTokens"),
        (r#""generation_config":{"top_p":[]}"#, "generationConfig.topP"),
        (r#""generationConfig":{"stopSequences":[1]}"#, "generationConfig.stopSequences[0]"),
        (
            r#""generationConfig":{"responseMimeType":"image/png"}"#,
            "generationConfig.responseMimeType",
        ),
        (
            r#""generationConfig":{"thinkingConfig":{"thinkingLevel":"EXTREME"}}"#,
            "generationConfig.thinkingConfig.thinkingLevel",
        ),
        (
            r#""toolConfig":{"functionCallingConfig":{"mode":"MAYBE"}}"#,
            "toolConfig.functionCallingConfig.mode",
        ),
        (r#""tools":[{"functionDeclarations":[{}]}]"#, "tools[0].functionDeclarations[0].name"),
        (r#""serviceTier":"gold""#, "serviceTier"),
        (r#""systemInstruction":"be brief""#, "systemInstruction"),
    ] {
        assert_eq!(with(more), field);
    }
    let two = r#"{"requests":[{"content":{"parts":[{"text":"a"}]},"outputDimensionality":4},{"content":{"parts":[{"text":"b"}]}}]}"#;
    let batch = "/v1beta/models/m:batchEmbedContents";
    assert_eq!(named(batch, two), "requests[1].outputDimensionality");
    assert_eq!(named(batch, "{}"), "requests");
}

#[test]
fn geminis_ten_thousand_contents_and_a_thousand_tools_are_carried() {
    let turns: Vec<String> = (0..10_000)
        .map(|n| {
            format!(r#"{{"role":"{}","parts":[{{"text":"m{n}"}}]}}"#, ["user", "model"][n % 2])
        })
        .collect();
    let tools: Vec<String> = (0..1_000)
        .map(|n| format!(r#"{{"name":"f{n}","parameters":{{"type":"OBJECT"}}}}"#))
        .collect();
    let (turns, tools) = (turns.join(","), tools.join(","));
    let body =
        format!(r#"{{"contents":[{turns}],"tools":[{{"functionDeclarations":[{tools}]}}]}}"#);
    let inbound = inbound(GENERATE, &Bytes::from(body), &facts());
    let value: serde_json::Value = serde_json::from_slice(&inbound.body).unwrap();
    assert_eq!(value["messages"].as_array().unwrap().len(), 10_000);
    assert_eq!(value["tools"].as_array().unwrap().len(), 1_000);
    Head::read(Endpoint::ChatCompletions, &inbound.body).unwrap();
}

/// What a strict reading says.
type Strict = Result<(), (Code, Option<String>)>;

/// How a body fares strictly, and what is lost of it leniently.
fn fares(path: &str, body: &str) -> (Strict, Vec<String>) {
    let body = Bytes::from(body.to_owned());
    let strict = read(path, &body, &facts());
    let losses = match read(path, &body, &lenient()) {
        Ok(Asked::Infer(inbound)) => {
            Head::read(inbound.endpoint, &inbound.body).unwrap();
            inbound.losses.into_iter().map(|loss| loss.field).collect()
        }
        _ => Vec::new(),
    };
    (strict.map(|_| ()).map_err(|fault| (fault.code, fault.param)), losses)
}

#[test]
fn what_a_vendor_may_know_is_refused_only_where_it_must_be_converted() {
    let claude = |content: &str, more: &str| {
        let user = format!(r#"{{"role":"user","content":{content}}}"#);
        fares("/v1/messages", &format!(r#"{{"model":"m","messages":[{user}],{more}}}"#))
    };
    let plain = r#""max_tokens":5"#;
    let google = |role: &str, part: &str| {
        let turn = format!(r#"{{"role":"{role}","parts":[{{"text":"a"}},{part}]}}"#);
        fares(GENERATE, &format!(r#"{{"contents":[{turn}]}}"#))
    };
    for ((strict, losses), param, loss) in [
        (
            claude(r#"[{"type":"text","text":"a"},{"type":"hologram","x":1}]"#, plain),
            "messages[0].content[1].type",
            "messages[].content[].type",
        ),
        (
            claude("\"a\"", r#""max_tokens":5,"tool_choice":{"type":"pick"}"#),
            "tool_choice.type",
            "tool_choice.type",
        ),
        (claude("\"a\"", r#""max_tokens":0"#), "max_tokens", "max_tokens.zero"),
        (google("user", r#"{"hologram":{}}"#), "contents[0].parts[1]", "contents[].parts[]"),
        (google("model", r#"{"hologram":{}}"#), "contents[0].parts[1]", "contents[].parts[]"),
    ] {
        assert_eq!(strict, Err((Code::UnsupportedParameter, Some(param.to_owned()))));
        assert!(losses.iter().any(|field| field == loss), "{losses:?}");
    }
    assert_eq!(claude("\"a\"", r#""max_tokens":-1"#).0.unwrap_err().0, Code::InvalidValue);
}

#[test]
fn what_is_kept_at_a_vendors_under_the_operators_key_is_refused_always() {
    let result = |inner: &str| {
        format!(r#"{{"type":"code_execution_tool_result","tool_use_id":"a","content":{inner}}}"#)
    };
    let file = r#"{"type":"code_execution_result","content":[{"type":"code_execution_output","file\u005fid":"file_1"}]}"#;
    for (block, refused) in [
        (r#"{"type":"container_upload","file_id":"file_1"}"#.to_owned(), true),
        (r#"{"type":"document","source":{"type":"file","file_id":"file_1"}}"#.to_owned(), true),
        (r#"{"type":"hologram","of":[{"file_id":"file_1"}]}"#.to_owned(), true),
        (result(file), true),
        (result(r#"{"type":"code_execution_result","stdout":"file_id","content":[]}"#), false),
        (
            r#"{"type":"server_tool_use","id":"a","name":"x","input":{"file_id":1}}"#.to_owned(),
            false,
        ),
    ] {
        let body = format!(
            r#"{{"model":"m","max_tokens":5,"messages":[{{"role":"assistant","content":[{{"type":"text","text":"a"}}]}},{{"role":"user","content":[{block}]}}]}}"#
        );
        let told = read("/v1/messages", &Bytes::from(body), &lenient()).err();
        let told = told.map(|fault| fault.code);
        assert_eq!(told, refused.then_some(Code::UnsupportedParameter), "{block}");
    }
    let model = r#"{"contents":[{"role":"model","parts":[{"fileData":{"fileUri":"files/a"}}]}]}"#;
    let fault = read(GENERATE, &Bytes::from(model), &lenient()).err().unwrap();
    assert_eq!(fault.param.as_deref(), Some("contents[0].parts[0].fileData"));
}

/// Whatever was looked for among all that came before made a body of some MB take minutes: as long as it is, this does
/// not end.
#[test]
fn what_comes_many_times_costs_no_more_each_time() {
    const TIMES: usize = 40_000;
    let each = |one: &dyn Fn(usize) -> String| (0..TIMES).map(one).collect::<Vec<_>>().join(",");
    let responses = |input: &str, more: &str| {
        let body = format!(r#"{{"model":"m","input":[{input}],"tools":[{more}]}}"#);
        inbound("/v1/responses", &Bytes::from(body), &lenient())
    };
    // Results out of their place.
    let calls = each(&|at| {
        format!(
            r#"{{"type":"function_call","call_id":"a call's id {at}","name":"f","arguments":"{{}}"}}"#
        )
    });
    let results = each(&|at| {
        let said = r#"{"role":"user","content":"wait"}"#;
        format!(
            r#"{said},{{"type":"function_call_output","call_id":"a call's id {at}","output":"r"}}"#
        )
    });
    let sent = responses(&format!("{calls},{results}"), "");
    assert!(sent.losses.iter().any(|loss| loss.field == "input[].output.order"));
    let body = String::from_utf8(sent.body.to_vec()).unwrap();
    let (last, wait) = (body.rfind("\"tool\"").unwrap(), body.find("wait").unwrap());
    assert!(last < wait, "the results stand behind their calls");
    // Tools that would have one name, each called.
    let space = "a_namespace_whose_name_is_longer_than_that_of_a_function_may_be";
    let tools = each(&|at| format!(r#"{{"type":"function","name":"{at}","parameters":{{}}}}"#));
    let tools = format!(r#"{{"type":"namespace","name":"{space}","tools":[{tools}]}}"#);
    let calls = each(&|at| {
        format!(
            r#"{{"type":"function_call","call_id":"{at}","name":"{at}","namespace":"{space}","arguments":"{{}}"}}"#
        )
    });
    let body = String::from_utf8(responses(&calls, &tools).body.to_vec()).unwrap();
    let last = format!(r#"{}_{TIMES}""#, &space[..63 - TIMES.to_string().len()]);
    assert_eq!(body.matches(&last).count(), 2, "the last call, and its tool");
    // Tools that are brought along, and brought again.
    let tools = each(&|at| format!(r#"{{"type":"function","name":"f{at}","parameters":{{}}}}"#));
    let brought = format!(r#"{{"type":"additional_tools","role":"developer","tools":[{tools}]}}"#);
    let input = format!(r#"{brought},{brought},{{"role":"user","content":"a"}}"#);
    let body = String::from_utf8(responses(&input, "").body.to_vec()).unwrap();
    assert_eq!(body.matches(r#""type":"function""#).count(), TIMES);
    // Tools that are allowed.
    let names = each(&|at| format!(r#""f{at}""#));
    let tools = each(&|at| format!(r#"{{"name":"f{at}"}}"#));
    let body = format!(
        r#"{{"contents":[{{"role":"user","parts":[{{"text":"a"}}]}}],"tools":[{{"functionDeclarations":[{tools}]}}],
            "toolConfig":{{"functionCallingConfig":{{"mode":"ANY","allowedFunctionNames":[{names}]}}}}}}"#
    );
    let sent = inbound("/v1beta/models/asked:generateContent", &Bytes::from(body), &lenient());
    let body = String::from_utf8(sent.body.to_vec()).unwrap();
    assert_eq!(body.matches(r#""type":"function""#).count(), TIMES);
}
