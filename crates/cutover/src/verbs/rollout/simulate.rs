//! `cutover rollout simulate`: the config file's own steps and gates on a virtual clock. Pure: nothing
//! runs, nothing is sent, no file is written.

use std::path::{Path, PathBuf};
use std::thread;

use cutover_config::Checked;
use cutover_rollout::text::parse_duration;
use cutover_rollout::{Role, Spec};
use cutover_simulator::{Case, Outcome, Study, Traffic, Trial, Truth, Warning};
use cutover_units::Millis;

use crate::exit::{Exit, Exits, Failed};
use crate::files::Source;
use crate::term::Term;

/// Try a rollout's steps and gates on simulated traffic, before they touch real traffic.
///
/// Runs the real planner many times and tells how often the candidate is promoted and rolled back, how
/// often falsely, how long it takes, and how many users get bad answers meanwhile. Beside the truth
/// that is asked for it tries two equal arms, and a candidate exactly on the boundary of each required
/// gate. Ends with 1 if the spec cannot pass under the given truth (a required claim is not true, or
/// fewer than half of the good candidates are promoted in time), or promotes falsely more often than
/// twice its level.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The use case. Default: the only one with a rollout
    use_case: Option<String>,
    /// A config file with the rollout. Default: as for serve
    #[arg(long, value_name = "FILE")]
    spec: Option<PathBuf>,
    /// What arrives, such as 20/min,units=500,skew=zipf,daily=50%,session=5,streams=50%
    #[arg(long, value_name = "TEXT", default_value = "20/min", value_parser = parse_traffic)]
    traffic: Traffic,
    /// How the candidate really is, beside the baseline, such as
    /// quality=0.98x,errors=+0.1pp,p95=1.2x,onset=6h. What is left out is as the baseline
    #[arg(long, value_name = "TEXT", default_value = "", value_parser = parse_truth)]
    truth: Truth,
    /// Simulated rollouts of each case. A rate is known to about 3 points with 200, to 1 with 2000
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
    /// Decides all chance: the same seed gives the same result
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// The longest a rollout may take
    #[arg(long, value_name = "DURATION", default_value = "14 d", value_parser = parse_span)]
    horizon: Millis,
    /// Simulate only what was asked for, without equal arms and boundaries
    #[arg(long)]
    only_asked: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

fn parse_traffic(text: &str) -> Result<Traffic, String> {
    Traffic::parse(text).map_err(|error| error.to_string())
}

fn parse_truth(text: &str) -> Result<Truth, String> {
    Truth::parse(text).map_err(|error| error.to_string())
}

fn parse_span(text: &str) -> Result<Millis, String> {
    parse_duration(text).map_err(|error| error.to_string())
}

pub(super) fn run(args: &Args, config: Option<&Path>, term: &mut Term) -> Result<Exit, Failed> {
    let source = Source::find(args.spec.as_deref().or(config));
    let checked = source.load(term)?;
    let spec = find(&checked, &source, args.use_case.as_deref())?;
    let trial = Trial {
        traffic: args.traffic,
        truth: args.truth,
        runs: 0..args.runs,
        seed: args.seed,
        horizon: args.horizon,
    };
    term.talk(format_args!("simulating {} rollouts of each case ...", args.runs));
    let study = simulate(&spec, &trial, args.only_asked)?;
    let outcome = &study.asked.outcome;
    let mut warnings = cutover_simulator::warn(&spec, &args.traffic, outcome);
    if !args.only_asked {
        let equal = &study.equal.outcome;
        warnings.extend(cutover_simulator::warn_of_blindness(&spec, equal, &study.harms));
        warnings.extend(cutover_simulator::warn_of_the_end(&spec));
    }
    if args.json {
        let cases: Vec<_> =
            study.cases().take(if args.only_asked { 1 } else { usize::MAX }).collect();
        let whole = serde_json::json!({
            "use_case": spec.use_case, "spec_hash": spec.hash(), "levels": spec.levels,
            "cases": cases, "warnings": warnings, "useless": useless(&spec, &study),
        });
        term.say(serde_json::to_string_pretty(&whole)?)?;
    } else {
        term.say(format_args!("{}: {}\n", spec.use_case, way(&spec)))?;
        let text = if args.only_asked { outcome.render() } else { study.render(&spec) };
        term.say(text.trim_end())?;
    }
    tell(&warnings, term);
    Ok(if useless(&spec, &study) { Exit::Failed } else { Exit::Done })
}

/// The use case's rollout as the file has it. What its variants are made of does not matter here, so
/// that a prompt or schema that it names need not exist.
fn find(checked: &Checked, source: &Source, wanted: Option<&str>) -> Result<Spec, Failed> {
    let read = |path: &Path| {
        let text = std::fs::read_to_string(source.base.join(path));
        Ok(text.unwrap_or_else(|_| "{}".to_owned()))
    };
    let mut specs = Vec::new();
    for at in 0..checked.use_cases.len() {
        let spec = checked.rollout_spec(at, &read).or_exit(Exit::Config)?;
        specs.extend(spec);
    }
    let names = || {
        let names: Vec<_> = specs.iter().map(|spec| spec.use_case.as_str()).collect();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    };
    let found = match wanted {
        Some(name) => specs.iter().find(|spec| spec.use_case.as_str() == name),
        None if specs.len() == 1 => specs.first(),
        None => None,
    };
    let Some(found) = found else {
        let message = match wanted {
            Some(name) => format!("{}: use case {name} has no rollout", source.name()),
            None => format!("{}: which use case?", source.name()),
        };
        return Err(Failed::new(Exit::Config, message)
            .hint(format!("use cases with [use_cases.NAME.rollout]: {}", names())));
    };
    Ok(found.clone())
}

/// All cases, their runs shared among the processors.
fn simulate(spec: &Spec, trial: &Trial, only_asked: bool) -> Result<Study, Failed> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let parts = u32::try_from(processors).unwrap_or(1).min(trial.runs.end.max(1));
    let of = |part: u32| {
        let runs = u64::from(trial.runs.end) * u64::from(part) / u64::from(parts);
        u32::try_from(runs).unwrap_or(u32::MAX)
    };
    let one = |part: u32| {
        let trial = Trial { runs: of(part)..of(part + 1), ..trial.clone() };
        if !only_asked {
            return cutover_simulator::study(spec, &trial);
        }
        let outcome = cutover_simulator::simulate(spec, &trial);
        let asked = Case { name: "as asked".to_owned(), truth: trial.truth, outcome };
        Study { equal: asked.clone(), asked, boundaries: Vec::new(), harms: Vec::new() }
    };
    thread::scope(|scope| {
        let one = &one;
        let started: Vec<_> = (0..parts).map(|part| scope.spawn(move || one(part))).collect();
        let ended = started.into_iter().map(thread::ScopedJoinHandle::join);
        let mut whole: Option<Study> = None;
        for part in ended {
            let part = part.map_err(|_| Failed::new(Exit::Failed, "a simulated rollout died"))?;
            whole = Some(match whole {
                Some(mut all) => {
                    all.merge(part);
                    all
                }
                None => part,
            });
        }
        whole.ok_or_else(|| Failed::new(Exit::Failed, "nothing was simulated"))
    })
}

/// Whether the spec cannot do what it is for: see the command's description.
fn useless(spec: &Spec, study: &Study) -> bool {
    let outcome = &study.asked.outcome;
    let untrue = spec.gates.iter().zip(&outcome.standings).any(|(gate, standing)| {
        gate.role == Role::Required && standing.room.is_some() && !standing.holds()
    });
    let too_seldom = outcome.deserves(spec) && too_seldom(outcome);
    let too_often = |case: &Case| {
        let (_, interval) = case.outcome.rate(case.outcome.false_promoted);
        interval.low > 2.0 * spec.levels.promote
    };
    untrue || too_seldom || study.cases().any(too_often)
}

fn too_seldom(outcome: &Outcome) -> bool {
    outcome.promoted.saturating_mul(2) < outcome.runs
}

fn way(spec: &Spec) -> String {
    let names: Vec<_> = spec.steps.iter().map(|step| step.name.as_str()).collect();
    names.join(" > ")
}

fn tell(warnings: &[Warning], term: &mut Term) {
    for warning in warnings {
        term.warn(&warning.what);
        term.talk(format_args!("  hint: {}", warning.hint));
    }
}
