//! `cutover rollout explain`: one decision with its gate, its numbers and where the formula is from.

use cutover_control::client::{Admin, CallError};

use super::Context;
use crate::exit::{Exit, Failed};
use crate::operator;
use crate::term::Term;

/// Explain a decision: which gate, which numbers, and where the formula is from.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The decision's number in the history, or a use case: its newest. Default: the newest of all
    decision: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: &Args, context: &Context<'_>, term: &mut Term) -> Result<Exit, Failed> {
    let client = context.operator.client()?;
    let found = operator::block_on(find(args.decision.as_deref(), &client))?;
    let Some(seq) = found.map_err(operator::failed)? else {
        return Err(Failed::new(Exit::Failed, "there is no decision yet")
            .hint("begin a rollout: cutover rollout start USE_CASE"));
    };
    let explained = operator::block_on(client.explain_decision(seq))?.map_err(operator::failed)?;
    if args.json {
        term.say(serde_json::to_string_pretty(&explained)?)?;
        return Ok(Exit::Done);
    }
    let status = &explained.decision;
    term.say(format_args!(
        "decision {} of {}, run {}",
        status.seq, status.use_case, status.decision.run
    ))?;
    term.say(explained.text.trim_end())?;
    term.say(format_args!("  hash {}, after {}", short(&status.hash), short(&status.previous)))?;
    Ok(Exit::Done)
}

/// Enough of a hash to compare by eye.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

async fn find(wanted: Option<&str>, client: &Admin) -> Result<Option<u64>, CallError> {
    if let Some(Ok(seq)) = wanted.map(str::parse) {
        return Ok(Some(seq));
    }
    let use_cases = match wanted {
        Some(name) => vec![name.to_owned()],
        None => client.rollouts().await?.iter().map(|one| one.use_case.to_string()).collect(),
    };
    let mut newest = None;
    for use_case in use_cases {
        let history = client.rollout_history(&use_case).await?;
        newest = newest.max(history.first().map(|decision| decision.seq));
    }
    Ok(newest)
}
