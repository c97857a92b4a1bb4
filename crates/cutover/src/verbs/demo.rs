//! `cutover demo`: three rollouts in a minute or two, with a real gateway, real arms and real requests.
//! One is promoted, one refused, one rolled back; every figure it prints is measured while it runs.

mod stage;
mod workload;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use cutover_control::client::Admin;
use cutover_control::token;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::exit::{Exit, Failed};
use crate::files::Source;
use crate::process::Overruled;
use crate::server::{self, Plan, Server};
use crate::signals;
use crate::term::Term;
use stage::{Branch, Stage};

/// Watch three rollouts: one is promoted on proof, one refused by its quality gate, one rolled back.
///
/// Runs a gateway of its own with a small real model inside and sends it real requests. Nothing is
/// scripted: the controller decides on what it measures. The first run fetches the model.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Give up after so many minutes
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=600))]
    minutes: u32,
    /// Leave it running, and print how to talk to it
    #[arg(long)]
    keep: bool,
}

/// The config that the demo runs. `{BRANCH}` stands for the port of the second cutover.
const CONFIG: &str = include_str!("demo/demo.toml");

/// What stands for the port of the second cutover.
const BRANCH: &str = "{BRANCH}";

/// The client port that `--keep` prefers: the one that documents and examples name.
const USUAL_PORT: u16 = 4000;

const ANY: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

pub(crate) fn run(args: &Args, term: &mut Term) -> Result<Exit, Failed> {
    // Only what someone must act on: a machine that is switched off on purpose is no surprise here.
    cutover_telemetry::init_log(cutover_telemetry::LogFormat::Text, "error")?;
    let folder = Folder::new()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the runtime")?;
    runtime.block_on(Box::pin(demo(args, &folder.0, term)))
}

/// The demo's files, gone when it ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> anyhow::Result<Self> {
        let mut random = [0u8; 4];
        getrandom::fill(&mut random)?;
        let name = format!("cutover-demo-{:08x}", u32::from_le_bytes(random));
        let path = std::env::temp_dir().join(name);
        // Fails if it exists: others may write to the system's folder, and the admin token goes here.
        private(&path).with_context(|| format!("cannot make the folder {}", path.display()))?;
        Ok(Self(path))
    }
}

fn private(path: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path)
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind lies in the system's folder for such things.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A server that runs until it is stopped.
struct Running {
    stop: CancellationToken,
    serving: tokio::task::JoinHandle<()>,
}

impl Running {
    fn new(server: Server, tasks: &TaskTracker) -> Self {
        let stop = CancellationToken::new();
        Self { stop: stop.clone(), serving: tasks.spawn(server::run(server, stop)) }
    }

    async fn end(self) {
        self.stop.cancel();
        // A panic inside has been reported by the panic hook.
        let _ = self.serving.await;
    }
}

async fn demo(args: &Args, folder: &Path, term: &mut Term) -> Result<Exit, Failed> {
    let tasks = TaskTracker::new();
    let branch = branch(folder, term).await?;
    let branch_host = branch.host.clone();
    let port = branch.address.port();
    let server = Server::start(plan(args, (folder, port), term)?, term).await?;
    let secret = token::read(&server.directory.join(token::TOKEN_FILE))?;
    let stage = Stage {
        address: server.address,
        admin: Admin::new(server.admin_address, secret),
        store: server.store.clone(),
        limit: Duration::from_mins(args.minutes.into()),
    };
    let host = server.host.clone();
    let main = Running::new(server, &tasks);
    let branch = Branch::new(Running::new(branch, &tasks));
    let show = async {
        term.say(stage::INTRODUCTION)?;
        let failures = [host.0.engines().settled().await, branch_host.0.engines().settled().await];
        if let Some(failure) = failures.concat().first() {
            return Err(Failed::new(Exit::Failed, failure.clone()));
        }
        stage.play(&branch, term).await?;
        if args.keep {
            term.say(stage.how_to_talk(folder))?;
            signals::end_asked_for().await;
        }
        Ok(Exit::Done)
    };
    let outcome = tokio::select! {
        outcome = show => outcome,
        () = interrupted(args.keep) => Err(Failed::new(Exit::Failed, "interrupted")),
    };
    branch.switch_off().await;
    main.end().await;
    outcome
}

/// With `--keep` the end of the show waits for the signal itself.
async fn interrupted(keep: bool) {
    if keep {
        return std::future::pending().await;
    }
    signals::end_asked_for().await;
}

/// A second cutover with the built-in defaults: the machine that fails.
async fn branch(folder: &Path, term: &mut Term) -> Result<Server, Failed> {
    let directory = folder.join("branch");
    private(&directory)?;
    let source = Source { path: None, base: directory.clone() };
    start(source, ANY, (&directory, term)).await
}

async fn start(
    source: Source,
    listen: SocketAddr,
    (directory, term): (&Path, &mut Term),
) -> Result<Server, Failed> {
    let plan = planned(source, listen, (directory, term))?;
    Server::start(plan, term).await
}

fn planned(
    source: Source,
    listen: SocketAddr,
    (directory, term): (&Path, &mut Term),
) -> Result<Plan, Failed> {
    let mut checked = source.load(term)?;
    let overruled = Overruled {
        listen: Some(listen),
        admin_listen: Some(ANY),
        state_dir: Some(directory.to_owned()),
    };
    overruled.apply(&mut checked);
    Ok(Plan { source, checked, overruled, waits: false })
}

fn plan(args: &Args, (folder, port): (&Path, u16), term: &mut Term) -> Result<Plan, Failed> {
    let path = folder.join("cutover.toml");
    std::fs::write(&path, CONFIG.replace(BRANCH, &port.to_string()))?;
    std::fs::write(folder.join("statement.json"), workload::STATEMENT_SCHEMA)?;
    let usual = SocketAddr::from(([127, 0, 0, 1], USUAL_PORT));
    let usual_is_free = args.keep && std::net::TcpListener::bind(usual).is_ok();
    let source = Source { path: Some(path), base: folder.to_owned() };
    planned(source, if usual_is_free { usual } else { ANY }, (folder, term))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_is_good_and_names_what_is_shown() {
        let text = CONFIG.replace(BRANCH, "4000");
        let checked = cutover_config::check(&text, "demo.toml", &|_| None).unwrap();
        let names: Vec<_> = checked.use_cases.iter().map(|u| u.name.to_string()).collect();
        assert!(stage::USE_CASES.iter().all(|name| names.iter().any(|known| known == name)));
    }
}
