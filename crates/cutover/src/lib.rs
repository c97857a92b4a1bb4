//! The command line, and the wiring of everything it starts.
//!
//! One file per verb in `verbs`; a verb reads its arguments, calls the floors below and writes data to
//! stdout, talk to stderr. The only floor that uses `anyhow`, reads the environment ([`mod@env`]), the
//! wall clock ([`clock`]) or the operating system's signals.

mod claim;
pub mod clock;
pub mod env;

mod banner;
mod cli;
mod database;
mod embedded;
mod exit;
mod explain;
mod fetch;
mod files;
mod kept;
mod machine;
mod managed;
mod models;
mod observed;
mod operator;
mod plans;
mod process;
mod prompts;
mod questions;
mod reference;
mod sampling;
mod server;
mod signals;
mod sockets;
mod surroundings;
mod table;
mod term;
mod verbs;

pub use cli::main;
pub use exit::{EXITS, Exit};
pub use reference::cli_reference_markdown;
