use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::Fault;
use http_body_util::{BodyExt as _, Full};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::oneshot;

use super::*;

pub(crate) const DOORS: Doors = Doors {
    header_bytes_max: 8 * 1024,
    header_count_max: 20,
    header_timeout: Duration::from_secs(10),
    idle_timeout: Duration::from_secs(75),
    connections_max: 10,
    drain_timeout: Duration::from_secs(10),
};

/// Answers with what was sent, and counts what it is told.
#[derive(Debug, Clone, Default)]
pub(crate) struct Echo {
    open: Arc<AtomicUsize>,
    ended: Arc<AtomicUsize>,
    drains: Arc<AtomicUsize>,
}

pub(crate) struct Open(Arc<AtomicUsize>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

impl Handler for Echo {
    type Body = Full<Bytes>;
    type Open = Open;

    fn opened(&self) -> Open {
        self.open.fetch_add(1, SeqCst);
        Open(Arc::clone(&self.open))
    }

    async fn answer(&self, arrival: Arrival) -> Response<Full<Bytes>> {
        let body = arrival.body.collect().await.unwrap().to_bytes();
        arrival.pulse.received();
        // Nobody answers at once.
        tokio::task::yield_now().await;
        let said = arrival.doubt.map_or(body, |fault| Bytes::from(fault.code.name()));
        Response::new(Full::new(said))
    }

    fn refuse_head(&self, _: IpAddr, fault: Fault) -> Response<Bytes> {
        match fault.code {
            Code::MalformedHttp => Response::new(Bytes::from_static(b"unread")),
            _ => Response::new(Bytes::from(fault.message)),
        }
    }

    fn limit_hit(&self, limit: &'static str) {
        panic!("no limit is reached here: {limit}");
    }

    fn drain(&self) {
        self.drains.fetch_add(1, SeqCst);
    }

    async fn ended(&self) {
        self.ended.fetch_add(1, SeqCst);
    }

    fn cut(&self) {
        panic!("all requests have ended");
    }
}

/// A client of a listener, what serves it until the sender is dropped, and its handler.
async fn served() -> (TcpStream, oneshot::Sender<()>, impl Future<Output = ()>, Echo) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    let handler = Echo::default();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = serve(handler.clone(), listener, DOORS, async {
        let _ = stopped.await;
    });
    (client, stop, served, handler)
}

/// What a listener says to these bytes, each piece sent after the answer to the one before.
async fn said(pieces: &[&str]) -> (String, Echo) {
    let (mut client, stop, served, handler) = served().await;
    let asked = async move {
        let mut said = Vec::with_capacity(4096);
        for piece in pieces {
            client.write_all(piece.as_bytes()).await.unwrap();
            client.read_buf(&mut said).await.unwrap();
        }
        drop(stop);
        client.read_to_end(&mut said).await.unwrap();
        String::from_utf8(said).unwrap()
    };
    let ((), said) = tokio::join!(served, asked);
    (said, handler)
}

fn post(body: &str) -> String {
    format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn requests_are_answered_one_after_the_other_until_the_drain() {
    let (said, handler) = said(&[&post("one"), &post("two")]).await;
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 2, "{said}");
    assert!(said.ends_with("two"), "{said}");
    assert_eq!(handler.open.load(SeqCst), 0);
    assert_eq!(handler.ended.load(SeqCst), 1);
}

/// Until every task has done what it can.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        tokio::task::yield_now().await;
    }
    tokio::task::yield_now().await;
}

/// At a restart clients that connect for each request had a few closed unread: theirs were those that had been
/// accepted, and whose head arrived a moment after the end had begun.
#[tokio::test]
async fn who_connected_just_before_the_drain_has_its_first_request_answered() {
    let (mut client, stop, served, handler) = served().await;
    let asked = async {
        until(|| handler.open.load(SeqCst) == 1).await;
        drop(stop);
        until(|| handler.drains.load(SeqCst) == 1).await;
        client.write_all(post("late").as_bytes()).await.unwrap();
        let mut said = String::new();
        client.read_to_string(&mut said).await.unwrap();
        said
    };
    let ((), said) = tokio::join!(served, asked);
    assert!(said.starts_with("HTTP/1.1 200 OK") && said.ends_with("late"), "{said:?}");
    assert!(said.contains("connection: close"), "{said}");
}

#[tokio::test]
async fn who_connected_and_asks_nothing_holds_up_a_drain_for_a_second_at_most() {
    for (silent, lingers) in [(Duration::from_millis(300), true), (LINGER, false)] {
        let (mut client, stop, served, handler) = served().await;
        let asked = async {
            until(|| handler.open.load(SeqCst) == 1).await;
            tokio::time::pause();
            tokio::time::advance(silent).await;
            let then = Instant::now();
            drop(stop);
            assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
            then.elapsed()
        };
        let ((), waited) = tokio::join!(served, asked);
        tokio::time::resume();
        let left = if lingers { LINGER.saturating_sub(silent) } else { Duration::ZERO };
        let near = left..left + Duration::from_millis(20);
        assert!(near.contains(&waited), "{silent:?} {waited:?}");
    }
}

/// What a client gets that has sent this, and the end of its data, before anybody looks.
async fn said_to_half_closed(sent: &[u8]) -> Vec<u8> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    client.write_all(sent).await.unwrap();
    client.shutdown().await.unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = serve(Echo::default(), listener, DOORS, async {
        let _ = stopped.await;
    });
    let asked = async move {
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        drop(stop);
        said
    };
    let ((), said) = tokio::join!(served, asked);
    said
}

#[tokio::test]
async fn who_sends_a_request_and_the_end_of_its_data_at_once_is_answered() {
    let chunked =
        "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n4\r\nfour\r\n0\r\n\r\n";
    let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
    for (sent, answers, last) in [
        (post("one"), 1, "one"),
        (chunked.to_owned(), 1, "four"),
        (get.to_owned(), 1, "\r\n\r\n"),
        (post("one") + &post("two"), 2, "two"),
        (post("one") + get + &post("three"), 3, "three"),
    ] {
        let said = String::from_utf8(said_to_half_closed(sent.as_bytes()).await).unwrap();
        assert_eq!(said.matches("HTTP/1.1 200 OK").count(), answers, "{sent}{said}");
        assert!(said.ends_with(last), "{sent}{said}");
    }
}

/// As many bytes as no socket's buffers hold, to a client that takes them late.
#[tokio::test]
async fn who_closes_its_sending_side_gets_all_of_a_large_answer() {
    let (client, stop, served, _) = served().await;
    let body = "x".repeat(32 << 20);
    let asked = async move {
        let (mut reading, mut writing) = client.into_split();
        writing.write_all(post(&body).as_bytes()).await.unwrap();
        writing.shutdown().await.unwrap();
        reading.readable().await.unwrap();
        // Now the answer lies before the client, as much of it as fits, and nothing more is sent.
        for _ in 0..1_000 {
            tokio::task::yield_now().await;
        }
        let mut said = Vec::new();
        reading.read_to_end(&mut said).await.unwrap();
        drop(stop);
        assert!(said.ends_with(body.as_bytes()), "{} bytes", said.len());
    };
    tokio::join!(served, asked);
}

/// Its head went out without a word of the end: whoever asked again at once wrote to a closed connection.
#[tokio::test]
async fn who_was_being_answered_when_the_drain_began_may_ask_once_more() {
    let (mut client, stop, served, handler) = served().await;
    // No socket's buffers hold all of it, so that the answer is under way until it is read.
    let body = "x".repeat(32 << 20);
    let asked = async move {
        let (mut reading, mut writing) = client.split();
        let ask = async {
            writing.write_all(post(&body).as_bytes()).await.unwrap();
        };
        let read = async {
            let mut first = [0; 1];
            reading.read_exact(&mut first).await.unwrap();
            drop(stop);
            let mut said = Vec::new();
            while !said.ends_with(b"x") || said.len() < body.len() {
                reading.read_buf(&mut said).await.unwrap();
            }
            said
        };
        let ((), said) = tokio::join!(ask, read);
        let head = &said[..said.len() - body.len()];
        assert!(!String::from_utf8_lossy(head).contains("connection"), "it could not know");
        client.write_all(post("once more").as_bytes()).await.unwrap();
        let mut said = Vec::new();
        client.read_to_end(&mut said).await.unwrap();
        let said = String::from_utf8(said).unwrap();
        assert!(said.contains("connection: close") && said.ends_with("once more"), "{said}");
    };
    tokio::join!(served, asked);
    assert_eq!(handler.open.load(SeqCst), 0);
}

#[tokio::test]
async fn a_head_that_nobody_can_read_is_answered_by_the_handler() {
    let (said, _) = said(&["nonsense\r\n\r\n"]).await;
    assert!(said.ends_with("connection: close\r\n\r\nunread"), "{said}");
}

/// With a small limit the operator was told to raise another one.
#[tokio::test]
async fn a_head_that_is_too_large_is_not_one_of_too_many_headers() {
    let head = |target: usize, headers: usize, bytes: usize| {
        let more = "x-more: 1\r\n".repeat(headers);
        let (path, value) = ("x".repeat(target), "y".repeat(bytes));
        format!("GET /{path} HTTP/1.1\r\nhost: a\r\n{more}x-long: {value}\r\n\r\n")
    };
    // Not far above the limit: hyper reads it, and what it asks for is known.
    for large in [(0, 2, 8_300), (0, 2, 12_000), (0, 18, 8_300), (9_000, 0, 1)] {
        let (said, _) = said(&[&head(large.0, large.1, large.2)]).await;
        assert!(said.ends_with(Code::HeadTooLarge.name()), "{large:?}: {said}");
    }
    for large in [(0, 2, 17_000), (0, 2, 30_000), (0, 18, 17_000), (17_000, 0, 1)] {
        let (said, _) = said(&[&head(large.0, large.1, large.2)]).await;
        assert!(said.ends_with("head is larger than the limit of 8192 bytes"), "{large:?}: {said}");
    }
    for many in [(0, 19, 1), (0, 300, 1), (0, 19, 7_000)] {
        let (said, _) = said(&[&head(many.0, many.1, many.2)]).await;
        assert!(said.ends_with("the request has more than 20 headers"), "{many:?}: {said}");
    }
    let length = "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 18446744073709551615\r\n\r\n";
    let (said, _) = said(&[length]).await;
    assert!(said.ends_with("announced length is beyond all limits"), "{said}");
}

#[tokio::test]
async fn a_doubtful_head_comes_with_its_doubt() {
    let (said, _) = said(&["GET / HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n"]).await;
    assert!(said.ends_with(Code::MalformedHttp.name()), "{said}");
}
