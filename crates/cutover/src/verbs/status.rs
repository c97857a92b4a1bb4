//! `cutover status`: what runs, with which weights, and why.

use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

use cutover_control::api::instances::NameStatus;
use cutover_control::api::rollouts::RolloutStatus;
use cutover_control::api::{EngineStatus, InstanceStatus, Origin, Status, UseCaseStatus};
use cutover_units::Millis;

use crate::clock;
use crate::exit::{Exit, Failed};
use crate::operator::{self, Operator, Remote};
use crate::table::Table;
use crate::term::Term;
use crate::verbs::rollout;

/// Show what runs: config, use cases with their weights, instances.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print the admin API's JSON
    #[arg(long)]
    json: bool,
    /// Show it anew every second
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    #[command(flatten)]
    remote: Remote,
}

/// Time between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

pub(crate) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let operator = Operator::find(&args.remote, config, term)?;
    let client = operator.client()?;
    operator::block_on(async {
        loop {
            let status = client.status().await.map_err(operator::failed)?;
            if args.json {
                term.say(serde_json::to_string_pretty(&status)?)?;
                return Ok(Exit::Done);
            }
            // Another version may not have the route; the rest is worth showing all the same.
            let rollouts = client.rollouts().await.unwrap_or_default();
            let text = show(&status, &rollouts);
            if !args.watch {
                term.say(text)?;
                return Ok(Exit::Done);
            }
            term.redraw(text)?;
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    })?
}

fn show(status: &Status, rollouts: &[RolloutStatus]) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(out, "cutover {}, up since {}", status.version, clock::show(status.started));
    let file = status.config.file.as_deref().unwrap_or("built-in defaults");
    let _ =
        writeln!(out, "config  {file}, loaded {}", clock::ago(status.config.loaded, status.now));
    if let Some(refused) = &status.config.refused {
        let _ = writeln!(out, "        REFUSED {}:", clock::ago(refused.at, status.now));
        for problem in &refused.problems {
            let _ = writeln!(out, "        {problem}");
        }
    }
    if let Some(problem) = &status.state_problem {
        let _ = writeln!(out, "state   UNREADABLE, every candidate is at 0%: {problem}");
    }
    for what in &status.ready.degraded {
        let _ = writeln!(out, "BROKEN  {what}");
    }
    for what in &status.ready.waiting_for {
        let _ = writeln!(out, "waits   {what}");
    }
    for hook in status.webhooks.iter().filter_map(|hook| rollout::webhook(hook, status.now)) {
        let _ = writeln!(out, "WEBHOOK {hook}");
    }
    if !status.use_cases.is_empty() {
        out.push('\n');
        out.push_str(&use_cases(status, rollouts));
    }
    out.push('\n');
    out.push_str(&instances(&status.instances));
    if !status.names.is_empty() {
        out.push('\n');
        out.push_str(&names(&status.names, status.now));
    }
    out.trim_end().to_owned()
}

fn use_cases(status: &Status, rollouts: &[RolloutStatus]) -> String {
    let mut table = Table::new(&[
        "use case",
        "weight",
        "baseline",
        "candidate",
        "rollout",
        "served",
        "by",
        "when",
        "why",
    ]);
    for use_case in &status.use_cases {
        let served = |arm: &str| use_case.served.get(arm).copied().unwrap_or(0);
        let rollout = rollouts.iter().find(|one| one.use_case == use_case.name);
        let candidate = use_case.candidate.as_ref().map_or("-", |name| name.as_str());
        table.row([
            use_case.name.to_string(),
            use_case.weight.to_string(),
            use_case.baseline.to_string(),
            candidate.to_owned(),
            rollout.map_or_else(|| "-".to_owned(), rollout::short),
            format!("{} + {}", served("baseline"), served("candidate")),
            use_case.actor.clone().unwrap_or_default(),
            use_case.updated.map(|at| clock::ago(at, status.now)).unwrap_or_default(),
            why(use_case),
        ]);
    }
    table.to_string()
}

fn why(use_case: &UseCaseStatus) -> String {
    // A rollout's reasons have all their numbers: `cutover rollout explain` shows them.
    let reason = rollout::brief(use_case.reason.as_deref().unwrap_or_default());
    let said = |word: &str| {
        if reason.is_empty() { word.to_owned() } else { format!("{word}: {reason}") }
    };
    match use_case.origin {
        Origin::Config => "as in the config file".to_owned(),
        Origin::Operator if use_case.config_weight == use_case.weight => reason,
        Origin::Operator if reason.is_empty() => {
            format!("the config file's {} is only the start", use_case.config_weight)
        }
        Origin::Operator => reason,
        Origin::Rollback => said("ROLLED BACK"),
        Origin::Replaced => "another candidate than the one whose share it was".to_owned(),
        Origin::Unknown => "the state cannot be read".to_owned(),
    }
}

/// The table of instances.
pub(crate) fn instances(all: &[InstanceStatus]) -> String {
    let mut table = Table::new(&["instance", "address", "state", "in flight", "engine"]);
    for instance in all {
        let state = match instance.failures {
            0 => instance.state.clone(),
            // It takes requests still, which is not to say that it is well.
            n if instance.state == "healthy" => format!("in use, {n} failures in a row"),
            n => format!("{}, {n} failures in a row", instance.state),
        };
        let state = match &instance.drained {
            Some(drain) if drain.reason.is_empty() => format!("{state} (by {})", drain.actor),
            Some(drain) => format!("{state} (by {}: {})", drain.actor, drain.reason),
            None => state,
        };
        let engine = instance.engine.as_ref().map(engine).unwrap_or_default();
        let (id, address) = (instance.id.clone(), instance.address.clone());
        table.row([id, address, state, instance.in_flight.to_string(), engine]);
    }
    table.to_string()
}

/// The table of names whose addresses are instances.
pub(crate) fn names(all: &[NameStatus], now: Millis) -> String {
    let mut table = Table::new(&["upstream", "name", "addresses", "resolved", "problem"]);
    for name in all {
        let addresses = match name.beyond {
            0 => name.addresses.to_string(),
            beyond => format!("{} and {beyond} too many", name.addresses),
        };
        let resolved = name.answered.map_or_else(|| "never".to_owned(), |at| clock::ago(at, now));
        let problem = name.problem.clone().unwrap_or_default();
        table.row([name.upstream.clone(), name.host.clone(), addresses, resolved, problem]);
    }
    table.to_string()
}

/// What an engine told, in the order in which it explains a slow answer.
fn engine(told: &EngineStatus) -> String {
    let count = |name: &str, n: Option<u32>| n.map(|n| format!("{n} {name}"));
    let running = match (told.running, told.slots) {
        (Some(running), Some(slots)) => Some(format!("{running} of {slots} slots")),
        (running, _) => count("running", running),
    };
    let models = told.models.as_ref().map(|models| match models.len() {
        0 => "no model loaded".to_owned(),
        _ => models.keys().cloned().collect::<Vec<_>>().join(", "),
    });
    let cache = told.cache_permille.map(|permille| format!("cache {} %", permille / 10));
    let version = told.version.as_ref().map(|version| format!("version {version}"));
    let parts = [count("waiting", told.waiting), running, cache, models, version];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_tells_what_an_operator_must_know() {
        let status: Status = serde_json::from_value(serde_json::json!({
            "version": "0.1.0", "started": 0, "now": 61_000,
            "config": {
                "file": "cutover.toml", "digest": "d", "loaded": 1_000,
                "refused": {"at": 60_000, "problems": ["cutover.toml:3:1: wrong"]}
            },
            "state_problem": null,
            "ready": {"ready": false, "waiting_for": ["embedded model"]},
            "use_cases": [
                {"name": "statements", "baseline": "gpt", "candidate": "qwen", "weight": "25%",
                 "origin": "operator", "generation": 3, "updated": 31_000, "actor": "ann",
                 "reason": null, "config_weight": "5%", "served": {"baseline": 3, "candidate": 1}},
                {"name": "summaries", "baseline": "gpt", "candidate": "qwen", "weight": "0%",
                 "origin": "rollback", "generation": 4, "updated": 1_000, "actor": "bob",
                 "reason": "errors", "config_weight": "5%"}
            ],
            "webhooks": [
                {"webhook": "chat", "delivered": 9, "undelivered": 0, "waiting": 0,
                 "oldest": null, "last_failure": null},
                {"webhook": "ops", "delivered": 1, "undelivered": 2, "waiting": 1,
                 "oldest": 1_000, "last_failure": "status 500"}
            ],
            "instances": [{"id": "gpus/0", "address": "http://gpu-1", "in_flight": 2, "failures": 5,
                 "state": "ejected", "engine": {"running": 1, "slots": 4, "waiting": 0,
                 "models": {"qwen2.5:32b": 8192}}}]
        }))
        .unwrap();
        let text = show(&status, &[]);
        let expected = "\
cutover 0.1.0, up since 1970-01-01 00:00:00 UTC
config  cutover.toml, loaded 60 s ago
        REFUSED 1 s ago:
        cutover.toml:3:1: wrong
waits   embedded model
WEBHOOK ops: 1 waiting, the oldest for 1 min, 2 undelivered; status 500

use case    weight  baseline  candidate  rollout  served  by   when      why
statements  25%     gpt       qwen       -        3 + 1   ann  30 s ago  the config file's 5% is only the start
summaries   0%      gpt       qwen       -        0 + 0   bob  60 s ago  ROLLED BACK: errors

instance  address       state                         in flight  engine
gpus/0    http://gpu-1  ejected, 5 failures in a row  2          0 waiting; 1 of 4 slots; qwen2.5:32b";
        assert_eq!(text, expected);
    }
}
