//! Where a verb writes: stdout is data, stderr is talk. As values, so that tests can read both.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use crate::env;

/// Who reads stdout has stopped to do so, as `head` does when it has its lines. That is no failure of ours.
#[derive(Debug)]
pub struct NobodyReads;

impl fmt::Display for NobodyReads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nobody reads the output any more")
    }
}

impl std::error::Error for NobodyReads {}

impl NobodyReads {
    /// Whether an error is this one. A broken pipe elsewhere, such as a connection's, is another.
    pub fn is(error: &anyhow::Error) -> bool {
        error.chain().any(|cause| {
            let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            inner.is_some_and(<dyn std::error::Error + Send + Sync>::is::<Self>)
        })
    }

    fn name(error: io::Error) -> io::Error {
        match error.kind() {
            io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, Self),
            _ => error,
        }
    }
}

/// Stdout, whose broken pipe is told from others.
struct Stdout(io::Stdout);

impl Write for Stdout {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(NobodyReads::name)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush().map_err(NobodyReads::name)
    }
}

/// The two streams.
pub struct Term {
    /// Data.
    pub out: Box<dyn Write + Send>,
    /// Talk.
    pub err: Box<dyn Write + Send>,
    /// Whether stderr may carry colour.
    pub colour: bool,
    /// Whether stdout is a terminal, so that a screen may be redrawn.
    pub screen: bool,
}

impl Term {
    /// The process's own.
    pub fn real() -> Self {
        let colour = io::stderr().is_terminal() && env::get(env::NO_COLOR).is_none();
        Self {
            out: Box::new(Stdout(io::stdout())),
            err: Box::new(io::stderr()),
            colour,
            screen: io::stdout().is_terminal(),
        }
    }

    /// One line of data.
    pub fn say(&mut self, line: impl fmt::Display) -> io::Result<()> {
        writeln!(self.out, "{line}")
    }

    /// Data that is shown again and again: on a screen each picture takes the place of the one before.
    pub fn redraw(&mut self, picture: impl fmt::Display) -> io::Result<()> {
        let clear = if self.screen { "\x1b[H\x1b[2J" } else { "" };
        self.say(format_args!("{clear}{picture}"))
    }

    /// One line of data that tells what was done. Where it cannot be printed it is talk: what is done is done, and
    /// no failure.
    pub fn done(&mut self, line: impl fmt::Display) {
        let printed = writeln!(self.out, "{line}").and_then(|()| self.out.flush());
        match printed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                self.warn(format_args!(
                    "done, but it could not be printed to stdout ({error}): {line}"
                ));
            }
            _ => {}
        }
    }

    /// One line of talk. A broken stderr is nobody's to be told.
    pub fn talk(&mut self, line: impl fmt::Display) {
        let _ = writeln!(self.err, "{line}");
    }

    /// `error:` with its causes, and a hint.
    pub fn complain(&mut self, error: &anyhow::Error, hint: Option<&str>) {
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
    pub fn warn(&mut self, line: impl fmt::Display) {
        let label = self.paint("warning:", "1;33");
        self.talk(format_args!("{label} {line}"));
    }

    /// A text in colour, if stderr shows it.
    pub fn paint(&self, text: &str, code: &str) -> String {
        if self.colour { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
    }
}
