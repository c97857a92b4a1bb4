//! A raw HTTP/1.1 client: sends exactly the bytes it is given, at the pace the test chooses.
//!
//! For what no proper client sends: smuggling attempts, slow heads and bodies, half requests, early
//! hang-ups. Blocking; call it from a plain thread, or through [`tokio::task::spawn_blocking`].

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a read may take before the test fails instead of hanging.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// One connection.
#[derive(Debug)]
pub struct Raw {
    stream: TcpStream,
    buffer: Vec<u8>,
}

/// One response, taken apart.
#[derive(Clone, Debug, Default)]
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Header lines, names in lower case.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Vec<u8>,
    /// The body reached its announced end.
    pub complete: bool,
}

impl Response {
    /// The first header of this name (lower case).
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// The body as JSON; `Null` if it is none.
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The data of each event of an event stream, in order.
    pub fn events(&self) -> Vec<String> {
        let text = self.text();
        text.lines().filter_map(|line| line.strip_prefix("data: ")).map(str::to_owned).collect()
    }
}

impl Raw {
    /// Connects.
    pub fn connect(address: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect(address)?)
    }

    fn over(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_TIMEOUT))?;
        Ok(Self { stream, buffer: Vec::new() })
    }

    /// Waits so long for each read: for what takes long by its nature, such as real engines on a busy machine.
    pub fn patient(self, patience: Duration) -> io::Result<Self> {
        self.stream.set_read_timeout(Some(patience))?;
        Ok(self)
    }

    /// Connects with so small a receive buffer that what is not read waits at the other side.
    pub fn narrow(base_url: &str) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        socket.set_recv_buffer_size(8 * 1024)?;
        socket.connect(&address_of(base_url)?.into())?;
        Self::over(socket.into())
    }

    /// Connects to `http://HOST:PORT`.
    pub fn open(base_url: &str) -> io::Result<Self> {
        Self::connect(address_of(base_url)?)
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends a request with a JSON body and the given extra header lines (`name: value`).
    pub fn request(
        &mut self,
        line: &str,
        headers: &[&str],
        body: impl AsRef<[u8]>,
    ) -> io::Result<()> {
        let body = body.as_ref();
        let mut head = format!("{line} HTTP/1.1\r\nhost: localhost\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        if !body.is_empty() {
            head.push_str("content-type: application/json\r\n");
        }
        head.push_str(&["content-length: ", &body.len().to_string(), "\r\n\r\n"].concat());
        self.send(head)?;
        self.send(body)
    }

    /// Closes the sending side.
    pub fn finish_sending(&self) -> io::Result<()> {
        self.stream.shutdown(std::net::Shutdown::Write)
    }

    /// Reads one piece; empty at the end of the connection.
    pub fn read_some(&mut self) -> io::Result<Vec<u8>> {
        if !self.buffer.is_empty() {
            return Ok(std::mem::take(&mut self.buffer));
        }
        let mut piece = vec![0; 64 * 1024];
        let count = read_on(&mut self.stream, &mut piece)?;
        piece.truncate(count);
        Ok(piece)
    }

    /// Reads until `wanted` has been seen, and returns everything up to there and what came with it.
    pub fn read_until(&mut self, wanted: &str) -> io::Result<String> {
        let mut text = Vec::new();
        loop {
            let piece = self.read_some()?;
            let ended = piece.is_empty();
            text.extend(piece);
            let found = String::from_utf8_lossy(&text).contains(wanted);
            if found || ended {
                return Ok(String::from_utf8_lossy(&text).into_owned());
            }
        }
    }

    /// Reads everything until the other side closes (or resets).
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut all = std::mem::take(&mut self.buffer);
        // A reset after an answer is as good an end as an orderly close.
        let _ = self.stream.read_to_end(&mut all);
        all
    }

    /// Reads one response. `None`: the connection ended without a byte.
    pub fn response(&mut self) -> io::Result<Option<Response>> {
        let Some(mut response) = self.response_head()? else { return Ok(None) };
        self.response_body(&mut response)?;
        Ok(Some(response))
    }

    /// Reads a response's head. `None`: the connection ended without a byte.
    pub fn response_head(&mut self) -> io::Result<Option<Response>> {
        let Some(head) = self.head()? else { return Ok(None) };
        let mut lines = head.split("\r\n");
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers: Vec<(String, String)> = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        Ok(Some(Response { status: status.unwrap_or(0), headers, ..Response::default() }))
    }

    /// Reads the body that belongs to this head.
    pub fn response_body(&mut self, response: &mut Response) -> io::Result<()> {
        if response.header("transfer-encoding").is_some_and(|coding| coding.contains("chunked")) {
            self.chunked_body(response);
        } else if let Some(length) = response.header("content-length") {
            let length = length.parse().unwrap_or(0);
            response.complete = self.fill(length)?;
            response.body = self.buffer.drain(..length.min(self.buffer.len())).collect();
        } else if matches!(response.status, 100..=199 | 204 | 304) {
            response.complete = true;
        } else {
            response.body = self.read_to_close();
            response.complete = true;
        }
        Ok(())
    }

    fn head(&mut self) -> io::Result<Option<String>> {
        loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                let head: Vec<u8> = self.buffer.drain(..at + 4).collect();
                return Ok(Some(String::from_utf8_lossy(&head[..at]).into_owned()));
            }
            let before = self.buffer.len();
            if !self.fill(before + 1)? {
                return Ok(None);
            }
        }
    }

    fn chunked_body(&mut self, response: &mut Response) {
        while let Some(line) = self.line() {
            let Ok(size) = usize::from_str_radix(line.trim(), 16) else { return };
            if !self.fill(size + 2).unwrap_or(false) {
                response.body.append(&mut self.buffer);
                return;
            }
            response.body.extend(self.buffer.drain(..size));
            self.buffer.drain(..2);
            if size == 0 {
                response.complete = true;
                return;
            }
        }
    }

    fn line(&mut self) -> Option<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Some(String::from_utf8_lossy(&line).into_owned());
            }
            let before = self.buffer.len();
            if !self.fill(before + 1).unwrap_or(false) {
                return None;
            }
        }
    }

    /// Makes the buffer hold `count` bytes; false if the connection ended before.
    fn fill(&mut self, count: usize) -> io::Result<bool> {
        let mut piece = vec![0; 64 * 1024];
        while self.buffer.len() < count {
            match read_on(&mut self.stream, &mut piece) {
                Ok(0) => return Ok(false),
                Ok(read) => self.buffer.extend_from_slice(&piece[..read]),
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// One read that goes on where it was interrupted: a socket with a read timeout does not do so by itself once its process
/// was stopped and continued, as a whole machine may be under a test (signal(7)).
pub(crate) fn read_on(stream: &mut impl Read, piece: &mut [u8]) -> io::Result<usize> {
    loop {
        match stream.read(piece) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

fn address_of(base_url: &str) -> io::Result<SocketAddr> {
    let address = base_url.trim_start_matches("http://").trim_end_matches('/');
    address.parse().map_err(io::Error::other)
}

/// One request on its own connection, answered.
pub fn exchange(
    base_url: &str,
    line: &str,
    headers: &[&str],
    body: impl AsRef<[u8]>,
) -> io::Result<Response> {
    let mut raw = Raw::open(base_url)?;
    let sent = raw.request(line, headers, body);
    // A server may refuse before it has read everything: its answer counts, not our broken pipe.
    match raw.response() {
        Ok(Some(response)) => Ok(response),
        Ok(None) => Err(sent.err().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_goes_on_where_it_was_interrupted() {
        struct Stopped(u8);
        impl Read for Stopped {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                self.0 += 1;
                match self.0 {
                    1 | 2 => Err(io::ErrorKind::Interrupted.into()),
                    3 => Ok(7),
                    _ => Err(io::ErrorKind::TimedOut.into()),
                }
            }
        }
        let mut stopped = Stopped(0);
        assert_eq!(read_on(&mut stopped, &mut []).unwrap(), 7);
        let late = read_on(&mut stopped, &mut []).unwrap_err();
        assert_eq!(late.kind(), io::ErrorKind::TimedOut);
    }
}
