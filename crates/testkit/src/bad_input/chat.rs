//! What is wrong or odd in chat completions and completions.

#![expect(clippy::too_many_lines, reason = "a table of rows, not a course of steps")]

use serde_json::{Value, json};

use super::{CHAT, COMPLETIONS, Rows, passes, refused, turns};

/// One function.
fn function() -> Value {
    json!({"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}})
}

/// A conversation in which the assistant called with these arguments.
fn called(arguments: &Value) -> Value {
    json!([
        {"role": "user", "content": "hi"},
        {"role": "assistant", "content": null, "tool_calls": [
            {"id": "c1", "type": "function", "function": {"name": "f", "arguments": arguments}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "ok"},
    ])
}

/// A picture at an address.
fn picture(url: &str) -> Value {
    json!([{"role": "user", "content": [
        {"type": "text", "text": "hi"},
        {"type": "image_url", "image_url": {"url": url}}]}])
}

pub(super) fn chat() -> Rows {
    let with = |more: Value| CHAT.with("app", &more);
    let talk = |turns: Value| CHAT.talk("app", &turns);
    let tools: Vec<Value> = (0..1_000)
        .map(|n| json!({"type": "function", "function": {"name": format!("f{n}")}}))
        .collect();
    let garbage = "data:image/png;base64,aGVsbG8=";
    let arguments = "messages[1].tool_calls[0].function.arguments";
    vec![
        ("no messages", json!({"model": "app"}), refused("missing_required_parameter", "messages")),
        ("messages that are a text", talk(json!("hi")), refused("invalid_type", "messages")),
        (
            "an empty list of messages",
            talk(json!([])),
            refused("missing_required_parameter", "messages"),
        ),
        (
            "a message of an unknown role",
            talk(json!([{"role": "robot", "content": "hi"}])),
            passes(&[("/messages/0/role", json!("robot"))]),
        ),
        (
            "a member of a message that is twice there",
            talk(json!([{"role": "user", "again:role": "system", "content": "hi"}])),
            passes(&[]),
        ),
        (
            "a member of a message that is twice there, for Anthropic",
            CHAT.talk(
                "claude",
                &json!([{"role": "user", "again:role": "system", "content": "hi"}]),
            ),
            refused("invalid_value", "messages[0].role"),
        ),
        (
            "a member of a message that is twice there, for an Ollama",
            CHAT.talk(
                "native",
                &json!([{"role": "user", "again:role": "system", "content": "hi"}]),
            ),
            refused("invalid_value", "messages[0].role"),
        ),
        (
            "half of a surrogate pair in a text",
            talk(json!([{"role": "user", "content": "PAIR"}])),
            // Passed on as it is: this upstream takes it for no JSON.
            refused("invalid_request", ""),
        ),
        (
            "a part of an unknown kind",
            talk(json!([{"role": "user", "content": [{"type": "hologram"}]}])),
            passes(&[("/messages/0/content/0/type", json!("hologram"))]),
        ),
        (
            "a part of an unknown kind, for an Ollama",
            CHAT.talk("native", &json!([{"role": "user", "content": [{"type": "hologram"}]}])),
            refused("invalid_value", "messages[0].content[0].type"),
        ),
        (
            "a part of an unknown kind, for Anthropic",
            CHAT.talk("claude", &json!([{"role": "user", "content": [{"type": "hologram"}]}])),
            refused("invalid_value", "messages[0].content[0].type"),
        ),
        (
            "a system message behind others",
            talk(json!([{"role": "user", "content": "hi"}, {"role": "system", "content": "be"}])),
            passes(&[("/messages/1/role", json!("system"))]),
        ),
        (
            "a result of a tool that nobody called",
            talk(json!([{"role": "tool", "tool_call_id": "c9", "content": "ok"}])),
            passes(&[("/messages/0/tool_call_id", json!("c9"))]),
        ),
        (
            "arguments of a call that are no JSON",
            talk(called(&json!("{no"))),
            passes(&[("/messages/1/tool_calls/0/function/arguments", json!("{no"))]),
        ),
        (
            "arguments of a call that are no JSON, for an Ollama",
            CHAT.talk("native", &called(&json!("{no"))),
            passes(&[("/messages/1/tool_calls/0/function/arguments/arguments", json!("{no"))])
                .reported("messages[].tool_calls[].function.arguments"),
        ),
        (
            "arguments of a call that are an object, for Anthropic",
            CHAT.talk("claude", &called(&json!({}))),
            refused("invalid_type", arguments),
        ),
        ("tools that are an object", with(json!({"tools": {}})), refused("invalid_type", "tools")),
        (
            "a tool whose schema is a text",
            with(
                json!({"tools": [{"type": "function", "function": {"name": "f", "parameters": "s"}}]}),
            ),
            refused("invalid_type", "tools[0].function.parameters"),
        ),
        (
            "a tool that is no function, for an Ollama",
            CHAT.with("native", &json!({"tools": [{"type": "custom", "custom": {"name": "c"}}]})),
            refused("unsupported_parameter", "tools[0].type"),
        ),
        (
            "a tool without a name, for Anthropic",
            CHAT.with("claude", &json!({"tools": [{"type": "function", "function": {}}]})),
            refused("missing_required_parameter", "tools[0].function.name"),
        ),
        (
            "a choice of a tool that is not there",
            with(
                json!({"tools": [function()], "tool_choice": {"type": "function", "function": {"name": "g"}}}),
            ),
            passes(&[("/tool_choice/function/name", json!("g"))]),
        ),
        ("10,000 messages", talk(json!(turns(10_000))), passes(&[("/messages#", json!(10_000))])),
        ("1,000 tools", with(json!({"tools": tools})), passes(&[("/tools#", json!(1_000))])),
        (
            "an image at a private address",
            CHAT.talk("own", &picture("http://10.0.0.1/a.png")),
            refused("invalid_image_url", "messages[0].content[1].image_url.url"),
        ),
        (
            "an image at this machine's metadata",
            CHAT.talk("own", &picture("http://169.254.169.254/latest/meta-data")),
            refused("invalid_image_url", "messages[0].content[1].image_url.url"),
        ),
        (
            "an image that is a file of the server's",
            CHAT.talk("own", &picture("file:///etc/passwd")),
            refused("invalid_image_url", "messages[0].content[1].image_url.url"),
        ),
        (
            "an image that is none",
            CHAT.talk("own", &picture(garbage)),
            refused("invalid_image_url", "messages[0].content[1].image_url.url"),
        ),
        ("`n` of 0", with(json!({"n": 0})), refused("invalid_value", "n")),
        ("`n` of -1", with(json!({"n": -1})), refused("invalid_type", "n")),
        ("`n` of 3", with(json!({"n": 3})), passes(&[("/n", json!(3))])),
        (
            "`n` of 3, for an Ollama",
            CHAT.with("native", &json!({"n": 3})),
            refused("unsupported_parameter", "n"),
        ),
        (
            "a negative limit of tokens",
            with(json!({"max_completion_tokens": -5})),
            refused("invalid_type", "max_completion_tokens"),
        ),
        (
            "a limit of no tokens, for an Ollama",
            CHAT.with("native", &json!({"max_completion_tokens": 0})),
            refused("invalid_value", "max_completion_tokens"),
        ),
        (
            "a temperature beyond all numbers",
            with(json!({"temperature": "HUGE"})),
            refused("invalid_request", ""),
        ),
        (
            "a temperature beyond all numbers, for an Ollama",
            CHAT.with("native", &json!({"temperature": "HUGE"})),
            refused("invalid_value", "temperature"),
        ),
        (
            "a limit that is a text",
            with(json!({"max_tokens": "many"})),
            refused("invalid_type", "max_tokens"),
        ),
        (
            "more log-probabilities than the upstream has",
            with(json!({"logprobs": true, "top_logprobs": 30})),
            refused("invalid_request", "top_logprobs"),
        ),
        (
            "a form of answers that is a text",
            with(json!({"response_format": "json"})),
            refused("invalid_type", "response_format"),
        ),
        (
            "a schema that is missing, for Anthropic",
            CHAT.with(
                "claude",
                &json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}}),
            ),
            refused("missing_required_parameter", "response_format.json_schema.schema"),
        ),
        (
            "a prompt longer than the context",
            CHAT.talk("own", &json!([{"role": "user", "content": "long ".repeat(8_000)}])),
            refused("context_length_exceeded", "messages"),
        ),
        (
            "a field that nobody knows",
            with(json!({"x_unheard_of": [1, 2]})),
            passes(&[("/x_unheard_of", json!([1, 2]))]),
        ),
        (
            "another address for the upstream",
            with(json!({"api_base": "http://10.0.0.1"})),
            refused("unsupported_parameter", "api_base"),
        ),
    ]
}

pub(super) fn completions() -> Rows {
    let with = |more: Value| COMPLETIONS.with("app", &more);
    vec![
        ("no prompt", json!({"model": "app"}), refused("missing_required_parameter", "prompt")),
        (
            "a prompt that is a number",
            with(json!({"prompt": 7})),
            refused("invalid_type", "prompt"),
        ),
        (
            "two prompts, for an Ollama",
            COMPLETIONS.with("native", &json!({"prompt": ["a", "b"]})),
            refused("unsupported_parameter", "prompt"),
        ),
        (
            "an empty prompt, for an Ollama",
            COMPLETIONS.with("native", &json!({"prompt": ""})),
            refused("invalid_value", "prompt"),
        ),
        (
            "an endpoint that the upstream has not",
            COMPLETIONS.good("claude"),
            refused("not_supported", ""),
        ),
        ("`n` of 0", with(json!({"n": 0})), refused("invalid_value", "n")),
        (
            "a negative limit of tokens",
            with(json!({"max_tokens": -5})),
            refused("invalid_type", "max_tokens"),
        ),
    ]
}
