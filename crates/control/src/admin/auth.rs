//! Who may call the admin API.
//!
//! Three doors stand before every handler, in this order:
//! 1. the `Host` header must name this listener. A web page that a browser was tricked into loading
//!    under an attacker's name (DNS rebinding) sends that name;
//! 2. a request with an `Origin` header is refused. Only browsers send it, and no page of ours is
//!    served here, so it can only be somebody else's page;
//! 3. the route's [`Auth`] class: open, scrape or token.

use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use cutover_server::{Named, named_host};
use http::header::{AUTHORIZATION, ORIGIN};
use http::{HeaderMap, StatusCode};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Auth {
    /// Anyone who reaches the listener. Tells nothing but that the process lives.
    Open,
    /// On a loopback address anyone (Prometheus and health checks carry no token there); elsewhere
    /// like [`Auth::Token`].
    Scrape,
    /// Whoever shows the admin token.
    Token,
}

/// The admin token, as its hash: comparing hashes in constant time gives away neither the token's
/// length nor a prefix of it, and Debug has nothing to print.
#[derive(Clone)]
pub struct TokenHash([u8; 32]);

impl TokenHash {
    /// The hash of a token.
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }

    /// Whether it is another's, too.
    fn is(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl fmt::Debug for TokenHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TokenHash(..)")
    }
}

/// The tokens that let in.
#[derive(Debug, Clone)]
pub struct Tokens {
    /// The admin token's hash.
    pub admin: TokenHash,
    /// Those with a token of their own, by name.
    pub operators: Vec<(String, TokenHash)>,
}

impl Tokens {
    /// Whose a token is: an operator's, by name, or the shared one (`Some(None)`).
    pub fn owner(&self, token: &TokenHash) -> Option<Option<&str>> {
        // All are compared, whichever fits: time tells nothing.
        let own = self.operators.iter().filter(|(_, hash)| hash.is(token));
        let own = own.fold(None, |_, (name, _)| Some(name.as_str()));
        let shared = self.admin.is(token);
        own.map(Some).or(shared.then_some(None))
    }
}

/// The tokens in force. Clones are one: what is put into one is in force in all.
#[derive(Debug, Clone)]
pub struct TokensInForce(Arc<Mutex<Arc<Tokens>>>);

impl TokensInForce {
    /// From the start on.
    pub fn new(tokens: Tokens) -> Self {
        Self(Arc::new(Mutex::new(Arc::new(tokens))))
    }

    /// Those of now.
    pub fn now(&self) -> Arc<Tokens> {
        Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts others into force: those before let nobody in any more. Tells whose are another than before, or
    /// gone; the shared one is nobody's.
    pub fn replace(&self, tokens: Tokens) -> Vec<Option<String>> {
        let tokens = Arc::new(tokens);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *held, Arc::clone(&tokens));
        drop(held);
        let shared = (!before.admin.is(&tokens.admin)).then_some(None);
        let changed = before.operators.iter().filter(|(name, hash)| {
            !tokens.operators.iter().any(|(other, now)| other == name && now.is(hash))
        });
        shared.into_iter().chain(changed.map(|(name, _)| Some(name.clone()))).collect()
    }
}

/// The doors of one listener.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Where the listener is.
    pub listen: SocketAddr,
    /// Who is let in.
    pub tokens: TokensInForce,
}

/// Who calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Somebody who needed no token.
    Anyone,
    /// Somebody with the admin token, which many may share: the name they act by is what they say.
    Shared,
    /// Somebody with a token of their own: the name is known.
    Operator(String),
}

/// Why a request is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The `Host` header is missing or names another server.
    Host,
    /// A browser sent it for a web page.
    Origin,
    /// No token.
    NoToken,
    /// A wrong token.
    WrongToken,
}

impl Refusal {
    /// The word in the metric and in the answer's `code`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Origin => "origin",
            Self::NoToken => "missing",
            Self::WrongToken => "wrong",
        }
    }

    /// The answer's status.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Host | Self::Origin => StatusCode::FORBIDDEN,
            Self::NoToken | Self::WrongToken => StatusCode::UNAUTHORIZED,
        }
    }

    /// What the caller is told.
    pub fn message(self) -> &'static str {
        match self {
            Self::Host => "the host header does not name this listener",
            Self::Origin => "the admin API is not for web pages",
            Self::NoToken => "this needs the admin token: authorization: Bearer TOKEN",
            Self::WrongToken => "the admin token is wrong",
        }
    }
}

impl Doors {
    /// Whether a request may pass to a route of this class.
    pub(crate) fn admit(&self, class: Auth, headers: &HeaderMap) -> Result<Who, Refusal> {
        self.check_host(headers)?;
        if headers.contains_key(ORIGIN) {
            return Err(Refusal::Origin);
        }
        match class {
            Auth::Open => Ok(Who::Anyone),
            Auth::Scrape if self.listen.ip().is_loopback() => Ok(Who::Anyone),
            Auth::Scrape | Auth::Token => self.check_token(headers),
        }
    }

    /// Loopback listeners take loopback names only; others take any IP address, since a name is what
    /// rebinding needs.
    fn check_host(&self, headers: &HeaderMap) -> Result<(), Refusal> {
        match named_host(headers) {
            Some(Named::Here) => Ok(()),
            Some(Named::Address) if !self.listen.ip().is_loopback() => Ok(()),
            Some(Named::Address | Named::Name(_)) | None => Err(Refusal::Host),
        }
    }

    fn check_token(&self, headers: &HeaderMap) -> Result<Who, Refusal> {
        let mut shown = headers.get_all(AUTHORIZATION).iter();
        let first = shown.next().ok_or(Refusal::NoToken)?;
        if shown.next().is_some() {
            return Err(Refusal::WrongToken);
        }
        let text = first.to_str().map_err(|_| Refusal::WrongToken)?;
        let (scheme, token) = text.split_once(' ').ok_or(Refusal::WrongToken)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Refusal::WrongToken);
        }
        match self.tokens.now().owner(&TokenHash::of(token.trim())) {
            Some(Some(name)) => Ok(Who::Operator(name.to_owned())),
            Some(None) => Ok(Who::Shared),
            None => Err(Refusal::WrongToken),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn doors(listen: &str) -> Doors {
        Doors {
            listen: listen.parse().unwrap(),
            tokens: TokensInForce::new(tokens("right", &[("ann", "anns-own")])),
        }
    }

    fn tokens(admin: &str, operators: &[(&str, &str)]) -> Tokens {
        let own = |(name, token): &(&str, &str)| ((*name).to_owned(), TokenHash::of(token));
        Tokens { admin: TokenHash::of(admin), operators: operators.iter().map(own).collect() }
    }

    #[test]
    fn what_was_let_in_before_a_change_is_not_after_it() {
        let (doors, with) = (doors("127.0.0.1:1"), |token: &str| {
            headers(&[("host", "localhost"), ("authorization", &format!("Bearer {token}"))])
        });
        let other_end = doors.tokens.clone();
        let all = [("ann", "anns-new"), ("bob", "bobs-own")];
        let changed = other_end.replace(tokens("new", &all));
        assert_eq!(changed, [None, Some("ann".to_owned())]);
        for (token, who) in [
            ("right", Err(Refusal::WrongToken)),
            ("anns-own", Err(Refusal::WrongToken)),
            ("new", Ok(Who::Shared)),
            ("anns-new", Ok(Who::Operator("ann".into()))),
            ("bobs-own", Ok(Who::Operator("bob".into()))),
        ] {
            assert_eq!(doors.admit(Auth::Token, &with(token)), who, "{token}");
        }
        assert!(other_end.replace(tokens("new", &all)).is_empty());
        assert_eq!(other_end.replace(tokens("new", &all[..1])), [Some("bob".to_owned())]);
        assert_eq!(doors.admit(Auth::Token, &with("bobs-own")), Err(Refusal::WrongToken));
    }

    fn headers(rows: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in rows {
            map.append(*name, HeaderValue::from_str(value).unwrap());
        }
        map
    }

    #[test]
    fn a_foreign_host_name_is_refused_even_with_the_token() {
        let doors = doors("127.0.0.1:8081");
        for host in ["evil.example", "evil.example:8081", "10.0.0.1", "", "[::1", "127.0.0.1.evil"]
        {
            let map = headers(&[("host", host), ("authorization", "Bearer right")]);
            assert_eq!(doors.admit(Auth::Token, &map), Err(Refusal::Host), "{host}");
        }
        assert_eq!(doors.admit(Auth::Open, &headers(&[])), Err(Refusal::Host));
        for host in ["localhost", "LOCALHOST:1", "127.0.0.1:8081", "[::1]:8081", "127.0.0.9"] {
            assert_eq!(
                doors.admit(Auth::Open, &headers(&[("host", host)])),
                Ok(Who::Anyone),
                "{host}"
            );
        }
    }

    #[test]
    fn two_host_headers_or_two_tokens_are_refused() {
        let doors = doors("127.0.0.1:1");
        let twice = headers(&[("host", "localhost"), ("host", "localhost")]);
        assert_eq!(doors.admit(Auth::Open, &twice), Err(Refusal::Host));
        let tokens = headers(&[
            ("host", "localhost"),
            ("authorization", "Bearer right"),
            ("authorization", "Bearer right"),
        ]);
        assert_eq!(doors.admit(Auth::Token, &tokens), Err(Refusal::WrongToken));
    }

    #[test]
    fn a_web_page_is_refused() {
        let map = headers(&[
            ("host", "localhost"),
            ("origin", "http://localhost"),
            ("authorization", "Bearer right"),
        ]);
        assert_eq!(doors("127.0.0.1:1").admit(Auth::Token, &map), Err(Refusal::Origin));
    }

    #[test]
    fn the_token_is_asked_for_where_the_class_says() {
        let show = |listen, class, authorization: Option<&str>| {
            let mut map = headers(&[("host", "127.0.0.1")]);
            if let Some(text) = authorization {
                map.insert(AUTHORIZATION, HeaderValue::from_str(text).unwrap());
            }
            doors(listen).admit(class, &map)
        };
        let (near, far) = ("127.0.0.1:1", "10.0.0.1:1");
        assert_eq!(show(near, Auth::Token, None), Err(Refusal::NoToken));
        assert_eq!(show(near, Auth::Token, Some("Bearer wrong")), Err(Refusal::WrongToken));
        assert_eq!(show(near, Auth::Token, Some("Basic right")), Err(Refusal::WrongToken));
        assert_eq!(show(near, Auth::Token, Some("right")), Err(Refusal::WrongToken));
        assert_eq!(show(near, Auth::Token, Some("bearer right")), Ok(Who::Shared));
        assert_eq!(show(near, Auth::Scrape, None), Ok(Who::Anyone));
        assert_eq!(show(far, Auth::Scrape, None), Err(Refusal::NoToken));
        assert_eq!(
            show(far, Auth::Scrape, Some("Bearer anns-own")),
            Ok(Who::Operator("ann".into()))
        );
        assert_eq!(show(far, Auth::Open, None), Ok(Who::Anyone));
    }

    #[test]
    fn debug_output_has_no_token() {
        assert!(!format!("{:?}", doors("127.0.0.1:1")).contains("right"));
    }
}
