//! Google's Gemini API (v1beta, native), after its published interface: what it takes, what it refuses and
//! in which shapes it answers. Nothing here was recorded from the service itself.
//!
//! A request is first checked as the service does (by the published description, if the setup has one, and
//! by the rules that are written about and in no schema), then read as the chat that it is: what the fake
//! says is the same for all personas.

mod checks;
mod voice;

use serde_json::{Value, json};

use super::Setup;
use super::ask::Ask;
use super::refusal::Refusal;

pub(super) use checks::{check, check_compatible, signature_of};
pub(super) use voice::Voice;

/// What a path asks of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Generate,
    Stream,
    Count,
    Embed,
    BatchEmbed,
}

impl Verb {
    const ALL: [(&str, Self); 5] = [
        ("generateContent", Self::Generate),
        ("streamGenerateContent", Self::Stream),
        ("countTokens", Self::Count),
        ("embedContent", Self::Embed),
        ("batchEmbedContents", Self::BatchEmbed),
    ];

    /// The model and the verb of a path such as `/v1beta/models/m:generateContent`.
    pub(super) fn of(path: &str) -> Option<(&str, Self)> {
        let rest = path.strip_prefix("/v1beta/").or_else(|| path.strip_prefix("/v1/"))?;
        let (model, verb) = rest.strip_prefix("models/")?.rsplit_once(':')?;
        let (_, verb) = Self::ALL.into_iter().find(|(name, _)| *name == verb)?;
        Some((model, verb))
    }

    /// The type of its requests in the published description.
    pub(super) fn request_type(self) -> &'static str {
        match self {
            Self::Generate | Self::Stream => "GenerateContentRequest",
            Self::Count => "CountTokensRequest",
            Self::Embed => "EmbedContentRequest",
            Self::BatchEmbed => "BatchEmbedContentsRequest",
        }
    }
}

/// What is a client's own to name: the service reads it as it stands.
const FREE: [&str; 6] =
    ["args", "response", "properties", "parametersJsonSchema", "responseJsonSchema", "labels"];

/// The service takes its names in camel case and in snake case.
pub(super) fn in_camel_case(value: Value) -> Value {
    match value {
        Value::Array(items) => items.into_iter().map(in_camel_case).collect(),
        Value::Object(members) => {
            let named = members.into_iter().map(|(name, value)| {
                let mut words = name.split('_').filter(|word| !word.is_empty());
                let mut camel = words.next().unwrap_or_default().to_owned();
                for word in words {
                    let (first, rest) =
                        word.split_at(word.chars().next().map_or(0, char::len_utf8));
                    camel.push_str(&first.to_uppercase());
                    camel.push_str(rest);
                }
                let free = FREE.contains(&camel.as_str());
                let value = if free { value } else { in_camel_case(value) };
                // The older name of one, which begins with what is no word.
                (if name.starts_with('_') { name } else { camel }, value)
            });
            Value::Object(named.collect())
        }
        other => other,
    }
}

/// A schema in Google's form as a JSON schema: its types are in capitals.
fn json_schema(schema: &Value) -> Value {
    match schema {
        Value::Array(items) => items.iter().map(json_schema).collect(),
        Value::Object(members) => {
            let plain = members.iter().map(|(name, value)| {
                let kind = value.as_str().filter(|_| name == "type").map(str::to_lowercase);
                (name.clone(), kind.map_or_else(|| json_schema(value), Value::from))
            });
            Value::Object(plain.collect())
        }
        other => other.clone(),
    }
}

/// A request as the chat that it is.
fn as_chat(model: &str, body: &Value) -> Value {
    let mut messages = Vec::new();
    let text = |content: &Value| -> String {
        let parts = content["parts"].as_array().into_iter().flatten();
        parts.filter_map(|part| part["text"].as_str()).collect()
    };
    if body.get("systemInstruction").is_some() {
        messages.push(json!({"role": "system", "content": text(&body["systemInstruction"])}));
    }
    for content in body["contents"].as_array().into_iter().flatten() {
        let role = if content["role"] == "model" { "assistant" } else { "user" };
        messages.push(json!({"role": role, "content": text(content)}));
        for part in content["parts"].as_array().into_iter().flatten() {
            if let Some(response) = part.get("functionResponse") {
                let said = &response["response"];
                let said = said.get("output").or_else(|| said.get("result")).unwrap_or(said);
                let said = said.as_str().map_or_else(|| said.to_string(), str::to_owned);
                messages.push(json!({"role": "tool", "content": said}));
            }
        }
    }
    let config = &body["generationConfig"];
    let mut chat = json!({"model": model, "messages": messages});
    for (theirs, ours) in [
        ("maxOutputTokens", "max_completion_tokens"),
        ("candidateCount", "n"),
        ("responseLogprobs", "logprobs"),
        ("logprobs", "top_logprobs"),
    ] {
        if let Some(value) = config.get(theirs) {
            chat[ours] = value.clone();
        }
    }
    if config["responseMimeType"] == "application/json" {
        let schema = config.get("responseJsonSchema").cloned();
        let schema = schema.or_else(|| config.get("responseSchema").map(json_schema));
        let schema = schema.unwrap_or_else(|| json!({"type": "object"}));
        chat["response_format"] = json!({"type": "json_schema", "json_schema": {"schema": schema}});
    }
    let declared = body["tools"].as_array().into_iter().flatten();
    let declared = declared.filter_map(|tool| tool["functionDeclarations"].as_array()).flatten();
    let tools: Vec<Value> = declared
        .map(|tool| {
            let schema = tool.get("parametersJsonSchema").cloned();
            let schema = schema.or_else(|| tool.get("parameters").map(json_schema));
            json!({"type": "function", "function": {"name": tool["name"], "parameters": schema}})
        })
        .collect();
    let calling = &body["toolConfig"]["functionCallingConfig"];
    match (calling["mode"].as_str(), &calling["allowedFunctionNames"][0]) {
        (Some("NONE"), _) => return chat,
        (Some("ANY"), Value::String(name)) => {
            chat["tool_choice"] = json!({"type": "function", "function": {"name": name}});
        }
        (Some("ANY"), _) => chat["tool_choice"] = json!("required"),
        _ => {}
    }
    chat["tools"] = json!(tools);
    chat
}

/// Reads a request.
pub(super) fn ask(model: &str, body: &Value, setup: &Setup) -> Result<Ask, Refusal> {
    let mut ask = Ask::openai(&as_chat(model, body), setup, true)?;
    ask.thinks = setup.thinking
        && body["generationConfig"]["thinkingConfig"]["includeThoughts"] == json!(true);
    Ok(ask)
}

/// Answers `countTokens`.
pub(super) fn count(model: &str, body: &Value, setup: &Setup) -> Result<Value, Refusal> {
    let asked = body.get("generateContentRequest").unwrap_or(body);
    let tokens = ask(model, asked, setup)?.prompt_tokens;
    Ok(json!({"totalTokens": tokens,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": tokens}]}))
}

/// Answers an information route.
pub(super) fn info(path: &str, setup: &Setup) -> Option<Value> {
    let rest = path.strip_prefix("/v1beta/").or_else(|| path.strip_prefix("/v1/"))?;
    let entry = |name: &str| {
        json!({"name": format!("models/{name}"), "version": "001", "displayName": name,
            "inputTokenLimit": setup.context, "outputTokenLimit": 8192,
            "supportedGenerationMethods": ["generateContent", "countTokens", "embedContent"],
            "temperature": 1, "topP": 0.95, "topK": 64, "maxTemperature": 2})
    };
    if rest == "models" {
        let models: Vec<Value> = setup.models.iter().map(|name| entry(name)).collect();
        return Some(json!({"models": models}));
    }
    let name = rest.strip_prefix("models/")?;
    setup.models.iter().any(|model| model == name).then(|| entry(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_model_and_verb() {
        let path = "/v1beta/models/gemini-3-flash:streamGenerateContent";
        assert_eq!(Verb::of(path), Some(("gemini-3-flash", Verb::Stream)));
        assert_eq!(Verb::of("/v1beta/models/a:generateText"), None);
        assert_eq!(Verb::of("/v1beta/models"), None);
    }
}
