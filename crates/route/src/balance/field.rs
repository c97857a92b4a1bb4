//! The instances of a pick, looked at as little as the policy needs, and each once.

use super::{INSTANCES_MAX, Peer, below, mix};
use crate::health::State;

/// What a pick reads of an upstream's instances, by their places. Any function to a [`Peer`] will do.
pub trait Peers {
    /// What is known of one of them now.
    fn peer(&self, at: usize) -> Peer;

    /// [`Peer::id`] alone, which never changes: who has it at hand saves the rest.
    fn id(&self, at: usize) -> u64 {
        self.peer(at).id
    }
}

impl<F: Fn(usize) -> Peer> Peers for F {
    fn peer(&self, at: usize) -> Peer {
        self(at)
    }
}

/// Whether there is no fitter one, whatever the others are. Whether coldness matters is for the policy to say:
/// a cold instance can serve.
pub(super) fn is_fittest(peer: &Peer) -> bool {
    matches!(peer.state, State::Healthy | State::Cold)
}

/// The fittest of all.
pub(super) enum Best {
    /// They can be asked: the policy picks.
    Fit(u64),
    /// None is fit: the one that has rested longest has had most time to recover.
    Rested(usize),
}

/// The instances of one pick.
pub(super) struct Field<'a, P: ?Sized> {
    peers: &'a P,
    /// A bit for each that may be taken and was not looked at yet.
    rest: u64,
    /// A bit for each that was seen to be one of the fittest, and for each of the others.
    fittest: u64,
    others: u64,
}

impl<'a, P: Peers + ?Sized> Field<'a, P> {
    /// Of the instances whose bits are set.
    pub(super) fn new(set: u64, peers: &'a P) -> Self {
        Self { peers, rest: set, fittest: 0, others: 0 }
    }

    /// Those that were not looked at yet.
    pub(super) fn rest(&self) -> u64 {
        self.rest
    }

    /// Looks at one of them. If it is one of the fittest it is remembered as that, whatever is said of it later.
    pub(super) fn look(&mut self, at: usize) -> Peer {
        let peer = self.peers.peer(at);
        let bit = 1 << at;
        self.rest &= !bit;
        let is_fittest = is_fittest(&peer);
        self.fittest |= if is_fittest { bit } else { 0 };
        self.others |= if is_fittest { 0 } else { bit };
        peer
    }

    /// Looks at one that was looked at before, for its figures alone.
    pub(super) fn again(&self, at: usize) -> Peer {
        self.peers.peer(at)
    }

    /// Looks at all that are left, and says who is fittest. None: there is nobody.
    pub(super) fn best(&mut self) -> Option<Best> {
        for at in places(self.rest) {
            self.look(at);
        }
        if self.fittest != 0 {
            return Some(Best::Fit(self.fittest));
        }
        let mut sets = [0u64; State::Draining as usize];
        for at in places(self.others) {
            if let Some(set) = sets.get_mut(self.peers.peer(at).state as usize) {
                *set |= 1 << at;
            }
        }
        let state = sets.iter().position(|set| *set != 0)?;
        if state < State::Ejected as usize {
            return Some(Best::Fit(sets[state]));
        }
        let rested = |at: &usize| self.peers.peer(*at).failed_at;
        places(sets[state]).min_by_key(rested).map(Best::Rested)
    }

    /// The lightest of the fittest, by chance among equals.
    pub(super) fn lightest(mut self, seed: u64, weight: impl Fn(&Peer) -> u32) -> Option<usize> {
        let mut lightest = Lightest::default();
        for at in places(self.rest) {
            let peer = self.look(at);
            if is_fittest(&peer) {
                lightest.weigh(at, weight(&peer));
            }
        }
        if self.fittest == 0 {
            match self.best()? {
                Best::Fit(set) => {
                    places(set).for_each(|at| lightest.weigh(at, weight(&self.again(at))));
                }
                Best::Rested(at) => return Some(at),
            }
        }
        let equals = lightest.equals;
        Some(nth(equals, below(mix(seed), len(equals))))
    }

    /// The one of a set that a key belongs to: each instance has its own hash of the key, the highest wins.
    /// When an instance comes or goes, only the keys it wins or held move (rendezvous hashing; Thaler and
    /// Ravishankar, 1998).
    pub(super) fn owner(&self, set: u64, key: u64) -> Option<usize> {
        const PLACE: u64 = INSTANCES_MAX as u64 - 1;
        // Its place in the last bits: what is left of the hash decides, without a branch that is guessed wrong.
        let score = |at: usize| folded(key ^ self.peers.id(at)) & !PLACE | at as u64;
        let highest = places(set).map(score).fold(0, u64::max);
        (set != 0).then(|| usize::try_from(highest & PLACE).unwrap_or(0))
    }
}

/// The lightest so far.
#[derive(Default)]
struct Lightest {
    weight: u32,
    equals: u64,
}

impl Lightest {
    fn weigh(&mut self, at: usize, weight: u32) {
        if self.equals == 0 || weight < self.weight {
            (self.weight, self.equals) = (weight, 0);
        }
        if weight == self.weight {
            self.equals |= 1 << at;
        }
    }
}

/// A hash of two hashes' difference: both halves of a product (as in wyhash), for one multiplication.
fn folded(hash: u64) -> u64 {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    let high = (u128::from(hash) * u128::from(GOLDEN)) >> 64;
    u64::try_from(high).unwrap_or_default() ^ hash.wrapping_mul(GOLDEN)
}

/// How many are in a set.
pub(super) fn len(set: u64) -> usize {
    set.count_ones() as usize
}

/// The places in a set, in order.
pub(super) fn places(set: u64) -> impl Iterator<Item = usize> {
    let mut rest = set;
    std::iter::from_fn(move || {
        (rest != 0).then(|| {
            let at = rest.trailing_zeros() as usize;
            rest &= rest - 1;
            at
        })
    })
}

/// The nth place in a set that is not empty, counted around.
pub(super) fn nth(set: u64, n: usize) -> usize {
    let n = n % len(set).max(1);
    let first = u64::MAX >> (63 - n);
    // Mostly nobody is missing.
    if set & first == first {
        return n;
    }
    let mut rest = set;
    for _ in 0..n {
        rest &= rest - 1;
    }
    rest.trailing_zeros() as usize
}

/// Two different places in a set, by chance; the same twice if there is only one.
pub(super) fn two(set: u64, seed: u64) -> (usize, usize) {
    let (mixed, len) = (mix(seed), len(set));
    let first = below(mixed, len);
    if len < 2 {
        return (nth(set, first), nth(set, first));
    }
    // The second is drawn from the others.
    let second = first + 1 + below(mixed >> 32, len - 1);
    (nth(set, first), nth(set, second))
}
