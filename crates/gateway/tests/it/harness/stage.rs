//! A vendor to the letter: it says what it is told to, keeps what it was asked, and stands behind a gateway.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use cutover_testkit::raw::Response;
use serde_json::Value;

use super::Rig;

/// An upstream and the gateway in front of it.
pub(crate) struct Stage<V = Parrot> {
    pub(crate) vendor: V,
    pub(crate) rig: Rig,
}

impl Stage {
    /// With the configuration for a vendor at this address.
    pub(crate) fn start(config: impl FnOnce(&str) -> String) -> Self {
        let vendor = Parrot::start();
        let rig = Rig::start(&config(&vendor.base_url));
        Self { vendor, rig }
    }
}

impl<V> Stage<V> {
    /// A request of the unit `u1`.
    pub(crate) fn ask(&self, path: &str, body: &str) -> Response {
        self.rig.post(path, &["x-unit: u1"], body)
    }
}

/// An upstream that says one thing to whoever asks, and keeps what it was asked.
pub(crate) struct Parrot {
    pub(crate) base_url: String,
    says: Arc<Mutex<String>>,
    /// Heads and bodies.
    asked: Arc<Mutex<Vec<(String, String)>>>,
}

impl Parrot {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap());
        let (says, asked) = (Arc::new(Mutex::new(String::new())), Arc::new(Mutex::new(Vec::new())));
        let (answer, heard) = (Arc::clone(&says), Arc::clone(&asked));
        std::thread::spawn(move || {
            for mut socket in listener.incoming().flatten() {
                let Some(request) = request(&mut socket) else { continue };
                heard.lock().unwrap().push(request);
                // Who has gone hears nothing.
                let _ = socket.write_all(answer.lock().unwrap().as_bytes());
            }
        });
        Self { base_url, says, asked }
    }

    pub(crate) fn says(&self, content_type: &str, body: &str) {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-type: {content_type}\r\nconnection: close");
        *self.says.lock().unwrap() =
            format!("{head}\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    }

    /// Takes the last request: its head and its body.
    pub(crate) fn take(&self) -> (String, String) {
        self.asked.lock().unwrap().pop().unwrap()
    }

    /// Takes the last request: its first line and its body.
    pub(crate) fn last(&self) -> (String, String) {
        let (head, body) = self.take();
        (head.lines().next().unwrap_or_default().to_owned(), body)
    }

    /// Takes the body of the last request.
    pub(crate) fn sent(&self) -> Value {
        serde_json::from_str(&self.take().1).unwrap()
    }

    /// Whether nothing was asked that has not been taken.
    pub(crate) fn is_unasked(&self) -> bool {
        self.asked.lock().unwrap().is_empty()
    }
}

/// A request's head and its body; none if its connection ends before.
fn request(socket: &mut TcpStream) -> Option<(String, String)> {
    let (mut request, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = socket.read(&mut piece).ok().filter(|count| *count > 0)?;
        request.extend_from_slice(&piece[..count]);
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if length.is_none_or(|length| length.parse().ok() == Some(body.len())) {
            return Some((head.to_owned(), body.to_owned()));
        }
    }
}
