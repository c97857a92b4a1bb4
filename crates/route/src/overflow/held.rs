//! Who is inside an upstream, and who waits for a place there.
//!
//! Atomics, read by each request; the lock belongs to those that wait.

use std::fmt;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::{Class, Fill, RESUME, Stage, fullness};
use crate::queue::{Line, Place, Ticket};

/// The least and the most that a client is told to wait.
const RETRY_AFTER_MS: (u64, u64) = (1_000, 60_000);

/// Weight of a new figure in the moving average of how long a place is held: 1/8.
const HELD_SHIFT: u32 = 3;

/// Who is inside an upstream, and who waits; `W` is how one of those is called.
pub struct Held<W> {
    /// Who may enter and was not sent yet: from then on each counts at its instance.
    pub admitted: AtomicU32,
    /// Those inside that nobody waits for.
    pub batch: AtomicU32,
    waiting: AtomicU32,
    /// Those of them that somebody waits for.
    urgent: AtomicU32,
    stage: AtomicU8,
    /// Moving average of how long a place is held, in microseconds; 0: nothing measured.
    place_us: AtomicU64,
    line: Mutex<Line<W>>,
}

impl<W> Default for Held<W> {
    fn default() -> Self {
        Self {
            admitted: AtomicU32::default(),
            batch: AtomicU32::default(),
            waiting: AtomicU32::default(),
            urgent: AtomicU32::default(),
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

    /// Whether a request that may go elsewhere does so at once, which would wait so long first.
    ///
    /// While requests spill all that may do. But what batch requests hold comes to those that somebody waits for, of whom
    /// none waits: they wait as long as they fill no more of the places than would end the spilling if they were
    /// alone, and a place is free in time on average.
    pub fn goes_at_once(&self, class: Class, fill: &Fill, wait: Duration) -> bool {
        if self.stage() != Stage::Spilling {
            return false;
        }
        let Some(places) = fill.places.filter(|_| class == Class::Interactive) else { return true };
        let taken = self.admitted.load(Relaxed).saturating_add(fill.taken);
        let urgent = taken.saturating_sub(self.batch.load(Relaxed));
        let crowd = Fill { least: Some(0), places: Some(places), taken: urgent };
        let next_us = self.place_us.load(Relaxed) / u64::from(places.max(1));
        let is_crowded = fullness(&crowd, 0).is_none_or(|fullness| fullness > RESUME);
        is_crowded || self.urgent.load(Relaxed) > 0 || u128::from(next_us) > wait.as_micros()
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
            self.shows(&line);
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
        self.shows(&line);
        next
    }

    /// Who had this seat waits no more.
    pub fn leave(&self, ticket: Ticket) {
        let left = {
            let mut line = self.line();
            let left = line.remove(ticket);
            self.shows(&line);
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

    fn shows(&self, line: &Line<W>) {
        let shown = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        self.waiting.store(shown(line.len()), Relaxed);
        self.urgent.store(shown(line.waiting(Class::Interactive)), Relaxed);
    }

    fn line(&self) -> MutexGuard<'_, Line<W>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_waited_for_waits_behind_batch_alone_while_others_spill() {
        let held = Held::<()>::default();
        let fill = |taken| Fill { least: Some(1_000), places: Some(4), taken };
        let wait = Duration::from_secs(2);
        let goes = |class, fill: &Fill| held.goes_at_once(class, fill, wait);
        assert!(!goes(Class::Interactive, &fill(4)), "nobody has spilled");
        held.spilled();
        assert!(goes(Class::Interactive, &fill(4)), "four that are waited for");
        held.batch.store(1, Relaxed);
        assert!(!goes(Class::Interactive, &fill(4)), "three of four places are theirs");
        assert!(goes(Class::Interactive, &fill(5)), "four are");
        assert!(goes(Class::Batch, &fill(4)));
        assert!(goes(Class::Interactive, &Fill { places: None, ..fill(4) }), "nobody knows");
        held.admitted.store(1, Relaxed);
        assert!(goes(Class::Interactive, &fill(4)), "one more is on its way");
        held.batch.store(5, Relaxed);
        assert!(!goes(Class::Interactive, &fill(4)), "all are batch");
        let place = |class| Place { class, key: 0, cost: 1 };
        held.sit(place(Class::Batch), (), 2).unwrap();
        assert!(!goes(Class::Interactive, &fill(4)), "it passes them");
        let first = held.sit(place(Class::Interactive), (), 2).unwrap();
        assert!(goes(Class::Interactive, &fill(4)), "one is before it");
        held.leave(first);
        held.was_held(8_000_000);
        assert!(!goes(Class::Interactive, &fill(4)), "one of four is free in two seconds");
        held.was_held(8_800_000);
        assert!(goes(Class::Interactive, &fill(4)), "that is too long");
    }

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
