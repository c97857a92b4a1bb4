//! Requests that are read before they are passed on, because a local-only use case knows its own by their model or
//! metadata. Whatever cannot be read for certain is refused: it would be sent to a vendor on a guess.

use bytes::Bytes;
use cutover_ingress::{Kind, too_large_to_judge};
use cutover_server::{BodyLimits, Whole, read_body};
use cutover_units::Code;
use cutover_wire::Fault;
use http::{HeaderMap, HeaderValue, header, request};
use hyper::body::Incoming;

use super::Knock;
use super::choose::judge;
use crate::gateway::{Gateway, Visit};

/// A body that may be passed on, whole.
pub(super) async fn read(
    gateway: &Gateway,
    visit: &Visit,
    (parts, body): (&request::Parts, &mut Incoming),
    knock: &Knock,
) -> Result<Whole, Fault> {
    let kind = kind(&parts.headers, knock);
    // Of what has no type it may turn out that there is nothing: clients send such bodies in chunks.
    if parts.headers.contains_key(header::CONTENT_TYPE) {
        kind.as_ref().map_err(Clone::clone)?;
    }
    let live = &visit.live;
    let upload_max = usize::try_from(live.surface.upload_bytes_max).unwrap_or(usize::MAX);
    let bytes_max = live.limits.body.bytes_max.min(upload_max);
    let limits = BodyLimits { bytes_max, ..live.limits.body.clone() };
    let whole = read_body(&parts.headers, body, &limits).await.map_err(|fault| {
        if fault.code != Code::RequestTooLarge {
            return fault;
        }
        gateway.limit_hit("server.body_limit");
        too_large_to_judge(bytes_max)
    })?;
    if !whole.body.is_empty() {
        judge(visit, (&parts.headers, &kind?.judged(&whole.body)?), knock)?;
    }
    Ok(whole)
}

/// What [`read`] says of a body that is there already. Without a type it is taken to be JSON.
pub(super) fn told(
    visit: &Visit,
    (headers, body): (&HeaderMap, &Bytes),
    knock: &Knock,
) -> Result<(), Fault> {
    let typed = headers.contains_key(header::CONTENT_TYPE);
    let kind = if typed { kind(headers, knock)? } else { Kind::Json };
    judge(visit, (headers, &kind.judged(body)?), knock)
}

fn kind(headers: &HeaderMap, knock: &Knock) -> Result<Kind, Fault> {
    let types = headers.get_all(header::CONTENT_TYPE).iter().map(HeaderValue::as_bytes);
    Kind::judgeable(knock.family, types)
}
