//! Several instances of an engine and a stream of requests: what each balance policy would do to the
//! wait for the first token.
//!
//! ```text
//!   Trace (arrivals) > Policy::pick, the gateway's own > queue > slot > load? prefill decode > Seen
//! ```
//!
//! The policies are those that route real requests; the engine is a model of one: a fixed number of
//! slots with a queue in arrival order, a prompt's known beginning read from a cache of the last few,
//! a model's weights read in when another was used there last. Times are virtual, chance is seeded:
//! the same arguments give the same figures on every machine.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::fmt::Write as _;

use cutover_route::balance::{Draw, Peer, Policy, mix};
use cutover_route::health::State;
use cutover_units::Millis;

pub mod closed;
mod trace;

pub use trace::{Ask, TRACES, Trace};

/// How many instances a trace meets.
const INSTANCES: usize = 4;
/// Requests that an instance answers at once.
const SLOTS: usize = 4;
/// Prompt beginnings that an instance remembers.
const PREFIXES: usize = 8;
/// Prompt tokens read in a second.
const PREFILL_TOKENS_PER_S: u64 = 2_000;
/// Answer tokens written in a second, each slot.
const DECODE_TOKENS_PER_S: u64 = 40;
/// Time to read a model's weights in.
const LOAD_US: u64 = 20_000_000;
/// Weight of a new latency in the moving average, as the gateway has it: 1/8.
const EWMA_SHIFT: u32 = 3;

/// What was seen of a trace under a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The trace's name.
    pub trace: &'static str,
    /// The policy's name.
    pub policy: &'static str,
    /// Median wait for the first token, in milliseconds.
    pub p50_ms: u64,
    /// 99th percentile of the wait for the first token, in milliseconds.
    pub p99_ms: u64,
    /// Requests whose prompt's beginning was in the instance's cache, in percent.
    pub cached_percent: u64,
    /// How often a model was read in.
    pub loads: u64,
    /// Requests at the busiest instance, in percent of an even share.
    pub busiest_percent: u64,
}

#[derive(Debug, Default)]
struct Engine {
    slowness: u64,
    running: usize,
    queue: VecDeque<usize>,
    in_flight: u32,
    latency_us: u64,
    model: Option<u16>,
    prefixes: VecDeque<u64>,
    taken: u64,
}

/// What happens next, in order of time; equal times in order of request.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    First { request: usize, at: usize },
    Ended { request: usize, at: usize },
}

/// Plays a trace.
pub fn play(trace: &Trace, policy: &'static Policy) -> Seen {
    let asks = trace.asks();
    let mut field = Field::new(trace, &asks);
    for (request, ask) in asks.iter().enumerate() {
        field.run_until(ask.at_us);
        field.arrive(request, policy);
    }
    field.run_until(u64::MAX);
    field.seen(trace, policy)
}

struct Field<'a> {
    asks: &'a [Ask],
    engines: Vec<Engine>,
    events: BinaryHeap<Reverse<(u64, Event)>>,
    waits_us: Vec<u64>,
    now_us: u64,
    cached: u64,
    loads: u64,
}

impl<'a> Field<'a> {
    fn new(trace: &Trace, asks: &'a [Ask]) -> Self {
        let engine = |at: usize| Engine { slowness: trace.slowness[at], ..Engine::default() };
        Self {
            asks,
            engines: (0..INSTANCES).map(engine).collect(),
            events: BinaryHeap::new(),
            waits_us: Vec::with_capacity(asks.len()),
            now_us: 0,
            cached: 0,
            loads: 0,
        }
    }

    fn run_until(&mut self, until_us: u64) {
        while let Some(Reverse((at_us, _))) = self.events.peek() {
            if *at_us > until_us {
                break;
            }
            let Some(Reverse((at_us, event))) = self.events.pop() else { break };
            self.now_us = at_us;
            match event {
                Event::First { request, at } => self.first(request, at),
                Event::Ended { at, .. } => self.ended(at),
            }
        }
        self.now_us = until_us;
    }

    fn arrive(&mut self, request: usize, policy: &Policy) {
        let ask = &self.asks[request];
        let peer = |at: usize| {
            let engine = &self.engines[at];
            Peer {
                state: State::Healthy,
                warm: engine.model == Some(ask.model),
                in_flight: engine.in_flight,
                latency_us: engine.latency_us,
                failed_at: Millis(0),
                id: mix(at as u64),
            }
        };
        let draw = Draw {
            tried: 0,
            seed: mix(request as u64),
            turn: u32::try_from(request).unwrap_or(0),
            session: Some(mix(ask.session)),
            prefix: Some(mix(ask.prefix)),
        };
        let Some(at) = policy.pick(INSTANCES, &draw, &peer) else { return };
        self.engines[at].in_flight += 1;
        self.engines[at].taken += 1;
        self.engines[at].queue.push_back(request);
        self.start(at);
    }

    /// Starts what waits, as far as there are slots. A model is only changed on an idle engine.
    fn start(&mut self, at: usize) {
        while let Some(&request) = self.engines[at].queue.front() {
            let engine = &mut self.engines[at];
            let ask = &self.asks[request];
            let loads = engine.model != Some(ask.model);
            if engine.running == SLOTS || (loads && engine.running > 0) {
                return;
            }
            engine.queue.pop_front();
            engine.running += 1;
            if loads {
                engine.model = Some(ask.model);
                engine.prefixes.clear();
            }
            let known = engine.prefixes.iter().position(|prefix| *prefix == ask.prefix);
            known.map(|place| engine.prefixes.remove(place));
            engine.prefixes.push_front(ask.prefix);
            engine.prefixes.truncate(PREFIXES);
            let read = ask.prompt_tokens - if known.is_some() { ask.prefix_tokens } else { 0 };
            let work = |tokens: u64, per_s: u64| tokens * 1_000_000 * engine.slowness / per_s;
            let load_us = if loads { LOAD_US } else { 0 };
            let first_us = self.now_us + load_us + work(read, PREFILL_TOKENS_PER_S);
            let ended_us = first_us + work(ask.answer_tokens, DECODE_TOKENS_PER_S);
            self.cached += u64::from(known.is_some());
            self.loads += u64::from(loads);
            self.events.push(Reverse((first_us, Event::First { request, at })));
            self.events.push(Reverse((ended_us, Event::Ended { request, at })));
        }
    }

    fn first(&mut self, request: usize, at: usize) {
        let waited_us = self.now_us - self.asks[request].at_us;
        self.waits_us.push(waited_us);
        self.engines[at].latency_us = averaged(self.engines[at].latency_us, waited_us);
    }

    fn ended(&mut self, at: usize) {
        self.engines[at].running -= 1;
        self.engines[at].in_flight -= 1;
        self.start(at);
    }

    fn seen(mut self, trace: &Trace, policy: &'static Policy) -> Seen {
        self.waits_us.sort_unstable();
        let all = self.asks.len().max(1);
        let at = |percent: usize| {
            let place = (all * percent).div_ceil(100).clamp(1, all) - 1;
            self.waits_us.get(place).copied().unwrap_or(0) / 1_000
        };
        let busiest = self.engines.iter().map(|engine| engine.taken).max().unwrap_or(0);
        Seen {
            trace: trace.name,
            policy: policy.name,
            p50_ms: at(50),
            p99_ms: at(99),
            cached_percent: self.cached * 100 / all as u64,
            loads: self.loads,
            busiest_percent: busiest * INSTANCES as u64 * 100 / all as u64,
        }
    }
}

/// A moving average after one more figure; 0: there was none yet.
fn averaged(old_us: u64, new_us: u64) -> u64 {
    let average_us = match old_us {
        0 => new_us,
        _ => old_us - (old_us >> EWMA_SHIFT) + (new_us >> EWMA_SHIFT),
    };
    average_us.max(1)
}

/// The table of the guide: each trace under each policy.
pub fn table(policies: &'static [Policy]) -> String {
    let mut out = String::from(
        "| trace | policy | first token p50 | p99 | beginnings in cache | models read in | busiest |\n\
         |---|---|--:|--:|--:|--:|--:|\n",
    );
    for trace in TRACES {
        for policy in policies {
            let seen = play(trace, policy);
            let seconds = |ms: u64| format!("{}.{:02} s", ms / 1_000, ms % 1_000 / 10);
            let row = [
                seen.trace.to_owned(),
                format!("`{}`", seen.policy),
                seconds(seen.p50_ms),
                seconds(seen.p99_ms),
                format!("{} %", seen.cached_percent),
                seen.loads.to_string(),
                format!("{} %", seen.busiest_percent),
            ];
            let _ = writeln!(out, "| {} |", row.join(" | "));
        }
    }
    out
}

#[cfg(test)]
mod tests;
