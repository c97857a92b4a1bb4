//! What is wrong or odd in Gemini's generateContent.

use serde_json::{Value, json};

use super::{GEMINI, Rows, passes, refused};

/// A conversation that ends with a turn of these parts. The model stands in the path.
fn parts(model: &str, role: &str, parts: &Value) -> Value {
    let contents = json!([
        {"role": "user", "parts": [{"text": "hi"}]}, {"role": "model", "parts": [{"text": "yes?"}]},
        {"role": role, "parts": parts}, {"role": "user", "parts": [{"text": "go on"}]},
    ]);
    json!({"model": model, "contents": contents})
}

fn user(part: &Value) -> Value {
    parts("app", "user", &json!([{"text": "see"}, part]))
}

/// So many turns in turns, the last of them the user's.
fn contents(count: usize) -> Vec<Value> {
    let role = |at: usize| if (count - at).is_multiple_of(2) { "model" } else { "user" };
    (0..count).map(|at| json!({"role": role(at), "parts": [{"text": "hi"}]})).collect()
}

fn settings() -> Rows {
    let config = |config: Value| GEMINI.with("app", &json!({"generationConfig": config}));
    let functions =
        |list: Value| GEMINI.with("app", &json!({"tools": [{"functionDeclarations": list}]}));
    let tools: Vec<Value> = (0..1_000).map(|n| json!({"name": format!("f{n}")})).collect();
    vec![
        (
            "a negative limit of tokens",
            config(json!({"maxOutputTokens": -5})),
            refused("invalid_type", "generationConfig.maxOutputTokens"),
        ),
        (
            "a limit that is a text",
            config(json!({"maxOutputTokens": "many"})),
            refused("invalid_type", "generationConfig.maxOutputTokens"),
        ),
        (
            "a temperature that is a text",
            config(json!({"temperature": "hot"})),
            refused("invalid_type", "generationConfig.temperature"),
        ),
        (
            "a temperature beyond all numbers",
            config(json!({"temperature": "HUGE"})),
            refused("invalid_value", "generationConfig.temperature"),
        ),
        (
            "settings that are a list",
            config(json!([])),
            refused("invalid_type", "generationConfig"),
        ),
        (
            "more log-probabilities than the upstream has",
            config(json!({"responseLogprobs": true, "logprobs": 30})),
            refused("invalid_request", "generationConfig.logprobs"),
        ),
        (
            "a function without a name",
            functions(json!([{}])),
            refused("missing_required_parameter", "tools[0].functionDeclarations[0].name"),
        ),
        ("1,000 functions", functions(json!(tools)), passes(&[("/tools#", json!(1_000))])),
    ]
}

pub(super) fn rows() -> Rows {
    let called = |model: &str, args: Value| {
        parts(model, "model", &json!([{"functionCall": {"name": "f", "args": args}}]))
    };
    let mut rows = settings();
    rows.extend(vec![
        ("no contents", json!({"model": "app"}), refused("missing_required_parameter", "contents")),
        (
            "contents that are a text",
            json!({"model": "app", "contents": "hi"}),
            refused("invalid_type", "contents"),
        ),
        (
            "a content without parts",
            json!({"model": "app", "contents": [{"role": "user"}]}),
            refused("missing_required_parameter", "contents[0].parts"),
        ),
        (
            "a content of an unknown role",
            parts("app", "robot", &json!([{"text": "hi"}])),
            refused("invalid_value", "contents[2].role"),
        ),
        (
            "a member of a content that is twice there",
            json!({"model": "app", "contents": [{"role": "user", "again:role": "model", "parts": [{"text": "hi"}]}]}),
            refused("invalid_value", "contents[0].role"),
        ),
        (
            "half of a surrogate pair in a text",
            user(&json!({"text": "PAIR"})),
            refused("invalid_value", "contents[2].parts[1].text"),
        ),
        (
            "arguments of a call that are a text",
            called("app", json!("{no")),
            refused("invalid_type", "contents[2].parts[0].functionCall.args"),
        ),
        (
            "a file of Google's",
            user(&json!({"fileData": {"fileUri": "https://x/files/1", "mimeType": "application/pdf"}})),
            refused("unsupported_parameter", "contents[2].parts[1].fileData.fileUri"),
        ),
        (
            "an image that is none",
            parts("own", "user", &json!([{"inlineData": {"mimeType": "image/png", "data": "aGVsbG8="}}])),
            refused("invalid_image_url", "contents[2].parts[0].inlineData.data"),
        ),
        (
            "a result of a function that nobody called",
            user(&json!({"functionResponse": {"name": "f", "response": {"output": "ok"}}})),
            passes(&[]).reported("contents[].parts[].functionResponse.unmatched"),
        ),
        (
            "10,000 contents",
            json!({"model": "app", "contents": contents(10_000)}),
            passes(&[("/messages#", json!(10_000))]),
        ),
        (
            "a prompt longer than the context",
            json!({"model": "own", "contents": [{"parts": [{"text": "long ".repeat(8_000)}]}]}),
            refused("context_length_exceeded", "contents"),
        ),
        (
            "a field that nobody knows",
            GEMINI.with("app", &json!({"xUnheardOf": 1})),
            passes(&[]).reported("xUnheardOf"),
        ),
    ]);
    rows
}
