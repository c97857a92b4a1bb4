//! From a Responses request to chat completions.

use bytes::Bytes;
use cutover_wire::{Endpoint, Fault};

use super::fields::FIELDS;
use super::items::Items;
use super::object::{self, Echo};
use super::store::{self, Loaded, Shelf};
use super::tools::{self, Names};
use crate::answer::{Answer, BYTES_PER_TOKEN, ESTIMATED, OPENAIS_IMAGE, estimated_tokens};
use crate::inbound::{Asked, Back, Inbound, RequestFacts, StoreNeeds, WayBack};
use crate::losses::Losses;
use crate::origins::Origins;
use crate::outline::Settings;
use crate::pivot::{self, Assistant, Chat, Message, Part, Results};
use crate::read::{At, Obj, Text};
use crate::sampled::Sampled;
use crate::write;

/// `POST /v1/responses`.
pub(super) fn read(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    convert(body, facts, None).map(Asked::Infer)
}

/// `POST /v1/responses/input_tokens`.
pub(super) fn count(body: &Bytes, facts: &RequestFacts<'_>) -> Result<Asked, Fault> {
    let inbound = convert(body, facts, None)?;
    let unseen = [
        ("previous_response_id", inbound.needs.previous.is_some()),
        ("input", !inbound.needs.items.is_empty()),
    ];
    if let Some((name, _)) = unseen.iter().find(|(_, refers)| *refers) {
        return Err(At::Root.key(name).unsupported(NO_STORED_COUNT));
    }
    let named = inbound.way_back.model.len() / BYTES_PER_TOKEN;
    let tokens = estimated_tokens(&inbound.body, OPENAIS_IMAGE).saturating_sub(named as u64);
    let mut answer = Answer::json(write::object(|j| {
        j.put("object", "response.input_tokens");
        j.put_number("input_tokens", tokens);
    }));
    answer.headers.push((ESTIMATED, "input_tokens".to_owned()));
    Ok(Asked::Now(answer))
}

const NO_STORED_COUNT: &str =
    "tokens of stored answers are not counted; send the whole conversation as input";

/// Reads a request again, with the stored answers that its [`StoreNeeds`] named.
pub fn read_after(
    body: &Bytes,
    facts: &RequestFacts<'_>,
    loaded: Loaded<'_>,
) -> Result<Asked, Fault> {
    convert(body, facts, Some(loaded)).map(Asked::Infer)
}

/// What a request says about storing.
struct Keeping {
    keep: bool,
    previous: Option<String>,
}

fn convert(
    body: &Bytes,
    facts: &RequestFacts<'_>,
    loaded: Option<Loaded<'_>>,
) -> Result<Box<Inbound>, Fault> {
    let at = At::Root;
    let root = Obj::of_body(body)?;
    let mut losses = facts.losses(FIELDS).of_own(facts.own);
    let model = root.need_text(at, "model")?;
    let stream = root.flag(at, "stream")?.unwrap_or(false);
    refusals(&root, &mut losses)?;
    let keeping = keeping(&root, facts)?;
    let signatures = facts.keep_marks;
    let mut chat = Chat { signatures, bytes: body.len(), ..Chat::default() };
    let earlier = loaded.map(|l| l.earlier).unwrap_or_default();
    let earlier = earlier.iter().flat_map(store::Stored::items);
    let names = tools::read(&root, earlier, &mut chat, &mut losses)?;
    let shelf = Shelf::of(loaded.unwrap_or_default());
    let known = loaded.is_some().then_some(&shelf);
    let wanted = conversation(&root, (facts, &names), (loaded, known), (&mut chat, &mut losses))?;
    if !wanted.is_empty() && !facts.storage {
        return Err(at.key("input").unsupported(NO_STORE_ITEMS));
    }
    settings(&root, &mut chat, &mut losses)?;
    // The echo asks for everything, so what nobody else asked for is reported before it.
    losses.rest(&root, "", at)?;
    let input = if keeping.keep && wanted.is_empty() {
        let input = root.get("input").unwrap_or("[]");
        Some(store::normalise(input, facts.id, &shelf))
    } else {
        None
    };
    // With what was asked for in hand, nothing more is needed before the request runs.
    let before = if loaded.is_none() { (keeping.previous.clone(), wanted) } else { (None, vec![]) };
    let needs = StoreNeeds { keep: keeping.keep, previous: before.0, items: before.1 };
    let way_back = way_back(&root, (&model, facts), (names, input), keeping);
    Ok(Box::new(Inbound {
        endpoint: Endpoint::ChatCompletions,
        body: chat.write(&model, stream),
        stream,
        refused: losses.take_refused(),
        losses: losses.into_list(),
        needs,
        origins: Origins::of(&chat, body, FIELDS),
        way_back,
    }))
}

fn way_back(
    root: &Obj<'_>,
    (model, facts): (&Text<'_>, &RequestFacts<'_>),
    (names, input): (Names, Option<String>),
    Keeping { keep, previous }: Keeping,
) -> WayBack {
    let members = object::echo(root, keep);
    let sampled = Sampled::said(|field| root.get(field));
    let kind = Back::Responses(Box::new(Echo { members, sampled, names, input, previous }));
    let (model, id) = (model.decode().into_owned(), facts.id.to_owned());
    WayBack { kind, model, id, created: facts.now }
}

/// All but the input of a request. None: it keeps its answer or goes on from a kept one.
pub(super) fn outlined<'a>(
    root: &Obj<'a>,
    facts: &RequestFacts<'_>,
) -> Result<Option<Settings<'a>>, Fault> {
    let at = At::Root;
    let mut losses = facts.losses(FIELDS);
    let model = root.need_text(at, "model")?;
    let stream = root.flag(at, "stream")?.unwrap_or(false);
    refusals(root, &mut losses)?;
    let keeping = keeping(root, facts)?;
    if keeping.keep || keeping.previous.is_some() {
        return Ok(None);
    }
    let mut chat = Chat::default();
    let names = tools::read(root, std::iter::empty(), &mut chat, &mut losses)?;
    for tool in &mut chat.tools {
        (tool.description, tool.parameters) = (None, None);
    }
    root.text(at, "instructions")?;
    settings(root, &mut chat, &mut losses)?;
    losses.rest(root, "", at)?;
    let way_back = way_back(root, (&model, facts), (names, None), keeping);
    Ok(Some(Settings { model, stream, chat, losses, way_back }))
}

const NO_STORE: &str =
    "responses are not stored here (state.responses is off); send the whole conversation as input";
const NO_STORE_ITEMS: &str = "it refers to stored items, and responses are not stored here (state.responses is off); send the items themselves, with store: false";

fn keeping(root: &Obj<'_>, facts: &RequestFacts<'_>) -> Result<Keeping, Fault> {
    let at = At::Root;
    let keep = root.flag(at, "store")?.unwrap_or(true) && facts.storage && facts.room;
    let previous = root.text(at, "previous_response_id")?;
    let previous = previous.map(|text| text.decode().into_owned());
    if previous.is_some() && !facts.storage {
        return Err(at.key("previous_response_id").unsupported(NO_STORE));
    }
    Ok(Keeping { keep, previous })
}

/// Reads the messages; returns the answers that single items refer to.
fn conversation<'a>(
    root: &Obj<'a>,
    (facts, names): (&RequestFacts<'_>, &Names),
    (loaded, shelf): (Option<Loaded<'a>>, Option<&Shelf<'a>>),
    (chat, losses): (&mut Chat<'a>, &mut Losses),
) -> Result<Vec<String>, Fault> {
    let at = At::Root;
    let mut messages = Vec::new();
    if let Some(text) = root.text(at, "instructions")? {
        messages.push(Message::Said { role: "system", parts: vec![Part::Text(text)] });
    }
    let mut items = Items {
        messages,
        names,
        losses,
        keep_reasoning: facts.keep_reasoning,
        shelf,
        wanted: Vec::new(),
        assistant: Assistant::default(),
        results: Results::default(),
    };
    for stored in loaded.map(|l| l.earlier).unwrap_or_default() {
        for raw in stored.items() {
            items.item(raw, at.key("previous_response_id"))?;
        }
    }
    match root.get("input") {
        Some(raw) => items.input(raw, at.key("input"))?,
        None if root.get("previous_response_id").is_some() => {}
        None => return Err(at.key("input").missing()),
    }
    let (messages, wanted) = items.finish();
    // A request that waits for stored items may have no message yet.
    if messages.is_empty() && wanted.is_empty() && root.get("previous_response_id").is_none() {
        return Err(at.key("input").invalid("must not be empty"));
    }
    chat.messages = messages;
    Ok(wanted)
}

fn settings<'a>(root: &Obj<'a>, chat: &mut Chat<'a>, losses: &mut Losses) -> Result<(), Fault> {
    let at = At::Root;
    if let Some(limit) = root.whole(at, "max_output_tokens")? {
        if limit < 1 {
            return Err(at.key("max_output_tokens").invalid("must be at least 1"));
        }
        chat.set_some("max_completion_tokens", root.get("max_output_tokens"));
    }
    for name in ["temperature", "top_p"] {
        chat.set_some(name, root.number(at, name)?);
    }
    for name in ["user", "safety_identifier", "prompt_cache_key", "service_tier"] {
        root.text(at, name)?;
        chat.set_some(name, root.get(name));
    }
    if root.flag(at, "parallel_tool_calls")?.is_some() && !chat.tools.is_empty() {
        chat.set_some("parallel_tool_calls", root.get("parallel_tool_calls"));
    }
    // An empty map asks for nothing, and OpenAI's chat API takes metadata with `store` only.
    if let Some(raw) = root.raw_object(at, "metadata")?
        && !raw.trim_start_matches('{').trim_start().starts_with('}')
    {
        chat.set("metadata", raw);
    }
    logprobs(root, chat, losses)?;
    if let Some(reasoning) = root.object(at, "reasoning")? {
        let here = at.key("reasoning");
        reasoning.text(here, "effort")?;
        chat.set_some("reasoning_effort", reasoning.get("effort"));
        losses.rest(&reasoning, "reasoning.", here)?;
    }
    let Some(text) = root.object(at, "text")? else { return Ok(()) };
    let here = at.key("text");
    text.text(here, "verbosity")?;
    chat.set_some("verbosity", text.get("verbosity"));
    if let Some(format) = text.object(here, "format")? {
        answer_format(&format, here.key("format"), chat)?;
        losses.rest(&format, "text.format.", here.key("format"))?;
    }
    losses.rest(&text, "text.", here)
}

/// Log-probabilities are asked for by a word in `include`.
fn logprobs<'a>(root: &Obj<'a>, chat: &mut Chat<'a>, losses: &mut Losses) -> Result<(), Fault> {
    let at = At::Root;
    let top = root.whole(at, "top_logprobs")?.filter(|top| *top > 0);
    let include = root.list(at, "include")?.unwrap_or_default();
    let asked = include.contains(&"\"message.output_text.logprobs\"");
    if include.len() > usize::from(asked) {
        losses.note("include");
    }
    if asked || top.is_some() {
        chat.set("logprobs", "true");
    }
    if top.is_some() {
        chat.set_some("top_logprobs", root.get("top_logprobs"));
    }
    Ok(())
}

fn answer_format<'a>(format: &Obj<'a>, at: At<'_>, chat: &mut Chat<'a>) -> Result<(), Fault> {
    match &*format.word(at, "type")? {
        "text" => {}
        "json_object" => chat.set("response_format", r#"{"type":"json_object"}"#),
        "json_schema" => {
            let name = format.need_text(at, "name")?;
            let schema = format.raw_object(at, "schema")?;
            let schema = schema.ok_or_else(|| at.key("schema").missing())?;
            let strict = format.flag(at, "strict")?;
            format.get("description");
            chat.set("response_format", pivot::schema_format(&name, schema, strict));
        }
        "" => return Err(at.key("type").missing()),
        _ => return Err(at.key("type").invalid("must be text, json_object or json_schema")),
    }
    Ok(())
}

/// What decides alone that a request cannot run, and fields that ask for nothing in some values.
fn refusals(root: &Obj<'_>, losses: &mut Losses) -> Result<(), Fault> {
    for key in ["prompt", "conversation"] {
        if root.get(key).is_some() {
            losses.refuse(key, At::Root.key(key))?;
        }
    }
    for (key, neutral) in
        [("background", "false"), ("truncation", "\"disabled\""), ("stream_options", "{}")]
    {
        let raw = root.get(key);
        if raw.is_none_or(|raw| raw == neutral) {
            continue;
        }
        if key == "background" {
            losses.refuse(key, At::Root.key(key))?;
        } else {
            losses.note(key);
        }
    }

    Ok(())
}
