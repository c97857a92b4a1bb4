//! Sums per share of traffic and arm: the strata of every estimate. Units of different shares are never
//! pooled (Simpson's paradox while a weight ramps).

use std::collections::BTreeMap;

use cutover_stats::{Arm, CanaryTally, Count, Share};
use serde::{Deserialize, Serialize};

use super::{ALL, Class};
use crate::spec::Comparison;

/// How far rates of errors swing over a day: times the remembered one.
pub(crate) const SWING: f64 = 3.0;

/// Values are summed in ten-thousandths, so that sums are exact.
const ONE: u64 = 10_000;

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub n: u64,
    sum: u64,
}

impl Cell {
    pub(crate) fn add(&mut self, x: f64, times: u64) {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "clamped to 0..=10,000"
        )]
        let part = (x.clamp(0.0, 1.0) * ONE as f64).round() as u64;
        self.n += times;
        self.sum += part * times;
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
    /// Adds so many units of a class with this value.
    pub(crate) fn add(&mut self, class: Class, x: f64, times: u64) {
        let stratum = self.by_share.entry(class.share).or_default();
        match class.arm {
            Arm::Candidate => stratum.candidate.add(x, times),
            Arm::Baseline => {
                stratum.baseline.add(x, times);
                if class.matched {
                    stratum.matched.add(x, times);
                }
            }
        }
        self.graded += if x > 0.0 && x < 1.0 { times } else { 0 };
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

    /// The most that the baseline's mean may be while nothing of it is seen: so many times the highest
    /// that it may have been under any share so far (mean and three standard errors). A remembered rate
    /// knows neither its own error nor the time of day: held against the last mean itself, half of all
    /// equal candidates were rolled back where errors swung over the day.
    pub(crate) fn remembered_baseline(&self, swing: f64) -> Option<f64> {
        const UNITS_MIN: u64 = 100;
        let highest = |cell: Cell| {
            let mean = cell.mean()?;
            let n = cell.n as f64;
            // One imagined event keeps the error of a rate of nothing from being nothing.
            let error = ((mean + 1.0 / n) / n).sqrt();
            (cell.n >= UNITS_MIN).then_some(mean + 3.0 * error)
        };
        let seen = self.by_share.values().filter_map(|stratum| highest(stratum.baseline));
        seen.reduce(f64::max).map(|rate| swing * rate)
    }

    /// Candidate's mean - baseline's mean within strata: `stats::stratified_difference` without its
    /// fixed-n interval, which nobody asks for at every tick, and for graded values too.
    pub(crate) fn difference(&self, comparison: Comparison) -> Option<f64> {
        let (mut total, mut weighted) = (0.0, 0.0);
        for (_, stratum) in self.compared() {
            let other = match comparison {
                Comparison::Matched => stratum.matched,
                Comparison::AllControl => stratum.baseline,
            };
            let (Some(p), Some(q)) = (stratum.candidate.mean(), other.mean()) else { continue };
            let (n, m) = (stratum.candidate.n as f64, other.n as f64);
            let weight = n * m / (n + m);
            total += weight;
            weighted += weight * (p - q);
        }
        (total > 0.0).then(|| weighted / total)
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

#[cfg(test)]
mod tests {
    use super::*;
    use cutover_stats::{Alpha, ArmCounts, stratified_difference};

    #[test]
    fn the_difference_is_the_stratified_one() {
        let mut strata = Strata::default();
        for i in 0..2_000u64 {
            let seed = crate::testing::mix(i);
            let share = if i < 1_500 { 1_000 } else { 5_000 };
            let arm = if seed % 10_000 < u64::from(share) { Arm::Candidate } else { Arm::Baseline };
            let class = Class { arm, share, in_step: true, matched: true };
            strata.add(class, f64::from(u8::from(seed.is_multiple_of(20))), 1);
        }
        let counts = strata.compared().map(|(_, stratum)| ArmCounts {
            candidate: stratum.candidate.count(),
            baseline: stratum.baseline.count(),
        });
        let reference = stratified_difference(counts, Alpha::FIVE_PERCENT).unwrap().difference;
        for comparison in [Comparison::Matched, Comparison::AllControl] {
            let own = strata.difference(comparison).unwrap();
            assert!((own - reference).abs() < 1e-12, "{own} {reference}");
        }
    }
}
