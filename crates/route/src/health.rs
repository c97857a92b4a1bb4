//! What an instance is fit for, in one word, and how it comes to it.
//!
//! Three sources, kept apart: what *probes* were told ([`judge`]), how *requests* have fared lately
//! ([`rests`], [`outliers`]), and what an *operator* wants (draining). [`State`] is the worst of them.
//!
//! The words are ordered: the balancer takes the first of them for which there is an instance left,
//! so that a doubt about an instance costs it traffic only while another can serve. `Cold` is for it
//! the same as `Healthy`: what a load is worth is the policy's to say. `Draining` alone is final: its
//! requests end, and no new one begins.

use cutover_units::Millis;

mod outliers;

pub use outliers::{Tally, outliers};

/// What an instance is fit for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[repr(u8)]
pub enum State {
    /// It answers.
    #[default]
    Healthy = 0,
    /// It answers, but has to load the model first.
    Cold = 1,
    /// It answers others: its queue or its slots are full.
    Saturated = 2,
    /// It failed lately and rests.
    Ejected = 3,
    /// Its probe finds nobody there.
    Down = 4,
    /// It was taken out: what it has begun it ends.
    Draining = 5,
}

/// All states, in their order.
pub const STATES: [State; 6] =
    [State::Healthy, State::Cold, State::Saturated, State::Ejected, State::Down, State::Draining];

impl State {
    /// The word in status, metrics and logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Cold => "cold",
            Self::Saturated => "saturated",
            Self::Ejected => "ejected",
            Self::Down => "down",
            Self::Draining => "draining",
        }
    }

    /// The state that was stored as a number; what no state has is `Down`.
    pub fn from_u8(stored: u8) -> Self {
        STATES.get(usize::from(stored)).copied().unwrap_or(Self::Down)
    }

    /// Whether a request sent now is expected to be answered, if perhaps late.
    pub fn can_serve(self) -> bool {
        matches!(self, Self::Healthy | Self::Cold | Self::Saturated)
    }
}

/// What a probe came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// It answered and can serve.
    Fit(Load),
    /// It answered that it cannot, or not yet.
    Unfit,
    /// It refused the connection: nobody is there.
    Refused,
    /// It did not answer in time, or broke off.
    Missed,
}

/// What an engine told of its load; None: it does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Requests that wait inside the engine.
    pub waiting: Option<u32>,
    /// Requests being generated.
    pub running: Option<u32>,
    /// Requests it can generate at once.
    pub slots: Option<u32>,
    /// The key-value cache in use, in thousandths.
    pub cache_permille: Option<u16>,
    /// Whether one of the models that are asked of it is in memory; None: it does not load on demand.
    pub warm: Option<bool>,
}

/// From where on an instance counts as full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// So many requests waiting inside the engine.
    pub waiting: u32,
    /// So much of the key-value cache in use, in thousandths, while requests wait.
    pub cache_permille: u16,
}

impl Default for Limits {
    fn default() -> Self {
        Self { waiting: 8, cache_permille: 950 }
    }
}

/// So many probes in a row must be missed before an instance is down: a busy engine may be late once.
pub const MISSES_MAX: u32 = 3;

/// What probes say of an instance, one after the other.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Judged {
    /// What it is fit for.
    pub state: State,
    /// Probes missed in a row.
    pub misses: u32,
}

/// What requests have seen of an instance last, since its last probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Seen {
    /// Nothing.
    #[default]
    Silence,
    /// That it refuses them as too many.
    Refusals,
    /// Answers, or parts of them.
    Answers,
}

/// Goes on from one probe to the next. An instance that says anything to requests is not down, however late its probe
/// (busy is not dead); one that says itself that it cannot is, unless it answers all the same.
pub fn judge(before: Judged, probed: Probed, limits: Limits, seen: Seen) -> Judged {
    let said_no = probed == Probed::Unfit;
    match probed {
        Probed::Fit(load) => Judged { state: of_load(before.state, load, limits), misses: 0 },
        _ if seen == Seen::Answers || seen == Seen::Refusals && !said_no => {
            Judged { misses: 0, ..before }
        }
        Probed::Unfit => Judged { state: State::Down, misses: 0 },
        // A refusal is certain, but one may be the moment of a restart.
        Probed::Refused if before.misses > 0 || before.state == State::Down => {
            Judged { state: State::Down, misses: before.misses.saturating_add(1) }
        }
        Probed::Refused | Probed::Missed => {
            let misses = before.misses.saturating_add(1);
            let state = if misses >= MISSES_MAX { State::Down } else { before.state };
            Judged { state, misses }
        }
    }
}

/// Full from the limit on, and no longer full from half of it down: at the limit itself the state would
/// change with every probe.
fn of_load(before: State, load: Load, limits: Limits) -> State {
    let waiting = load.waiting.unwrap_or(0);
    let was_full = before == State::Saturated;
    let limit = if was_full { limits.waiting / 2 + 1 } else { limits.waiting };
    let cache = load.cache_permille.unwrap_or(0);
    if waiting >= limit.max(1) || (waiting > 0 && cache >= limits.cache_permille) {
        State::Saturated
    } else if load.warm == Some(false) {
        State::Cold
    } else {
        State::Healthy
    }
}

/// So many failures in a row rest an instance. Five is Envoy's default for consecutive 5xx.
pub const FAILURES_MAX: u32 = 5;
/// So long an instance rests at first; the rest doubles with each trial that fails, up to [`REST_MAX_MS`].
pub const REST_MS: u64 = 1_000;
/// The longest rest.
pub const REST_MAX_MS: u64 = 30_000;

/// Whether an instance rests after so many failures in a row, the last of them at this time.
pub fn rests(failures: u32, failed_at: Millis, now: Millis) -> bool {
    lasts(rested_at(failures, failed_at), 2 * rest_ms(failures), now)
}

/// When such a rest ends.
pub fn rested_at(failures: u32, failed_at: Millis) -> Millis {
    Millis(failed_at.0.saturating_add(rest_ms(failures)))
}

/// How long an instance rests after so many failures in a row.
fn rest_ms(failures: u32) -> u64 {
    let doublings = failures.saturating_sub(FAILURES_MAX).min(5);
    if failures < FAILURES_MAX { 0 } else { (REST_MS << doublings).min(REST_MAX_MS) }
}

/// Failures in a row, and when the last rest began for them, in one number that is changed in one step: of requests
/// that fail together each finds what the one before it left.
///
/// Who was asked before a rest began, or while it lasted as nobody else was there, tells nothing of the time after it:
/// many streams that break off with one restart are one rest, and not one that doubled with each of them. So the rest
/// doubles with trials alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Row {
    /// Failures since the last success, but for those that told nothing new.
    pub failures: u32,
    /// When the last rest began; it outlives a success.
    pub rests_from: Millis,
}

impl Row {
    /// So many bits of the number count failures.
    const BITS: u32 = 16;
    const MOST: u64 = (1 << Self::BITS) - 1;

    /// The row that was stored as a number.
    pub fn from_u64(stored: u64) -> Self {
        let failures = u32::try_from(stored & Self::MOST).unwrap_or(u32::MAX);
        Self { failures, rests_from: Millis(stored >> Self::BITS) }
    }

    /// As a number. Times go to the year 10889.
    pub fn to_u64(self) -> u64 {
        u64::from(self.failures).min(Self::MOST) | self.rests_from.0 << Self::BITS
    }

    /// One more, of a request that was asked then. None: it tells nothing new.
    #[must_use]
    pub fn failed(self, asked_at: Millis, now: Millis) -> Option<Self> {
        let from = self.rests_from;
        let is_old = asked_at <= from || asked_at.0 < from.0.saturating_add(rest_ms(self.failures));
        // A clock that was set back makes none of the requests asked from then on an old one.
        if is_old && from.0.saturating_sub(now.0) <= REST_MAX_MS {
            return None;
        }
        let failures = self.failures.saturating_add(1);
        let rests_from = if failures >= FAILURES_MAX { now } else { from };
        Some(Self { failures, rests_from })
    }

    /// Its rest, if it has one, ends now: the next request is its trial.
    #[must_use]
    pub fn rested(self, now: Millis) -> Self {
        Self { rests_from: Millis(now.0.saturating_sub(rest_ms(self.failures))), ..self }
    }

    /// A request was answered.
    #[must_use]
    pub fn succeeded(self) -> Self {
        Self { failures: 0, ..self }
    }
}

/// Whether what ends at this time lasts still. It was never to last longer than this: a clock that was set
/// back by more ends it, instead of making it last until the clock is there again.
pub fn lasts(until: Millis, longest_ms: u64, now: Millis) -> bool {
    now < until && until.0 - now.0 <= longest_ms
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMITS: Limits = Limits { waiting: 8, cache_permille: 950 };

    fn fit(waiting: u32) -> Probed {
        Probed::Fit(Load { waiting: Some(waiting), ..Load::default() })
    }

    fn after(probes: &[Probed]) -> State {
        let first = Judged::default();
        probes
            .iter()
            .fold(first, |before, probed| judge(before, *probed, LIMITS, Seen::Silence))
            .state
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_ends_a_rest() {
        const HOUR_MS: u64 = 3_600_000;
        let at = Millis(10 * HOUR_MS);
        assert!(rests(FAILURES_MAX, at, Millis(at.0 + REST_MS - 1)));
        assert!(rests(FAILURES_MAX, at, Millis(at.0 - 1)), "told by another thread just now");
        assert!(!rests(FAILURES_MAX, at, Millis(at.0 - HOUR_MS)));
        assert!(!rests(u32::MAX, at, Millis(at.0 - HOUR_MS)));
        assert!(!rests(u32::MAX, at, Millis(at.0 + HOUR_MS)));
        assert!(lasts(Millis(30), 30, Millis(0)) && !lasts(Millis(30), 29, Millis(0)));
    }

    /// A restart broke fifty streams at once: the rest was the longest there is.
    #[test]
    fn those_that_were_asked_before_a_rest_make_it_no_longer() {
        let (asked, broke) = (Millis(1_000), Millis(9_000));
        let mut row = Row::default();
        for _ in 0..50 {
            row = row.failed(asked, broke).unwrap_or(row);
        }
        assert_eq!((row.failures, row.rests_from), (FAILURES_MAX, broke));
        // Who is asked in the rest, as nobody else is there, is no trial. Who is asked with a trial is one with it.
        assert_eq!(row.failed(Millis(9_999), Millis(9_999)), None);
        assert_eq!(row.rested(Millis(9_500)).failed(Millis(9_499), Millis(9_600)), None);
        let tried = row.rested(Millis(9_500)).failed(Millis(9_500), Millis(9_600)).unwrap();
        assert_eq!((tried.failures, tried.rests_from), (FAILURES_MAX + 1, Millis(9_600)));
        row = row.failed(Millis(10_000), Millis(10_500)).unwrap();
        assert_eq!(row.failures, FAILURES_MAX + 1);
        assert_eq!(row.failed(Millis(10_400), Millis(40_000)), None);
        // After a success the last of them, still to break off, begin no new row.
        assert_eq!(row.succeeded().failed(asked, Millis(50_000)), None);
        let next = row.succeeded().failed(Millis(10_501), Millis(50_000));
        assert_eq!(next, Some(Row { failures: 1, rests_from: Millis(10_500) }));
        // The clock is set back by an hour.
        let hour = Millis(7_200_000);
        let row = Row { rests_from: hour, ..row };
        assert_eq!(row.failed(hour, Millis(hour.0 - 1)), None, "told by another thread just now");
        assert!(row.failed(Millis(3_600_000), Millis(3_600_001)).is_some());
    }

    proptest! {
        #[test]
        fn a_row_survives_being_stored(failures in 0_u32..100_000, at in 0_u64..1 << 48) {
            let row = Row { failures, rests_from: Millis(at) };
            let most = Row { failures: failures.min(65_535), ..row };
            prop_assert_eq!(Row::from_u64(row.to_u64()), most);
        }

        /// However many are under way at once.
        #[test]
        fn a_failure_that_counts_was_asked_after_the_rest_for_those_before_it(
            requests in prop::collection::vec((0_u64..60_000, 0_u64..30_000), 0..200),
        ) {
            let mut ends: Vec<_> = requests.iter().map(|(at, takes)| (at + takes, *at)).collect();
            ends.sort_unstable();
            let mut row = Row::default();
            for (end, asked) in ends {
                let Some(next) = row.failed(Millis(asked), Millis(end)) else { continue };
                prop_assert!(Millis(asked) > row.rests_from);
                prop_assert!(!rests(row.failures, row.rests_from, Millis(asked)));
                row = next;
            }
        }
    }

    #[test]
    fn a_state_survives_being_stored() {
        for state in STATES {
            assert_eq!(State::from_u8(state as u8), state);
        }
        assert_eq!(State::from_u8(77), State::Down);
    }

    #[test]
    fn the_order_is_the_one_in_which_instances_are_taken() {
        assert!(STATES.windows(2).all(|pair| pair[0] < pair[1]));
    }

    #[test]
    fn one_late_probe_is_not_death_and_three_are() {
        use Probed::{Missed, Refused, Unfit};
        assert_eq!(after(&[Missed, Missed]), State::Healthy);
        assert_eq!(after(&[Missed, Missed, fit(0), Missed, Missed]), State::Healthy);
        assert_eq!(after(&[Missed; 3]), State::Down);
        assert_eq!(after(&[Refused]), State::Healthy);
        assert_eq!(after(&[Refused, Refused]), State::Down);
        assert_eq!(after(&[Refused, Refused, Missed]), State::Down);
        assert_eq!(after(&[Unfit]), State::Down);
        assert_eq!(after(&[Unfit, fit(0)]), State::Healthy);
    }

    #[test]
    fn an_instance_that_answers_requests_is_not_down() {
        for (seen, probed) in [
            (Seen::Answers, Probed::Missed),
            (Seen::Answers, Probed::Refused),
            (Seen::Answers, Probed::Unfit),
            (Seen::Refusals, Probed::Missed),
        ] {
            let mut judged = Judged::default();
            for _ in 0..10 {
                judged = judge(judged, probed, LIMITS, seen);
                assert_eq!(judged.state, State::Healthy, "{seen:?} {probed:?}");
            }
        }
    }

    /// Each of its refusals made it one that answers: a loading engine stayed healthy for as long as requests came.
    #[test]
    fn an_instance_that_says_itself_that_it_cannot_is_down_whatever_it_refuses() {
        let judged = judge(Judged::default(), Probed::Unfit, LIMITS, Seen::Refusals);
        assert_eq!(judged.state, State::Down);
    }

    #[test]
    fn full_at_the_limit_and_not_again_before_half_of_it() {
        assert_eq!(after(&[fit(7)]), State::Healthy);
        assert_eq!(after(&[fit(8)]), State::Saturated);
        assert_eq!(after(&[fit(8), fit(5)]), State::Saturated);
        assert_eq!(after(&[fit(8), fit(4)]), State::Healthy);
        assert_eq!(after(&[fit(8), fit(4), fit(7)]), State::Healthy);
    }

    #[test]
    fn a_full_cache_counts_only_while_requests_wait() {
        let cache =
            |waiting| Probed::Fit(Load { waiting, cache_permille: Some(990), ..Load::default() });
        assert_eq!(after(&[cache(Some(1))]), State::Saturated);
        assert_eq!(after(&[cache(Some(0))]), State::Healthy);
        assert_eq!(after(&[cache(None)]), State::Healthy);
    }

    #[test]
    fn an_engine_without_its_model_is_cold() {
        let warm = |warm| Probed::Fit(Load { warm: Some(warm), ..Load::default() });
        assert_eq!(after(&[warm(false)]), State::Cold);
        assert_eq!(after(&[warm(false), warm(true)]), State::Healthy);
    }

    #[test]
    fn failures_in_a_row_rest_an_instance_for_longer_and_longer() {
        let rests = |failures, after_ms| rests(failures, Millis(1_000), Millis(1_000 + after_ms));
        assert!(!rests(FAILURES_MAX - 1, 0));
        assert!(rests(FAILURES_MAX, REST_MS - 1) && !rests(FAILURES_MAX, REST_MS));
        assert!(rests(FAILURES_MAX + 1, 2 * REST_MS - 1));
        assert!(rests(99, REST_MAX_MS - 1) && !rests(99, REST_MAX_MS));
    }
}
