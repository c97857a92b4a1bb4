//! The candidate fails at most so many percentage points more often.

use super::{Data, KELLY, Row};
use crate::process::{Margin, Process};
use crate::spec::{Metric, Role, Test};

pub(super) const ROW: Row = Row {
    name: "Errors, margin",
    grammar: "errors <= baseline + N pp",
    example: "errors <= baseline + 0.5 pp",
    data: Data::LiveAndPairs,
    needs_baseline: true,
    default_role: Role::Required,
    test: "A live unit bets by inverse propensity: z = failed / w for the candidate, -failed / (1 - w) \
           for the baseline, w the share in force; a pair bets the difference of its two sides. Passes \
           on proof that the excess is below the margin, fails on proof that it is above. Live units \
           and pairs multiply into one process. Where the candidate has everything, its rate is held \
           against three times the most that the baseline's may have been, and the margin.",
    source: "E1 betting e-process with inverse propensity weights: Waudby-Smith & Ramdas, arXiv \
             2010.09686; Horvitz & Thompson 1952",
    assumes: "units assigned by chance, once per unit window, with the share that was in force. A \
              candidate's request that the baseline answered counts as the candidate's failure, \
              unless the rollout has a `fallback` gate: then it is judged there and only there.",
    expected: KELLY,
    suits: |gate| {
        gate.metric == Metric::Errors && matches!(gate.test, Test::WorseByLessThan { .. })
    },
    open: |_| Ok(Process::Margin(Box::new(Margin::new()))),
    pair: |pair| {
        let failed = |failed: bool| f64::from(u8::from(failed));
        Some((failed(pair.candidate.served.failed), failed(pair.baseline.served.failed)))
    },
};
