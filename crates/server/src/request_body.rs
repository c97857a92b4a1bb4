//! What a request sends: read whole and within its limits, or thrown away.

use std::time::Duration;

use bytes::Bytes;
use cutover_units::Code;
use cutover_wire::Fault;
use http::{HeaderMap, header};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::{Instant, timeout};

use crate::room::{Full, Pieces, Room, SMALL_BYTES_MAX};
use crate::wait::before;

/// Most that is read of a refused request's body to keep its connection.
const DISCARD_BYTES_MAX: usize = 256 * 1024;

/// How long such a body is waited for.
const DISCARD_WITHIN: Duration = Duration::from_millis(500);

/// Reads on what a refused request sends, so that its connection can carry the next one. False: it
/// is too much or comes too slowly, and the connection must end.
pub async fn discard(body: Incoming, headers: &HeaderMap) -> bool {
    if body.is_end_stream() {
        return true;
    }
    // Who waits for our word before it sends a body need not send it.
    if headers.contains_key(header::EXPECT) || body.size_hint().lower() > DISCARD_BYTES_MAX as u64 {
        return false;
    }
    let reading = Limited::new(body, DISCARD_BYTES_MAX).collect();
    matches!(timeout(DISCARD_WITHIN, reading).await, Ok(Ok(_)))
}

/// A request's body, whole. No `Debug`: it is what somebody asked.
pub struct Whole {
    /// Its bytes.
    pub body: Bytes,
    /// How long it was waited for.
    pub waited: Duration,
}

/// How large a body may be, how long it may take, and what all of them may hold.
#[derive(Debug, Clone)]
pub struct BodyLimits {
    /// Largest body, in bytes.
    pub bytes_max: usize,
    /// Time for all of it, counted from its head.
    pub timeout: Duration,
    /// What bodies that come in pieces hold together.
    pub room: Room,
}

/// Reads a request's body. One that is there already costs no look at the clock.
///
/// # Errors
///
/// If it is too large, too slow, compressed or not coded as its head says, or if there is no room for it.
pub async fn read_body(
    headers: &HeaderMap,
    body: &mut Incoming,
    limits: &BodyLimits,
) -> Result<Whole, Fault> {
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        let message =
            "compressed request bodies are not accepted; send it without content-encoding";
        return Err(Fault::new(Code::InvalidValue, message));
    }
    let mut since = None;
    let until = || *since.insert(Instant::now()) + limits.timeout;
    match before(until, collect(body, limits)).await {
        Ok(body) => {
            let waited = since.map_or(Duration::ZERO, |since| since.elapsed());
            Ok(Whole { body: body?, waited })
        }
        Err(_) => {
            let limit_ms = limits.timeout.as_millis();
            let message = format!("the body did not arrive within {limit_ms} ms");
            Err(Fault::new(Code::RequestTimeout, message))
        }
    }
}

async fn collect(body: &mut Incoming, limits: &BodyLimits) -> Result<Bytes, Fault> {
    let BodyLimits { bytes_max, room, .. } = limits;
    let bytes_max = *bytes_max;
    let announced = body.size_hint().exact().map(usize::try_from);
    let capacity = match announced {
        Some(Ok(bytes)) if bytes <= bytes_max => bytes,
        Some(_) => return Err(too_large(bytes_max as u64)),
        None => 0,
    };
    let full = |Full| no_room(room);
    if capacity > SMALL_BYTES_MAX {
        // Said before it is sent.
        room.check(capacity).map_err(full)?;
    }
    let Some(first) = next_data(body).await? else { return Ok(Bytes::new()) };
    // The usual case: one frame is the whole body, and nothing is copied.
    if body.is_end_stream() && first.len() <= bytes_max {
        return Ok(first);
    }
    let mut whole = Pieces::new(room, capacity.max(first.len())).map_err(full)?;
    let mut next = Some(first);
    while let Some(data) = next {
        if whole.len() + data.len() > bytes_max {
            return Err(too_large(bytes_max as u64));
        }
        whole.push(&data).map_err(full)?;
        drop(data);
        next = next_data(body).await?;
    }
    Ok(whole.whole())
}

fn no_room(room: &Room) -> Fault {
    let bytes_max = room.bytes_max();
    let message = format!(
        "the bodies under way hold all of the {bytes_max} bytes that they may (server.body_memory); ask again"
    );
    Fault::new(Code::BodiesFull, message)
}

/// What is said of a body over the limit.
pub fn too_large(bytes_max: u64) -> Fault {
    let message = format!("the body is larger than the limit of {bytes_max} bytes");
    Fault::new(Code::RequestTooLarge, message)
}

async fn next_data(body: &mut Incoming) -> Result<Option<Bytes>, Fault> {
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| unreadable(&error))?;
        if let Ok(data) = frame.into_data() {
            return Ok(Some(data));
        }
    }
    Ok(None)
}

/// A body that hyper gives up. The connection cannot be used on: where the next request begins is not
/// known.
fn unreadable(error: &hyper::Error) -> Fault {
    let source = std::error::Error::source(error);
    let kind = source.and_then(|e| e.downcast_ref::<std::io::Error>()).map(std::io::Error::kind);
    let why = if error.is_incomplete_message() || kind == Some(std::io::ErrorKind::UnexpectedEof) {
        "the body ended before its announced length"
    } else {
        "the body is not coded in chunks as its head says"
    };
    Fault::new(Code::MalformedHttp, why)
}
