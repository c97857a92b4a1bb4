//! What is going on at an instance right now, in atomics: read by the router, by metrics and by
//! `cutover status` without a lock.
//!
//! The counters live apart from the [`Instance`](crate::Instance), so that a reloaded configuration
//! can carry them over to the instance's successor. Ordering is relaxed throughout: each figure is
//! right by itself, a set of them is no consistent cut.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use cutover_route::balance::{Post, Seat};
use cutover_units::Millis;

use crate::connections::Connections;
use crate::usual::{add, averaged};

/// How long the time to the first content of streams is believed to hold after the last of them.
const STREAMS_TELL_MS: u64 = 60_000;

/// An instance's live counters.
#[derive(Debug, Default)]
pub struct InstanceLive {
    /// Requests in flight and latency, beside those of its upstream's other instances.
    post: Arc<Post>,
    /// How long clients wait for the first content of a stream, and for a whole answer: moving averages.
    stream_us: AtomicU64,
    whole_us: AtomicU64,
    /// When the last of those streams began.
    streamed_at: AtomicU64,
    /// Those of them that hold one of the upstream's places.
    placed: AtomicU32,
    pub(crate) connections: Connections,
    waiting: AtomicU32,
    open: AtomicU32,
    idle: AtomicU32,
    requests: AtomicU64,
    failures: AtomicU64,
    connects: AtomicU64,
    resends: AtomicU64,
    refusals: AtomicU64,
    on_resend: OnResend,
}

/// Who is told of each request that is sent twice.
#[derive(Default)]
struct OnResend(OnceLock<Box<dyn Fn() + Send + Sync>>);

impl fmt::Debug for OnResend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OnResend").finish_non_exhaustive()
    }
}

/// The figures at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct LiveFigures {
    /// Requests sent or being sent whose body has not ended.
    pub in_flight: u32,
    /// Requests waiting for a connection, all being in use.
    pub waiting: u32,
    /// Open connections, idle ones included.
    pub open: u32,
    /// Open connections that wait for a request.
    pub idle: u32,
    /// Requests begun since the start.
    pub requests: u64,
    /// Requests that failed since the start.
    pub failures: u64,
    /// Connections opened since the start.
    pub connects: u64,
    /// Requests sent a second time because the connection had been closed by the server.
    pub resends: u64,
    /// Requests refused because the connection limit and its queue were full.
    pub refusals: u64,
    /// Moving average of the time to the response's head; 0 = nothing measured yet.
    pub latency_us: u64,
}

impl InstanceLive {
    /// Of an instance with this place on its upstream's board.
    pub fn at(post: Arc<Post>) -> Self {
        Self { post, ..Self::default() }
    }

    /// Its place on its upstream's board.
    pub fn post(&self) -> &Arc<Post> {
        &self.post
    }

    /// A request is sent from this seat.
    pub(crate) fn begun(&self, seat: &Seat) {
        debug_assert!(Arc::ptr_eq(seat.post(), &self.post), "a seat at another instance");
        self.requests.fetch_add(1, Relaxed);
    }

    /// Requests in flight: what balancing by load compares.
    pub fn in_flight(&self) -> u32 {
        self.post.in_flight()
    }

    /// Moving average of the time to the response's head; 0 = nothing measured yet.
    pub fn latency_us(&self) -> u64 {
        self.post.latency_us()
    }

    /// Requests here that hold one of the upstream's places: see [`Placed`].
    pub fn placed(&self) -> u32 {
        self.placed.load(Relaxed)
    }

    /// All figures.
    pub fn figures(&self) -> LiveFigures {
        LiveFigures {
            in_flight: self.post.in_flight(),
            waiting: self.waiting.load(Relaxed),
            open: self.open.load(Relaxed),
            idle: self.idle.load(Relaxed),
            requests: self.requests.load(Relaxed),
            failures: self.failures.load(Relaxed),
            connects: self.connects.load(Relaxed),
            resends: self.resends.load(Relaxed),
            refusals: self.refusals.load(Relaxed),
            latency_us: self.post.latency_us(),
        }
    }

    /// Notes an answer whose head came after this time. `send` calls it for each answer below 400.
    pub fn succeeded(&self, latency_us: u64) {
        self.post.set_latency_us(averaged(self.post.latency_us(), latency_us));
    }

    /// Notes how long a client waited, by now: for the first content of a stream, or for all of a whole answer. One
    /// cannot be told from the other: a whole answer takes as long as all its tokens.
    pub fn took(&self, stream: bool, us: u64, now: Millis) {
        if !stream {
            return add(&self.whole_us, us);
        }
        // What was long ago says nothing of now.
        if self.first_content_us(now) == 0 {
            self.stream_us.store(0, Relaxed);
        }
        add(&self.stream_us, us);
        self.streamed_at.store(now.0, Relaxed);
    }

    /// The average time to the first content of streams, however long ago the last of them was.
    pub fn any_first_content_us(&self) -> u64 {
        self.stream_us.load(Relaxed)
    }

    /// The average time to the first content of streams, if there was one lately; 0 = nothing is known.
    pub fn first_content_us(&self, now: Millis) -> u64 {
        let since = now.0.saturating_sub(self.streamed_at.load(Relaxed));
        if since < STREAMS_TELL_MS { self.stream_us.load(Relaxed) } else { 0 }
    }

    /// The longest that it usually gives nobody a sign of life: whole answers, or the first content of streams; 0 =
    /// nothing measured yet.
    pub fn usual_us(&self) -> u64 {
        self.whole_us().max(self.any_first_content_us())
    }

    /// The average time to the end of whole answers; 0 = nothing measured yet.
    pub fn whole_us(&self) -> u64 {
        self.whole_us.load(Relaxed)
    }

    /// Notes a failure. `send` calls it for a transport failure and for an answer of 500 or more;
    /// the caller for what it finds later: a stream that broke off, an answer that could not be read.
    pub fn failed(&self) {
        self.failures.fetch_add(1, Relaxed);
    }

    /// Tells of each request that is sent twice, as it happens. Who was named first stays: the counters
    /// outlive a reload, and so does who is told.
    pub fn on_resend(&self, tell: impl Fn() + Send + Sync + 'static) {
        self.on_resend.0.get_or_init(|| Box::new(tell));
    }

    pub(crate) fn resent(&self) {
        self.resends.fetch_add(1, Relaxed);
        if let Some(tell) = self.on_resend.0.get() {
            tell();
        }
    }

    pub(crate) fn refused(&self) {
        self.refusals.fetch_add(1, Relaxed);
    }

    /// A pool has so many idle connections, and had so many when it told last.
    pub(crate) fn idle_changed(&self, before: usize, idle: usize) {
        let count = |idle| u32::try_from(idle).unwrap_or(u32::MAX);
        // Wraps around where there are fewer.
        self.idle.fetch_add(count(idle).wrapping_sub(count(before)), Relaxed);
    }

    /// It may have so many connections in use from now on, in all its pools together.
    pub fn bind_connections(&self, most: usize) {
        self.connections.bind(most);
    }
}

macro_rules! guard {
    ($(#[$doc:meta])* $vis:vis $guard:ident: $field:ident $(, $total:ident)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[must_use = "the count falls when the guard is dropped"]
        $vis struct $guard(Arc<InstanceLive>);

        impl $guard {
            /// Counts one more here, until it is dropped.
            $vis fn enter(live: &Arc<InstanceLive>) -> Self {
                live.$field.fetch_add(1, Relaxed);
                $(live.$total.fetch_add(1, Relaxed);)?
                Self(Arc::clone(live))
            }
        }

        impl Drop for $guard {
            fn drop(&mut self) {
                self.0.$field.fetch_sub(1, Relaxed);
            }
        }
    };
}

guard! {
    /// Counts one open connection.
    pub(crate) Open: open, connects
}
guard! {
    /// Counts one request that waits for a connection.
    pub(crate) Waiting: waiting
}
guard! {
    /// Counts one request here that holds one of its upstream's places: what is still under way at an instance that takes
    /// no more requests is in nobody's way elsewhere.
    pub Placed: placed
}

impl Waiting {
    /// How many wait, this one included.
    pub(crate) fn now(&self) -> u32 {
        self.0.waiting.load(Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_count_up_and_down_and_totals_stay() {
        let live = Arc::new(InstanceLive::default());
        let (first, second) = (live.post().sit(), live.post().sit());
        live.begun(&first);
        live.begun(&second);
        let open = Open::enter(&live);
        assert_eq!(live.figures().in_flight, 2);
        assert_eq!(live.figures().open, 1);
        drop((first, second, open));
        let figures = live.figures();
        assert_eq!((figures.in_flight, figures.open), (0, 0));
        assert_eq!((figures.requests, figures.connects), (2, 1));
    }

    #[test]
    fn the_first_content_of_streams_and_whole_answers_are_averaged_apart() {
        let (live, now) = (InstanceLive::default(), Millis(1_000_000));
        live.took(false, 9_000_000, now);
        assert_eq!((live.first_content_us(now), live.whole_us()), (0, 9_000_000));
        live.took(true, 80, now);
        live.took(true, 160, now);
        assert_eq!((live.first_content_us(now), live.whole_us()), (90, 9_000_000));
        assert_eq!(live.latency_us(), 0);
    }

    /// One slow stream sent requests for whole answers away from then on.
    #[test]
    fn streams_of_long_ago_tell_nothing_of_the_first_content() {
        let (live, now) = (InstanceLive::default(), Millis(1_000_000));
        live.took(true, 3_000_000, now);
        let later = |ms| Millis(now.0 + ms);
        assert_eq!(live.first_content_us(later(59_999)), 3_000_000);
        live.took(false, 10, later(59_999));
        assert_eq!(live.first_content_us(later(60_000)), 0);
        live.took(true, 100, later(60_000));
        assert_eq!(live.first_content_us(later(60_001)), 100, "begun anew");
        assert_eq!(live.whole_us(), 10);
    }

    #[test]
    fn the_average_starts_at_the_first_latency_and_follows_the_rest() {
        let live = InstanceLive::default();
        assert_eq!(live.latency_us(), 0);
        live.succeeded(8_000);
        assert_eq!(live.latency_us(), 8_000);
        for _ in 0..100 {
            live.succeeded(800);
        }
        assert!((790..=1_000).contains(&live.latency_us()), "{}", live.latency_us());
    }
}
