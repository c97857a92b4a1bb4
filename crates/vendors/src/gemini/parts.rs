//! The conversation: messages become turns of parts.

use std::collections::BTreeMap;

use cutover_wire::Fault;

use crate::losses::Losses;
use crate::read::{At, Obj, Text, list};
use crate::signature;
use crate::turns::{Called, Turns, called, file, image_url, media_type, neutral};
use crate::write;
use crate::{FAILED, MARK};

/// What Gemini documents for calls that it did not make itself: they are not checked then.
const UNSIGNED: &str = "skip_thought_signature_validator";

/// The conversation under conversion.
pub(super) struct Talk<'l> {
    pub(super) turns: Turns,
    pub(super) losses: &'l mut Losses,
    /// Whether calls must be signed: by the model's generation.
    pub(super) signs: bool,
    /// Names of the functions that were called, by the call's id.
    pub(super) called: BTreeMap<String, String>,
}

impl Talk<'_> {
    pub(super) fn message(&mut self, raw: &str, at: At<'_>) -> Result<(), Fault> {
        let message = Obj::read(raw, at)?;
        match &*message.word(at, "role")? {
            "system" | "developer" => {
                let parts = self.content(&message, at)?;
                self.turns.instruct(parts, self.losses);
            }
            "user" => {
                let parts = self.content(&message, at)?;
                self.turns.put("user", parts);
            }
            "assistant" => self.assistant(&message, at)?,
            "tool" => {
                let part = self.result(&message, at)?;
                self.turns.put("user", vec![part]);
            }
            _ => self.losses.refuse("messages[].function_call", at.key("role"))?,
        }
        self.mark(&message);
        neutral(&message, &[("name", &[r#""""#])]);
        self.losses.rest(&message, "messages[].", at)
    }

    /// Marks for caching are for another vendor.
    fn mark(&mut self, obj: &Obj<'_>) {
        if obj.get(MARK).is_some() {
            self.losses.note(MARK);
        }
    }

    fn assistant(&mut self, message: &Obj<'_>, at: At<'_>) -> Result<(), Fault> {
        for (key, row) in [
            ("reasoning_content", "messages[].reasoning_content"),
            ("reasoning_details", "messages[].reasoning_details"),
        ] {
            if message.get(key).is_some() {
                self.losses.note(row);
            }
        }
        let mut parts = self.content(message, at)?;
        if let Some(text) = message.text(at, "refusal")? {
            parts.extend(text_part(&text));
        }
        let here = at.key("tool_calls");
        let calls = message.list(at, "tool_calls")?.unwrap_or_default();
        let mut signed = false;
        for (index, raw) in calls.into_iter().enumerate() {
            // Of calls made at once Gemini signs the first one, so that one must be.
            parts.push(self.call(raw, here.item(index), &mut signed)?);
        }
        self.turns.put("model", parts);
        Ok(())
    }

    fn call(&mut self, raw: &str, at: At<'_>, signed: &mut bool) -> Result<String, Fault> {
        let Called { call, id, name, arguments } = called(raw, at, self.losses)?;
        let mut signature = signature::of_call(&call);
        if signature.is_none() && !*signed && self.signs {
            self.losses.note("messages[].tool_calls[].signature");
            signature = Some(UNSIGNED.to_owned());
        }
        *signed = true;
        self.called.insert(id.decode().into_owned(), name.decode().into_owned());
        Ok(write::object(|j| {
            j.put_object("functionCall", |j| {
                id.write(j.key("id"));
                name.write(j.key("name"));
                j.key("args").raw(&arguments);
            });
            if let Some(signature) = &signature {
                j.put("thoughtSignature", signature);
            }
        }))
    }

    /// A tool's result: Gemini wants the function's name with it.
    fn result(&mut self, message: &Obj<'_>, at: At<'_>) -> Result<String, Fault> {
        let id = message.need_text(at, "tool_call_id")?;
        // It is sent under the name that its call has.
        message.get("name");
        let name = self.called.get(&*id.decode()).cloned();
        let name = name
            .ok_or_else(|| at.key("tool_call_id").invalid("names no call of this conversation"))?;
        let texts = self.texts(message, at)?;
        let output = texts.join("\n");
        let start = output.trim_start().chars().next().filter(|start| matches!(start, '{' | '['));
        let is_json = serde_json::from_str::<serde::de::IgnoredAny>(&output).is_ok();
        let failed = message.flag(at, FAILED)? == Some(true);
        let said = if failed { "error" } else { "output" };
        Ok(write::object(|j| {
            j.put_object("functionResponse", |j| {
                id.write(j.key("id"));
                j.put("name", &name);
                match start.filter(|_| is_json) {
                    // Google takes an object for what the function said, as it stands.
                    Some('{') if !failed => j.key("response").raw(&output),
                    Some(_) => j.put_object("response", |j| j.key(said).raw(&output)),
                    None => j.put_object("response", |j| j.put(said, &output)),
                }
            });
        }))
    }

    /// The texts of a tool message: chat completions knows nothing else there.
    fn texts(&mut self, message: &Obj<'_>, at: At<'_>) -> Result<Vec<String>, Fault> {
        let Some(raw) = message.get("content") else { return Ok(Vec::new()) };
        let at = at.key("content");
        if raw.starts_with('"') {
            return Ok(vec![Text::read(raw, at)?.decode().into_owned()]);
        }
        let mut texts = Vec::new();
        for (index, raw) in list(raw, at)?.into_iter().enumerate() {
            let at = at.item(index);
            let part = Obj::read(raw, at)?;
            if part.word(at, "type")? != "text" {
                return Err(at.key("type").invalid("must be text in a tool's result"));
            }
            texts.push(part.need_text(at, "text")?.decode().into_owned());
            self.mark(&part);
        }
        Ok(texts)
    }

    fn content(&mut self, message: &Obj<'_>, at: At<'_>) -> Result<Vec<String>, Fault> {
        let Some(raw) = message.get("content") else { return Ok(Vec::new()) };
        let at = at.key("content");
        if raw.starts_with('"') {
            return Ok(text_part(&Text::read(raw, at)?).into_iter().collect());
        }
        let mut parts = Vec::new();
        for (index, raw) in list(raw, at)?.into_iter().enumerate() {
            let at = at.item(index);
            let part = Obj::read(raw, at)?;
            match &*part.word(at, "type")? {
                "text" => parts.extend(text_part(&part.need_text(at, "text")?)),
                "refusal" => parts.extend(text_part(&part.need_text(at, "refusal")?)),
                "image_url" => parts.extend(self.image(&part, at)?),
                "file" => parts.extend(self.file(&part, at)?),
                "input_audio" => parts.push(audio(&part, at)?),
                _ => return Err(at.key("type").invalid("names a kind of part that is not known")),
            }
            self.mark(&part);
        }
        Ok(parts)
    }

    fn image(&mut self, part: &Obj<'_>, at: At<'_>) -> Result<Option<String>, Fault> {
        let here = at.key("image_url");
        let url = image_url(part, at, self.losses)?;
        let inlined = inline(&url.decode());
        if inlined.is_none() {
            self.losses.refuse("messages[].content[].image_url.url", here.key("url"))?;
        }
        Ok(inlined)
    }

    fn file(&mut self, part: &Obj<'_>, at: At<'_>) -> Result<Option<String>, Fault> {
        let Some((data, _)) = file(part, at, self.losses)? else { return Ok(None) };
        let place = at.key("file");
        let inlined = inline(&data.decode());
        inlined.map(Some).ok_or_else(|| place.key("file_data").invalid("must be a data URL"))
    }
}

fn audio(part: &Obj<'_>, at: At<'_>) -> Result<String, Fault> {
    let here = at.key("input_audio");
    let audio = part.object(at, "input_audio")?.ok_or_else(|| here.missing())?;
    let (format, data) = (audio.need_text(here, "format")?, audio.need_text(here, "data")?);
    let kind = match &*format.decode() {
        "wav" => "audio/wav",
        "mp3" => "audio/mp3",
        _ => return Err(here.key("format").invalid("must be wav or mp3")),
    };
    Ok(blob(kind, &data.decode()))
}

/// Empty texts say nothing, and a part must hold something.
fn text_part(text: &Text<'_>) -> Option<String> {
    (!text.is_empty()).then(|| write::object(|j| text.write(j.key("text"))))
}

/// What a data URL holds.
fn inline(url: &str) -> Option<String> {
    let (kind, data) = url.strip_prefix("data:")?.split_once(";base64,")?;
    Some(blob(&media_type(kind), data))
}

fn blob(kind: &str, data: &str) -> String {
    write::object(|j| {
        j.put_object("inlineData", |j| {
            j.put("mimeType", kind);
            j.put("data", data);
        });
    })
}
