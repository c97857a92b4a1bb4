//! The open connections of all pools of this process, and which of them is closed where another needs its place.
//!
//! A process may have so many files open, and nobody misses an idle connection: where a new one would be one too many, the
//! one that has been idle longest in the pool with most of them is closed for it. A pool alone cannot know: when traffic
//! moves to another instance, the connections to the one before it wait in their pool for nothing.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::pool::Pool;

/// Those of this process.
pub(crate) static PROCESS: OpenFiles = OpenFiles::new();

/// So many connections to upstreams may be open in this process, idle ones included, as long as there are idle ones to
/// close. What is in use is never closed for another. Until it is said there is no bound.
pub fn bound_open_connections(most: usize) {
    PROCESS.bound(most);
}

/// Pools, and the count of their connections.
pub(crate) struct OpenFiles {
    open: AtomicUsize,
    most: AtomicUsize,
    // A std mutex: held when a pool is made, and to look for an idle connection, never across an await.
    pools: Mutex<Vec<Weak<Pool>>>,
}

impl OpenFiles {
    pub(crate) const fn new() -> Self {
        Self {
            open: AtomicUsize::new(0),
            most: AtomicUsize::new(usize::MAX),
            pools: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn bound(&self, most: usize) {
        self.most.store(most, Relaxed);
    }

    /// One more pool has idle connections.
    pub(crate) fn enrol(&self, pool: &Arc<Pool>) {
        let mut pools = self.pools();
        pools.retain(|known| known.strong_count() > 0);
        pools.push(Arc::downgrade(pool));
    }

    /// Makes room for one more connection, which is counted until the guard is dropped.
    pub(crate) fn open(&'static self) -> OpenFile {
        self.open.fetch_add(1, Relaxed);
        let file = OpenFile(self);
        while self.open.load(Relaxed) > self.most.load(Relaxed) && self.close_one_idle() {}
        file
    }

    /// Closes what is idle, in all pools.
    pub(crate) fn close_idle(&self) {
        while self.close_one_idle() {}
    }

    /// Closes one of the pool with the most idle ones; false = none is idle. Those by which pools learn what their servers
    /// do with connections go last.
    fn close_one_idle(&self) -> bool {
        let fullest_of = |all| {
            let pools = self.pools();
            let pools = pools.iter().filter_map(Weak::upgrade);
            let idle = pools.map(|pool| (pool.idle_count(all), pool));
            idle.max_by_key(|(idle, _)| *idle).filter(|(idle, _)| *idle > 0)
        };
        // Closed outside of the lock.
        [false, true]
            .into_iter()
            .any(|all| fullest_of(all).is_some_and(|(_, pool)| pool.close_oldest()))
    }

    fn pools(&self) -> MutexGuard<'_, Vec<Weak<Pool>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One open connection.
#[derive(Debug)]
pub(crate) struct OpenFile(&'static OpenFiles);

impl std::fmt::Debug for OpenFiles {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenFiles").field("open", &self.open).finish_non_exhaustive()
    }
}

impl Drop for OpenFile {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}

/// Whether no file could be opened, here or on the whole machine.
pub(crate) fn are_used_up(error: &io::Error) -> bool {
    #[cfg(unix)]
    {
        use rustix::io::Errno;
        let number = Errno::from_io_error(error);
        number == Some(Errno::MFILE) || number == Some(Errno::NFILE)
    }
    #[cfg(not(unix))]
    {
        let _ = error;
        false
    }
}
