//! What a body that is passed on tells of where it may go: the model it asks for, and its metadata.
//!
//! ```text
//! content-type ─▶ Kind     body ─▶ Kind::read ─▶ Told { model, metadata }     or nobody can say
//! ```
//!
//! Nothing is guessed: what two readers could read differently (a field given twice, a line that is only nearly a
//! boundary, a part with a coding of its own) is not read at all, so that no upstream finds another model in it than was
//! judged here. Whoever asks treats that as the worst.

use std::collections::HashMap;

use cutover_route::surface::Family;
use cutover_units::Code;
use cutover_wire::{Fault, json};
use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// How a body is written, if it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// One JSON object.
    Json,
    /// A form in parts (`multipart/form-data`), and what stands between them.
    Form {
        /// The boundary, without its dashes.
        boundary: String,
    },
}

/// What a body says. No `Debug`: metadata is the client's.
#[derive(Default)]
pub struct Told {
    /// The model that is asked for; empty: none.
    pub model: String,
    metadata: HashMap<String, String>,
}

impl Kind {
    /// By the values of the header `content-type`. None: no body that is read here.
    pub fn of<'a>(mut content_types: impl Iterator<Item = &'a [u8]>) -> Option<Self> {
        let only = content_types.next().filter(|_| content_types.next().is_none())?;
        let (essence, parameters) = header_value(std::str::from_utf8(only).ok()?)?;
        match &*essence {
            "application/json" => Some(Self::Json),
            "multipart/form-data" => {
                let boundary = parameter(&parameters, "boundary")?;
                let is_plain = |byte: u8| byte.is_ascii_graphic() || byte == b' ';
                let fits = (1..=70).contains(&boundary.len()) && boundary.bytes().all(is_plain);
                fits.then(|| Self::Form { boundary: boundary.to_owned() })
            }
            _ => None,
        }
    }

    /// How a body of this family is written.
    ///
    /// # Errors
    ///
    /// If what it says cannot be told, whatever that is; in words for its client, as below.
    pub fn judgeable<'a>(
        family: &Family,
        content_types: impl Iterator<Item = &'a [u8]>,
    ) -> Result<Self, Fault> {
        match Self::of(content_types) {
            None => Err(unclear("of a body that is neither JSON nor a form")),
            Some(Self::Form { .. }) if !family.forms_tell_models() => {
                Err(unclear(&format!("of files that {} are sent", family.name)))
            }
            Some(kind) => Ok(kind),
        }
    }

    /// [`Kind::read`] for a request that may stay with local upstreams.
    ///
    /// # Errors
    ///
    /// If what the body says is not certain.
    pub fn judged(&self, body: &[u8]) -> Result<Told, Fault> {
        self.read(body).ok_or_else(|| match self {
            Self::Json => unclear("of a body that is not one JSON object with each field once"),
            Self::Form { .. } => unclear("of a form without exactly one plain field `model`"),
        })
    }

    /// Reads a body. None: what it says is not certain.
    pub fn read(&self, body: &[u8]) -> Option<Told> {
        match self {
            Self::Json => of_json(body),
            Self::Form { boundary } => of_form(body, boundary),
        }
    }
}

impl Told {
    /// An entry of the metadata.
    pub fn metadata(&self, name: &str) -> Option<&str> {
        self.metadata.get(name).map(String::as_str)
    }
}

/// What is said of a body that is too large to be judged.
pub fn too_large_to_judge(bytes_max: usize) -> Fault {
    unclear(&format!("of a body above {bytes_max} bytes (server.body_limit)"))
}

fn unclear(of_what: &str) -> Fault {
    let message = format!(
        "a local-only use case knows its requests by their model or metadata, and {of_what} nobody can tell \
         whether it is one of them; name its use case with the header x-cutover-use-case"
    );
    Fault::new(Code::NoLocalUpstream, message)
}

fn of_json(body: &[u8]) -> Option<Told> {
    let mut told = Told::default();
    let (mut models, mut metadata) = (0, 0);
    for (name, raw) in members(json::text(body)?)? {
        match &*name {
            "model" => {
                models += 1;
                told.model = serde_json::from_str::<Option<String>>(raw).ok()?.unwrap_or_default();
            }
            "metadata" => {
                metadata += 1;
                told.metadata = entries(raw)?;
            }
            _ => {}
        }
    }
    (models < 2 && metadata < 2).then_some(told)
}

/// Texts, and numbers and flags as they are written, as chats' metadata is read.
fn entries(raw: &str) -> Option<HashMap<String, String>> {
    if raw == "null" {
        return Some(HashMap::new());
    }
    let mut read = HashMap::new();
    for (name, value) in members(raw)? {
        let Some(text) = entry(value).ok()? else { continue };
        if read.insert(name, text).is_some() {
            return None;
        }
    }
    Some(read)
}

/// The text of an entry, if it has one.
fn entry(value: &str) -> serde_json::Result<Option<String>> {
    if value.starts_with('"') {
        return serde_json::from_str(value);
    }
    let has_none = value.starts_with(['{', '[']) || value == "null";
    Ok((!has_none).then(|| value.to_owned()))
}

/// The metadata of a request that its dialect reads, as its client wrote it, whatever the dialect makes of that. A name
/// that is no text (half a character) is nobody's, and hides none behind it; of entries that are there twice the last counts.
pub fn metadata_of(body: &[u8]) -> HashMap<String, String> {
    // A long body that has none is not walked. A name may be written with escapes.
    if [&b"metadata"[..], b"\\u"].iter().all(|sign| memmem::find(body, sign).is_none()) {
        return HashMap::new();
    }
    let named = |raw| {
        json::cut::members(raw).into_iter().flatten().filter_map(|(literal, value)| {
            Some((serde_json::from_str::<String>(literal).ok()?, value))
        })
    };
    let all = json::text(body).map(str::trim_ascii).into_iter().flat_map(named);
    let raw = all.filter(|(name, _)| name == "metadata").last();
    let entries = raw.into_iter().flat_map(|(_, raw)| named(raw));
    entries.filter_map(|(name, value)| Some((name, entry(value).ok()??))).collect()
}

/// An object's members. One with escaped names is read by the parser.
fn members(text: &str) -> Option<Vec<(String, &str)>> {
    if let Some(members) = json::sound_members(text.as_bytes()) {
        return Some(members.into_iter().map(|(name, raw)| (name.to_owned(), raw)).collect());
    }
    let Members(members) = serde_json::from_str(text).ok()?;
    Some(members.into_iter().map(|(name, raw)| (name, raw.get())).collect())
}

struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A form tells its model if exactly one field is called that and nothing else could be.
fn of_form(body: &[u8], boundary: &str) -> Option<Told> {
    let mut model = None;
    for part in parts(body, boundary)? {
        let (name, is_plain, value) = part_of(part)?;
        // Other names for the same, or for how it is written.
        let doubtful = ["model[", "metadata", "_charset_"];
        if doubtful.iter().any(|start| name.starts_with(start)) {
            return None;
        }
        if name == "model" {
            let text = std::str::from_utf8(value).ok().filter(|_| is_plain && model.is_none())?;
            model = Some(text.to_owned());
        }
    }
    Some(Told { model: model?, ..Told::default() })
}

/// What stands between the boundaries, headers included.
fn parts<'a>(body: &'a [u8], boundary: &str) -> Option<Vec<&'a [u8]>> {
    let line = [b"--", boundary.as_bytes()].concat();
    let finder = memmem::Finder::new(&line);
    let mut parts = Vec::new();
    let mut rest = body.strip_prefix(&*line)?;
    loop {
        if let Some(end) = rest.strip_prefix(b"--") {
            return matches!(end, b"" | b"\r\n").then_some(parts);
        }
        let from = rest.strip_prefix(b"\r\n")?;
        let mut starts = finder.find_iter(from);
        // In the middle of a line it is the part's own.
        let at = starts.find(|at| matches!(from[..*at].last(), None | Some(b'\r' | b'\n')))?;
        parts.push(from[..at].strip_suffix(b"\r\n")?);
        rest = &from[at + line.len()..];
    }
}

/// A part's name, whether its value is plain text, and the value.
fn part_of(part: &[u8]) -> Option<(String, bool, &[u8])> {
    let end = memmem::find(part, b"\r\n\r\n")?;
    let head = std::str::from_utf8(&part[..end]).ok()?;
    let mut name = None;
    let mut is_plain = true;
    for line in head.split("\r\n") {
        if line.contains(['\r', '\n']) || line.starts_with([' ', '\t']) {
            return None;
        }
        let (header, value) = line.split_once(':')?;
        match &*header.to_ascii_lowercase() {
            "content-disposition" => {
                let (essence, parameters) = header_value(value)?;
                let named = parameter(&parameters, "name").filter(|_| essence == "form-data")?;
                is_plain &= parameters.iter().all(|(known, _)| known == "name");
                if name.replace(named.to_owned()).is_some() {
                    return None;
                }
            }
            "content-type" => {
                let (essence, parameters) = header_value(value)?;
                let is_utf8 = |(known, value): &(String, &str)| {
                    known == "charset" && value.eq_ignore_ascii_case("utf-8")
                };
                is_plain &= essence == "text/plain" && parameters.iter().all(is_utf8);
            }
            "content-length" => {}
            _ => is_plain = false,
        }
    }
    Some((name?, is_plain, &part[end + 4..]))
}

/// `word; name=value; name="value"`: the word and the names in lower case. None: it takes guessing.
fn header_value(text: &str) -> Option<(String, Vec<(String, &str)>)> {
    let (essence, mut rest) = text.split_once(';').unwrap_or((text, ""));
    let mut parameters: Vec<(String, &str)> = Vec::new();
    if text.contains('\\') {
        return None;
    }
    while !rest.trim().is_empty() {
        let (name, after) = rest.split_once('=')?;
        let name = name.trim().to_ascii_lowercase();
        let (value, after) = if let Some(quoted) = after.strip_prefix('"') {
            quoted.split_once('"')?
        } else {
            let (bare, after) = after.split_at(after.find(';').unwrap_or(after.len()));
            let bare = bare.trim_end();
            (Some(bare).filter(|bare| !bare.contains([' ', '\t', '"']))?, after)
        };
        let is_token = !name.is_empty() && !name.contains([';', '"', ' ', '\t', ',']);
        let is_new = parameters.iter().all(|(known, _)| *known != name);
        // A name in another coding would be a second one.
        if !is_token || !is_new || name == "name*" || name == "boundary*" {
            return None;
        }
        parameters.push((name, value));
        let after = after.trim_start();
        rest = if after.is_empty() { after } else { after.strip_prefix(';')? };
    }
    Some((essence.trim().to_ascii_lowercase(), parameters))
}

fn parameter<'a>(parameters: &[(String, &'a str)], name: &str) -> Option<&'a str> {
    parameters.iter().find(|(known, _)| known == name).map(|(_, value)| *value)
}

#[cfg(test)]
mod tests;
