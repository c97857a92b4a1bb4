//! A gate that the test opens: how a scripted upstream waits without a clock.

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::wait;

/// Cloneable; all clones are the same gate. Starts closed.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    permits: u64,
    open: bool,
    arrivals: u64,
}

impl Gate {
    /// A closed gate.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets `count` more pass.
    pub fn release(&self, count: u64) {
        self.state().permits += count;
        self.0.changed.notify_all();
    }

    /// Lets everyone pass from now on.
    pub fn open(&self) {
        self.state().open = true;
        self.0.changed.notify_all();
    }

    /// How many have come to this gate so far, whether they passed or not.
    pub fn arrivals(&self) -> u64 {
        self.state().arrivals
    }

    /// Waits until `count` have come to the gate.
    pub async fn arrived(&self, count: u64) {
        wait::until_async("someone at the gate", || self.arrivals() >= count).await;
    }

    /// Waits for a permit. False when `gone` became true before one came.
    pub(crate) fn pass(&self, mut gone: impl FnMut() -> bool) -> bool {
        let mut state = self.state();
        state.arrivals += 1;
        loop {
            if state.open {
                return true;
            }
            if let Some(left) = state.permits.checked_sub(1) {
                state.permits = left;
                return true;
            }
            if gone() {
                return false;
            }
            let wait = self.0.changed.wait_timeout(state, Duration::from_millis(5));
            state = wait.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
