//! The table of the guide: every policy under every truth.

use std::fmt::Write as _;

use cutover_units::Millis;

use super::{PEERS, simulate_peer};
use crate::sim::outcome::{Outcome, quantile};
use crate::sim::traffic::Traffic;
use crate::sim::trial::{Trial, simulate};
use crate::sim::truth::Truth;
use crate::spec::Spec;

/// What each policy has to face: in words, and as truth.
pub const COMPARED: [(&str, &str); 8] = [
    ("equal arms, 0.3 % errors", ""),
    ("equal arms, 0.8 % errors that swing over the day", "baseline_errors=0.8%,drift=90%"),
    ("quality 5 pp lower (0.92 to 0.87)", "quality=-5pp"),
    ("quality 10 pp lower (0.92 to 0.82)", "quality=-10pp"),
    ("errors 0.8 % to 2.4 %", "baseline_errors=0.8%,errors=3x"),
    ("p95 from 3.2 s to 4.8 s", "baseline_p95=3200ms,p95=1.5x"),
    ("errors 0.3 % to 5 %, from the third hour on", "errors=5%,onset=3h"),
    ("one user with a tenth of the traffic fails in 30 %", "heavy=10%,heavy_errors=30%"),
];

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

/// Runs our spec and every peer under one of the truths, on the same requests.
pub fn compare(
    spec: &Spec,
    traffic: &Traffic,
    (name, truth): (&'static str, &str),
    runs: u32,
) -> Vec<Compared> {
    let Ok(truth) = Truth::parse(truth) else { return Vec::new() };
    let trial = Trial { horizon: HORIZON, ..Trial::new(*traffic, truth, runs) };
    let own = Compared { truth: name, policy: "cutover", outcome: simulate(spec, &trial) };
    let peers = PEERS.iter().map(|peer| Compared {
        truth: name,
        policy: peer.name,
        outcome: simulate_peer(peer, spec, &trial),
    });
    std::iter::once(own).chain(peers).collect()
}

/// The table as markdown.
pub fn table(rows: &[Compared]) -> String {
    let mut out = String::from(
        "| truth | policy | promoted | rolled back | held | false promote | false rollback | excess bad \
         answers | decided in |\n|---|---|--:|--:|--:|--:|--:|--:|--:|\n",
    );
    let mut last = "";
    for Compared { truth, policy, outcome } in rows {
        let percent = |count: u32| format!("{:.0} %", 100.0 * outcome.rate(count).0);
        let named = if *truth == last { "" } else { truth };
        last = truth;
        let bad = outcome.excess_bad.iter().sum::<f64>() / f64::from(outcome.runs.max(1));
        let _ = writeln!(
            out,
            "| {named} | {policy} | {} | {} | {} | {} | {} | {:.0} | {} |",
            percent(outcome.promoted),
            percent(outcome.rolled_back),
            percent(outcome.held),
            percent(outcome.false_promoted),
            percent(outcome.false_rolled_back),
            bad.abs(),
            quantile(&outcome.decided_ms, 0.5).map_or_else(|| "never".to_owned(), hours),
        );
    }
    out
}

fn hours(ms: u64) -> String {
    format!("{:.1} h", ms as f64 / 3_600_000.0)
}
