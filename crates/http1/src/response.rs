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
    use proptest::prelude::*;

    use super::*;
    use crate::body::Decoded;

    const LIMIT: usize = 4096;

    /// A response as a client saw it: status, headers, body, whether the connection is kept and the body was whole; or
    /// the refusal's words.
    type Seen = Result<(u16, Vec<(String, Vec<u8>)>, Vec<u8>, bool, bool), String>;

    /// What is seen of these bytes, cut into reads at these places, and how often a head was parsed.
    fn seen(method: &Method, bytes: &[u8], cuts: &[usize]) -> Option<Seen> {
        let mut ends: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
        ends.push(bytes.len());
        ends.sort_unstable();
        let (mut buffer, mut from) = (BytesMut::new(), 0);
        let mut reader = HeadReader::new(method, LIMIT);
        let mut head: Option<Head> = None;
        let mut body = Vec::new();
        for end in ends {
            buffer.extend_from_slice(&bytes[from..end]);
            from = end;
            if head.is_none() {
                match reader.read(&mut buffer) {
                    Ok(read) => head = read,
                    Err(error) => return Some(Err(error.to_string())),
                }
            }
            let Some(head) = &mut head else { continue };
            loop {
                match head.decoder.decode(&mut buffer) {
                    Ok(Decoded::Piece(piece)) => body.extend_from_slice(&piece),
                    Ok(Decoded::More | Decoded::End) => break,
                    Err(error) => return Some(Err(error.to_string())),
                }
            }
        }
        let head = head?;
        let headers = head.response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
        let whole = head.decoder.has_ended() || head.decoder.ends_with_the_connection();
        let status = head.response.status().as_u16();
        Some(Ok((status, headers.collect(), body, head.keeps_open, whole)))
    }

    fn of(text: &str) -> Seen {
        seen(&Method::POST, text.as_bytes(), &[]).expect("a head")
    }

    fn body_of(text: &str) -> (String, bool, bool) {
        let (_, _, body, keeps_open, whole) = of(text).unwrap();
        (String::from_utf8(body).unwrap(), keeps_open, whole)
    }

    #[test]
    fn a_body_ends_where_its_head_says() {
        let at_once = |text: &str| (text.to_owned(), true, true);
        for (response, body) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok rest", at_once("ok")),
            ("HTTP/1.1 200\r\nContent-Length: 2\r\n\r\nok", at_once("ok")),
            ("HTTP/1.1 200 OK\ncontent-length: 2\n\nok", at_once("ok")),
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 2\r\n\r\nok", at_once("ok")),
            ("HTTP/1.1 204 N\r\ncontent-length: 2\r\n\r\nok", at_once("")),
            ("HTTP/1.1 304 N\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", at_once("")),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: Chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nrest",
                at_once("ok"),
            ),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n02 ;a=\"b\"\r\nok\r\n00\r\nx: y\r\nz:\r\n\r\n",
                at_once("ok"),
            ),
            ("HTTP/1.1 200 OK\r\n\r\nall of it", ("all of it".into(), false, true)),
            ("HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok", ("ok".into(), false, true)),
            (
                "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 2\r\n\r\nok",
                at_once("ok"),
            ),
            (
                "HTTP/1.1 200 OK\r\nconnection: x, Close\r\ncontent-length: 2\r\n\r\nok",
                ("ok".into(), false, true),
            ),
            ("HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nok", ("ok".into(), true, false)),
            (
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n",
                ("ok".into(), true, false),
            ),
            (
                "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 E\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
                at_once(""),
            ),
        ] {
            assert_eq!(body_of(response), body, "{response:?}");
        }
        let to_head = seen(&Method::HEAD, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", &[]);
        let (_, _, body, keeps_open, whole) = to_head.unwrap().unwrap();
        assert!(body.is_empty() && keeps_open && whole);
    }

    #[test]
    fn what_could_be_read_in_two_ways_is_refused() {
        let ok = "HTTP/1.1 200 OK\r\n";
        let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
        for (response, why) in [
            (format!("{ok}content-length: +2\r\n\r\nok"), "a content-length that is no number"),
            (format!("{ok}content-length: 2, 2\r\n\r\nok"), "a content-length that is no number"),
            (format!("{ok}content-length:\r\n\r\nok"), "a content-length that is no number"),
            (format!("{ok}content-length: 18446744073709551616\r\n\r\n"), "that is no number"),
            (format!("{ok}content-length: 2\r\ncontent-length: 3\r\n\r\nok"), "that differ"),
            (format!("{ok}transfer-encoding: gzip, chunked\r\n\r\n"), "nobody asked for"),
            (
                format!("{ok}transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n\r\n"),
                "nobody asked for",
            ),
            (format!("{ok}transfer-encoding: identity\r\n\r\n"), "nobody asked for"),
            ("HTTP/1.0 200 OK\r\ntransfer-encoding: chunked\r\n\r\n".into(), "HTTP/1.0"),
            (format!("{ok}a : b\r\n\r\n"), "a header's name"),
            (format!("{ok}a: b\r\n c\r\n\r\n"), "a header's name"),
            (format!("{ok}a: \x01\r\n\r\n"), "a header's value"),
            ("HTTP/2.0 200 OK\r\n\r\n".into(), "its version"),
            ("HTTP/1.1 099 No\r\n\r\n".into(), "its status"),
            ("SSH-2.0-OpenSSH_9.2\r\n".into(), "its version"),
            (format!("{ok}{}\r\n", "a: b\r\n".repeat(HEADERS_MAX + 1)), "too large"),
            (format!("{ok}a: {}\r\n\r\n", "x".repeat(LIMIT)), "too large"),
            (format!("{ok}a: {}", "x".repeat(LIMIT)), "too large"),
            ("HTTP/1.1 103 E\r\n\r\n".repeat(LIMIT / 10), "too large"),
            (format!("{chunked}x\r\n"), "a chunk's length"),
            (format!("{chunked}\r\n"), "a chunk's length"),
            (format!("{chunked}+2\r\nok"), "a chunk's length"),
            (format!("{chunked}0x2\r\nok"), "a chunk's length"),
            (format!("{chunked}11111111111111111\r\n"), "a chunk's length"),
            (format!("{chunked}2\nok"), "a chunk's length"),
            (format!("{chunked}2;a\nok"), "does not end"),
            (format!("{chunked}2\rxok"), "does not end"),
            (format!("{chunked}2\r\nokxx"), "does not end"),
            (format!("{chunked}2\r\nok\rx"), "does not end"),
            (format!("{chunked}0\r\nx: y\n\r\n"), "does not end"),
            (format!("{chunked}2;{}\r\nok", "x".repeat(20_000)), "too much"),
            (format!("{chunked}0\r\n{}\r\n", "x: y\r\n".repeat(20_000)), "too much"),
        ] {
            let error = of(&response).unwrap_err();
            let shown: String = response.chars().take(80).collect();
            assert!(error.contains(why), "{shown:?}: {error}");
        }
    }

    #[test]
    fn headers_keep_their_order_their_repetitions_and_their_bytes() {
        let response = b"HTTP/1.1 200 OK\r\nSet-Cookie: a\r\nx-empty:\r\nset-cookie:  b \r\nx-high: \xff\r\ncontent-length: 0\r\n\r\n";
        let (_, headers, ..) = seen(&Method::GET, response, &[]).unwrap().unwrap();
        let expect: [(&str, &[u8]); 5] = [
            ("set-cookie", b"a"),
            ("set-cookie", b"b"),
            ("x-empty", b""),
            ("x-high", b"\xff"),
            ("content-length", b"0"),
        ];
        let expect = expect.map(|(name, value)| (name.to_owned(), value.to_vec()));
        assert_eq!(headers, expect);
    }

    /// A head that comes byte by byte is parsed a few times, not once per byte.
    #[test]
    fn a_head_that_dribbles_in_costs_little() {
        let head = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "x".repeat(3_000));
        let mut reader = HeadReader::new(&Method::GET, LIMIT);
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

    fn chunked_body() -> impl Strategy<Value = (String, Vec<u8>)> {
        let chunk = (prop::collection::vec(any::<u8>(), 1..40), "(;[a-z]{0,3})?");
        (prop::collection::vec(chunk, 0..6), "([a-z]{1,3}: [a-z]{0,3}\r\n){0,2}").prop_map(
            |(chunks, trailers)| {
                // Bytes as code points below 256, which `latin` turns back.
                let mut wire = String::new();
                let mut body = Vec::new();
                for (data, extension) in chunks {
                    let text: String = data.iter().copied().map(char::from).collect();
                    wire.push_str(&format!("{:X}{extension}\r\n{text}\r\n", data.len()));
                    body.extend(data);
                }
                (format!("{wire}0\r\n{trailers}\r\n"), body)
            },
        )
    }

    fn latin(text: &str) -> Vec<u8> {
        text.chars().map(|c| c as u8).collect()
    }

    proptest! {
        #[test]
        fn a_chunked_body_is_its_chunks_however_it_is_cut(
            (wire, body) in chunked_body(),
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let bytes = latin(&format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{wire}"));
            let (_, _, read, keeps_open, whole) = seen(&Method::GET, &bytes, &cuts).unwrap().unwrap();
            prop_assert_eq!(read, body);
            prop_assert!(keeps_open && whole);
        }

        /// Whatever comes: no panic, the same in pieces as at once, and nothing is whole before its last byte.
        #[test]
        fn how_the_bytes_were_cut_changes_nothing(
            start in prop::sample::select(vec![
                "", "HTTP/1.1 ", "HTTP/1.1 200 OK\r\n", "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n",
                "HTTP/1.1 100 C\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n",
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n",
            ]),
            rest in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                "[0-3a:;\r\n ]{0,40}".prop_map(String::into_bytes),
                "(content-length: [0-9]{1,2}\r\n|connection: close\r\n|a: b\r\n|\r\n|1\r\nx\r\n|0\r\n\r\n){0,8}".prop_map(String::into_bytes),
            ],
            cuts in prop::collection::vec(any::<usize>(), 0..12),
        ) {
            let bytes = [start.as_bytes(), &rest].concat();
            let at_once = seen(&Method::GET, &bytes, &[]);
            let in_pieces = seen(&Method::GET, &bytes, &cuts);
            match (&at_once, &in_pieces) {
                // A head that is wrong may be told wrong by another of its faults, the earlier one, and one
                // without an end when it is looked at again.
                (Some(Err(_)), Some(Err(_)) | None) => {}
                _ => prop_assert_eq!(&at_once, &in_pieces),
            }
            if let Some(Ok((.., body, _, whole))) = at_once {
                prop_assert!(body.len() <= bytes.len());
                let shorter = seen(&Method::GET, &bytes[..bytes.len() - usize::from(!rest.is_empty())], &[]);
                if let (false, Some(Ok((.., whole_before)))) = (whole, shorter) {
                    prop_assert!(!whole_before);
                }
            }
        }
    }
}
