//! The conversation: items become messages.

use std::collections::HashSet;

use cutover_wire::Fault;

use super::store::{Shelf, origin_of_item};
use super::tools::{self, Names};
use crate::losses::Losses;
use crate::pivot::{Assistant, Call, Message, Part, Results, results_behind_calls};
use crate::read::{At, Obj, Text, list};

/// Reads items in order.
pub(super) struct Items<'a, 'r> {
    pub(super) messages: Vec<Message<'a>>,
    pub(super) names: &'r Names,
    pub(super) losses: &'r mut Losses,
    pub(super) keep_reasoning: bool,
    /// Stored items; `None` before they were loaded.
    pub(super) shelf: Option<&'r Shelf<'a>>,
    /// Answers that items refer to.
    pub(super) wanted: Vec<String>,
    pub(super) assistant: Assistant<'a>,
    pub(super) results: Results<'a>,
}

impl<'a> Items<'a, '_> {
    /// `input`: a text or items.
    pub(super) fn input(&mut self, raw: &'a str, at: At<'_>) -> Result<(), Fault> {
        if raw.starts_with('"') {
            let parts = vec![Part::Text(Text::read(raw, at)?)];
            self.said("user", parts);
            return Ok(());
        }
        if !raw.starts_with('[') {
            return Err(at.wrong_type("a string or an array of items"));
        }
        for (index, raw) in list(raw, at)?.into_iter().enumerate() {
            self.item(raw, at.item(index))?;
        }
        Ok(())
    }

    /// One item.
    pub(super) fn item(&mut self, raw: &'a str, at: At<'_>) -> Result<(), Fault> {
        let item = Obj::read(raw, at)?;
        let kind = item.word(at, "type")?;
        let own = item.get("id");
        item.get("status");
        match &*kind {
            // A bare id is a reference; a bare role is a message.
            "" if item.get("role").is_none() && own.is_some() => return self.reference(&item, at),
            "message" | "" => self.message(&item, at)?,
            "function_call" => {
                let arguments = item.need_text(at, "arguments")?;
                self.call(&item, at, arguments)?;
            }
            "custom_tool_call" => {
                let input = item.need_text(at, "input")?;
                self.call(&item, at, tools::custom_arguments(&input).into())?;
            }
            "function_call_output" | "custom_tool_call_output" => self.output(&item, at)?,
            "reasoning" => self.reasoning(&item, at)?,
            "item_reference" => return self.reference(&item, at),
            // Its tools are with the others by now.
            "additional_tools" => {
                item.get("role");
                item.get("tools");
            }
            "web_search_call"
            | "file_search_call"
            | "code_interpreter_call"
            | "image_generation_call"
            | "mcp_list_tools"
            | "mcp_call"
            | "mcp_approval_request"
            | "mcp_approval_response"
            | "compaction"
            | "compaction_trigger"
            | "tool_search_call"
            | "tool_search_output"
            | "program"
            | "program_output" => {
                self.losses.note("input[].built_in");
                return Ok(());
            }
            _ => return self.losses.refuse("input[].type", at.key("type")),
        }
        self.losses.rest(&item, "input[].", at)
    }

    /// Ends the conversation.
    pub(super) fn finish(mut self) -> (Vec<Message<'a>>, Vec<String>) {
        self.flush();
        let (messages, moved) = results_behind_calls(self.messages);
        if moved {
            self.losses.note("input[].output.order");
        }
        let mut asked = HashSet::new();
        self.wanted.retain(|id| asked.insert(id.clone()));
        (messages, self.wanted)
    }

    fn flush(&mut self) {
        self.flush_assistant();
        self.results.flush(Vec::new(), &mut self.messages);
    }

    fn flush_assistant(&mut self) {
        let said = std::mem::take(&mut self.assistant);
        // Reasoning that nothing follows is nobody's.
        if !said.is_empty() {
            self.messages.push(Message::Assistant(said));
        }
    }

    fn said(&mut self, role: &'static str, parts: Vec<Part<'a>>) {
        self.flush();
        self.messages.push(Message::Said { role, parts });
    }

    /// What the assistant says after results is another message.
    fn speaking(&mut self) -> &mut Assistant<'a> {
        self.results.flush(Vec::new(), &mut self.messages);
        &mut self.assistant
    }

    fn message(&mut self, item: &Obj<'a>, at: At<'_>) -> Result<(), Fault> {
        let role = match &*item.word(at, "role")? {
            "user" => "user",
            "system" => "system",
            "developer" => "developer",
            "assistant" => "assistant",
            "" => return Err(at.key("role").missing()),
            _ => {
                return Err(at.key("role").invalid("must be user, assistant, system or developer"));
            }
        };
        let raw = item.get("content").ok_or_else(|| at.key("content").missing())?;
        let mut refusal = None;
        let parts = self.content(raw, at.key("content"), &mut refusal)?;
        if role != "assistant" {
            self.said(role, parts);
            return Ok(());
        }
        if parts.iter().any(|part| !matches!(part, Part::Text(_))) {
            return Err(at.key("content").invalid("of an assistant must be text"));
        }
        let texts = parts.into_iter().filter_map(|part| match part {
            Part::Text(text) => Some(text),
            _ => None,
        });
        let said = self.speaking();
        said.texts.extend(texts);
        said.refusal = refusal.or(said.refusal.take());
        Ok(())
    }

    fn content(
        &mut self,
        raw: &'a str,
        at: At<'_>,
        refusal: &mut Option<Text<'a>>,
    ) -> Result<Vec<Part<'a>>, Fault> {
        if raw.starts_with('"') {
            return Ok(vec![Part::Text(Text::read(raw, at)?)]);
        }
        if !raw.starts_with('[') {
            return Err(at.wrong_type("a string or an array of content parts"));
        }
        let mut parts = Vec::new();
        for (index, raw) in list(raw, at)?.into_iter().enumerate() {
            let at = at.item(index);
            let part = Obj::read(raw, at)?;
            match &*part.word(at, "type")? {
                "input_text" | "output_text" | "text" => {
                    parts.push(Part::Text(part.need_text(at, "text")?));
                    if part.get("annotations").is_some_and(|raw| raw != "[]") {
                        self.losses.note("input[].content[].annotations");
                    }
                    part.get("logprobs");
                }
                "refusal" => *refusal = Some(part.need_text(at, "refusal")?),
                "input_image" => parts.extend(self.image(&part, at)?),
                "input_file" => parts.extend(self.file(&part, at)?),
                "" => return Err(at.key("type").missing()),
                _ => {
                    self.losses.refuse("input[].content[].type", at.key("type"))?;
                    continue;
                }
            }
            self.losses.rest(&part, "input[].content[].", at)?;
        }
        Ok(parts)
    }

    /// None: it is kept elsewhere, and left out.
    fn image(&mut self, part: &Obj<'a>, at: At<'_>) -> Result<Option<Part<'a>>, Fault> {
        let detail = part.text(at, "detail")?;
        if part.get("file_id").is_some() {
            self.losses.refuse("input[].content[].file_id", at.key("file_id"))?;
            return Ok(None);
        }
        Ok(Some(Part::Image { url: part.need_text(at, "image_url")?, detail }))
    }

    /// None: it is kept elsewhere, and left out.
    fn file(&mut self, part: &Obj<'a>, at: At<'_>) -> Result<Option<Part<'a>>, Fault> {
        part.get("detail");
        for (key, row) in
            [("file_id", "input[].content[].file_id"), ("file_url", "input[].content[].file_url")]
        {
            if part.get(key).is_some() {
                self.losses.refuse(row, at.key(key))?;
                return Ok(None);
            }
        }
        let data = part.need_text(at, "file_data")?;
        let name = part.text(at, "filename")?.unwrap_or_else(|| Text::from("file"));
        Ok(Some(Part::File { name, data }))
    }

    fn call(&mut self, item: &Obj<'a>, at: At<'_>, arguments: Text<'a>) -> Result<(), Fault> {
        let id = item.need_text(at, "call_id")?;
        let name = item.need_text(at, "name")?;
        let namespace = item.text(at, "namespace")?;
        let name = match &namespace {
            None => name,
            Some(space) => self.names.chat_name(&name.decode(), Some(&space.decode())).into(),
        };
        self.speaking().calls.push(Call { id, name, arguments, signature: None });
        Ok(())
    }

    fn output(&mut self, item: &Obj<'a>, at: At<'_>) -> Result<(), Fault> {
        let id = item.need_text(at, "call_id")?;
        for told in ["name", "namespace"] {
            item.get(told);
        }
        let raw = item.get("output").ok_or_else(|| at.key("output").missing())?;
        let parts = self.content(raw, at.key("output"), &mut None)?;
        self.flush_assistant();
        if self.results.push(id, parts, None) {
            self.losses.note("input[].output.image");
        }
        Ok(())
    }

    fn reasoning(&mut self, item: &Obj<'a>, at: At<'_>) -> Result<(), Fault> {
        if item.get("encrypted_content").is_some() {
            self.losses.note("input[].encrypted_content");
        }
        let mut texts = Vec::new();
        // The text itself; of a summary only where there is nothing else.
        for key in ["content", "summary"] {
            let here = at.key(key);
            for (index, raw) in item.list(at, key)?.unwrap_or_default().into_iter().enumerate() {
                let at = here.item(index);
                let part = Obj::read(raw, at)?;
                if key == "content" || texts.is_empty() {
                    texts.push(part.need_text(at, "text")?);
                }
            }
        }
        if self.keep_reasoning {
            self.speaking().reasoning.extend(texts);
        } else if !texts.is_empty() {
            self.losses.note("input[].reasoning");
        }
        Ok(())
    }

    fn reference(&mut self, item: &Obj<'a>, at: At<'_>) -> Result<(), Fault> {
        let id = item.need_text(at, "id")?;
        let id = id.decode();
        let here = at.key("id");
        let unknown = "names an item that is not stored; send the item itself";
        let wanted = origin_of_item(&id).ok_or_else(|| here.invalid(unknown))?;
        let Some(shelf) = self.shelf else {
            self.wanted.push(wanted);
            return Ok(());
        };
        let raw = shelf.item(&id).ok_or_else(|| here.invalid(unknown))?;
        // A stored item refers to none: what is kept was resolved.
        self.item(raw, at)
    }
}
