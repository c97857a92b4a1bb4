//! Prints the table of `docs/guides/balance.md`.
//!
//! `cargo run --release -p cutover-simulator --example balance`

#![expect(clippy::print_stdout, reason = "an example prints")]

use cutover_route::balance::POLICIES;
use cutover_simulator::fleet;

fn main() {
    print!("{}", fleet::table(POLICIES));
}
