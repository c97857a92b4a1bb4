//! From a Messages request to chat completions.

use bytes::Bytes;
use cutover_wire::{Endpoint, Fault};

use super::content::{self, Conversation};
use super::fields::FIELDS;
use crate::answer::{ANTHROPICS_IMAGE, Answer, ESTIMATED, estimated_tokens};
use crate::inbound::{Asked, Back, Inbound, RequestFacts, StoreNeeds, WayBack};
use crate::losses::Losses;
use crate::origins::Origins;
use crate::pivot::{self, Chat, Message, Tool};
use crate::read::{At, Obj, Objects, Text};
use crate::write;

/// `POST /v1/messages`.
pub(super) fn read(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    let root = Obj::of_body(body)?;
    let mut losses = facts.losses(FIELDS);
    let stream = needed(&root)?;
    let (model, mut chat) = convert(&root, facts, &mut losses)?;
    chat.bytes = body.len();
    let way_back = way_back(&model, facts);
    Ok(Asked::Infer(Box::new(Inbound {
        endpoint: Endpoint::ChatCompletions,
        body: chat.write(&model, stream),
        stream,
        refused: losses.take_refused(),
        losses: losses.into_list(),
        needs: StoreNeeds::default(),
        origins: Origins::of(&chat, body, FIELDS),
        way_back,
    })))
}

/// Looks at what must be there. Tells whether a stream is wanted.
pub(super) fn needed(root: &Obj<'_>) -> Result<bool, Fault> {
    let at = At::Root;
    let stream = root.flag(at, "stream")?.unwrap_or(false);
    root.need_text(at, "model")?;
    match root.whole(at, "max_tokens")? {
        None => Err(at.key("max_tokens").missing()),
        Some(limit) if limit < 0 => Err(at.key("max_tokens").invalid("must be at least 1")),
        Some(_) => Ok(stream),
    }
}

pub(super) fn way_back(model: &Text<'_>, facts: &RequestFacts<'_>) -> WayBack {
    let (id, created) = (facts.id.to_owned(), facts.now);
    WayBack { kind: Back::Anthropic, model: model.decode().into_owned(), id, created }
}

/// `POST /v1/messages/count_tokens`.
pub(super) fn count(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    let root = Obj::of_body(body)?;
    let mut losses = facts.losses(FIELDS);
    let (model, chat) = convert(&root, facts, &mut losses)?;
    // What the model will read: the request without its name.
    let tokens = estimated_tokens(&chat.write(&Text::from(""), false), ANTHROPICS_IMAGE);
    drop(model);
    let mut answer = Answer::json(write::object(|j| j.put_number("input_tokens", tokens)));
    answer.headers.push((ESTIMATED, "input_tokens".to_owned()));
    Ok(Asked::Now(answer))
}

fn convert<'a>(
    root: &Obj<'a>,
    facts: &RequestFacts<'_>,
    losses: &mut Losses,
) -> Result<(Text<'a>, Chat<'a>), Fault> {
    let at = At::Root;
    let model = root.need_text(at, "model")?;
    let mut chat = Chat { signatures: facts.keep_marks, ..Chat::default() };
    if let Some(raw) = root.get("system") {
        let parts = content::system(raw, at.key("system"), (facts.keep_marks, losses))?;
        if !parts.is_empty() {
            chat.messages.push(Message::Said { role: "system", parts });
        }
    }
    let items = root.get("messages").ok_or_else(|| at.key("messages").missing())?;
    let mut items = Objects::of(items, at.key("messages"))?;
    if items.is_done() {
        return Err(at.key("messages").invalid("must not be empty"));
    }
    let RequestFacts { keep_reasoning, keep_marks, .. } = *facts;
    let mut conversation =
        Conversation { messages: chat.messages, keep_reasoning, keep_marks, losses };
    conversation.read(items, at.key("messages"))?;
    chat.messages = conversation.messages;
    tools(root, (&mut chat, keep_marks), losses)?;
    settings(root, (&mut chat, keep_marks), losses)?;
    Ok((model, chat))
}

/// All but what the model reads. The tools are there already.
pub(super) fn settings<'a>(
    root: &Obj<'a>,
    (chat, keep_marks): (&mut Chat<'a>, bool),
    losses: &mut Losses,
) -> Result<(), Fault> {
    let at = At::Root;
    choice(root, chat, losses)?;
    if let Some(mark) = content::taken_mark(root, (at, keep_marks))? {
        chat.set(cutover_vendors::MARK, mark);
    }
    limits(root, chat, losses)?;
    if root.get("speed").is_some_and(|raw| raw != "\"standard\"") {
        losses.note("speed");
    }
    thinking(root, (chat, keep_marks), losses)?;
    root.flag(at, "stream")?;
    losses.rest(root, "", at)
}

fn limits<'a>(root: &Obj<'a>, chat: &mut Chat<'a>, losses: &mut Losses) -> Result<(), Fault> {
    let at = At::Root;
    if root.whole(at, "max_tokens")? == Some(0) {
        losses.refuse("max_tokens.zero", at.key("max_tokens"))?;
        chat.set("max_completion_tokens", "1");
    } else {
        chat.set_some("max_completion_tokens", root.get("max_tokens"));
    }
    chat.set_some("temperature", root.number(at, "temperature")?);
    chat.set_some("top_p", root.number(at, "top_p")?);
    if let Some(list) = root.list(at, "stop_sequences")? {
        let here = at.key("stop_sequences");
        for (index, raw) in list.iter().enumerate() {
            Text::read(raw, here.item(index))?;
        }
        if !list.is_empty() {
            chat.set_some("stop", root.get("stop_sequences"));
            losses.note("stop_sequences");
        }
    }
    if let Some(metadata) = root.object(at, "metadata")? {
        let here = at.key("metadata");
        if let Some(user) = metadata.text(here, "user_id")? {
            let raw = write_text(&user);
            chat.set("user", raw);
        }
        losses.rest(&metadata, "metadata.", here)?;
    }
    Ok(())
}

fn write_text(text: &Text<'_>) -> String {
    let mut json = write::Json::new();
    text.write(&mut json);
    json.into_string()
}

/// How the types of tools begin that Anthropic describes and the client runs.
const CLIENTS_TOOLS: [&str; 4] = ["bash_", "computer_", "memory_", "text_editor_"];

fn tools<'a>(
    root: &Obj<'a>,
    (chat, keep_marks): (&mut Chat<'a>, bool),
    losses: &mut Losses,
) -> Result<(), Fault> {
    let at = At::Root;
    let here = at.key("tools");
    for (index, raw) in root.list(at, "tools")?.unwrap_or_default().into_iter().enumerate() {
        let at = here.item(index);
        let tool = Obj::read(raw, at)?;
        let kind = tool.word(at, "type")?;
        if !matches!(&*kind, "" | "custom") {
            let is_clients = CLIENTS_TOOLS.iter().any(|name| kind.starts_with(name));
            let row = if is_clients { "tools[].type.client" } else { "tools[].type" };
            losses.refuse(row, at.key("type"))?;
            continue;
        }
        let parameters = tool.raw_object(at, "input_schema")?;
        chat.tools.push(Tool {
            name: tool.need_text(at, "name")?,
            description: tool.text(at, "description")?,
            parameters: Some(parameters.ok_or_else(|| at.key("input_schema").missing())?.into()),
            strict: tool.flag(at, "strict")?,
            mark: content::taken_mark(&tool, (at, keep_marks))?.map(Into::into),
        });
        losses.rest(&tool, "tools[].", at)?;
    }
    Ok(())
}

fn choice<'a>(root: &Obj<'a>, chat: &mut Chat<'a>, losses: &mut Losses) -> Result<(), Fault> {
    let at = At::Root;
    let Some(choice) = root.object(at, "tool_choice")? else { return Ok(()) };
    let here = at.key("tool_choice");
    let kind = choice.word(here, "type")?;
    let word = match &*kind {
        "auto" => "\"auto\"".to_owned(),
        "any" => "\"required\"".to_owned(),
        "none" => "\"none\"".to_owned(),
        "tool" => pivot::choose_function(&choice.need_text(here, "name")?),
        "" => return Err(here.key("type").missing()),
        _ => {
            losses.refuse("tool_choice.type", here.key("type"))?;
            "\"auto\"".to_owned()
        }
    };
    // Without tools the choice is an error in chat completions; here it is none.
    if !chat.tools.is_empty() {
        chat.set("tool_choice", word);
        if choice.flag(here, "disable_parallel_tool_use")? == Some(true) {
            chat.set("parallel_tool_calls", "false");
        }
    }
    choice.get("disable_parallel_tool_use");
    losses.rest(&choice, "tool_choice.", here)
}

/// Thinking and the two settings of `output_config`.
fn thinking<'a>(
    root: &Obj<'a>,
    (chat, keep_marks): (&mut Chat<'a>, bool),
    losses: &mut Losses,
) -> Result<(), Fault> {
    let at = At::Root;
    let mut effort = None;
    if let Some(thinking) = root.object(at, "thinking")? {
        effort = wish(&thinking, at.key("thinking"))?;
        if !keep_marks {
            losses.note("thinking");
            losses.rest(&thinking, "thinking.", at.key("thinking"))?;
        }
    }
    let mut format = root.get("output_format").map(|raw| (raw, at.key("output_format")));
    let config = root.object(at, "output_config")?;
    let here = at.key("output_config");
    if let Some(config) = &config {
        let wish = config.word(here, "effort")?;
        effort = match &*wish {
            _ if effort == Some("none") => effort,
            "" => effort,
            "low" => Some("low"),
            "medium" => Some("medium"),
            "high" | "xhigh" | "max" => Some("high"),
            _ => {
                let words = "must be low, medium, high, xhigh or max";
                return Err(here.key("effort").invalid(words));
            }
        };
        format = config.get("format").map(|raw| (raw, here.key("format"))).or(format);
        losses.rest(config, "output_config.", here)?;
    }
    if let Some(effort) = effort {
        chat.set("reasoning_effort", format!("\"{effort}\""));
    }
    let own = [
        ("thinking", root.get("thinking")),
        ("effort", config.as_ref().and_then(|config| config.get("effort"))),
    ];
    if keep_marks && own.iter().any(|(_, raw)| raw.is_some()) {
        let own = write::object(|j| {
            j.put_object("anthropic", |j| {
                for (name, raw) in own {
                    j.put_some(name, raw);
                }
            });
        });
        chat.set(cutover_vendors::EXTRA, own);
    }
    let Some((raw, here)) = format else { return Ok(()) };
    let format = Obj::read(raw, here)?;
    if format.word(here, "type")? != "json_schema" {
        return Err(here.key("type").invalid("must be json_schema"));
    }
    let schema = format.raw_object(here, "schema")?;
    let schema = schema.ok_or_else(|| here.key("schema").missing())?;
    chat.set("response_format", pivot::schema_format(&Text::from("answer"), schema, Some(true)));
    losses.rest(&format, "output_config.format.", here)
}

/// The effort that `thinking` asks for, if it says how much.
fn wish(thinking: &Obj<'_>, here: At<'_>) -> Result<Option<&'static str>, Fault> {
    let kind = thinking.word(here, "type")?;
    let budget = thinking.whole(here, "budget_tokens")?;
    // How the thinking shall be shown is the SDK's `display`.
    thinking.get("display");
    Ok(match (&*kind, budget) {
        ("enabled", None) => return Err(here.key("budget_tokens").missing()),
        ("enabled", Some(..=4_096)) => Some("low"),
        ("enabled", Some(..=16_384)) => Some("medium"),
        ("enabled", Some(_)) => Some("high"),
        ("disabled", _) => Some("none"),
        ("adaptive" | "between_tools", _) => None,
        _ => {
            let words = "must be enabled, disabled, adaptive or between_tools";
            return Err(here.key("type").invalid(words));
        }
    })
}
