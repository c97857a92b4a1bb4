//! What a gateway's request must cost at least: two minimal proxies for one upstream, with no
//! timeouts, no keys, no metrics and no header hygiene. Sketches to compare with, not products.
//!
//! ```text
//! floor lean LISTEN_PORT UPSTREAM_PORT   hyper on both sides; the body is collected, two members are
//!                                        read, the model's name is spliced, frames are passed on;
//!                                        a pool of connections, each driven by a task of its own
//! floor own LISTEN_PORT UPSTREAM_PORT    the same, with cutover's own pool (crate cutover-upstream:
//!                                        limits, deadlines, counters, header lists, no such task)
//! ```
//! The difference between `lean` and `own` is what the upstream crate costs; the difference between
//! `own` and cutover is everything else that cutover does.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use cutover_upstream::{
    Deadlines, Instance, InstanceAddress, InstanceSettings, Outbound, RequestHeaders, RequestRules,
    passed_response_headers,
};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::header::{AUTHORIZATION, CONTENT_LENGTH, HOST, HeaderValue};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::{TcpListener, TcpStream};

#[global_allocator]
static ALLOC: mimalloc::MiMalloc = mimalloc::MiMalloc;

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Out = UnsyncBoxBody<Bytes, BoxError>;

static TOKENS: AtomicU64 = AtomicU64::new(0);

const MODEL: &[u8] = b"llama3.3-70b-instruct";

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(borrow)]
    model: &'a str,
    #[serde(default)]
    stream: bool,
}

/// The request's body with the model's name replaced, and whether it asks for a stream.
fn splice(body: &Bytes) -> Option<(Vec<Bytes>, bool)> {
    let head: Head<'_> = serde_json::from_slice(body).ok()?;
    let at = head.model.as_ptr() as usize - body.as_ptr() as usize;
    let end = at + head.model.len();
    let pieces = vec![body.slice(..at), Bytes::from_static(MODEL), body.slice(end..)];
    Some((pieces, head.stream))
}

#[derive(Deserialize)]
struct Answer {
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
}

fn count(json: &[u8]) {
    if let Ok(Answer { usage: Some(usage) }) = serde_json::from_slice(json) {
        TOKENS.fetch_add(usage.prompt_tokens + usage.completion_tokens, Relaxed);
    }
}

fn count_events(data: &[u8]) {
    if memchr::memmem::find(data, b"\"usage\":{").is_some() {
        data.split(|byte| *byte == b'\n')
            .filter_map(|line| line.strip_prefix(b"data: "))
            .for_each(count);
    }
}

/// Passes a reply's frames on and counts its usage; `end` runs once at its end.
struct Tap<B, F> {
    inner: B,
    stream: bool,
    seen: BytesMut,
    end: Option<F>,
}

impl<B: Body<Data = Bytes> + Unpin, F: FnOnce() + Unpin> Body for Tap<B, F> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let frame = Pin::new(&mut this.inner).poll_frame(cx);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => match frame.data_ref() {
                Some(data) if this.stream => count_events(data),
                Some(data) if this.inner.is_end_stream() && this.seen.is_empty() => count(data),
                Some(data) => this.seen.extend_from_slice(data),
                None => {}
            },
            Poll::Ready(None) if !this.seen.is_empty() => count(&this.seen),
            _ => {}
        }
        if (matches!(frame, Poll::Ready(None)) || this.inner.is_end_stream())
            && let Some(end) = this.end.take()
        {
            end();
        }
        frame
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}

fn plain(status: u16, text: &'static str) -> Response<Out> {
    let body = Full::from(text).map_err(|never: Infallible| match never {}).boxed_unsync();
    let mut response = Response::new(body);
    *response.status_mut() = hyper::StatusCode::from_u16(status).expect("a status");
    response
}

// ---- lean

struct Pieces(std::vec::IntoIter<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_slice().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.as_slice().iter().map(|piece| piece.len() as u64).sum())
    }
}

type Sender = hyper::client::conn::http1::SendRequest<Pieces>;
type Senders = Arc<Mutex<Vec<Sender>>>;

async fn sender(pool: &Senders, port: u16) -> Result<Sender, BoxError> {
    loop {
        let idle = pool.lock().expect("no panics under the lock").pop();
        match idle {
            Some(sender) if sender.is_closed() => {}
            Some(mut sender) => {
                if sender.ready().await.is_ok() {
                    return Ok(sender);
                }
            }
            None => {
                let socket = TcpStream::connect(("127.0.0.1", port)).await?;
                socket.set_nodelay(true)?;
                let (sender, driver) =
                    hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
                tokio::spawn(driver);
                return Ok(sender);
            }
        }
    }
}

async fn lean(
    request: Request<Incoming>,
    port: u16,
    pool: Senders,
) -> Result<Response<Out>, BoxError> {
    let (mut parts, body) = request.into_parts();
    parts.headers.insert(HOST, HeaderValue::from_static("upstream"));
    parts.headers.insert(AUTHORIZATION, HeaderValue::from_static("Bearer sk-upstream"));
    let body = body.collect().await?.to_bytes();
    let Some((pieces, stream)) = splice(&body) else { return Ok(plain(400, "bad json")) };
    let length: usize = pieces.iter().map(Bytes::len).sum();
    parts.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    let mut connection = sender(&pool, port).await?;
    let out = Request::from_parts(parts, Pieces(pieces.into_iter()));
    let reply = connection.send_request(out).await?;
    let end = Some(move || pool.lock().expect("no panics under the lock").push(connection));
    Ok(reply.map(|inner| {
        Tap { inner, stream, seen: BytesMut::new(), end }.map_err(Into::into).boxed_unsync()
    }))
}

// ---- own

struct Own {
    instance: Instance,
    headers: RequestHeaders,
}

impl Own {
    fn new(port: u16) -> Self {
        let address =
            InstanceAddress::parse(&format!("http://127.0.0.1:{port}")).expect("an address");
        let key = (AUTHORIZATION, HeaderValue::from_static("Bearer sk-upstream"));
        Self {
            instance: Instance::http(address, InstanceSettings::default(), None, Arc::default()),
            headers: RequestHeaders::new(RequestRules::default(), [key]),
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Response<Out>, BoxError> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await?.to_bytes();
        let Some((pieces, stream)) = splice(&body) else { return Ok(plain(400, "bad json")) };
        let outbound = Outbound {
            method: Method::POST,
            path_and_query: hyper::http::uri::PathAndQuery::from_static("/v1/chat/completions"),
            headers: self.headers.for_client(&parts.headers),
            body: pieces,
        };
        let reply = self.instance.send(outbound, Deadlines::default()).await?;
        let (parts, inner) = reply.into_parts();
        let tap = Tap { inner, stream, seen: BytesMut::new(), end: Some(|| ()) };
        let mut response = Response::new(tap.map_err(Into::into).boxed_unsync());
        *response.status_mut() = parts.status;
        for (name, value) in passed_response_headers(&parts.headers) {
            response.headers_mut().append(name, value.clone());
        }
        Ok(response)
    }
}

#[derive(Clone)]
enum Mode {
    Lean(u16, Senders),
    Own(Arc<Own>),
}

async fn serve(socket: TcpStream, mode: Mode) {
    let service = hyper::service::service_fn(move |request| {
        let mode = mode.clone();
        async move {
            match mode {
                Mode::Lean(port, pool) => lean(request, port, pool).await,
                Mode::Own(own) => own.answer(request).await,
            }
            .or_else(|_| Ok::<_, Infallible>(plain(502, "upstream broke off")))
        }
    });
    let _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(socket), service)
        .await;
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let mode = arguments.next().ok_or("which mode?")?;
    let mut port =
        || arguments.next().and_then(|text| text.parse::<u16>().ok()).ok_or("which port?");
    let (listen, upstream) = (port()?, port()?);
    let mode = match mode.as_str() {
        "lean" => Mode::Lean(upstream, Senders::default()),
        "own" => Mode::Own(Arc::new(Own::new(upstream))),
        other => return Err(format!("unknown mode {other}").into()),
    };
    let listener = TcpListener::bind(("127.0.0.1", listen)).await?;
    loop {
        // A client that has gone already is no reason to end.
        if let Ok((socket, _)) = listener.accept().await
            && socket.set_nodelay(true).is_ok()
        {
            tokio::spawn(serve(socket, mode.clone()));
        }
    }
}
