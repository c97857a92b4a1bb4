//! What a pick compares of an upstream's instances, side by side: a look at 64 of them reads a few cache
//! lines, and follows no pointer.
//!
//! An instance has a [`Post`] on its upstream's board for as long as it lives, whatever pictures come and go.
//! Each request holds a [`Seat`] at its instance; taking one below a bound is one step, so that of two
//! requests that saw the same last seat one gets it. Beside the seats a post counts who has left: if two looks
//! at all posts find the same, nobody came or went between them, and what both saw was so at one moment.
//!
//! Who says no to a request says it at once, and would have all requests for it where those in flight decide. So a
//! refusal weighs like a request in flight for about as long as peers take to answer one ([`Post::owes`]): of what an
//! instance owes, each answer of a peer's forgives one part in as many as that peer has in flight. Seats are what they
//! are: neither a limit nor a figure that is shown knows of it.
//!
//! How many requests its engine takes at once, where that is told ([`Post::tells_room`]), stands beside its seats. Of one
//! that has not told it nobody knows more than that of the others none has fewer: it is taken to have as few.
//!
//! Of states the board knows one thing: whether one has to be looked at ([`Post::doubt`]). Invariant: an
//! instance that is not doubted is healthy or cold, but for how many requests it has. Doubt is raised after
//! what gave rise to it was written, and laid aside before that is read again, so that none gets lost.

use std::array;
use std::sync::atomic::{
    AtomicU32, AtomicU64, Ordering::AcqRel, Ordering::Acquire, Ordering::Relaxed, Ordering::SeqCst,
};
use std::sync::{Arc, Mutex, PoisonError};

use cutover_units::Millis;

use super::INSTANCES_MAX;
use super::field::{len_of, places};
use super::row::NOBODY;

/// Models whose place in memory a board knows of: a set of them is one word.
const MODELS_MAX: usize = 64;

/// In what is counted that an instance owes: one request.
const ONE: u32 = 1 << 10;
/// The most that it owes: where peers answer nothing, that is for ever.
const OWED_MAX: u32 = 1_000 * ONE;

/// The room of one whose engine takes any number, for all that is told: no row counts further.
const ANY: u32 = NOBODY.cast_unsigned();

/// So many are looked at one by one sooner than all side by side.
pub(super) const FEW: u32 = 16;

/// Of so many requests at an instance it is known when they came.
const ELDERS: usize = 64;

/// What a request that leaves adds to a post's count: one more that has left, and one less that is there.
const LEAVES: u64 = (1 << 32) - 1;

/// Who is at an instance, and in the upper half how many have left: the same number is no other moment's.
#[derive(Debug, Default)]
pub(super) struct Count(AtomicU64);

impl Count {
    /// How many are there.
    pub(super) fn seats(&self) -> u32 {
        seats(self.0.load(Relaxed))
    }
}

fn seats(count: u64) -> u32 {
    u32::try_from(count & u64::from(u32::MAX)).unwrap_or(u32::MAX)
}

/// The counters of an upstream's instances.
#[derive(Debug)]
pub struct Board {
    pub(super) in_flight: [Count; INSTANCES_MAX],
    latency_us: [AtomicU64; INSTANCES_MAX],
    /// What each owes for requests that it refused, in parts of one.
    owed: [AtomicU32; INSTANCES_MAX],
    /// How many requests each has room for, as far as is told, and what each has told itself; 0: nothing. Who writes
    /// these has the lock, and a pick reads the first alone.
    rooms: [AtomicU32; INSTANCES_MAX],
    /// The most that any of them has.
    roomiest: AtomicU32,
    told: Mutex<[u32; INSTANCES_MAX]>,
    /// A bit for each post, in all of these. That somebody has it:
    taken: AtomicU64,
    /// That its state has to be looked at:
    doubted: AtomicU64,
    /// That it owes something:
    owing: AtomicU64,
    /// That it has less room than the roomiest:
    narrow: AtomicU64,
    /// That it tells which models it has in memory:
    telling: AtomicU64,
    /// That it has the model in this place in memory:
    warm: [AtomicU64; MODELS_MAX],
    /// That it is reading that one in:
    reading: [AtomicU64; MODELS_MAX],
}

impl Default for Board {
    fn default() -> Self {
        Self {
            in_flight: array::from_fn(|_| Count::default()),
            latency_us: array::from_fn(|_| AtomicU64::new(0)),
            owed: array::from_fn(|_| AtomicU32::new(0)),
            rooms: array::from_fn(|_| AtomicU32::new(ANY)),
            roomiest: AtomicU32::new(ANY),
            told: Mutex::new([0; INSTANCES_MAX]),
            taken: AtomicU64::new(0),
            owing: AtomicU64::new(0),
            narrow: AtomicU64::new(0),
            doubted: AtomicU64::new(0),
            telling: AtomicU64::new(0),
            warm: array::from_fn(|_| AtomicU64::new(0)),
            reading: array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Board {
    /// A free post; None: all of them are taken.
    pub fn post(self: &Arc<Self>) -> Option<Post> {
        let free = |taken: u64| (taken != u64::MAX).then(|| taken | (taken + 1));
        let before = self.taken.fetch_update(AcqRel, Acquire, free).ok()?;
        Some(Post::new(Arc::clone(self), before.trailing_ones() as usize))
    }

    pub(super) fn doubted(&self) -> u64 {
        self.doubted.load(Acquire)
    }

    pub(super) fn telling(&self) -> u64 {
        self.telling.load(Relaxed)
    }

    /// Those that tell, and neither have the model in this place in memory nor are reading it in.
    pub(super) fn cold(&self, place: u8) -> u64 {
        let place = usize::from(place) % MODELS_MAX;
        self.telling() & !self.warm[place].load(Relaxed) & !self.reading[place].load(Relaxed)
    }

    pub(super) fn latency_us(&self, at: usize) -> u64 {
        self.latency_us[at % INSTANCES_MAX].load(Relaxed)
    }

    pub(super) fn in_flight(&self, at: usize) -> u32 {
        self.in_flight[at % INSTANCES_MAX].seats()
    }

    /// A bit for each that owes something.
    pub(super) fn owing(&self) -> u64 {
        self.owing.load(Relaxed)
    }

    /// So many requests one counts as having in flight beside those that it has.
    pub(super) fn owed(&self, at: usize) -> u32 {
        if self.owing() >> (at % INSTANCES_MAX) & 1 == 0 {
            return 0;
        }
        (self.owed[at % INSTANCES_MAX].load(Relaxed) + ONE / 2 - 1) / ONE
    }

    /// A bit for each of these that has so many or more in flight as make it full.
    pub(super) fn full(&self, present: u64, room: Room) -> u64 {
        let (most, narrow) = self.room_of_all(room, present);
        let is = |count: &Count, room| u64::from(count.seats() >= room);
        let counts = self.in_flight.iter().take(len_of(present)).enumerate();
        if narrow.count_ones() > FEW {
            return counts.fold(0, |full, (at, count)| full | is(count, self.room(at, room)) << at);
        }
        let full = match most {
            u32::MAX => 0,
            most => counts.fold(0, |full, (at, count)| full | is(count, most) << at),
        };
        full | self.full_of(narrow, room)
    }

    /// How many requests make any of these full, and a bit for each that fewer make full by what it tells: nobody's own
    /// but theirs is looked at.
    pub(super) fn room_of_all(&self, room: Room, present: u64) -> (u32, u64) {
        if room.told {
            let most = room.most.min(self.roomiest.load(Relaxed));
            (most, self.narrow.load(Relaxed) & present)
        } else {
            (room.most, 0)
        }
    }

    /// Those of a set that are full by what makes each of them full.
    pub(super) fn full_of(&self, set: u64, room: Room) -> u64 {
        let is_full = |at: &usize| self.in_flight(*at) >= self.room(*at, room);
        places(set).filter(is_full).fold(0, |full, at| full | 1 << at)
    }

    /// How many requests each has room for, as far as is told.
    pub(super) fn rooms(&self) -> &[AtomicU32; INSTANCES_MAX] {
        &self.rooms
    }

    /// How many requests make this one full.
    pub(super) fn room(&self, at: usize, room: Room) -> u32 {
        let told = || self.rooms[at % INSTANCES_MAX].load(Relaxed);
        if room.told { room.most.min(told()) } else { room.most }
    }

    /// It has told that it has room for so many, or for 0: for any number, that is nothing.
    fn tell_room(&self, at: usize, room: u32) {
        let mut all = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if all[at] == room {
            return;
        }
        all[at] = room;
        let told = || all.iter().copied().filter(|told| *told > 0);
        let (fewest, most) = (told().min().unwrap_or(ANY), told().max().unwrap_or(ANY));
        // Each is right by itself at any moment: until all are written each one's own is looked at.
        self.narrow.store(u64::MAX, Relaxed);
        self.roomiest.store(ANY, Relaxed);
        let mut narrow = 0;
        for (at, (room, told)) in self.rooms.iter().zip(all.iter()).enumerate() {
            let has = if *told > 0 { *told } else { fewest };
            narrow |= u64::from(has < most) << at;
            room.store(has, Relaxed);
        }
        self.roomiest.store(most, Relaxed);
        self.narrow.store(narrow, Relaxed);
    }
}

/// How many requests make an instance full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// So many.
    pub most: u32,
    /// Whether as many as its engine tells do, too, where those are fewer.
    pub told: bool,
}

impl From<u32> for Room {
    /// So many, whatever an engine tells.
    fn from(most: u32) -> Self {
        Self { most, told: false }
    }
}

impl Room {
    /// At this instance, as far as is told.
    pub fn at(self, post: &Post) -> u32 {
        post.board.room(post.at, self)
    }
}

/// An instance's place on its upstream's board, free again when it is dropped.
#[derive(Debug)]
pub struct Post {
    pub(super) board: Arc<Board>,
    /// Below [`INSTANCES_MAX`].
    pub(super) at: usize,
    /// When those that are here came, in milliseconds; 0: nobody. Who comes takes a place that is free, if one is.
    elders: [AtomicU64; ELDERS],
}

impl Default for Post {
    /// On a board of its own.
    fn default() -> Self {
        let board = Board { taken: AtomicU64::new(1), ..Board::default() };
        Self::new(Arc::new(board), 0)
    }
}

impl Post {
    fn new(board: Arc<Board>, at: usize) -> Self {
        Self { board, at, elders: array::from_fn(|_| AtomicU64::new(0)) }
    }

    /// The board it is on.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// Requests that have a seat here.
    pub fn in_flight(&self) -> u32 {
        self.board.in_flight(self.at)
    }

    /// Who is here and how many have left so far: equal to another look's if nobody came or left between them.
    pub(super) fn count(&self) -> u64 {
        self.counter().load(SeqCst)
    }

    /// It refused a request that a peer may take its time for.
    pub fn owes(&self) {
        if self.board.taken.load(Relaxed) == self.bit() {
            return;
        }
        let more = |owed: u32| Some(owed.saturating_add(ONE).min(OWED_MAX));
        let _ = self.board.owed[self.at].fetch_update(AcqRel, Acquire, more);
        self.board.owing.fetch_or(self.bit(), AcqRel);
    }

    /// So many requests it counts as having in flight beside those that have a seat.
    pub fn owed(&self) -> u32 {
        self.board.owed(self.at)
    }

    /// It answered a request.
    pub fn answered(&self) {
        let owing = self.board.owing() & !self.bit();
        if owing != 0 {
            self.forgive(owing);
        }
    }

    /// Its part of what these owe: together with their other peers it forgives all in the time of an answer.
    #[cold]
    fn forgive(&self, owing: u64) {
        let peers = self.board.taken.load(Relaxed).count_ones().saturating_sub(1);
        // Whether this one has left already is not known.
        let parts = self.in_flight().saturating_add(1).saturating_mul(peers).max(1);
        let less = |owed: u32| owed.saturating_sub((owed / parts).max(1));
        for at in places(owing) {
            let owed = &self.board.owed[at];
            let before = owed.fetch_update(AcqRel, Acquire, |owed| Some(less(owed)));
            if before.is_ok_and(|before| less(before) == 0) {
                self.board.owing.fetch_and(!(1 << at), AcqRel);
                if owed.load(Acquire) > 0 {
                    self.board.owing.fetch_or(1 << at, AcqRel);
                }
            }
        }
    }

    /// Takes a seat, however many are taken.
    pub fn sit(self: &Arc<Self>) -> Seat {
        self.counter().fetch_add(1, SeqCst);
        Seat { post: Arc::clone(self), elder: None }
    }

    /// Takes a seat if fewer than so many are taken. Whether one is free and taking it are one step.
    pub fn sit_below(self: &Arc<Self>, room: u32) -> Option<Seat> {
        let free = |count: u64| (seats(count) < room).then(|| count + 1);
        let taken = self.counter().fetch_update(SeqCst, Relaxed, free);
        taken.is_ok().then(|| Seat { post: Arc::clone(self), elder: None })
    }

    /// Whether somebody is known to have been here at this time already.
    pub fn has_since(&self, at: Millis) -> bool {
        let came = self.elders.iter().map(|came| came.load(Relaxed));
        came.filter(|came| *came != 0).any(|came| came <= at.0)
    }

    /// Its engine tells how many requests it takes at once; None: it does not, or no more.
    pub fn tells_room(&self, room: Option<u32>) {
        self.board.tell_room(self.at, room.unwrap_or(0).min(ANY));
    }

    /// Moving average of the time to the first byte, in microseconds; 0: nothing measured.
    pub fn latency_us(&self) -> u64 {
        self.board.latency_us(self.at)
    }

    /// Sets that.
    pub fn set_latency_us(&self, us: u64) {
        self.board.latency_us[self.at].store(us, Relaxed);
    }

    /// Its state has to be looked at from now on. Said after what makes it doubtful was written.
    pub fn doubt(&self) {
        self.board.doubted.fetch_or(self.bit(), AcqRel);
    }

    /// Its state need not be looked at any more, if that is so: read again after the doubt was laid aside.
    pub fn trust(&self, is_well: impl FnOnce() -> bool) {
        if self.board.doubted() & self.bit() == 0 {
            return;
        }
        self.board.doubted.fetch_and(!self.bit(), AcqRel);
        if !is_well() {
            self.doubt();
        }
    }

    /// Whether it tells which models it has in memory.
    pub fn tells_models(&self) -> bool {
        self.board.telling() & self.bit() != 0
    }

    /// It tells them from now on, or does not.
    pub fn set_tells_models(&self, tells: bool) {
        self.set(&self.board.telling, tells);
    }

    /// Whether it has the model in this place in memory; one that does not tell has what it has.
    pub fn has(&self, place: u8) -> bool {
        let warm = &self.board.warm[usize::from(place) % MODELS_MAX];
        !self.tells_models() || warm.load(Relaxed) & self.bit() != 0
    }

    /// The same, and one that is reading it in: another copy of it elsewhere would take as long.
    pub fn draws(&self, place: u8) -> bool {
        self.board.cold(place) & self.bit() == 0
    }

    /// It has the model in this place in memory, or has not.
    pub fn set_warm(&self, place: u8, warm: bool) {
        self.set(&self.board.warm[usize::from(place) % MODELS_MAX], warm);
    }

    /// It is reading the model in this place in, or is not.
    pub fn set_reading(&self, place: u8, reading: bool) {
        self.set(&self.board.reading[usize::from(place) % MODELS_MAX], reading);
    }

    fn bit(&self) -> u64 {
        1 << self.at
    }

    fn counter(&self) -> &AtomicU64 {
        &self.board.in_flight[self.at].0
    }

    fn set(&self, of: &AtomicU64, on: bool) {
        if on {
            of.fetch_or(self.bit(), Relaxed);
        } else {
            of.fetch_and(!self.bit(), Relaxed);
        }
    }
}

impl Drop for Post {
    /// Whoever gets it next finds it as new. Nobody has a seat: a seat holds its post.
    fn drop(&mut self) {
        let Board { latency_us, owed, taken, owing, doubted, telling, warm, reading, .. } =
            &*self.board;
        latency_us[self.at].store(0, Relaxed);
        owed[self.at].store(0, Relaxed);
        self.tells_room(None);
        for of in [owing, doubted, telling].into_iter().chain(warm).chain(reading) {
            self.set(of, false);
        }
        taken.fetch_and(!self.bit(), AcqRel);
    }
}

/// One request at an instance: counted there until it is dropped.
#[derive(Debug)]
#[must_use = "the seat is free again when it is dropped"]
pub struct Seat {
    post: Arc<Post>,
    /// Its place among those of whom it is known when they came.
    elder: Option<u8>,
}

impl Seat {
    /// Where it is.
    pub fn post(&self) -> &Arc<Post> {
        &self.post
    }

    /// It is taken from now on: see [`Post::has_since`].
    pub fn begins(&mut self, now: Millis) {
        if self.elder.is_some() {
            return;
        }
        let at = now.0.max(1);
        let is_free = |place: &usize| {
            let came = &self.post.elders[*place];
            came.load(Relaxed) == 0 && came.compare_exchange(0, at, Relaxed, Relaxed).is_ok()
        };
        // About as many are taken as requests are there.
        let first = self.post.in_flight() as usize;
        let place = (first..first + ELDERS).map(|place| place % ELDERS).find(is_free);
        self.elder = place.and_then(|place| u8::try_from(place).ok());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        if let Some(place) = self.elder {
            self.post.elders[usize::from(place) % ELDERS].store(0, Relaxed);
        }
        // Wraps around in the upper half.
        self.post.counter().fetch_add(LEAVES, SeqCst);
    }
}

/// The places of a set, as bits at other places.
pub(super) fn moved(set: u64, to: &[u8; INSTANCES_MAX]) -> u64 {
    places(set).fold(0, |moved, at| moved | 1 << (to[at] & 63))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_post_is_somebodys_until_it_is_dropped_and_then_as_new() {
        let board = Arc::new(Board::default());
        let mut posts: Vec<_> = (0..INSTANCES_MAX).map(|_| board.post().unwrap()).collect();
        assert!(posts.iter().enumerate().all(|(at, post)| post.at == at));
        assert!(board.post().is_none(), "all are taken");
        let used = Arc::new(posts.swap_remove(7));
        used.set_latency_us(9);
        used.owes();
        assert_eq!(used.owed(), 1);
        used.set_tells_models(true);
        used.set_warm(3, true);
        used.set_reading(4, true);
        used.doubt();
        drop((used.sit(), used));
        let new = board.post().unwrap();
        assert_eq!((new.at, new.in_flight(), new.owed(), new.latency_us()), (7, 0, 0, 0));
        new.set_tells_models(true);
        assert!(!new.has(3) && !new.draws(4) && board.doubted() == 0);
    }

    #[test]
    fn one_that_reads_a_model_in_draws_its_requests_and_has_it_not_yet() {
        let post = Post::default();
        assert!(post.has(0) && post.draws(0), "it tells nothing");
        post.set_tells_models(true);
        assert!(!post.has(0) && !post.draws(0));
        post.set_reading(0, true);
        assert!(!post.has(0) && post.draws(0) && !post.draws(1));
        post.set_reading(0, false);
        assert!(!post.draws(0));
    }

    /// Who has told nothing has room for as many as any of the others, whoever they are by now.
    #[test]
    fn what_an_engine_tells_is_its_room_until_it_tells_another_number_or_nothing() {
        let board = Arc::new(Board::default());
        let mut posts: Vec<_> = (0..3).map(|_| board.post().unwrap()).collect();
        let told = Room { most: 99, told: true };
        let rooms = |posts: &[Post], room: Room| -> Vec<u32> {
            posts.iter().map(|post| room.at(post)).collect()
        };
        assert_eq!(rooms(&posts, told), [99, 99, 99]);
        posts[0].tells_room(Some(4));
        assert_eq!(rooms(&posts, told), [4, 4, 4]);
        posts[1].tells_room(Some(2));
        assert_eq!(rooms(&posts, told), [4, 2, 2]);
        assert_eq!(rooms(&posts, 7.into()), [7, 7, 7], "what is written down holds");
        posts[1].tells_room(Some(120));
        assert_eq!(rooms(&posts, told), [4, 99, 4]);
        posts[0].tells_room(None);
        assert_eq!(rooms(&posts, Room { most: u32::MAX, ..told }), [120, 120, 120]);
        posts[1].tells_room(Some(12));
        assert_eq!(rooms(&posts, told), [12, 12, 12]);
        posts.remove(1);
        posts.push(board.post().unwrap());
        assert_eq!(rooms(&posts, told), [99, 99, 99], "nobody has told anything any more");
        posts[0].tells_room(Some(0));
        assert_eq!(rooms(&posts, told), [99, 99, 99], "no engine takes none");
    }

    /// However many come and go beside them.
    #[test]
    fn who_stays_is_known_to_have_been_here() {
        let post = Arc::new(Post::default());
        let sit = |at| {
            let mut seat = post.sit();
            seat.begins(Millis(at));
            seat
        };
        assert!(!post.has_since(Millis(u64::MAX)));
        let crowd: Vec<_> = (0..2 * ELDERS as u64).map(|at| sit(at + 10)).collect();
        assert!(post.has_since(Millis(10)) && !post.has_since(Millis(9)));
        drop(crowd);
        assert!(!post.has_since(Millis(u64::MAX)));
        // A burst, of which the last one is taken and all others are refused.
        let mut burst: Vec<_> = (0..ELDERS as u64).map(|at| sit(at + 10)).collect();
        let last = burst.pop();
        drop(burst);
        assert!(post.has_since(Millis(9 + ELDERS as u64)));
        drop(last);
        let stays = sit(50);
        for at in 60..200 {
            drop((sit(at), sit(at)));
        }
        assert!(post.has_since(Millis(50)) && !post.has_since(Millis(49)));
        drop(stays);
        assert!(!post.has_since(Millis(u64::MAX)));
    }

    #[test]
    fn a_doubt_that_is_raised_while_another_is_laid_aside_stays() {
        let post = Post::default();
        post.doubt();
        post.trust(|| {
            post.doubt();
            true
        });
        assert_eq!(post.board.doubted(), 1);
        post.trust(|| false);
        assert_eq!(post.board.doubted(), 1);
        post.trust(|| true);
        assert_eq!(post.board.doubted(), 0);
    }

    #[test]
    fn the_last_seat_is_one_requests() {
        let post = Arc::new(Post::default());
        for _ in 0..200 {
            let taken: u32 = std::thread::scope(|scope| {
                let sit = || (0..3).filter_map(|_| post.sit_below(5)).collect::<Vec<_>>();
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(sit)).collect();
                let seats: Vec<_> = threads.into_iter().map(|one| one.join().unwrap()).collect();
                assert_eq!(post.in_flight(), 5);
                seats.iter().map(|seats| u32::try_from(seats.len()).unwrap()).sum()
            });
            assert_eq!((taken, post.in_flight()), (5, 0));
        }
    }
}
