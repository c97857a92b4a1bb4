//! What its peers make of an instance: one that fails more often than they do rests.

use std::sync::atomic::Ordering::Relaxed;

use cutover_route::health::{Tally, lasts};
use cutover_units::Millis;

use super::Health;

/// How long an outlier rests for each time in a row that it is one: Envoy's base ejection time.
const EJECTION_MS: u64 = 30_000;
/// The longest.
const EJECTION_MAX_MS: u64 = 300_000;

impl Health {
    /// Whether it rests because it failed more often than its peers.
    pub fn is_outlier(&self, now: Millis) -> bool {
        lasts(Millis(self.ejected_until.load(Relaxed)), EJECTION_MAX_MS, now)
    }

    /// What became of its requests since this was asked last.
    pub fn take_tally(&self) -> Tally {
        Tally { ok: self.ok.swap(0, Relaxed), failed: self.failed.swap(0, Relaxed) }
    }

    /// Whether it was an outlier in the while that ended now.
    pub fn judged_by_peers(&self, is_outlier: bool, now: Millis) {
        if !is_outlier {
            // One good while forgives one bad one.
            let fewer = self.ejections.load(Relaxed).saturating_sub(1);
            self.ejections.store(fewer, Relaxed);
            return;
        }
        let times = self.ejections.fetch_add(1, Relaxed).saturating_add(1);
        let rest_ms = (EJECTION_MS * u64::from(times)).min(EJECTION_MAX_MS);
        self.ejected_until.store(now.0.saturating_add(rest_ms), Relaxed);
        self.post.doubt();
    }
}
