//! Connections: limits before a request is read, TCP_NODELAY, and a drain at the end.

use std::convert::Infallible;
use std::future::Future;
use std::net::IpAddr;
use std::pin::pin;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;

use crate::gateway::Gateway;

/// What a connection may do before it has sent a whole request head.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// Largest head, in bytes. At least 8 KiB: hyper's own least buffer.
    pub header_bytes_max: usize,
    /// Most headers.
    pub header_count_max: usize,
    /// Time for a whole head, counted from the connection or the last answer's end.
    pub header_timeout: Duration,
    /// Most connections at once.
    pub connections_max: usize,
    /// Time for requests in flight to end at shutdown.
    pub drain_timeout: Duration,
}

/// After a failed accept (out of file descriptors, say) the listener waits so long: trying again at
/// once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// hyper refuses a smaller read buffer.
const HEADER_BYTES_LEAST: usize = 8 * 1024;

/// Accepts until `shutdown` resolves, then lets requests in flight end.
pub(crate) async fn serve(
    gateway: Gateway,
    listener: TcpListener,
    doors: Doors,
    shutdown: impl Future<Output = ()>,
) {
    let (close, closing) = watch::channel(());
    let tasks = TaskTracker::new();
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        let Ok((socket, peer)) = accepted else {
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        if tasks.len() >= doors.connections_max {
            gateway.connection_refused();
            continue;
        }
        let open = gateway.connection_opened();
        let connection = connection(gateway.clone(), (socket, peer.ip()), doors, closing.clone());
        tasks.spawn(async move {
            connection.await;
            drop(open);
        });
    }
    drop(listener);
    drop(close);
    tasks.close();
    if timeout(doors.drain_timeout, tasks.wait()).await.is_err() {
        tracing::warn!(connections = tasks.len(), "drain timeout: connections were cut");
    }
}

async fn connection(
    gateway: Gateway,
    (socket, peer): (TcpStream, IpAddr),
    doors: Doors,
    mut closing: watch::Receiver<()>,
) {
    // Without it the kernel holds small writes back: 40 ms on each first chunk.
    if socket.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| {
        let gateway = gateway.clone();
        async move { Ok::<_, Infallible>(gateway.answer(peer, request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(doors.header_timeout)
        .max_headers(doors.header_count_max)
        .max_buf_size(doors.header_bytes_max.max(HEADER_BYTES_LEAST))
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = pin!(serving);
    // A connection that breaks is the client's business; its requests record themselves.
    tokio::select! {
        _ = serving.as_mut() => return,
        _ = closing.changed() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
