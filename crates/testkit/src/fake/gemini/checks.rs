//! What the service refuses by rules that are written about and in no schema: turns without a part, calls without
//! their answers, calls that do not come back with the signature they were given.

use serde_json::{Value, json};

use crate::fake::refusal::Refusal;

/// What calls of others carry by Google's documentation.
const UNSIGNED: &str = "skip_thought_signature_validator";

/// The signature of a call that this fake made: another one is a forgery.
pub(super) fn signature(call: &Value) -> String {
    let text = format!("{}{}", call["name"].as_str().unwrap_or_default(), call["args"]);
    let sum = text.bytes().fold(7_u64, |sum, byte| sum.wrapping_mul(31) ^ u64::from(byte));
    // Four letters of eight bits are a whole number of base64 groups.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..12).map(|at| char::from(letters[(sum >> (5 * at) & 63) as usize])).collect()
}

/// The signature of a call whose arguments are a text.
pub(in crate::fake) fn signature_of(name: &str, arguments: &str) -> String {
    let args: Value = serde_json::from_str(arguments).unwrap_or_default();
    signature(&json!({"name": name, "args": args}))
}

/// What the compatible endpoint knows of a chat request; anything else it refuses.
const KNOWN: [&str; 22] = [
    "model",
    "messages",
    "frequency_penalty",
    "logprobs",
    "top_logprobs",
    "max_tokens",
    "max_completion_tokens",
    "n",
    "presence_penalty",
    "reasoning_effort",
    "response_format",
    "seed",
    "stop",
    "stream",
    "stream_options",
    "temperature",
    "top_p",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "extra_body",
    "user",
];

/// Checks what the compatible endpoint (`/v1beta/openai`) checks.
pub(in crate::fake) fn check_compatible(body: &Value) -> Result<(), Refusal> {
    let mut members = body.as_object().into_iter().flatten();
    if let Some((name, _)) = members.find(|(name, _)| !KNOWN.contains(&name.as_str())) {
        let message =
            format!("Invalid JSON payload received. Unknown name \"{name}\": Cannot find field.");
        return Err(Refusal::Argument { message });
    }
    if !signs(body["model"].as_str().unwrap_or_default()) {
        return Ok(());
    }
    for (at, message) in body["messages"].as_array().into_iter().flatten().enumerate() {
        let Some(first) = message["tool_calls"].get(0) else { continue };
        let args: Value =
            serde_json::from_str(first["function"]["arguments"].as_str().unwrap_or_default())
                .unwrap_or_default();
        let mut part = json!({"functionCall": {"name": first["function"]["name"], "args": args}});
        if let Some(text) = first.pointer("/extra_content/google/thought_signature") {
            part["thoughtSignature"] = text.clone();
        }
        check_signatures(&[part], at)?;
    }
    Ok(())
}

/// Whether calls of this model must be signed.
pub(super) fn signs(model: &str) -> bool {
    model.strip_prefix("gemini-").and_then(|rest| rest.chars().next()).is_none_or(|c| c >= '3')
}

/// Checks what the service checks and no schema says.
pub(in crate::fake) fn check(model: &str, body: &Value) -> Result<(), Refusal> {
    let bad = |message: String| Refusal::Argument { message };
    let contents = body["contents"].as_array().filter(|list| !list.is_empty());
    let contents = contents.ok_or_else(|| {
        bad("* GenerateContentRequest.contents: contents is not specified\n".to_owned())
    })?;
    let mut called = 0;
    for (at, content) in contents.iter().enumerate() {
        let role = content["role"].as_str().unwrap_or("user");
        if !matches!(role, "user" | "model" | "function") {
            return Err(bad("Please use a valid role: user, model.".to_owned()));
        }
        let parts = content["parts"].as_array().filter(|parts| !parts.is_empty());
        let parts = parts.ok_or_else(|| {
            bad(format!(
                "* GenerateContentRequest.contents[{at}].parts: contents.parts must not be empty.\n"
            ))
        })?;
        for (number, part) in parts.iter().enumerate() {
            check_part(part, &format!("contents[{at}].parts[{number}]"))?;
        }
        let of = |name: &str| parts.iter().filter(|part| part.get(name).is_some()).count();
        let answered = of("functionResponse");
        if answered != called && (answered > 0 || called > 0) {
            return Err(bad(
                "Please ensure that the number of function response parts is equal to the number of \
                 function call parts of the function call turn."
                    .to_owned(),
            ));
        }
        called = of("functionCall");
        if signs(model) {
            check_signatures(parts, at)?;
        }
    }
    Ok(())
}

fn check_part(part: &Value, path: &str) -> Result<(), Refusal> {
    const DATA: [&str; 5] = ["text", "inlineData", "functionCall", "functionResponse", "fileData"];
    let held = DATA.iter().filter(|name| part.get(**name).is_some()).count();
    let why = match held {
        0 => "required oneof field 'data' must have one initialized field",
        1 => return Ok(()),
        _ => "oneof field 'data' is already set",
    };
    Err(Refusal::Argument { message: format!("* GenerateContentRequest.{path}.data: {why}\n") })
}

/// The first call of a turn is signed; the signature is the one that was given.
fn check_signatures(parts: &[Value], at: usize) -> Result<(), Refusal> {
    let Some(first) = parts.iter().find(|part| part.get("functionCall").is_some()) else {
        return Ok(());
    };
    let call = &first["functionCall"];
    // Bytes, in either alphabet of base64.
    let sent =
        first["thoughtSignature"].as_str().map(|text| text.replace('-', "+").replace('_', "/"));
    let message = match sent {
        Some(text) if text == UNSIGNED.replace('_', "/") || text == signature(call) => {
            return Ok(());
        }
        Some(_) => "Thought signature is not valid.".to_owned(),
        None => format!(
            "Function call is missing a thought_signature in functionCall parts. This is required for \
             tools to work correctly, and missing thought_signature may lead to degraded model \
             performance. Additional data, function call `{}` , position {at}.",
            call["name"].as_str().unwrap_or_default()
        ),
    };
    Err(Refusal::Argument { message })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_must_come_back_with_its_own_signature() {
        let call = json!({"name": "f", "args": {"a": 1}});
        let turn = |signature: Option<String>| {
            let mut part = json!({"functionCall": call});
            if let Some(text) = signature {
                part["thoughtSignature"] = json!(text);
            }
            json!({"contents": [{"role": "user", "parts": [{"text": "hi"}]},
                {"role": "model", "parts": [part]},
                {"parts": [{"functionResponse": {"name": "f", "response": {"output": "x"}}}]}]})
        };
        assert!(check("gemini-3-flash", &turn(Some(signature(&call)))).is_ok());
        assert!(check("gemini-3-flash", &turn(Some(UNSIGNED.to_owned()))).is_ok());
        assert!(check("gemini-3-flash", &turn(Some("AAAA".to_owned()))).is_err());
        assert!(check("gemini-3-flash", &turn(None)).is_err());
        assert!(check("gemini-2.5-flash", &turn(None)).is_ok());
    }

    #[test]
    fn what_the_service_refuses_is_refused() {
        for body in [
            json!({}),
            json!({"contents": []}),
            json!({"contents": [{"parts": []}]}),
            json!({"contents": [{"parts": [{}]}]}),
            json!({"contents": [{"parts": [{"text": "a", "inlineData": {}}]}]}),
            json!({"contents": [{"role": "assistant", "parts": [{"text": "a"}]}]}),
            json!({"contents": [{"parts": [{"functionResponse": {"name": "f"}}]}]}),
        ] {
            assert!(check("gemini-2.5-flash", &body).is_err(), "{body}");
        }
    }
}
