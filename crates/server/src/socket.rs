//! A client's connection under watch: one slow or silent client must not hold what others need.
//!
//! What it is doing stands in its [`Pulse`]. When it ends after an answer to a request whose body was not
//! read, we read on and throw away: closing a socket with unread bytes sends a reset, which can overtake
//! the answer, and the client would see a broken connection where we said 413.
//!
//! A client that closes its sending side may have left, or have said all it has to say: the end of its
//! data looks the same. hyper takes it for gone. Here, as long as nothing has been answered, it is sent
//! the first letter of the answer: from where nobody listens any more comes a reset, and only then is it
//! gone and its upstream let go ([`HalfClosed`]). In the middle of a stream, or of a body, the end of
//! its data counts as its leaving.
//!
//! hyper reads before it lets the handler run, and in one go to the end of what there is: with a request
//! whose data ends in the same moment, nobody knows yet that there is one. So the end is believed only
//! when it is seen a second time, after the handler had its turn.
//!
//! A head that hyper cannot read it answers by itself, without a body, and no request is ever seen. That
//! answer is recognised here on its way out and replaced by one that says what is wrong ([`Unread`]).

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::framing::Track;
use crate::handler::Handler;
use crate::heads::Unread;
use crate::pulse::Pulse;

/// How often a client that has closed its sending side is looked at, to see whether it has left: within
/// a second it shall be known, and such clients are few.
const RECHECK: Duration = Duration::from_millis(100);

/// What each answer begins with, whatever its version and status.
const FIRST_LETTER: &[u8] = b"H";

/// A client that sends nothing more and may listen on.
#[derive(Debug)]
struct HalfClosed {
    recheck: Pin<Box<Sleep>>,
    /// Whether the answer's first letter was sent before the answer.
    ahead: bool,
    /// Whether it has answered that with a reset. The socket tells of it once.
    has_left: bool,
}

/// The connection itself.
#[derive(Debug)]
pub(crate) struct Socket<H> {
    tcp: TcpStream,
    pulse: Arc<Pulse>,
    write_ended: bool,
    unread: Unread<H>,
    /// Bytes read of the head that is awaited.
    head_bytes: usize,
    /// Where requests end that have arrived.
    track: Track,
    /// What is written instead of hyper's own answer.
    instead: Bytes,
    half_closed: Option<HalfClosed>,
    /// Whether the end of the client's data was seen, and the handler has its turn before that counts.
    end_seen: bool,
    /// Whether the end of the client's data waits until it has taken the rest of its answer.
    end_waits: bool,
}

impl<H: Handler> Socket<H> {
    pub(crate) fn new(tcp: TcpStream, pulse: Arc<Pulse>, unread: Unread<H>) -> Self {
        let instead = Bytes::new();
        Self {
            tcp,
            pulse,
            write_ended: false,
            unread,
            head_bytes: 0,
            track: Track::default(),
            instead,
            half_closed: None,
            end_seen: false,
            end_waits: false,
        }
    }

    /// Whether hyper answers a head that it could not read. The connection ends after it.
    fn replaces(&mut self, written: &[u8]) -> bool {
        if !self.pulse.is_before_request() || !self.instead.is_empty() {
            return false;
        }
        let Some(instead) = self.unread.instead(written, self.head_bytes, &self.track) else {
            return false;
        };
        self.instead = instead;
        self.pulse.ends_unread();
        true
    }

    /// Whether a client whose data has ended listens on, as far as is known. If so, the task is woken
    /// to look again.
    fn listens_on(&mut self, context: &mut Context<'_>) -> bool {
        // hyper has all of the answer and would end here: the rest still goes out, or fails in going.
        if self.pulse.has_left_over() {
            self.end_waits = true;
            return true;
        }
        if !self.pulse.awaits_answer() {
            return false;
        }
        if self.half_closed.is_none() {
            let begun = self.pulse.has_begun();
            if begun || !matches!(self.tcp.try_write(FIRST_LETTER), Ok(1)) {
                return false;
            }
            let recheck = Box::pin(sleep(RECHECK));
            self.half_closed = Some(HalfClosed { recheck, ahead: true, has_left: false });
        }
        let Some(half_closed) = &mut self.half_closed else { return false };
        while half_closed.recheck.as_mut().poll(context).is_ready() {
            half_closed.has_left |= !matches!(self.tcp.take_error(), Ok(None));
            if half_closed.has_left {
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
        self.pulse.wrote(written.is_ready());
        written
    }
}

impl<H: Handler> AsyncRead for Socket<H> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.tcp).poll_read(context, buffer);
        let bytes = buffer.filled().len() - before;
        let ended = bytes == 0 && buffer.remaining() > 0 && matches!(read, Poll::Ready(Ok(())));
        if ended {
            let listens_on = self.listens_on(context);
            if !listens_on && !self.end_seen {
                context.waker().wake_by_ref();
            }
            // Once for each request that may lie in hyper's buffer.
            self.end_seen = !listens_on && !self.end_seen;
            if listens_on || self.end_seen {
                return Poll::Pending;
            }
        }
        if self.pulse.is_idle() && bytes > 0 {
            self.pulse.head_begins();
            self.head_bytes = 0;
            let requests = self.pulse.requests();
            self.track.answered(requests);
        }
        self.head_bytes = self.head_bytes.saturating_add(bytes);
        if let Some(head) = self.track.feed(&buffer.filled()[before..]) {
            self.pulse.doubts(head);
        }
        read
    }
}

impl<H: Handler> AsyncWrite for Socket<H> {
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
        if std::mem::take(&mut self.end_waits) {
            context.waker().wake_by_ref();
        }
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.write_ended {
            ready!(self.poll_instead(context))?;
            ready!(Pin::new(&mut self.tcp).poll_shutdown(context))?;
            self.write_ended = true;
        }
        if !self.pulse.is_closing() {
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
    use crate::listener::tests::{DOORS, Echo};
    use crate::pulse::Overdue;
    use crate::pulse::tests::PATIENCE;

    #[tokio::test]
    async fn a_client_that_takes_nothing_is_noticed_and_forgiven_when_it_reads_on() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap());
        let (mut client, (server, peer)) = tokio::try_join!(client, listener.accept()).unwrap();
        let pulse = Arc::new(Pulse::new());
        pulse.asked();
        let mut socket =
            Socket::new(server, Arc::clone(&pulse), Unread::new(Echo::default(), peer.ip(), DOORS));
        let piece = vec![0; 64 * 1024];
        poll_fn(|context| {
            while let Poll::Ready(written) = Pin::new(&mut socket).poll_write(context, &piece) {
                written.unwrap();
            }
            Poll::Ready(())
        })
        .await;
        let after = |seconds| pulse.look(Instant::now() + Duration::from_secs(seconds), &PATIENCE);
        assert!(after(59).is_ok());
        assert_eq!(after(61), Err(Overdue::Stall));
        let mut read = vec![0; 64 * 1024];
        poll_fn(|context| {
            let mut buffer = ReadBuf::new(&mut read);
            while Pin::new(&mut client).poll_read(context, &mut buffer).is_ready() {
                buffer.clear();
            }
            Pin::new(&mut socket).poll_write(context, &piece).map(Result::unwrap)
        })
        .await;
        assert!(after(61).is_ok());
    }
}
