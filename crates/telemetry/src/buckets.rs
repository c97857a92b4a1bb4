//! The upper bounds of histograms' buckets.

use cutover_units::Micros;

const fn bounds<const N: usize>(us: [u64; N]) -> [Micros; N] {
    let mut bounds = [Micros(0); N];
    let mut at = 0;
    while at < N {
        bounds[at] = Micros(us[at]);
        at += 1;
    }
    bounds
}

/// What clients wait for: from a cached error at 1 ms to a long answer of a slow model at 600 s.
/// Neighbours differ by at most 2.5 times, so an interpolated quantile is off by less than that.
pub(crate) const LATENCY: &[Micros] = &bounds([
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    150_000,
    200_000,
    300_000,
    500_000,
    750_000,
    1_000_000,
    1_500_000,
    2_000_000,
    3_000_000,
    4_000_000,
    6_000_000,
    10_000_000,
    15_000_000,
    20_000_000,
    30_000_000,
    45_000_000,
    60_000_000,
    120_000_000,
    300_000_000,
    600_000_000,
]);

/// What the gateway itself adds: tens of microseconds when all is well.
pub(crate) const OVERHEAD: &[Micros] = &bounds([
    10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 1_000, 2_000, 5_000, 10_000, 50_000, 100_000,
    1_000_000,
]);
