//! A client's connection under watch: one slow or silent client must not hold what others need.
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
//! no timer. `Closing` reads on and throws away: closing a socket with unread bytes sends a reset,
//! which can overtake the answer, and the client would see a broken connection where we said 413.
//!
//! A client that closes its sending side may have left, or have said all it has to say: the end of its
//! data looks the same. hyper takes it for gone. Here, as long as nothing has been answered, it is sent
//! the first letter of the answer: from where nobody listens any more comes a reset, and only then is it
//! gone and its upstream let go ([`HalfClosed`]). In the middle of an answer, or of a body, the end of
//! its data counts as its leaving.
//!
//! A head that hyper cannot read it answers by itself, without a body, and no request is ever seen. That
//! answer is recognised here on its way out and replaced by one that says what is wrong ([`Unread`]).

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::framing::Lines;
use crate::unread::Unread;

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

/// How often a client that has closed its sending side is looked at, to see whether it has left: within
/// a second it shall be known, and such clients are few.
const RECHECK: Duration = Duration::from_millis(100);

/// What each answer begins with, whatever its version and status.
const FIRST_LETTER: &[u8] = b"H";

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const BUSY: u8 = 2;
const CLOSING: u8 = 3;

/// What a connection is doing, and since when.
#[derive(Debug)]
pub(crate) struct Pulse {
    epoch: Instant,
    state: AtomicU8,
    since_ms: AtomicU64,
    /// When a write was first refused, plus one; 0: writes go through.
    stalled_ms: AtomicU64,
    /// Whether the head that came last says in two ways where its request ends.
    two_ends: AtomicBool,
    /// Whether all of the request has arrived.
    received: AtomicBool,
    /// Whether anything of its answer has been written.
    begun: AtomicBool,
}

impl Pulse {
    pub(crate) fn new() -> Self {
        Self {
            epoch: Instant::now(),
            state: AtomicU8::new(IDLE),
            since_ms: AtomicU64::new(0),
            stalled_ms: AtomicU64::new(0),
            two_ends: AtomicBool::new(false),
            received: AtomicBool::new(false),
            begun: AtomicBool::new(false),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.epoch.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn enter(&self, state: u8) {
        self.since_ms.store(self.now_ms(), Relaxed);
        self.state.store(state, Relaxed);
    }

    /// A whole head has arrived. Whether it says in two ways where its request ends.
    pub(crate) fn asked(&self) -> bool {
        self.state.store(BUSY, Relaxed);
        self.received.store(false, Relaxed);
        self.begun.store(false, Relaxed);
        self.two_ends.load(Relaxed) && self.two_ends.swap(false, Relaxed)
    }

    /// All of a request has arrived, and its answer is awaited.
    pub(crate) fn received(&self) {
        self.received.store(true, Relaxed);
    }

    /// Whether an answer is awaited of which nothing has been written.
    fn awaits_answer(&self) -> bool {
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
    fn is_before_request(&self) -> bool {
        matches!(self.state.load(Relaxed), IDLE | HEAD)
    }

    fn is_idle(&self) -> bool {
        self.state.load(Relaxed) == IDLE
    }

    /// Whether nothing of a request has arrived, and no answer waits to be taken.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_idle() && self.stalled_ms.load(Relaxed) == 0
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

/// A client that sends nothing more and may listen on.
#[derive(Debug)]
struct HalfClosed {
    recheck: Pin<Box<Sleep>>,
    /// Whether the answer's first letter was sent before the answer.
    ahead: bool,
}

/// The connection itself.
#[derive(Debug)]
pub(crate) struct Socket {
    tcp: TcpStream,
    pulse: Arc<Pulse>,
    write_ended: bool,
    unread: Unread,
    /// Bytes read of the head that is awaited.
    head_bytes: usize,
    /// What they say of the request's end.
    lines: Lines,
    /// What is written instead of hyper's own answer.
    instead: Bytes,
    half_closed: Option<HalfClosed>,
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream, pulse: Arc<Pulse>, unread: Unread) -> Self {
        let instead = Bytes::new();
        let lines = Lines::default();
        Self {
            tcp,
            pulse,
            write_ended: false,
            unread,
            head_bytes: 0,
            lines,
            instead,
            half_closed: None,
        }
    }

    /// Whether hyper answers a head that it could not read. The connection ends after it.
    fn replaces(&mut self, written: &[u8]) -> bool {
        if !self.pulse.is_before_request() || !self.instead.is_empty() {
            return false;
        }
        let Some(instead) = self.unread.instead(written, self.head_bytes, &self.lines) else {
            return false;
        };
        self.instead = instead;
        self.pulse.ends_unread();
        true
    }

    /// Whether a client whose data has ended listens on, as far as is known. If so, the task is woken
    /// to look again.
    fn listens_on(&mut self, context: &mut Context<'_>) -> bool {
        if !self.pulse.awaits_answer() {
            return false;
        }
        if self.half_closed.is_none() {
            let begun = self.pulse.begun.load(Relaxed);
            if begun || !matches!(self.tcp.try_write(FIRST_LETTER), Ok(1)) {
                return false;
            }
            let recheck = Box::pin(sleep(RECHECK));
            self.half_closed = Some(HalfClosed { recheck, ahead: true });
        }
        let Some(half_closed) = &mut self.half_closed else { return false };
        while half_closed.recheck.as_mut().poll(context).is_ready() {
            if !matches!(self.tcp.take_error(), Ok(None)) {
                return false;
            }
            half_closed.recheck.as_mut().reset(Instant::now() + RECHECK);
        }
        true
    }

    /// Whether the first letter of what is written now was sent before; it is not owed any more then.
    fn was_sent_ahead(&mut self, bytes: &[u8]) -> bool {
        let Some(half_closed) = &mut self.half_closed else { return false };
        bytes.starts_with(FIRST_LETTER) && std::mem::take(&mut half_closed.ahead)
    }

    fn poll_instead(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.instead.is_empty() {
            let written = Pin::new(&mut self.tcp).poll_write(context, &self.instead);
            match ready!(self.note(written))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                bytes => self.instead.advance(bytes),
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Notes whether the client takes what is written.
    fn note<T>(&self, written: Poll<T>) -> Poll<T> {
        let stalled = &self.pulse.stalled_ms;
        let was = stalled.load(Relaxed);
        match &written {
            Poll::Pending if was == 0 => stalled.store(self.pulse.now_ms() + 1, Relaxed),
            Poll::Ready(_) if was != 0 => stalled.store(0, Relaxed),
            _ => {}
        }
        if written.is_ready() && !self.pulse.begun.load(Relaxed) {
            self.pulse.begun.store(true, Relaxed);
        }
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        let ended = bytes == 0 && buffer.remaining() > 0 && matches!(read, Poll::Ready(Ok(())));
        if ended && self.listens_on(context) {
            return Poll::Pending;
        }
        if self.pulse.is_idle() && bytes > 0 {
            self.pulse.enter(HEAD);
            self.head_bytes = 0;
            self.lines = Lines::default();
        }
        self.head_bytes = self.head_bytes.saturating_add(bytes);
        if self.pulse.is_before_request() {
            self.lines.feed(&buffer.filled()[before..]);
            if self.lines.says_two_ends() {
                self.pulse.two_ends.store(true, Relaxed);
            }
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.replaces(bytes) {
            return Poll::Ready(Ok(bytes.len()));
        }
        if self.was_sent_ahead(bytes) {
            return Poll::Ready(Ok(FIRST_LETTER.len()));
        }
        let written = Pin::new(&mut self.tcp).poll_write(context, bytes);
        self.note(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [piece] = pieces
            && self.replaces(piece)
        {
            return Poll::Ready(Ok(piece.len()));
        }
        if pieces.first().is_some_and(|piece| self.was_sent_ahead(piece)) {
            return Poll::Ready(Ok(FIRST_LETTER.len()));
        }
        let written = Pin::new(&mut self.tcp).poll_write_vectored(context, pieces);
        self.note(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_instead(context))?;
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_ended {
            ready!(self.poll_instead(context))?;
            ready!(Pin::new(&mut self.tcp).poll_shutdown(context))?;
            self.write_ended = true;
        }
        if self.pulse.state.load(Relaxed) != CLOSING {
            return Poll::Ready(Ok(()));
        }
        let mut unread = [0; 8 * 1024];
        loop {
            let mut buffer = ReadBuf::new(&mut unread);
            let read = ready!(Pin::new(&mut self.tcp).poll_read(context, &mut buffer));
            if read.is_err() || buffer.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use tokio::net::TcpListener;

    use super::*;

    const PATIENCE: Patience = Patience {
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
        pulse.enter(HEAD);
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

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_noticed_and_forgiven_when_it_reads_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (mut client, (server, _)) = tokio::try_join!(client, listener.accept()).unwrap();
        let pulse = Arc::new(Pulse::new());
        pulse.asked();
        let mut socket = Socket::new(server, Arc::clone(&pulse), Unread::default());
        let piece = vec![0; 64 * 1024];
        poll_fn(|context| {
            while let Poll::Ready(written) = Pin::new(&mut socket).poll_write(context, &piece) {
                written.unwrap();
            }
            Poll::Ready(())
        })
        .await;
        assert_eq!((after(&pulse, 59), after(&pulse, 61)), (Ok(()), Err(Overdue::Stall)));
        let mut read = vec![0; 64 * 1024];
        poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut read);
            while Pin::new(&mut client).poll_read(context, &mut buffer).is_ready() {
                buffer.clear();
            }
            Pin::new(&mut socket).poll_write(context, &piece).map(Result::unwrap)
        })
        .await;
        assert_eq!(after(&pulse, 61), Ok(()));
    }
}
