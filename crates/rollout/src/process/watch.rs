//! Harm while the candidate has everything: there is no other arm to compare with, so units are held
//! against a limit that was frozen when the last comparison ended.
//!
//! Before promotion this is a harm process of its step like any other. After promotion a
//! Shiryaev-Roberts detector listens for ever, one step per tick; its run length is in ticks. A frozen
//! limit does not know what the baseline would do today: an outage that would have hit both arms counts
//! against the candidate.

use cutover_stats::{Detector, Direction};
use serde::{Deserialize, Serialize};

use super::fraction::{BETS, Fraction, Lazy, Odds};

#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Watch {
    /// What is the most that may happen; none: nothing is known to hold it against.
    #[serde(with = "crate::exact::option")]
    limit: Option<f64>,
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

    pub(crate) fn log_e(&self) -> f64 {
        self.harm.log_e()
    }

    /// Evidence that harm has begun at some time since the promotion; none before the first tick.
    pub(crate) fn alarm(&self) -> Option<f64> {
        (self.detector.observations() > 0).then(|| self.detector.log_statistic())
    }
}
