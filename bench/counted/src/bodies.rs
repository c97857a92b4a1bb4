//! Requests of a given size in each dialect: a conversation of messages of about 800 bytes.

const LINES: [&str; 4] = [
    "Summarise what this function does and why it may fail under load.\\n",
    "fn route(request: Request) -> Result<Backend, Error> {\\n    let key = ",
    "\\\"use-case\\\"; // pick the backend that has the shortest queue\\n",
    "Bitte antworte höflich; voilà le texte à traduire, and then the rest. ",
];

/// A message's text.
fn text(bytes: usize) -> String {
    let mut text = String::new();
    for line in LINES.iter().cycle() {
        if text.len() + line.len() > bytes {
            return text;
        }
        text.push_str(line);
    }
    text
}

/// `each` writes one message from its role and text; `around` the request around all of them.
fn conversation(size: usize, each: impl Fn(&str, &str) -> String, around: (&str, &str)) -> String {
    const MESSAGE: usize = 800;
    let mut body = around.0.to_owned();
    let mut roles = ["user", "assistant"].iter().cycle();
    loop {
        let left = size.saturating_sub(body.len() + around.1.len());
        if left < 150 {
            break;
        }
        if body.len() > around.0.len() {
            body.push(',');
        }
        let role = roles.next().expect("a cycle");
        body.push_str(&each(role, &text(left.saturating_sub(70).min(MESSAGE))));
    }
    body + around.1
}

/// OpenAI chat completions.
pub fn chat(size: usize) -> String {
    let each = |role: &str, text: &str| format!(r#"{{"role":"{role}","content":"{text}"}}"#);
    let after = r#"],"model":"gpt-4o-mini","temperature":0.7,"max_tokens":256}"#;
    conversation(size, each, (r#"{"messages":["#, after))
}

/// Anthropic messages.
pub fn anthropic(size: usize) -> String {
    let each = |role: &str, text: &str| {
        format!(r#"{{"role":"{role}","content":[{{"type":"text","text":"{text}"}}]}}"#)
    };
    let after =
        r#"],"model":"claude-sonnet-4-5","max_tokens":256,"system":"Be brief.","stream":true}"#;
    conversation(size, each, (r#"{"messages":["#, after))
}

/// OpenAI responses.
pub fn responses(size: usize) -> String {
    let each = |role: &str, text: &str| {
        let kind = if role == "user" { "input_text" } else { "output_text" };
        format!(r#"{{"role":"{role}","content":[{{"type":"{kind}","text":"{text}"}}]}}"#)
    };
    let after = r#"],"model":"gpt-4o-mini","max_output_tokens":256,"store":false,"stream":true}"#;
    conversation(size, each, (r#"{"input":["#, after))
}

/// Gemini.
pub fn gemini(size: usize) -> String {
    let each = |role: &str, text: &str| {
        let role = if role == "user" { role } else { "model" };
        format!(r#"{{"role":"{role}","parts":[{{"text":"{text}"}}]}}"#)
    };
    let after = r#"],"generationConfig":{"temperature":0.7,"maxOutputTokens":256}}"#;
    conversation(size, each, (r#"{"contents":["#, after))
}

/// Ollama chat.
pub fn ollama(size: usize) -> String {
    let each = |role: &str, text: &str| format!(r#"{{"role":"{role}","content":"{text}"}}"#);
    let after = r#"],"model":"llama3.2","options":{"temperature":0.7,"num_predict":256}}"#;
    conversation(size, each, (r#"{"messages":["#, after))
}

/// An answer of OpenAI's, 600 bytes.
pub const ANSWER: &str = concat!(
    r#"{"id":"chatcmpl-Bq2Yv8n3kXw0aTj5","object":"chat.completion","created":1795250530,"#,
    r#""model":"gpt-4o-mini-2024-07-18","choices":[{"index":0,"message":{"role":"assistant","#,
    r#""content":"It picks the backend with the shortest queue; under load two requests can read the "#,
    r#"same length and go to the same place.","refusal":null,"annotations":[]},"logprobs":null,"#,
    r#""finish_reason":"stop"}],"usage":{"prompt_tokens":231,"completion_tokens":24,"#,
    r#""total_tokens":255,"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},"#,
    r#""completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0}},"#,
    r#""service_tier":"default","system_fingerprint":"fp_8bda4d3a2c"}"#
);

/// Events of a chat stream: the first, one like the many, the last.
pub const CHAT_EVENTS: [&str; 3] = [
    concat!(
        r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":"#,
        r#"[{"index":0,"delta":{"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]}"#,
        "\n\n"
    ),
    concat!(
        r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":"#,
        r#"[{"index":0,"delta":{"content":" backend"},"logprobs":null,"finish_reason":null}]}"#,
        "\n\n"
    ),
    concat!(
        r#"data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":"#,
        r#"[{"index":0,"delta":{},"logprobs":null,"finish_reason":"stop"}]}"#,
        "\n\n"
    ),
];

/// Events of an Anthropic stream: what comes before the text, and one like the many.
pub const ANTHROPIC_EVENTS: [&str; 2] = [
    concat!(
        "event: message_start\n",
        r#"data: {"type":"message_start","message":{"id":"msg_1","type":"message","role":"assistant","#,
        r#""content":[],"model":"claude-sonnet-4-5","stop_reason":null,"stop_sequence":null,"#,
        r#""usage":{"input_tokens":25,"output_tokens":1}}}"#,
        "\n\nevent: content_block_start\n",
        r#"data: {"type":"content_block_start","index":0,"content_block":{"type":"text","text":""}}"#,
        "\n\n"
    ),
    concat!(
        "event: content_block_delta\n",
        r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":" backend"}}"#,
        "\n\n"
    ),
];
