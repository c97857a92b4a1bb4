//! A request on its way to the socket: its head and a few pieces, none of them copied but short ones; or a body that
//! arrives while it is sent.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use cutover_http1::Request;
use cutover_http1::request::{Framing, LAST_CHUNK, chunk_line};
use http::Method;
use tokio::io::AsyncWrite;

use crate::conn::ConnError;
use crate::streamed::{BodyAborted, StreamedBody};

/// Bodies up to this length are written behind their heads, in one piece: cheaper than handing the kernel several.
const COPIED_BYTES_MAX: usize = 4096;

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
        Self { method, first, rest, arriving: Some(Arriving { body, framing }) }
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
    /// The next pieces to write; `None` at the body's end. A body that is shorter or longer than it said must not look
    /// whole.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Result<Poll<Option<Vec<Bytes>>>, BodyAborted> {
        loop {
            if self.framing == Framing::Length(0) {
                return Ok(Poll::Ready(None));
            }
            let Poll::Ready(frame) = self.body.poll_frame(cx) else { return Ok(Poll::Pending) };
            let Some(frame) = frame.transpose()? else {
                return match self.framing {
                    Framing::Length(_) => Err(BodyAborted),
                    Framing::Chunked => {
                        self.framing = Framing::Length(0);
                        Ok(Poll::Ready(Some(vec![Bytes::from_static(LAST_CHUNK)])))
                    }
                };
            };
            // Trailers are not passed on.
            let Some(data) = frame.into_data().ok().filter(|data| !data.is_empty()) else {
                continue;
            };
            return Ok(Poll::Ready(Some(match &mut self.framing {
                Framing::Length(left) => {
                    *left = left.checked_sub(data.len() as u64).ok_or(BodyAborted)?;
                    vec![data]
                }
                Framing::Chunked => {
                    let line = Bytes::from(chunk_line(data.len()));
                    vec![line, data, Bytes::from_static(b"\r\n")]
                }
            })));
        }
    }
}
