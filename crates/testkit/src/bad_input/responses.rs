//! What is wrong or odd in Responses.

#![expect(clippy::too_many_lines, reason = "a table of rows, not a course of steps")]

use serde_json::{Value, json};

use super::{Outcome, RESPONSES, Rows, passes, refused, turns};

fn item(item: &Value) -> Value {
    RESPONSES.talk("app", &json!([{"role": "user", "content": "hi"}, item]))
}

/// A conversation in which the assistant called with these arguments.
fn called(model: &str, arguments: &Value) -> Value {
    let turns = json!([
        {"role": "user", "content": "hi"},
        {"type": "function_call", "call_id": "c1", "name": "f", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "f", "arguments": arguments},
        {"type": "function_call_output", "call_id": "c1", "output": "ok"},
        {"type": "function_call_output", "call_id": "c2", "output": "ok"},
    ]);
    RESPONSES.talk(model, &turns)
}

/// A picture at an address.
fn picture(url: &str) -> Value {
    let turns = json!([{"role": "user", "content": [
        {"type": "input_text", "text": "hi"},
        {"type": "input_image", "image_url": url}]}]);
    let instructions = json!({"instructions": "see", "input": turns});
    RESPONSES.with("own", &instructions)
}

pub(super) fn rows() -> Rows {
    let with = |more: Value| RESPONSES.with("app", &more);
    let tools: Vec<Value> =
        (0..1_000).map(|n| json!({"type": "function", "name": format!("f{n}")})).collect();
    let mut rows = limits();
    rows.extend(vec![
        ("no input", json!({"model": "app"}), refused("missing_required_parameter", "input")),
        ("input that is a number", with(json!({"input": 7})), refused("invalid_type", "input")),
        ("an empty list of items", with(json!({"input": []})), refused("invalid_value", "input")),
        (
            "an item of an unknown kind",
            item(&json!({"type": "hologram"})),
            refused("unsupported_parameter", "input[1].type"),
        ),
        (
            "an item of a tool that only OpenAI runs",
            item(&json!({"type": "computer_call", "call_id": "c"})),
            refused("unsupported_parameter", "input[1].type"),
        ),
        (
            "a member of an item that is twice there",
            item(&json!({"role": "user", "again:role": "system", "content": "hi"})),
            refused("invalid_value", "input[1].role"),
        ),
        (
            "a part of an unknown kind",
            item(&json!({"role": "user", "content": [{"type": "hologram"}]})),
            refused("unsupported_parameter", "input[1].content[0].type"),
        ),
        (
            "a message of an unknown role",
            item(&json!({"role": "robot", "content": "hi"})),
            refused("invalid_value", "input[1].role"),
        ),
        (
            "half of a surrogate pair in a text",
            json!({"model": "app", "input": "PAIR"}),
            refused("invalid_value", "input"),
        ),
        (
            "a system message behind others",
            item(&json!({"role": "system", "content": "be"})),
            passes(&[("/messages/1/role", json!("system"))]),
        ),
        (
            "a result of a tool that nobody called",
            item(&json!({"type": "function_call_output", "call_id": "c9", "output": "ok"})),
            passes(&[("/messages/1/tool_call_id", json!("c9"))]),
        ),
        (
            "a result without its call's id",
            item(&json!({"type": "function_call_output", "output": "ok"})),
            refused("missing_required_parameter", "input[1].call_id"),
        ),
        (
            "arguments of a call that are no JSON",
            called("app", &json!("{no")),
            passes(&[("/messages/1/tool_calls/1/function/arguments", json!("{no"))]),
        ),
        (
            "arguments of a call that are no JSON, for an Ollama",
            called("native", &json!("{no")),
            passes(&[("/messages/1/tool_calls/1/function/arguments/arguments", json!("{no"))])
                .reported("messages[].tool_calls[].function.arguments"),
        ),
        (
            "arguments of a call that are an object",
            called("app", &json!({})),
            refused("invalid_type", "input[2].arguments"),
        ),
        (
            "reasoning that only OpenAI can read",
            item(&json!({"type": "reasoning", "summary": [], "encrypted_content": "x"})),
            passes(&[("/messages#", json!(1))]).reported("input[].encrypted_content"),
        ),
        (
            "10,000 items",
            with(json!({"input": turns(10_000)})),
            passes(&[("/messages#", json!(10_000))]),
        ),
        ("1,000 tools", with(json!({"tools": tools})), passes(&[("/tools#", json!(1_000))])),
        (
            "an image at a private address",
            picture("http://10.0.0.1/a.png"),
            refused("invalid_image_url", "input[0].content[1].image_url"),
        ),
        (
            "an image that is none",
            picture("data:image/png;base64,aGVsbG8="),
            refused("invalid_image_url", "input[0].content[1].image_url"),
        ),
        (
            "a prompt longer than the context",
            RESPONSES.with("own", &json!({"input": "long ".repeat(8_000)})),
            refused("context_length_exceeded", "input"),
        ),
        (
            "a field that nobody knows",
            with(json!({"x_unheard_of": 1})),
            passes(&[]).reported("x_unheard_of"),
        ),
        (
            "an answer that is not stored",
            with(json!({"previous_response_id": "resp_nothing"})),
            refused("previous_response_not_found", "previous_response_id"),
        ),
    ]);
    rows
}

fn limits() -> Rows {
    let with = |more: Value| RESPONSES.with("app", &more);
    let format = |format: Value| with(json!({"text": {"format": format}}));
    let unsupported: fn(&'static str) -> Outcome = |param| refused("unsupported_parameter", param);
    vec![
        ("`n` of 3", with(json!({"n": 3})), passes(&[]).reported("n")),
        (
            "a negative limit of tokens",
            with(json!({"max_output_tokens": -5})),
            refused("invalid_value", "max_output_tokens"),
        ),
        (
            "a limit that is a text",
            with(json!({"max_output_tokens": "many"})),
            refused("invalid_type", "max_output_tokens"),
        ),
        (
            "a temperature beyond all numbers",
            with(json!({"temperature": "HUGE"})),
            refused("invalid_value", "temperature"),
        ),
        (
            "a temperature that is a text",
            with(json!({"temperature": "hot"})),
            refused("invalid_type", "temperature"),
        ),
        (
            "more log-probabilities than the upstream has",
            with(json!({"top_logprobs": 30})),
            refused("invalid_request", "top_logprobs"),
        ),
        (
            "log-probabilities, for Anthropic",
            RESPONSES.with("claude", &json!({"top_logprobs": 2})),
            unsupported("top_logprobs"),
        ),
        (
            "an effort that nobody knows, for an Ollama",
            RESPONSES.with("native", &json!({"reasoning": {"effort": "utmost"}})),
            refused("invalid_value", "reasoning.effort"),
        ),
        (
            "a form of answers that nobody knows",
            format(json!({"type": "xml"})),
            refused("invalid_value", "text.format.type"),
        ),
        (
            "a form without its schema",
            format(json!({"type": "json_schema", "name": "n"})),
            refused("missing_required_parameter", "text.format.schema"),
        ),
        (
            "a tool of OpenAI's",
            with(json!({"tools": [{"type": "file_search"}]})),
            unsupported("tools[0].type"),
        ),
        (
            "a tool without a name",
            with(json!({"tools": [{"type": "function", "parameters": {}}]})),
            refused("missing_required_parameter", "tools[0].name"),
        ),
        (
            "a tool whose schema is a text",
            with(json!({"tools": [{"type": "function", "name": "f", "parameters": "s"}]})),
            refused("invalid_type", "tools[0].parameters"),
        ),
        (
            "a choice of tools that is no word of the dialect",
            with(json!({"tool_choice": "any"})),
            refused("invalid_value", "tool_choice"),
        ),
        ("a run in the background", with(json!({"background": true})), unsupported("background")),
    ]
}
