//! Going on from an answer that broke off: whether that is safe, the request for the rest, and the rest
//! itself as one stream with what came before.
//!
//! Safe is what is known to be: a request all of whose fields are on a list, with text alone in its
//! messages, and a provider that takes the beginning of an answer ([`Prefill`]); or a prompt without a chat,
//! which every model goes on from, because that is what it was asked for. Whatever is not known is not safe:
//! it would show a user two half answers as one.

use bytes::Bytes;
use cutover_units::Code;
use serde_json::{Map, Value, json};

use cutover_wire::head::Head;
use cutover_wire::providers::Prefill;
use cutover_wire::{Endpoint, Fault};

/// Fields that a request may have whose answer is continued: none of them gives the answer a form
/// beyond text, and none has an effect besides it.
const SAFE_FIELDS: &[&str] = &[
    "frequency_penalty",
    "max_completion_tokens",
    "max_tokens",
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
    if !head.stream || head.n != 1 {
        return false;
    }
    let Ok(Value::Object(request)) = serde_json::from_slice(body) else { return false };
    let (asks, is_text) = match head.endpoint {
        Endpoint::ChatCompletions => {
            let messages = request.get("messages").and_then(Value::as_array);
            ("messages", messages.is_some_and(|all| all.iter().all(is_text)))
        }
        Endpoint::Completions => ("prompt", prompt(&request).is_some()),
        Endpoint::Embeddings => return false,
    };
    // Of a conversion it is we who ask for the usage, and we who tell it.
    let is_ours = |name: &str| name == "stream_options" && head.stream_options_are_ours;
    let is_safe = |name: &str| name == asks || SAFE_FIELDS.contains(&name) || is_ours(name);
    is_text && request.keys().all(|name| is_safe(name))
}

/// The one text that a prompt without a chat is.
fn prompt(request: &Map<String, Value>) -> Option<&str> {
    match request.get("prompt")? {
        Value::String(text) => Some(text),
        Value::Array(texts) => match texts.as_slice() {
            [Value::String(text)] => Some(text),
            _ => None,
        },
        _ => None,
    }
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

/// The request for the rest of an answer. `said` is the text so far, `tokens` about how many it took. `prefill`
/// is asked of chats alone.
pub fn request(
    body: &Bytes,
    (said, tokens): (&str, u64),
    prefill: Prefill,
) -> Result<Bytes, Fault> {
    let broken = || Fault::new(Code::Internal, "the answer cannot be continued");
    let Ok(Value::Object(mut request)) = serde_json::from_slice::<Value>(body) else {
        return Err(broken());
    };
    if let Some(prompt) = prompt(&request) {
        let begun = format!("{prompt}{said}");
        request.insert("prompt".to_owned(), begun.into());
    } else {
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

/// An event of the rest, with the usage of the answer as a whole: what came before was part of the rest's
/// prompt, and is part of the client's answer.
pub fn with_part(event: &Bytes, tokens: u64) -> Bytes {
    let text = std::str::from_utf8(event).unwrap_or_default();
    let data =
        text.trim_ascii_end().strip_prefix("data: ").filter(|data| data.contains("\"usage\""));
    let Some(Value::Object(mut chunk)) = data.and_then(|data| serde_json::from_str(data).ok())
    else {
        return event.clone();
    };
    let Some(usage) = chunk.get_mut("usage").and_then(Value::as_object_mut) else {
        return event.clone();
    };
    let told = |usage: &Map<String, Value>, name| usage.get(name).and_then(Value::as_u64);
    let (Some(asked), Some(said)) =
        (told(usage, "prompt_tokens"), told(usage, "completion_tokens"))
    else {
        return event.clone();
    };
    usage.insert("prompt_tokens".to_owned(), asked.saturating_sub(tokens).into());
    usage.insert("completion_tokens".to_owned(), said.saturating_add(tokens).into());
    format!("data: {}\n\n", Value::Object(chunk)).into()
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

    fn safe_prompt(body: &str) -> bool {
        let body = Bytes::from(body.to_owned());
        is_safe(&Head::read(Endpoint::Completions, &body).unwrap(), &body)
    }

    #[test]
    fn a_prompt_goes_on_with_what_was_said() {
        let plain = r#"{"model":"m","stream":true,"prompt":"Once","max_tokens":9}"#;
        assert!(safe_prompt(plain) && safe_prompt(&plain.replace("\"Once\"", "[\"Once\"]")));
        for other in ["[\"a\",\"b\"]", "[1,2]", "[[1]]", "[]"] {
            assert!(!safe_prompt(&plain.replace("\"Once\"", other)), "{other}");
        }
        let with = |field: &str| plain.replacen('{', &format!("{{{field},"), 1);
        for field in [r#""echo":true"#, r#""suffix":"x""#, r#""logprobs":1"#, r#""best_of":2"#] {
            assert!(!safe_prompt(&with(field)), "{field}");
        }
        let rest = request(&plain.to_owned().into(), (" upon", 2), Prefill::None).unwrap();
        let rest: Value = serde_json::from_slice(&rest).unwrap();
        assert_eq!((&rest["prompt"], &rest["max_tokens"]), (&json!("Once upon"), &json!(7)));
    }

    #[test]
    fn usage_that_we_asked_for_is_told_of_the_whole_answer() {
        let asked = PLAIN.replacen('{', r#"{"stream_options":{"include_usage":true},"#, 1);
        let body = Bytes::from(asked);
        let mut head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        assert!(!is_safe(&head, &body));
        head.stream_options_are_ours = true;
        assert!(is_safe(&head, &body));
        let event =
            |usage: &str| Bytes::from(format!("data: {{\"choices\":[],\"usage\":{usage}}}\n\n"));
        let told =
            with_part(&event(r#"{"prompt_tokens":9,"completion_tokens":3,"total_tokens":12}"#), 4);
        let chunk = std::str::from_utf8(&told).unwrap().trim_end().strip_prefix("data: ").unwrap();
        let usage = &serde_json::from_str::<Value>(chunk).unwrap()["usage"];
        assert_eq!(*usage, json!({"prompt_tokens":5,"completion_tokens":7,"total_tokens":12}));
        for other in [event("null"), Bytes::from_static(b"data: [DONE]\n\n"), Bytes::new()] {
            assert_eq!(with_part(&other, 4), other);
        }
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
