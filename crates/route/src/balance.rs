//! Which instance of an upstream takes an attempt.
//!
//! Power of two choices on outstanding requests: two instances are drawn, the one with fewer
//! requests in flight wins. It needs no shared cursor, so no core waits for another, and it avoids
//! the herd that "always the least loaded" makes when counters are slightly stale (Mitzenmacher,
//! The Power of Two Choices in Randomized Load Balancing, 2001).

use cutover_units::Millis;

/// What the balancer knows of one instance when it picks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Requests sent and not finished.
    pub in_flight: u32,
    /// Failures since the last success.
    pub failures: u32,
    /// When the last failure happened.
    pub failed_at: Millis,
}

/// So many failures in a row rest an instance. Five is Envoy's default for consecutive 5xx.
pub const FAILURES_MAX: u32 = 5;
/// So long an instance rests at first; the rest doubles with each further failure, up to
/// [`REST_MAX_MS`].
pub const REST_MS: u64 = 1_000;
/// The longest rest.
pub const REST_MAX_MS: u64 = 30_000;

impl Load {
    /// Whether the instance rests after failing repeatedly.
    pub fn rests(self, now: Millis) -> bool {
        if self.failures < FAILURES_MAX {
            return false;
        }
        let doublings = (self.failures - FAILURES_MAX).min(5);
        let rest_ms = (REST_MS << doublings).min(REST_MAX_MS);
        now.0 < self.failed_at.0.saturating_add(rest_ms)
    }
}

/// Picks one of `count` instances, never one that `tried` names (bit i for instance i). Resting
/// instances are taken only when all others rest too: an upstream with one instance is always tried.
/// `seed` is any number that differs from request to request. None if all were tried.
pub fn pick(
    count: usize,
    tried: u64,
    seed: u64,
    load: &dyn Fn(usize) -> (Load, Millis),
) -> Option<usize> {
    let untried = |i: usize| i >= 64 || tried & (1 << i) == 0;
    let open = |i: usize| {
        untried(i) && {
            let (l, now) = load(i);
            !l.rests(now)
        }
    };
    let longest_rested = || (0..count).filter(|&i| untried(i)).min_by_key(|&i| load(i).0.failed_at);
    let awake = (0..count).filter(|&i| open(i)).count();
    if awake == 0 {
        return longest_rested();
    }
    // Other requests change the loads while we look: an instance counted as awake may rest now.
    let nth = |n: usize| (0..count).filter(|&i| open(i)).nth(n);
    let mixed = mix(seed);
    let Some(first) = nth(below(mixed, awake)) else { return longest_rested() };
    if awake == 1 {
        return Some(first);
    }
    // The second is drawn from the others, so that two different instances are compared.
    let step = 1 + below(mixed >> 32, awake - 1);
    let Some(second) = nth((below(mixed, awake) + step) % awake) else { return Some(first) };
    let lighter = load(second).0.in_flight < load(first).0.in_flight;
    Some(if lighter { second } else { first })
}

/// The low 32 bits of a hash scaled to `0..n`.
fn below(hash: u64, n: usize) -> usize {
    let scaled = ((hash & 0xffff_ffff) * n as u64) >> 32;
    usize::try_from(scaled).unwrap_or(0)
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): makes a counter into a good hash.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn loads(in_flight: &[u32], failures: &[u32]) -> Vec<Load> {
        in_flight
            .iter()
            .zip(failures)
            .map(|(&in_flight, &failures)| Load { in_flight, failures, failed_at: Millis(1_000) })
            .collect()
    }

    #[test]
    fn of_two_the_lighter_wins() {
        let loads = loads(&[3, 1], &[0, 0]);
        for seed in 0..100 {
            assert_eq!(pick(2, 0, seed, &|i| (loads[i], Millis(0))), Some(1));
        }
    }

    #[test]
    fn equal_loads_share_the_work() {
        let loads = loads(&[0; 4], &[0; 4]);
        let mut seen = [0u32; 4];
        for seed in 0..4_000 {
            seen[pick(4, 0, seed, &|i| (loads[i], Millis(0))).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&n| (850..1_150).contains(&n)), "{seen:?}");
    }

    #[test]
    fn a_failing_instance_rests_and_comes_back() {
        let loads = loads(&[0, 9], &[FAILURES_MAX, 0]);
        let at =
            |now| (0..50).all(|seed| pick(2, 0, seed, &|i| (loads[i], Millis(now))) == Some(1));
        assert!(at(1_500));
        assert!(!at(1_000 + REST_MS + 1));
    }

    #[test]
    fn the_only_instance_is_tried_even_when_it_rests() {
        let loads = loads(&[0], &[50]);
        assert_eq!(pick(1, 0, 7, &|i| (loads[i], Millis(1_001))), Some(0));
    }

    /// Loads are read from live counters: between two looks another request may rest an instance, and
    /// whoever was drawing it must still get one.
    #[test]
    fn a_pick_succeeds_while_loads_change_under_it() {
        for seed in 0..200 {
            for stable_looks in 0..12 {
                let looks = std::cell::Cell::new(0);
                let load = |_: usize| {
                    looks.set(looks.get() + 1);
                    let failures = if looks.get() > stable_looks { FAILURES_MAX } else { 0 };
                    (Load { in_flight: 0, failures, failed_at: Millis(1_000) }, Millis(1_001))
                };
                assert!(pick(3, 0, seed, &load).is_some_and(|i| i < 3));
            }
        }
    }

    proptest! {
        #[test]
        fn a_pick_is_in_range_and_untried(
            rows in prop::collection::vec((0u32..5, 0u32..8), 0..8),
            tried in 0u64..256, seed in any::<u64>(), now in 0u64..40_000,
        ) {
            let loads: Vec<_> = rows.iter()
                .map(|&(in_flight, failures)| Load { in_flight, failures, failed_at: Millis(1_000) })
                .collect();
            let picked = pick(loads.len(), tried, seed, &|i| (loads[i], Millis(now)));
            let left = (0..loads.len()).filter(|i| tried & (1 << i) == 0).count();
            prop_assert_eq!(picked.is_some(), left > 0);
            if let Some(i) = picked {
                prop_assert!(i < loads.len() && tried & (1 << i) == 0);
            }
        }
    }
}
