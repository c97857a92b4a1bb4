//! Somebody who takes POSTs: a webhook's receiver, a scorer's server.
//!
//! Contract: each request is remembered whole before it is answered as the script says; it listens on
//! 127.0.0.1 only and is gone when dropped.

use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::raw::read_on;

/// A request.
#[derive(Clone, Debug)]
pub struct Posted {
    /// Its head, in lower case.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl Posted {
    /// A header's value, or nothing.
    pub fn header(&self, name: &str) -> &str {
        let line = |line: &str| line.strip_prefix(name)?.strip_prefix(": ").map(str::len);
        let found = self.head.lines().find_map(|text| line(text).map(|length| (text, length)));
        found.map_or("", |(text, length)| &text[text.len() - length..])
    }
}

type Script = Arc<dyn Fn(&Posted) -> (u16, String) + Send + Sync>;

/// A running receiver; stops when dropped.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    posted: Arc<Mutex<Vec<Posted>>>,
    stop: Arc<AtomicBool>,
    acceptor: Option<JoinHandle<()>>,
}

fn lock(posted: &Mutex<Vec<Posted>>) -> MutexGuard<'_, Vec<Posted>> {
    posted.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Receiver {
    /// Starts one on any free port. The script gets each request and says status and body.
    pub fn start(script: impl Fn(&Posted) -> (u16, String) + Send + Sync + 'static) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), script)
    }

    /// Starts one at an address that was free a moment ago.
    pub fn start_at(
        address: SocketAddr,
        script: impl Fn(&Posted) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(address).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound address");
        let (posted, stop) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (seen, stopped, script): (_, _, Script) =
            (Arc::clone(&posted), Arc::clone(&stop), Arc::new(script));
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::SeqCst) {
                    return;
                }
                let (seen, script) = (Arc::clone(&seen), Arc::clone(&script));
                std::thread::spawn(move || stream.ok().and_then(|one| serve(one, &seen, &script)));
            }
        });
        Self { address, posted, stop, acceptor: Some(acceptor) }
    }

    /// `http://127.0.0.1:PORT`.
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub fn posted(&self) -> Vec<Posted> {
        lock(&self.posted).clone()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the acceptor, which then drops the listener.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
    }
}

/// One request per connection.
fn serve(mut stream: TcpStream, seen: &Mutex<Vec<Posted>>, script: &Script) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30))).ok()?;
    let (mut bytes, mut piece) = (Vec::new(), [0; 4096]);
    let request = loop {
        if let Some(request) = whole(&bytes) {
            break request;
        }
        match read_on(&mut stream, &mut piece).ok()? {
            0 => return None,
            n => bytes.extend_from_slice(&piece[..n]),
        }
    };
    lock(seen).push(request.clone());
    let (status, body) = script(&request);
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n", body.len());
    write!(stream, "{head}content-type: application/json\r\nconnection: close\r\n\r\n{body}").ok()
}

/// The request, if it is there to its end.
fn whole(bytes: &[u8]) -> Option<Posted> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.and_then(|length| length.trim().parse().ok()).unwrap_or(0);
    let body = bytes.get(end + 4..end + 4 + length)?;
    Some(Posted { head, body: String::from_utf8_lossy(body).into_owned() })
}
