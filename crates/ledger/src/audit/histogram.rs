//! Percentiles of any number of values in a fixed space.

/// What a percentile may be off by, at most: values up to 255 are exact, above a bucket is this wide.
pub const RELATIVE_ERROR_PERCENT: f64 = 0.8;

/// Bits of a value that are told apart.
const BITS: u32 = 8;
const EXACT: u64 = 1 << BITS;
const HALF: u64 = EXACT / 2;

/// Counts by size: exact below 256, then 128 buckets between a power of two and the next.
#[derive(Debug, Clone, Default)]
pub struct Histogram {
    counts: Vec<u64>,
    n: u64,
    sum: u128,
    most: u64,
}

impl Histogram {
    /// One more value.
    pub fn add(&mut self, value: u64) {
        let at = slot(value);
        if self.counts.len() <= at {
            self.counts.resize(at + 1, 0);
        }
        if let Some(count) = self.counts.get_mut(at) {
            *count += 1;
        }
        self.n += 1;
        self.sum += u128::from(value);
        self.most = self.most.max(value);
    }

    /// How many values.
    pub fn n(&self) -> u64 {
        self.n
    }

    /// The largest; exact.
    pub fn most(&self) -> u64 {
        self.most
    }

    /// The mean, rounded; exact.
    pub fn mean(&self) -> Option<u64> {
        let n = u128::from(self.n);
        (n > 0).then(|| u64::try_from((self.sum + n / 2) / n).unwrap_or(u64::MAX))
    }

    /// The value below or at which `per_mille` of 1,000 values are (nearest rank): the middle of its bucket.
    pub fn quantile(&self, per_mille: u64) -> Option<u64> {
        let rank = (u128::from(self.n) * u128::from(per_mille)).div_ceil(1_000).max(1);
        let mut seen = 0u128;
        for (at, count) in self.counts.iter().enumerate() {
            seen += u128::from(*count);
            if seen >= rank && *count > 0 {
                return Some(middle(at).min(self.most));
            }
        }
        None
    }
}

fn slot(value: u64) -> usize {
    if value < EXACT {
        return usize::try_from(value).unwrap_or(usize::MAX);
    }
    let shift = value.ilog2() + 1 - BITS;
    let within = (value >> shift) - HALF;
    usize::try_from(EXACT + u64::from(shift - 1) * HALF + within).unwrap_or(usize::MAX)
}

fn middle(slot: usize) -> u64 {
    let slot = slot as u64;
    if slot < EXACT {
        return slot;
    }
    let shift = u32::try_from((slot - EXACT) / HALF).unwrap_or(0) + 1;
    let within = (slot - EXACT) % HALF + HALF;
    (within << shift) + (1u64 << shift) / 2
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_quantile_is_as_near_as_promised(mut values in prop::collection::vec(0u64..5_000_000, 1..300), q in 1u64..=1000) {
            let mut histogram = Histogram::default();
            for value in &values { histogram.add(*value); }
            values.sort_unstable();
            let rank = (values.len() as u64 * q).div_ceil(1_000).max(1);
            let exact = values[usize::try_from(rank).unwrap() - 1] as f64;
            let found = histogram.quantile(q).unwrap() as f64;
            prop_assert!((found - exact).abs() <= exact * RELATIVE_ERROR_PERCENT / 100.0, "{found} {exact}");
            prop_assert_eq!(histogram.n(), values.len() as u64);
        }
    }

    #[test]
    fn the_largest_values_have_a_place() {
        let mut histogram = Histogram::default();
        histogram.add(u64::MAX);
        assert_eq!(histogram.most(), u64::MAX);
        assert!(histogram.quantile(500).is_some() && Histogram::default().quantile(500).is_none());
    }
}
