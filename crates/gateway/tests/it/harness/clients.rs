//! The dialects that clients speak: a short request of each, for the model `app`.

/// A client's dialect.
pub(crate) struct Client {
    pub(crate) name: &'static str,
    /// Path and body of a request whose answer comes whole.
    pub(crate) whole: (&'static str, String),
    /// The same of one whose answer is a stream.
    pub(crate) stream: (&'static str, String),
    /// What stands in a stream that has ended well, and in no other.
    pub(crate) good_end: &'static str,
}

/// All of them.
pub(crate) fn clients() -> [Client; 5] {
    let hi = r#""messages":[{"role":"user","content":"hi"}]"#;
    let limited = format!("\"max_tokens\":9,{hi}");
    let google = r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#.to_owned();
    [
        client("chat", "/v1/chat/completions", (hi, "data: [DONE]")),
        client("messages", "/v1/messages", (&limited, "message_stop")),
        client("responses", "/v1/responses", ("\"input\":\"hi\"", "response.completed")),
        client("ollama", "/api/chat", (hi, "\"done\":true")),
        Client {
            name: "gemini",
            whole: ("/v1beta/models/app:generateContent", google.clone()),
            stream: ("/v1beta/models/app:streamGenerateContent?alt=sse", google),
            good_end: "\"finishReason\":\"STOP\"",
        },
    ]
}

/// One that names the model and `stream` in its body.
fn client(
    name: &'static str,
    path: &'static str,
    (asks, good_end): (&str, &'static str),
) -> Client {
    let body = |stream| format!("{{\"model\":\"app\",\"stream\":{stream},{asks}}}");
    Client { name, whole: (path, body(false)), stream: (path, body(true)), good_end }
}
