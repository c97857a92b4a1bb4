//! The head of a request.

use http::header::{CONNECTION, CONTENT_LENGTH, HOST, HeaderMap, HeaderValue, TRANSFER_ENCODING};
use http::{Method, uri::PathAndQuery};

/// How the server finds the end of the request's body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// So many bytes.
    Length(u64),
    /// In chunks: nobody knows yet how many there will be.
    Chunked,
}

/// The digits of the largest length.
const LENGTH_DIGITS: usize = 20;

/// A request, but for its body.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The method.
    pub method: &'a Method,
    /// The path that the server is asked for.
    pub target: &'a PathAndQuery,
    /// The server, as the `host` header names it.
    pub host: &'a HeaderValue,
    /// The other headers. Those about the connection and the body's length are left out: they belong to whoever
    /// writes the request.
    pub headers: &'a HeaderMap,
}

impl Request<'_> {
    /// Writes the head, with room for `more` bytes behind it.
    ///
    /// ```
    /// use cutover_http1::request::{Framing, Request};
    /// use http::{HeaderMap, HeaderValue, Method, uri::PathAndQuery};
    /// let request = Request {
    ///     method: &Method::GET,
    ///     target: &PathAndQuery::from_static("/api/version"),
    ///     host: &HeaderValue::from_static("gpu-1:11434"),
    ///     headers: &HeaderMap::new(),
    /// };
    /// let bytes = request.head(Framing::Length(0), 0);
    /// assert_eq!(bytes, b"GET /api/version HTTP/1.1\r\nhost: gpu-1:11434\r\n\r\n");
    /// ```
    pub fn head(self, framing: Framing, more: usize) -> Vec<u8> {
        let (method, target) = (self.method.as_str(), self.target.as_str());
        let lines = self.headers.iter().map(|(name, value)| line(name.as_str(), value));
        let fixed = b"  HTTP/1.1\r\n\r\n".len() + line(TRANSFER_ENCODING.as_str(), "chunked");
        let host = line(HOST.as_str(), self.host);
        let length = method.len() + target.len() + host + lines.sum::<usize>() + fixed;
        let mut out = Vec::with_capacity(length + LENGTH_DIGITS + more);
        out.extend_from_slice(method.as_bytes());
        out.push(b' ');
        out.extend_from_slice(target.as_bytes());
        out.extend_from_slice(b" HTTP/1.1\r\n");
        put(&mut out, HOST.as_str(), self.host.as_bytes());
        for (name, value) in self.headers {
            if ![HOST, CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING].contains(name) {
                put(&mut out, name.as_str(), value.as_bytes());
            }
        }
        match framing {
            // Who sends none where none is meant says nothing of it (RFC 9110, section 8.6).
            Framing::Length(0) if matches!(method, "GET" | "HEAD" | "DELETE") => {}
            Framing::Length(length) => {
                let mut digits = [0; LENGTH_DIGITS];
                put(&mut out, CONTENT_LENGTH.as_str(), decimal(length, &mut digits));
            }
            Framing::Chunked => put(&mut out, TRANSFER_ENCODING.as_str(), b"chunked"),
        }
        out.extend_from_slice(b"\r\n");
        out
    }
}

/// The line before a chunk of so many bytes.
pub fn chunk_line(length: usize) -> String {
    format!("{length:x}\r\n")
}

/// What ends a body in chunks.
pub const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

fn line(name: &str, value: impl AsRef<[u8]>) -> usize {
    name.len() + value.as_ref().len() + b": \r\n".len()
}

fn put(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn decimal(mut number: u64, digits: &mut [u8; LENGTH_DIGITS]) -> &[u8] {
    let mut at = LENGTH_DIGITS;
    for (place, digit) in digits.iter_mut().enumerate().rev() {
        // A remainder of ten fits.
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
        at = place;
        if number == 0 {
            break;
        }
    }
    digits.get(at..).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(method: &Method, framing: Framing) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("authorization", "Bearer k"),
            ("connection", "close"),
            ("content-length", "7"),
            ("host", "elsewhere"),
            ("transfer-encoding", "gzip"),
            ("x-a", "1"),
        ] {
            headers.append(name, HeaderValue::from_static(value));
        }
        headers.append("x-a", HeaderValue::from_static("2"));
        let request = Request {
            method,
            target: &PathAndQuery::from_static("/v1/x?y=z"),
            host: &HeaderValue::from_static("h:1"),
            headers: &headers,
        };
        let out = request.head(framing, 100);
        assert!(out.capacity() - out.len() >= 100);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_head_says_its_own_length_and_host_and_nothing_of_the_clients_connection() {
        let start = "POST /v1/x?y=z HTTP/1.1\r\nhost: h:1\r\nauthorization: Bearer k\r\nx-a: 1\r\nx-a: 2\r\n";
        for (framing, last) in [
            (Framing::Length(0), "content-length: 0\r\n"),
            (Framing::Length(1234), "content-length: 1234\r\n"),
            (Framing::Length(u64::MAX), "content-length: 18446744073709551615\r\n"),
            (Framing::Chunked, "transfer-encoding: chunked\r\n"),
        ] {
            assert_eq!(written(&Method::POST, framing), format!("{start}{last}\r\n"));
        }
        let without = written(&Method::DELETE, Framing::Length(0));
        assert!(!without.contains("content-length"), "{without}");
        assert!(written(&Method::DELETE, Framing::Length(2)).contains("content-length: 2\r\n"));
    }
}
