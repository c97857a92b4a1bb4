//! `cutover rollout status`: where a rollout is, what is proved, and what it waits for.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use cutover_control::api::rollouts::{Place, RolloutStatus, StepStatus};
use cutover_control::client::{Admin, CallError};
use cutover_rollout::text::About;
use cutover_rollout::{Evaluation, Report, StepKind};
use cutover_units::{Millis, WeightBp};

use super::{Context, words};
use crate::clock;
use crate::exit::{Exit, Failed};
use crate::operator;
use crate::term::Term;

/// Show where rollouts are: steps, gates with their numbers, and what each waits for.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The use case. Default: all that have a rollout
    use_case: Option<String>,
    /// Show it anew every second
    #[arg(long, conflicts_with = "json")]
    watch: bool,
    /// Print the admin API's JSON
    #[arg(long)]
    json: bool,
}

/// Time between two looks of `--watch`.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

pub(super) fn run(args: &Args, context: &Context<'_>, term: &mut Term) -> Result<Exit, Failed> {
    let client = context.operator.client()?;
    operator::block_on(async {
        loop {
            let found = read(args.use_case.as_deref(), &client).await;
            let found = found.map_err(operator::failed)?;
            if args.json {
                let json = match (&args.use_case, found.as_slice()) {
                    (Some(_), [one]) => serde_json::to_string_pretty(one)?,
                    _ => serde_json::to_string_pretty(&found)?,
                };
                term.say(json)?;
                return Ok(Exit::Done);
            }
            let text = show_all(&found);
            if !args.watch {
                term.say(text)?;
                return Ok(Exit::Done);
            }
            term.redraw(text)?;
            tokio::time::sleep(WATCH_INTERVAL).await;
        }
    })?
}

async fn read(use_case: Option<&str>, client: &Admin) -> Result<Vec<RolloutStatus>, CallError> {
    match use_case {
        Some(name) => Ok(vec![client.rollout(name).await?]),
        None => client.rollouts().await,
    }
}

fn show_all(found: &[RolloutStatus]) -> String {
    if found.is_empty() {
        return "no rollout was begun yet: cutover rollout start USE_CASE".to_owned();
    }
    let shown: Vec<_> = found.iter().map(|status| show(status).trim_end().to_owned()).collect();
    shown.join("\n\n")
}

/// One rollout.
pub(super) fn show(status: &RolloutStatus) -> String {
    let mut out = String::new();
    let state = &status.state;
    // Writing to a String cannot fail, here and below.
    let _ = writeln!(
        out,
        "{}: from {} to {}, {}",
        status.use_case,
        status.baseline,
        status.candidate,
        words::standing(status)
    );
    let _ = writeln!(
        out,
        "  run {}, begun {}; {} serves {} of the units",
        status.run,
        clock::ago(state.started, status.now),
        status.candidate,
        words::share(status)
    );
    out.push('\n');
    steps(&mut out, status);
    gates(&mut out, status);
    out.push('\n');
    for (label, text) in facts(status) {
        let _ = writeln!(out, "  {label:<11}{text}");
    }
    out
}

fn steps(out: &mut String, status: &RolloutStatus) {
    let widest = status.steps.iter().map(|step| step.name.chars().count()).max().unwrap_or(0);
    for step in &status.steps {
        let mark = match step.place {
            Place::Done if step.unproved => "?",
            Place::Done => "✓",
            Place::Now if status.state.is_over() => "✗",
            Place::Now => "▶",
            Place::Ahead => " ",
        };
        let text = match step.place {
            Place::Done if step.unproved => "left without proof".to_owned(),
            Place::Done => String::new(),
            Place::Now => progress(status, step),
            Place::Ahead => needs(step),
        };
        let line = format!("  {mark} {:<widest$}  {text}", step.name);
        let _ = writeln!(out, "{}", line.trim_end());
    }
}

/// What the step asks for before the next one begins.
fn needs(step: &StepStatus) -> String {
    let mut parts = Vec::new();
    if step.min_duration.0 > 0 {
        parts.push(format!("at least {}", words::span(step.min_duration)));
    }
    if let Some(max) = step.max_duration {
        parts.push(format!("at most {}", words::span(max)));
    }
    if step.min_units > 0 {
        parts.push(format!("{} {}", step.min_units, counted(step)));
    }
    if !step.requires.is_empty() {
        parts.push(format!("proof of {}", step.requires.join(", ")));
    }
    match (&step.approved_by, step.approval) {
        (Some(by), _) => parts.push(format!("{by} agreed to it")),
        (None, true) => parts.push("begins when somebody agrees".to_owned()),
        (None, false) => {}
    }
    parts.join(", ")
}

/// What a step counts.
fn counted(step: &StepStatus) -> &'static str {
    match (step.kind, step.weight) {
        (StepKind::Shadow, _) => "pairs",
        (_, WeightBp::ALL) => "units",
        _ => "units of each arm",
    }
}

/// The last look, if it was at the step that the rollout is in.
fn own_report(status: &RolloutStatus) -> Option<&Report> {
    status.report.as_ref().filter(|report| report.step.0 == status.state.step)
}

/// How far the current step is: time, units, proof. The slowest of them decides.
fn progress(status: &RolloutStatus, step: &StepStatus) -> String {
    if status.state.is_over() {
        return String::new();
    }
    // Time in which nobody watched is none, and a clock may have been set.
    let began = status.state.step_since;
    let since = match own_report(status) {
        Some(report) if report.at > began => report.watched,
        Some(_) => Millis(0),
        None => Millis(status.now.0.saturating_sub(began.0)),
    };
    // Nothing was looked at in this step yet: nothing of it is done.
    let mut slowest = if own_report(status).is_some() { 1.0_f64 } else { 0.0 };
    slowest = slowest.min(share(since.0 as f64, step.min_duration.0 as f64));
    let mut parts = vec![match step.min_duration {
        Millis(0) => format!("for {}", words::span(since)),
        least => format!("for {} of at least {}", words::span(since), words::span(least)),
    }];
    if let Some(report) = own_report(status) {
        let seen = match (step.kind, step.weight) {
            (StepKind::Shadow, _) => report.pairs,
            (_, WeightBp::ALL) => report.units.0,
            _ => report.units.0.min(report.units.1),
        };
        if step.min_units > 0 {
            slowest = slowest.min(share(seen as f64, f64::from(step.min_units)));
            parts.push(format!("{seen} of {} {}", step.min_units, counted(step)));
        }
        let required: Vec<_> = report.gates.iter().filter(|gate| gate.required_now).collect();
        for gate in &required {
            slowest = slowest.min(proof(gate));
        }
        if !required.is_empty() {
            let passed = required.iter().filter(|gate| proof(gate) >= 1.0).count();
            parts.push(format!("{passed} of {} gates proved", required.len()));
        }
    }
    format!("{} {}", words::bar(slowest), parts.join(", "))
}

/// A share of what is asked for; nothing asked for is all of it.
fn share(have: f64, asked: f64) -> f64 {
    if asked > 0.0 { have / asked } else { 1.0 }
}

/// How far a gate's proof is: 1 when it passes.
fn proof(gate: &Evaluation) -> f64 {
    match gate.verdict {
        cutover_rollout::Verdict::Pass => 1.0,
        // Evidence of the moment may be above the threshold while something else is missing.
        _ => share(gate.log_e_pass, gate.pass_at).min(0.99),
    }
}

fn gates(out: &mut String, status: &RolloutStatus) {
    let Some(report) = &status.report else { return };
    out.push('\n');
    for gate in &report.gates {
        let verdict = words::verdict(gate.verdict);
        let _ = writeln!(out, "  {verdict:<8} {} ({})", gate.claim, words::role(gate));
        let _ = writeln!(out, "           {}", words::measured(gate));
        if gate.log_e_pass != 0.0 || gate.log_e_fail != 0.0 {
            let _ = writeln!(
                out,
                "           proof {} {} of {:.2}   harm {} {} of {:.2}",
                words::bar(share(gate.log_e_pass, gate.pass_at)),
                words::evidence(gate.log_e_pass),
                gate.pass_at,
                words::bar(share(gate.log_e_fail, gate.fail_at)),
                words::evidence(gate.log_e_fail),
                gate.fail_at
            );
        }
        let mut more = Vec::new();
        if let Some(at) = gate.expected_at
            && !status.state.is_over()
        {
            let wait = Millis(at.0.saturating_sub(report.at.0));
            more.push(match wait.0 {
                0..1_000 => "decided soon".to_owned(),
                _ => format!("decided in about {}", About(wait)),
            });
        }
        if !gate.note.is_empty() {
            more.push(gate.note.clone());
        }
        if !more.is_empty() {
            let _ = writeln!(out, "           {}", more.join("; "));
        }
    }
}

/// Labelled lines below the gates.
fn facts(status: &RolloutStatus) -> Vec<(&'static str, String)> {
    let mut facts = Vec::new();
    if let Some(problem) = &status.problem {
        facts.push(("PROBLEM", problem.clone()));
    }
    if let Some(report) = &status.report {
        let waits = if status.state.is_over() { &[][..] } else { &report.waits_for[..] };
        for (place, wait) in waits.iter().enumerate() {
            facts.push((if place == 0 { "waits for" } else { "" }, wait.clone()));
        }
        let (log_e, at) = report.srm;
        facts.push((
            "seen",
            format!(
                "in {}: {} units of {}, {} of {}, {} pairs; split of units {} of {at:.2}",
                report.step.1,
                report.units.0,
                status.candidate,
                report.units.1,
                status.baseline,
                report.pairs,
                words::evidence(log_e)
            ),
        ));
    }
    facts.push(("missing", missing(status)));
    if let Some(slow) = not_sampled(status) {
        facts.push(("SCORER", slow));
    }
    if let Some(refused) = &status.scoring.refused {
        facts.push(("SCORER", refused.clone()));
    }
    if let Some(judge) = &status.scoring.judge {
        facts.push(("judge", super::rate::record(judge)));
    }
    facts.push(("spent", spent(status)));
    let next = status.next_tick.map_or_else(String::new, |at| {
        let wait = at.0.saturating_sub(status.now.0).div_ceil(1_000) * 1_000;
        format!(", next in {}", words::span(Millis(wait)))
    });
    let looked = status.report.as_ref().map(|report| clock::ago(report.at, status.now));
    let looked = looked.unwrap_or_else(|| "not yet".to_owned());
    facts.push(("last look", format!("{looked}{next}")));
    for hook in &status.webhooks {
        facts.extend(words::webhook(hook, status.now).map(|text| ("WEBHOOK", text)));
    }
    facts
}

/// That the scorer does not keep up, and what to do.
fn not_sampled(status: &RolloutStatus) -> Option<String> {
    let (scoring, name) = (&status.scoring, &status.use_case);
    (scoring.one_in > 1).then(|| {
        format!(
            "it does not keep up: one in {} units is scored, chosen by chance, so that proof takes so much \
             longer ({} pairs not scored); give it more at once (`concurrency` in \
             [use_cases.{name}.scorer]), or copy less",
            scoring.one_in, scoring.not_sampled
        )
    })
}

/// Observations that no evidence contains.
fn missing(status: &RolloutStatus) -> String {
    let scoring = &status.scoring;
    let unscored: u64 = scoring.unscored.values().sum();
    let mut text = format!("{} lost, {unscored} pairs without a score", status.lost);
    text.push_str(&reasons(&scoring.unscored));
    let not_copied: u64 = status.not_copied.values().sum();
    if not_copied > 0 {
        let why = reasons(&status.not_copied);
        let _ = write!(text, ", {not_copied} sampled requests not copied{why}");
    }
    for (count, what) in [
        (scoring.pending, "being scored"),
        (scoring.beyond_table, "pairs of units beyond the table of a pair window"),
        (scoring.too_old, "pairs from before the pair window"),
        (status.unsaved, "not in the database yet"),
    ] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

fn reasons(counts: &BTreeMap<String, u64>) -> String {
    let named: Vec<_> = counts.iter().map(|(why, n)| format!("{why} {n}")).collect();
    if named.is_empty() { String::new() } else { format!(" ({})", named.join(", ")) }
}

fn spent(status: &RolloutStatus) -> String {
    let (spend, scoring) = (&status.spend, &status.scoring);
    let mut text = format!(
        "{} in this run; today copies {}, scorer {}",
        words::money(spend.run),
        words::money(spend.shadow_today),
        words::money(spend.scorer_today)
    );
    if let Some(budget) = scoring.budget_per_day {
        let _ = write!(text, " of {}", words::money(budget));
    }
    if scoring.unpriced > 0 {
        let _ = write!(text, "; {} questions at a price that nobody knows", scoring.unpriced);
    }
    text
}

#[cfg(test)]
mod tests;
