//! Where a request ends, said in one way only: what we and a proxy before us could read differently is
//! refused, although hyper reads it safely (RFC 9112, 3.2 and 6.1).
//!
//! Of a length beside a transfer coding hyper shows only the coding. So the names of the two headers are
//! looked for in the bytes as they come ([`Lines`]), until the head's blank line. Of heads that arrive
//! behind another request in one piece they are not; there hyper's own rule holds, which reads by the
//! coding alone and closes the connection.

use cutover_units::Code;
use cutover_wire::Fault;
use http::{HeaderMap, Method, Version, header, request};

const LENGTH: &[u8] = b"content-length:";
const CODING: &[u8] = b"transfer-encoding:";

/// The lines of a head, as far as they tell where the request ends. They may come in any pieces.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    /// How the line begins.
    start: [u8; CODING.len()],
    kept: usize,
    ended: bool,
    count: usize,
    length: bool,
    coding: bool,
}

impl Lines {
    /// Further bytes of the head, or of what follows it.
    pub(crate) fn feed(&mut self, mut bytes: &[u8]) {
        while !self.ended && !bytes.is_empty() {
            let end = memchr::memchr(b'\n', bytes);
            let line = &bytes[..end.unwrap_or(bytes.len())];
            let taken = line.len().min(self.start.len() - self.kept);
            self.start[self.kept..self.kept + taken].copy_from_slice(&line[..taken]);
            self.kept += taken;
            let Some(end) = end else { return };
            self.line_ended();
            bytes = &bytes[end + 1..];
        }
    }

    fn line_ended(&mut self) {
        let line = &self.start[..self.kept];
        let begins = |name: &[u8]| {
            line.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
        };
        match line {
            // Blank lines before the request line are let pass.
            b"" | b"\r" => self.ended = self.count > 0,
            [b'c' | b'C' | b't' | b'T', ..] => {
                self.length |= begins(LENGTH);
                self.coding |= begins(CODING);
                self.count += 1;
            }
            _ => self.count += 1,
        }
        self.kept = 0;
    }

    /// Whether the head names a length and a transfer coding.
    pub(crate) fn says_two_ends(&self) -> bool {
        self.length && self.coding
    }

    /// Whether it names a length, and has no more headers than these.
    pub(crate) fn has_length_within(&self, headers_max: usize) -> bool {
        self.length && self.count <= headers_max + 1
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

    fn read(text: &str) -> Lines {
        let mut lines = Lines::default();
        lines.feed(text.as_bytes());
        lines
    }

    #[test]
    fn two_ends_are_seen_in_any_order_and_case_and_only_in_the_head() {
        for both in [
            "POST / HTTP/1.1\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\nTransfer-Encoding:chunked\r\nhost: a\r\nContent-Length:1\r\n\r\n",
            "\r\n\r\nPOST / HTTP/1.1\ntransfer-encoding: chunked\ncontent-length: 1\n\n",
        ] {
            assert!(read(both).says_two_ends(), "{both}");
        }
        for one in [
            "POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\ntransfer-encoding: chunked\r\n",
            "POST / HTTP/1.1\r\ncontent-length: 1\r\nx-transfer-encoding: chunked\r\n\r\n",
            "POST / HTTP/1.1\r\ncontent-lengths: 1\r\ntransfer-encoding: chunked\r\n\r\n",
            "content-length: 1",
        ] {
            assert!(!read(one).says_two_ends(), "{one}");
        }
    }

    proptest! {
        #[test]
        fn pieces_make_no_difference(cuts in prop::collection::vec(0_usize..100, 0..6)) {
            let head = b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nhost: a\r\n\
                         content-length: 1\r\n\r\nbody\r\n";
            let mut cuts: Vec<_> = cuts.into_iter().map(|at| at.min(head.len())).collect();
            cuts.sort_unstable();
            let mut lines = Lines::default();
            let mut from = 0;
            for at in cuts.into_iter().chain([head.len()]) {
                lines.feed(&head[from..at]);
                from = at;
            }
            prop_assert!(lines.says_two_ends());
            prop_assert!(lines.has_length_within(3) && !lines.has_length_within(2));
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
