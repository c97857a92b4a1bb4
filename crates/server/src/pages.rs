//! Requests that a web page may have sent.
//!
//! A listener on a loopback address is in reach of every page that a browser on the same machine shows, and
//! asks no key of it where none is asked for. What a browser says of itself tells such requests from a
//! program's: the `Origin` of the page and `Sec-Fetch-Site`; and the `Host`, which is the attacker's where a
//! name of theirs was made to lead here after the page was loaded (DNS rebinding).

use std::net::IpAddr;

use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName};

/// What a host is called by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Named<'a> {
    /// A loopback address, `localhost` or a name below it: nobody else can be meant.
    Here,
    /// Another IP address. Rebinding needs a name.
    Address,
    /// A name.
    Name(&'a str),
}

/// Why a request may be a page's of somebody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stranger {
    /// Its `Host` is another's name.
    Host,
    /// The page is of another origin than this machine.
    Origin,
}

impl Stranger {
    /// The word in the metric.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
        }
    }

    /// What the client is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::Host => {
                "no API key is asked for here, so that only requests to this machine's own names are answered: \
                 send them to localhost or 127.0.0.1, or have keys asked for (server.keys = \"required\")"
            }
            Self::Origin => {
                "no API key is asked for here, so that web pages of other origins are not answered: put your own \
                 backend between, or have keys asked for (server.keys = \"required\")"
            }
        }
    }
}

/// What containers call the machine they run on. Nobody can have these names elsewhere: `.internal` is in no
/// public name server.
const FROM_CONTAINERS: [&str; 2] = ["host.docker.internal", "host.containers.internal"];

/// Says where a page stands to whom it asks. Only browsers send it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// What the `Host` header names; None: there is none, or more than one.
pub fn named_host(headers: &HeaderMap) -> Option<Named<'_>> {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next()?.to_str().ok()?;
    hosts.next().is_none().then(|| named(host))
}

/// What a host with or without a port names.
fn named(host: &str) -> Named<'_> {
    // As nearly all are written: an address is not read anew for each request.
    let port = host.strip_prefix("127.0.0.1:").or_else(|| host.strip_prefix("localhost:"));
    if port.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())) {
        return Named::Here;
    }
    let name = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((name, port)) if port.is_empty() || port.starts_with(':') => name,
            _ => "",
        },
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    if let Ok(ip) = name.parse::<IpAddr>() {
        return if ip.to_canonical().is_loopback() { Named::Here } else { Named::Address };
    }
    let bare = name.strip_suffix('.').unwrap_or(name);
    let last = bare.rsplit('.').next().unwrap_or(bare);
    if last.eq_ignore_ascii_case("localhost") { Named::Here } else { Named::Name(name) }
}

/// Whether a request must be taken for a page's that is none of this machine's. A program sends nothing of
/// what is looked for here but a `Host`, if that.
pub fn stranger(headers: &HeaderMap) -> Option<Stranger> {
    let is_ours = |host: &str| match named(host) {
        Named::Here | Named::Address => true,
        Named::Name(name) => FROM_CONTAINERS.iter().any(|known| known.eq_ignore_ascii_case(name)),
    };
    let hosts = headers.get_all(HOST).iter();
    let mut texts = hosts.map(|host| host.to_str().unwrap_or_default());
    if !texts.all(is_ours) {
        return Some(Stranger::Host);
    }
    let mut origins = headers.get_all(ORIGIN).iter().peekable();
    if origins.peek().is_none() {
        // A page's GET may have none.
        let site = headers.get(SEC_FETCH_SITE)?;
        return (site == "cross-site").then_some(Stranger::Origin);
    }
    // `null` is a page's that does not say where it is from.
    let is_local = |origin: &str| {
        let host = origin.split_once("://").map(|(_, host)| named(host));
        host == Some(Named::Here)
    };
    let local = origins.all(|origin| origin.to_str().is_ok_and(is_local));
    (!local).then_some(Stranger::Origin)
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn asked(rows: &[(&'static str, &str)]) -> Option<Stranger> {
        let mut headers = HeaderMap::new();
        for (name, value) in rows {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        stranger(&headers)
    }

    #[test]
    fn programs_are_let_in_by_whatever_leads_here() {
        assert_eq!(asked(&[]), None, "HTTP/1.0");
        for host in [
            "localhost:4000",
            "LocalHost",
            "localhost.:4000",
            "app.localhost:4000",
            "127.0.0.1:4000",
            "127.0.1.1",
            "[::1]:4000",
            "[::ffff:127.0.0.1]:4000",
            "host.docker.internal:4000",
            "host.containers.internal",
            "192.168.1.4:4000",
        ] {
            assert_eq!(asked(&[("host", host)]), None, "{host}");
        }
    }

    #[test]
    fn a_name_that_may_be_anybodys_is_refused() {
        for host in [
            "evil.example",
            "evil.example:4000",
            "localhost.evil.example",
            "127.0.0.1.evil.example:4000",
            "notlocalhost",
            "host.docker.internal.evil.example",
            "cutover",
            "",
            "[::1",
            "[evil]:1",
            "[::1]evil.example",
        ] {
            assert_eq!(asked(&[("host", host)]), Some(Stranger::Host), "{host}");
        }
        let two = [("host", "localhost"), ("host", "evil.example")];
        assert_eq!(asked(&two), Some(Stranger::Host));
    }

    #[test]
    fn pages_of_other_origins_are_refused_and_those_of_this_machine_are_not() {
        let with = |name, value| asked(&[("host", "localhost"), (name, value)]);
        for origin in [
            "https://evil.example",
            "null",
            "",
            "http://localhost.evil.example",
            "http://192.168.1.4:3000",
            "chrome-extension://abcdefgh",
        ] {
            assert_eq!(with("origin", origin), Some(Stranger::Origin), "{origin}");
        }
        for origin in ["http://localhost:3000", "http://127.0.0.1", "https://ui.localhost"] {
            assert_eq!(with("origin", origin), None, "{origin}");
        }
        assert_eq!(with("sec-fetch-site", "cross-site"), Some(Stranger::Origin));
        for site in ["none", "same-origin", "same-site"] {
            assert_eq!(with("sec-fetch-site", site), None, "{site}");
        }
        // A page at localhost asks at 127.0.0.1.
        let crossing = [("origin", "http://localhost:3000"), ("sec-fetch-site", "cross-site")];
        assert_eq!(asked(&crossing), None);
        let two = [("origin", "http://localhost"), ("origin", "https://evil.example")];
        assert_eq!(asked(&two), Some(Stranger::Origin));
    }
}
