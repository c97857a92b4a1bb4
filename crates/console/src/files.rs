//! Which config file, which state directory, and what is wrong with a file.

use std::path::{Path, PathBuf};

use anyhow::Context;
use cutover_config::{Checked, Problem, SecretRef, UpstreamKey};
use cutover_gateway::build::BuildError;

use crate::env;
use crate::exit::{Exit, Exits, Failed};
use crate::reading;
use crate::term::Term;

/// The config file's name in the working directory.
const FILE: &str = "cutover.toml";

/// The name that problems of the built-in defaults would carry.
const DEFAULTS: &str = "built-in defaults";

/// A config text and where it comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// The file; none for the built-in defaults.
    pub path: Option<PathBuf>,
    /// Where relative paths in it start.
    pub base: PathBuf,
}

impl Source {
    /// `--config`, else `$CUTOVER_CONFIG`, else `./cutover.toml`, else the built-in defaults.
    pub fn find(given: Option<&Path>) -> Self {
        let named = given.map(Path::to_owned).or_else(|| env::get(env::CONFIG).map(PathBuf::from));
        let here = || Some(PathBuf::from(FILE)).filter(|path| path.exists());
        let path = named.or_else(here);
        let base = path.as_deref().and_then(Path::parent).map(Path::to_owned).unwrap_or_default();
        Self { path, base }
    }

    /// The file's name for messages.
    pub fn name(&self) -> String {
        self.path.as_ref().map_or_else(|| DEFAULTS.to_owned(), |path| path.display().to_string())
    }

    /// The text; empty for the built-in defaults.
    pub fn read(&self) -> anyhow::Result<String> {
        let Some(path) = &self.path else { return Ok(String::new()) };
        reading::bytes(path).and_then(reading::text).map_err(|why| {
            anyhow::anyhow!("cannot read the config file {}: it {why}", path.display())
        })
    }

    /// Reads and checks.
    pub fn check(&self) -> anyhow::Result<Result<Checked, Unchecked>> {
        let text = self.read()?;
        let checked = cutover_config::check(&text, &self.name(), &|name| env::any(name));
        Ok(checked.map_err(|problems| Unchecked { text, problems }))
    }

    /// Reads and checks; problems are shown.
    pub fn load(&self, term: &mut Term) -> Result<Checked, Failed> {
        let checked = match self.check() {
            Err(error) => {
                let failed = Err(error).or_exit(Exit::Config);
                return failed.map_err(|failed: Failed| {
                    failed.hint("name another with --config, or write a first one: cutover init")
                });
            }
            Ok(Err(unchecked)) => {
                unchecked.show(term);
                return Err(Failed::told(Exit::Config));
            }
            Ok(Ok(checked)) => checked,
        };
        for warning in &checked.warnings {
            term.warn(warning);
        }
        for upstream in &checked.upstreams {
            // Nobody wrote this reference: it is what the provider's kind implies.
            if let UpstreamKey::Secret(key @ SecretRef::Env { name, optional: true }) =
                &upstream.key
                && env::any(name).is_none()
            {
                term.warn(format_args!(
                    "upstreams.{}: {key} is not set: requests carry no key",
                    upstream.name
                ));
            }
        }
        Ok(checked)
    }

    /// A problem that shows only when what a key names is looked up, with its place in the text.
    pub fn locate(&self, text: &str, error: &BuildError) -> String {
        match cutover_config::place_of(text, &error.key) {
            Some((line, _)) => format!("{}:{line}: {error}", self.name()),
            None => format!("{}: {error}", self.name()),
        }
    }

    /// Such a problem as the end of a command.
    pub fn unusable(&self, error: &BuildError) -> Failed {
        Failed::new(Exit::Config, self.locate(&self.read().unwrap_or_default(), error))
    }
}

/// The sections that tell where a running cutover is.
const WHEREABOUTS: [&str; 2] = ["[state]", "[admin]"];

/// A text that is no config.
#[derive(Debug)]
pub struct Unchecked {
    text: String,
    /// What is wrong with it.
    pub problems: Vec<Problem>,
}

impl Unchecked {
    /// What the file says of state directory and admin listener, if those sections are good by
    /// themselves: who must roll back now cannot wait for the rest to be mended.
    pub fn salvage(&self) -> Option<Checked> {
        let mut kept = String::new();
        let mut keep = false;
        for line in self.text.lines().map(str::trim) {
            if line.starts_with('[') {
                keep = WHEREABOUTS.contains(&line);
            }
            // Named in a way that is not understood here: a guess would be worse than none.
            if !keep && (line.starts_with("state") || line.contains("[state")) {
                return None;
            }
            if keep {
                kept.push_str(line);
                kept.push('\n');
            }
        }
        cutover_config::check(&kept, "", &|name| env::any(name)).ok()
    }

    /// All problems, each with its line.
    pub fn show(&self, term: &mut Term) {
        for problem in &self.problems {
            show_problem(problem, &self.text, ("error:", "1;31"), term);
        }
        let count = self.problems.len();
        let plural = if count == 1 { "" } else { "s" };
        term.talk(format_args!("{count} problem{plural} found"));
    }
}

fn show_problem(problem: &Problem, text: &str, (label, colour): (&str, &str), term: &mut Term) {
    let label = term.paint(label, colour);
    let key = if problem.key.is_empty() { String::new() } else { format!("{}: ", problem.key) };
    term.talk(format_args!("{label} {key}{}", problem.message));
    term.talk(format_args!("  --> {}:{}:{}", problem.file, problem.line, problem.column));
    if let Some(line) = text.lines().nth(problem.line.saturating_sub(1)) {
        let number = problem.line.to_string();
        let gutter = " ".repeat(number.len());
        term.talk(format_args!("{gutter} |"));
        term.talk(format_args!("{number} | {}", without_value(line)));
        let indent: String = line
            .chars()
            .take(problem.column.saturating_sub(1))
            .map(|c| if c == '\t' { '\t' } else { ' ' })
            .collect();
        let shown = without_value(line).chars().count();
        if problem.column <= shown {
            term.talk(format_args!("{gutter} | {indent}^"));
        }
    }
    if let Some(hint) = &problem.hint {
        let label = term.paint("hint:", "1;36");
        term.talk(format_args!("   {label} {hint}"));
    }
    term.talk("");
}

/// A line as far as its first `=`: what follows may be a secret that was pasted there.
fn without_value(line: &str) -> String {
    match line.split_once('=') {
        Some((key, _)) => format!("{key}= ..."),
        None => line.to_owned(),
    }
}

/// The state directory: the first that is named of `--state-dir`, the config file's, the
/// environment's, the platform's.
pub fn state_directory(
    given: Option<&Path>,
    configured: Option<&Path>,
    base: &Path,
) -> Result<PathBuf, Failed> {
    let from_env = |name| env::get(name).map(PathBuf::from);
    let named = given
        .map(Path::to_owned)
        .or_else(|| configured.map(|path| base.join(path)))
        .or_else(|| from_env(env::STATE_DIR))
        // systemd may name several, separated by colons; ours is the first.
        .or_else(|| env::get(env::SYSTEMD_STATE)?.split(':').next().map(PathBuf::from))
        .or_else(|| from_env(env::XDG_STATE).map(|path| path.join("cutover")))
        .or_else(|| from_env(env::HOME).map(|path| path.join(".local/state/cutover")));
    named.ok_or_else(|| {
        Failed::new(Exit::Failed, "no state directory: neither HOME nor another name is set")
            .hint("name one with --state-dir, state.directory or CUTOVER_STATE_DIR")
    })
}

/// Makes a directory that only its owner may enter, if there is none. The store makes it too, but on
/// its own thread, and the admin token is written before that may have happened.
pub fn make_private(directory: &Path) -> anyhow::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).with_context(|| {
        let hint = if directory.is_file() {
            ": it is a file; name a directory (state.directory, --state-dir or CUTOVER_STATE_DIR)"
        } else {
            ""
        };
        format!("cannot make the state directory {}{hint}", directory.display())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_line_ends_before_its_value() {
        assert_eq!(without_value(r#"  key = "sk-secret""#), "  key = ...");
        assert_eq!(without_value("[upstreams.x]"), "[upstreams.x]");
    }

    #[test]
    fn a_state_directory_that_is_a_file_is_told_with_what_to_do() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let told = format!("{:#}", make_private(file.path()).unwrap_err());
        assert!(told.contains("it is a file; name a directory (state.directory"), "{told}");
    }

    #[test]
    fn a_broken_file_still_tells_where_the_state_is() {
        let broken = "default_upstream = \"x\"\n[state]\ndirectory = \"/data\"\n[upstreams.x\n";
        let unchecked = |text: &str| Unchecked { text: text.to_owned(), problems: Vec::new() };
        let salvaged = unchecked(broken).salvage().unwrap();
        assert_eq!(salvaged.state.directory.as_deref(), Some(Path::new("/data")));
        for hopeless in ["[state]\ndirectory = 3", "[state\nx = 1", "state.directory = \"/d\"\n[a"]
        {
            assert!(unchecked(hopeless).salvage().is_none(), "{hopeless}");
        }
    }

    #[test]
    fn relative_state_directories_start_at_the_config_file() {
        let found = state_directory(None, Some(Path::new("state")), Path::new("/etc/cutover"));
        assert_eq!(found.unwrap(), Path::new("/etc/cutover/state"));
        let found = state_directory(Some(Path::new("/x")), Some(Path::new("y")), Path::new("/"));
        assert_eq!(found.unwrap(), Path::new("/x"));
    }
}
