//! Values with a shape of their own: secrets, keys, headers, prompts, units.

use std::sync::Arc;
use std::time::Duration;

use crate::checked::{KeepAlive, SystemPrompt, Unit};
use crate::fields::{Kind, PROMPT, SECRET, UNIT};
use crate::quantity::parse_duration;
use crate::reader::{Place, Table, Value, Weight};
use crate::secret::{HeaderValue, SecretRef, UpstreamKey};
use crate::values::{self, Wrong};

/// A prompt has at most so many bytes: far beyond any context window's share for one.
const PROMPT_BYTES_MAX: usize = 1 << 20;

/// Reads a key that holds a secret reference.
pub(crate) fn secret_key(table: &Table<'_>, key: &'static str) -> Option<SecretRef> {
    let (_, value) = table.given(key)?;
    let Some(shape) = table.shape(&SECRET, key, value) else {
        table.wrong(key, not_a_secret(value), Some(secret_hint()));
        return None;
    };
    secret(&shape)
}

fn not_a_secret(value: &Value<'_>) -> String {
    if value.get_ref().is_str() {
        return "a secret never stands in the file itself".to_owned();
    }
    Wrong::kind(&Kind::Secret, value).message
}

fn secret_hint() -> String {
    "write { env = \"NAME\" } or { file = \"PATH\" }".to_owned()
}

fn secret(shape: &Table<'_>) -> Option<SecretRef> {
    let env_given = shape.given("env").is_some();
    let file_given = shape.given("file").is_some();
    let env = shape.read("env", values::text);
    let file = shape.read("file", values::path);
    let optional = shape.read("optional", values::boolean)?;
    if env_given == file_given {
        let wrong = Wrong {
            message: "expected exactly one of env and file".to_owned(),
            hint: Some(secret_hint()),
            at: None,
        };
        shape.note_self(Weight::Wrong, wrong);
        return None;
    }
    if let Some(path) = file {
        return Some(SecretRef::File { path, optional });
    }
    let name = env?;
    // Also keeps a secret that was pasted here by mistake from being printed as a name.
    let is_name = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.starts_with(|c: char| c.is_ascii_digit());
    if !is_name {
        shape.wrong("env", "expected the name of an environment variable", None);
        return None;
    }
    if !optional && !shape.context.has_env(&name) {
        // The name is not repeated: some secrets look like one.
        shape.warn("env", "this environment variable is not set here", None);
    }
    Some(SecretRef::Env { name, optional })
}

/// Reads an upstream's key. `None` if it is not given or wrong.
pub(crate) fn upstream_key(table: &Table<'_>, key: &'static str) -> Option<UpstreamKey> {
    let (_, value) = table.given(key)?;
    match value.get_ref().as_str() {
        Some("client") => return Some(UpstreamKey::Client),
        Some("none") => return Some(UpstreamKey::None),
        Some(_) => {
            let hint = format!("{}, or \"client\" or \"none\"", secret_hint());
            table.wrong(key, "a secret never stands in the file itself", Some(hint));
            return None;
        }
        None => {}
    }
    let Some(shape) = table.shape(&SECRET, key, value) else {
        table.wrong(key, Wrong::kind(&Kind::UpstreamKey, value).message, None);
        return None;
    };
    secret(&shape).map(UpstreamKey::Secret)
}

/// The entries of a table whose keys the user chooses, sorted by key.
pub(crate) fn entries<'a>(
    table: &Table<'a>,
    key: &'static str,
) -> Vec<(&'a str, usize, &'a Value<'a>)> {
    let Some((_, value)) = table.given(key) else { return Vec::new() };
    let Some(map) = value.get_ref().as_table() else {
        if let Some(field) = table.field(key) {
            table.wrong(key, Wrong::kind(&field.kind, value).message, None);
        }
        return Vec::new();
    };
    let mut entries: Vec<_> =
        map.iter().map(|(k, v)| (k.get_ref().as_ref(), k.span().start, v)).collect();
    entries.sort_by_key(|&(name, ..)| name);
    entries
}

pub(crate) fn entry_path(table: &Table<'_>, key: &str, entry: &str) -> String {
    format!("{}.{}", table.key_path(key), crate::reader::bare_or_quoted(entry))
}

/// Headers that the gateway writes itself, or that could be used to smuggle a request.
const OWN_HEADERS: &[&str] = &[
    "host",
    "content-length",
    "content-type",
    "transfer-encoding",
    "connection",
    "keep-alive",
    "te",
    "trailer",
    "upgrade",
    "expect",
    "accept-encoding",
    "proxy-authorization",
    "cookie",
];

/// Reads static extra headers, sorted by name.
pub(crate) fn headers(table: &Table<'_>, key: &'static str) -> Vec<(String, HeaderValue)> {
    let mut headers: Vec<(String, HeaderValue)> = Vec::new();
    for (name, at, value) in entries(table, key) {
        let path = entry_path(table, key, name);
        let note = |at: usize, wrong: Wrong| {
            table.context.note(Place::new(at, path.as_str()), Weight::Wrong, wrong);
        };
        let name = match values::header_name(name) {
            Ok(name) if OWN_HEADERS.contains(&name.as_str()) => {
                note(at, Wrong::new("this header is cutover's own to write"));
                continue;
            }
            Ok(name) if headers.iter().any(|(other, _)| *other == name) => {
                note(at, Wrong::new("this header stands twice"));
                continue;
            }
            Ok(name) => name,
            Err(wrong) => {
                note(at, wrong);
                continue;
            }
        };
        if let Some(shape) = table.nested_shape(&SECRET, &path, value) {
            if let Some(secret) = secret(&shape) {
                headers.push((name, HeaderValue::Secret(secret)));
            }
            continue;
        }
        let credential = ["authorization", "x-api-key", "api-key", "x-goog-api-key"];
        if credential.contains(&name.as_str()) {
            let message = "a secret never stands in the file itself".to_owned();
            note(value.span().start, Wrong { message, hint: Some(secret_hint()), at: None });
            continue;
        }
        match values::header_text(value) {
            Ok(text) => headers.push((name, HeaderValue::Text(text))),
            Err(wrong) => note(value.span().start, wrong),
        }
    }
    headers.sort_by(|a, b| a.0.cmp(&b.0));
    headers
}

/// Whether the keys of a map are header names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum MapOf {
    Headers,
    Metadata,
}

/// Reads a table of texts, sorted by key.
pub(crate) fn text_map(table: &Table<'_>, key: &'static str, of: MapOf) -> Vec<(String, String)> {
    let mut map: Vec<(String, String)> = Vec::new();
    for (name, at, value) in entries(table, key) {
        let read = match of {
            MapOf::Headers => values::header_name(name)
                .map_err(|wrong| Wrong { at: Some(at), ..wrong })
                .and_then(|name| Ok((name, values::header_text(value)?))),
            MapOf::Metadata => values::text(value, &Kind::Text).map(|text| (name.to_owned(), text)),
        };
        let noted = match read {
            Ok((name, _)) if map.iter().any(|(other, _)| *other == name) => {
                Wrong { at: Some(at), ..Wrong::new("this header stands twice") }
            }
            Ok(entry) => {
                map.push(entry);
                continue;
            }
            Err(wrong) => wrong,
        };
        let at = noted.at.unwrap_or(value.span().start);
        table.context.note(Place::new(at, entry_path(table, key, name)), Weight::Wrong, noted);
    }
    map.sort();
    map
}

/// Reads a system prompt: its text, or a reference to a file.
pub(crate) fn prompt(table: &Table<'_>, key: &'static str) -> Option<SystemPrompt> {
    let (_, value) = table.given(key)?;
    if let Some(shape) = table.shape(&PROMPT, key, value) {
        return shape.read("file", values::path).map(SystemPrompt::File);
    }
    match value.get_ref().as_str() {
        Some(text) if text.trim().is_empty() => {
            table.wrong(key, "expected a text that is not empty", None);
            None
        }
        Some(text) if text.len() > PROMPT_BYTES_MAX => {
            table.wrong(key, format!("expected at most {PROMPT_BYTES_MAX} bytes"), None);
            None
        }
        Some(text) => Some(SystemPrompt::Text(Arc::from(text))),
        None => {
            table.wrong(key, Wrong::kind(&Kind::Prompt, value).message, None);
            None
        }
    }
}

/// Reads what is assigned to an arm.
pub(crate) fn unit(table: &Table<'_>, key: &'static str) -> Option<Unit> {
    let Some((_, value)) = table.given(key) else { return Some(Unit::User) };
    match value.get_ref().as_str() {
        Some("user") => return Some(Unit::User),
        Some("key") => return Some(Unit::Key),
        Some("request") => return Some(Unit::Request),
        _ => {}
    }
    let Some(shape) = table.shape(&UNIT, key, value) else {
        table.wrong(key, format!("expected {}", Kind::Unit.words()), None);
        return None;
    };
    let header_given = shape.given("header").is_some();
    let metadata_given = shape.given("metadata").is_some();
    let header = shape.read("header", |value, kind| {
        values::text(value, kind).and_then(|name| values::header_name(&name))
    });
    let metadata = shape.read("metadata", values::text);
    if header_given == metadata_given {
        let wrong = Wrong::new("expected exactly one of header and metadata");
        shape.note_self(Weight::Wrong, wrong);
        return None;
    }
    header.map(Unit::Header).or(metadata.map(Unit::Metadata))
}

/// Reads how long Ollama keeps a model.
pub(crate) fn keep_alive(value: &Value<'_>, kind: &Kind) -> Result<KeepAlive, Wrong> {
    const KEPT_MAX: Duration = Duration::from_hours(24 * 365);
    let text = value.get_ref().as_str().ok_or_else(|| Wrong::kind(kind, value))?;
    if text == "forever" {
        return Ok(KeepAlive::Forever);
    }
    match parse_duration(text) {
        // Ollama counts seconds; half of one would become none, which unloads at once.
        Ok(duration) if duration.subsec_nanos() != 0 => Err(Wrong::new("expected whole seconds")),
        Ok(duration) if duration <= KEPT_MAX => Ok(KeepAlive::For(duration)),
        Ok(_) => Err(Wrong {
            hint: Some("write \"forever\"".to_owned()),
            ..Wrong::new("expected at most a year")
        }),
        Err(why) => Err(Wrong::new(why)),
    }
}
