//! A request on its way to the socket: its head and a few pieces, none of them copied but short ones; or a body that
//! arrives while it is sent.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use cutover_http1::Request;
use cutover_http1::request::{Framing, LAST_CHUNK, chunk_line};
use http::Method;
use tokio::io::AsyncWrite;

use crate::conn::ConnError;
use crate::streamed::{BodyAborted, StreamedBody};

/// Bodies up to this length are written behind their heads, in one piece: cheaper than handing the kernel several.
const COPIED_BYTES_MAX: usize = 4096;

/// Pieces of a body that arrives meanwhile which are shorter than this wait for those that are there already, until
/// together they are as long: a sender's chunks of one byte would cost a write and a packet each.
const GATHERED_BYTES_MAX: usize = 4096;

/// Most pieces handed to the socket at once.
const SLICES_MAX: usize = 16;

/// What is left of a request to write. The length of a body that is there as a whole is known, so the request carries a
/// `content-length` and never chunks (some engines cannot read chunked requests).
pub(crate) struct Outgoing {
    pub(crate) method: Method,
    first: Bytes,
    rest: std::vec::IntoIter<Bytes>,
    arriving: Option<Arriving>,
}

/// A body that arrives meanwhile.
struct Arriving {
    body: StreamedBody,
    framing: Framing,
    /// Short pieces, to be written as one.
    gathered: BytesMut,
    /// Whether the body has had its turn since the last piece: it may hand out one for each.
    waited: bool,
}

impl Outgoing {
    /// A request whose body is there.
    pub(crate) fn new(request: Request<'_>, body: Vec<Bytes>) -> Self {
        let length: usize = body.iter().map(Bytes::len).sum();
        let copied = if length <= COPIED_BYTES_MAX { length } else { 0 };
        let mut first = request.head(Framing::Length(length as u64), copied);
        let rest = if copied == 0 {
            body
        } else {
            for piece in &body {
                first.extend_from_slice(piece);
            }
            Vec::new()
        };
        let (method, rest) = (request.method.clone(), rest.into_iter());
        Self { method, first: first.into(), rest, arriving: None }
    }

    /// A request whose body arrives meanwhile: its `size_hint` decides the framing.
    pub(crate) fn streamed(request: Request<'_>, body: StreamedBody) -> Self {
        let framing = body.size_hint().exact().map_or(Framing::Chunked, Framing::Length);
        let first = request.head(framing, 0).into();
        let (method, rest) = (request.method.clone(), Vec::new().into_iter());
        Self { method, first, rest, arriving: Some(Arriving::new(body, framing)) }
    }

    /// Writes on; ready when all of it is written.
    pub(crate) fn poll_write(
        &mut self,
        socket: &mut (impl AsyncWrite + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), ConnError>> {
        loop {
            while self.has_more() {
                let mut slices = [IoSlice::new(&[]); SLICES_MAX];
                let pieces = std::iter::once(&self.first).chain(self.rest.as_slice());
                let filled = slices.iter_mut().zip(pieces).map(|(slice, piece)| {
                    *slice = IoSlice::new(piece);
                });
                let filled = filled.count();
                let slices = slices.get(..filled).unwrap_or_default();
                let written = ready!(Pin::new(&mut *socket).poll_write_vectored(cx, slices));
                match written.map_err(ConnError::Io)? {
                    0 => return Poll::Ready(Err(ConnError::Io(io::ErrorKind::WriteZero.into()))),
                    written => self.advance(written),
                }
            }
            let waits = match &mut self.arriving {
                None => None,
                Some(arriving) => match arriving.poll_next(cx).map_err(ConnError::Aborted)? {
                    Poll::Ready(Some(pieces)) => {
                        self.rest = pieces.into_iter();
                        continue;
                    }
                    Poll::Ready(None) => None,
                    Poll::Pending => Some(Poll::Pending),
                },
            };
            ready!(Pin::new(&mut *socket).poll_flush(cx)).map_err(ConnError::Io)?;
            return waits.unwrap_or(Poll::Ready(Ok(())));
        }
    }

    /// Whether there is something to write; if so, `first` has it.
    fn has_more(&mut self) -> bool {
        while self.first.is_empty() {
            match self.rest.next() {
                Some(next) => self.first = next,
                None => return false,
            }
        }
        true
    }

    fn advance(&mut self, mut written: usize) {
        while written > 0 {
            let here = written.min(self.first.len());
            self.first.advance(here);
            written -= here;
            if !self.has_more() {
                return;
            }
        }
    }
}

impl Arriving {
    fn new(body: StreamedBody, framing: Framing) -> Self {
        Self { body, framing, gathered: BytesMut::new(), waited: false }
    }

    /// The next pieces to write; `None` at the body's end. A body that is shorter or longer than it said must not look
    /// whole.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Result<Poll<Option<Vec<Bytes>>>, BodyAborted> {
        loop {
            if self.framing == Framing::Length(0) {
                return Ok(Poll::Ready(None));
            }
            let Poll::Ready(frame) = self.body.poll_frame(cx) else { return Ok(self.none_yet(cx)) };
            self.waited = false;
            let Some(frame) = frame.transpose()? else { return self.end().map(Poll::Ready) };
            // Trailers are not passed on.
            let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) else {
                continue;
            };
            let mut is_last = false;
            if let Framing::Length(left) = &mut self.framing {
                *left = left.checked_sub(data.len() as u64).ok_or(BodyAborted)?;
                is_last = *left == 0;
            }
            if data.len() >= GATHERED_BYTES_MAX {
                let mut pieces = self.take_gathered();
                self.frame(data, &mut pieces);
                return Ok(Poll::Ready(Some(pieces)));
            }
            self.gathered.extend_from_slice(&data);
            if is_last || self.gathered.len() >= GATHERED_BYTES_MAX {
                return Ok(Poll::Ready(Some(self.take_gathered())));
            }
        }
    }

    /// What was gathered waits for no other: only for the turn in which the body can hand out what is there already.
    fn none_yet(&mut self, cx: &mut Context<'_>) -> Poll<Option<Vec<Bytes>>> {
        if self.gathered.is_empty() {
            return Poll::Pending;
        }
        if !self.waited {
            self.waited = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Some(self.take_gathered()))
    }

    /// The body has ended.
    fn end(&mut self) -> Result<Option<Vec<Bytes>>, BodyAborted> {
        if self.framing != Framing::Chunked {
            return Err(BodyAborted);
        }
        let mut pieces = self.take_gathered();
        pieces.push(Bytes::from_static(LAST_CHUNK));
        self.framing = Framing::Length(0);
        Ok(Some(pieces))
    }

    fn take_gathered(&mut self) -> Vec<Bytes> {
        let mut pieces = Vec::new();
        if !self.gathered.is_empty() {
            let data = self.gathered.split().freeze();
            self.frame(data, &mut pieces);
        }
        pieces
    }

    fn frame(&self, data: Bytes, pieces: &mut Vec<Bytes>) {
        match self.framing {
            Framing::Length(_) => pieces.push(data),
            Framing::Chunked => {
                let line = Bytes::from(chunk_line(data.len()));
                pieces.extend([line, data, Bytes::from_static(b"\r\n")]);
            }
        }
    }
}
