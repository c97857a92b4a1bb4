//! Engines that tell how many requests they take at once: none waits inside one while another has a slot free.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;

use cutover_route::health::State;
use cutover_testkit::fake::{Fake, Gate, Persona, Reply, Setup};

use crate::harness::{Rig, ask, engines, now, one_arm, until};

/// How many clients ask at a time, and how many answers they get.
const CLIENTS: usize = 8;
const ANSWERS: u64 = 60;

/// Two engines, each of which answers when its gate says so.
struct Engines {
    fakes: [Fake; 2],
    gates: [Gate; 2],
    /// How many answers each was allowed.
    let_go: [AtomicU64; 2],
    rig: Rig,
}

impl Engines {
    fn start(slots: [usize; 2], more: &str) -> Self {
        let start = |slots| Fake::start_with(Setup { slots, ..Setup::new(Persona::LlamaCpp) });
        let fakes = slots.map(start);
        let gates = [Gate::new(), Gate::new()];
        for (fake, gate) in fakes.iter().zip(&gates) {
            fake.always(Reply::words(1).hold_headers(gate));
        }
        let [a, b] = &fakes;
        let rig = Rig::start(&one_arm(&format!("{}\n{more}", engines("llamacpp", &[a, b]))));
        rig.watch_instances();
        let engines = Self { fakes, gates, let_go: Default::default(), rig };
        until("both have told", || {
            engines.of_each(|lane| lane.health.facts().is_some()) == [true, true]
        });
        engines
    }

    fn of_each<T>(&self, of: impl Fn(&cutover_gateway::InstanceLane) -> T) -> Vec<T> {
        let live = self.rig.gateway.live();
        live.lanes[0].upstream.instances.iter().map(of).collect()
    }

    /// How many requests each has begun and not answered.
    fn held(&self) -> [u64; 2] {
        [0, 1].map(|at| self.gates[at].arrivals() - self.let_go[at].load(Relaxed))
    }

    fn answers(&self, at: usize) {
        self.let_go[at].fetch_add(1, Relaxed);
        self.gates[at].release(1);
    }

    /// Clients that ask again when they are answered, for as long as this takes.
    fn meanwhile(&self, then: impl FnOnce()) {
        let end = End { gates: &self.gates, done: AtomicBool::new(false) };
        thread::scope(|scope| {
            for _ in 0..CLIENTS {
                scope.spawn(|| {
                    while !end.done.load(Relaxed) {
                        let answer = self.rig.chat(&[], &ask("app"));
                        assert_eq!(answer.status, 200, "{}", answer.text());
                    }
                });
            }
            let _end = Ends(&end);
            then();
        });
    }
}

/// How the clients are let go.
struct End<'a> {
    gates: &'a [Gate; 2],
    done: AtomicBool,
}

/// Lets them go, also where the test fails.
struct Ends<'a>(&'a End<'a>);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.done.store(true, Relaxed);
        self.0.gates.iter().for_each(Gate::open);
    }
}

#[test]
fn no_engine_is_sent_more_than_it_has_slots_while_another_has_one_free() {
    for policy in ["least-latency", "least-outstanding", "round-robin", "session", "model-aware"] {
        let more = format!("queue = {{ wait = \"1 h\" }}\nbalance = \"{policy}\"");
        let engines = Engines::start([2, 2], &more);
        engines.meanwhile(|| {
            for answer in 0..ANSWERS {
                until("as many as there are slots", || engines.held().iter().sum::<u64>() == 4);
                assert_eq!(engines.held(), [2, 2], "{policy}, after {answer} answers");
                assert_eq!(engines.of_each(|lane| lane.state(now())), [State::Saturated; 2]);
                // One of them is six times as fast.
                engines.answers(usize::from(answer % 7 == 6));
            }
        });
        assert!(engines.fakes.iter().all(|fake| fake.in_flight() == 0));
    }
}
