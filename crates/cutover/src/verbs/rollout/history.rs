//! `cutover rollout history`: what was decided, by whom, and whether nobody has changed the record.

use std::collections::BTreeMap;

use cutover_control::api::rollouts::{DecisionStatus, RolloutStatus, Verified};
use cutover_control::client::{Admin, CallError};

use super::{Context, words};
use crate::clock;
use crate::exit::{Exit, Failed};
use crate::operator;
use crate::table::Table;
use crate::term::Term;

/// Show what was decided, and whether the chain of decisions is whole.
///
/// Every decision is hashed together with the one before; a decision that was changed, left out or
/// put in later breaks the chain, and the command ends with 1.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The use case. Default: all
    use_case: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What was decided, and by which names its steps go.
struct Past {
    decisions: Vec<DecisionStatus>,
    /// Step names of the newest runs.
    steps: BTreeMap<String, Vec<String>>,
    verified: Verified,
}

pub(super) fn run(args: &Args, context: &Context<'_>, term: &mut Term) -> Result<Exit, Failed> {
    let client = context.operator.client()?;
    let past = operator::block_on(read(args.use_case.as_deref(), &client))?;
    let past = past.map_err(operator::failed)?;
    if args.json {
        let whole = serde_json::json!({ "decisions": past.decisions, "chain": past.verified });
        term.say(serde_json::to_string_pretty(&whole)?)?;
    } else {
        term.say(show(&past, args.use_case.is_none()))?;
    }
    if let Some(problem) = &past.verified.problem {
        term.warn(format_args!("the chain is broken: {problem}"));
        return Ok(Exit::Failed);
    }
    Ok(Exit::Done)
}

async fn read(use_case: Option<&str>, client: &Admin) -> Result<Past, CallError> {
    let rollouts = client.rollouts().await?;
    let names = match use_case {
        Some(name) => vec![name.to_owned()],
        None => rollouts.iter().map(|one| one.use_case.to_string()).collect(),
    };
    let mut decisions = Vec::new();
    for name in names {
        decisions.extend(client.rollout_history(&name).await?);
    }
    decisions.sort_by_key(|decision| decision.seq);
    let named = |one: &RolloutStatus| {
        (one.run.clone(), one.steps.iter().map(|step| step.name.clone()).collect())
    };
    let steps = rollouts.iter().map(named).collect();
    Ok(Past { decisions, steps, verified: client.verify_decisions().await? })
}

fn show(past: &Past, several: bool) -> String {
    let mut table =
        Table::new(&["decision", "when", "use case", "action", "step", "weight", "by", "why"]);
    for DecisionStatus { seq, use_case, decision, .. } in &past.decisions {
        let reported = decision.report.as_ref().map(|report| &report.steps);
        let steps = reported.filter(|steps| !steps.is_empty());
        let names = steps.or_else(|| past.steps.get(&decision.run));
        let step = names.and_then(|names| names.get(usize::from(decision.to_step)));
        table.row([
            seq.to_string(),
            clock::show(decision.at),
            use_case.to_string(),
            words::action(decision.action).to_owned(),
            step.cloned().unwrap_or_else(|| (decision.to_step + 1).to_string()),
            decision.weight.to_string(),
            words::actor(&decision.actor).to_owned(),
            words::brief(&decision.reason),
        ]);
    }
    let body = match (past.decisions.is_empty(), several) {
        (true, true) => "no rollout was begun yet\n".to_owned(),
        (true, false) => "nothing was decided yet\n".to_owned(),
        _ => table.to_string(),
    };
    let verified = &past.verified;
    let chain = if verified.intact { "intact" } else { "BROKEN" };
    let more = if past.decisions.is_empty() {
        ""
    } else {
        "; more of one: cutover rollout explain DECISION"
    };
    format!("{body}chain of {} decisions of all use cases: {chain}{more}", verified.decisions)
}
