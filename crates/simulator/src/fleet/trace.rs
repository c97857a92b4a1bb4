//! Streams of requests.

use cutover_route::balance::mix;

use super::INSTANCES;

/// A stream of requests, and how fast the instances are that it meets.
#[derive(Debug)]
pub struct Trace {
    /// Its name.
    pub name: &'static str,
    /// What it stands for.
    pub doc: &'static str,
    /// The time that work takes at each instance, as a multiple of the fastest's.
    pub slowness: [u64; INSTANCES],
    /// Mean time between arrivals, in microseconds.
    gap_us: u64,
    /// Requests of a burst come ten times as fast; 0: no bursts, else so many of them in a row.
    burst: u64,
    /// Different prompt beginnings; the nth is asked for in proportion to 1/n.
    prefixes: u64,
    /// Tokens of a beginning.
    prefix_tokens: u64,
    /// Different models, asked for in proportion to 1/n.
    models: u64,
    /// Whether one answer in twenty is ten times as long.
    heavy: bool,
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ask {
    /// When it comes, in microseconds.
    pub at_us: u64,
    /// Which model it asks for.
    pub model: u16,
    /// Which conversation it belongs to.
    pub session: u64,
    /// How its prompt begins.
    pub prefix: u64,
    /// Tokens of that beginning.
    pub prefix_tokens: u64,
    /// Tokens of the whole prompt.
    pub prompt_tokens: u64,
    /// Tokens of the answer.
    pub answer_tokens: u64,
}

/// Requests in a trace.
const REQUESTS: u64 = 4_000;
/// Conversations.
const SESSIONS: u64 = 200;

/// All traces.
pub static TRACES: &[Trace] = &[
    Trace { name: "even", doc: "equal instances, one application, no bursts", ..EVEN },
    Trace {
        name: "skewed",
        doc: "one instance at a third of the others' speed, a few answers ten times as long",
        slowness: [3, 1, 1, 1],
        gap_us: 420_000,
        heavy: true,
        ..EVEN
    },
    Trace { name: "bursty", doc: "forty requests at once, then silence", burst: 40, ..EVEN },
    Trace {
        name: "prefix-heavy",
        doc: "forty applications, each with a system prompt of 6,000 tokens",
        prefixes: 40,
        prefix_tokens: 6_000,
        gap_us: 700_000,
        ..EVEN
    },
    Trace {
        name: "three models",
        doc: "three models on four instances, each of which holds one at a time",
        models: 3,
        gap_us: 420_000,
        ..EVEN
    },
];

const EVEN: Trace = Trace {
    name: "even",
    doc: "",
    slowness: [1; INSTANCES],
    gap_us: 220_000,
    burst: 0,
    prefixes: 1,
    prefix_tokens: 200,
    models: 1,
    heavy: false,
};

impl Trace {
    /// Its requests, in order of time.
    pub fn asks(&self) -> Vec<Ask> {
        let mut chance = Chance::new(mix(self.name.len() as u64));
        let mut at_us = 0;
        let mut asks = Vec::new();
        for request in 0..REQUESTS {
            at_us += self.gap(request, &mut chance);
            let prefix = chance.harmonic(self.prefixes);
            let long = self.heavy && chance.below(20) == 0;
            asks.push(Ask {
                at_us,
                model: u16::try_from(chance.harmonic(self.models)).unwrap_or(0),
                session: chance.below(SESSIONS),
                prefix,
                prefix_tokens: self.prefix_tokens,
                prompt_tokens: self.prefix_tokens + 50 + chance.below(400),
                answer_tokens: (20 + chance.below(160)) * if long { 10 } else { 1 },
            });
        }
        asks
    }

    /// The time to the next arrival: exponential, or all at once and then a pause as long as the burst
    /// would have taken.
    fn gap(&self, request: u64, chance: &mut Chance) -> u64 {
        if self.burst == 0 {
            return chance.exponential(self.gap_us);
        }
        if request.is_multiple_of(self.burst) { self.gap_us * self.burst } else { 0 }
    }
}

/// Seeded chance: a counter and a hash.
pub(super) struct Chance(u64);

impl Chance {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(1);
        mix(self.0)
    }

    pub(super) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// A number below n, k in proportion to 1/(k+1).
    fn harmonic(&mut self, n: u64) -> u64 {
        // In whole numbers, so that every machine draws the same.
        const SCALE: u64 = 1 << 32;
        let total: u64 = (1..=n).map(|k| SCALE / k).sum();
        let mut left = self.below(total);
        (0..n)
            .find(|k| {
                let share = SCALE / (k + 1);
                let here = left < share;
                left = left.saturating_sub(share);
                here
            })
            .unwrap_or(0)
    }

    /// About exponential with this mean, in whole numbers: the sum of a geometric number of equal
    /// parts.
    pub(super) fn exponential(&mut self, mean: u64) -> u64 {
        const PARTS: u64 = 64;
        let mut parts = 0;
        while self.below(PARTS + 1) != 0 {
            parts += 1;
        }
        parts * mean / PARTS
    }
}
