//! Deadlines and limits.

use std::time::Duration;

use cutover_upstream::{Deadlines, InstanceSettings, SendErrorKind, Sending, Turn};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::server::{
    CHAT, OK, Server, ask, ask_text, instance, post, read_request, text, wait_for_close,
};

const DEADLINES: Deadlines =
    Deadlines { connect: Duration::from_secs(5), first_byte: Duration::from_secs(30) };

#[tokio::test(start_paused = true)]
async fn a_head_that_does_not_come_runs_into_the_deadline() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\n").await.unwrap();
        wait_for_close(&mut socket).await;
    })
    .await;
    let instance = server.instance();
    let started = Instant::now();
    let error = instance.send(post(CHAT, &["{}"]), DEADLINES).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::FirstByteTimeout);
    assert!(error.kind().is_timeout() && error.anything_sent());
    assert_eq!(started.elapsed().as_secs(), 30);
    assert_eq!(error.to_string(), format!("{}: no response in time (30000 ms)", server.address));
    assert_eq!(instance.live().figures().open, 0);
}

#[tokio::test(start_paused = true)]
async fn a_slow_head_within_the_deadline_is_fine() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        for byte in OK.as_bytes() {
            tokio::time::sleep(Duration::from_millis(500)).await;
            socket.write_all(&[*byte]).await.unwrap();
        }
        wait_for_close(&mut socket).await;
    })
    .await;
    let instance = server.instance();
    let response = instance.send(post(CHAT, &["{}"]), DEADLINES).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "ok");
    assert!(instance.live().latency_us() > 10_000_000, "{}", instance.live().latency_us());
}

#[tokio::test(start_paused = true)]
async fn the_body_has_no_deadline_here() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_hours(1)).await;
        socket.write_all(b"ok").await.unwrap();
        wait_for_close(&mut socket).await;
    })
    .await;
    let instance = server.instance();
    let response = instance.send(post(CHAT, &["{}"]), DEADLINES).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "ok");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_is_not_made_runs_into_the_deadline() {
    // A TLS handshake that is never answered stands for a socket that never connects: both are part
    // of connecting, and loopback has no address that stays silent.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("https://localhost:{}", listener.local_addr().unwrap().port());
    let address = cutover_upstream::InstanceAddress::parse(&address).unwrap();
    let tls = cutover_upstream::Tls::new(&[]).unwrap();
    let instance = cutover_upstream::Instance::http(
        address,
        InstanceSettings::default(),
        Some(tls),
        std::sync::Arc::default(),
    );
    let started = Instant::now();
    let error = instance.send(post(CHAT, &["{}"]), DEADLINES).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::ConnectTimeout);
    assert!(error.kind().is_timeout() && error.retry_safe());
    assert_eq!(started.elapsed().as_secs(), 5);
}

#[tokio::test]
async fn requests_beyond_the_limit_wait_and_are_served_in_turn() {
    let server = Server::answering(OK).await;
    let settings = InstanceSettings { max_connections: 1, ..InstanceSettings::default() };
    let instance = server.instance_with(settings);
    let first = ask(&instance).await.unwrap();
    let second = ask_text(&instance);
    let end_first = async {
        crate::server::until("one waits", || instance.live().figures().waiting == 1).await;
        text(first).await.unwrap()
    };
    let (second, first) = tokio::join!(second, end_first);
    assert_eq!((first.as_str(), second.unwrap().as_str()), ("ok", "ok"));
    assert_eq!(server.accepted(), 1);
    assert_eq!(instance.live().figures().waiting, 0);
}

#[tokio::test]
async fn a_full_queue_refuses_at_once() {
    let server = Server::answering(OK).await;
    let settings =
        InstanceSettings { max_connections: 1, max_waiting: 0, ..InstanceSettings::default() };
    let instance = server.instance_with(settings);
    let first = ask(&instance).await.unwrap();
    let error = ask(&instance).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::TooManyConnections);
    assert!(error.retry_safe());
    assert_eq!(
        error.to_string(),
        format!("{}: all connections are in use (the queue for them is full)", server.address)
    );
    assert_eq!(instance.live().figures().refusals, 1);
    text(first).await.unwrap();
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_place_ends_with_the_connect_deadline() {
    let server = Server::answering(OK).await;
    let settings = InstanceSettings { max_connections: 1, ..InstanceSettings::default() };
    let instance = server.instance_with(settings);
    let first = ask(&instance).await.unwrap();
    let error = instance.send(post(CHAT, &["{}"]), DEADLINES).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::TooManyConnections);
    assert_eq!(instance.live().figures().waiting, 0);
    drop(first);
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
}

#[tokio::test(start_paused = true)]
async fn the_wait_for_a_place_is_no_time_of_the_instances() {
    let server = Server::start(|_, mut socket| async move {
        while read_request(&mut socket).await.is_some() {
            tokio::time::sleep(Duration::from_secs(2)).await;
            socket.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await;
    let settings = InstanceSettings { max_connections: 1, ..InstanceSettings::default() };
    let instance = server.instance_with(settings);
    let seat = || instance.live().post().sit();
    let ask = async || {
        let deadlines = Deadlines { first_byte: Duration::from_secs(3), ..DEADLINES };
        let sending = Sending { deadlines, started: Instant::now(), turn: Turn::Now };
        let answered = instance.send_made(seat(), &|| post(CHAT, &["{}"]), sending).await.unwrap();
        let seconds = (answered.took.as_secs(), answered.waited.as_secs());
        text(answered.response).await.unwrap();
        seconds
    };
    // 4 s after it came, on a connection that has been there all the time.
    let (first, second) = tokio::join!(ask(), ask());
    assert_eq!((first, second), ((2, 0), (2, 2)));
    assert!((1_900_000..2_100_000).contains(&instance.live().latency_us()));
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_dropped_wait_leaves_no_trace() {
    let server = Server::answering(OK).await;
    let settings = InstanceSettings { max_connections: 1, ..InstanceSettings::default() };
    let instance = server.instance_with(settings);
    let first = ask(&instance).await.unwrap();
    {
        let mut second = std::pin::pin!(ask(&instance));
        let waits = crate::server::until("waits", || instance.live().figures().waiting == 1);
        tokio::select! {
            _ = &mut second => panic!("there is no place"),
            () = waits => {}
        }
    }
    let figures = instance.live().figures();
    assert_eq!((figures.waiting, figures.in_flight), (0, 1));
    text(first).await.unwrap();
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
}

#[tokio::test]
async fn the_limits_hold_for_an_unreachable_instance_too() {
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let settings = InstanceSettings { max_connections: 2, ..InstanceSettings::default() };
    let instance = instance(&format!("http://{gone}"), settings);
    for _ in 0..10 {
        assert_eq!(ask(&instance).await.unwrap_err().kind(), SendErrorKind::Refused);
    }
    assert_eq!(instance.live().figures().open, 0);
}
