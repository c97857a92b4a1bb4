//! The instances of a pick, looked at as little as the policy needs.

use super::row::{NOBODY, Row, Scores, folded};
use super::{INSTANCES_MAX, Peer, below, mix};
use crate::health::State;

/// What a pick reads of an upstream's instances, by their places. Any function to a [`Peer`] will do; who has
/// its figures at hand, side by side, saves the looks.
pub trait Peers {
    /// What is known of one of them now.
    fn peer(&self, at: usize) -> Peer;

    /// [`Peer::id`] alone, which never changes.
    fn id(&self, at: usize) -> u64 {
        self.peer(at).id
    }

    /// [`Peer::in_flight`] alone.
    fn in_flight(&self, at: usize) -> u32 {
        self.peer(at).in_flight
    }

    /// A bit for each that counts as having more in flight than it has: see [`Peers::owed`].
    fn owing(&self) -> u64 {
        0
    }

    /// So many more one of them counts as having in flight, for requests that it refused.
    fn owed(&self, _at: usize) -> u32 {
        0
    }

    /// Those of a set that do not have the request's model in memory.
    fn cold(&self, set: u64) -> u64 {
        places(set).filter(|at| !self.peer(*at).warm).fold(0, |cold, at| cold | 1 << at)
    }

    /// A set by what its instances are fit for.
    fn sorted(&self, set: u64) -> Sorted {
        let mut sorted = Sorted::default();
        places(set).for_each(|at| sorted.add(at, self.peer(at).state));
        sorted
    }

    /// The requests in flight at the fittest of a set, into a row of nobody. Some that are full may be among them: those
    /// that it gives tell ([`Self::full_of`]).
    fn loads(&self, set: u64, into: &mut Row) -> u64 {
        for at in places(set) {
            let peer = self.peer(at);
            if is_fittest(&peer) {
                into.set(at, peer.in_flight);
            }
        }
        0
    }

    /// Those of a set that are full.
    fn full_of(&self, _set: u64) -> u64 {
        0
    }

    /// Takes those of a set that are full out of a row.
    fn without_full(&self, set: u64, row: &mut Row) {
        places(self.full_of(set)).for_each(|at| row.remove(at));
    }

    /// Each one's own hash of a key, for those of a set.
    fn scores(&self, set: u64, key: u64, into: &mut Scores) {
        places(set).for_each(|at| into.set(at, folded(self.id(at)), folded(key)));
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

/// Instances by what they are fit for: a bit for each. Those that drain are in none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sorted {
    /// They answer.
    pub fit: u64,
    /// They answer others.
    pub full: u64,
    /// They rest.
    pub ejected: u64,
    /// Nobody is there.
    pub down: u64,
}

impl Sorted {
    pub(super) fn add(&mut self, at: usize, state: State) {
        let set = match state {
            State::Healthy | State::Cold => &mut self.fit,
            State::Saturated => &mut self.full,
            State::Ejected => &mut self.ejected,
            State::Down => &mut self.down,
            State::Draining => return,
        };
        *set |= 1 << at;
    }

    fn and(self, other: Self) -> Self {
        Self {
            fit: self.fit | other.fit,
            full: self.full | other.full,
            ejected: self.ejected | other.ejected,
            down: self.down | other.down,
        }
    }
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
        let peer = self.again(at);
        let bit = 1 << at;
        self.rest &= !bit;
        let is_fittest = is_fittest(&peer);
        self.fittest |= if is_fittest { bit } else { 0 };
        self.others |= if is_fittest { 0 } else { bit };
        peer
    }

    /// Looks at one that was looked at before, for its figures alone.
    pub(super) fn again(&self, at: usize) -> Peer {
        let peer = self.peers.peer(at);
        Peer { in_flight: peer.in_flight.saturating_add(self.peers.owed(at)), ..peer }
    }

    /// The fittest of all. None: there is nobody.
    pub(super) fn best(&self) -> Option<Best> {
        let rest = self.peers.sorted(self.rest);
        if self.fittest | rest.fit != 0 {
            return Some(Best::Fit(self.fittest | rest.fit));
        }
        let all = if self.others == 0 { rest } else { rest.and(self.peers.sorted(self.others)) };
        if let Some(set) = [all.fit, all.full].into_iter().find(|set| *set != 0) {
            return Some(Best::Fit(set));
        }
        let rested = |at: &usize| self.peers.peer(*at).failed_at;
        let set = if all.ejected == 0 { all.down } else { all.ejected };
        places(set).min_by_key(rested).map(Best::Rested)
    }

    /// What the fittest have to do.
    pub(super) fn loads(&self, into: &mut Row) {
        let unsure = self.peers.loads(self.rest, into);
        if unsure != 0 {
            self.peers.without_full(unsure, into);
        }
        self.add_owed(into);
    }

    fn add_owed(&self, into: &mut Row) {
        places(self.peers.owing()).for_each(|at| into.more(at, self.peers.owed(at)));
    }

    /// The same where those that were asked for first were none: of the next fittest. An error: none of them is fit,
    /// and this one has rested longest. Nothing: there is nobody.
    #[cold]
    pub(super) fn loads_of_the_next(&self, into: &mut Row) -> Option<Result<(), usize>> {
        match self.best()? {
            Best::Fit(set) => {
                places(set).for_each(|at| into.set(at, self.peers.in_flight(at)));
                self.add_owed(into);
                Some(Ok(()))
            }
            Best::Rested(at) => Some(Err(at)),
        }
    }

    /// The lightest of the fittest, by chance among equals; one without the model counts as if it had so many
    /// more in flight.
    pub(super) fn lightest(&self, seed: u64, cold_counts_as: u32) -> Option<usize> {
        let weigh = |loads: &mut Row| {
            if cold_counts_as > 0 {
                loads.add(self.peers.cold(self.rest), cold_counts_as);
            }
            lightest_of(loads)
        };
        let mut loads = Row::default();
        let unsure = self.peers.loads(self.rest, &mut loads);
        self.add_owed(&mut loads);
        let mut equals = weigh(&mut loads);
        // Of the others nobody needs to know whether they are full.
        let full = self.peers.full_of(equals & unsure);
        if full != 0 {
            equals &= !full;
            if equals == 0 {
                self.peers.without_full(unsure, &mut loads);
                equals = lightest_of(&loads);
            }
        }
        if equals == 0 {
            if let Err(rested) = self.loads_of_the_next(&mut loads)? {
                return Some(rested);
            }
            equals = weigh(&mut loads);
        }
        Some(nth(equals, below(mix(seed), len(equals))))
    }

    /// The one of a set that a key belongs to: each instance has its own hash of the key, the highest wins.
    /// When an instance comes or goes, only the keys it wins or held move (rendezvous hashing; Thaler and
    /// Ravishankar, 1998).
    pub(super) fn owner(&self, set: u64, key: u64) -> Option<usize> {
        let mut scores = Scores::default();
        self.peers.scores(set, key, &mut scores);
        (set != 0).then(|| scores.highest())
    }

    /// The same, of those that have no more to do than this.
    pub(super) fn owner_within(&self, loads: &Row, bound: u32, key: u64) -> usize {
        let mut scores = Scores::default();
        self.peers.scores(self.rest, key, &mut scores);
        scores.within(loads, bound);
        scores.highest()
    }
}

/// Those that have least to do; none, if there is nobody.
fn lightest_of(loads: &Row) -> u64 {
    match loads.least() {
        NOBODY => 0,
        least => loads.equal_to(least),
    }
}

/// How many are in a set.
pub(super) fn len(set: u64) -> usize {
    set.count_ones() as usize
}

/// How many places there are up to the last of a set.
pub(super) fn len_of(set: u64) -> usize {
    INSTANCES_MAX - set.leading_zeros() as usize
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
