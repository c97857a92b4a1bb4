//! From a chat completions request to a Messages request.

use bytes::Bytes;
use cutover_wire::{Fault, Unsupported};

use super::fields::FIELDS;
use super::ids::Ids;
use super::settings::settings;
use super::{PATH, refused};
use crate::calls::Calls;
use crate::losses::Losses;
use crate::read::{self, At, Obj, Text, list};
use crate::turns::{Called, Turns, called, file, image_url, media_type, neutral};
use crate::write::{self, Json};
use crate::{Defaults, Sent};
use crate::{FAILED, MARK};

const ROOT: At<'static> = At::Root;

/// Converts a request. `body` is a chat completions request; of the variant's `defaults` in it what cannot be sent is
/// left out and reported, whatever `unsupported` says of the client's.
pub fn request(body: &[u8], unsupported: Unsupported, defaults: &Defaults) -> Result<Sent, Fault> {
    let text = read::body_text(body)?;
    let root = Obj::parse(text, ROOT)?;
    let mut losses = Losses::new(FIELDS, unsupported).with_defaults(defaults).and_nothing_else();
    let (turns, calls, ids) = (Turns::default(), Calls::default(), Ids::default());
    let mut talk = Talk { turns, calls, ids, losses: &mut losses };
    let messages = root.list(ROOT, "messages")?.unwrap_or_default();
    let any = !messages.is_empty();
    for (index, raw) in messages.into_iter().enumerate() {
        talk.message(raw, ROOT.key("messages").item(index))?;
    }
    let mut turns = talk.turns;
    turns.someone_speaks(any, &mut losses)?;
    let model = root.need_text(ROOT, "model")?;
    let settings = settings(&root, turns.lack_thinking(), &mut losses)?;
    let stream = root.flag(ROOT, "stream")?.unwrap_or(false);
    root.get("stream_options");
    let mark = root.raw_object(ROOT, MARK)?;
    neutral(&root, NEUTRAL);
    losses.rest(&root, "", ROOT)?;
    let text = write::object(|j| {
        model.write(j.key("model"));
        j.members(&settings);
        j.put_some(MARK, mark);
        if !turns.system.is_empty() {
            j.put_array("system", |j| turns.system.iter().for_each(|block| j.raw(block)));
        }
        j.put_array("messages", |j| turns.write(j, "content"));
        if stream {
            j.put_flag("stream", true);
        }
    });
    Ok(Sent { path: PATH.into(), body: Bytes::from(text), losses: losses.into_list() })
}

/// Values that ask for nothing.
const NEUTRAL: &[(&str, &[&str])] = &[
    ("n", &["1"]),
    ("logprobs", &["false"]),
    ("frequency_penalty", &["0", "0.0"]),
    ("presence_penalty", &["0", "0.0"]),
    ("modalities", &["[\"text\"]"]),
    ("logit_bias", &["{}"]),
    ("store", &["false"]),
    ("verbosity", &["\"medium\""]),
    ("metadata", &["{}"]),
];

/// The conversation under conversion.
struct Talk<'l> {
    turns: Turns,
    calls: Calls,
    ids: Ids,
    losses: &'l mut Losses,
}

impl Talk<'_> {
    fn message(&mut self, raw: &str, at: At<'_>) -> Result<(), Fault> {
        let message = Obj::read(raw, at)?;
        match &*message.word(at, "role")? {
            "system" | "developer" => {
                let blocks = self.content(&message, at)?;
                self.turns.instruct(blocks, self.losses);
            }
            "user" => {
                let blocks = self.content(&message, at)?;
                self.turns.put("user", blocks);
            }
            "assistant" => self.assistant(&message, at)?,
            "tool" => {
                let id = message.need_text(at, "tool_call_id")?;
                // The call that it answers says so, too.
                message.get("name");
                let (id, _) = self.calls.answered(Some(id), None);
                let id = self.ids.answered(&id.decode());
                let content = self.content(&message, at)?;
                let mark = message.raw_object(at, MARK)?;
                let failed = message.flag(at, FAILED)? == Some(true);
                let result = write::object(|j| {
                    j.put("type", "tool_result");
                    j.put("tool_use_id", &id);
                    if failed {
                        j.put_flag(FAILED, true);
                    }
                    j.put_some(MARK, mark);
                    j.put_array("content", |j| content.iter().for_each(|block| j.raw(block)));
                });
                if self.turns.put_before("user", result) {
                    self.losses.note("messages[].tool.order");
                }
            }
            _ => self.losses.refuse("messages[].function_call", at.key("role"))?,
        }
        neutral(&message, &[("name", &[r#""""#])]);
        self.losses.rest(&message, "messages[].", at)
    }

    fn assistant(&mut self, message: &Obj<'_>, at: At<'_>) -> Result<(), Fault> {
        let mut blocks = thinking(message, at)?;
        if message.get("reasoning_content").is_some() && blocks.is_empty() {
            self.losses.note("messages[].reasoning_content");
        }
        blocks.extend(self.content(message, at)?);
        if let Some(text) = message.text(at, "refusal")? {
            blocks.extend(text_block(&text));
        }
        let here = at.key("tool_calls");
        let calls = message.list(at, "tool_calls")?.unwrap_or_default();
        for (index, raw) in calls.into_iter().enumerate() {
            blocks.push(self.call(raw, here.item(index))?);
        }
        if let Some(mark) = message.raw_object(at, MARK)? {
            // Thinking takes none, and comes first.
            if let Some(block) = blocks.last_mut().filter(|block| !thinks(block)) {
                *block = marked(block, mark);
            }
        }
        self.turns.put("assistant", blocks);
        Ok(())
    }

    fn call(&mut self, raw: &str, at: At<'_>) -> Result<String, Fault> {
        let Called { id, name, arguments, .. } = called(raw, at, self.losses)?;
        let id = self.calls.called(Some(id), &name);
        let id = self.ids.called(&id.decode());
        Ok(write::object(|j| {
            j.put("type", "tool_use");
            j.put("id", &id);
            name.write(j.key("name"));
            j.key("input").raw(&arguments);
        }))
    }

    fn content(&mut self, message: &Obj<'_>, at: At<'_>) -> Result<Vec<String>, Fault> {
        let Some(raw) = message.get("content") else { return Ok(Vec::new()) };
        let at = at.key("content");
        if raw.starts_with('"') {
            return Ok(text_block(&Text::read(raw, at)?).into_iter().collect());
        }
        let mut blocks = Vec::new();
        for (index, raw) in list(raw, at)?.into_iter().enumerate() {
            let at = at.item(index);
            let part = Obj::read(raw, at)?;
            let before = blocks.len();
            match &*part.word(at, "type")? {
                "text" => blocks.extend(text_block(&part.need_text(at, "text")?)),
                "refusal" => blocks.extend(text_block(&part.need_text(at, "refusal")?)),
                "image_url" => blocks.push(self.image(&part, at)?),
                "file" => blocks.extend(self.file(&part, at)?),
                "input_audio" => {
                    self.losses.refuse("messages[].content[].input_audio", at.key("type"))?;
                }
                _ => return Err(at.key("type").invalid("names a kind of part that is not known")),
            }
            if let Some(mark) = part.raw_object(at, MARK)?
                && let Some(block) = blocks.get_mut(before)
            {
                *block = marked(block, mark);
            }
        }
        Ok(blocks)
    }

    fn image(&mut self, part: &Obj<'_>, at: At<'_>) -> Result<String, Fault> {
        let url = image_url(part, at, self.losses)?;
        Ok(write::object(|j| {
            j.put("type", "image");
            write_source(j, &url.decode());
        }))
    }

    fn file(&mut self, part: &Obj<'_>, at: At<'_>) -> Result<Option<String>, Fault> {
        let Some((data, name)) = file(part, at, self.losses)? else { return Ok(None) };
        Ok(Some(write::object(|j| {
            j.put("type", "document");
            if let Some(name) = &name {
                name.write(j.key("title"));
            }
            write_source(j, &data.decode());
        })))
    }
}

/// How blocks begin that take no mark.
const THINKING: [&str; 2] = [r#"{"type":"thinking""#, r#"{"type":"redacted_thinking""#];

fn thinks(block: &str) -> bool {
    THINKING.iter().any(|kind| block.starts_with(kind))
}

impl Turns {
    /// Whether the turn of calls that they end in has no thinking.
    fn lack_thinking(&self) -> bool {
        refused::lacks_thinking(self.each().map(|(role, results, items)| match role {
            "user" => (true, !results.is_empty()),
            _ => (false, items.iter().any(|item| thinks(item))),
        }))
    }
}

/// A block with a mark for caching.
fn marked(block: &str, mark: &str) -> String {
    let open = block.strip_suffix('}').unwrap_or(block);
    format!("{open},\"{MARK}\":{mark}}}")
}

/// The Messages API refuses texts of white space alone.
fn text_block(text: &Text<'_>) -> Option<String> {
    (!text.is_blank()).then(|| {
        write::object(|j| {
            j.put("type", "text");
            text.write(j.key("text"));
        })
    })
}

fn write_source(json: &mut Json, url: &str) {
    let data = url.strip_prefix("data:").and_then(|rest| rest.split_once(";base64,"));
    json.put_object("source", |j| match data {
        Some((kind, data)) => {
            j.put("type", "base64");
            j.put("media_type", &media_type(kind));
            j.put("data", data);
        }
        None => {
            j.put("type", "url");
            j.put("url", url);
        }
    });
}

/// Thinking that Anthropic signed, verbatim.
fn thinking(message: &Obj<'_>, at: At<'_>) -> Result<Vec<String>, Fault> {
    let here = at.key("reasoning_details");
    let mut blocks = Vec::new();
    let details = message.list(at, "reasoning_details")?.unwrap_or_default();
    // A signature without its text belongs to all the reasoning that was shown.
    let said = message.text(at, "reasoning_content")?;
    let alone = details.len() == 1;
    for (index, raw) in details.into_iter().enumerate() {
        let at = here.item(index);
        let detail = Obj::read(raw, at)?;
        let kind = detail.word(at, "type")?;
        let signature = detail.text(at, "signature")?.filter(|text| !text.is_empty());
        match (&*kind, signature) {
            ("reasoning.text", Some(signature)) => {
                let text = detail.text(at, "text")?.or_else(|| said.clone().filter(|_| alone));
                let text = text.unwrap_or_else(|| Text::from(""));
                blocks.push(write::object(|j| {
                    j.put("type", "thinking");
                    text.write(j.key("thinking"));
                    signature.write(j.key("signature"));
                }));
            }
            ("reasoning.encrypted", _) => {
                let data = detail.need_text(at, "data")?;
                blocks.push(write::object(|j| {
                    j.put("type", "redacted_thinking");
                    data.write(j.key("data"));
                }));
            }
            _ => {}
        }
    }
    Ok(blocks)
}
