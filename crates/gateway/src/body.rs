//! The bodies we answer with: one enum, so that no response needs a boxed trait object.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Response, header};
use http_body::{Body, Frame, SizeHint};

use crate::passthrough::Passed;
use crate::stream::Relay;

/// Why a response body breaks off. The connection is then closed without the terminal chunk, which
/// every client sees as an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the response was cut off on purpose: its upstream failed after the head had been sent")]
pub(crate) struct Aborted;

/// A response body. No `Debug`: it holds the answer.
pub(crate) enum Out {
    /// All of it at once; None when sent, or empty from the start.
    Whole(Option<Bytes>),
    /// A stream passed on as it comes.
    Relay(Box<Relay>),
    /// An answer passed on untouched.
    Passed(Box<Passed>),
}

impl Out {
    /// A body of one piece.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::Whole((!bytes.is_empty()).then_some(bytes))
    }

    /// All of it, if it is there at once.
    pub(crate) fn into_whole(self) -> Bytes {
        match self {
            Self::Whole(bytes) => bytes.unwrap_or_default(),
            Self::Relay(_) | Self::Passed(_) => Bytes::new(),
        }
    }
}

/// A JSON answer that is there as a whole; status 200 until said otherwise.
pub(crate) fn json(bytes: impl Into<Bytes>) -> Response<Out> {
    let mut response = Response::new(Out::whole(bytes));
    // Room for all that tells who answered.
    *response.headers_mut() = HeaderMap::with_capacity(12);
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(header::CONTENT_TYPE, json);
    response
}

impl Body for Out {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|b| Ok(Frame::data(b)))),
            Self::Relay(relay) => {
                relay.poll_next(context).map(|next| next.map(|r| r.map(Frame::data)))
            }
            Self::Passed(passed) => {
                passed.poll_next(context).map(|next| next.map(|r| r.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(bytes) => bytes.is_none(),
            Self::Relay(_) => false,
            Self::Passed(passed) => passed.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |b| b.len() as u64))
            }
            Self::Relay(_) => SizeHint::default(),
            Self::Passed(passed) => passed.size_hint(),
        }
    }
}
