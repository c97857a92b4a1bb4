//! Connections: limits before a request is read, TCP_NODELAY, and a drain at the end.
//!
//! When all places are taken, further connections wait in the kernel's queue, unaccepted.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::handler::{Arrival, Doors, Handler};
use crate::heads::{self, Unread};
use crate::pulse::{Overdue, Patience, Pulse};
use crate::socket::Socket;

/// How far a shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Not begun.
    Open,
    /// Requests in flight may end.
    Drain,
    /// Their time is over.
    Cut,
}

/// After a failed accept (out of file descriptors, say) the listener waits so long: trying again at
/// once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a client may take nothing of an answer that waits for it. Nobody reads so slowly, and
/// meanwhile it holds an upstream.
const STALL: Duration = Duration::from_mins(1);

/// How long we read on after an answer to a request whose body we did not want.
const CLOSING: Duration = Duration::from_secs(5);

/// An answer whose head went out before a shutdown began has not said that the connection ends with it, and its
/// client may send the next request in that very moment. So long the connection is there for that, and for the first
/// request of a client that has just connected.
const LINGER: Duration = Duration::from_secs(1);

/// How long a client may take for the error that ends its request when the drain is over.
const FAREWELL: Duration = Duration::from_secs(1);

/// How much more of a head hyper reads than it may have: what is not far above the limit is refused in the words of the
/// dialect that its path names.
const HEADER_BYTES_MORE: usize = 8 * 1024;

/// Most that is read at once. A body of up to this size comes in one piece, and nothing of it is copied; a connection
/// holds as much only after it has sent as much.
const READ_BYTES_MAX: usize = 128 * 1024;

/// Accepts until `shutdown` resolves, then lets requests in flight end.
pub async fn serve<H: Handler>(
    handler: H,
    listener: TcpListener,
    doors: Doors,
    shutdown: impl Future<Output = ()>,
) {
    let (stage, stages) = watch::channel(Stage::Open);
    let tasks = TaskTracker::new();
    let places = doors.connections_max.clamp(1, Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(places));
    let mut shutdown = pin!(shutdown);
    loop {
        if places.available_permits() == 0 {
            handler.limit_hit("server.max_connections");
        }
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            accepted = accepted => accepted,
            () = &mut shutdown => break,
        };
        let Ok((socket, peer)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let open = handler.opened();
        let connection = connection(handler.clone(), (socket, peer.ip()), doors, stages.clone());
        tasks.spawn(async move {
            connection.await;
            drop((open, place));
        });
    }
    drop(listener);
    let _ = stage.send(Stage::Drain);
    handler.drain();
    tasks.close();
    let ended = async {
        tasks.wait().await;
        handler.ended().await;
    };
    if timeout(doors.drain_timeout, ended).await.is_err() {
        tracing::warn!(connections = tasks.len(), "drain timeout: connections are cut");
        handler.cut();
        let _ = stage.send(Stage::Cut);
        // Within FAREWELL: so that the requests on them are told, and recorded.
        tasks.wait().await;
    }
}

async fn connection<H: Handler>(
    handler: H,
    (socket, peer): (TcpStream, IpAddr),
    doors: Doors,
    mut stages: watch::Receiver<Stage>,
) {
    // Without it the kernel holds small writes back: 40 ms on each first chunk.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let mut patience = Patience {
        idle: doors.idle_timeout,
        head: doors.header_timeout,
        stall: STALL,
        closing: CLOSING,
    };
    let pulse = Arc::new(Pulse::new());
    let service = service_fn(|request| answer(&handler, (peer, doors), request, &pulse));
    let socket = Socket::new(socket, Arc::clone(&pulse), Unread::new(handler.clone(), peer, doors));
    let header_bytes_max = doors.header_bytes_max.saturating_add(HEADER_BYTES_MORE);
    let serving = http1::Builder::new()
        // The head's deadline is the pulse's: hyper would set a timer for each request.
        .header_read_timeout(None)
        .max_headers(doors.header_count_max)
        .max_header_size(header_bytes_max)
        .max_buf_size(header_bytes_max.max(READ_BYTES_MAX))
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = pin!(serving);
    let mut look = pin!(sleep(patience.shortest()));
    loop {
        match next(serving.as_mut(), &mut stages, look.as_mut()).await {
            // A connection that breaks is the client's business; its requests record themselves.
            Next::Ended => return,
            Next::Stage(is_told) => {
                let is_cut = *stages.borrow_and_update() == Stage::Cut;
                let is_fresh = pulse.is_fresh(LINGER);
                if !is_told || pulse.is_quiet() && (is_cut || !is_fresh) {
                    return;
                }
                if is_cut {
                    serving.as_mut().graceful_shutdown();
                    // What is under way sees for itself that its time is over.
                    let _ = timeout(FAREWELL, serving).await;
                    return;
                }
                // hyper would close a fresh one at once.
                if is_fresh || pulse.has_begun() {
                    pulse.drains();
                    patience.idle = patience.idle.min(LINGER);
                    let wait = if is_fresh { Duration::ZERO } else { patience.shortest() };
                    look.as_mut().reset(Instant::now() + wait);
                } else {
                    serving.as_mut().graceful_shutdown();
                }
            }
            Next::Look => match pulse.look(Instant::now(), &patience) {
                Ok(next) => look.as_mut().reset(next),
                Err(overdue) => return cut(&handler, overdue),
            },
        }
    }
}

/// What comes next of a connection.
enum Next {
    /// It is over.
    Ended,
    /// A shutdown has gone on, or whoever would tell of it has gone: then false.
    Stage(bool),
    /// It is time to see whether anything is overdue.
    Look,
}

/// Awaits what comes next. The task is woken several times for each request, and mostly by what serves it:
/// the other two have its waker from the first time, and are asked again only when they have something to
/// say. So they must have taken it then, even if the task's budget was used up: they are not bound by it.
async fn next<S: Future>(
    mut serving: Pin<&mut S>,
    stages: &mut watch::Receiver<Stage>,
    mut look: Pin<&mut Sleep>,
) -> Next {
    let seen = stages.clone();
    let mut changed = pin!(unconstrained(stages.changed()));
    let mut told: Option<Waker> = None;
    poll_fn(|context| {
        if serving.as_mut().poll(context).is_ready() {
            return Poll::Ready(Next::Ended);
        }
        let wakes = told.as_ref().is_some_and(|told| told.will_wake(context.waker()));
        if wakes && matches!(seen.has_changed(), Ok(false)) && !look.is_elapsed() {
            return Poll::Pending;
        }
        told = Some(context.waker().clone());
        if let Poll::Ready(changed) = changed.as_mut().poll(context) {
            return Poll::Ready(Next::Stage(changed.is_ok()));
        }
        let look = pin!(unconstrained(look.as_mut()));
        look.poll(context).map(|()| Next::Look)
    })
    .await
}

async fn answer<H: Handler>(
    handler: &H,
    (peer, doors): (IpAddr, Doors),
    request: Request<Incoming>,
    pulse: &Arc<Pulse>,
) -> Result<Response<Watched<H::Body>>, Infallible> {
    let (head, body) = request.into_parts();
    let doubt = heads::doubt(&head, doors.header_bytes_max, pulse.asked());
    if body.is_end_stream() {
        pulse.received();
    }
    let arrival = Arrival { peer, head, body, doubt, pulse: Arc::clone(pulse) };
    let mut response = handler.answer(arrival).await;
    if pulse.is_followed_by_doubt() {
        // What stands behind this request is not even read.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    if response.headers().get(header::CONNECTION) == Some(&HeaderValue::from_static("close")) {
        pulse.ends_unread();
    } else if pulse.is_draining() {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    Ok(response.map(|body| Watched { body, pulse: Arc::clone(pulse) }))
}

fn cut(handler: &impl Handler, overdue: Overdue) {
    match overdue {
        Overdue::Quiet => {}
        Overdue::Head => handler.limit_hit("server.header_timeout"),
        Overdue::Stall => handler.limit_hit("client_stalled"),
    }
}

/// A response body that tells its connection when it has been handed over.
struct Watched<B> {
    body: B,
    pulse: Arc<Pulse>,
}

impl<B> Drop for Watched<B> {
    fn drop(&mut self) {
        self.pulse.answered();
    }
}

impl<B: Body + Unpin> Body for Watched<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
pub(crate) mod tests;
