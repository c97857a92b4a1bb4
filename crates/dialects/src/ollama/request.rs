//! From Ollama's requests to the OpenAI dialect.

use bytes::Bytes;
use cutover_wire::{Endpoint, Fault};

use super::Shape;
use super::answer::loaded;
use super::fields::FIELDS;
use super::messages::{Conversation, images};
use crate::inbound::{Asked, Back, Inbound, RequestFacts, StoreNeeds, WayBack};
use crate::losses::Losses;
use crate::origins::Origins;
use crate::outline::Settings;
use crate::pivot::{self, Chat, Message, Part, Tool, write_stream};
use crate::read::{self, At, Obj, Objects, Text};
use crate::write::{self, Json};

const ROOT: At<'static> = At::Root;

/// Levels of thinking that chat completions has by the same name.
const LEVELS: [&str; 6] =
    ["\"minimal\"", "\"low\"", "\"medium\"", "\"high\"", "\"xhigh\"", "\"max\""];

/// A request under conversion.
struct Work<'a, 'f> {
    sent: &'a Bytes,
    root: Obj<'a>,
    facts: &'f RequestFacts<'f>,
    model: Text<'a>,
    losses: Losses,
    chat: Chat<'a>,
}

impl<'a, 'f> Work<'a, 'f> {
    fn new(
        body: &'a Bytes,
        facts: &'f RequestFacts<'f>,
        scope: &'static str,
    ) -> Result<Self, Fault> {
        Self::of_root((body, Obj::of_body(body)?), facts, scope)
    }

    fn of_root(
        (body, root): (&'a Bytes, Obj<'a>),
        facts: &'f RequestFacts<'f>,
        scope: &'static str,
    ) -> Result<Self, Fault> {
        let model = root.need_text(ROOT, "model")?;
        let losses = facts.losses(FIELDS).of_route(scope);
        let chat = Chat { bytes: body.len(), ..Chat::default() };
        Ok(Self { sent: body, root, facts, model, losses, chat })
    }

    fn stream(&self) -> Result<bool, Fault> {
        Ok(self.root.flag(ROOT, "stream")?.unwrap_or(true))
    }

    fn done(self, shape: Shape, endpoint: Endpoint, body: Bytes) -> Result<Asked, Fault> {
        let stream = endpoint != Endpoint::Embeddings && self.stream()?;
        let mut losses = self.losses;
        losses.rest(&self.root, "", ROOT)?;
        let way_back = way_back(&self.model, self.facts, shape);
        Ok(Asked::Infer(Box::new(Inbound {
            endpoint,
            body,
            stream,
            refused: losses.take_refused(),
            losses: losses.into_list(),
            needs: StoreNeeds::default(),
            origins: Origins::of(&self.chat, self.sent, FIELDS),
            way_back,
        })))
    }

    /// What chat and generate share, but for the prompt.
    fn generating(&mut self) -> Result<(), Fault> {
        self.options("max_completion_tokens")?;
        if let Some(raw) = self.root.get("format").filter(|raw| *raw != "\"\"") {
            let format = match raw {
                "\"json\"" => r#"{"type":"json_object"}"#.to_owned(),
                schema if schema.starts_with('{') => {
                    pivot::schema_format(&Text::from("answer"), schema, None)
                }
                _ => return Err(ROOT.key("format").invalid("must be json or a JSON schema")),
            };
            self.chat.set("response_format", format);
        }
        self.think()?;
        self.root.flag(ROOT, "logprobs")?;
        self.chat.set_some("logprobs", self.root.get("logprobs"));
        self.root.whole(ROOT, "top_logprobs")?;
        let top = self.root.get("top_logprobs").filter(|raw| *raw != "0");
        self.chat.set_some("top_logprobs", top);
        Ok(())
    }

    fn think(&mut self) -> Result<(), Fault> {
        let effort = match self.root.get("think") {
            None => return Ok(()),
            Some("true") => "\"medium\"",
            Some("false") => "\"none\"",
            Some(raw) if LEVELS.contains(&raw) => {
                self.chat.set("reasoning_effort", raw);
                return Ok(());
            }
            Some(raw)
                if raw.starts_with('"') || raw.parse().is_ok_and(|tokens: u64| tokens > 0) =>
            {
                return self.losses.refuse("think.level", ROOT.key("think"));
            }
            Some(_) => {
                let why =
                    "must be a boolean, a level such as low, medium or high, or a number of tokens";
                return Err(ROOT.key("think").invalid(why));
            }
        };
        self.losses.note("think");
        self.chat.set("reasoning_effort", effort);
        Ok(())
    }

    fn options(&mut self, limit: &'static str) -> Result<(), Fault> {
        let Some(options) = self.root.object(ROOT, "options")? else { return Ok(()) };
        let at = ROOT.key("options");
        for name in ["temperature", "top_p", "frequency_penalty", "presence_penalty"] {
            self.chat.set_some(name, options.number(at, name)?);
        }
        options.whole(at, "seed")?;
        self.chat.set_some("seed", options.get("seed"));
        // Below zero is "until the model ends" and "until the context is full": no limit of ours.
        if options.whole(at, "num_predict")?.is_some_and(|limit| limit >= 0) {
            self.chat.set_some(limit, options.get("num_predict"));
        }
        for (index, raw) in options.list(at, "stop")?.unwrap_or_default().into_iter().enumerate() {
            Text::read(raw, at.key("stop").item(index))?;
        }
        self.chat.set_some("stop", options.get("stop").filter(|raw| *raw != "[]"));
        self.losses.rest(&options, "options.", at)
    }

    fn tools(&mut self) -> Result<(), Fault> {
        let here = ROOT.key("tools");
        for (index, raw) in
            self.root.list(ROOT, "tools")?.unwrap_or_default().into_iter().enumerate()
        {
            let at = here.item(index);
            let tool = Obj::read(raw, at)?;
            if !matches!(&*tool.word(at, "type")?, "" | "function") {
                self.losses.refuse("tools[].type", at.key("type"))?;
                continue;
            }
            let inner = at.key("function");
            let function = tool.object(at, "function")?.ok_or_else(|| inner.missing())?;
            self.chat.tools.push(Tool {
                mark: None,
                name: function.need_text(inner, "name")?,
                description: function.text(inner, "description")?,
                parameters: function.raw_object(inner, "parameters")?.map(Into::into),
                strict: None,
            });
            self.losses.rest(&function, "tools[].function.", inner)?;
            self.losses.rest(&tool, "tools[].", at)?;
        }
        Ok(())
    }

    /// A request with nothing to answer loads a model (or, with `keep_alive: 0`, unloads it): answered
    /// at once, because what is loaded is the operator's.
    fn load(&self, shape: Shape) -> Asked {
        let unload = matches!(self.root.get("keep_alive"), Some("0" | "\"0\"" | "\"0s\""));
        let reason = if unload { "unload" } else { "load" };
        Asked::Now(loaded(shape, &self.model.decode(), self.facts.now, reason))
    }
}

fn way_back(model: &Text<'_>, facts: &RequestFacts<'_>, shape: Shape) -> WayBack {
    let (model, id) = (model.decode().into_owned(), facts.id.to_owned());
    WayBack { kind: Back::Ollama(shape), model, id, created: facts.now }
}

/// All but the conversation of a request for a chat, whose messages and tools were walked.
pub(super) fn settings<'a>(
    (body, root): (&'a Bytes, Obj<'a>),
    facts: &RequestFacts<'_>,
    tools: Vec<Tool<'a>>,
) -> Result<Settings<'a>, Fault> {
    let mut work = Work::of_root((body, root), facts, CHAT)?;
    for walked in ["messages", "tools"] {
        work.root.get(walked);
    }
    work.root.get("messages").ok_or_else(|| ROOT.key("messages").missing())?;
    work.chat.tools = tools;
    work.generating()?;
    let stream = work.stream()?;
    let Work { root, model, mut losses, chat, .. } = work;
    losses.rest(&root, "", ROOT)?;
    let way_back = way_back(&model, facts, Shape::Chat);
    Ok(Settings { model, stream, chat, losses, way_back })
}

const CHAT: &str = "/api/chat";

/// `POST /api/chat`.
pub(super) fn chat(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    let mut work = Work::new(body, facts, CHAT)?;
    let items = Objects::of(work.root.get("messages").unwrap_or("[]"), ROOT.key("messages"));
    let mut items = items?;
    if items.is_done() {
        return Ok(work.load(Shape::Chat));
    }
    let mut conversation = Conversation::new(&mut work.losses, facts.keep_reasoning);
    conversation.read(items, ROOT.key("messages"))?;
    work.chat.messages = conversation.messages;
    work.tools()?;
    work.generating()?;
    let body = work.chat.write(&work.model, work.stream()?);
    work.done(Shape::Chat, Endpoint::ChatCompletions, body)
}

/// `POST /api/generate`.
pub(super) fn generate(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    let mut work = Work::new(body, facts, "/api/generate")?;
    let prompt = work.root.text(ROOT, "prompt")?.filter(|text| !text.is_empty());
    let images = images(&work.root, ROOT)?;
    let raw = work.root.flag(ROOT, "raw")?.unwrap_or(false);
    let suffix = work.root.text(ROOT, "suffix")?.filter(|text| !text.is_empty());
    if work.root.get("template").is_some_and(|raw| raw != "\"\"") {
        work.losses.refuse("template", ROOT.key("template"))?;
    }
    if work.root.get("context").is_some_and(|raw| raw != "[]") {
        work.losses.refuse("context", ROOT.key("context"))?;
    }
    if prompt.is_none() && images.is_empty() {
        return Ok(work.load(Shape::Generate));
    }
    if (raw || suffix.is_some()) && !images.is_empty() {
        // Who is lenient keeps the images: an answer without them would be made up.
        work.losses.refuse("raw.images", ROOT.key("images"))?;
    } else if raw || suffix.is_some() {
        return raw_prompt(work, &prompt.unwrap_or_else(|| Text::from("")), suffix.as_ref());
    }
    if let Some(system) = work.root.text(ROOT, "system")?.filter(|text| !text.is_empty()) {
        let parts = vec![Part::Text(system)];
        work.chat.messages.push(Message::Said { role: "system", parts });
    }
    let parts = prompt.map(Part::Text).into_iter().chain(images).collect();
    work.chat.messages.push(Message::Said { role: "user", parts });
    work.generating()?;
    let body = work.chat.write(&work.model, work.stream()?);
    work.done(Shape::Generate, Endpoint::ChatCompletions, body)
}

/// A prompt that is continued as it stands.
fn raw_prompt(
    mut work: Work<'_, '_>,
    prompt: &Text<'_>,
    suffix: Option<&Text<'_>>,
) -> Result<Asked, Fault> {
    if work.root.text(ROOT, "system")?.is_some_and(|text| !text.is_empty()) {
        work.losses.note("raw.system");
    }
    if work.root.get("think").is_some() {
        work.losses.note("raw.think");
    }
    if work.root.get("format").is_some_and(|raw| raw != "\"\"") {
        work.losses.refuse("raw.format", ROOT.key("format"))?;
    }
    work.options("max_tokens")?;
    if work.root.flag(ROOT, "logprobs")? == Some(true) {
        work.root.whole(ROOT, "top_logprobs")?;
        work.chat.set("logprobs", work.root.get("top_logprobs").unwrap_or("0"));
    }
    work.root.get("top_logprobs");
    let stream = work.stream()?;
    let body = write::object(|j| {
        work.model.write(j.key("model"));
        prompt.write(j.key("prompt"));
        if let Some(suffix) = suffix {
            suffix.write(j.key("suffix"));
        }
        write_fields(j, &work.chat);
        write_stream(j, stream);
    });
    work.done(Shape::Generate, Endpoint::Completions, Bytes::from(body))
}

fn write_fields(json: &mut Json, chat: &Chat<'_>) {
    for (name, raw) in &chat.fields {
        json.key(name).raw(raw);
    }
}

/// `POST /api/embed`.
pub(super) fn embed(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    let work = Work::new(body, facts, "/api/embed")?;
    let at = ROOT.key("input");
    let input = work.root.get("input").ok_or_else(|| at.missing())?;
    if input.starts_with('[') {
        for (index, raw) in read::list(input, at)?.into_iter().enumerate() {
            Text::read(raw, at.item(index))?;
        }
    } else {
        Text::read(input, at).map_err(|_| at.wrong_type("a string or an array of strings"))?;
    }
    embedding_request(work, Shape::Embed, input)
}

/// `POST /api/embeddings`, the older form.
pub(super) fn embedding(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    let work = Work::new(body, facts, "/api/embeddings")?;
    work.root.need_text(ROOT, "prompt")?;
    let prompt = work.root.get("prompt").unwrap_or("\"\"");
    embedding_request(work, Shape::Embedding, prompt)
}

fn embedding_request(mut work: Work<'_, '_>, shape: Shape, input: &str) -> Result<Asked, Fault> {
    if let Some(options) = work.root.object(ROOT, "options")? {
        work.losses.rest(&options, "options.", ROOT.key("options"))?;
    }
    work.root.whole(ROOT, "dimensions")?;
    let dimensions = work.root.get("dimensions");
    let body = write::object(|j| {
        work.model.write(j.key("model"));
        j.key("input").raw(input);
        j.put("encoding_format", "float");
        if let Some(raw) = dimensions {
            j.key("dimensions").raw(raw);
        }
    });
    work.done(shape, Endpoint::Embeddings, Bytes::from(body))
}
