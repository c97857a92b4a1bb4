//! The pulse of a client's connection: what it is doing, since when, and how long that may last.
//!
//! ```text
//!   Idle ── first byte ──▶ Head ── head complete ──▶ Busy ── answer handed over ──▶ Idle
//!                                                     └─ answered with the body unread ──▶ Closing
//! ```
//!
//! Each state but `Busy` (its deadlines are the request's own) lasts so long at most as [`Patience`]
//! says; besides, a client that takes nothing of its answer is cut off in any state, or it would hold
//! an upstream for ever: a stream's own deadlines run only while the stream is read.
//!
//! The states are kept in atomics and looked at by one timer per connection, so that a request sets
//! no timer.

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::time::Instant;

/// How long what may last.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Without a byte of a request.
    pub(crate) idle: Duration,
    /// From a head's first byte to its last.
    pub(crate) head: Duration,
    /// With an answer that the client does not take.
    pub(crate) stall: Duration,
    /// Reading on after the last answer.
    pub(crate) closing: Duration,
}

impl Patience {
    /// The time within which anything can become overdue.
    pub(crate) fn shortest(&self) -> Duration {
        self.idle.min(self.head).min(self.stall).min(self.closing)
    }
}

/// Why a connection is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overdue {
    /// Nothing was asked, or all was answered: nobody is harmed.
    Quiet,
    /// The head did not arrive in time.
    Head,
    /// The client does not take its answer.
    Stall,
}

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
const CLOSING: u8 = 3;

/// What a connection is doing, and since when.
#[derive(Debug)]
pub struct Pulse {
    epoch: Instant,
    state: AtomicU8,
    since_ms: AtomicU64,
    /// When a write was first refused, plus one; 0: writes go through.
    stalled_ms: AtomicU64,
    /// How many heads have arrived whole.
    requests: AtomicU64,
    /// The number of a head that says in two ways where its request ends; 0: none does.
    doubtful: AtomicU64,
    /// Whether all of the request has arrived.
    received: AtomicBool,
    /// Whether anything of its answer has been written.
    begun: AtomicBool,
    /// Whether the connection ends with the next answer.
    draining: AtomicBool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            state: AtomicU8::new(IDLE),
            since_ms: AtomicU64::new(0),
            stalled_ms: AtomicU64::new(0),
            requests: AtomicU64::new(0),
            doubtful: AtomicU64::new(0),
            received: AtomicBool::new(false),
            begun: AtomicBool::new(false),
            draining: AtomicBool::new(false),
        }
    }

    pub(crate) fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    pub(crate) fn enter(&self, state: u8) {
        self.since_ms.store(self.now_ms(), Relaxed);
        self.state.store(state, Relaxed);
    }

    /// A whole head has arrived. Whether it says in two ways where its request ends.
    pub(crate) fn asked(&self) -> bool {
        self.state.store(BUSY, Relaxed);
        self.received.store(false, Relaxed);
        self.begun.store(false, Relaxed);
        let requests = self.requests() + 1;
        self.requests.store(requests, Relaxed);
        self.doubtful.load(Relaxed) == requests
    }

    /// All of a request has arrived, and its answer is awaited.
    pub fn received(&self) {
        self.received.store(true, Relaxed);
    }

    /// Whether an answer is awaited of which nothing has been written.
    pub(crate) fn awaits_answer(&self) -> bool {
        self.state.load(Relaxed) == BUSY && self.received.load(Relaxed)
    }

    /// The answer has been handed over.
    pub(crate) fn answered(&self) {
        if self.state.load(Relaxed) == BUSY {
            self.enter(IDLE);
        }
    }

    /// The request's body was left unread: after the answer the connection ends.
    pub(crate) fn ends_unread(&self) {
        self.enter(CLOSING);
    }

    /// Whether a head is awaited or has begun, and no request is being answered.
    pub(crate) fn is_before_request(&self) -> bool {
        matches!(self.state.load(Relaxed), IDLE | HEAD)
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.state.load(Relaxed) == IDLE
    }

    fn is_stalled(&self) -> bool {
        self.stalled_ms.load(Relaxed) != 0
    }

    /// Whether an answer has been handed over whole, and the client has not taken all of it.
    pub(crate) fn has_left_over(&self) -> bool {
        self.is_stalled() && matches!(self.state.load(Relaxed), IDLE | CLOSING)
    }

    /// Whether nothing of a request has arrived, and no answer waits to be taken.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_idle() && !self.is_stalled()
    }

    /// Whether nothing has arrived yet on a connection this young: its client is about to ask.
    pub(crate) fn is_fresh(&self, within: Duration) -> bool {
        self.requests() == 0 && self.is_quiet() && self.epoch.elapsed() < within
    }

    /// Whether the connection ends after its last answer.
    pub(crate) fn is_closing(&self) -> bool {
        self.state.load(Relaxed) == CLOSING
    }

    /// A head has begun.
    pub(crate) fn head_begins(&self) {
        self.enter(HEAD);
    }

    /// How many heads have arrived whole.
    pub(crate) fn requests(&self) -> u64 {
        self.requests.load(Relaxed)
    }

    /// The head with this number says in two ways where its request ends.
    pub(crate) fn doubts(&self, head: u64) {
        self.doubtful.store(head, Relaxed);
    }

    /// Whether a head is doubtful that has arrived behind the request that is being answered.
    pub(crate) fn is_followed_by_doubt(&self) -> bool {
        let doubtful = self.doubtful.load(Relaxed);
        doubtful != 0 && doubtful != self.requests()
    }

    /// Whether anything of the answer has been written.
    pub(crate) fn has_begun(&self) -> bool {
        self.begun.load(Relaxed)
    }

    /// A shutdown has begun: the next answer is the last.
    pub(crate) fn drains(&self) {
        self.draining.store(true, Relaxed);
    }

    /// Whether that has been said.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Relaxed)
    }

    /// Whether the client took what was written, or nothing.
    pub(crate) fn wrote(&self, taken: bool) {
        let was = self.stalled_ms.load(Relaxed);
        if !taken {
            if was == 0 {
                self.stalled_ms.store(self.now_ms() + 1, Relaxed);
            }
            return;
        }
        if was != 0 {
            self.stalled_ms.store(0, Relaxed);
        }
        if !self.begun.load(Relaxed) {
            self.begun.store(true, Relaxed);
        }
    }

    /// When to look again, or why the connection is to be cut now.
    pub(crate) fn look(&self, now: Instant, patience: &Patience) -> Result<Instant, Overdue> {
        let since = self.epoch + Duration::from_millis(self.since_ms.load(Relaxed));
        let stalled = self.stalled_ms.load(Relaxed);
        if stalled > 0 {
            let until = self.epoch + Duration::from_millis(stalled - 1) + patience.stall;
            if now >= until {
                return Err(Overdue::Stall);
            }
        }
        let (until, why) = match self.state.load(Relaxed) {
            IDLE => (since + patience.idle, Overdue::Quiet),
            HEAD => (since + patience.head, Overdue::Head),
            CLOSING => (since + patience.closing, Overdue::Quiet),
            _ => return Ok(now + patience.shortest()),
        };
        // What is idle or busy now may begin to wait for something shorter at any time.
        if now >= until { Err(why) } else { Ok(until.min(now + patience.shortest())) }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const PATIENCE: Patience = Patience {
        idle: Duration::from_secs(75),
        head: Duration::from_secs(10),
        stall: Duration::from_mins(1),
        closing: Duration::from_secs(5),
    };

    /// What is said of a connection so many seconds from now.
    fn after(pulse: &Pulse, seconds: u64) -> Result<(), Overdue> {
        pulse.look(Instant::now() + Duration::from_secs(seconds), &PATIENCE).map(drop)
    }

    #[test]
    fn a_head_has_less_time_than_a_quiet_connection() {
        let pulse = Pulse::new();
        assert_eq!((after(&pulse, 74), after(&pulse, 75)), (Ok(()), Err(Overdue::Quiet)));
        pulse.head_begins();
        assert_eq!((after(&pulse, 9), after(&pulse, 10)), (Ok(()), Err(Overdue::Head)));
        pulse.asked();
        assert_eq!(after(&pulse, 100_000), Ok(()), "a request has deadlines of its own");
        pulse.answered();
        assert_eq!((after(&pulse, 11), after(&pulse, 75)), (Ok(()), Err(Overdue::Quiet)));
    }

    #[test]
    fn a_look_comes_before_anything_can_be_overdue() {
        let pulse = Pulse::new();
        let now = Instant::now();
        let next = pulse.look(now, &PATIENCE).unwrap();
        assert!(next <= now + PATIENCE.shortest());
    }
}
