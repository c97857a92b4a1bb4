//! Where a verb writes: stdout is data, stderr is talk. As values, so that tests can read both.

use std::fmt;
use std::io::{IsTerminal, Write};

use crate::env;

/// The two streams.
pub(crate) struct Term {
    pub(crate) out: Box<dyn Write + Send>,
    pub(crate) err: Box<dyn Write + Send>,
    /// Whether stderr may carry colour.
    pub(crate) colour: bool,
    /// Whether stdout is a terminal, so that a screen may be redrawn.
    pub(crate) screen: bool,
}

impl Term {
    /// The process's own.
    pub(crate) fn real() -> Self {
        let colour = std::io::stderr().is_terminal() && env::get(env::NO_COLOR).is_none();
        Self {
            out: Box::new(std::io::stdout()),
            err: Box::new(std::io::stderr()),
            colour,
            screen: std::io::stdout().is_terminal(),
        }
    }

    /// One line of data.
    pub(crate) fn say(&mut self, line: impl fmt::Display) -> std::io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// One line of talk. A broken stderr is nobody's to be told.
    pub(crate) fn talk(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }

    /// `error:` with its causes, and a hint.
    pub(crate) fn complain(&mut self, error: &anyhow::Error, hint: Option<&str>) {
        let label = self.paint("error:", "1;31");
        self.talk(format_args!("{label} {error}"));
        for cause in error.chain().skip(1) {
            self.talk(format_args!("  because: {cause}"));
        }
        if let Some(hint) = hint {
            let label = self.paint("hint:", "1;36");
            self.talk(format_args!("{label} {hint}"));
        }
    }

    /// `warning:`.
    pub(crate) fn warn(&mut self, line: impl fmt::Display) {
        let label = self.paint("warning:", "1;33");
        self.talk(format_args!("{label} {line}"));
    }

    /// A text in colour, if stderr shows it.
    pub(crate) fn paint(&self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
