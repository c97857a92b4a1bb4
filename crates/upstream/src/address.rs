//! An instance's address: a base URL, checked once, with everything a request needs prebuilt.
//!
//! The base URL is written as for the OpenAI SDKs' `base_url`, or without any path:
//!
//! | base URL | a request for `/v1/models` goes to | one for `/api/chat` goes to |
//! |---|---|---|
//! | `http://gpu:11434` | `/v1/models` | `/api/chat` |
//! | `http://gpu:11434/v1` | `/v1/models` | `/api/chat` |
//! | `https://host/api/v1` | `/api/v1/models` | `/api/api/chat` |
//! | `https://host/v1beta/openai` | `/v1beta/openai/models` | `/v1beta/openai/api/chat` |
//!
//! That is: a path in the base URL stands for the `/v1` of the OpenAI dialect's paths; for all other
//! paths a `/v1` at its end is left out.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderValue;
use http::uri::{PathAndQuery, Scheme, Uri};
use rustls_pki_types::ServerName;

/// Why a text is not an instance's address. The text itself is not repeated, as it may hold a
/// password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Not a URL at all.
    #[error("not a URL: write it as http://host:port or https://host")]
    NotAUrl,
    /// The scheme is missing or not HTTP.
    #[error("an address starts with http:// or https://")]
    Scheme,
    /// The host is not a name or IP address.
    #[error("the host is not a valid name or IP address")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// A user name or password before the host.
    #[error("an address holds no user name or password: name the key's source in its own setting")]
    UserInfo,
    /// A query or fragment.
    #[error("an address holds no '?' and no '#'")]
    Query,
    /// A path that is not plain.
    #[error("the path of an address holds no empty segment, '.' or '..'")]
    Path,
}

/// The paths that requests use, joined with the prefix once instead of per request.
const COMMON_PATHS: [&str; 6] = [
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/embeddings",
    "/v1/models",
    "/api/chat",
    "/api/embed",
];

/// A checked base URL.
#[derive(Clone, PartialEq, Eq)]
pub struct InstanceAddress {
    https: bool,
    host: Arc<str>,
    port: u16,
    prefix: Box<str>,
    label: Arc<str>,
    host_header: HeaderValue,
    joined: Vec<PathAndQuery>,
    /// Where connections go, whatever the name leads to.
    pinned: Option<IpAddr>,
}

impl InstanceAddress {
    /// Checks a base URL.
    ///
    /// ```
    /// use cutover_upstream::InstanceAddress;
    /// let address = InstanceAddress::parse("http://gpu-1:11434/").unwrap();
    /// assert_eq!(address.label(), "gpu-1:11434");
    /// assert!(InstanceAddress::parse("gpu-1:11434").is_err());
    /// ```
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let text = text.trim();
        if text.contains(['?', '#']) {
            return Err(AddressError::Query);
        }
        if !text.contains("://") {
            return Err(AddressError::Scheme);
        }
        let uri: Uri = text.parse().map_err(|_| AddressError::NotAUrl)?;
        let https = match uri.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS => true,
            Some(scheme) if *scheme == Scheme::HTTP => false,
            _ => return Err(AddressError::Scheme),
        };
        let authority = uri.authority().ok_or(AddressError::Host)?;
        if authority.as_str().contains('@') {
            return Err(AddressError::UserInfo);
        }
        let host = authority.host();
        let port = port(&authority.as_str()[host.len()..], https)?;
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        ServerName::try_from(bare).map_err(|_| AddressError::Host)?;
        let prefix = prefix(uri.path())?;

        let default_port = if https { 443 } else { 80 };
        let host_text =
            if port == default_port { host.to_owned() } else { format!("{host}:{port}") };
        let mut address = Self {
            https,
            host: bare.into(),
            port,
            prefix: prefix.into(),
            label: format!("{host}:{port}").into(),
            host_header: HeaderValue::from_str(&host_text).map_err(|_| AddressError::Host)?,
            joined: Vec::new(),
            pinned: None,
        };
        if !address.prefix.is_empty() {
            address.joined = COMMON_PATHS
                .iter()
                .map(|path| address.join(&PathAndQuery::from_static(path)))
                .collect();
        }
        Ok(address)
    }

    /// The same service at one of its name's addresses: connections go there, and its label is that
    /// address. Everything that the server sees or shows (the `Host` header, the name in TLS) stays the
    /// name.
    #[must_use]
    pub fn at(&self, address: IpAddr) -> Self {
        let label = SocketAddr::new(address, self.port).to_string().into();
        Self { pinned: Some(address), label, ..self.clone() }
    }

    /// The address that connections go to, if the name is not asked for it.
    pub(crate) fn pinned(&self) -> Option<SocketAddr> {
        self.pinned.map(|address| SocketAddr::new(address, self.port))
    }

    /// Whether TLS is used.
    pub fn is_https(&self) -> bool {
        self.https
    }

    /// The host without brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, given or usual.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `host:port`, the name by which errors speak of the instance.
    pub fn label(&self) -> &str {
        &self.label
    }

    pub(crate) fn shared_label(&self) -> &Arc<str> {
        &self.label
    }

    /// The `Host` header: the instance's own, never the client's. (Ollama answers 403 to others.)
    pub(crate) fn host_header(&self) -> &HeaderValue {
        &self.host_header
    }

    /// The name that the server's certificate must carry.
    pub(crate) fn server_name(&self) -> Option<ServerName<'static>> {
        ServerName::try_from(self.host.to_string()).ok()
    }

    /// Where a request for this path goes (see the module's table).
    pub fn target(&self, path: &PathAndQuery) -> PathAndQuery {
        if self.prefix.is_empty() {
            return path.clone();
        }
        let common = COMMON_PATHS.iter().position(|common| *common == path.as_str());
        match common.and_then(|at| self.joined.get(at)) {
            Some(joined) => joined.clone(),
            None => self.join(path),
        }
    }

    fn join(&self, path: &PathAndQuery) -> PathAndQuery {
        let text = path.as_str();
        let (prefix, rest) = match text.strip_prefix("/v1") {
            Some(rest) if rest.starts_with('/') => (&*self.prefix, rest),
            _ => (self.prefix.strip_suffix("/v1").unwrap_or(&self.prefix), text),
        };
        // Both parts were checked; what could not be joined goes out without the prefix and is
        // answered 404 by the upstream.
        PathAndQuery::try_from(format!("{prefix}{rest}")).unwrap_or_else(|_| path.clone())
    }
}

impl fmt::Display for InstanceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.label, self.prefix)
    }
}

impl fmt::Debug for InstanceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceAddress({self})")
    }
}

fn port(text: &str, https: bool) -> Result<u16, AddressError> {
    let Some(digits) = text.strip_prefix(':') else {
        return if text.is_empty() {
            Ok(if https { 443 } else { 80 })
        } else {
            Err(AddressError::Port)
        };
    };
    match digits.parse() {
        Ok(port) if port > 0 && digits.bytes().all(|b| b.is_ascii_digit()) => Ok(port),
        _ => Err(AddressError::Port),
    }
}

fn prefix(path: &str) -> Result<&str, AddressError> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let plain = path.split('/').skip(1).all(|segment| !matches!(segment, "" | "." | ".."));
    if plain { Ok(path) } else { Err(AddressError::Path) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(base: &str, path: &'static str) -> String {
        let address = InstanceAddress::parse(base).unwrap();
        address.target(&PathAndQuery::from_static(path)).to_string()
    }

    #[test]
    fn a_base_url_reads_as_the_sdks_read_it() {
        for base in ["http://h", "http://h/", "http://h/v1", "http://h/v1/"] {
            assert_eq!(target(base, "/v1/chat/completions"), "/v1/chat/completions", "{base}");
            assert_eq!(target(base, "/api/chat"), "/api/chat", "{base}");
            assert_eq!(target(base, "/health"), "/health", "{base}");
        }
        assert_eq!(target("https://h/api/v1", "/v1/models"), "/api/v1/models");
        assert_eq!(target("https://h/api/v1", "/v1/models/a?b=c"), "/api/v1/models/a?b=c");
        assert_eq!(
            target("https://h/v1beta/openai", "/v1/embeddings"),
            "/v1beta/openai/embeddings"
        );
        assert_eq!(target("https://h/vllm/v1", "/metrics"), "/vllm/metrics");
        assert_eq!(target("https://h/ollama", "/api/chat"), "/ollama/api/chat");
    }

    #[test]
    fn host_header_and_label_follow_the_url() {
        for (base, host, label, bare) in [
            ("http://gpu-1:11434", "gpu-1:11434", "gpu-1:11434", "gpu-1"),
            ("http://gpu-1", "gpu-1", "gpu-1:80", "gpu-1"),
            (
                "https://api.example.com:443/v1",
                "api.example.com",
                "api.example.com:443",
                "api.example.com",
            ),
            ("http://[::1]:8080", "[::1]:8080", "[::1]:8080", "::1"),
            ("http://127.0.0.1:8000", "127.0.0.1:8000", "127.0.0.1:8000", "127.0.0.1"),
        ] {
            let address = InstanceAddress::parse(base).unwrap();
            assert_eq!(address.host_header(), host);
            assert_eq!(address.label(), label);
            assert_eq!(address.host(), bare);
        }
    }

    #[test]
    fn an_address_of_a_name_is_shown_as_itself_and_speaks_for_the_name() {
        let name = InstanceAddress::parse("https://gpus.models:8443/v1").unwrap();
        let one = name.at("10.0.0.3".parse().unwrap());
        assert_eq!(one.label(), "10.0.0.3:8443");
        assert_eq!(one.pinned(), Some("10.0.0.3:8443".parse().unwrap()));
        assert_eq!(one.host_header(), "gpus.models:8443");
        assert_eq!(one.server_name(), name.server_name());
        assert_eq!(name.at("fd00::1".parse().unwrap()).label(), "[fd00::1]:8443");
        assert!(name.pinned().is_none() && one != name);
    }

    #[test]
    fn what_is_not_an_address_is_refused_without_repeating_it() {
        for (text, error) in [
            ("gpu-1:11434", AddressError::Scheme),
            ("ftp://h", AddressError::Scheme),
            ("", AddressError::Scheme),
            ("http://", AddressError::NotAUrl),
            ("http://user:secret@h", AddressError::UserInfo),
            ("http://h:0", AddressError::Port),
            ("http://h:65536", AddressError::Port),
            ("http://h:", AddressError::Port),
            ("http://h/v1?key=secret", AddressError::Query),
            ("http://h/#x", AddressError::Query),
            ("http://h/a//b", AddressError::Path),
            ("http://h/../b", AddressError::Path),
            ("http://h h/", AddressError::NotAUrl),
            ("http://h_!*/", AddressError::Host),
        ] {
            assert_eq!(InstanceAddress::parse(text).unwrap_err(), error, "{text}");
            assert!(!error.to_string().contains("secret"));
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_panics_and_what_parses_shows_itself_again(text in "\\PC{0,40}") {
            if let Ok(address) = InstanceAddress::parse(&text) {
                let again = InstanceAddress::parse(&address.to_string()).unwrap();
                proptest::prop_assert_eq!(again.label(), address.label());
            }
        }
    }
}
