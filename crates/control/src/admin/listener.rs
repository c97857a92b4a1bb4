//! The admin listener's connections: few, each with a deadline for its request's head.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::Duration;

use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::Admin;

/// Operators, probes and one scraper: far fewer. More are turned away.
const CONNECTIONS_MAX: usize = 64;

/// Time for a request's head, also between two requests of a connection.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for open exchanges to end at shutdown.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

/// After a failed accept (out of file descriptors, say) the listener waits so long: trying again at
/// once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

pub(super) async fn serve(
    admin: &Admin,
    listener: TcpListener,
    shutdown: impl Future<Output = ()>,
) {
    let (tasks, closing) = (TaskTracker::new(), CancellationToken::new());
    let mut shutdown = pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = &mut shutdown => break,
        };
        match accepted {
            Ok((socket, peer)) if tasks.len() < CONNECTIONS_MAX => {
                tasks.spawn(connection(admin.clone(), socket, peer, closing.clone()));
            }
            // Dropped, which closes it.
            Ok(_) => {}
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
    closing.cancel();
    tasks.close();
    // What has not ended by then is cut.
    let _ = tokio::time::timeout(DRAIN_TIMEOUT, tasks.wait()).await;
}

async fn connection(admin: Admin, socket: TcpStream, peer: SocketAddr, closing: CancellationToken) {
    let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
        let admin = admin.clone();
        async move {
            let request = request.map(Body::new);
            Ok::<_, Infallible>(admin.answer(request, Some(peer.ip())).await)
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = pin!(serving);
    // A connection that breaks is the caller's business.
    tokio::select! {
        _ = serving.as_mut() => return,
        () = closing.cancelled() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}
