//! A figure of each instance, side by side.
//!
//! Passes over whole arrays without a branch: the compiler makes wide instructions of them. Figures are signed,
//! because the oldest machines that are built for compare such alone.

use std::array;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::INSTANCES_MAX;
use super::board::Count;

/// Passes are as long as a multiple of this: so nothing is left over for a pass one by one.
const STEP: usize = 8;

/// The load of one that is not to be taken.
pub(super) const NOBODY: i32 = i32::MAX;

/// The score of one that is not to be taken.
const LOWEST: i32 = i32::MIN;

/// So many bits of a set are looked up at once.
const NIBBLE: usize = 4;

/// For each of their values all bits of a figure where a bit is one.
const ONES: [[i32; NIBBLE]; 1 << NIBBLE] = {
    let (mut ones, mut bits) = ([[0; NIBBLE]; 1 << NIBBLE], 0);
    while bits < ones.len() {
        let mut at = 0;
        while at < NIBBLE {
            ones[bits][at] = if bits >> at & 1 == 1 { -1 } else { 0 };
            at += 1;
        }
        bits += 1;
    }
    ones
};

/// A figure of each.
type Figures = [i32; INSTANCES_MAX];

/// The length of a pass over all up to a place.
fn pass(len: usize) -> usize {
    (len.div_ceil(STEP) * STEP).min(INSTANCES_MAX)
}

/// Those that have exactly this figure: a bit for each.
fn equal_to(figures: &[i32], wanted: i32) -> u64 {
    // Of eight bytes that are 0 or 1 the product has the eight bits on top.
    const GATHER: u64 = 0x0102_0408_1020_4080;
    let mut equals = [0_u8; INSTANCES_MAX];
    for (equals, figure) in equals.iter_mut().zip(figures) {
        *equals = u8::from(*figure == wanted);
    }
    let bits = |bytes: &[u8; STEP]| u64::from_le_bytes(*bytes).wrapping_mul(GATHER) >> 56;
    let steps = equals[..pass(figures.len())].as_chunks::<STEP>().0.iter().enumerate();
    steps.fold(0, |equals, (nth, bytes)| equals | bits(bytes) << (nth * STEP))
}

/// What each of the instances has to do.
#[derive(Debug)]
pub struct Row {
    of: Figures,
    /// Behind these there are none.
    len: usize,
}

impl Default for Row {
    fn default() -> Self {
        Self { of: [NOBODY; INSTANCES_MAX], len: 0 }
    }
}

impl Row {
    /// The counters of a board up to a place, without those of others and without those that have so many or
    /// more. `others` holds [`NOBODY`] for those, else 0.
    pub(super) fn read(
        &mut self,
        counts: &[Count; INSTANCES_MAX],
        (others, len): (&Figures, usize),
        room: i32,
    ) {
        self.len = pass(len);
        let row = &mut self.of[..self.len];
        // Loads of atomics are never joined: steps of a fixed length at least need no counting.
        let counts = counts.as_chunks::<STEP>().0;
        for (step, counts) in row.as_chunks_mut::<STEP>().0.iter_mut().zip(counts) {
            *step = array::from_fn(|at| counts[at].seats().cast_signed());
        }
        for (load, other) in row.iter_mut().zip(others) {
            let kept = *load | other;
            *load = if kept < room { kept } else { NOBODY };
        }
    }

    /// Takes those out that have as much to do as this, or more: each has its own bound.
    pub(super) fn below(&mut self, rooms: &[AtomicU32; INSTANCES_MAX]) {
        let steps = self.of[..self.len.min(INSTANCES_MAX)].as_chunks_mut::<STEP>().0;
        for (step, rooms) in steps.iter_mut().zip(rooms.as_chunks::<STEP>().0) {
            let rooms: [i32; STEP] = array::from_fn(|at| rooms[at].load(Relaxed).cast_signed());
            for (load, room) in step.iter_mut().zip(rooms) {
                *load = if *load < room { *load } else { NOBODY };
            }
        }
    }

    pub(super) fn set(&mut self, place: usize, load: u32) {
        let place = place % INSTANCES_MAX;
        self.of[place] = i32::try_from(load).unwrap_or(NOBODY).min(NOBODY - 1);
        self.len = self.len.max(pass(place + 1));
    }

    /// Lets one count as if it had more to do. Nobody stays nobody.
    pub(super) fn more(&mut self, place: usize, more: u32) {
        let load = &mut self.of[place % INSTANCES_MAX];
        let more = load.saturating_add_unsigned(more).min(NOBODY - 1);
        *load = if *load == NOBODY { NOBODY } else { more };
    }

    pub(super) fn remove(&mut self, place: usize) {
        self.of[place % INSTANCES_MAX] = NOBODY;
    }

    /// Lets those of a set count as if they had more to do. Nobody stays nobody. Not inlined: it is wide only where it
    /// stands alone.
    #[inline(never)]
    pub(super) fn add(&mut self, set: u64, more: u32) {
        let more = i32::try_from(more).unwrap_or(0);
        let most = NOBODY - more;
        let steps = self.of[..self.len.min(INSTANCES_MAX)].as_chunks_mut::<NIBBLE>().0;
        for (nth, step) in steps.iter_mut().enumerate() {
            let bits = usize::try_from(set >> (NIBBLE * nth) & 15).unwrap_or(0);
            let ones = &ONES[bits % ONES.len()];
            for (load, one) in step.iter_mut().zip(ones) {
                *load += one & if *load < most { more } else { 0 };
            }
        }
    }

    fn all(&self) -> &[i32] {
        &self.of[..self.len.min(INSTANCES_MAX)]
    }

    /// The least; [`NOBODY`]: there is none.
    pub(super) fn least(&self) -> i32 {
        self.all().iter().fold(NOBODY, |least, load| least.min(*load))
    }

    /// Those that have exactly so much to do.
    pub(super) fn equal_to(&self, load: i32) -> u64 {
        equal_to(self.all(), load)
    }

    /// How many there are, and how much they have to do together.
    pub(super) fn total(&self) -> (u64, u64) {
        let (mut count, mut sum) = (0_u32, 0_u32);
        for load in self.all() {
            count += u32::from(*load != NOBODY);
            // In 32 bits, as each of them: nobody has thousands of millions of requests under way.
            sum = sum.wrapping_add(if *load == NOBODY { 0 } else { load.cast_unsigned() });
        }
        (count.into(), sum.into())
    }
}

/// What a key's hash is at each of the instances.
#[derive(Debug)]
pub struct Scores {
    of: Figures,
    len: usize,
}

impl Default for Scores {
    fn default() -> Self {
        Self { of: [LOWEST; INSTANCES_MAX], len: 0 }
    }
}

impl Scores {
    /// Of a key, at instances with these ids, up to a place; without others, as [`Row::read`] has them.
    pub(super) fn read(
        &mut self,
        ids: &[u32; INSTANCES_MAX],
        (others, len): (&Figures, usize),
        key: u32,
    ) {
        self.len = pass(len);
        let known = (0_i32..).zip(ids.iter().zip(others));
        for (of, (place, (id, other))) in self.of[..self.len].iter_mut().zip(known) {
            let score = score(*id, key) & !PLACE | place;
            *of = if *other == 0 { score } else { LOWEST };
        }
    }

    pub(super) fn set(&mut self, place: usize, id: u32, key: u32) {
        let place = place % INSTANCES_MAX;
        self.of[place] = score(id, key) & !PLACE | i32::try_from(place).unwrap_or(0);
        self.len = self.len.max(pass(place + 1));
    }

    pub(super) fn remove(&mut self, place: usize) {
        self.of[place % INSTANCES_MAX] = LOWEST;
    }

    /// Takes those out that have more to do than this.
    pub(super) fn within(&mut self, loads: &Row, bound: u32) {
        let bound = i32::try_from(bound).unwrap_or(NOBODY).min(NOBODY - 1);
        for (of, load) in self.of[..self.len.min(INSTANCES_MAX)].iter_mut().zip(&loads.of) {
            *of = if *load <= bound { *of } else { LOWEST };
        }
    }

    /// Whose is the highest.
    pub(super) fn highest(&self) -> usize {
        let all = &self.of[..self.len.min(INSTANCES_MAX)];
        let highest = all.iter().fold(LOWEST, |highest, score| highest.max(*score));
        usize::try_from(highest & PLACE).unwrap_or(0)
    }
}

/// The last bits of a score, which hold its place: what is left of the hash decides.
const PLACE: i32 = 63;

/// Both halves of a hash in one.
pub(super) fn folded(hash: u64) -> u32 {
    let low = hash & u64::from(u32::MAX);
    u32::try_from((hash >> 32) ^ low).unwrap_or(0)
}

/// An instance's hash of a key: of two hashes' difference, by the multiplier of PCG's 32-bit permutation.
fn score(id: u32, key: u32) -> i32 {
    (id ^ key).wrapping_mul(277_803_737).cast_signed()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn those_of_a_set_have_more_to_do_and_nobody_else(
            loads in prop::collection::vec(prop::option::of(prop_oneof![0..100_u32, any::<u32>()]), 0..=INSTANCES_MAX),
            set: u64,
            more in 0..100_u32,
        ) {
            let mut row = Row::default();
            for (at, load) in loads.iter().enumerate() {
                if let Some(load) = load {
                    row.set(at, *load);
                }
            }
            let before = row.of;
            row.add(set, more);
            let most = NOBODY - more.cast_signed();
            for (at, (before, after)) in before.iter().zip(row.of).enumerate() {
                // What is that much already is not counted on: it would become nobody.
                let counts = set >> at & 1 == 1 && *before < most;
                let expect = before + if counts { more.cast_signed() } else { 0 };
                prop_assert_eq!(after, expect, "at {}", at);
            }
        }
    }
}
