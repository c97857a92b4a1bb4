//! Measures what metrics cost a request and a scrape:
//! `cargo run --release -p cutover-telemetry --example telemetry_cost`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a stopwatch for people, not product code"
)]

use std::time::Instant;

use cutover_telemetry::{
    ArmLabels, ArmMetrics, Finished, Format, Outcome, Registry, Tokens, families,
};
use cutover_units::{Arm, Micros, NanoUsd};

const ROUNDS: u32 = 2_000_000;

fn measure(name: &str, threads: u32, run: impl Fn(u32) + Sync) {
    let started = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..ROUNDS).for_each(&run));
        }
    });
    let ns = started.elapsed().as_secs_f64() * 1e9 / f64::from(ROUNDS);
    println!("{name}, {threads} thread(s): {ns:.1} ns");
}

fn main() {
    let registry = Registry::new();
    let labels = ArmLabels { use_case: "a", arm: Arm::Baseline, variant: "v", upstream: "u" };
    let arm = ArmMetrics::new(&registry, &labels);
    let finished = |n: u32| Finished {
        outcome: Outcome::Ok,
        total: Micros(u64::from(n)),
        first_token: Some(Micros(u64::from(n / 2))),
        tokens: Some(Tokens { prompt: 10, cached: 0, completion: 5 }),
        cost: Some(NanoUsd(7)),
        stream_chunks: 5,
    };
    let counter = registry.counter(families::LIMITS_HIT, ["x"]);
    let histogram = registry.histogram(families::GATEWAY_OVERHEAD, ["chat"]);
    for threads in [1, 2] {
        measure("counter", threads, |_| counter.inc());
        measure("histogram", threads, |n| histogram.observe(Micros(u64::from(n))));
        measure("all metrics of one request", threads, |n| arm.finish(&finished(n)));
        measure("handle look-up (events only)", threads, |_| {
            registry.counter(families::ERRORS, ["a", "baseline", "bad_gateway"]).inc();
        });
    }
    for n in 0..200 {
        let use_case = format!("use-case-{n}");
        for side in [Arm::Baseline, Arm::Candidate] {
            let labels = ArmLabels { use_case: &use_case, arm: side, variant: "v", upstream: "u" };
            ArmMetrics::new(&registry, &labels).finish(&finished(n));
        }
    }
    let started = Instant::now();
    let text = registry.render(Format::Text);
    let lines = text.lines().count();
    println!(
        "scrape of 200 use cases: {:?}, {} bytes, {lines} lines",
        started.elapsed(),
        text.len()
    );
}
