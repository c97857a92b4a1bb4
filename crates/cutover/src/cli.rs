//! The command line: what was typed, and which verb it means.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use cutover_planning as planning;

use crate::exit::{Exit, Failed};
use crate::term::{NobodyReads, Term};
use crate::verbs;

/// Move LLM traffic from a cloud API to your own models, a share at a time.
#[derive(Debug, Parser)]
#[command(name = "cutover", version, max_term_width = 100, disable_help_subcommand = true)]
pub(crate) struct Cli {
    /// The config file; of `size` a model's config.json. Default: $CUTOVER_CONFIG, else ./cutover.toml, else built-in defaults
    #[arg(long, short, global = true, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

/// The verbs, in the order that help shows them.
#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Serve(verbs::serve::Args),
    Demo(verbs::demo::Args),
    Init(verbs::init::Args),
    Check(verbs::check::Args),
    Audit(Box<planning::audit::Args>),
    Prices(planning::prices::Args),
    Size(Box<planning::size::Args>),
    Recommend(planning::recommend::Args),
    Tco(planning::tco::Args),
    Latency(planning::latency::Args),
    Report(planning::report::Args),
    Status(verbs::status::Args),
    Weight(verbs::weight::Args),
    Rollback(verbs::rollback::Args),
    Rollout(verbs::rollout::Args),
    Instances(verbs::instances::Args),
    Models(verbs::models::Args),
    Key(verbs::key::Args),
    Prompt(verbs::prompt::Args),
    Backup(verbs::backup::Args),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let mut term = Term::real();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are data, mistakes are talk; clap knows which.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let exit = finish(run(cli, &mut term), &mut term);
    cutover_telemetry::flush_error_stream();
    exit.into()
}

fn run(cli: Cli, term: &mut Term) -> Result<Exit, Failed> {
    let config = cli.config.as_deref();
    match cli.verb {
        Verb::Serve(args) => verbs::serve::run(&args, config, term),
        Verb::Demo(args) => verbs::demo::run(&args, term),
        Verb::Init(args) => verbs::init::run(&args, term),
        Verb::Check(args) => verbs::check::run(&args, config, term),
        Verb::Audit(args) => planning::audit::run(&args, config, term),
        Verb::Prices(args) => planning::prices::run(&args, term),
        Verb::Size(args) => planning::size::run(&args, config, term),
        Verb::Recommend(args) => planning::recommend::run(&args, term),
        Verb::Tco(args) => planning::tco::run(&args, term),
        Verb::Latency(args) => planning::latency::run(&args, config, term),
        Verb::Report(args) => planning::report::run(&args, config, term),
        Verb::Status(args) => verbs::status::run(&args, config, term),
        Verb::Weight(args) => verbs::weight::run(&args, config, term),
        Verb::Rollback(args) => verbs::rollback::run(&args, config, term),
        Verb::Rollout(args) => verbs::rollout::run(&args, config, term),
        Verb::Instances(args) => verbs::instances::run(&args, config, term),
        Verb::Models(args) => verbs::models::run(&args, config, term),
        Verb::Key(args) => verbs::key::run(&args, config, term),
        Verb::Prompt(args) => verbs::prompt::run(&args, config, term),
        Verb::Backup(args) => verbs::backup::run(&args, config, term),
    }
}

fn finish(result: Result<Exit, Failed>, term: &mut Term) -> Exit {
    match result {
        Ok(exit) => exit,
        // As with `rollout history | head`: whoever reads has what they want.
        Err(failed) if NobodyReads::is(&failed.error) => Exit::Done,
        Err(failed) => {
            if !failed.told {
                term.complain(&failed.error, failed.hint.as_deref());
            }
            failed.exit
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_verb_has_a_row_and_every_row_a_verb() {
        let command = Cli::command();
        let verbs: Vec<_> = command.get_subcommands().map(clap::Command::get_name).collect();
        let rows: Vec<_> = verbs::VERBS.iter().map(|row| row.name).collect();
        assert_eq!(verbs, rows);
    }
}
