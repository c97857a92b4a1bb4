//! The least HTTP/1.1 that a misbehaving server needs: requests read plainly, answers written in any
//! shape, well-formed or not. Blocking sockets, one thread per connection: no runtime of the test is
//! involved, so a test may block or pause its clock as it likes.

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Instant;

use super::seen::{Recorder, Seen};

const HEAD_BYTES_MAX: usize = 1 << 20;

/// One client connection.
pub(super) struct Connection {
    stream: TcpStream,
    buffer: Vec<u8>,
    recorder: Arc<Recorder>,
    number: u64,
    /// The answer under way uses chunked coding.
    chunked: bool,
}

/// How an answer's end is marked.
#[derive(Clone, Copy)]
pub(super) enum Framing {
    Length(usize),
    Chunked,
}

/// The head of an answer.
pub(super) struct Head<'a> {
    pub(super) status: u16,
    pub(super) content_type: &'a str,
    pub(super) extra: &'a [(String, String)],
}

impl Connection {
    pub(super) fn new(stream: TcpStream, recorder: Arc<Recorder>) -> Self {
        // Small pieces must leave at once: tests look at when they arrive.
        let _ = stream.set_nodelay(true);
        let number = {
            let mut counts = recorder.counts();
            counts.connections += 1;
            counts.connections - 1
        };
        Self { stream, buffer: Vec::new(), recorder, number, chunked: false }
    }

    /// The next request; none when the client closed between requests.
    pub(super) fn read_request(&mut self) -> io::Result<Option<Seen>> {
        let head_end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.buffer.len() > HEAD_BYTES_MAX {
                return Err(ErrorKind::InvalidData.into());
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        };
        let head: Vec<u8> = self.buffer.drain(..head_end).collect();
        let text = String::from_utf8_lossy(&head);
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or("").split(' ');
        let method = first.next().unwrap_or("").to_owned();
        let target = first.next().unwrap_or("").to_owned();
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let value = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, v)| v);
        let body = if value("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            self.read_chunked()?
        } else {
            let length = value("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
            self.take(length)?
        };
        let connection = self.number;
        Ok(Some(Seen { method, target, headers, body, connection, at: Instant::now() }))
    }

    fn read_chunked(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.take_line()?;
            let size = usize::from_str_radix(line.split(';').next().unwrap_or("").trim(), 16)
                .map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
            if size == 0 {
                while !self.take_line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.take(size)?);
            self.take(2)?;
        }
    }

    fn take_line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line = self.take(at + 2)?;
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < count {
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(self.buffer.drain(..count).collect())
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 16 * 1024];
        let count = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        self.recorder.counts().bytes += count as u64;
        Ok(count)
    }

    /// True once the client has closed or reset its side.
    pub(super) fn gone(&self) -> bool {
        if self.stream.set_nonblocking(true).is_err() {
            return true;
        }
        let gone = match self.stream.peek(&mut [0]) {
            Ok(count) => count == 0,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        self.stream.set_nonblocking(false).is_err() || gone
    }

    /// Sends status line and headers.
    pub(super) fn head(&mut self, head: &Head<'_>, framing: Framing) -> io::Result<()> {
        let mut lines = vec![
            format!("HTTP/1.1 {} {}", head.status, reason(head.status)),
            format!("content-type: {}", head.content_type),
        ];
        lines.extend(head.extra.iter().map(|(name, value)| format!("{name}: {value}")));
        self.chunked = matches!(framing, Framing::Chunked);
        lines.push(match framing {
            Framing::Length(bytes) => format!("content-length: {bytes}"),
            Framing::Chunked => "transfer-encoding: chunked".to_owned(),
        });
        let text = lines.join("\r\n") + "\r\n\r\n";
        self.raw(text.as_bytes())
    }

    /// A whole answer.
    pub(super) fn respond(&mut self, head: &Head<'_>, body: &[u8]) -> io::Result<()> {
        self.head(head, Framing::Length(body.len()))?;
        self.raw(body)
    }

    /// One piece of a body, in the coding that [`Self::head`] announced.
    pub(super) fn piece(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.chunked {
            return self.raw(bytes);
        }
        let mut framed = format!("{:x}\r\n", bytes.len()).into_bytes();
        framed.extend_from_slice(bytes);
        framed.extend_from_slice(b"\r\n");
        self.raw(&framed)
    }

    /// The end of a chunked body.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.chunked { self.raw(b"0\r\n\r\n") } else { Ok(()) }
    }

    /// Bytes as they are. Fails when the client has gone, noticed before writing: the kernel would
    /// take a small piece for a closed peer without complaint.
    pub(super) fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.gone() {
            return Err(ErrorKind::ConnectionAborted.into());
        }
        self.stream.write_all(bytes)
    }

    /// Closes with a reset instead of an orderly end.
    pub(super) fn reset(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        let _ = socket.set_linger(Some(std::time::Duration::ZERO));
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        302 => "Found",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        529 => "Overloaded",
        _ => "Status",
    }
}
