//! Every field at every provider: what a strict variant's request becomes, what a lenient one's, and that the reference
//! says so.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cutover_vendors::fields::{About, Outcome, belongs, outcome, reference};
use cutover_vendors::{Defaults, Sent, anthropic, gemini};
use cutover_wire::head::Key;
use cutover_wire::providers::Dialect;
use cutover_wire::{
    Endpoint, Fault, Head, LossAction, PROVIDERS, Provider, Target, Unsupported, VariantSettings,
    adapt,
};
use serde_json::{Map, Value, json};

/// A value of a field that asks for something.
fn value(key: Key, endpoint: Endpoint) -> Value {
    let chat = endpoint == Endpoint::ChatCompletions;
    match key {
        // Of Anthropic's models one that takes sampling, thinks, and can be made to call: not all do.
        Key::Model => json!("claude-sonnet-4-6"),
        Key::Messages => json!([{"role": "user", "content": "hi"}]),
        Key::Stream | Key::Store | Key::Echo | Key::GuidedJsonObject => json!(true),
        Key::StreamOptions => json!({"include_usage": true}),
        Key::N | Key::BestOf | Key::TopLogprobs => json!(2),
        Key::Metadata => json!({"a": "b"}),
        Key::MaxTokens | Key::MaxCompletionTokens | Key::Dimensions | Key::TopK | Key::NumCtx => {
            json!(2_048)
        }
        Key::Temperature
        | Key::TopP
        | Key::FrequencyPenalty
        | Key::PresencePenalty
        | Key::MinP
        | Key::RepetitionPenalty
        | Key::RepeatPenalty => json!(0.5),
        Key::Seed => json!(7),
        Key::Stop | Key::GuidedChoice => json!(["x"]),
        Key::LogitBias => json!({"5": 1}),
        Key::Logprobs if chat => json!(true),
        Key::Logprobs => json!(1),
        Key::ResponseFormat => {
            json!({"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}})
        }
        Key::Tools => json!([{"type": "function", "function": {"name": "f"}}]),
        Key::ToolChoice => json!("required"),
        Key::ParallelToolCalls => json!(false),
        Key::Functions => json!([{"name": "f"}]),
        Key::FunctionCall => json!({"name": "f"}),
        Key::Modalities => json!(["audio"]),
        Key::Audio | Key::WebSearchOptions | Key::GuidedJson | Key::StructuredOutputs => {
            json!({"type": "object"})
        }
        Key::Moderation | Key::Options => json!({"a": 1}),
        Key::Prediction => json!({"type": "content", "content": "x"}),
        Key::ReasoningEffort | Key::Verbosity => json!("low"),
        Key::ServiceTier => json!("flex"),
        Key::EncodingFormat => json!("base64"),
        _ => json!("x"),
    }
}

/// A request with this field, and with what it cannot be asked without, where that can be sent.
fn request(provider: &'static Provider, key: Key, endpoint: Endpoint) -> Bytes {
    let mut body = Map::new();
    let mut put = |key: Key| body.insert(key.name().into(), value(key, endpoint));
    put(Key::Model);
    put(match endpoint {
        Endpoint::ChatCompletions => Key::Messages,
        Endpoint::Completions => Key::Prompt,
        Endpoint::Embeddings => Key::Input,
    });
    let needed = match key {
        Key::StreamOptions => Some(Key::Stream),
        Key::ToolChoice | Key::ParallelToolCalls => Some(Key::Tools),
        Key::TopLogprobs => Some(Key::Logprobs),
        _ => None,
    };
    needed.filter(|key| outcome(provider, *key, endpoint) != Outcome::Refused).and_then(&mut put);
    if key != Key::Other && !Key::INSIDE.contains(&key) {
        put(key);
    }
    let message = match key {
        Key::MessageName => Some(json!({"role": "user", "name": "ann", "content": "hi"})),
        Key::ImageDetail => Some(json!({"role": "user", "content": [
            {"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk=", "detail": "low"}},
        ]})),
        _ => None,
    };
    if let Some(message) = message {
        body.insert("messages".into(), json!([{"role": "system", "content": "x"}, message]));
    }
    Bytes::from(Value::Object(body).to_string())
}

/// What is sent for a request, and what was left out of it.
fn sent(
    provider: &'static Provider,
    (key, endpoint): (Key, Endpoint),
    unsupported: Unsupported,
) -> Result<(String, Vec<String>), Fault> {
    converted(provider, (&request(provider, key, endpoint), endpoint), unsupported)
}

fn converted(
    provider: &'static Provider,
    (body, endpoint): (&Bytes, Endpoint),
    unsupported: Unsupported,
) -> Result<(String, Vec<String>), Fault> {
    let head = Head::read(endpoint, body)?;
    // A variant's: what goes to the default upstream untouched may have what that ignores.
    let model = Some(Arc::clone(&head.model));
    let target = Target { model, unsupported, ..Target::untouched(provider) };
    let outgoing = adapt::adapt(&head, body, &target)?;
    let adapted = outgoing.body.concat();
    let Sent { path, body, losses } = match (provider.dialect, endpoint) {
        (Dialect::Anthropic, _) => {
            let defaults = Defaults::of(&adapted, &VariantSettings::default());
            anthropic::request(&adapted, unsupported, &defaults)?
        }
        (Dialect::Gemini, Endpoint::Embeddings) => {
            gemini::embeddings::request(&adapted, unsupported)?.0
        }
        (Dialect::Gemini, _) => gemini::request(&adapted, unsupported)?,
        _ => Sent { path: outgoing.path, body: adapted.into(), losses: Vec::new() },
    };
    let dropped = outgoing.losses.into_iter().chain(losses);
    let dropped = dropped.filter(|loss| loss.action == LossAction::Dropped);
    let text = String::from_utf8_lossy(&body);
    Ok((format!("{path} {text}"), dropped.map(|loss| loss.field).collect()))
}

fn each(mut look: impl FnMut(&'static Provider, Key, Endpoint)) {
    for provider in PROVIDERS {
        for &endpoint in provider.endpoints {
            for &key in Key::ALL.iter().filter(|key| belongs(**key, endpoint)) {
                look(provider, key, endpoint);
            }
        }
    }
}

/// `prediction` and `reasoning_effort` were treated alike where a target knew neither: both left out of strict requests,
/// though only the first changes nothing of an answer.
#[test]
fn one_rule_for_all_fields_at_all_providers() {
    let mut wrong = Vec::new();
    each(|provider, key, endpoint| {
        let outcome = outcome(provider, key, endpoint);
        if !About::of(key).allows(outcome, provider.self_hosted) {
            wrong.push(format!("{} {} {outcome:?}", provider.name, key.name()));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Converted without a trace in what is sent: each request has it, or the answer is made by it.
const ELSEWHERE: [Key; 6] =
    [Key::Model, Key::Messages, Key::Prompt, Key::Input, Key::StreamOptions, Key::EncodingFormat];

/// What the tables say is what happens: a field is there, refused by its name, or named in the report, and a lenient
/// request leaves out and names what a strict one is refused for.
#[test]
fn each_field_becomes_what_the_tables_say() {
    let mut wrong = Vec::new();
    each(|provider, key, endpoint| {
        let name = key.name();
        let is_it = |loss: &String| loss == name || loss.split('.').next() == Some(name);
        let named = |losses: &[String]| losses.iter().any(is_it);
        // An error names the very place of what stands inside of messages.
        let place = name.replacen("[]", "[1]", 1).replacen("[]", "[0]", 1);
        let said = outcome(provider, key, endpoint);
        let strict = sent(provider, (key, endpoint), Unsupported::Strict);
        let found = match strict {
            Err(fault) => {
                let param = fault.param.as_deref().unwrap_or_default();
                let lenient = sent(provider, (key, endpoint), Unsupported::Lenient);
                let told = lenient.is_ok_and(|(_, losses)| named(&losses));
                (param == place && told).then_some(Outcome::Refused)
            }
            Ok((_, losses)) if named(&losses) => Some(Outcome::Dropped),
            // Nothing leaves this process: our own engine has the client's bytes and looks at other fields.
            Ok(_) if said == Outcome::ReadHere && provider.takes.is_some() => Some(said),
            Ok((text, _)) if said == Outcome::Sent => {
                let last = name.rsplit('.').next().unwrap_or(name);
                text.contains(&format!("\"{last}\":")).then_some(said)
            }
            Ok((text, _)) => {
                let without = sent(provider, (Key::Other, endpoint), Unsupported::Strict);
                let acts =
                    without.is_ok_and(|(plain, _)| plain != text) || ELSEWHERE.contains(&key);
                (acts == (said == Outcome::Converted)).then_some(said)
            }
        };
        if found != Some(said) {
            wrong.push(format!(
                "{} {} {name}: {said:?}, but {found:?}",
                provider.name,
                endpoint.path()
            ));
        }
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn what_nobody_has_heard_of_is_never_left_out_in_silence() {
    for provider in
        PROVIDERS.iter().filter(|p| matches!(p.dialect, Dialect::Anthropic | Dialect::Gemini))
    {
        let body = br#"{"model":"m","messages":[{"role":"user","content":"hi"}],"unheard_of":1}"#;
        let ask = |unsupported| match provider.dialect {
            Dialect::Anthropic => anthropic::request(body, unsupported, &Defaults::default()),
            _ => gemini::request(body, unsupported),
        };
        let fault = ask(Unsupported::Strict).err().expect("a strict request is refused");
        assert_eq!(fault.param.as_deref(), Some("unheard_of"), "{}", provider.name);
        let losses = ask(Unsupported::Lenient).expect("a lenient one is not").losses;
        assert_eq!(losses.iter().filter(|loss| loss.field == "unheard_of").count(), 1);
    }
}

/// Wishes about service are no reason to refuse, and few: a new one is a decision.
#[test]
fn few_fields_are_wishes_about_service() {
    let service = Key::ALL.iter().filter(|key| About::of(**key) == About::Service);
    let names: Vec<_> = service.map(|key| key.name()).collect();
    let expected =
        ["prompt_cache_retention", "prediction", "service_tier", "guided_decoding_backend"];
    assert_eq!(names, expected);
}

#[test]
fn the_reference_is_printed_from_the_tables() {
    let page = format!(
        "# Request fields by provider\n\n\
         <!-- Generated from crates/vendors/src/fields.rs and the tables of providers by `cargo xtask docs`. Do not edit. -->\n\n{}",
        reference()
    );
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/fields.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, &page).expect("the reference can be written");
    }
    let found = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(found == page, "docs/reference/fields.md differs: run `cargo xtask docs`");
}

/// What asks for nothing, or says what is said already, is no loss: the official SDK's helpers write `detail: "auto"`,
/// older clients name the function in its result.
#[test]
fn a_name_or_a_detail_that_asks_for_nothing_is_no_loss() {
    let image = |detail: Value| {
        json!({"role": "user", "content": [{"type": "image_url", "image_url":
            {"url": "data:image/png;base64,aGk=", "detail": detail}}]})
    };
    let call = json!({"role": "assistant", "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}]});
    let result = json!({"role": "tool", "tool_call_id": "a", "name": "f", "content": "1"});
    let tools = json!([{"type": "function", "function": {"name": "f"}}]);
    for provider in PROVIDERS.iter().filter(|provider| provider.name != "embedded") {
        for messages in [
            json!([image(json!("auto"))]),
            json!([image(Value::Null)]),
            json!([{"role": "user", "name": "", "content": "hi"}]),
            json!([{"role": "user", "name": null, "content": "hi"}]),
            json!([{"role": "user", "content": "hi"}, call.clone(), result.clone()]),
        ] {
            let body = json!({"model": "claude-sonnet-4-6", "messages": messages, "tools": tools});
            let body = Bytes::from(body.to_string());
            let (_, losses) =
                converted(provider, (&body, Endpoint::ChatCompletions), Unsupported::Strict)
                    .unwrap_or_else(|fault| panic!("{} {messages}: {fault:?}", provider.name));
            assert!(losses.is_empty(), "{} {messages}: {losses:?}", provider.name);
        }
    }
}
