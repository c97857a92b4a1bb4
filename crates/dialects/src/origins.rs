//! The way back for names: what a converted request calls `messages[0].tool_calls[0].function.arguments`,
//! the client wrote as `messages[0].content[1].input`, and an error must say so.
//!
//! What the conversions carry they carry as slices of the client's body. So nothing is noted while a
//! request is converted but where those slices begin; the client's path is looked for in its own body, and
//! only if there is an error to name it in. What was made anew (a schema's envelope, a level out of a
//! budget) is found through the dialect's table of fields: the first row that becomes the field and that
//! the client sent.

use std::borrow::Cow;
use std::fmt::{self, Write as _};

use bytes::Bytes;
use cutover_wire::{Fault, Loss};
use memchr::memmem;

use crate::pivot::{Chat, Message, Part};
use crate::read::Text;
use crate::split;
use crate::table::Field;

/// Where in the converted request something stands.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Spot {
    /// A part of a message.
    Part(usize, usize),
    /// The id that a tool's result answers to.
    Result(usize),
    CallName(usize, usize),
    CallArguments(usize, usize),
    ToolName(usize),
    ToolSchema(usize),
    Field(&'static str),
}

impl Spot {
    fn message(self) -> Option<usize> {
        match self {
            Self::Part(at, _)
            | Self::Result(at)
            | Self::CallName(at, _)
            | Self::CallArguments(at, _) => Some(at),
            Self::ToolName(_) | Self::ToolSchema(_) | Self::Field(_) => None,
        }
    }

    fn tool(self) -> Option<usize> {
        match self {
            Self::ToolName(at) | Self::ToolSchema(at) => Some(at),
            _ => None,
        }
    }
}

/// What the client calls the fields of its request. The default knows nothing. No `Debug` of the body.
#[derive(Clone, Default)]
pub struct Origins {
    body: Bytes,
    fields: &'static [Field],
    spots: Vec<(Spot, usize)>,
}

impl fmt::Debug for Origins {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origins").field("spots", &self.spots.len()).finish_non_exhaustive()
    }
}

/// What the dialects call the reasoning of earlier answers.
const THOUGHTS: [&str; 4] = [
    "input[].reasoning",
    "messages[].content[].thinking",
    "contents[].parts[].thought",
    "messages[].thinking",
];

/// What its maker needs to take reasoning back.
const SIGNED: &str = "messages[].reasoning_details";

/// What of it clients of Messages send: beside thoughts, or in place of them.
const SIGNATURE: &str = "messages[].content[].signature";
const HIDDEN: &str = "messages[].content[].redacted_thinking";

/// Fields of chat completions that are two sides of one wish.
const SAME: [[&str; 2]; 2] =
    [["max_completion_tokens", "max_tokens"], ["top_logprobs", "logprobs"]];

/// Whether two names are of one wish.
fn same(one: &str, other: &str) -> bool {
    one == other || SAME.iter().any(|pair| pair.contains(&one) && pair.contains(&other))
}

impl Origins {
    /// Of a request that was converted from a body.
    pub(crate) fn of(chat: &Chat<'_>, body: &Bytes, fields: &'static [Field]) -> Self {
        let mut noted = Self { body: body.clone(), fields, spots: Vec::new() };
        for (at, message) in chat.messages.iter().enumerate() {
            noted.message(at, message);
        }
        for (at, tool) in chat.tools.iter().enumerate() {
            noted.note(Spot::ToolName(at), slice(&tool.name));
            noted.note(Spot::ToolSchema(at), tool.parameters.as_ref().and_then(borrowed));
        }
        for (name, raw) in &chat.fields {
            noted.note(Spot::Field(name), borrowed(raw));
        }
        noted
    }

    /// Of a request that is known by its dialect alone.
    pub fn of_table(fields: &'static [Field]) -> Self {
        Self { fields, ..Self::default() }
    }

    fn note(&mut self, spot: Spot, slice: Option<&str>) {
        let from = self.body.as_ptr() as usize;
        let offset = slice.and_then(|slice| (slice.as_ptr() as usize).checked_sub(from));
        if let Some(offset) = offset.filter(|offset| *offset < self.body.len()) {
            self.spots.push((spot, offset));
        }
    }

    fn message(&mut self, at: usize, message: &Message<'_>) {
        match message {
            Message::Said { parts, .. } => self.parts(at, parts),
            Message::Tool { id, parts, .. } => {
                self.note(Spot::Result(at), slice(id));
                self.parts(at, parts);
            }
            Message::Assistant(said) => {
                for (part, text) in said.texts.iter().enumerate() {
                    self.note(Spot::Part(at, part), slice(text));
                }
                for (number, call) in said.calls.iter().enumerate() {
                    self.note(Spot::CallName(at, number), slice(&call.name));
                    self.note(Spot::CallArguments(at, number), slice(&call.arguments));
                }
            }
        }
    }

    fn parts(&mut self, at: usize, parts: &[Part<'_>]) {
        for (number, part) in parts.iter().enumerate() {
            self.note(Spot::Part(at, number), content(part));
        }
    }

    /// Gives the body up: names are told by the table alone from here on.
    pub fn forget_body(&mut self) {
        (self.body, self.spots) = (Bytes::new(), Vec::new());
    }

    /// An error about the converted request, in the client's words.
    pub fn in_clients_words(&self, fault: Fault) -> Fault {
        let Some(param) = &fault.param else { return fault };
        let own = self.path(param);
        let message = match &own {
            Some(own) => renamed(&fault.message, param, own),
            None => fault.message,
        };
        Fault { message, param: own, ..fault }
    }

    /// A line of the loss report, in the client's words if it has one for the field.
    pub fn loss_in_clients_words(&self, loss: Loss) -> Loss {
        if loss.field.starts_with("messages[].reasoning_") {
            let rows = || self.fields.iter().map(|row| row.path.rsplit(": ").next().unwrap_or(""));
            if loss.field == SIGNED && rows().any(|path| path == SIGNATURE) {
                return Loss { field: self.signed().to_owned(), ..loss };
            }
            let own = THOUGHTS.into_iter().find(|thought| rows().any(|path| path == *thought));
            return Loss { field: own.map_or(loss.field, str::to_owned), ..loss };
        }
        let simple = !loss.field.contains(['.', '[']);
        match self.path(&loss.field).filter(|_| simple) {
            Some(field) => Loss { field, ..loss },
            None => loss,
        }
    }

    /// The thoughts may have been sent, when what their maker needs beside them was not.
    fn signed(&self) -> &'static str {
        let holds = |word: &str| memmem::find(&self.body, word.as_bytes()).is_some();
        if holds("\"redacted_thinking\"") && !holds("\"signature\"") { HIDDEN } else { SIGNATURE }
    }

    /// What the client calls a field of the converted request; `None`: it said nothing like it.
    pub fn path(&self, chat: &str) -> Option<String> {
        let (name, index, rest) = cut(chat);
        let found = match (name, index) {
            ("messages", Some(at)) => self.in_message(at, rest),
            ("tools", Some(at)) => self.in_tool(at, rest),
            _ => self.field(name, chat.get(name.len()..).unwrap_or_default()),
        };
        found.or_else(|| self.by_table(name))
    }

    /// Where the slice of a spot stands, by its path.
    fn place(&self, wanted: Spot) -> Option<String> {
        let (_, offset) = self.spots.iter().find(|(spot, _)| *spot == wanted)?;
        self.at(*offset)
    }

    /// The path of the value that begins at an offset of the body.
    fn at(&self, offset: usize) -> Option<String> {
        let text = std::str::from_utf8(&self.body).ok()?;
        let mut path = String::new();
        let start = text.len() - text.trim_ascii_start().len();
        find(text, text.get(start..)?, offset, &mut path).then_some(path)
    }

    fn in_message(&self, at: usize, rest: &str) -> Option<String> {
        let (name, index, deeper) = cut(rest);
        let found = match (name, index) {
            ("tool_calls", Some(call)) => self.in_call((at, call), deeper),
            ("tool_call_id", _) => self.place(Spot::Result(at)),
            ("content", Some(part)) => {
                let place = self.place(Spot::Part(at, part));
                let whole = matches!(
                    deeper,
                    "text" | "refusal" | "image_url" | "image_url.url" | "file" | "file.file_data"
                );
                match deeper {
                    _ if whole => place,
                    "image_url.detail" => place.map(|place| element(place) + ".detail"),
                    _ => place.map(element),
                }
            }
            ("content", None) => self.place(Spot::Part(at, 0)).map(container),
            _ => None,
        };
        found.or_else(|| {
            let of = |(spot, _): &&(Spot, usize)| spot.message() == Some(at);
            let (_, offset) = self.spots.iter().find(of)?;
            self.at(*offset).map(top)
        })
    }

    fn in_call(&self, (at, call): (usize, usize), rest: &str) -> Option<String> {
        let name = || self.place(Spot::CallName(at, call));
        match rest {
            "function.arguments" => self.place(Spot::CallArguments(at, call)),
            "function.name" => name(),
            _ => name().map(element),
        }
    }

    fn in_tool(&self, at: usize, rest: &str) -> Option<String> {
        if let Some(deeper) = rest.strip_prefix("function.parameters") {
            return Some(self.place(Spot::ToolSchema(at))? + deeper);
        }
        if rest == "function.name" {
            return self.place(Spot::ToolName(at));
        }
        let of = |(spot, _): &&(Spot, usize)| spot.tool() == Some(at);
        let (_, offset) = self.spots.iter().find(of)?;
        self.at(*offset).map(element)
    }

    /// A field that was carried as it was, and what is said of its inside.
    fn field(&self, name: &str, deeper: &str) -> Option<String> {
        let carried = |of: &dyn Fn(&str) -> bool| {
            self.spots.iter().find(|(spot, _)| matches!(spot, Spot::Field(known) if of(known)))
        };
        let found = carried(&|known| known == name).or_else(|| carried(&|known| same(known, name)));
        Some(self.at(found?.1)? + deeper)
    }

    /// The first field of the dialect that becomes this one, of those that the client sent.
    fn by_table(&self, name: &str) -> Option<String> {
        let paths = || {
            self.fields.iter().map(|field| (field.path.rsplit(": ").next().unwrap_or(""), field))
        };
        // The model may stand in the path instead of the body.
        let there = name == "model" || self.sent(name);
        if there && paths().any(|(path, _)| path == name) {
            return Some(name.to_owned());
        }
        let of = |wanted: &dyn Fn(&str) -> bool| {
            let rows = paths().filter(|(_, field)| field.fate.becomes().is_some_and(wanted));
            let mut tops = rows.map(|(path, _)| path.split("[]").next().unwrap_or(path));
            tops.find(|path| self.sent(path)).map(str::to_owned)
        };
        of(&|other| other == name).or_else(|| of(&|other| same(other, name)))
    }

    /// Whether the client sent a field of this path. Without its body: it did.
    fn sent(&self, path: &str) -> bool {
        let text = std::str::from_utf8(&self.body).unwrap_or_default();
        let mut value = text.trim_ascii();
        if value.is_empty() {
            return true;
        }
        for name in path.split('.') {
            let mut members = split::members(value).into_iter().flatten();
            let Some((_, inner)) = members.find(|(key, _)| key_is(key, name)) else { return false };
            value = inner;
        }
        value != "null"
    }
}

fn key_is(literal: &str, name: &str) -> bool {
    literal.get(1..literal.len().saturating_sub(1)) == Some(name)
}

/// The slice of the client's body that a text is.
fn slice<'a>(text: &'a Text<'_>) -> Option<&'a str> {
    match text {
        Text::Literal(raw) => Some(raw),
        Text::Behind { from, .. } => Some(from),
        Text::Plain(text) => borrowed(text),
    }
}

#[expect(clippy::ptr_arg, reason = "whether it is borrowed is the question")]
fn borrowed<'a>(text: &'a Cow<'_, str>) -> Option<&'a str> {
    match text {
        Cow::Borrowed(text) => Some(text),
        Cow::Owned(_) => None,
    }
}

fn content<'a>(part: &'a Part<'_>) -> Option<&'a str> {
    match part {
        Part::Text(text)
        | Part::Image { url: text, .. }
        | Part::Audio { data: text, .. }
        | Part::File { data: text, .. } => slice(text),
        Part::Marked(inner, _) => content(inner),
    }
}

/// Appends the path from a value down to the one that begins at an offset of the body.
fn find(body: &str, value: &str, offset: usize, path: &mut String) -> bool {
    let start = (value.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
    if start == offset {
        return true;
    }
    let holds = |inner: &str| {
        let start = (inner.as_ptr() as usize).saturating_sub(body.as_ptr() as usize);
        (start..start + inner.len()).contains(&offset)
    };
    if let Some(mut members) = split::members(value) {
        let Some((key, inner)) = members.find(|(_, inner)| holds(inner)) else { return false };
        if !path.is_empty() {
            path.push('.');
        }
        path.push_str(key.get(1..key.len().saturating_sub(1)).unwrap_or_default());
        return find(body, inner, offset, path);
    }
    let Some(elements) = split::elements(value) else {
        // Inside of a text: the text is what the client knows.
        return value.starts_with('"');
    };
    let Some((at, inner)) = elements.enumerate().find(|(_, inner)| holds(inner)) else {
        return false;
    };
    let _infallible = write!(path, "[{at}]");
    find(body, inner, offset, path)
}

/// The first name of a path, its index if it has one, and the rest.
fn cut(path: &str) -> (&str, Option<usize>, &str) {
    let end = path.find(['.', '[']).unwrap_or(path.len());
    let (name, rest) = path.split_at(end);
    let (index, rest) = match rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((index, rest)) => (index.parse().ok(), rest),
        None => (None, rest),
    };
    (name, index, rest.strip_prefix('.').unwrap_or(rest))
}

/// The element that a field belongs to: `a[1].b[2].c` > `a[1].b[2]`.
fn element(mut path: String) -> String {
    path.truncate(path.rfind(']').map_or(path.len(), |at| at + 1));
    path
}

/// What holds a text, or the list of parts that the text is in: `a[1].content[2].text` > `a[1].content`.
fn container(mut path: String) -> String {
    let top = path.find(']').map_or(0, |at| at + 1);
    path.truncate(path.rfind('[').filter(|at| *at > top).unwrap_or(path.len()));
    path
}

/// The element of the outermost list: `a[1].b[2].c` > `a[1]`.
fn top(mut path: String) -> String {
    path.truncate(path.find(']').map_or(path.len(), |at| at + 1));
    path
}

/// The message with the client's path where the other stood in quotes.
fn renamed(message: &str, chat: &str, own: &str) -> String {
    message.replace(&format!("'{chat}'"), &format!("'{own}'"))
}

#[cfg(test)]
mod tests;
