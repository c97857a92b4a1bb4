//! Prints the tables of `docs/guides/why-these-gates.md`.
//!
//! `cargo run --release -p cutover-simulator --example why_these_gates [-- RUNS [STUDY_RUNS]]`

#![expect(clippy::print_stdout, reason = "an example prints")]

use std::process::ExitCode;
use std::thread;

use cutover_rollout::Spec;
use cutover_simulator::{Study, Traffic, Trial, Truth, example, peers};
use cutover_units::Millis;

/// Three days: a rollout on a boundary would wait for ever.
const HORIZON: Millis = Millis(3 * 86_400_000);

fn main() -> ExitCode {
    let mut numbers = std::env::args().skip(1).map(|text| text.parse::<u32>());
    let runs = numbers.next().and_then(Result::ok).unwrap_or(200);
    let study_runs = numbers.next().and_then(Result::ok).unwrap_or(2_000);
    let (Ok(spec), Ok(traffic)) = (example::spec(), Traffic::parse("20/min")) else {
        return ExitCode::FAILURE;
    };
    let rows: Vec<_> = thread::scope(|scope| {
        let spec = &spec;
        let each = |faced| scope.spawn(move || peers::compare(spec, faced, runs));
        let started: Vec<_> = peers::COMPARED.iter().map(each).collect();
        let done = started.into_iter().filter_map(|thread| thread.join().ok()?.ok());
        done.flatten().collect()
    });
    println!("{}", peers::table(&rows));
    match study(&spec, &traffic, study_runs) {
        Some(study) => println!("{}", study.render(&spec)),
        None => println!("no study"),
    }
    ExitCode::SUCCESS
}

/// The study, its runs shared among the processors.
fn study(spec: &Spec, traffic: &Traffic, runs: u32) -> Option<Study> {
    let parts = u32::try_from(thread::available_parallelism().map_or(1, usize::from)).unwrap_or(1);
    let trial = Trial { horizon: HORIZON, ..Trial::new(*traffic, Truth::default(), runs) };
    thread::scope(|scope| {
        let started: Vec<_> = (0..parts)
            .map(|part| {
                let runs = runs * part / parts..runs * (part + 1) / parts;
                let trial = Trial { runs, ..trial.clone() };
                scope.spawn(move || cutover_simulator::study(spec, &trial))
            })
            .collect();
        started.into_iter().filter_map(|thread| thread.join().ok()).reduce(|mut all, part| {
            all.merge(part);
            all
        })
    })
}
