//! Who is inside an upstream, and who waits for a place there.
//!
//! Atomics, read by each request; the lock belongs to those that wait.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Stage;
use crate::queue::{Line, Place, Ticket};

/// The least and the most that a client is told to wait.
const RETRY_AFTER_MS: (u64, u64) = (1_000, 60_000);

/// Weight of a new figure in the moving average of how long a place is held: 1/8.
const HELD_SHIFT: u32 = 3;

/// Who is inside an upstream, and who waits; `W` is how one of those is called.
pub struct Held<W> {
    /// Who may enter and was not sent yet: from then on each counts at its instance.
    pub admitted: AtomicU32,
    waiting: AtomicU32,
    stage: AtomicU8,
    /// Moving average of how long a place is held, in microseconds; 0: nothing measured.
    place_us: AtomicU64,
    line: Mutex<Line<W>>,
}

impl<W> Default for Held<W> {
    fn default() -> Self {
        Self {
            admitted: AtomicU32::default(),
            waiting: AtomicU32::default(),
            stage: AtomicU8::default(),
            place_us: AtomicU64::default(),
            line: Mutex::new(Line::default()),
        }
    }
}

impl<W> fmt::Debug for Held<W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Held")
            .field("admitted", &self.admitted.load(Relaxed))
            .field("waiting", &self.waiting())
            .field("stage", &self.stage())
            .finish_non_exhaustive()
    }
}

impl<W> Held<W> {
    /// What becomes of new requests, as was seen last.
    pub fn stage(&self) -> Stage {
        Stage::from_u8(self.stage.load(Relaxed))
    }

    /// What becomes of them from now on.
    pub fn goes_to(&self, stage: Stage) {
        self.stage.store(stage as u8, Relaxed);
    }

    /// So many wait.
    pub fn waiting(&self) -> u32 {
        self.waiting.load(Relaxed)
    }

    /// A request went elsewhere: others that may do so at once from now on.
    pub fn spilled(&self) {
        self.goes_to(Stage::Spilling);
    }

    /// Takes a seat in the line, which is so long at most. None: there is none for this one.
    pub fn sit(&self, place: Place, who: W, length: usize) -> Option<Ticket> {
        let (placed, evicted) = {
            let mut line = self.line();
            let placed = line.push(place, who, length);
            self.waiting.store(u32::try_from(line.len()).unwrap_or(u32::MAX), Relaxed);
            match placed {
                Ok(placed) => (Some(placed.ticket), placed.evicted),
                Err(refused) => (None, Some(refused)),
            }
        };
        // Dropping a sender wakes its request, which is nothing to do under the lock.
        drop(evicted);
        placed
    }

    /// Whose turn it is.
    pub fn call(&self) -> Option<W> {
        let mut line = self.line();
        let next = line.pop();
        self.waiting.store(u32::try_from(line.len()).unwrap_or(u32::MAX), Relaxed);
        next
    }

    /// Who had this seat waits no more.
    pub fn leave(&self, ticket: Ticket) {
        let left = {
            let mut line = self.line();
            let left = line.remove(ticket);
            self.waiting.store(u32::try_from(line.len()).unwrap_or(u32::MAX), Relaxed);
            left
        };
        drop(left);
    }

    /// Who was called had no use for the place, which counts for nobody.
    pub fn give_back(&self, of: Place) {
        self.line().give_back(of);
    }

    /// A place was held for so long.
    pub fn was_held(&self, us: u64) {
        let old = self.place_us.load(Relaxed);
        // Two that end at once may lose one of the two: a moving average bears it.
        let new = match old {
            0 => us,
            _ => old - (old >> HELD_SHIFT) + (us >> HELD_SHIFT),
        };
        self.place_us.store(new.max(1), Relaxed);
    }

    /// When a place will be free for one more, as far as can be told: everyone who waits now has to be
    /// served first, as many at a time as there are places.
    pub fn retry_after_ms(&self, places: Option<u32>) -> u64 {
        let before = u64::from(self.waiting()) + 1;
        let places = u64::from(places.unwrap_or(1).max(1));
        let us = self.place_us.load(Relaxed).saturating_mul(before) / places;
        (us / 1_000).clamp(RETRY_AFTER_MS.0, RETRY_AFTER_MS.1)
    }

    fn line(&self) -> MutexGuard<'_, Line<W>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_how_long_the_line_takes() {
        let held = Held::<()>::default();
        assert_eq!(held.retry_after_ms(None), 1_000, "nothing is known");
        held.was_held(8_000_000);
        assert_eq!(held.retry_after_ms(Some(4)), 2_000);
        held.waiting.store(11, Relaxed);
        assert_eq!(held.retry_after_ms(Some(4)), 24_000);
        held.waiting.store(10_000, Relaxed);
        assert_eq!(held.retry_after_ms(Some(1)), 60_000);
        for _ in 0..100 {
            held.was_held(0);
        }
        assert_eq!(held.retry_after_ms(Some(4)), 1_000);
    }
}
