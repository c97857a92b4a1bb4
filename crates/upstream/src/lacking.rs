//! Which of an upstream's instances said lately that they do not have a model: for requests of that model they are passed
//! over while another is there, and for all others they are as well as ever.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use cutover_route::health::lasts;
use cutover_units::Millis;

/// How long it is believed: a model may be fetched any moment, and to be told so costs a refusal.
const LACKS_MS: u64 = 30_000;

/// So many are remembered, at most: who names models that nobody has names any number.
const LACKING_MAX: usize = 256;

/// The longest name that is remembered.
const NAME_BYTES_MAX: usize = 256;

/// What the instances of an upstream do not have.
#[derive(Debug, Default)]
pub struct Lacking {
    /// Until when anything is known, for who would look in vain.
    until: AtomicU64,
    /// Until when, by model and instance.
    known: Mutex<HashMap<(String, u64), Millis>>,
}

impl Lacking {
    /// The instance with this key does not have a model.
    pub fn note(&self, model: &str, instance: u64, now: Millis) {
        let mut known = self.known();
        known.retain(|_, until| lasts(*until, LACKS_MS, now));
        if known.len() < LACKING_MAX && model.len() <= NAME_BYTES_MAX {
            let until = Millis(now.0.saturating_add(LACKS_MS));
            known.insert((model.to_owned(), instance), until);
            self.until.store(until.0, Relaxed);
        }
    }

    /// A bit for each of these instances, by place and key, that does not have a model, of those that may be asked at all:
    /// without the bits of `passed_over`. None where no other is left.
    pub fn of(
        &self,
        model: &str,
        instances: impl Iterator<Item = (usize, u64)>,
        (passed_over, now): (u64, Millis),
    ) -> u64 {
        if !lasts(Millis(self.until.load(Relaxed)), LACKS_MS, now) {
            return 0;
        }
        let known = self.known();
        if known.keys().all(|(name, _)| name != model) {
            return 0;
        }
        let (mut lacking, mut is_left) = (0, false);
        for (at, key) in instances.filter(|(at, _)| *at >= 64 || passed_over >> at & 1 == 0) {
            let until = known.get(&(model.to_owned(), key));
            if at < 64 && until.is_some_and(|until| lasts(*until, LACKS_MS, now)) {
                lacking |= 1 << at;
            } else {
                is_left = true;
            }
        }
        if is_left { lacking } else { 0 }
    }

    fn known(&self) -> MutexGuard<'_, HashMap<(String, u64), Millis>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: [u64; 3] = [70, 71, 72];

    fn bits(lacking: &Lacking, model: &str, passed_over: u64, at: u64) -> u64 {
        lacking.of(model, KEYS.into_iter().enumerate(), (passed_over, Millis(at)))
    }

    #[test]
    fn who_lacks_a_model_is_passed_over_for_it_alone_and_for_a_while() {
        let lacking = Lacking::default();
        assert_eq!(bits(&lacking, "m", 0, 1_000), 0);
        lacking.note("m", 71, Millis(1_000));
        assert_eq!([bits(&lacking, "m", 0, 1_000), bits(&lacking, "x", 0, 1_000)], [0b010, 0]);
        assert_eq!([bits(&lacking, "m", 0, 30_999), bits(&lacking, "m", 0, 31_000)], [0b010, 0]);
    }

    #[test]
    fn where_nobody_else_is_left_all_are_asked() {
        let lacking = Lacking::default();
        lacking.note("m", 70, Millis(0));
        lacking.note("m", 71, Millis(0));
        assert_eq!(bits(&lacking, "m", 0, 1), 0b011);
        assert_eq!(bits(&lacking, "m", 0b001, 1), 0b010);
        assert_eq!(bits(&lacking, "m", 0b100, 1), 0, "the third was tried");
        lacking.note("m", 72, Millis(0));
        assert_eq!(bits(&lacking, "m", 0, 1), 0);
    }

    #[test]
    fn names_that_clients_make_up_take_no_more_room_than_so_much() {
        let lacking = Lacking::default();
        for name in 0..1_000 {
            lacking.note(&format!("m{name}"), 70, Millis(name));
        }
        assert_eq!(lacking.known().len(), LACKING_MAX);
        lacking.note("m", 70, Millis(40_000));
        assert_eq!(lacking.known().len(), 1);
        assert_eq!(bits(&lacking, "m", 0, 40_000), 0b001);
    }
}
