//! How many lines of one event are written in a window.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use cutover_units::Millis;

/// Lines of one event that are written within a [`WINDOW`] before the rest is only counted: enough
/// to read what goes wrong, too few to fill a disk while an upstream is down.
pub(super) const BURST: u32 = 20;

/// The window of [`BURST`].
pub(super) const WINDOW: Millis = Millis(1_000);

/// A wrong key is tried again by machines for days: one line a window says enough.
pub(super) const AUTH_BURST: u32 = 1;

/// The window of [`AUTH_BURST`].
pub(super) const AUTH_WINDOW: Millis = Millis(10_000);

/// Counts an event's lines in a window. Lock-free; a race at the turn of a window may let a line too
/// many through, never lose a count.
#[derive(Debug, Default)]
pub(super) struct LogLimit {
    window: AtomicU64,
    written: AtomicU32,
    left_out: AtomicU64,
}

impl LogLimit {
    /// Whether a line may be written now, and how many were left out since the last one.
    pub(super) fn admit(&self, now: Millis, burst: u32, window: Millis) -> Option<u64> {
        let current = now.0 / window.0;
        let seen = self.window.load(Ordering::Relaxed);
        let turned = seen != current
            && self
                .window
                .compare_exchange(seen, current, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if turned {
            self.written.store(0, Ordering::Relaxed);
        }
        if self.written.fetch_add(1, Ordering::Relaxed) < burst {
            return Some(self.left_out.swap(0, Ordering::Relaxed));
        }
        // Held at the burst so that it never wraps round.
        self.written.store(burst, Ordering::Relaxed);
        self.left_out.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// The limits of all events that have one.
#[derive(Debug, Default)]
pub(crate) struct LogLimits {
    pub(super) request_failed: LogLimit,
    pub(super) attempt_failed: LogLimit,
    pub(super) failed_over: LogLimit,
    pub(super) slow_request: LogLimit,
    pub(super) loss_reported: LogLimit,
    pub(super) stream_interrupted: LogLimit,
    pub(super) rollout_unsaved: LogLimit,
    pub(super) pair_unscored: LogLimit,
    pub(super) webhook_failed: LogLimit,
    pub(super) auth_failed: LogLimit,
    pub(super) limit_hit: LogLimit,
    pub(super) store_failed: LogLimit,
}
