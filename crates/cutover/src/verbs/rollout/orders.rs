//! What a person tells a rollout to do. Without proof it is said what is not proved, and asked for.

use std::io::{BufRead, IsTerminal, Write};

use cutover_control::api::rollouts::{CommandRollout, Place, RolloutStatus, StartRollout, Verb};
use cutover_rollout::{Role, Verdict};

use super::{Context, words};
use crate::exit::{Exit, Failed};
use crate::operator;
use crate::term::Term;

/// Begin the rollout that the config file has for a use case.
#[derive(Debug, clap::Args)]
pub(super) struct Start {
    /// The use case
    use_case: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Begin again although the candidate was rolled back
    #[arg(long)]
    after_rollback: bool,
}

/// Stop a rollout where it is. Harm still takes the traffic back.
#[derive(Debug, clap::Args)]
pub(super) struct Pause {
    /// The use case
    use_case: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Let a rollout go on that is paused or holds.
#[derive(Debug, clap::Args)]
pub(super) struct Resume {
    /// The use case
    use_case: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Go to the next step without waiting for its proof.
///
/// What is not proved is listed, and kept in the history.
#[derive(Debug, clap::Args)]
pub(super) struct Advance {
    /// The use case
    use_case: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Go on without proof, and without being asked
    #[arg(long, short)]
    yes: bool,
}

/// Agree to a step that waits for somebody to do so.
#[derive(Debug, clap::Args)]
pub(super) struct Approve {
    /// The use case
    use_case: String,
    /// The step's name. Default: the next that waits
    step: Option<String>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
}

/// Give the candidate all traffic now, whatever is proved.
///
/// What is not proved and the steps that are left out are listed, and kept in the history.
#[derive(Debug, clap::Args)]
pub(super) struct Promote {
    /// The use case
    use_case: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// Go on without proof, and without being asked
    #[arg(long, short)]
    yes: bool,
}

/// End a rollout where it is: the candidate keeps its share, and nothing watches it any more.
///
/// From then on `cutover weight` sets the share. What is not proved is listed, and kept in the history.
#[derive(Debug, clap::Args)]
pub(super) struct Abandon {
    /// The use case
    use_case: String,
    /// Why, for the history
    #[arg(long, value_name = "TEXT", default_value = "")]
    reason: String,
    /// End it without proof, and without being asked
    #[arg(long, short)]
    yes: bool,
}

pub(super) fn start(args: &Start, context: &Context<'_>, term: &mut Term) -> Result<Exit, Failed> {
    let request = StartRollout {
        actor: operator::actor(context.actor),
        reason: args.reason.clone(),
        after_rollback: args.after_rollback,
    };
    let client = context.operator.client()?;
    let before = operator::block_on(client.status())?.map_err(operator::failed)?;
    let call = client.start_rollout(&args.use_case, &request);
    let status = operator::block_on(call)?.map_err(|error| {
        let failed = operator::failed(error);
        // The API speaks of a weight, which is another command's.
        let hint = failed.hint.map(|hint| {
            if hint.contains("cutover weight") {
                format!(
                    "if the cause is gone: cutover rollout start {} --after-rollback",
                    args.use_case
                )
            } else {
                hint
            }
        });
        Failed { hint, ..failed }
    })?;
    told(&status, term);
    let before = before.use_cases.iter().find(|one| one.name == status.use_case);
    if let Some(from) = before.map(|one| one.weight).filter(|from| *from > status.state.weight) {
        term.warn(format_args!(
            "the share falls from {from} to {}: a rollout begins at its first step, whatever was set by hand",
            status.state.weight
        ));
    }
    term.talk(format_args!("see how it goes: cutover rollout status {} --watch", args.use_case));
    Ok(Exit::Done)
}

pub(super) fn pause(args: &Pause, context: &Context<'_>, term: &mut Term) -> Result<Exit, Failed> {
    let order = Order { verb: Verb::Pause, step: None, reason: &args.reason };
    order.give(&args.use_case, context, term)
}

pub(super) fn resume(
    args: &Resume,
    context: &Context<'_>,
    term: &mut Term,
) -> Result<Exit, Failed> {
    let order = Order { verb: Verb::Resume, step: None, reason: &args.reason };
    order.give(&args.use_case, context, term)
}

pub(super) fn approve(
    args: &Approve,
    context: &Context<'_>,
    term: &mut Term,
) -> Result<Exit, Failed> {
    let step = args.step.as_deref();
    let order = Order { verb: Verb::Approve, step, reason: &args.reason };
    order.give(&args.use_case, context, term)
}

pub(super) fn advance(
    args: &Advance,
    context: &Context<'_>,
    term: &mut Term,
) -> Result<Exit, Failed> {
    agree_to(open_for_advance, (&args.use_case, args.yes), context, term)?;
    let order = Order { verb: Verb::Advance, step: None, reason: &args.reason };
    order.give(&args.use_case, context, term)
}

pub(super) fn promote(
    args: &Promote,
    context: &Context<'_>,
    term: &mut Term,
) -> Result<Exit, Failed> {
    agree_to(open_for_promote, (&args.use_case, args.yes), context, term)?;
    let order = Order { verb: Verb::Promote, step: None, reason: &args.reason };
    order.give(&args.use_case, context, term)
}

pub(super) fn abandon(
    args: &Abandon,
    context: &Context<'_>,
    term: &mut Term,
) -> Result<Exit, Failed> {
    agree_to(open_for_abandon, (&args.use_case, args.yes), context, term)?;
    let order = Order { verb: Verb::Abandon, step: None, reason: &args.reason };
    let exit = order.give(&args.use_case, context, term)?;
    term.talk(format_args!("from now on the share is set by: cutover weight {}", args.use_case));
    Ok(exit)
}

struct Order<'a> {
    verb: Verb,
    step: Option<&'a str>,
    reason: &'a str,
}

impl Order<'_> {
    fn give(&self, use_case: &str, context: &Context<'_>, term: &mut Term) -> Result<Exit, Failed> {
        let request = CommandRollout {
            command: self.verb,
            step: self.step.map(str::to_owned),
            actor: operator::actor(context.actor),
            reason: self.reason.to_owned(),
        };
        let client = context.operator.client()?;
        let call = client.command_rollout(use_case, &request);
        let status = operator::block_on(call)?.map_err(operator::failed)?;
        told(&status, term);
        Ok(Exit::Done)
    }
}

fn look(use_case: &str, context: &Context<'_>) -> Result<RolloutStatus, Failed> {
    let client = context.operator.client()?;
    operator::block_on(client.rollout(use_case))?.map_err(operator::failed)
}

fn told(status: &RolloutStatus, term: &mut Term) {
    term.done(format_args!(
        "{}: {}; {}, {} serves {} of the units",
        status.use_case,
        status.drawn,
        words::standing(status),
        status.candidate,
        words::share(status)
    ));
}

/// What the current step has not proved.
fn open_for_advance(status: &RolloutStatus) -> Vec<String> {
    let Some(report) = &status.report else {
        let here = status.steps.iter().find(|step| step.place == Place::Now);
        return here.map(|step| unlooked(&step.requires)).unwrap_or_default();
    };
    let open = report.gates.iter().filter(|gate| gate.required_now);
    open.filter(|gate| gate.verdict != Verdict::Pass).map(gate_line).collect()
}

/// The same, and what nobody will see from then on.
fn open_for_abandon(status: &RolloutStatus) -> Vec<String> {
    let mut open = open_for_advance(status);
    open.push(format!(
        "that {} of the units are safe with {}: no gate is looked at any more",
        status.state.weight, status.candidate
    ));
    open
}

/// What the whole rollout has not proved, and the steps that would be left out.
fn open_for_promote(status: &RolloutStatus) -> Vec<String> {
    if status.state.is_over() {
        return Vec::new();
    }
    let mut open: Vec<String> = match &status.report {
        Some(report) => {
            let required = report.gates.iter().filter(|gate| gate.role == Role::Required);
            required.filter(|gate| gate.verdict != Verdict::Pass).map(gate_line).collect()
        }
        None => {
            let mut ids: Vec<_> = status.steps.iter().flat_map(|step| &step.requires).collect();
            ids.sort();
            ids.dedup();
            unlooked(&ids.into_iter().cloned().collect::<Vec<_>>())
        }
    };
    let ahead: Vec<_> = status.steps.iter().filter(|step| step.place == Place::Ahead).collect();
    if let Some((_, left_out)) = ahead.split_last()
        && !left_out.is_empty()
    {
        let names: Vec<_> = left_out.iter().map(|step| step.name.as_str()).collect();
        open.push(format!(
            "no harm at a larger share than {}: it leaves out {}",
            status.state.weight,
            names.join(", ")
        ));
    }
    open
}

fn unlooked(ids: &[String]) -> Vec<String> {
    ids.iter().map(|id| format!("{id}: nothing was looked at yet")).collect()
}

fn gate_line(gate: &cutover_rollout::Evaluation) -> String {
    format!("`{}` ({}): {}", gate.claim, words::verdict(gate.verdict), words::measured(gate))
}

/// Lists what is still open of a rollout that is not over, and goes on only if somebody says so.
fn agree_to(
    open: fn(&RolloutStatus) -> Vec<String>,
    (use_case, yes): (&str, bool),
    context: &Context<'_>,
    term: &mut Term,
) -> Result<(), Failed> {
    let status = look(use_case, context)?;
    if status.state.is_over() { Ok(()) } else { agree(&open(&status), yes, term) }
}

/// Lists what is not proved, and goes on only if somebody says so.
fn agree(open: &[String], yes: bool, term: &mut Term) -> Result<(), Failed> {
    if open.is_empty() {
        return Ok(());
    }
    term.talk("not proved:");
    for line in open {
        term.talk(format_args!("  {line}"));
    }
    if yes {
        return Ok(());
    }
    let stdin = std::io::stdin();
    if !stdin.is_terminal() {
        return Err(Failed::new(Exit::Failed, "nothing was changed: the proof is missing")
            .hint("to go on without it: --yes, with --reason for the history"));
    }
    let _ = write!(term.err, "Go on without proof? [y/N] ");
    let _ = term.err.flush();
    let mut answer = String::new();
    stdin.lock().read_line(&mut answer)?;
    if matches!(answer.trim(), "y" | "Y" | "yes") {
        return Ok(());
    }
    Err(Failed::new(Exit::Failed, "nothing was changed"))
}
