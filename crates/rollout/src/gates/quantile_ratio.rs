//! A quantile of the candidate's times or speeds is worse than the baseline's by at most a factor.

use super::{Data, Row, no_pair};
use crate::process::Process;
use crate::spec::{Metric, Role, Test};

pub(super) const ROW: Row = Row {
    name: "Time and speed, ratio",
    grammar: "pN <= RATIO x baseline, pN first token <= RATIO x baseline, \
              pN tokens/s >= RATIO x baseline",
    example: "p95 <= 1.25 x baseline",
    data: Data::Live,
    needs_baseline: true,
    default_role: Role::Required,
    test: "Confidence sequences of both arms' quantiles, by ranks, within the present step. Passes when \
           the candidate's upper end is at most RATIO times the baseline's lower end, fails when its \
           lower end is above RATIO times the baseline's upper end. Values are kept in buckets 1.6 % \
           wide and read from the far end. Conservative.",
    source: "E4 quantile confidence sequence: Howard & Ramdas, arXiv 1906.09712",
    assumes: "units assigned by chance, once per unit window, independent of each other. A failed \
              request never came: it is slower than any value. Where the candidate has everything it is \
              held against the worst that the baseline's quantile may have been in the last comparison, \
              which knows only the hours of that step.",
    expected: "scaled from the simulated median, 750 units of the candidate at equal quantiles and a \
               factor of 1.25",
    suits: |gate| {
        matches!(gate.metric, Metric::Duration | Metric::FirstToken | Metric::TokenRate)
            && matches!(gate.test, Test::QuantileRatioAtMost { .. })
    },
    open: |_| Ok(Process::Quantiles(Box::default())),
    pair: no_pair,
};
