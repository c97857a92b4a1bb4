//! How many connections an instance may have in use, whichever pool they are in: one that is made anew because another
//! certificate is trusted shares the bound with the one before it, whose requests are still under way.

use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};

/// The places for an instance's exchanges. Nobody ever closes them.
#[derive(Debug)]
pub(crate) struct Connections {
    free: Semaphore,
    /// None: nobody has said.
    most: Mutex<Option<usize>>,
    /// Places in use that are not free again when they are given back: there are to be fewer.
    owed: AtomicUsize,
}

impl Default for Connections {
    fn default() -> Self {
        Self { free: Semaphore::const_new(0), most: Mutex::default(), owed: AtomicUsize::default() }
    }
}

impl Connections {
    /// So many, unless it was said before.
    pub(crate) fn begin(&self, most: usize) {
        let mut known = self.most();
        if known.is_none() {
            self.go(&mut known, most);
        }
    }

    /// So many from now on. What is under way above that goes on, and its place is gone when it has ended.
    pub(crate) fn bind(&self, most: usize) {
        self.go(&mut self.most(), most);
    }

    fn go(&self, known: &mut Option<usize>, most: usize) {
        let most = most.clamp(1, Semaphore::MAX_PERMITS);
        let before = known.replace(most).unwrap_or(0);
        if let Some(more) = most.checked_sub(before) {
            let pays = |owed: usize| Some(owed.saturating_sub(more));
            let owed = self.owed.fetch_update(SeqCst, SeqCst, pays).unwrap_or_default();
            self.free.add_permits(more - owed.min(more));
        }
        if let Some(fewer) = before.checked_sub(most) {
            let gone = self.free.forget_permits(fewer);
            self.owed.fetch_add(fewer - gone, SeqCst);
        }
    }

    /// A place, if one is free now.
    pub(crate) fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.free.try_acquire()
    }

    /// Waits in line for a place. None: there will never be one.
    pub(crate) async fn acquire(&self) -> Option<SemaphorePermit<'_>> {
        self.free.acquire().await.ok()
    }

    /// Whether none is free.
    pub(crate) fn are_taken(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// One is free again.
    pub(crate) fn give_back(&self) {
        let pays = |owed: usize| owed.checked_sub(1);
        if self.owed.load(SeqCst) == 0 || self.owed.fetch_update(SeqCst, SeqCst, pays).is_err() {
            self.free.add_permits(1);
        }
    }

    fn most(&self) -> MutexGuard<'_, Option<usize>> {
        self.most.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        /// Whatever the bound was meanwhile: who comes is let in below the one in force, and nobody above it.
        #[test]
        fn the_bound_in_force_holds(steps in prop::collection::vec((0..3_u8, 1..9_usize), 1..60)) {
            let connections = Connections::default();
            connections.begin(4);
            connections.begin(9);
            let (mut most, mut used) = (4, 0);
            for (step, bound) in steps {
                match step {
                    0 => {
                        connections.bind(bound);
                        most = bound;
                    }
                    1 => match connections.try_acquire() {
                        Ok(permit) => {
                            permit.forget();
                            prop_assert!(used < most, "{used} of {most} are in use");
                            used += 1;
                        }
                        Err(_) => prop_assert!(used >= most, "{used} of {most} are in use"),
                    },
                    _ if used > 0 => {
                        connections.give_back();
                        used -= 1;
                    }
                    _ => {}
                }
                prop_assert_eq!(connections.are_taken(), used >= most);
            }
        }
    }
}
