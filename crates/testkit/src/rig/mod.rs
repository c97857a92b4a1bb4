//! Real parts for tests: llama.cpp's server, a small chat model, nginx, the official SDKs.
//!
//! Contract: a part is installed on first use into one shared folder (`CUTOVER_RIG_DIR`, else `rig`
//! in the target folder) under a lock, so test processes that run at once install once; a finished
//! part is marked and never touched again, and nothing is downloaded then. Versions are pinned here
//! and in `sdk/`. Started servers bind 127.0.0.1 and are killed by their process id when dropped.
//!
//! A part that cannot be had is [`Unavailable`] with the reason. [`require`] turns that into a failed
//! test, unless `CUTOVER_RIG_OPTIONAL=1` says that a machine without network shall skip such tests
//! (which prints the reason: a skip is never silent).

mod browser;
mod install;
mod llama_pair;
mod llama_server;
mod nginx;
mod parts;
mod vendors;

use std::fmt;

pub use browser::{Browser, Seen};
pub use llama_pair::LlamaPair;
pub use llama_server::{LlamaOptions, LlamaServer};
pub use nginx::Nginx;
pub use parts::{
    home, node, node_dialects, node_gemini, python, python_agents, python_dialects, python_gemini,
    smollm2, tiny_model, tiny_noise_model,
};
pub use vendors::{Suites, gemini_spec, schemathesis, steady, suites, vendor_spec};

/// Why a real part cannot be used here.
#[derive(Debug)]
pub struct Unavailable(pub String);

impl fmt::Display for Unavailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// The part, or `None` where the environment allows a test to go without.
///
/// Panics with the reason when the part is unavailable and `CUTOVER_RIG_OPTIONAL` is not `1`.
#[expect(clippy::print_stderr, reason = "a skipped test must say so and why")]
pub fn require<T>(part: Result<T, Unavailable>) -> Option<T> {
    match part {
        Ok(part) => Some(part),
        Err(reason) if install::env("CUTOVER_RIG_OPTIONAL").as_deref() == Some("1") => {
            eprintln!("SKIPPED, a real part is missing: {reason}");
            None
        }
        Err(reason) => panic!("a real part is missing (CUTOVER_RIG_OPTIONAL=1 skips): {reason}"),
    }
}
