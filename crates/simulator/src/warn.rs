//! Specs that cannot pass, and specs that cannot fail.

use std::fmt;

use cutover_units::{Millis, WeightBp};
use serde::{Deserialize, Serialize};

use super::outcome::{Outcome, quantile};
use super::study::Harm;
use super::traffic::Traffic;
use cutover_rollout::text::Span;
use cutover_rollout::{Gate, Metric, OnInconclusive, Role, Spec, Test, lint};

/// Something about a spec that its author should know before it touches traffic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Warning {
    /// What is wrong, with the numbers.
    pub what: String,
    /// What could be done.
    pub hint: String,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n  hint: {}", self.what, self.hint)
    }
}

/// Fewer runs than this that come to a decision are few.
const FEW: f64 = 0.5;

/// What a simulation says against the spec.
pub fn warn(spec: &Spec, traffic: &Traffic, outcome: &Outcome) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut say = |what: String, hint: &str| {
        warnings.push(Warning { what, hint: hint.to_owned() });
    };
    for (gate, standing) in spec.gates.iter().zip(&outcome.standings) {
        let required = gate.role == Role::Required;
        match standing.room {
            None => say(
                format!("`{}` is not simulated: nothing is known of its truth", gate.claim()),
                "read its part of the outcome as if the gate were not there",
            ),
            Some(_) if required && !standing.holds() => say(
                format!("`{}` cannot pass: {}", gate.claim(), falls_short(gate, standing.room)),
                "it is right to refuse this candidate, or the claim asks for more than is needed: \
                 choose a margin that users would not notice",
            ),
            Some(_) => {}
        }
    }
    if outcome.runs > 0 && outcome.deserves(spec) && !outcome.harms(spec) {
        slow(spec, traffic, outcome, &mut say);
    }
    cannot_fail(spec, outcome, &mut say);
    no_streams(spec, traffic, &mut say);
    warnings
}

/// What plain harm and equal arms say against the spec: gates that accept harm, harm that nothing
/// stops, and gates that even a candidate like the baseline cannot pass.
pub fn warn_of_blindness(spec: &Spec, equal: &Outcome, harms: &[Harm]) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let mut say = |what: String, hint: &str| {
        warnings.push(Warning { what, hint: hint.to_owned() });
    };
    for (gate, standing) in spec.gates.iter().zip(&equal.standings) {
        let required = gate.role == Role::Required;
        if required && standing.room.is_some() && !standing.holds() {
            say(
                format!(
                    "`{}` cannot pass even with a candidate like the baseline: {}",
                    gate.claim(),
                    falls_short(gate, standing.room)
                ),
                "compare with the baseline (`x baseline`, `baseline + N pp`), or choose a limit that \
                 the baseline keeps",
            );
        }
    }
    for Harm { gate, case } in harms {
        let outcome = &case.outcome;
        let found = spec.gates.iter().zip(&outcome.standings).find(|(one, _)| one.id == *gate);
        let Some((gate, standing)) = found.filter(|_| outcome.runs > 0) else { continue };
        let (promoted, runs) = (outcome.promoted, outcome.runs);
        let through = if promoted == 0 {
            "; other gates stop it".to_owned()
        } else {
            format!("; {promoted} of {runs} such candidates were promoted")
        };
        if !standing.harms() {
            say(
                format!("`{}` cannot fail: it accepts {}{through}", gate.claim(), case.name),
                "choose a limit nearer to what the baseline does",
            );
        } else if f64::from(promoted) > FEW * f64::from(runs) {
            say(
                format!("`{}` does not see {} in time{through}", gate.claim(), case.name),
                "let a step that measures it require it, give steps more time, or larger shares",
            );
        }
    }
    warnings
}

/// What nobody watches once the candidate has all the traffic: without an answer of the baseline no score
/// compares, and a candidate that gets worse then is found by what users say or not at all.
pub fn warn_of_the_end(spec: &Spec) -> Option<Warning> {
    let all = spec.steps.last().is_some_and(|step| step.weight == WeightBp::ALL);
    let compared = |gate: &&Gate| gate.metric == Metric::Quality && gate.role != Role::DryRun;
    let said = |gate: &Gate| gate.metric == Metric::Feedback && gate.role != Role::DryRun;
    let gate = spec.gates.iter().find(compared)?;
    (all && !spec.gates.iter().any(said)).then(|| Warning {
        what: format!("`{}` is not watched once the candidate has all the traffic", gate.claim()),
        hint: "`feedback >= baseline - 3 pp (signal)` goes on there; errors, times and speed do anyway"
            .to_owned(),
    })
}

/// How a claim is missed.
fn falls_short(gate: &Gate, room: Option<f64>) -> String {
    let by = room.unwrap_or(0.0).abs();
    match gate.test {
        Test::RatioAtLeast { ratio } => {
            let true_ratio = 100.0 * (ratio + room.unwrap_or(0.0));
            format!("the candidate truly keeps {true_ratio:.1} % of {}", word(gate))
        }
        Test::WorseByLessThan { .. } | Test::FractionAtMost { .. } => {
            format!("it is truly missed by {:.2} pp", 100.0 * by)
        }
        Test::QuantileWithin { .. } => {
            format!("{:.2} % too many requests are beyond the limit", 100.0 * by)
        }
        _ => format!("it is truly missed by {by:.3}"),
    }
}

fn word(gate: &Gate) -> &'static str {
    if gate.metric == Metric::Quality { "the baseline's quality" } else { "the baseline's" }
}

/// A good candidate that is not promoted for want of data.
fn slow(spec: &Spec, traffic: &Traffic, outcome: &Outcome, say: &mut impl FnMut(String, &str)) {
    let promoted = f64::from(outcome.promoted) / f64::from(outcome.runs);
    if promoted >= FEW {
        return;
    }
    let requests = quantile(&outcome.requests, 0.5).unwrap_or(0);
    let place = outcome.held_in.iter().max_by_key(|(_, n)| **n).and_then(|(step, _)| {
        let step = spec.steps.get(usize::from(*step))?;
        let max = step
            .max_duration
            .map_or_else(String::new, |max| format!(", which lasts at most {}", Span(max)));
        Some(format!("; most stay in {:?}{max}", step.name))
    });
    say(
        format!(
            "too little traffic: only {:.0} % of good candidates are promoted within {} at {} requests \
             per minute (half of the runs saw {requests}){}",
            100.0 * promoted,
            Span(outcome.horizon),
            traffic.requests_per_minute,
            place.unwrap_or_default()
        ),
        "prove quality on more shadow copies, use larger shares or wider margins, or give the step \
         more time",
    );
    if let Some(units) = traffic.units {
        let pairs_a_day = f64::from(units) * 86_400_000.0 / spec.pair_window.0.max(1) as f64;
        if pairs_a_day < 500.0 {
            say(
                format!(
                    "{units} units give at most {pairs_a_day:.0} scored pairs a day: one each in {}",
                    Span(spec.pair_window)
                ),
                "name a smaller unit (session, document), or give the shadow step more days",
            );
        }
    }
}

/// Gates that are measured on streams, where none come.
fn no_streams(spec: &Spec, traffic: &Traffic, say: &mut impl FnMut(String, &str)) {
    let mut known = spec.clone();
    known.sources.streams = Some(traffic.streams > 0.0);
    for problem in lint(&known) {
        if problem.why.contains("stream") {
            say(format!("{}: {}", problem.path, problem.why), &problem.fix);
        }
    }
}

/// Nothing that could stop a bad candidate.
fn cannot_fail(spec: &Spec, outcome: &Outcome, say: &mut impl FnMut(String, &str)) {
    if !spec.gates.iter().any(|gate| gate.role == Role::Required) {
        say(
            "no gate is required: every candidate is promoted that does no harm in time".to_owned(),
            "let quality and errors be required",
        );
    }
    let asked = |gate: &Gate| spec.steps.iter().any(|step| step.requires.contains(&gate.id));
    for gate in spec.gates.iter().filter(|gate| gate.role == Role::Required && !asked(gate)) {
        say(
            format!(
                "no step requires `{}`: a candidate is promoted without its proof",
                gate.claim()
            ),
            "let a step before 100% require it",
        );
    }
    if spec.on_inconclusive == OnInconclusive::Advance {
        say(
            "what is not proved in time advances (`on_inconclusive = \"advance\"`): waiting is enough"
                .to_owned(),
            "hold, and let a person decide",
        );
    }
    let longest = |step: &cutover_rollout::Step| step.max_duration.unwrap_or(Millis(0));
    if spec.steps.iter().any(|step| longest(step) > outcome.horizon) {
        say(
            format!("a step may last longer than the {} simulated", Span(outcome.horizon)),
            "simulate a longer time to see its end",
        );
    }
    let false_promoted = outcome.rate(outcome.false_promoted).0;
    if outcome.runs >= 100 && false_promoted > 2.0 * spec.levels.promote {
        say(
            format!(
                "a candidate that does not deserve it is promoted in {:.1} % of runs",
                100.0 * false_promoted
            ),
            "the gates do not see what is wrong with it: a gate, a scorer or a sticky unit is missing",
        );
    }
}

#[cfg(test)]
mod tests;
