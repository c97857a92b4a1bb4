//! `cutover serve`: the gateway and its admin API, until a signal ends them.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use cutover_config::{Checked, ClientKeys, LogFormat};
use cutover_control::Host;
use cutover_control::watch::{self, Watch};
use cutover_telemetry::LogFormat as TelemetryFormat;
use tokio::runtime::Runtime;
use tokio_util::sync::CancellationToken;

use crate::banner;
use crate::exit::{Exit, Exits, Failed};
use crate::files::Source;
use crate::process::Overruled;
use crate::server::{self, Plan, Server};
use crate::signals;
use crate::term::Term;

/// Serve: answer clients and, on a listener of its own, operators.
///
/// Without a config file everything is answered by a small real model inside this process. The file is
/// read again when it changes and on SIGHUP; a file with a mistake is refused and the old one keeps
/// serving. SIGTERM and SIGINT end it after the requests in flight.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Address for clients, instead of the config file's
    #[arg(long, value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// Address for operators, instead of the config file's
    #[arg(long, value_name = "ADDRESS")]
    admin_listen: Option<SocketAddr>,
    /// The state directory, instead of the config file's
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    /// Wait until another cutover has left the state directory and the addresses, instead of failing
    #[arg(long)]
    wait: bool,
    /// What is logged, instead of the config file's level: a level, or a list such as
    /// info,cutover_gateway=debug
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    // Talk goes the way of the log: a reader who has stopped to read holds up neither the start nor the end.
    let stream = cutover_telemetry::error_stream().context("cannot start the log's thread")?;
    stream.take_panics();
    term.err = Box::new(stream);
    let source = Source::find(config);
    let mut checked = source.load(term)?;
    let text = source.read().unwrap_or_default();
    for problem in crate::programs::unfound(&checked, &source.base) {
        term.warn(source.locate(&text, &problem));
    }
    let overruled = Overruled {
        listen: args.listen,
        admin_listen: args.admin_listen,
        state_dir: args.state_dir.as_deref().map(std::path::absolute).transpose()?,
    };
    overruled.apply(&mut checked);
    refuse_open_doors(&checked)?;
    let format = match checked.log.format {
        LogFormat::Text => TelemetryFormat::Text,
        LogFormat::Json => TelemetryFormat::Json,
    };
    let filter = args.log.as_deref().unwrap_or(checked.log.level.as_str());
    cutover_telemetry::init_log(format, filter).or_exit(Exit::Usage)?;
    let runtime = runtime(checked.server.workers)?;
    let plan = Plan { source, checked, overruled, waits: args.wait };
    let ended = runtime.block_on(Box::pin(serve(plan, term)));
    // What had to end has ended. A thread that still reads a file of the config may never come back.
    runtime.shutdown_background();
    ended
}

/// The config file is checked for this already; a flag may have changed it.
fn refuse_open_doors(checked: &Checked) -> Result<(), Failed> {
    let server = &checked.server;
    if server.keys == ClientKeys::Off && !server.listen.ip().is_loopback() {
        let message =
            format!("{} can be reached by others, and no keys are asked for", server.listen);
        return Err(Failed::new(Exit::Config, message)
            .hint("set server.keys = \"required\" and make a key: cutover key add NAME"));
    }
    if checked.admin.token.is_none() && !checked.admin.listen.ip().is_loopback() {
        let message = format!(
            "{} can be reached by others, and admin.token is not set",
            checked.admin.listen
        );
        return Err(Failed::new(Exit::Config, message)
            .hint("set admin.token, or keep the admin listener on a loopback address"));
    }
    Ok(())
}

/// One thread per core, or as many as are configured. A single thread gets the scheduler that needs no
/// synchronisation.
fn runtime(workers: Option<u32>) -> Result<Runtime, Failed> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let threads = workers.and_then(|n| usize::try_from(n).ok()).unwrap_or(cores);
    let mut builder = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    Ok(builder.enable_all().thread_name("cutover").build().context("cannot start the runtime")?)
}

async fn serve(plan: Plan, term: &mut Term) -> Result<Exit, Failed> {
    let hangups = signals::Hangups::new();
    signals::outlive_full_files();
    let watch = Watch::new(plan.source.path.iter().flat_map(std::path::absolute).collect());
    let server = Server::start(plan, term).await?;
    term.talk(banner::text(&server));
    let stop = CancellationToken::new();
    let watching = watch::run(
        server.controller.clone(),
        Arc::new(server.host.clone()),
        watch,
        stop.clone().cancelled_owned(),
    );
    let host = server.host.clone();
    let hangups = hangups.each(stop.clone(), move || {
        // What comes of it is in the log.
        let _ = host.reload();
    });
    let loading = server.host.clone();
    let announcing = async {
        for failure in loading.0.engines().settled().await {
            term.warn(failure);
        }
    };
    let ending = async {
        signals::end_asked_for().await;
        stop.cancel();
    };
    tokio::join!(server::run(server, stop.clone()), watching, hangups, ending, announcing);
    term.talk("stopped");
    Ok(Exit::Done)
}
