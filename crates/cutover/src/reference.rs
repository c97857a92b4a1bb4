//! The command line's reference, generated from the command line itself.

use std::fmt::Write as _;

use clap::{Arg, Command, CommandFactory};

use crate::cli::Cli;
use crate::exit::{EXITS, Exit};
use crate::{env, verbs};

/// The reference as a Markdown document.
pub fn cli_reference_markdown() -> String {
    let mut command = Cli::command();
    command.build();
    let mut out = String::from(
        "# Command line\n\n\
         <!-- Generated from crates/cutover. Rewrite: UPDATE_DOCS=1 cargo test -p cutover. -->\n\n\
         Data goes to stdout, talk to stderr. `-c`, `--config FILE` holds for every command: the config \
         file, by default `$CUTOVER_CONFIG`, else `./cutover.toml`, else the built-in defaults. \
         What was done and cannot be printed (a full disk) is told on stderr, and the code is that of what \
         was done. A client key's secret that cannot be printed is code 1, with what to do.\n",
    );
    for sub in command.get_subcommands() {
        verb(&mut out, sub, 2);
    }
    out.push_str("\n## Exit codes\n\n| code | meaning |\n|---|---|\n");
    // Writing to a String cannot fail, here and below.
    for row in EXITS {
        let _ = writeln!(out, "| {} | {} |", row.code, row.doc);
    }
    out.push_str("\n## Environment\n\n");
    out.push_str(&env::reference_markdown());
    out.push_str(
        "\nVariables that the config file names, such as `OPENAI_API_KEY`, are read too.\n",
    );
    out.push_str("\n## Admin API\n\nOn the admin listener. The token is shown as `Authorization: Bearer TOKEN`.\n\n");
    out.push_str(&cutover_control::reference());
    out
}

fn verb(out: &mut String, command: &Command, level: usize) {
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    let _ = writeln!(out, "\n{} {name}\n", "#".repeat(level));
    if let Some(about) = command.get_long_about().or_else(|| command.get_about()) {
        let _ = writeln!(out, "{}\n", about.to_string().trim());
    }
    let usage = command.clone().render_usage().to_string();
    let usage = usage.trim_start_matches("Usage:").trim();
    let _ = writeln!(out, "```text\n{usage}\n```");
    // A flag of a whole family stands at its head only.
    let own = |arg: &&Arg| {
        let everywhere = ["help", "config", "version"].contains(&arg.get_id().as_str());
        let of_the_family = level > 2 && arg.is_global_set();
        !arg.is_hide_set() && !everywhere && !of_the_family
    };
    let mut args = command.get_arguments().filter(own).peekable();
    if args.peek().is_some() {
        out.push_str("\n| argument | meaning |\n|---|---|\n");
    }
    for arg in args {
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        let default: Vec<_> =
            arg.get_default_values().iter().map(|value| value.to_string_lossy()).collect();
        let default = match default.as_slice() {
            [value] if !value.is_empty() && arg.get_action().takes_values() => {
                format!(" (default: `{value}`)")
            }
            _ => String::new(),
        };
        let _ = writeln!(out, "| `{}` | {}{default} |", spelled(arg), help.replace('|', "\\|"));
    }
    exits(out, command.get_name());
    for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
        verb(out, sub, level + 1);
    }
}

fn spelled(arg: &Arg) -> String {
    let value = || {
        let names = arg.get_value_names().unwrap_or_default();
        names.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    };
    let takes = arg.get_action().takes_values();
    match (arg.get_short(), arg.get_long()) {
        (_, None) => value(),
        (Some(short), Some(long)) if takes => format!("-{short}, --{long} {}", value()),
        (None, Some(long)) if takes => format!("--{long} {}", value()),
        (Some(short), Some(long)) => format!("-{short}, --{long}"),
        (None, Some(long)) => format!("--{long}"),
    }
}

fn exits(out: &mut String, name: &str) {
    let Some(row) = verbs::VERBS.iter().find(|row| row.name == name) else { return };
    let always = [Exit::Done, Exit::Failed, Exit::Usage];
    let codes: Vec<_> =
        always.iter().chain(row.exits).map(|exit| exit.row().code.to_string()).collect();
    let _ = writeln!(out, "\nExit codes: {}.", codes.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The document in the repository is what the code says.
    #[test]
    fn the_reference_is_current() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/reference/cli.md");
        let text = cli_reference_markdown();
        if env::any("UPDATE_DOCS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let found = std::fs::read_to_string(path).unwrap_or_default();
        assert!(
            found == text,
            "docs/reference/cli.md differs: UPDATE_DOCS=1 cargo test -p cutover"
        );
    }
}
