//! Asks a GGUF file one question and shows how fast it answers: `cargo run -p cutover-engine
//! --release --example ask -- MODEL.gguf "the question" [max tokens]`.

#![expect(clippy::print_stdout, clippy::disallowed_methods, reason = "a program run by hand")]

use std::path::Path;
use std::time::Instant;

use cutover_engine::{Engine, EngineOptions, Event, GenerateRequest, Message, Prompt};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let (Some(path), Some(question)) = (args.next(), args.next()) else {
        return Err("usage: ask MODEL.gguf QUESTION [MAX_TOKENS]".into());
    };
    let start = Instant::now();
    let engine = Engine::load(Path::new(&path), &EngineOptions::default())?;
    println!("{:?}\nloaded in {:?}", engine.card(), start.elapsed());
    let message = Message { role: "user".into(), content: question };
    let mut request = GenerateRequest::new(Prompt::Messages(vec![message]));
    request.sampling.temperature = 0.0;
    request.max_tokens = Some(args.next().map_or(Ok(64), |n| n.parse())?);
    let start = Instant::now();
    let mut answer = engine.generate(request).await?;
    let mut first = None;
    while let Some(event) = answer.events.recv().await {
        match event {
            Event::Delta(delta) => {
                first.get_or_insert_with(|| start.elapsed());
                print!("{}", delta.text);
            }
            Event::Done(done) => {
                println!("\n{done:?}\nfirst token {first:?}, all {:?}", start.elapsed());
            }
            Event::Failed(reason) => return Err(reason.into()),
        }
    }
    Ok(())
}
