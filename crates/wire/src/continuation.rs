//! Going on from an answer that broke off: whether that is safe, the request for the rest, and the rest
//! itself as one stream with what came before.
//!
//! Safe is what is known to be: a request all of whose fields are on a list, with text alone in its
//! messages, and a provider that takes the beginning of an answer ([`Prefill`]). Whatever is not known
//! is not safe: it would show a user two half answers as one.

use bytes::Bytes;
use cutover_units::Code;
use serde_json::{Map, Value, json};

use crate::endpoint::Endpoint;
use crate::errors::Fault;
use crate::head::Head;
use crate::providers::Prefill;

/// Fields that a request may have whose answer is continued: none of them gives the answer a form
/// beyond text, and none has an effect besides it.
const SAFE_FIELDS: &[&str] = &[
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
    "messages",
    "metadata",
    "model",
    "n",
    "presence_penalty",
    "prompt_cache_key",
    "safety_identifier",
    "seed",
    "stop",
    "stream",
    "temperature",
    "top_k",
    "top_p",
    "user",
];

/// Whether a request's answer may be continued elsewhere, as far as the request is concerned.
pub fn is_safe(head: &Head, body: &Bytes) -> bool {
    if head.endpoint != Endpoint::ChatCompletions || !head.stream || head.n != 1 {
        return false;
    }
    let Ok(Value::Object(request)) = serde_json::from_slice(body) else { return false };
    let fields_are = request.keys().all(|name| SAFE_FIELDS.contains(&name.as_str()));
    let messages = request.get("messages").and_then(Value::as_array);
    fields_are && messages.is_some_and(|all| all.iter().all(is_text))
}

/// A message of words alone, and not itself the beginning of an answer.
fn is_text(message: &Value) -> bool {
    let Some(message) = message.as_object() else { return false };
    let content = match message.get("content") {
        Some(Value::String(_)) => true,
        Some(Value::Array(parts)) => parts.iter().all(|part| part["type"] == "text"),
        _ => false,
    };
    content && message.keys().all(|name| matches!(name.as_str(), "role" | "content" | "name"))
}

/// The request for the rest of an answer. `said` is the text so far, `tokens` about how many it took.
pub fn request(
    body: &Bytes,
    (said, tokens): (&str, u64),
    prefill: Prefill,
) -> Result<Bytes, Fault> {
    let broken = || Fault::new(Code::Internal, "the answer cannot be continued");
    let Ok(Value::Object(mut request)) = serde_json::from_slice::<Value>(body) else {
        return Err(broken());
    };
    let messages = request.get_mut("messages").and_then(Value::as_array_mut);
    let messages =
        messages.filter(|all| all.last().is_some_and(|last| last["role"] != "assistant"));
    messages.ok_or_else(broken)?.push(json!({"role": "assistant", "content": said}));
    match prefill {
        Prefill::None => return Err(broken()),
        Prefill::LastMessage => {}
        Prefill::ContinueFinalMessage => {
            request.insert("continue_final_message".to_owned(), true.into());
            request.insert("add_generation_prompt".to_owned(), false.into());
        }
    }
    for name in ["max_tokens", "max_completion_tokens"] {
        shorten(&mut request, name, tokens);
    }
    Ok(Value::Object(request).to_string().into())
}

/// What was said counts towards the limit on the answer's length.
fn shorten(request: &mut Map<String, Value>, name: &str, tokens: u64) {
    if let Some(limit) = request.get(name).and_then(Value::as_u64) {
        request.insert(name.to_owned(), limit.saturating_sub(tokens).max(1).into());
    }
}

/// An event of the rest, before its first content: the answer has said already whose it is. None: the
/// event holds nothing else.
pub fn without_role(event: &Bytes) -> Option<Bytes> {
    let text = std::str::from_utf8(event).unwrap_or_default();
    let data = text.trim_ascii_end().strip_prefix("data: ");
    let chunk = data.filter(|data| !data.contains('\n'));
    let Some(Value::Object(mut chunk)) = chunk.and_then(|c| serde_json::from_str(c).ok()) else {
        return Some(event.clone());
    };
    let choice = chunk.get_mut("choices").and_then(|all| all.get_mut(0));
    let Some(choice) = choice else { return Some(event.clone()) };
    let ends = choice.get("finish_reason").is_some_and(|reason| !reason.is_null());
    let Some(delta) = choice.get_mut("delta").and_then(Value::as_object_mut) else {
        return Some(event.clone());
    };
    if delta.remove("role").is_none() {
        return Some(event.clone());
    }
    let says = delta.values().any(|said| said.as_str().is_some_and(|said| !said.is_empty()));
    (says || ends).then(|| format!("data: {}\n\n", Value::Object(chunk)).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn safe(body: &str) -> bool {
        let body = Bytes::from(body.to_owned());
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        is_safe(&head, &body)
    }

    const PLAIN: &str =
        r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}],"max_tokens":9}"#;

    #[test]
    fn text_alone_is_safe_and_nothing_else() {
        assert!(safe(PLAIN));
        let with = |field: &str| PLAIN.replacen('{', &format!("{{{field},"), 1);
        for field in [
            r#""tools":[{"type":"function","function":{"name":"f"}}]"#,
            r#""response_format":{"type":"json_object"}"#,
            r#""logprobs":true"#,
            r#""n":2"#,
            r#""stream_options":{"include_usage":true}"#,
            r#""reasoning_effort":"low""#,
            r#""guided_json":{}"#,
            r#""some_new_thing":1"#,
        ] {
            assert!(!safe(&with(field)), "{field}");
        }
        assert!(!safe(&PLAIN.replace("true", "false")), "not a stream");
        let image = r#"[{"type":"image_url","image_url":{"url":"data:,"}}]"#;
        assert!(!safe(&PLAIN.replace("\"hi\"", image)));
        let parts = r#"[{"type":"text","text":"hi"}]"#;
        assert!(safe(&PLAIN.replace("\"hi\"", parts)));
    }

    #[test]
    fn the_request_for_the_rest_ends_with_what_was_said() {
        let body = Bytes::from_static(PLAIN.as_bytes());
        let ask = |prefill| request(&body, ("Once \"upon", 4), prefill);
        let read = |bytes: Bytes| serde_json::from_slice::<Value>(&bytes).unwrap();
        let plain = read(ask(Prefill::LastMessage).unwrap());
        assert_eq!(plain["messages"][1], json!({"role": "assistant", "content": "Once \"upon"}));
        assert_eq!(plain["max_tokens"], 5);
        assert_eq!(plain.get("continue_final_message"), None);
        let vllm = read(ask(Prefill::ContinueFinalMessage).unwrap());
        assert_eq!(vllm["continue_final_message"], true);
        assert_eq!(vllm["add_generation_prompt"], false);
        assert!(ask(Prefill::None).is_err());
        let begun = PLAIN.replace("user", "assistant");
        assert!(request(&begun.into(), ("x", 1), Prefill::LastMessage).is_err());
        let all = read(request(&body, ("x", 99), Prefill::LastMessage).unwrap());
        assert_eq!(all["max_tokens"], 1, "a limit of nothing would be refused");
    }

    #[test]
    fn the_rest_does_not_begin_again() {
        let event = |delta: &str, finish: &str| {
            let choice = format!(r#"{{"index":0,"delta":{delta},"finish_reason":{finish}}}"#);
            Bytes::from(format!("data: {{\"id\":\"x\",\"choices\":[{choice}]}}\n\n"))
        };
        assert_eq!(without_role(&event(r#"{"role":"assistant","content":""}"#, "null")), None);
        assert_eq!(without_role(&event(r#"{"role":"assistant","content":null}"#, "null")), None);
        let both = without_role(&event(r#"{"role":"assistant","content":"on"}"#, "null")).unwrap();
        assert!(!both.windows(4).any(|w| w == b"role") && both.windows(4).any(|w| w == b"\"on\""));
        let end = event(r#"{"role":"assistant"}"#, "\"stop\"");
        assert!(without_role(&end).is_some(), "an end is an end");
        for other in [event(r#"{"content":"on"}"#, "null"), Bytes::from_static(b"data: [DONE]\n\n")]
        {
            assert_eq!(without_role(&other), Some(other.clone()));
        }
    }
}
