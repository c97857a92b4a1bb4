//! Fetching a small file from an address that a client names, without letting the client reach what only
//! this machine can reach.
//!
//! ```text
//! URL ─ checked ─▶ host listed? ─▶ resolved once ─ every address checked ─▶ connected to that address
//!      ▲                                                                        │
//!      └──────────────── redirect: the same from the beginning ◀───────────────┘
//! ```
//!
//! - The name is resolved once, and the connection is made to the address that was checked: a name that
//!   answers differently the second time gains nothing.
//! - An address that is not public unicast is refused, in whatever form it comes; so is a name of which any
//!   address is.
//! - No proxy variable is read, no cookie, key or referrer is sent, nothing compressed is taken: what is
//!   counted is what is held.
//! - Errors are kinds. They hold no text of a server's, and [`FetchError::is_silent`] says which of them a
//!   client must not be able to tell apart.

mod ranges;
mod target;

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cutover_http1::Request;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, HeaderMap, HeaderValue, LOCATION, USER_AGENT,
};
use http::{Method, uri::PathAndQuery};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::conn::Http;
use crate::lookup;
use crate::outgoing::Outgoing;
use crate::socket::Stream;
use crate::tls::Tls;

use ranges::{Place, place};
use target::Target;

/// Addresses of a name that are tried, at most.
const ADDRESSES_MAX: usize = 4;

/// Who knows the addresses of names.
pub trait Resolve: Send + Sync {
    /// All addresses of a name.
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;
}

/// The machine's own resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolve for SystemResolver {
    fn resolve<'a>(
        &'a self,
        host: &'a str,
    ) -> Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>> {
        Box::pin(lookup::CHOSEN.addresses(host))
    }
}

/// What may be fetched.
#[derive(Debug, Clone, Default)]
pub struct FetchRules {
    /// The only hosts, in lower case; `*.` before a domain for all names below it. Empty: any.
    pub hosts: Vec<String>,
    /// Hosts that may be at private and loopback addresses; allowed beside `hosts`.
    pub private_hosts: Vec<String>,
    /// Whether `http://` is fetched, too.
    pub plain_http: bool,
    /// Most redirects.
    pub redirects_max: u32,
}

/// What is asked of one fetch.
#[derive(Debug, Clone, Copy)]
pub struct FetchLimits {
    /// Whether only listed hosts count, even where `hosts` is empty.
    pub listed_only: bool,
    /// Largest body, in bytes.
    pub bytes_max: usize,
    /// When it must be there.
    pub by: Instant,
}

/// Why nothing was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
pub enum FetchError {
    /// It is no URL that can be fetched.
    #[error("it is not a URL")]
    NotAUrl,
    /// Its scheme is not allowed.
    #[error("its scheme is not https")]
    Scheme,
    /// It holds a user name or password.
    #[error("it holds a user name or password")]
    UserInfo,
    /// It names a port that is not the scheme's own, at a host that is not listed.
    #[error("it names an unusual port")]
    Port,
    /// The host is not listed.
    #[error("its host is not on the list of hosts that images are fetched from")]
    Host,
    /// The host is at an address that is not public.
    #[error("its host is at no public address")]
    Address,
    /// The host has no address.
    #[error("its host has no address")]
    Dns,
    /// It is larger than the limit.
    #[error("it is too large")]
    TooLarge,
    /// The server compresses unasked.
    #[error("its server compresses it")]
    Compressed,
    /// It leads elsewhere too often.
    #[error("it redirects too often")]
    Redirects,
    /// There was no connection, or it broke.
    #[error("its server could not be reached")]
    Unreachable,
    /// The server answered with another status than 200.
    #[error("its server did not answer with 200")]
    Status,
    /// It did not come in time.
    #[error("it did not come in time")]
    Late,
}

impl FetchError {
    /// The kind's word in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NotAUrl => "not_a_url",
            Self::Scheme => "scheme",
            Self::UserInfo => "user_info",
            Self::Port => "port",
            Self::Host => "host_not_listed",
            Self::Address => "address_not_public",
            Self::Dns => "dns",
            Self::TooLarge => "too_large",
            Self::Compressed => "compressed",
            Self::Redirects => "redirects",
            Self::Unreachable => "unreachable",
            Self::Status => "status",
            Self::Late => "late",
        }
    }

    /// Whether the client is only told that it could not be fetched: the reason would tell of names,
    /// addresses and ports that only this machine sees.
    pub fn is_silent(self) -> bool {
        matches!(self, Self::Address | Self::Dns | Self::Unreachable | Self::Status | Self::Late)
    }
}

/// Fetches. Cheap to share; nothing is kept between two fetches.
#[derive(Clone)]
pub struct Fetcher {
    rules: FetchRules,
    tls: Tls,
    resolver: Arc<dyn Resolve>,
}

impl std::fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Fetcher({:?})", self.rules)
    }
}

impl Fetcher {
    /// A fetcher with these rules.
    pub fn new(rules: FetchRules, tls: Tls, resolver: Arc<dyn Resolve>) -> Self {
        Self { rules, tls, resolver }
    }

    /// Whether a URL is one that would be asked for, as far as its text tells.
    pub fn check(&self, url: &str, listed_only: bool) -> Result<(), FetchError> {
        self.target(url, listed_only).map(drop)
    }

    /// Fetches what an URL names: the body of a 200.
    pub async fn fetch(&self, url: &str, limits: FetchLimits) -> Result<Bytes, FetchError> {
        let fetching = Box::pin(self.follow(url, limits));
        timeout_at(limits.by, fetching).await.unwrap_or(Err(FetchError::Late))
    }

    async fn follow(&self, url: &str, limits: FetchLimits) -> Result<Bytes, FetchError> {
        let mut target = self.target(url, limits.listed_only)?;
        for _ in 0..=self.rules.redirects_max {
            let tcp = self.connect(&target).await?;
            let stream = if target.https {
                let name = rustls_pki_types::ServerName::try_from(target.host.clone())
                    .map_err(|_| FetchError::NotAUrl)?;
                let tls = self.tls.connector().connect(name, tcp).await;
                Stream::Tls(Box::new(tls.map_err(|_| FetchError::Unreachable)?))
            } else {
                Stream::Plain(tcp)
            };
            let asked = ask(stream, &target, limits.bytes_max).await?;
            match asked {
                Asked::Body(body) => return Ok(body),
                Asked::Elsewhere(location) => {
                    let next = target.join(&location).ok_or(FetchError::NotAUrl)?;
                    target = self.target(&next, limits.listed_only)?;
                }
            }
        }
        Err(FetchError::Redirects)
    }

    fn target(&self, url: &str, listed_only: bool) -> Result<Target, FetchError> {
        let target = Target::parse(url)?;
        if !target.https && !self.rules.plain_http {
            return Err(FetchError::Scheme);
        }
        let private = is_listed(&self.rules.private_hosts, &target.host);
        let listed = private || is_listed(&self.rules.hosts, &target.host);
        if !listed && (listed_only || !self.rules.hosts.is_empty()) {
            return Err(FetchError::Host);
        }
        if !listed && !target.port_is_usual() {
            return Err(FetchError::Port);
        }
        Ok(Target { private, ..target })
    }

    /// Connects to an address that was checked.
    async fn connect(&self, target: &Target) -> Result<TcpStream, FetchError> {
        let addresses = match target.literal() {
            Some(address) => vec![address],
            None => self.resolver.resolve(&target.host).await.map_err(|_| FetchError::Dns)?,
        };
        if addresses.is_empty() {
            return Err(FetchError::Dns);
        }
        let fits = |address: &IpAddr| match place(*address) {
            Place::Public => true,
            Place::Private => target.private,
            Place::Never => false,
        };
        if !addresses.iter().all(fits) {
            return Err(FetchError::Address);
        }
        for address in addresses.into_iter().take(ADDRESSES_MAX) {
            if let Ok(tcp) = TcpStream::connect(SocketAddr::new(address, target.port)).await {
                return Ok(tcp);
            }
        }
        Err(FetchError::Unreachable)
    }
}

/// Whether a host is on a list.
fn is_listed(list: &[String], host: &str) -> bool {
    list.iter().any(|entry| match entry.strip_prefix('*') {
        // `.example.com`: below it, not itself, and not `notexample.com`.
        Some(domain) => host.len() > domain.len() && host.ends_with(domain),
        None => entry == host,
    })
}

enum Asked {
    Body(Bytes),
    Elsewhere(String),
}

/// One request on a connection of its own.
async fn ask(stream: Stream, target: &Target, bytes_max: usize) -> Result<Asked, FetchError> {
    let path = target.path.parse::<PathAndQuery>().map_err(|_| FetchError::NotAUrl)?;
    let host = HeaderValue::from_str(&target.authority()).map_err(|_| FetchError::NotAUrl)?;
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("image/*"));
    headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let agent = concat!("cutover/", env!("CARGO_PKG_VERSION"));
    headers.insert(USER_AGENT, HeaderValue::from_static(agent));
    let mut http = Http::new(stream);
    let request = Request { method: &Method::GET, target: &path, host: &host, headers: &headers };
    http.begin(Box::new(Outgoing::new(request, Vec::new())));
    let response = poll_fn(|cx| http.poll_head(cx)).await.map_err(|_| FetchError::Unreachable)?;
    let status = response.status().as_u16();
    if matches!(status, 301 | 302 | 303 | 307 | 308) {
        let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        return location.map(|to| Asked::Elsewhere(to.to_owned())).ok_or(FetchError::Status);
    }
    if status != 200 {
        return Err(FetchError::Status);
    }
    if response.headers().get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(FetchError::Compressed);
    }
    if http.left().is_some_and(|bytes| bytes > bytes_max as u64) {
        return Err(FetchError::TooLarge);
    }
    let mut whole = BytesMut::new();
    while let Some(piece) = poll_fn(|cx| http.poll_piece(cx)).await {
        let piece = piece.map_err(|_| FetchError::Unreachable)?;
        if whole.len() + piece.len() > bytes_max {
            return Err(FetchError::TooLarge);
        }
        whole.extend_from_slice(&piece);
    }
    Ok(Asked::Body(whole.freeze()))
}
