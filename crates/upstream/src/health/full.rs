//! An instance that refuses requests as too many: whether it is full, or refuses everybody.

use std::sync::atomic::Ordering::Relaxed;

use cutover_route::health::{Seen, lasts};
use cutover_units::Millis;

use super::Health;

/// How long an instance that refused a request as one too many counts as full, unless it says.
const FULL_MS: u64 = 1_000;
/// The longest that is believed of one that says.
const FULL_MAX_MS: u64 = 30_000;

/// Who has been there for so long, while others are refused, is served; at least.
const SERVED_MS: u64 = 250;
/// So long after its first refusal nobody knows whether one serves anybody, at least: who is in line is sent there again a
/// second later, and is seen to be served another while later.
const UNKNOWN_MS: u64 = FULL_MS + 2 * SERVED_MS;
/// Both at most, however long refusals take.
const SERVED_MAX_MS: u64 = 30_000;
/// So long one that serves somebody, as it seems, may give no sign of life before it is no longer taken for full, at least.
const LIFELESS_MS: u64 = 30_000;
/// The same at most, however long its answers take.
const LIFELESS_MAX_MS: u64 = 600_000;
/// What one refused says nothing any more when it has refused nobody for so long.
const FORGOTTEN_MS: u64 = 60_000;
/// So long it is at work after a probe that found it so, unless the next one says otherwise. While it refuses, probes
/// follow one another by a second or two.
const WORKS_MS: u64 = 60_000;
/// The same where the next ones were missed.
const WORKED_MS: u64 = 10_000;

impl Health {
    /// Whether it counts as full, as it refused a request as one too many: others are asked first.
    pub fn is_full(&self, now: Millis) -> bool {
        lasts(Millis(self.full_until.load(Relaxed)), FULL_MAX_MS, now)
    }

    /// Whether it is worth waiting until it is no longer full: it told of a limit of its rates, or serves somebody, as it
    /// seems. Otherwise whoever can be sent elsewhere is.
    pub fn is_waited_for(&self, now: Millis) -> bool {
        // Whoever was served after its last refusal says nothing of the time since: nobody asks it.
        let since = self.refuses_since.load(Relaxed);
        let since = if since == 0 { self.refused_at.load(Relaxed) } else { since };
        let is_new = || {
            let unknown_ms = self.clearly_longer(UNKNOWN_MS);
            lasts(Millis(since.saturating_add(unknown_ms)), unknown_ms, now)
        };
        self.surely_refuses(now) || self.is_full(now) && is_new()
    }

    /// Whether it is full for certain: it told of a limit of its rates, or serves somebody while it refuses others.
    fn surely_refuses(&self, now: Millis) -> bool {
        self.is_limited(now) || self.is_full(now) && (self.has_served(now) || self.works(now))
    }

    /// Whether a limit of its rates holds, as it told.
    fn is_limited(&self, now: Millis) -> bool {
        lasts(Millis(self.limited_until.load(Relaxed)), FULL_MAX_MS, now)
    }

    /// Until when it takes nobody, by what it said, where that is longer than a refusal usually lasts.
    pub fn refuses_until(&self, now: Millis) -> Option<Millis> {
        let until = self.full_until.load(Relaxed);
        let is_long = until.saturating_sub(now.0) > FULL_MS;
        (is_long && self.surely_refuses(now)).then_some(Millis(until))
    }

    /// Whether it serves others while it refuses some: its probes find it at work; a limit of its rates holds; or others of
    /// ours are there, or were between its refusals, and it is not lifeless.
    pub fn serves_others(&self, usual_us: u64, now: Millis) -> bool {
        let has_others = || self.post.in_flight() > 0 || self.was_served.load(Relaxed);
        let is_known_to = self.works(now) || self.is_limited(now);
        is_known_to || has_others() && !self.is_lifeless(usual_us, now)
    }

    /// Whether it has said nothing but no for so long that nobody can be served there: since it refused first, and nobody has
    /// been there for clearly longer than a refusal takes; or for twice the time that its answers usually take, whoever is
    /// there. One that probes find at work is not, nor one that told for how long its limit holds.
    pub fn is_lifeless(&self, usual_us: u64, now: Millis) -> bool {
        let patience_ms = (usual_us / 500).clamp(LIFELESS_MS, LIFELESS_MAX_MS);
        let is_silent = !self.refuses_no_longer_than(patience_ms, now);
        let is_known_to_serve = || self.works(now) || self.is_limited(now);
        (is_silent || !self.seems_to_serve(now)) && !is_known_to_serve()
    }

    /// Clearly longer than a refusal takes.
    fn clearly_longer(&self, at_least_ms: u64) -> u64 {
        self.refusal_ms.load(Relaxed).saturating_mul(2).clamp(at_least_ms, SERVED_MAX_MS)
    }

    /// Whether somebody of ours has been there for so long that it is served.
    fn has_served(&self, now: Millis) -> bool {
        self.post.has_since(Millis(now.0.saturating_sub(self.clearly_longer(SERVED_MS))))
    }

    /// Whether somebody of ours is served there, as it seems. At first nobody can know.
    fn seems_to_serve(&self, now: Millis) -> bool {
        self.refuses_no_longer_than(self.clearly_longer(UNKNOWN_MS), now) || self.has_served(now)
    }

    /// It gives somebody an answer: what it refused before says nothing any more.
    pub(super) fn serves_one(&self) {
        if self.refuses_since.load(Relaxed) != 0 {
            self.refuses_since.store(0, Relaxed);
        }
    }

    /// A probe found so many requests running there.
    pub(super) fn was_found(&self, running: Option<u32>, now: Millis) {
        let works = running.is_some_and(|running| running > 0);
        self.works_at.store(if works { now.0 } else { 0 }, Relaxed);
    }

    /// A probe was missed.
    pub(super) fn was_missed(&self, now: Millis) {
        let at = self.works_at.load(Relaxed);
        if !lasts(Millis(at.saturating_add(WORKED_MS)), WORKED_MS, now) {
            self.works_at.store(0, Relaxed);
        }
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

    /// A refusal as one too many took so long to come.
    pub fn took_to_refuse(&self, ms: u64) {
        let more = |known: u64| Some(ms.max(known - known.saturating_sub(ms).div_ceil(8)));
        let _ = self.refusal_ms.fetch_update(Relaxed, Relaxed, more);
    }

    /// It refused by a limit of its rates, which holds for so long. One that told so before, and refuses when that time is
    /// over, though nobody was served since, is not believed again: so says a proxy whose engines are gone.
    pub fn was_limited(&self, now: Millis, wait_ms: u64) {
        let promised = self.promised.load(Relaxed);
        let ago_ms = now.0.checked_sub(promised).filter(|_| promised != 0);
        if self.refuses_since.load(Relaxed) != 0 && ago_ms.is_some_and(|ago| ago <= FORGOTTEN_MS) {
            self.promised.store(now.0, Relaxed);
            return;
        }
        self.promised.fetch_max(now.0.saturating_add(wait_ms), Relaxed);
        let wait_ms = wait_ms.clamp(FULL_MS, FULL_MAX_MS);
        self.limited_until.store(now.0.saturating_add(wait_ms), Relaxed);
        self.post.doubt();
    }

    /// It answered that its queue is full: no fault of its own, and over soon. Its answers usually take so long.
    pub fn was_full(&self, (now, usual_us): (Millis, u64), wait_ms: Option<u64>) {
        // Who has refused nobody for so long, though it was asked, took somebody: what it said before is over. While it rests,
        // or is shut by what it said, nobody asks it.
        let shut = self.limited_until.load(Relaxed);
        let before = self.refused_at.swap(now.0, Relaxed);
        let is_forgotten = now.0.saturating_sub(before.max(shut)) > FORGOTTEN_MS;
        if is_forgotten && !self.is_on_trial() {
            self.refuses_since.store(0, Relaxed);
        }
        if self.refuses_since.compare_exchange(0, now.0.max(1), Relaxed, Relaxed).is_ok() {
            self.was_served.store(before != 0 && !is_forgotten, Relaxed);
            let lapsed = |promised: u64| (promised <= now.0).then_some(0);
            let _ = self.promised.fetch_update(Relaxed, Relaxed, lapsed);
        }
        // One that serves nobody is asked like any other, unless it says for how long not to.
        if wait_ms.is_some_and(|told| told > FULL_MS) || !self.is_lifeless(usual_us, now) {
            let wait_ms = wait_ms.unwrap_or(FULL_MS).clamp(FULL_MS, FULL_MAX_MS);
            self.full_until.store(now.0.saturating_add(wait_ms), Relaxed);
        }
        self.was_seen(Seen::Refusals);
        self.post.doubt();
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
        (1..=31).for_each(|second| refuses(0, second * 1_000));
        assert!(serves(0, 30_999) && !serves(0, 31_000), "whoever is there");
        assert!(serves(20_000_000, 40_999) && !serves(20_000_000, 41_000), "its answers take long");
        assert!(health.is_waited_for(Millis(30_999)));
        assert!(!health.is_full(Millis(31_000)), "nobody waits for it any longer");
        health.goes_on(Instant::now());
        assert!(serves(0, 33_000), "a piece of somebody's answer");
        refuses(0, 34_000);
        assert!(serves(0, 63_999) && !serves(0, 64_000));
        health.succeeded();
        assert!(serves(0, 64_000));
    }

    /// In a line somebody is asked each second, which was taken for a new row of refusals: nobody was sent elsewhere for as
    /// long as the outage lasted.
    #[test]
    fn one_that_is_asked_now_and_then_and_refuses_serves_nobody() {
        for wait_ms in [None, Some(1_000), Some(30_000)] {
            let health = Health::default();
            health.was_full((Millis(1_000), 200_000), wait_ms);
            assert!(health.is_waited_for(Millis(1_999)) && !health.is_waited_for(Millis(2_500)));
            assert!(
                health.refuses_until(Millis(1_000)).is_none(),
                "nobody knows whether it serves anybody"
            );
            for at in [2_500, 3_500, 8_400] {
                health.was_full((Millis(at), 200_000), wait_ms);
                assert!(health.is_lifeless(200_000, Millis(at)));
                assert!(
                    !health.is_waited_for(Millis(at)) && health.refuses_until(Millis(at)).is_none()
                );
                assert_eq!(
                    health.is_full(Millis(at)),
                    wait_ms == Some(30_000),
                    "others are asked first"
                );
            }
            // Who was under way when it began, and is served, says nothing of the time after that.
            let ends = Health::default();
            ends.was_full((Millis(1_000), 200_000), wait_ms);
            ends.succeeded();
            assert!(ends.is_waited_for(Millis(1_999)) && !ends.is_waited_for(Millis(2_500)));
            // Long after it rested it is tried, and refuses again.
            (0..5).for_each(|_| health.failed(Millis(8_400), Millis(8_400)));
            health.was_full((Millis(60_000), 200_000), wait_ms);
            assert!(health.is_lifeless(200_000, Millis(60_000)));
        }
    }

    #[test]
    fn one_that_serves_somebody_is_believed_how_long_it_takes_nobody_else() {
        let health = Health::default();
        let mut seat = health.post.sit();
        seat.begins(Millis(1));
        health.was_full((Millis(2_000), 0), Some(5_000));
        assert_eq!(health.refuses_until(Millis(5_999)), Some(Millis(7_000)));
        assert_eq!(health.refuses_until(Millis(6_000)), None, "as any refusal");
        assert!(health.is_waited_for(Millis(6_999)) && !health.is_waited_for(Millis(7_000)));
    }

    #[test]
    fn what_is_told_of_a_limit_of_rates_holds_whoever_is_there() {
        let health = Health::default();
        health.was_limited(Millis(1_000), 20_000);
        health.was_full((Millis(1_000), 0), Some(20_000));
        assert!(health.is_waited_for(Millis(20_999)) && !health.is_waited_for(Millis(21_000)));
        assert_eq!(health.refuses_until(Millis(5_000)), Some(Millis(21_000)));
        // Nobody was asked meanwhile: that is no row.
        health.was_full((Millis(21_500), 0), None);
        assert!(health.is_lifeless(0, Millis(21_500)), "only half a second after the limit");
        health.was_full((Millis(81_501), 0), None);
        assert!(!health.is_lifeless(0, Millis(81_501)));
    }

    #[test]
    fn a_limit_is_excess_while_it_holds_and_believed_once_if_nobody_is_served_since() {
        let health = Health::default();
        let limited = |at, wait_ms| {
            health.was_limited(Millis(at), wait_ms);
            health.was_full((Millis(at), 0), Some(wait_ms));
        };
        let serves = |at| health.serves_others(0, Millis(at));
        limited(1_000, 20_000);
        limited(1_100, 19_900);
        limited(9_000, 12_000);
        assert!(serves(1_000) && serves(20_999) && !serves(21_000), "nobody is there");
        // Somebody is served, and the next ones meet it again.
        health.succeeded();
        limited(22_000, 59_000);
        assert!(serves(51_999) && !serves(52_000), "no longer than that at once");
        limited(52_100, 28_900);
        assert!(serves(80_999), "as it had told");
        limited(81_000, 20_000);
        assert!(!serves(81_000), "it told that it would be over");
        limited(101_500, 20_000);
        assert!(!serves(101_500) && !health.is_waited_for(Millis(101_500)));
        health.succeeded();
        limited(102_000, 20_000);
        assert!(serves(102_000));
    }

    /// A proxy without engines says 413 to bodies that it finds too large.
    #[test]
    fn who_is_told_that_his_request_is_wrong_was_not_served() {
        let health = Health::default();
        for at in [1_000, 2_000] {
            health.was_full((Millis(at), 0), None);
            health.refused();
        }
        assert!(health.is_lifeless(0, Millis(2_500)));
        health.goes_on(Instant::now());
        assert!(!health.is_lifeless(0, Millis(2_500)));
    }

    /// Those that are refused beside others are under way, too, and nobody is served.
    #[test]
    fn one_that_keeps_nobody_for_longer_than_it_takes_to_refuse_serves_nobody() {
        let health = Health::default();
        let serves = |at| health.serves_others(60_000_000, Millis(at));
        health.was_full((Millis(1_000), 60_000_000), None);
        let mut refused = health.post.sit();
        refused.begins(Millis(2_400));
        assert!(serves(2_499) && !serves(2_500), "a minute is what its answers take");
        drop(refused);
        let mut taken = health.post.sit();
        taken.begins(Millis(2_500));
        assert!(!serves(2_749) && serves(2_750));
        // A proxy that says no only when it has tried for long.
        health.took_to_refuse(1_500);
        assert!(serves(3_999) && !serves(4_000) && !serves(5_499) && serves(5_500));
        (0..100).for_each(|_| health.took_to_refuse(10));
        assert!(serves(4_000), "it has been quick since");
    }

    /// One slot, and all that is left of ours was refused: nobody is there while it gets free.
    #[test]
    fn one_that_serves_somebody_between_its_refusals_is_full_for_the_moment_where_nobody_is_there()
    {
        let health = Health::default();
        let serves = |at| health.serves_others(0, Millis(at));
        health.was_full((Millis(1_000), 0), None);
        assert!(!serves(1_000), "nobody was ever there");
        health.succeeded();
        health.was_full((Millis(4_000), 0), None);
        assert!(serves(4_000) && serves(5_499) && !serves(5_500));
        health.succeeded();
        health.was_full((Millis(64_001), 0), None);
        assert!(!serves(64_001), "too long ago");
    }

    /// Its slot is free a moment after its answer's end: who was refused in that moment began the row, and a second later
    /// the next one had not been there for a second.
    #[test]
    fn who_is_taken_a_moment_after_the_first_refusal_is_served_when_its_second_is_over() {
        let health = Health::default();
        health.was_full((Millis(1_000), 3_000_000), None);
        let mut taken = health.post.sit();
        taken.begins(Millis(1_700));
        for at in (1_000..4_000).step_by(10) {
            assert!(health.serves_others(3_000_000, Millis(at)), "{at}");
            assert!(!health.is_lifeless(3_000_000, Millis(at)), "{at}");
        }
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
        assert!(serves(11_000) && serves(70_999) && !serves(71_000), "until the next probe tells");
        refuses(11_000);
        assert!(health.is_full(Millis(11_999)), "who comes waits for it");
        health.probed((fit, Millis(16_000)), Some(facts(1)), &[]);
        assert!(serves(16_000) && !health.is_lifeless(10_000, Millis(16_000)));
        health.probed((fit, Millis(17_000)), Some(facts(0)), &[]);
        assert!(!serves(17_000), "it has nothing to do, and refuses");
        // Its pages hang: what the last of them told is not true for ever.
        health.probed((fit, Millis(18_000)), Some(facts(2)), &[]);
        health.probed((fit, Millis(27_999)), None, &[]);
        assert!(serves(28_000));
        health.probed((fit, Millis(28_001)), None, &[]);
        assert!(!serves(28_001));
    }

    /// What it said at night would make the morning's excess a failure, whatever that costs.
    #[test]
    fn a_refusal_of_long_ago_says_nothing_of_todays() {
        let health = Health::default();
        let serves = |at| health.serves_others(0, Millis(at));
        let refuses = |at| health.was_full((Millis(at), 0), None);
        refuses(1_000);
        let _seat = health.post.sit();
        refuses(61_000);
        assert!(
            !serves(61_000),
            "a minute apart, and nobody was served: an outage with little traffic"
        );
        refuses(121_001);
        assert!(serves(122_500) && !serves(122_501));
    }
}
