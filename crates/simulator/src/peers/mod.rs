//! Other controllers' rules, on the same traffic and the same truth.
//!
//! Each rule is written down from its project's documentation and source, with the values of its own
//! examples; it is a comparison of decision rules, not of products. One file per rule, one row in
//! [`PEERS`]. A policy sees the windows that our evidence sees and chooses weights; requests are the
//! same under every policy (same seed, same run).

mod argo;
mod compare;
mod flagger;
mod growthbook;
mod kayenta;

use cutover_units::{Arm, Millis, WeightBp};

use super::outcome::{End, Outcome, Run};
use super::trial::{BEGAN, Trial};
use super::world::{Setting, World};
use cutover_rollout::Spec;
use cutover_rollout::{Exposure, Window};

pub use compare::{COMPARED, Compared, Faced, compare, table};

/// A comparison policy.
#[derive(Debug)]
pub struct Peer {
    /// What it is called.
    pub name: &'static str,
    /// What it does, in a sentence.
    pub rule: &'static str,
    /// Where the rule is from.
    pub source: &'static str,
    start: fn() -> Box<dyn Policy>,
}

/// All of them.
pub static PEERS: [Peer; 5] =
    [argo::LENIENT, argo::STRICT, flagger::ROW, kayenta::ROW, growthbook::ROW];

/// What a rule says after a look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Say {
    Weight(u16),
    Promote,
    RollBack,
}

/// A rule at work.
trait Policy {
    /// Time between two looks.
    fn interval(&self) -> Millis;
    /// After each interval: what was seen in it.
    fn look(&mut self, seen: &Window) -> Say;
    /// The weight to begin with.
    fn first_weight(&self) -> u16;
    /// Whether it asks for scored copies: half of the requests then have one.
    fn wants_pairs(&self) -> bool {
        false
    }
}

fn setting(weight: u16, pairs: bool) -> Setting {
    let share = |bp: u16| WeightBp::new(bp).unwrap_or(WeightBp::ALL);
    Setting { weight: share(weight), shadow: share(if pairs { 5_000 } else { 0 }) }
}

/// What would happen under a peer's rule. The spec says only what counts as a false decision.
pub fn simulate_peer(peer: &Peer, spec: &Spec, trial: &Trial) -> Outcome {
    let mut outcome = Outcome::new(spec, trial);
    for run in trial.runs.clone() {
        outcome.add(spec, trial, one(peer, trial, run));
    }
    outcome
}

fn one(peer: &Peer, trial: &Trial, run: u32) -> Run {
    let mut policy = (peer.start)();
    let mut world = World::new((&trial.traffic, &trial.truth), BEGAN, trial.draws(run));
    let mut window = Window { from: BEGAN, to: BEGAN, ..Window::default() };
    let mut now = setting(policy.first_weight(), policy.wants_pairs());
    let over = BEGAN.0 + trial.horizon.0;
    let mut end = End::Held;
    while end == End::Held && window.to.0 < over {
        window.exposures.clear();
        window.pairs.clear();
        window.votes.clear();
        (window.from, window.to) = (window.to, Millis(window.to.0 + policy.interval().0));
        world.fill(&mut window, now);
        match policy.look(&window) {
            Say::Weight(weight) => now = setting(weight, policy.wants_pairs()),
            Say::Promote => end = End::Promoted,
            Say::RollBack => end = End::RolledBack,
        }
    }
    Run {
        end,
        took: Millis(window.to.0 - BEGAN.0),
        damage: world.damage,
        steps: Vec::new(),
        last_step: 0,
        unproved: false,
        why: String::new(),
    }
}

fn of(window: &Window, arm: Arm) -> impl Iterator<Item = &Exposure> {
    window.exposures.iter().filter(move |seen| seen.arm == arm)
}

/// The share of an arm's requests that succeeded; none without requests.
fn success(window: &Window, arm: Arm) -> Option<f64> {
    let n = of(window, arm).count();
    let good = of(window, arm).filter(|seen| !seen.served.failed).count();
    (n > 0).then(|| good as f64 / n as f64)
}
