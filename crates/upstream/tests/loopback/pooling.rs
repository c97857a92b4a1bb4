//! Connections: reuse, ageing, and the one case in which a request is sent twice.

use std::future::poll_fn;
use std::io::ErrorKind::WouldBlock;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use cutover_upstream::{Deadlines, Instance, InstanceSettings, SendErrorKind, Sending, Turn};
use http_body_util::BodyExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::server::{CHAT, OK, Server, ask, ask_text, post, read_request, text, until};

#[tokio::test]
async fn a_body_read_to_its_end_gives_the_connection_back() {
    let server = Server::answering(OK).await;
    let instance = server.instance();
    for _ in 0..20 {
        assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    }
    assert_eq!(server.accepted(), 1);
    let figures = instance.live().figures();
    assert_eq!((figures.open, figures.idle, figures.in_flight), (1, 1, 0));
    assert_eq!((figures.requests, figures.connects, figures.failures), (20, 1, 0));
}

/// An instance with one idle connection, and the server's end of it.
async fn idle() -> (Server, Instance, TcpStream) {
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let server = Server::start(move |_, mut socket| {
        let keep = Arc::clone(&keep);
        async move {
            read_request(&mut socket).await.unwrap();
            socket.write_all(OK.as_bytes()).await.unwrap();
            *keep.lock().unwrap() = Some(socket);
        }
    })
    .await;
    let instance = server.instance();
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    until("the server kept its end", || kept.lock().unwrap().is_some()).await;
    let end = kept.lock().unwrap().take().unwrap();
    (server, instance, end)
}

/// Somebody waits for the first token; of whole answers many are on their way, and written in a row they
/// cost less. Seen on the wire after one poll, that is, before any other task could run.
#[tokio::test]
async fn a_request_that_is_waited_for_is_written_at_once_and_others_in_a_row() {
    for (turn, at_once) in [(Turn::Now, true), (Turn::InARow, false)] {
        let (_server, instance, end) = idle().await;
        let end = end.into_std().unwrap();

        let make = || post(CHAT, &["{}"]);
        let sending = Sending { deadlines: Deadlines::default(), started: Instant::now(), turn };
        let mut asked = pin!(instance.send_made(instance.live().post().sit(), &make, sending));
        let waits = poll_fn(|cx| Poll::Ready(asked.as_mut().poll(cx).is_pending())).await;
        let arrived = match end.peek(&mut [0; 4]) {
            Ok(bytes) => bytes > 0,
            Err(error) => {
                assert_eq!(error.kind(), WouldBlock);
                false
            }
        };
        assert!(waits);
        assert_eq!(arrived, at_once, "{turn:?}");
    }
}

#[tokio::test]
async fn the_last_frame_of_a_known_length_is_the_end() {
    let server = Server::answering(OK).await;
    let instance = server.instance();
    let mut body = ask(&instance).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    assert!(http_body::Body::is_end_stream(&body));
    assert_eq!(instance.live().figures().idle, 1);
    assert_eq!(instance.live().in_flight(), 0);
    assert!(body.frame().await.is_none());
}

#[tokio::test]
async fn answers_without_a_body_give_the_connection_back_at_once() {
    for answer in [
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
    ] {
        let server = Server::answering(answer).await;
        let instance = server.instance();
        let response = ask(&instance).await.unwrap();
        assert_eq!(instance.live().figures().idle, 1, "{answer}");
        drop(response);
        ask(&instance).await.unwrap();
        assert_eq!(server.accepted(), 1, "{answer}");
    }
}

const STREAM: &str =
    "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n";

/// As a client does that stops reading at [DONE]: the empty last chunk is not asked for.
async fn ask_stream(instance: &Instance) {
    let mut body = ask(instance).await.unwrap().into_body();
    assert_eq!(body.frame().await.unwrap().unwrap().into_data().unwrap(), "data: [DONE]\n\n");
}

/// So long nobody knows what the server does with connections after a stream.
const TRIAL: Duration = Duration::from_millis(2_100);

#[tokio::test(start_paused = true)]
async fn a_stream_dropped_after_its_last_event_keeps_the_connection() {
    let server = Server::answering(STREAM).await;
    let instance = server.instance();
    ask_stream(&instance).await;
    tokio::time::sleep(TRIAL).await;
    for _ in 0..3 {
        ask_stream(&instance).await;
    }
    assert_eq!(server.accepted(), 1);
}

/// Clients are let in by the files that they and their upstream's connections need.
#[tokio::test]
async fn connections_that_wait_to_be_known_leave_their_places_to_new_ones() {
    let server = Server::answering(STREAM).await;
    let instance = server.instance();
    for _ in 0..3 {
        let mut bodies = Vec::new();
        for _ in 0..5 {
            bodies.push(ask(&instance).await.unwrap().into_body());
            assert!(instance.live().figures().open <= 6, "{:?}", instance.live().figures());
        }
        for body in &mut bodies {
            while body.frame().await.is_some() {}
        }
        assert_eq!(instance.live().figures().in_flight, 0);
    }
    assert!(instance.live().figures().open <= 6);
}

/// As llama.cpp's server does: it says that it keeps the connection, and closes it after each stream. What came until
/// then is read and thrown away.
#[tokio::test(start_paused = true)]
async fn no_request_goes_to_a_server_that_is_about_to_close_after_a_stream() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(STREAM.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
        let _ = socket.try_read(&mut [0; 4096]);
    })
    .await;
    let instance = server.instance();
    for round in 1..=3 {
        for _ in 0..5 {
            ask_stream(&instance).await;
        }
        assert_eq!(server.accepted(), round * 5, "each has a connection of its own");
        // Once it is known, one is looked at.
        assert_eq!(instance.live().figures().idle, if round == 1 { 2 } else { 1 });
        tokio::time::sleep(TRIAL).await;
    }
    let figures = instance.live().figures();
    assert_eq!((figures.resends, figures.failures), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_server_that_begins_to_close_after_streams_is_believed() {
    let closes = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&closes);
    let server = Server::start(move |_, mut socket| {
        let closes = Arc::clone(&told);
        async move {
            while read_request(&mut socket).await.is_some() {
                socket.write_all(STREAM.as_bytes()).await.unwrap();
                if closes.load(Relaxed) {
                    tokio::time::sleep(Duration::from_millis(500)).await;
                    let _ = socket.try_read(&mut [0; 4096]);
                    return;
                }
            }
        }
    })
    .await;
    let instance = server.instance();
    ask_stream(&instance).await;
    tokio::time::sleep(TRIAL).await;
    closes.store(true, Relaxed);
    ask_stream(&instance).await;
    assert_eq!(server.accepted(), 1, "known to keep them");
    tokio::time::sleep(Duration::from_millis(600)).await;
    for _ in 0..3 {
        ask_stream(&instance).await;
    }
    let figures = instance.live().figures();
    assert_eq!((server.accepted(), figures.failures, figures.idle), (4, 0, 1));
}

#[tokio::test]
async fn connection_close_is_obeyed() {
    let server =
        Server::answering("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok")
            .await;
    let instance = server.instance();
    for _ in 0..3 {
        assert_eq!(ask_text(&instance).await.unwrap(), "ok");
        assert_eq!(instance.live().figures().open, 0);
    }
    assert_eq!(server.accepted(), 3);
}

#[tokio::test]
async fn the_request_on_the_wire_has_its_own_host_and_length() {
    let seen = Arc::new(Mutex::new(String::new()));
    let keep = Arc::clone(&seen);
    let server = Server::start(move |_, mut socket| {
        let keep = Arc::clone(&keep);
        async move {
            while let Some(request) = read_request(&mut socket).await {
                *keep.lock().unwrap() = request;
                socket.write_all(OK.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let instance = crate::server::instance(
        &format!("http://{}/v1", server.address),
        InstanceSettings::default(),
    );
    let mut outbound = post("/v1/chat/completions?a=b", &["{\"model\":", "\"m\"", "", "}"]);
    for (name, value) in [
        ("host", "evil.example"),
        ("content-length", "3"),
        ("transfer-encoding", "chunked"),
        ("connection", "upgrade"),
        ("content-type", "application/json"),
    ] {
        outbound.headers.insert(name, value.parse().unwrap());
    }
    let response = instance.send(outbound, Deadlines::default()).await.unwrap();
    text(response).await.unwrap();
    let request = seen.lock().unwrap().replace(&server.address.to_string(), "HOST");
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let mut lines: Vec<&str> = head.lines().collect();
    lines[1..].sort_unstable();
    assert_eq!(
        lines,
        [
            "POST /v1/chat/completions?a=b HTTP/1.1",
            "content-length: 13",
            "content-type: application/json",
            "host: HOST",
        ]
    );
    assert_eq!(body, "{\"model\":\"m\"}");
}

#[tokio::test]
async fn a_connection_that_the_server_closed_while_idle_is_skipped() {
    let server = Server::start(|_, mut socket| async move {
        // One request per connection, and no word about it.
        read_request(&mut socket).await;
        socket.write_all(OK.as_bytes()).await.unwrap();
    })
    .await;
    let instance = server.instance();
    for _ in 0..20 {
        assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    }
    assert_eq!(server.accepted(), 20);
    assert_eq!(instance.live().figures().failures, 0);
}

/// Answers the first request of the first connection; that connection's second request is read and
/// not answered.
async fn closes_when_reused() -> Server {
    Server::start(|number, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(OK.as_bytes()).await.unwrap();
        if number == 0 {
            read_request(&mut socket).await;
            return;
        }
        while read_request(&mut socket).await.is_some() {
            socket.write_all(OK.as_bytes()).await.unwrap();
        }
    })
    .await
}

/// Whatever the machine is busy with, the close is taken for an idle one.
fn patient() -> InstanceSettings {
    InstanceSettings { close_shows_within: Duration::from_mins(1), ..InstanceSettings::default() }
}

#[tokio::test]
async fn a_request_lost_to_an_idle_close_is_sent_once_more() {
    let server = closes_when_reused().await;
    let instance = server.instance_with(patient());
    let told = Arc::new(AtomicU32::new(0));
    let (tell, too_late) = (Arc::clone(&told), Arc::clone(&told));
    instance.live().on_resend(move || tell.store(tell.load(Relaxed) + 1, Relaxed));
    instance.live().on_resend(move || too_late.store(100, Relaxed));
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    assert_eq!(told.load(Relaxed), 0);
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    assert_eq!(told.load(Relaxed), 1, "the engine may have seen both");
    let figures = instance.live().figures();
    assert_eq!((figures.resends, figures.connects, figures.failures), (1, 2, 0));
    assert_eq!((figures.open, figures.idle), (1, 1));
}

#[tokio::test]
async fn a_request_is_never_sent_a_third_time() {
    let server = Server::start(|number, mut socket| async move {
        read_request(&mut socket).await;
        if number == 0 {
            socket.write_all(OK.as_bytes()).await.unwrap();
            read_request(&mut socket).await;
        }
    })
    .await;
    let instance = server.instance_with(patient());
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    let error = ask(&instance).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Closed);
    assert!(error.anything_sent() && !error.retry_safe());
    assert_eq!(instance.live().figures().resends, 1);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_new_connection_that_breaks_is_no_reason_to_send_again() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
    })
    .await;
    let instance = server.instance();
    let error = ask(&instance).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Closed);
    assert!(error.anything_sent());
    assert_eq!(server.accepted(), 1);
    assert_eq!(instance.live().figures().resends, 0);
    assert_eq!(instance.live().figures().failures, 1);
}

#[tokio::test]
async fn half_a_response_on_a_reused_connection_is_no_reason_to_send_again() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(OK.as_bytes()).await.unwrap();
        read_request(&mut socket).await;
        socket.write_all(b"HTTP/1.1 200 OK\r\nconte").await.unwrap();
    })
    .await;
    let instance = server.instance();
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    let error = ask(&instance).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Closed);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_engine_that_dies_of_a_request_does_not_get_it_again() {
    // The close comes long after a round trip: that is a crash, not an idle close.
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(OK.as_bytes()).await.unwrap();
        read_request(&mut socket).await;
        tokio::time::sleep(Duration::from_millis(150)).await;
    })
    .await;
    let instance = server.instance();
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    let error = ask(&instance).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Closed);
    assert_eq!(server.accepted(), 1);
    assert_eq!(instance.live().figures().resends, 0);
}

/// A server that decides to close an idle connection, and is too busy to do it before a request is there: closed with
/// that unread, in one step or, as cpp-httplib does, in two.
#[tokio::test(start_paused = true)]
async fn a_request_that_a_late_idle_close_leaves_unread_is_sent_once_more() {
    for in_two_steps in [false, true] {
        let server = Server::start(move |number, mut socket| async move {
            read_request(&mut socket).await;
            socket.write_all(OK.as_bytes()).await.unwrap();
            if number > 0 {
                return;
            }
            socket.peek(&mut [0]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            if in_two_steps {
                socket.shutdown().await.unwrap();
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        })
        .await;
        let instance = server.instance();
        assert_eq!(ask_text(&instance).await.unwrap(), "ok");
        assert_eq!(ask_text(&instance).await.unwrap(), "ok", "in two steps: {in_two_steps}");
        let figures = instance.live().figures();
        assert_eq!((figures.resends, figures.connects, figures.failures), (1, 2, 0));
    }
}

/// A firewall may have forgotten a connection on which an engine works.
#[tokio::test(start_paused = true)]
async fn a_reset_that_comes_after_many_seconds_is_no_idle_close() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        socket.write_all(OK.as_bytes()).await.unwrap();
        socket.peek(&mut [0]).await.unwrap();
        tokio::time::sleep(Duration::from_secs(6)).await;
    })
    .await;
    let instance = server.instance();
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    let error = ask(&instance).await.unwrap_err();
    assert_eq!(error.kind(), SendErrorKind::Closed);
    assert_eq!((server.accepted(), instance.live().figures().resends), (1, 0));
}

#[tokio::test]
async fn at_most_max_idle_connections_stay() {
    let server = Server::answering(OK).await;
    let settings = InstanceSettings { max_idle: 2, ..InstanceSettings::default() };
    let instance = server.instance_with(settings);
    let mut bodies = Vec::new();
    for _ in 0..5 {
        bodies.push(ask(&instance).await.unwrap());
    }
    assert_eq!(instance.live().figures().open, 5);
    for response in bodies {
        text(response).await.unwrap();
    }
    let figures = instance.live().figures();
    assert_eq!((figures.open, figures.idle), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn idle_connections_are_closed_after_their_time_without_any_request() {
    let server = Server::answering(OK).await;
    let instance = server.instance();
    ask_text(&instance).await.unwrap();
    assert_eq!(instance.live().figures().open, 1);
    tokio::time::sleep(Duration::from_millis(3_900)).await;
    assert_eq!(instance.live().figures().open, 1);
    tokio::time::sleep(Duration::from_millis(2_200)).await;
    assert_eq!(instance.live().figures().open, 0);
    assert_eq!(instance.live().figures().idle, 0);
    ask_text(&instance).await.unwrap();
    assert_eq!(server.accepted(), 2);
}

/// An engine closes an idle connection while this thread is busy with other requests: the runtime has not
/// heard of it, and the next request must not go out on it, where nobody can tell whether it arrived.
#[tokio::test]
async fn a_connection_that_was_closed_unheard_takes_no_request() {
    let (server, instance, end) = idle().await;
    // From here to the first poll of the request nothing asks the kernel for news.
    drop(end);
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    assert_eq!(server.accepted(), 2);
    assert_eq!(instance.live().figures().resends, 0);
}

/// One that had served a hundred requests was not looked at within the same millisecond: an engine that crashed in it
/// was seen by a client.
#[tokio::test(start_paused = true)]
async fn a_server_that_has_kept_its_connections_open_for_long_is_looked_at_like_any() {
    for pause in [Duration::ZERO, Duration::from_millis(1)] {
        is_looked_at_after(pause).await;
    }
}

async fn is_looked_at_after(pause: Duration) {
    let ends = Arc::new(Mutex::new(None));
    let kept = Arc::clone(&ends);
    let server = Server::start(move |_, mut socket| {
        let ends = Arc::clone(&kept);
        async move {
            for _ in 0..100 {
                read_request(&mut socket).await;
                socket.write_all(OK.as_bytes()).await.unwrap();
            }
            *ends.lock().unwrap() = Some(socket);
        }
    })
    .await;
    let instance = server.instance();
    for _ in 0..100 {
        assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    }
    assert_eq!(server.accepted(), 1);
    until("the server kept its end", || ends.lock().unwrap().is_some()).await;
    if !pause.is_zero() {
        tokio::time::advance(pause).await;
    }
    // From here to the first poll of the request nothing asks the kernel for news.
    drop(ends.lock().unwrap().take());
    assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    assert_eq!(server.accepted(), 2);
    assert_eq!(instance.live().figures().resends, 0);
}

#[tokio::test]
async fn dropping_the_instance_closes_its_idle_connections_and_spares_those_in_use() {
    let server = Server::answering(OK).await;
    let instance = server.instance();
    let live = Arc::clone(instance.live());
    let (first, second) = (ask(&instance).await.unwrap(), ask(&instance).await.unwrap());
    text(first).await.unwrap();
    assert_eq!(live.figures().idle, 1);
    drop(instance);
    assert_eq!(live.figures().open, 1);
    assert_eq!(text(second).await.unwrap(), "ok");
    assert_eq!(live.figures().open, 0);
}

#[tokio::test]
async fn unasked_bytes_on_an_idle_connection_spoil_it() {
    let server = Server::start(|_, mut socket| async move {
        read_request(&mut socket).await;
        // A second answer to one request: the next request must not get it.
        let smuggled = format!("{OK}HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil");
        socket.write_all(smuggled.as_bytes()).await.unwrap();
        crate::server::wait_for_close(&mut socket).await;
    })
    .await;
    let instance = server.instance();
    for _ in 0..5 {
        assert_eq!(ask_text(&instance).await.unwrap(), "ok");
    }
    assert_eq!(server.accepted(), 5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_tasks_share_the_pool_without_mixing_answers() {
    let server = Server::start(|_, mut socket| async move {
        while let Some(request) = read_request(&mut socket).await {
            let body = request.rsplit_once("\r\n\r\n").unwrap().1.to_owned();
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
        }
    })
    .await;
    let settings = InstanceSettings { max_connections: 8, ..InstanceSettings::default() };
    let instance = Arc::new(server.instance_with(settings));
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..32 {
        let instance = Arc::clone(&instance);
        tasks.spawn(async move {
            for turn in 0..50 {
                let mut outbound = post(CHAT, &[]);
                let body = format!("{task}-{turn}");
                outbound.body = vec![body.clone().into()];
                let response = instance.send(outbound, Deadlines::default()).await.unwrap();
                assert_eq!(text(response).await.unwrap(), body);
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert!(server.accepted() <= 8, "{}", server.accepted());
    let figures = instance.live().figures();
    assert_eq!((figures.in_flight, figures.waiting, figures.requests), (0, 0, 1600));
    until("all idle", || instance.live().figures().open == instance.live().figures().idle).await;
}
