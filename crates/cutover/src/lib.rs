//! The command line, and the wiring of everything it starts.
//!
//! One file per verb in `verbs`; a verb reads its arguments, calls the floors below and writes data to
//! stdout, talk to stderr. Verbs that only plan are in `planning`; what all verbs share is in `console`,
//! whose modules are known by their short names here.

mod accelerators;
mod alone;
mod claim;

mod banner;
mod cli;
mod database;
mod doorkeys;
mod doors;
mod embedded;
mod explain;
mod fetch;
mod instances;
mod kept;
mod lookup;
mod managed;
mod memory;
mod models;
mod named;
mod observed;
mod plans;
mod process;
mod programs;
mod prompts;
mod questions;
mod reference;
mod rehearsal;
mod sampling;
mod secrets;
mod server;
mod signals;
mod sockets;
mod verbs;
mod watched;
mod whereabouts;

use cutover_console::{clock, env, exit, files, operator, surroundings, table, term};

pub use cli::main;
pub use exit::{EXITS, Exit};
pub use reference::cli_reference_markdown;
