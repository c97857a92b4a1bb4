//! Requests whose bodies are passed on while they arrive: uploads that nobody wants to hold.
//!
//! The body is polled by the connection when the socket takes more, so a slow upstream slows the sender
//! down and at most a buffer's worth lies here. What was polled is gone: such a request is sent a second
//! time only if not one byte of it was handed to a socket ([`Instance::send_streamed`]).

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cutover_http1::Request;
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, timeout_at};

use crate::body::Body;
use crate::error::{Detail, SendError, SendErrorKind};
use crate::instance::{Answered, Instance, Outbound, Way, check, failure};
use crate::outgoing::Outgoing;
use crate::pool::{Lease, Pool};

/// Why a body that is passed on did not come to its end: its sender's reasons stay with the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the request's body did not come to its end")]
pub struct BodyAborted;

/// A body that arrives while it is sent. Its `size_hint` decides the framing: an exact one becomes a
/// `content-length`, anything else chunks.
pub struct StreamedBody(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BodyAborted> + Send>>);

impl StreamedBody {
    /// Wraps a body.
    pub fn new(
        body: impl http_body::Body<Data = Bytes, Error = BodyAborted> + Send + 'static,
    ) -> Self {
        Self(Box::pin(body))
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAborted>>> {
        self.0.as_mut().poll_frame(cx)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl fmt::Debug for StreamedBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StreamedBody")
    }
}

/// How long a streamed request may wait for what.
#[derive(Clone, Copy)]
pub struct StreamedDeadlines<'a> {
    /// For a connection, as in [`Deadlines`](crate::Deadlines).
    pub connect: Duration,
    /// When the wait for the response's head is over, as things stand: asked again whenever that moment
    /// has come, so that whoever watches the body's progress can move it.
    pub due: &'a (dyn Fn() -> Instant + Sync),
}

impl Instance {
    /// Sends a request whose body arrives meanwhile; `outbound.body` must be empty. Returns when the
    /// response's head is there, which may be before the body's end: the rest of it is sent while the
    /// response is read, and dropping the response ends both.
    ///
    /// **Sent twice** only if the connection had carried a request before and not one byte of this one
    /// was handed to it. An instance inside this process takes no such request.
    pub async fn send_streamed(
        &self,
        outbound: Outbound,
        body: StreamedBody,
        deadlines: StreamedDeadlines<'_>,
    ) -> Result<Answered, SendError> {
        let started = Instant::now();
        let seat = self.live().post().sit();
        self.live().begun(&seat);
        let result = match self.way() {
            Way::Http(pool) => exchange(pool, (outbound, body), deadlines, started).await,
            Way::InProcess { label, .. } => {
                let detail = Detail::Text("an engine inside this process takes no streamed body");
                Err(SendError::new(SendErrorKind::Protocol, label, detail))
            }
        };
        match result {
            Ok((response, waited)) => {
                if response.status().is_server_error() {
                    self.live().failed();
                }
                // Its time says more of the body's size than of the instance: it is in no average.
                let took = started.elapsed().saturating_sub(waited);
                let response = response.map(|body| body.counted(seat));
                Ok(Answered { response, took, waited })
            }
            Err(error) => {
                self.live().failed();
                Err(error)
            }
        }
    }
}

async fn exchange(
    pool: &std::sync::Arc<Pool>,
    (outbound, body): (Outbound, StreamedBody),
    deadlines: StreamedDeadlines<'_>,
    started: Instant,
) -> Result<(Response<Body>, Duration), SendError> {
    let (lease, waited) = pool.lease(started, deadlines.connect).await?;
    let reused = lease.conn().reused;
    let Outbound { method, path_and_query, headers, .. } = outbound;
    let target = pool.address.target(&path_and_query);
    let host = pool.address.host_header();
    let request = Request { method: &method, target: &target, host, headers: &headers };
    let request = Box::new(Outgoing::streamed(request, body));
    let (stale, unsent) = match attempt(lease, request, deadlines).await {
        Ok(response) => return Ok((check(pool, response)?, waited)),
        Err(Broken { lease, error, unsent }) => match unsent.filter(|_| reused) {
            Some(unsent) => (lease, unsent),
            None => return Err(error),
        },
    };
    pool.live.resent();
    let lease = pool.renew(stale, deadlines.connect).await?;
    match attempt(lease, unsent, deadlines).await {
        Ok(response) => Ok((check(pool, response)?, waited)),
        Err(broken) => Err(broken.error),
    }
}

/// An attempt that brought no response.
struct Broken {
    lease: Lease,
    error: SendError,
    /// The request, if no byte of it was handed to the socket.
    unsent: Option<Box<Outgoing>>,
}

async fn attempt(
    mut lease: Lease,
    request: Box<Outgoing>,
    deadlines: StreamedDeadlines<'_>,
) -> Result<(Response<()>, Lease), Broken> {
    let http = lease.http();
    let written = http.socket().written();
    let begun = Instant::now();
    let outcome = {
        http.begin(request);
        let mut response = pin!(poll_fn(|cx| http.poll_head(cx)));
        loop {
            let due = (deadlines.due)();
            match timeout_at(due, response.as_mut()).await {
                Ok(result) => break Some(result),
                // The body has moved meanwhile.
                Err(_) if (deadlines.due)() > due => {}
                Err(_) => break None,
            }
        }
    };
    let anything_sent = http.socket().written() > written;
    let (kind, detail) = match outcome {
        Some(Ok(response)) => return Ok((response, lease)),
        Some(Err(cause)) => failure(cause),
        None => (SendErrorKind::FirstByteTimeout, Detail::After(begun.elapsed())),
    };
    let unsent = if anything_sent { None } else { http.take_request() };
    let error = SendError::new(kind, lease.label(), detail).after_sending(anything_sent);
    Err(Broken { lease, error, unsent })
}
