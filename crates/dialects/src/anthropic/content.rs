//! The conversation: turns of content blocks become messages.

use cutover_wire::Fault;

use super::events::SIGNATURE;
use crate::losses::Losses;
use crate::pivot::{Assistant, Call, Message, Part, Results};
use crate::read::{At, Obj, Objects, Text, key_of, list};
use crate::{split, write};

/// Wraps what was just read of a block, if it is marked and marks are sent on.
fn mark<'a>(
    block: &Obj<'a>,
    (at, keep): (At<'_>, bool),
    parts: &mut [Part<'a>],
) -> Result<(), Fault> {
    if let (Some(raw), Some(last)) = (taken_mark(block, (at, keep))?, parts.last_mut()) {
        let part = std::mem::replace(last, Part::Text(Text::from("")));
        *last = Part::Marked(Box::new(part), raw);
    }
    Ok(())
}

/// A block's mark. One that is not sent on is left for the report.
pub(super) fn taken_mark<'a>(
    block: &Obj<'a>,
    (at, keep): (At<'_>, bool),
) -> Result<Option<&'a str>, Fault> {
    if keep { block.raw_object(at, cutover_vendors::MARK) } else { Ok(None) }
}

/// `system`: a string or text blocks.
pub(super) fn system<'a>(
    raw: &'a str,
    at: At<'_>,
    (keep_marks, losses): (bool, &mut Losses),
) -> Result<Vec<Part<'a>>, Fault> {
    if raw.starts_with('"') {
        let text = Text::read(raw, at)?;
        return Ok(if text.is_empty() { Vec::new() } else { vec![Part::Text(text)] });
    }
    if !raw.starts_with('[') {
        return Err(at.wrong_type("a string or an array of text blocks"));
    }
    let mut parts = Vec::new();
    for (index, raw) in list(raw, at)?.into_iter().enumerate() {
        let at = at.item(index);
        let block = Obj::read(raw, at)?;
        if block.word(at, "type")? != "text" {
            return Err(at.key("type").invalid("must be text"));
        }
        parts.push(Part::Text(block.need_text(at, "text")?));
        mark(&block, (at, keep_marks), &mut parts)?;
        losses.rest(&block, "system[].", at)?;
    }
    Ok(parts)
}

/// Reads turns.
pub(super) struct Conversation<'a, 'l> {
    pub(super) messages: Vec<Message<'a>>,
    pub(super) keep_reasoning: bool,
    pub(super) keep_marks: bool,
    pub(super) losses: &'l mut Losses,
}

/// What a block says of its message's content.
const BLOCK: &str = "messages[].content[].";

impl<'a> Conversation<'a, '_> {
    pub(super) fn read(&mut self, mut items: Objects<'a>, at: At<'_>) -> Result<(), Fault> {
        for index in 0.. {
            let at = at.item(index);
            let Some(turn) = items.read(at)? else { break };
            let role = turn.word(at, "role")?;
            let content = turn.get("content").ok_or_else(|| at.key("content").missing())?;
            let here = at.key("content");
            match &*role {
                "user" => self.user(content, here)?,
                "assistant" => {
                    self.assistant(content, here)?;
                    if items.is_done() {
                        self.losses.note("messages[].prefill");
                    }
                }
                "system" => {
                    let parts = system(content, here, (self.keep_marks, self.losses))?;
                    self.messages.push(Message::Said { role: "system", parts });
                }
                "" => return Err(at.key("role").missing()),
                _ => return Err(at.key("role").invalid("must be user, assistant or system")),
            }
            self.losses.rest(&turn, "messages[].", at)?;
        }
        Ok(())
    }

    fn blocks(raw: &'a str, at: At<'_>) -> Result<Objects<'a>, Fault> {
        if !raw.starts_with('[') {
            return Err(at.wrong_type("a string or an array of content blocks"));
        }
        Objects::of(raw, at)
    }

    fn user(&mut self, raw: &'a str, at: At<'_>) -> Result<(), Fault> {
        if raw.starts_with('"') {
            let parts = vec![Part::Text(Text::read(raw, at)?)];
            self.messages.push(Message::Said { role: "user", parts });
            return Ok(());
        }
        let (mut said, mut results) = (Vec::new(), Results::default());
        let mut blocks = Self::blocks(raw, at)?;
        if blocks.is_done() {
            // A turn that says nothing is one all the same: without it the conversation would be another.
            said.push(Part::Text(Text::from("")));
        }
        for index in 0.. {
            let at = at.item(index);
            let Some(block) = blocks.read(at)? else { break };
            let kind = block.word(at, "type")?;
            if kind == "tool_result" {
                if !said.is_empty() {
                    self.losses.note("messages[].content[].tool_result.order");
                }
                self.tool_result(&block, at, &mut results)?;
            } else {
                self.part(&block, (&kind, at), &mut said)?;
                mark(&block, (at, self.keep_marks), &mut said)?;
            }
            self.losses.rest(&block, BLOCK, at)?;
        }
        results.flush(said, &mut self.messages);
        Ok(())
    }

    /// A block of the user's, or of a tool's result.
    fn part(
        &mut self,
        block: &Obj<'a>,
        (kind, at): (&str, At<'_>),
        to: &mut Vec<Part<'a>>,
    ) -> Result<(), Fault> {
        match kind {
            "text" => to.push(Part::Text(block.need_text(at, "text")?)),
            "image" => to.push(image(block, at, self.losses)?),
            "document" => self.document(block, at, to)?,
            "search_result" => {
                self.losses.note("messages[].content[].search_result");
                for key in ["title", "source"] {
                    to.extend(block.text(at, key)?.map(Part::Text));
                }
                self.nested(block, at, to)?;
            }
            "web_search_tool_result"
            | "web_fetch_tool_result"
            | "code_execution_tool_result"
            | "server_tool_use"
            | "mcp_tool_use"
            | "mcp_tool_result"
            | "container_upload"
            | "bash_code_execution_tool_result"
            | "text_editor_code_execution_tool_result"
            | "tool_search_tool_result" => {
                // What a model asked of a tool is words; what came of it may name a file.
                if !kind.ends_with("tool_use") {
                    no_files(block, at, self.losses)?;
                }
                self.losses.note("messages[].content[].server_tool_use");
                skip(block);
            }
            "" => return Err(at.key("type").missing()),
            _ => {
                no_files(block, at, self.losses)?;
                self.losses.refuse("messages[].content[].type", at.key("type"))?;
                skip(block);
            }
        }
        Ok(())
    }

    /// The blocks in a block's `content`.
    fn nested(&mut self, block: &Obj<'a>, at: At<'_>, to: &mut Vec<Part<'a>>) -> Result<(), Fault> {
        let Some(raw) = block.get("content") else { return Ok(()) };
        let here = at.key("content");
        if raw.starts_with('"') {
            to.push(Part::Text(Text::read(raw, here)?));
            return Ok(());
        }
        let mut blocks = Self::blocks(raw, here)?;
        for index in 0.. {
            let at = here.item(index);
            let Some(inner) = blocks.read(at)? else { break };
            let kind = inner.word(at, "type")?;
            if kind == "tool_reference" {
                self.losses.note("messages[].content[].server_tool_use");
                skip(&inner);
                continue;
            }
            self.part(&inner, (&kind, at), to)?;
            mark(&inner, (at, self.keep_marks), to)?;
            self.losses.rest(&inner, BLOCK, at)?;
        }
        Ok(())
    }

    fn document(
        &mut self,
        block: &Obj<'a>,
        at: At<'_>,
        to: &mut Vec<Part<'a>>,
    ) -> Result<(), Fault> {
        let here = at.key("source");
        let source = block.object(at, "source")?.ok_or_else(|| here.missing())?;
        let title = block.text(at, "title")?;
        let context = block.text(at, "context")?;
        let kind = source.word(here, "type")?;
        if title.is_some() && kind != "base64" || context.is_some() {
            self.losses.note("messages[].content[].title");
        }
        to.extend(context.map(Part::Text));
        match &*kind {
            "text" => {
                to.extend(title.map(Part::Text));
                to.push(Part::Text(source.need_text(here, "data")?));
                source.get("media_type");
            }
            "base64" => {
                let name = title.unwrap_or_else(|| Text::from("document.pdf"));
                to.push(Part::File { name, data: data_url(&source, here)? });
            }
            "content" => {
                to.extend(title.map(Part::Text));
                self.nested(&source, here, to)?;
            }
            "url" => self.losses.refuse("messages[].content[].document.url", here.key("url"))?,
            _ => unknown_source(&kind, here, self.losses)?,
        }
        self.losses.rest(&source, "messages[].content[].source.", here)
    }

    fn tool_result(
        &mut self,
        block: &Obj<'a>,
        at: At<'_>,
        results: &mut Results<'a>,
    ) -> Result<(), Fault> {
        let id = block.need_text(at, "tool_use_id")?;
        let mut parts = Vec::new();
        self.nested(block, at, &mut parts)?;
        let failed = block.flag(at, "is_error")? == Some(true);
        if failed && !self.keep_marks {
            self.losses.note("messages[].content[].tool_result.is_error");
            mark_error(&mut parts);
        }
        let marked = taken_mark(block, (at, self.keep_marks))?;
        if results.push(id, parts, marked) {
            self.losses.note("messages[].content[].tool_result.image");
        }
        if failed && self.keep_marks {
            results.last_failed();
        }
        Ok(())
    }

    fn assistant(&mut self, raw: &'a str, at: At<'_>) -> Result<(), Fault> {
        let mut said = Assistant::default();
        if raw.starts_with('"') {
            said.texts.push(Text::read(raw, at)?);
            self.messages.push(Message::Assistant(said));
            return Ok(());
        }
        let mut blocks = Self::blocks(raw, at)?;
        for index in 0.. {
            let at = at.item(index);
            let Some(block) = blocks.read(at)? else { break };
            let kind = block.word(at, "type")?;
            match &*kind {
                "text" => said.texts.push(block.need_text(at, "text")?),
                "thinking" => self.thinking(&block, at, &mut said)?,
                "redacted_thinking" => self.redacted(&block, at, &mut said)?,
                "tool_use" => said.calls.push(call(&block, at)?),
                _ => {
                    let mut parts = Vec::new();
                    self.part(&block, (&kind, at), &mut parts)?;
                    if !parts.iter().all(Part::is_text) {
                        let why = "names a block that an assistant's turn cannot hold";
                        return Err(at.key("type").invalid(why));
                    }
                    said.texts.extend(parts.into_iter().filter_map(Part::into_text));
                }
            }
            said.mark = taken_mark(&block, (at, self.keep_marks))?.or(said.mark);
            self.losses.rest(&block, BLOCK, at)?;
        }
        self.messages.push(Message::Assistant(said));
        Ok(())
    }

    fn redacted(
        &mut self,
        block: &Obj<'a>,
        at: At<'_>,
        said: &mut Assistant<'a>,
    ) -> Result<(), Fault> {
        let data = block.need_text(at, "data")?;
        if !self.keep_reasoning {
            self.losses.note("messages[].content[].redacted_thinking");
            return Ok(());
        }
        said.details.push(write::object(|j| {
            j.put("type", "reasoning.encrypted");
            data.write(j.key("data"));
        }));
        Ok(())
    }

    fn thinking(
        &mut self,
        block: &Obj<'a>,
        at: At<'_>,
        said: &mut Assistant<'a>,
    ) -> Result<(), Fault> {
        let text = block.need_text(at, "thinking")?;
        let signature = block.text(at, "signature")?;
        let signature = signature.filter(|s| !s.is_empty() && s.decode() != SIGNATURE);
        if !self.keep_reasoning {
            self.losses.note("messages[].content[].thinking");
            if signature.is_some() {
                self.losses.note("messages[].content[].signature");
            }
            return Ok(());
        }
        if let Some(signature) = signature {
            said.details.push(write::object(|j| {
                j.put("type", "reasoning.text");
                text.write(j.key("text"));
                signature.write(j.key("signature"));
            }));
        }
        said.reasoning.push(text);
        Ok(())
    }
}

fn call<'a>(block: &Obj<'a>, at: At<'_>) -> Result<Call<'a>, Fault> {
    let input = block.raw_object(at, "input")?.ok_or_else(|| at.key("input").missing())?;
    Ok(Call {
        id: block.need_text(at, "id")?,
        name: block.need_text(at, "name")?,
        // The object's own text: what the model wrote comes back to it unchanged.
        arguments: Text::from(input),
        signature: None,
    })
}

/// What is dropped as a whole has no members left to report.
fn skip(block: &Obj<'_>) {
    let keys: Vec<String> = block.rest().map(str::to_owned).collect();
    for key in keys {
        block.get(&key);
    }
}

/// Refuses what names a file that is kept at Anthropic, however deep it stands: the key there is the operator's,
/// and whose file it is cannot be known.
fn no_files(block: &Obj<'_>, at: At<'_>, losses: &mut Losses) -> Result<(), Fault> {
    match block.each().find(|(key, raw)| names_file(key, raw)) {
        Some((key, _)) => losses.refuse("messages[].content[].file_id", at.key(key)),
        None => Ok(()),
    }
}

fn names_file(key: &str, raw: &str) -> bool {
    key == "file_id" && raw != "null" || holds_file(raw)
}

fn holds_file(raw: &str) -> bool {
    if let Some(mut members) = split::members(raw) {
        return members.any(|(key, raw)| names_file(&key_of(key), raw));
    }
    split::elements(raw).is_some_and(|mut elements| elements.any(holds_file))
}

fn mark_error(parts: &mut Vec<Part<'_>>) {
    let first = parts.iter_mut().find_map(|part| match part {
        Part::Text(text) => Some(text),
        Part::Marked(inner, _) => match &mut **inner {
            Part::Text(text) => Some(text),
            _ => None,
        },
        _ => None,
    });
    match first {
        Some(text) => {
            let marked = text.decode().trim_start().to_ascii_lowercase().starts_with("error");
            if !marked {
                *text = Text::from(format!("Error: {}", text.decode()));
            }
        }
        None => parts.insert(0, Part::Text(Text::from("Error: the tool failed"))),
    }
}

fn image<'a>(block: &Obj<'a>, at: At<'_>, losses: &mut Losses) -> Result<Part<'a>, Fault> {
    let here = at.key("source");
    let source = block.object(at, "source")?.ok_or_else(|| here.missing())?;
    let kind = source.word(here, "type")?;
    let url = match &*kind {
        "base64" => data_url(&source, here)?,
        "url" => source.need_text(here, "url")?,
        _ => {
            unknown_source(&kind, here, losses)?;
            Text::from("")
        }
    };
    losses.rest(&source, "messages[].content[].source.", here)?;
    Ok(Part::Image { url, detail: None })
}

fn unknown_source(kind: &str, here: At<'_>, losses: &mut Losses) -> Result<(), Fault> {
    match kind {
        "file" => losses.refuse("messages[].content[].source.file_id", here.key("file_id")),
        "" => Err(here.key("type").missing()),
        _ => Err(here.key("type").invalid("names a kind of source that cutover does not know")),
    }
}

fn data_url<'a>(source: &Obj<'a>, here: At<'_>) -> Result<Text<'a>, Fault> {
    let kind = source.need_text(here, "media_type")?;
    let data = source.need_text(here, "data")?;
    let kind = kind.decode();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '+' | '-' | '.' | '_');
    if !kind.chars().all(plain) {
        return Err(here.key("media_type").invalid("is no media type"));
    }
    Ok(data.after(&format!("data:{kind};base64,")))
}
