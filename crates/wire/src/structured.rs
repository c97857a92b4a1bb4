//! Holding a model to a form of its answers where its engine cannot do that by itself.
//!
//! ```text
//! native        response_format goes to the engine as it came
//! grammar       the engine's own field for a schema instead
//! json-mode     JSON is asked for natively, the schema in words
//! instruct-and-repair   all in words; the answer's one JSON object is taken out of its text
//! ```
//!
//! What has been sent of a stream cannot be taken back. So a stream that shall be repaired is asked for
//! whole (`gathers`) and becomes a stream again once it is ([`streamed`]): the client waits for its first
//! content as long as for its last, the loss report says so, and what it gets fits.
//!
//! Repair never invents: what it gives is a piece of the model's own text, whole, that parses as an object
//! and fits the schema. Where there is none, or more than one that differ, the answer is a failure of the
//! upstream, so that another arm may answer. The log-probabilities of a text that was replaced are left out:
//! their tokens spell another one.

use std::fmt::{self, Write as _};
use std::sync::Arc;

use bytes::Bytes;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::adapt::{Loss, LossAction, ReplyPlan};
use crate::endpoint::Endpoint;
use crate::errors::Fault;
use crate::framing::Framing;
use crate::head::{Head, Key};
use crate::json;
use crate::openai::sampling::{FormatKind, ResponseFormat};
use crate::providers::Provider;
use crate::reply::{Reply, UpstreamFault};
use crate::target::Target;

/// How a model is held to a form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum StructuredOutput {
    /// By the engine, as the client asked.
    #[default]
    Native,
    /// By the engine's own field for a schema.
    Grammar,
    /// JSON by the engine, the schema in words.
    JsonMode,
    /// In words; the answer is repaired.
    Repair,
}

/// What an engine calls the field for a schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// `structured_outputs` (vLLM).
    StructuredOutputs,
    /// `json_schema` (llama.cpp).
    JsonSchema,
    /// The engine makes a grammar of `response_format` itself.
    Native,
}

/// What a provider does if the variant does not say, and what else it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Structured {
    /// If the variant does not say.
    pub usual: StructuredOutput,
    /// Its field for a schema.
    pub grammar: Option<Grammar>,
}

/// An answer's form that is not held by the engine. Its `Debug` shows no schema.
#[derive(Clone, PartialEq, Eq)]
pub struct Repair {
    /// The client's schema; none asks for any JSON object.
    pub schema: Option<Arc<str>>,
}

impl fmt::Debug for Repair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Repair(schema of {:?} bytes)", self.schema.as_ref().map(|schema| schema.len()))
    }
}

/// What becomes of `response_format`.
pub(crate) enum Form {
    /// It goes as it came.
    AsItCame,
    /// It is left out.
    Gone,
    /// Any JSON object is asked for.
    Json,
    /// It is left out, and this field stands for it.
    Field(&'static str, String),
}

/// A request for a form, as it is sent.
pub(crate) struct Shaped {
    pub(crate) form: Form,
    pub(crate) framing: Option<Framing>,
    pub(crate) repair: Option<Repair>,
}

const IN_WORDS: &str =
    "Answer with one JSON object and nothing else: no explanation, no code fence.";

/// How the request's form is asked for. None: as it came.
pub(crate) fn shape(head: &Head, body: &Bytes, target: &Target) -> Result<Option<Shaped>, Fault> {
    let table = target.provider.structured;
    let strategy = target.settings.structured.unwrap_or(table.usual);
    if strategy == StructuredOutput::Native || head.endpoint != Endpoint::ChatCompletions {
        return Ok(None);
    }
    let Some(raw) = head.raw(body, Key::ResponseFormat) else { return Ok(None) };
    let format: ResponseFormat = json::typed(raw, "response_format")?;
    let schema = match format.kind {
        FormatKind::Text => return Ok(None),
        FormatKind::JsonObject => None,
        FormatKind::JsonSchema => {
            let schema = format.json_schema.and_then(|named| named.schema);
            let missing = || Fault::missing("response_format.json_schema.schema");
            Some(schema.ok_or_else(missing)?)
        }
    };
    let schema = schema.as_ref().map(|raw| raw.get());
    let words = || {
        let framing = target.settings.framing.as_deref().cloned().unwrap_or_default();
        let asked = schema.map_or_else(
            || IN_WORDS.to_owned(),
            |schema| format!("{IN_WORDS} It must be valid against this JSON Schema:\n{schema}"),
        );
        Some(framing.with_instruction(&asked))
    };
    let as_it_came = Shaped { form: Form::AsItCame, framing: None, repair: None };
    Ok(Some(match strategy {
        StructuredOutput::Native => as_it_came,
        StructuredOutput::Grammar => Shaped { form: grammar(table.grammar, schema), ..as_it_came },
        StructuredOutput::JsonMode => Shaped { form: Form::Json, framing: words(), ..as_it_came },
        StructuredOutput::Repair => Shaped {
            form: Form::Gone,
            framing: words(),
            repair: Some(Repair { schema: schema.map(Arc::from) }),
        },
    }))
}

fn grammar(grammar: Option<Grammar>, schema: Option<&str>) -> Form {
    match (grammar, schema) {
        (Some(Grammar::StructuredOutputs), Some(schema)) => {
            Form::Field("structured_outputs", format!("{{\"json\":{schema}}}"))
        }
        (Some(Grammar::StructuredOutputs), None) => {
            Form::Field("structured_outputs", "{\"json_object\":true}".to_owned())
        }
        (Some(Grammar::JsonSchema), Some(schema)) => Form::Field("json_schema", schema.to_owned()),
        _ => Form::AsItCame,
    }
}

/// Whether a stream is asked for whole, to be repaired before the client sees any of it.
pub(crate) fn gathers(head: &Head, target: &Target) -> bool {
    let strategy = target.settings.structured.unwrap_or(target.provider.structured.usual);
    head.stream
        && head.has_response_format
        && head.endpoint == Endpoint::ChatCompletions
        && strategy == StructuredOutput::Repair
}

/// What the loss report says of it.
pub(crate) fn gathered() -> Loss {
    Loss {
        field: "stream".to_owned(),
        action: LossAction::Approximated,
        why: "the variant repairs answers: the stream comes once the answer is whole",
    }
}

/// What the loss report says of log-probabilities that are asked for with an answer that may be repaired.
pub(crate) fn spelled() -> Loss {
    Loss {
        field: Key::Logprobs.name().to_owned(),
        action: LossAction::Approximated,
        why: "the variant repairs answers: a text that is replaced comes without",
    }
}

/// A whole answer as the events of a stream, and the plan to read them by.
pub fn streamed(
    plan: &ReplyPlan,
    include_usage: bool,
    whole: &Bytes,
) -> Option<(Bytes, ReplyPlan)> {
    let mut answer: Value = serde_json::from_slice(whole).ok()?;
    let choices = answer.get_mut("choices").map(Value::take);
    let usage = answer.as_object_mut()?.remove("usage");
    answer["object"] = "chat.completion.chunk".into();
    let mut text = String::new();
    let mut event = |choices: Value, usage: Option<Value>| {
        answer["choices"] = choices;
        if let Some(usage) = usage {
            answer["usage"] = usage;
        }
        let _infallible = write!(text, "data: {answer}\n\n");
    };
    for mut choice in choices.and_then(|mut all| Some(std::mem::take(all.as_array_mut()?)))? {
        let finish = choice.get_mut("finish_reason").map(Value::take);
        let index = choice.get("index").cloned().unwrap_or_else(|| 0.into());
        let mut delta = choice.get_mut("message").map(Value::take)?;
        let calls = delta.get_mut("tool_calls").and_then(Value::as_array_mut);
        for (at, call) in calls.into_iter().flatten().enumerate() {
            call["index"] = at.into();
        }
        let logprobs = choice.get_mut("logprobs").map(Value::take);
        event(
            json!([{"index": index, "delta": delta, "logprobs": logprobs, "finish_reason": null}]),
            None,
        );
        event(
            json!([{"index": index, "delta": {}, "logprobs": null, "finish_reason": finish}]),
            None,
        );
    }
    if let Some(usage) = usage {
        event(json!([]), Some(usage));
    }
    text.push_str("data: [DONE]\n\n");
    let read = ReplyPlan {
        provider: Provider::by_name("openai")?,
        stream: true,
        include_usage,
        mint: false,
        repair: None,
        // It was judged as a whole.
        prompt_bytes: 0,
        ..plan.clone()
    };
    Some((text.into(), read))
}

/// Objects that are looked at in one text, at most; and braces that are tried.
const OBJECTS_MAX: usize = 8;
const TRIES_MAX: usize = 64;

/// The whole JSON objects of a text that do not lie in one another.
pub fn objects(text: &str) -> Vec<&str> {
    let mut found = Vec::new();
    let mut at = 0;
    for _ in 0..TRIES_MAX {
        let rest = text.get(at..).unwrap_or_default();
        let Some(open) = rest.find('{') else { break };
        let from = rest.get(open..).unwrap_or_default();
        let mut values = serde_json::Deserializer::from_str(from).into_iter::<&RawValue>();
        match values.next() {
            Some(Ok(value)) if found.len() < OBJECTS_MAX => {
                found.push(value.get());
                at += open + value.get().len();
            }
            _ => at += open + 1,
        }
    }
    found
}

/// Takes the object that was asked for out of each choice's text. `fits` says whether a value is valid
/// against a schema.
pub fn repair(
    repair: &Repair,
    reply: Reply,
    fits: &dyn Fn(&str, &Value) -> bool,
) -> Result<Reply, UpstreamFault> {
    let unreadable = || UpstreamFault::unfit("it holds no JSON object of the form asked for");
    let undecided =
        || UpstreamFault::unfit("it holds more than one JSON object of the form asked for");
    let mut answer: Value = serde_json::from_slice(&reply.body).map_err(|_| unreadable())?;
    let mut changed = false;
    let choices = answer.get_mut("choices").and_then(Value::as_array_mut);
    for choice in choices.into_iter().flatten() {
        // An answer that was cut off, refused or calls a tool is what it says it is.
        if choice.get("finish_reason").and_then(Value::as_str) != Some("stop") {
            continue;
        }
        let Some(content) = choice.get_mut("message").and_then(|m| m.get_mut("content")) else {
            continue;
        };
        let Some(text) = content.as_str() else { continue };
        let good = |object| {
            let value = serde_json::from_str::<Value>(object).ok()?;
            let fits = repair.schema.as_ref().is_none_or(|schema| fits(schema, &value));
            fits.then_some((object, value))
        };
        let mut found = objects(text).into_iter().filter_map(good);
        let (one, value) = found.next().ok_or_else(unreadable)?;
        // Small models say the same twice.
        if found.any(|(_, other)| other != value) {
            return Err(undecided());
        }
        if one != text {
            *content = Value::String(one.to_owned());
            if let Some(logprobs) = choice.get_mut("logprobs") {
                *logprobs = Value::Null;
            }
            changed = true;
        }
    }
    if !changed {
        return Ok(reply);
    }
    Ok(Reply { body: json::to_vec(&answer).into(), ..reply })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::adapt::adapt;
    use crate::target::VariantSettings;
    use proptest::prelude::*;

    fn target(name: &str, structured: StructuredOutput) -> Target {
        let settings = VariantSettings { structured: Some(structured), ..Default::default() };
        let provider = Provider::by_name(name).expect(name);
        Target { settings, ..Target::untouched(provider) }
    }

    fn sent(target: &Target, stream: bool) -> Result<(Value, crate::Outgoing), Fault> {
        let body = json!({
            "model": "m", "stream": stream, "messages": [{"role": "user", "content": "x"}],
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}},
        });
        let body = Bytes::from(body.to_string());
        let head = Head::read(Endpoint::ChatCompletions, &body)?;
        let out = adapt(&head, &body, target)?;
        Ok((serde_json::from_slice(&out.body.concat()).expect("valid JSON"), out))
    }

    #[test]
    fn each_strategy_asks_in_its_own_way() {
        use StructuredOutput::{Grammar, JsonMode, Native, Repair};
        let of = |name, strategy| sent(&target(name, strategy), false).unwrap();
        assert_eq!(of("vllm", Native).0["response_format"]["type"], "json_schema");
        let (vllm, _) = of("vllm", Grammar);
        assert_eq!(vllm["structured_outputs"], json!({"json": {"type": "object"}}));
        assert_eq!(vllm.get("response_format"), None);
        assert_eq!(of("llamacpp", Grammar).0["json_schema"], json!({"type": "object"}));
        assert_eq!(of("ollama", Grammar).0["format"], json!({"type": "object"}));
        for (name, field, value) in [
            ("openai", "response_format", json!({"type": "json_object"})),
            ("ollama", "format", json!("json")),
        ] {
            let (body, out) = of(name, JsonMode);
            assert_eq!(body[field], value);
            let words = body["messages"][0]["content"].as_str().unwrap();
            assert!(words.ends_with("this JSON Schema:\n{\"type\":\"object\"}"), "{words}");
            assert!(out.reply.repair.is_none());
            let (body, out) = of(name, Repair);
            assert_eq!(body.get(field), None);
            assert_eq!(body["messages"][0]["role"], "system");
            assert_eq!(out.reply.repair.unwrap().schema.as_deref(), Some("{\"type\":\"object\"}"));
        }
    }

    #[test]
    fn a_stream_that_is_repaired_is_asked_for_whole_and_that_is_said() {
        for name in ["vllm", "openai-compatible", "ollama", "llamacpp"] {
            let (body, out) = sent(&target(name, StructuredOutput::Repair), true).unwrap();
            assert_eq!(body["stream"], false, "{name}");
            assert_eq!(body.get("stream_options"), None, "{name}");
            assert!(out.reply.repair.is_some() && !out.reply.stream, "{name}");
            let lost = out.losses.iter().find(|loss| loss.field == "stream").unwrap();
            assert_eq!(lost.action, LossAction::Approximated);
            let (body, out) = sent(&target(name, StructuredOutput::JsonMode), true).unwrap();
            assert!(body["stream"] == true && out.reply.stream, "{name}");
        }
    }

    #[test]
    fn a_whole_answer_is_read_as_a_stream_with_all_that_it_said() {
        use crate::stream::{Limits, Tap};
        let (_, out) = sent(&target("vllm", StructuredOutput::Repair), true).unwrap();
        let call =
            json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}});
        let whole = json!({"id": "x", "object": "chat.completion", "created": 1, "model": "m",
            "choices": [
                {"index": 0, "message": {"role": "assistant", "content": "{}"}, "finish_reason": "stop"},
                {"index": 1, "message": {"role": "assistant", "content": null, "tool_calls": [call]},
                 "finish_reason": "tool_calls"}],
            "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}});
        for include_usage in [false, true] {
            let whole = Bytes::from(whole.to_string());
            let (events, plan) = streamed(&out.reply, include_usage, &whole).unwrap();
            let mint = crate::Mint { id: "y".to_owned(), model: Arc::from("z"), created: 2 };
            let (mut tap, mut pieces) =
                (Tap::new(plan, mint, Limits { event_bytes: 9_999 }), Vec::new());
            tap.push(events, &mut pieces).unwrap();
            assert!(tap.ended_well() && tap.first_content_seen());
            assert_eq!(tap.usage().unwrap().completion_tokens, 2);
            let text = String::from_utf8(pieces.concat()).unwrap();
            assert!(text.ends_with("data: [DONE]\n\n"), "{text}");
            assert_eq!(text.contains("\"usage\""), include_usage, "{text}");
            let said = "\"delta\":{\"content\":\"{}\",\"role\":\"assistant\"}";
            let said = text.contains(said)
                || text.contains(r#""delta":{"role":"assistant","content":"{}"}"#);
            assert!(
                said && text.contains(r#""index":0"#) && text.contains(r#""id":"x""#),
                "{text}"
            );
        }
        assert!(streamed(&out.reply, true, &Bytes::from_static(b"{}")).is_none());
    }

    fn repaired(text: &str, finish: &str) -> Result<String, String> {
        repaired_choice(text, finish)
            .map(|choice| choice["message"]["content"].as_str().unwrap().to_owned())
    }

    fn repaired_choice(text: &str, finish: &str) -> Result<Value, String> {
        let logprobs = json!({"content": [{"token": text, "logprob": 0.0}]});
        let message = json!({"content": text});
        let choice = json!({"message": message, "logprobs": logprobs, "finish_reason": finish});
        let body = json!({"id": "x", "choices": [choice]});
        let reply = Reply {
            body: body.to_string().into(),
            usage: None,
            finish: None,
            prompt_truncated: false,
            own: None,
            losses: Vec::new(),
        };
        let wanted = Repair { schema: Some("has a".into()) };
        let reply = repair(&wanted, reply, &|_, value| value.get("a").is_some());
        reply.map_err(|fault| fault.fault.message).map(|reply| {
            let answer: Value = serde_json::from_slice(&reply.body).unwrap();
            answer["choices"][0].clone()
        })
    }

    /// The client got the object as its text, and the tokens of what stood around it.
    #[test]
    fn log_probabilities_of_a_text_that_is_replaced_are_left_out_and_that_is_said() {
        let spelled = |text| repaired_choice(text, "stop").unwrap()["logprobs"].is_object();
        assert!(spelled("{\"a\": 1}"));
        assert!(!spelled("Sure! {\"a\": 1}"));
        let reported = |name, strategy, asked: bool| {
            let format = json!({"type": "json_object"});
            let body = json!({"model": "m", "messages": [{"role": "user", "content": "x"}],
                "logprobs": asked, "response_format": format});
            let body = Bytes::from(body.to_string());
            let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
            let losses = adapt(&head, &body, &target(name, strategy)).unwrap().losses;
            losses.iter().filter(|loss| loss.field == "logprobs").count()
        };
        for name in ["vllm", "openai", "ollama"] {
            assert_eq!(reported(name, StructuredOutput::Repair, true), 1, "{name}");
            assert_eq!(reported(name, StructuredOutput::Repair, false), 0, "{name}");
            assert_eq!(reported(name, StructuredOutput::JsonMode, true), 0, "{name}");
        }
    }

    #[test]
    fn the_one_object_that_fits_is_taken_as_it_was_written() {
        for text in [
            "{\"a\": 1.0}",
            "```json\n{\"a\": 1.0}\n```",
            "Sure! Here it is: {\"a\": 1.0} Anything else?",
            "{not json} {\"b\": 2} {\"a\": 1.0}",
            "{\"a\": 1.0}\n{\"a\":1.0}",
        ] {
            assert_eq!(repaired(text, "stop").unwrap(), "{\"a\": 1.0}", "{text}");
        }
        for text in ["no", "{\"b\": 1}", "{\"a\": 1", "[1]"] {
            assert!(repaired(text, "stop").unwrap_err().contains("no JSON object"), "{text}");
        }
        let two = repaired("{\"a\": 1} {\"a\": 1} {\"a\": 2}", "stop").unwrap_err();
        assert!(two.contains("more than one JSON object"), "{two}");
        assert_eq!(repaired("{\"a\": 1", "length").unwrap(), "{\"a\": 1");
    }

    proptest! {
        #[test]
        fn what_is_taken_is_always_a_piece_of_the_text(text in "[{}a\":1, é\\\\]{0,60}") {
            for object in objects(&text) {
                prop_assert!(text.contains(object) && object.as_bytes().first() == Some(&0x7b));
            }
            if let Ok(found) = repaired(&text, "stop") {
                prop_assert!(text.contains(&found));
            }
        }
    }
}
