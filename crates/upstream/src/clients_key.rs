//! `key = "client"`: an upstream that is asked with the client's own key.
//!
//! A key goes up only in the form that the upstream's kind knows, and only if the client showed it as one for
//! that kind: what is known for another vendor's (by the header that it stands in, or by how it begins) is
//! never shown to this one. A request whose only key cannot go up is told what to send; one without any key goes up without, and the upstream says what it thinks of that.

use http::{HeaderMap, HeaderName, HeaderValue, header};

/// Anthropic's header for keys.
pub const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Azure's.
pub const API_KEY: HeaderName = HeaderName::from_static("api-key");
/// Google's.
pub const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
/// By which Anthropic's clients are known.
pub const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");
/// By which Google's clients are known.
pub const X_GOOG_API_CLIENT: HeaderName = HeaderName::from_static("x-goog-api-client");

/// How a kind of upstream is shown keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// Not at all.
    None,
    /// As a bearer.
    Bearer,
    /// As a bearer, or as Azure takes it.
    BearerOrApiKey,
    /// As Anthropic takes it.
    Anthropic,
    /// As Google takes it.
    Google,
}

/// Who gives out keys that can be told from others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Vendor {
    Anthropic,
    Google,
}

/// How the vendors' keys and tokens begin.
const MARKS: [(&[u8], Vendor); 3] =
    [(b"sk-ant-", Vendor::Anthropic), (b"AIza", Vendor::Google), (b"ya29.", Vendor::Google)];

/// Where the vendors are.
const HOSTS: [(&str, Vendor); 2] =
    [("anthropic.com", Vendor::Anthropic), ("googleapis.com", Vendor::Google)];

/// How an Anthropic token that is no API key begins: it goes as a bearer.
const ANTHROPIC_TOKEN: &[u8] = b"sk-ant-oat";

/// How a key of Google's that is no API key begins.
const GOOGLE_TOKEN: &[u8] = b"ya29.";

/// How an upstream takes its clients' keys.
#[derive(Debug, Clone, Copy)]
pub struct ClientsKey {
    form: KeyForm,
    /// Whose keys it may be shown besides those that nobody's name is on.
    vendor: Option<Vendor>,
}

impl ClientsKey {
    /// For an upstream of this kind at this host.
    pub fn new(form: KeyForm, host: &str) -> Self {
        let host = host.to_ascii_lowercase();
        let is = |name: &str| {
            host.strip_suffix(name).is_some_and(|sub| sub.is_empty() || sub.ends_with('.'))
        };
        let vendor = match form {
            KeyForm::Anthropic => Some(Vendor::Anthropic),
            KeyForm::Google => Some(Vendor::Google),
            // The vendors' own doors for OpenAI's clients.
            KeyForm::None | KeyForm::Bearer | KeyForm::BearerOrApiKey => {
                HOSTS.iter().find(|(name, _)| is(name)).map(|(_, vendor)| *vendor)
            }
        };
        Self { form, vendor }
    }

    /// The client's key in this upstream's own header, if the client showed one that it may be shown.
    pub fn of(self, client: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
        let (name, mut value) = match self.form {
            KeyForm::None => None,
            KeyForm::Bearer => self.bearer(client),
            KeyForm::BearerOrApiKey => self.bearer(client).or_else(|| self.at(&API_KEY, client)),
            KeyForm::Anthropic => self.at(&X_API_KEY, client).or_else(|| {
                self.own_bearer((client, &ANTHROPIC_VERSION), (ANTHROPIC_TOKEN, X_API_KEY))
            }),
            KeyForm::Google => self.at(&X_GOOG_API_KEY, client).or_else(|| {
                self.own_bearer((client, &X_GOOG_API_CLIENT), (GOOGLE_TOKEN, X_GOOG_API_KEY))
            }),
        }?;
        value.set_sensitive(true);
        Some((name, value))
    }

    /// Err: a request shows a key, and none that may go up; so, a client should send it.
    pub fn check(self, client: &HeaderMap) -> Result<(), &'static str> {
        let headers = [header::AUTHORIZATION, X_API_KEY, API_KEY, X_GOOG_API_KEY];
        let shown = headers.iter().any(|name| client.contains_key(name));
        if self.form == KeyForm::None || !shown || self.of(client).is_some() {
            return Ok(());
        }
        Err(self.wanted())
    }

    /// What a client has to send.
    fn wanted(self) -> &'static str {
        match self.form {
            KeyForm::Anthropic => "x-api-key: KEY",
            KeyForm::Google => "x-goog-api-key: KEY",
            KeyForm::None | KeyForm::Bearer | KeyForm::BearerOrApiKey => {
                "Authorization: Bearer KEY"
            }
        }
    }

    fn is_others(self, key: &[u8]) -> bool {
        vendor_of(key).is_some_and(|vendor| self.vendor != Some(vendor))
    }

    /// The value of a header of this upstream's kind.
    fn at(self, name: &HeaderName, client: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
        let value = client.get(name).filter(|value| !self.is_others(value.as_bytes()))?;
        Some((name.clone(), value.clone()))
    }

    /// What stands under `authorization`, for who takes that of everybody.
    fn bearer(self, client: &HeaderMap) -> Option<(HeaderName, HeaderValue)> {
        let value = client.get(header::AUTHORIZATION)?;
        let key = bearer(value).unwrap_or_default();
        (!self.is_others(key)).then(|| (header::AUTHORIZATION, value.clone()))
    }

    /// A bearer at a vendor that has a header of its own for keys: it must be this vendor's by how it begins,
    /// or come from a client of the vendor's and be nobody else's. A token stays one; a key goes to its header.
    fn own_bearer(
        self,
        (client, sign): (&HeaderMap, &HeaderName),
        (token_mark, own): (&[u8], HeaderName),
    ) -> Option<(HeaderName, HeaderValue)> {
        let value = client.get(header::AUTHORIZATION)?;
        let key = bearer(value)?;
        match vendor_of(key) {
            Some(vendor) if Some(vendor) != self.vendor => None,
            Some(_) if !key.starts_with(token_mark) => {
                Some((own, HeaderValue::from_bytes(key).ok()?))
            }
            Some(_) => Some((header::AUTHORIZATION, value.clone())),
            None => client.contains_key(sign).then(|| (header::AUTHORIZATION, value.clone())),
        }
    }
}

/// Where SDKs put keys, besides the bearer (OpenAI): Anthropic, Azure, Google.
const KEY_HEADERS: [HeaderName; 3] = [X_API_KEY, API_KEY, X_GOOG_API_KEY];

/// The key that a client shows, wherever it does.
pub fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(header::AUTHORIZATION).and_then(bearer).or_else(|| {
        KEY_HEADERS.iter().find_map(|name| headers.get(name)).map(HeaderValue::as_bytes)
    })
}

/// What a bearer carries.
pub fn bearer(value: &HeaderValue) -> Option<&[u8]> {
    const BEARER: &[u8] = b"bearer ";
    let (scheme, key) = value.as_bytes().split_at_checked(BEARER.len())?;
    scheme.eq_ignore_ascii_case(BEARER).then(|| key.trim_ascii())
}

fn vendor_of(key: &[u8]) -> Option<Vendor> {
    MARKS.iter().find(|(mark, _)| key.starts_with(mark)).map(|(_, vendor)| *vendor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    }

    /// What goes up, or `-`, or `401`.
    fn up(key: ClientsKey, pairs: &[(&'static str, &'static str)]) -> String {
        let client = shown(pairs);
        match (key.of(&client), key.check(&client)) {
            (Some((name, value)), Ok(())) => {
                assert!(value.is_sensitive());
                format!("{name}: {}", value.to_str().unwrap())
            }
            (None, Ok(())) => "-".to_owned(),
            (None, Err(wanted)) => {
                assert!(wanted.ends_with("KEY"), "{wanted}");
                "401".to_owned()
            }
            (Some(_), Err(wanted)) => panic!("shown and refused: {wanted}"),
        }
    }

    type Shown = &'static [(&'static str, &'static str)];

    /// What a client shows, and what of it goes up to openai, vllm, Google's door for OpenAI's clients,
    /// anthropic and gemini.
    #[rustfmt::skip]
    const TABLE: &[(Shown, [&str; 5])] = &[
        (&[], ["-", "-", "-", "-", "-"]),
        // The SDKs of OpenAI, Anthropic and Google as they are, and Azure's.
        (&[("authorization", "Bearer sk-1")], ["authorization: Bearer sk-1", "authorization: Bearer sk-1", "authorization: Bearer sk-1", "401", "401"]),
        (&[("x-api-key", "k"), ("anthropic-version", "1")], ["401", "401", "401", "x-api-key: k", "401"]),
        (&[("x-goog-api-key", "AIza1")], ["401", "401", "401", "401", "x-goog-api-key: AIza1"]),
        (&[("api-key", "az")], ["401", "api-key: az", "api-key: az", "401", "401"]),
        // Bearers of clients of other dialects.
        (&[("authorization", "Bearer t"), ("anthropic-version", "1")], ["authorization: Bearer t", "authorization: Bearer t", "authorization: Bearer t", "authorization: Bearer t", "401"]),
        (&[("authorization", "Bearer t"), ("x-goog-api-client", "g")], ["authorization: Bearer t", "authorization: Bearer t", "authorization: Bearer t", "401", "authorization: Bearer t"]),
        // What is known by how it begins, wherever it stands.
        (&[("authorization", "Bearer sk-ant-api03-x")], ["401", "401", "401", "x-api-key: sk-ant-api03-x", "401"]),
        (&[("authorization", "bearer sk-ant-oat01-x")], ["401", "401", "401", "authorization: bearer sk-ant-oat01-x", "401"]),
        (&[("authorization", "Bearer AIzaX")], ["401", "401", "authorization: Bearer AIzaX", "401", "x-goog-api-key: AIzaX"]),
        (&[("x-api-key", "AIzaX")], ["401", "401", "401", "401", "401"]),
        // Of several, each gets its own.
        (&[("authorization", "Bearer sk-1"), ("x-api-key", "k"), ("x-goog-api-key", "g")], ["authorization: Bearer sk-1", "authorization: Bearer sk-1", "authorization: Bearer sk-1", "x-api-key: k", "x-goog-api-key: g"]),
    ];

    #[test]
    fn a_key_is_shown_to_nobody_but_its_own_vendor() {
        let all = [
            ClientsKey::new(KeyForm::Bearer, "api.openai.com"),
            ClientsKey::new(KeyForm::BearerOrApiKey, "127.0.0.1"),
            ClientsKey::new(KeyForm::BearerOrApiKey, "generativelanguage.googleapis.com"),
            ClientsKey::new(KeyForm::Anthropic, "api.anthropic.com"),
            ClientsKey::new(KeyForm::Google, "proxy.example.com"),
        ];
        for (pairs, expected) in TABLE {
            assert_eq!(all.map(|key| up(key, pairs)), *expected, "{pairs:?}");
        }
        assert_eq!(up(ClientsKey::new(KeyForm::None, ""), &[("x-api-key", "k")]), "-");
    }
}
