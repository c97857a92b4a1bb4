//! Heads that are refused before they are a request: too large, or not HTTP that can be read in one way.
//!
//! hyper answers those that it cannot read by itself, with a bare status: no body, no id, not counted.
//! Such an answer is known by its form (none of ours lacks a content type) and replaced by one in the
//! form of every other error, as OpenAI's dialect has it: which dialect the client speaks stands in the
//! head that could not be read.
//!
//! The limit on a head's size holds to the byte for heads that hyper reads, blanks around a header's
//! value aside; hyper gives up those that are larger by more than a few kB.

use std::net::IpAddr;

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::Fault;
use http::{Response, Version, header, request};

use crate::framing::{self, Track};
use crate::handler::{Doors, Handler};

/// The longest bare answer of hyper's: a status line, a length and a date.
const BARE_BYTES_MAX: usize = 200;

/// The longest request target that hyper reads, in bytes.
const TARGET_BYTES_MAX: usize = 65_534;

/// How the messages of faults begin that are about the number of headers.
const TOO_MANY: &str = "the request has more than";

/// Who answers for a connection's heads.
#[derive(Debug)]
pub(crate) struct Unread<H> {
    handler: H,
    peer: IpAddr,
    doors: Doors,
}

impl<H: Handler> Unread<H> {
    pub(crate) fn new(handler: H, peer: IpAddr, doors: Doors) -> Self {
        Self { handler, peer, doors }
    }

    /// What is to be sent instead of what hyper writes, if that is its answer to a head that it could
    /// not read. `read` is how many bytes of the head had come, `track` what they said.
    pub(crate) fn instead(&self, written: &[u8], read: usize, track: &Track) -> Option<Bytes> {
        let doors = &self.doors;
        let fault = match bare_status(written)? {
            414 => {
                let message =
                    format!("the request's target is longer than {TARGET_BYTES_MAX} bytes");
                Fault::new(Code::HeadTooLarge, message)
            }
            431 if read <= doors.header_bytes_max
                && track.has_more_headers_than(doors.header_count_max) =>
            {
                let most = doors.header_count_max;
                Fault::new(Code::HeadTooLarge, format!("{TOO_MANY} {most} headers"))
            }
            // hyper says the same of a length beyond what it counts up to.
            431 if read <= doors.header_bytes_max && track.has_length() => Fault::new(
                Code::RequestTooLarge,
                "the body's announced length is beyond all limits",
            ),
            431 => larger_than(doors.header_bytes_max),
            _ => Fault::new(Code::MalformedHttp, "the request is not valid HTTP/1.1"),
        };
        Some(raw(self.handler.refuse_head(self.peer, fault)))
    }
}

fn larger_than(bytes_max: usize) -> Fault {
    let message = format!("the request's head is larger than the limit of {bytes_max} bytes");
    Fault::new(Code::HeadTooLarge, message)
}

/// A head that was read, if it is larger than it may be.
fn too_large(head: &request::Parts, bytes_max: usize) -> Option<Fault> {
    let uri = &head.uri;
    let origin = uri.scheme_str().map_or(0, |scheme| scheme.len() + "://".len())
        + uri.authority().map_or(0, |authority| authority.as_str().len());
    let target = origin + uri.path_and_query().map_or(0, |target| target.as_str().len());
    let line = head.method.as_str().len() + target + "  HTTP/1.1\r\n".len();
    let headers = head.headers.iter();
    let headers: usize =
        headers.map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len()).sum();
    (line + headers + "\r\n".len() > bytes_max).then(|| larger_than(bytes_max))
}

/// Why a head that was read is refused before anything else is looked at.
pub(crate) fn doubt(head: &request::Parts, bytes_max: usize, has_two_ends: bool) -> Option<Fault> {
    too_large(head, bytes_max).or_else(|| framing::doubtful(head, has_two_ends))
}

/// The config key of the limit that a head broke.
pub fn limit_of(fault: &Fault) -> &'static str {
    if fault.message.starts_with(TOO_MANY) { "server.header_count" } else { "server.header_limit" }
}

/// The status of a bare answer of hyper's to a head that it could not read.
fn bare_status(written: &[u8]) -> Option<u16> {
    if written.len() > BARE_BYTES_MAX || !written.ends_with(b"\r\n\r\n") {
        return None;
    }
    let text = std::str::from_utf8(written).ok()?;
    let mut lines = text.trim_end().split("\r\n");
    let status = lines.next()?.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok()?;
    let bare = |line: &str| {
        let name = line.split(':').next().unwrap_or_default();
        ["content-length", "connection", "date"]
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
    };
    (matches!(status, 400 | 414 | 431) && lines.all(bare)).then_some(status)
}

/// A response as it stands on the wire, the last one of its connection.
fn raw(response: Response<Bytes>) -> Bytes {
    let (head, body) = response.into_parts();
    let mut out = format!("{:?} {}\r\n", Version::HTTP_11, head.status).into_bytes();
    for (name, value) in head.headers.iter().filter(|(name, _)| *name != header::CONNECTION) {
        out.extend_from_slice(name.as_str().as_bytes());
        out.extend_from_slice(b": ");
        out.extend_from_slice(value.as_bytes());
        out.extend_from_slice(b"\r\n");
    }
    let length = format!("content-length: {}\r\nconnection: close\r\n\r\n", body.len());
    out.extend_from_slice(length.as_bytes());
    out.extend_from_slice(&body);
    out.into()
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn an_answer_of_hypers_own_is_known_from_all_others() {
        let bare = |lines: &str| bare_status(format!("HTTP/1.1 {lines}\r\n\r\n").as_bytes());
        let date = "date: Sat, 21 Nov 2026 16:00:00 GMT";
        assert_eq!(bare(&format!("400 Bad Request\r\ncontent-length: 0\r\n{date}")), Some(400));
        assert_eq!(bare("431 Request Header Fields Too Large\r\nconnection: close"), Some(431));
        assert_eq!(bare("414 URI Too Long"), Some(414));
        assert_eq!(bare("400 Bad Request\r\ncontent-type: application/json"), None);
        assert_eq!(bare("200 OK\r\ncontent-length: 0"), None);
        assert_eq!(bare("431"), Some(431));
        assert_eq!(bare_status(b"data: HTTP/1.1 400 Bad Request\r\n\r\n"), None);
        assert_eq!(bare_status(b"HTTP/1.1 400 Bad"), None);
    }

    #[test]
    fn a_head_is_measured_as_it_was_sent() {
        let sent = "GET /v1/models?a=b HTTP/1.1\r\nhost: x\r\nx-a: 123\r\n\r\n";
        let request = Request::get("/v1/models?a=b").header("host", "x").header("x-a", "123");
        let (head, ()) = request.body(()).unwrap().into_parts();
        assert_eq!(too_large(&head, sent.len()), None);
        assert_eq!(too_large(&head, sent.len() - 1).unwrap().code, Code::HeadTooLarge);
        let (head, ()) = Request::get("http://x/y").body(()).unwrap().into_parts();
        assert_eq!(too_large(&head, "GET http://x/y HTTP/1.1\r\n\r\n".len()), None);
    }
}
