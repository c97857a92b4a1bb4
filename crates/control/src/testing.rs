//! A small HTTP server for tests: answers as it is told, and remembers what it was asked. And the process around
//! the controller.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};
use tokio_util::task::TaskTracker;

mod process;

pub(crate) use process::Process;

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) path: String,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// What it answers.
#[derive(Debug, Clone)]
pub(crate) enum Answer {
    Now(u16, String),
    Never,
}

impl Answer {
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self::Now(status, body.into())
    }
}

type Script = Arc<dyn Fn(usize) -> Answer + Send + Sync>;

/// Runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    count: watch::Receiver<usize>,
    _stop: DropGuard,
}

impl Server {
    /// `script` gets the number of requests before.
    pub(crate) async fn start(script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, stop) = (Arc::new(Mutex::new(Vec::new())), CancellationToken::new());
        let (count_to, count) = watch::channel(0);
        let (script, count_to): (Script, _) = (Arc::new(script), Arc::new(count_to));
        let (seen, tasks, ended) = (asked.clone(), TaskTracker::new(), stop.clone());
        TaskTracker::new().spawn(async move {
            loop {
                let accepted = tokio::select! {
                    accepted = listener.accept() => accepted,
                    () = ended.cancelled() => return,
                };
                let (script, seen, count_to) = (script.clone(), seen.clone(), count_to.clone());
                let serving = async move {
                    let (stream, _) = accepted.unwrap();
                    serve(stream, |request| {
                        let mut seen = seen.lock().unwrap();
                        seen.push(request);
                        count_to.send_replace(seen.len());
                        script(seen.len() - 1)
                    })
                    .await;
                };
                let ended = ended.clone();
                tasks.spawn(async move {
                    tokio::select! { () = serving => {}, () = ended.cancelled() => {} }
                });
            }
        });
        Self { address, asked, count, _stop: stop.drop_guard() }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn seen(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn asked(&self, times: usize) {
        self.count.clone().wait_for(|count| *count >= times).await.unwrap();
    }
}

async fn serve(mut stream: TcpStream, mut answer: impl FnMut(Asked) -> Answer) {
    let mut bytes = Vec::new();
    loop {
        let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") else {
            if stream.read_buf(&mut bytes).await.is_ok_and(|n| n > 0) {
                continue;
            }
            return;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|t| t.lines().next());
        let length: usize = length.and_then(|t| t.trim().parse().ok()).unwrap_or(0);
        while bytes.len() < end + 4 + length {
            if stream.read_buf(&mut bytes).await.map_or(0, |n| n) == 0 {
                return;
            }
        }
        let rest = bytes.split_off(end + 4 + length);
        let body = String::from_utf8_lossy(&bytes[end + 4..]).into_owned();
        let path = String::from_utf8_lossy(&bytes[..end]).split(' ').nth(1).unwrap().to_owned();
        bytes = rest;
        match answer(Asked { path, head, body }) {
            Answer::Now(status, body) => {
                let text =
                    format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n{body}", body.len());
                if stream.write_all(text.as_bytes()).await.is_err() {
                    return;
                }
            }
            Answer::Never => std::future::pending().await,
        }
    }
}
