//! Edits inside `messages`: what the variant puts around them ([`crate::framing`]), and the `developer` role for engines whose
//! templates do not know it.

use std::fmt::Write as _;
use std::ops::Range;

use memchr::memmem;
use serde_json::value::RawValue;

use super::splice::Edits;
use crate::errors::Fault;
use crate::framing::{self, Framing, Item, Said};
use crate::head::{self, Head, Key, Words};
use crate::json;
use crate::openai::content::{Content, Part};
use crate::target::Target;

use bytes::Bytes;

/// Plans the edits. Looks into the messages only if there is something to do.
pub(super) fn edit(
    head: &Head,
    body: &Bytes,
    (target, framing): (&Target, Option<&Framing>),
    edits: &mut Edits<'_>,
) -> Result<(), Fault> {
    // Most requests end here.
    let rename = target.provider.quirks.developer_as_system && head.may_have(Words::DEVELOPER);
    if !rename && framing.is_none() {
        return Ok(());
    }
    let Some(messages) = head.members.iter().find(|m| m.key == Key::Messages) else {
        return Ok(());
    };
    let text = head.text(body, &messages.value);
    let place = Place { text, base: messages.value.start };
    let items: Vec<&RawValue> = json::typed_borrowed(text, "messages")?;
    let list: Vec<Message<'_>> = items.iter().map(|raw| Message::read(raw.get())).collect();
    let mut gone = Vec::new();
    if let Some(framing) = framing {
        let said: Vec<Said> = list.iter().map(Message::said).collect();
        let text_of = |at: usize| list.get(at).map(Message::text).unwrap_or_default();
        let planned = framing::plan(framing, &said, &text_of);
        gone = frame(&planned, (&items, &list), &place, edits);
    }
    if rename {
        let developers =
            list.iter().enumerate().filter(|(at, m)| !gone.contains(at) && m.is("developer"));
        for (_, message) in developers {
            if let Some(role) = message.role {
                edits.replace(place.of(role), "\"system\"");
            }
        }
    }
    Ok(())
}

/// Where the first message with an image stands, if that can be told.
pub(super) fn first_image(head: &Head, body: &Bytes) -> Option<String> {
    let messages = head.members.iter().find(|member| member.key == Key::Messages)?;
    let items: Vec<&RawValue> =
        json::typed_borrowed(head.text(body, &messages.value), Key::Messages.name()).ok()?;
    let at = items.iter().position(|raw| head::has_image(raw.get()))?;
    Some(format!("messages[{at}]"))
}

/// Turns planned messages into edits: what stays keeps its bytes, and what stands between two messages
/// that follow each other still. Tells which messages are gone.
fn frame(
    planned: &[Item],
    (items, list): (&[&RawValue], &[Message<'_>]),
    place: &Place<'_>,
    edits: &mut Edits<'_>,
) -> Vec<usize> {
    let range = |at: usize| items.get(at).map_or(0..0, |raw| json::range_in(place.text, raw.get()));
    // Where the last message that stays ends; the list's bracket at first.
    let (mut end, mut next, mut waiting) = (1, 0, String::new());
    let (mut any, mut gone) = (false, Vec::new());
    for item in planned {
        match item {
            Item::New { role, texts } => {
                let comma = if any { "," } else { "" };
                let text = json::string(&framing::joined(texts));
                let _ = write!(waiting, "{comma}{{\"role\":\"{role}\",\"content\":{text}}}");
            }
            Item::Kept { at, before, after } => {
                let whole = range(*at);
                if *at != next || !waiting.is_empty() {
                    gone.extend(next..*at);
                    let comma = if any { "," } else { "" };
                    let gap = format!("{}{comma}", std::mem::take(&mut waiting));
                    edits.replace(place.at(end).start..place.at(whole.start).start, gap);
                }
                if let Some(message) = list.get(*at) {
                    message.surround((before, after), place, edits);
                }
                (end, next) = (whole.end, at + 1);
            }
        }
        any = true;
    }
    if next < items.len() || !waiting.is_empty() {
        gone.extend(next..items.len());
        let close = place.text.rfind(']').unwrap_or(end);
        edits.replace(place.at(end).start..place.at(close).start, waiting);
    }
    gone
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

    /// Who says it, as far as text can be put around its own.
    fn said(&self) -> Said {
        let first = self.content.and_then(|content| content.as_bytes().first());
        if !matches!(first, Some(b'"' | b'[')) {
            return Said::Other;
        }
        match self.role.and_then(|raw| serde_json::from_str::<String>(raw).ok()).as_deref() {
            Some("system" | "developer") => Said::System,
            Some("user") if !self.is_attached() => Said::User,
            _ => Said::Other,
        }
    }

    /// Whether it holds nothing but what stood in results of tools.
    fn is_attached(&self) -> bool {
        // Only such a message, or one whose client writes the same, is read.
        let raw = self.content.filter(|raw| {
            raw.starts_with('[')
                && memmem::find(raw.as_bytes(), framing::ATTACHED.as_bytes()).is_some()
        });
        let content = raw.and_then(|raw| serde_json::from_str::<Content>(raw).ok());
        let Some(Content::Parts(parts)) = content else { return false };
        let label = |part: &Part| match part {
            Part::Text { text } => Some(framing::is_label(text)),
            _ => None,
        };
        let mut labels = parts.iter().filter_map(label).peekable();
        labels.peek().is_some() && labels.all(|is_label| is_label)
    }

    /// Its text; parts that are none are left out.
    fn text(&self) -> String {
        let content = self.content.and_then(|raw| serde_json::from_str::<Content>(raw).ok());
        content.map(|content| content.text().into_owned()).unwrap_or_default()
    }

    /// Puts texts around its own.
    fn surround(
        &self,
        (before, after): (&[String], &[String]),
        place: &Place<'_>,
        edits: &mut Edits<'_>,
    ) {
        let Some(content) = self.content else { return };
        let range = json::range_in(place.text, content);
        let (before, after) = (framing::joined(before), framing::joined(after));
        let inner = |text: &str| {
            let quoted = json::string(text);
            quoted.get(1..quoted.len() - 1).unwrap_or_default().to_owned()
        };
        let part = |text: &str| format!("{{\"type\":\"text\",\"text\":{}}}", json::string(text));
        let is_text = content.starts_with('"');
        let has_own =
            if is_text { content.len() > 2 } else { !comma_before_more(content).is_empty() };
        if !before.is_empty() {
            let text = match (is_text, has_own) {
                (true, true) => format!("{}\\n\\n", inner(&before)),
                (true, false) => inner(&before),
                (false, true) => format!("{},", part(&before)),
                (false, false) => part(&before),
            };
            edits.replace(place.at(range.start + 1), text);
        }
        if !after.is_empty() {
            let follows = has_own || !before.is_empty();
            let text = match (is_text, follows) {
                (true, true) => format!("\\n\\n{}", inner(&after)),
                (true, false) => inner(&after),
                (false, true) => format!(",{}", part(&after)),
                (false, false) => part(&after),
            };
            edits.replace(place.at(range.end - 1), text);
        }
    }

    fn is(&self, role: &str) -> bool {
        self.role.is_some_and(|raw| serde_json::from_str::<String>(raw).is_ok_and(|r| r == role))
    }
}

/// A comma if the array holds anything.
fn comma_before_more(array: &str) -> &'static str {
    let next = json::skip_space(array.as_bytes(), 1);
    if array.as_bytes().get(next) == Some(&b']') { "" } else { "," }
}
