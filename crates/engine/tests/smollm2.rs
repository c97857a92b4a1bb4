//! The default model itself: what it is for, end to end.

#![expect(clippy::expect_used, clippy::panic, reason = "a failed test says why")]

mod common;

use cutover_engine::models::SMOLLM2_135M;
use cutover_engine::{
    Engine, EngineOptions, Event, GenerateRequest, Message, OutputFormat, Prompt, WeightFormat,
};
use serde_json::json;

async fn ask(engine: &Engine, question: &str, change: impl FnOnce(&mut GenerateRequest)) -> String {
    let message = Message { role: "user".into(), content: question.into() };
    let mut request = GenerateRequest::new(Prompt::Messages(vec![message]));
    request.sampling.temperature = 0.0;
    request.max_tokens = Some(24);
    change(&mut request);
    let mut generation = engine.generate(request).await.expect("accepted");
    let mut text = String::new();
    loop {
        match generation.events.recv().await.expect("an end") {
            Event::Delta(delta) => text.push_str(&delta.text),
            Event::Done(_) => return text,
            Event::Failed(reason) => panic!("{reason}"),
        }
    }
}

fn load(weights: Option<WeightFormat>) -> Option<Engine> {
    let folder = common::model(&SMOLLM2_135M)?;
    let options = EngineOptions { weights, ..EngineOptions::default() };
    Some(Engine::load(&folder.join(SMOLLM2_135M.files[0].name), &options).expect("loads"))
}

#[tokio::test]
async fn it_answers_and_extracts_by_schema() {
    let Some(engine) = load(None) else { return };
    assert_eq!(engine.card().parameters, 134_479_872);
    assert_eq!(engine.card().context, 8192);
    let text = ask(&engine, "What is 2+2? Answer with a number.", |_| ()).await;
    assert!(text.contains('4'), "{text}");
    // As SDKs write schemas: definitions, references, closed objects.
    let schema = json!({
        "$defs": {"Age": {"type": "integer"}},
        "type": "object",
        "properties": {"name": {"type": "string"}, "age": {"$ref": "#/$defs/Age"}},
        "required": ["name", "age"],
        "additionalProperties": false,
    });
    let question = "Extract the name and the age as JSON: Ann is 30 years old and lives in Rome.";
    let text = ask(&engine, question, |r| r.format = OutputFormat::JsonSchema(schema)).await;
    assert_eq!(text, r#"{"name":"Ann","age":30}"#);
}

#[tokio::test]
async fn two_weight_formats_are_two_models() {
    let question = "Write a haiku about the sea.";
    let (Some(eight), Some(four)) = (load(None), load(Some(WeightFormat::Q4_0))) else { return };
    assert!(four.card().weight_bytes * 10 < eight.card().weight_bytes * 8);
    assert_ne!(ask(&eight, question, |_| ()).await, ask(&four, question, |_| ()).await);
}
