//! Counts from which any claim's evidence is recomputed, and confidence sequences by bisection.
//!
//! A [`Betting`](crate::Betting) process tests one margin. An interval needs all margins: it is the set
//! that is not rejected. That takes the observations themselves, so they are kept as counts of the few
//! values that occur: pairs of scores in percent, or events per arm and share of traffic. For every
//! claim here the wealth of each bet is monotone in the tested number (the bets scale with the floor),
//! so the set is an interval and bisection finds its ends exactly.
//!
//! Each side of an interval runs at its own alpha: `Alpha::shared_by(2)` gives the usual two-sided
//! level. The interval is valid at every look. A verdict read off it agrees with the process of the
//! same claim. Assumptions and failure modes are those of [`betting`](crate::betting) and
//! [`ratio`](crate::ratio).

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::betting::Betting;
use crate::claims::{CanaryClaim, Direction, PairClaim};
use crate::level::{Alpha, Arm, Count, Interval, Invalid, LogE, Share, check};
use crate::ratio::{RateRatio, RatioClaim};
use crate::special::bisect;

/// Ratios are searched between e^-12 and e^12; beyond them an end counts as without bound.
const LN_RATIO_MAX: f64 = 12.0;

/// So many pairs wait at least before they are put in order.
const RECENT_MIN: usize = 64;

/// A score in percent, 0 to 100. Scores are defined to this resolution, so that counts are exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub struct Score(u8);

impl Score {
    /// The score of a check that failed.
    pub const FAIL: Self = Self(0);
    /// The score of a check that passed.
    pub const PASS: Self = Self(100);

    /// A score in percent.
    pub fn from_percent(percent: u8) -> Result<Self, Invalid> {
        check("score in percent", f64::from(percent), percent <= 100)?;
        Ok(Self(percent))
    }

    /// The score between 0 and 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 100.0
    }
}

impl TryFrom<u8> for Score {
    type Error = Invalid;

    fn try_from(percent: u8) -> Result<Self, Invalid> {
        Self::from_percent(percent)
    }
}

impl From<Score> for u8 {
    fn from(score: Score) -> Self {
        score.0
    }
}

/// The two scores of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Pair {
    /// The candidate's score.
    pub candidate: Score,
    /// The baseline's score.
    pub baseline: Score,
}

/// How often each pair of scores occurred; at most 10,201 cells.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(from = "Vec<(Pair, u64)>", into = "Vec<(Pair, u64)>")]
pub struct PairTally {
    /// In order, each pair of scores once.
    cells: Vec<(Pair, u64)>,
    /// What came since, in no order: looking for its cell each time costs more than sorting it now and
    /// then. Whoever reads sees cells alone.
    recent: Vec<(Pair, u64)>,
}

/// The same counts, whenever they were put in order.
impl PartialEq for PairTally {
    fn eq(&self, other: &Self) -> bool {
        self.cells() == other.cells()
    }
}

impl Eq for PairTally {}

impl PairTally {
    /// Counts so many such pairs.
    pub fn add(&mut self, pair: Pair, times: u64) {
        match self.recent.last_mut() {
            Some((last, so_often)) if *last == pair => *so_often += times,
            _ => self.recent.push((pair, times)),
        }
        if self.recent.len() > RECENT_MIN.max(self.cells.len() / 2) {
            self.settle();
        }
    }

    /// Adds the counts of other pairs.
    pub fn merge(&mut self, other: &Self) {
        for (pair, times) in &*other.cells() {
            self.add(*pair, *times);
        }
    }

    /// Puts what came in order. Nothing is read differently afterwards, only faster.
    pub fn settle(&mut self) {
        if !self.recent.is_empty() {
            self.cells = self.cells().into_owned();
            self.recent.clear();
        }
    }

    /// In order, each pair of scores once.
    fn cells(&self) -> Cow<'_, [(Pair, u64)]> {
        if self.recent.is_empty() {
            return Cow::Borrowed(&self.cells);
        }
        let mut all = [&*self.cells, &*self.recent].concat();
        // Both parts are sorted or short: this sort finds runs.
        all.sort_by_key(|(pair, _)| *pair);
        all.dedup_by(|(pair, times), (kept, sum)| {
            let same = pair == kept;
            *sum += if same { *times } else { 0 };
            same
        });
        Cow::Owned(all)
    }

    /// All pairs so far.
    pub fn pairs(&self) -> u64 {
        self.cells.iter().chain(&self.recent).map(|(_, times)| times).sum()
    }

    /// Mean scores of candidate and baseline, or `None` before the first pair.
    pub fn means(&self) -> Option<(f64, f64)> {
        let cells = self.cells();
        let sum = |score: fn(&Pair) -> Score| {
            cells.iter().map(|(pair, n)| score(pair).fraction() * *n as f64).sum::<f64>()
        };
        let n = self.pairs() as f64;
        (n > 0.0).then(|| (sum(|p| p.candidate) / n, sum(|p| p.baseline) / n))
    }

    /// The evidence for a claim.
    pub fn log_e(&self, claim: PairClaim) -> Result<LogE, Invalid> {
        self.evidence(claim.checked()?)
    }

    /// Without the check of the claim's number, which an interval searches far beyond what is claimed.
    fn evidence(&self, claim: PairClaim) -> Result<LogE, Invalid> {
        let stake = |(pair, times): &(Pair, u64)| {
            Ok((claim.stake(pair.candidate.fraction(), pair.baseline.fraction())?, *times))
        };
        let stakes = self.cells().iter().map(stake).collect::<Result<Vec<_>, Invalid>>()?;
        let mut process = Betting::default();
        process.observe_all(&stakes)?;
        Ok(process.log_e())
    }

    /// Confidence sequence for candidate's mean / baseline's mean, `alpha` on each side.
    pub fn ratio_interval(&self, alpha: Alpha) -> Interval {
        let proved = |claim| self.evidence(claim).is_ok_and(|log_e| log_e.proves_at(alpha));
        ratio_ends(
            |ratio| proved(PairClaim::Retains(ratio)),
            |ratio| proved(PairClaim::FallsShortOf(ratio)),
        )
    }

    /// Confidence sequence for candidate's mean - baseline's mean, `alpha` on each side.
    pub fn difference_interval(&self, alpha: Alpha) -> Interval {
        let proved = |claim| self.evidence(claim).is_ok_and(|log_e| log_e.proves_at(alpha));
        Interval {
            low: bisect(-1.0, 1.0, |margin| proved(PairClaim::ExcessAbove(margin))),
            high: bisect(-1.0, 1.0, |margin| !proved(PairClaim::ExcessBelow(margin))),
        }
    }
}

impl From<Vec<(Pair, u64)>> for PairTally {
    fn from(cells: Vec<(Pair, u64)>) -> Self {
        let mut tally = Self::default();
        for (pair, times) in cells {
            tally.add(pair, times);
        }
        tally.settle();
        tally
    }
}

impl From<PairTally> for Vec<(Pair, u64)> {
    fn from(tally: PairTally) -> Self {
        tally.cells().into_owned()
    }
}

/// What one share of traffic saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmCounts {
    /// Events among the candidate's units.
    pub candidate: Count,
    /// Events among the baseline's units.
    pub baseline: Count,
}

impl ArmCounts {
    /// The counts of an arm.
    pub fn of(&self, arm: Arm) -> Count {
        match arm {
            Arm::Candidate => self.candidate,
            Arm::Baseline => self.baseline,
        }
    }
}

/// Events of randomised traffic per share of traffic and arm: an error yes or no for each unit.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Share, ArmCounts)>", into = "Vec<(Share, ArmCounts)>")]
pub struct CanaryTally {
    by_share: BTreeMap<Share, ArmCounts>,
}

impl CanaryTally {
    /// Adds an arm's counts under one share of traffic.
    pub fn add(&mut self, arm: Arm, share: Share, count: Count) {
        let counts = self.by_share.entry(share).or_default();
        let into = match arm {
            Arm::Candidate => &mut counts.candidate,
            Arm::Baseline => &mut counts.baseline,
        };
        into.hits += count.hits;
        into.trials += count.trials;
    }

    /// Adds the counts of other units.
    pub fn merge(&mut self, other: &Self) {
        for (share, counts) in &other.by_share {
            self.add(Arm::Candidate, *share, counts.candidate);
            self.add(Arm::Baseline, *share, counts.baseline);
        }
    }

    /// The counts under each share of traffic: the strata of a report.
    pub fn strata(&self) -> impl Iterator<Item = (Share, ArmCounts)> + '_ {
        self.by_share.iter().map(|(share, counts)| (*share, *counts))
    }

    /// The evidence for a claim about the difference of the two event rates.
    pub fn excess_log_e(&self, claim: CanaryClaim) -> Result<LogE, Invalid> {
        let claim = claim.checked()?;
        let mut stakes = Vec::with_capacity(4 * self.by_share.len());
        for (share, counts) in &self.by_share {
            for arm in [Arm::Candidate, Arm::Baseline] {
                let count = counts.of(arm);
                let stake = |x| claim.stake(arm, *share, x);
                stakes.extend([(stake(1.0)?, count.hits), (stake(0.0)?, count.misses())]);
            }
        }
        let mut process = Betting::default();
        process.observe_all(&stakes)?;
        Ok(process.log_e())
    }

    /// Confidence sequence for candidate's rate - baseline's rate, `alpha` on each side.
    pub fn excess_interval(&self, alpha: Alpha) -> Interval {
        // Margins at the very ends of the range are refused; they are not proved either.
        let proved = |direction, margin| {
            self.excess_log_e(CanaryClaim { direction, margin })
                .is_ok_and(|log_e| log_e.proves_at(alpha))
        };
        Interval {
            low: bisect(-1.0, 1.0, |margin| proved(Direction::Above, margin)),
            high: bisect(-1.0, 1.0, |margin| !proved(Direction::Below, margin)),
        }
    }

    /// The evidence for a claim about the ratio of the two event rates.
    pub fn ratio_log_e(&self, claim: RatioClaim) -> LogE {
        let mut process = RateRatio::new(claim);
        for (share, counts) in &self.by_share {
            process.observe_many(Arm::Candidate, *share, counts.candidate.hits);
            process.observe_many(Arm::Baseline, *share, counts.baseline.hits);
        }
        process.log_e()
    }

    /// Confidence sequence for candidate's rate / baseline's rate, `alpha` on each side.
    pub fn ratio_interval(&self, alpha: Alpha) -> Interval {
        let proved = |direction, ratio| {
            RatioClaim::new(direction, ratio)
                .is_ok_and(|claim| self.ratio_log_e(claim).proves_at(alpha))
        };
        ratio_ends(|ratio| proved(Direction::Above, ratio), |ratio| proved(Direction::Below, ratio))
    }
}

impl From<Vec<(Share, ArmCounts)>> for CanaryTally {
    fn from(strata: Vec<(Share, ArmCounts)>) -> Self {
        let mut tally = Self::default();
        for (share, counts) in strata {
            tally.add(Arm::Candidate, share, counts.candidate);
            tally.add(Arm::Baseline, share, counts.baseline);
        }
        tally
    }
}

impl From<CanaryTally> for Vec<(Share, ArmCounts)> {
    fn from(tally: CanaryTally) -> Self {
        tally.by_share.into_iter().collect()
    }
}

/// The ratios that are proved neither too low nor too high. `above` holds up to some ratio, `below`
/// from some ratio on.
fn ratio_ends(above: impl Fn(f64) -> bool, below: impl Fn(f64) -> bool) -> Interval {
    let end = |holds_left: &dyn Fn(f64) -> bool| {
        bisect(-LN_RATIO_MAX, LN_RATIO_MAX, |ln_ratio| holds_left(ln_ratio.exp())).exp()
    };
    let (least, most) = ((-LN_RATIO_MAX).exp(), LN_RATIO_MAX.exp());
    Interval {
        low: if above(least) { end(&above) } else { 0.0 },
        high: if below(most) { end(&|ratio| !below(ratio)) } else { f64::INFINITY },
    }
}

#[cfg(test)]
mod tests;
