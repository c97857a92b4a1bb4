//! The body of a request: a few pieces, none of them copied; or one that arrives while it is sent.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::streamed::{BodyAborted, StreamedBody};

/// Pieces that are sent one after the other. Its length is known, so the request carries a
/// `content-length` and never chunks (some engines cannot read chunked requests).
pub(crate) struct Pieces {
    whole: std::vec::IntoIter<Bytes>,
    left: u64,
    streamed: Option<StreamedBody>,
}

impl Pieces {
    pub(crate) fn new(pieces: Vec<Bytes>) -> Self {
        let left = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { whole: pieces.into_iter(), left, streamed: None }
    }

    pub(crate) fn streamed(body: StreamedBody) -> Self {
        Self { whole: Vec::new().into_iter(), left: 0, streamed: Some(body) }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BodyAborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAborted>>> {
        if let Some(body) = &mut self.streamed {
            return body.poll_frame(cx);
        }
        let piece = self.whole.find(|piece| !piece.is_empty());
        if let Some(piece) = &piece {
            self.left -= piece.len() as u64;
        }
        Poll::Ready(piece.map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0 && self.streamed.as_ref().is_none_or(StreamedBody::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        match &self.streamed {
            None => SizeHint::with_exact(self.left),
            Some(body) => body.size_hint(),
        }
    }
}
