//! Asking again: how often in all, after which wait, and until when.
//!
//! Pure but for atomics: time is an argument, chance a seed.
//!
//! ```text
//! every request ── deposit: a share of one retry ──▶ ┌─────────────────────┐
//!                                                    │ ten slices of 1 s   │ + a reserve
//! every retry ◀── withdraw: one, or none is left ─── └─────────────────────┘
//! ```
//!
//! Invariants: however many threads ask, within [`WINDOW_S`] seconds no more retries are granted than
//! the share of the requests deposited in it, plus the reserve; nothing allocates, nothing locks.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::AcqRel, Ordering::Acquire};

use cutover_units::{Millis, WeightBp};

/// Seconds that a request's deposit and a retry's withdrawal are remembered for. Ten is what Finagle's
/// and linkerd's retry budgets take for `ttl`.
pub const WINDOW_S: u32 = 10;

const SLICES: usize = WINDOW_S as usize;

/// One retry, in the unit that slices count in.
const ONE: i64 = 10_000;

/// How an upstream is asked again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// What is left of it.
    pub budget: Arc<Budget>,
    /// What fills it.
    pub allowance: Allowance,
    /// How often an instance is asked a second time where there is nobody else to ask.
    pub again: u32,
}

impl Retry {
    /// A request that is made anyway.
    pub fn deposit(&self, now: Millis) {
        self.budget.deposit(&self.allowance, now);
    }

    /// Takes one retry out, if one is left.
    pub fn withdraw(&self, now: Millis) -> bool {
        self.budget.withdraw(&self.allowance, now)
    }
}

/// How much may be asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Allowance {
    /// Retries as a share of requests.
    pub share: WeightBp,
    /// Retries per second that are allowed however few requests there are: else nothing could be asked
    /// again where there is little traffic.
    pub per_second_min: u32,
}

/// A budget for asking again: a share of the traffic of the last seconds, and a reserve.
///
/// It keeps a fault from multiplying itself: where everything fails, retries add a fifth to the load of
/// a service that is down already, not the double of it.
#[derive(Debug, Default)]
pub struct Budget {
    /// Each holds its second in the upper half and a balance, as a two's complement, in the lower.
    slices: [AtomicU64; SLICES],
}

fn pack(second: u32, balance: i32) -> u64 {
    (u64::from(second) << 32) | u64::from(balance.cast_unsigned())
}

fn unpack(slice: u64) -> (u32, i32) {
    let low = u32::try_from(slice & u64::from(u32::MAX)).unwrap_or(0);
    (u32::try_from(slice >> 32).unwrap_or(0), low.cast_signed())
}

/// Seconds since 1970; the lower 32 bits are enough to tell slices apart.
fn second(now: Millis) -> u32 {
    u32::try_from((now.0 / 1_000) & u64::from(u32::MAX)).unwrap_or(0)
}

impl Budget {
    /// A request that would have been made anyway.
    pub fn deposit(&self, allowance: &Allowance, now: Millis) {
        self.add(i64::from(allowance.share.basis_points()), now);
    }

    /// Takes one retry out. False: none is left.
    #[must_use]
    pub fn withdraw(&self, allowance: &Allowance, now: Millis) -> bool {
        // Taken first and looked at then: of several that ask at once none sees what another takes.
        self.add(-ONE, now);
        let reserve = i64::from(allowance.per_second_min) * ONE * i64::from(WINDOW_S);
        let left = self.balance(now).saturating_add(reserve) >= 0;
        if !left {
            self.add(ONE, now);
        }
        left
    }

    fn add(&self, amount: i64, now: Millis) {
        let second = second(now);
        let Some(slice) = self.slices.get(second as usize % SLICES) else { return };
        // The closure always says Some.
        let _ = slice.fetch_update(AcqRel, Acquire, |before| {
            let (of, balance) = unpack(before);
            let balance = if of == second { i64::from(balance) } else { 0 };
            let after = balance.saturating_add(amount);
            let after = after.clamp(i64::from(i32::MIN), i64::from(i32::MAX));
            Some(pack(second, i32::try_from(after).unwrap_or(0)))
        });
    }

    fn balance(&self, now: Millis) -> i64 {
        let second = second(now);
        let valid = |(of, balance): (u32, i32)| {
            (second.wrapping_sub(of) < WINDOW_S).then_some(i64::from(balance))
        };
        let slices = self.slices.iter().map(|slice| unpack(slice.load(Acquire)));
        slices.filter_map(valid).sum()
    }
}

/// The wait before the same upstream is asked a second time, at most.
pub const BACKOFF_MS: u64 = 100;

/// The longest wait.
pub const BACKOFF_MAX_MS: u64 = 2_000;

/// The wait before a retry, the first being number 1: doubled each time, and of that between a half and
/// all of it by chance, so that requests that failed together do not come back together.
pub fn backoff_ms(retry: u32, seed: u64) -> u64 {
    let doublings = retry.saturating_sub(1).min(16);
    let most = (BACKOFF_MS << doublings).min(BACKOFF_MAX_MS);
    let half = most / 2;
    half + mixed(seed ^ u64::from(retry)) % (most - half + 1)
}

/// SplitMix64's finisher: neighbouring seeds give unrelated numbers.
fn mixed(seed: u64) -> u64 {
    let mut x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The longest wait that is kept here. Whoever names a longer one is not waited for with a client on the
/// line: its SDK does that better.
pub const NAMED_MAX_MS: u64 = 10_000;

/// How long to wait before the same upstream is asked again: what it named itself, else the backoff.
/// None: too long, or the wait would end after the deadline, so that the client is told instead.
pub fn wait_ms(backoff_ms: u64, named_ms: Option<u64>, left_ms: Option<u64>) -> Option<u64> {
    let wait = named_ms.map_or(backoff_ms, |named| named.max(backoff_ms));
    (wait <= NAMED_MAX_MS && left_ms.is_none_or(|left| wait < left)).then_some(wait)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fifth() -> Allowance {
        Allowance { share: bp(2_000), per_second_min: 0 }
    }

    fn bp(points: u16) -> WeightBp {
        WeightBp::new(points).unwrap()
    }

    fn granted(budget: &Budget, allowance: Allowance, asked: usize, now: Millis) -> usize {
        (0..asked).filter(|_| budget.withdraw(&allowance, now)).count()
    }

    #[test]
    fn a_fifth_of_the_requests_may_be_asked_again() {
        let budget = Budget::default();
        let now = Millis(1_000_000);
        for _ in 0..100 {
            budget.deposit(&fifth(), now);
        }
        assert_eq!(granted(&budget, fifth(), 100, now), 20);
    }

    #[test]
    fn with_little_traffic_the_reserve_is_there() {
        let some = Allowance { per_second_min: 3, ..fifth() };
        let budget = Budget::default();
        assert_eq!(granted(&budget, some, 100, Millis(5_000)), 30);
        assert_eq!(granted(&budget, some, 100, Millis(5_000 + 9_999)), 0, "within the window");
        assert_eq!(granted(&budget, some, 100, Millis(5_000 + 10_000)), 30, "and after it");
    }

    #[test]
    fn what_was_not_used_is_forgotten_and_an_idle_night_saves_nothing_up() {
        let budget = Budget::default();
        for at in 0..1_000 {
            budget.deposit(&fifth(), Millis(at * 1_000));
        }
        assert_eq!(
            granted(&budget, fifth(), 100, Millis(999_000)),
            2,
            "ten requests in ten seconds"
        );
        assert_eq!(granted(&budget, fifth(), 100, Millis(2_000_000)), 0);
    }

    #[test]
    fn the_fifth_request_earns_the_first_retry_for_as_long_as_the_window() {
        let last = Millis(1_000_999);
        let earned = |requests: usize, asked_at: u64| {
            let budget = Budget::default();
            (0..requests).for_each(|_| budget.deposit(&fifth(), last));
            granted(&budget, fifth(), 10, Millis(asked_at))
        };
        for (requests, retries) in [(4, 0), (5, 1), (9, 1), (10, 2)] {
            assert_eq!(earned(requests, last.0), retries, "{requests}");
        }
        assert_eq!([earned(5, 1_009_999), earned(5, 1_010_000)], [1, 0], "to its last millisecond");
        // What was taken is remembered as long as what earned it, not longer.
        let budget = Budget::default();
        let reserve = Allowance { per_second_min: 1, ..fifth() };
        assert_eq!(granted(&budget, reserve, 20, last), 10);
        assert_eq!(granted(&budget, reserve, 20, Millis(1_009_999)), 0);
        assert_eq!(granted(&budget, reserve, 20, Millis(1_010_000)), 10);
    }

    #[test]
    fn nothing_at_all_is_a_budget_too() {
        let none = Allowance { share: WeightBp::NONE, per_second_min: 0 };
        let budget = Budget::default();
        budget.deposit(&none, Millis(1));
        assert!(!budget.withdraw(&none, Millis(1)));
    }

    #[test]
    fn threads_together_get_no_more_than_one_alone() {
        let budget = Budget::default();
        let now = Millis(77_000);
        for _ in 0..500 {
            budget.deposit(&fifth(), now);
        }
        let granted = std::thread::scope(|scope| {
            let ask = || granted(&budget, fifth(), 200, now);
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum::<usize>()
        });
        assert!(granted <= 100, "{granted}");
        // Some may be told no while another's is looked at; what they gave back is there again.
        assert_eq!(granted + self::granted(&budget, fifth(), 200, now), 100);
    }

    #[test]
    fn waits_grow_and_end() {
        for seed in 0..200 {
            let waits: Vec<u64> = (1..8).map(|retry| backoff_ms(retry, seed)).collect();
            assert!((50..=100).contains(&waits[0]) && (100..=200).contains(&waits[1]), "{waits:?}");
            assert!(waits.iter().all(|wait| *wait <= BACKOFF_MAX_MS));
            assert!(waits[6] >= BACKOFF_MAX_MS / 2);
        }
        let different: std::collections::HashSet<_> = (0..200).map(|s| backoff_ms(3, s)).collect();
        assert!(different.len() > 50);
    }

    #[test]
    fn a_wait_that_was_named_is_kept_or_not_begun() {
        assert_eq!(wait_ms(80, None, None), Some(80));
        assert_eq!(wait_ms(80, Some(1_500), None), Some(1_500));
        assert_eq!(wait_ms(80, Some(10), None), Some(80));
        assert_eq!(wait_ms(80, Some(1_500), Some(1_500)), None);
        assert_eq!(wait_ms(80, Some(1_500), Some(1_501)), Some(1_500));
        assert_eq!(wait_ms(80, None, Some(20)), None);
        assert_eq!(wait_ms(80, Some(NAMED_MAX_MS), None), Some(NAMED_MAX_MS));
        assert_eq!(
            wait_ms(80, Some(NAMED_MAX_MS + 1), None),
            None,
            "not with a client on the line"
        );
    }

    proptest! {
        /// The bound that the budget is there for, over any sequence of requests, retries and pauses.
        #[test]
        fn no_window_holds_more_retries_than_its_share(
            share in 0u16..=10_000,
            per_second_min in 0u32..4,
            steps in prop::collection::vec((any::<bool>(), 0u64..1_500), 1..400),
        ) {
            let allowance = Allowance { share: bp(share), per_second_min };
            let budget = Budget::default();
            let (mut now, mut requests, mut retries) = (0u64, Vec::new(), Vec::new());
            for (is_request, pause) in steps {
                now += pause;
                if is_request {
                    budget.deposit(&allowance, Millis(now));
                    requests.push(now / 1_000);
                } else if budget.withdraw(&allowance, Millis(now)) {
                    retries.push(now / 1_000);
                    let from = (now / 1_000).saturating_sub(u64::from(WINDOW_S) - 1);
                    let within = |all: &[u64]| all.iter().filter(|at| **at >= from).count() as u64;
                    let earned = within(&requests) * u64::from(share);
                    let reserve = u64::from(per_second_min * WINDOW_S) * 10_000;
                    prop_assert!(within(&retries) * 10_000 <= earned + reserve);
                }
            }
        }
    }
}
