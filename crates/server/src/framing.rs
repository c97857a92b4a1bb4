//! Where a request ends, said in one way only: what we and a proxy before us could read differently is
//! refused, although hyper reads it safely (RFC 9112, 3.2 and 6.1).
//!
//! Of a length beside a transfer coding hyper shows only the coding. So the names of the two headers are
//! looked for in the bytes as they come ([`Track`]), in each head until its blank line. Heads may arrive
//! behind other requests in one piece: where the next one begins is known from the length of the one
//! before. Behind a request in chunks it is not looked for: two lines that begin with these names and no
//! blank line between them, in the chunks or behind them, make the answer the connection's last one.

use cutover_units::Code;
use cutover_wire::Fault;
use http::{HeaderMap, Method, Version, header, request};

const LENGTH: &[u8] = b"content-length:";
const CODING: &[u8] = b"transfer-encoding:";

/// What is kept of a line: either name, and room for a length behind it.
const START: usize = 64;

/// Follows what arrives on a connection from head to head, in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Track {
    lines: Lines,
    /// How many heads have begun before this one.
    before: u64,
    place: Place,
}

/// What the next byte belongs to.
#[derive(Debug, Default)]
enum Place {
    /// A head, perhaps the next one.
    #[default]
    Head,
    /// A body of which so much is missing.
    Body(u64),
    /// A body, or what follows it: the lines since the last blank one.
    Somewhere(Lines),
    /// Nothing: a doubtful head was found, and the connection ends.
    Over,
}

impl Track {
    /// Further bytes. The number of the first head that must not be acted on, counted from one, once it
    /// is known.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) -> Option<u64> {
        while !bytes.is_empty() {
            match &mut self.place {
                Place::Head => {
                    if self.lines.ended {
                        self.lines = Lines::default();
                        self.before += 1;
                    }
                    bytes = self.lines.feed(bytes);
                    if self.lines.ended {
                        self.place = self.lines.what_follows();
                        if let Place::Over = self.place {
                            return Some(self.before + 1);
                        }
                    }
                }
                Place::Body(missing) => {
                    let here = usize::try_from(*missing).unwrap_or(usize::MAX).min(bytes.len());
                    bytes = &bytes[here..];
                    *missing -= here as u64;
                    if *missing == 0 {
                        self.place = Place::Head;
                    }
                }
                Place::Somewhere(lines) => {
                    bytes = lines.feed(bytes);
                    if lines.length && lines.coding {
                        self.place = Place::Over;
                        return Some(self.before + 2);
                    }
                    if lines.ended {
                        *lines = Lines::default();
                    }
                }
                Place::Over => return None,
            }
        }
        None
    }

    /// So many requests have been read and answered, and the next head is not there: if it was not known
    /// where it begins, it is behind the last blank line.
    pub(crate) fn answered(&mut self, requests: u64) {
        if let Place::Somewhere(lines) = &mut self.place {
            (self.lines, self.before) = (std::mem::take(lines), requests);
            self.place = Place::Head;
        }
    }

    /// Whether the last head has come whole and names a length.
    pub(crate) fn has_length(&self) -> bool {
        self.lines.ended && self.lines.length
    }

    /// Whether the last head has more headers than these, as far as it has come.
    pub(crate) fn has_more_headers_than(&self, headers_max: usize) -> bool {
        // The first line is none, and the last may have come in part.
        self.lines.count + usize::from(self.lines.kept > 0) > headers_max + 1
    }
}

/// The lines of a head, as far as they tell where the request ends.
#[derive(Debug)]
struct Lines {
    /// How the line begins.
    start: [u8; START],
    kept: usize,
    ended: bool,
    count: usize,
    length: bool,
    coding: bool,
    /// The length, if it was read.
    bytes: Option<u64>,
}

impl Default for Lines {
    fn default() -> Self {
        let (start, bytes) = ([0; START], None);
        Self { start, kept: 0, ended: false, count: 0, length: false, coding: false, bytes }
    }
}

impl Lines {
    /// Further bytes of the head. What follows it is handed back.
    fn feed<'a>(&mut self, mut bytes: &'a [u8]) -> &'a [u8] {
        while !self.ended && !bytes.is_empty() {
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                self.keep(bytes);
                return &[];
            };
            let line = &bytes[..end];
            if self.kept == 0 {
                // Mostly a line comes whole, and is read where it lies.
                self.line_ended(&line[..line.len().min(START)]);
            } else {
                self.keep(line);
                let (start, kept) = (self.start, std::mem::take(&mut self.kept));
                self.line_ended(&start[..kept]);
            }
            bytes = &bytes[end + 1..];
        }
        bytes
    }

    fn keep(&mut self, piece: &[u8]) {
        let taken = piece.len().min(START - self.kept);
        self.start[self.kept..self.kept + taken].copy_from_slice(&piece[..taken]);
        self.kept += taken;
    }

    fn line_ended(&mut self, line: &[u8]) {
        let behind = |name: &[u8]| {
            let (start, rest) = line.split_at_checked(name.len())?;
            // The colon tells most lines apart that begin alike.
            let same = start.last() == name.last() && start.eq_ignore_ascii_case(name);
            same.then_some(rest)
        };
        match line {
            // Blank lines before the request line are let pass.
            b"" | b"\r" => {
                self.ended = self.count > 0;
                return;
            }
            [b'c' | b'C', ..] => {
                if let Some(value) = behind(LENGTH) {
                    self.length = true;
                    self.bytes =
                        std::str::from_utf8(value).ok().and_then(|v| v.trim().parse().ok());
                }
            }
            [b't' | b'T', ..] => self.coding |= behind(CODING).is_some(),
            _ => {}
        }
        self.count += 1;
    }

    fn what_follows(&self) -> Place {
        match (self.length, self.coding, self.bytes) {
            (false, false, _) | (true, false, Some(0)) => Place::Head,
            (true, false, Some(bytes)) => Place::Body(bytes),
            (true, true, _) => Place::Over,
            _ => Place::Somewhere(Self::default()),
        }
    }
}

/// Why a head that was read may not be acted on.
pub(crate) fn doubtful(head: &request::Parts, has_two_ends: bool) -> Option<Fault> {
    let why = if has_two_ends {
        "the request has both a content-length and a transfer-encoding"
    } else if is_coded_otherwise(&head.headers) {
        "the only transfer-encoding that is known is 'chunked', once"
    } else if !has_host(head) {
        "the request must name its host, once"
    } else if head.uri.path().is_empty() && head.method != Method::CONNECT {
        "the request's target has no path"
    } else {
        return None;
    };
    Some(Fault::new(Code::MalformedHttp, why))
}

/// hyper wants `chunked` to be the last coding and undoes no other.
fn is_coded_otherwise(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    let Some(first) = codings.next() else { return false };
    codings.next().is_some() || !first.as_bytes().eq_ignore_ascii_case(b"chunked")
}

/// Nothing here depends on the host. But who sends none, or two, is no HTTP/1.1 client, and a proxy that
/// reads another of two than we do is how requests are mixed up.
fn has_host(head: &request::Parts) -> bool {
    let mut hosts = head.headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.as_bytes().iter().all(|byte| is_of_host(*byte)),
        (None, _) => head.version == Version::HTTP_10,
        _ => false,
    }
}

/// What names, addresses and ports are written in (RFC 3986, 3.2.2 and 3.2.3).
fn is_of_host(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=:[]".contains(&byte)
}

#[cfg(test)]
mod tests {
    use http::Request;
    use proptest::prelude::*;

    use super::*;

    /// The first head of which the end is doubtful.
    fn doubt(text: &str) -> Option<u64> {
        Track::default().feed(text.as_bytes())
    }

    #[test]
    fn two_ends_are_seen_in_any_order_and_case_and_only_in_the_head() {
        for both in [
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding:chunked\r\nhost: a\r\nContent-Length:1\r\n\r\n",
            "\r\n\r\nPOST / HTTP/1.1\ntransfer-encoding: chunked\ncontent-length: 1\n\n",
        ] {
            assert_eq!(doubt(both), Some(1), "{both}");
        }
        for one in [
            "POST / HTTP/1.1\r\ncontent-length: 21\r\n\r\ntransfer-encoding: a\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\nx-transfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-lengths: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "content-length: 1",
        ] {
            assert_eq!(doubt(one), None, "{one}");
        }
    }

    const BOTH: &str = "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";

    #[test]
    fn a_head_behind_others_is_found_by_their_lengths() {
        let get = "GET / HTTP/1.1\r\nhost: a\r\n\r\n";
        let post = "POST / HTTP/1.1\r\nContent-Length:  3 \r\n\r\n{\r\n";
        let none = "POST / HTTP/1.1\r\ncontent-length: 0\r\n\r\n";
        assert_eq!(doubt(&[get, post, none, get, BOTH].concat()), Some(5));
        assert_eq!(doubt(&[get, post, none, get].concat()), None);
        // In a body these are words, however they are arranged.
        let body = format!("POST / HTTP/1.1\r\ncontent-length: {}\r\n\r\n{BOTH}", BOTH.len());
        assert_eq!(doubt(&body), None);
        assert_eq!(doubt(&(body + BOTH)), Some(2));
    }

    #[test]
    fn behind_chunks_two_such_lines_together_are_one_too_many() {
        let chunked = "POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n";
        assert_eq!(doubt(chunked), None);
        assert_eq!(doubt(&[chunked, BOTH].concat()), Some(2));
        // A length that was not understood is refused by hyper; nothing is told apart behind it.
        let odd = "POST / HTTP/1.1\r\ncontent-length: 0x3\r\n\r\nabc";
        assert_eq!(doubt(&[odd, BOTH].concat()), Some(2));
        // What comes once it was answered begins a head again.
        let mut track = Track::default();
        assert_eq!(track.feed(chunked.as_bytes()), None);
        track.answered(1);
        assert_eq!(track.feed(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\na"), None);
        track.answered(2);
        assert_eq!(track.feed(BOTH.as_bytes()), Some(3));
        // Its beginning may have come with the chunks.
        let (start, end) = BOTH.split_at(40);
        let mut track = Track::default();
        assert_eq!(track.feed(format!("{chunked}{start}").as_bytes()), None);
        track.answered(1);
        assert_eq!(track.feed(end.as_bytes()), Some(2));
        // One name among trailers, the other in the next head: neither says anything of the other.
        let trailed = chunked.replace("0\r\n", "0\r\ncontent-length: 3\r\n");
        assert_eq!(doubt(&[&trailed, chunked, chunked].concat()), None);
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(cuts in prop::collection::vec(0_usize..160, 0..6)) {
            let head = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\nbody\
                         POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nhost: a\r\n\
                         content-length: 1\r\n\r\nbody\r\n";
            let mut cuts: Vec<_> = cuts.into_iter().map(|at| at.min(head.len())).collect();
            cuts.sort_unstable();
            let (mut track, mut from, mut found) = (Track::default(), 0, None);
            for at in cuts.into_iter().chain([head.len()]) {
                found = found.or(track.feed(&head[from..at]));
                from = at;
            }
            prop_assert_eq!(found, Some(2));
            prop_assert!(track.has_length());
            prop_assert!(track.has_more_headers_than(2) && !track.has_more_headers_than(3));
        }

        #[test]
        fn no_bytes_are_too_much(pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..90), 0..9)) {
            let mut track = Track::default();
            for piece in pieces {
                track.feed(&piece);
            }
        }
    }

    #[test]
    fn hosts_and_targets_are_as_the_standard_wants_them() {
        let doubt = |request: request::Builder| {
            doubtful(&request.body(()).unwrap().into_parts().0, false).is_some()
        };
        let get = |host: &str| Request::get("/health").header("host", host);
        for host in ["a", "a.example:80", "[::1]:4000", "", "xn--bcher-kva.example"] {
            assert!(!doubt(get(host)), "{host}");
        }
        for host in ["a b", "a/b", "user@a", "a\\b", "a?b"] {
            assert!(doubt(get(host)), "{host}");
        }
        assert!(doubt(get("a").header("host", "a")));
        assert!(doubt(Request::get("/health")));
        assert!(!doubt(Request::get("/health").version(Version::HTTP_10)));
        assert!(doubt(Request::get("a:80").header("host", "a")));
        assert!(!doubt(Request::get("http://a").header("host", "a")));
        assert!(!doubt(Request::connect("a:80").header("host", "a")));
        assert!(doubt(get("a").header("transfer-encoding", "gzip, chunked")));
        assert!(!doubt(get("a").header("transfer-encoding", "Chunked")));
    }
}
