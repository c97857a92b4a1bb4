//! One HTTP/1.1 connection, driven by the request that uses it.
//!
//! Whoever waits for the head or for the next piece of the body polls here, and what must be written or read for it is
//! done on the way: no task per connection, no channel between two halves, nothing to wake but the request's own task.
//! Dropping the connection closes its socket, always.
//!
//! ```text
//! begin ─▶ poll_head ─▶ poll_piece ... ─▶ end ─▶ settle: an idle connection, kept or not
//!             │ writes the request, as far as the socket takes it
//! ```
//! An answer may come before the request's end: the rest is written while the body is read, and such a connection is
//! not used again unless all of it was written by then.

use std::error::Error;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cutover_http1::{Decoded, Decoder, FramingError, HeadError, HeadReader};
use http::Response;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::time::Instant;

use crate::live::Open;
use crate::open_files::OpenFile;
use crate::outgoing::Outgoing;
use crate::socket::{Socket, Stream};
use crate::streamed::BodyAborted;

/// Largest read buffer, and so the largest response head and the largest piece of a body: room for
/// any sane head, a bound on what a hostile upstream can make us hold per connection.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// What is read at once at first, and from a stream of small events always.
const READ_BYTES_MIN: usize = 4096;

/// What is read at once at first of a body that is known to be larger.
const READ_BYTES_LARGE: usize = 16 * 1024;

/// Why an exchange broke off.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnError {
    /// The socket failed.
    #[error(transparent)]
    Io(io::Error),
    /// The server closed the connection.
    #[error("the server closed the connection")]
    Closed,
    /// The response's head.
    #[error(transparent)]
    Head(HeadError),
    /// The response's body.
    #[error(transparent)]
    Framing(FramingError),
    /// Our own side broke off.
    #[error(transparent)]
    Aborted(BodyAborted),
}

impl ConnError {
    /// Whether TLS is what failed.
    pub(crate) fn is_tls(&self) -> bool {
        let Self::Io(error) = self else { return false };
        // An io::Error's source skips the error it wraps.
        let mut source = error.get_ref().map(|inner| inner as &(dyn Error + 'static));
        while let Some(cause) = source {
            if cause.is::<rustls::Error>() {
                return true;
            }
            source = cause.source();
        }
        false
    }
}

/// Where an exchange is.
enum State {
    Idle,
    Head(HeadReader),
    Body(Decoder),
}

/// HTTP over one byte stream, one exchange after the other.
pub(crate) struct Http {
    socket: Socket,
    state: State,
    buffer: BytesMut,
    /// What the next read may bring at most.
    read_bytes: usize,
    /// What is left of the request. Boxed: it is gone before most of the time passes.
    outgoing: Option<Box<Outgoing>>,
    /// Why the rest of the request cannot be written. An answer may still come.
    unwritable: Option<ConnError>,
    keeps_open: bool,
    /// Whether the last answer came in chunks, as streams do.
    pub(crate) in_chunks: bool,
}

impl Http {
    pub(crate) fn new(stream: Stream) -> Self {
        Self {
            socket: Socket::new(stream),
            state: State::Idle,
            buffer: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            outgoing: None,
            unwritable: None,
            keeps_open: true,
            in_chunks: false,
        }
    }

    pub(crate) fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Begins an exchange; nothing is written yet.
    pub(crate) fn begin(&mut self, request: Box<Outgoing>) {
        self.state = State::Head(HeadReader::new(&request.method, BUFFER_BYTES_MAX));
        self.read_bytes = READ_BYTES_MIN;
        self.outgoing = Some(request);
    }

    /// The request, or what is left of it.
    pub(crate) fn take_request(&mut self) -> Option<Box<Outgoing>> {
        self.outgoing.take()
    }

    /// Ready when the response's head is there.
    pub(crate) fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Response<()>, ConnError>> {
        self.write(cx)?;
        loop {
            let State::Head(reader) = &mut self.state else {
                return Poll::Ready(Err(ConnError::Closed));
            };
            if let Some(head) = reader.read(&mut self.buffer).map_err(ConnError::Head)? {
                self.keeps_open = head.keeps_open;
                self.in_chunks = head.decoder.left().is_none();
                if head.decoder.left().is_some_and(|left| left > READ_BYTES_MIN as u64) {
                    self.read_bytes = READ_BYTES_LARGE;
                }
                self.state = State::Body(head.decoder);
                return Poll::Ready(Ok(head.response));
            }
            if ready!(self.poll_read(cx))? == 0 {
                return Poll::Ready(Err(self.unwritable.take().unwrap_or(ConnError::Closed)));
            }
        }
    }

    /// The next piece of the body; `None` at its end.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, ConnError>>> {
        self.write(cx)?;
        loop {
            let State::Body(decoder) = &mut self.state else { return Poll::Ready(None) };
            match decoder.decode(&mut self.buffer).map_err(ConnError::Framing)? {
                Decoded::Piece(piece) => return Poll::Ready(Some(Ok(piece))),
                Decoded::End => return Poll::Ready(None),
                Decoded::More => {}
            }
            let whole_at_close = decoder.ends_with_the_connection();
            if ready!(self.poll_read(cx))? == 0 {
                self.state = State::Idle;
                return Poll::Ready((!whole_at_close).then_some(Err(ConnError::Closed)));
            }
        }
    }

    /// Whether the body has ended.
    pub(crate) fn has_ended(&self) -> bool {
        match &self.state {
            State::Idle => true,
            State::Head(_) => false,
            State::Body(decoder) => decoder.has_ended(),
        }
    }

    /// How many bytes of the body are to come, where that is known.
    pub(crate) fn left(&self) -> Option<u64> {
        match &self.state {
            State::Body(decoder) => decoder.left(),
            State::Idle | State::Head(_) => None,
        }
    }

    /// Writes what the socket takes. A server that reads no more may have answered already: only our own failure ends
    /// the exchange here.
    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), ConnError> {
        let Some(outgoing) = &mut self.outgoing else { return Ok(()) };
        if self.unwritable.is_some() {
            return Ok(());
        }
        match outgoing.poll_write(&mut self.socket, cx) {
            Poll::Pending => {}
            Poll::Ready(Ok(())) => self.outgoing = None,
            Poll::Ready(Err(ConnError::Aborted(why))) => return Err(ConnError::Aborted(why)),
            Poll::Ready(Err(error)) => self.unwritable = Some(error),
        }
        Ok(())
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, ConnError>> {
        let room = |buffer: &BytesMut| buffer.capacity() - buffer.len();
        if room(&self.buffer) < self.read_bytes / 2 {
            // A piece of what was read before may still be held: then this takes a new buffer, else the old one again.
            self.buffer.reserve(self.read_bytes);
        }
        let room = room(&self.buffer);
        let read = ready!(pin!(self.socket.read_buf(&mut self.buffer)).poll(cx));
        let read = read.map_err(ConnError::Io)?;
        if read == room {
            self.read_bytes = (2 * self.read_bytes).min(BUFFER_BYTES_MAX);
        } else if read < self.read_bytes / 4 {
            self.read_bytes = (self.read_bytes / 2).max(READ_BYTES_MIN);
        }
        Poll::Ready(Ok(read))
    }

    /// Whether the connection can take another request: the exchange has ended on both sides, the server keeps the
    /// connection and has said nothing since. Forgets the task that used it before, and its buffer.
    fn settle(&mut self) -> bool {
        if !self.keeps_open
            || self.outgoing.is_some()
            || !self.has_ended()
            || !self.buffer.is_empty()
        {
            return false;
        }
        self.state = State::Idle;
        self.buffer = BytesMut::new();
        let mut byte = [0];
        let mut nobody = Context::from_waker(Waker::noop());
        Pin::new(&mut self.socket).poll_read(&mut nobody, &mut ReadBuf::new(&mut byte)).is_pending()
    }
}

/// The longest round trip. What takes longer to open had something else to wait for: a name, an address that nobody
/// answers at, a packet that was lost.
const ROUND_TRIP_MAX: Duration = Duration::from_millis(400);

/// A connection of a pool.
pub(crate) struct Conn {
    pub(crate) http: Http,
    /// When it was given back last; for a new one, when it was opened.
    pub(crate) idle_since: Instant,
    /// How long it took to open: at least a round trip, and as one counted up to [`ROUND_TRIP_MAX`].
    pub(crate) opened_in: Duration,
    /// Whether a request went over it before.
    pub(crate) reused: bool,
    _counted: (Open, OpenFile),
}

impl Conn {
    pub(crate) fn new(stream: Stream, counted: (Open, OpenFile), begun: Instant) -> Box<Self> {
        let idle_since = Instant::now();
        Box::new(Self {
            http: Http::new(stream),
            idle_since,
            opened_in: idle_since.saturating_duration_since(begun).min(ROUND_TRIP_MAX),
            reused: false,
            _counted: counted,
        })
    }

    /// Whether it may be kept for another request, see [`Http::settle`].
    pub(crate) fn settle(&mut self) -> bool {
        self.http.settle()
    }

    /// Whether the kernel, too, knows of nothing that came since it was given back.
    pub(crate) fn is_fresh(&self) -> bool {
        !self.http.socket.is_spoilt()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::net::{TcpListener, TcpStream};

    use super::*;
    use crate::live::InstanceLive;
    use crate::open_files::PROCESS;

    /// An engine that had died of a request got it again, seconds later, where the handshake had been slow.
    #[tokio::test]
    async fn what_takes_long_to_open_has_no_longer_way_for_that() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        for (took, counted) in [(3_000, ROUND_TRIP_MAX), (20, Duration::from_millis(20))] {
            let socket = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let live = Arc::new(InstanceLive::default());
            let begun = Instant::now() - Duration::from_millis(took);
            let conn =
                Conn::new(Stream::Plain(socket), (Open::enter(&live), PROCESS.open()), begun);
            assert!(conn.opened_in >= counted && conn.opened_in <= ROUND_TRIP_MAX, "{took} ms");
        }
    }
}
