//! How a command can end: one table, read by the verbs, the reference and scripts.

use std::process::ExitCode;

use cutover_units::Wrong;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done.
    Done,
    /// Something failed that the other codes do not name.
    Failed,
    /// The command line is wrong.
    Usage,
    /// The config file is wrong or missing.
    Config,
    /// No running cutover could be reached, and the command needs one.
    Unreachable,
    /// The running cutover refused.
    Refused,
    /// Done in part: a rollback may not survive a restart, or may be in the wrong place
    /// or for a name that nothing could verify.
    Partly,
}

/// One row of the table.
#[derive(Debug)]
pub struct Row {
    /// The way to end.
    pub exit: Exit,
    /// The process's exit code.
    pub code: u8,
    /// What it means.
    pub doc: &'static str,
}

/// All exit codes.
pub const EXITS: &[Row] = &[
    Row { exit: Exit::Done, code: 0, doc: "Done." },
    Row { exit: Exit::Failed, code: 1, doc: "Failed; the message says why." },
    Row { exit: Exit::Usage, code: 2, doc: "The command line is wrong." },
    Row { exit: Exit::Config, code: 3, doc: "The config file is wrong or missing." },
    Row {
        exit: Exit::Unreachable,
        code: 4,
        doc: "No running cutover could be reached, and the command needs one.",
    },
    Row { exit: Exit::Refused, code: 5, doc: "The running cutover refused; the message says why." },
    Row {
        exit: Exit::Partly,
        code: 6,
        doc: "Done in part: the rollback is in force, but a restart may undo it; or it, or what was done \
              to a client key, was written, but perhaps in the wrong state directory, or for a name that \
              nothing could verify.",
    },
];

impl Exit {
    /// The row of this exit.
    pub fn row(self) -> &'static Row {
        // The table is written in the enum's order; a test compares.
        &EXITS[self as usize]
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.row().code)
    }
}

/// Why a command ended early.
#[derive(Debug)]
pub struct Failed {
    /// With which code.
    pub exit: Exit,
    /// What happened, with its causes.
    pub error: anyhow::Error,
    /// What helps.
    pub hint: Option<String>,
    /// The message is on stderr already.
    pub told: bool,
}

impl Failed {
    /// With a message that has no cause.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, error: anyhow::Error::msg(message.into()), hint: None, told: false }
    }

    /// The command line is wrong.
    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Exit::Usage, message)
    }

    /// A question that makes no sense is a mistake on the command line.
    pub fn wrong(wrong: Wrong) -> Self {
        Self { hint: wrong.hint, ..Self::usage(wrong.problem) }
    }

    /// With a word of what helps.
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Ends with this code, without another message.
    pub fn told(exit: Exit) -> Self {
        Self { told: true, ..Self::new(exit, "") }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failed {
    fn from(error: E) -> Self {
        Self { exit: Exit::Failed, error: error.into(), hint: None, told: false }
    }
}

/// Ends a command with another code than 1.
pub trait Exits<T> {
    /// With this one.
    fn or_exit(self, exit: Exit) -> Result<T, Failed>;
}

impl<T, E: Into<anyhow::Error>> Exits<T> for Result<T, E> {
    fn or_exit(self, exit: Exit) -> Result<T, Failed> {
        self.map_err(|error| Failed { exit, error: error.into(), hint: None, told: false })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_exit_finds_its_own_row_and_codes_are_unique() {
        let mut codes: Vec<_> = EXITS.iter().map(|row| row.code).collect();
        assert!(EXITS.iter().all(|row| row.exit.row().code == row.code));
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), EXITS.len());
    }
}
