//! How long answers usually take: whose requests are alike has averages of its own.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use cutover_units::Arm;

/// Weight of a new time in a moving average: 1/8, so that about the last twenty requests count.
const EWMA_SHIFT: u32 = 3;

/// How long the requests of a use case wait for the first content of a stream, and for a whole answer: moving averages
/// of each arm. One cannot be told from the other: a whole answer takes as long as all its tokens.
#[derive(Debug, Default)]
pub struct Usual([[AtomicU64; 2]; Arm::ALL.len()]);

impl Usual {
    /// One has waited so long.
    pub fn took(&self, arm: Arm, stream: bool, us: u64) {
        add(self.of(arm, stream), us);
    }

    /// The average; 0 = nothing measured yet.
    pub fn us(&self, arm: Arm, stream: bool) -> u64 {
        self.of(arm, stream).load(Relaxed)
    }

    fn of(&self, arm: Arm, stream: bool) -> &AtomicU64 {
        &self.0[arm as usize][usize::from(stream)]
    }
}

/// Adds one to a moving average. Two that are noted at once may lose one of the two: an average bears it.
pub(crate) fn add(average: &AtomicU64, new: u64) {
    average.store(averaged(average.load(Relaxed), new), Relaxed);
}

/// The moving average with one more.
pub(crate) fn averaged(old: u64, new: u64) -> u64 {
    let average = match old {
        0 => new,
        _ => old - (old >> EWMA_SHIFT) + (new >> EWMA_SHIFT),
    };
    average.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_arm_has_its_own_averages_of_streams_and_of_whole_answers() {
        let usual = Usual::default();
        for (arm, stream, us) in [
            (Arm::Baseline, true, 100),
            (Arm::Candidate, true, 80),
            (Arm::Candidate, true, 160),
            (Arm::Candidate, false, 9_000_000),
        ] {
            usual.took(arm, stream, us);
        }
        let all = |arm| [true, false].map(|stream| usual.us(arm, stream));
        assert_eq!(all(Arm::Baseline), [100, 0]);
        assert_eq!(all(Arm::Candidate), [90, 9_000_000]);
        assert_eq!(all(Arm::Default), [0, 0]);
    }
}
