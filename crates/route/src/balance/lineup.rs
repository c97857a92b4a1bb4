//! The instances of an upstream as a picture has them, and how one of them is picked.
//!
//! Where all of them are on one board, as nearly always, a pick compares what lies there side by side, and
//! looks at those alone that are doubted. Where not (more than 64 have lived at the same time), it looks
//! at each; the policies are the same.

use std::sync::Arc;

use cutover_units::Millis;

use super::board::{Board, FEW, Post, Room, Seat, moved};
use super::field::{Peers, Sorted, is_fittest, len_of, places};
use super::row::{NOBODY, Row, Scores, folded};
use super::{Draw, INSTANCES_MAX, Peer, Policy};
use crate::health::State;

/// How often a seat that another takes first is looked for anew.
const TAKES_MAX: usize = 64;

/// The instances of an upstream, by their places in a list.
#[derive(Debug, Clone)]
pub struct Lineup {
    posts: Arc<[(Arc<Post>, u64)]>,
    /// How many requests make one of them full.
    room: Room,
    side: Option<Arc<Side>>,
}

/// The same by their posts, where those are on one board.
#[derive(Debug)]
struct Side {
    board: Arc<Board>,
    /// A bit for each post that is theirs.
    present: u64,
    /// Both halves of each one's id in one.
    ids: [u32; INSTANCES_MAX],
    /// 0 for those, and [`NOBODY`] for all others.
    others: [i32; INSTANCES_MAX],
    place_of: [u8; INSTANCES_MAX],
    post_of: [u8; INSTANCES_MAX],
}

impl Side {
    fn new(posts: &[(Arc<Post>, u64)]) -> Option<Self> {
        let board = Arc::clone(posts.first()?.0.board());
        let none = [0; INSTANCES_MAX];
        let mut side = Self {
            board,
            present: 0,
            ids: [0; INSTANCES_MAX],
            others: [NOBODY; INSTANCES_MAX],
            place_of: none,
            post_of: none,
        };
        for (place, (post, id)) in posts.iter().enumerate() {
            if !Arc::ptr_eq(post.board(), &side.board) {
                return None;
            }
            side.present |= 1 << post.at;
            (side.ids[post.at], side.others[post.at]) = (folded(*id), 0);
            side.place_of[post.at] = u8::try_from(place).ok()?;
            side.post_of[place] = u8::try_from(post.at).ok()?;
        }
        Some(side)
    }
}

impl Lineup {
    /// Of instances with these posts and ids. Those beyond [`INSTANCES_MAX`] are not seen.
    pub fn new(posts: impl Iterator<Item = (Arc<Post>, u64)>, room: impl Into<Room>) -> Self {
        let posts: Arc<[_]> = posts.take(INSTANCES_MAX).collect();
        let side = Side::new(&posts).map(Arc::new);
        Self { posts, room: room.into(), side }
    }

    /// For a request of the model in this place; None: what has it in memory is looked at. `look` says all that
    /// is known of the instance in a place.
    pub fn with<F: Fn(usize) -> Peer>(&self, model: Option<u8>, look: F) -> Lined<'_, F> {
        Lined { lineup: self, model, look }
    }
}

/// A lineup as a request sees it.
#[derive(Debug)]
pub struct Lined<'a, F> {
    lineup: &'a Lineup,
    model: Option<u8>,
    look: F,
}

/// An instance that was picked for a request, and the request's seat there.
#[derive(Debug)]
pub struct Taken {
    /// Its place.
    pub at: usize,
    /// The seat.
    pub seat: Seat,
    /// Whether it had room for one more.
    pub had_room: bool,
}

impl<F: Fn(usize) -> Peer> Lined<'_, F> {
    /// Picks one.
    pub fn pick(&self, policy: &Policy, draw: &Draw) -> Option<usize> {
        let Some(side) = &self.lineup.side else {
            return policy.pick(self.lineup.posts.len(), draw, &Looked(self));
        };
        let tried = moved(draw.tried & all(self.lineup.posts.len()), &side.post_of);
        let post = policy.choose(side.present & !tried, draw, &Beside { lined: self, side })?;
        Some(usize::from(side.place_of[post % INSTANCES_MAX]))
    }

    /// Picks one and takes a seat there. Where one has room none is filled above its room; where none has,
    /// the request waits inside one all the same.
    pub fn take(&self, policy: &Policy, draw: &Draw) -> Option<Taken> {
        let (mut at, mut lost) = (self.pick(policy, draw)?, 0);
        for _ in 0..TAKES_MAX {
            let (post, _) = self.lineup.posts.get(at)?;
            if let Some(seat) = post.sit_below(self.lineup.room.at(post)) {
                return Some(Taken { at, seat, had_room: true });
            }
            if self.were_full(draw.tried) {
                break;
            }
            // Another request was quicker, and there are more, or somebody has left meanwhile. Who is after the same
            // one again may be late again.
            lost |= 1 << (at % INSTANCES_MAX);
            if self.fit(draw.tried | lost) == 0 {
                lost = 0;
            }
            at = self.pick(policy, &Draw { tried: draw.tried | lost, ..*draw })?;
        }
        let (post, _) = self.lineup.posts.get(at)?;
        Some(Taken { at, seat: post.sit(), had_room: false })
    }

    /// Whether at one moment none of those that were not tried was well and had room. Who looks at one after the
    /// other sees all of them full that never were so at once, where one leaves while another comes: then nothing
    /// is known, and the answer is no.
    fn were_full(&self, tried: u64) -> bool {
        let set = self.untried(tried);
        let before = self.counts(set);
        self.fit(tried) == 0 && self.counts(set) == before
    }

    fn untried(&self, tried: u64) -> u64 {
        all(self.lineup.posts.len()) & !tried
    }

    /// Those that were not tried, are well and have room, as far as one look at each tells.
    fn fit(&self, tried: u64) -> u64 {
        let set = self.untried(tried);
        match &self.lineup.side {
            Some(side) => Beside { lined: self, side }.sorted(moved(set, &side.post_of)).fit,
            None => Looked(self).sorted(set).fit,
        }
    }

    /// What the posts of a set count.
    fn counts(&self, set: u64) -> [u64; INSTANCES_MAX] {
        let mut counts = [0; INSTANCES_MAX];
        for (place, (post, _)) in self.lineup.posts.iter().enumerate().take(INSTANCES_MAX) {
            if set >> place & 1 == 1 {
                counts[place] = post.count();
            }
        }
        counts
    }
}

fn all(count: usize) -> u64 {
    if count < INSTANCES_MAX { !(u64::MAX << count) } else { u64::MAX }
}

/// By their places, each looked at.
struct Looked<'a, 'b, F>(&'a Lined<'b, F>);

impl<F: Fn(usize) -> Peer> Peers for Looked<'_, '_, F> {
    fn peer(&self, at: usize) -> Peer {
        (self.0.look)(at)
    }

    fn owing(&self) -> u64 {
        let count = self.0.lineup.posts.len();
        places(all(count)).fold(0, |owing, at| owing | u64::from(self.owed(at) > 0) << at)
    }

    fn owed(&self, at: usize) -> u32 {
        self.0.lineup.posts.get(at).map_or(0, |(post, _)| post.owed())
    }

    fn id(&self, at: usize) -> u64 {
        self.0.lineup.posts.get(at).map_or(0, |(_, id)| *id)
    }
}

/// By their posts, side by side on one board.
struct Beside<'a, 'b, F> {
    lined: &'a Lined<'b, F>,
    side: &'a Side,
}

impl<F: Fn(usize) -> Peer> Beside<'_, '_, F> {
    fn look(&self, post: usize) -> Peer {
        (self.lined.look)(usize::from(self.side.place_of[post % INSTANCES_MAX]))
    }

    fn room(&self) -> Room {
        self.lined.lineup.room
    }
}

impl<F: Fn(usize) -> Peer> Peers for Beside<'_, '_, F> {
    fn peer(&self, at: usize) -> Peer {
        let board = &self.side.board;
        if board.doubted() >> at & 1 == 1 {
            return self.look(at);
        }
        let in_flight = board.in_flight(at);
        let full = in_flight >= board.room(at, self.room());
        Peer {
            state: if full { State::Saturated } else { State::Healthy },
            warm: self.cold(1 << at) == 0,
            in_flight,
            latency_us: board.latency_us(at),
            failed_at: Millis(0),
            id: self.id(at),
        }
    }

    fn id(&self, at: usize) -> u64 {
        let place = self.side.place_of[at % INSTANCES_MAX];
        self.lined.lineup.posts.get(usize::from(place)).map_or(0, |(_, id)| *id)
    }

    fn in_flight(&self, at: usize) -> u32 {
        self.side.board.in_flight(at)
    }

    fn owing(&self) -> u64 {
        self.side.board.owing()
    }

    fn owed(&self, at: usize) -> u32 {
        self.side.board.owed(at)
    }

    fn cold(&self, set: u64) -> u64 {
        let board = &self.side.board;
        match self.lined.model {
            Some(place) => board.cold(place) & set,
            None => {
                let cold = |at: &usize| !self.look(*at).warm;
                places(board.telling() & set).filter(cold).fold(0, |cold, at| cold | 1 << at)
            }
        }
    }

    fn sorted(&self, set: u64) -> Sorted {
        let Side { board, present, .. } = self.side;
        let doubted = board.doubted() & set;
        let full = board.full(*present, self.room());
        let known = set & !doubted;
        let mut sorted = Sorted { fit: known & !full, full: known & full, ..Sorted::default() };
        places(doubted).for_each(|at| sorted.add(at, self.look(at).state));
        sorted
    }

    fn full_of(&self, set: u64) -> u64 {
        self.side.board.full_of(set, self.room())
    }

    fn without_full(&self, set: u64, row: &mut Row) {
        if set.count_ones() > FEW {
            row.below(self.side.board.rooms());
        } else {
            places(self.full_of(set)).for_each(|at| row.remove(at));
        }
    }

    fn loads(&self, set: u64, into: &mut Row) -> u64 {
        let Side { board, present, others, .. } = self.side;
        let (most, narrow) = board.room_of_all(self.room(), *present);
        let most = i32::try_from(most).unwrap_or(NOBODY);
        into.read(&board.in_flight, (others, len_of(*present)), most);
        places(*present & !set).for_each(|at| into.remove(at));
        let unfit = |at: &usize| !is_fittest(&self.look(*at));
        places(board.doubted() & set).filter(unfit).for_each(|at| into.remove(at));
        narrow & set
    }

    fn scores(&self, set: u64, key: u64, into: &mut Scores) {
        let Side { ids, present, others, .. } = self.side;
        into.read(ids, (others, len_of(*present)), folded(key));
        places(*present & !set).for_each(|at| into.remove(at));
    }
}
