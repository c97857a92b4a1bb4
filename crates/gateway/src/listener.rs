//! Connections: limits before a request is read, TCP_NODELAY, and a drain at the end.
//!
//! When all places are taken, further connections wait in the kernel's queue, unaccepted.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Request, Response, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::body::{Out, Watched};
use crate::gateway::Gateway;
use crate::socket::{Overdue, Patience, Pulse, Socket};
use crate::unread::{Form, Unread};

/// What a connection may do before it has sent a whole request head.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// Largest head, in bytes.
    pub header_bytes_max: usize,
    /// Most headers.
    pub header_count_max: usize,
    /// Time for a whole head, counted from its first byte.
    pub header_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// Most connections at once.
    pub connections_max: usize,
    /// Time for requests in flight to end at shutdown.
    pub drain_timeout: Duration,
}

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

/// How long a client may take for the error that ends its request when the drain is over.
const FAREWELL: Duration = Duration::from_secs(1);

/// hyper refuses a smaller read buffer.
const HEADER_BYTES_LEAST: usize = 8 * 1024;

/// Accepts until `shutdown` resolves, then lets requests in flight end.
pub(crate) async fn serve(
    gateway: Gateway,
    listener: TcpListener,
    doors: Doors,
    shutdown: impl Future<Output = ()>,
) {
    let (stage, stages) = watch::channel(Stage::Open);
    let tasks = TaskTracker::new();
    let places = Arc::new(Semaphore::new(doors.connections_max.min(Semaphore::MAX_PERMITS)));
    let mut shutdown = pin!(shutdown);
    loop {
        if places.available_permits() == 0 {
            gateway.limit_hit("server.max_connections");
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
        let open = gateway.connection_opened();
        let connection = connection(gateway.clone(), (socket, peer.ip()), doors, stages.clone());
        tasks.spawn(async move {
            connection.await;
            drop((open, place));
        });
    }
    drop(listener);
    let _ = stage.send(Stage::Drain);
    gateway.drain_copies();
    tasks.close();
    let ended = async {
        tasks.wait().await;
        // Nobody waits for a copy, nor shall a restart.
        gateway.cut_copies();
        gateway.background_ended().await;
    };
    if timeout(doors.drain_timeout, ended).await.is_err() {
        tracing::warn!(connections = tasks.len(), "drain timeout: connections are cut");
        gateway.cut();
        let _ = stage.send(Stage::Cut);
        gateway.cut_copies();
        // Within FAREWELL: so that the requests on them are told, and recorded.
        tasks.wait().await;
    }
}

async fn connection(
    gateway: Gateway,
    (socket, peer): (TcpStream, IpAddr),
    doors: Doors,
    mut stages: watch::Receiver<Stage>,
) {
    // Without it the kernel holds small writes back: 40 ms on each first chunk.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let patience = Patience {
        idle: doors.idle_timeout,
        head: doors.header_timeout,
        stall: STALL,
        closing: CLOSING,
    };
    let pulse = Arc::new(Pulse::new());
    let service = service_fn(|request| answer(&gateway, (peer, doors), request, &pulse));
    let socket = Socket::new(socket, Arc::clone(&pulse), Unread::new(&gateway, peer, doors));
    let serving = http1::Builder::new()
        // The head's deadline is the pulse's: hyper would set a timer for each request.
        .header_read_timeout(None)
        .max_headers(doors.header_count_max)
        .max_buf_size(doors.header_bytes_max.max(HEADER_BYTES_LEAST))
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = pin!(serving);
    let mut look = pin!(sleep(patience.shortest()));
    loop {
        tokio::select! {
            biased;
            // A connection that breaks is the client's business; its requests record themselves.
            _ = serving.as_mut() => return,
            changed = stages.changed() => {
                if changed.is_err() || pulse.is_quiet() {
                    return;
                }
                serving.as_mut().graceful_shutdown();
                if *stages.borrow_and_update() == Stage::Cut {
                    // What is under way sees for itself that its time is over.
                    let _ = timeout(FAREWELL, serving).await;
                    return;
                }
            }
            () = look.as_mut() => match pulse.look(Instant::now(), &patience) {
                Ok(next) => look.as_mut().reset(next),
                Err(overdue) => return cut(&gateway, overdue),
            },
        }
    }
}

async fn answer(
    gateway: &Gateway,
    (peer, doors): (IpAddr, Doors),
    request: Request<Incoming>,
    pulse: &Arc<Pulse>,
) -> Result<Response<Watched>, Infallible> {
    let form = Form {
        bytes_max: doors.header_bytes_max,
        says_two_ends: pulse.asked(),
        pulse: Arc::clone(pulse),
    };
    let response: Response<Out> = gateway.answer(peer, request, form).await;
    if response.headers().get(header::CONNECTION) == Some(&HeaderValue::from_static("close")) {
        pulse.ends_unread();
    }
    Ok(response.map(|body| Watched::new(body, Arc::clone(pulse))))
}

fn cut(gateway: &Gateway, overdue: Overdue) {
    match overdue {
        Overdue::Quiet => {}
        Overdue::Head => gateway.limit_hit("server.header_timeout"),
        Overdue::Stall => gateway.limit_hit("client_stalled"),
    }
}
