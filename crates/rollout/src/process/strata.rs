//! Sums per share of traffic and arm: the strata of every estimate. Units of different shares are never
//! pooled (Simpson's paradox while a weight ramps).

use std::collections::BTreeMap;

use cutover_stats::{Alpha, Arm, ArmCounts, CanaryTally, Count, Share, stratified_difference};
use serde::{Deserialize, Serialize};

use super::{ALL, LiveUnit};
use crate::spec::Comparison;

/// Values are summed in ten-thousandths, so that sums are exact.
const ONE: u64 = 10_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub n: u64,
    sum: u64,
}

impl Cell {
    pub(crate) fn add(&mut self, x: f64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0..=10,000"
        )]
        let part = (x.clamp(0.0, 1.0) * ONE as f64).round() as u64;
        self.n += 1;
        self.sum += part;
    }

    pub(crate) fn sum(self) -> f64 {
        self.sum as f64 / ONE as f64
    }

    pub(crate) fn mean(self) -> Option<f64> {
        (self.n > 0).then(|| self.sum() / self.n as f64)
    }

    fn plus(self, other: Self) -> Self {
        Self { n: self.n + other.n, sum: self.sum + other.sum }
    }

    /// Trials of a ten-thousandth each: a difference of rates does not see the scale.
    fn scaled(self) -> Count {
        Count { hits: self.sum, trials: self.n * ONE }
    }

    fn count(self) -> Count {
        Count { hits: (self.sum / ONE).min(self.n), trials: self.n }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stratum {
    pub candidate: Cell,
    pub baseline: Cell,
    matched: Cell,
}

/// The shares and what was seen under each.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Strata {
    by_share: BTreeMap<u16, Stratum>,
    /// Units whose value was neither 0 nor 1.
    graded: u64,
}

impl Strata {
    pub(crate) fn add(&mut self, unit: &LiveUnit, x: f64) {
        let stratum = self.by_share.entry(unit.share).or_default();
        match unit.arm {
            Arm::Candidate => stratum.candidate.add(x),
            Arm::Baseline => {
                stratum.baseline.add(x);
                if unit.matched {
                    stratum.matched.add(x);
                }
            }
        }
        self.graded += u64::from(x > 0.0 && x < 1.0);
    }

    /// All units of an arm under shares that compare arms.
    pub(crate) fn total(&self) -> Stratum {
        self.compared().fold(Stratum::default(), |sum, (_, stratum)| Stratum {
            candidate: sum.candidate.plus(stratum.candidate),
            baseline: sum.baseline.plus(stratum.baseline),
            matched: sum.matched.plus(stratum.matched),
        })
    }

    fn compared(&self) -> impl Iterator<Item = (u16, Stratum)> + '_ {
        let shares = self.by_share.iter().map(|(share, stratum)| (*share, *stratum));
        shares.filter(|(share, _)| *share > 0 && *share < ALL)
    }

    /// The baseline's mean under the largest share that still had one: the freshest.
    pub(crate) fn last_baseline(&self) -> Option<f64> {
        self.compared().filter_map(|(_, stratum)| stratum.baseline.mean()).last()
    }

    /// Candidate's mean - baseline's mean within strata (Mantel-Haenszel).
    pub(crate) fn difference(&self, comparison: Comparison) -> Option<f64> {
        let counts = self.compared().map(|(_, stratum)| {
            let baseline = match comparison {
                Comparison::Matched => stratum.matched,
                Comparison::AllControl => stratum.baseline,
            };
            ArmCounts { candidate: stratum.candidate.scaled(), baseline: baseline.scaled() }
        });
        stratified_difference(counts, Alpha::FIVE_PERCENT).map(|found| found.difference)
    }

    /// Candidate's rate / baseline's rate: Mantel-Haenszel risk ratio over the strata.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let (mut above, mut below) = (0.0, 0.0);
        for (_, Stratum { candidate, baseline, .. }) in self.compared() {
            let (n, m) = (candidate.n as f64, baseline.n as f64);
            if n > 0.0 && m > 0.0 {
                above += candidate.sum() * m / (n + m);
                below += baseline.sum() * n / (n + m);
            }
        }
        (below > 0.0).then(|| above / below)
    }

    /// The counts for a confidence sequence; none where values are graded, since counts are of events.
    pub(crate) fn tally(&self) -> Option<(CanaryTally, (Share, Share))> {
        if self.graded > 0 {
            return None;
        }
        let mut tally = CanaryTally::default();
        let mut range: Option<(Share, Share)> = None;
        for (bp, stratum) in self.compared() {
            let share = Share::from_bp(bp).ok()?;
            tally.add(Arm::Candidate, share, stratum.candidate.count());
            tally.add(Arm::Baseline, share, stratum.baseline.count());
            range = Some((range.map_or(share, |(low, _)| low.min(share)), share));
        }
        Some((tally, range?))
    }
}
