//! Why a request got no response.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cutover_units::Code;
use cutover_wire::Fault;

use crate::address::InstanceAddress;

/// The kinds of failure before a response's head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SendErrorKind {
    /// The host's name could not be resolved.
    Dns,
    /// Nothing listens at the address.
    Refused,
    /// The connection could not be made for another reason.
    Connect,
    /// No connection in time.
    ConnectTimeout,
    /// The TLS handshake failed: wrong certificate, wrong protocol.
    Tls,
    /// No response head in time.
    FirstByteTimeout,
    /// The server closed or reset the connection before the response's head was complete.
    Closed,
    /// What came back is not an HTTP response we accept: garbage, both `content-length` and
    /// `transfer-encoding`, several lengths, a compression nobody asked for, a protocol switch.
    Protocol,
    /// All connections are in use and the queue for them is full, or the wait for one was too long; or this process may
    /// open no more files.
    TooManyConnections,
}

impl SendErrorKind {
    /// The kind's word in metrics labels and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Refused => "refused",
            Self::Connect => "connect",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::FirstByteTimeout => "first_byte_timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
            Self::TooManyConnections => "too_many_connections",
        }
    }

    /// What a client is told of a request that got no answer: never where the upstream is.
    pub fn told(self) -> (Code, &'static str) {
        match self {
            Self::TooManyConnections => {
                (Code::Overloaded, "no further connection to the upstream can be had")
            }
            Self::Protocol => {
                (Code::BadGateway, "the upstream's answer is no HTTP that is accepted here")
            }
            Self::FirstByteTimeout => {
                (Code::UpstreamTimeout, "the upstream did not answer in time")
            }
            Self::ConnectTimeout => {
                (Code::UpstreamTimeout, "no connection to the upstream could be made in time")
            }
            Self::Closed => {
                (Code::UpstreamUnavailable, "the upstream closed the connection before it answered")
            }
            Self::Tls => (
                Code::UpstreamUnavailable,
                "the upstream could not be reached: the TLS handshake failed",
            ),
            Self::Dns => (
                Code::UpstreamUnavailable,
                "the upstream could not be reached: its host name could not be resolved",
            ),
            Self::Refused => (
                Code::UpstreamUnavailable,
                "the upstream could not be reached: the connection was refused",
            ),
            Self::Connect => (Code::UpstreamUnavailable, "the upstream could not be reached"),
        }
    }

    /// Whether a deadline ran out (the client sees 504 rather than 503).
    pub fn is_timeout(self) -> bool {
        matches!(self, Self::ConnectTimeout | Self::FirstByteTimeout)
    }
}

/// A request that got no response. Its side is always the upstream; [`TooManyConnections`] is our
/// protection of it.
///
/// The text names the instance's `host:port` and never a path, a header or a body.
///
/// [`TooManyConnections`]: SendErrorKind::TooManyConnections
#[derive(Debug)]
pub struct SendError {
    kind: SendErrorKind,
    anything_sent: bool,
    instance: Arc<str>,
    detail: Detail,
}

/// What the kind does not say.
#[derive(Debug)]
pub(crate) enum Detail {
    After(Duration),
    Text(&'static str),
    Cause(Box<dyn Error + Send + Sync>),
}

impl SendError {
    /// As a client may be told of it.
    pub fn fault(&self) -> Fault {
        let (code, message) = self.kind.told();
        match self.text().filter(|_| self.kind == SendErrorKind::Protocol) {
            Some(what) => Fault::new(code, format!("{message}: {what}")),
            None => Fault::new(code, message),
        }
    }

    pub(crate) fn new(kind: SendErrorKind, instance: &Arc<str>, detail: Detail) -> Self {
        Self { kind, anything_sent: false, instance: Arc::clone(instance), detail }
    }

    pub(crate) fn after_sending(mut self, anything_sent: bool) -> Self {
        self.anything_sent = anything_sent;
        self
    }

    /// Notes that it was sent once before, where it may have been seen.
    pub(crate) fn after_another(mut self, seen: bool) -> Self {
        self.anything_sent |= seen;
        self
    }

    /// The error with its causes.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(inner) = cause {
            text.push_str(": ");
            text.push_str(&inner.to_string());
            cause = inner.source();
        }
        text
    }

    /// What is wrong with an answer that is not accepted, in words without anything of the instance's.
    pub fn text(&self) -> Option<&'static str> {
        match self.detail {
            Detail::Text(text) => Some(text),
            _ => None,
        }
    }

    /// What went wrong.
    pub fn kind(&self) -> SendErrorKind {
        self.kind
    }

    /// Whether no connection could be opened as this process may open no more files.
    pub(crate) fn is_out_of_files(&self) -> bool {
        self.kind == SendErrorKind::TooManyConnections && matches!(self.detail, Detail::Cause(_))
    }

    /// Whether a byte of the request left this process. If so the engine may have worked on it, and
    /// asking again may be paid twice.
    pub fn anything_sent(&self) -> bool {
        self.anything_sent
    }

    /// Whether the request may be sent again, anywhere, with no risk of being worked on twice.
    pub fn retry_safe(&self) -> bool {
        !self.anything_sent
    }

    /// The instance, as `host:port`.
    pub fn instance(&self) -> &str {
        &self.instance
    }
}

impl InstanceAddress {
    /// An error of this instance.
    pub(crate) fn error(&self, kind: SendErrorKind, detail: Detail) -> SendError {
        SendError::new(kind, self.shared_label(), detail)
    }
}

impl fmt::Display for SendError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            SendErrorKind::Dns => "the host's name could not be resolved",
            SendErrorKind::Refused => "the connection was refused",
            SendErrorKind::Connect => "the connection failed",
            SendErrorKind::ConnectTimeout => "no connection in time",
            SendErrorKind::Tls => "the TLS handshake failed",
            SendErrorKind::FirstByteTimeout => "no response in time",
            SendErrorKind::Closed => "the connection was closed before a response",
            SendErrorKind::Protocol => "the response is not acceptable HTTP",
            SendErrorKind::TooManyConnections if self.is_out_of_files() => {
                "no file is left for a connection"
            }
            SendErrorKind::TooManyConnections => "all connections are in use",
        };
        write!(f, "{}: {what}", self.instance)?;
        match &self.detail {
            // The cause is the error's source; whoever prints the chain prints it.
            Detail::Cause(_) => Ok(()),
            Detail::After(limit) => write!(f, " ({} ms)", limit.as_millis()),
            Detail::Text(text) => write!(f, " ({text})"),
        }
    }
}

impl Error for SendError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match &self.detail {
            Detail::Cause(cause) => Some(&**cause),
            _ => None,
        }
    }
}
