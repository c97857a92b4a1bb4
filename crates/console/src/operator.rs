//! How commands reach a running cutover: its address and token.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use cutover_config::{Checked, SecretRef};
use cutover_control::client::{Admin, CallError};
use cutover_control::token;
use cutover_gateway::build::Surroundings;
use cutover_units::UseCaseName;

use crate::env;
use crate::exit::{Exit, Failed};
use crate::files::{self, Source};
use crate::surroundings::{EngineChoice, Outside};
use crate::term::Term;

/// The file in which a running cutover leaves its admin listener's address.
pub const ADDRESS_FILE: &str = "admin-address";

/// Flags of all commands that talk to a running cutover.
#[derive(Debug, Clone, clap::Args)]
pub struct Remote {
    /// Address of the admin listener, such as 127.0.0.1:4001. Default: that of the cutover that uses
    /// the same state directory
    #[arg(long, global = true, value_name = "ADDRESS", value_parser = parse_address)]
    pub admin: Option<SocketAddr>,
    /// File with the admin token. Default: the one in the state directory
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// The state directory. Default: state.directory of the config file, or the platform's
    #[arg(long, global = true, value_name = "DIR")]
    pub state_dir: Option<PathBuf>,
}

impl Remote {
    /// Whether a running cutover is named, and not only a state directory.
    fn names_one(&self) -> bool {
        self.admin.is_some() || self.token_file.is_some() || env::get(env::ADMIN_TOKEN).is_some()
    }
}

/// Accepts what people paste: with a scheme and a slash, or `localhost`.
fn parse_address(text: &str) -> Result<SocketAddr, String> {
    let bare = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
    let numeric = bare.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let bare = numeric.as_deref().unwrap_or(bare);
    bare.parse().map_err(|_| "write an IP address and a port, such as 127.0.0.1:4001".to_owned())
}

/// What a command knows of the cutover it is for.
#[derive(Debug)]
pub struct Operator {
    /// The state directory.
    pub directory: PathBuf,
    /// The names of the use cases; none if there is no config file, or it cannot be read. A rollback
    /// must not need them.
    pub use_cases: Option<Vec<UseCaseName>>,
    /// The use cases that match by a client key, with its name.
    pub by_key: Vec<(UseCaseName, String)>,
    /// Whether the state directory is a guess, because the file that may name it cannot be read.
    pub guessed: bool,
    /// Whether the running cutover was named, by its address or a token: then no other way will do.
    pub named: bool,
    address: SocketAddr,
    token: Result<String, String>,
}

impl Operator {
    /// Finds it. A config file that is wrong is only warned of: someone may be editing it while
    /// traffic has to be rolled back.
    pub fn find(remote: &Remote, config: Option<&Path>, term: &mut Term) -> Result<Self, Failed> {
        let source = Source::find(config);
        let Read { checked, whole, guessed } = read(&source, term);
        let configured = checked.as_ref().and_then(|c| c.state.directory.as_deref());
        let directory =
            files::state_directory(remote.state_dir.as_deref(), configured, &source.base)?;
        let address = remote
            .admin
            .or_else(|| read_address(&directory))
            .or_else(|| checked.as_ref().map(|c| c.admin.listen))
            .unwrap_or_else(default_address);
        let configured = checked.as_ref().and_then(|c| c.admin.token.as_ref());
        let token = find_token(remote, configured, (&directory, &source.base));
        let known = checked.filter(|_| whole && source.path.is_some()).map(|c| c.use_cases);
        let by_key = known
            .iter()
            .flatten()
            .filter_map(|use_case| Some((use_case.name.clone(), use_case.matches.key.clone()?)));
        let by_key = by_key.collect();
        let use_cases = known.map(|known| known.into_iter().map(|u| u.name).collect());
        let named = remote.names_one();
        if guessed && remote.admin.is_none() {
            term.warn(format_args!(
                "without it, the cutover at {address} is asked, with the state directory {}; name another with \
                 --admin and --state-dir",
                directory.display()
            ));
        }
        let guessed = guessed && remote.state_dir.is_none();
        Ok(Self { directory, use_cases, by_key, guessed, named, address, token })
    }

    /// A client for it.
    pub fn client(&self) -> Result<Admin, Failed> {
        match &self.token {
            Ok(token) => Ok(Admin::new(self.address, token.clone())),
            Err(why) => Err(Failed::new(Exit::Unreachable, format!("no admin token: {why}"))
                .hint("is cutover running with this state directory? Start it: cutover serve")),
        }
    }
}

/// The state directory of a command that reads it and asks no running cutover.
pub fn state_directory(
    given: Option<&Path>,
    config: Option<&Path>,
    term: &mut Term,
) -> Result<PathBuf, Failed> {
    let source = Source::find(config);
    let Read { checked, guessed, .. } = read(&source, term);
    let configured = checked.as_ref().and_then(|c| c.state.directory.as_deref());
    let directory = files::state_directory(given, configured, &source.base)?;
    if guessed && given.is_none() {
        term.warn(format_args!(
            "without it, the state directory {} is a guess; name another with --state-dir",
            directory.display()
        ));
    }
    Ok(directory)
}

/// What a config file gave.
struct Read {
    checked: Option<Checked>,
    /// Whether all of it is good, not only what tells where a running cutover is.
    whole: bool,
    guessed: bool,
}

fn read(source: &Source, term: &mut Term) -> Read {
    let name = source.name();
    match source.check() {
        Ok(Ok(checked)) => Read { checked: Some(checked), whole: true, guessed: false },
        Ok(Err(unchecked)) => {
            let count = unchecked.problems.len();
            term.warn(format_args!("{name} has mistakes ({count}): see cutover check"));
            let checked = unchecked.salvage();
            Read { guessed: checked.is_none(), checked, whole: false }
        }
        Err(error) => {
            term.warn(format_args!("{error:#}"));
            Read { checked: None, whole: false, guessed: true }
        }
    }
}

fn default_address() -> SocketAddr {
    let defaults = cutover_config::check("", "", &|_| None);
    defaults.map_or_else(|_| SocketAddr::from(([127, 0, 0, 1], 4001)), |c| c.admin.listen)
}

fn read_address(directory: &Path) -> Option<SocketAddr> {
    std::fs::read_to_string(directory.join(ADDRESS_FILE)).ok()?.trim().parse().ok()
}

fn find_token(
    remote: &Remote,
    configured: Option<&SecretRef>,
    (directory, base): (&Path, &Path),
) -> Result<String, String> {
    let say = |error: token::TokenError| format!("{:#}", anyhow::Error::from(error));
    if let Some(path) = &remote.token_file {
        return token::read(path).map_err(say);
    }
    if let Some(token) = env::get(env::ADMIN_TOKEN) {
        return Ok(token);
    }
    if let Some(reference) = configured {
        let outside = Outside::new(base, EngineChoice::Name);
        return outside.secret(reference)?.ok_or_else(|| format!("{reference} is not set"));
    }
    token::read(&directory.join(token::TOKEN_FILE)).map_err(say)
}

/// Why a token that was found here is not the one over there.
const WRONG_TOKEN: &str = "it may have been changed since the running cutover read it, which a reload \
     (SIGHUP) mends; or another cutover uses this address: see --token-file";

/// A failed call as the command's end.
pub fn failed(error: CallError) -> Failed {
    match error {
        CallError::Refused(failure, status) => {
            let unauthorised = status == 401;
            let hint =
                failure.hint.clone().or_else(|| unauthorised.then(|| WRONG_TOKEN.to_owned()));
            let failed = Failed::new(Exit::Refused, failure.message);
            Failed { hint, ..failed }
        }
        error if error.is_unreachable() => {
            let error = anyhow::Error::from(error).context("no running cutover was reached");
            Failed { exit: Exit::Unreachable, error, hint: None, told: false }
                .hint("start it with `cutover serve`, or name its admin listener with --admin")
        }
        error => Failed::from(error),
    }
}

/// The name that audit entries carry. A cron job or a container may have no `$USER`: then it is the
/// number of the user that asks.
pub fn actor(given: Option<&str>) -> String {
    given.map(str::to_owned).or_else(|| env::get(env::USER)).unwrap_or_else(number)
}

#[cfg(unix)]
fn number() -> String {
    format!("uid-{}", rustix::process::getuid().as_raw())
}

#[cfg(not(unix))]
fn number() -> String {
    "unknown".to_owned()
}

/// Runs one call on a runtime of its own.
pub fn block_on<T>(call: impl Future<Output = T>) -> Result<T, Failed> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    Ok(runtime.block_on(call))
}

/// Why a command that may be done without a running cutover was not done by it.
#[derive(Debug)]
pub enum Ended {
    /// None was reached: perhaps it can be done on the state directory.
    Unreachable(Failed),
    /// It failed, or was refused.
    Failed(Failed),
}

impl From<CallError> for Ended {
    fn from(error: CallError) -> Self {
        match error {
            error @ CallError::Connect { .. } => Self::Unreachable(failed(error)),
            error => Self::Failed(failed(error)),
        }
    }
}

impl From<Failed> for Ended {
    fn from(failed: Failed) -> Self {
        Self::Failed(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_people_paste_them() {
        for text in ["127.0.0.1:4001", "http://127.0.0.1:4001/", "localhost:4001"] {
            assert_eq!(parse_address(text).unwrap().to_string(), "127.0.0.1:4001");
        }
        assert!(parse_address("4001").is_err());
        assert!(parse_address("https://127.0.0.1:4001").is_err());
    }
}
