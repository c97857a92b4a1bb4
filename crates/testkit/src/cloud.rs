//! A scripted cloud: the part of the OpenAI surface that is no inference. Files that can be uploaded,
//! listed, read in ranges and deleted; batches, moderations, sound, pictures, vector stores.
//!
//! Bodies are read as a stream and kept as length and digest, with their bytes only if they are small: a
//! test may upload hundreds of megabytes. Ids count up from 1, so two clouds that are asked the same
//! answer the same.
//!
//! A request can ask for trouble in its query (which a gateway passes on): `fault=401`, `fault=html500`,
//! `fault=redirect`, `fault=cut`, `fault=stall`, `fault=early413`, `fault=never_reads`.

mod answers;
pub(crate) mod http;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use http::{Incoming, Told};

/// Bodies up to this size are kept.
const KEPT_BYTES_MAX: usize = 4 << 20;

/// One request as it arrived.
#[derive(Clone, Debug)]
pub struct Arrived {
    /// Method, as sent.
    pub method: String,
    /// Path and query, as sent.
    pub target: String,
    /// Header lines in order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body's length, transfer coding removed.
    pub body_bytes: u64,
    /// The body's SHA-256 in hexadecimal.
    pub sha256: String,
    /// The body, if it is small.
    pub body: Option<Vec<u8>>,
    /// Whether all of the body came.
    pub whole: bool,
}

impl Arrived {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
}

/// Something that was made and has an id.
#[derive(Clone, Debug)]
struct Thing {
    shown: Value,
    content: Vec<u8>,
}

#[derive(Default)]
struct Kept {
    arrived: Vec<Arrived>,
    things: BTreeMap<String, Thing>,
    made: u64,
    /// Body bytes read of the request under way, and of all.
    read: u64,
    /// Connections that a client closed before its answer was whole.
    left: u64,
}

struct Shared {
    key: String,
    kept: Mutex<Kept>,
    changed: Condvar,
    open: Mutex<bool>,
    opened: Condvar,
    stopped: AtomicBool,
    connections: AtomicU64,
}

impl Shared {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until the test lets stalled answers go on.
    fn wait_for_gate(&self) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        while !*open && !self.stopped.load(SeqCst) {
            open = self
                .opened
                .wait_timeout(open, Duration::from_millis(50))
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// A running cloud. It ends with the value.
pub struct Cloud {
    shared: Arc<Shared>,
    address: SocketAddr,
}

impl std::fmt::Debug for Cloud {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Cloud({})", self.address)
    }
}

impl Cloud {
    /// Starts one that wants this key as a bearer.
    pub fn start(key: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::new(Shared {
            key: key.to_owned(),
            kept: Mutex::default(),
            changed: Condvar::new(),
            open: Mutex::new(false),
            opened: Condvar::new(),
            stopped: AtomicBool::new(false),
            connections: AtomicU64::new(0),
        });
        let serving = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if serving.stopped.load(SeqCst) {
                    return;
                }
                serving.connections.fetch_add(1, SeqCst);
                let shared = Arc::clone(&serving);
                thread::spawn(move || serve(stream, &shared));
            }
        });
        Self { shared, address }
    }

    /// `http://127.0.0.1:PORT/v1`.
    pub fn base_url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// All requests so far.
    pub fn arrived(&self) -> Vec<Arrived> {
        self.shared.kept().arrived.clone()
    }

    /// Body bytes read so far, of requests under way, too.
    pub fn bytes_read(&self) -> u64 {
        self.shared.kept().read
    }

    /// Connections that were closed before their answer was whole.
    pub fn left(&self) -> u64 {
        self.shared.kept().left
    }

    /// Connections accepted so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(SeqCst)
    }

    /// Waits until so many requests have arrived or ended early.
    pub fn wait_for(&self, count: usize) -> Vec<Arrived> {
        let mut kept = self.shared.kept();
        while kept.arrived.len() < count {
            let (next, late) = self
                .shared
                .changed
                .wait_timeout(kept, Duration::from_secs(30))
                .unwrap_or_else(PoisonError::into_inner);
            kept = next;
            assert!(!late.timed_out(), "only {} requests arrived", kept.arrived.len());
        }
        kept.arrived.clone()
    }

    /// Lets stalled answers, and uploads that are not read, go on.
    pub fn open_gate(&self) {
        *self.shared.open.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.shared.opened.notify_all();
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        self.shared.stopped.store(true, SeqCst);
        self.open_gate();
        // The listener's thread sees the flag at its next connection.
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let mut incoming = Incoming::new(stream);
    while let Ok(Some(head)) = incoming.head() {
        if head.fault() == Some("never_reads") {
            shared.wait_for_gate();
        }
        if head.fault() == Some("early413") {
            let _ = incoming.answer(&Told::error(413, "too large", "request_too_large"));
            // As servers do: a socket closed over unread bytes is reset, and a reset takes the answer
            // with it.
            incoming.linger();
            return;
        }
        let note = |bytes: usize| shared.kept().read += bytes as u64;
        let arrived = incoming.body(&head, KEPT_BYTES_MAX, &note);
        let whole = arrived.whole;
        {
            let mut kept = shared.kept();
            kept.arrived.push(arrived.clone());
            shared.changed.notify_all();
        }
        if !whole {
            return;
        }
        let told = if head.bearer() == Some(shared.key.as_str()) {
            answers::answer(&head, &arrived, &mut shared.kept())
        } else {
            Told::error(401, "Incorrect API key provided: sk-par***tial.", "invalid_api_key")
        };
        let sent = match head.fault() {
            Some("stall") => incoming.begin(&told).and_then(|()| {
                shared.wait_for_gate();
                incoming.rest(&told)
            }),
            Some("cut") => {
                let _ = incoming.begin(&told);
                return;
            }
            _ => incoming.answer(&told),
        };
        if sent.is_err() {
            shared.kept().left += 1;
            return;
        }
    }
}
