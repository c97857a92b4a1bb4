//! A request on its way to a decision: what is known of it before, and why it may end there.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cutover_dialects::Dialect;
use cutover_server::Pulse;
use cutover_store::Key;
use cutover_units::{Code, Millis};
use cutover_wire::{Endpoint, Fault, Head};
use http::{HeaderMap, HeaderValue, Response};
use tokio::time::Instant;

use crate::answer::X_REQUEST_ID;
use crate::body::Out;
use crate::foreign::Foreign;
use crate::live::Live;
use crate::rescue::{self, Failure};
use cutover_route::ids::RequestId;

/// A request that has been read.
pub(crate) struct Asked {
    pub(crate) headers: HeaderMap,
    pub(crate) head: Head,
    pub(crate) body: Bytes,
    /// What else there is of a request in another dialect.
    pub(crate) foreign: Option<Box<Foreign>>,
    /// How long the body took to arrive.
    pub(crate) read_us: u64,
    pub(crate) caller: Option<Arc<Key>>,
}

/// One request, before anything is known of it.
pub(crate) struct Visit {
    pub(crate) started: Instant,
    pub(crate) started_at: Millis,
    pub(crate) id: RequestId,
    pub(crate) live: Arc<Live>,
    pub(crate) peer: IpAddr,
    /// Whether it has become an exchange, which records itself.
    pub(crate) decided: AtomicBool,
    /// Whether its caller may ask, as far as keys tell.
    pub(crate) let_in: AtomicBool,
    /// The connection it came on; None: its head could not be read.
    pub(crate) pulse: Option<Arc<Pulse>>,
}

impl Visit {
    /// When its head was read.
    pub(crate) fn started(&self) -> Instant {
        self.started
    }

    /// Whether its caller may ask.
    pub(crate) fn has_let_in(&self) -> bool {
        self.let_in.load(Ordering::Relaxed)
    }

    /// Whether such a refusal is one of its caller: counted, and told of now and then.
    pub(crate) fn is_turned_away(&self, code: Code) -> bool {
        let of_caller = [Code::InvalidApiKey, Code::PermissionDenied, Code::ClientKeysUnavailable];
        of_caller.contains(&code) && !self.has_let_in()
    }

    /// Whether its caller may be anybody, where not everybody may ask.
    pub(crate) fn is_of_stranger(&self) -> bool {
        self.live.keys.is_some() && !self.has_let_in()
    }

    /// Adds the request's id.
    pub(crate) fn sign(&self, mut response: Response<Out>) -> Response<Out> {
        if let Ok(id) = HeaderValue::from_str(&self.id.with_prefix("req_")) {
            response.headers_mut().insert(X_REQUEST_ID, id);
        }
        response
    }
}

impl Visit {
    /// The answer to a request that the end of the process cut off.
    pub(crate) fn drained(&self, refusal: &Refusal) -> Response<Out> {
        let id_text = self.id.with_prefix("req_");
        let words = refusal.dialect.map(|dialect| (dialect, &*id_text));
        self.sign(rescue::response(&Failure::drained(), 0, words))
    }
}

/// Why a request was refused before it was decided.
pub(crate) struct Refusal {
    pub(crate) endpoint: Option<Endpoint>,
    pub(crate) key_name: Option<Arc<str>>,
    pub(crate) fault: Fault,
    /// Whose words it is said in; None: OpenAI's.
    pub(crate) dialect: Option<&'static Dialect>,
}

impl Refusal {
    /// Before it came to an endpoint.
    pub(crate) fn nowhere(fault: Fault) -> Self {
        Self { endpoint: None, key_name: None, fault, dialect: None }
    }

    /// The same, said in a dialect's words.
    pub(crate) fn in_words(self, dialect: Option<&'static Dialect>) -> Self {
        Self { dialect, ..self }
    }

    /// The endpoint as records name it.
    pub(crate) fn endpoint_name(&self) -> Option<&'static str> {
        let endpoint = self.endpoint?;
        Some(self.dialect.map_or(endpoint.as_str(), |dialect| dialect.name))
    }
}
