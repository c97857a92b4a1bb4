//! What the program that is served brings: its limits, and its answers.

use std::error::Error;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cutover_wire::Fault;
use http::{Response, request};
use http_body::Body;
use hyper::body::Incoming;

use crate::pulse::Pulse;

/// What a connection may do before it has sent a whole request head.
#[derive(Debug, Clone, Copy)]
pub struct Doors {
    /// Largest head, in bytes.
    pub header_bytes_max: usize,
    /// Most headers.
    pub header_count_max: usize,
    /// Time for a whole head, counted from its first byte.
    pub header_timeout: Duration,
    /// How long a connection may be idle between two requests.
    pub idle_timeout: Duration,
    /// Most connections at once.
    pub connections_max: usize,
    /// Time for requests in flight to end at shutdown.
    pub drain_timeout: Duration,
}

/// A request whose head has been read.
#[derive(Debug)]
pub struct Arrival {
    /// Who sends it.
    pub peer: IpAddr,
    /// Its head.
    pub head: request::Parts,
    /// Its body, on its way.
    pub body: Incoming,
    /// Why it must be refused, whatever it asks for; its connection must end then.
    pub doubt: Option<Fault>,
    /// The connection it came on.
    pub pulse: Arc<Pulse>,
}

/// What answers requests: a cheap handle, one clone for each connection.
pub trait Handler: Clone + Send + Sync + Unpin + 'static {
    /// What its answers consist of.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn Error + Send + Sync>>> + Send + Unpin;
    /// Held as long as a connection is open.
    type Open: Send;

    /// A connection is opened.
    fn opened(&self) -> Self::Open;

    /// Answers a request, whatever happens. An answer with the header `connection: close` is the
    /// connection's last one.
    fn answer(&self, arrival: Arrival) -> impl Future<Output = Response<Self::Body>> + Send;

    /// The answer to a head that could not be read.
    fn refuse_head(&self, peer: IpAddr, fault: Fault) -> Response<Bytes>;

    /// A limit refused or cut something; its name is that of a config key, if it has one.
    fn limit_hit(&self, limit: &'static str);

    /// The end has come near: requests under way may end, nothing further is begun beside them.
    fn drain(&self);

    /// All connections are closed: awaits what goes on without a client.
    fn ended(&self) -> impl Future<Output = ()> + Send;

    /// The time to end is over: what is under way ends with an error when it is looked at again.
    fn cut(&self);
}
