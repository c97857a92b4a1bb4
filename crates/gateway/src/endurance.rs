//! How long a request holds out: attempts made, time left, waits, and what is new after one.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cutover_config::Endurance;
use cutover_route::Leg;
use cutover_units::Arm;
use tokio::time::Instant;

use crate::attempt::ATTEMPTS_MAX;
use crate::exchange::{Exchange, Tried, micros};
use crate::live::UpstreamLane;

impl Exchange {
    /// It has waited, and was given a place at this upstream as it is by now: it asks the instances that it has.
    /// Nothing else of the picture that it began with changes.
    pub(crate) fn look_again(&mut self, upstream: &Arc<UpstreamLane>) {
        let Some(known) = self.live.named(&upstream.name) else { return };
        if !Arc::ptr_eq(known, upstream) && known.goes_on_as(upstream) {
            self.live = Arc::new(self.live.with_upstream(upstream));
        }
    }

    /// Nobody that it knows of a leg's upstream can serve: it looks again at those that are there by now, who may have
    /// come since it began. False: it knew them already.
    pub(crate) fn looks_for_others(&mut self, leg: Leg) -> bool {
        if self.trail.tried.is_some() {
            return self.looks_beyond(leg, 0).is_some();
        }
        let upstream = |exchange: &Self| {
            exchange.live.lane(leg.variant).map(|lane| Arc::clone(&lane.upstream))
        };
        let Some(known) = upstream(self) else { return false };
        if let Some(newer) = self.shared.newer(&known) {
            self.look_again(&newer);
        }
        // By what it has now: who is told that others came asks again.
        upstream(self).is_some_and(|now| !Arc::ptr_eq(&now, &known))
    }

    /// Looks at the instances of a leg's upstream that came since it looked last, if any did. Gives the bits of these
    /// that were tried, as their places are now: whoever was tried keeps one, behind the others.
    pub(crate) fn looks_beyond(&mut self, leg: Leg, tried: u64) -> Option<u64> {
        let known = Arc::clone(&self.live.lane(leg.variant)?.upstream);
        let newer = self.shared.newer(&known)?;
        if !newer.has_others(&known.instances) {
            return None;
        }
        let (newer, places) = newer.with_known(&known.instances);
        let last =
            self.trail.tried.and_then(|last| Some((last, self.live.lane(last.leg.variant)?)));
        if let Some((last, lane)) = last
            && lane.upstream.name == newer.name
        {
            let instance = places.get(last.instance).copied().unwrap_or(last.instance);
            self.trail.tried = Some(Tried { instance, ..last });
        }
        self.live = Arc::new(self.live.with_upstream(&Arc::new(newer)));
        let bits = places.iter().enumerate().take(64).filter(|(at, _)| tried >> at & 1 == 1);
        Some(bits.fold(0, |bits, (_, at)| bits | 1 << at.min(&63)))
    }

    /// Whether a client that goes away ends the request at its upstreams, too.
    pub(crate) fn cancels_with_client(&self) -> bool {
        self.chosen
            .legs
            .iter()
            .filter_map(|leg| self.live.lane(leg.variant))
            .all(|lane| lane.upstream.cancel_on_disconnect)
    }

    /// Requests sent to an instance so far.
    pub(crate) fn attempts(&self) -> u32 {
        self.trail.attempts + u32::from(self.trail.hedge.load(Relaxed) > 0)
    }

    /// How the use case wants it kept alive.
    pub(crate) fn endurance(&self) -> Option<&Endurance> {
        self.chosen.use_case.and_then(|at| Some(&self.live.use_case(at)?.endurance))
    }

    /// What is left until the request's own deadline, if it has one. A stream that has begun has kept it: its rest has none.
    pub(crate) fn left(&self) -> Option<Duration> {
        let deadline = self.endurance()?.deadline.filter(|_| self.trail.before.is_none())?;
        Some(deadline.saturating_sub(self.started.elapsed()))
    }

    /// Whether its own deadline has passed.
    pub(crate) fn is_late(&self) -> bool {
        self.left().is_some_and(|left| left.is_zero())
    }

    /// Whether most of its own time is left, if it has any of its own: who is asked now has the greater part.
    pub(crate) fn has_most_left(&self) -> bool {
        let deadline = self.endurance().and_then(|endurance| endurance.deadline);
        deadline.is_some_and(|deadline| self.left().is_some_and(|left| left > deadline / 2))
    }

    /// Whether so much is left until its deadline, and anything at all.
    pub(crate) fn has_time(&self, needed: Duration) -> bool {
        self.left().is_none_or(|left| !left.is_zero() && left >= needed)
    }

    /// How long requests of its use case usually wait for an arm's answers: for the first content of a stream, or for a
    /// whole one, as it wants it. No time at all where nobody knows.
    pub(crate) fn usual(&self, arm: Arm) -> Duration {
        let use_case = self.chosen.use_case.and_then(|at| self.live.use_case(at));
        let us = use_case.map_or(0, |use_case| use_case.usual.us(arm, self.head.stream));
        Duration::from_micros(us)
    }

    /// The arm that asks an upstream.
    pub(crate) fn arm_at(&self, upstream: &UpstreamLane) -> Arm {
        let asks = |leg: &&Leg| {
            let lane = self.live.lane(leg.variant);
            lane.is_some_and(|lane| lane.upstream.name == upstream.name)
        };
        self.chosen.legs.iter().find(asks).map_or(self.chosen.arm, |leg| leg.arm)
    }

    /// Whether another attempt may be made, as far as number and time go.
    pub(crate) fn may_go_on(&self) -> bool {
        self.attempts() < ATTEMPTS_MAX && !self.is_late()
    }

    /// What the one that was asked last began is its instance's fault.
    pub(crate) fn blame_instance(&self) {
        if let (Some(tried), Some((_, instance, _))) = (self.trail.tried, self.lane()) {
            instance.health.failed(tried.asked_at, self.shared.now());
        }
    }

    /// Waits before the next attempt.
    pub(crate) async fn pause(&mut self, wait: Duration) {
        let since = Instant::now();
        self.trail.asking_since = Some(since);
        tokio::time::sleep(wait).await;
        self.trail.asking_since = None;
        self.trail.waited_us += micros(since.elapsed()).0;
    }
}
