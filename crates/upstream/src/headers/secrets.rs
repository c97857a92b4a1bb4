//! What an upstream is shown may stand in what it says: services quote the key that they refuse. Nobody
//! else is to read it there.

use cutover_wire::reply::Secrets;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::RequestHeaders;

impl RequestHeaders {
    /// The secrets among the upstream's own headers: whole values, but keys without the `Bearer` before them, which
    /// anybody knows.
    pub fn secrets(&self) -> Secrets {
        let own = self.base.iter().filter(|(_, value)| value.is_sensitive());
        Secrets::new(own.map(|(name, value)| credentials(name, value)))
    }

    /// Hides them in the headers of an upstream's error.
    pub fn hide_own(&self, told: &mut HeaderMap) {
        let secrets = self.secrets();
        for value in told.values_mut() {
            let hidden = secrets.hidden(value.as_bytes());
            if let Some(hidden) = hidden.and_then(|hidden| HeaderValue::from_bytes(&hidden).ok()) {
                *value = hidden;
            }
        }
    }
}

/// What is secret of a header's value: of `authorization` and its like not the scheme.
fn credentials<'v>(name: &HeaderName, value: &'v HeaderValue) -> &'v [u8] {
    let whole = value.as_bytes();
    let has_scheme = name.as_str().ends_with("authorization");
    let space = whole.iter().position(|&byte| byte == b' ').filter(|_| has_scheme);
    space.map_or(whole, |at| whole[at..].trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::header::{AUTHORIZATION, PROXY_AUTHORIZATION};

    use super::*;
    use crate::RequestRules;

    fn secrets(own: &[(HeaderName, &str)]) -> Secrets {
        let sensitive = |(name, text): &(HeaderName, &str)| {
            let mut value = HeaderValue::from_str(text).unwrap();
            value.set_sensitive(true);
            (name.clone(), value)
        };
        RequestHeaders::new(RequestRules::default(), own.iter().map(sensitive)).secrets()
    }

    #[test]
    fn a_key_is_one_without_its_scheme_and_any_other_value_as_it_is() {
        let org = HeaderName::from_static("x-org-secret");
        let own = [
            (AUTHORIZATION, "Bearer key-0123456789"),
            (PROXY_AUTHORIZATION, "Basic dXNlcjpwYXNzd29yZA=="),
            (org, "tenant 4711"),
        ];
        let secrets = secrets(&own);
        for (text, seen) in [
            ("Bearer key-0123456789", "Bearer **************"),
            ("Bearer key-012345678", "Bearer key-012345678"),
            ("Basic dXNlcjpwYXNzd29yZA==", "Basic ********************"),
            ("tenant 4711 or 4711", "*********** or 4711"),
        ] {
            assert_eq!(secrets.hide(text), seen, "{text}");
        }
        assert_eq!(format!("{secrets:?}"), "Secrets(3)");
    }

    #[test]
    fn a_value_that_is_no_secret_hides_no_word() {
        let headers = secrets(&[(AUTHORIZATION, "Bearer EMPTY")]);
        assert_eq!(headers.hide("the prompt is EMPTY"), "the prompt is EMPTY");
        assert_eq!(secrets(&[]).hidden(b"cutover application/json identity"), None);
    }
}
