//! Prints the tables of `docs/guides/balance.md`.
//!
//! `cargo run --release -p cutover-simulator --example balance`

#![expect(clippy::print_stdout, reason = "an example prints")]

use cutover_route::balance::POLICIES;
use cutover_simulator::fleet::{self, closed};

fn main() {
    println!("{}", fleet::table(POLICIES));
    println!("{}", closed::table(&POLICIES[..3]));
    print!("{}", closed::recovery_table(&POLICIES[0]));
}
