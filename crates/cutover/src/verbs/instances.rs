//! `cutover instances`: which there are, and taking one out of service and back, in a running cutover.

use std::io::Write as _;
use std::path::Path;

use cutover_control::api::instances::{DrainInstance, Drained, Instances};

use crate::clock;
use crate::exit::{Exit, Failed};
use crate::operator::{self, Operator, Remote};
use crate::table::Table;
use crate::term::Term;
use crate::verbs::status;

/// List the instances of all upstreams, take one out of service, and put it back.
///
/// An instance that is out gets no new request; what it has begun it ends. It stays out over reloads and
/// restarts until it is put back.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List instances, those that are out, and names whose addresses are instances
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Take an instance out of service: it ends what it has begun
    Drain(Which),
    /// Put an instance back into service
    Resume(Which),
}

#[derive(Debug, clap::Args)]
struct Which {
    /// The instance, as `gpus/0`, `gpu-1:8000` or `gpus/gpu-1:8000`
    instance: String,
    /// Why, for status and audit log
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Who asks. Default: $USER
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let client = Operator::find(&args.remote, config, term)?.client()?;
    let (which, out) = match &args.what {
        What::List { json } => {
            let found = operator::block_on(client.instances())?.map_err(operator::failed)?;
            if *json {
                let text = serde_json::to_string_pretty(&found).map_err(anyhow::Error::from)?;
                term.say(text)?;
            } else {
                write!(term.out, "{}", show(&found))?;
            }
            return Ok(Exit::Done);
        }
        What::Drain(which) => (which, true),
        What::Resume(which) => (which, false),
    };
    let order = DrainInstance {
        instance: which.instance.clone(),
        actor: operator::actor(which.actor.as_deref()),
        reason: which.reason.clone(),
    };
    let done = operator::block_on(client.drain(&order, out))?.map_err(operator::failed)?;
    if which.json {
        term.done(serde_json::to_string_pretty(&done).map_err(anyhow::Error::from)?);
    } else {
        term.done(told(&done));
    }
    for warning in &done.warnings {
        term.warn(warning);
    }
    Ok(if done.stored { Exit::Done } else { Exit::Partly })
}

fn told(done: &Drained) -> String {
    let Drained { upstream, address, out, in_flight, .. } = done;
    match (out, in_flight) {
        (false, _) => format!("{upstream}/{address}: in service"),
        (true, 0) => format!("{upstream}/{address}: out of service, and idle"),
        (true, n) => format!("{upstream}/{address}: out of service, {n} requests to end"),
    }
}

fn show(found: &Instances) -> String {
    let now = clock::now();
    let mut out = status::instances(&found.instances);
    if !found.drained.is_empty() {
        let mut table = Table::new(&["out of service", "since", "by", "why"]);
        for drain in &found.drained {
            let name = format!("{}/{}", drain.upstream, drain.address);
            let since = clock::ago(drain.at, now);
            table.row([name, since, drain.actor.clone(), drain.reason.clone()]);
        }
        out.push('\n');
        out.push_str(&table.to_string());
    }
    if !found.names.is_empty() {
        out.push('\n');
        out.push_str(&status::names(&found.names, now));
    }
    out
}
