//! Waiting for a condition, bounded, with a message that says what never came.
//!
//! Tests never sleep for a guessed time: they wait until something is true. The asynchronous form
//! pauses on a blocking thread, so it also works where tokio's clock is paused (a paused clock does
//! not run ahead while a blocking task is under way).

use std::time::{Duration, Instant};

/// How long a condition may take before the test fails. Far above what any of them needs, so that a
/// busy two-core machine does not fail a test, and far below a test runner's own limit.
pub const PATIENCE: Duration = Duration::from_secs(30);
const STEP: Duration = Duration::from_millis(2);

/// Blocks until `holds` returns true; panics with `what` after [`PATIENCE`].
pub fn until(what: &str, mut holds: impl FnMut() -> bool) {
    until_within(PATIENCE, what, || holds().then_some(()));
}

/// Blocks until `found` returns something; panics with `what` after `patience`. For what takes long by
/// its nature, such as a model at work.
pub fn until_within<T>(patience: Duration, what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < patience, "waited {patience:?} in vain for: {what}");
        std::thread::sleep(STEP);
    }
}

/// Like [`until`], without blocking the runtime's thread.
pub async fn until_async(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain for: {what}");
        // A failed join can only mean that the runtime is going away, and this future with it.
        let _ = tokio::task::spawn_blocking(|| std::thread::sleep(STEP)).await;
    }
}
