//! Requests as streams, answers in one or several pieces.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::Arrived;

/// The head of a request.
pub(crate) struct Head {
    pub(crate) method: String,
    pub(crate) target: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The path without `/v1` and query.
    pub(crate) fn path(&self) -> &str {
        let path = self.target.split('?').next().unwrap_or_default();
        path.strip_prefix("/v1").unwrap_or(path)
    }

    pub(crate) fn query(&self, name: &str) -> Option<&str> {
        let query = self.target.split_once('?')?.1;
        query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
    }

    pub(crate) fn fault(&self) -> Option<&str> {
        self.query("fault")
    }
}

/// An answer.
pub(crate) struct Told {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) chunked: bool,
    /// Whether the body is left out, as after HEAD.
    pub(crate) head_only: bool,
}

impl Told {
    pub(crate) fn json(value: &Value) -> Self {
        Self::bytes("application/json", value.to_string().into_bytes())
    }

    pub(crate) fn bytes(content_type: &str, body: Vec<u8>) -> Self {
        let headers = vec![
            ("content-type", content_type.to_owned()),
            ("openai-processing-ms", "12".to_owned()),
            ("x-ratelimit-remaining-requests", "99".to_owned()),
            ("set-cookie", "__cf_bm=secret; path=/".to_owned()),
            ("server", "cloudflare".to_owned()),
            ("x-request-id", "theirs".to_owned()),
        ];
        Self { status: 200, headers, body, chunked: false, head_only: false }
    }

    pub(crate) fn error(status: u16, message: &str, code: &str) -> Self {
        let error = json!({"message": message, "type": "invalid_request_error", "param": null, "code": code});
        Self { status, ..Self::json(&json!({ "error": error })) }
    }
}

/// One connection.
pub(crate) struct Incoming {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Incoming {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let _ = stream.set_nodelay(true);
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) fn head(&mut self) -> io::Result<Option<Head>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break at + 4;
            }
            if self.fill()? == 0 {
                return Ok(None);
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        let text = String::from_utf8_lossy(&head);
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or_default().split(' ');
        let (method, target) = (first.next(), first.next());
        let headers = lines
            .filter_map(|line| line.split_once(':'))
            .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
            .collect();
        let owned = |text: Option<&str>| text.unwrap_or_default().to_owned();
        Ok(Some(Head { method: owned(method), target: owned(target), headers }))
    }

    /// Says that nothing more will be sent, and takes what still comes until the other side closes.
    pub(crate) fn linger(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write);
        let _ = io::copy(&mut self.stream, &mut io::sink());
    }

    /// Reads the body to its end, or as far as it comes.
    pub(crate) fn body(&mut self, head: &Head, kept_max: usize, note: &dyn Fn(usize)) -> Arrived {
        let mut taking =
            Taking { digest: Sha256::new(), kept: Some(Vec::new()), bytes: 0, kept_max };
        let chunked = head.header("transfer-encoding").is_some_and(|coding| coding == "chunked");
        let length = head.header("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        let read = if chunked {
            self.chunks(&mut taking, note)
        } else {
            self.take(length, &mut taking, note)
        };
        let Taking { digest, kept, bytes, .. } = taking;
        let hex = digest.finalize().iter().fold(String::new(), |mut hex, byte| {
            // Writing to a String cannot fail.
            let _ = write!(hex, "{byte:02x}");
            hex
        });
        Arrived {
            method: head.method.clone(),
            target: head.target.clone(),
            headers: head.headers.clone(),
            body_bytes: bytes,
            sha256: hex,
            body: kept,
            whole: read.is_ok(),
        }
    }

    fn chunks(&mut self, to: &mut Taking, note: &dyn Fn(usize)) -> io::Result<()> {
        loop {
            let size = u64::from_str_radix(self.line()?.trim(), 16)
                .map_err(|_| io::Error::from(ErrorKind::InvalidData))?;
            self.take(size, to, note)?;
            self.line()?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|window| window == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn take(&mut self, count: u64, to: &mut Taking, note: &dyn Fn(usize)) -> io::Result<()> {
        let mut left = usize::try_from(count).map_err(|_| ErrorKind::InvalidData)?;
        while left > 0 {
            if self.buffer.is_empty() && self.fill()? == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            let piece: Vec<u8> = self.buffer.drain(..left.min(self.buffer.len())).collect();
            left -= piece.len();
            to.piece(&piece);
            note(piece.len());
        }
        Ok(())
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = vec![0; 64 * 1024];
        let count = self.stream.read(&mut piece)?;
        self.buffer.extend_from_slice(&piece[..count]);
        Ok(count)
    }

    pub(crate) fn answer(&mut self, told: &Told) -> io::Result<()> {
        self.begin(told)?;
        self.rest(told)
    }

    /// The head and the first half of the body.
    pub(crate) fn begin(&mut self, told: &Told) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {} Told\r\n", told.status);
        for (name, value) in &told.headers {
            let _ = write!(text, "{name}: {value}\r\n");
        }
        if told.chunked {
            text.push_str("transfer-encoding: chunked\r\n\r\n");
        } else {
            let _ = write!(text, "content-length: {}\r\n\r\n", told.body.len());
        }
        self.stream.write_all(text.as_bytes())?;
        self.half(told, ..told.body.len() / 2)
    }

    /// The second half.
    pub(crate) fn rest(&mut self, told: &Told) -> io::Result<()> {
        self.half(told, told.body.len() / 2..)?;
        if told.chunked { self.stream.write_all(b"0\r\n\r\n") } else { Ok(()) }
    }

    fn half(
        &mut self,
        told: &Told,
        range: impl std::slice::SliceIndex<[u8], Output = [u8]>,
    ) -> io::Result<()> {
        let half = &told.body[range];
        if told.head_only || half.is_empty() {
            return Ok(());
        }
        if told.chunked {
            self.stream.write_all(format!("{:x}\r\n", half.len()).as_bytes())?;
            self.stream.write_all(half)?;
            return self.stream.write_all(b"\r\n");
        }
        self.stream.write_all(half)
    }
}

struct Taking {
    digest: Sha256,
    kept: Option<Vec<u8>>,
    bytes: u64,
    kept_max: usize,
}

impl Taking {
    fn piece(&mut self, piece: &[u8]) {
        self.digest.update(piece);
        self.bytes += piece.len() as u64;
        if self.bytes > self.kept_max as u64 {
            self.kept = None;
        }
        if let Some(kept) = &mut self.kept {
            kept.extend_from_slice(piece);
        }
    }
}
