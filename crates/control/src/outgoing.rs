//! POSTs that cutover itself makes: webhooks and scorers' servers.
//!
//! Contract: one deadline for the whole exchange, a bound for the answer, TLS always verified, no
//! redirects. Dropping the future closes the connection. Errors name host and port, never the rest of
//! the URL: a webhook's path is often its secret.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use cutover_upstream::{
    Body, Deadlines, Instance, InstanceAddress, InstanceLive, InstanceSettings, Outbound,
    SendError, SendErrorKind, Tls,
};
use http::header::{ACCEPT_ENCODING, CONTENT_TYPE, USER_AGENT};
use http::uri::PathAndQuery;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use http_body_util::BodyExt;

/// Connections kept to one server: webhooks and scorers send little.
const CONNECTIONS_MAX: usize = 16;

/// Servers remembered; beyond it the connections of all are dropped and made again.
const SERVERS_MAX: usize = 64;

/// An address to post to.
#[derive(Clone, PartialEq, Eq)]
pub struct Url {
    origin: String,
    path: PathAndQuery,
    address: InstanceAddress,
}

/// Without path and query.
impl fmt::Debug for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Url({})", self.origin)
    }
}

impl Url {
    /// Reads an `http` or `https` URL.
    pub fn parse(text: &str) -> Result<Self, String> {
        let uri: http::Uri = text.trim().parse().map_err(|_| "it is not a URL".to_owned())?;
        let scheme = uri.scheme_str().ok_or("it starts with neither http:// nor https://")?;
        let host = uri.authority().ok_or("it names no host")?;
        let origin = format!("{scheme}://{host}");
        let address = InstanceAddress::parse(&origin).map_err(|error| error.to_string())?;
        let path = uri.path_and_query().cloned();
        Ok(Self { origin, path: path.unwrap_or_else(|| PathAndQuery::from_static("/")), address })
    }

    /// `host:port`.
    pub fn label(&self) -> &str {
        self.address.label()
    }
}

/// What is posted.
pub struct Post {
    /// Where to.
    pub url: Url,
    /// Headers beside the content type.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// JSON.
    pub body: Bytes,
    /// Time for all of it.
    pub timeout: Duration,
    /// The largest answer read.
    pub answer_bytes_max: usize,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum PostError {
    /// It could not be sent, or the answer broke off.
    #[error("{0}")]
    Broken(String),
    /// The deadline passed.
    #[error("no answer from {host} within {} s", timeout.as_secs_f32())]
    TimedOut {
        /// From whom.
        host: String,
        /// The deadline.
        timeout: Duration,
    },
    /// The answer is longer than it may be.
    #[error("{host} answered more than {limit} bytes")]
    TooLarge {
        /// Who.
        host: String,
        /// The bound.
        limit: usize,
    },
}

/// Posts, and keeps connections for the next time.
#[derive(Clone)]
pub struct Outgoing(Arc<Shared>);

struct Shared {
    tls: Option<Tls>,
    servers: Mutex<BTreeMap<String, Arc<Instance>>>,
}

impl fmt::Debug for Outgoing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Outgoing")
    }
}

impl Outgoing {
    /// Without TLS settings, `https` addresses fail.
    pub fn new(tls: Option<Tls>) -> Self {
        Self(Arc::new(Shared { tls, servers: Mutex::default() }))
    }

    /// Posts and reads the whole answer.
    pub async fn post(&self, post: Post) -> Result<(u16, Bytes), PostError> {
        let (timeout, host) = (post.timeout, post.url.label().to_owned());
        match tokio::time::timeout(timeout, self.exchange(post)).await {
            Ok(result) => result,
            Err(_) => Err(PostError::TimedOut { host, timeout }),
        }
    }

    async fn exchange(&self, post: Post) -> Result<(u16, Bytes), PostError> {
        let Post { url, headers, body, timeout, answer_bytes_max } = post;
        let instance = self.instance(&url);
        let outbound = Outbound {
            method: Method::POST,
            path_and_query: url.path.clone(),
            headers: all_headers(headers),
            body: vec![body],
        };
        let deadlines = Deadlines { connect: timeout, first_byte: timeout };
        let response = instance.send(outbound, deadlines).await;
        let response = response.map_err(|error| failed(&error, &url, timeout))?;
        let status = response.status().as_u16();
        let body = collect(response.into_body(), (&url, answer_bytes_max)).await?;
        Ok((status, body))
    }

    fn instance(&self, url: &Url) -> Arc<Instance> {
        let mut servers = self.0.servers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = servers.get(&url.origin) {
            return known.clone();
        }
        if servers.len() >= SERVERS_MAX {
            servers.clear();
        }
        let settings = InstanceSettings {
            max_connections: CONNECTIONS_MAX,
            max_idle: 2,
            ..InstanceSettings::default()
        };
        let tls = self.0.tls.clone();
        let live = Arc::new(InstanceLive::default());
        let made = Arc::new(Instance::http(url.address.clone(), settings, tls, live));
        servers.insert(url.origin.clone(), made.clone());
        made
    }
}

fn failed(error: &SendError, url: &Url, timeout: Duration) -> PostError {
    match error.kind() {
        SendErrorKind::ConnectTimeout | SendErrorKind::FirstByteTimeout => {
            PostError::TimedOut { host: url.label().to_owned(), timeout }
        }
        _ => PostError::Broken(error.to_string()),
    }
}

fn all_headers(own: Vec<(HeaderName, HeaderValue)>) -> HeaderMap {
    let agent = concat!("cutover/", env!("CARGO_PKG_VERSION"));
    let mut headers = HeaderMap::from_iter([
        (CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (ACCEPT_ENCODING, HeaderValue::from_static("identity")),
        (USER_AGENT, HeaderValue::from_static(agent)),
    ]);
    headers.extend(own);
    headers
}

async fn collect(mut body: Body, (url, limit): (&Url, usize)) -> Result<Bytes, PostError> {
    let mut whole = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|error| PostError::Broken(error.to_string()))?;
        let Ok(data) = frame.into_data() else { continue };
        if whole.len() + data.len() > limit {
            return Err(PostError::TooLarge { host: url.label().to_owned(), limit });
        }
        whole.extend_from_slice(&data);
    }
    Ok(whole.freeze())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Answer, Server};

    fn post(server: &Server, answer_bytes_max: usize) -> Post {
        let url = Url::parse(&format!("http://{}/hook?key=secret", server.address())).unwrap();
        let body = Bytes::from_static(b"{}");
        let timeout = Duration::from_secs(5);
        Post { url, headers: Vec::new(), body, timeout, answer_bytes_max }
    }

    #[tokio::test]
    async fn an_answer_is_read_up_to_its_bound() {
        let server = Server::start(|_| Answer::new(200, "hello")).await;
        let outgoing = Outgoing::new(None);
        let (status, body) = outgoing.post(post(&server, 5)).await.unwrap();
        assert_eq!((status, &*body), (200, b"hello".as_slice()));
        assert_eq!(server.seen()[0].path, "/hook?key=secret");
        let error = outgoing.post(post(&server, 4)).await.unwrap_err();
        assert!(matches!(error, PostError::TooLarge { limit: 4, .. }), "{error}");
    }

    #[tokio::test]
    async fn a_server_that_hangs_costs_the_deadline() {
        let server = Server::start(|_| Answer::Never).await;
        let mut post = post(&server, 10);
        post.timeout = Duration::from_millis(30);
        let error = Outgoing::new(None).post(post).await.unwrap_err();
        assert!(matches!(error, PostError::TimedOut { .. }), "{error}");
        assert!(!error.to_string().contains("secret"));
    }

    #[test]
    fn urls_are_checked_and_debug_shows_no_path() {
        for bad in ["", "ftp://x/", "host/path", "http://", "http://u:p@h/"] {
            assert!(Url::parse(bad).is_err(), "{bad}");
        }
        let url = Url::parse("https://hooks.example/T0/secret").unwrap();
        assert!(!format!("{url:?}").contains("secret"));
    }
}
