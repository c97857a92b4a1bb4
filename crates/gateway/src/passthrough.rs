//! Endpoints that are passed on untouched: files, audio, images, batches and the rest of the OpenAI
//! surface (`cutover_route::surface`).
//!
//! ```text
//! client ─ Upload, piece by piece ─▶ one upstream ─ Passed, piece by piece ─▶ client
//! ```
//!
//! - **One upstream, no arms.** The use case that a request names (by its key, a header, or a matcher that
//!   needs neither model nor metadata) leads to its baseline's upstream, whatever weights say; everything
//!   else to the surface's upstream. So an id that a vendor gave out leads back to that vendor, as long as
//!   the application asks with the same key and headers, and nothing has to be remembered here.
//! - **Nothing is read or held.** Bodies pass at the pace of the slower side. So nothing is tried twice:
//!   what was sent is gone. The one exception: where a local-only use case knows its requests by what stands in them,
//!   they are read before they leave, and what cannot be read is refused (`judged`).
//! - **Only what is listed passes**: paths by the table, headers by allow-list, the client's keys never,
//!   neither in a header nor in the query.
//! - A local-only request is refused, unless it goes to a local upstream: elsewhere it would be a vendor's.

mod choose;
mod judged;
mod passage;
mod passed;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cutover_relay::TOO_LONG;
use cutover_route::UseCaseIx;
use cutover_route::surface::Family;
use cutover_server::{Held, Progress, Upload, Whole, discard, too_large};
use cutover_store::Key;
use cutover_units::{Code, Millis};
use cutover_upstream::{
    Body, BodyAborted, Deadlines, Outbound, SendError, Sending, StreamedBody, StreamedDeadlines,
    Turn, passed_headers,
};
use cutover_wire::{Fault, FaultClass, Received, read_refusal};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request};
use http_body::Body as _;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::attempt::{booked, collect, judge};
use crate::body::Out;
use crate::gateway::{Gateway, Refusal, Visit};
use crate::live::{InstanceLane, UpstreamLane};
use crate::rescue::Failure;

pub use choose::SurfaceLane;
pub(crate) use choose::carries;
pub(crate) use passed::Passed;

use choose::Choice;
use passage::Passage;

/// Who asks for what.
struct Knock {
    family: &'static Family,
    caller: Option<Arc<Key>>,
}

/// Passes a request on and its answer back.
pub(crate) async fn pass(
    gateway: &Gateway,
    visit: &Visit,
    (parts, body): (&request::Parts, Option<Incoming>),
    (family, caller): (&'static Family, Option<Arc<Key>>),
) -> Result<Response<Out>, Refusal> {
    let body = body.ok_or_else(gone)?;
    // Boxed, so that the future hyper moves around for every request stays small.
    Ok(Box::pin(on_and_back(gateway, visit, (parts, body), Knock { family, caller })).await)
}

/// A body is taken once: that it is gone cannot be a client's doing.
pub(crate) fn gone() -> Refusal {
    Refusal::nowhere(Fault::new(Code::Internal, "the body is gone"))
}

async fn on_and_back(
    gateway: &Gateway,
    visit: &Visit,
    (parts, mut body): (&request::Parts, Incoming),
    knock: Knock,
) -> Response<Out> {
    let mut passage = Passage::begin(gateway.shared(), visit, &parts.headers, &knock);
    let (mut choice, read) = match admit(gateway, visit, (parts, &mut body), &knock).await {
        Ok(admitted) => admitted,
        Err(fault) => {
            let response = passage.refuse(&Failure::client(fault));
            return closed_unless(discard(body, &parts.headers).await, visit, response);
        }
    };
    let progress = Arc::new(Progress::new());
    let now = gateway.shared().now();
    let mut at = choice.instance(now);
    // Its body may have been long on its way: others may have come since.
    while at.is_none()
        && let Some(upstream) = gateway.shared().newer(&choice.upstream)
    {
        choice.upstream = upstream;
        at = choice.instance(now);
    }
    passage.goes_to(&choice, &progress);
    let Some(instance) = at.and_then(|at| choice.upstream.instances.get(at)) else {
        let response = passage.refuse(&Failure::of_nobody(Some(&choice.upstream)));
        return closed_unless(false, visit, response);
    };
    let waited = read.as_ref().map_or(Duration::ZERO, |whole| whole.waited);
    passage.asks(instance, waited);
    instance.health.asked(now);
    let going = Going { gateway, visit, choice: &choice, instance, progress: &progress };
    let body = read.map_or(Cargo::Arriving(body), |whole| Cargo::Read(whole.body));
    let response = match going.send(parts, body).await {
        Ok(response) => going.answer(response, passage).await,
        Err(failure) => passage.refuse(&failure),
    };
    closed_unless(progress.held() == Held::Nothing, visit, response)
}

/// A body that was not read to its end would be taken for the next request's head.
fn closed_unless(read: bool, visit: &Visit, mut response: Response<Out>) -> Response<Out> {
    if !read {
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    visit.sign(response)
}

/// A request's body.
enum Cargo {
    Arriving(Incoming),
    Read(Bytes),
}

/// Everything that can be said before a byte is sent, and the body if it was read for that.
async fn admit(
    gateway: &Gateway,
    visit: &Visit,
    (parts, body): (&request::Parts, &mut Incoming),
    knock: &Knock,
) -> Result<(Choice, Option<Whole>), Fault> {
    let choice = allowed(visit, &parts.headers, knock)?;
    let upload_bytes_max = visit.live.surface.upload_bytes_max;
    if body.size_hint().lower() > upload_bytes_max {
        gateway.limit_hit(UPLOAD_LIMIT);
        return Err(too_large(upload_bytes_max));
    }
    let read = choice.is_judged && !body.is_end_stream();
    let read =
        if read { Some(judged::read(gateway, visit, (parts, body), knock).await?) } else { None };
    Ok((choice, read))
}

/// Where a request is passed on to, and as one of which use case.
pub(crate) fn chosen(
    visit: &Visit,
    (headers, body): (&HeaderMap, &Bytes),
    (family, caller): (&'static Family, Option<Arc<Key>>),
) -> Result<(Option<UseCaseIx>, Arc<UpstreamLane>), Fault> {
    let knock = Knock { family, caller };
    let choice = allowed(visit, headers, &knock)?;
    if choice.is_judged && !body.is_empty() {
        judged::told(visit, (headers, body), &knock)?;
    }
    Ok((choice.use_case, choice.upstream))
}

fn allowed(visit: &Visit, headers: &HeaderMap, knock: &Knock) -> Result<Choice, Fault> {
    visit.live.check_hints(headers, knock.caller.as_deref())?;
    let surface = &visit.live.surface;
    if !surface.allow.contains(&knock.family.name) {
        let message =
            format!("{} is not passed on here; an operator can allow it", knock.family.name);
        return Err(Fault::new(Code::PermissionDenied, message));
    }
    let choice = choose::choose(visit, headers, knock)?;
    choice.upstream.check_key(headers)?;
    let encoding = headers.get(header::CONTENT_ENCODING);
    if encoding.is_some_and(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity")) {
        let message =
            "compressed request bodies are not accepted; send it without content-encoding";
        return Err(Fault::new(Code::InvalidValue, message));
    }
    Ok(choice)
}

/// The limits' names.
const UPLOAD_LIMIT: &str = "surface.upload_limit";
const IDLE_TIMEOUT: &str = "surface.idle_timeout";

/// A request on its way.
struct Going<'a> {
    gateway: &'a Gateway,
    visit: &'a Visit,
    choice: &'a Choice,
    instance: &'a InstanceLane,
    progress: &'a Arc<Progress>,
}

impl Going<'_> {
    async fn send(&self, parts: &request::Parts, body: Cargo) -> Result<Response<Body>, Failure> {
        let upstream = &self.choice.upstream;
        let mut headers = upstream.request_headers(&parts.headers);
        passed_headers::to_upstream(&parts.headers, &mut headers);
        let outbound = Outbound {
            method: parts.method.clone(),
            path_and_query: path_and_query(&parts.uri),
            headers,
            body: Vec::new(),
        };
        let (connect, total) = (upstream.timeouts.connect, upstream.timeouts.total);
        let sent_at = Instant::now();
        let body = match body {
            Cargo::Arriving(body) if reads_only(&parts.method) && body.is_end_stream() => None,
            Cargo::Arriving(body) => {
                let most = self.visit.live.surface.upload_bytes_max;
                let upload = Upload::new(body, most, Arc::clone(self.progress));
                Some(StreamedBody::new(upload.map_err(|_| BodyAborted)))
            }
            Cargo::Read(bytes) => {
                self.progress.took(bytes.len());
                Some(StreamedBody::new(Full::new(bytes).map_err(|never| match never {})))
            }
        };
        let sent = if let Some(body) = body {
            let idle = self.visit.live.surface.idle;
            let due = || self.progress.due(idle, total);
            let deadlines = StreamedDeadlines { connect, due: &due };
            self.instance.instance.send_streamed(outbound, body, deadlines).await
        } else {
            self.progress.ended();
            let deadlines = Deadlines { connect, first_byte: total };
            let seat = self.instance.instance.live().post().sit();
            let sending = Sending { deadlines, started: sent_at, turn: Turn::InARow };
            self.instance.instance.send_made(seat, &|| outbound.clone(), sending).await
        };
        let answered = sent.map_err(|error| self.failed(&error))?;
        Ok(booked(self.gateway.shared(), upstream, self.instance, answered))
    }

    /// Why there is no answer: the sender's own reasons come before what the connection says of them.
    fn failed(&self, error: &SendError) -> Failure {
        let surface = &self.visit.live.surface;
        match self.progress.held() {
            Held::TooLarge => {
                self.gateway.limit_hit(UPLOAD_LIMIT);
                Failure::client(too_large(surface.upload_bytes_max))
            }
            Held::Broken => {
                let message = "the body ended before its announced length";
                Failure::client(Fault::new(Code::MalformedHttp, message))
            }
            Held::ByClient if error.kind().is_timeout() && error.anything_sent() => {
                self.gateway.limit_hit(IDLE_TIMEOUT);
                let ms = surface.idle.as_millis();
                let message = format!("nothing of the body arrived for {ms} ms");
                Failure::client(Fault::new(Code::RequestTimeout, message))
            }
            _ => {
                let failure = Failure::send(error);
                judge(self.gateway.shared(), self.asked(), &failure);
                failure
            }
        }
    }

    /// The answer as the client gets it.
    async fn answer(&self, response: Response<Body>, mut passage: Passage) -> Response<Out> {
        let status = response.status();
        let response = if status.is_success() || status == StatusCode::NOT_MODIFIED {
            self.choice.was_taken(self.instance, self.gateway.shared().now());
            passage.watches(self.instance);
            response
        } else {
            match self.refused(response).await {
                Ok((response, failure)) => {
                    passage.attempt_failed(&failure);
                    response
                }
                Err(failure) => return passage.refuse(&failure),
            }
        };
        let mut headers = passed_headers::to_client(response.headers());
        passage.answers(status, &mut headers);
        let idle = self.choice.upstream.timeouts.idle;
        let passed = Passed::new(response.into_body(), passage, idle);
        let mut answer = Response::new(Out::Passed(Box::new(passed)));
        *answer.status_mut() = status;
        *answer.headers_mut() = headers;
        answer
    }

    /// An error of the upstream's is judged as every other. It passes as it came, unless it is about our side
    /// of the matter, or no SDK could read it, or it is too long to be looked through.
    async fn refused(
        &self,
        response: Response<Body>,
    ) -> Result<(Response<Body>, Failure), Failure> {
        let (upstream, status) = (&self.choice.upstream, response.status().as_u16());
        let (mut parts, body) = response.into_parts();
        let reads = status >= 400 && is_json(&parts.headers);
        let ends_at = Instant::now() + upstream.timeouts.total;
        let body = if reads { collect(body, upstream, ends_at).await } else { Ok(PAGE) };
        let body = body.inspect_err(|failure| self.judge(failure))?;
        let long = body.len() > PASSED_ERROR_BYTES_MAX;
        let body = if long { Bytes::from_static(TOO_LONG) } else { body };
        let body = upstream.headers.secrets().hidden(&body).map_or(body, Bytes::from);
        upstream.headers.hide_own(&mut parts.headers);
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let received = Received {
            status,
            content_type: text("content-type"),
            retry_after: text("retry-after"),
            retry_after_ms: text("retry-after-ms"),
            date: text("date"),
            body: body.clone(),
        };
        let fault = read_refusal(upstream.provider, upstream.pass_bearer, &received);
        let ours = matches!(fault.class, FaultClass::Auth | FaultClass::Account);
        let failure = Failure { status: Some(status), ..Failure::upstream(fault) };
        // Which path it asks, and with which body, is the client's choice: 4xx tells of that.
        let at_fault = failure.instance_at_fault && status >= 500;
        let failure = Failure { instance_at_fault: at_fault, ..failure };
        let failure = if reads { failure } else { unread(failure) };
        self.judge(&failure);
        // Its words would show a part of a key, ours or the client's.
        if ours || !reads || long || matches!(status, 401 | 403) {
            return Err(failure);
        }
        Ok((Response::from_parts(parts, Body::whole(body)), failure))
    }

    fn asked(&self) -> (&InstanceLane, Millis) {
        (self.instance, self.visit.started_at)
    }

    fn judge(&self, failure: &Failure) {
        judge(self.gateway.shared(), self.asked(), failure);
        if failure.refuses_by_name() {
            self.instance.health.doubt(self.choice.kind);
        }
    }
}

/// The longest error that passes as it came. All of it is looked through; the words of a longer one are its status.
const PASSED_ERROR_BYTES_MAX: usize = 256 << 10;

/// What stands for a body that is no JSON.
const PAGE: Bytes = Bytes::from_static(b"<");

/// An error page of something before the API itself (a proxy, a captive portal), or an answer that leads
/// elsewhere, in words that fit what was asked.
fn unread(failure: Failure) -> Failure {
    let (code, message) = match failure.status.unwrap_or_default() {
        100..=399 => (Code::BadGateway, "the upstream's answer leads elsewhere"),
        401 | 403 | 408 | 413 | 429 => return failure,
        404 => (Code::NotFound, "the upstream does not know this path"),
        400..=499 => (Code::InvalidRequest, "the upstream refused the request"),
        _ => return failure,
    };
    Failure { fault: Fault::new(code, message), retry_after_ms: None, ..failure }
}

fn is_json(headers: &HeaderMap) -> bool {
    const JSON: &[u8] = b"application/json";
    let content_type = headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
    content_type
        .and_then(|value| value.get(..JSON.len()))
        .is_some_and(|start| start.eq_ignore_ascii_case(JSON))
}

/// Whether asking twice changes nothing, so that a connection that was closed while idle costs nobody a
/// request.
fn reads_only(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// The path as the dialect has it, and the query without keys. The table has found the path, so it is
/// plain.
pub(crate) fn path_and_query(uri: &http::Uri) -> PathAndQuery {
    let path = uri.path();
    let versioned = path.starts_with("/v1/");
    let mut text = if versioned { path.to_owned() } else { format!("/v1{path}") };
    text.push_str(&cutover_relay::without_keys(uri.query().unwrap_or_default()));
    PathAndQuery::try_from(text).unwrap_or_else(|_| PathAndQuery::from_static("/v1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_in_the_query_stays_here_and_the_rest_goes_on() {
        let of = |uri: &str| path_and_query(&uri.parse().unwrap()).to_string();
        assert_eq!(of("/v1/files?limit=2&after=file-1"), "/v1/files?limit=2&after=file-1");
        assert_eq!(of("/files?KEY=x&limit=2"), "/v1/files?limit=2");
        assert_eq!(of("/v1/files?api_key=ck-1&access_token=2"), "/v1/files");
        assert_eq!(of("/v1/files?include[]=a&include[]=b"), "/v1/files?include[]=a&include[]=b");
        assert_eq!(of("/v1/files"), "/v1/files");
    }
}
