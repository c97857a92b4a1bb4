//! What an upstream is shown may stand in what it says: services quote the key that they refuse. Nobody
//! else is to read it there.

use std::borrow::Cow;

use cutover_wire::Fault;
use http::HeaderValue;

use super::RequestHeaders;
use crate::clients_key::bearer;

/// Shorter values hide nothing: `none` and `EMPTY` are what engines without keys are shown, and words of many
/// messages.
const SECRET_BYTES_MIN: usize = 8;

/// What stands in a secret's place. As long as it was, so that no length on the way becomes wrong.
const HIDDEN: u8 = b'*';

impl RequestHeaders {
    /// The secrets among the upstream's own headers: whole values, and keys without the `Bearer` before them.
    fn secrets(&self) -> impl Iterator<Item = &[u8]> {
        let own = self.base.values().filter(|value| value.is_sensitive());
        let each = own.flat_map(|value| [Some(HeaderValue::as_bytes(value)), bearer(value)]);
        each.flatten().filter(|secret| secret.len() >= SECRET_BYTES_MIN)
    }

    /// The same without the upstream's secrets, if one of them is in it. One that the end of the text cuts off
    /// is one, too.
    pub fn hidden(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut hidden: Option<Vec<u8>> = None;
        for secret in self.secrets() {
            let mut from = 0;
            while let Some(at) = next(hidden.as_deref().unwrap_or(text), secret, from) {
                let held = hidden.get_or_insert_with(|| text.to_vec());
                from = held.len().min(at + secret.len());
                held[at..from].fill(HIDDEN);
            }
        }
        hidden
    }

    /// Hides them in all of an error that may be an upstream's own text.
    pub fn hide_in(&self, fault: &mut Fault) {
        fault.message = self.hide(&fault.message).into_owned();
        fault.param = fault.param.take().map(|param| self.hide(&param).into_owned());
        if let Some(words) = &mut fault.vendors {
            for word in [&mut words.kind, &mut words.code] {
                *word = word.take().map(|word| self.hide(&word).into());
            }
        }
    }

    /// [`Self::hidden`] of a text.
    fn hide<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let hidden = self.hidden(text.as_bytes());
        hidden.map_or(Cow::Borrowed(text), |bytes| {
            String::from_utf8_lossy(&bytes).into_owned().into()
        })
    }
}

/// Where a secret begins next, from here on; at the end as much of it as would be told apart is enough.
fn next(text: &[u8], secret: &[u8], from: usize) -> Option<usize> {
    let rest = &text[from..];
    if let Some(at) = memchr::memmem::find(rest, secret) {
        return Some(from + at);
    }
    let cut = (SECRET_BYTES_MIN..secret.len()).rev();
    let cut = cut.into_iter().find(|length| rest.ends_with(&secret[..*length]))?;
    Some(text.len() - cut)
}

#[cfg(test)]
mod tests {
    use http::HeaderName;
    use http::header::AUTHORIZATION;

    use super::*;
    use crate::RequestRules;

    fn shown(own: &[(HeaderName, &str)]) -> RequestHeaders {
        let sensitive = |(name, text): &(HeaderName, &str)| {
            let mut value = HeaderValue::from_str(text).unwrap();
            value.set_sensitive(true);
            (name.clone(), value)
        };
        RequestHeaders::new(RequestRules::default(), own.iter().map(sensitive))
    }

    #[test]
    fn its_own_secrets_are_hidden_wherever_they_stand_and_all_else_stays() {
        let org = HeaderName::from_static("x-org-secret");
        let headers = shown(&[(AUTHORIZATION, "Bearer key-0123456789"), (org, "tenant-4711")]);
        for (text, seen) in [
            ("key-0123456789", "**************"),
            ("wrong: 'key-0123456789'.", "wrong: '**************'."),
            (
                "key-0123456789key-0123456789 tenant-4711",
                "**************************** ***********",
            ),
            ("Authorization: Bearer key-0123456789", "Authorization: *********************"),
            ("cut off by the length: key-01234567", "cut off by the length: ************"),
            ("é key-0123456789 é", "é ************** é"),
        ] {
            assert_eq!(headers.hide(text), seen, "{text}");
        }
        for text in ["", "application/json", "key-012", "tenant-4712", "the key is key-0123 here"] {
            assert!(matches!(headers.hide(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn a_value_that_is_no_secret_hides_no_word() {
        let headers = shown(&[(AUTHORIZATION, "Bearer EMPTY")]);
        assert_eq!(headers.hide("the prompt is EMPTY"), "the prompt is EMPTY");
        assert_eq!(shown(&[]).hidden(b"cutover application/json identity"), None);
    }
}
