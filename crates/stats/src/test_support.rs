//! Shorthand for tests.

use crate::level::{Count, Share};

/// Fails unless the two differ by at most the tolerance.
pub(crate) fn near(got: f64, want: f64, tolerance: f64) {
    assert!((got - want).abs() <= tolerance, "{got} is not {want}");
}

pub(crate) fn count(hits: u64, trials: u64) -> Count {
    Count::new(hits, trials).unwrap()
}

pub(crate) fn share(bp: u16) -> Share {
    Share::from_bp(bp).unwrap()
}
