use bytes::Bytes;
use cutover_units::Code;
use proptest::prelude::*;

use super::*;
use crate::tests::support::{inbound, lenient};

fn origins(path: &str, body: &str) -> Origins {
    inbound(path, &Bytes::from(body.to_owned()), &lenient()).origins
}

fn check(origins: &Origins, pairs: &[(&str, &str)]) {
    for (chat, own) in pairs {
        assert_eq!(origins.path(chat).as_deref(), Some(*own), "{chat}");
    }
}

#[test]
fn messages_client_reads_its_own_paths() {
    let body = r#" {"model":"m","max_tokens":9,"temperature":1.5,"stop_sequences":["a","b"],
      "thinking":{"type":"enabled","budget_tokens":5000},
      "system":[{"type":"text","text":"s"}],
      "tools":[{"name":"f","input_schema":{"type":"object","properties":{}}}],
      "messages":[
        {"role":"user","content":[{"type":"text","text":"q"},
          {"type":"image","source":{"type":"url","url":"http://10.0.0.1/a.png"}},
          {"type":"image","source":{"type":"base64","media_type":"image/png","data":"iVBOR"}}]},
        {"role":"assistant","content":[{"type":"text","text":"a"},
          {"type":"tool_use","id":"t1","name":"f","input":{"x":1}},
          {"type":"tool_use","id":"t2","name":"f","input":{}}]},
        {"role":"user","content":[{"type":"tool_result","tool_use_id":"t1","content":"r"},
          {"type":"tool_result","tool_use_id":"t2","content":[{"type":"text","text":"r2"}]},
          {"type":"text","text":"next"}]},
        {"role":"user","content":"last"}]}"#;
    check(
        &origins("/v1/messages", body),
        &[
            ("model", "model"),
            ("messages", "messages"),
            ("messages[0].content", "system[0].text"),
            ("messages[1].content[0].text", "messages[0].content[0].text"),
            ("messages[1].content[1].image_url.url", "messages[0].content[1].source.url"),
            ("messages[1].content[2].image_url.url", "messages[0].content[2].source.data"),
            ("messages[1].content[2].type", "messages[0].content[2]"),
            ("messages[2].tool_calls[0].function.arguments", "messages[1].content[1].input"),
            ("messages[2].tool_calls[1].function.name", "messages[1].content[2].name"),
            ("messages[2].tool_calls[1].type", "messages[1].content[2]"),
            ("messages[2].role", "messages[1]"),
            ("messages[3].tool_call_id", "messages[2].content[0].tool_use_id"),
            ("messages[4].content", "messages[2].content[1].content"),
            ("messages[5].content", "messages[2].content"),
            ("messages[6].content", "messages[3].content"),
            ("tools", "tools"),
            ("tools[0].function.parameters", "tools[0].input_schema"),
            ("tools[0].function.parameters.properties", "tools[0].input_schema.properties"),
            ("tools[0].type", "tools[0]"),
            ("max_completion_tokens", "max_tokens"),
            ("max_tokens", "max_tokens"),
            ("temperature", "temperature"),
            ("reasoning_effort", "thinking"),
            ("stop[1]", "stop_sequences[1]"),
        ],
    );
    assert_eq!(origins("/v1/messages", body).path("logit_bias"), None);
}

#[test]
fn responses_client_reads_its_own_paths() {
    let body = r#"{"model":"m","instructions":"i","max_output_tokens":5,"top_logprobs":2,"metadata":{"a":"b"},
      "reasoning":{"effort":"low"},"text":{"format":{"type":"json_schema","name":"n","schema":{}}},
      "tools":[{"type":"namespace","name":"s","tools":[{"type":"function","name":"g","parameters":{}}]},
        {"type":"custom","name":"c"}],
      "input":[{"role":"user","content":[{"type":"input_text","text":"q"},
          {"type":"input_image","image_url":"http://10.0.0.1/a.png","detail":"low"}]},
        {"type":"function_call","call_id":"c1","name":"g","arguments":"not json"},
        {"type":"function_call","call_id":"c2","name":"g","arguments":"{}"},
        {"type":"function_call_output","call_id":"c1","output":"o"}]}"#;
    check(
        &origins("/v1/responses", body),
        &[
            ("messages", "input"),
            ("messages[0].content", "instructions"),
            ("messages[1].content[1].image_url.url", "input[0].content[1].image_url"),
            ("messages[1].content[1]", "input[0].content[1]"),
            ("messages[1].content", "input[0].content"),
            ("messages[2].tool_calls[0].function.arguments", "input[1].arguments"),
            ("messages[2].tool_calls[1].function.name", "input[2].name"),
            ("messages[3].tool_call_id", "input[3].call_id"),
            ("messages[3].content", "input[3].output"),
            ("max_completion_tokens", "max_output_tokens"),
            ("max_tokens", "max_output_tokens"),
            ("logprobs", "top_logprobs"),
            ("reasoning_effort", "reasoning.effort"),
            ("response_format.json_schema.schema", "text.format"),
            ("metadata.a", "metadata.a"),
            ("tools[0].function.parameters", "tools[0].tools[0].parameters"),
            ("tools[1].type", "tools"),
        ],
    );
}

#[test]
fn ollamas_client_reads_its_own_paths() {
    let body = r#"{"model":"m","format":{"type":"object"},"think":"low","stream":false,
      "logprobs":true,"top_logprobs":3,"options":{"num_predict":3,"stop":["x"],"temperature":0},
      "messages":[{"role":"user","content":"q","images":["iVBOR"]},
        {"role":"assistant","content":"","tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]},
        {"role":"tool","tool_name":"f","content":"r"}]}"#;
    check(
        &origins("/api/chat", body),
        &[
            ("messages[0].content[1].image_url.url", "messages[0].images[0]"),
            ("messages[0].content[0].text", "messages[0].content"),
            (
                "messages[1].tool_calls[0].function.arguments",
                "messages[1].tool_calls[0].function.arguments",
            ),
            ("messages[2].content", "messages[2].content"),
            ("response_format", "format"),
            ("max_completion_tokens", "options.num_predict"),
            ("stop[0]", "options.stop[0]"),
            ("logprobs", "logprobs"),
            ("top_logprobs", "top_logprobs"),
            ("temperature", "options.temperature"),
            ("reasoning_effort", "think"),
        ],
    );
    let body = r#"{"model":"m","prompt":"q","system":"s"}"#;
    let generate = origins("/api/generate", body);
    check(
        &generate,
        &[("messages", "prompt"), ("messages[0].content", "system"), ("messages[1]", "prompt")],
    );
    let raw = origins("/api/generate", r#"{"model":"m","prompt":"q","raw":true}"#);
    check(&raw, &[("prompt", "prompt"), ("model", "model")]);
    check(&origins("/api/embed", r#"{"model":"m","input":["a"]}"#), &[("input", "input")]);
    check(&origins("/api/embeddings", r#"{"model":"m","prompt":"a"}"#), &[("input", "prompt")]);
}

#[test]
fn an_error_is_said_in_the_clients_words_and_names_nothing_that_it_did_not_send() {
    let body = r#"{"model":"m","input":[{"type":"function_call","call_id":"c","name":"g","arguments":"x"}]}"#;
    let origins = origins("/v1/responses", body);
    let chat = "messages[0].tool_calls[0].function.arguments";
    let fault = Fault::of(Code::InvalidValue, chat, format!("'{chat}' must hold a JSON object"));
    let said = origins.in_clients_words(fault);
    assert_eq!(said.param.as_deref(), Some("input[0].arguments"));
    assert_eq!(said.message, "'input[0].arguments' must hold a JSON object");
    let fault = Fault::of(Code::InvalidRequest, "logit_bias", "no such thing");
    assert_eq!(origins.in_clients_words(fault).param, None);
}

#[test]
fn without_the_body_the_table_still_knows_names() {
    let mut known = origins("/v1/responses", r#"{"model":"m","input":"a"}"#);
    known.forget_body();
    check(&known, &[("messages[7].content", "input"), ("max_tokens", "max_output_tokens")]);
}

proptest! {
    #[test]
    fn no_path_makes_it_panic(path in "[a-z_.\\[\\]0-9é]{0,40}") {
        let body = r#"{"model":"m","input":[{"role":"user","content":"a"}]}"#;
        let known = origins("/v1/responses", body);
        let _ = known.path(&path);
        let _ = known.path(&format!("messages[0].{path}"));
        let _ = known.path(&format!("tools[0].{path}"));
    }
}

#[test]
fn reasoning_that_is_lost_is_called_what_its_client_calls_it() {
    let lost = || Loss {
        field: "messages[].reasoning_content".to_owned(),
        action: cutover_wire::LossAction::Dropped,
        why: "",
    };
    let turns = r#""messages":[{"role":"user","content":"a"}]"#;
    for (path, body, own) in [
        ("/v1/responses", r#"{"model":"m","input":"a"}"#.to_owned(), "input[].reasoning"),
        (
            "/v1/messages",
            format!(r#"{{"model":"m","max_tokens":1,{turns}}}"#),
            "messages[].content[].thinking",
        ),
        ("/api/chat", format!(r#"{{"model":"m",{turns}}}"#), "messages[].thinking"),
        (
            "/v1beta/models/m:generateContent",
            r#"{"contents":[{"parts":[{"text":"a"}]}]}"#.to_owned(),
            "contents[].parts[].thought",
        ),
    ] {
        let origins = origins(path, &body);
        assert_eq!(origins.loss_in_clients_words(lost()).field, own, "{path}");
        let signed = Loss { field: "messages[].reasoning_details".to_owned(), ..lost() };
        let own = if path == "/v1/messages" { "messages[].content[].signature" } else { own };
        assert_eq!(origins.loss_in_clients_words(signed).field, own, "{path}");
    }
}

/// The thoughts may have been sent: what was lost was reported under their name.
#[test]
fn what_anthropic_signed_is_lost_under_its_own_name() {
    for (block, own) in [
        (
            r#"{"type":"thinking","thinking":"hm","signature":"S"}"#,
            "messages[].content[].signature",
        ),
        (r#"{"type":"redacted_thinking","data":"E"}"#, "messages[].content[].redacted_thinking"),
    ] {
        let body = format!(
            r#"{{"model":"m","max_tokens":1,"messages":[{{"role":"assistant","content":[{block}]}}]}}"#
        );
        let loss = Loss {
            field: "messages[].reasoning_details".to_owned(),
            action: cutover_wire::LossAction::Dropped,
            why: "",
        };
        let origins = origins("/v1/messages", &body);
        assert_eq!(origins.loss_in_clients_words(loss).field, own);
    }
}
