//! Request bodies that are passed on while they arrive.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use cutover_upstream::{
    Body, BodyAborted, Instance, SendError, SendErrorKind, StreamedBody, StreamedDeadlines,
};
use http::Response;
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::server::{Server, post, text, until, wait_for_close};

/// A body that a test feeds; it counts what was taken.
struct Fed {
    pieces: mpsc::UnboundedReceiver<Result<Bytes, BodyAborted>>,
    length: Option<u64>,
    taken: Arc<AtomicUsize>,
}

type Feed = mpsc::UnboundedSender<Result<Bytes, BodyAborted>>;

fn fed(length: Option<u64>) -> (Feed, Arc<AtomicUsize>, StreamedBody) {
    let (feed, pieces) = mpsc::unbounded_channel();
    let taken = Arc::new(AtomicUsize::new(0));
    let body = Fed { pieces, length, taken: Arc::clone(&taken) };
    (feed, taken, StreamedBody::new(body))
}

impl http_body::Body for Fed {
    type Data = Bytes;
    type Error = BodyAborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAborted>>> {
        let piece = std::task::ready!(self.pieces.poll_recv(cx));
        if let Some(Ok(piece)) = &piece {
            self.taken.fetch_add(piece.len(), SeqCst);
        }
        Poll::Ready(piece.map(|piece| piece.map(Frame::data)))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

async fn send(instance: &Instance, body: StreamedBody) -> Result<Response<Body>, SendError> {
    let by = Instant::now() + Duration::from_secs(20);
    let deadlines = StreamedDeadlines { connect: Duration::from_secs(5), due: &|| by };
    let sent = instance.send_streamed(post("/v1/files", &[]), body, deadlines).await;
    sent.map(|answered| answered.response)
}

#[tokio::test]
async fn a_body_is_sent_as_it_arrives_with_its_length_or_in_chunks() {
    let server = Server::start(|_, mut socket| async move {
        let mut seen = Vec::new();
        while !seen.ends_with(b"second") && !seen.ends_with(b"0\r\n\r\n") {
            socket.read_buf(&mut seen).await.unwrap();
        }
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", seen.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
        socket.write_all(&seen).await.unwrap();
    })
    .await;
    for length in [Some(11), None] {
        let instance = server.instance();
        let (feed, taken, body) = fed(length);
        feed.send(Ok(Bytes::from_static(b"first"))).unwrap();
        let later = async {
            until("the first piece is taken", || taken.load(SeqCst) == 5).await;
            feed.send(Ok(Bytes::from_static(b"second"))).unwrap();
            drop(feed);
        };
        let (sent, ()) = tokio::join!(send(&instance, body), later);
        let echoed = text(sent.unwrap()).await.unwrap().to_ascii_lowercase();
        assert_eq!(echoed.contains("content-length: 11"), length.is_some(), "{echoed}");
        assert_eq!(echoed.contains("transfer-encoding: chunked"), length.is_none(), "{echoed}");
        assert!(echoed.contains("first") && echoed.contains("second"), "{echoed}");
    }
}

/// A body as a server's connection hands it out: one piece for each time its task gets its turn.
struct ByTurns {
    pieces: usize,
    has_turn: bool,
    length: Option<u64>,
}

impl http_body::Body for ByTurns {
    type Data = Bytes;
    type Error = BodyAborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyAborted>>> {
        self.has_turn = !self.has_turn;
        if !self.has_turn {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Some(left) = self.pieces.checked_sub(1) else { return Poll::Ready(None) };
        self.pieces = left;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

/// Each byte in a chunk of its own cost a write and a packet: some 1 MB/s of one client kept a core busy.
#[tokio::test]
async fn short_pieces_that_are_there_already_are_passed_on_as_one() {
    const PIECES: usize = 10_000;
    let server = Server::start(|_, mut socket| async move {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n0\r\n\r\n") && !seen.ends_with(&[b'x'; PIECES]) {
            socket.read_buf(&mut seen).await.unwrap();
        }
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", seen.len());
        socket.write_all(answer.as_bytes()).await.unwrap();
        socket.write_all(&seen).await.unwrap();
    })
    .await;
    for length in [Some(PIECES as u64), None] {
        let body = StreamedBody::new(ByTurns { pieces: PIECES, has_turn: false, length });
        let echoed = text(send(&server.instance(), body).await.unwrap()).await.unwrap();
        let body = echoed.split_once("\r\n\r\n").unwrap().1;
        if length.is_some() {
            assert_eq!(body, "x".repeat(PIECES));
            continue;
        }
        let lines: Vec<_> = body.split("\r\n").collect();
        let chunks: Vec<_> = lines.chunks_exact(2).map(|pair| (pair[0], pair[1].len())).collect();
        assert_eq!(chunks, [("1000", 4096), ("1000", 4096), ("710", 1808), ("0", 0)]);
    }
}

/// What was gathered waits for nothing that is not there: the server answers each byte before the next is sent.
#[tokio::test]
async fn a_slow_senders_bytes_pass_one_by_one_and_keep_their_order_with_long_ones() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::start(move |_, mut socket| {
        let tell = tell.clone();
        async move {
            let mut seen = Vec::new();
            let mut told = 0;
            while !seen.ends_with(b"0\r\n\r\n") {
                socket.read_buf(&mut seen).await.unwrap();
                let chunks = marks(&seen);
                for _ in told..chunks {
                    tell.send(()).unwrap();
                }
                told = told.max(chunks);
            }
            let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", seen.len());
            socket.write_all(answer.as_bytes()).await.unwrap();
            socket.write_all(&seen).await.unwrap();
        }
    })
    .await;
    let (feed, _, body) = fed(None);
    let slow = async {
        for _ in 0..20 {
            feed.send(Ok(Bytes::from_static(b"#"))).unwrap();
            told.recv().await.unwrap();
        }
        for piece in ["#", "#", &"-".repeat(5_000), "#"] {
            feed.send(Ok(Bytes::from(piece.to_owned()))).unwrap();
        }
        drop(feed);
    };
    let instance = server.instance();
    let (sent, ()) = tokio::join!(send(&instance, body), slow);
    let echoed = text(sent.unwrap()).await.unwrap();
    let long = "-".repeat(5_000);
    let end = format!(
        "\r\n\r\n{}2\r\n##\r\n1388\r\n{long}\r\n1\r\n#\r\n0\r\n\r\n",
        "1\r\n#\r\n".repeat(20)
    );
    assert!(echoed.ends_with(&end), "{echoed}");
}

fn marks(seen: &[u8]) -> usize {
    String::from_utf8_lossy(seen).matches('#').count()
}

#[tokio::test]
async fn an_upstream_that_reads_nothing_holds_the_sender_back() {
    let server = Server::start(|_, mut socket| async move {
        socket.readable().await.unwrap();
        // Neither reads nor closes.
        std::future::pending::<()>().await;
        wait_for_close(&mut socket).await;
    })
    .await;
    let instance = server.instance();
    let (feed, taken, body) = fed(None);
    let piece = Bytes::from(vec![0; 1 << 16]);
    for _ in 0..1024 {
        feed.send(Ok(piece.clone())).unwrap();
    }
    let (still, seen) = (std::sync::Mutex::new(0), std::sync::Mutex::new(Instant::now()));
    // Due when nothing has been taken for a while.
    let due = || {
        let now = taken.load(SeqCst);
        let mut still = still.lock().unwrap();
        if *still != now {
            *still = now;
            *seen.lock().unwrap() = Instant::now();
        }
        *seen.lock().unwrap() + Duration::from_millis(300)
    };
    let deadlines = StreamedDeadlines { connect: Duration::from_secs(5), due: &due };
    let sent = instance.send_streamed(post("/v1/files", &[]), body, deadlines).await;
    let error = sent.err().unwrap();
    assert_eq!(error.kind(), SendErrorKind::FirstByteTimeout);
    assert!(error.anything_sent());
    let taken = taken.load(SeqCst);
    assert!(taken < 32 << 20, "{taken} bytes were taken for an upstream that takes none");
    assert_eq!(instance.live().figures().open, 0);
}

#[tokio::test]
async fn a_body_that_breaks_off_closes_the_connection_and_is_not_sent_again() {
    let (tell, mut told) = mpsc::unbounded_channel();
    let server = Server::start(move |_, mut socket| {
        let tell = tell.clone();
        async move {
            wait_for_close(&mut socket).await;
            tell.send(()).unwrap();
        }
    })
    .await;
    let instance = server.instance();
    let (feed, _, body) = fed(Some(100));
    feed.send(Ok(Bytes::from_static(b"some"))).unwrap();
    feed.send(Err(BodyAborted)).unwrap();
    assert!(send(&instance, body).await.is_err());
    told.recv().await.unwrap();
    assert_eq!((server.accepted(), instance.live().figures().in_flight), (1, 0));
}

#[tokio::test]
async fn an_answer_before_the_bodys_end_is_passed_on() {
    let server = Server::start(|_, mut socket| async move {
        socket.readable().await.unwrap();
        let no = "HTTP/1.1 413 Payload Too Large\r\ncontent-length: 2\r\n\r\nno";
        socket.write_all(no.as_bytes()).await.unwrap();
        wait_for_close(&mut socket).await;
    })
    .await;
    let instance = server.instance();
    let (feed, _, body) = fed(Some(1 << 30));
    feed.send(Ok(Bytes::from_static(b"some"))).unwrap();
    let response = send(&instance, body).await.unwrap();
    assert_eq!(response.status(), 413);
    assert_eq!(text(response).await.unwrap(), "no");
    until("the connection is closed", || instance.live().figures().open == 0).await;
    drop(feed);
}

#[tokio::test]
async fn the_wait_for_a_connection_is_told_apart_from_the_instances_time() {
    let go = Arc::new(tokio::sync::Semaphore::new(0));
    let wait = Arc::clone(&go);
    let server = Server::start(move |_, mut socket| {
        let wait = Arc::clone(&wait);
        async move {
            while crate::server::read_request(&mut socket).await.is_some() {
                wait.acquire().await.unwrap().forget();
                let answer = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
                socket.write_all(answer.as_bytes()).await.unwrap();
            }
        }
    })
    .await;
    let settings = cutover_upstream::InstanceSettings { max_connections: 1, ..Default::default() };
    let instance = server.instance_with(settings);
    let sent = async || {
        let (feed, _, body) = fed(Some(1));
        feed.send(Ok(Bytes::from_static(b"x"))).unwrap();
        let by = Instant::now() + Duration::from_secs(20);
        let deadlines = StreamedDeadlines { connect: Duration::from_secs(20), due: &|| by };
        let answered =
            instance.send_streamed(post("/v1/files", &[]), body, deadlines).await.unwrap();
        let told = (answered.took, answered.waited);
        assert_eq!(text(answered.response).await.unwrap(), "ok");
        told
    };
    let later = async {
        until("one waits", || instance.live().figures().waiting == 1).await;
        let began = Instant::now();
        until("for a while", || began.elapsed() > Duration::from_millis(30)).await;
        go.add_permits(2);
    };
    let (first, second, ()) = tokio::join!(sent(), sent(), later);
    assert!(first.1.is_zero() && first.0 >= Duration::from_millis(30), "{first:?}");
    assert!(second.1 >= Duration::from_millis(30) && second.0 < second.1, "{second:?}");
}
