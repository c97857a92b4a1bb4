//! What arrives: how many requests, from whom, in which bursts.

use cutover_stats::Draws;
use serde::{Deserialize, Serialize};

use super::items::{Items, Reading};
use cutover_rollout::text::TextError;

/// A day in milliseconds.
pub(super) const DAY_MS: f64 = 86_400_000.0;

/// Time between two requests of a session, on average.
const SESSION_GAP_MS: f64 = 20_000.0;

/// The traffic of one use case.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Traffic {
    /// Requests per minute, averaged over a day.
    pub requests_per_minute: f64,
    /// How far the rate swings over a day, as a share of the average: 0 is flat, 1 silent at night.
    pub daily: f64,
    /// How many units (users, keys) there are; none: every request is a unit of its own.
    pub units: Option<u32>,
    /// Whether few units make most requests (the k-th as 1/k) or all alike.
    pub skew: Skew,
    /// Requests per session on average. A session is one unit's, and its errors come together.
    pub session: f64,
    /// The share of requests that stream.
    pub streams: f64,
}

/// How requests are spread over units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Skew {
    /// Evenly.
    Equal,
    /// The k-th unit makes 1/k as many as the first.
    Zipf,
}

impl Default for Traffic {
    fn default() -> Self {
        Self {
            requests_per_minute: 20.0,
            daily: 0.0,
            units: None,
            skew: Skew::Equal,
            session: 1.0,
            streams: 0.5,
        }
    }
}

const EXAMPLE: &str = "20/min,units=500,daily=50%";

impl Traffic {
    /// Reads `20/min,units=500,skew=zipf,daily=50%,session=5,streams=50%`; what is left out has its
    /// default (20 requests a minute, each a unit of its own).
    pub fn parse(text: &str) -> Result<Self, TextError> {
        let mut items = Items::read(text, EXAMPLE)?;
        let mut traffic = Self::default();
        if let Some(rate) = items.take_rate()? {
            traffic.requests_per_minute = rate;
        }
        if let Some(units) = items.take("units", Reading::Count)? {
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "a count is whole and bounded"
            )]
            let units = units as u32;
            traffic.units = Some(units);
        }
        traffic.daily = items.take("daily", Reading::Share)?.unwrap_or(traffic.daily);
        traffic.session = items.take("session", Reading::Count)?.unwrap_or(traffic.session);
        traffic.streams = items.take("streams", Reading::Share)?.unwrap_or(traffic.streams);
        match items.take_word("skew", &["equal", "zipf"])? {
            Some("zipf") => traffic.skew = Skew::Zipf,
            Some(_) => traffic.skew = Skew::Equal,
            None => {}
        }
        items.finish(&["RATE/min", "units", "skew", "daily", "session", "streams"])?;
        Ok(traffic)
    }
}

/// A request that arrives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Arrival {
    pub at_ms: f64,
    pub unit: u64,
    /// Shared by a session: below an arm's error rate, the request fails.
    pub luck: f64,
    pub heavy: bool,
    /// Decides everything else about the request, whoever serves it.
    pub seed: u64,
}

/// Requests in order of time.
#[derive(Debug)]
pub(super) struct Arrivals {
    traffic: Traffic,
    /// The share of requests that one heavy unit makes.
    heavy: f64,
    draws: Draws,
    salt: u64,
    next_ms: f64,
    /// The cumulative weight of each unit, for zipf.
    ladder: Vec<f64>,
    /// Later requests of sessions that have begun, unordered.
    pending: Vec<Arrival>,
}

/// Mixes a number into a unit's hash.
pub(super) fn mixed(salt: u64, number: u64) -> u64 {
    Draws::new(salt ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).word()
}

impl Arrivals {
    pub(super) fn new(traffic: Traffic, heavy: f64, from_ms: f64, mut draws: Draws) -> Self {
        let salt = draws.word();
        let mut ladder = Vec::new();
        if let (Some(units), Skew::Zipf) = (traffic.units, traffic.skew) {
            let mut sum = 0.0;
            ladder.extend((1..=units).map(|k| {
                sum += 1.0 / f64::from(k);
                sum
            }));
        }
        let mut arrivals =
            Self { traffic, heavy, draws, salt, next_ms: from_ms, ladder, pending: Vec::new() };
        arrivals.next_ms = arrivals.after(from_ms);
        arrivals
    }

    /// When something arrives next.
    pub(super) fn next_ms(&self) -> f64 {
        self.pending.iter().map(|arrival| arrival.at_ms).fold(self.next_ms, f64::min)
    }

    /// Hands everything that arrives before a time to `take`, in no particular order within it.
    pub(super) fn until(&mut self, to_ms: f64, mut take: impl FnMut(Arrival)) {
        while self.next_ms < to_ms {
            let at_ms = self.next_ms;
            self.next_ms = self.after(at_ms);
            let first = self.begin(at_ms);
            take(first);
            let more = 1.0 - 1.0 / self.traffic.session;
            let mut last = at_ms;
            while more > 0.0 && self.draws.chance(more) {
                last += SESSION_GAP_MS * self.draws.exponential();
                self.pending.push(Arrival { at_ms: last, seed: self.draws.word(), ..first });
            }
        }
        let mut k = 0;
        while k < self.pending.len() {
            if self.pending[k].at_ms < to_ms {
                let arrival = self.pending.swap_remove(k);
                take(arrival);
            } else {
                k += 1;
            }
        }
    }

    /// The next session's begin: a Poisson process whose rate swings over the day, by thinning.
    fn after(&mut self, mut at_ms: f64) -> f64 {
        let Traffic { requests_per_minute, daily, session, .. } = self.traffic;
        let most = requests_per_minute / session / 60_000.0 * (1.0 + daily);
        if most <= 0.0 {
            return f64::INFINITY;
        }
        loop {
            at_ms += self.draws.exponential() / most;
            if daily <= 0.0 {
                return at_ms;
            }
            let now = 1.0 - daily * (2.0 * std::f64::consts::PI * at_ms / DAY_MS).cos();
            if self.draws.chance(now / (1.0 + daily)) {
                return at_ms;
            }
        }
    }

    fn begin(&mut self, at_ms: f64) -> Arrival {
        let heavy = self.heavy > 0.0 && self.draws.chance(self.heavy);
        let number = match self.traffic.units {
            _ if heavy => u64::MAX,
            None => self.draws.word(),
            Some(units) if self.ladder.is_empty() => self.draws.below(u64::from(units)),
            Some(_) => {
                let most = self.ladder.last().copied().unwrap_or(0.0);
                let u = most * self.draws.uniform();
                self.ladder.partition_point(|weight| *weight <= u) as u64
            }
        };
        let (unit, luck) = (mixed(self.salt, number), self.draws.uniform());
        Arrival { at_ms, unit, luck, heavy, seed: self.draws.word() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(traffic: Traffic, minutes: u32) -> Vec<Arrival> {
        let mut source = Arrivals::new(traffic, 0.0, 0.0, Draws::new(4));
        let mut all = Vec::new();
        for minute in 1..=minutes {
            source.until(f64::from(minute) * 60_000.0, |arrival| all.push(arrival));
        }
        all
    }

    #[test]
    fn as_many_arrive_as_were_asked_for() {
        for traffic in ["20/min", "20/min,session=5", "20/min,daily=80%"] {
            let n = arrivals(Traffic::parse(traffic).unwrap(), 2_880).len() as f64;
            assert!((n / 2_880.0 - 20.0).abs() < 1.0, "{traffic}: {n}");
        }
    }

    #[test]
    fn the_first_of_skewed_units_makes_most() {
        let count = |skew: &str| {
            let all = arrivals(Traffic::parse(&format!("50/min,units=20,{skew}")).unwrap(), 200);
            let mut by_unit = std::collections::BTreeMap::<u64, usize>::new();
            for arrival in &all {
                *by_unit.entry(arrival.unit).or_default() += 1;
            }
            (by_unit.len(), by_unit.values().max().copied().unwrap() as f64 / all.len() as f64)
        };
        assert_eq!(count("skew=equal").0, 20);
        assert!(count("skew=equal").1 < 0.07);
        assert!(count("skew=zipf").1 > 0.25);
    }

    #[test]
    fn nights_are_quiet_when_the_rate_swings() {
        let all = arrivals(Traffic::parse("20/min,daily=90%").unwrap(), 1_440);
        let night = all.iter().filter(|a| a.at_ms < DAY_MS / 8.0).count();
        let noon = all.iter().filter(|a| (a.at_ms - DAY_MS / 2.0).abs() < DAY_MS / 16.0).count();
        assert!(noon > 5 * night, "{noon} {night}");
    }

    #[test]
    fn what_is_not_understood_is_explained() {
        for (text, want) in [
            ("20/min,unts=5", "did you mean \"units\""),
            ("20/hour", "RATE/min"),
            ("units=many", "number"),
            ("units=0", "from 1 on"),
            ("session=0", "from 1 on"),
            ("daily=5", "%"),
            ("skew=zpf", "did you mean \"zipf\""),
            ("units=5,units=6", "twice"),
        ] {
            let error = Traffic::parse(text).unwrap_err().to_string();
            assert!(error.contains(want), "{text}: {error}");
        }
        assert_eq!(Traffic::parse("").unwrap(), Traffic::default());
    }
}
