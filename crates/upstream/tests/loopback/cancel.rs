//! Dropping cancels: the server sees the close, the counts come back, in every phase of a request.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use cutover_upstream::Deadlines;
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Notify, Semaphore};

use crate::server::{CHAT, Server, ask, post, read_request, until, wait_for_close};

/// A server that reads a request, sends these bytes, and reports when the client has closed.
async fn reports_close(answer: &'static str) -> (Server, Arc<Notify>, Arc<Semaphore>) {
    let (got, closed) = (Arc::new(Notify::new()), Arc::new(Semaphore::new(0)));
    let (tell_got, tell_closed) = (Arc::clone(&got), Arc::clone(&closed));
    let server = Server::start(move |_, mut socket| {
        let (got, closed) = (Arc::clone(&tell_got), Arc::clone(&tell_closed));
        async move {
            read_request(&mut socket).await;
            socket.write_all(answer.as_bytes()).await.unwrap();
            got.notify_one();
            wait_for_close(&mut socket).await;
            closed.add_permits(1);
        }
    })
    .await;
    (server, got, closed)
}

#[tokio::test]
async fn dropping_the_future_before_the_response_closes_the_connection() {
    let (server, got, closed) = reports_close("").await;
    let instance = server.instance();
    {
        let mut sending = pin!(ask(&instance));
        tokio::select! {
            _ = &mut sending => panic!("no answer was sent"),
            () = got.notified() => {}
        }
        assert_eq!(instance.live().in_flight(), 1);
    }
    closed.acquire().await.unwrap().forget();
    let figures = instance.live().figures();
    assert_eq!((figures.in_flight, figures.open, figures.idle), (0, 0, 0));
}

#[tokio::test]
async fn dropping_a_stream_in_the_middle_closes_the_connection() {
    let (server, _, closed) = reports_close(
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n\
         9\r\ndata: 1\n\n\r\n",
    )
    .await;
    let instance = server.instance();
    let mut body = ask(&instance).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: 1\n\n");
    assert_eq!(instance.live().in_flight(), 1);
    drop(body);
    closed.acquire().await.unwrap().forget();
    let figures = instance.live().figures();
    assert_eq!((figures.in_flight, figures.open, figures.idle), (0, 0, 0));
}

#[tokio::test]
async fn dropping_a_response_unread_closes_the_connection() {
    let (server, _, closed) =
        reports_close("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await;
    let instance = server.instance();
    drop(ask(&instance).await.unwrap());
    closed.acquire().await.unwrap().forget();
    assert_eq!(instance.live().figures().open, 0);
}

#[tokio::test]
async fn dropping_while_the_request_is_still_being_written_closes_the_connection() {
    // 64 MB into a server that reads nothing: the request cannot be sent to its end.
    let closed = Arc::new(Semaphore::new(0));
    let tell = Arc::clone(&closed);
    let start_reading = Arc::new(Notify::new());
    let wait = Arc::clone(&start_reading);
    let server = Server::start(move |_, mut socket| {
        let (tell, wait) = (Arc::clone(&tell), Arc::clone(&wait));
        async move {
            wait.notified().await;
            wait_for_close(&mut socket).await;
            tell.add_permits(1);
        }
    })
    .await;
    let instance = server.instance();
    let mut outbound = post(CHAT, &[]);
    outbound.body = vec![Bytes::from(vec![b' '; 1 << 20]); 64];
    {
        let mut sending = pin!(instance.send(outbound, Deadlines::default()));
        // Polled until it waits for the socket with a connection open.
        let live = instance.live();
        poll_fn(|cx| {
            assert!(sending.as_mut().poll(cx).is_pending());
            if live.figures().open == 1 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
    assert_eq!(instance.live().figures().open, 0);
    start_reading.notify_one();
    closed.acquire().await.unwrap().forget();
}

#[tokio::test]
async fn an_early_answer_to_an_unread_request_is_passed_on_and_the_connection_closed() {
    // A server that refuses a large body without reading it (413).
    let server = Server::start(|_, mut socket| async move {
        let mut some = [0; 1024];
        tokio::io::AsyncReadExt::read(&mut socket, &mut some).await.unwrap();
        socket
            .write_all(b"HTTP/1.1 413 Payload Too Large\r\ncontent-length: 3\r\n\r\nbig")
            .await
            .unwrap();
        wait_for_close(&mut socket).await;
    })
    .await;
    let instance = server.instance();
    let mut outbound = post(CHAT, &[]);
    outbound.body = vec![Bytes::from(vec![b' '; 1 << 20]); 64];
    let response = instance.send(outbound, Deadlines::default()).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(crate::server::text(response).await.unwrap(), "big");
    until("closed", || instance.live().figures().open == 0).await;
}
