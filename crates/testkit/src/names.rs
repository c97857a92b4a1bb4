//! A name server that answers as it is told: over UDP, and over TCP what does not fit a datagram.
//!
//! Contract: it listens on 127.0.0.1 only, knows IPv4 addresses alone, and is gone when dropped. Names that
//! it was told nothing of do not exist.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// Addresses that fit a datagram: more are answered over a connection.
const IN_DATAGRAM_MAX: usize = 8;

/// What a name server says of a name.
#[derive(Clone, Debug)]
pub enum Say {
    /// These addresses; none: the name exists and has none.
    Addresses(Vec<Ipv4Addr>),
    /// A response code: 2 is a server that failed, 3 a name that does not exist.
    Code(u8),
    /// Nothing at all.
    Silence,
}

#[derive(Default, Debug)]
struct Shared {
    names: Mutex<BTreeMap<String, Say>>,
    asked: AtomicU64,
    connections: AtomicU64,
    stop: AtomicBool,
}

impl Shared {
    fn names(&self) -> MutexGuard<'_, BTreeMap<String, Say>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to a question, or nothing.
    fn answer(&self, question: &[u8], whole: bool) -> Option<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let end = 12 + question.get(12..)?.iter().position(|byte| *byte == 0)? + 1;
        let kind = question.get(end..end + 2)?;
        let said = self.names().get(&text(&question[12..end])).cloned();
        let (code, mut addresses) = match said.unwrap_or(Say::Code(3)) {
            Say::Silence => return None,
            Say::Code(code) => (code, Vec::new()),
            Say::Addresses(addresses) if kind == [0, 1] => (0, addresses),
            Say::Addresses(_) => (0, Vec::new()),
        };
        let cut = !whole && addresses.len() > IN_DATAGRAM_MAX;
        if cut {
            addresses.clear();
        }
        let count = u16::try_from(addresses.len()).expect("fewer than 65,536 addresses");
        let mut out = question[..2].to_vec();
        out.extend([0x81 | if cut { 0x02 } else { 0 }, 0x80 | code, 0, 1]);
        out.extend(count.to_be_bytes());
        out.extend([0; 4]);
        out.extend(&question[12..end + 4]);
        for address in addresses {
            out.extend([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4]);
            out.extend(address.octets());
        }
        Some(out)
    }
}

/// Labels as they travel, as text.
fn text(mut labels: &[u8]) -> String {
    let mut parts = Vec::new();
    while let Some((length, rest)) = labels.split_first().filter(|(length, _)| **length > 0) {
        let (label, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        parts.push(String::from_utf8_lossy(label).to_lowercase());
        labels = rest;
    }
    parts.join(".")
}

/// A running name server; stops when dropped.
#[derive(Debug)]
pub struct NameServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl NameServer {
    /// Starts one that knows no name.
    pub fn start() -> Self {
        let (listener, socket) = both();
        let address = listener.local_addr().expect("a bound address");
        let shared = Arc::<Shared>::default();
        let (datagrams, connections) = (Arc::clone(&shared), Arc::clone(&shared));
        let threads = vec![
            std::thread::spawn(move || by_datagram(&socket, &datagrams)),
            std::thread::spawn(move || by_connection(&listener, &connections)),
        ];
        Self { address, shared, threads }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it says of a name from now on.
    pub fn say(&self, name: &str, say: Say) {
        self.shared.names().insert(name.to_lowercase(), say);
    }

    /// The addresses of a name from now on.
    pub fn set(&self, name: &str, addresses: &[Ipv4Addr]) {
        self.say(name, Say::Addresses(addresses.to_vec()));
    }

    /// Questions so far.
    pub fn asked(&self) -> u64 {
        self.shared.asked.load(Ordering::SeqCst)
    }

    /// Questions over connections so far.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::SeqCst)
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        // Wakes both threads.
        let _ = TcpStream::connect(self.address);
        if let Ok(socket) = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)) {
            let _ = socket.send_to(&[], self.address);
        }
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One port for both: whoever has it for one of them may have lost it for the other.
fn both() -> (TcpListener, UdpSocket) {
    for _ in 0..100 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free loopback port");
        let address = listener.local_addr().expect("a bound address");
        if let Ok(socket) = UdpSocket::bind(address) {
            return (listener, socket);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

fn by_datagram(socket: &UdpSocket, shared: &Shared) {
    let mut question = [0; 512];
    while let Ok((length, from)) = socket.recv_from(&mut question) {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        if let Some(answer) = shared.answer(&question[..length], false) {
            let _ = socket.send_to(&answer, from);
        }
    }
}

fn by_connection(listener: &TcpListener, shared: &Shared) {
    for stream in listener.incoming() {
        if shared.stop.load(Ordering::SeqCst) {
            return;
        }
        shared.connections.fetch_add(1, Ordering::SeqCst);
        let Ok(mut stream) = stream else { continue };
        let mut length = [0; 2];
        if stream.read_exact(&mut length).is_err() {
            continue;
        }
        let mut question = vec![0; usize::from(u16::from_be_bytes(length))];
        if stream.read_exact(&mut question).is_err() {
            continue;
        }
        let Some(answer) = shared.answer(&question, true) else { continue };
        let length = u16::try_from(answer.len()).expect("an answer fits its length");
        let _ = stream.write_all(&[&length.to_be_bytes()[..], &answer].concat());
    }
}
