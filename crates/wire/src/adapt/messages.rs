//! Edits inside `messages`: the variant's system prompt, and the `developer` role for engines whose
//! templates do not know it.

use std::ops::Range;

use memchr::memmem;
use serde_json::value::RawValue;

use super::splice::Edits;
use crate::errors::Fault;
use crate::head::{Head, Key};
use crate::json;
use crate::target::Target;

use bytes::Bytes;

/// Plans the edits. Looks into the messages only if there is something to do.
pub(super) fn edit(
    head: &Head,
    body: &Bytes,
    target: &Target,
    edits: &mut Edits<'_>,
) -> Result<(), Fault> {
    let Some(messages) = head.members.iter().find(|m| m.key == Key::Messages) else {
        return Ok(());
    };
    let prompt = target.settings.system_prompt.as_deref();
    let bytes = body.get(messages.value.clone()).unwrap_or_default();
    // Most requests end here: bytes are searched, and only a hit is worth the text's UTF-8 check.
    let rename = target.provider.quirks.developer_as_system
        && memmem::find(bytes, b"\"developer\"").is_some();
    if !rename && prompt.is_none() {
        return Ok(());
    }
    let text = head.text(body, &messages.value);
    let place = Place { text, base: messages.value.start };
    let items: Vec<&RawValue> = json::typed_borrowed(text, "messages")?;
    let list: Vec<Message<'_>> = items.iter().map(|raw| Message::read(raw.get())).collect();
    if rename {
        for message in list.iter().filter(|m| m.is("developer")) {
            if let Some(role) = message.role {
                edits.replace(place.of(role), "\"system\"");
            }
        }
    }
    if let Some(prompt) = prompt {
        put_first(prompt, list.first(), &place, edits);
    }
    Ok(())
}

/// Where the messages lie in the body.
struct Place<'a> {
    text: &'a str,
    base: usize,
}

impl Place<'_> {
    fn of(&self, part: &str) -> Range<usize> {
        let range = json::range_in(self.text, part);
        self.base + range.start..self.base + range.end
    }

    /// The empty range at an offset.
    fn at(&self, offset: usize) -> Range<usize> {
        self.base + offset..self.base + offset
    }
}

/// The two members of a message that are acted on, as raw text.
struct Message<'a> {
    role: Option<&'a str>,
    content: Option<&'a str>,
}

impl<'a> Message<'a> {
    fn read(text: &'a str) -> Self {
        let mut found = Self { role: None, content: None };
        let _ = json::members(text, |key, raw| match key {
            "role" => found.role = Some(raw.get()),
            "content" => found.content = Some(raw.get()),
            _ => {}
        });
        found
    }

    fn is(&self, role: &str) -> bool {
        self.role.is_some_and(|raw| serde_json::from_str::<String>(raw).is_ok_and(|r| r == role))
    }
}

/// Puts the prompt before the messages. Many templates take one system message only, and only first:
/// an existing one is extended instead of getting a second beside it.
fn put_first(prompt: &str, first: Option<&Message<'_>>, place: &Place<'_>, edits: &mut Edits<'_>) {
    let quoted = json::string(prompt);
    let system = first.filter(|m| m.is("system") || m.is("developer"));
    let inner = quoted.trim_start_matches('"');
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    match system.and_then(|m| m.content).map(|c| (c, c.as_bytes().first())) {
        Some((content, Some(b'"'))) => {
            let at = json::range_in(place.text, content).start + 1;
            edits.replace(place.at(at), format!("{inner}\\n\\n"));
        }
        Some((content, Some(b'['))) => {
            let at = json::range_in(place.text, content).start + 1;
            let comma = comma_before_more(content);
            edits.replace(place.at(at), format!("{{\"type\":\"text\",\"text\":{quoted}}}{comma}"));
        }
        _ => {
            let comma = comma_before_more(place.text);
            let message = format!("{{\"role\":\"system\",\"content\":{quoted}}}{comma}");
            edits.replace(place.at(1), message);
        }
    }
}

/// A comma if the array holds anything.
fn comma_before_more(array: &str) -> &'static str {
    let next = json::skip_space(array.as_bytes(), 1);
    if array.as_bytes().get(next) == Some(&b']') { "" } else { "," }
}
