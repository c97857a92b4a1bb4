//! The pure parts of a request's path, one at a time: how many instructions, allocations and
//! nanoseconds each takes. `count.py` beside the bench runs all of them under callgrind.
//!
//! counted list            the cases, one a line
//! counted run CASE N      runs a case N times (for an instruction counter around it)
//! counted time CASE       prints `nanoseconds allocations`: the quickest of 61 rounds, and those of one run

mod bodies;
mod cases;

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Other work of the machine only ever makes a round longer: the quickest is the nearest to the truth.
const ROUNDS: usize = 61;
/// A round is long enough that a look at the clock does not count.
const ROUND: Duration = Duration::from_millis(2);

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["list"] => cases::CASES.iter().for_each(|case| println!("{}", case.name)),
        ["run", name, times] => {
            let mut case = cases::named(name);
            let times: u64 = times.parse().expect("a number");
            (0..times).for_each(|_| case());
        }
        ["time", name] => time(cases::named(name)),
        _ => panic!("counted list | run CASE N | time CASE"),
    }
}

#[expect(clippy::disallowed_methods, reason = "a benchmark looks at the clock")]
fn time(mut case: Box<dyn FnMut()>) {
    case();
    let once = Instant::now();
    case();
    let times = (ROUND.as_nanos() / once.elapsed().as_nanos().max(1)).clamp(1, 1_000_000) as u32;
    let round = |_| {
        let began = Instant::now();
        (0..times).for_each(|_| black_box(&mut case)());
        began.elapsed().as_nanos() as f64 / f64::from(times)
    };
    let least = (0..ROUNDS).map(round).fold(f64::INFINITY, f64::min);
    let counted = allocation_counter::measure(&mut case);
    println!("{least:.0} {}", counted.count_total);
}
