//! The conversation: contents of parts become messages.

use cutover_wire::Fault;

use super::names::{many, member, object};
use crate::calls::Calls;
use crate::losses::Losses;
use crate::pivot::{Assistant, Call, Message, Part, Results, speak};
use crate::read::{At, Obj, Text};

/// Where a part's rows stand in the table.
const PART: &str = "contents[].parts[].";

/// Reads contents.
pub(super) struct Conversation<'a, 'l> {
    pub(super) messages: Vec<Message<'a>>,
    pub(super) losses: &'l mut Losses,
    pub(super) keep_reasoning: bool,
    pub(super) keep_marks: bool,
    ids: Calls,
}

impl<'a, 'l> Conversation<'a, 'l> {
    pub(super) fn new(losses: &'l mut Losses, (keep_reasoning, keep_marks): (bool, bool)) -> Self {
        Self { messages: Vec::new(), losses, keep_reasoning, keep_marks, ids: Calls::default() }
    }

    pub(super) fn read(&mut self, contents: &[&'a str], at: At<'_>) -> Result<(), Fault> {
        for (index, raw) in contents.iter().copied().enumerate() {
            let at = at.item(index);
            let content = object(raw, at)?;
            let parts = many(&content, at, "parts")?;
            let here = at.key("parts");
            if parts.is_empty() {
                return Err(here.missing());
            }
            match &*content.word(at, "role")? {
                "" | "user" | "function" | "tool" => self.user(&parts, here)?,
                "model" => self.model(&parts, here)?,
                _ => return Err(at.key("role").invalid("must be user or model")),
            }
            self.losses.rest(&content, "contents[].", at)?;
        }
        Ok(())
    }

    /// Instructions: the text of a content.
    pub(super) fn system(&mut self, content: &Obj<'a>, at: At<'_>) -> Result<(), Fault> {
        content.get("role");
        let here = at.key("parts");
        let mut texts = Vec::new();
        for (index, raw) in many(content, at, "parts")?.into_iter().enumerate() {
            let at = here.item(index);
            let part = object(raw, at)?;
            texts.push(Part::Text(part.need_text(at, "text")?));
            self.losses.rest(&part, "systemInstruction.parts[].", at)?;
        }
        if !texts.is_empty() {
            self.messages.push(Message::Said { role: "system", parts: texts });
        }
        self.losses.rest(content, "systemInstruction.", at)
    }

    fn user(&mut self, parts: &[&'a str], at: At<'_>) -> Result<(), Fault> {
        let (mut said, mut results) = (Vec::new(), Results::default());
        for (index, raw) in parts.iter().copied().enumerate() {
            let at = at.item(index);
            let part = object(raw, at)?;
            if let Some(response) = member(&part, at, "functionResponse")? {
                self.response(&response, at.key("functionResponse"), &mut results)?;
            } else if let Some(text) = part.text(at, "text")? {
                said.push(Part::Text(text));
            } else if !self.medium(&part, at, &mut said)? {
                self.step(&part, at)?;
            }
            self.losses.rest(&part, PART, at)?;
        }
        results.flush(said, &mut self.messages);
        Ok(())
    }

    /// Something to see, hear or read. False: the part is none.
    fn medium(
        &mut self,
        part: &Obj<'a>,
        at: At<'_>,
        to: &mut Vec<Part<'a>>,
    ) -> Result<bool, Fault> {
        if let Some(blob) = member(part, at, "inlineData")? {
            to.push(inline(&blob, at.key("inlineData"))?);
            self.losses.rest(&blob, "contents[].parts[].inlineData.", at.key("inlineData"))?;
            return Ok(true);
        }
        let Some(file) = member(part, at, "fileData")? else { return Ok(false) };
        let here = at.key("fileData");
        let (kind, url) = (file.word(here, "mimeType")?, file.need_text(here, "fileUri")?);
        file.get("displayName");
        let google = url.decode().contains("generativelanguage.googleapis.com/");
        let web = url.decode().starts_with("https://") || url.decode().starts_with("http://");
        if google || !web || !kind.starts_with("image/") {
            self.losses.refuse("contents[].parts[].fileData", here.key("fileUri"))?;
            return Ok(true);
        }
        to.push(Part::Image { url, detail: None });
        Ok(true)
    }

    /// A step of Google's own tools, which no other engine knows.
    fn step(&mut self, part: &Obj<'a>, at: At<'_>) -> Result<(), Fault> {
        const STEPS: [&str; 4] =
            ["executableCode", "codeExecutionResult", "toolCall", "toolResponse"];
        let known = STEPS.iter().filter(|key| part.get(key).is_some()).count();
        if known > 0 {
            self.losses.note("contents[].parts[].executableCode");
            return Ok(());
        }
        if part.get("fileData").is_some() {
            return self.losses.refuse("contents[].parts[].fileData", at.key("fileData"));
        }
        if part.rest().next().is_none() {
            return Err(at.invalid("holds nothing"));
        }
        self.losses.refuse("contents[].parts[]", at)
    }

    fn response(
        &mut self,
        response: &Obj<'a>,
        at: At<'_>,
        results: &mut Results<'a>,
    ) -> Result<(), Fault> {
        let (id, name) = (response.text(at, "id")?, response.need_text(at, "name")?);
        let (id, matched) = self.ids.answered(id, Some(&name));
        if !matched {
            self.losses.note("contents[].parts[].functionResponse.unmatched");
        }
        let said = response.raw_object(at, "response")?.unwrap_or("{}");
        if !self.keep_marks && failed(said, at.key("response"))? {
            self.losses.note("contents[].parts[].functionResponse.response.error");
        }
        let mut parts = vec![Part::Text(output(said, at.key("response"))?)];
        let here = at.key("parts");
        for (index, raw) in many(response, at, "parts")?.into_iter().enumerate() {
            let at = here.item(index);
            let part = object(raw, at)?;
            if !self.medium(&part, at, &mut parts)? {
                return Err(at.invalid("holds nothing that cutover knows"));
            }
        }
        if results.push(id, parts, None) {
            self.losses.note("contents[].parts[].functionResponse.parts");
        }
        self.losses.rest(response, "contents[].parts[].functionResponse.", at)
    }

    fn model(&mut self, parts: &[&'a str], at: At<'_>) -> Result<(), Fault> {
        let mut said = Assistant::default();
        for (index, raw) in parts.iter().copied().enumerate() {
            let at = at.item(index);
            let part = object(raw, at)?;
            let signature = part.text(at, "thoughtSignature")?.filter(|text| !text.is_empty());
            let thought = part.flag(at, "thought")? == Some(true);
            if let Some(call) = member(&part, at, "functionCall")? {
                let call = self.call(&call, at.key("functionCall"), signature)?;
                said.calls.push(call);
            } else if let Some(text) = part.text(at, "text")? {
                if signature.is_some() {
                    self.losses.note("contents[].parts[].thoughtSignature.text");
                }
                self.text(text, thought, &mut said);
            } else if member(&part, at, "inlineData")?.is_some() {
                self.losses.refuse("contents[].parts[].inlineData.model", at.key("inlineData"))?;
            } else if signature.is_some() {
                // A signature alone, as streams end with.
                self.losses.note("contents[].parts[].thoughtSignature.text");
            } else {
                self.step(&part, at)?;
            }
            self.losses.rest(&part, PART, at)?;
        }
        // Google's SDK keeps each piece of a stream as a content of its own.
        speak(&mut self.messages, said);
        Ok(())
    }

    fn text(&mut self, text: Text<'a>, thought: bool, said: &mut Assistant<'a>) {
        if text.is_empty() {
            return;
        }
        if !thought {
            said.texts.push(text);
        } else if self.keep_reasoning {
            said.reasoning.push(text);
        } else {
            self.losses.note("contents[].parts[].thought");
        }
    }

    fn call(
        &mut self,
        call: &Obj<'a>,
        at: At<'_>,
        signature: Option<Text<'a>>,
    ) -> Result<Call<'a>, Fault> {
        let name = call.need_text(at, "name")?;
        let id = self.ids.called(call.text(at, "id")?, &name);
        let arguments = Text::from(call.raw_object(at, "args")?.unwrap_or("{}"));
        if signature.is_some() && !self.keep_marks {
            self.losses.note("contents[].parts[].thoughtSignature");
        }
        self.losses.rest(call, "contents[].parts[].functionCall.", at)?;
        Ok(Call { id, name, arguments, signature: signature.filter(|_| self.keep_marks) })
    }
}

/// Whether a tool failed: Google's own name for what went wrong, and nothing beside it.
fn failed(raw: &str, at: At<'_>) -> Result<bool, Fault> {
    let response = Obj::read(raw, at)?;
    let mut members = response.each();
    Ok(matches!((members.next(), members.next()), (Some(("error", _)), None)))
}

/// What a tool said: the text of `output`, if that is all there is; else the object as it stands.
fn output<'a>(raw: &'a str, at: At<'_>) -> Result<Text<'a>, Fault> {
    let response = Obj::read(raw, at)?;
    let mut members = response.each();
    match (members.next(), members.next()) {
        (Some(("output", text)), None) if text.starts_with('"') => {
            Text::read(text, at.key("output"))
        }
        _ => Ok(Text::from(raw)),
    }
}

/// Data in the request itself, as the part that chat has for its kind.
fn inline<'a>(blob: &Obj<'a>, at: At<'_>) -> Result<Part<'a>, Fault> {
    let (kind, data) = (blob.need_text(at, "mimeType")?, blob.need_text(at, "data")?);
    let kind = kind.decode();
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '+' | '-' | '.' | '_');
    if !kind.chars().all(plain) {
        return Err(at.key("mimeType").invalid("is no media type"));
    }
    let data = standard(data);
    Ok(match &*kind {
        "audio/wav" | "audio/x-wav" => Part::Audio { format: "wav", data },
        "audio/mp3" | "audio/mpeg" => Part::Audio { format: "mp3", data },
        kind if kind.starts_with("image/") => {
            Part::Image { url: data.after(&format!("data:{kind};base64,")), detail: None }
        }
        kind => {
            let end = kind.rsplit('/').next().unwrap_or("bin");
            let name = blob.text(at, "displayName")?;
            let name = name.unwrap_or_else(|| Text::from(format!("file.{end}")));
            Part::File { name, data: data.after(&format!("data:{kind};base64,")) }
        }
    })
}

/// Base64 in the usual letters: Google takes those of addresses, too, and its SDK writes them.
fn standard(data: Text<'_>) -> Text<'_> {
    if !data.decode().contains(['-', '_']) {
        return data;
    }
    let mut text: String = data
        .decode()
        .chars()
        .map(|c| {
            if c == '-' {
                '+'
            } else if c == '_' {
                '/'
            } else {
                c
            }
        })
        .collect();
    while !text.len().is_multiple_of(4) {
        text.push('=');
    }
    Text::from(text)
}

/// The texts of a content, for what is embedded.
pub(super) fn text_of(content: &Obj<'_>, at: At<'_>) -> Result<String, Fault> {
    content.get("role");
    let here = at.key("parts");
    let mut all = String::new();
    for (index, raw) in many(content, at, "parts")?.into_iter().enumerate() {
        let at = here.item(index);
        let part = object(raw, at)?;
        let text = part.text(at, "text")?;
        let text = text.ok_or_else(|| at.invalid("must be a text: nothing else is embedded"))?;
        all.push_str(&text.decode());
    }
    Ok(all)
}
