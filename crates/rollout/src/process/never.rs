//! An invariant: one breach is proof.

use serde::{Deserialize, Serialize};

use super::Reading;
use crate::report::Verdict;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Never {
    seen: u64,
    breaches: u64,
}

impl Never {
    pub(crate) fn observe(&mut self, breach: bool) {
        self.seen += 1;
        self.breaches += u64::from(breach);
    }

    pub(crate) fn reading(self) -> Reading {
        let decided = match (self.seen, self.breaches) {
            (0, _) => Verdict::NoData,
            (_, 0) => Verdict::Pass,
            _ => Verdict::Fail,
        };
        Reading {
            estimate: (self.seen > 0).then_some(self.breaches as f64),
            threshold: 0.0,
            unit: "breaches",
            n: self.seen,
            n_expected: Some(1),
            decided: Some(decided),
            note: format!("{} of {} requests seen where they may not be", self.breaches, self.seen),
            ..Reading::default()
        }
    }
}
