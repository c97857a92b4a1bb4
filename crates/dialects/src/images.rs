//! Images, and other media, that a chat names by address: where they stand in a body, and how a fetched
//! one takes its address's place.
//!
//! Whatever a part is said to be, a member whose name ends in `_url` is read as an address: engines go by
//! the member, too. A body is read here only where its addresses must not just pass.

use std::fmt;
use std::ops::Range;
use std::sync::LazyLock;

use bytes::{Bytes, BytesMut};
use cutover_units::Code;
use cutover_wire::openai::embeddings::base64;
use cutover_wire::{Fault, Head};
use memchr::memmem::Finder;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::base64::Data;

/// One medium that a body names.
#[derive(Clone, PartialEq, Eq)]
pub struct Named {
    /// Where its address stands: a string literal with its quotes.
    pub range: Range<usize>,
    /// The address itself.
    pub url: String,
    /// The field's path.
    pub param: String,
    /// Whether it is an image, not sound or film.
    pub is_image: bool,
}

impl fmt::Debug for Named {
    /// The address is the client's.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Named").field("param", &self.param).finish_non_exhaustive()
    }
}

impl Named {
    /// Whether it is inside the request already.
    pub fn is_inside(&self) -> bool {
        self.url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("data:"))
    }
}

/// How many objects and arrays a part of a message stands in, itself included: the body, its messages, the
/// message, its content.
const PART_LEVEL: usize = 5;

/// How a member's name ends that holds an address.
static URL: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"_url\""));

/// How an escape begins that can write a letter.
static ESCAPE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\\u00"));

/// Whether a body can name any: quick, and never wrong about one that does. Most have no parts at all. An
/// escape can write a member's name so that a search does not find it.
pub fn may_name_any(head: &Head, body: &Bytes) -> bool {
    head.may_nest(body, PART_LEVEL) && (URL.find(body).is_some() || ESCAPE.find(body).is_some())
}

/// All media that a body's messages name, in order.
pub fn find(body: &[u8]) -> Result<Vec<Named>, Fault> {
    let text = std::str::from_utf8(body)
        .map_err(|_| Fault::new(Code::InvalidJson, "the body is not valid UTF-8"))?;
    let mut found = Vec::new();
    let root: Members<'_> = parse(text, "")?;
    for (name, messages) in &root.0 {
        if name == "messages" && messages.get().starts_with('[') {
            let messages: Vec<&RawValue> = parse(messages.get(), "messages")?;
            for (at, message) in messages.iter().enumerate() {
                in_message(text, message, &format!("messages[{at}]"), &mut found)?;
            }
        }
    }
    Ok(found)
}

fn in_message(
    whole: &str,
    message: &RawValue,
    path: &str,
    found: &mut Vec<Named>,
) -> Result<(), Fault> {
    if !message.get().starts_with('{') {
        return Ok(());
    }
    let members: Members<'_> = parse(message.get(), path)?;
    for (name, content) in &members.0 {
        if name == "content" && content.get().starts_with('[') {
            let path = format!("{path}.content");
            let parts: Vec<&RawValue> = parse(content.get(), &path)?;
            for (at, part) in parts.iter().enumerate() {
                in_part(whole, part, &format!("{path}[{at}]"), found)?;
            }
        }
    }
    Ok(())
}

fn in_part(whole: &str, part: &RawValue, path: &str, found: &mut Vec<Named>) -> Result<(), Fault> {
    if !part.get().starts_with('{') {
        return Ok(());
    }
    let members: Members<'_> = parse(part.get(), path)?;
    for (name, value) in members.0.iter().filter(|(name, _)| name.ends_with("_url")) {
        let path = format!("{path}.{name}");
        let is_image = name == "image_url";
        let mut note = |literal: &RawValue, param: String| {
            let url: String = parse(literal.get(), &param)?;
            let range = range_in(whole, literal.get());
            found.push(Named { range, url, param, is_image });
            Ok(())
        };
        match value.get().as_bytes().first() {
            Some(b'"') => note(value, path)?,
            Some(b'{') => {
                let inner: Members<'_> = parse(value.get(), &path)?;
                for (_, url) in inner.0.iter().filter(|(name, _)| name == "url") {
                    note(url, format!("{path}.url"))?;
                }
            }
            // `null` names nothing.
            Some(b'n') => {}
            _ => return Err(wrong(&path)),
        }
    }
    Ok(())
}

fn parse<'a, T: Deserialize<'a>>(text: &'a str, path: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|_| wrong(path))
}

fn wrong(path: &str) -> Fault {
    Fault::of(Code::InvalidType, path.to_owned(), format!("'{path}' has the wrong type"))
}

/// Where a part lies in the whole that it was borrowed from.
fn range_in(whole: &str, part: &str) -> Range<usize> {
    let start = (part.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
    start..start + part.len()
}

/// An object's members as they came: a map would hide repeated ones, of which an engine may take another
/// than we.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Members<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(members)
            }
        }
        deserializer.deserialize_map(Object).map(Members)
    }
}

/// Puts texts in the place of literals. The ranges are in order and do not overlap; a text needs no
/// escape.
pub fn replace(body: &Bytes, with: &[(Range<usize>, String)]) -> Bytes {
    let more: usize = with.iter().map(|(_, text)| text.len() + 2).sum();
    let mut out = BytesMut::with_capacity(body.len() + more);
    let mut done = 0;
    for (range, text) in with {
        out.extend_from_slice(body.get(done..range.start).unwrap_or_default());
        out.extend_from_slice(b"\"");
        out.extend_from_slice(text.as_bytes());
        out.extend_from_slice(b"\"");
        done = range.end;
    }
    out.extend_from_slice(body.get(done..).unwrap_or_default());
    out.freeze()
}

/// What an image's first bytes say that it is; None: none of the four that all models see.
pub fn sniff(bytes: &[u8]) -> Option<&'static str> {
    match bytes {
        [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some("image/png"),
        [0xff, 0xd8, 0xff, ..] => Some("image/jpeg"),
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some("image/gif"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => Some("image/webp"),
        _ => None,
    }
}

/// An image as an address that holds it.
pub fn data_url(kind: &str, bytes: &[u8]) -> String {
    format!("data:{kind};base64,{}", base64(bytes))
}

/// Bytes that tell an image's kind.
const BEGINNING: usize = 18;

/// Checks an image that is inside a request: base64, whole, and one of the four kinds.
pub fn check_data_url(url: &str) -> Result<(), &'static str> {
    const WHY: &str = "must be data:image/TYPE;base64, and the image";
    let rest = url.strip_prefix("data:image/").ok_or(WHY)?;
    let (_, base64) = rest.split_once(";base64,").ok_or(WHY)?;
    let digits = base64.trim_end_matches('=');
    let padding = base64.len() - digits.len();
    let sound = padding <= 2
        && base64.len().is_multiple_of(4)
        && digits.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'+' || b == b'/');
    if !sound || digits.is_empty() {
        return Err("is not base64");
    }
    sniff(&Data::of(digits).bytes(0, BEGINNING))
        .map(drop)
        .ok_or("is no PNG, JPEG, GIF or WebP image")
}

#[cfg(test)]
mod tests {
    use cutover_wire::Endpoint;
    use proptest::prelude::*;

    use super::*;

    const PNG: &[u8] = b"\x89PNG\r\n\x1a\nrest";

    fn urls(body: &str) -> Vec<(String, String, bool)> {
        let found = find(body.as_bytes()).unwrap();
        found.into_iter().map(|named| (named.param, named.url, named.is_image)).collect()
    }

    fn may(body: &str) -> bool {
        let body = Bytes::copy_from_slice(body.as_bytes());
        may_name_any(&Head::read(Endpoint::ChatCompletions, &body).unwrap(), &body)
    }

    #[test]
    fn addresses_are_found_however_they_are_written() {
        let body = r#"{"model":"m","messages":[{"role":"system","content":"http://no"},
            {"content":[{"type":"text","text":"\"image_url\""},
             {"type":"image_url","image_url":{"detail":"low","url":"https://a/1"}},
             {"image_url":"https:\/\/a\/2"},
             {"type":"text","image\u005furl":{"u\u0072l":"https://a/3"}},
             {"type":"video_url","video_url":{"url":"https://a/4"}},
             {"type":"image_url","image_url":{"url":"https://a/5","url":"https://a/6"}}]}]}"#;
        assert!(may(body));
        let found: Vec<_> = urls(body).into_iter().map(|(_, url, _)| url).collect();
        let wants: Vec<_> = (1..=6).map(|n| format!("https://a/{n}")).collect();
        assert_eq!(found, wants);
        let first = &urls(body)[0];
        assert_eq!(first.0, "messages[1].content[1].image_url.url");
        assert_eq!(
            urls(body)[3],
            ("messages[1].content[4].video_url.url".into(), "https://a/4".into(), false)
        );
        let hidden = r#"{"model":"m","messages":[{"content":[{"image\u005Furl":"https://a"}]}]}"#;
        assert!(may(hidden) && find(hidden.as_bytes()).unwrap().len() == 1);
    }

    #[test]
    fn what_has_no_parts_or_no_addresses_is_not_searched_for_them() {
        assert!(!may(r#"{"model":"m","messages":[{"content":"an \"image_url\" here"}]}"#));
        assert!(!may(r#"{"model":"m","messages":[{"content":[{"text":"no address"}]}]}"#));
        let least = r#"{"model":"m","messages":[{"content":[{"a_url":"https://a"}]}]}"#;
        assert!(may(least));
        // What only the parser reads may nest; and a head tells nothing of another body.
        assert!(may(&least.replace("model", "mod\\u0065l")));
        let plain = Bytes::from_static(br#"{"model":"m","messages":[]}"#);
        let head = Head::read(Endpoint::ChatCompletions, &plain).unwrap();
        assert!(may_name_any(&head, &Bytes::copy_from_slice(least.as_bytes())));
    }

    #[test]
    fn what_is_no_address_is_refused_and_what_names_nothing_passes() {
        let of = |value: &str| {
            find(format!(r#"{{"messages":[{{"content":[{{"image_url":{value}}}]}}]}}"#).as_bytes())
        };
        assert!(of("null").unwrap().is_empty());
        for wrong in ["1", "true", "[\"https://a\"]", r#"{"url":1}"#, r#"{"url":{"x":1}}"#] {
            let fault = of(wrong).unwrap_err();
            assert_eq!(fault.code, Code::InvalidType, "{wrong}");
            assert!(fault.param.unwrap().starts_with("messages[0].content[0].image_url"));
        }
        for other in [r#"{"messages":1}"#, r#"{"messages":[1,{"content":"x"},{"content":[2]}]}"#] {
            assert!(find(other.as_bytes()).unwrap().is_empty());
        }
    }

    #[test]
    fn an_address_gives_way_to_the_image_and_nothing_else_changes() {
        let body = r#"{"a": 1e2, "messages":[{"content":[{"image_url":{"url":"https://a/1"}},{"image_url":"https://a/2"}]}], "z":"ü"}"#;
        let found = find(body.as_bytes()).unwrap();
        let with: Vec<_> =
            found.into_iter().map(|named| (named.range, data_url("image/png", PNG))).collect();
        let out = replace(&Bytes::from(body.to_owned()), &with);
        let inside = data_url("image/png", PNG);
        let wants = body.replace("https://a/1", &inside).replace("https://a/2", &inside);
        assert_eq!(out, wants.as_bytes());
    }

    #[test]
    fn images_are_known_by_their_first_bytes_alone() {
        assert_eq!(sniff(PNG), Some("image/png"));
        assert_eq!(sniff(b"\xff\xd8\xff\xe0"), Some("image/jpeg"));
        assert_eq!(sniff(b"GIF89a.."), Some("image/gif"));
        assert_eq!(sniff(b"RIFF\0\0\0\0WEBPVP8 "), Some("image/webp"));
        for other in
            [&b"<svg xmlns="[..], b"BM", b"%PDF-1.7", b"", b"RIFF\0\0\0\0WAVE", b"{\"a\":1}"]
        {
            assert_eq!(sniff(other), None);
        }
    }

    #[test]
    fn a_data_url_holds_a_whole_image() {
        assert_eq!(check_data_url(&data_url("image/png", PNG)), Ok(()));
        for wrong in [
            "data:text/html;base64,PGI+",
            "data:image/png,%89PNG",
            "data:image/png;base64,",
            "data:image/png;base64,iVBORw0KGgo",
            "data:image/png;base64,iVBORw0KGg=o",
            "data:image/png;base64,iVBO Rw0K",
            "data:image/svg+xml;base64,PHN2Zz48L3N2Zz4=",
            "DATA:image/png;base64,iVBORw0KGgo=",
        ] {
            assert!(check_data_url(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_was_put_into_base64_begins_as_it_did(bytes in prop::collection::vec(any::<u8>(), 1..40)) {
            let url = data_url("image/png", &bytes);
            let digits = url.rsplit(',').next().unwrap().trim_end_matches('=');
            let begins = Data::of(digits).bytes(0, BEGINNING);
            prop_assert!(bytes.starts_with(&begins[..begins.len().min(bytes.len())]));
            prop_assert_eq!(check_data_url(&url).is_ok(), sniff(&bytes).is_some());
        }

        #[test]
        fn no_body_makes_it_panic(body in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = find(&body);
        }
    }
}
