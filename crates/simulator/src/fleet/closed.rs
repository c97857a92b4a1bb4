//! Two instances and some clients, each of whom asks again when it is answered: how evenly a policy lets them share
//! any requests in a row, and what becomes of one that is slow for a while.
//!
//! Nobody waits for a turn of his own here, so that whoever is quick gets more; what a policy adds to that is its
//! doing. The first token comes after a tenth of the work, and is what is averaged, as at the gateway.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::Write as _;

use cutover_route::balance::{Draw, Peer, Policy, mix};
use cutover_route::health::State;
use cutover_units::Millis;

use super::averaged;
use super::trace::Chance;

/// Requests in a row that are counted.
pub const WINDOW: usize = 40;
/// What a request takes on average.
const WORK_US: u64 = 1_000_000;
/// Requests that an instance answers at once; the others wait there.
const SLOTS: usize = 16;
/// Requests before the averages have settled.
const SETTLES: usize = 100;

/// How unequal the answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Within a tenth of the mean.
    Narrow,
    /// From nothing to twice the mean.
    Wide,
    /// Exponential: many short, some several times the mean.
    Exponential,
    /// One in twenty ten times as long as the others.
    Heavy,
}

/// All of them, with the guide's words.
pub const SPREADS: [(Spread, &str); 4] = [
    (Spread::Narrow, "alike"),
    (Spread::Wide, "up to twice the mean"),
    (Spread::Exponential, "exponential"),
    (Spread::Heavy, "one in 20 ten times as long"),
];

impl Spread {
    fn work_us(self, chance: &mut Chance) -> u64 {
        match self {
            Self::Narrow => WORK_US * 9 / 10 + chance.below(WORK_US / 5),
            Self::Wide => chance.below(2 * WORK_US),
            Self::Exponential => chance.exponential(WORK_US),
            Self::Heavy if chance.below(20) == 0 => WORK_US * 10,
            Self::Heavy => WORK_US / 2 + chance.below(WORK_US),
        }
    }
}

/// What happens to two instances.
#[derive(Debug, Clone, Copy)]
pub struct Play {
    /// Clients at once.
    pub clients: usize,
    /// How unequal their answers are.
    pub spread: Spread,
    /// How many times as long the first instance takes for its first `slow_for` requests of both.
    pub slowness: u64,
    /// See there.
    pub slow_for: usize,
    /// All requests.
    pub requests: usize,
    /// Whether an answer comes whole: then the average is of whole answers.
    pub whole: bool,
    /// Another one, another chance.
    pub seed: u64,
}

#[derive(Debug, Default)]
struct Station {
    running: usize,
    /// When each was asked, and what it takes.
    queue: VecDeque<(u64, u64)>,
    in_flight: u32,
    latency_us: u64,
}

/// What happens next: an answer begins that was asked for then, or one ends.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    First { at: usize, asked_us: u64 },
    Ended { at: usize, asked_us: u64 },
}

/// A play under way.
struct Stage<'a> {
    play: &'a Play,
    policy: &'a Policy,
    chance: Chance,
    stations: [Station; 2],
    events: BinaryHeap<Reverse<(u64, Event)>>,
    now_us: u64,
    taken: Vec<usize>,
}

impl Play {
    /// Where each request went, in order.
    pub fn run(&self, policy: &Policy) -> Vec<usize> {
        let mut stage = Stage {
            play: self,
            policy,
            chance: Chance::new(mix(self.seed)),
            stations: Default::default(),
            events: BinaryHeap::new(),
            now_us: 0,
            taken: Vec::with_capacity(self.requests),
        };
        (0..self.clients).for_each(|_| stage.ask());
        while stage.taken.len() < self.requests {
            let Some(Reverse((at_us, event))) = stage.events.pop() else { break };
            stage.now_us = at_us;
            match event {
                Event::First { at, asked_us } => stage.answered(at, asked_us),
                Event::Ended { at, asked_us } => stage.ended(at, asked_us),
            }
        }
        stage.taken
    }
}

impl Stage<'_> {
    fn ask(&mut self) {
        let stations = &self.stations;
        let peer = |at: usize| Peer {
            state: State::Healthy,
            warm: true,
            in_flight: stations[at].in_flight,
            latency_us: stations[at].latency_us,
            failed_at: Millis(0),
            id: mix(at as u64),
        };
        let turn = u32::try_from(self.taken.len()).unwrap_or(0);
        let draw = Draw { seed: self.chance.next(), turn, ..Draw::default() };
        let Some(at) = self.policy.pick(stations.len(), &draw, &peer) else { return };
        self.taken.push(at);
        let work_us = self.play.spread.work_us(&mut self.chance).max(1);
        self.stations[at].in_flight += 1;
        self.stations[at].queue.push_back((self.now_us, work_us));
        self.start(at);
    }

    fn start(&mut self, at: usize) {
        let is_slow = at == 0 && self.taken.len() <= self.play.slow_for;
        let slowness = if is_slow { self.play.slowness } else { 1 };
        let station = &mut self.stations[at];
        while station.running < SLOTS {
            let Some((asked_us, work_us)) = station.queue.pop_front() else { return };
            station.running += 1;
            let took_us = work_us * slowness;
            let (first_us, ended_us) = (self.now_us + took_us / 10, self.now_us + took_us);
            if !self.play.whole {
                self.events.push(Reverse((first_us, Event::First { at, asked_us })));
            }
            self.events.push(Reverse((ended_us, Event::Ended { at, asked_us })));
        }
    }

    fn answered(&mut self, at: usize, asked_us: u64) {
        let station = &mut self.stations[at];
        station.latency_us = averaged(station.latency_us, self.now_us - asked_us);
    }

    fn ended(&mut self, at: usize, asked_us: u64) {
        if self.play.whole {
            self.answered(at, asked_us);
        }
        self.stations[at].running -= 1;
        self.stations[at].in_flight -= 1;
        self.start(at);
        self.ask();
    }
}

/// How evenly two equal instances shared.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Evenness {
    /// The most that one had of [`WINDOW`] requests in a row.
    pub most: usize,
    /// Of 1,000 such windows, those in which one had more than 28.
    pub uneven_permille: usize,
}

/// Of requests that went to these, once the averages have settled.
pub fn evenness(taken: &[usize]) -> Evenness {
    let mut seen = Evenness::default();
    let settled = taken.get(SETTLES..).unwrap_or_default();
    let (mut windows, mut uneven) = (0, 0);
    for window in settled.windows(WINDOW) {
        let second: usize = window.iter().sum();
        let most = second.max(WINDOW - second);
        seen.most = seen.most.max(most);
        windows += 1;
        uneven += usize::from(most > 28);
    }
    seen.uneven_permille = uneven * 1_000 / windows.max(1);
    seen
}

/// The guide's table of two equal instances.
pub fn table(policies: &[Policy]) -> String {
    let mut out = String::from("| clients | answers |");
    for policy in policies {
        let _ = write!(out, " `{}` |", policy.name);
    }
    let _ = writeln!(out, "\n|--:|---|{}", "--:|".repeat(policies.len()));
    for clients in [1, 8, 24, 40] {
        for (spread, words) in SPREADS {
            let _ = write!(out, "| {clients} | {words} |");
            for policy in policies {
                let play = Play { clients, spread, ..EQUALS };
                let seen = evenness(&play.run(policy));
                let percent =
                    format!("{}.{}", seen.uneven_permille / 10, seen.uneven_permille % 10);
                let _ = write!(out, " {}, {percent} % |", seen.most);
            }
            out.push('\n');
        }
    }
    out
}

/// Two equal instances.
pub const EQUALS: Play = Play {
    clients: 1,
    spread: Spread::Narrow,
    slowness: 1,
    slow_for: 0,
    requests: 20_000,
    whole: false,
    seed: 1,
};

/// The guide's table of an instance that is slow for 4,000 requests, and then as quick as the other.
pub fn recovery_table(policy: &Policy) -> String {
    let mut out = String::from(
        "| clients | times as slow | its share meanwhile | has its share again after |\n|--:|--:|--:|--:|\n",
    );
    for clients in [1, 8, 40] {
        for slowness in [2, 3, 9, 30] {
            let (percent, requests) = slow_for_a_while(policy, clients, slowness);
            let _ = writeln!(out, "| {clients} | {slowness} | {percent} % | {requests} requests |");
        }
    }
    out
}

/// Its share while it is slow, in percent, and the requests of both from then on until it has 14 of [`WINDOW`] in a
/// row: at worst of four plays.
pub fn slow_for_a_while(policy: &Policy, clients: usize, slowness: u64) -> (usize, usize) {
    const SLOW_FOR: usize = 4_000;
    let (mut percent, mut requests) = (0, 0);
    for seed in 0..4 {
        let play = Play {
            clients,
            spread: Spread::Exponential,
            slowness,
            slow_for: SLOW_FOR,
            seed,
            ..EQUALS
        };
        let taken = play.run(policy);
        let (slow, then) = taken.split_at(SLOW_FOR.min(taken.len()));
        let settled = slow.get(SETTLES..).unwrap_or_default();
        let its = settled.iter().filter(|at| **at == 0).count();
        percent = percent.max((its * 100).div_ceil(settled.len().max(1)));
        let has_share = |window: &[usize]| window.iter().filter(|at| **at == 0).count() >= 14;
        let again = then.windows(WINDOW).position(has_share);
        requests = requests.max(again.unwrap_or(then.len()));
    }
    (percent, requests)
}
