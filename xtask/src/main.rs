//! Repository chores: `cargo xtask tidy` checks the rules of ARCHITECTURE.md and CONTRIBUTING.md,
//! `cargo xtask docs` writes the generated references.
//!
//! A development tool: no crate of the product depends on it. It reads the tree that git knows and
//! what `cargo metadata` prints; it needs no network.

mod docs;
mod tidy;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

const USAGE: &str = "\
usage: cargo xtask <task>

  tidy            check the rules that a compiler does not check; exit 1 if one is broken
  rules           list those rules
  docs            write the generated references under docs/reference
  docs --check    compare them instead; exit 1 if one differs
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut out = io::stdout().lock();
    let done = match words.as_slice() {
        ["tidy"] => tidy::run(&root(), &mut out),
        ["rules"] => tidy::list(&mut out).map(|()| true),
        ["docs"] => docs::write(&root(), &mut out),
        ["docs", "--check"] => docs::check(&root(), &mut out),
        _ => out.write_all(USAGE.as_bytes()).map(|()| false),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nothing is left to do if even this line cannot be written.
            let _unwritten = writeln!(out, "error: {error}");
            ExitCode::from(2)
        }
    }
}

/// The workspace's root: this package's folder is directly beneath it.
fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}
