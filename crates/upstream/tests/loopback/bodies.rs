//! Large and slow bodies.

use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use crate::server::{Server, ask, read_request};

const MEGABYTES: usize = 100;

#[tokio::test]
async fn a_hundred_megabytes_stream_through_in_bounded_pieces() {
    let server = Server::start(|_, mut socket| async move {
        while read_request(&mut socket).await.is_some() {
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", MEGABYTES << 20);
            socket.write_all(head.as_bytes()).await.unwrap();
            let piece = vec![b'x'; 1 << 20];
            for _ in 0..MEGABYTES {
                socket.write_all(&piece).await.unwrap();
            }
        }
    })
    .await;
    let instance = server.instance();
    let mut body = ask(&instance).await.unwrap().into_body();
    let (mut total, mut largest) = (0, 0);
    while let Some(frame) = body.frame().await {
        let data = frame.unwrap().into_data().unwrap();
        total += data.len();
        largest = largest.max(data.len());
    }
    assert_eq!(total, MEGABYTES << 20);
    // One buffer is 128 KiB; a piece is what was read while the buffer grew.
    assert!(largest <= 2 * 128 * 1024, "{largest}");
    assert_eq!(instance.live().figures().idle, 1);
}

#[tokio::test]
async fn an_unread_body_holds_the_upstream_back() {
    // The server can write only what the sockets and one buffer take while nobody reads.
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = std::sync::Arc::clone(&written);
    let server = Server::start(move |_, mut socket| {
        let count = std::sync::Arc::clone(&count);
        async move {
            read_request(&mut socket).await;
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            socket.write_all(head).await.unwrap();
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(1 << 16));
            while socket.write_all(chunk.as_bytes()).await.is_ok() {
                count.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        }
    })
    .await;
    let instance = server.instance();
    let mut body = ask(&instance).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    // Let the server run until it writes no more.
    let mut before = usize::MAX;
    loop {
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
        let now = written.load(std::sync::atomic::Ordering::SeqCst);
        if now == before {
            break;
        }
        before = now;
    }
    assert!(before < 1024, "{before} chunks of 64 KiB were taken from the upstream unread");
}

#[tokio::test]
async fn a_stream_arrives_chunk_by_chunk_as_it_is_sent() {
    let go = std::sync::Arc::new(tokio::sync::Semaphore::new(0));
    let wait = std::sync::Arc::clone(&go);
    let server = Server::start(move |_, mut socket| {
        let wait = std::sync::Arc::clone(&wait);
        async move {
            read_request(&mut socket).await;
            let head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
            socket.write_all(head).await.unwrap();
            for number in 0..50 {
                // The next chunk is written only after the one before was received.
                wait.acquire().await.unwrap().forget();
                let event = format!("data: {number:04}\n\n");
                let chunk = format!("{:x}\r\n{event}\r\n", event.len());
                socket.write_all(chunk.as_bytes()).await.unwrap();
            }
            socket.write_all(b"0\r\n\r\n").await.unwrap();
        }
    })
    .await;
    let instance = server.instance();
    let mut body = ask(&instance).await.unwrap().into_body();
    for number in 0..50 {
        go.add_permits(1);
        let data = body.frame().await.unwrap().unwrap().into_data().unwrap();
        assert_eq!(data, format!("data: {number:04}\n\n"));
    }
    assert!(body.frame().await.is_none());
}
