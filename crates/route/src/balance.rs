//! Which instance of an upstream takes an attempt.
//!
//! By fitness first: of the instances not yet tried one in the best [`State`] that any
//! of them has; a resting or absent one is taken only when there is no other, since a single instance must
//! always be tried. Among equals a [`Policy`] picks. One that draws by chance, or knows whose turn it is, looks
//! at those it drew, and at all only where those are not well: to look at 64 takes longer than to decide.
//!
//! A pick is a pure function of counters read at that moment. Other requests change them meanwhile: how fit
//! an instance is one look decides, and whatever a second one says, it may be taken for that. Nothing is
//! allocated.

use std::hash::Hasher;

use cutover_units::Millis;
use siphasher::sip::SipHasher13;

use crate::health::State;

mod board;
mod field;
mod least_latency;
mod least_outstanding;
mod lineup;
mod model_aware;
mod prefix_affine;
mod round_robin;
mod row;
mod session;

pub use board::{Board, Post, Room, Seat};
pub use field::{Peers, Sorted};
pub use lineup::{Lined, Lineup, Taken};
pub use row::{Row, Scores};

use field::Field;

/// Most instances of one upstream: a set of them is one word.
pub const INSTANCES_MAX: usize = 64;

/// What the balancer knows of one instance when it picks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// What it is fit for.
    pub state: State,
    /// Whether it is known to have the request's model in memory, or to be reading it in.
    pub warm: bool,
    /// Requests sent and not finished.
    pub in_flight: u32,
    /// Moving average of the time to the first byte, in microseconds; 0: nothing measured.
    pub latency_us: u64,
    /// When it failed last.
    pub failed_at: Millis,
    /// A hash of its address, which outlives reloads and is the same in every replica.
    pub id: u64,
}

/// What a request brings to the choice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Draw {
    /// The instances not to take: bit i for instance i.
    pub tried: u64,
    /// Any number that differs from request to request.
    pub seed: u64,
    /// The upstream's count of picks.
    pub turn: u32,
    /// A hash of the conversation or unit, if the request has one.
    pub session: Option<u64>,
    /// A hash of the prompt's beginning, if it is long enough to be worth keeping together.
    pub prefix: Option<u64>,
}

/// How one of several equally fit instances is chosen.
#[derive(Debug)]
pub struct Policy {
    /// The word in the config file.
    pub name: &'static str,
    /// What it does, when to take it.
    pub doc: &'static str,
    /// Whether it reads [`Draw::prefix`], which costs a look at the prompt.
    pub reads_prefix: bool,
    pub(crate) kind: Kind,
}

/// Which of them a policy is. Not a function, so that it is compiled for what it reads its instances from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    LeastLatency,
    LeastOutstanding,
    RoundRobin,
    Session,
    PrefixAffine,
    ModelAware,
}

impl PartialEq for Policy {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Policy {}

/// All policies, in the order of the reference. The first is the default.
pub static POLICIES: &[Policy] = &[
    least_latency::POLICY,
    least_outstanding::POLICY,
    round_robin::POLICY,
    session::POLICY,
    prefix_affine::POLICY,
    model_aware::POLICY,
];

impl Policy {
    /// The policy of this name.
    pub fn by_name(name: &str) -> Option<&'static Self> {
        POLICIES.iter().find(|policy| policy.name == name)
    }

    /// Picks one of `count` instances, never one of [`Draw::tried`] and never one that drains. None if there
    /// is no other. Instances beyond [`INSTANCES_MAX`] are not seen.
    pub fn pick<P: Peers + ?Sized>(&self, count: usize, draw: &Draw, peers: &P) -> Option<usize> {
        let all = if count < INSTANCES_MAX { !(u64::MAX << count) } else { u64::MAX };
        self.choose(all & !draw.tried, draw, peers)
    }

    /// Picks one of those whose bits are set.
    fn choose<P: Peers + ?Sized>(&self, set: u64, draw: &Draw, peers: &P) -> Option<usize> {
        let field = Field::new(set, peers);
        match self.kind {
            Kind::LeastLatency => least_latency::choose(field, draw),
            Kind::LeastOutstanding => least_outstanding::choose(&field, draw),
            Kind::RoundRobin => round_robin::choose(&field, draw),
            Kind::Session => session::choose(field, draw),
            Kind::PrefixAffine => prefix_affine::choose(field, draw),
            Kind::ModelAware => model_aware::choose(&field, draw),
        }
    }
}

/// A hash of an id, a session or a prompt's beginning: the same in every process and release.
pub fn key_of(bytes: &[u8]) -> u64 {
    let mut hash = SipHasher13::new_with_key(&[0; 16]);
    hash.write(bytes);
    hash.finish()
}

/// The low 32 bits of a hash scaled to `0..n`.
fn below(hash: u64, n: usize) -> usize {
    let scaled = ((hash & 0xffff_ffff) * n as u64) >> 32;
    usize::try_from(scaled).unwrap_or(0)
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood, 2014): makes a counter into a good hash.
pub fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests;
