//! `cutover latency`: how fast a model answers, as a client sees it.

mod drive;
mod load;
mod show;
mod target;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cutover_console::exit::{Exit, Failed};
use cutover_console::operator::block_on;
use cutover_console::term::Term;

/// Measure how fast answers come: first token, whole answer, time between pieces, tokens per second.
///
/// Sends real requests, as streams, to a base URL (a running gateway, or any service of OpenAI's API) or straight to an
/// upstream of the config file. The first request of each row is told apart from the warm ones: a model may have to be
/// loaded. Every percentile has n and a 95 % interval. Requests cost what requests cost.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The model to ask for; through a gateway a use case's model name leads to its arms
    #[arg(long, value_name = "NAME")]
    model: String,
    /// Base URL of a running gateway or another service, such as http://127.0.0.1:4000/v1
    #[arg(
        long,
        value_name = "URL",
        conflicts_with = "upstream",
        required_unless_present = "upstream"
    )]
    url: Option<String>,
    /// An upstream of the config file, asked directly: its first instance, with its key
    #[arg(long, value_name = "NAME")]
    upstream: Option<String>,
    /// Environment variable with the API key for --url
    #[arg(long, value_name = "VARIABLE", requires = "url")]
    key_env: Option<String>,
    /// Prompts from a file: one a line, or JSON lines with `prompt` or `messages`
    #[arg(long, value_name = "FILE", conflicts_with = "grid")]
    prompts: Option<PathBuf>,
    /// Lengths: tokens of the prompt x tokens of the answer at the most; commas between several
    #[arg(long, value_name = "INxOUT,...", default_value = "500x200")]
    grid: String,
    /// Tokens of an answer at the most, with --prompts
    #[arg(long, value_name = "TOKENS", default_value_t = 200, requires = "prompts")]
    output: u64,
    /// Warm requests of each row
    #[arg(long, value_name = "N", default_value_t = 20)]
    requests: usize,
    /// Requests at a time; commas between several
    #[arg(long, value_name = "N,...", default_value = "1")]
    concurrency: String,
    /// Send the same prompt each time, so that prefix caches help
    #[arg(long)]
    same_prompt: bool,
    /// Seconds until a request counts as failed
    #[arg(long, value_name = "SECONDS", default_value_t = 120)]
    timeout: u64,
    /// Print the measurements as JSON
    #[arg(long)]
    json: bool,
}

/// Most requests of a row, and most of them at a time: this measures, it is no load test.
const REQUESTS_MAX: usize = 10_000;
const CONCURRENCY_MAX: usize = 512;
const TIMEOUT_MAX: u64 = 3_600;

/// Measures and shows.
pub fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    bounded("--requests", args.requests, REQUESTS_MAX)?;
    if args.timeout == 0 || args.timeout > TIMEOUT_MAX {
        return Err(Failed::usage(format!(
            "--timeout {} is not between 1 and {TIMEOUT_MAX}",
            args.timeout
        )));
    }
    let concurrency = numbers(&args.concurrency)?;
    let loads = load::loads(args)?;
    let target = target::target(args, config, term)?;
    let plan = drive::Plan {
        target: Arc::new(target),
        model: args.model.as_str().into(),
        requests: args.requests,
        fresh: !args.same_prompt,
        timeout: Duration::from_secs(args.timeout),
    };
    let rows = block_on(async {
        let mut rows = Vec::new();
        for load in &loads {
            for at_a_time in &concurrency {
                rows.push(drive::row(&plan, load, *at_a_time).await);
            }
        }
        rows
    })?;
    let text = if args.json {
        serde_json::to_string_pretty(&show::json(&plan.target.name, args, &rows))?
    } else {
        show::text(&plan.target.name, args, &rows)
    };
    term.say(text.trim_end())?;
    // A row of errors alone measured nothing.
    let measured = rows.iter().any(|row| row.good().next().is_some());
    if measured { Ok(Exit::Done) } else { Err(Failed::told(Exit::Failed)) }
}

fn bounded(name: &str, value: usize, most: usize) -> Result<(), Failed> {
    if value == 0 || value > most {
        return Err(Failed::usage(format!("{name} {value} is not between 1 and {most}")));
    }
    Ok(())
}

fn numbers(text: &str) -> Result<Vec<usize>, Failed> {
    let number = |part: &str| {
        let value = part
            .trim()
            .parse()
            .map_err(|_| Failed::usage(format!("--concurrency: {part:?} is not a number")))?;
        bounded("--concurrency", value, CONCURRENCY_MAX)?;
        Ok(value)
    };
    text.split(',').map(number).collect()
}
