//! What is wrong or odd in Ollama's chat and generate.

#![expect(clippy::too_many_lines, reason = "a table of rows, not a course of steps")]

use serde_json::{Value, json};

use super::{OLLAMA_CHAT, OLLAMA_GENERATE, Outcome, Rows, passes, refused, turns};

/// What both take besides the prompt.
fn both(with: &dyn Fn(Value) -> Value) -> Rows {
    vec![
        ("a negative limit of tokens", with(json!({"options": {"num_predict": -5}})), passes(&[])),
        (
            "a limit of no tokens",
            with(json!({"options": {"num_predict": 0}})),
            passes(&[("/max_completion_tokens", json!(0))]),
        ),
        (
            "a temperature that is a text",
            with(json!({"options": {"temperature": "hot"}})),
            refused("invalid_type", "options.temperature"),
        ),
        (
            "a temperature beyond all numbers",
            with(json!({"options": {"temperature": "HUGE"}})),
            refused("invalid_value", "options.temperature"),
        ),
        (
            "a seed with a fraction",
            with(json!({"options": {"seed": 1.5}})),
            refused("invalid_type", "options.seed"),
        ),
        (
            "options that are a list",
            with(json!({"options": []})),
            refused("invalid_type", "options"),
        ),
        (
            "a form that nobody knows",
            with(json!({"format": "xml"})),
            refused("invalid_value", "format"),
        ),
        (
            "a level of thinking that nobody knows",
            with(json!({"think": "utmost"})),
            refused("unsupported_parameter", "think"),
        ),
        ("thinking that is a list", with(json!({"think": []})), refused("invalid_value", "think")),
        (
            "more log-probabilities than the upstream has",
            with(json!({"logprobs": true, "top_logprobs": 30})),
            refused("invalid_request", "top_logprobs"),
        ),
        ("an image that is none", with(images("aGVsbG8=")), refused("invalid_value", IMAGE)),
        (
            "an image at a private address",
            with(images("http://10.0.0.1/a.png")),
            refused("invalid_value", IMAGE),
        ),
        (
            "a field that nobody knows",
            with(json!({"x_unheard_of": 1})),
            passes(&[]).reported("x_unheard_of"),
        ),
        (
            "a length of context",
            with(json!({"options": {"num_ctx": 99}})),
            passes(&[]).reported("options.num_ctx"),
        ),
    ]
}

/// Stands for where each door has images.
const IMAGE: &str = "images[0]";

fn images(data: &str) -> Value {
    json!({"images": [data]})
}

pub(super) fn generate() -> Rows {
    let with = |more: Value| OLLAMA_GENERATE.with("app", &more);
    let mut rows = both(&with);
    rows.extend(vec![
        (
            "a prompt that is a number",
            with(json!({"prompt": 7})),
            refused("invalid_type", "prompt"),
        ),
        ("no prompt", json!({"model": "app", "stream": false}), Outcome::Now),
        (
            "a template",
            with(json!({"template": "x"})),
            refused("unsupported_parameter", "template"),
        ),
        (
            "tokens of an earlier answer",
            with(json!({"context": [1]})),
            refused("unsupported_parameter", "context"),
        ),
        (
            "a raw prompt with a form",
            with(json!({"raw": true, "format": "json"})),
            refused("unsupported_parameter", "format"),
        ),
        (
            "a raw prompt, for Anthropic",
            OLLAMA_GENERATE.with("claude", &json!({"raw": true})),
            refused("not_supported", ""),
        ),
        (
            "half of a surrogate pair in a text",
            with(json!({"prompt": "PAIR"})),
            refused("invalid_value", "prompt"),
        ),
        (
            "a prompt longer than the context",
            OLLAMA_GENERATE.with("own", &json!({"prompt": "long ".repeat(8_000)})),
            refused("context_length_exceeded", "prompt"),
        ),
    ]);
    rows
}

pub(super) fn chat() -> Rows {
    let with = |more: Value| {
        let mut body = OLLAMA_CHAT.with("app", &more);
        // Here they belong to a message.
        if let Some(images) = body.as_object_mut().and_then(|members| members.remove("images")) {
            body["messages"][0]["images"] = images;
        }
        body
    };
    let talk = |turns: Value| OLLAMA_CHAT.talk("app", &turns);
    let call = |function: Value| {
        talk(json!([{"role": "assistant", "tool_calls": [{"function": function}]}]))
    };
    let tools: Vec<Value> = (0..1_000)
        .map(|n| json!({"type": "function", "function": {"name": format!("f{n}")}}))
        .collect();
    let in_message = |(input, body, outcome)| match outcome {
        Outcome::Refused { code, param: Some(IMAGE) } => {
            (input, body, refused(code, "messages[0].images[0]"))
        }
        outcome => (input, body, outcome),
    };
    let mut rows: Rows = both(&with).into_iter().map(in_message).collect();
    rows.extend(vec![
        ("no messages", json!({"model": "app", "stream": false}), Outcome::Now),
        ("an empty list of messages", talk(json!([])), Outcome::Now),
        ("messages that are a text", talk(json!("hi")), refused("invalid_type", "messages")),
        (
            "a message of an unknown role",
            talk(json!([{"role": "robot", "content": "hi"}])),
            refused("invalid_value", "messages[0].role"),
        ),
        (
            "a member of a message that is twice there",
            talk(json!([{"role": "user", "again:role": "system", "content": "hi"}])),
            refused("invalid_value", "messages[0].role"),
        ),
        (
            "a message without a role",
            talk(json!([{"content": "hi"}])),
            refused("missing_required_parameter", "messages[0].role"),
        ),
        (
            "content that is a list of parts",
            talk(json!([{"role": "user", "content": [{"type": "text"}]}])),
            refused("invalid_type", "messages[0].content"),
        ),
        (
            "half of a surrogate pair in a text",
            talk(json!([{"role": "user", "content": "PAIR"}])),
            refused("invalid_value", "messages[0].content"),
        ),
        (
            "a system message behind others",
            talk(json!([{"role": "user", "content": "hi"}, {"role": "system", "content": "be"}])),
            passes(&[("/messages/1/role", json!("system"))]),
        ),
        (
            "a result of a tool that nobody called",
            talk(json!([{"role": "user", "content": "hi"},
            {"role": "tool", "content": "ok", "tool_name": "f"}])),
            passes(&[("/messages/1/tool_call_id", json!("call_1"))])
                .reported("messages[].unmatched"),
        ),
        (
            "arguments of a call that are a text",
            call(json!({"name": "f", "arguments": "{no"})),
            refused("invalid_type", "messages[0].tool_calls[0].function.arguments"),
        ),
        (
            "a call without a name",
            call(json!({"arguments": {}})),
            refused("missing_required_parameter", "messages[0].tool_calls[0].function.name"),
        ),
        ("tools that are an object", with(json!({"tools": {}})), refused("invalid_type", "tools")),
        (
            "a tool that is no function",
            with(json!({"tools": [{"type": "x"}]})),
            refused("unsupported_parameter", "tools[0].type"),
        ),
        (
            "a tool whose schema is a text",
            with(json!({"tools": [{"type": "function",
            "function": {"name": "f", "parameters": "s"}}]})),
            refused("invalid_type", "tools[0].function.parameters"),
        ),
        ("10,000 messages", talk(json!(turns(10_000))), passes(&[("/messages#", json!(10_000))])),
        ("1,000 tools", with(json!({"tools": tools})), passes(&[("/tools#", json!(1_000))])),
        (
            "a prompt longer than the context",
            OLLAMA_CHAT.talk(
                "own",
                &json!([{"role": "user",
            "content": "long ".repeat(8_000)}]),
            ),
            refused("context_length_exceeded", "messages"),
        ),
    ]);
    rows
}
