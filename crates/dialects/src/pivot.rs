//! The pivot: a chat completions request, written from what the ingress dialects say.

use std::borrow::Cow;
use std::collections::HashMap;

use bytes::Bytes;
use cutover_vendors::{FAILED, MARK};
use cutover_wire::ATTACHED;

use crate::read::Text;
use crate::signature;
use crate::write::{self, Json};

/// One part of a message.
#[derive(Clone)]
pub(crate) enum Part<'a> {
    Text(Text<'a>),
    /// An address or a data URL, and the client's wish for its detail.
    Image {
        url: Text<'a>,
        detail: Option<Text<'a>>,
    },
    /// A part with its mark for caching, as JSON.
    Marked(Box<Part<'a>>, &'a str),
    /// Sound, as base64.
    Audio {
        format: &'static str,
        data: Text<'a>,
    },
    /// A file with its content as a data URL.
    File {
        name: Text<'a>,
        data: Text<'a>,
    },
}

impl<'a> Part<'a> {
    /// Its text, without its mark.
    pub(crate) fn into_text(self) -> Option<Text<'a>> {
        match self {
            Self::Text(text) => Some(text),
            Self::Marked(inner, _) => inner.into_text(),
            _ => None,
        }
    }

    pub(crate) fn is_text(&self) -> bool {
        match self {
            Self::Text(_) => true,
            Self::Marked(inner, _) => inner.is_text(),
            _ => false,
        }
    }
}

/// A call in the history.
pub(crate) struct Call<'a> {
    pub(crate) id: Text<'a>,
    pub(crate) name: Text<'a>,
    pub(crate) arguments: Text<'a>,
    /// Its signature, where it does not stand in the id.
    pub(crate) signature: Option<Text<'a>>,
}

/// What the assistant said in one turn.
#[derive(Default)]
pub(crate) struct Assistant<'a> {
    pub(crate) texts: Vec<Text<'a>>,
    pub(crate) refusal: Option<Text<'a>>,
    pub(crate) reasoning: Vec<Text<'a>>,
    /// Reasoning as its maker takes it back, as JSON.
    pub(crate) details: Vec<String>,
    pub(crate) calls: Vec<Call<'a>>,
    /// Its mark for caching, as JSON.
    pub(crate) mark: Option<&'a str>,
}

impl<'a> Assistant<'a> {
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty() && self.refusal.is_none() && self.calls.is_empty()
    }

    /// Goes on with what was said next in the same turn: the pieces of a stream, as some clients keep them.
    fn go_on(&mut self, next: Self) {
        let more = |texts: &mut Vec<Text<'a>>, next: Vec<Text<'a>>| {
            let mut next = next.into_iter();
            match (texts.last_mut(), next.next()) {
                (Some(last), Some(first)) => last.push(&first),
                (None, first) => texts.extend(first),
                (Some(_), None) => {}
            }
            texts.extend(next);
        };
        more(&mut self.texts, next.texts);
        more(&mut self.reasoning, next.reasoning);
        self.calls.extend(next.calls);
    }
}

/// Puts a turn of the assistant's behind the others: one that follows another at once is the same turn.
pub(crate) fn speak<'a>(messages: &mut Vec<Message<'a>>, said: Assistant<'a>) {
    match messages.last_mut() {
        Some(Message::Assistant(before)) => before.go_on(said),
        _ => messages.push(Message::Assistant(said)),
    }
}

/// One message.
pub(crate) enum Message<'a> {
    /// A system, developer or user message.
    Said {
        role: &'static str,
        parts: Vec<Part<'a>>,
    },
    Assistant(Assistant<'a>),
    Tool {
        id: Text<'a>,
        parts: Vec<Part<'a>>,
        mark: Option<&'a str>,
        /// Whether it is said beside the text that the tool failed.
        failed: bool,
    },
}

impl Message<'_> {
    fn write(&self, json: &mut Json, signatures: bool) {
        json.object(|j| match self {
            Self::Said { role, parts } => {
                j.put("role", role);
                write_content(j, parts);
            }
            Self::Assistant(said) => write_assistant(j, said, signatures),
            Self::Tool { id, parts, mark, failed } => {
                j.put("role", "tool");
                j.put("tool_call_id", &signature::split(id).0);
                if *failed {
                    j.put_flag(FAILED, true);
                }
                write_content(j, parts);
                write_mark(j, *mark);
            }
        });
    }
}

/// One text is a string, which every template knows; more are parts.
fn write_content(json: &mut Json, parts: &[Part<'_>]) {
    match parts {
        [] => json.put("content", ""),
        [Part::Text(text)] => text.write(json.key("content")),
        many => json.put_array("content", |j| many.iter().for_each(|part| write_part(j, part))),
    }
}

fn write_mark(json: &mut Json, mark: Option<&str>) {
    if let Some(raw) = mark {
        json.key(MARK).raw(raw);
    }
}

fn write_part(json: &mut Json, part: &Part<'_>) {
    json.object(|j| write_members(j, part));
}

fn write_members(j: &mut Json, part: &Part<'_>) {
    match part {
        Part::Marked(inner, mark) => {
            write_members(j, inner);
            write_mark(j, Some(mark));
        }
        Part::Text(text) => {
            j.put("type", "text");
            text.write(j.key("text"));
        }
        Part::Image { url, detail } => {
            j.put("type", "image_url");
            j.put_object("image_url", |j| {
                url.write(j.key("url"));
                if let Some(detail) = detail {
                    detail.write(j.key("detail"));
                }
            });
        }
        Part::Audio { format, data } => {
            j.put("type", "input_audio");
            j.put_object("input_audio", |j| {
                data.write(j.key("data"));
                j.put("format", format);
            });
        }
        Part::File { name, data } => {
            j.put("type", "file");
            j.put_object("file", |j| {
                name.write(j.key("filename"));
                data.write(j.key("file_data"));
            });
        }
    }
}

fn write_assistant(json: &mut Json, said: &Assistant<'_>, signatures: bool) {
    json.put("role", "assistant");
    match said.texts.as_slice() {
        [] if said.calls.is_empty() && said.refusal.is_none() => json.put("content", ""),
        [] => json.key("content").null(),
        [text] => text.write(json.key("content")),
        many => {
            let parts: Vec<Part<'_>> = many.iter().cloned().map(Part::Text).collect();
            write_content(json, &parts);
        }
    }
    if let Some(refusal) = &said.refusal {
        refusal.write(json.key("refusal"));
    }
    if !said.reasoning.is_empty() {
        let texts: Vec<Cow<'_, str>> = said.reasoning.iter().map(Text::decode).collect();
        json.put("reasoning_content", &texts.join("\n"));
    }
    write_mark(json, said.mark);
    if !said.details.is_empty() {
        json.put_array("reasoning_details", |j| said.details.iter().for_each(|raw| j.raw(raw)));
    }
    if said.calls.is_empty() {
        return;
    }
    json.put_array("tool_calls", |j| {
        for call in &said.calls {
            let (id, signed) = signature::split(&call.id);
            let own = call.signature.as_ref().map(|text| text.decode().into_owned());
            let signature = own.or(signed);
            j.object(|j| {
                j.put("id", &id);
                j.put("type", "function");
                j.put_object("function", |j| {
                    call.name.write(j.key("name"));
                    call.arguments.write(j.key("arguments"));
                });
                if let Some(signature) = signature.filter(|_| signatures) {
                    signature::write(j, &signature);
                }
            });
        }
    });
}

/// A function that the model may call.
pub(crate) struct Tool<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) description: Option<Text<'a>>,
    /// A JSON schema.
    pub(crate) parameters: Option<Cow<'a, str>>,
    pub(crate) strict: Option<bool>,
    /// Its mark for caching, as JSON.
    pub(crate) mark: Option<Cow<'a, str>>,
}

/// A request under construction.
#[derive(Default)]
pub(crate) struct Chat<'a> {
    pub(crate) messages: Vec<Message<'a>>,
    pub(crate) tools: Vec<Tool<'a>>,
    /// Other fields, as raw JSON.
    pub(crate) fields: Vec<(&'static str, Cow<'a, str>)>,
    /// Whether signatures of calls are sent on, to the upstreams that take them.
    pub(crate) signatures: bool,
    /// How long the request is that it is made of: it becomes about as long.
    pub(crate) bytes: usize,
}

impl<'a> Chat<'a> {
    /// Sets a field to raw JSON.
    pub(crate) fn set(&mut self, name: &'static str, raw: impl Into<Cow<'a, str>>) {
        self.fields.push((name, raw.into()));
    }

    pub(crate) fn set_some(&mut self, name: &'static str, raw: Option<&'a str>) {
        if let Some(raw) = raw {
            self.set(name, raw);
        }
    }

    pub(crate) fn write(&self, model: &Text<'_>, stream: bool) -> Bytes {
        // What stands around a message takes more words there, or fewer.
        let mut json = Json::with_room(self.bytes + self.bytes / 8 + 512);
        json.object(|j| {
            model.write(j.key("model"));
            j.put_array("messages", |j| {
                self.messages.iter().for_each(|m| m.write(j, self.signatures));
            });
            if !self.tools.is_empty() {
                j.put_array("tools", |j| self.tools.iter().for_each(|tool| write_tool(j, tool)));
            }
            for (name, raw) in &self.fields {
                j.key(name).raw(raw);
            }
            write_stream(j, stream);
        });
        Bytes::from(json.into_string())
    }
}

/// A stream must tell its usage: every dialect here has a place for it.
pub(crate) fn write_stream(json: &mut Json, stream: bool) {
    if stream {
        json.put_flag("stream", true);
        json.put_object("stream_options", |j| j.put_flag("include_usage", true));
    }
}

fn write_tool(json: &mut Json, tool: &Tool<'_>) {
    json.object(|j| {
        j.put("type", "function");
        j.put_object("function", |j| {
            tool.name.write(j.key("name"));
            if let Some(description) = &tool.description {
                description.write(j.key("description"));
            }
            if let Some(parameters) = &tool.parameters {
                j.key("parameters").raw(parameters);
            }
            if let Some(strict) = tool.strict {
                j.put_flag("strict", strict);
            }
        });
        write_mark(j, tool.mark.as_deref());
    });
}

/// `response_format` for a schema.
pub(crate) fn schema_format(name: &Text<'_>, schema: &str, strict: Option<bool>) -> String {
    write::object(|j| {
        j.put("type", "json_schema");
        j.put_object("json_schema", |j| {
            name.write(j.key("name"));
            j.key("schema").raw(schema);
            if let Some(strict) = strict {
                j.put_flag("strict", strict);
            }
        });
    })
}

/// `tool_choice` for one function.
pub(crate) fn choose_function(name: &Text<'_>) -> String {
    write::object(|j| {
        j.put("type", "function");
        j.put_object("function", |j| name.write(j.key("name")));
    })
}

/// Results of tools, gathered so that all of them follow the calls at once; chat takes text only
/// there, so that other parts go into a user message behind them.
#[derive(Default)]
pub(crate) struct Results<'a> {
    tools: Vec<Message<'a>>,
    moved: Vec<Part<'a>>,
}

impl<'a> Results<'a> {
    /// Adds a result; true if a part of it had to be moved.
    pub(crate) fn push(
        &mut self,
        id: Text<'a>,
        parts: Vec<Part<'a>>,
        mark: Option<&'a str>,
    ) -> bool {
        let (texts, others): (Vec<_>, Vec<_>) = parts.into_iter().partition(Part::is_text);
        let moves = !others.is_empty();
        if moves {
            let label = format!("{ATTACHED}{}:", signature::split(&id).0);
            self.moved.push(Part::Text(label.into()));
            self.moved.extend(others);
        }
        self.tools.push(Message::Tool { id, parts: texts, mark, failed: false });
        moves
    }

    /// The result that was added last is an error.
    pub(crate) fn last_failed(&mut self) {
        if let Some(Message::Tool { failed, .. }) = self.tools.last_mut() {
            *failed = true;
        }
    }

    /// Puts what was gathered; what the user said beside it comes last.
    pub(crate) fn flush(&mut self, said: Vec<Part<'a>>, messages: &mut Vec<Message<'a>>) {
        messages.append(&mut self.tools);
        let mut parts = std::mem::take(&mut self.moved);
        parts.extend(said);
        if !parts.is_empty() {
            messages.push(Message::Said { role: "user", parts });
        }
    }
}

/// A message and the results that stand right behind it.
struct Stretch<'a> {
    first: Message<'a>,
    results: Vec<Message<'a>>,
}

/// Puts each result behind its call, where chat completions wants it: tells whether one stood elsewhere. What stood
/// between them comes after them.
pub(crate) fn results_behind_calls<'a>(messages: Vec<Message<'a>>) -> (Vec<Message<'a>>, bool) {
    // Not moved one by one: there may be as many messages, and results out of place, as a body has room for.
    let mut all: Vec<Stretch<'a>> = Vec::with_capacity(messages.len());
    // Where the last call of an id stands.
    let mut calls: HashMap<String, usize> = HashMap::new();
    let mut moves = false;
    for message in messages {
        if let Message::Tool { id, .. } = &message
            && let Some(last) = all.len().checked_sub(1)
        {
            let before = all.get(last).is_some_and(Stretch::ends_in_words);
            // Behind a call or another result it stands where it should.
            let call = calls.get(&*id.decode()).copied().filter(|_| before);
            moves |= call.is_some();
            if let Some(stretch) = all.get_mut(call.unwrap_or(last)) {
                stretch.results.push(message);
            }
            continue;
        }
        if let Message::Assistant(said) = &message {
            calls.extend(said.calls.iter().map(|call| (call.id.decode().into_owned(), all.len())));
        }
        all.push(Stretch { first: message, results: Vec::new() });
    }
    let out = all.into_iter().flat_map(|s| std::iter::once(s.first).chain(s.results));
    (out.collect(), moves)
}

impl Stretch<'_> {
    fn ends_in_words(&self) -> bool {
        self.results.is_empty() && matches!(self.first, Message::Said { .. })
    }
}
