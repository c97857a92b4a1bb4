//! Upstreams that misbehave: each has its kind of error, and the connection is never used again.

use cutover_upstream::{Instance, InstanceSettings, SendErrorKind};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;

use crate::server::{Server, ask, ask_text, instance, read_request, until, wait_for_close};

/// A server that answers each connection's first request with these bytes and closes.
async fn saying(answer: &'static [u8]) -> (Server, Instance) {
    let server = Server::start(move |_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(answer).await.unwrap();
    })
    .await;
    let instance = server.instance();
    (server, instance)
}

#[tokio::test]
async fn what_is_not_http_is_refused() {
    let cases: [(&[u8], SendErrorKind); 15] = [
        (b"", SendErrorKind::Closed),
        (b"HTTP/1.1 200 OK\r\n", SendErrorKind::Closed),
        (b"HTTP/1.1 200 OK\r\ncontent-len", SendErrorKind::Closed),
        (b"garbage\r\n\r\n", SendErrorKind::Protocol),
        (b"<html>502</html>\r\n\r\n", SendErrorKind::Protocol),
        (b"SSH-2.0-OpenSSH_9.2\r\n", SendErrorKind::Protocol),
        (b"\x16\x03\x01\x02\x00\x01\x00", SendErrorKind::Protocol),
        (b"HTTP/1.1 99 No\r\n\r\n", SendErrorKind::Protocol),
        (b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n", SendErrorKind::Protocol),
        (
            b"HTTP/1.1 200 OK\r\na: b\r\n folded\r\ncontent-length: 0\r\n\r\n",
            SendErrorKind::Protocol,
        ),
        (b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n", SendErrorKind::Protocol),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
            SendErrorKind::Protocol,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nab",
            SendErrorKind::Protocol,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
            SendErrorKind::Protocol,
        ),
        (
            b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1\r\n\r\nx",
            SendErrorKind::Protocol,
        ),
    ];
    for (answer, kind) in cases {
        let (_server, instance) = saying(answer).await;
        let error = ask(&instance).await.unwrap_err();
        let shown = String::from_utf8_lossy(answer);
        assert_eq!(error.kind(), kind, "{shown:?}: {error}");
        assert!(error.anything_sent(), "{shown:?}");
        assert_eq!(instance.live().figures().open, 0, "{shown:?}");
        assert_eq!(instance.live().in_flight(), 0, "{shown:?}");
    }
}

/// As proxies answer that compress whatever they are asked: a limit looked like a broken instance, without its `retry-after`.
#[tokio::test]
async fn an_error_that_is_compressed_keeps_its_status_and_headers_and_has_no_body() {
    let (_server, instance) = saying(
        b"HTTP/1.1 429 T\r\ncontent-encoding: gzip\r\nretry-after: 3\r\ncontent-length: 3\r\n\r\n\x1f\x8b\x08",
    )
    .await;
    let answer = ask(&instance).await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "3");
    for header in ["content-encoding", "content-length"] {
        assert!(!answer.headers().contains_key(header), "{header}");
    }
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    assert!(body.is_empty());
    until("the connection is closed", || instance.live().figures().open == 0).await;
    assert_eq!(instance.live().in_flight(), 0);
}

#[tokio::test]
async fn a_switch_of_protocols_is_refused() {
    let (_server, instance) =
        saying(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")
            .await;
    assert_eq!(ask(&instance).await.unwrap_err().kind(), SendErrorKind::Protocol);
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_not_followed() {
    let (server, instance) =
        saying(b"HTTP/1.1 307 T\r\nlocation: http://169.254.169.254/\r\ncontent-length: 0\r\n\r\n")
            .await;
    assert_eq!(ask(&instance).await.unwrap().status(), 307);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_head_without_end_is_refused_at_its_limit() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\na: ").await.unwrap();
        while socket.write_all(&[b'a'; 4096]).await.is_ok() {}
    })
    .await;
    let instance = server.instance();
    assert_eq!(ask(&instance).await.unwrap_err().kind(), SendErrorKind::Protocol);
}

#[tokio::test]
async fn too_many_headers_are_refused() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        let head = format!("HTTP/1.1 200 OK\r\n{}\r\n", "a: b\r\n".repeat(200));
        socket.write_all(head.as_bytes()).await.unwrap();
        wait_for_close(&mut socket).await;
    })
    .await;
    let instance = server.instance();
    assert_eq!(ask(&instance).await.unwrap_err().kind(), SendErrorKind::Protocol);
}

#[tokio::test]
async fn a_body_cut_off_is_an_error_and_not_an_end() {
    for (answer, expect) in [
        (&b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf"[..], "cut off"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n", "cut off"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n8\r\nhalf", "cut off"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhalf\r\n", "framing"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalfxx\r\n", "framing"),
    ] {
        let (_server, instance) = saying(answer).await;
        let error = ask_text(&instance).await.unwrap_err();
        assert!(error.contains(expect), "{:?}: {error}", String::from_utf8_lossy(answer));
        assert_eq!(instance.live().figures().open, 0);
        assert_eq!(instance.live().in_flight(), 0);
    }
}

#[tokio::test]
async fn a_body_that_ends_with_the_connection_is_whole() {
    let (_server, instance) = saying(b"HTTP/1.0 200 OK\r\n\r\nall of it").await;
    assert_eq!(ask_text(&instance).await.unwrap(), "all of it");
}

#[tokio::test]
async fn trailers_end_the_body_and_are_not_passed_on() {
    let (_server, instance) = saying(
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nset-cookie: a=b\r\n\r\n",
    )
    .await;
    let body = ask(&instance).await.unwrap().into_body().collect().await.unwrap();
    assert!(body.trailers().is_none());
    assert_eq!(body.to_bytes(), "ok");
}

#[tokio::test]
async fn nobody_there_and_no_such_name_have_their_kinds() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = instance(&format!("http://{gone}"), InstanceSettings::default());
    let error = ask(&refused).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Refused);
    assert!(error.retry_safe() && !error.anything_sent());
    assert_eq!(error.to_string(), format!("{gone}: the connection was refused"));

    let nameless = instance("http://no-such-host.invalid:1", InstanceSettings::default());
    let error = ask(&nameless).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Dns);
    assert_eq!(error.to_string(), "no-such-host.invalid:1: the host's name could not be resolved");
    assert!(error.retry_safe());
    assert_eq!(nameless.live().figures().failures, 1);
}
