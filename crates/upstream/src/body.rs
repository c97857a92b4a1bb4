//! The body of a response, from a connection or from a service inside this process.

use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use cutover_route::balance::Seat;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::conn::ConnError;
use crate::pool::Lease;

/// Pieces that a dropped body takes to see whether its end already lies in the buffer (a client that
/// stops at `[DONE]` drops the body one empty chunk before its end).
const PIECES_AT_DROP_MAX: usize = 4;

/// The kinds of failure inside a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BodyErrorKind {
    /// The connection ended, or was reset, before the body's end.
    CutOff,
    /// The framing (lengths of chunks) is not HTTP.
    Malformed,
    /// The service inside this process failed.
    Failed,
}

/// A body that did not come to its end. Its side is always the upstream.
#[derive(Debug)]
pub struct BodyError {
    kind: BodyErrorKind,
    instance: Arc<str>,
    cause: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl BodyError {
    /// What went wrong.
    pub fn kind(&self) -> BodyErrorKind {
        self.kind
    }

    /// The instance, as `host:port`.
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            BodyErrorKind::CutOff => "the response was cut off before its end",
            BodyErrorKind::Malformed => "the response's framing is not HTTP",
            BodyErrorKind::Failed => "the response failed before its end",
        };
        write!(f, "{}: {what}", self.instance)
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| &**cause as _)
    }
}

/// A response's body.
///
/// Dropping it before its end cancels the request (see the crate's documentation). Trailers are not
/// passed on.
pub struct Body {
    source: Source,
    // Counts the request until the body ends or is dropped.
    seat: Option<Seat>,
}

enum Source {
    Http(HttpBody),
    Channel(Channel),
    Whole(Option<Bytes>),
}

struct HttpBody {
    // None after the end or a failure.
    lease: Option<Lease>,
}

struct Channel {
    pieces: mpsc::Receiver<Bytes>,
    outcome: Arc<OnceLock<Result<(), String>>>,
    ended: bool,
}

impl Body {
    /// A body that is there as a whole.
    pub fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Whole(Some(bytes.into())), seat: None }
    }

    /// A body whose pieces are sent by someone else, at most `pieces` of them waiting.
    pub fn channel(pieces: usize) -> (BodySender, Self) {
        let (sender, receiver) = mpsc::channel(pieces.max(1));
        let outcome = Arc::new(OnceLock::new());
        let channel = Channel { pieces: receiver, outcome: Arc::clone(&outcome), ended: false };
        let sender = BodySender { pieces: sender, outcome };
        (sender, Self { source: Source::Channel(channel), seat: None })
    }

    pub(crate) fn http(lease: Lease) -> Self {
        let mut body = HttpBody { lease: Some(lease) };
        body.notice_end();
        Self { source: Source::Http(body), seat: None }
    }

    pub(crate) fn counted(mut self, seat: Seat) -> Self {
        self.seat = Some(seat);
        if http_body::Body::is_end_stream(&self) {
            self.seat = None;
        }
        self
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let (piece, last) = match &mut this.source {
            Source::Http(body) => {
                let piece = ready!(body.poll_piece(cx));
                (piece, body.lease.is_none())
            }
            Source::Channel(channel) => {
                let piece = ready!(channel.poll_piece(cx));
                (piece, channel.ended)
            }
            Source::Whole(bytes) => (bytes.take().filter(|b| !b.is_empty()).map(Ok), true),
        };
        if last {
            this.seat = None;
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Http(body) => body.lease.is_none(),
            Source::Channel(channel) => channel.ended,
            Source::Whole(bytes) => bytes.as_ref().is_none_or(Bytes::is_empty),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Http(body) => body.size_hint(),
            Source::Channel(_) => SizeHint::default(),
            Source::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.source {
            Source::Http(_) => "Body::Http",
            Source::Channel(_) => "Body::Channel",
            Source::Whole(_) => "Body::Whole",
        })
    }
}

impl HttpBody {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let Some(lease) = &mut self.lease else { return Poll::Ready(None) };
        match ready!(lease.http().poll_piece(cx)) {
            Some(Ok(piece)) => {
                self.notice_end();
                Poll::Ready(Some(Ok(piece)))
            }
            Some(Err(cause)) => {
                let error = failure(lease.label(), cause);
                self.lease = None;
                Poll::Ready(Some(Err(error)))
            }
            None => {
                self.finish();
                Poll::Ready(None)
            }
        }
    }

    /// A body may be known to have ended with its last piece; nobody asks such a body for its end.
    fn notice_end(&mut self) {
        if self.lease.as_mut().is_some_and(|lease| lease.http().has_ended()) {
            self.finish();
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.lease {
            None => SizeHint::with_exact(0),
            Some(lease) => {
                lease.conn().http.left().map_or_else(SizeHint::default, SizeHint::with_exact)
            }
        }
    }

    fn finish(&mut self) {
        if let Some(lease) = self.lease.take() {
            lease.give_back();
        }
    }
}

impl Drop for HttpBody {
    fn drop(&mut self) {
        let mut nobody = Context::from_waker(Waker::noop());
        for _ in 0..PIECES_AT_DROP_MAX {
            if self.lease.is_none() {
                return;
            }
            if self.poll_piece(&mut nobody).is_pending() {
                // Not ended: dropping the lease closes the connection, which cancels the request.
                return;
            }
        }
    }
}

fn failure(instance: &Arc<str>, cause: ConnError) -> BodyError {
    let kind = match cause {
        ConnError::Framing(_) => BodyErrorKind::Malformed,
        _ => BodyErrorKind::CutOff,
    };
    BodyError { kind, instance: Arc::clone(instance), cause: Some(cause.into()) }
}

impl Channel {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if let Some(piece) = ready!(self.pieces.poll_recv(cx)) {
            return Poll::Ready(Some(Ok(piece)));
        }
        self.ended = true;
        let error = |kind, cause: Option<String>| BodyError {
            kind,
            instance: "in-process".into(),
            cause: cause.map(Into::into),
        };
        Poll::Ready(match self.outcome.get() {
            Some(Ok(())) => None,
            Some(Err(reason)) => Some(Err(error(BodyErrorKind::Failed, Some(reason.clone())))),
            None => Some(Err(error(BodyErrorKind::CutOff, None))),
        })
    }
}

/// Nobody reads the body any more: stop working on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the reader of the response has gone")]
pub struct BodyClosed;

/// Sends the pieces of a [`Body::channel`]. Dropping it without [`BodySender::finish`] makes the body
/// end with an error, as a half answer must not look whole.
#[derive(Debug)]
pub struct BodySender {
    pieces: mpsc::Sender<Bytes>,
    outcome: Arc<OnceLock<Result<(), String>>>,
}

impl BodySender {
    /// Sends a piece, waiting for room.
    pub async fn send(&self, piece: Bytes) -> Result<(), BodyClosed> {
        self.pieces.send(piece).await.map_err(|_| BodyClosed)
    }

    /// Sends a piece from a thread that may wait. Must not be called inside the async runtime.
    pub fn blocking_send(&self, piece: Bytes) -> Result<(), BodyClosed> {
        self.pieces.blocking_send(piece).map_err(|_| BodyClosed)
    }

    /// Ready when nobody reads the body any more.
    pub async fn closed(&self) {
        self.pieces.closed().await;
    }

    /// Whether nobody reads the body any more.
    pub fn is_closed(&self) -> bool {
        self.pieces.is_closed()
    }

    /// Ends the body well.
    pub fn finish(self) {
        // Set once, as both ways to set it take the sender.
        let _ = self.outcome.set(Ok(()));
    }

    /// Ends the body with an error. The reason reaches logs, so it holds no prompt and no answer.
    pub fn fail(self, reason: impl Into<String>) {
        let _ = self.outcome.set(Err(reason.into()));
    }
}
