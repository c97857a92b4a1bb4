//! A stored pair as people read it.

use std::fmt::Write as _;

use cutover_store::{KeptAnswer, StoredPair};
use serde_json::Value;

use super::mask::mask;

/// What was asked: a chat as lines, anything else as it is.
pub(super) fn prompt(pair: &StoredPair) -> String {
    let body = pair.prompt.text.as_ref().map_or("", |text| text.0.as_str());
    conversation(body).unwrap_or_else(|| body.to_owned())
}

/// What was answered, with the tools it asked for, without names that would tell who.
pub(super) fn answer(kept: &KeptAnswer) -> String {
    let mut text = mask(kept.text.text.as_ref().map_or("", |text| text.0.as_str()));
    let calls = kept.tool_calls.as_ref();
    let calls = calls.and_then(|calls| serde_json::from_str::<Value>(&calls.0).ok());
    for call in calls.as_ref().and_then(Value::as_array).into_iter().flatten() {
        if !text.is_empty() {
            text.push('\n');
        }
        let (name, arguments) = (&call["name"], &call["arguments"]);
        let words = |value: &Value| value.as_str().map_or_else(|| value.to_string(), mask);
        // Writing to a String cannot fail.
        let _ = write!(text, "[asks for the tool {} with {}]", words(name), words(arguments));
    }
    text
}

fn conversation(body: &str) -> Option<String> {
    let request: Value = serde_json::from_str(body).ok()?;
    let messages = request.get("messages")?.as_array()?;
    let lines = messages.iter().map(|message| {
        let role = message["role"].as_str().unwrap_or("user");
        format!("{role}: {}", content(&message["content"]))
    });
    Some(lines.collect::<Vec<_>>().join("\n\n"))
}

fn content(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let part = |part: &Value| match part["text"].as_str() {
                Some(text) => text.to_owned(),
                None => format!("[{}]", part["type"].as_str().unwrap_or("part")),
            };
            parts.iter().map(part).collect::<Vec<_>>().join("\n")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chat_is_shown_as_lines() {
        let body = r#"{"model":"app","messages":[{"role":"system","content":"Be brief."},
            {"role":"user","content":[{"type":"text","text":"Hi"},{"type":"image_url"}]},
            {"role":"assistant","content":null}]}"#;
        let shown = conversation(body).unwrap();
        assert_eq!(shown, "system: Be brief.\n\nuser: Hi\n[image_url]\n\nassistant: ");
        assert_eq!(conversation("{\"prompt\":1}"), None);
        assert_eq!(conversation("cut off {"), None);
    }
}
