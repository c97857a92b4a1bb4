//! Outcomes for a terminal: what was asked, how it ended, how long it took, what it cost users.

use std::fmt::Write as _;

use cutover_units::Millis;

use super::outcome::{Outcome, quantile};
use super::study::Study;
use cutover_rollout::Spec;
use cutover_rollout::text::Span;

/// Marks of a bar that stands for all runs.
const BAR: usize = 30;

impl Outcome {
    /// The outcome in words and bars, without colour.
    pub fn render(&self) -> String {
        let mut out = String::new();
        let runs = self.runs;
        let _ = writeln!(out, "{runs} simulated rollouts, each up to {}", Span(self.horizon));
        for (name, count) in
            [("promoted", self.promoted), ("rolled back", self.rolled_back), ("held", self.held)]
        {
            let _ = writeln!(out, "  {name:<12} {} {}", bar(count, runs), self.share(count));
        }
        let _ = writeln!(out, "  {:<12} {}", "falsely", self.falsely());
        if self.unproved > 0 {
            let _ =
                writeln!(out, "  {:<12} {} promoted over a step without proof", "", self.unproved);
        }
        let decided = self.decided_ms.len();
        let _ = write!(out, "  {:<12} {}", "decision in", spans(&self.decided_ms));
        let all = usize::try_from(runs).is_ok_and(|runs| decided == runs);
        let _ = if decided == 0 || all {
            writeln!(out)
        } else {
            writeln!(out, ", of the {decided} that decided")
        };
        let _ = writeln!(out, "  {:<12} {}", "requests", counts(&self.requests));
        let _ = writeln!(out, "  {:<12} {}", "of candidate", counts(&self.candidate_requests));
        let _ = writeln!(out, "  {:<12} {}", "excess bad", bads(&self.excess_bad));
        self.render_steps(&mut out);
        self.render_causes(&mut out);
        out
    }

    fn render_steps(&self, out: &mut String) {
        for (step, (name, times)) in self.steps.iter().enumerate() {
            let key = u16::try_from(step).unwrap_or(u16::MAX);
            let held =
                self.held_in.get(&key).map_or_else(String::new, |n| format!(", {n} held here"));
            let _ = writeln!(
                out,
                "  step {name:<14} left by {:>5}  {}{held}",
                times.len(),
                spans(times)
            );
        }
    }

    fn render_causes(&self, out: &mut String) {
        let mut causes: Vec<_> = self.causes.iter().collect();
        causes.sort_by_key(|(why, n)| (std::cmp::Reverse(**n), why.as_str()));
        for (why, n) in causes {
            let _ = writeln!(out, "  because of   {why}: {n}");
        }
    }

    /// False decisions with their rates.
    fn falsely(&self) -> String {
        format!(
            "promoted {}, rolled back {}",
            self.share(self.false_promoted),
            self.share(self.false_rolled_back)
        )
    }

    fn share(&self, count: u32) -> String {
        let (rate, interval) = self.rate(count);
        let percent = |value: f64| 100.0 * value;
        format!(
            "{:>5.1} % [{:.1}, {:.1}]",
            percent(rate),
            percent(interval.low),
            percent(interval.high)
        )
    }
}

impl Study {
    /// The whole study: the asked truth in full, the others in a table, and the verdict on the levels.
    pub fn render(&self, spec: &Spec) -> String {
        let mut out = self.asked.outcome.render();
        let _ = writeln!(
            out,
            "\nnominal: false promotion at most {:.1} %, false rollback at most {:.1} %",
            100.0 * spec.levels.promote,
            100.0 * spec.levels.rollback
        );
        let _ = writeln!(
            out,
            "  {:<58} {:>9} {:>11} {:>8}  false promote / rollback",
            "case", "promoted", "rolled back", "held"
        );
        for case in self.cases() {
            let outcome = &case.outcome;
            let percent = |count: u32| 100.0 * outcome.rate(count).0;
            let _ = writeln!(
                out,
                "  {:<58} {:>7.1} % {:>9.1} % {:>6.1} %  {:.1} % / {:.1} %",
                case.name,
                percent(outcome.promoted),
                percent(outcome.rolled_back),
                percent(outcome.held),
                percent(outcome.false_promoted),
                percent(outcome.false_rolled_back)
            );
        }
        let (promote, rollback) = self.worst();
        let within = promote <= spec.levels.promote && rollback <= spec.levels.rollback;
        let _ = writeln!(
            out,
            "worst: false promotion {:.1} %, false rollback {:.1} %: {}",
            100.0 * promote,
            100.0 * rollback,
            if within { "at or below the nominal levels" } else { "ABOVE THE NOMINAL LEVELS" }
        );
        out
    }
}

fn bar(count: u32, runs: u32) -> String {
    let filled = (count as usize * BAR).div_ceil(runs.max(1) as usize).min(BAR);
    format!("{}{}", "#".repeat(filled), ".".repeat(BAR - filled))
}

/// Three digits of a duration are enough.
fn rough(ms: u64) -> Span {
    let to = match ms {
        0..600_000 => 30_000,
        600_000..36_000_000 => 60_000,
        _ => 3_600_000,
    };
    Span(Millis(ms.div_ceil(to) * to))
}

fn spans(sorted: &[u64]) -> String {
    match (quantile(sorted, 0.1), quantile(sorted, 0.5), quantile(sorted, 0.9)) {
        (Some(low), Some(middle), Some(high)) => {
            format!("{} (10 %: {}, 90 %: {})", rough(middle), rough(low), rough(high))
        }
        _ => "never".to_owned(),
    }
}

fn counts(sorted: &[u64]) -> String {
    let at = |p| quantile(sorted, p).unwrap_or(0);
    format!("{} (10 %: {}, 90 %: {})", at(0.5), at(0.1), at(0.9))
}

fn bads(sorted: &[f64]) -> String {
    let at = |p| quantile(sorted, p).unwrap_or(0.0);
    format!("{:.1} answers (10 %: {:.1}, 90 %: {:.1})", at(0.5), at(0.1), at(0.9))
}
