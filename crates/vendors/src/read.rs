//! Reading JSON by its raw text: what is carried is copied as it stands, what is acted on is decoded,
//! and what nobody asked for can be reported.
//!
//! Every error names the field by its path. A path is a chain of borrowed segments and costs nothing
//! until an error is made of it.

use std::borrow::Cow;
use std::cell::Cell;

use cutover_units::Code;
use cutover_wire::{Fault, json};
use serde::de::IgnoredAny;

use crate::split;
use crate::write::Json;

/// Where a value lies in the body.
#[derive(Clone, Copy)]
pub enum At<'p> {
    /// The body itself.
    Root,
    /// A member of an object.
    Key(&'p At<'p>, &'p str),
    /// An element of an array.
    Item(&'p At<'p>, usize),
}

impl<'p> At<'p> {
    /// A member of it.
    pub fn key(&'p self, name: &'p str) -> At<'p> {
        At::Key(self, name)
    }

    /// An element of it.
    pub fn item(&'p self, index: usize) -> At<'p> {
        At::Item(self, index)
    }

    /// The path, such as `messages[3].content[0].type`.
    pub fn path(&self) -> String {
        match self {
            Self::Root => String::new(),
            Self::Key(Self::Root, name) => (*name).to_owned(),
            Self::Key(parent, name) => format!("{}.{name}", parent.path()),
            Self::Item(parent, index) => format!("{}[{index}]", parent.path()),
        }
    }

    /// A value of another type than the one that is named.
    pub fn wrong_type(&self, expected: &str) -> Fault {
        let path = self.path();
        if path.is_empty() {
            return Fault::new(Code::InvalidType, format!("the body must be {expected}"));
        }
        let message = format!("'{path}' must be {expected}");
        Fault::of(Code::InvalidType, path, message)
    }

    /// A value that must be there, and is not.
    pub fn missing(&self) -> Fault {
        let path = self.path();
        let message = format!("'{path}' is required");
        Fault::of(Code::MissingField, path, message)
    }

    /// A value that is not allowed; `why` follows the field's name.
    pub fn invalid(&self, why: &str) -> Fault {
        let path = self.path();
        if path.is_empty() {
            return Fault::new(Code::InvalidValue, format!("the body {why}"));
        }
        let message = format!("'{path}' {why}");
        Fault::of(Code::InvalidValue, path, message)
    }

    /// Something that cutover cannot carry.
    pub fn unsupported(&self, why: &str) -> Fault {
        let path = self.path();
        let message = format!("'{path}' is not supported: {why}");
        Fault::of(Code::UnsupportedParameter, path, message)
    }
}

/// Checks a body as a whole: UTF-8 and nesting. Syntax is checked by [`Obj::parse`].
pub fn body_text(body: &[u8]) -> Result<&str, Fault> {
    let text = std::str::from_utf8(body).map_err(|e| {
        let at = e.valid_up_to();
        Fault::new(Code::InvalidJson, format!("the body is not valid UTF-8 (byte {at})"))
    })?;
    if json::too_deep(body) {
        let message = format!("the body nests deeper than {} levels", json::DEPTH_MAX);
        return Err(Fault::new(Code::InvalidJson, message));
    }
    Ok(text)
}

/// A text: as the client wrote it, or made by us.
#[derive(Clone)]
pub enum Text<'a> {
    /// A JSON string literal with its quotes, known to hold valid Unicode.
    Literal(&'a str),
    /// A literal behind words of ours, and the client's own literal in it.
    Behind {
        /// The literal with the words.
        text: String,
        /// The client's own literal.
        from: &'a str,
    },
    /// Decoded text.
    Plain(Cow<'a, str>),
}

impl<'a> Text<'a> {
    /// Reads a string value.
    pub fn read(raw: &'a str, at: At<'_>) -> Result<Self, Fault> {
        if !raw.starts_with('"') {
            return Err(at.wrong_type("a string"));
        }
        // Only an escaped code unit can be half of a pair.
        if split::has_escape(raw)
            && raw.contains("\\u")
            && serde_json::from_str::<String>(raw).is_err()
        {
            return Err(at.invalid("holds half of a surrogate pair, which is no text"));
        }
        Ok(Self::Literal(raw))
    }

    /// The text itself, without escapes.
    pub fn decode(&self) -> Cow<'_, str> {
        match self {
            Self::Plain(text) => Cow::Borrowed(text),
            Self::Literal(raw) => decoded(raw),
            Self::Behind { text, .. } => decoded(text),
        }
    }

    /// This text behind another, which holds nothing to escape. A long literal is copied once.
    pub fn after(&self, before: &str) -> Text<'a> {
        match self {
            Self::Literal(raw) => {
                let inner = raw.get(1..).unwrap_or("\"");
                Text::Behind { text: ["\"", before, inner].concat(), from: raw }
            }
            _ => Text::Plain(Cow::Owned([before, &self.decode()].concat())),
        }
    }

    /// Whether it says nothing.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Literal(raw) => raw.len() <= 2,
            Self::Behind { text, .. } => text.len() <= 2,
            Self::Plain(text) => text.is_empty(),
        }
    }

    /// Whether it holds nothing but white space.
    pub fn is_blank(&self) -> bool {
        // Most texts begin with a letter, and are then not looked at.
        let says = |b: &u8| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\');
        let begins = matches!(self, Self::Literal(raw) if raw.as_bytes().get(1).is_some_and(says));
        !begins && self.decode().trim().is_empty()
    }

    /// Writes it as a JSON string.
    pub fn write(&self, json: &mut Json) {
        match self {
            Self::Literal(raw) => json.raw(raw),
            Self::Behind { text, .. } => json.raw(text),
            Self::Plain(text) => json.text(text),
        }
    }
}

/// A literal's text.
fn decoded(literal: &str) -> Cow<'_, str> {
    let inner = literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    if split::has_escape(inner) {
        return Cow::Owned(serde_json::from_str(literal).unwrap_or_default());
    }
    Cow::Borrowed(inner)
}

impl Text<'_> {
    /// Goes on with another.
    pub fn push(&mut self, more: &Text<'_>) {
        if let Self::Plain(Cow::Owned(text)) = self {
            text.push_str(&more.decode());
        } else {
            *self = Self::from(format!("{}{}", self.decode(), more.decode()));
        }
    }
}

impl From<String> for Text<'_> {
    fn from(text: String) -> Self {
        Self::Plain(Cow::Owned(text))
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Plain(Cow::Borrowed(text))
    }
}

struct Member<'a> {
    key: Cow<'a, str>,
    raw: &'a str,
    taken: Cell<bool>,
}

/// An object's members. Remembers which were asked for.
pub struct Obj<'a> {
    members: Vec<Member<'a>>,
}

impl<'a> Obj<'a> {
    /// Checks a body as a whole, and reads the object that it is.
    pub fn of_body(body: &'a [u8]) -> Result<Self, Fault> {
        let Some(found) = json::sound_members(body) else {
            // What is wrong, or so unusual that it takes the parser to read it.
            return Self::parse(body_text(body)?, At::Root);
        };
        Self::of_members(&found)
    }

    /// Of the members of a body that was checked; their names have no escapes.
    pub fn of_members(found: &[(&'a str, &'a str)]) -> Result<Self, Fault> {
        let mut members = Vec::with_capacity(found.len());
        for &(key, raw) in found {
            put(&mut members, (Cow::Borrowed(key), raw), At::Root)?;
        }
        Ok(Self { members })
    }

    /// Checks a text and reads the object that it is.
    pub fn parse(text: &'a str, at: At<'_>) -> Result<Self, Fault> {
        serde_json::from_str::<IgnoredAny>(text).map_err(|e| {
            let (line, column) = (e.line(), e.column());
            let message = format!("the body is not valid JSON (line {line}, column {column})");
            Fault::new(Code::InvalidJson, message)
        })?;
        Self::read(text.trim_ascii(), at)
    }

    /// Reads an object out of a text that was checked. A key that comes twice is refused, because
    /// readers differ in which one counts.
    pub fn read(raw: &'a str, at: At<'_>) -> Result<Self, Fault> {
        let cut = split::members(raw).ok_or_else(|| at.wrong_type("an object"))?;
        let mut members = Vec::with_capacity(8);
        for (literal, raw) in cut {
            put(&mut members, (key_of(literal), raw), at)?;
        }
        Ok(Self { members })
    }

    /// The same with new names for members whose name has one.
    pub fn renamed(
        self,
        at: At<'_>,
        rename: fn(&str) -> Option<Cow<'static, str>>,
    ) -> Result<Self, Fault> {
        let mut members: Vec<Member<'a>> = Vec::with_capacity(self.members.len());
        for member in self.members {
            let key = rename(&member.key).unwrap_or(member.key);
            if members.iter().any(|other| other.key == key) {
                return Err(at.key(&key).invalid("is given more than once"));
            }
            members.push(Member { key, ..member });
        }
        Ok(Self { members })
    }

    /// A member's raw text, which then counts as asked for. Null is the same as absent.
    pub fn get(&self, key: &str) -> Option<&'a str> {
        let member = self.members.iter().find(|m| m.key == key)?;
        member.taken.set(true);
        (member.raw != "null").then_some(member.raw)
    }

    /// A member that must be a text, if there is one.
    pub fn text(&self, at: At<'_>, key: &str) -> Result<Option<Text<'a>>, Fault> {
        self.get(key).map(|raw| Text::read(raw, at.key(key))).transpose()
    }

    /// A member that must be there and be a text.
    pub fn need_text(&self, at: At<'_>, key: &str) -> Result<Text<'a>, Fault> {
        self.text(at, key)?.ok_or_else(|| at.key(key).missing())
    }

    /// A short text that decides what to do, such as `type`; empty if absent.
    pub fn word(&self, at: At<'_>, key: &str) -> Result<String, Fault> {
        Ok(self.text(at, key)?.map(|text| text.decode().into_owned()).unwrap_or_default())
    }

    /// A member that must be a boolean, if there is one.
    pub fn flag(&self, at: At<'_>, key: &str) -> Result<Option<bool>, Fault> {
        match self.get(key) {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(at.key(key).wrong_type("a boolean")),
        }
    }

    /// A number as the client wrote it.
    pub fn number(&self, at: At<'_>, key: &str) -> Result<Option<&'a str>, Fault> {
        let Some(raw) = self.get(key) else { return Ok(None) };
        match serde_json::from_str::<f64>(raw) {
            Ok(_) => Ok(Some(raw)),
            Err(e) if e.is_data() => Err(at.key(key).wrong_type("a number")),
            Err(_) => Err(at.key(key).invalid("is out of range")),
        }
    }

    /// A member that must be a whole number, if there is one.
    pub fn whole(&self, at: At<'_>, key: &str) -> Result<Option<i64>, Fault> {
        let read = |raw| serde_json::from_str::<i64>(raw);
        let wrong = |_| at.key(key).wrong_type("an integer");
        self.get(key).map(read).transpose().map_err(wrong)
    }

    /// An array's elements as raw texts.
    pub fn list(&self, at: At<'_>, key: &str) -> Result<Option<Vec<&'a str>>, Fault> {
        self.get(key).map(|raw| list(raw, at.key(key))).transpose()
    }

    /// A member that must be an object, if there is one.
    pub fn object(&self, at: At<'_>, key: &str) -> Result<Option<Obj<'a>>, Fault> {
        self.get(key).map(|raw| Obj::read(raw, at.key(key))).transpose()
    }

    /// A value that must be an object, as the client wrote it.
    pub fn raw_object(&self, at: At<'_>, key: &str) -> Result<Option<&'a str>, Fault> {
        match self.get(key) {
            Some(raw) if !raw.starts_with('{') => Err(at.key(key).wrong_type("an object")),
            found => Ok(found),
        }
    }

    /// The keys that nobody asked for, null ones left out.
    pub fn rest(&self) -> impl Iterator<Item = &str> {
        let left = self.members.iter().filter(|m| !m.taken.get() && m.raw != "null");
        left.map(|m| &*m.key)
    }

    /// All members.
    pub fn each(&self) -> impl Iterator<Item = (&str, &'a str)> {
        self.members.iter().map(|m| (&*m.key, m.raw))
    }
}

/// Adds a member.
fn put<'a>(
    members: &mut Vec<Member<'a>>,
    (key, raw): (Cow<'a, str>, &'a str),
    at: At<'_>,
) -> Result<(), Fault> {
    if members.iter().any(|other| other.key == key) {
        return Err(at.key(&key).invalid("is given more than once"));
    }
    // An object with many members is none of ours: their count makes this loop dear.
    if members.len() >= MEMBERS_MAX {
        return Err(at.invalid("has too many members"));
    }
    members.push(Member { key, raw, taken: Cell::new(false) });
    Ok(())
}

/// An array's objects one after the other, each read where it stands: as a list of texts they would be cut once more.
pub struct Objects<'a> {
    elements: split::Elements<'a>,
}

impl<'a> Objects<'a> {
    /// Of an array, out of a text that was checked.
    pub fn of(raw: &'a str, at: At<'_>) -> Result<Self, Fault> {
        let elements = split::elements(raw).ok_or_else(|| at.wrong_type("an array"))?;
        Ok(Self { elements })
    }

    /// Whether none is left.
    pub fn is_done(&mut self) -> bool {
        self.elements.is_done()
    }

    /// The next one; `None` at the end.
    pub fn read(&mut self, at: At<'_>) -> Result<Option<Obj<'a>>, Fault> {
        let mut members = Vec::with_capacity(4);
        let read = self.elements.object(|key, raw| put(&mut members, (key_of(key), raw), at));
        match read.transpose()? {
            None => Ok(None),
            Some(true) => Ok(Some(Obj { members })),
            Some(false) => Err(at.wrong_type("an object")),
        }
    }
}

/// Most members of an object that cutover reads. Schemas and arguments are carried unread.
const MEMBERS_MAX: usize = 256;

/// An array's elements as raw texts, out of a text that was checked.
pub fn list<'a>(raw: &'a str, at: At<'_>) -> Result<Vec<&'a str>, Fault> {
    Ok(split::elements(raw).ok_or_else(|| at.wrong_type("an array"))?.collect())
}

/// A key from its literal. One that is no text (half of a surrogate pair) is no key that anybody
/// knows: it stands for itself.
pub fn key_of(literal: &str) -> Cow<'_, str> {
    let inner = || literal.get(1..literal.len().saturating_sub(1)).unwrap_or_default();
    json::cut::key(literal).unwrap_or_else(|| Cow::Borrowed(inner()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn errors_name_the_field_by_its_path() {
        let raw = r#"{"messages":[{"role":1}]}"#;
        let root = At::Root;
        let obj = Obj::parse(raw, root).unwrap();
        let at = root.key("messages");
        let items = obj.list(root, "messages").unwrap().unwrap();
        let at = at.item(0);
        let inner = Obj::read(items[0], at).unwrap();
        let fault = inner.need_text(at, "role").err().unwrap();
        assert_eq!(fault.param.as_deref(), Some("messages[0].role"));
        assert_eq!(inner.need_text(at, "content").err().unwrap().code, Code::MissingField);
    }

    #[test]
    fn a_key_that_comes_twice_is_refused_also_when_one_is_escaped() {
        let fault = Obj::parse("{\"a\":1,\"\\u0061\":2}", At::Root).err().unwrap();
        assert_eq!((fault.code, fault.param.as_deref()), (Code::InvalidValue, Some("a")));
    }

    #[test]
    fn half_a_surrogate_pair_is_no_text_and_a_whole_one_is() {
        let fault = Text::read(r#""\ud83d""#, At::Root.key("a")).err().unwrap();
        assert_eq!(fault.param.as_deref(), Some("a"));
        let text = Text::read(r#""\ud83d\ude00""#, At::Root).unwrap();
        assert_eq!(text.decode(), "\u{1f600}");
    }

    #[test]
    fn what_nobody_asked_for_is_told() {
        let obj = Obj::parse(r#"{"a":1,"b":null,"c":2}"#, At::Root).unwrap();
        assert_eq!(obj.get("a"), Some("1"));
        assert_eq!(obj.rest().collect::<Vec<_>>(), ["c"]);
    }

    #[test]
    fn an_object_of_a_million_members_costs_no_more_than_the_limit() {
        let members: Vec<String> = (0..100_000).map(|i| format!("\"k{i}\":0")).collect();
        let body = format!("{{{}}}", members.join(","));
        let fault = Obj::parse(&body, At::Root).err().unwrap();
        assert_eq!((fault.code, fault.param), (Code::InvalidValue, None));
        assert_eq!(fault.message, "the body has too many members");
        let inner = Obj::parse(&body, At::Root.key("tools")).err().unwrap();
        assert_eq!(inner.param.as_deref(), Some("tools"));
        assert_eq!(inner.message, "'tools' has too many members");
    }

    proptest! {
        #[test]
        fn no_text_makes_reading_panic(text in ".{0,80}") {
            let _ = body_text(text.as_bytes());
            let _ = Obj::read(&text, At::Root);
            let _ = Obj::parse(&text, At::Root);
            let _ = Text::read(&text, At::Root).map(|t| t.decode().len());
            let _ = list(&text, At::Root);
        }

        #[test]
        fn a_literal_decodes_to_what_was_written(text in any::<String>()) {
            let literal = serde_json::to_string(&text).unwrap();
            let read = Text::read(&literal, At::Root).unwrap();
            prop_assert_eq!(read.decode().into_owned(), text);
        }
    }
}
