//! The conversation: Ollama's messages become chat's, with ids for calls that have none.

use cutover_wire::Fault;

use crate::calls::Calls;
use crate::losses::Losses;
use crate::pivot::{Assistant, Call, Message, Part};
use crate::read::{At, Obj, Objects, Text, list};

/// Reads messages.
pub(super) struct Conversation<'a, 'l> {
    pub(super) messages: Vec<Message<'a>>,
    pub(super) losses: &'l mut Losses,
    pub(super) keep_reasoning: bool,
    ids: Calls,
}

impl<'a, 'l> Conversation<'a, 'l> {
    pub(super) fn new(losses: &'l mut Losses, keep_reasoning: bool) -> Self {
        Self { messages: Vec::new(), losses, keep_reasoning, ids: Calls::default() }
    }

    pub(super) fn read(&mut self, mut items: Objects<'a>, at: At<'_>) -> Result<(), Fault> {
        for index in 0.. {
            let at = at.item(index);
            let Some(message) = items.read(at)? else { break };
            let role = message.word(at, "role")?;
            let content = message.text(at, "content")?.unwrap_or_else(|| Text::from(""));
            match &*role {
                "user" => self.said(&message, ("user", content), at)?,
                "system" => self.said(&message, ("system", content), at)?,
                "assistant" => self.assistant(&message, content, at)?,
                "tool" => self.tool(&message, content, at)?,
                "" => return Err(at.key("role").missing()),
                _ => return Err(at.key("role").invalid("must be system, user, assistant or tool")),
            }
            self.losses.rest(&message, "messages[].", at)?;
        }
        Ok(())
    }

    fn said(
        &mut self,
        message: &Obj<'a>,
        (role, content): (&'static str, Text<'a>),
        at: At<'_>,
    ) -> Result<(), Fault> {
        let images = images(message, at)?;
        let mut parts = Vec::new();
        if images.is_empty() || !content.is_empty() {
            parts.push(Part::Text(content));
        }
        parts.extend(images);
        self.messages.push(Message::Said { role, parts });
        Ok(())
    }

    fn assistant(&mut self, message: &Obj<'a>, content: Text<'a>, at: At<'_>) -> Result<(), Fault> {
        let mut said = Assistant::default();
        if !content.is_empty() {
            said.texts.push(content);
        }
        if let Some(thinking) = message.text(at, "thinking")?.filter(|text| !text.is_empty()) {
            if self.keep_reasoning {
                said.reasoning.push(thinking);
            } else {
                self.losses.note("messages[].thinking");
            }
        }
        let here = at.key("tool_calls");
        let calls = message.list(at, "tool_calls")?.unwrap_or_default();
        for (index, raw) in calls.into_iter().enumerate() {
            let call = self.call(raw, here.item(index))?;
            said.calls.push(call);
        }
        self.messages.push(Message::Assistant(said));
        Ok(())
    }

    fn call(&mut self, raw: &'a str, at: At<'_>) -> Result<Call<'a>, Fault> {
        let call = Obj::read(raw, at)?;
        let here = at.key("function");
        let function = call.object(at, "function")?.ok_or_else(|| here.missing())?;
        let name = function.need_text(here, "name")?;
        let arguments = function.raw_object(here, "arguments")?.unwrap_or("{}");
        let id = self.ids.called(call.text(at, "id")?, &name);
        Ok(Call { id, name, arguments: Text::from(arguments), signature: None })
    }

    fn tool(&mut self, message: &Obj<'a>, content: Text<'a>, at: At<'_>) -> Result<(), Fault> {
        let id = message.text(at, "tool_call_id")?;
        let name = match message.text(at, "tool_name")? {
            Some(name) => Some(name),
            None => message.text(at, "name")?,
        };
        let (id, matched) = self.ids.answered(id, name.as_ref());
        if !matched {
            self.losses.note("messages[].unmatched");
        }
        let parts = vec![Part::Text(content)];
        self.messages.push(Message::Tool { id, parts, mark: None, failed: false });
        Ok(())
    }
}

/// `images`: base64 without a type, which chat completions needs.
pub(super) fn images<'a>(from: &Obj<'a>, at: At<'_>) -> Result<Vec<Part<'a>>, Fault> {
    /// How the base64 of each kind of image begins.
    const KINDS: [(&str, &str); 4] =
        [("iVBOR", "png"), ("/9j/", "jpeg"), ("R0lG", "gif"), ("UklG", "webp")];
    let here = at.key("images");
    let Some(raw) = from.get("images") else { return Ok(Vec::new()) };
    let mut parts = Vec::new();
    for (index, raw) in list(raw, here)?.into_iter().enumerate() {
        let at = here.item(index);
        let data = Text::read(raw, at)?;
        // JSON may write the slash of base64 with an escape.
        let kind = KINDS.iter().find(|(start, _)| data.decode().starts_with(start));
        let (_, kind) =
            kind.ok_or_else(|| at.invalid("is no base64 of a PNG, JPEG, GIF or WebP"))?;
        let url = data.after(&format!("data:image/{kind};base64,"));
        parts.push(Part::Image { url, detail: None });
    }
    Ok(parts)
}
