//! `cutover rollout replay`: the planner once more over what was seen, with its own spec or another.
//!
//! The running cutover does it, or, where none runs, this process from the database. Nothing is
//! written but what opening the database of an older version writes.

use std::path::{Path, PathBuf};

use cutover_control::api::rollouts::{ReplayRollout, Replayed, ReplayedDecision};
use cutover_control::client::Admin;
use cutover_control::rollouts::replay_stored;
use cutover_rollout::{Phase, Spec};
use cutover_store::Store;
use cutover_units::UseCaseName;

use super::{Context, words};
use crate::alone::{self, Wants};
use crate::clock;
use crate::exit::{Exit, Exits, Failed};
use crate::files::Source;
use crate::operator::{self, Ended};
use crate::plans;
use crate::term::Term;

/// Decide a rollout again from what was seen: every decision must come out as it is stored.
///
/// With --spec it tells what another config file's gates and steps would have decided. What people did
/// is then left out, and units that only the other one would have served were never measured.
/// Works without a running cutover, too. Ends with 1 if a stored decision is not reproduced.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The use case
    use_case: String,
    /// A config file with another rollout for the use case
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// An older run. Default: the newest
    #[arg(long, value_name = "RUN")]
    run: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// As it was decided, and as it would have been.
struct Both {
    own: Replayed,
    other: Option<Replayed>,
}

pub(super) fn run(args: &Args, context: &Context<'_>, term: &mut Term) -> Result<Exit, Failed> {
    let spec = args.spec.as_deref().map(|file| (file, read(file)));
    let spec = match spec {
        Some((file, text)) => Some((file, text?)),
        None => None,
    };
    let both = operator::block_on(async {
        let why = match context.operator.client() {
            Ok(client) => {
                let config = spec.as_ref().map(|(_, text)| text.clone());
                match online(args, &client, config).await {
                    Err(Ended::Unreachable(why)) => why,
                    Err(Ended::Failed(failed)) => return Err(failed),
                    Ok(both) => return Ok(both),
                }
            }
            Err(why) => why,
        };
        let alone = alone::go(&context.operator, Wants::Present, why, term)?;
        let both = offline(args, &alone.store, spec.as_ref()).await;
        alone.store.close().await;
        both
    })??;
    if args.json {
        let whole = serde_json::json!({ "as_it_was": both.own, "with_spec": both.other });
        term.say(serde_json::to_string_pretty(&whole)?)?;
    } else {
        term.say(show(&both, args.spec.as_deref()))?;
    }
    Ok(if both.own.differences.is_empty() { Exit::Done } else { Exit::Failed })
}

fn read(file: &Path) -> Result<String, Failed> {
    Source { path: Some(file.to_owned()), base: PathBuf::new() }.read().or_exit(Exit::Config)
}

async fn online(args: &Args, client: &Admin, config: Option<String>) -> Result<Both, Ended> {
    let ask = |config| ReplayRollout { run: args.run.clone(), config };
    let own = client.replay_rollout(&args.use_case, &ask(None)).await?;
    let other = match config {
        None => None,
        Some(text) => Some(client.replay_rollout(&args.use_case, &ask(Some(text))).await?),
    };
    Ok(Both { own, other })
}

/// From the database alone.
async fn offline(
    args: &Args,
    store: &Store,
    spec: Option<&(&Path, String)>,
) -> Result<Both, Failed> {
    let use_case = UseCaseName::new(&args.use_case)?;
    let other = match spec {
        Some((file, text)) => Some(other_spec(file, text, &use_case)?),
        None => None,
    };
    let run = match &args.run {
        Some(run) => run.clone(),
        None => {
            let all = store.rollouts().await?;
            let found = all.into_iter().find(|stored| stored.use_case == use_case);
            let none = || Failed::new(Exit::Refused, format!("use case {use_case} has no rollout"));
            found.ok_or_else(none)?.run
        }
    };
    let own = replay_stored(store, &run, None).await?;
    let other = match other {
        Some(spec) => Some(replay_stored(store, &run, Some(spec)).await?),
        None => None,
    };
    Ok(Both { own, other })
}

fn other_spec(file: &Path, text: &str, use_case: &UseCaseName) -> Result<Spec, Failed> {
    let base = file.parent().unwrap_or(Path::new(""));
    plans::spec_reader(base)(text, use_case)
        .map_err(|problems| Failed::new(Exit::Config, problems.join("\n")))
}

fn show(both: &Both, spec: Option<&Path>) -> String {
    let own = &both.own;
    let mut lines = vec![reproduced(own)];
    for difference in &own.differences {
        let seq = difference.seq.map_or_else(|| "-".to_owned(), |seq| seq.to_string());
        lines.push(format!("decision {seq}, {}", clock::show(difference.at)));
        let said = |text: &Option<String>| text.clone().unwrap_or_else(|| "nothing".to_owned());
        lines.push(format!("  stored    {}", said(&difference.stored)));
        lines.push(format!("  replayed  {}", said(&difference.replayed)));
    }
    if let (Some(other), Some(file)) = (&both.other, spec) {
        lines.push(format!(
            "\nwith {} (- as it was, + as it would have been, people apart):",
            file.display()
        ));
        let changes = diff(&own.decisions, &other.decisions);
        if changes.iter().all(|line| line.starts_with(' ')) {
            lines.push("nothing would have been decided otherwise".to_owned());
        }
        lines.extend(changes);
        lines.push(format!("as it was:           {}", end(own)));
        lines.push(format!("as it would be:      {}", end(other)));
    }
    lines.join("\n")
}

/// Where a replay ended: one that is under way stands at a step.
fn end(replayed: &Replayed) -> String {
    let phase = words::phase(&replayed.end);
    match replayed.end {
        Phase::Running | Phase::Holding { .. } | Phase::Paused { .. } => {
            format!("at {:?}, {phase}", replayed.end_step)
        }
        Phase::Promoted | Phase::RolledBack { .. } | Phase::Abandoned { .. } => phase,
    }
}

fn reproduced(own: &Replayed) -> String {
    let (windows, same, differ) = (own.windows, own.reproduced, own.differences.len());
    let head = format!("run {}: {windows} windows replayed", own.run);
    if differ == 0 {
        return format!("{head}; all {same} decisions come out as they are stored");
    }
    format!("{head}; {same} decisions come out as they are stored, {differ} DO NOT")
}

/// Both lists are in order of time, so that the same decision comes at the same place in both.
fn diff(was: &[ReplayedDecision], is: &[ReplayedDecision]) -> Vec<String> {
    let same = |a: &ReplayedDecision, b: &ReplayedDecision| {
        (a.at, &a.action, &a.step, a.weight) == (b.at, &b.action, &b.step, b.weight)
    };
    let line = |mark: char, one: &ReplayedDecision| {
        format!(
            "{mark} {}  {:<9} {:<14} {:>6}  {}",
            clock::show(one.at),
            one.action,
            one.step,
            one.weight.to_string(),
            words::brief(&one.reason)
        )
    };
    // Every run begins.
    let later = |one: &&ReplayedDecision| one.action != "start";
    let (mut was, mut is) =
        (was.iter().filter(later).peekable(), is.iter().filter(later).peekable());
    let mut lines = Vec::new();
    loop {
        match (was.peek(), is.peek()) {
            (Some(a), Some(b)) if same(a, b) => {
                lines.extend(was.next().map(|one| line(' ', one)));
                is.next();
            }
            (Some(a), Some(b)) if a.at <= b.at => {
                lines.extend(was.next().map(|one| line('-', one)));
            }
            (Some(_), None) => lines.extend(was.next().map(|one| line('-', one))),
            (_, Some(_)) => lines.extend(is.next().map(|one| line('+', one))),
            (None, None) => return lines,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_units::{Millis, WeightBp};

    fn decision(at: u64, action: &str, step: &str) -> ReplayedDecision {
        let (action, step) = (action.to_owned(), step.to_owned());
        let at = Millis(1_795_256_103_000 + at);
        ReplayedDecision { at, action, step, weight: WeightBp::NONE, reason: "why".to_owned() }
    }

    #[test]
    fn what_both_decided_stands_once() {
        let was = [
            decision(0, "start", "shadow"),
            decision(9_000, "advance", "ramp"),
            decision(11_000, "promote", "all"),
        ];
        let is = [
            decision(5_000, "advance", "ramp"),
            decision(9_000, "advance", "soak"),
            decision(11_000, "promote", "all"),
        ];
        let marks: String = diff(&was, &is).iter().filter_map(|line| line.chars().next()).collect();
        assert_eq!(marks, "+-+ ");
    }
}
