//! One instance: where requests are sent, and the rule by which one is sent twice.

use std::borrow::Cow;
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use cutover_http1::{HeadError, Request};
use cutover_route::balance::Seat;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderMap, TRANSFER_ENCODING};
use http::uri::PathAndQuery;
use http::{Method, Response, StatusCode};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::{Instant, timeout_at};

use crate::address::InstanceAddress;
use crate::body::Body;
use crate::conn::ConnError;
use crate::error::{Detail, SendError, SendErrorKind};
use crate::live::InstanceLive;
use crate::outgoing::Outgoing;
use crate::pool::{Lease, Pool, after};
use crate::socket::is_reset;
use crate::tls::Tls;

/// How late a reset may come for the server to have closed an idle connection: it was too busy to close it at once. What
/// stands between may forget a connection on which an engine works, but only after a longer silence.
const RESET_SHOWS_WITHIN: Duration = Duration::from_secs(5);

/// A service inside this process that answers as an upstream would (the embedded engine).
pub trait InProcess: Send + Sync {
    /// Answers a request for this path. Dropping the future, or the body, cancels it.
    fn call(
        &self,
        path: &str,
        body: Vec<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
}

/// The limits of one instance's pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InstanceSettings {
    /// Most requests at once, each on its own connection. Default 1024.
    pub max_connections: usize,
    /// Most requests that wait for a connection when all are in use. Default 1024.
    pub max_waiting: u32,
    /// Most idle connections kept. Default 256: who has 200 streams at once opens few anew.
    pub max_idle: usize,
    /// How long an idle connection with TLS is kept. Default 30 s: below the 60 s and more that clouds
    /// and load balancers commonly keep theirs, so that we close first.
    pub idle_timeout: Duration,
    /// The same without TLS, where a new one costs one round trip. Default 4 s: engines close after 5 s
    /// (uvicorn under vLLM and SGLang, cpp-httplib under llama.cpp's server, Node under LM Studio).
    pub plain_idle_timeout: Duration,
    /// How long after the time of a round trip (the connection took at least one to open) a reused
    /// connection may break for the server to have closed it for being idle. Later the engine may have
    /// worked, and died of the request, which must not be sent to it again. Default 100 ms: what a busy
    /// machine takes to notice.
    pub close_shows_within: Duration,
}

impl Default for InstanceSettings {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_waiting: 1024,
            max_idle: 256,
            idle_timeout: Duration::from_secs(30),
            plain_idle_timeout: Duration::from_secs(4),
            close_shows_within: Duration::from_millis(100),
        }
    }
}

/// A request on its way out. Its `Debug` shows neither body nor the values of headers.
#[derive(Clone)]
pub struct Outbound {
    /// The method.
    pub method: Method,
    /// The path as the dialect has it, `/v1/...` or `/api/...`; the instance's prefix comes before it.
    pub path_and_query: PathAndQuery,
    /// The headers, from [`RequestHeaders`](crate::RequestHeaders). `host`, `content-length` and
    /// everything about the connection are set or removed here.
    pub headers: HeaderMap,
    /// The body's pieces, sent one after the other.
    pub body: Vec<Bytes>,
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbound")
            .field("method", &self.method)
            .field("path_and_query", &self.path_and_query)
            .field("headers", &self.headers.keys().collect::<Vec<_>>())
            .field("body_bytes", &self.body.iter().map(Bytes::len).sum::<usize>())
            .finish_non_exhaustive()
    }
}

/// A path as it is sent. Ours are good ones; what is made of a model's name is escaped.
#[expect(clippy::ptr_arg, reason = "a path of ours is static, and then taken as it is")]
pub fn path_and_query(path: &Cow<'static, str>) -> PathAndQuery {
    match path {
        Cow::Borrowed(path) => PathAndQuery::from_static(path),
        Cow::Owned(path) => {
            PathAndQuery::try_from(&**path).unwrap_or_else(|_| PathAndQuery::from_static("/"))
        }
    }
}

/// How long a request may wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For a connection: the wait for a free place, the name, the socket and TLS together.
    pub connect: Duration,
    /// For the response's head, from the moment a connection is there; sending the request counts, and the wait
    /// for a free place does not.
    pub first_byte: Duration,
}

impl Default for Deadlines {
    /// 5 s to connect (as the SDKs), 10 min to the head (a cold model loads inside the request, and a
    /// response that is no stream comes only when it is complete).
    fn default() -> Self {
        Self { connect: Duration::from_secs(5), first_byte: Duration::from_mins(10) }
    }
}

/// When a request is written that is ready to be, on a runtime of one thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// Now: somebody waits for its first token.
    Now,
    /// In a row with the others that are ready: it takes less of the processor for all of them.
    InARow,
}

/// How a request is sent.
#[derive(Debug, Clone, Copy)]
pub struct Sending {
    /// How long it may wait for what.
    pub deadlines: Deadlines,
    /// What its deadlines count from, if it need not wait for a free place.
    pub started: Instant,
    /// When it is written.
    pub turn: Turn,
}

/// An answer whose head is there. No `Debug`: it holds the answer.
pub struct Answered {
    /// The answer.
    pub response: Response<Body>,
    /// The time to its head, from [`Sending::started`], without [`Self::waited`].
    pub took: Duration,
    /// How long it waited for one of the instance's connections before, because all were in use.
    pub waited: Duration,
}

/// One address of an upstream, or a service inside this process.
pub struct Instance {
    way: Way,
    live: Arc<InstanceLive>,
}

pub(crate) enum Way {
    Http(Arc<Pool>),
    InProcess { service: Arc<dyn InProcess>, label: Arc<str> },
}

impl Instance {
    /// An instance behind an address. An `https` address needs `tls`, else each request fails with
    /// [`SendErrorKind::Tls`].
    pub fn http(
        address: InstanceAddress,
        settings: InstanceSettings,
        tls: Option<Tls>,
        live: Arc<InstanceLive>,
    ) -> Self {
        let pool = Pool::new(address, settings, tls, Arc::clone(&live));
        Self { way: Way::Http(pool), live }
    }

    /// An instance inside this process, with the name that errors give it.
    pub fn in_process(label: &str, service: Arc<dyn InProcess>, live: Arc<InstanceLive>) -> Self {
        Self { way: Way::InProcess { service, label: label.into() }, live }
    }

    pub(crate) fn way(&self) -> &Way {
        &self.way
    }

    /// The live counters.
    pub fn live(&self) -> &Arc<InstanceLive> {
        &self.live
    }

    /// Whether all the connections that it may have are in use: one more request waits for one.
    pub fn is_full(&self) -> bool {
        match &self.way {
            Way::Http(pool) => pool.is_full(),
            Way::InProcess { .. } => false,
        }
    }

    /// `host:port`, or the in-process service's name.
    pub fn label(&self) -> &str {
        match &self.way {
            Way::Http(pool) => pool.address.label(),
            Way::InProcess { label, .. } => label,
        }
    }

    /// The address, where there is one.
    pub fn address(&self) -> Option<&InstanceAddress> {
        match &self.way {
            Way::Http(pool) => Some(&pool.address),
            Way::InProcess { .. } => None,
        }
    }

    /// Sends a request and returns when the response's head is there.
    ///
    /// **When a request is sent twice.** A server may close an idle connection in the very moment
    /// in which a request goes out on it. The request is then sent once more, on a new connection,
    /// if (1) the connection had carried a request before, (2) not one byte of a response came, and
    /// (3) either no byte of the request was handed to the socket, or the connection broke within the
    /// time of a round trip and [`InstanceSettings::close_shows_within`], or it was reset within seconds: so a
    /// server's kernel ends a connection that was closed before all of the request was read, and an engine that
    /// died of a request has read it. A busy engine may take long from its decision to close until it does. In case
    /// (3b) the server may in theory have begun to work. Each is counted ([`InstanceLive::on_resend`]), and a failure of the second
    /// says that something was sent. A connection that is new, or that breaks later (an engine that crashed), is never the reason
    /// for a second sending: whether to try elsewhere is the caller's decision, see
    /// [`SendError::retry_safe`].
    pub async fn send(
        &self,
        outbound: Outbound,
        deadlines: Deadlines,
    ) -> Result<Response<Body>, SendError> {
        let again = || outbound.clone();
        let sending = Sending { deadlines, started: Instant::now(), turn: Turn::InARow };
        let answered = self.send_made(self.live.post().sit(), &again, sending).await?;
        Ok(answered.response)
    }

    /// [`Instance::send`] for a request that is made when it is needed: once, and a second time only
    /// if it must be sent twice. So none is kept in reserve for what happens once in a million times.
    /// It holds its seat at this instance to the end or drop of its answer.
    pub async fn send_made<F>(
        &self,
        seat: Seat,
        make: &F,
        sending: Sending,
    ) -> Result<Answered, SendError>
    where
        F: Fn() -> Outbound + Sync,
    {
        let Sending { deadlines, started, .. } = sending;
        self.live.begun(&seat);
        let result = match &self.way {
            Way::Http(pool) => exchange(pool, make, sending).await,
            Way::InProcess { service, label } => {
                let outbound = make();
                let call = service.call(outbound.path_and_query.path(), outbound.body);
                let late = |_| {
                    let detail = Detail::After(deadlines.first_byte);
                    SendError::new(SendErrorKind::FirstByteTimeout, label, detail)
                        .after_sending(true)
                };
                let due = after(started, deadlines.first_byte);
                timeout_at(due, call).await.map_err(late).map(|answer| (answer, Duration::ZERO))
            }
        };
        match result {
            Ok((response, waited)) => {
                let took = started.elapsed().saturating_sub(waited);
                let status = response.status();
                if status.is_server_error() {
                    self.live.failed();
                } else if !status.is_client_error() {
                    // Who only says no says it at once: that is not how fast its answers are.
                    self.live.succeeded(u64::try_from(took.as_micros()).unwrap_or(u64::MAX));
                }
                let response = response.map(|body| body.counted(seat));
                Ok(Answered { response, took, waited })
            }
            Err(error) => {
                self.live.failed();
                Err(error)
            }
        }
    }
}

impl Drop for Instance {
    /// Closes the idle connections. Requests in flight go on; their connections close at their end.
    fn drop(&mut self) {
        if let Way::Http(pool) = &self.way {
            pool.close();
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({})", self.label())
    }
}

async fn exchange<F: Fn() -> Outbound + Sync>(
    pool: &Arc<Pool>,
    make: &F,
    Sending { deadlines, started, turn }: Sending,
) -> Result<(Response<Body>, Duration), SendError> {
    let (lease, waited) = pool.lease(started, deadlines.connect).await?;
    // A connection that was opened just now took its time; an idle one did not.
    let reused = lease.conn().reused;
    let sending = if reused { started + waited } else { Instant::now() };
    let deadline = after(sending, deadlines.first_byte);
    let request = Box::new(outgoing(pool, make()));

    let by = (deadline, deadlines.first_byte);
    let broken = match attempt(lease, request, by, turn).await {
        Ok(response) => return Ok((check(pool, response)?, waited)),
        Err(broken) => broken,
    };
    let elapsed = sending.elapsed();
    let shows_within = broken.lease.conn().opened_in + pool.settings.close_shows_within;
    let (again, seen) = match broken.unsent {
        _ if !reused => return Err(broken.error),
        Some(unsent) => (unsent, false),
        None if broken.silent
            && (elapsed < shows_within
                || elapsed < RESET_SHOWS_WITHIN
                    && (broken.reset
                        || Box::pin(broken.lease.socket().was_reset(shows_within)).await)) =>
        {
            (Box::new(outgoing(pool, make())), true)
        }
        None => return Err(broken.error),
    };
    pool.was_closed(broken.lease.conn(), sending);
    pool.live.resent();
    let told = |error: SendError| error.after_another(seen);
    let lease = pool.renew(broken.lease, deadlines.connect).await.map_err(told)?;
    match attempt(lease, again, by, turn).await {
        Ok(response) => Ok((check(pool, response).map_err(told)?, waited)),
        Err(broken) => Err(told(broken.error)),
    }
}

fn outgoing(pool: &Pool, outbound: Outbound) -> Outgoing {
    let Outbound { method, path_and_query, headers, body } = outbound;
    let target = pool.address.target(&path_and_query);
    let host = pool.address.host_header();
    let request = Request { method: &method, target: &target, host, headers: &headers };
    Outgoing::new(request, body)
}

/// An attempt that brought no response.
struct Broken {
    lease: Lease,
    error: SendError,
    /// The request, if no byte of it was handed to the socket.
    unsent: Option<Box<Outgoing>>,
    /// Whether the connection ended, and not one byte of an answer came.
    silent: bool,
    /// Whether that was a reset.
    reset: bool,
}

async fn attempt(
    mut lease: Lease,
    request: Box<Outgoing>,
    (deadline, limit): (Instant, Duration),
    turn: Turn,
) -> Result<(Response<()>, Lease), Box<Broken>> {
    let http = lease.http();
    let (read, written) = (http.socket().read(), http.socket().written());
    if turn == Turn::InARow {
        in_a_row().await;
    }
    http.begin(request);
    let outcome = timeout_at(deadline, poll_fn(|cx| http.poll_head(cx))).await;
    let anything_sent = http.socket().written() > written;
    let anything_read = http.socket().read() > read;
    let reset = matches!(&outcome, Ok(Err(ConnError::Io(error))) if is_reset(error));
    let (kind, detail) = match outcome {
        Ok(Ok(response)) => return Ok((response, lease)),
        Ok(Err(cause)) => failure(cause),
        Err(_) => (SendErrorKind::FirstByteTimeout, Detail::After(limit)),
    };
    let unsent = if anything_sent { None } else { http.take_request() };
    let error = SendError::new(kind, lease.label(), detail).after_sending(anything_sent);
    let silent = kind == SendErrorKind::Closed && !anything_read;
    Err(Box::new(Broken { lease, error, unsent, silent, reset }))
}

/// Lets every task that is ready run before this one goes on, and writes, on a runtime of one thread.
///
/// Before a request is written, all that were read meanwhile are prepared; then they are written in a
/// row. So are whole answers, once all that came are read and made. On one machine each write to a
/// sleeping peer pays for waking it; written in a row, the first one pays for all. Measured with 32
/// connections on loopback: 20 % less CPU per request for the gateway as a whole where requests wait, and
/// 5 % where answers wait when they are made and not when their heads are read; nothing lost on a single
/// connection. A runtime of several threads would wake another thread for it, so there it is left out; and
/// where a stream begins, whose first token would wait behind the chunks of all others.
pub async fn in_a_row() {
    let alone = Handle::try_current()
        .is_ok_and(|runtime| runtime.runtime_flavor() == RuntimeFlavor::CurrentThread);
    let mut woken = !alone;
    poll_fn(|cx| {
        if woken {
            return Poll::Ready(());
        }
        woken = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// A connection's failure in our kinds, and what there is to say of it.
pub(crate) fn failure(cause: ConnError) -> (SendErrorKind, Detail) {
    let kind = match &cause {
        ConnError::Head(HeadError::TooLarge) => {
            return (SendErrorKind::Protocol, Detail::Text("a head that is too large"));
        }
        ConnError::Head(_) | ConnError::Framing(_) | ConnError::Aborted(_) => {
            SendErrorKind::Protocol
        }
        ConnError::Io(_) if cause.is_tls() => SendErrorKind::Tls,
        ConnError::Io(_) | ConnError::Closed => SendErrorKind::Closed,
    };
    (kind, Detail::Cause(cause.into()))
}

/// Refuses what is HTTP and what a gateway must not take: two statements about the length (the ways
/// of request smuggling), a protocol switch, a compression nobody asked for (usage and errors could
/// not be read). Dropping the lease closes the connection. An error that a proxy compressed says what it is by its status,
/// and when to ask again by its headers; it is taken without its body.
pub(crate) fn check(
    pool: &Pool,
    (response, lease): (Response<()>, Lease),
) -> Result<Response<Body>, SendError> {
    let status = response.status();
    let headers = response.headers();
    let is_coded = headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    let lengths = headers.get_all(CONTENT_LENGTH).iter().count();
    let wrong = if status == StatusCode::SWITCHING_PROTOCOLS {
        Some("a switch of protocols")
    } else if lengths > 1 {
        Some("more than one content-length")
    } else if lengths == 1 && headers.contains_key(TRANSFER_ENCODING) {
        Some("both content-length and transfer-encoding")
    } else if is_coded && (status.is_client_error() || status.is_server_error()) {
        return Ok(without_body(response));
    } else if is_coded {
        Some("a content-encoding that was not asked for")
    } else {
        None
    };
    match wrong {
        Some(text) => {
            Err(pool.address.error(SendErrorKind::Protocol, Detail::Text(text)).after_sending(true))
        }
        None => Ok(response.map(|()| Body::http(lease))),
    }
}

fn without_body(response: Response<()>) -> Response<Body> {
    let mut response = response.map(|()| Body::whole(Bytes::new()));
    for header in [CONTENT_ENCODING, CONTENT_LENGTH, TRANSFER_ENCODING] {
        response.headers_mut().remove(header);
    }
    response
}
