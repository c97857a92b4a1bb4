//! The table of the guide: every policy under every truth.

use std::fmt::Write as _;

use cutover_units::Millis;

use super::{PEERS, simulate_peer};
use crate::outcome::{Outcome, quantile};
use crate::traffic::Traffic;
use crate::trial::{Trial, simulate};
use crate::truth::Truth;
use cutover_rollout::Spec;
use cutover_rollout::text::TextError;

/// What each policy has to face.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Faced {
    /// In words.
    pub name: &'static str,
    /// What arrives.
    pub traffic: &'static str,
    /// How the arms are.
    pub truth: &'static str,
}

const fn faced(name: &'static str, truth: &'static str) -> Faced {
    Faced { name, traffic: "20/min", truth }
}

/// The rows of the guide, each at 20 requests a minute unless it says otherwise.
pub const COMPARED: [Faced; 9] = [
    faced("equal arms, 0.3 % errors", ""),
    faced("equal arms, 0.8 % errors that swing over the day", "baseline_errors=0.8%,drift=90%"),
    faced("quality 5 pp lower (0.92 to 0.87)", "quality=-5pp"),
    faced("quality 10 pp lower (0.92 to 0.82)", "quality=-10pp"),
    Faced { name: "the same at 12 requests an hour", traffic: "0.2/min", truth: "quality=-10pp" },
    faced("errors 0.8 % to 2.4 %", "baseline_errors=0.8%,errors=3x"),
    faced("p95 from 3.2 s to 4.8 s", "baseline_p95=3200ms,p95=1.5x"),
    faced("errors 0.3 % to 5 %, from the third hour on", "errors=5%,onset=3h"),
    faced("one user with a tenth of the traffic fails in 30 %", "heavy=10%,heavy_errors=30%"),
];

/// What our own rows are called.
const OWN: &str = "cutover";

/// Four days: no policy here needs more, unless it waits for a proof that does not come.
const HORIZON: Millis = Millis(4 * 86_400_000);

/// One policy under one truth.
#[derive(Debug, Clone, PartialEq)]
pub struct Compared {
    /// The truth, in words.
    pub truth: &'static str,
    /// The policy.
    pub policy: &'static str,
    /// What came of it.
    pub outcome: Outcome,
}

impl Faced {
    fn trial(&self, runs: u32) -> Result<Trial, TextError> {
        let (traffic, truth) = (Traffic::parse(self.traffic)?, Truth::parse(self.truth)?);
        Ok(Trial { horizon: HORIZON, ..Trial::new(traffic, truth, runs) })
    }
}

/// Runs our spec and every peer against the same requests.
pub fn compare(spec: &Spec, faced: &Faced, runs: u32) -> Result<Vec<Compared>, TextError> {
    let trial = faced.trial(runs)?;
    let own = Compared { truth: faced.name, policy: OWN, outcome: simulate(spec, &trial) };
    let peers = PEERS.iter().map(|peer| Compared {
        truth: faced.name,
        policy: peer.name,
        outcome: simulate_peer(peer, spec, &trial),
    });
    Ok(std::iter::once(own).chain(peers).collect())
}

/// The table as markdown.
pub fn table(rows: &[Compared]) -> String {
    let mut out = String::from(
        "| truth | policy | promoted | rolled back | held | false promote | false rollback | bad answers \
         | decided in |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    for row in rows {
        let _ = writeln!(out, "{}", row.line());
    }
    out
}

impl Compared {
    /// Its row of the table. Bad answers are those that failed or were wrong beyond what the baseline
    /// would have given, on average over the runs, within the time simulated.
    pub fn line(&self) -> String {
        let Self { truth, policy, outcome } = self;
        let percent = |count: u32| format!("{:.0} %", 100.0 * outcome.rate(count).0);
        let runs = f64::from(outcome.runs.max(1));
        let bad = (outcome.excess_bad.iter().sum::<f64>() + outcome.lasting_bad) / runs;
        format!(
            "| {truth} | {policy} | {} | {} | {} | {} | {} | {:.0} | {} |",
            percent(outcome.promoted),
            percent(outcome.rolled_back),
            percent(outcome.held),
            percent(outcome.false_promoted),
            percent(outcome.false_rolled_back),
            bad.max(0.0),
            quantile(&outcome.decided_ms, 0.5).map_or_else(|| "never".to_owned(), hours),
        )
    }
}

fn hours(ms: u64) -> String {
    format!("{:.1} h", ms as f64 / 3_600_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUIDE: &str = include_str!("../../../../docs/guides/why-these-gates.md");

    /// As many runs as the guide says.
    const RUNS: u32 = 100;

    /// The rows that take little time; the example prints all of them.
    #[test]
    fn the_guide_shows_what_the_simulator_prints() {
        let spec = crate::example::spec().unwrap();
        let check = |faced: &Faced, policy, outcome| {
            let line = Compared { truth: faced.name, policy, outcome }.line();
            assert!(GUIDE.contains(&line), "not in the guide: {line}");
        };
        let named = |name: &str| COMPARED.iter().find(|faced| faced.name.contains(name)).unwrap();
        for faced in ["equal arms, 0.3 %", "quality 10 pp", "an hour", "errors 0.8 % to"].map(named)
        {
            let trial = faced.trial(RUNS).unwrap();
            for peer in &PEERS[..3] {
                check(faced, peer.name, simulate_peer(peer, &spec, &trial));
            }
        }
        for faced in ["quality 10 pp", "an hour"].map(named) {
            check(faced, OWN, simulate(&spec, &faced.trial(RUNS).unwrap()));
        }
    }
}
