//! Instances that fail more often than their peers, though never five times in a row.
//!
//! An instance is an outlier when the share of its requests that fail is, beyond doubt, larger than
//! the others': the lower end of its interval lies above the upper end of theirs by a margin. Both are
//! Wilson intervals (1927) at 99 %, which behave with few requests and with shares near zero; beyond
//! that, fewer than three failures prove nothing.

/// What became of an instance's requests in a while.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Answered to the end.
    pub ok: u32,
    /// Failed by the instance's fault, stalls among them.
    pub failed: u32,
}

/// The standard normal quantile of a two-sided 99 % interval.
const Z: f64 = 2.576;
/// So far apart must the intervals lie: an instance at 2 % beside one at 1 % is no reason to lose it.
const MARGIN: f64 = 0.05;

/// So many failures it takes at least.
const FAILURES_MIN: u32 = 3;

/// The outliers, bit i for instance i; the worst first, and together with those that rest as such already at most half
/// of these and those that had requests: what befalls most of them is not a matter of single instances. Of those that
/// rest the tallies are to be empty. Who is down, or rests after failures in a row, and had no request is in neither
/// number: that is certain without any peers.
pub fn outliers(tallies: &[Tally], resting: usize) -> u64 {
    let total = tallies.iter().fold(Tally::default(), |sum, tally| Tally {
        ok: sum.ok.saturating_add(tally.ok),
        failed: sum.failed.saturating_add(tally.failed),
    });
    let active = tallies.iter().filter(|tally| tally.ok + tally.failed > 0).count();
    let stands_out = |tally: &Tally| {
        let others = Tally { ok: total.ok - tally.ok, failed: total.failed - tally.failed };
        let (low, _) = wilson(*tally);
        let (_, high) = wilson(others);
        tally.failed >= FAILURES_MIN && others.ok + others.failed > 0 && low > high + MARGIN
    };
    let mut found = 0u64;
    let mut left = usize::midpoint(active, resting).saturating_sub(resting);
    let mut worst: [(f64, usize); 64] = [(0.0, 0); 64];
    let mut count = 0;
    for (at, tally) in tallies.iter().enumerate().take(64).filter(|(_, tally)| stands_out(tally)) {
        worst[count] = (wilson(*tally).0, at);
        count += 1;
    }
    worst[..count].sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    for (_, at) in &worst[..count] {
        if left == 0 {
            break;
        }
        found |= 1 << at;
        left -= 1;
    }
    found
}

/// The interval of the share that fails. Without requests it is all there is.
fn wilson(tally: Tally) -> (f64, f64) {
    let n = f64::from(tally.ok) + f64::from(tally.failed);
    if n == 0.0 {
        return (0.0, 1.0);
    }
    let share = f64::from(tally.failed) / n;
    let z2 = Z * Z;
    let middle = (share + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z / (1.0 + z2 / n) * (share * (1.0 - share) / n + z2 / (4.0 * n * n)).sqrt();
    ((middle - half).max(0.0), (middle + half).min(1.0))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn tally(ok: u32, failed: u32) -> Tally {
        Tally { ok, failed }
    }

    #[test]
    fn the_interval_is_wilsons() {
        // 10 of 100 at 95 % would be 0.0552 to 0.1744; at 99 %, by the same formula, this.
        let (low, high) = wilson(tally(90, 10));
        assert!((low - 0.0460).abs() < 5e-4 && (high - 0.2040).abs() < 5e-4, "{low} {high}");
    }

    #[test]
    fn the_one_that_fails_more_than_its_peers_is_found() {
        assert_eq!(outliers(&[tally(100, 0), tally(60, 40), tally(100, 1)], 0), 0b010);
    }

    #[test]
    fn few_requests_prove_nothing() {
        assert_eq!(outliers(&[tally(100, 0), tally(0, 1), tally(100, 0)], 0), 0);
        assert_eq!(outliers(&[tally(3, 0), tally(0, 2)], 0), 0);
    }

    #[test]
    fn one_alone_has_no_peers() {
        assert_eq!(outliers(&[tally(0, 500)], 0), 0);
        assert_eq!(outliers(&[tally(0, 500), tally(0, 0)], 0), 0);
    }

    #[test]
    fn what_befalls_most_is_no_matter_of_instances() {
        let tallies = [tally(0, 100), tally(0, 100), tally(0, 90), tally(100, 0)];
        assert!(outliers(&tallies, 0).count_ones() <= 2);
    }

    /// Half of what was left went with each window.
    #[test]
    fn those_that_rest_already_count_among_the_half() {
        let tallies = [Tally::default(), Tally::default(), tally(50, 50), tally(100, 0)];
        assert_eq!(outliers(&tallies, 2), 0);
        assert_eq!(outliers(&tallies[1..], 1), 0, "one of three is half of them");
        let five = [tallies[1], tallies[2], tallies[3], tallies[3], tallies[3]];
        assert_eq!(outliers(&five, 1), 0b00010);
    }

    proptest! {
        #[test]
        fn at_most_half_are_ejected_and_never_a_better_one_instead_of_a_worse(
            rows in prop::collection::vec((0u32..200, 0u32..200), 0..70),
            resting in 0usize..40,
        ) {
            let tallies: Vec<_> = rows.iter().map(|&(ok, failed)| tally(ok, failed)).collect();
            let found = outliers(&tallies, resting);
            let active = tallies.iter().filter(|t| t.ok + t.failed > 0).count();
            let ejected = found.count_ones() as usize;
            prop_assert!(ejected == 0 || 2 * (ejected + resting) <= active + resting);
            for (at, seen) in tallies.iter().enumerate().take(64) {
                if found & (1 << at) != 0 {
                    prop_assert!(seen.failed > 0);
                }
            }
        }
    }
}
