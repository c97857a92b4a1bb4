//! A raw server whose connections are played by a closure, and short ways to ask an instance.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use bytes::Bytes;
use cutover_upstream::{
    Body, Deadlines, Instance, InstanceAddress, InstanceLive, InstanceSettings, Outbound, SendError,
};
use http::uri::PathAndQuery;
use http::{HeaderMap, Method, Response};
use http_body_util::BodyExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// Ends with the value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    _tasks: JoinSet<()>,
}

impl Server {
    /// Plays each accepted connection (its number counts from 0) with the closure.
    pub(crate) async fn start<P, F>(play: P) -> Self
    where
        P: Fn(usize, TcpStream) -> F + Send + Sync + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (socket, _) = listener.accept().await.unwrap();
                connections.spawn(play(count.fetch_add(1, SeqCst), socket));
            }
        });
        Self { address, accepted, _tasks: tasks }
    }

    /// Answers each request of each connection with these bytes.
    pub(crate) async fn answering(answer: &'static str) -> Self {
        Self::start(move |_, mut socket| async move {
            while read_request(&mut socket).await.is_some() {
                if socket.write_all(answer.as_bytes()).await.is_err() {
                    return;
                }
            }
        })
        .await
    }

    /// How many connections were accepted.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(SeqCst)
    }

    pub(crate) fn instance(&self) -> Instance {
        self.instance_with(InstanceSettings::default())
    }

    pub(crate) fn instance_with(&self, settings: InstanceSettings) -> Instance {
        instance(&format!("http://{}", self.address), settings)
    }
}

pub(crate) fn instance(base: &str, settings: InstanceSettings) -> Instance {
    let address = InstanceAddress::parse(base).unwrap();
    Instance::http(address, settings, None, Arc::new(InstanceLive::default()))
}

/// Reads one request with a `content-length`; None at the end of the connection.
pub(crate) async fn read_request<S: AsyncRead + Unpin>(socket: &mut S) -> Option<String> {
    let mut bytes = Vec::new();
    loop {
        if let Some(end) = find(&bytes, b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_ascii_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: "))
                .map_or(0, |length| length.trim().parse::<usize>().unwrap());
            if bytes.len() >= end + 4 + length {
                return Some(String::from_utf8_lossy(&bytes).into_owned());
            }
        }
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// Reads until the peer has closed or reset the connection.
pub(crate) async fn wait_for_close<S: AsyncRead + Unpin>(socket: &mut S) {
    let mut rest = [0; 4096];
    while !matches!(socket.read(&mut rest).await, Ok(0) | Err(_)) {}
}

/// Waits until the condition holds. The limit is only so that a failed test ends.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let started = tokio::time::Instant::now();
    while !condition() {
        assert!(started.elapsed() < Duration::from_secs(20), "waited in vain: {what}");
        tokio::task::yield_now().await;
    }
}

pub(crate) const CHAT: &str = "/v1/chat/completions";

pub(crate) const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

pub(crate) fn post(path: &'static str, body: &[&'static str]) -> Outbound {
    Outbound {
        method: Method::POST,
        path_and_query: PathAndQuery::from_static(path),
        headers: HeaderMap::new(),
        body: body.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect(),
    }
}

pub(crate) async fn ask(instance: &Instance) -> Result<Response<Body>, SendError> {
    instance.send(post(CHAT, &["{}"]), Deadlines::default()).await
}

/// Asks and reads the whole answer.
pub(crate) async fn ask_text(instance: &Instance) -> Result<String, String> {
    let response = ask(instance).await.map_err(|error| error.to_string())?;
    text(response).await
}

pub(crate) async fn text(response: Response<Body>) -> Result<String, String> {
    let body = response.into_body().collect().await.map_err(|error| error.to_string())?;
    Ok(String::from_utf8_lossy(&body.to_bytes()).into_owned())
}
