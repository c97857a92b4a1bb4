//! Harm while the candidate has everything: there is no other arm to compare with, so units are held
//! against a limit that was frozen when the last comparison ended.
//!
//! Before promotion this is a harm process of its step like any other. After promotion a
//! Shiryaev-Roberts detector listens for ever, one step per tick; its run length is in ticks. A frozen
//! limit does not know what the baseline would do today: an outage that would have hit both arms counts
//! against the candidate.

use cutover_stats::{Detector, Direction};
use serde::{Deserialize, Serialize};

use super::Reading;
use super::fraction::{BETS, Fraction, Lazy, Odds};

/// What a watch has seen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seen {
    pub limit: f64,
    pub rate: f64,
    pub units: u64,
}

impl Seen {
    /// A verdict at all the traffic is about these numbers: those of the comparison are history.
    pub(crate) fn tell(self, reading: &mut Reading) {
        reading.estimate = Some(self.rate * 100.0);
        reading.interval = None;
        reading.threshold = self.limit * 100.0;
        reading.unit = "%";
        (reading.n, reading.n_baseline) = (self.units, 0);
        (reading.n_step, reading.n_expected) = (self.units, None);
    }
}

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// What is the most that may happen; none: nothing is known to hold it against.
    #[serde(with = "crate::exact::option")]
    limit: Option<f64>,
    /// Units that were held against it, and what was bad about them.
    #[serde(default)]
    units: u64,
    #[serde(default)]
    bad: f64,
    harm: Fraction,
    tick: Fraction,
    detector: Detector<BETS>,
    #[serde(skip)]
    odds: Lazy,
}

impl Watch {
    /// A step begins in which units are held against this limit.
    pub(crate) fn begin(&mut self, limit: Option<f64>) {
        let limit = limit.filter(|limit| *limit > 0.0 && *limit < 1.0);
        *self = Self { limit, ..Self::default() };
    }

    pub(crate) fn observe(&mut self, x: f64, times: u64) {
        let limit = self.limit;
        let odds = self.odds.get(|| limit.and_then(|limit| Odds::new(Direction::Above, limit)));
        if let Some(factors) = odds.map(|odds| odds.log_factors(x)) {
            self.units += times;
            self.bad += x * times as f64;
            self.harm.add(factors, times);
            self.tick.add(factors, times);
        }
    }

    pub(crate) fn end_window(&mut self, promoted: bool) {
        let tick = std::mem::take(&mut self.tick);
        if promoted && self.limit.is_some() {
            // Sums of logarithms of positive factors are finite, so this cannot be refused.
            let taken = self.detector.observe(tick.sums());
            debug_assert!(taken.is_ok(), "finite log factors");
        }
    }

    pub(crate) fn rearm(&mut self) {
        self.detector = Detector::default();
    }

    pub(crate) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// What the units are held against, the share that was bad, and of how many; none before the first.
    pub(crate) fn seen(&self) -> Option<Seen> {
        let limit = self.limit.filter(|_| self.units > 0)?;
        Some(Seen { limit, rate: self.bad / self.units as f64, units: self.units })
    }

    pub(crate) fn log_e(&self) -> f64 {
        self.harm.log_e()
    }

    /// Evidence that harm has begun at some time since the promotion; none before the first tick.
    pub(crate) fn alarm(&self) -> Option<f64> {
        (self.detector.observations() > 0).then(|| self.detector.log_statistic())
    }
}
