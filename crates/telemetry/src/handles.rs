//! The three kinds of metric as atomics: what a request touches.
//!
//! Values are integers (microseconds, nano-dollars) and are scaled only when printed, so that an
//! observation is an integer add, never a compare-and-swap loop on a float, and sums stay exact.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering, fence};

use cutover_units::Micros;

/// One value on a cache line of its own: two busy series never slow each other down.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Alone<T>(T);

/// A number that only grows.
#[derive(Debug, Clone, Default)]
pub struct Counter(Arc<Alone<AtomicU64>>);

impl Counter {
    /// Adds one.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Takes over a total that is counted elsewhere; a smaller total is ignored, so the counter
    /// never falls.
    pub fn raise_to(&self, total: u64) {
        self.0.0.fetch_max(total, Ordering::Relaxed);
    }

    /// How many handles of it there are.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// The present value.
    pub fn get(&self) -> u64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// A number that rises and falls.
#[derive(Debug, Clone, Default)]
pub struct Gauge(Arc<Alone<AtomicI64>>);

impl Gauge {
    /// Sets the value.
    pub fn set(&self, value: i64) {
        self.0.0.store(value, Ordering::Relaxed);
    }

    /// Sets it to what is counted elsewhere, where others do the same at the same moment: whoever set an older figure last
    /// looks again.
    pub fn follow(&self, count: impl Fn() -> u32) {
        loop {
            let counted = count();
            self.set(i64::from(counted));
            fence(Ordering::SeqCst);
            if count() == counted {
                return;
            }
        }
    }

    /// Adds `n`, which may be negative.
    pub fn add(&self, n: i64) {
        self.0.0.fetch_add(n, Ordering::Relaxed);
    }

    /// Counts one up until the guard is dropped.
    pub fn enter(&self) -> InFlight {
        self.add(1);
        InFlight(self.clone())
    }

    /// How many handles of it there are.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    /// The present value.
    pub fn get(&self) -> i64 {
        self.0.0.load(Ordering::Relaxed)
    }
}

/// Holds a gauge one higher while it lives.
#[must_use = "the gauge falls again when this is dropped"]
#[derive(Debug)]
pub struct InFlight(Gauge);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}

/// Durations counted into fixed buckets.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Buckets>);

#[derive(Debug)]
#[repr(align(64))]
struct Buckets {
    /// Upper bounds, inclusive and rising; one more bucket lies above the last.
    bounds: &'static [Micros],
    counts: Box<[AtomicU64]>,
    sum_us: AtomicU64,
}

/// A histogram's content at one moment, as the text formats want it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Observations at or below each bound, and last of all of them.
    pub(crate) cumulative: Vec<u64>,
    pub(crate) sum_us: u64,
}

impl Histogram {
    pub(crate) fn new(bounds: &'static [Micros]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Buckets { bounds, counts, sum_us: AtomicU64::new(0) }))
    }

    /// Counts one duration.
    pub fn observe(&self, value: Micros) {
        let at = self.0.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = self.0.counts.get(at) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        self.0.sum_us.fetch_add(value.0, Ordering::Relaxed);
    }

    /// How many durations were counted.
    pub fn count(&self) -> u64 {
        self.0.counts.iter().map(|c| c.load(Ordering::Relaxed)).sum()
    }

    /// How many handles of it there are.
    pub(crate) fn handles(&self) -> usize {
        Arc::strong_count(&self.0)
    }

    pub(crate) fn bounds(&self) -> &'static [Micros] {
        self.0.bounds
    }

    /// The count is the sum of the buckets read, so a reading agrees with itself even while others
    /// observe.
    pub(crate) fn read(&self) -> Reading {
        let mut total = 0;
        let cumulative = self.0.counts.iter().map(|count| {
            total += count.load(Ordering::Relaxed);
            total
        });
        Reading { cumulative: cumulative.collect(), sum_us: self.0.sum_us.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BOUNDS: &[Micros] = &[Micros(10), Micros(100), Micros(1_000)];

    #[test]
    fn a_value_on_a_bound_belongs_to_it() {
        let histogram = Histogram::new(BOUNDS);
        for us in [0, 10, 11, 100, 1_000, 1_001] {
            histogram.observe(Micros(us));
        }
        let reading = histogram.read();
        assert_eq!(reading.cumulative, [2, 4, 5, 6]);
        assert_eq!(reading.sum_us, 2_122);
    }

    #[test]
    fn a_guard_counts_while_it_lives() {
        let gauge = Gauge::default();
        let first = gauge.enter();
        let second = gauge.enter();
        drop(first);
        assert_eq!(gauge.get(), 1);
        drop(second);
        assert_eq!(gauge.get(), 0);
    }

    #[test]
    fn a_mirrored_total_never_falls() {
        let counter = Counter::default();
        counter.raise_to(7);
        counter.raise_to(3);
        assert_eq!(counter.get(), 7);
    }

    #[test]
    fn no_count_is_lost_between_threads() {
        let (counter, histogram) = (Counter::default(), Histogram::new(BOUNDS));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for us in 0..5_000 {
                        counter.inc();
                        histogram.observe(Micros(us));
                    }
                });
            }
        });
        assert_eq!(counter.get(), 20_000);
        assert_eq!(histogram.count(), 20_000);
    }

    proptest! {
        #[test]
        fn buckets_count_what_is_at_or_below_them(values in prop::collection::vec(0u64..2_000, 0..100)) {
            let histogram = Histogram::new(BOUNDS);
            for us in &values {
                histogram.observe(Micros(*us));
            }
            let reading = histogram.read();
            for (bound, counted) in BOUNDS.iter().zip(&reading.cumulative) {
                let expected = values.iter().filter(|us| **us <= bound.0).count();
                prop_assert_eq!(*counted, expected as u64);
            }
            prop_assert_eq!(reading.cumulative.last().copied(), Some(values.len() as u64));
            prop_assert_eq!(reading.sum_us, values.iter().sum::<u64>());
        }
    }
}
