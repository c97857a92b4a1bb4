//! The real `cutover` program as a child process, in a folder of its own.
//!
//! Contract: [`Program::start`] writes a config file, starts `cutover serve` on free loopback ports
//! with its state in a temporary folder, and returns once the admin listener says that it is ready.
//! The child is killed by its process id when the value is dropped, and the folder goes with it. The
//! environment of the child is empty but for what the test gives: a developer's own keys and settings
//! cannot leak into a test.

use std::fs;
use std::io::PipeWriter;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::raw;

/// Loading a real model at the start may take a while on a busy machine.
const READY_WITHIN: Duration = Duration::from_mins(2);
/// Another process may take a free port between our look and the program's bind.
const STARTS: usize = 5;

/// What to start.
#[derive(Clone, Debug)]
pub struct Setup {
    binary: PathBuf,
    config: String,
    environment: Vec<(String, String)>,
    first: Vec<String>,
    errors: Option<Arc<PipeWriter>>,
}

impl Setup {
    /// A program with this config. `[server] listen`, `[admin] listen` and `[state] directory` are
    /// added; the text must not give them.
    pub fn new(binary: &str, config: &str) -> Self {
        let binary = PathBuf::from(binary);
        let (environment, first) = (Vec::new(), Vec::new());
        Self { binary, config: config.to_owned(), environment, first, errors: None }
    }

    /// An argument before all others: where the program is started by another one.
    #[must_use]
    pub fn first(mut self, argument: &str) -> Self {
        self.first.push(argument.to_owned());
        self
    }

    /// Sets an environment variable of the program.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sends the program's error stream into a pipe, instead of the log that [`Program::log`] reads.
    #[must_use]
    pub fn errors_to(mut self, pipe: PipeWriter) -> Self {
        self.errors = Some(Arc::new(pipe));
        self
    }

    /// Lets the program use the user's own package client: the search path, and that client's and the
    /// network's settings.
    #[must_use]
    pub fn with_package_client(mut self) -> Self {
        let wanted = |name: &str| {
            let name = name.to_ascii_uppercase();
            ["PIP_", "SSL_"].iter().any(|start| name.starts_with(start))
                || name.ends_with("_PROXY")
                || name == "PATH"
        };
        self.environment.extend(std::env::vars().filter(|(name, _)| wanted(name)));
        self
    }

    /// Starts it.
    pub fn start(self) -> Program {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let mut program =
            Program { setup: self, folder, child: None, url: String::new(), admin: String::new() };
        program.serve();
        program
    }
}

/// A running program.
#[derive(Debug)]
pub struct Program {
    setup: Setup,
    folder: tempfile::TempDir,
    child: Option<Child>,
    url: String,
    admin: String,
}

impl Program {
    /// Starts the program with this config and nothing else.
    pub fn start(binary: &str, config: &str) -> Self {
        Setup::new(binary, config).start()
    }

    /// Starts a program that asks clients for a key, and makes one. The upstreams' own key is
    /// `UPSTREAM_KEY`.
    pub fn start_with_key(binary: &str, config: &str) -> (Self, String) {
        let program = Setup::new(binary, config).env("UPSTREAM_KEY", "sk-upstream").start();
        let told = program.ok(&["key", "add", "probes"]);
        let key = told.split_whitespace().find(|word| word.starts_with("ck-"));
        let key = key.unwrap_or(told.trim()).to_owned();
        (program, key)
    }

    /// Asks the admin API, with the token that the program made.
    pub fn admin(&self, line: &str, body: &str) -> raw::Response {
        let token = fs::read_to_string(self.state().join("admin-token")).unwrap_or_default();
        let header = format!("authorization: Bearer {}", token.trim());
        raw::exchange(self.admin_url(), line, &[&header], body).expect("an answer")
    }

    /// What `/metrics` says.
    pub fn metrics(&self) -> String {
        self.admin("GET /metrics", "").text()
    }

    /// Where clients connect: `http://127.0.0.1:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where operators connect.
    pub fn admin_url(&self) -> &str {
        &self.admin
    }

    /// The state directory.
    pub fn state(&self) -> PathBuf {
        self.folder.path().join("state")
    }

    /// The config file.
    pub fn config_file(&self) -> PathBuf {
        self.folder.path().join("cutover.toml")
    }

    /// Everything the program has logged since it was started first.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    /// The process id of the running program.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// Runs another verb of the program against this one.
    pub fn cli(&self, arguments: &[&str]) -> Output {
        self.command().args(arguments).stdin(Stdio::null()).output().expect("the program starts")
    }

    /// Runs a verb that must succeed, and returns its output.
    pub fn ok(&self, arguments: &[&str]) -> String {
        let output = self.cli(arguments);
        let error = String::from_utf8_lossy(&output.stderr);
        let log = self.log();
        assert!(output.status.success(), "{arguments:?} failed: {error}\nlog:\n{log}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// `GET /admin/status`.
    pub fn status(&self) -> Value {
        let token = fs::read_to_string(self.state().join("admin-token")).unwrap_or_default();
        let header = format!("authorization: Bearer {}", token.trim());
        let response = raw::exchange(&self.admin, "GET /admin/status", &[&header], "");
        response.expect("the admin listener answers").json()
    }

    /// Replaces the config file, listeners and state kept as they are.
    pub fn write_config(&mut self, config: &str) {
        config.clone_into(&mut self.setup.config);
        self.place_config();
    }

    /// Ends the program as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Asks the program to end (SIGTERM) and waits; returns its exit code.
    pub fn terminate(&mut self) -> Option<i32> {
        let mut child = self.child.take()?;
        let asked = Command::new("kill").arg(child.id().to_string()).status();
        assert!(asked.is_ok_and(|status| status.success()), "kill did not work");
        child.wait().ok()?.code()
    }

    /// Starts the program again on the same ports and state.
    pub fn start_again(&mut self) {
        self.start_again_until("GET /ready");
    }

    /// The same, and returns once the admin listener answers this with 200.
    pub fn start_again_until(&mut self, line: &str) {
        let started = self.try_serve(line);
        assert!(started.is_ok(), "did not start again: {started:?}\n{}", self.log());
    }

    fn serve(&mut self) {
        let mut last = String::new();
        for _ in 0..STARTS {
            self.url = format!("http://{}", free_address());
            self.admin = format!("http://{}", free_address());
            self.place_config();
            match self.try_serve("GET /ready") {
                Ok(()) => return,
                Err(reason) => last = reason,
            }
        }
        panic!("cutover did not start: {last}\nlog:\n{}", self.log());
    }

    fn try_serve(&mut self, until: &str) -> Result<(), String> {
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.folder.path().join("log"))
            .map_err(|error| error.to_string())?;
        let errors = match &self.setup.errors {
            Some(pipe) => pipe.try_clone().map(Stdio::from),
            None => log.try_clone().map(Stdio::from),
        };
        let errors = errors.map_err(|error| error.to_string())?;
        let mut command = self.command();
        command.arg("serve").stdin(Stdio::null()).stdout(log).stderr(errors);
        self.child = Some(command.spawn().map_err(|error| error.to_string())?);
        let start = Instant::now();
        while !self.is_up(until) {
            let ended = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten());
            if let Some(status) = ended {
                self.child = None;
                return Err(format!("it ended with {status}"));
            }
            if start.elapsed() > READY_WITHIN {
                self.kill();
                return Err(format!("it was not ready within {READY_WITHIN:?}"));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    fn is_up(&self, line: &str) -> bool {
        raw::exchange(&self.admin, line, &[], "").is_ok_and(|answer| answer.status == 200)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.setup.binary);
        command
            .args(&self.setup.first)
            .env_clear()
            .env("CUTOVER_CONFIG", self.config_file())
            .env("CUTOVER_STATE_DIR", self.state())
            .env("HOME", self.folder.path())
            .env("PATH", "/usr/local/bin:/usr/bin:/bin")
            .envs(self.setup.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(self.folder.path());
        command
    }

    /// Writes the config file as it is given, without the lines of the listeners and the state.
    pub fn write_bare_config(&self, text: &str) {
        write_whole(&self.config_file(), text);
    }

    fn place_config(&self) {
        let listen = |url: &str| format!("listen = \"{}\"", url.trim_start_matches("http://"));
        let directory = format!("directory = \"{}\"", self.state().display());
        let text = with_line(&self.setup.config, "[server]", &listen(&self.url));
        let text = with_line(&text, "[admin]", &listen(&self.admin));
        let text = with_line(&text, "[state]", &directory);
        write_whole(&self.config_file(), &text);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

/// What a verb printed, data and talk.
pub fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&*output.stdout, &*output.stderr].concat()).into_owned()
}

/// Puts a line into a section of a config text, which may lack the section.
fn with_line(text: &str, section: &str, line: &str) -> String {
    let both = format!("{section}\n{line}\n");
    if text.lines().any(|found| found.trim() == section) {
        let mut out = String::new();
        for found in text.lines() {
            let here = found.trim() == section;
            out.push_str(if here { both.as_str() } else { found });
            out.push('\n');
        }
        return out;
    }
    format!("{text}\n{both}")
}

/// A file that a watcher never sees half written.
fn write_whole(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    let written = fs::write(&beside, text).and_then(|()| fs::rename(&beside, path));
    written.expect("the config file can be written");
}

fn free_address() -> std::net::SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
    listener.local_addr().expect("a bound address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_lands_in_its_section_once() {
        let text = with_line("a = 1\n[server]\nkeys = \"off\"\n", "[server]", "listen = 1");
        assert_eq!(text, "a = 1\n[server]\nlisten = 1\n\nkeys = \"off\"\n");
        assert_eq!(with_line("a = 1", "[state]", "b = 2"), "a = 1\n[state]\nb = 2\n");
    }
}
