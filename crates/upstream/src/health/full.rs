//! An instance that refuses requests as too many: whether it is full, or refuses everybody.

use std::sync::atomic::Ordering::Relaxed;

use cutover_route::health::{Seen, lasts};
use cutover_units::Millis;

use super::Health;

/// How long an instance that refused a request as one too many counts as full, unless it says.
const FULL_MS: u64 = 1_000;
/// The longest that is believed of one that says.
const FULL_MAX_MS: u64 = 30_000;

/// So long one that refuses requests as too many may give no sign of life before it is no longer taken for full, at least.
const LIFELESS_MS: u64 = 1_000;
/// The same where nobody knows how long its answers take.
const UNKNOWN_MS: u64 = 5_000;
/// The same at most, however long its answers take.
const LIFELESS_MAX_MS: u64 = 600_000;
/// So long it is at work after a probe that found it so. While it refuses, probes follow one another by a second or two.
const WORKS_MS: u64 = 5_000;

impl Health {
    /// Whether it counts as full, as it refused a request as one too many.
    pub fn is_full(&self, now: Millis) -> bool {
        lasts(Millis(self.full_until.load(Relaxed)), FULL_MAX_MS, now)
    }

    /// Until when it takes nobody, by what it said, where that is longer than a refusal usually lasts.
    pub fn refuses_until(&self, now: Millis) -> Option<Millis> {
        let until = self.full_until.load(Relaxed);
        (self.is_full(now) && until.saturating_sub(now.0) > FULL_MS).then_some(Millis(until))
    }

    /// Whether it serves others while it refuses some: its probes find it at work; or others of ours are there, and in twice
    /// the time that its answers usually take it has given a sign of life, and somebody has been there for a second. At first
    /// nobody can know.
    pub fn serves_others(&self, usual_us: u64, now: Millis) -> bool {
        let has_served = || self.post.has_since(Millis(now.0.saturating_sub(LIFELESS_MS)));
        let seems_to = || {
            self.refuses_no_longer_than(LIFELESS_MS, now)
                || !self.is_lifeless(usual_us, now) && has_served()
        };
        self.works(now) || self.post.in_flight() > 0 && seems_to()
    }

    /// Whether it has said nothing but no in twice the time that its answers usually take, and in a second at least, and
    /// is not found at work either.
    pub fn is_lifeless(&self, usual_us: u64, now: Millis) -> bool {
        !self.refuses_no_longer_than(patience_ms(usual_us), now) && !self.works(now)
    }

    /// A probe found so many requests running there.
    pub(super) fn was_found(&self, running: Option<u32>, now: Millis) {
        let works = running.is_some_and(|running| running > 0);
        self.works_at.store(if works { now.0 } else { 0 }, Relaxed);
    }

    /// Whether requests run there, whoever's they are and however long they take.
    fn works(&self, now: Millis) -> bool {
        let at = self.works_at.load(Relaxed);
        at != 0 && lasts(Millis(at.saturating_add(WORKS_MS)), WORKS_MS, now)
    }

    fn refuses_no_longer_than(&self, ms: u64, now: Millis) -> bool {
        let since = self.refuses_since.load(Relaxed);
        since == 0 || lasts(Millis(since.saturating_add(ms)), ms, now)
    }

    /// It answered that its queue is full: no fault of its own, and over soon. Its answers usually take so long.
    pub fn was_full(&self, (now, usual_us): (Millis, u64), wait_ms: Option<u64>) {
        // Who refuses nobody for as long as that was not asked, or took somebody: what it said before is over.
        let before = self.refused_at.swap(now.0, Relaxed);
        if now.0.saturating_sub(before) > patience_ms(usual_us).min(UNKNOWN_MS) {
            self.refuses_since.store(0, Relaxed);
        }
        let _ = self.refuses_since.compare_exchange(0, now.0.max(1), Relaxed, Relaxed);
        // Nobody waits for room at one that serves nobody, unless it says how long.
        if wait_ms.is_some() || !self.is_lifeless(usual_us, now) {
            let wait_ms = wait_ms.unwrap_or(FULL_MS).clamp(FULL_MS, FULL_MAX_MS);
            self.full_until.store(now.0.saturating_add(wait_ms), Relaxed);
        }
        self.was_seen(Seen::Refusals);
        self.post.doubt();
    }
}

fn patience_ms(usual_us: u64) -> u64 {
    match usual_us {
        0 => UNKNOWN_MS,
        us => (us / 500).clamp(LIFELESS_MS, LIFELESS_MAX_MS),
    }
}

#[cfg(test)]
mod tests {
    use cutover_route::health::{Judged, State};
    use cutover_wire::probe::Facts;
    use tokio::time::Instant;

    use super::*;

    /// A load balancer without targets says 503 like an engine that is full.
    #[test]
    fn one_that_says_nothing_but_no_serves_nobody() {
        let health = Health::default();
        let mut seat = health.post.sit();
        seat.begins(Millis(1));
        let serves = |usual_us, at| health.serves_others(usual_us, Millis(at));
        assert!(serves(0, 1_000));
        let refuses = |usual_us, at| health.was_full((Millis(at), usual_us), None);
        refuses(0, 1_000);
        refuses(0, 4_000);
        assert!(serves(0, 5_999) && !serves(0, 6_000));
        assert!(serves(3_000_000, 6_999) && !serves(3_000_000, 7_000), "its answers take long");
        health.goes_on(Instant::now());
        assert!(serves(0, 7_000), "a piece of somebody's answer");
        refuses(0, 8_000);
        assert!(serves(0, 12_999) && !serves(0, 13_000));
        health.succeeded();
        assert!(serves(0, 13_000));
    }

    /// Long answers where most are short: nothing came for twice the usual time, and their engine's excess was a failure.
    #[test]
    fn one_that_is_found_at_work_is_full_however_long_its_answers_take() {
        let health = Health::default();
        let facts = |running| Facts { running: Some(running), ..Facts::default() };
        let fit = Judged { state: State::Saturated, misses: 0 };
        let refuses = |at| health.was_full((Millis(at), 10_000), None);
        (0..=20).for_each(|at| refuses(1_000 + at * 500));
        assert!(health.is_lifeless(10_000, Millis(11_000)));
        // Nobody of ours is there: it is others whom it serves.
        health.probed((fit, Millis(11_000)), Some(facts(4)), &[]);
        let serves = |at| health.serves_others(10_000, Millis(at));
        assert!(serves(11_000) && serves(15_999) && !serves(16_000), "until the next probes tell");
        refuses(11_000);
        assert!(health.is_full(Millis(11_999)), "who comes waits for it");
        health.probed((fit, Millis(16_000)), Some(facts(1)), &[]);
        assert!(serves(16_000) && !health.is_lifeless(10_000, Millis(16_000)));
        health.probed((fit, Millis(17_000)), Some(facts(0)), &[]);
        assert!(!serves(17_000), "it has nothing to do, and refuses");
    }

    /// Those that are refused beside others are under way, too, and nobody is served.
    #[test]
    fn one_that_keeps_nobody_for_a_second_serves_nobody() {
        let health = Health::default();
        let serves = |at| health.serves_others(60_000_000, Millis(at));
        health.was_full((Millis(1_000), 60_000_000), None);
        let mut refused = health.post.sit();
        refused.begins(Millis(1_900));
        assert!(serves(1_999) && !serves(2_000), "a minute is what its answers take");
        drop(refused);
        let mut taken = health.post.sit();
        taken.begins(Millis(2_000));
        assert!(!serves(2_999) && serves(3_000));
    }

    /// What it said at night would make the morning's excess a failure, whatever that costs.
    #[test]
    fn a_refusal_of_long_ago_says_nothing_of_todays() {
        let health = Health::default();
        let mut seat = health.post.sit();
        seat.begins(Millis(1));
        let serves = |usual_us, at| health.serves_others(usual_us, Millis(at));
        let refuses = |usual_us, at| health.was_full((Millis(at), usual_us), None);
        refuses(0, 1_000);
        assert!(health.is_full(Millis(1_999)));
        refuses(0, 6_000);
        assert!(!serves(0, 6_000), "no more than 5 s apart");
        assert!(!health.is_full(Millis(6_000)), "nobody waits for it");
        health.was_full((Millis(6_000), 0), Some(2_000));
        assert!(health.is_full(Millis(7_999)), "but as long as it says");
        assert_eq!(health.refuses_until(Millis(6_999)), Some(Millis(8_000)));
        assert_eq!(health.refuses_until(Millis(7_000)), None, "as any refusal");
        refuses(0, 11_001);
        assert!(serves(0, 16_000) && !serves(0, 16_001));
        refuses(500_000, 20_000);
        refuses(500_000, 21_001);
        assert!(serves(500_000, 22_000) && !serves(500_000, 22_001), "its answers take no time");
    }
}
