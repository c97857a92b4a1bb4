//! Prints what converting requests, answers and streams costs on this machine. Run by hand, in release:
//! `cargo run --release -p cutover-dialects --example conversion_speed`. No figure here is asserted: machines vary.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed run")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads a clock")]

use std::fs::read;
use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use cutover_dialects::{Ask, Asked, Inbound, Moment, RequestFacts, find};
use cutover_units::Millis;
use cutover_wire::Unsupported;

/// Rounds per figure; the median is printed.
const ROUNDS: usize = 15;

/// Microseconds per call: the median of some rounds.
fn measure(calls: u32, mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                call();
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn fixture(name: &str) -> Bytes {
    Bytes::from(read(format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap())
}

fn inbound(path: &str, body: &Bytes) -> Inbound {
    let facts = RequestFacts {
        unsupported: Unsupported::Lenient,
        ..RequestFacts::new("0123456789abcdef", Millis(1_800_000_000_000))
    };
    let Some(Ok(found)) = find("POST", path) else { unreachable!("{path}") };
    let Ask::Read(read) = found.ask else { unreachable!("{path}") };
    match read(body, &facts) {
        Ok(Asked::Infer(inbound)) => *inbound,
        _ => unreachable!("{path}"),
    }
}

fn image(bytes: usize) -> Bytes {
    let data = "iVBORw0KGgo=".repeat(bytes / 12);
    Bytes::from(format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":[{{"type":"image","source":{{"type":"base64","media_type":"image/png","data":"{data}"}}}}]}}]}}"#
    ))
}

fn small() -> Bytes {
    let text = "The quick brown fox said \\\"hello\\\" to the lazy dog.\\n".repeat(18);
    Bytes::from(format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"{text}"}}]}}"#
    ))
}

fn main() {
    println!("microseconds; requests:");
    for (name, path, body) in [
        ("1 kB, anthropic", "/v1/messages", small()),
        ("40 kB agent, anthropic", "/v1/messages", fixture("anthropic/agent.json")),
        ("37 kB agent, responses", "/v1/responses", fixture("responses/agent.json")),
        ("4 MB image, anthropic", "/v1/messages", image(4 << 20)),
    ] {
        let calls = if body.len() > 1 << 20 { 10 } else { 1_000 };
        let cost = measure(calls, || drop(black_box(inbound(path, &body))));
        println!("  {name:<26} {:>9} bytes {cost:>9.1}", body.len());
    }
    println!("streams, per chunk of text:");
    let chunk = Bytes::from_static(b"data: {\"id\":\"chatcmpl-1\",\"object\":\"chat.completion.chunk\",\"created\":1,\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" word\"},\"finish_reason\":null}]}\n\n");
    for (name, path, request) in [
        ("anthropic", "/v1/messages", "anthropic/minimal.json"),
        ("responses", "/v1/responses", "responses/minimal.json"),
        ("ollama", "/api/chat", "ollama/chat-plain.json"),
    ] {
        let body = fixture(request);
        let mut stream = inbound(path, &body).way_back.stream();
        let mut out = Vec::with_capacity(4);
        let cost = measure(10_000, || {
            stream.push(chunk.clone(), Moment::default(), &mut out);
            black_box(&out);
            out.clear();
        });
        println!("  {name:<26} {cost:>25.2}");
    }
}
