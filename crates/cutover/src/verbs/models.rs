//! `cutover models`: the models of an upstream's engines, through the running cutover, which has their
//! addresses and keys.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use cutover_control::api::models::{ManageModels, ModelStatus, ModelsAt, ModelsJob};
use cutover_control::client::Admin;
use cutover_units::UpstreamName;

use crate::exit::{Exit, Failed};
use crate::managed::CANCEL;
use crate::operator::{self, Operator, Remote};
use crate::table::Table;
use crate::term::Term;

/// How often a job is looked at.
const LOOK: Duration = Duration::from_millis(500);

/// Of a cutover that was there when it began.
const GONE: &str = "it was there a moment ago: if it has stopped, what it did has ended with it, and the same \
     command goes on with a fetch from what is there";

/// List, fetch, show, remove and load the models of an upstream's engines.
///
/// Each is done at all instances of the upstream. Ollama manages models over its API; of other engines
/// the models are listed. Ends with 1 if it failed or was cancelled at an instance. What takes long goes on
/// without this command (ctrl-C ends the looking alone) until `cancel`, or until cutover stops.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: What,
    #[command(flatten)]
    remote: Remote,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// List the models of each instance, and which are in memory
    List {
        /// The upstream's name
        #[arg(value_parser = parse_upstream)]
        upstream: UpstreamName,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Fetch a model at every instance, with progress
    Pull(Named),
    /// Show what is known of a model
    Show(Named),
    /// Remove a model from every instance's disk
    Remove(Named),
    /// Read a model into every instance's memory, with the context length that its requests have
    Warm(Named),
    /// End the fetches and loads of a model that are under way; another fetch goes on from what is there
    Cancel(Named),
}

#[derive(Debug, clap::Args)]
struct Named {
    /// The upstream's name
    #[arg(value_parser = parse_upstream)]
    upstream: UpstreamName,
    /// The model, such as qwen2.5:7b
    model: String,
    /// Print JSON when it has ended
    #[arg(long)]
    json: bool,
}

fn parse_upstream(text: &str) -> Result<UpstreamName, String> {
    UpstreamName::new(text).map_err(|e| e.to_string())
}

impl What {
    fn order(&self) -> (&UpstreamName, ManageModels, bool) {
        let order = |action: &str, model: &str| ManageModels {
            action: action.to_owned(),
            model: model.to_owned(),
        };
        let named = |action: &str, named: &Named| order(action, &named.model);
        match self {
            Self::List { upstream, json } => (upstream, order("list", ""), *json),
            Self::Pull(of) => (&of.upstream, named("pull", of), of.json),
            Self::Show(of) => (&of.upstream, named("show", of), of.json),
            Self::Remove(of) => (&of.upstream, named("remove", of), of.json),
            Self::Warm(of) => (&of.upstream, named("warm", of), of.json),
            Self::Cancel(of) => (&of.upstream, named(CANCEL, of), of.json),
        }
    }
}

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let client = Operator::find(&args.remote, config, term)?.client()?;
    let (upstream, order, json) = args.what.order();
    let job = operator::block_on(follow(&client, (upstream.as_str(), &order), term))??;
    if json {
        let text = serde_json::to_string_pretty(&job).map_err(anyhow::Error::from)?;
        term.say(text)?;
    } else {
        show(&job, term)?;
    }
    let cancels = order.action == CANCEL;
    let is_bad = |at: &ModelsAt| matches!(at.state.as_str(), "failed" | "cancelled");
    let failed = !cancels && job.instances.iter().any(is_bad);
    Ok(if failed { Exit::Failed } else { Exit::Done })
}

/// Begins it, and tells of its progress until it has ended.
async fn follow(
    client: &Admin,
    (upstream, order): (&str, &ManageModels),
    term: &mut Term,
) -> Result<ModelsJob, Failed> {
    let mut job = client.manage_models(upstream, order).await.map_err(operator::failed)?;
    let mut told = vec![String::new(); job.instances.len()];
    while !job.ended {
        for (at, told) in job.instances.iter().zip(&mut told) {
            let line = progress(at);
            if *told != line {
                term.talk(format_args!("{}: {line}", at.instance));
                *told = line;
            }
        }
        tokio::time::sleep(LOOK).await;
        job = client.models_job(upstream, job.job).await.map_err(|error| {
            let is_gone = error.is_unreachable();
            let failed = operator::failed(error);
            if is_gone { failed.hint(GONE) } else { failed }
        })?;
    }
    Ok(job)
}

fn progress(at: &ModelsAt) -> String {
    match (at.completed, at.total) {
        (Some(completed), Some(total)) if total > 0 && at.state == "working" => {
            let percent = u128::from(completed) * 100 / u128::from(total);
            format!("{} {percent} % of {}", at.text, bytes(total))
        }
        _ if at.state == "failed" => format!("failed: {}", at.text),
        _ => at.text.clone(),
    }
}

fn show(job: &ModelsJob, term: &mut Term) -> Result<(), Failed> {
    let told = matches!(job.action.as_str(), "list" | "show");
    if !told {
        for at in &job.instances {
            term.say(format_args!("{}: {}", at.instance, progress(at)))?;
        }
        return Ok(());
    }
    let mut table =
        Table::new(&["instance", "model", "size", "parameters", "weights", "context", "in memory"]);
    for at in &job.instances {
        for model in &at.models {
            table.row(row(&at.instance, model));
        }
        if at.models.is_empty() && at.state == "done" {
            table.row([at.instance.as_str(), "none", "", "", "", "", ""].map(str::to_owned));
        }
    }
    write!(term.out, "{table}")?;
    for note in notes(job) {
        term.warn(note);
    }
    Ok(())
}

/// Why instances have told nothing, and what is left out of what others told.
fn notes(job: &ModelsJob) -> impl Iterator<Item = String> {
    let said = job.instances.iter().filter(|at| !at.text.is_empty());
    said.map(|at| format!("{}: {}", at.instance, at.text))
}

fn row(instance: &str, model: &ModelStatus) -> [String; 7] {
    let word = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    [
        instance.to_owned(),
        model.name.clone(),
        model.size.map_or_else(|| "-".to_owned(), bytes),
        word(&model.parameters),
        word(&model.quantization),
        model.context.map_or_else(|| "-".to_owned(), |tokens| tokens.to_string()),
        match model.loaded {
            None => "-",
            Some(true) => "yes",
            Some(false) => "no",
        }
        .to_owned(),
    ]
}

/// Bytes as engines print them, in powers of ten.
fn bytes(count: u64) -> String {
    let (unit, divisor) = match count {
        0..1_000_000 => ("kB", 1_000),
        1_000_000..1_000_000_000 => ("MB", 1_000_000),
        _ => ("GB", 1_000_000_000),
    };
    let tenths = count * 10 / divisor;
    format!("{}.{} {unit}", tenths / 10, tenths % 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_told_in_one_line() {
        let at = |state: &str, bytes: Option<(u64, u64)>| ModelsAt {
            instance: "own/0".to_owned(),
            state: state.to_owned(),
            text: "pulling 1a2b".to_owned(),
            completed: bytes.map(|(completed, _)| completed),
            total: bytes.map(|(_, total)| total),
            models: Vec::new(),
        };
        let line = progress(&at("working", Some((1, 3_000_000_000))));
        assert_eq!(line, "pulling 1a2b 0 % of 3.0 GB");
        assert_eq!(progress(&at("working", None)), "pulling 1a2b");
        assert_eq!(progress(&at("failed", Some((1, 2)))), "failed: pulling 1a2b");
        assert_eq!(bytes(98_362_432), "98.3 MB");
    }

    #[test]
    fn what_a_list_leaves_out_is_said() {
        let at = |instance: &str, state: &str, text: &str| ModelsAt {
            instance: instance.to_owned(),
            state: state.to_owned(),
            text: text.to_owned(),
            completed: None,
            total: None,
            models: Vec::new(),
        };
        let job = ModelsJob {
            job: 1,
            upstream: "own".to_owned(),
            action: "list".to_owned(),
            model: String::new(),
            ended: true,
            instances: vec![
                at("own/0", "done", ""),
                at("own/1", "done", "left out, as they have no name: 2"),
                at("own/2", "failed", "gone"),
            ],
        };
        let said: Vec<_> = notes(&job).collect();
        assert_eq!(said, ["own/1: left out, as they have no name: 2", "own/2: gone"]);
    }
}
