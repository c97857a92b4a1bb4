//! Prints what reading a head and following a stream cost on this machine. Run by hand, in release:
//! `cargo run --release -p cutover-wire --example speed`. No figure here is asserted: machines vary.

#![expect(clippy::print_stdout, reason = "its output is its purpose")]
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed run")]
#![expect(clippy::disallowed_methods, reason = "a measurement reads a clock")]

use std::hint::black_box;
use std::time::Instant;

use bytes::Bytes;
use cutover_wire::adapt::adapt;
use cutover_wire::reply::{Received, read_reply};
use cutover_wire::stream::{Limits, Tap};
use cutover_wire::{Endpoint, Head, Mint, Provider, Target};

/// Rounds per figure; the median is printed.
const ROUNDS: usize = 15;

/// Nanoseconds per call: the median of some rounds.
fn measure(calls: u32, mut call: impl FnMut()) -> f64 {
    let mut rounds: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            for _ in 0..calls {
                call();
            }
            start.elapsed().as_secs_f64() * 1e9 / f64::from(calls)
        })
        .collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn request(bytes: usize, stream: bool) -> Bytes {
    let text = "The quick brown fox said \\\"hello\\\" to the lazy dog.\\n";
    let content = text.repeat(bytes / text.len());
    Bytes::from(format!(
        r#"{{"model":"gpt-4o-mini","stream":{stream},"temperature":0.2,"max_tokens":256,"user":"u-1","messages":[{{"role":"system","content":"You are brief."}},{{"role":"user","content":"{content}"}}]}}"#
    ))
}

fn target(name: &str, model: Option<&str>, mint: bool) -> Target {
    let provider = Provider::by_name(name).unwrap();
    Target { model: model.map(Into::into), mint, ..Target::untouched(provider) }
}

fn mint() -> Mint {
    Mint {
        id: "chatcmpl-0123456789abcdef01234567".into(),
        model: "gpt-4o-mini".into(),
        created: 1_800_000_000,
    }
}

fn event(content: &str) -> String {
    format!(
        r#"data: {{"choices":[{{"finish_reason":null,"index":0,"delta":{{"content":"{content}"}}}}],"created":1795249856,"id":"chatcmpl-71XqdmPjeRu101LXmcdsHREeCWjz2P9e","model":"smollm2-135m","system_fingerprint":"b11669-Debian","object":"chat.completion.chunk"}}"#
    ) + "\n\n"
}

fn main() {
    requests();
    let small = event(" fox");
    println!("stream event of {} bytes:", small.len());
    for minted in [false, true] {
        for per_frame in [1, 8] {
            follow(minted, per_frame, &small);
        }
    }
    replies();
}

fn requests() {
    for bytes in [1_000, 10_000, 100_000] {
        let body = request(bytes, false);
        let calls = u32::try_from(20_000_000 / bytes).unwrap().min(5_000);
        let read = measure(calls, || {
            black_box(Head::read(Endpoint::ChatCompletions, black_box(&body)).unwrap());
        });
        let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
        for (name, model) in [("openai", None), ("vllm", Some("qwen2.5:32b"))] {
            let target = target(name, model, false);
            let adapted = measure(calls, || {
                black_box(adapt(black_box(&head), &body, &target).unwrap());
            });
            println!("head {} bytes: {read:.0} ns; adapt to {name}: {adapted:.0} ns", body.len());
        }
    }
}

fn follow(minted: bool, per_frame: u32, event: &str) {
    let body = request(100, true);
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    let plan = adapt(&head, &body, &target("vllm", None, minted)).unwrap().reply;
    let mut tap = Tap::new(plan, mint(), Limits::default());
    let mut out = Vec::new();
    let frame = Bytes::from(event.repeat(usize::try_from(per_frame).unwrap()));
    tap.push(frame.clone(), &mut out).unwrap();
    let cost = measure(20_000, || {
        out.clear();
        tap.push(black_box(frame.clone()), &mut out).unwrap();
    });
    let each = cost / f64::from(per_frame);
    println!("  minted {minted}, {per_frame} per frame: {each:.0} ns per event");
}

fn replies() {
    let reply = Bytes::from_static(br#"{"choices":[{"finish_reason":"length","index":0,"message":{"role":"assistant","content":"Hello! I'm here to help with any kind of creative"}}],"created":1795249853,"model":"smollm2-135m","system_fingerprint":"b11669-Debian","object":"chat.completion","usage":{"completion_tokens":12,"prompt_tokens":36,"total_tokens":48,"prompt_tokens_details":{"cached_tokens":0}},"id":"chatcmpl-7SWtRf4YqxFrnCqpb1QnmnND0ZU0IJ7j"}"#);
    let body = request(100, false);
    let head = Head::read(Endpoint::ChatCompletions, &body).unwrap();
    for minted in [false, true] {
        let plan = adapt(&head, &body, &target("vllm", None, minted)).unwrap().reply;
        let mint = mint();
        let cost = measure(5_000, || {
            black_box(read_reply(&plan, &mint, Received::new(200, reply.clone())).unwrap());
        });
        println!("reply of {} bytes, minted {minted}: {cost:.0} ns", reply.len());
    }
}
