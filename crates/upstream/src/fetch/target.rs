//! A URL taken apart, strictly: what two readers could read differently is none.

use std::net::IpAddr;

use super::FetchError;

/// The longest URL that is read.
const URL_BYTES_MAX: usize = 4096;

/// Where a fetch goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) https: bool,
    /// In lower case, an IPv6 address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// Path and query, with a slash at the beginning.
    pub(super) path: String,
    /// Whether it may be at a private address.
    pub(super) private: bool,
}

impl Target {
    pub(super) fn parse(url: &str) -> Result<Self, FetchError> {
        let plain = url.len() <= URL_BYTES_MAX && url.bytes().all(|b| b.is_ascii_graphic());
        if !plain || url.contains(['\\', '<', '>', '"', '`', '{', '}', '|', '^']) {
            return Err(FetchError::NotAUrl);
        }
        let (scheme, rest) = url.split_once("://").ok_or(FetchError::NotAUrl)?;
        let https = match scheme.to_ascii_lowercase().as_str() {
            "https" => true,
            "http" => false,
            _ => return Err(FetchError::Scheme),
        };
        let rest = rest.split('#').next().unwrap_or_default();
        let at = rest.find(['/', '?']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(at);
        if authority.contains('@') {
            return Err(FetchError::UserInfo);
        }
        let (host, port) = host_and_port(authority).ok_or(FetchError::NotAUrl)?;
        let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
        let port = port.unwrap_or(if https { 443 } else { 80 });
        Ok(Self { https, host, port, path, private: false })
    }

    /// Whether the port is the scheme's own.
    pub(super) fn port_is_usual(&self) -> bool {
        self.port == if self.https { 443 } else { 80 }
    }

    /// The host, if it is an address.
    pub(super) fn literal(&self) -> Option<IpAddr> {
        self.host.parse().ok()
    }

    /// The `host` header.
    pub(super) fn authority(&self) -> String {
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port_is_usual() { host } else { format!("{host}:{}", self.port) }
    }

    /// The URL that a `location` means.
    pub(super) fn join(&self, location: &str) -> Option<String> {
        let scheme = if self.https { "https" } else { "http" };
        if location.contains("://") {
            return Some(location.to_owned());
        }
        if let Some(rest) = location.strip_prefix("//") {
            return Some(format!("{scheme}://{rest}"));
        }
        let base = format!("{scheme}://{}", self.authority());
        if location.starts_with('/') {
            return Some(format!("{base}{location}"));
        }
        let path = self.path.split('?').next()?;
        let folder = &path[..=path.rfind('/')?];
        Some(format!("{base}{folder}{location}"))
    }
}

fn host_and_port(authority: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<std::net::Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let in_names = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
    let named = authority.starts_with('[') || host.bytes().all(in_names);
    if host.is_empty() || host.len() > 253 || !named {
        return None;
    }
    let port = match port {
        None => None,
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().ok().filter(|port| *port != 0)?)
        }
        Some(_) => return None,
    };
    // A trailing dot is the same host, and must be on the same lists.
    let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    (!host.is_empty()).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_taken_apart() {
        let target = Target::parse("HTTPS://Images.Example.COM./a/b.png?x=1#part").unwrap();
        assert_eq!((target.host.as_str(), target.port), ("images.example.com", 443));
        assert_eq!(target.path, "/a/b.png?x=1");
        let target = Target::parse("http://[2606:4700::1]:8080").unwrap();
        assert_eq!(
            (target.authority().as_str(), target.path.as_str()),
            ("[2606:4700::1]:8080", "/")
        );
        assert_eq!(Target::parse("https://h?q").unwrap().path, "/?q");
    }

    #[test]
    fn what_two_could_read_differently_is_none() {
        for (url, why) in [
            ("https://user:pass@h/", FetchError::UserInfo),
            ("https://good.example@169.254.169.254/", FetchError::UserInfo),
            ("file:///etc/passwd", FetchError::Scheme),
            ("gopher://h/", FetchError::Scheme),
            ("ftp://h/", FetchError::Scheme),
            ("https:/h", FetchError::NotAUrl),
            ("h/a.png", FetchError::NotAUrl),
            ("https://", FetchError::NotAUrl),
            ("https://h:0/", FetchError::NotAUrl),
            ("https://h:65536/", FetchError::NotAUrl),
            ("https://h:80:80/", FetchError::NotAUrl),
            ("https://h\\@169.254.169.254/", FetchError::NotAUrl),
            ("https://h /", FetchError::NotAUrl),
            ("https://h\r\nx: y/", FetchError::NotAUrl),
            ("https://b\u{fc}cher.example/", FetchError::NotAUrl),
            ("https://[::1", FetchError::NotAUrl),
            ("https://[::1]x/", FetchError::NotAUrl),
            ("https://[fe80::1%25eth0]/", FetchError::NotAUrl),
            ("https://a%2eb/", FetchError::NotAUrl),
        ] {
            assert_eq!(Target::parse(url).unwrap_err(), why, "{url}");
        }
    }

    #[test]
    fn a_location_is_read_from_where_it_was_said() {
        let target = Target::parse("https://h:444/a/b?c").unwrap();
        let to = |location: &str| target.join(location).unwrap();
        assert_eq!(to("d"), "https://h:444/a/d");
        assert_eq!(to("/d"), "https://h:444/d");
        assert_eq!(to("//other/d"), "https://other/d");
        assert_eq!(to("http://other/d"), "http://other/d");
    }
}
