//! The instances among which a policy picks.

use super::{Draw, Peer, below, mix};

/// A set of equally fit instances, never empty.
pub struct Choice<'a> {
    set: u64,
    peer: &'a dyn Fn(usize) -> Peer,
}

impl<'a> Choice<'a> {
    /// Of the instances whose bits are set.
    pub(super) fn new(set: u64, peer: &'a dyn Fn(usize) -> Peer) -> Self {
        Self { set, peer }
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.set.count_ones() as usize
    }

    /// The nth, counted around.
    pub(super) fn nth(&self, n: usize) -> usize {
        let mut rest = self.set;
        for _ in 0..n % self.len().max(1) {
            rest &= rest - 1;
        }
        rest.trailing_zeros() as usize
    }

    /// What is known of one of them.
    pub(super) fn peer(&self, at: usize) -> Peer {
        (self.peer)(at)
    }

    /// Their places, in order.
    pub(super) fn places(&self) -> impl Iterator<Item = usize> {
        let mut rest = self.set;
        std::iter::from_fn(move || {
            (rest != 0).then(|| {
                let at = rest.trailing_zeros() as usize;
                rest &= rest - 1;
                at
            })
        })
    }

    /// The first of those with the smallest key.
    pub(super) fn min_by<K: Ord>(&self, key: impl Fn(Peer) -> K) -> Option<usize> {
        self.places().min_by_key(|at| key(self.peer(*at)))
    }

    /// Two different ones, by chance; the same twice if there is only one.
    pub(super) fn two(&self, draw: &Draw) -> (usize, usize) {
        let (mixed, len) = (mix(draw.seed), self.len());
        let first = below(mixed, len);
        if len < 2 {
            return (self.nth(first), self.nth(first));
        }
        // The second is drawn from the others.
        let second = first + 1 + below(mixed >> 32, len - 1);
        (self.nth(first), self.nth(second))
    }

    /// The one that a key belongs to: each instance has its own hash of the key, the highest wins.
    /// When an instance comes or goes, only the keys it wins or held move (rendezvous hashing;
    /// Thaler and Ravishankar, 1998).
    pub(super) fn owner(&self, key: u64) -> usize {
        let score = |at: &usize| mix(key ^ mix(self.peer(*at).id));
        self.places().max_by_key(score).unwrap_or_default()
    }
}
