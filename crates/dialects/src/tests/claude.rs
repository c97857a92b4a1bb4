//! What Anthropic would refuse never reaches it: thinking by the model's name, sampling, ids of calls, and what a
//! variant says where its client says nothing.

use bytes::Bytes;
use cutover_wire::{Fault, StructuredOutput, Unsupported, VariantSettings};
use serde_json::{Value, json};

use super::support::{facts, inbound, lenient};
use crate::{RequestFacts, signature};
use cutover_vendors::{Defaults, anthropic, gemini};

/// A chat request of these members for a model.
fn chat(model: &str, more: &Value) -> Value {
    let mut body = json!({"model": model, "max_tokens": 9_000,
        "messages": [{"role": "user", "content": "a"}]});
    let members = more.as_object().unwrap().clone();
    body.as_object_mut().unwrap().extend(members);
    body
}

type Sent = (Value, Vec<String>);

fn sent_of(body: &Value, mode: Unsupported, settings: &VariantSettings) -> Result<Sent, Fault> {
    // The variant's defaults stand in the adapted body, and not in the client's.
    let mut adapted = body.clone();
    for (field, value) in [("temperature", settings.temperature), ("top_p", settings.top_p)] {
        if let (Some(value), None) = (value, body.get(field).filter(|value| !value.is_null())) {
            adapted[field] = json!(value);
        }
    }
    if let Some(seed) = settings.seed {
        adapted["seed"] = json!(seed);
    }
    let defaults = Defaults::of(body.to_string().as_bytes(), settings);
    let sent = anthropic::request(adapted.to_string().as_bytes(), mode, &defaults)?;
    let losses = sent.losses.into_iter().map(|loss| loss.field).collect();
    Ok((serde_json::from_slice(&sent.body).unwrap(), losses))
}

fn plainly(body: &Value, mode: Unsupported) -> Result<Sent, Fault> {
    sent_of(body, mode, &VariantSettings::default())
}

#[test]
fn each_model_is_asked_to_think_as_it_takes_it() {
    let adaptive = |effort: &str| json!([{"type": "adaptive"}, {"effort": effort}]);
    let budget = |tokens: u64| json!([{"type": "enabled", "budget_tokens": tokens}, null]);
    let nothing = || json!([null, null]);
    for (model, effort, wanted) in [
        ("claude-haiku-4-5", "low", budget(4_096)),
        ("claude-sonnet-4-5-20250929", "high", budget(4_500)),
        ("claude-opus-4-5", "xhigh", budget(4_500)),
        ("claude-3-5-haiku-latest", "high", nothing()),
        ("claude-sonnet-4-6", "max", adaptive("high")),
        ("claude-opus-4-6", "max", adaptive("max")),
        ("claude-opus-4-7", "xhigh", adaptive("xhigh")),
        ("claude-sonnet-5", "minimal", adaptive("low")),
        ("claude-opus-9", "medium", adaptive("medium")),
        ("some-alias", "medium", adaptive("medium")),
        ("claude-haiku-4-5", "none", nothing()),
        ("claude-sonnet-5", "none", json!([{"type": "disabled"}, null])),
        ("claude-sonnet-5-5", "none", json!([{"type": "between_tools"}, null])),
        ("claude-opus-5-5", "none", json!([null, {"effort": "low"}])),
        ("claude-fable-5", "none", json!([null, {"effort": "low"}])),
        ("some-alias", "none", json!([{"type": "disabled"}, null])),
    ] {
        let body = chat(model, &json!({"reasoning_effort": effort}));
        // A wish to think is never passed over in silence, and only a lenient variant passes over it at all.
        let cannot = effort != "none" && wanted == nothing();
        let strict = plainly(&body, Unsupported::Strict).err().and_then(|fault| fault.param);
        assert_eq!(strict.as_deref(), cannot.then_some("reasoning_effort"), "{model} {effort}");
        let (there, losses) = plainly(&body, Unsupported::Lenient).unwrap();
        assert_eq!(json!([there["thinking"], there["output_config"]]), wanted, "{model} {effort}");
        let exact = effort == "none" && (wanted == nothing() || wanted[0]["type"] == "disabled");
        assert_eq!(losses.is_empty(), exact, "{model} {effort}: {losses:?}");
    }
}

/// The budget is part of `max_tokens`, and at least 1024.
#[test]
fn a_budget_leaves_room_for_the_answer() {
    for (limit, budget) in [(1_024, None), (1_025, Some(1_024)), (3_000, Some(1_500))] {
        let more = json!({"reasoning_effort": "high", "max_tokens": limit, "temperature": 0.2});
        let sent = plainly(&chat("claude-haiku-4-5", &more), Unsupported::Lenient);
        let (there, losses) = sent.unwrap();
        assert_eq!(there["thinking"]["budget_tokens"].as_u64(), budget, "{limit}");
        // Without thinking its sampling is as good as any.
        assert_eq!(there["temperature"].is_null(), budget.is_some());
        let lost = |field: &str| losses.iter().any(|loss| loss == field);
        assert_eq!(lost("reasoning_effort.room"), budget.is_none(), "{losses:?}");
    }
}

#[test]
fn forced_calls_are_left_out_where_a_model_takes_none() {
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    for (model, effort, rule) in [
        ("claude-opus-5-5", None, Some("tool_choice")),
        ("claude-haiku-4-5", Some("low"), Some("reasoning_effort")),
        ("claude-haiku-4-5", None, None),
        ("claude-sonnet-4-6", Some("low"), None),
    ] {
        let more = json!({"tools": tools, "tool_choice": "required", "reasoning_effort": effort});
        let strict = plainly(&chat(model, &more), Unsupported::Strict);
        let param = strict.err().and_then(|fault| fault.param);
        assert_eq!(param.as_deref(), rule, "{model}");
        let (there, losses) = plainly(&chat(model, &more), Unsupported::Lenient).unwrap();
        let forced = there["tool_choice"]["type"] == "any";
        assert_eq!(forced, rule != Some("tool_choice"), "{model}");
        assert!(!forced || there["thinking"]["type"] != "enabled", "{there}");
        let told = losses.iter().any(|loss| loss.ends_with(".forced"));
        assert_eq!(told, rule.is_some(), "{losses:?}");
    }
}

/// Legal in chat completions, and a 400 at Anthropic.
#[test]
fn sampling_that_anthropic_refuses_is_refused_or_left_out_before() {
    for (model, more, refused, rest) in [
        ("claude-sonnet-4-6", json!({"temperature": 0.2}), None, json!([0.2, null])),
        (
            "claude-sonnet-4-6",
            json!({"temperature": 0.2, "top_p": 0.9}),
            Some("top_p"),
            json!([0.2, null]),
        ),
        ("claude-sonnet-4-6", json!({"temperature": 1, "top_p": 0.9}), None, json!([null, 0.9])),
        ("claude-sonnet-4-6", json!({"temperature": 1.5, "top_p": 1}), None, json!([1, null])),
        (
            "claude-sonnet-4-6",
            json!({"temperature": 0.2, "reasoning_effort": "high"}),
            Some("temperature"),
            json!([null, null]),
        ),
        (
            "claude-haiku-4-5",
            json!({"top_p": 0.2, "reasoning_effort": "high"}),
            Some("top_p"),
            json!([null, null]),
        ),
        (
            "claude-haiku-4-5",
            json!({"temperature": 0.2, "reasoning_effort": "none"}),
            None,
            json!([0.2, null]),
        ),
        ("claude-sonnet-5", json!({"temperature": 0.2}), Some("temperature"), json!([null, null])),
        ("claude-sonnet-5", json!({"temperature": 1.0, "top_p": 1}), None, json!([null, null])),
        ("some-alias", json!({"temperature": 0.2}), None, json!([0.2, null])),
    ] {
        let body = chat(model, &more);
        let strict = plainly(&body, Unsupported::Strict);
        let param = strict.as_ref().err().and_then(|fault| fault.param.as_deref());
        assert_eq!(param, refused, "{model} {more}");
        let (there, losses) = plainly(&body, Unsupported::Lenient).unwrap();
        assert_eq!(json!([there["temperature"], there["top_p"]]), rest, "{model} {more}");
        let told = losses.iter().any(|loss| refused.is_some_and(|field| loss.starts_with(field)));
        assert_eq!(told, refused.is_some(), "{losses:?}");
    }
}

#[test]
fn a_variants_own_default_is_left_out_and_never_a_clients_fault() {
    let settings = VariantSettings {
        temperature: Some(0.3),
        top_p: Some(0.9),
        seed: Some(42),
        ..VariantSettings::default()
    };
    let (temperature, top_p, seed) = ("variant.temperature", "variant.top_p", "variant.seed");
    for (model, more, lost, rest) in [
        ("claude-haiku-4-5", json!({}), vec![top_p, seed], json!([0.3, null])),
        ("claude-haiku-4-5", json!({"top_p": null}), vec![top_p, seed], json!([0.3, null])),
        ("claude-haiku-4-5", json!({"temperature": 0.1}), vec![top_p, seed], json!([0.1, null])),
        ("claude-sonnet-5", json!({}), vec![temperature, top_p, seed], json!([null, null])),
        (
            "claude-sonnet-4-6",
            json!({"reasoning_effort": "low"}),
            vec!["reasoning_effort", temperature, top_p, seed],
            json!([null, null]),
        ),
        // The client's word beats the variant's, whichever of the two it is.
        ("claude-haiku-4-5", json!({"top_p": 0.5}), vec![temperature, seed], json!([null, 0.5])),
    ] {
        let (there, losses) = sent_of(&chat(model, &more), Unsupported::Strict, &settings).unwrap();
        assert_eq!(json!([there["temperature"], there["top_p"]]), rest, "{model} {more}");
        assert_eq!(losses, lost, "{model} {more}");
    }
    let seeded = chat("claude-haiku-4-5", &json!({"seed": 7}));
    let fault = sent_of(&seeded, Unsupported::Strict, &settings).unwrap_err();
    assert_eq!(fault.param.as_deref(), Some("seed"), "the client's own is its own");
    // What is left of a client's schema that the variant puts into words.
    let json_mode = VariantSettings {
        structured: Some(StructuredOutput::JsonMode),
        ..VariantSettings::default()
    };
    let body = chat("claude-haiku-4-5", &json!({"response_format": {"type": "json_object"}}));
    let (there, losses) = sent_of(&body, Unsupported::Strict, &json_mode).unwrap();
    assert_eq!(
        (&there["output_config"], &*losses),
        (&Value::Null, &["variant.structured_output".to_owned()][..])
    );
    assert!(plainly(&body, Unsupported::Strict).is_err());
}

/// Kimi on vLLM gives `functions.f:0`, others give none at all.
#[test]
fn ids_of_calls_get_the_letters_that_anthropic_takes_on_both_sides() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f"}});
    let result = |id: &str| json!({"role": "tool", "tool_call_id": id, "content": "r"});
    for (one, two) in
        [("functions.f:0", "functions.f:1"), ("call.1/2", "call/1.2"), ("", ""), ("a", "b")]
    {
        let messages = json!({"messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "content": null, "tool_calls": [call(one), call(two)]},
            result(one), result(two),
        ]});
        let (there, _) = plainly(&chat("claude-x", &messages), Unsupported::Strict).unwrap();
        let ids = |turn: usize, name: &str| -> Vec<String> {
            let blocks = there["messages"][turn]["content"].as_array().unwrap();
            blocks.iter().map(|block| block[name].as_str().unwrap().to_owned()).collect()
        };
        let (calls, results) = (ids(1, "id"), ids(2, "tool_use_id"));
        assert_eq!(calls, results, "{one:?}");
        assert_ne!(calls[0], calls[1], "{one:?}");
        let fits = |id: &String| {
            !id.is_empty() && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b))
        };
        assert!(calls.iter().all(fits), "{calls:?}");
    }
}

fn messages_request(more: &Value) -> Bytes {
    let body = json!({"model": "m", "max_tokens": 9_000, "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "hm", "signature": "SG"},
            {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "is_error": true, "content": "R"}]},
    ]});
    let mut body = body.as_object().unwrap().clone();
    body.extend(more.as_object().unwrap().clone());
    Bytes::from(Value::Object(body).to_string())
}

/// The target knows these words, whatever model they are for.
#[test]
fn what_anthropics_client_says_of_thinking_and_errors_reaches_anthropic_as_it_came() {
    for (thinking, effort) in [
        (json!({"type": "enabled", "budget_tokens": 2048}), None),
        (json!({"type": "disabled"}), None),
        (json!({"type": "adaptive", "display": "omitted"}), Some("xhigh")),
        (json!({"type": "between_tools", "new": [1]}), None),
    ] {
        let mut more = json!({"thinking": thinking});
        if let Some(effort) = effort {
            more["output_config"] = json!({"effort": effort});
        }
        let body = messages_request(&more);
        let marked = RequestFacts { keep_marks: true, keep_reasoning: true, ..facts() };
        let asked = inbound("/v1/messages", &body, &marked);
        assert!(asked.losses.is_empty(), "{:?}", asked.losses);
        let sent = anthropic::request(&asked.body, Unsupported::Strict, &Defaults::default());
        let sent = sent.ok().unwrap();
        assert!(sent.losses.is_empty(), "{:?}", sent.losses);
        let there: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(there["thinking"], thinking);
        assert_eq!(there["output_config"]["effort"].as_str(), effort);
        let result = &there["messages"][2]["content"][0];
        assert_eq!(
            (&result["is_error"], &result["content"][0]["text"]),
            (&json!(true), &json!("R"))
        );
        // Gemini has an error's place of its own, and an effort of its own.
        let gemini = gemini::request(&asked.body, Unsupported::Strict).ok().unwrap();
        let there: Value = serde_json::from_slice(&gemini.body).unwrap();
        let response = &there["contents"][2]["parts"][0]["functionResponse"]["response"];
        assert_eq!(response, &json!({"error": "R"}));
        assert!(gemini.losses.iter().any(|loss| loss.field == "extra_body.anthropic"));
    }
    let chat = inbound("/v1/messages", &messages_request(&json!({})), &facts());
    assert!(String::from_utf8_lossy(&chat.body).contains("\"Error: R\""));
}

/// Claude Code says `adaptive` whatever the model is; up to Claude 4.5 the vendor answers 400 to it.
#[test]
fn adaptive_thinking_becomes_a_budget_where_a_model_knows_no_other() {
    const BUDGET: &str = "extra_body.anthropic.thinking.adaptive";
    const NONE: &str = "extra_body.anthropic.thinking.none";
    let tools = json!([{"name": "f", "input_schema": {"type": "object"}}]);
    let as_it_came = json!({"type": "adaptive", "display": "omitted"});
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    for (model, effort, limit, choice, wanted, lost) in [
        ("claude-sonnet-4-5", None, 32_000, "auto", budget(16_000), Some(BUDGET)),
        ("claude-haiku-4-5", Some("low"), 32_000, "auto", budget(4_096), Some(BUDGET)),
        ("claude-opus-4-5", Some("max"), 3_000, "none", budget(1_500), Some(BUDGET)),
        ("claude-opus-4-1", Some("medium"), 1_024, "auto", Value::Null, Some(NONE)),
        ("claude-sonnet-4-5", None, 32_000, "any", Value::Null, Some(NONE)),
        ("claude-3-5-haiku-latest", None, 32_000, "auto", Value::Null, Some(NONE)),
        ("claude-sonnet-4-6", Some("low"), 32_000, "auto", as_it_came.clone(), None),
        ("some-alias", None, 32_000, "auto", as_it_came.clone(), None),
    ] {
        let mut body = json!({"model": model, "max_tokens": limit, "thinking": as_it_came,
            "tools": tools, "tool_choice": {"type": choice},
            "messages": [{"role": "user", "content": "a"}]});
        if let Some(effort) = effort {
            body["output_config"] = json!({"effort": effort});
        }
        let marked = RequestFacts { keep_marks: true, keep_reasoning: true, ..facts() };
        let asked = inbound("/v1/messages", &Bytes::from(body.to_string()), &marked);
        assert!(asked.losses.is_empty(), "{:?}", asked.losses);
        let sent = anthropic::request(&asked.body, Unsupported::Strict, &Defaults::default());
        let sent = sent.ok().unwrap();
        let losses: Vec<_> = sent.losses.iter().map(|loss| &*loss.field).collect();
        assert_eq!(losses, Vec::from_iter(lost), "{model} {effort:?}");
        let there: Value = serde_json::from_slice(&sent.body).unwrap();
        assert_eq!(there["thinking"], wanted, "{model} {effort:?}");
        // A model that knows no `adaptive` knows no effort.
        let kept = effort.filter(|_| lost.is_none());
        assert_eq!(there["output_config"]["effort"].as_str(), kept, "{model}");
    }
}

/// Qwen3 and its like think unless they are told not to, out of the client's `max_tokens`.
#[test]
fn thinking_that_anthropics_client_turns_off_is_off_elsewhere() {
    let effort = |thinking: Value, config: Value| {
        let more = json!({"thinking": thinking, "output_config": config});
        let asked = inbound("/v1/messages", &messages_request(&more), &lenient());
        let body: Value = serde_json::from_slice(&asked.body).unwrap();
        body["reasoning_effort"].clone()
    };
    assert_eq!(effort(json!({"type": "disabled"}), json!({})), "none");
    assert_eq!(effort(json!({"type": "disabled"}), json!({"effort": "high"})), "none");
    assert_eq!(effort(json!({"type": "adaptive"}), json!({"effort": "low"})), "low");
    assert_eq!(effort(json!({"type": "adaptive"}), json!({})), Value::Null);
}

/// A signature is kilobytes that no other vendor has use for.
#[test]
fn no_signature_gets_into_the_prompt() {
    let id = signature::join("call_1", "QUJDREVGRw==");
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}});
    let body = json!({"model": "m", "max_tokens": 9, "messages": [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [{"type": "tool_use", "id": id, "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": id,
            "content": [{"type": "text", "text": "R"}, image]}]},
    ]});
    for keep_marks in [false, true] {
        let marked = RequestFacts { keep_marks, ..lenient() };
        let asked = inbound("/v1/messages", &Bytes::from(body.to_string()), &marked);
        let there: Value = serde_json::from_slice(&asked.body).unwrap();
        assert_eq!(
            there["messages"][3]["content"][0]["text"],
            "Attached to the result of tool call call_1:"
        );
        assert!(!there["messages"].to_string().contains("_gts_"));
    }
}
