//! The head of a response.

use std::mem::MaybeUninit;

use bytes::{Buf, Bytes, BytesMut};
use http::header::{
    CONNECTION, CONTENT_LENGTH, HeaderMap, HeaderName, HeaderValue, TRANSFER_ENCODING,
};
use http::{Response, StatusCode, Version};

use crate::body::Decoder;

/// Most headers of a response.
pub const HEADERS_MAX: usize = 100;

/// What a head leads to.
#[derive(Debug)]
pub struct Head {
    /// Status, version, headers.
    pub response: Response<()>,
    /// Takes its body out of what follows.
    pub decoder: Decoder,
    /// Whether the server keeps the connection for another request after this body.
    pub keeps_open: bool,
}

/// Why a head is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeadError {
    /// It is no head of an HTTP/1 response.
    #[error("not an HTTP/1 response: {0}")]
    Malformed(&'static str),
    /// It is longer than the limit, or has more than [`HEADERS_MAX`] headers.
    #[error("a head that is too large")]
    TooLarge,
}

/// Reads the head of one response, over as many reads as it takes.
#[derive(Debug)]
pub struct HeadReader {
    limit: usize,
    /// The answer to a HEAD request has no body, whatever it says.
    bodyless: bool,
    /// Up to where no end was found.
    searched: usize,
    /// The length from which a head without an end is looked at again: it may be wrong early.
    look_from: usize,
    /// Bytes of the heads before, which only announced this one.
    announced: usize,
}

impl HeadReader {
    /// Of the answer to a request of this method, with at most so many bytes.
    pub fn new(method: &http::Method, limit: usize) -> Self {
        let bodyless = method == http::Method::HEAD;
        Self { limit, bodyless, searched: 0, look_from: 0, announced: 0 }
    }

    /// The head, taken out of the buffer, if it is there as a whole. Heads that only announce another (1xx but for 101)
    /// are skipped.
    pub fn read(&mut self, buffer: &mut BytesMut) -> Result<Option<Head>, HeadError> {
        while buffer.len() >= self.look_from || self.has_end(buffer) {
            let mut headers = [const { MaybeUninit::uninit() }; HEADERS_MAX];
            let mut parsed = httparse::Response::new(&mut []);
            let parser = httparse::ParserConfig::default();
            let outcome =
                parser.parse_response_with_uninit_headers(&mut parsed, buffer, &mut headers);
            match outcome {
                Err(httparse::Error::TooManyHeaders) => return Err(HeadError::TooLarge),
                Err(error) => return Err(HeadError::Malformed(word(error))),
                Ok(httparse::Status::Partial) => {
                    self.searched = buffer.len();
                    self.look_from = buffer.len().saturating_mul(2).max(1);
                    break;
                }
                Ok(httparse::Status::Complete(length)) => {
                    if self.announced + length > self.limit {
                        return Err(HeadError::TooLarge);
                    }
                    let status = parsed.code.and_then(|code| StatusCode::from_u16(code).ok());
                    let status = status.ok_or(HeadError::Malformed("its status"))?;
                    if status.is_informational() && status != StatusCode::SWITCHING_PROTOCOLS {
                        buffer.advance(length);
                        self.announced += length;
                        (self.searched, self.look_from) = (0, 0);
                        continue;
                    }
                    let is_1_0 = parsed.version == Some(0);
                    let read = headers_of(buffer, length, parsed.headers)?;
                    buffer.advance(length);
                    return self.head(status, is_1_0, read).map(Some);
                }
            }
        }
        if self.announced + buffer.len() >= self.limit {
            Err(HeadError::TooLarge)
        } else {
            Ok(None)
        }
    }

    /// Whether what was not searched yet has the empty line of a head's end. So a head that dribbles in is not parsed
    /// once per read.
    fn has_end(&mut self, buffer: &[u8]) -> bool {
        const END: usize = b"\n\r\n".len();
        let from = self.searched.saturating_sub(END - 1);
        let fresh = buffer.get(from..).unwrap_or_default();
        self.searched = buffer.len();
        memchr::memchr_iter(b'\n', fresh).any(|at| {
            let after = fresh.get(at + 1..).unwrap_or_default();
            after.starts_with(b"\n") || after.starts_with(b"\r\n")
        })
    }

    fn head(
        &self,
        status: StatusCode,
        is_1_0: bool,
        headers: HeaderMap,
    ) -> Result<Head, HeadError> {
        let says = |word: &str| {
            headers.get_all(CONNECTION).iter().any(|value| {
                let words = value.as_bytes().split(|byte| *byte == b',');
                words.map(<[u8]>::trim_ascii).any(|said| said.eq_ignore_ascii_case(word.as_bytes()))
            })
        };
        let keeps_open = if is_1_0 { says("keep-alive") } else { !says("close") };
        let decoder = if self.bodyless || is_bodyless(status) {
            Decoder::length(0)
        } else if headers.contains_key(TRANSFER_ENCODING) {
            let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
            let only = codings.next().filter(|_| codings.next().is_none());
            match only {
                _ if is_1_0 => return Err(HeadError::Malformed("a transfer-encoding in HTTP/1.0")),
                Some(coding) if coding.as_bytes().eq_ignore_ascii_case(b"chunked") => {
                    Decoder::chunked()
                }
                _ => return Err(HeadError::Malformed("a transfer-encoding nobody asked for")),
            }
        } else if let Some(length) = length(&headers)? {
            Decoder::length(length)
        } else {
            Decoder::until_close()
        };
        let keeps_open = keeps_open && !decoder.ends_with_the_connection();
        let mut response = Response::new(());
        *response.status_mut() = status;
        *response.version_mut() = if is_1_0 { Version::HTTP_10 } else { Version::HTTP_11 };
        *response.headers_mut() = headers;
        Ok(Head { response, decoder, keeps_open })
    }
}

/// Statuses whose responses have no body, whatever their heads say (RFC 9112, section 6.3).
fn is_bodyless(status: StatusCode) -> bool {
    status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
}

/// What the content-length says; several that say the same are one.
fn length(headers: &HeaderMap) -> Result<Option<u64>, HeadError> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes();
        let number = digits.iter().try_fold(0_u64, |number, byte| {
            let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
            number.checked_mul(10)?.checked_add(digit)
        });
        let number = number.filter(|_| !digits.is_empty());
        let number = number.ok_or(HeadError::Malformed("a content-length that is no number"))?;
        if length.is_some_and(|before| before != number) {
            return Err(HeadError::Malformed("content-lengths that differ"));
        }
        length = Some(number);
    }
    Ok(length)
}

/// The headers' own copy of their bytes: so the buffer stays the body's.
fn headers_of(
    buffer: &[u8],
    length: usize,
    parsed: &[httparse::Header<'_>],
) -> Result<HeaderMap, HeadError> {
    let bytes = Bytes::copy_from_slice(buffer.get(..length).unwrap_or_default());
    let start = buffer.as_ptr().addr();
    let mut headers = HeaderMap::with_capacity(parsed.len());
    for header in parsed {
        let name = HeaderName::from_bytes(header.name.as_bytes())
            .map_err(|_| HeadError::Malformed("a header's name"))?;
        let at = header.value.as_ptr().addr().wrapping_sub(start);
        // An empty value may lie nowhere.
        let value = match at.checked_add(header.value.len()) {
            Some(end) if end <= length && !header.value.is_empty() => bytes.slice(at..end),
            _ => Bytes::new(),
        };
        let value = HeaderValue::from_maybe_shared(value)
            .map_err(|_| HeadError::Malformed("a header's value"))?;
        headers.append(name, value);
    }
    Ok(headers)
}

fn word(error: httparse::Error) -> &'static str {
    match error {
        httparse::Error::HeaderName => "a header's name",
        httparse::Error::HeaderValue => "a header's value",
        httparse::Error::NewLine => "an end of line",
        httparse::Error::Status => "its status",
        httparse::Error::Version => "its version",
        httparse::Error::Token | httparse::Error::TooManyHeaders => "a word",
    }
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;

    /// A head that comes byte by byte is parsed a few times, not once per byte.
    #[test]
    fn a_head_that_dribbles_in_costs_little() {
        let head = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(3_000));
        let mut reader = HeadReader::new(&Method::GET, 4096);
        let mut buffer = BytesMut::new();
        let mut looks = std::collections::BTreeSet::new();
        for byte in head.bytes() {
            assert!(buffer.len() < head.len());
            buffer.extend_from_slice(&[byte]);
            let read = reader.read(&mut buffer).unwrap();
            looks.insert(reader.look_from);
            assert_eq!(read.is_some(), buffer.is_empty());
        }
        assert!(buffer.is_empty() && looks.len() < 20, "{looks:?}");
    }
}
