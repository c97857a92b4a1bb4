//! The engine on a tiny random model: no download, every property that does not need sense.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed test says why")]

use std::path::PathBuf;
use std::time::Duration;

use cutover_engine::{
    Delta, Done, Engine, EngineOptions, Event, Finish, GenerateRequest, LoadError, Message,
    OutputFormat, Prompt, RequestError,
};
use cutover_testkit::tiny_gguf;
use serde_json::{Value, json};

fn file(dir: &tempfile::TempDir, readable: bool) -> PathBuf {
    let path = dir.path().join("tiny.gguf");
    let written =
        if readable { tiny_gguf::write_readable(&path, 7) } else { tiny_gguf::write(&path, 7) };
    written.expect("the model is written");
    path
}

fn engine(readable: bool, options: &EngineOptions) -> Engine {
    let dir = tempfile::tempdir().expect("a folder");
    Engine::load(&file(&dir, readable), options).expect("the tiny model loads")
}

fn ask(text: &str) -> GenerateRequest {
    let message = Message { role: "user".into(), content: text.into() };
    let mut request = GenerateRequest::new(Prompt::Messages(vec![message]));
    request.sampling.temperature = 0.0;
    request.max_tokens = Some(24);
    request
}

struct Answer {
    text: String,
    deltas: Vec<Delta>,
    done: Done,
}

async fn answer(engine: &Engine, request: GenerateRequest) -> Answer {
    let mut generation = engine.generate(request).await.expect("accepted");
    let (mut text, mut deltas) = (String::new(), Vec::new());
    loop {
        match generation.events.recv().await.expect("an end comes before the channel closes") {
            Event::Delta(delta) => {
                text.push_str(&delta.text);
                deltas.push(delta);
            }
            Event::Done(done) => {
                assert!(generation.events.recv().await.is_none(), "nothing follows the end");
                assert_eq!(done.usage.prompt_tokens, generation.prompt_tokens);
                return Answer { text, deltas, done };
            }
            Event::Failed(reason) => panic!("{reason}"),
        }
    }
}

#[tokio::test]
async fn an_answer_runs_to_its_limit_and_counts_its_tokens() {
    let engine = engine(true, &EngineOptions::default());
    let a = answer(&engine, ask("the sea")).await;
    assert_eq!(a.done.finish, Finish::Length);
    assert_eq!(a.done.usage.completion_tokens, 24);
    assert!(a.text.is_ascii() && !a.text.is_empty());
    // <|im_start|> user \n the " sea" <|im_end|> \n <|im_start|> assistant \n: only " sea" is merged.
    assert_eq!(a.done.usage.prompt_tokens, 23);
}

#[tokio::test]
async fn noise_is_always_whole_characters() {
    let engine = engine(false, &EngineOptions::default());
    for seed in 0..20 {
        let mut request = ask("noise");
        request.sampling.temperature = 1.5;
        request.sampling.seed = Some(seed);
        request.max_tokens = Some(60);
        let a = answer(&engine, request).await;
        assert!(a.done.usage.completion_tokens <= 60);
        assert_eq!(a.done.finish == Finish::Stop, a.done.usage.completion_tokens < 60);
    }
}

#[tokio::test]
async fn a_seed_repeats_an_answer_and_another_seed_does_not() {
    let engine = engine(true, &EngineOptions::default());
    let mut request = ask("story");
    request.sampling.temperature = 1.0;
    request.sampling.seed = Some(1);
    let first = answer(&engine, request.clone()).await.text;
    assert_eq!(first, answer(&engine, request.clone()).await.text);
    request.sampling.seed = Some(2);
    assert_ne!(first, answer(&engine, request.clone()).await.text);
    request.sampling.seed = None;
    assert_ne!(answer(&engine, request.clone()).await.text, answer(&engine, request).await.text);
}

#[tokio::test]
async fn what_is_cached_changes_nothing_but_the_count() {
    let engine = engine(true, &EngineOptions::default());
    let fresh = answer(&engine, ask("light on the water")).await;
    assert_eq!(fresh.done.usage.cached_tokens, 0);
    answer(&engine, ask("light on the sea, and then a good deal more of it")).await;
    let again = answer(&engine, ask("light on the water")).await;
    assert!(again.done.usage.cached_tokens > 10);
    assert_eq!(fresh.text, again.text);
}

#[tokio::test]
async fn a_stop_string_ends_the_answer_and_is_no_part_of_it() {
    let engine = engine(true, &EngineOptions::default());
    let whole = answer(&engine, ask("small")).await.text;
    let stop = whole[5..8].to_owned();
    let expected = &whole[..whole.find(&stop).expect("it is there")];
    let mut request = ask("small");
    request.stop = vec![stop];
    request.logprobs = Some(0);
    let a = answer(&engine, request).await;
    assert_eq!((a.text.as_str(), a.done.finish), (expected, Finish::Stop));
    let of_tokens: String =
        a.deltas.iter().flat_map(|d| &d.tokens).map(|t| t.token.text.as_str()).collect();
    assert!(of_tokens.starts_with(expected));
}

#[tokio::test]
async fn logprobs_come_with_their_text_and_the_greedy_choice_is_the_best() {
    let engine = engine(true, &EngineOptions::default());
    let mut request = ask("day");
    request.logprobs = Some(3);
    let a = answer(&engine, request).await;
    let tokens: Vec<_> = a.deltas.iter().flat_map(|d| &d.tokens).collect();
    assert_eq!(tokens.len(), a.done.usage.completion_tokens);
    let bytes: Vec<u8> = tokens.iter().flat_map(|t| t.token.bytes.clone()).collect();
    assert_eq!(String::from_utf8_lossy(&bytes), a.text);
    for t in tokens {
        assert_eq!(t.top.len(), 3);
        assert!(t.token.logprob <= 0.0 && t.top[0].logprob >= t.top[1].logprob);
        assert_eq!(t.top[0].bytes, t.token.bytes);
    }
}

#[tokio::test]
async fn a_prompt_that_does_not_fit_is_refused_with_both_numbers() {
    let options = EngineOptions { context: Some(64), ..EngineOptions::default() };
    let engine = engine(true, &options);
    let error = engine.generate(ask(&"x".repeat(100))).await.expect_err("too long");
    assert!(
        matches!(
            error,
            RequestError::ContextLength { prompt_tokens: 101..=140, context_tokens: 64 }
        ),
        "{error}"
    );
    // So long that it is not even split into tokens.
    let error = engine.generate(ask(&"x".repeat(9_000_000))).await.expect_err("too long");
    assert!(matches!(error, RequestError::ContextLength { .. }), "{error}");
}

#[tokio::test]
async fn a_context_that_fills_up_ends_the_answer() {
    let options = EngineOptions { context: Some(64), ..EngineOptions::default() };
    let engine = engine(true, &options);
    let mut request = ask("x");
    request.max_tokens = None;
    let a = answer(&engine, request).await;
    assert_eq!(a.done.finish, Finish::Length);
    assert_eq!(a.done.usage.prompt_tokens + a.done.usage.completion_tokens, 64);
}

#[tokio::test]
async fn a_dropped_answer_frees_its_slot() {
    let options = EngineOptions { queue: 1, ..EngineOptions::default() };
    let engine = engine(true, &options);
    let mut endless = ask("time");
    endless.max_tokens = None;
    let mut running = engine.generate(endless.clone()).await.expect("accepted");
    running.events.recv().await.expect("it has begun");
    let waiting = engine.generate(endless.clone()).await.expect("one may wait");
    let refused = engine.generate(endless).await.expect_err("the queue holds one");
    assert_eq!(refused, RequestError::Overloaded { waiting: 1 });
    drop((running, waiting));
    // The slot notices at its next token; the one that waited no longer counts.
    let next = tokio::time::timeout(Duration::from_secs(20), answer(&engine, ask("next")));
    assert_eq!(next.await.expect("served soon").done.finish, Finish::Length);
}

#[tokio::test]
async fn two_slots_answer_two_requests_at_once() {
    let options = EngineOptions { slots: 2, ..EngineOptions::default() };
    let engine = engine(true, &options);
    let alone = answer(&engine, ask("model")).await.text;
    let mut endless = ask("time");
    endless.max_tokens = None;
    let mut running = engine.generate(endless).await.expect("accepted");
    running.events.recv().await.expect("it has begun");
    assert_eq!(answer(&engine, ask("model")).await.text, alone);
}

#[tokio::test]
async fn json_comes_out_even_of_noise() {
    let engine = engine(false, &EngineOptions::default());
    let schema = json!({
        "type": "object",
        "properties": {"colour": {"enum": ["red", "blue"]}, "n": {"type": "boolean"}},
        "required": ["colour", "n"],
        "additionalProperties": false,
    });
    for seed in 0..5 {
        let mut request = ask("json");
        request.sampling.temperature = 1.0;
        request.sampling.seed = Some(seed);
        request.max_tokens = Some(200);
        request.format = OutputFormat::JsonSchema(schema.clone());
        let a = answer(&engine, request).await;
        assert_eq!(a.done.finish, Finish::Stop);
        let value: Value = serde_json::from_str(&a.text).expect("valid JSON");
        assert!(["red", "blue"].contains(&value["colour"].as_str().expect("a string")));
        assert!(value["n"].is_boolean());
    }
}

#[tokio::test]
async fn any_json_object_begins_as_one() {
    let engine = engine(false, &EngineOptions::default());
    let mut request = ask("json");
    request.format = OutputFormat::JsonObject;
    assert!(answer(&engine, request).await.text.starts_with('{'));
}

/// A schema whose references lead from one to the next.
fn chain(links: usize, link: fn(&str) -> Value) -> Value {
    let name = |at: usize| format!("a{at}");
    let mut places: serde_json::Map<_, _> =
        (0..links).map(|at| (name(at), link(&format!("#/$defs/{}", name(at + 1))))).collect();
    places.insert(name(links), json!({"type": "boolean"}));
    json!({"$ref": "#/$defs/a0", "$defs": places})
}

/// The process ended by a stack that overflowed.
#[tokio::test]
async fn a_schema_whose_references_go_deep_is_refused_or_used_and_ends_nothing() {
    const ALONE: fn(&str) -> Value = |to| json!({"$ref": to});
    const WITHIN: fn(&str) -> Value = |to| json!({"type": "object", "properties": {"x": {"allOf": [{"$ref": to}]}}, "required": ["x"]});
    let engine = engine(false, &EngineOptions::default());
    for (links, link, good) in [
        (20, ALONE, true),
        (20, WITHIN, true),
        (1_000, ALONE, true),
        (500, WITHIN, true),
        (5_000, ALONE, false),
        (5_000, WITHIN, false),
    ] {
        let mut request = ask("json");
        request.format = OutputFormat::JsonSchema(chain(links, link));
        match engine.generate(request).await {
            Ok(mut generation) => {
                assert!(good, "{links}");
                while generation.events.recv().await.is_some() {}
            }
            Err(RequestError::Invalid { field, message }) => {
                assert!(!good && field == "schema" && message.contains("too deep"), "{message}");
            }
            Err(other) => panic!("{links}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn values_out_of_range_are_refused_by_name() {
    let engine = engine(true, &EngineOptions::default());
    let refused = async |change: fn(&mut GenerateRequest)| {
        let mut request = ask("x");
        change(&mut request);
        match engine.generate(request).await {
            Err(RequestError::Invalid { field, .. }) => field,
            other => panic!("expected a refusal, got {other:?}"),
        }
    };
    assert_eq!(refused(|r| r.sampling.temperature = 2.5).await, "temperature");
    assert_eq!(refused(|r| r.sampling.temperature = f32::NAN).await, "temperature");
    assert_eq!(refused(|r| r.sampling.top_p = -0.1).await, "top_p");
    assert_eq!(refused(|r| r.max_tokens = Some(0)).await, "max_tokens");
    assert_eq!(refused(|r| r.logprobs = Some(21)).await, "top_logprobs");
    assert_eq!(refused(|r| r.stop = vec!["x".into(); 17]).await, "stop");
    assert_eq!(refused(|r| r.prompt = Prompt::Tokens(vec![99_999])).await, "prompt");
    assert_eq!(refused(|r| r.prompt = Prompt::Text(String::new())).await, "prompt");
    assert_eq!(refused(|r| r.format = OutputFormat::JsonSchema(json!([1]))).await, "schema");
    let unknown = |r: &mut GenerateRequest| {
        r.format = OutputFormat::JsonSchema(json!({"type": "no such type"}));
    };
    assert_eq!(refused(unknown).await, "schema");
}

#[test]
fn files_that_are_no_model_are_refused_with_a_reason() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = std::fs::read(file(&dir, true)).expect("readable");
    let path = dir.path().join("broken.gguf");
    let load = |bytes: &[u8]| {
        std::fs::write(&path, bytes).expect("written");
        Engine::load(&path, &EngineOptions::default()).map(|_| ()).expect_err("refused")
    };
    assert!(matches!(load(b"GIF89a"), LoadError::Malformed { .. }));
    assert!(matches!(load(&[]), LoadError::Malformed { .. }));
    for cut in [10, 1000, whole.len() / 2, whole.len() - 1] {
        let error = load(&whole[..cut]);
        assert!(
            matches!(error, LoadError::Malformed { .. } | LoadError::Read { .. }),
            "cut at {cut}: {error}"
        );
    }
    let missing = Engine::load(&dir.path().join("none.gguf"), &EngineOptions::default());
    assert!(matches!(missing.map(|_| ()).expect_err("refused"), LoadError::Read { .. }));
}

#[test]
fn no_damage_to_a_file_makes_loading_panic() {
    let dir = tempfile::tempdir().expect("a folder");
    let whole = std::fs::read(file(&dir, true)).expect("readable");
    let path = dir.path().join("damaged.gguf");
    // Every value of the header's first part, then samples: lengths, counts, types, offsets.
    let places = (0..200).chain((200..14_000).step_by(211));
    for (place, damage) in places.flat_map(|p| [(p, 0xff), (p, 0x00), (p, 0x7f)]) {
        let mut bytes = whole.clone();
        bytes[place] = damage;
        std::fs::write(&path, &bytes).expect("written");
        // Some damage is harmless; none may end the process.
        drop(Engine::load(&path, &EngineOptions::default()));
    }
}
